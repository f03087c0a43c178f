"""Why the system refuses a file or a folder, and what its user can do."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_REASONS = {
    errno.ENOENT: "no such file or folder; look at the path",
    errno.ENOTDIR: "a part of its path is a file, not a folder; look at the path",
    errno.EEXIST: "a part of its path is a file, not a folder; look at the path",  # as folders are made
    errno.EISDIR: "a folder; name a file",
    errno.ELOOP: "a link that leads back to itself; remove it",
    errno.ENAMETOOLONG: "its name is too long for the file system; choose a shorter one",
    errno.EMFILE: "too many files are open; raise ulimit -n, or name fewer",
    errno.ENFILE: "too many files are open on this machine; close other programs",
    errno.EROFS: "its file system may only be read; choose another folder",
    errno.EIO: "the disk reports an error; look at the disk, or take a copy",
    errno.EBUSY: "another program uses it; close it there",
    errno.ETXTBSY: "another program uses it; close it there",
    getattr(errno, "ESTALE", -1): "the network file system has lost it; try again, or mount it anew",
    errno.ETIMEDOUT: "the network file system does not answer; try again, or mount it anew",
}
_SHARING, _DENIED = (32, 33), 5  # Windows' numbers: open elsewhere, locked elsewhere; also of what is to be replaced


def explain_refusal(error: OSError, path: Path | str, writing: bool | None = None) -> str:
    """One line, without the path: what the system answered, and what helps.

    Parameters
    ----------
    error : OSError
        As it was raised when the path was opened, listed, made or removed.
    path : path
        Of the file or folder.
    writing : bool or None
        Whether it was to be written; None where that is not known: one that can be read was to be written.
    """
    number = getattr(error, "winerror", None)
    if number in _SHARING or (number == _DENIED and writing and Path(path).is_file()):  # that is open elsewhere
        return _REASONS[errno.EBUSY]
    if error.errno not in (errno.EACCES, errno.EPERM):
        return _REASONS.get(error.errno or 0) or error.strerror or " ".join(str(error).split()) or type(error).__name__
    path = Path(path).absolute()
    there = [folder for folder in reversed(path.parents) if os.path.lexists(folder)]  # one may not be made yet
    closed = next((folder for folder in there if not _may(folder, os.X_OK)), None)
    if closed is not None:
        return f"no permission to enter {closed}; its owner, {_find_owner(closed)}, can give it: chmod a+x"
    exists = os.path.lexists(path)
    if writing or (writing is None and (not exists or _may(path, os.R_OK))):
        held = path if exists and not _may(path, os.W_OK) else next((f for f in path.parents if f.is_dir()), path)
        return f"no permission to write {held}, which belongs to {_find_owner(held)}; choose another folder"
    return "no permission to read it; ask its owner, or copy it"


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _find_owner(path: Path) -> str:
    """The name of a path's owner, or his number where he has no name here."""
    try:
        return path.owner()
    except (KeyError, NotImplementedError, OSError):  # not in the list of users; Windows; gone meanwhile
        try:
            return f"user {path.stat().st_uid}"
        except OSError:
            return "another user"


def check_writable(path: Path | str) -> None:
    """Raise OSError, with why and what helps, where a file of this name, and folders above it, could not be made."""
    path = Path(path)
    folder = next((place for place in path.absolute().parents if os.path.lexists(place)), None)
    if folder is None:  # on Windows
        raise FileNotFoundError(errno.ENOENT, "not written: no such drive or share; look at the path", str(path))
    if not folder.is_dir():
        number = errno.ENOTDIR
    elif _may(folder, os.W_OK | os.X_OK):
        return
    else:
        read_only = hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
    error = OSError(number, os.strerror(number))  # of the number's own class
    raise type(error)(number, f"not written: {explain_refusal(error, path, writing=True)}", str(path))


def find_obstacle(path: Path | str, missing: str) -> str | None:
    """Why a file cannot be read, and what helps, in one line without the path; None for one that can be opened.

    Parameters
    ----------
    path : path
        Of the file.
    missing : str
        What to say where there is no such file.
    """
    path = Path(path)
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            return "a folder; name a file in it"
        if not stat.S_ISREG(kind):  # to open a pipe may take for ever
            return "neither a file nor a folder, but a pipe or a device; name a file"
        with path.open("rb"):
            return None
    except FileNotFoundError:
        return missing
    except OSError as error:
        return explain_refusal(error, path, writing=False)
