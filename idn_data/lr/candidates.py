"""What may have made an LR picture: MATLAB's ways, to be tried one by one. Those of other packages are in `foreign`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.lr.degrade import reduce_picture, round_double
from idn_data.lr.reduction import Reduction
from idn_data.matlab.classes import im2double
from idn_data.matlab.color import rgb2ycbcr, ycbcr2rgb
from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.matlab.filters import Edge
    from idn_data.matlab.weights import Boundary

# HR as it is reduced, rows and columns of LR, and how many HR pixels lie along one of LR's -> LR of the same type
Make = Callable[["NDArray[Any]", tuple[int, int], float], "NDArray[Any]"]

KERNELS = ("bicubic", "bilinear", "lanczos2", "lanczos3", "box")
BLUR_KERNELS = (7, 15, 21, 25)
BLUR_SIGMAS = (0.8, 1.0, 1.2, 1.3, 1.6, 1.8, 2.0, 2.4, 2.6, 2.8, 3.0, 3.2)


_EDGES: tuple[Edge, ...] = ("replicate", "symmetric")


@dataclass(frozen=True)
class Candidate:
    """One way to make LR.

    Parameters
    ----------
    maker : str
        "matlab", "pillow", "opencv", "torch" or "skimage".
    method : str
        As the maker calls it.
    make : callable
    boundary, through, antialias
        What lies beyond the edge, the arithmetic ("uint8", "double", "single"), whether the kernel is widened; None
        where the maker has no choice.
    usual : bool
        Much used: believed first where several give the same values, and tried on HR cut in other ways as well.
    local : bool
        A corner of HR gives that corner of LR.
    wide : bool
        Takes 16-bit pictures too.
    reduction : callable(scale) -> Reduction, optional
        The settings by which `make_lr` does the same.
    """

    maker: str
    method: str
    make: Make = field(repr=False, compare=False)
    boundary: str | None = None
    through: str = "uint8"
    antialias: bool | None = None
    usual: bool = False
    local: bool = True
    wide: bool = False
    reduction: Callable[[float], Reduction] | None = field(default=None, repr=False, compare=False)

    @property
    def skips(self) -> bool:
        """Whether pixels of HR are passed over: then the sample need not lie in the middle of what it stands for."""
        narrow = self.method == "box" and not self.antialias
        return narrow or self.method.startswith(("blur", "nearest")) or self.method.endswith("order 0")

    def __str__(self) -> str:
        """Such as ``matlab bicubic, boundary symmetric, through double, no antialiasing``."""
        parts = [f"{self.maker} {self.method}"]
        parts += [f"boundary {self.boundary}"] if self.boundary else []
        parts += [f"through {self.through}"] if self.through != "uint8" else []
        parts += [] if self.antialias is None else ["antialiasing" if self.antialias else "no antialiasing"]
        return ", ".join(parts)


_BOUNDARIES: tuple[Boundary, ...] = ("symmetric", "replicate")


def list_matlab() -> list[Candidate]:
    """MATLAB's imresize: each kernel, both borders, through uint8 and double, with antialiasing and without."""
    found = []
    for method in KERNELS:
        for antialias in (True, False):
            for through in ("uint8", "double"):
                for boundary in _BOUNDARIES:
                    found.append(_resize_candidate(method, antialias, through, boundary))
    for through in ("uint8", "double"):
        for boundary in _BOUNDARIES:
            found.append(
                Candidate("matlab", "bicubic of YCbCr", _choose_ycbcr(through, boundary), boundary, through, True)
            )
    nearest = _resize_candidate("nearest", True, "uint8", "symmetric")
    return [*found, Candidate("matlab", "nearest", nearest.make, usual=True, wide=True, reduction=nearest.reduction)]


def _resize_candidate(method: str, antialias: bool, through: str, boundary: str) -> Candidate:
    def describe(scale: float) -> Reduction:
        return Reduction(scale, "bicubic", method, boundary, antialias, through)

    def make(hr: NDArray[Any], size: tuple[int, int], scale: float) -> NDArray[Any]:
        if size == tuple(math.ceil(n / scale) for n in hr.shape[:2]):
            return reduce_picture(hr, describe(scale))
        options: dict[str, Any] = {"boundary": boundary, "antialias": None if antialias else False}
        if through == "uint8":
            return imresize(hr, size=size, method=method, **options)
        made = imresize(im2double(hr), size=size, method=method, **options)
        return round_double(np.asarray(made, dtype=np.float64), hr.dtype)

    usual = method == "bicubic" and antialias
    return Candidate("matlab", method, make, boundary, through, antialias, usual, wide=True, reduction=describe)


