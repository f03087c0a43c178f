"""Scores of pictures from anywhere: folders of SR pictures against the folder of their GT."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.images.decode import list_images, read_image
from idn_data.images.opening import find_size, open_picture
from idn_data.images.sets import TEST_SETS, read_published, read_registry
from idn_data.matlab.color import rgb2y
from idn_data.namesakes import name_whole
from idn_data.scores.pairs import Pair, PairError, Pairing, group_pictures, pair_pictures
from idn_data.scores.protocols import ProtocolName, find_protocol, score
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idn_data.workers import Progress

_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")


@dataclass(frozen=True)
class PictureScore:
    """PSNR (dB) and SSIM of one SR picture in one protocol."""

    method: str
    protocol: ProtocolName
    picture: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class MethodScore:
    """Mean PSNR (dB) and SSIM of a method's pictures in one protocol, and how they were measured."""

    method: str
    scale: float
    protocol: ProtocolName
    images: int
    psnr: float
    ssim: float
    set: str
    border: int
    channel: str
    pictures: tuple[PictureScore, ...]

    def row(self) -> dict[str, Any]:
        """The score as a row of a JSON list, with the pictures' own scores."""
        facts = {k: v for k, v in vars(self).items() if k != "pictures"}
        return facts | {"pictures": [{"picture": p.picture, "psnr": p.psnr, "ssim": p.ssim} for p in self.pictures]}


@dataclass(frozen=True)
class ScorePlan:
    """What is to be scored: pairs by method, all looked at, and the set that the GT is."""

    scale: float
    set: str
    pairings: tuple[Pairing, ...]
    notes: tuple[str, ...] = ()


def plan_scores(
    sr: Sequence[Path | str],
    gt: Sequence[Path | str],
    scale: float,
    *,
    methods: Sequence[str] = (),
    crop_gt: bool = False,
    partial: bool = False,
) -> ScorePlan:
    """Pair the pictures and look at each file's head, before anything is computed.

    Parameters
    ----------
    sr : sequence of path
        Folders of SR pictures, a method each; or files.
    gt : sequence of path
        The folder of the GT pictures, or files.
    scale : float
        Of the SR.
    methods : sequence of str
        Names for the methods, in the order of `sr`.  [default: those of the folders]
    crop_gt : bool
        GT may be larger than SR by less than the scale, and is cut at the bottom and the right.
    partial : bool
        Leave out pictures without a partner.

    Returns
    -------
    ScorePlan

    Raises
    ------
    FileNotFoundError
        No such folder or file, or no image in it.
    PairError
        Pictures without a partner or with two; unequal sizes; more than 8 bits.
    ValueError
        A scale that is not above 0 and finite; another number of `methods` than of folders.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale must be a positive number; got {scale}")
    groups = group_pictures(sr, methods)
    for path in map(Path, gt):
        if not path.exists():
            raise FileNotFoundError(f"no such picture or folder: {path}; name the folder of the GT pictures")
    truth = [p for path in map(Path, gt) for p in (list_images(path) if path.is_dir() else [path])]
    pairings = tuple(pair_pictures(name, files, truth, scale, partial=partial) for name, files in groups.items())
    faults, notes = [], []
    for pairing in pairings:
        if pairing.alone:
            notes.append(f"{pairing.method}: {len(pairing.alone)} pictures without a partner left out")
        if lossy := [pair.sr.name for pair in pairing.pairs if pair.sr.suffix.lower() in (".jpg", ".jpeg", ".jfif")]:
            notes.append(f"{pairing.method}: {len(lossy)} SR pictures are JPEG, whose own loss counts as the method's")
        faults += [
            f"{pairing.method}: {fault}" for pair in pairing.pairs for fault in _find_faults(pair, scale, crop_gt)
        ]
    if faults:
        raise PairError(f"{len(faults)} pictures cannot be scored; nothing was computed", faults)
    return ScorePlan(scale, _name_set(truth), pairings, tuple(notes))


def _find_faults(pair: Pair, scale: float, crop_gt: bool) -> list[str]:
    """What keeps a pair from being scored, read from the heads of both files."""
    faults, sizes = [], []
    for path in (pair.sr, pair.gt):
        with open_picture(path) as picture:
            sizes.append(find_size(picture))
            if picture.mode in _DEEP or ";16" in str(getattr(picture, "tile", "")):
                faults.append(f"{path}: more than 8 bits; scores are of 8-bit pictures; save it with 8 bits")
    if pair.sr.samefile(pair.gt):
        faults.append(f"{pair.sr}: is SR and GT at once; name the folder of SR first, that of GT by --gt")
    (h, w), (gh, gw) = sizes
    if (h, w) == (gh, gw) or (crop_gt and 0 <= gh - h < scale and 0 <= gw - w < scale):
        return faults
    fits = 0 <= gh - h < scale and 0 <= gw - w < scale
    advice = "--crop-gt cuts GT at the bottom and the right" if fits else "name the GT of this very picture"
    return [*faults, f"{pair.name}: SR is {h}x{w}, GT {gh}x{gw}; {advice}"]


def _name_set(truth: Sequence[Path]) -> str:
    """The known set that the GT pictures are by their names, else the folder's name."""
    names = {path.name for path in truth}
    known = (name for name, files in read_registry().items() if name in TEST_SETS and names <= set(files))
    return next(known, name_whole(truth[0]).parent.name)  # of a link, its own folder


