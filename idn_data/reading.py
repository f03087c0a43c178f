"""Files of bounded size, read whole; each way in which they cannot be read has its own message."""

from __future__ import annotations

import os
from pathlib import Path

from idn_data.access import explain_refusal, find_obstacle


def read_bounded(path: Path | str, most: int, missing: str, usual: str) -> bytes:
    """All bytes of a file.

    Parameters
    ----------
    path : path
    most : int
        Bytes that it may have: a bound on the memory that a hostile file can claim.
    missing : str
        What to do where there is no such file.
    usual : str
        What such files have, and what to do about a larger one.

    Returns
    -------
    bytes
        At least one.

    Raises
    ------
    ValueError
        Missing, a folder, not permitted, empty or larger, or the disk fails: the message names the file and the next
        step.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            if (size := os.fstat(stream.fileno()).st_size) > most:
                raise ValueError(f"{path}: {size:,} bytes, {usual}")
            data = stream.read(size or most + 1)  # so much memory is claimed; a pipe has no size
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path}: no such file; {missing}") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: a folder; name a file in it") from None
    except OSError as error:
        raise ValueError(f"{path}: {find_obstacle(path, '') or explain_refusal(error, path, writing=False)}") from None
    if not data:
        raise ValueError(f"{path}: the file is empty; copy it or make it again")
    return data
