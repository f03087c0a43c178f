"""A picture made larger: the Y of a test image, and any photograph, in tiles that equal the whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from idn_data.atomic import check_target, write_whole
from idn_data.benchmark import Method
from idn_data.color import im2uint8
from idn_data.images import ImageError, list_images, load_as_stored, open_picture
from idn_data.resize import imresize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from idn_train.network import IDN

    Progress = Callable[[str, int, int], None]

TILE = 384  # LR pixels; the network takes 2 KB for each one of a tile and its surroundings: 0.4 GB

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"
}  # fmt: skip
_LONGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels along a side that a format can hold
# What a TIFF says of the picture and not of its own layout: EXIF's list for its first directory, and the two below it
_TIFF_EXIF = {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 33432, 34665, 34853}

# Y of R, G, B in [0, 1], as MATLAB's rgb2ycbcr of doubles. With Cb and Cr as they are, R, G and B follow Y by 255/219.
_LUMA, _LUMA_OFFSET, _LUMA_TO_RGB = (65.481 / 255, 128.553 / 255, 24.966 / 255), 16 / 255, 255 / 219


def _list_spans(length: int, tile: int, reach: int) -> list[tuple[int, int, int, int]]:
    """Tiles of nearly equal length along an axis: (first, last, start, stop), the latter two with what surrounds them.

    The surroundings end at the image's own border, where convolutions pad with zeros as they do on the whole image.
    Tiles begin at even pixels, because the reconstruction at ×2 works on pairs of them.
    """
    count = -(-length // tile)
    edges = [*sorted({2 * (k * length // (2 * count)) for k in range(count)}), length]
    return [(a, b, max(0, a - reach), min(length, b + reach)) for a, b in pairwise(edges)]


def _predict_residual(network: IDN, y: Tensor, self_ensemble: bool) -> Tensor:
    """What the network adds to the bicubic image, (1, 1, h, w) to (1, 1, s·h, s·w)."""
    results = []
    for flips, turns in [(f, t) for f in ((), (2,)) for t in range(4)] if self_ensemble else [((), 0)]:
        turned = y.flip(flips).rot90(turns, (2, 3)).contiguous(memory_format=torch.channels_last)
        residual = network.reconstruct(network.blocks(network.features(turned)))
        results.append(residual.rot90(-turns, (2, 3)).flip(flips))
    return torch.stack(results).mean(0)


@torch.inference_mode()
def _upscale_tile(network: IDN, image: Tensor, self_ensemble: bool) -> Tensor:
    """Y, grey or RGB in float32, (C, 1, h, w) with C = 1 or 3, to (C, 1, s·h, s·w); not clipped.

    Of RGB, Y is enlarged by the network, Cb and Cr by bicubic. Both conversions are linear, so that is the bicubic of
    each channel plus the network's residual of Y: nothing is rounded in between.
    """
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.autocast(image.device.type, enabled=False), exact:
        # one channel at a time: less memory, and the same rounding in each, so that grey stays grey
        base = torch.cat([network.upscale_bicubic(plane) for plane in image.split(1)])
        if len(image) == 1:
            return base + _predict_residual(network, image, self_ensemble)
        r, g, b = image.split(1)
        y = _LUMA[0] * r + _LUMA[1] * g + _LUMA[2] * b + _LUMA_OFFSET
        return base + _LUMA_TO_RGB * _predict_residual(network, y, self_ensemble)


def _upscale_tiles(
    network: IDN, pixels: NDArray[Any], peak: float, tile: int, self_ensemble: bool
) -> Iterator[tuple[int, slice, slice, NDArray[np.float32]]]:
    """Number of tiles; rows and columns of SR; what belongs there. `pixels`, (h, w) or (h, w, 3), are 0…`peak`."""
    if tile < 1:
        raise ValueError(f"tile must be at least 1 pixel; got {tile}")
    s, device = network.scale, network.upsample.weight.device
    reach = 2 + 4 * 6 + -(-8 // s)  # LR pixels: of the 3×3 convolutions, and of the reconstruction (bicubic: 2)
    rows, columns = (_list_spans(n, tile, reach) for n in pixels.shape[:2])
    for y0, y1, top, bottom in rows:
        for x0, x1, left, right in columns:
            # float32 is the network's own precision, and holds 8 and 16 bits exactly
            part = np.atleast_3d(pixels[top:bottom, left:right]).astype(np.float32) / np.float32(peak)
            lr = torch.from_numpy(part).permute(2, 0, 1).unsqueeze(1).contiguous().to(device)  # (C, 1, h, w)
            sr = _upscale_tile(network, lr, self_ensemble)[:, 0].permute(1, 2, 0)  # (s·h, s·w, C)
            own = sr[s * (y0 - top) : s * (y1 - top), s * (x0 - left) : s * (x1 - left)].cpu().numpy()
            place = slice(s * y0, s * y1), slice(s * x0, s * x1)
            yield len(rows) * len(columns), *place, own if pixels.ndim == 3 else own[..., 0]


def upscale_y(
    network: IDN, y: NDArray[np.floating], *, tile: int = TILE, self_ensemble: bool = False
) -> NDArray[np.float64]:
    """Enlarge one channel.

    Parameters
    ----------
    network : IDN
        On any device; computes in float32.
    y : (h, w) floating, in [0, 1]
        A small overshoot, as imresize leaves, is fine.
    tile : int
        Side of the tiles in LR pixels, about. Each is computed with all pixels that reach it: the result is that of
        the whole image but for float32's rounding, below 1e-6.
    self_ensemble : bool
        Mean over the 8 orientations: eight times the work, for 0.1 to 0.2 dB.

    Returns
    -------
    (s·h, s·w) float64
        Not clipped.
    """
    if y.dtype.kind != "f" or y.ndim != 2 or y.size == 0:
        raise ValueError(f"upscale_y takes (h, w) floats in [0, 1], not empty; got {y.dtype} {y.shape}; see im2double")
    sr = np.empty((network.scale * y.shape[0], network.scale * y.shape[1]))
    for _, rows, columns, part in _upscale_tiles(network, y, 1.0, tile, self_ensemble):
        sr[rows, columns] = part
    return sr


def make_method(
    network: IDN, name: str, self_ensemble: bool = False, device: torch.device | str | None = None
) -> Method:
    """A network under a name for `idn_data.benchmark.evaluate`, clipped before scoring; moved to `device` if given."""
    network = network if device is None else network.to(device)

    def upscale(lr: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
        if scale != network.scale:
            raise ValueError(f"{name}: made for scale {network.scale}, asked for {scale}; name weights of that scale")
        return upscale_y(network, lr, self_ensemble=self_ensemble)

    return Method(name, upscale, clip=True)


def _read_photo(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None, str, dict[str, Any]]:
    """Decode a photograph and what belongs to it; ImageError as `idn_data.images.read_image`.

    Pixels (h, w) uint8 or uint16, or (h, w, 3) uint8; alpha (h, w) or None; the result's mode in Pillow; EXIF and ICC.
    """
    with open_picture(path) as picture:
        tags = picture.getexif() if picture.format == "TIFF" else {}  # all tags of the file
        for tag in set(tags) - _TIFF_EXIF:
            del tags[tag]
        exif = tags.tobytes() if isinstance(tags, Image.Exif) and len(tags) else None
        picture = load_as_stored(picture)
        exif, icc = exif or picture.info.get("exif"), picture.info.get("icc_profile")
        exif = exif and b"Exif\0\0" + exif.removeprefix(b"Exif\0\0")  # WebP may leave this head out
        extras = {key: value for key, value in {"exif": exif, "icc_profile": icc}.items() if value}
        if picture.mode.startswith("I"):
            values = np.array(picture)
            if values.min() < 0 or values.max() > 65535:
                raise ImageError("integers beyond 16 bits; save it with 8 or 16 bits")
            return values.astype(np.uint16), None, "I;16", extras  # safe: checked
        grey, alpha = picture.mode in ("1", "L", "LA", "La"), None
        if not grey and picture.mode not in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX"):
            raise ImageError(f"{picture.mode} images are not supported; save it as grey or RGB")
        if picture.has_transparency_data:
            picture = picture.convert("LA" if grey else "RGBA")
            alpha = np.array(picture.getchannel("A"))
        pixels = np.array(picture.convert("L" if grey else "RGB"))
        if picture.mode == "P" and not icc and (pixels == pixels[..., :1]).all():
            grey, pixels = True, np.ascontiguousarray(pixels[..., 0])  # as `read_image` has it
        return pixels, alpha, ("L" if grey else "RGB") + ("" if alpha is None else "A"), extras


def _find_format(target: Path, mode: str = "", side: int = 0) -> str:
    """Pillow's name of the format of a suffix; refused before the work where it cannot hold the result."""
    if target.suffix.lower() not in FORMATS:
        raise ValueError(f"{target}: cannot write {target.suffix or 'without suffix'}; one of {', '.join(FORMATS)}")
    name = FORMATS[target.suffix.lower()]
    for what, fits in (
        ("16-bit pixels", mode != "I;16" or name not in ("JPEG", "WEBP")),
        ("an alpha channel", not mode.endswith("A") or name != "JPEG"),
        (f"{side} pixels along a side", side <= _LONGEST.get(name, side)),
    ):
        if not fits:
            raise ValueError(f"{target}: {name} cannot hold {what}, which the result has; name a .png or .tif")
    return name


