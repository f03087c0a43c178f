"""Outputs that appear under their name only when whole, made by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

# what a disk may answer in the middle of writing
_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full",
    errno.EFBIG: "larger than the file system or the limit of file sizes allows",
    errno.EIO: "the disk reports an error",
    getattr(errno, "EDQUOT", errno.ENOSPC): "the disk or its quota is full",
}


class BusyError(ValueError):
    """Another process writes the same output."""


def check_target(path: Path | str, force: bool = False) -> Path:
    """Refuse an existing file unless `force`; meant to be called before hours of work, not after.

    Raises
    ------
    FileExistsError
        The file is there and `force` is false.
    IsADirectoryError
        The name belongs to a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists already; --force replaces it, --out names another file")
    return path


def free_bytes(path: Path) -> int:
    """Bytes free where `path` is, or is to be."""
    return shutil.disk_usage(next(p for p in (path, *path.resolve().parents) if p.exists())).free


def check_room(path: Path, need: int) -> None:
    """Raise OSError (ENOSPC) unless `need` bytes are free where `path` is to be."""
    if need > (free := free_bytes(path)):
        raise OSError(errno.ENOSPC, _say_room(_DISK_ERRORS[errno.ENOSPC], need, free), str(path))


def _say_room(what: str, need: int, free: int) -> str:
    return (
        f"{what}: {need / 1e6:,.1f} MB needed, {free / 1e6:,.1f} MB free; make room or choose another folder "
        "(nothing was left under this name but what stood there)"
    )


@contextlib.contextmanager
def hold(path: Path | str) -> Iterator[None]:
    """Be the only process that writes `path`, a file or an existing folder, while the block runs.

    The lock is the system's own on a hidden file, ``.NAME.lock`` beside a file, ``.idn.lock`` in a folder, and ends with
    the process, however that ends. The hidden file is removed at the end; one that a killed process left does no harm.

    Raises
    ------
    BusyError
        Another process holds it.
    """
    path = Path(path)
    lock = path / ".idn.lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    descriptor = _acquire(lock, path)
    try:
        yield
    finally:
        if sys.platform == "win32":  # an open file cannot be removed there; one that others opened stays
            os.close(descriptor)
            with contextlib.suppress(OSError):
                lock.unlink()
        else:
            lock.unlink(missing_ok=True)  # while it is held: whoever opened it meanwhile sees that it is gone
            os.close(descriptor)


def _acquire(lock: Path, path: Path) -> int:
    """Descriptor of the lock file, locked."""
    while True:
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from None
        try:
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return descriptor
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), lock.stat()):
                    return descriptor
            os.close(descriptor)  # its holder removed it between the two calls: once more
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            raise BusyError(f"another idn is writing {path}; wait for it, or name another output") from None
        except OSError as error:
            os.close(descriptor)
            if lock.parent == Path(tempfile.gettempdir()):
                raise
            # a file system without locks: then at least against processes of this machine
            lock.unlink(missing_ok=True)
            name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
            lock = Path(tempfile.gettempdir()) / f"idn-{name}.lock"
            del error


@contextlib.contextmanager
def write_whole(path: Path | str, force: bool = False, need: int = 0) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; on success sync it and rename it to `path`.

    On any error the temporary file is removed and `path` keeps what it held. One that a killed process left is removed
    by the next that writes the same name. Missing folders are made.

    Parameters
    ----------
    path : path
        The final name.
    force : bool
        Allow an existing file to be replaced.
    need : int
        Bytes about to be written, if they are known: a disk with less is refused at once.

    Yields
    ------
    Path
        Write the whole file here, and close it, before the block ends.

    Raises
    ------
    BusyError
        Another process is writing `path`.
    OSError
        Not enough room on the disk, before or while writing: the message says how much is needed and free.
    """
    path = check_target(path, force)
    temporary = path.with_name(f".{path.name}.part")  # one name is enough for the one process that holds `path`
    written = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with hold(path):
            temporary.unlink(missing_ok=True)  # of a killed process
            check_room(path, need)
            try:
                yield temporary
                with temporary.open("rb+") as stream:
                    os.fsync(stream.fileno())
                check_target(path, force)  # again: another process may have finished first
                temporary.replace(path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    written = temporary.stat().st_size
                    temporary.unlink()
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno not in _DISK_ERRORS or error.filename == str(path):
            raise
        text = _say_room(_DISK_ERRORS[error.errno], max(need, written), free_bytes(path))
        raise OSError(error.errno, text, str(path)) from None


def _sync_folder(folder: Path) -> None:
    """Let the new name itself reach the disk, where the system can (POSIX)."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path | str, text: str, force: bool = False) -> None:
    """Write a text file, UTF-8 with "\\n" line ends, whole or not at all."""
    with write_whole(path, force) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
