"""Variables of a .mat file of version 4 (``save -v4``).

Each variable is a head of five 32-bit integers, its name and its values, one after the other: "MAT-File Level 4
Format" in MATLAB's documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Any

import numpy as np

from idn_data.matlab.matlimits import AGAIN, MatFileError, Room, order_values

_STORED = ("f8", "f4", "i4", "i2", "u2", "u1")  # by the tens of a variable's type
_NUMBERS, _TEXT, _SPARSE = 0, 1, 2  # by its ones
_HEAD, _LONGEST_NAME = 20, 4096


def read_version4(data: memoryview, names: Collection[str]) -> dict[str, Any]:
    """Some variables, as `idn_data.matlab.matfile.read_mat` returns them; all numbers have class double in version 4.

    Raises
    ------
    MatFileError
        Not of version 4, damaged, cut off or too large.
    """
    found: dict[str, Any] = {}
    at, room = 0, Room()
    while at < len(data):
        order = ">" if any(data[at + 1 : at + 4]) else "<"  # the first integer is below 53, or over 1000
        kind, stored, rows, columns, imaginary, length = _read_head(data, at, order, first=at == 0)
        start = at + _HEAD + length
        size = rows * columns * np.dtype(stored).itemsize
        at = start + size * (2 if imaginary and kind != _SPARSE else 1)
        if at > len(data):
            raise MatFileError(f"cut off within a variable; {AGAIN}")
        name = bytes(data[start - length : start]).partition(b"\0")[0].decode("latin-1")
        if name not in names:
            continue
        room.take(rows * columns * 8)
        values = np.frombuffer(data[start : start + size], np.dtype(order + stored))
        if kind == _TEXT:
            found[name] = bytes(order_values(values, (len(values),), "u1")).decode("latin-1")
        else:
            found[name] = None if kind == _SPARSE or imaginary else order_values(values, (rows, columns), "f8")
    return found


def _read_head(data: memoryview, at: int, order: str, first: bool) -> tuple[int, str, int, int, int, int]:
    """Kind, numpy's type as stored, rows, columns, whether it has imaginary parts, and bytes of the name."""
    if at + _HEAD > len(data):
        raise MatFileError(f"cut off within a variable; {AGAIN}")
    said, rows, columns, imaginary, length = struct.unpack(f"{order}5i", data[at : at + _HEAD])
    machine, stored, kind = said // 1000, said // 10 % 100, said % 10
    whole = machine == (0 if order == "<" else 1) and 0 <= stored < len(_STORED) and kind <= _SPARSE
    if not whole or min(rows, columns) < 0 or imaginary not in (0, 1) or not 1 <= length <= _LONGEST_NAME:
        what = "not a .mat file; name one that MATLAB's save wrote" if first else f"damaged; {AGAIN}"
        raise MatFileError(what)
    return kind, _STORED[stored], rows, columns, imaginary, length
