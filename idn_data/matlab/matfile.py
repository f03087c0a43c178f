"""Reading MATLAB's .mat files of every version, as bounded as a stranger's file asks for."""

from __future__ import annotations

import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

from idn_data.matlab import matlimits
from idn_data.matlab.mat4 import read_version4
from idn_data.matlab.mat5 import HEAD, read_version5
from idn_data.matlab.matlimits import AGAIN, MAX_BYTES, MAX_PARTS, MatFileError

__all__ = ["MAX_BYTES", "MAX_PARTS", "MatFileError", "read_mat"]

_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_mat(path: Path | str, names: Collection[str]) -> dict[str, Any]:
    """Some variables of a .mat file; those that it lacks are left out, others are passed over whatever they are.

    Parameters
    ----------
    path : path
        Of version 4, 5, 6, 7 or 7.3 (which is HDF5), in either order of bytes.
    names : collection of str

    Returns
    -------
    dict
        Matrices as arrays of their class (logical as uint8, in version 4 always double) with two dimensions or more,
        text as str (of several rows, column by column), struct arrays as a list of such dicts; None for what is
        complex, sparse, a cell, or of another class.

    Raises
    ------
    MatFileError
        Missing, a folder, not permitted, empty, cut off, damaged, too large, or no .mat file: a message for each.
    OSError
        The disk fails.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            head = stream.read(1024)
            if path.stat().st_size > matlimits.MAX_BYTES:
                raise MatFileError(f"larger than {matlimits.say_limit()}; save it with fewer variables")
            if _find_version(head) == 7:
                from idn_data.matlab.mat73 import read_version73  # h5py takes a while to import

                return read_version73(path, names)
            data = memoryview(head + stream.read())
    except (FileNotFoundError, NotADirectoryError):
        raise MatFileError("no such file; look for its name") from None
    except IsADirectoryError:
        raise MatFileError("a folder; name a .mat file in it") from None
    except PermissionError:  # Windows does not permit a folder to be opened
        what = (
            "a folder; name a .mat file in it"
            if path.is_dir()
            else "no permission to read it; ask its owner, or copy it"
        )
        raise MatFileError(what) from None
    return read_version4(data, names) if _find_version(head) == 4 else read_version5(data, names)


def _find_version(head: bytes) -> int:
    """4, 5 (which 6 and 7 are written in as well) or 7 (for 7.3) by the first bytes of a file."""
    if not head:
        raise MatFileError("the file is empty; copy it or save it again")
    if any(head[place : place + 8] == _HDF5 for place in (0, 512)):  # MATLAB's own head fills the first 512 bytes
        return 7
    if 0 in head[:4] and len(head) >= 4:
        return 4
    if head[:6] == b"MATLAB" and len(head) < HEAD:
        raise MatFileError(f"cut off within its head; {AGAIN}")
    if head[126:128] not in (b"IM", b"MI"):
        raise MatFileError("not a .mat file; name one that MATLAB's save wrote")
    (version,) = struct.unpack("<H" if head[126:128] == b"IM" else ">H", head[124:126])
    if version >= 0x0200:
        raise MatFileError(f"of version 7.3, but its HDF5 part is damaged or cut off; {AGAIN}")
    return 5
