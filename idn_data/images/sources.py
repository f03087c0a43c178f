"""The images of a folder: which can be used, what each is, and what their outputs are called."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.images.decode import ImageError, list_images, read_y
from idn_data.namesakes import Targets
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from idn_data.workers import Progress


@dataclass(frozen=True)
class Source:
    """One image file: its path, its size in pixels and the SHA-256 of its bytes."""

    path: Path
    height: int
    width: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name


def digest_sources(sources: Iterable[Source]) -> str:
    """SHA-256 over ``name, sha256`` of each source in order: the identity of an image set, wherever it lies."""
    whole = hashlib.sha256()
    for source in sources:
        whole.update(f"{source.name}\0{source.sha256}\n".encode())
    return whole.hexdigest()


def read_sources(
    paths: Sequence[Path], workers: int | None = None, progress: Progress | None = None
) -> tuple[list[Source], list[str]]:
    """Decode every image once, and say what each one is.

    Returns
    -------
    sources : list of Source
        The sound ones, in the order given.
    bad : list of str
        One line for each of the others.
    """

    def examine(path: Path) -> Source | str:
        try:
            path.name.encode()  # what is made of it says its name in UTF-8
            y = read_y(path)
            return Source(path, y.shape[0], y.shape[1], hashlib.sha256(path.read_bytes()).hexdigest())
        except ImageError as error:
            return str(error)
        except OSError as error:
            return f"{path}: {error.strerror or error}"
        except UnicodeEncodeError:
            return f"{str(path)!a}: the name is not UTF-8; rename the file"

    sources, bad = [], []
    for done, found in enumerate(map_in_order(examine, paths, count_workers(workers)), 1):
        if isinstance(found, Source):
            sources.append(found)
        else:
            bad.append(found)
        if progress:
            progress("reading images", done, len(paths))
    return sources, bad


class BadImagesError(ValueError):
    """Some images cannot be used.

    lines : one for each of them.
    all_bad : whether none is left.
    remedies : how the message goes on for a command that has an option, by the option's name in Python.
    """

    def __init__(self, lines: Sequence[str], all_bad: bool = False, remedies: Mapping[str, str] | None = None) -> None:
        self.lines, self.all_bad, self.remedies = tuple(lines), all_bad, dict(remedies or {})
        super().__init__(f"{len(lines)} image(s) cannot be used{', and there are no others' if all_bad else ''}")


def check_outputs(inputs: Iterable[Path], name_output: Callable[[Path], Path]) -> None:
    """Raise ValueError if the outputs of two inputs would become one file: to be called before any work."""
    targets = Targets()
    for path in inputs:
        output = name_output(path)
        if other := targets.take(output, path):
            raise ValueError(f"{other} and {path} would both become {output}; rename or leave out one")


def read_folder(
    folder: Path | str,
    *,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[Source], list[str]]:
    """All images of a folder, each decoded once.

    Parameters
    ----------
    folder : path
    skip_bad : bool
        Leave out images that cannot be used.
    workers : int, optional
        Threads; all cores by default.
    progress : callable(what, done, total), optional

    Returns
    -------
    sources : list of Source
    bad : list of str
        What was left out, with `skip_bad`: a line for each.

    Raises
    ------
    FileNotFoundError
        No such folder, or no images in it.
    BadImagesError
        Some cannot be used and `skip_bad` is false, or none can.
    """
    sources, bad = read_sources(list_images(folder), workers, progress)
    if bad and (not skip_bad or not sources):
        raise BadImagesError(bad, all_bad=not sources)
    return sources, bad
