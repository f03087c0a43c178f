"""Reading MATLAB's .mat files of version 5, 6 and 7, as bounded as a stranger's file asks for.

scipy's reader follows nested cells until the stack ends, and unpacks whatever a file claims.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

MAX_BYTES = 1 << 28  # of a file, of what is unpacked from it, and of its matrices
MAX_PARTS = 1 << 20  # fields of all elements of a struct array

_MATRIX, _PACKED = 14, 15
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_CHAR, _STRUCT = 4, 2


class MatFileError(ValueError):
    """A .mat file that cannot be read; the message says why, without the file's name."""


class _DamageError(ValueError):
    pass


def read_mat(path: Path | str, names: Collection[str]) -> dict[str, Any]:
    """Some variables of a .mat file; those that it lacks are left out, others are passed over whatever they are.

    Parameters
    ----------
    path : path
        Of version 5, 6 or 7, in either order of bytes.
    names : collection of str

    Returns
    -------
    dict
        Matrices as arrays of their class (logical as uint8) with two dimensions or more, text as str (of several
        rows, column by column), struct arrays
        as a list of such dicts; None for what is complex, a cell, or of another class.

    Raises
    ------
    MatFileError
        Another version, damaged or too large.
    OSError
        The file cannot be read.
    """
    try:
        return _read_variables(Path(path), names)
    except _DamageError as error:
        raise MatFileError(f"not a readable .mat file ({error})") from None


def _read_variables(path: Path, names: Collection[str]) -> dict[str, Any]:
    if path.stat().st_size > MAX_BYTES:
        raise _DamageError(f"larger than {MAX_BYTES >> 20} MiB")
    data = memoryview(path.read_bytes())
    if len(data) < 128 or 0 in data[:4] or data[126:128] not in (b"IM", b"MI"):
        raise _DamageError("not of version 5, 6 or 7; save it in MATLAB with -v7")
    order = "<" if data[126:128] == b"IM" else ">"
    if struct.unpack(f"{order}H", data[124:126])[0] >= 0x0200:
        raise MatFileError("a version 7.3 file; save it in MATLAB with -v7")
    found: dict[str, Any] = {}
    at, room = 128, MAX_BYTES
    while at < len(data):
        kind, body, at = _read_element(data, at, order, unpadded=True)
        if kind == _PACKED:
            head = memoryview(_unpack(body, 4096))
            if _read_name(head[8:], order) not in names:
                continue
            whole = memoryview(_unpack(body, room + 1))
            if len(whole) > room:
                raise _DamageError(f"unpacks to more than {MAX_BYTES >> 20} MiB")
            kind, body, _ = _read_element(whole, 0, order)
        if kind == _MATRIX and (name := _read_name(body, order)) in names:
            found[name] = _Reader(order, room).read_matrix(body)
            room -= len(body)
    return found


def _unpack(packed: memoryview, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        raise _DamageError("damaged") from None


def _read_element(data: memoryview, at: int, order: str, unpadded: bool = False) -> tuple[int, memoryview, int]:
    """Type and bytes of the element there, and where the next one begins."""
    if at + 8 > len(data):
        raise _DamageError("damaged or cut off")
    kind, size = struct.unpack(f"{order}II", data[at : at + 8])
    if kind >> 16:  # up to four bytes, in the tag itself
        kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        if size > 4:
            raise _DamageError("damaged")
    else:
        start = at + 8
        end = start + size + (0 if unpadded and kind == _PACKED else -size % 8)
    if start + size > len(data):
        raise _DamageError("damaged or cut off")
    return kind, data[start : start + size], end


def _read_head(body: memoryview, order: str) -> tuple[int, bool, tuple[int, ...], str, int]:
    """Class, whether it is complex, dimensions and name of a matrix, and where its contents begin."""
    _, flags, at = _read_element(body, 0, order)
    _, sizes, at = _read_element(body, at, order)
    _, name, at = _read_element(body, at, order)
    if len(flags) < 4 or len(sizes) % 4 or not 8 <= len(sizes) <= 64:
        raise _DamageError("damaged")
    (word,) = struct.unpack(f"{order}I", flags[:4])
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    if min(shape) < 0:
        raise _DamageError("damaged")
    return word & 0xFF, bool(word & 0x0800), shape, bytes(name).decode("latin-1"), at


def _read_name(body: memoryview, order: str) -> str:
    try:
        return _read_head(body, order)[3]
    except _DamageError:
        return ""


class _Reader:
    """Reads matrices, within a bound on all that they take."""

    def __init__(self, order: str, room: int) -> None:
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
            raise _DamageError("damaged")
        packed = np.dtype(self.order + _STORED[stored])
        if math.prod(shape) * packed.itemsize != len(values):
            raise _DamageError("damaged: a matrix is not of its size")
        self.room -= math.prod(shape) * np.dtype(kind).itemsize
        if self.room < 0:
            raise _DamageError(f"holds more than {MAX_BYTES >> 20} MiB of values")
        with np.errstate(all="ignore"):  # MATLAB stores what fits; another file is none of its
            return np.frombuffer(values, packed).astype(kind).reshape(shape, order="F")

    def _find_coding(self, stored: int) -> str:
        if stored not in _TEXTS:
            raise _DamageError("damaged")
        coding = _TEXTS[stored]
        return coding + {"<": "-le", ">": "-be"}[self.order] if coding in ("utf-16", "utf-32") else coding

    def _read_struct(self, body: memoryview, at: int, shape: tuple[int, ...]) -> list[dict[str, Any]]:
        _, width, at = _read_element(body, at, self.order)
        _, letters, at = _read_element(body, at, self.order)
        size = struct.unpack(f"{self.order}i", width)[0] if len(width) == 4 else 0
        if size < 1 or len(letters) % size:
            raise _DamageError("damaged")
        parts = [bytes(letters[k : k + size]) for k in range(0, len(letters), size)]
        fields = [part.partition(b"\0")[0].decode("latin-1") for part in parts]
        if math.prod(shape) * max(1, len(fields)) > MAX_PARTS:
            raise _DamageError(f"a struct array of more than {MAX_PARTS:,} parts")
        elements: list[dict[str, Any]] = []
        for _ in range(math.prod(shape)):
            element = {}
            for field in fields:
                kind, part, at = _read_element(body, at, self.order)
                if kind != _MATRIX:
                    raise _DamageError("damaged")
                element[field] = self.read_matrix(part, inside=True)
            elements.append(element)
        return elements
