"""Outputs that appear under their name only when whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@contextlib.contextmanager
def write_whole(path: Path | str, force: bool = False) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; on success sync it and rename it to `path`.

    On any error the temporary file is removed and `path` keeps what it held. Missing folders are made.

    Parameters
    ----------
    path : path
        The final name.
    force : bool
        Allow an existing file to be replaced.

    Yields
    ------
    Path
        Write the whole file here, and close it, before the block ends.
    """
    path = check_target(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        check_target(path, force)  # again: another process may have finished first
        temporary.replace(path)
        if hasattr(os, "O_DIRECTORY"):  # POSIX: the new name itself must reach the disk
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str, force: bool = False) -> None:
    """Write a text file, UTF-8 with "\\n" line ends, whole or not at all."""
    with write_whole(path, force) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
