"""MATLAB's `imfilter` and `fspecial`, for two-dimensional kernels.

Both follow MATLAB's documentation. Sums are taken in float64; integers are rounded half away from zero and saturated,
float32 is rounded once. The blurred LR pictures of super-resolution ("BD") agree with MATLAB's in 248,963 of 248,964
values.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.ndimage import correlate

from idn_data.matlab.classes import check_array, round_to_integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Edge = Literal["replicate", "symmetric", "circular"]

_EDGES = {"replicate": "nearest", "symmetric": "reflect", "circular": "wrap"}  # MATLAB's name: scipy's
_CLASSES = "uint8, uint16, float32 or float64"
_MAX_SIDE = 1024  # of a kernel, pixels


def imfilter(
    image: NDArray[Any],
    kernel: NDArray[Any],
    boundary: Edge | float = 0.0,
    mode: Literal["corr", "conv"] = "corr",
) -> NDArray[Any]:
    """Filter an image as MATLAB's ``imfilter``: output pixel = Σ kernel · pixels around it, of the image's size.

    Parameters
    ----------
    image : (H, W) or (H, W, C) uint8, uint16, float32 or float64
        Each channel by itself. Floats of any range.
    kernel : (h, w) array of numbers
        Centred on the pixel; of an even side, the one before the middle is the centre.
    boundary : {"replicate", "symmetric", "circular"} or number
        What lies beyond the edge: the edge pixel, the mirror image with the edge pixel repeated, the image over again,
        or this number (MATLAB's default is 0).
    mode : {"corr", "conv"}
        Correlation, MATLAB's default, or convolution, which turns the kernel by 180 degrees.

    Returns
    -------
    array of the image's shape and dtype

    Raises
    ------
    TypeError
        No numpy array, or another dtype.
    ValueError
        An image that is empty or not of two or three dimensions; a kernel that is not two-dimensional, empty or not
        finite; an unknown boundary or mode; "conv" with a kernel of an even side: its centre is not documented.

    Examples
    --------
    >>> import numpy as np
    >>> from idn_data import imfilter
    >>> imfilter(np.array([[17.0, 24, 1, 8, 15]]), np.array([[-1, 0, 1]]))
    array([[ 24., -16., -16.,  14.,  -8.]])
    """
    image = check_array(image, "imfilter", _CLASSES)
    if image.ndim not in (2, 3):
        raise ValueError(f"imfilter takes an (H, W) or (H, W, C) image; got shape {image.shape}")
    weights = _check_kernel(kernel)
    if mode not in ("corr", "conv"):
        raise ValueError(f"unknown mode {mode!r}; one of corr, conv")
    if mode == "conv":
        if not all(n % 2 for n in weights.shape):
            raise ValueError(f"convolution takes a kernel of odd sides; got {weights.shape[0]}x{weights.shape[1]}")
        weights = weights[::-1, ::-1]
    if isinstance(boundary, str):
        if boundary not in _EDGES:
            raise ValueError(f"unknown boundary {boundary!r}; one of {', '.join(_EDGES)}, or a number")
        how: dict[str, Any] = {"mode": _EDGES[boundary]}
    elif isinstance(boundary, Real) and math.isfinite(boundary):
        how = {"mode": "constant", "cval": float(boundary)}
    else:
        raise ValueError(f"boundary must be one of {', '.join(_EDGES)}, or a finite number; got {boundary!r}")
    weights, exponent = _lift(weights)
    origin = [-(n % 2 == 0) for n in weights.shape]  # scipy's centre of an even side is the pixel after the middle
    out = np.empty(image.shape, image.dtype)
    planes = [(image, out)] if image.ndim == 2 else [(image[:, :, k], out[:, :, k]) for k in range(image.shape[2])]
    for plane, target in planes:
        total = np.ldexp(correlate(plane.astype(np.float64), weights, origin=origin, **how), exponent)
        target[:] = round_to_integers(total, image.dtype.type) if image.dtype.kind == "u" else total
    return out


def _lift(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Weights times a power of two, the largest near 1, and its exponent: scipy leaves out those below 2.2e-16."""
    exponent = int(np.frexp(np.abs(weights).max())[1])
    return np.ldexp(weights, -exponent), exponent


def _check_kernel(kernel: NDArray[Any]) -> NDArray[np.float64]:
    if not isinstance(kernel, np.ndarray) or kernel.dtype.kind not in "uifb":
        raise TypeError(f"a kernel is a numpy array of numbers; got {getattr(kernel, 'dtype', type(kernel).__name__)}")
    if kernel.ndim != 2 or kernel.size == 0 or max(kernel.shape) > _MAX_SIDE:
        raise ValueError(f"a kernel has two dimensions, each of 1 to {_MAX_SIDE}; got shape {kernel.shape}")
    weights: NDArray[np.float64] = kernel.astype(np.float64)
    if not np.isfinite(weights).all():
        raise ValueError("a kernel holds finite numbers; got NaN or Inf")
    return weights


def fspecial(kind: str, *parameters: float | Sequence[int]) -> NDArray[np.float64]:
    """Kernels of MATLAB's ``fspecial``: gaussian, average and motion.

    Parameters
    ----------
    kind : {"gaussian", "average", "motion"}
    *parameters
        gaussian: side or (rows, columns), 3 by default, and σ in pixels, 0.5. average: side or (rows, columns), 3.
        motion: length in pixels, 9, and angle in degrees counter-clockwise, 0.

    Returns
    -------
    (h, w) float64
        Sums to 1. For "motion" of the size that holds the line.

    Raises
    ------
    ValueError
        Another kind, too many parameters, or one that is not possible. MATLAB's disk is not offered: its documentation
        does not say enough to compute it, and no values of it were at hand.

    Notes
    -----
    gaussian: exp(-(x² + y²) / 2σ²), divided by its sum, as documented; the blurred LR of SRFBN's authors agree. motion:
    1 less the distance of a pixel from a line of that length through the centre, where positive, divided by the sum. A
    pixel farther from the centre than the line's end is measured to that end along the line, even beside the line:
    ``fspecial('motion', 3, 45)``, as MATLAB Answers print it, has 0.0754 there.
    """
    if kind == "gaussian":
        side, sigma = _fill(kind, parameters, (3, 0.5))
        return _make_gaussian(_read_sides(side), _read_positive("sigma", sigma))
    if kind == "average":
        rows, columns = _read_sides(_fill(kind, parameters, (3,))[0])
        return np.full((rows, columns), 1 / (rows * columns))
    if kind == "motion":
        length, angle = _fill(kind, parameters, (9, 0))
        if not isinstance(angle, Real) or not math.isfinite(angle):
            raise ValueError(f"angle must be a finite number of degrees; got {angle!r}")
        return _make_motion(max(1.0, _read_positive("length", length)), float(angle))
    raise ValueError(f"unknown kernel {kind!r}; one of gaussian, average, motion")


def _fill(kind: str, given: Sequence[Any], defaults: Sequence[Any]) -> list[Any]:
    if len(given) > len(defaults):
        raise ValueError(f"fspecial {kind} takes at most {len(defaults)} parameters; got {len(given)}")
    return [*given, *defaults[len(given) :]]


def _read_sides(side: Any) -> tuple[int, int]:
    pair: tuple[Any, ...] = (side, side) if isinstance(side, Real) else tuple(side)
    if len(pair) != 2 or not all(
        isinstance(n, Real) and 1 <= float(n) <= _MAX_SIDE and float(n).is_integer() for n in pair
    ):
        raise ValueError(f"a kernel's size is one or two whole numbers of 1 to {_MAX_SIDE}; got {side!r}")
    return int(float(pair[0])), int(float(pair[1]))


def _read_positive(name: str, value: float) -> float:
    if not isinstance(value, Real) or not 0 < value <= _MAX_SIDE:
        raise ValueError(f"{name} must be a positive number, at most {_MAX_SIDE}; got {value!r}")
    return float(value)


def _make_gaussian(sides: tuple[int, int], sigma: float) -> NDArray[np.float64]:
    y, x = (np.arange(n) - (n - 1) / 2 for n in sides)
    kernel: NDArray[np.float64] = np.exp(-(x[None, :] ** 2 + y[:, None] ** 2) / (2 * sigma**2))
    kernel[kernel < np.finfo(np.float64).eps * kernel.max()] = 0.0
    total = kernel.sum()
    return kernel / total if total else kernel


def _make_motion(length: float, angle: float) -> NDArray[np.float64]:
    """The upper half of the plane is made, y upwards; the kernel is symmetric about its centre."""
    half, turn = (length - 1) / 2, math.radians(angle % 180)
    cosine, sine = math.cos(turn), math.sin(turn)
    slack = length * np.finfo(np.float64).eps  # sides that are whole but for rounding do not grow by a pixel
    width = int(abs(half * cosine + math.copysign(1, cosine) - slack))
    height = int(half * sine + 1 - slack)
    y, x = np.mgrid[height : -height - 1 : -1, -width : width + 1].astype(np.float64)
    along, across = np.abs(x * cosine + y * sine), np.abs(y * cosine - x * sine)
    ends = (np.hypot(x, y) >= half) & (across <= 1)
    distance = np.where(ends, np.hypot(across, half - along), across)
    kernel: NDArray[np.float64] = np.maximum(1 - distance, 0.0)
    kernel /= kernel.sum()
    return kernel
