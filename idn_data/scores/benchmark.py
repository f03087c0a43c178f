"""Scores of any method, a function from LR to SR, on the test sets, beside the published ones. No torch here."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from idn_data.atomic import check_target, write_whole
from idn_data.images.decode import read_image
from idn_data.images.sets import TEST_SETS, find_set, read_published, recognise_set
from idn_data.images.sources import digest_sources, read_folder
from idn_data.matlab.resize import imresize
from idn_data.scores.protocols import PROTOCOLS, Protocol, score
from idn_data.scores.testset import TestPair, compose_result, list_test_names, list_test_pairs, make_test_pair
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idn_data.workers import Progress

Upscale = Callable[["NDArray[np.float64]", int], "NDArray[np.float64]"]


@dataclass(frozen=True)
class Method:
    """A way from LR to SR.

    Parameters
    ----------
    name : str
        As the tables name it.
    upscale : callable(lr, scale) -> sr
        (h, w) float64 in [0, 1] to (s·h, s·w) float64. Called from several threads where `parallel`.
    clip : bool
        Clip SR to [0, 1] before scoring: networks are, the published bicubic is not.
    parallel : bool
        Whether several images may be upscaled at once.
    """

    name: str
    upscale: Upscale
    clip: bool = True
    parallel: bool = False


def upscale_bicubic(lr: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """MATLAB's bicubic interpolation, the baseline of every paper: (h, w) to (s·h, s·w)."""
    return imresize(lr, scale)


BICUBIC = Method("bicubic", upscale_bicubic, clip=False, parallel=True)


@dataclass(frozen=True)
class ImageScore:
    """PSNR (dB) and SSIM of one image in one protocol."""

    set: str
    scale: int
    method: str
    protocol: Protocol
    image: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Score:
    """Mean PSNR (dB) and SSIM of a method on a set at a scale, and what they were measured on."""

    set: str
    scale: int
    method: str
    protocol: Protocol
    images: int
    psnr: float
    ssim: float
    published_psnr: float | None
    published_ssim: float | None
    channel: str
    border: int
    digest: str
    registered: bool

    def row(self) -> dict[str, object]:
        """The score as a row of a JSON list or a CSV table."""
        return asdict(self)


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

    def list_pairs(self, scale: int) -> list[Callable[[], TestPair]]:
        """One function for each image that makes, or reads, its GT and LR: few images are in memory at once."""
        if self.mat:
            return list_test_pairs(self.folder, scale)
        return [partial(_read_pair, path, scale) for path in self.paths]

    def describe(self) -> str:
        """Name, digest and origin, for people."""
        origin = "the authors' files" if self.registered else ".mat files" if self.mat else "not the authors' files"
        return f"{self.name} {self.digest[:12]} ({origin})"

    def list_names(self, scale: int) -> list[str]:
        """The images' names, in the order of `list_pairs`."""
        return list_test_names(self.folder, scale) if self.mat else [path.stem for path in self.paths]


def _read_pair(path: Path, scale: int) -> TestPair:
    return make_test_pair(read_image(path), scale, path.stem)


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
    return TestSet(known or folder.resolve().name, folder, digest_sources(sources), known is not None, False, paths)


def evaluate(
    method: Method,
    test_set: TestSet,
    scale: int,
    protocols: Sequence[Protocol] = PROTOCOLS,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[Score], list[ImageScore]]:
    """Score a method on a set at a scale.

    Parameters
    ----------
    method : Method
    test_set : TestSet
        From `open_set`.
    scale : int
    protocols : sequence of {"float", "uint8"}
        See `idn_data.scores.protocols.score`.
    workers : int, optional
        Threads.
    progress : callable(what, done, total), optional

    Returns
    -------
    scores : list of Score
        One for each protocol: means over the images.
    images : list of ImageScore
    """
    threads = count_workers(workers)

    def measure(load: Callable[[], TestPair]) -> list[ImageScore]:
        pair = load()
        sr = method.upscale(pair.lr, scale)
        if sr.shape != pair.gt.shape:
            raise ValueError(f"{method.name}: SR of {pair.name} is {sr.shape}, GT {pair.gt.shape}")
        if method.clip:
            sr = np.clip(sr, 0.0, 1.0)
        return [
            ImageScore(test_set.name, scale, method.name, p, pair.name, *score(sr, pair.gt, scale, p))
            for p in protocols
        ]

    rows: list[ImageScore] = []
    pairs = test_set.list_pairs(scale)
    for done, found in enumerate(map_in_order(measure, pairs, threads if method.parallel else 1), 1):
        rows.extend(found)
        if progress:
            progress(f"{test_set.name} x{scale}", done, len(pairs))
    scores = []
    for protocol in protocols:
        mine = [r for r in rows if r.protocol == protocol]
        published = find_published(test_set.name, scale, method.name, protocol)
        scores.append(
            Score(
                set=test_set.name,
                scale=scale,
                method=method.name,
                protocol=protocol,
                images=len(mine),
                psnr=float(np.mean([r.psnr for r in mine])),
                ssim=float(np.mean([r.ssim for r in mine])),
                published_psnr=published[0] if published else None,
                published_ssim=published[1] if published else None,
                channel="Y",
                border=scale,
                digest=test_set.digest,
                registered=test_set.registered,
            )
        )
    return scores, rows


