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
    """The tenth, twentieth, … picture of each folder, by name; of fewer than ten in all, the last.

    Raises
    ------
    FileNotFoundError
        No such folder, or no pictures in it.
    ValueError
        One picture in all folders.
    """
    every = [list_images(folder) for folder in folders]
    chosen = [path for paths in every for path in paths[EVERY - 1 :: EVERY]]
    if chosen:
        return chosen
    if sum(map(len, every)) < 2:
        raise ValueError(f"{every[0][0]} is the only picture: none can be set aside; name folders with more pictures")
    return [every[-1][-1]]


def open_set_aside(paths: Sequence[Path], skip_bad: bool = False) -> TestSet:
    """The pictures that were set aside, as a set to be scored; with `skip_bad`, those that can be read.

    Raises
    ------
    BadImagesError
        Some cannot be read and `skip_bad` is false, or none can.
    """
    sources, bad = read_sources(paths)
    if bad and (not skip_bad or not sources):
        raise BadImagesError(bad, all_bad=not sources)
    sizes = tuple((source.height, source.width) for source in sources)
    name = f"{len(sources)} pictures set aside" + (f" ({len(bad)} left out)" if bad else "")
    sound = tuple(source.path for source in sources)
    return TestSet(name, sound[0].parent, digest_sources(sources), False, False, sound, sizes)
