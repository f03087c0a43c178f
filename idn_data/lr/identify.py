"""`identify`: what made the LR pictures of a folder, in one line, with the command that makes them again."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.images.exact import read_header
from idn_data.lr.candidates import Candidate, list_blurs, list_matlab
from idn_data.lr.foreign import list_foreign
from idn_data.lr.pictures import MOST_SCALE, Picture, find_pairs, find_scale, fits, read_pictures
from idn_data.lr.reduction import BOUNDARIES, Reduction
from idn_data.lr.search import ALIKE, Fit, Search, agree
from idn_data.lr.shifts import find_part
from idn_data.lr.trials import Bench, Preparation, Trial, list_preparations
from idn_data.matlab.compiled import load_kernels
from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idn_data.workers import Progress

EXCHANGED = 0.5  # R and B are exchanged if that leaves less than this share of the mean difference


@dataclass(frozen=True)
class Verdict:
    """What made the pictures.

    Parameters
    ----------
    maker : str
        "matlab", "pillow", "opencv", "torch", "skimage", or "none": nothing fits, or several makers do that other
        pictures could tell apart.
    method, boundary, through, antialias, channel
        As `idn_data.lr.candidates.Candidate` and `Preparation` have them; None where the pictures do not tell, or
        nothing fits.
    scale : float
        HR pixels along one LR pixel.
    differing, values, largest, where
        Of the maker, or of the nearest where there is none: values that differ, of how many, by how much at most, and
        "nowhere", "border" or "everywhere".
    crop : str
        How HR was cut: "none" but for the usual cut at the bottom and the right.
    shift : (float, float) or None
        LR pixels by which LR samples further down and right.
    exchanged : bool
        R and B are exchanged.
    jpeg : str or None
        The JPEG that LR went through.
    same : tuple of str
        Others that give the same values on any picture.
    untold : tuple of str
        Others that give the same values on these pictures alone.
    command : str or None
        The command that makes them again.
    text : str
        All this in one line.
    """

    maker: str
    method: str | None
    boundary: str | None
    through: str | None
    antialias: bool | None
    channel: str | None
    scale: float
    differing: int
    values: int
    largest: int
    where: str
    crop: str
    shift: tuple[float, float] | None
    exchanged: bool
    jpeg: str | None
    same: tuple[str, ...]
    untold: tuple[str, ...]
    command: str | None
    text: str


@dataclass(frozen=True)
class Identification:
    """The verdict, every candidate that was tried, the nearest first, what was not tried, and the pictures compared."""

    verdict: Verdict
    candidates: tuple[dict[str, Any], ...]
    not_tried: tuple[str, ...]
    pictures: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain types, for JSON."""
        return asdict(self)


def identify_maker(
    lr: Sequence[Path | str] | Path | str,
    hr: Sequence[Path | str] | Path | str,
    *,
    scale: float | None = None,
    pictures: int = 3,
    makers: Sequence[Candidate] = (),
    missing: Sequence[str] = (),
    progress: Progress | None = None,
) -> Identification:
    """What made these LR pictures; `idn_train.makers.identify` does the same with torch among the makers.

    Parameters
    ----------
    lr, hr, scale, pictures, progress
        As there.
    makers : sequence of Candidate
        To be tried beside MATLAB's, Pillow's, OpenCV's and scikit-image's.
    missing : sequence of str
        What is to be named as not tried.

    Returns
    -------
    Identification

    Raises
    ------
    FileNotFoundError, ImageError, ValueError
        As there.
    """
    if pictures < 1:
        raise ValueError(f"pictures must be at least 1; got {pictures}")
    load_kernels()
    load_kernels("idn_data.matlab.kernels8")
    pairs = find_pairs(lr, hr)
    chosen = sorted({round(k) for k in np.linspace(0, len(pairs) - 1, min(pictures, len(pairs)))})
    opened = read_pictures([pairs[k] for k in chosen])
    scale, opened, preparations = choose_preparations(opened, scale)
    bench = Bench(opened, scale)
    exchanged = detect_exchange(bench, preparations[0][0])
    if exchanged:
        bench.exchange_channels()
    candidates, not_tried = list_candidates(bench, makers, missing)
    search = Search(bench, candidates, preparations, progress)
    found = search.run()
    verdict = conclude(search, found, exchanged)
    if verdict.command:
        names = shlex.join(str(path) for path in ([hr] if isinstance(hr, (str, Path)) else hr))
        alpha = " --drop-alpha" if any(read_header(pairs[k][1]).alpha for k in chosen) else ""
        verdict = replace(verdict, command=verdict.command.replace(" HR ", f" {names} ", 1) + alpha)
    rows = tuple(describe_fit(fit) for fit in search.rank())
    return Identification(verdict, rows, tuple(not_tried), tuple(p.name for p in opened))