def _choose_ycbcr(through: str, boundary: Boundary) -> Make:
    """Colour resized as YCbCr, as scripts do that enlarge Y by a network; grey as it is."""

    def make(hr: NDArray[Any], size: tuple[int, int], scale: float) -> NDArray[Any]:
        source = hr if through == "uint8" else im2double(hr)
        source = rgb2ycbcr(source) if hr.ndim == 3 else source
        made: NDArray[Any] = imresize(source, size=size, boundary=boundary)
        made = ycbcr2rgb(made) if hr.ndim == 3 else made
        return made if through == "uint8" else round_double(made, hr.dtype)

    return make


def list_blurs() -> list[Candidate]:
    """MATLAB's imfilter by a Gaussian, then every s-th pixel: from the middle (nearest) or from the first."""
    kinds = [(7, 1.6), *((k, sigma) for k in BLUR_KERNELS for sigma in BLUR_SIGMAS if (k, sigma) != (7, 1.6))]
    return [
        _blur_candidate(kernel, sigma, boundary, through, first)
        for kernel, sigma in kinds
        for first in (False, True)
        for through in ("uint8", "double")
        for boundary in _EDGES
    ]


def _blur_candidate(kernel: int, sigma: float, boundary: Edge, through: str, first: bool) -> Candidate:
    def describe(scale: float) -> Reduction:
        return Reduction(scale, "blur", "nearest", boundary, True, through, "rgb", sigma, kernel)

    def make(hr: NDArray[Any], size: tuple[int, int], scale: float) -> NDArray[Any]:
        if not first:
            return reduce_picture(hr, describe(scale))
        from idn_data.matlab.filters import fspecial, imfilter  # scipy is wanted for this alone

        step, window = int(scale), fspecial("gaussian", kernel, sigma)
        if through == "uint8":
            return np.asarray(imfilter(hr, window, boundary))[::step, ::step]
        return round_double(np.asarray(imfilter(im2double(hr), window, boundary))[::step, ::step], hr.dtype)

    name = f"blur, kernel {kernel}, sigma {sigma:g}" + (", first of each block" if first else "")
    return Candidate("matlab", name, make, boundary, through, usual=(kernel, sigma) == (7, 1.6) and not first,
                     wide=True, reduction=None if first else describe)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """How far a made LR is from the one that is there: values that differ, of how many, by how much, and where."""

    differing: int
    values: int
    largest: int
    squares: float
    border: bool

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.differing + other.differing, self.values + other.values, max(self.largest, other.largest),
            self.squares + other.squares, self.border and other.border,
        )  # fmt: skip

    @property
    def where(self) -> str:
        """ "nowhere", "border" (all within `BORDER` pixels of the edge) or "everywhere"."""
        return "nowhere" if not self.differing else "border" if self.border else "everywhere"

    @property
    def share(self) -> float:
        """The share of values that differ."""
        return self.differing / self.values


BORDER = 4


def measure(made: NDArray[Any], lr: NDArray[Any], part: tuple[slice, slice] = (slice(None), slice(None))) -> Difference:
    """The difference within a part of two pictures of one shape; all values differ where the shapes do."""
    if made.shape != lr.shape:
        return Difference(lr.size, lr.size, 255, math.inf, False)
    error = np.abs(made[part].astype(np.int32) - lr[part].astype(np.int32))
    height, width = lr.shape[:2]
    inside = tuple(
        slice(max(b, BORDER) - b, max(0, min(e, n - BORDER) - b))
        for n, (b, e, _) in ((n, p.indices(n)) for n, p in zip((height, width), part, strict=True))
    )
    squares = float(np.square(error, dtype=np.float64).sum())
    return Difference(
        int(np.count_nonzero(error)), error.size, int(error.max(initial=0)), squares, not error[inside].any()
    )
