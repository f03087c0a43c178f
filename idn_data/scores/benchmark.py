"""Scores of any method, a function from LR to SR, on the test sets, beside the published ones. No torch here."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from idn_data.atomic import check_target, write_whole
from idn_data.images.sets import read_published, read_registry
from idn_data.matlab.weights import check_boundary
from idn_data.scores.colour import check_protocols, upscale_pair
from idn_data.scores.protocols import DEFAULT_PROTOCOLS, ProtocolName, find_protocol, score
from idn_data.scores.sets import check_set_names, check_sizes
from idn_data.scores.testset import TestPair, change_boundary, compose_result
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_data.scores.methods import Method
    from idn_data.scores.sets import TestSet
    from idn_data.workers import Progress


@dataclass(frozen=True)
class ImageScore:
    """PSNR (dB) and SSIM of one image in one protocol."""

    set: str
    scale: int
    method: str
    protocol: ProtocolName
    image: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Score:
    """Mean PSNR (dB) and SSIM of a method on a set at a scale, and what they were measured on."""

    set: str
    scale: int
    method: str
    protocol: ProtocolName
    images: int
    psnr: float
    ssim: float
    published_psnr: float | None
    published_ssim: float | None
    channel: str
    border: int
    digest: str
    registered: bool
    boundary: str = "symmetric"  # of imresize, for LR and in a network; an LR that it did not make stays

    def row(self) -> dict[str, object]:
        """The score as a row of a JSON list or a CSV table."""
        return asdict(self)


def evaluate(
    method: Method,
    test_set: TestSet,
    scale: int,
    protocols: Sequence[ProtocolName] = DEFAULT_PROTOCOLS,
    *,
    boundary: Boundary | None = None,
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
    protocols : sequence of {"float", "uint8", "y", "rgb"}
        See `idn_data.scores.protocols.score`. For "y" and "rgb" the method's picture is composed: Y by the method, Cb
        and Cr by bicubic.
    boundary : {"symmetric", "replicate"}, optional
        Border of the imresize that makes LR, and of the bicubic image in a network. An LR that imresize did not
        make is taken as it is.  [default: each protocol's]
    workers : int, optional
        Threads.
    progress : callable(what, done, total), optional

    Returns
    -------
    scores : list of Score
        One for each protocol: means over the images.
    images : list of ImageScore

    Raises
    ------
    ValueError
        An image is too small for a protocol, found before anything is computed; "float" or "uint8" of a method in
        colour; "y" or "rgb" of .mat files, which hold
        no picture; a method's SR is of a wrong size.
    """
    if boundary is not None:
        check_boundary(boundary)
    protocols = tuple(dict.fromkeys(protocols))  # each once
    borders = {name: boundary or find_protocol(name).boundary for name in protocols}
    check_protocols(method, protocols)
    check_sizes(test_set, scale, protocols)
    threads = count_workers(workers)

    def measure(load: Callable[[], TestPair]) -> list[ImageScore]:
        pair = load()
        found: dict[ProtocolName, tuple[float, float]] = {}
        for border in dict.fromkeys(borders.values()):  # one SR for all protocols of a border
            mine = change_boundary(pair, border)
            sr = upscale_pair(method, mine, border)
            if sr.shape[:2] != pair.gt.shape:
                raise ValueError(f"{method.name}: SR of {pair.name} is {sr.shape}, GT {pair.gt.shape}")
            found |= {p: _score_pair(sr, mine, p) for p in protocols if borders[p] == border}
        return [ImageScore(test_set.name, scale, method.name, p, pair.name, *found[p]) for p in protocols]

    rows: list[ImageScore] = []
    pairs = test_set.list_pairs(scale)
    for done, scored in enumerate(map_in_order(measure, pairs, threads if method.parallel else 1), 1):
        rows.extend(scored)
        if progress:
            progress(f"{test_set.name} x{scale}", done, len(pairs))
    return [_average(rows, method, test_set, scale, p, borders[p]) for p in protocols], rows


def _score_pair(sr: NDArray[np.float64], pair: TestPair, protocol: ProtocolName) -> tuple[float, float]:
    if protocol in ("float", "uint8"):
        return score(sr, pair.gt, pair.scale, protocol)
    if pair.picture is None:
        raise ValueError(f"{pair.name}: the protocol {protocol} compares pictures, a .mat holds Y; name their images")
    return score(compose_result(sr, pair), pair.picture, pair.scale, protocol)


