"""The weights of MATLAB's `imresize`: which input pixels make an output pixel, and how much each counts.

The arithmetic follows the documentation of MATLAB's imresize and the facts listed in ``fixtures/README.md``,
each checked against values that MATLAB returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    KernelFunction: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    Method: TypeAlias = str | tuple[KernelFunction, float]

# What lies beyond the edge. Newer MATLABs reflect there (symmetric); older ones, R2013b among them, repeat the edge.
Boundary = Literal["symmetric", "replicate"]
BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)

MAX_WIDTH = 1024.0  # of a kernel of one's own, in pixels


@dataclass(frozen=True)
class Kernel:
    """An interpolation kernel.

    function : distances in input pixels to weights, elementwise, float64.
    width : where it may differ from 0, in input pixels, half on either side.
    antialias : MATLAB's default for it: widen it when shrinking.
    """

    function: KernelFunction
    width: float
    antialias: bool = True


def _cube(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """x³ rounded once, by Dekker's exact product: MATLAB's ``x.^3`` is a power, which ``x*x*x`` is not.

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


def _lanczos(lobes: int) -> KernelFunction:
    eps = np.finfo(np.float64).eps  # MATLAB's guard against 0/0 at the origin

    def kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
        top = np.sin(np.pi * x) * np.sin(np.pi * x / lobes) + eps
        return top / (np.pi**2 * x**2 / lobes + eps) * (np.abs(x) < lobes)

    return kernel


_KERNELS = {
    "bicubic": Kernel(_cubic, 4.0),
    "bilinear": Kernel(_triangle, 2.0),
    "lanczos2": Kernel(_lanczos(2), 4.0),
    "lanczos3": Kernel(_lanczos(3), 6.0),
    "box": Kernel(_box, 1.0),
    "nearest": Kernel(_box, 1.0, antialias=False),
}
METHODS = tuple(_KERNELS)
_OTHER_NAMES = {"cubic": "bicubic", "triangle": "bilinear"}  # MATLAB's


def find_kernel(method: Method) -> Kernel:
    """The kernel of a method: MATLAB's name for it in any case, or ``(function, width)``.

    Raises
    ------
    ValueError
        For an unknown name, or a width that is not a positive number of at most `MAX_WIDTH`.
    """
    if isinstance(method, str):
        name = method.lower()
        if kernel := _KERNELS.get(_OTHER_NAMES.get(name, name)):
            return kernel
    elif isinstance(method, (tuple, list)) and len(method) == 2 and callable(method[0]):
        function, width = method
        if not isinstance(width, Real) or not 0 < width <= MAX_WIDTH:
            raise ValueError(f"a kernel's width must be a positive number, at most {MAX_WIDTH:g} pixels; got {width!r}")
        return Kernel(function, float(width))
    raise ValueError(
        f"unknown method {method!r}; one of {', '.join((*METHODS, *_OTHER_NAMES))}, or (function, width) for your own"
    )


def check_boundary(boundary: str) -> None:
    """Raise ValueError for anything but `BOUNDARIES`."""
    if boundary not in BOUNDARIES:
        raise ValueError(f"unknown boundary {boundary!r}; one of {', '.join(BOUNDARIES)}")


def compute_weights(
    n_in: int,
    n_out: int,
    scale: float,
    method: Method = "bicubic",
    antialias: bool | None = True,
    boundary: Boundary = "symmetric",
) -> tuple[NDArray[np.float64], NDArray[np.uintp]]:
    """Weights and indices of the resampling along one axis.

    Parameters
    ----------
    n_in, n_out : int
        Length of the input and of the output, in pixels.
    scale : float
        The scale that sets the positions; ``n_out`` need not be exactly ``scale * n_in``.
    method : str or (function, width)
        As in `imresize`.
    antialias : bool or None
        Widen the kernel when shrinking; None is MATLAB's default: not for "nearest".
    boundary : {"symmetric", "replicate"}
        What lies beyond the edge: the mirror image with the edge pixel repeated, or the edge pixel.

    Returns
    -------
    weights : (n_out, P) float64
        Each row sums to 1. Columns that are zero all over are left out, as in MATLAB. Read-only, because it is cached.
    indices : (n_out, P) uintp
        The 0-based input pixel of each tap. Read-only.

    Raises
    ------
    ValueError
        For an unknown method or boundary, or a kernel whose values are not finite or sum to 0.
    """
    check_boundary(boundary)
    kernel = find_kernel(method)
    widen = kernel.antialias if antialias is None else bool(antialias)
    # a function of the user's may change its mind: only MATLAB's kernels are cached
    n_in, n_out, scale = int(n_in), int(n_out), float(scale)  # numpy's small numbers would overflow, or round
    compute = _compute_weights if isinstance(method, str) else _compute_weights.__wrapped__
    return compute(n_in, n_out, scale, kernel, widen and scale < 1, boundary)


@lru_cache(maxsize=512)
def _compute_weights(
    n_in: int, n_out: int, scale: float, kernel: Kernel, shrink: bool, boundary: Boundary
) -> tuple[NDArray[np.float64], NDArray[np.uintp]]:
    """`compute_weights` of a kernel, widened where `shrink`."""
    width = kernel.width / scale if shrink else kernel.width
    x = np.arange(1, n_out + 1, dtype=np.float64)  # MATLAB counts pixels from 1
    u = x / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(u - width / 2)
    positions = left[:, None] + np.arange(math.ceil(width) + 2)  # (n_out, P)
    distance = u[:, None] - positions
    weights = scale * _call(kernel, scale * distance) if shrink else _call(kernel, distance)
    total = np.zeros(n_out)
    for column in weights.T:  # in order; np.sum would add in pairs
        total = total + column
    if not total.all():
        raise ValueError(
            f"the kernel's weights sum to 0 at scale {scale:g}: its width of {kernel.width:g} is too small"
        )
    weights = weights / total[:, None]
    kept = np.any(weights != 0, axis=0)
    weights = np.ascontiguousarray(weights[:, kept])
    # safe: float64 holds these whole numbers exactly
    indices = _fold(positions[:, kept].astype(np.int64) - 1, n_in, boundary)
    weights.flags.writeable = indices.flags.writeable = False
    return weights, indices


def _call(kernel: Kernel, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.asarray(kernel.function(distance))
    if weights.shape != distance.shape or weights.dtype.kind not in "fiub" or not np.isfinite(weights).all():
        raise ValueError(
            f"a kernel must return a finite real number for each distance it is given; got {weights.dtype} "
            f"{weights.shape} for float64 {distance.shape}"
        )
    return weights.astype(np.float64)


def _fold(positions: NDArray[np.int64], n: int, boundary: Boundary) -> NDArray[np.uintp]:
    """Bring 0-based positions beyond the edge to a pixel in 0…n-1."""
    if boundary == "replicate":
        folded = np.clip(positions, 0, n - 1)
    else:
        around = np.mod(positions, 2 * n)
        folded = np.where(around < n, around, 2 * n - 1 - around)
    return folded.astype(np.uintp, order="C")  # safe: 0…n-1