def score_plan(
    plan: ScorePlan,
    protocols: Sequence[ProtocolName] = ("y",),
    *,
    border: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[MethodScore]:
    """Score what `plan_scores` found.

    Parameters
    ----------
    plan : ScorePlan
    protocols : sequence of {"float", "uint8", "y", "rgb"}
        See `idn_data.scores.protocols.score`.
    border : int, optional
        Pixels shaved off each side.  [default: each protocol's]
    workers : int, optional
        Threads.
    progress : callable(what, done, total), optional

    Returns
    -------
    list of MethodScore
        For each protocol, each method.

    Raises
    ------
    ValueError
        A picture that cannot be decoded, or is too small for a protocol: the message names it.
    """
    found: list[MethodScore] = []
    protocols = list(dict.fromkeys(protocols))  # each once
    threads = count_workers(workers)
    size = math.floor(plan.scale)
    for pairing in plan.pairings:

        def measure(pair: Pair, method: str = pairing.method) -> list[PictureScore]:
            sr, gt = read_pair(pair)
            scores = []
            for name in protocols:
                one, other = (sr, gt) if name in ("y", "rgb") else (_take_y(sr), _take_y(gt))
                try:
                    values = score(one, other, size, name, border=border)
                except ValueError as error:
                    raise ValueError(f"{pair.sr}: {error}") from None
                scores.append(PictureScore(method, name, pair.name, *values))
            return scores

        rows: list[PictureScore] = []
        for done, scores in enumerate(map_in_order(measure, pairing.pairs, threads), 1):
            rows += scores
            if progress:
                progress(f"scoring {pairing.method}", done, len(pairing.pairs))
        found += [_average(rows, name, pairing.method, plan, border) for name in protocols]
    return sorted(found, key=lambda s: protocols.index(s.protocol))


def _average(
    rows: Sequence[PictureScore], name: ProtocolName, method: str, plan: ScorePlan, border: int | None
) -> MethodScore:
    mine = tuple(row for row in rows if row.protocol == name)
    rule = find_protocol(name)
    psnr, ssim = (float(np.mean([getattr(row, what) for row in mine])) for what in ("psnr", "ssim"))
    shaved = rule.border(math.floor(plan.scale)) if border is None else border
    return MethodScore(method, plan.scale, name, len(mine), psnr, ssim, plan.set, shaved, rule.channel, mine)


def score_pictures(
    sr: Path | str | Sequence[Path | str],
    gt: Path | str | Sequence[Path | str],
    scale: float,
    protocols: Sequence[ProtocolName] = ("y",),
    *,
    border: int | None = None,
    crop_gt: bool = False,
    partial: bool = False,
    workers: int | None = None,
) -> list[MethodScore]:
    """Score SR pictures from anywhere against their GT: `plan_scores`, then `score_plan`.

    Parameters
    ----------
    sr, gt : path, or sequence of path
        Folders or files; each folder of SR pictures is a method.
    scale, protocols, border, crop_gt, partial, workers
        See `plan_scores` and `score_plan`.

    Returns
    -------
    list of MethodScore

    Raises
    ------
    FileNotFoundError, PairError, ValueError
        See `plan_scores` and `score_plan`.
    """
    sr, gt = ([path] if isinstance(path, (str, Path)) else path for path in (sr, gt))
    plan = plan_scores(sr, gt, scale, crop_gt=crop_gt, partial=partial)
    return score_plan(plan, protocols, border=border, workers=workers)


def read_pair(pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """SR and GT of one size and kind: GT is cut to SR's; grey beside colour becomes three equal channels."""
    sr, gt = read_image(pair.sr), read_image(pair.gt)
    gt = gt[: sr.shape[0], : sr.shape[1]]
    if sr.ndim != gt.ndim:
        sr, gt = (np.repeat(a[:, :, None], 3, axis=2) if a.ndim == 2 else a for a in (sr, gt))
    return sr, gt


def _take_y(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture if picture.ndim == 2 else rgb2y(picture)


def find_published_rows(scores: Sequence[MethodScore]) -> list[MethodScore]:
    """The published figures of the same set, scale and protocols, as rows of their own.

    Only beside whole sets, and borders that are the protocols' own.
    """
    held, registry, rows = read_published(), read_registry(), []
    if any(s.images != len(registry.get(s.set, ())) for s in scores):
        return []
    if any(s.border != find_protocol(s.protocol).border(math.floor(s.scale)) for s in scores):
        return []
    for first in {(s.set, s.scale, s.protocol): s for s in scores}.values():
        for method in find_protocol(first.protocol).published:
            values = held.get((first.set, math.floor(first.scale), method))
            if values and first.scale == math.floor(first.scale):
                name = f"{method} (published)"
                rows.append(replace(first, method=name, psnr=values[0], ssim=values[1], images=0, pictures=()))
    return rows
