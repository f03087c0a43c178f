"""The HDF5 file of patches as it is written, its datasets in mapped memory."""

from __future__ import annotations

import errno
import math
import mmap
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from idn_data.patches.checksums import PARTS, compute_digests
from idn_data.patches.header import Header, to_plain

if TYPE_CHECKING:
    from types import TracebackType
    from typing import BinaryIO

    from numpy.typing import NDArray


PATIENCE = 1.0  # seconds; a sampling profiler, such as Dask's, may hold a frame that knew a view a little longer


class PatchWriter:
    """A patch file open for writing in any order of rows, from any number of threads: contiguous and mapped.

    The whole file is allocated first, so that a full disk is found before any work. Patches then go straight to their
    place, without a copy in memory.

    Parameters
    ----------
    path : path
        Where to write; making it atomic is the caller's (`idn_data.atomic.write_whole`).
    header : Header
    count : int
        Patches, N.
    sources : list of (str, str)
        Name and SHA-256 of each source image, kept as the dataset ``/sources``.

    Attributes
    ----------
    lr : (N, p, p) float32
    gt : (N, s·p, s·p) float32 or uint8
    crc : (N, 2) uint32
        Views of the file; no longer valid after `close`. The last takes the checksums of each row's LR and GT.
    """

    def __init__(self, path: Path | str, header: Header, count: int, sources: list[tuple[str, str]]) -> None:
        p, g = header.lr_patch, header.lr_patch * header.scale
        gt_type = np.dtype(np.uint8 if header.storage == "uint8" else np.float32)
        width = max((len(name.encode()) for name, _ in sources), default=1)
        kind = [("name", f"S{width}"), ("sha256", "S64")]
        rows = np.array([(n.encode(), d.encode()) for n, d in sources], dtype=kind)
        shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {
            "crc32": ((count, 2), np.dtype(np.uint32)),
            "digest": ((len(PARTS),), np.dtype("S64")),
            "lr": ((count, 1, p, p), np.dtype(np.float32)),
            "gt": ((count, 1, g, g), gt_type),
        }
        with Path(path).open("wb") as stream:  # the limit of file sizes: HDF5's own errors are obscure
            stream.truncate(rows.nbytes + sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes.values()))
        try:
            offsets = _create_datasets(path, header, rows, shapes)
        except RuntimeError as error:  # what HDF5 makes of a disk that fills up at the wrong moment
            number = re.search(r"errno = (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None
        with Path(path).open("rb+") as stream:
            size = os.fstat(stream.fileno()).st_size
            allocate(stream, size)  # a page of the map that found no room on the disk would kill the process
            self._map = mmap.mmap(stream.fileno(), size)
        views = {
            name: np.frombuffer(self._map, dtype, math.prod(shape), offsets[name]).reshape(shape)
            for name, (shape, dtype) in shapes.items()
        }
        self.lr, self.gt, self.crc = views["lr"][:, 0], views["gt"][:, 0], views["crc32"]
        self._digest, self._header, self._sources = views["digest"], header, rows.tobytes()

    def release(self) -> None:
        """Give the pages written so far to the system's cache; they no longer count as this process' memory."""
        if hasattr(mmap, "MADV_DONTNEED") and sys.platform == "linux":  # elsewhere it may drop what was written
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Write everything, the digests at last, to the disk and close."""
        said = {name: to_plain(value) for name, value in self._header.attributes().items()}
        shapes = {"lr": (len(self.lr), 1, *self.lr.shape[1:]), "gt": (len(self.gt), 1, *self.gt.shape[1:])}
        self._digest[:] = compute_digests(said, shapes, self._sources, [self.crc])
        del self.lr, self.gt, self.crc, self._digest
        self._map.flush()
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:  # else the last view unmaps the file, wherever it is held; all is written
            try:
                self._map.close()
            except BufferError:
                time.sleep(0.01)
            else:
                break

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            del self.lr, self.gt, self.crc, self._digest


def _create_datasets(
    path: Path | str, header: Header, sources: NDArray[np.void], shapes: dict[str, tuple[tuple[int, ...], np.dtype]]
) -> dict[str, int]:
    """Make the file, all but the values of its datasets; where in it these stand."""
    with h5py.File(path, "w", libver=("v108", "v108"), alignment_threshold=1, alignment_interval=64) as file:
        for name, value in header.attributes().items():  # strings of fixed length stand where HDF5 guards them
            file.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value
        file.create_dataset("sources", data=sources)
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # so that the place in the file is known now
        layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        layout.set_obj_track_times(False)  # the time of day would change the bytes
        offsets = {}
        for name, (shape, dtype) in shapes.items():
            space, stored = h5py.h5s.create_simple(shape), h5py.h5t.py_create(dtype)
            offsets[name] = h5py.h5d.create(file.id, name.encode(), stored, space, layout).get_offset()
    return offsets


def allocate(stream: BinaryIO, size: int) -> None:
    """Give an open file `size` bytes of disk; OSError where there is no room."""
    try:
        os.posix_fallocate(stream.fileno(), 0, size)
    except (AttributeError, OSError) as error:  # not on this system, or not on this file system
        if getattr(error, "errno", None) not in (None, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        here = 0
        while here < size:  # what is there is read and written again; zeros where there is nothing
            stream.seek(here)
            block = stream.read(min(1 << 20, size - here))
            stream.seek(here)
            stream.write(block)
            here += len(block)
        stream.flush()
        os.fsync(stream.fileno())
