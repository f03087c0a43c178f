"""Test sets to be scored: found by name or folder, of images or .mat files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.images.decode import list_images, read_image
from idn_data.images.opening import find_size, open_picture
from idn_data.images.sets import TEST_SETS, find_set, recognise_set
from idn_data.images.sources import digest_sources, read_folder
from idn_data.namesakes import name_whole
from idn_data.scores.pairs import PairError, pair_pictures
from idn_data.scores.protocols import ProtocolName, check_size
from idn_data.scores.testset import TestPair, list_test_names, list_test_pairs, make_test_pair, replace_lr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from idn_data.workers import Progress


@dataclass(frozen=True)
class TestSet:
    """A set to be scored: its name, its images or .mat files, and their digest."""

    __test__ = False

    name: str
    folder: Path
    digest: str
    registered: bool
    mat: bool
    paths: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...] = ()  # rows and columns of the images; of .mat files they are not known
    lr: tuple[Path, ...] = ()  # pictures to take for LR, in the order of `paths`; none: LR is made of GT

    def list_pairs(self, scale: int) -> list[Callable[[], TestPair]]:
        """One function for each image that makes, or reads, its GT and LR: few images are in memory at once."""
        if self.mat:
            return list_test_pairs(self.folder, scale)
        if self.lr:
            return [partial(_read_both, *both, scale) for both in zip(self.paths, self.lr, strict=True)]
        return [partial(_read_pair, path, scale) for path in self.paths]

    def describe(self) -> str:
        """Name, digest and origin, for people."""
        origin = "the authors' files" if self.registered else ".mat files" if self.mat else "not the authors' files"
        made = f", LR from {self.lr[0].parent}" if self.lr else ""
        return f"{self.name} {self.digest[:12]} ({origin}{made})"

    def list_names(self, scale: int) -> list[str]:
        """The images' names, in the order of `list_pairs`."""
        return list_test_names(self.folder, scale) if self.mat else [path.stem for path in self.paths]

    def list_sizes(self, scale: int) -> list[tuple[int, int]]:
        """Rows and columns of each GT, in the order of `list_pairs`; reads the .mat files."""
        if self.mat:
            return [load().gt.shape for load in self.list_pairs(scale)]
        return [(h // scale * scale, w // scale * scale) for h, w in self.sizes]


def _read_pair(path: Path, scale: int) -> TestPair:
    return make_test_pair(read_image(path), scale, path.stem)


def _read_both(path: Path, lr: Path, scale: int) -> TestPair:
    picture = read_image(lr)
    height, width = (scale * n for n in picture.shape[:2])
    return replace_lr(make_test_pair(read_image(path)[:height, :width], scale, path.stem), picture)


def attach_lr(test_set: TestSet, folder: Path, scale: int) -> TestSet:
    """The set with the LR pictures of a folder in place of LR made of GT.

    Parameters
    ----------
    test_set : TestSet
        Of images.
    folder : path
        LR pictures; they pair with GT by name, see `idn_data.scores.pairs`.
    scale : int
        Between them: GT may be larger than LR times the scale by less than the scale, and is cut there.

    Raises
    ------
    ValueError
        The set is of .mat files, which hold their LR.
    PairError
        A picture has no partner or two, or the sizes do not fit.
    FileNotFoundError
        No such folder, or no image in it.
    """
    if test_set.mat:
        raise ValueError(f"{test_set.name} is of .mat files, which hold their LR; name the folder of its images")
    pairing = pair_pictures(f"LR of {test_set.name}", list_images(folder), test_set.paths, scale)
    by_gt = {pair.gt: pair.sr for pair in pairing.pairs}
    lr, faults = tuple(by_gt[path] for path in test_set.paths), []
    for path, small, (gh, gw) in zip(test_set.paths, lr, test_set.sizes, strict=True):
        with open_picture(small) as picture:
            h, w = (scale * n for n in find_size(picture))
        if not (0 <= gh - h < scale and 0 <= gw - w < scale):
            faults.append(f"{small}: times {scale} it is {h}x{w}, {path.name} is {gh}x{gw}")
    if faults:
        raise PairError(f"{len(faults)} LR pictures do not fit their GT; name those of scale {scale}", faults)
    return replace(test_set, lr=lr)


def open_set(name: str, root: Path, workers: int | None = None, progress: Progress | None = None) -> TestSet:
    """Find a test set by name or folder: its images, or its .mat files where only those are.

    Raises
    ------
    FileNotFoundError
        Neither images nor .mat files.
    BadImagesError
        Some images cannot be read.
    """
    mat_folder = root / "test_data" / "mat" / name if name in TEST_SETS else Path(name)
    try:
        folder = find_set(name, root)
        sources, _ = read_folder(folder, workers=workers, progress=progress)
    except FileNotFoundError:
        mats = sorted(mat_folder.glob("*_gt.mat"), key=lambda p: p.name)
        if not mats:
            raise
        whole = hashlib.sha256()
        for path in mats:
            whole.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return TestSet(mat_folder.name, mat_folder, whole.hexdigest(), False, True, tuple(mats))
    known, paths = recognise_set(sources), tuple(s.path for s in sources)
    digest, sizes = digest_sources(sources), tuple((s.height, s.width) for s in sources)
    return TestSet(known or name_whole(folder).name, folder, digest, known is not None, False, paths, sizes)


def check_set_names(test_sets: Sequence[TestSet]) -> None:
    """Refuse two sets of one name, whose scores would stand in one row; ValueError names them."""
    names = [test_set.name for test_set in test_sets]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two sets are called {twice[0]}; name each set once, or rename a folder")


def check_sizes(test_set: TestSet, scale: int, protocols: Sequence[ProtocolName]) -> None:
    """Refuse a set with images too small for a protocol, before anything is computed.

    Raises
    ------
    ValueError
        Names each of them.
    """
    for protocol in protocols:
        small, why = [], ""
        for name, (height, width) in zip(test_set.list_names(scale), test_set.list_sizes(scale), strict=True):
            try:
                check_size(height, width, scale, protocol)
            except ValueError as error:
                small.append(f"{name} ({height}x{width})")
                why = why or str(error)
        if small:
            named = ", ".join(small[:5]) + (f" and {len(small) - 5} more" if len(small) > 5 else "")
            raise ValueError(
                f"{test_set.name} x{scale}: too small for the protocol {protocol}: {named}; {why}; take such images "
                "out of the folder, or choose another protocol or scale"
            )
