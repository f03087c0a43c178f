"""Pictures that a training does not see, to choose by: every tenth of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from idn_data.images.decode import list_images
from idn_data.images.sources import BadImagesError, digest_sources, read_sources
from idn_data.scores.sets import TestSet

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EVERY = 10  # of the 291 pictures, 29


def list_set_aside(folders: Sequence[Path]) -> list[Path]:
    """The tenth, twentieth, … picture of each folder, by name.

    Raises
    ------
    FileNotFoundError
        No such folder, or no pictures in it.
    ValueError
        Fewer than ten pictures in all folders.
    """
    paths = [path for folder in folders for path in list_images(folder)[EVERY - 1 :: EVERY]]
    if not paths:
        raise ValueError(f"every {EVERY}th picture is set aside, and there are fewer; name folders with more pictures")
    return paths


def open_set_aside(paths: Sequence[Path]) -> TestSet:
    """The pictures that were set aside, as a set to be scored.

    Raises
    ------
    BadImagesError
        Some cannot be read.
    """
    sources, bad = read_sources(paths)
    if bad:
        raise BadImagesError(bad, all_bad=not sources)
    sizes = tuple((source.height, source.width) for source in sources)
    name = f"{len(sources)} pictures set aside"
    return TestSet(name, sources[0].path.parent, digest_sources(sources), False, False, tuple(paths), sizes)
