"""A reference: what MATLAB's imresize returned for an input, or exact arithmetic by its rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idn_data.matlab.weights import BOUNDARIES, METHODS, find_kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary

MAX_VALUES, MAX_SIDE, MIN_SCALE = 1 << 23, 1 << 13, 2.0**-11  # of a reference; beyond, it is taken for a mistake

MATLAB, EXACT = "MATLAB's own", "exact arithmetic"  # where a reference comes from

# MATLAB's classes -> ours
CLASSES = {"double": "float64", "single": "float32", "logical": "bool"} | {
    name: name for name in ("uint8", "uint16", "uint32", "int8", "int16", "int32")
}


class ReferenceFileError(ValueError):
    """A reference that cannot be used; the message names the file and says why."""


def check_matrix(name: str, array: NDArray[np.generic], most: int) -> None:
    """Refuse what is no matrix of one of `CLASSES`, or has more than `most` values; `name` is the reference's.

    Raises
    ------
    ValueError
        Another class, fewer than two dimensions, an empty or a too large matrix.
    """
    if array.dtype.name not in CLASSES.values() or array.ndim < 2 or 0 in array.shape:
        raise ValueError(
            f"{name}: matrices must be of {', '.join(CLASSES)}, and not empty; got {array.dtype} {array.shape}"
        )
    if array.size > most or max(array.shape) > MAX_SIDE:
        raise ValueError(f"{name}: {array.size} values; at most {most}, and {MAX_SIDE} along a side")


@dataclass(frozen=True)
class Reference:
    """What MATLAB's imresize returns for an input; `Call` is the same of the other functions.

    input, output : (H, W) or (H, W, …) arrays; of imresize, of one of its classes.
    Exactly one of scale (one number, or rows and columns) and size (rows, columns) is given.
    antialias : None where MATLAB was not told. boundary : None where it is not known which border that MATLAB has.
    corner : output is only the upper left corner of the result. origin : `MATLAB` or `EXACT`.
    """

    name: str
    source: str
    input: NDArray[np.generic]
    output: NDArray[np.generic]
    scale: float | tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    method: str = "bicubic"
    antialias: bool | None = None
    boundary: Boundary | None = None
    corner: bool = False
    function: str = "imresize"
    origin: str = MATLAB

    def __post_init__(self) -> None:
        for array in (self.input, self.output):
            check_matrix(self.name, array, MAX_VALUES)
        try:
            find_kernel(self.method)
        except ValueError:
            raise ValueError(
                f"{self.name}: unknown method {self.method[:40]!r}; one of {', '.join(METHODS)}, cubic, triangle"
            ) from None
        if self.boundary not in (None, *BOUNDARIES):
            raise ValueError(f"{self.name}: unknown boundary {self.boundary!r}; one of {', '.join(BOUNDARIES)}")
        if self.scale is not None and not min(np.ravel(self.scale)) >= MIN_SCALE:
            raise ValueError(f"{self.name}: the scale {min(np.ravel(self.scale)):g} is too small; at least {MIN_SCALE}")

    def shape(self) -> tuple[int, ...]:
        """What imresize should return has this shape, by its rules, however large."""
        rows, columns = self.input.shape[:2]
        vertical, horizontal = np.broadcast_to(1.0 if self.scale is None else self.scale, 2).tolist()
        asked = self.size or (math.ceil(vertical * rows), math.ceil(horizontal * columns))
        return (*asked, *self.input.shape[2:])
