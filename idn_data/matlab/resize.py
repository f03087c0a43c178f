"""MATLAB's `imresize`: weights in numpy, kernels in numba.

The arithmetic follows the documentation of MATLAB's imresize and the facts listed in ``fixtures/README.md``,
each checked against values that MATLAB returned.
"""

from __future__ import annotations

import math
from functools import lru_cache
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from idn_data.matlab.compiled import load_kernels

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

MAX_LENGTH = 1 << 24  # pixels along one axis; beyond it a size is taken for a mistake
MIN_SCALE = 2.0**-18  # a kernel of a million pixels


def _cube(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """x³ rounded once, by Dekker's exact product: MATLAB's ``x.^3`` is a correctly rounded power.

    ``x*x*x`` rounds twice, and numpy's own power depends on the processor's vector library.
    """

    def product(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        def halves(v: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            high = v * 134217729.0 - (v * 134217729.0 - v)  # 2**27 + 1
            return high, v - high

        p = a * b
        (ah, al), (bh, bl) = halves(a), halves(b)
        return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl

    square, square_error = product(x, x)
    result, result_error = product(square, x)
    return result + (result_error + square_error * x)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic convolution, a = -1/2."""
    x = np.abs(x)
    x2, x3 = x * x, _cube(x)
    inner = (1.5 * x3 - 2.5 * x2 + 1) * (x <= 1)
    outer = (-0.5 * x3 + 2.5 * x2 - 4 * x + 2) * ((x > 1) & (x <= 2))
    return inner + outer


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return (x + 1) * ((x >= -1) & (x < 0)) + (1 - x) * ((x >= 0) & (x <= 1))


def _box(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return ((x >= -0.5) & (x < 0.5)).astype(np.float64)


def _lanczos(lobes: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    eps = np.finfo(np.float64).eps  # MATLAB's guard against 0/0 at the origin

    def kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
        top = np.sin(np.pi * x) * np.sin(np.pi * x / lobes) + eps
        return top / (np.pi**2 * x**2 / lobes + eps) * (np.abs(x) < lobes)

    return kernel


# name -> (kernel, support in input pixels)
_KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    "bicubic": (_cubic, 4.0),
    "bilinear": (_triangle, 2.0),
    "lanczos2": (_lanczos(2), 4.0),
    "lanczos3": (_lanczos(3), 6.0),
    "box": (_box, 1.0),
    "nearest": (_box, 1.0),
}
METHODS = tuple(_KERNELS)


@lru_cache(maxsize=512)
def compute_weights(
    n_in: int, n_out: int, scale: float, method: str = "bicubic", antialias: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.uintp]]:
    """Weights and indices of the resampling along one axis.

    Parameters
    ----------
    n_in, n_out : int
        Length of the input and of the output, in pixels.
    scale : float
        The scale that sets the positions; ``n_out`` need not be exactly ``scale * n_in``.
    method : str
        One of `METHODS`.
    antialias : bool
        Widen the kernel when shrinking. Ignored by "nearest", as in MATLAB.

    Returns
    -------
    weights : (n_out, P) float64, P >= 4
        Each row sums to 1. Read-only, because it is cached.
    indices : (n_out, P) uintp
        The 0-based input pixel of each tap. The border is reflected with the edge pixel repeated.
    """
    kernel, support = _KERNELS[method]
    shrink = antialias and scale < 1 and method != "nearest"
    if shrink:
        support = support / scale
    x = np.arange(1, n_out + 1, dtype=np.float64)  # MATLAB counts pixels from 1
    u = x / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(u - support / 2)
    positions = left[:, None] + np.arange(math.ceil(support) + 2)  # (n_out, P)
    distance = u[:, None] - positions
    weights = scale * kernel(scale * distance) if shrink else kernel(distance)
    total = np.zeros(n_out)
    for column in weights.T:  # in order; np.sum would add in pairs
        total = total + column
    weights = weights / total[:, None]
    kept = np.any(weights != 0, axis=0)
    weights, positions = weights[:, kept], positions[:, kept]
    if (missing := 4 - weights.shape[1]) > 0:  # the kernels take four taps at once: repeat the first with weight 0
        weights = np.pad(weights, ((0, 0), (0, missing)))
        positions = np.concatenate([positions] + [positions[:, :1]] * missing, axis=1)
    weights = np.ascontiguousarray(weights)
    # float64 holds these whole numbers exactly, and the remainder lies in 0 … 2n-1
    folded = np.mod(positions.astype(np.int64) - 1, 2 * n_in)
    indices = np.where(folded < n_in, folded, 2 * n_in - 1 - folded).astype(np.uintp, order="C")
    weights.flags.writeable = indices.flags.writeable = False
    return weights, indices


def _axis_lengths(
    shape: tuple[int, int], scale: float | Sequence[float] | None, size: Sequence[float | None] | None
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Scales and output lengths of both axes, with MATLAB's rules for either way of asking."""
    if (scale is None) == (size is None):
        raise ValueError("imresize takes either scale or size, and exactly one of them; got " +
                         ("neither" if scale is None else f"scale={scale!r} and size={size!r}"))  # fmt: skip
    if scale is not None:
        pair = (scale, scale) if isinstance(scale, Real) else tuple(scale)  # type: ignore[arg-type]
        if len(pair) != 2 or not all(math.isfinite(s) and s > 0 for s in pair):
            raise ValueError(f"scale must be one positive number or two (rows, columns); got {scale!r}")
        scales = (float(pair[0]), float(pair[1]))  # type: ignore[arg-type]
        lengths = tuple(math.ceil(min(s * n, MAX_LENGTH + 1)) for s, n in zip(scales, shape, strict=True))
    else:
        wanted = () if isinstance(size, Real) else tuple(None if v is None or v != v else v for v in size)  # type: ignore[union-attr]
        known = [v for v in wanted if v is not None]
        if len(wanted) != 2 or not known or not all(v >= 1 and v == int(v) for v in known if math.isfinite(v)):
            raise ValueError(
                f"size must be (rows, columns), whole and positive, one of them None or NaN at most; got {size!r}"
            )
        if not all(math.isfinite(v) for v in known):
            raise ValueError(f"size must be finite; got {size!r}")
        if len(known) == 2:
            lengths = tuple(int(v) for v in known)
            scales = (lengths[0] / shape[0], lengths[1] / shape[1])
        else:  # the open length takes the other axis' scale
            axis = 0 if wanted[1] is None else 1
            n = int(known[0])
            other = math.ceil(n * shape[1 - axis] / shape[axis])
            lengths = (n, other) if axis == 0 else (other, n)
            scales = (n / shape[axis],) * 2
    if min(scales) < MIN_SCALE:
        raise ValueError(f"scale {min(scales):g} is too small; at least {MIN_SCALE:g}")
    if max(lengths) > MAX_LENGTH:
        raise ValueError(
            f"an output of {lengths[0]}x{lengths[1]} is too large; at most {MAX_LENGTH} pixels along an axis"
        )
    return scales, lengths  # type: ignore[return-value]


def imresize(
    image: NDArray[np.generic],
    scale: float | Sequence[float] | None = None,
    *,
    size: Sequence[float | None] | None = None,
    method: str = "bicubic",
    antialias: bool = True,
    out: NDArray[np.generic] | None = None,
) -> NDArray[np.generic]:
    """Resize an image as MATLAB's ``imresize`` does, to the last pixel.

    Parameters
    ----------
    image : (H, W) or (H, W, C) array
        uint8: both passes round half away from zero and clamp to 0…255, as MATLAB does. float64: any finite
        range, nothing is clipped. float32: computed in float64 and rounded once, at the end. bool: taken as 0
        and 255 in uint8, and true where the result exceeds 128, as MATLAB treats logical images.
    scale : float or (float, float), optional
        Factor for both axes, or one for rows and one for columns. The output has ``ceil(scale * n)`` pixels.
    size : (int, int), optional
        Rows and columns of the output. One of them may be None or NaN: it follows from the other one's scale.
    method : {"bicubic", "bilinear", "lanczos2", "lanczos3", "box", "nearest"}
        Interpolation kernel.
    antialias : bool
        Widen the kernel when shrinking (MATLAB's default). "nearest" never does.
    out : array, optional
        Where to put the result: C-contiguous, of the right shape and of the image's dtype, apart from it in memory.

    Returns
    -------
    (h, w) or (h, w, C) array of the image's dtype

    Raises
    ------
    TypeError
        For another dtype.
    ValueError
        For an empty image, a wrong number of dimensions, a bad scale, size or method, or an unfit `out`.

    Notes
    -----
    The axis with the smaller scale goes first, rows at equal scales. Within a pass, sums are taken tap by tap
    in index order, without fused multiply-add: doubles agree with MATLAB's within a few units in the last place.

    Examples
    --------
    >>> import numpy as np
    >>> from idn_data import imresize
    >>> imresize(np.arange(16, dtype=np.uint8).reshape(4, 4), 0.5)
    array([[ 2,  5],
           [10, 13]], dtype=uint8)
    """
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.float32, np.float64, np.bool_):
        raise TypeError(f"imresize takes uint8, float32, float64 or bool images; got {image.dtype}; convert it first")
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"imresize takes a non-empty H×W or H×W×C array; got shape {image.shape}")
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; one of {', '.join(METHODS)}")
    height, width = image.shape[:2]
    channels = image.shape[2] if image.ndim == 3 else 1
    (scale_v, scale_h), (n_v, n_h) = _axis_lengths((height, width), scale, size)

    shape = (n_v, n_h) if image.ndim == 2 else (n_v, n_h, channels)
    target = np.empty(shape, image.dtype) if out is None else _check_out(out, shape, image)
    if image.dtype == np.bool_:
        grown = imresize(image.astype(np.uint8) * np.uint8(255), scale, size=size, method=method, antialias=antialias)
        return np.greater(grown, 128, out=target)
    source = np.ascontiguousarray(image).reshape(height, width * channels)
    wv, iv = compute_weights(height, n_v, scale_v, method, antialias)
    wh, ih = compute_weights(width, n_h, scale_h, method, antialias)
    kernels = load_kernels()
    run = kernels.resize_rows_then_columns if scale_v <= scale_h else kernels.resize_columns_then_rows
    run(source, wv, iv, wh, ih, channels, image.dtype == np.uint8, target.reshape(n_v, n_h * channels))
    return target


def _check_out(out: NDArray[np.generic], shape: tuple[int, ...], image: NDArray[np.generic]) -> NDArray[np.generic]:
    if out.shape != shape or out.dtype != image.dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out must be a writable C-contiguous {image.dtype} array of shape {shape}; got {out.dtype} {out.shape}"
        )
    if np.may_share_memory(out, image):
        raise ValueError("out must not share memory with the image")
    return out