def upscale_photo(
    network: IDN,
    source: Path,
    target: Path,
    *,
    tile: int = TILE,
    self_ensemble: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Enlarge a photograph: Y by the network, Cb, Cr and alpha by MATLAB's bicubic; grey by the network alone.

    Memory: source and result at 4 bytes for each pixel in colour, and what the network takes for one tile.

    Parameters
    ----------
    network : IDN
    source : path
        BMP, PNG, JPEG, TIFF or WebP: colour, palette, grey, 16-bit grey (of 16-bit colour, the high byte), alpha.
    target : path
        Of a suffix in `FORMATS`; JPEG and WebP with quality 95, TIFF not compressed. 16-bit grey stays 16-bit. ICC
        profile and EXIF are kept as they are: its orientation too, with the pixels as they are stored.
    tile, self_ensemble, force
        As in `upscale_y`; replace an existing target.
    progress : callable(what, done, total), optional
        Called after each tile.

    Returns
    -------
    (int, int)
        Rows and columns of the result.

    Raises
    ------
    ImageError, FileExistsError, ValueError
        The source cannot be used; the target is there and `force` false; its format cannot hold the picture.
    """
    source, target, s = Path(source), Path(target), network.scale
    _find_format(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"{target}: would replace the photo itself; name another file")
    check_target(target, force)
    pixels, alpha, mode, extras = _read_photo(source)
    height, width = s * pixels.shape[0], s * pixels.shape[1]
    name, peak = _find_format(target, mode, max(height, width)), 65535 if mode == "I;16" else 255
    alpha = None if alpha is None else imresize(alpha, s)  # (s·h, s·w)
    result = Image.new(mode, (width, height))
    tiles = _upscale_tiles(network, pixels, peak, tile, self_ensemble)
    for done, (total, rows, columns, sr) in enumerate(tiles, 1):
        # the cast to 16 bits is safe: clipped, and only fractions are cut off
        part: NDArray[Any] = im2uint8(sr) if peak == 255 else (np.clip(sr, 0.0, 1.0) * peak + 0.5).astype(np.uint16)
        if alpha is not None:
            part = np.dstack((part, alpha[rows, columns]))
        result.paste(Image.fromarray(np.ascontiguousarray(part)), (columns.start, rows.start))
        if progress:
            progress(source.name, done, total)
    with write_whole(target, force) as temporary:
        result.save(temporary, format=name, **extras, **({"quality": 95} if name in ("JPEG", "WEBP") else {}))
    return height, width


def plan_outputs(
    sources: Sequence[Path | str], out: Path | str | None, scale: int, suffix: str = ".png"
) -> list[tuple[Path, Path]]:
    """Which photo becomes which file: ``<stem>_x<scale><suffix>`` beside it or in the folder `out`.

    Sources are files, and folders of images, where the results of an earlier run are passed over. For one file, `out`
    may be the target itself, with a suffix of `FORMATS`.

    Raises
    ------
    FileNotFoundError, ValueError
        A source is missing or has no image; two photos would become one file, or one is the result of another.
    """
    given, folder = [Path(source) for source in sources], None if out is None else Path(out)
    if folder and len(given) == 1 and given[0].is_file() and folder.suffix.lower() in FORMATS and not folder.is_dir():
        return [(given[0], folder)]

    def name_target(path: Path) -> Path:
        return (folder or path.parent) / f"{path.stem}_x{scale}{suffix}"

    owners: dict[Path, Path] = {}
    for path in given:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        images = list_images(path) if path.is_dir() else [path]
        earlier = {name_target(image) for image in images} if path.is_dir() else set()
        for image in (image for image in images if image not in earlier):
            _find_format(target := name_target(image))
            if target in owners:
                raise ValueError(f"{owners[target]} and {image} would both become {target}; rename or leave out one")
            owners[target] = image
    if both := sorted(owners.keys() & set(owners.values())):
        raise ValueError(f"{both[0]} is a photo to enlarge and the result of {owners[both[0]]}; leave out one")
    return [(source, target) for target, source in owners.items()]
