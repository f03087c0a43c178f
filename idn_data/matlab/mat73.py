"""Variables of a .mat file of version 7.3 (``save -v7.3``), which is HDF5.

A matrix is a dataset with its dimensions in reverse order and its class in the attribute ``MATLAB_class``; an empty one
holds its dimensions instead of values. A struct is a group of its fields, a struct array a group of datasets of
references, in the order of its elements.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from idn_data.matlab import hdf5
from idn_data.matlab.matlimits import AGAIN, CLASSES, MatFileError, Room, order_values

MAX_PARTS = 1 << 15  # fields of all elements of a struct array: each is a dataset of its own, opened in 0.2 ms
_DAMAGED = f"damaged; {AGAIN}"


def read_version73(path: Path | str, names: Collection[str]) -> dict[str, Any]:
    """Some variables, as `idn_data.matlab.matfile.read_mat` returns them.

    Raises
    ------
    MatFileError
        Damaged, cut off or too large; or a variable lies elsewhere, or is packed in an unusual way.
    """
    try:
        file = h5py.File(path, "r")
    except hdf5.UNREADABLE as error:
        what = "cut off" if "truncated" in str(error) else "damaged"
        raise MatFileError(f"of version 7.3, but its HDF5 part is {what}; {AGAIN}") from None
    with file:
        try:
            reader = _Reader(file)
            return {name: reader.read_member(file, name) for name in names if name in file.keys()}  # noqa: SIM118 (`in file` follows links)
        except MatFileError:
            raise
        except hdf5.UNREADABLE:
            raise MatFileError(_DAMAGED) from None


class _Reader:
    """Reads variables, within a bound on all that they take."""

    def __init__(self, file: h5py.File) -> None:
        self.file, self.room = file, Room()

    def read_member(self, parent: h5py.Group, name: str, inside: bool = False) -> Any:
        """A variable, or with `inside` a field of a struct."""
        if not hdf5.lies_inside(parent, name):
            raise MatFileError(f"{name[:60]!r} is a link to another place; save it again without links")
        return self._read(parent[name], inside)

    def _read(self, item: Any, inside: bool) -> Any:
        kind = _read_class(item)
        if isinstance(item, h5py.Group):
            return self._read_struct(item) if kind == "struct" and not inside else None
        if not isinstance(item, h5py.Dataset) or not (kind in CLASSES or kind in ("char", "struct")):
            return None
        if h5py.h5a.exists(item.id, b"MATLAB_empty"):
            shape = self._read_values(item).ravel().tolist()
            if len(shape) < 2 or not all(isinstance(n, int) and 0 <= n <= 1 << 31 for n in shape) or all(shape):
                raise MatFileError(_DAMAGED)
            texts: dict[str, Any] = {"char": "", "struct": None if inside else []}
            return texts[kind] if kind in texts else order_values(np.zeros(0), shape, CLASSES[kind])
        if item.dtype.kind not in "iuf" or kind == "struct":  # complex numbers are pairs
            return None
        values = self._read_values(item)
        if kind == "char":
            # the cast is safe: MATLAB's characters have 16 bits, and other values are no text whatever comes of them
            return values.astype("<u2").tobytes().decode("utf-16-le", "replace")
        more = values.size * np.dtype(CLASSES[kind]).itemsize - values.nbytes  # than was taken when they were read
        self.room.take(max(0, more))
        return order_values(values.ravel(), np.atleast_2d(values).shape[::-1], CLASSES[kind])

    def _read_values(self, data: h5py.Dataset) -> NDArray[Any]:
        if fault := hdf5.find_fault(data):
            if fault == hdf5.ELSEWHERE:
                raise MatFileError("a variable's values lie in another file; save it again")
            raise MatFileError("packed in a way that idn does not read; save it again with -v7")
        self.room.take(data.size * max(1, data.dtype.itemsize))
        if data.chunks:
            hdf5.check_chunks(data, 0, len(data))
        return np.asarray(data[()])

    def _read_struct(self, group: h5py.Group) -> list[dict[str, Any]] | None:
        if h5py.h5a.exists(group.id, b"MATLAB_sparse"):
            return None
        if len(group) > MAX_PARTS:
            raise MatFileError(f"a struct of more than {MAX_PARTS:,} parts; save it in several files")
        columns, shapes = {}, set()
        for field in group:
            item = group[field] if hdf5.lies_inside(group, field) else None
            if isinstance(item, h5py.Dataset) and item.dtype.kind == "O" and _read_class(item) == "":
                columns[field] = item
                shapes.add(item.shape)
        if not columns:
            return [{field: self.read_member(group, field, inside=True) for field in group}]
        if len(columns) < len(group) or len(shapes) > 1 or None in shapes:
            raise MatFileError(_DAMAGED)
        return self._read_elements(columns)

    def _read_elements(self, columns: dict[str, h5py.Dataset]) -> list[dict[str, Any]]:
        """The elements of a struct array, from a dataset of references for each field."""
        count = next(iter(columns.values())).size
        if count * len(columns) > MAX_PARTS:
            raise MatFileError(f"a struct array of more than {MAX_PARTS:,} parts; save it in several files")
        elements: list[dict[str, Any]] = [{} for _ in range(count)]
        for field, column in columns.items():
            if h5py.check_ref_dtype(column.dtype) is not h5py.Reference:
                raise MatFileError(_DAMAGED)
            for element, reference in zip(elements, self._read_values(column).ravel(), strict=True):
                # a null reference is a field that was never set
                element[field] = self._read(self.file[reference], inside=True) if reference else np.zeros((0, 0))
        return elements


def _read_class(item: Any) -> str:
    """MATLAB's class of a variable; "" where it says none."""
    if not h5py.h5a.exists(item.id, b"MATLAB_class"):
        return ""
    held = h5py.h5a.open(item.id, b"MATLAB_class")
    if held.shape not in ((), (1,)) or held.dtype.kind != "S" or held.dtype.itemsize > 64:
        return "unknown"
    text = np.empty(held.shape, held.dtype)
    held.read(text)
    return bytes(text.item()).decode("latin-1")
