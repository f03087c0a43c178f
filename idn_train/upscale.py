"""A picture made larger: the Y of a test image, and any photograph, in tiles that equal the whole."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from idn_data.patches.trainplan import Teacher
from idn_data.scores.methods import Method
from idn_train.colour import LUMA, LUMA_OFFSET, LUMA_TO_RGB
from idn_train.device import free_memory, is_memory_full
from idn_train.enlarge import enlarge_photo, enlarge_tiles
from idn_train.network import build_network
from idn_train.ownnetwork import OwnNetwork
from idn_train.reach import find_reach
from idn_train.weightfile import read_any_weights, tidy_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_data.workers import Progress
    from idn_train.enlarge import Tile
    from idn_train.ownnetwork import Network

_LOG = logging.getLogger(__name__)  # without a handler, warnings go to standard error

LEAST_TILE = 16  # LR pixels
LEAST_ALPHA = 1 / 1024  # below 1/510 it is rounded to 0
TILE = 384  # LR pixels; the network takes 2 KB for each one of a tile and its surroundings: 0.4 GB


def _predict_residual(network: Network, image: Tensor, self_ensemble: bool) -> Tensor:
    """What the network adds to the bicubic image, (1, c, h, w) to (1, c, s·h, s·w)."""
    results = []
    for flips, turns in [(f, t) for f in ((), (2,)) for t in range(4)] if self_ensemble else [((), 0)]:
        turned = image.flip(flips).rot90(turns, (2, 3))
        if isinstance(network, OwnNetwork):  # in the memory format of its training; some compute in no other
            residual = network.predict_residual(turned.contiguous())
        else:
            turned = turned.contiguous(memory_format=torch.channels_last)
            residual = network.reconstruct(network.blocks(network.features(turned)))
        results.append(residual.rot90(-turns, (2, 3)).flip(flips))
    return torch.stack(results).mean(0)


def _upscale_bicubic(network: Network, image: Tensor, alpha: Tensor | None) -> Tensor:
    """Bicubic of each channel, (C, 1, h, w) to (C, 1, s·h, s·w); with alpha, (1, 1, h, w), of colours as they are seen.

    These are E(c·α) / E(α), E for bicubic: laid over any background, the result is the bicubic of the picture laid over
    it. Where alpha will be 0, nobody sees the result, and it is that of the colours alone.
    """
    # one channel at a time: less memory, and the same rounding in each, so that grey stays grey
    planes = image.split(1)  # type: ignore[no-untyped-call]  # torch has no types for it
    plain = torch.cat([network.upscale_bicubic(plane) for plane in planes])
    if alpha is None or bool((alpha == 1).all()):
        return plain
    weight = network.upscale_bicubic(alpha)
    seen = torch.cat([network.upscale_bicubic(plane * alpha) for plane in planes])
    return torch.where(weight > LEAST_ALPHA, seen / weight.clamp_min(LEAST_ALPHA), plain)


@torch.no_grad()  # not inference_mode: a network may keep what it makes here, and train on with it
def _upscale_tile(network: Network, image: Tensor, alpha: Tensor | None, self_ensemble: bool) -> Tensor:
    """Y, grey or RGB in float32, (C, 1, h, w) with C = 1 or 3, to (C, 1, s·h, s·w); not clipped.

    Of RGB, Y is enlarged by the network, Cb and Cr by bicubic. Both conversions are linear, so that is the bicubic of
    each channel plus the network's residual of Y: nothing is rounded in between. A network for RGB enlarges all three;
    of grey it gets three equal channels, and the mean of its three residuals counts.
    """
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.autocast(image.device.type, enabled=False), exact:
        base = _upscale_bicubic(network, image, alpha)
        if isinstance(network, OwnNetwork) and network.channels == 3:
            rgb = image.expand(3, -1, -1, -1).transpose(0, 1)  # (1, 3, h, w)
            residual = _predict_residual(network, rgb, self_ensemble).transpose(0, 1)  # (3, 1, s·h, s·w)
            return base + (residual if len(image) == 3 else residual.mean(0, keepdim=True))
        if len(image) == 1:
            return base + _predict_residual(network, image, self_ensemble)
        y = LUMA[0] * image[0:1] + LUMA[1] * image[1:2] + LUMA[2] * image[2:3] + LUMA_OFFSET
        sr: Tensor = base + LUMA_TO_RGB * _predict_residual(network, y, self_ensemble)
        return sr


def _upscale_tiles(
    network: Network, pixels: NDArray[Any], alpha: NDArray[np.uint8] | None, peak: float, tile: int, self_ensemble: bool
) -> Iterator[Tile]:
    """`idn_train.enlarge.enlarge_tiles` by a network, begun again with smaller tiles where the memory is full."""
    device = next(network.parameters()).device

    def enlarge(part: NDArray[np.float32], seen: NDArray[np.float32] | None) -> NDArray[np.float32]:
        lr = torch.from_numpy(part).permute(2, 0, 1).unsqueeze(1).contiguous().to(device)  # (C, 1, h, w)
        weight = None if seen is None else torch.from_numpy(seen)[None, None].to(device)  # (1, 1, h, w)
        sr: NDArray[np.float32] = _upscale_tile(network, lr, weight, self_ensemble)[:, 0].permute(1, 2, 0).cpu().numpy()
        return sr  # (s·h, s·w, C)

    done = 0  # tiles, of each size
    while True:
        before, reach = done, _find_reach(network, max(pixels.shape[:2]), tile)
        try:
            tiles = enlarge_tiles(pixels, alpha, peak, network.scale, tile, reach, enlarge)
            for total, rows, columns, sr in tiles:
                done += 1
                yield before + total, rows, columns, sr
            return
        except RuntimeError as error:
            if not is_memory_full(error):
                raise
        tile = min(tile, max(pixels.shape[:2])) // 2
        if tile < LEAST_TILE:
            raise MemoryError(f"{device}: not enough memory, even for tiles of {2 * tile} pixels; close other programs")
        free_memory(device)
        _LOG.warning("%s: not enough memory; going on with tiles of %d pixels", device, tile)


def _find_reach(network: Network, side: int, tile: int) -> int:
    """LR pixels around a tile that its SR depends on; 0 for a picture of one tile."""
    if side <= tile:
        return 0
    if isinstance(network, OwnNetwork):
        return find_reach(network)
    return 2 + 4 * 6 + -(-8 // network.scale)  # the 3×3 convolutions, and the reconstruction (bicubic: 2)


def upscale_y(
    network: Network, y: NDArray[np.floating], *, tile: int = TILE, self_ensemble: bool = False
) -> NDArray[np.float64]:
    """Enlarge one channel.

    Parameters
    ----------
    network : IDN or OwnNetwork
        On any device; computes in float32.
    y : (h, w) floating, in [0, 1] but for a small overshoot, as imresize leaves it
    tile : int
        Side of the tiles in LR pixels, about. Each is computed with all pixels that reach it: the result is that of
        the whole image but for float32's rounding, below 1e-6.
    self_ensemble : bool
        Mean over the 8 orientations: eight times the work, for 0.03 to 0.06 dB.

    Returns
    -------
    (s·h, s·w) float64
        Not clipped.
    """
    if y.dtype.kind != "f" or y.ndim != 2 or y.size == 0:
        raise ValueError(f"upscale_y takes (h, w) floats in [0, 1], not empty; got {y.dtype} {y.shape}; see im2double")
    return _upscale_array(network, y, tile, self_ensemble)


def _upscale_array(
    network: Network, image: NDArray[np.floating], tile: int, self_ensemble: bool
) -> NDArray[np.float64]:
    """(h, w) or (h, w, 3) in [0, 1] to (s·h, s·w) or (s·h, s·w, 3), not clipped."""
    sr = np.empty((network.scale * image.shape[0], network.scale * image.shape[1], *image.shape[2:]))
    for _, rows, columns, part in _upscale_tiles(network, image, None, 1.0, tile, self_ensemble):
        sr[rows, columns] = part
    return sr


def make_method(network: Network, name: str, self_ensemble: bool = False) -> Method:
    """A network under a name for `idn_data.evaluate`, clipped before scoring; computes where it lies.

    IDN's bicubic image has the border that is asked for, as the LR has. A network for RGB is a method in colour, see
    `idn_data.scores.methods.Method`.
    """
    colour = isinstance(network, OwnNetwork) and network.channels == 3

    def upscale(lr: NDArray[np.float64], scale: int, boundary: Boundary = "symmetric") -> NDArray[np.float64]:
        if scale != network.scale:
            raise ValueError(f"{name}: made for scale {network.scale}, asked for {scale}; name weights of that scale")
        own, network.boundary = network.boundary, boundary
        try:
            return _upscale_array(network, lr, TILE, self_ensemble)
        finally:
            network.boundary = own

    return Method(name, upscale, clip=True, bordered=True, colour=colour)


def make_teacher(
    paths: Sequence[Path | str], scale: int, device: torch.device, boundary: Boundary = "symmetric"
) -> Teacher:
    """Networks for `idn_data.patches.trainset.plan_train`: the mean of their answers, each over 8 orientations.

    It may be asked from several threads, and answers one at a time: torch's choice of exact kernels holds for the whole
    process, so that one answer's end would change another in its middle.

    Parameters
    ----------
    paths : sequence of path
        Files of weights of IDN.
    scale : int
        That of all of them.
    device : torch.device
        Where they compute.
    boundary : {"symmetric", "replicate"}
        Of their bicubic image, as the LR has it.

    Returns
    -------
    Teacher

    Raises
    ------
    ValueError
        As `idn_train.weightfile.read_any_weights`; and for weights of another scale, or of another network.
    """
    networks = []
    for path in paths:
        weights = read_any_weights(path)
        if weights.network != "idn":
            raise ValueError(f"{path}: weights of network {tidy_name(weights.network)}; a teacher is an IDN")
        networks.append(build_network(weights.scale, weights.tensors).to(device))
        networks[-1].boundary = boundary
        if networks[-1].scale != scale:
            raise ValueError(f"{path}: made for scale {networks[-1].scale}, not {scale}; name weights of that scale")

    one_at_a_time = threading.Lock()

    def answer(lr: NDArray[np.float64]) -> NDArray[np.float64]:
        with one_at_a_time:
            mean: NDArray[np.float64] = np.mean([upscale_y(n, lr, self_ensemble=True) for n in networks], axis=0)
        return mean

    return Teacher(answer, tuple(hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths))


def upscale_photo(
    network: Network, source: Path | str, target: Path | str, *, tile: int = TILE, self_ensemble: bool = False,
    force: bool = False, progress: Progress | None = None,
) -> tuple[int, int]:  # fmt: skip
    """Enlarge a photograph: Y by the network, Cb, Cr and alpha by MATLAB's bicubic; grey by the network alone.

    A network of one's own for RGB enlarges the colours themselves. What is transparent does not show in it: see
    `_upscale_bicubic` and `idn_train.enlarge.fill_hidden`.

    Parameters
    ----------
    network : IDN or OwnNetwork
        On any device; its attribute `boundary` holds for alpha as well.
    source, target : path
        As `idn_train.enlarge.enlarge_photo` takes them, which reads and writes them.
    tile : int
        LR pixels along a side, about; fewer where the memory is full, with a word of it in the log.
    self_ensemble : bool
        As `upscale_y`.
    force : bool
        Replace an existing target.
    progress : callable(what, done, total), optional

    Returns
    -------
    (int, int)
        Rows and columns of the result. Source and result take 4 bytes for each pixel in colour, and the network what it
        needs for one tile.

    Raises
    ------
    ImageError, FileExistsError, ValueError
        As `idn_train.enlarge.enlarge_photo`.
    """

    def enlarge(pixels: NDArray[Any], alpha: NDArray[np.uint8] | None, peak: int) -> Iterator[Tile]:
        return _upscale_tiles(network, pixels, alpha, peak, tile, self_ensemble)

    return enlarge_photo(
        source, target, network.scale, enlarge, boundary=network.boundary, force=force, progress=progress
    )