def list_candidates(
    bench: Bench, makers: Sequence[Candidate], missing: Sequence[str]
) -> tuple[list[Candidate], list[str]]:
    """All candidates for these pictures, those that are much used first, and what is not tried."""
    foreign, not_tried = list_foreign()
    blurs = [c for c in list_blurs() if c.usual] if bench.scale == int(bench.scale) else []
    found = [*list_matlab(), *blurs, *foreign, *makers]
    not_tried = [*not_tried, *missing]
    if any(picture.hr.dtype != np.uint8 for picture in bench.pictures):
        names = {"pillow": "Pillow", "opencv": "OpenCV", "skimage": "scikit-image", "torch": "torch"}
        tried = {c.maker for c in found if not c.wide}
        not_tried += [f"{name} (16-bit pictures)" for maker, name in names.items() if maker in tried]
        found = [c for c in found if c.wide]
    return sorted(found, key=lambda c: not c.usual), not_tried  # of several that fit, the first is named


def choose_preparations(
    pictures: list[Picture], scale: float | None
) -> tuple[float, list[Picture], list[list[Preparation]]]:
    """The scale, the pictures with their places, and how HR may have been prepared.

    Raises
    ------
    ValueError
        Sizes that no scale explains.
    """
    channels = ("y", "grey") if any(p.lr.ndim < p.hr.ndim for p in pictures) else ("rgb",)
    found = find_scale(pictures) if scale is None else scale if all(fits(p, scale) for p in pictures) else None
    if found is not None:
        return found, pictures, list_preparations(pictures, found, channels)
    own = {p.name: find_scale([p]) for p in pictures}
    if scale is None and None not in own.values() and len(set(own.values())) > 1:
        named = ", ".join(f"{name} x{factor:g}" for name, factor in own.items())
        raise ValueError(f"pictures of several scales: {named}; name those of one scale")
    scales = [scale] if scale else [float(s) for s in range(2, 9)]
    parts = [part for p in pictures if (part := find_part(p, scales)) is not None]
    if len(parts) == len(pictures) and len({s for s, _, _ in parts}) == 1 and max(e for *_, e in parts) < ALIKE:
        cuts = [Preparation(crop, c) for crop in ("HR is a part", "LR is a part") for c in channels]
        return parts[0][0], [p for _, p, _ in parts], [cuts, []]
    first = pictures[0]
    ratios = [h / n for p in pictures for h, n in zip(p.hr_size, p.size, strict=True)]
    if scale is None and max(ratios) / min(ratios) < 1.1 and max(ratios) <= MOST_SCALE:
        mean = float(np.mean(ratios))
        usual = "not cut" if all(fits(p, mean) for p in pictures) else "by size"
        others = [Preparation("by size", c) for c in channels if usual == "not cut"]
        return mean, pictures, [[Preparation(usual, c) for c in channels], others]
    raise ValueError(
        f"{first.name}: LR of {first.size[1]}x{first.size[0]} pixels, HR of {first.hr_size[1]}x{first.hr_size[0]}: "
        f"{'no scale explains these' if scale is None else f'not scale {scale:g}'}, and LR is no part of HR reduced; "
        "name the right HR, or another --scale"
    )


def detect_exchange(bench: Bench, preparation: Preparation) -> bool:
    """Whether LR in colour is much nearer to HR when its first and third channel are exchanged."""
    colour = [number for number, picture in enumerate(bench.pictures) if picture.lr.ndim == 3]
    if not colour or preparation.crop == "HR is a part":
        return False
    errors = np.zeros(2)
    for number in colour:
        picture = bench.pictures[number]
        hr = bench.prepare(number, preparation)
        made = imresize(hr, size=picture.size).astype(np.float64)
        errors += [np.abs(made - lr).mean() for lr in (picture.lr, picture.lr[..., ::-1])]
    return bool(errors[1] < EXCHANGED * errors[0])


def conclude(search: Search, found: list[Fit], exchanged: bool) -> Verdict:
    """The verdict of what was found: the first that fits, others beside it as far as pictures can tell them apart.

    Several makers may give these values. If other pictures could tell them apart, or if more than one of them is much
    used in the way it would have been used here, none is named.
    """
    if not found:
        return _say_none(search, exchanged)
    best, others = found[0], found[1:]
    same = [fit for fit in others if agree(best.trial, fit.trial, search.bench)]
    untold = [fit for fit in others if fit not in same and fit.difference.differing == best.difference.differing]
    candidate, preparation = best.trial.candidate, best.trial.preparation
    verdict = _make_verdict(best, search.bench.scale, exchanged)
    verdict = replace(verdict, same=tuple(map(_name, same)), untold=tuple(map(_name, untold)))
    if preparation.shift != (0, 0):
        down, right = preparation.shift
        verdict = replace(verdict, shift=(down / search.bench.scale, right / search.bench.scale))
    for name in ("method", "boundary", "through", "antialias"):
        if any(getattr(fit.trial.candidate, name) != getattr(candidate, name) for fit in untold):
            changes: dict[str, Any] = {name: None}
            verdict = replace(verdict, **changes)
    if not untold and not exchanged:
        commands = (say_command(fit.trial, search.bench.scale) for fit in (best, *same))
        verdict = replace(verdict, command=next((command for command in commands if command), None))
    usual = {fit.trial.candidate.maker for fit in (best, *same) if fit.trial.candidate.usual}
    if len(usual | {fit.trial.candidate.maker for fit in untold}) > 1:
        verdict = replace(verdict, maker="none", method=None, boundary=None, through=None, antialias=None)
    return replace(verdict, text=_say_maker(verdict, best.trial))


