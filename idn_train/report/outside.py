"""A report about SR pictures from anywhere, beside networks or without any. No torch here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from idn_data.matlab.color import rgb2y
from idn_data.pictures import Panel
from idn_data.scores.benchmark import Score, evaluate, find_published
from idn_data.scores.colour import keep_protocols
from idn_data.scores.figure import make_panels
from idn_data.scores.methods import BICUBIC
from idn_data.scores.protocols import DEFAULT_PROTOCOLS, find_protocol, score
from idn_data.scores.scoring import MethodScore, ScorePlan, plan_scores, read_pair, score_plan
from idn_train.report.make import SHOWN, cut_panels
from idn_train.report.page import Picture, format_page
from idn_train.report.runs import Run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from idn_data.scores.methods import Method
    from idn_data.scores.pairs import Pairing
    from idn_data.scores.sets import TestSet
    from idn_data.workers import Progress
    from idn_train.report.page import Scores

COMPARED = (*DEFAULT_PROTOCOLS, "y")  # what pictures from elsewhere are usually scored in as well


def split_paths(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Which of these are networks, weight files or folders of a run, and which are SR pictures or folders of them."""
    networks: list[Path] = []
    pictures: list[Path] = []
    for path in paths:
        run = path.suffix == ".safetensors" or any((path / f"{n}.safetensors").is_file() for n in ("final", "best"))
        (networks if run else pictures).append(path)
    return networks, pictures


def report_pictures(
    paths: Sequence[Path],
    test_set: TestSet,
    scale: int,
    networks: Sequence[tuple[Run, Method]] = (),
    shown: Sequence[str] = (),
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> str:
    """Score SR pictures and networks on one set, and write them as one HTML page with pictures to wipe and zoom.

    Parameters
    ----------
    paths : sequence of path
        Folders of SR pictures, a method each; or files.
    test_set : TestSet
        Their GT, from `idn_data.scores.sets.open_set`: of images.
    scale : int
        Of the SR pictures.
    networks : sequence of (Run, Method)
        Of that scale, to stand beside.
    shown : sequence of str
        Names of pictures to show.  [default: three]
    workers : int, optional
        Threads.
    progress : callable(what, done, total), optional

    Returns
    -------
    str
        The page.

    Raises
    ------
    FileNotFoundError, PairError
        As `idn_data.scores.scoring.plan_scores`.
    ValueError
        No pictures; GT of .mat files; a network of another scale or with a method's name; no picture of such a name.
    """
    if not paths or test_set.mat:
        what = f"{test_set.name} is of .mat files" if paths else "no SR pictures were named"
        raise ValueError(f"{what}; name folders of SR pictures, and with --gt the folder of their GT pictures")
    plan = _rename_methods(plan_scores(paths, test_set.paths, scale, crop_gt=True))
    names = [pairing.method for pairing in plan.pairings]
    for run, _ in networks:
        if run.scale != scale or run.name in names:
            why = f"of scale {run.scale}" if run.scale != scale else "a method's name too; rename its folder"
            raise ValueError(f"{run.name} is {why}; the pictures are of scale {scale}")
    methods = [BICUBIC, *(replace(method, name=run.name) for run, method in networks)]
    scores: Scores = {}
    for method in methods:
        protocols = keep_protocols(method, COMPARED)
        found, _ = evaluate(method, test_set, scale, protocols, workers=workers, progress=progress)
        scores |= {(s.set, s.scale, s.method, s.protocol): s for s in found}
    for mine in score_plan(plan, COMPARED, workers=workers, progress=progress):
        scores[test_set.name, scale, mine.method, mine.protocol] = _convert(mine, test_set, scale)
    runs = [_describe(pairing, scale) for pairing in plan.pairings]
    pictures = [_show(name, plan, scale, methods) for name in _choose(plan, shown)]
    return format_page([*runs, *(run for run, _ in networks)], scores, pictures)


def _rename_methods(plan: ScorePlan) -> ScorePlan:
    """The plan with no method under a name that the page itself has."""
    own = ("GT", BICUBIC.name)
    mine = (replace(p, method=f"{p.method} (pictures)") if p.method in own else p for p in plan.pairings)
    return replace(plan, pairings=tuple(mine))


def _convert(mine: MethodScore, test_set: TestSet, scale: int) -> Score:
    """The score of pictures as one of a method on the set."""
    published = find_published(test_set.name, scale, mine.method, mine.protocol, mine.images)
    rule = find_protocol(mine.protocol)
    return Score(
        set=test_set.name, scale=scale, method=mine.method, protocol=mine.protocol, images=mine.images,
        psnr=mine.psnr, ssim=mine.ssim, published_psnr=published[0] if published else None,
        published_ssim=published[1] if published else None, channel=rule.channel, border=mine.border,
        boundary=rule.boundary, digest=test_set.digest, registered=test_set.registered,
    )  # fmt: skip


def _describe(pairing: Pairing, scale: int) -> Run:
    """A method of pictures as one of the page's columns: where they lie, and how they were paired."""
    folder = pairing.pairs[0].sr.parent
    facts = {
        "network": "pictures",
        "file": str(folder),
        "scale": scale,
        "pictures": len(pairing.pairs),
        "paired by": pairing.rule,
    }
    return Run(pairing.method, folder, scale, facts)


def _choose(plan: ScorePlan, shown: Sequence[str]) -> list[str]:
    """Names of the pictures to show: as the pairs have them, or as the GT files do."""
    there = {pair.name: pair.gt for pair in plan.pairings[0].pairs}
    known = {gt.stem: name for name, gt in there.items()} | {name: name for name in there}
    for name in shown:
        if name not in known:
            raise ValueError(
                f"no picture {name!r}; one of {', '.join(list(there)[:8])}{' …' if len(there) > 8 else ''}"
            )
    return [known[name] for name in shown] or [n for n in SHOWN if n in there] or list(there)[: len(SHOWN)]


def _show(name: str, plan: ScorePlan, scale: int, methods: Sequence[Method]) -> Picture:
    """GT, bicubic, networks and the SR pictures of one name: the part where bicubic errs the most."""
    pairs = {p.method: next((pair for pair in p.pairs if pair.name == name), None) for p in plan.pairings}
    gt: Path = next(pair.gt for pair in pairs.values() if pair)
    panels = make_panels(gt, scale, methods)
    for method, pair in pairs.items():
        if pair is not None:
            sr, truth = read_pair(pair)  # of one size and kind
            y, wanted = (a if a.ndim == 2 else rgb2y(a) for a in (sr, truth))
            psnr, ssim = score(y, wanted, scale, "float")
            panels.append(Panel(method, sr, f"{psnr:.2f} dB / {ssim:.4f}"))
    height, width = (min(panel.image.shape[axis] for panel in panels) for axis in (0, 1))  # SR may be cut, or not
    return cut_panels(name, scale, [replace(panel, image=panel.image[:height, :width]) for panel in panels])
