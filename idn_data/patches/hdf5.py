"""HDF5 files that may be damaged, or made to harm: opened and read within bounds, each fault with its own message."""

from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from idn_data.access import explain_refusal, find_obstacle
from idn_data.matlab.hdf5 import check_chunks
from idn_data.patches.header import to_plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CHUNK = MAX_ATTRIBUTES = 64 << 20  # bytes; HDF5 takes a whole chunk, or attribute, into memory
_PACKING = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32)  # what may be, in that order
UNREADABLE = (KeyError, OSError, RuntimeError, TypeError, ValueError, AttributeError, IndexError)  # what h5py raises

_EXPECTED = "expected /lr (N, 1, p, p) and /gt (N, 1, s·p, s·p); h5py renames a dataset: file.move(old, new)"


class PatchFileError(ValueError):
    """A file that is no sound patch file; the message names it and says why."""


def open_file(path: Path) -> h5py.File:
    """An HDF5 file open for reading; PatchFileError where it is missing, refused, or none."""
    if obstacle := find_obstacle(path, "no such file; idn make-train makes one"):
        raise PatchFileError(f"{path}: {obstacle}")
    try:
        return h5py.File(path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        raise PatchFileError(f"{path}: {_explain_opening(error, path)}") from None


def _explain_opening(error: Exception, path: Path) -> str:
    """What HDF5 says of a file that the system opens."""
    said = str(error)
    if "unable to lock file" in said:
        if getattr(error, "errno", None) in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES):
            return "another program is writing it; wait until that has closed it"
        return "its file system has no locks; HDF5_USE_FILE_LOCKING=FALSE reads it without, while nobody writes it"
    if "already open for" in said:
        return "another program is writing it, or was killed in that; wait for it, or else run h5clear -s on it"
    if isinstance(error, OSError) and error.errno:
        return explain_refusal(error, path, writing=False)
    return "not an HDF5 file, or a damaged one"


def find_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset that lies in the file itself, and is no larger than what the file can hold."""
    link = file.get(name, getlink=True)
    if link is None:
        raise PatchFileError(f"{file.filename}: holds {_list_names(file)}, but no /{name}; {_EXPECTED}")
    data = file[name] if isinstance(link, h5py.HardLink) else None  # others may lead to any file, or a pipe
    if isinstance(data, h5py.Group) or (isinstance(data, h5py.Dataset) and data.shape is None):
        raise PatchFileError(f"{file.filename}: /{name} must be (N, 1, p, p); got {getattr(data, 'shape', 'a group')}")
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        raise PatchFileError(
            f"{file.filename}: /{name} is a link, or lies in another file, which idn does not follow; "
            "write its values into this file"
        )
    layout = data.id.get_create_plist()
    filters = [layout.get_filter(k)[0] for k in range(layout.get_nfilters())]
    if filters != [code for code in _PACKING if code in filters]:
        raise PatchFileError(f"{file.filename}: /{name} is packed in a way that idn does not read; h5repack -f GZIP=4")
    if data.chunks and math.prod(data.chunks) * data.dtype.itemsize > MAX_CHUNK:
        raise PatchFileError(f"{file.filename}: chunks of /{name} are over {MAX_CHUNK >> 20} MiB; h5repack -l CHUNK=…")
    claimed, most = data.size * data.dtype.itemsize, Path(file.filename).stat().st_size
    if data.chunks and h5py.h5z.FILTER_DEFLATE in filters:  # a thousandth is the least that it leaves
        most *= 1100
        if data.id.get_num_chunks() != math.prod(-(-n // c) for n, c in zip(data.shape, data.chunks, strict=True)):
            raise PatchFileError(f"{file.filename}: /{name} was not written to its end; make the file again")
    if claimed > most:
        raise PatchFileError(f"{file.filename}: damaged: /{name} claims {claimed:,} bytes, more than the file can hold")
    return data


def _list_names(file: h5py.File) -> str:
    """What lies at the top of the file, for people."""
    names = [f"/{name}" if name.isprintable() else ascii(name) for name in file]
    return ", ".join(name[:40] for name in names[:6]) + (" …" if len(names) > 6 else "") or "nothing"


def read_attributes(file: h5py.File) -> dict[str, object]:
    """What a file says of itself, bounded."""
    keeper = file.attrs
    held = [keeper.get_id(name) for name in keeper]
    if sum(a.get_space().get_simple_extent_npoints() * a.get_type().get_size() for a in held) > MAX_ATTRIBUTES:
        raise PatchFileError(f"{file.filename}: its attributes take over {MAX_ATTRIBUTES >> 20} MiB; remove some")
    return {name: to_plain(value) for name, value in keeper.items()}


def read_rows(data: h5py.Dataset, first: int, last: int) -> NDArray[Any]:
    """Rows first…last-1 of a dataset, none of whose chunks unpacks beyond its size."""
    try:
        check_chunks(data, first, last)
        rows: NDArray[Any] = data[first:last]
        return rows
    except (OSError, RuntimeError, ValueError) as error:
        where, said = f"{data.name} row(s) {first}…{last - 1}", " ".join(str(error).split())
        raise PatchFileError(
            f"{data.file.filename}: {where} cannot be read ({said}); copy or make the file again"
        ) from None
