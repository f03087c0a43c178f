"""Names of files: which outputs would become one file, and what a path is called that leads through links."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path


class Targets:
    """The paths that outputs take, each with the input that it is for."""

    def __init__(self) -> None:
        self._owners: dict[str, Path] = {}
        self._folded: dict[str, Path] = {}

    def take(self, target: Path, owner: Path) -> Path | None:
        """Take a path for an input; the input that took it before, or None."""
        path, folded = str(target), str(target).casefold()
        other = self._owners.get(path)
        if other is None and folded in self._folded and not tells_case(target.parent):
            other = self._folded[folded]
        if other is None:
            self._owners[path] = owner
            self._folded.setdefault(folded, owner)
        return other


def tells_case(folder: Path | str) -> bool:
    """Whether ``a.png`` and ``A.png`` are two files in a folder, or will be in one that is not there yet.

    The disk is asked, not the system: Linux may write to an NTFS, exFAT or network disk, macOS to one that tells case.
    """
    folder = Path(folder).absolute()
    there = next((place for place in (folder, *folder.parents) if place.is_dir()), folder)
    try:
        with tempfile.NamedTemporaryFile(prefix=".idn-case-", dir=there) as probe:
            path = Path(probe.name)
            return not path.with_name(path.name.swapcase()).exists()
    except OSError:  # nothing may be written there, which is said when something is
        return sys.platform not in ("win32", "darwin")


def name_whole(path: Path | str) -> Path:
    """The path from the root on, as it is named: links stay, but those before a ``..``, which decide where it leads."""
    path = Path(path).absolute()
    last = max((k for k, part in enumerate(path.parts) if part == ".."), default=0)
    return Path(os.path.realpath(Path(*path.parts[: last + 1])), *path.parts[last + 1 :])
