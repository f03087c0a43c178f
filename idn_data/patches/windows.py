"""Patches cut from whole pictures at any position: which ones, and their GT and LR.

The LR of a patch is what `imresize` makes of the picture around it, so that a patch inside a picture has no edge.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idn_data.matlab.classes import im2double
from idn_data.matlab.compiled import load_kernels
from idn_data.matlab.weights import compute_weights
from idn_data.patches.header import gt_levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.patches.pool import Pool

ORIENTATIONS = 8  # 2·k + f: k quarter turns counter-clockwise, then, with f, rows upside down
DRAW = 6  # numbers of a draw


class Taps(NamedTuple):
    """What one LR pixel is made of, along one axis: its first tap lies `lead` pixels before scale·number."""

    weights: NDArray[np.float64]  # (P,)
    offsets: NDArray[np.intp]  # (P,), from the first tap on
    lead: int


@lru_cache(maxsize=8)
def find_taps(scale: int) -> Taps:
    """The taps of MATLAB's bicubic reduction by a whole number: they are the same for all pixels, the edge aside."""
    weights, indices = compute_weights(64 * scale, 64, 1 / scale)
    first = indices[32].astype(np.intp)  # safe: 0…64·scale
    if (weights != weights[0]).any():
        raise ValueError(f"scale must be one whose pixels have equal weights; got {scale}")
    return Taps(weights[32].copy(), first - first[0], 32 * scale - int(first[0]))


def draw_windows(pool: Pool, seed: int, epoch: int, number: int, count: int) -> NDArray[np.int64]:
    """Draw the patches of one batch: all positions of all planes are equally likely, and so are the orientations.

    They follow from the arguments alone, so that a resumed run goes on with the very patches.

    Parameters
    ----------
    pool : Pool
    seed, epoch, number : int
        Of the run, and of the batch in its epoch.
    count : int
        Patches to draw.

    Returns
    -------
    (count, 6) int64
        Where the first channel of a plane begins in the pool, height and width of the plane, row and column of the
        patch, orientation as in `ORIENTATIONS`.

    Raises
    ------
    ValueError
        A negative number.
    """
    random = np.random.default_rng([seed, epoch, number])
    position = random.integers(0, pool.ends[-1], count)
    plane = np.searchsorted(pool.ends, position, side="right")
    columns = pool.widths[plane] - pool.recipe.gt_side + 1
    within = position - np.where(plane, pool.ends[plane - 1], 0)
    draws = np.empty((count, DRAW), np.int64)
    draws[:, 0], draws[:, 1], draws[:, 2] = pool.starts[plane], pool.heights[plane], pool.widths[plane]
    draws[:, 3], draws[:, 4] = np.divmod(within, columns)
    draws[:, 5] = random.integers(0, ORIENTATIONS, count)
    return draws


def cut_windows(
    pool: Pool, draws: NDArray[np.int64], lr: NDArray[np.float32], gt: NDArray[np.uint8] | NDArray[np.float32]
) -> None:
    """Cut patches, and make the LR of each.

    For a patch at row y and column x of a plane, LR is the part that belongs to it of
    ``imresize(im2double(modcrop(plane[y % s:, x % s:], s)), 1 / s)``, bit for bit, then rounded to float32.

    Parameters
    ----------
    pool : Pool
    draws : (n, 6) int64
        As `draw_windows` gives them.
    lr : (n, C, p, p) float32
        Overwritten.
    gt : (n, C, s·p, s·p) uint8 or float32
        Overwritten, with k or with single(k/255).

    Raises
    ------
    ValueError
        Arrays of other shapes, or a patch that does not lie in its plane.
    """
    recipe, count = pool.recipe, len(draws)
    shapes = tuple((count, pool.channels, side, side) for side in (recipe.lr_side, recipe.gt_side))
    if (lr.shape, gt.shape) != shapes or draws.shape != (count, DRAW):
        raise ValueError(f"for {draws.shape} draws LR and GT must be {shapes}; got {lr.shape} and {gt.shape}")
    start, height, width, y, x, orientation = draws.T
    beyond = (start < 0) | (start + height * width * pool.channels > len(pool.pixels)) | (y < 0) | (x < 0)
    beyond |= (y + recipe.gt_side > height) | (x + recipe.gt_side > width)
    beyond |= (orientation < 0) | (orientation >= ORIENTATIONS)
    if beyond.any():
        raise ValueError(
            f"draw {draws[beyond][0].tolist()} does not lie in its plane; draw_windows gives those that do"
        )
    taps, levels = find_taps(recipe.scale), np.arange(256, dtype=np.uint8)
    load_kernels("idn_data.patches.windowkernels").cut_windows(
        pool.pixels, draws, recipe.scale, *taps, recipe.boundary == "replicate", im2double(levels),
        gt_levels(gt.dtype), lr, gt,
    )  # fmt: skip
