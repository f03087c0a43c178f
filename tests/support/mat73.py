"""Files of MATLAB's version 7.3, written by h5py as MATLAB lays them out."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np

HEAD = b"MATLAB 7.3 MAT-file, Platform: GLNXA64 HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM"
_numbers = itertools.count()  # of what lies in #refs#
CLASSES = {"f8": "double", "f4": "single", "b1": "logical"}


def open_mat73(path: Path, mode: str = "w") -> h5py.File:
    """A new file whose first 512 bytes are left to MATLAB's own head, which `close_mat73` writes."""
    return h5py.File(path, mode, userblock_size=512)


def close_mat73(file: h5py.File) -> None:
    """Close it and write the head."""
    path = file.filename
    file.close()
    with Path(path).open("r+b") as stream:
        stream.write(HEAD)


def put(parent: h5py.Group, name: str, value: Any, **how: Any) -> Any:
    """One variable: a matrix, a str, a dict (a struct), a list of dicts (a struct array) or a tuple (a cell)."""
    if isinstance(value, dict):
        group = parent.create_group(name)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for field, part in value.items():
            put(group, field, part, **how)
        return group
    if isinstance(value, list) and value:
        group = parent.create_group(name)
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for field in value[0]:
            refer(group, field, [element[field] for element in value], (len(value), 1), **how)
        return group
    if isinstance(value, np.ndarray) and value.dtype == object:
        value = tuple(value.ravel())
    if isinstance(value, tuple):
        cell = refer(parent, name, list(value), (len(value), 1), **how)
        cell.attrs["MATLAB_class"] = np.bytes_("cell")
        return cell
    return _put_matrix(parent, name, value, how)


def refer(parent: h5py.Group, name: str, parts: list[Any], shape: tuple[int, ...], **how: Any) -> h5py.Dataset:
    """A dataset of references to values, which lie in the group ``#refs#``."""
    store = parent.file.require_group("#refs#")
    references = [put(store, f"r{next(_numbers)}", part, **how).ref for part in parts]
    data = parent.create_dataset(name, shape, h5py.ref_dtype)
    data[...] = np.array(references, h5py.ref_dtype).reshape(shape)
    return data


def _put_matrix(parent: h5py.Group, name: str, value: Any, how: dict[str, Any]) -> h5py.Dataset:
    if isinstance(value, str):
        kind, array = "char", np.frombuffer(value.encode("utf-16-le"), np.uint16)[None]
    elif isinstance(value, list):
        kind, array = "struct", np.zeros((0, 0))
    else:
        array = np.asarray(value)
        kind = CLASSES.get(array.dtype.str[1:], str(array.dtype))
        array = np.atleast_2d(array)
    if array.size == 0:
        data = parent.create_dataset(name, data=np.array(array.shape, np.uint64))
        data.attrs["MATLAB_empty"] = np.uint8(1)
    else:
        stored = array.astype(np.uint8) if kind == "logical" else array
        data = parent.create_dataset(name, data=stored.T, **how)  # MATLAB's dimensions, in reverse
    data.attrs["MATLAB_class"] = np.bytes_(kind)
    if kind in ("char", "logical"):
        data.attrs["MATLAB_int_decode"] = np.int32(2 if kind == "char" else 1)
    return data


def save_mat73(path: Path, variables: dict[str, Any], **how: Any) -> None:
    """Write variables; `how` goes to h5py's create_dataset, as compression="gzip"."""
    file = open_mat73(path)
    for name, value in variables.items():
        put(file, name, value, **how)
    close_mat73(file)
