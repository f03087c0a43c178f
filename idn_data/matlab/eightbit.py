"""8-bit images through float32 sums, every value MATLAB's: what `kernels8` needs to know of an axis, and the proof."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from idn_data.matlab.compiled import load_kernels
from idn_data.matlab.weights import compute_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary, Method

MAX_TAPS = 4096  # up to here the bound of `find_limit` holds


class Axis(NamedTuple):
    """The resampling along one axis, for sums in doubles and for sums in float32.

    weights, indices : (n, P), of `compute_weights`.
    weights32, indices32 : the same, with taps of weight 0 at the end so that their number is a multiple of four.
    limit : how far from a whole number a float32 sum is in doubt; 1 for never.
    """

    weights: NDArray[np.float64]
    indices: NDArray[np.uintp]
    weights32: NDArray[np.float32]
    indices32: NDArray[np.uintp]
    limit: np.float32


def find_limit(weights: NDArray[np.float64]) -> np.float32 | None:
    """How far from a whole number a float32 sum of bytes may be rounded otherwise than MATLAB's sum of doubles.

    Parameters
    ----------
    weights : (n, P) float64
        P counts the taps of weight 0 that fill up to a multiple of four.

    Returns
    -------
    float32 or None
        1 where float32 is exact; None where float32 will not do.

    Notes
    -----
    Let x be bytes, A the largest sum of a row's ``|w|``, u = 2⁻²⁴ the rounding unit of float32, 2⁻⁵³ that of double.

    *Exact.* If every weight is a multiple of 2⁻¹⁵ and 255·A·2¹⁵ <= 2²⁴, then every product and every partial sum is a
    multiple of 2⁻¹⁵ of at most 24 bits. float32 and double hold it without rounding, and float32 holds the clamped sum
    plus 1/2 as well. Cutting off its fraction rounds half up, which for 0…255 is half away from zero.

    *Bounded.* Else a weight in float32 is off by u·|w| at most. P products and sums of float32, in any order, are off
    by γ·Σ|w|x, γ = P·u / (1 - P·u); those of double by the same with 2⁻⁵³. For P <= 4096, P²·u <= 1, so all of it is
    less than ``bound = (P + 3)·u·255·A``. Let s be the float32 sum clamped to 0…255 and r the whole number it is
    rounded to. Both are float32, and so is their difference, without rounding (Sterbenz; r is 0 below 1/2). If
    ``|s - r| < 1/2 - bound``, the sum of doubles lies within 1/2 of r, or beyond the clamp on r's side: MATLAB's
    rounding is r. Else the value is summed again in doubles. That needs a bound well below 1/2.
    """
    taps, largest = weights.shape[1], float(np.abs(weights).sum(axis=1).max()) * (1 + 2.0**-40)  # the sum rounds too
    if (weights * 2.0**15 % 1 == 0).all() and 255 * largest * 2.0**15 <= 2.0**24:
        return np.float32(1)
    bound = (taps + 3) * 2.0**-24 * 255 * largest + 2.0**-100  # the last for weights too small for float32's precision
    if taps > MAX_TAPS or not bound < 0.25:
        return None
    return np.float32(
        np.nextafter(np.float32(0.5 - bound), np.float32(0))
    )  # safe: the cast may round up, the step goes below


@lru_cache(maxsize=512)
def _find_axis(
    n_in: int, n_out: int, scale: float, method: Method, antialias: bool | None, boundary: Boundary
) -> Axis | None:
    """The axis, or None where float32 will not do."""
    weights, indices = compute_weights(n_in, n_out, scale, method, antialias, boundary)
    missing = -weights.shape[1] % 4
    wide = np.pad(weights, ((0, 0), (0, missing)))
    limit = find_limit(wide)
    if limit is None:
        return None
    indices32 = np.ascontiguousarray(np.pad(indices, ((0, 0), (0, missing)), mode="edge"))
    return Axis(weights, indices, wide.astype(np.float32), indices32, limit)  # the cast is part of the bound


def resize_bytes(
    source: NDArray[np.uint8],
    scales: tuple[float, float],
    out: NDArray[np.uint8],
    channels: int,
    method: Method,
    antialias: bool | None,
    boundary: Boundary,
) -> bool:
    """Resize an 8-bit image into `out`, unless float32 will not do; then nothing is done.

    Parameters
    ----------
    source, out : (H, W·C) and (h, w·C) uint8, C-contiguous
    scales : (float, float)
        Of rows and columns.
    channels : int
        C, values of a pixel that lie side by side.
    method, antialias, boundary
        As in `imresize`.

    Returns
    -------
    bool
        Whether `out` was filled.

    Raises
    ------
    ValueError
        As `compute_weights`.
    """
    find = _find_axis if isinstance(method, str) else _find_axis.__wrapped__  # as in `compute_weights`
    vertical = find(len(source), len(out), scales[0], method, antialias, boundary)
    horizontal = find(
        source.shape[1] // channels, out.shape[1] // channels, scales[1], method, antialias, boundary
    )  # fmt: skip
    if vertical is None or horizontal is None:
        return False
    kernels = load_kernels("idn_data.matlab.kernels8")
    run = kernels.resize_rows_then_columns if scales[0] <= scales[1] else kernels.resize_columns_then_rows
    run(source, tuple(vertical), tuple(horizontal), channels, out)
    return True