def _average(
    rows: Sequence[ImageScore], method: Method, test_set: TestSet, scale: int, protocol: ProtocolName, border: Boundary
) -> Score:
    """Means of one protocol over the images, beside what was published."""
    mine, rule = [r for r in rows if r.protocol == protocol], find_protocol(protocol)
    published = find_published(test_set.name, scale, method.name, protocol, len(mine))
    return Score(
        set=test_set.name,
        scale=scale,
        method=method.name,
        protocol=protocol,
        images=len(mine),
        psnr=float(np.mean([r.psnr for r in mine])),
        ssim=float(np.mean([r.ssim for r in mine])),
        published_psnr=published[0] if published else None,
        published_ssim=published[1] if published else None,
        channel=rule.channel,
        border=rule.border(scale),
        digest=test_set.digest,
        registered=test_set.registered,
        boundary=border,
    )


def evaluate_sets(
    methods: Sequence[tuple[Method, Sequence[int]]],
    test_sets: Sequence[TestSet],
    protocols: Sequence[ProtocolName] = DEFAULT_PROTOCOLS,
    *,
    boundary: Boundary | None = None,
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
    protocols : sequence of {"float", "uint8", "y", "rgb"}
    boundary : {"symmetric", "replicate"}, optional
        Both as `evaluate` takes them.
    save_to : path, optional
        Folder for the SR images, see `save_results`; of the border of the protocols where they share one.
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
        An SR image is there, two sets or SR images would have one name, or an image is too small; found before
        anything is computed.
    """
    check_set_names(test_sets)
    borders = {boundary or find_protocol(name).boundary for name in protocols}
    work = [(method, test_set, scale) for test_set in test_sets for method, scales in methods for scale in scales]
    if save_to:
        for test_set in test_sets:
            if save_to.exists() and save_to.samefile(test_set.folder):
                raise ValueError(f"{save_to} holds the images of {test_set.name}; save SR to another folder")
        targets = [path for job in work for path in name_results(*job, save_to)]
        for path in targets:
            check_target(path, force)
        if twice := [path for path, count in Counter(targets).items() if count > 1]:
            raise ValueError(f"two pictures would be called {twice[0]}; save those of each set to a folder of its own")
    for method, _ in methods:
        check_protocols(method, protocols)
    for test_set, scale in dict.fromkeys((test_set, scale) for _, test_set, scale in work):
        check_sizes(test_set, scale, protocols)
    scores: list[Score] = []
    rows: list[ImageScore] = []
    for job in work:
        found, images = evaluate(*job, protocols, boundary=boundary, workers=workers, progress=progress)
        scores += found
        rows += images
        if save_to:
            saved = next(iter(borders)) if len(borders) == 1 else None
            save_results(*job, save_to, boundary=saved, force=force, progress=progress)
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
    boundary: Boundary | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Save the SR images of a set as ``<image>_x<scale>_<method>.png``: Y by the method, Cb and Cr by bicubic.

    As in the authors' scripts, Cb and Cr are those of the GT, reduced and enlarged by imresize. The border is symmetric
    unless `boundary` says otherwise.
    """
    loaders, paths = test_set.list_pairs(scale), name_results(method, test_set, scale, folder)
    border: Boundary = boundary or "symmetric"
    for done, (load, path) in enumerate(zip(loaders, paths, strict=True), 1):
        pair = change_boundary(load(), border)
        picture = Image.fromarray(compose_result(upscale_pair(method, pair, border), pair))
        with write_whole(path, force) as temporary:
            picture.save(temporary, format="PNG")
        if progress:
            progress("saving images", done, len(loaders))
    return paths


def find_published(
    name: str, scale: int, method: str, protocol: ProtocolName, images: int
) -> tuple[float, float] | None:
    """PSNR and SSIM published in a protocol: of the method by its name, else of IDN; None if there are none.

    They are of the whole set: none stand beside the mean of another number of images.
    A network stands beside IDN (TensorFlow) fine-tuned in the float protocol, beside IDN (Original) in "uint8".
    """
    row = find_protocol(protocol).find_row(method)
    if row is None or images != len(read_registry().get(name, ())):
        return None
    return read_published().get((name, scale, row))
