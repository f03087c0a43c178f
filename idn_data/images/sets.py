"""Where the image sets lie, what they are, and what was published of them."""

from __future__ import annotations

import csv
import os
import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    T = TypeVar("T")
    R = TypeVar("R")

if TYPE_CHECKING:
    from idn_data.images.sources import Source


TRAIN_SET = "291"


TEST_SETS = ("Set5", "Set14", "B100", "Urban100")


def find_fixtures() -> Path:
    """The folder of reference figures: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parents[1]  # idn_data
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
    return f"idn fetch {name}{say_root(root)}"


def say_root(root: Path) -> str:
    """What a command of idn needs to work under a data root: an option, or nothing where it is the usual one."""
    return "" if root == find_data_root() else f" --data-root {shlex.quote(str(root))}"


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
