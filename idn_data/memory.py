"""Memory: how much is free, and arrays that lie in a file where they are too large for it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idn_data.atomic import check_room

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GROUP = Path("/sys/fs/cgroup")  # of a container


def find_free_memory() -> int | None:
    """Bytes of memory that a process may still take, a container's limit heeded; None where the system does not say."""
    free: list[int] = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    with contextlib.suppress(OSError, ValueError, StopIteration):
        limit = int((_GROUP / "memory.max").read_text(encoding="ascii"))  # "max": no limit
        used = int((_GROUP / "memory.current").read_text(encoding="ascii"))
        lines = (_GROUP / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = int(next(line for line in lines if line.startswith("inactive_file ")).split()[1])
        free.append(max(0, limit - used + cached))  # what the system cached of files it gives back when asked
    if not free:
        with contextlib.suppress(AttributeError, ValueError, OSError):  # macOS: half of all there is
            free.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return min(free, default=None)


def allocate_bytes(count: int, scratch: Path | None) -> tuple[NDArray[np.uint8], bool]:
    """A flat array of bytes: in memory, or in a temporary file where it takes more than half of the free memory.

    Parameters
    ----------
    count : int
    scratch : path, optional
        An existing folder for the file, which is gone when the process ends, however it ends. None: always in memory.

    Returns
    -------
    (count,) uint8, zeros
    bool
        Whether it lies in a file.

    Raises
    ------
    OSError
        The disk has too little room.
    """
    free = find_free_memory()
    if scratch is None or free is None or count <= free // 2:
        return np.zeros(count, np.uint8), False
    check_room(scratch / "pictures", count, "take fewer pictures, or another folder with --out")
    with tempfile.TemporaryFile(
        prefix=".idn-", dir=scratch
    ) as stream:  # where it can be, it is nameless from the start
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, count)  # a disk that fills up later would kill the process
        return np.asarray(np.memmap(stream, np.uint8, "r+", shape=(count,))), True