def evaluate_sets(
    methods: Sequence[tuple[Method, Sequence[int]]],
    test_sets: Sequence[TestSet],
    protocols: Sequence[Protocol] = PROTOCOLS,
    *,
    save_to: Path | None = None,
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[Score], list[ImageScore]]:
    """Score methods on sets, set by set, and save what they make of them.

    Parameters
    ----------
    methods : sequence of (Method, scales)
        Each with the scales to score it at.
    test_sets : sequence of TestSet
        From `open_set`.
    protocols : sequence of {"float", "uint8"}
        See `idn_data.scores.protocols.score`.
    save_to : path, optional
        Folder for the SR images, see `save_results`.
    force : bool
        Replace SR images that are there.
    workers : int, optional
        Threads.
    progress : callable(what, done, total), optional

    Returns
    -------
    scores : list of Score
    images : list of ImageScore

    Raises
    ------
    FileExistsError, ValueError
        An SR image is there, or two would have one name; found before anything is computed.
    """
    work = [(method, test_set, scale) for test_set in test_sets for method, scales in methods for scale in scales]
    if save_to:
        targets = [path for job in work for path in name_results(*job, save_to)]
        for path in targets:
            check_target(path, force)
        if twice := [path for path, count in Counter(targets).items() if count > 1]:
            raise ValueError(f"two pictures would be called {twice[0]}; save those of each set to a folder of its own")
    scores: list[Score] = []
    rows: list[ImageScore] = []
    for job in work:
        found, images = evaluate(*job, protocols, workers=workers, progress=progress)
        scores += found
        rows += images
        if save_to:
            save_results(*job, save_to, force=force, progress=progress)
    return scores, rows


def name_results(method: Method, test_set: TestSet, scale: int, folder: Path) -> list[Path]:
    """Where `save_results` saves, ``<image>_x<scale>_<method>.png`` for each image."""
    label = re.sub(r"[^A-Za-z0-9.+-]+", "_", method.name).strip("_")
    return [folder / f"{name}_x{scale}_{label}.png" for name in test_set.list_names(scale)]


def save_results(
    method: Method,
    test_set: TestSet,
    scale: int,
    folder: Path,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Save the SR images of a set as ``<image>_x<scale>_<method>.png``: Y by the method, Cb and Cr by bicubic.

    As in the authors' scripts, Cb and Cr are those of the GT, reduced and enlarged by imresize.
    """
    loaders, paths = test_set.list_pairs(scale), name_results(method, test_set, scale, folder)
    for done, (load, path) in enumerate(zip(loaders, paths, strict=True), 1):
        pair = load()
        picture = Image.fromarray(compose_result(method.upscale(pair.lr, scale), pair))
        with write_whole(path, force) as temporary:
            picture.save(temporary, format="PNG")
        if progress:
            progress("saving images", done, len(loaders))
    return paths


def find_published(name: str, scale: int, method: str, protocol: Protocol) -> tuple[float, float] | None:
    """PSNR and SSIM published in a protocol: of bicubic by that name, else of IDN; None if there are none.

    A network stands beside IDN (TensorFlow) fine-tuned in the float protocol, beside IDN (Original) in the other.
    """
    row = "bicubic" if method == "bicubic" else "IDN (TensorFlow) finetune" if protocol == "float" else "IDN (Original)"
    return None if row == "bicubic" and protocol == "uint8" else read_published().get((name, scale, row))
