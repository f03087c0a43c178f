"""Outputs that appear under their name only when whole, made by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.access import check_writable, explain_refusal

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOM = "make room, or choose another folder"
_DISK_ERRORS = {  # what a disk may answer in the middle of writing, and what to do
    errno.ENOSPC: ("the disk is full", _ROOM),
    errno.EFBIG: ("larger than the file system or a limit allows", "raise ulimit -f, or choose another folder"),
    errno.EIO: ("the disk reports an error", "look at the disk, or choose another folder"),
    getattr(errno, "EDQUOT", -1): ("the quota is used up", _ROOM),
}


_PATIENCE = 5.0  # seconds for a virus scanner, or whoever looks at a file for a moment

_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)


class BusyError(ValueError):
    """Another process writes the same output."""


def check_target(path: Path | str, force: bool = False, *, text: bool = False) -> Path:
    """Refuse an existing file unless `force`; meant to be called before hours of work, not after.

    What a killed process left under the temporary name is removed.

    Parameters
    ----------
    path : path
        The name of the output.
    force : bool
        Allow an existing file to be replaced.
    text : bool
        It is for `write_text`, which can write to a pipe or a device as well.

    Raises
    ------
    FileExistsError
        The file is there and `force` is false. Or there is a pipe or a device, for anything but text.
    IsADirectoryError
        The name belongs to a folder.
    BusyError
        Another process is writing it.
    OSError
        Its folder may not be written, or cannot be made.
    """
    path = Path(path)
    if text and _is_stream(path):
        return path
    _check_free(path, force)
    check_writable(_follow(path))
    if (temporary := _name_temporary(path)).exists():
        with hold(path):
            temporary.unlink(missing_ok=True)
    return path


def sweep(path: Path | str) -> None:
    """Remove what a killed process left beside `path`: its temporary file and its lock; BusyError if one is at work."""
    path = Path(path)
    if _name_temporary(path).exists() or _name_lock(path).exists():
        with hold(path):
            _name_temporary(path).unlink(missing_ok=True)


def _check_free(path: Path, force: bool) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file")
    if _is_stream(path):
        raise FileExistsError(f"{path} is a pipe or a device, which is not to be replaced; name a file")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists already; --force replaces it, or name another file")


def _is_stream(path: Path) -> bool:
    """Whether a pipe or a device is there: it is written to, and never replaced. So is what a descriptor leads to."""
    if _find_descriptor(path) is not None:
        return True
    try:
        kind = path.stat().st_mode
    except (OSError, ValueError):  # nothing is there, or no way leads there: who writes will say so
        return False
    return not stat.S_ISREG(kind) and not stat.S_ISDIR(kind)


def _find_descriptor(path: Path) -> int | None:
    """The descriptor of this process that a path names, such as ``/dev/stdout``."""
    if found := re.fullmatch(r"/dev/(?:(stdin)|(stdout)|(stderr))|/(?:dev|proc/self)/fd/(\d+)", str(path)):
        names = found.groups()
        return int(names[3]) if names[3] else next(k for k in range(3) if names[k])
    return None


def _follow(path: Path) -> Path:
    """The file that a link leads to: that one is written, and the link stays. A link to itself is taken for a file."""
    is_link = os.path.islink  # which never raises, as Path's own does where a folder may not be entered
    file = Path(os.path.realpath(path)) if is_link(path) else path
    return path if is_link(file) else file


def _name_temporary(path: Path) -> Path:
    file = _follow(path)
    return file.with_name(f".{file.name}.part")  # one is enough: only the process that holds `path` writes it


def _name_lock(path: Path) -> Path:
    file = _follow(path)
    return path / ".idn.lock" if path.is_dir() else file.with_name(f".{file.name}.lock")


def free_bytes(path: Path) -> int:
    """Bytes free where `path` is, or is to be."""
    there = next((p for p in (path, *Path(os.path.realpath(path)).parents) if p.is_dir()), None)
    if there is None:  # on Windows
        raise FileNotFoundError(errno.ENOENT, "no such drive or share; look at the path", str(path))
    return shutil.disk_usage(there).free


def check_room(path: Path, need: int, advice: str = _ROOM) -> None:
    """Raise OSError (ENOSPC) unless `need` bytes are free where `path` is to be; `advice` ends the message."""
    if need > free_bytes(path):
        raise _describe_disk_error(errno.ENOSPC, path, format_bytes(need), advice)


def format_bytes(count: float) -> str:
    """Bytes for people, as GB or MB (powers of ten), few ones counted."""
    return (
        f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count:,.0f} bytes"
    )


def _describe_disk_error(number: int, path: Path, need: str, advice: str) -> OSError:
    free = format_bytes(free_bytes(path))
    return OSError(number, f"not written, {_DISK_ERRORS[number][0]}: {need} needed, {free} free; {advice}", str(path))


@contextlib.contextmanager
def hold(path: Path | str) -> Iterator[None]:
    """Be the only process that writes `path`, a file or an existing folder, while the block runs.

    The lock is the system's own, on a hidden file, ``.NAME.lock`` beside a file, ``.idn.lock`` in a folder, and ends
    with the process, however that ends. The hidden file is removed then; one that a killed process left does no harm.

    Raises
    ------
    BusyError
        Another process holds it.
    """
    path = Path(path)
    try:
        lock, descriptor = _lock(_name_lock(path), path)
    except _NoLocksError:  # so is the file system; then at least against processes of this machine
        name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:16]
        lock, descriptor = _lock(Path(tempfile.gettempdir()) / f"idn-{name}.lock", path)
    try:
        yield
    finally:
        if sys.platform == "win32":  # an open file cannot be removed there; one that others opened stays
            os.close(descriptor)
            with contextlib.suppress(OSError):
                lock.unlink()
        else:
            with contextlib.suppress(OSError):  # of another user, say, in a folder where each removes only his own
                lock.unlink()  # while it is held: whoever opened it meanwhile sees that it is gone
            os.close(descriptor)


class _NoLocksError(OSError):
    """The file system has no locks."""


def _open_lock(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if sys.platform == "win32" or not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY)  # another user's, who may have been killed: whether it is held is seen so too


def _lock(lock: Path, path: Path) -> tuple[Path, int]:
    """The lock file and its descriptor, locked for the writing of `path`."""
    while True:
        try:
            descriptor = _open_lock(lock)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from None
        try:
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return lock, descriptor
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), lock.stat()):
                    return lock, descriptor
            os.close(descriptor)  # its holder removed it between the two calls: once more
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            raise BusyError(f"another idn is writing {path}; wait for it, or name another output") from None
        except OSError as error:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                lock.unlink()
            raise _NoLocksError(error.errno, error.strerror, str(path)) from None


@contextlib.contextmanager
def write_whole(path: Path | str, force: bool = False, need: int = 0) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; on success sync it and rename it to `path`.

    Where `path` is a link to a file, that file is replaced, and the link stays.

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
        Not enough room on the disk, before or while writing: the message says how much is needed and free. Or the
        system refuses: the message says which file or folder, and whose.
    """
    path = Path(path)
    file, temporary, written = _follow(path), _name_temporary(path), 0
    try:
        _check_free(path, force)
        file.parent.mkdir(parents=True, exist_ok=True)
        with hold(path):
            _check_free(path, force)  # again: another process may have finished first
            temporary.unlink(missing_ok=True)  # of a killed process
            check_room(path, need)
            try:
                yield temporary
                with temporary.open("rb+") as stream:
                    os.fsync(stream.fileno())
                _check_free(path, force)
                _replace(temporary, file)
            finally:
                with contextlib.suppress(OSError):  # gone; or on Windows still mapped: then the next run removes it
                    written = temporary.stat().st_size
                    temporary.unlink()
        _sync_folder(file.parent)
    except OSError as error:
        if error.errno in _REFUSALS and (failed := _find_failed(error, path)):
            text = f"not written: {explain_refusal(error, failed, writing=True)}"
            raise type(error)(error.errno, text, str(path)) from None
        if error.errno is None or error.errno not in _DISK_ERRORS or error.filename == str(path):
            raise
        known = format_bytes(need) if need > written else f"more than {format_bytes(written)}"
        raise _describe_disk_error(error.errno, path, known, _DISK_ERRORS[error.errno][1]) from None


