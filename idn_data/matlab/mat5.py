"""Variables of a .mat file of version 5, 6 or 7 (MATLAB's default), as bounded as a stranger's file asks for.

scipy's reader follows nested cells until the stack ends, and unpacks whatever a file claims. The format is that of
"MAT-File Level 5 Format" in MATLAB's documentation.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idn_data.matlab.matlimits import AGAIN, MAX_PARTS, MatFileError, Room, order_values, say_limit

HEAD = 128  # bytes, before the first variable
_MATRIX, _PACKED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_CHAR, _STRUCT = 4, 2
_DAMAGED, _CUT_OFF = f"damaged; {AGAIN}", f"cut off within a variable; {AGAIN}"


def read_version5(data: memoryview, names: Collection[str]) -> dict[str, Any]:
    """Some variables, as `idn_data.matlab.matfile.read_mat` returns them; `data` begins with the file's head.

    Raises
    ------
    MatFileError
        Damaged, cut off or too large.
    """
    order = "<" if bytes(data[126:128]) == b"IM" else ">"
    found: dict[str, Any] = {}
    at, room = HEAD, Room()
    while at < len(data):
        kind, body, at = _read_element(data, at, order, outside=True)
        if kind == _PACKED:
            head = memoryview(_unpack(body, 4096))
            if _read_name(head[8:], order) not in names:
                continue
            whole = memoryview(_unpack(body, room.left + 1))
            if len(whole) > room.left:
                raise MatFileError(f"unpacks to more than {say_limit()}; save it with fewer variables")
            kind, body, _ = _read_element(whole, 0, order)
        if kind == _MATRIX and (name := _read_name(body, order)) in names:
            left = room.left
            found[name] = _Reader(order, room).read_matrix(body)
            room.take(max(0, len(body) - (left - room.left)))  # its bytes, or those of its values where they are more
    return found


def _unpack(packed: memoryview, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        raise MatFileError(_DAMAGED) from None


def _read_element(data: memoryview, at: int, order: str, outside: bool = False) -> tuple[int, memoryview, int]:
    """Type and bytes of the element there, and where the next one begins; `outside` of any variable."""
    if at + 8 > len(data):
        raise MatFileError(_CUT_OFF if outside else _DAMAGED)
    kind, size = struct.unpack(f"{order}II", data[at : at + 8])
    if kind >> 16:  # up to four bytes, in the tag itself
        kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        if size > 4:
            raise MatFileError(_DAMAGED)
    else:
        start = at + 8
        end = start + size + (0 if outside and kind == _PACKED else -size % 8)
    if start + size > len(data):
        raise MatFileError(_CUT_OFF if outside else _DAMAGED)
    return kind, data[start : start + size], end


def _read_head(body: memoryview, order: str) -> tuple[int, bool, tuple[int, ...], str, int]:
    """Class, whether it is complex, dimensions and name of a matrix, and where its contents begin."""
    _, flags, at = _read_element(body, 0, order)
    _, sizes, at = _read_element(body, at, order)
    _, name, at = _read_element(body, at, order)
    if len(flags) < 4 or len(sizes) % 4 or not 8 <= len(sizes) <= 64:
        raise MatFileError(_DAMAGED)
    (word,) = struct.unpack(f"{order}I", flags[:4])
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if min(shape) < 0:
        raise MatFileError(_DAMAGED)
    return word & 0xFF, bool(word & 0x0800), shape, bytes(name).decode("latin-1"), at


def _read_name(body: memoryview, order: str) -> str:
    try:
        return _read_head(body, order)[3]
    except MatFileError:
        return ""


class _Reader:
    """Reads matrices, within a bound on all that they take."""

    def __init__(self, order: str, room: Room) -> None:
        self.order, self.room = order, room

    def read_matrix(self, body: memoryview, inside: bool = False) -> Any:
        if inside and not body:  # a field that was never set
            return np.zeros((0, 0))
        kind, complex_, shape, _, at = _read_head(body, self.order)
        if kind == _STRUCT and not inside:
            return self._read_struct(body, at, shape)
        if complex_ or kind not in (*_CLASSES, _CHAR):
            return None
        stored, values, _ = _read_element(body, at, self.order)
        if kind == _CHAR:
            return bytes(values).decode(self._find_coding(stored), "replace")
        return self._read_numbers(stored, values, shape, _CLASSES[kind])

    def _read_numbers(self, stored: int, values: memoryview, shape: tuple[int, ...], kind: str) -> NDArray[Any]:
        if stored not in _STORED:
            raise MatFileError(_DAMAGED)
        packed = np.dtype(self.order + _STORED[stored])
        if math.prod(shape) * packed.itemsize != len(values):
            raise MatFileError(f"damaged: a matrix is not of its size; {AGAIN}")
        self.room.take(math.prod(shape) * np.dtype(kind).itemsize)
        return order_values(np.frombuffer(values, packed), shape, kind)

    def _find_coding(self, stored: int) -> str:
        if stored not in _TEXTS:
            raise MatFileError(_DAMAGED)
        coding = _TEXTS[stored]
        return coding + {"<": "-le", ">": "-be"}[self.order] if coding in ("utf-16", "utf-32") else coding

    def _read_struct(self, body: memoryview, at: int, shape: tuple[int, ...]) -> list[dict[str, Any]]:
        _, width, at = _read_element(body, at, self.order)
        _, letters, at = _read_element(body, at, self.order)
        size = struct.unpack(f"{self.order}i", width)[0] if len(width) == 4 else 0
        if size < 1 or len(letters) % size:
            raise MatFileError(_DAMAGED)
        parts = [bytes(letters[k : k + size]) for k in range(0, len(letters), size)]
        fields = [part.partition(b"\0")[0].decode("latin-1") for part in parts]
        if math.prod(shape) * max(1, len(fields)) > MAX_PARTS:
            raise MatFileError(f"a struct array of more than {MAX_PARTS:,} parts; save it in several files")
        elements: list[dict[str, Any]] = []
        for _ in range(math.prod(shape)):
            element = {}
            for field in fields:
                kind, part, at = _read_element(body, at, self.order)
                if kind != _MATRIX:
                    raise MatFileError(_DAMAGED)
                element[field] = self.read_matrix(part, inside=True)
            elements.append(element)
        return elements
