"""What all readers of .mat files share: the bounds on a stranger's file, and the error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 1 << 28  # of a file, of what is unpacked from it, and of its matrices
MAX_PARTS = 1 << 20  # fields of all elements of a struct array
AGAIN = "copy it or save it again"  # what to do about a file that is not whole

# MATLAB's numeric classes and how numpy stores them; logical matrices are read as uint8
CLASSES = {
    "double": "f8", "single": "f4", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4",
    "uint32": "u4", "int64": "i8", "uint64": "u8", "logical": "u1",
}  # fmt: skip


class MatFileError(ValueError):
    """A .mat file that cannot be read; the message says why and what to do, without the file's name."""


class Room:
    """Counts the bytes of values that are read from one file, up to `MAX_BYTES`."""

    def __init__(self) -> None:
        self.left = MAX_BYTES

    def take(self, count: int) -> None:
        """Count some bytes; MatFileError where there are too many."""
        self.left -= count
        if self.left < 0:
            raise MatFileError(f"holds more than {say_limit()} of values; save it with fewer variables")


def say_limit() -> str:
    """`MAX_BYTES` for people."""
    return f"{MAX_BYTES >> 20} MiB"


def order_values(values: NDArray[Any], shape: Sequence[int], kind: str) -> NDArray[Any]:
    """Values that lie column by column, as a matrix of a shape and a numpy type; MatFileError for another count."""
    try:
        with np.errstate(all="ignore"):  # MATLAB stores what fits; another file is none of its
            return values.astype(kind).reshape(tuple(shape), order="F")
    except ValueError:
        raise MatFileError(f"damaged: a matrix is not of its size; {AGAIN}") from None
