"""Memory: how much is free, arrays that lie in a file where they are too large for it, and what is kept when freed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idn_data.atomic import check_room
from idn_data.cgroups import list_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LIMITS = (  # of a group: where its limit, its use, and what the system cached of files stand: version 2, and 1
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "total_inactive_file"),
)

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3), in glibc


def keep_freed_memory(most: int = 256 << 20) -> bool:
    """Have this process keep up to `most` bytes for each thread that were freed, for what is allocated next.

    For a command that handles one picture after the other. By default glibc gives the memory of each picture back and
    takes it anew, page by page: a tenth of the time of reducing it. Other C libraries are left as they are.

    Returns
    -------
    bool
        Whether the C library did so.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # macOS, musl; Windows
        return False
    return bool(mallopt(_TRIM_THRESHOLD, most) and mallopt(_MMAP_THRESHOLD, 32 << 20))  # the largest it takes


def find_free_memory() -> int | None:
    """Bytes of memory that a process may still take; None where the system does not say.

    Limits of a container, of a cluster's job or of a systemd unit are heeded.
    """
    free: list[int] = []
    with contextlib.suppress(OSError, ValueError, KeyError):
        free.append(1024 * _read_table(Path("/proc/meminfo"))["MemAvailable:"])
    for group, (limit, used, table, cached) in product(list_groups("memory"), _LIMITS):
        with contextlib.suppress(OSError, ValueError, KeyError):  # "max" is no number: no limit
            left = _read_number(group / limit) - _read_number(group / used)
            free.append(max(0, left + _read_table(group / table)[cached]))  # files' pages are given back when asked
    if not free:
        with contextlib.suppress(AttributeError, ValueError, OSError):  # macOS: half of all there is
            free.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return min(free, default=None)


def _read_number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _read_table(path: Path) -> dict[str, int]:
    """The first two words of each line."""
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}


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
    with tempfile.TemporaryFile(prefix=".idn-", dir=scratch) as stream:  # where it can be, nameless from the start
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, count)  # a disk that fills up later would kill the process
        return np.asarray(np.memmap(stream, np.uint8, "r+", shape=(count,))), True