def _replace(temporary: Path, file: Path) -> None:
    """Give a file its name; on Windows, where nobody may replace what another program has open, after some patience."""
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            temporary.replace(file)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > give_up:
                raise
        time.sleep(0.1)


def _find_failed(error: OSError, path: Path) -> str | None:
    """The file or folder that an error is about, if it is `path`, lies beside it or above it: not one of the user's."""
    name = error.filename2 or error.filename
    file = _follow(path)
    near = {path, file, _name_temporary(path), *path.parents, *file.parents}
    return str(name) if isinstance(name, str) and Path(name) in near else None


def _sync_folder(folder: Path) -> None:
    """Let the new name itself reach the disk, where the system can: the file is there, and whole, in any case."""
    with contextlib.suppress(OSError):  # a folder that may not be listed, a network's that cannot
        if hasattr(os, "O_DIRECTORY"):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def write_text(path: Path | str, text: str, force: bool = False) -> None:
    """Write a text file, UTF-8 with "\\n" line ends, whole or not at all; a name that is no text, as ``\\udcff``.

    A pipe or a device that is there is written to, with or without `force`: a pipe waits for its reader.

    Raises
    ------
    FileExistsError, IsADirectoryError, BusyError, OSError
        As `write_whole`. The reader of a pipe is gone; the device fails.
    """
    data = text.encode(errors="backslashreplace")
    if not _is_stream(path := Path(path)):
        with write_whole(path, force, len(data)) as temporary:
            temporary.write_bytes(data)
        return
    try:
        number = _find_descriptor(path)
        for stream in (sys.stdout, sys.stderr) if number is not None else ():
            if stream is not None:  # what was printed before comes before
                stream.flush()
        with path.open("wb") if number is None else os.fdopen(os.dup(number), "wb") as target:
            target.write(data)
    except BrokenPipeError:
        raise OSError(f"{path}: its reader has gone; not all was written") from None
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