def _name(fit: Fit) -> str:
    return str(fit.trial)


def _make_verdict(fit: Fit, scale: float, exchanged: bool, text: str = "") -> Verdict:
    candidate, preparation, difference = fit.trial.candidate, fit.trial.preparation, fit.difference
    return Verdict(
        candidate.maker, candidate.method, candidate.boundary, candidate.through, candidate.antialias,
        preparation.channel, scale, difference.differing, difference.values, difference.largest, difference.where,
        preparation.crop, None, exchanged, str(fit.trial.jpeg) if fit.trial.jpeg else None, (), (), None, text,
    )  # fmt: skip


def _say_maker(verdict: Verdict, trial: Trial) -> str:
    text = f"{trial}, x{verdict.scale:g}: {verdict.differing:,} of {verdict.values:,} values differ"
    text += f", by {verdict.largest} at most ({verdict.where})" if verdict.differing else ""
    text += "; R and B exchanged" if verdict.exchanged else ""
    if verdict.shift:
        text += f"; shifted by {verdict.shift[0]:g} rows and {verdict.shift[1]:g} columns of LR"
    if verdict.maker == "none":
        text = f"no maker can be named: several do this; {text}"
    if verdict.same:
        text += f"; the same on any picture: {_list_some(verdict.same)}"
    if verdict.untold:
        text += f"; these pictures do not tell it from: {_list_some(verdict.untold)}"
    return text


def _list_some(names: Sequence[str]) -> str:
    return "; ".join(names[:3]) + (f"; and {len(names) - 3} more" if len(names) > 3 else "")


def _say_none(search: Search, exchanged: bool) -> Verdict:
    """The verdict where nothing fits: the nearest, and what was seen all the same."""
    fits = [fit for fit in search.fits.values() if fit.trial.jpeg is None and fit.trial.preparation.shift == (0, 0)]
    near = min(fits, key=lambda f: f.mean_square)
    difference = near.difference
    text = (
        f"none of these; the nearest is {near.trial}, x{search.bench.scale:g}: {_say_share(difference.share)} of the "
        f"values differ, by {difference.largest} at most ({difference.where})"
    )
    if search.shift:
        text += f"; LR seems shifted by {search.shift[0]:.2f} rows and {search.shift[1]:.2f} columns"
    text += "; R and B are exchanged" if exchanged else ""
    verdict = _make_verdict(near, search.bench.scale, exchanged, text)
    return replace(
        verdict,
        maker="none",
        method=None,
        boundary=None,
        through=None,
        antialias=None,
        channel=None,
        shift=search.shift,
    )


def _say_share(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def describe_fit(fit: Fit) -> dict[str, Any]:
    """A row of the table of candidates; `pictures` is 0 where a corner of the first was compared."""
    candidate, preparation, difference = fit.trial.candidate, fit.trial.preparation, fit.difference
    return {
        **{name: getattr(candidate, name) for name in ("maker", "method", "boundary", "through", "antialias")},
        **asdict(preparation),
        "jpeg": str(fit.trial.jpeg) if fit.trial.jpeg else None,
        "name": str(fit.trial),
        **{name: getattr(difference, name) for name in ("differing", "values", "largest", "where")},
        "pictures": fit.pictures,
    }


def say_command(trial: Trial, scale: float) -> str | None:
    """The `idn make-lr` that does what a trial does; None where it cannot."""
    preparation = trial.preparation
    usual = "none" if scale == int(scale) else "not cut"
    if trial.candidate.reduction is None or trial.jpeg or preparation.shift != (0, 0) or preparation.crop != usual:
        return None
    if preparation.channel == "grey":
        return None
    return "idn make-lr HR --out LR" + say_options(trial.candidate.reduction(scale), preparation.channel)


def say_options(reduction: Reduction, channel: str = "rgb") -> str:
    """The options of `idn make-lr` for these settings."""
    options = f" --scale {reduction.label}"
    if reduction.degradation == "blur":
        options += f" --degradation blur --sigma {reduction.sigma:g} --kernel {reduction.kernel}"
    elif reduction.method != "bicubic":
        options += f" --method {reduction.method}"
    options += "" if reduction.antialias else " --no-antialias"
    if reduction.boundary != BOUNDARIES[reduction.degradation][0]:
        options += f" --boundary {reduction.boundary}"
    options += " --through double" if reduction.through == "double" else ""
    return options + (" --channel y" if channel == "y" else "")
