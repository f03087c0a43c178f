"""Where the images lie, what they are, and what was published of them."""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.images import ImageError, list_images, read_y

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    T = TypeVar("T")
    R = TypeVar("R")


TRAIN_SET = "291"
TEST_SETS = ("Set5", "Set14", "B100", "Urban100")


def find_fixtures() -> Path:
    """The folder of reference figures: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "fixtures", here.parent / "fixtures"):
        if (folder / "published_scores.csv").is_file():
            return folder
    raise FileNotFoundError(f"fixtures/ is neither in {here} nor beside it; install the package again")


def find_data_root(given: Path | str | None = None) -> Path:
    """The data root: as given, else the environment variable IDN_DATA, else ``./data``."""
    return Path(given or os.environ.get("IDN_DATA") or "data")


def locate_set(name: str, root: Path) -> Path:
    """Where ``291`` or a test set belongs below the data root, be it there or not."""
    return root / ("train_data" if name == TRAIN_SET else "test_data") / name


def find_set(name: str, root: Path) -> Path:
    """The folder of an image set: ``291`` or a test set below the data root, or any folder by its path."""
    known = (TRAIN_SET, *TEST_SETS)
    folder = locate_set(name, root) if name in known else Path(name)
    if folder.is_dir():
        return folder
    if name in known:
        raise FileNotFoundError(
            f"{name} is not in {folder}; name the data root with --data-root or IDN_DATA, "
            f"or get it with: {_say_fetch(name, root)}"
        )
    raise FileNotFoundError(f"no set or folder {name!r}; one of {', '.join(known)}, or the path of a folder of images")


def _say_fetch(name: str, root: Path) -> str:
    """The command that puts a set where it was looked for."""
    return f"idn fetch {name}" + ("" if root == find_data_root() else f" --data-root {shlex.quote(str(root))}")


def find_present_sets(root: Path) -> list[str]:
    """The test sets below a data root, as images or as .mat files; FileNotFoundError where there are none."""
    found = [s for s in TEST_SETS if (root / "test_data" / s).is_dir() or (root / "test_data" / "mat" / s).is_dir()]
    if not found:
        raise FileNotFoundError(
            f"no test set below {root / 'test_data'}; name the data root with --data-root or IDN_DATA, or a --set, "
            f"or get one with: {_say_fetch('Set5', root)}"
        )
    return found


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


def count_workers(workers: int | None = None) -> int:
    """The number of worker threads: as given, else one for each core this process may use."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")
    if workers:
        return workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(function: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    """``map`` over a pool of threads, results in order, few in flight, stopped cleanly by an error or an interrupt."""
    with ThreadPoolExecutor(workers) as pool:
        ahead = 2 * workers
        running = [pool.submit(function, item) for item in items[:ahead]]
        try:
            for k in range(len(items)):
                result = running.pop(0).result()
                if k + ahead < len(items):
                    running.append(pool.submit(function, items[k + ahead]))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def read_sources(
    paths: Sequence[Path], workers: int | None = None, progress: Callable[[str, int, int], None] | None = None
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
    """Some images cannot be used; `lines` holds one line for each."""

    def __init__(self, lines: Sequence[str], all_bad: bool = False) -> None:
        self.lines = tuple(lines)
        advice = "take other images" if all_bad else "mend them, or leave them out with --skip-bad"
        super().__init__(f"{len(lines)} image(s) cannot be used; nothing was written; {advice}")


def read_folder(
    folder: Path | str,
    *,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[list[Source], list[str]]:
    """All images of a folder, each decoded once.

    Returns
    -------
    sources : list of Source
    bad : list of str
        What was left out, with `skip_bad`.

    Raises
    ------
    BadImagesError
        Some cannot be used and `skip_bad` is false, or none can.
    """
    sources, bad = read_sources(list_images(folder), workers, progress)
    if bad and (not skip_bad or not sources):
        raise BadImagesError(bad, all_bad=not sources)
    return sources, bad


@dataclass(frozen=True)
class Registered:
    """One image as the authors ship it: set, name, size in bytes, SHA-256, and its path in their repository."""

    set: str
    name: str
    bytes: int
    sha256: str
    path: str


@cache
def list_registered() -> tuple[Registered, ...]:
    """Every image of the five sets as the authors ship them (``fixtures/registry.csv``); ValueError if damaged."""
    path = find_fixtures() / "registry.csv"
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            files = tuple(
                Registered(row["set"], row["file"], int(row["bytes"]), row["sha256"], row["path_in_repository"])
                for row in csv.DictReader(stream)
            )
        if not files or not all(map(_is_sound, files)):
            raise ValueError
    except (KeyError, TypeError, AttributeError, ValueError, csv.Error):  # a short row holds None
        raise ValueError(f"{path}: damaged; install the package again") from None
    return files


def _is_sound(file: Registered) -> bool:
    """Whether a registered file's name is a plain one, and its facts are possible."""
    plain = re.compile(r"[\w.-][\w. -]*")
    parts = file.path.split("/")
    return (
        file.set in (TRAIN_SET, *TEST_SETS)
        and all(plain.fullmatch(part) and part.strip(".") for part in (file.name, *parts))
        and parts[-1] == file.name
        and 0 < file.bytes < 1 << 30
        and re.fullmatch("[0-9a-f]{64}", file.sha256) is not None
    )


@cache
def read_registry() -> dict[str, dict[str, str]]:
    """set -> file name -> SHA-256, of the images as the authors ship them."""
    sets: dict[str, dict[str, str]] = {}
    for file in list_registered():
        sets.setdefault(file.set, {})[file.name] = file.sha256
    return sets


def recognise_set(sources: Sequence[Source]) -> str | None:
    """The registered set that these files are, byte for byte; None for any other collection."""
    held = {s.name: s.sha256 for s in sources}
    return next((name for name, files in read_registry().items() if files == held), None)


@cache
def read_published() -> dict[tuple[str, int, str], tuple[float, float]]:
    """(set, scale, method) -> (PSNR in dB, SSIM) as published (``fixtures/published_scores.csv``)."""
    with (find_fixtures() / "published_scores.csv").open(newline="", encoding="utf-8") as stream:
        return {
            (row["set"], int(row["scale"]), row["method"]): (float(row["psnr_db"]), float(row["ssim"]))
            for row in csv.DictReader(stream)
        }
