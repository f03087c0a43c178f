"""Parity of our functions with references: MATLAB's own values, exact arithmetic, and whatever a user brings."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.images.sources import BadImagesError
from idn_data.matlab.classes import im2double, im2uint8
from idn_data.matlab.resize import imresize
from idn_data.matlab.weights import BOUNDARIES
from idn_data.patches.recipe import SCALES
from idn_data.scores.benchmark import evaluate
from idn_data.scores.call import Call
from idn_data.scores.methods import BICUBIC
from idn_data.scores.reference import CLASSES, EXACT, MATLAB, Reference
from idn_data.scores.sets import TestSet, open_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary

TOLERANCE = 1e-13  # of doubles, relative to the reference's largest magnitude
SINGLE_TOLERANCE = 2.0**-23  # of singles: one unit in the last place of the largest
PSNR_TOLERANCE, SSIM_TOLERANCE = 1e-10, 1e-12  # dB, and absolute
PUBLISHED = "published scores"  # an origin, beside those of `references`


@dataclass(frozen=True)
class Verdict:
    """How a function of ours compares with a reference.

    difference : largest absolute difference, in the reference's units; relative : the same over its largest magnitude;
    differ, differ_single, values : values that differ as stored, that differ as float32, and all of them.
    boundary : the border that agrees, "" where both do, so that it cannot be told, or where there is none.
    """

    name: str
    source: str
    arithmetic: str
    difference: float
    relative: float
    differ: int
    differ_single: int
    values: int
    passed: bool
    note: str = ""
    function: str = "imresize"
    origin: str = MATLAB
    boundary: str = ""


def compare(reference: Reference | Call) -> Verdict:
    """Run our function on a reference's input and compare.

    Integers and logicals must be identical, doubles agree within `TOLERANCE`, singles within `SINGLE_TOLERANCE`; psnr
    and ssim within `PSNR_TOLERANCE` and `SSIM_TOLERANCE`. Arguments that our function refuses count as a difference.
    Where the reference does not say which border its MATLAB has, both are tried, and the one that fits better is
    reported. An 8-bit output of an 8-bit input may have come about in two ways: imresize of uint8, which rounds twice,
    or im2uint8(imresize(im2double(...))). Again the one that fits better is reported.

    Raises
    ------
    ValueError
        For a reference of a function that we do not have.
    """
    if isinstance(reference, Call):
        return _compare_call(reference)
    if reference.function != "imresize":
        raise ValueError(f"{reference.name}: no function {reference.function!r} to compare with; only imresize")
    if not _fits(reference, reference.shape()):  # before a stranger's scale makes a giant
        return _say_size(reference, _name_class(reference.output.dtype), reference.shape())
    tried = (reference.boundary,) if reference.boundary else BOUNDARIES
    verdicts = [
        replace(_judge(reference, arithmetic, result), boundary=boundary)
        for boundary in tried
        for arithmetic, result in _run_imresize(reference, boundary)
    ]
    best = min(verdicts, key=lambda v: (not v.passed, v.differ))  # the first of equals: symmetric
    other = [v for v in verdicts if v.boundary != best.boundary and v.passed and v.differ <= best.differ]
    return replace(best, boundary="") if other else best


def _compare_call(call: Call) -> Verdict:
    first = call.output if isinstance(call.arguments[0], str) else call.arguments[0]
    kind, wanted = _name_class(first.dtype), call.output.dtype
    try:
        result = call.run()
    except (TypeError, ValueError, ArithmeticError) as error:
        return _say_fault(call, kind, f"refused here: {' '.join(str(error).split())[:200]}")
    if not _fits(call, result.shape):
        return _say_size(call, kind, result.shape)
    if result.dtype != wanted and call.function not in ("psnr", "ssim"):  # single for singles there
        return _say_fault(call, kind, f"{_name_class(result.dtype)}, the reference is {_name_class(wanted)}")
    return _judge(call, kind, result)


def _fits(reference: Reference | Call, made: tuple[int, ...]) -> bool:
    wanted = reference.output.shape
    if reference.corner:
        return len(made) == len(wanted) and all(m >= w for m, w in zip(made, wanted, strict=True))
    return made == wanted


def _run_imresize(reference: Reference, boundary: Boundary) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Our results, by the arithmetic that led to them."""
    how: dict[str, Any] = {
        "scale": reference.scale,
        "size": reference.size,
        "method": reference.method,
        "antialias": reference.antialias,
        "boundary": boundary,
    }
    given, wanted = reference.input, reference.output.dtype
    if given.dtype == wanted:
        yield _name_class(wanted), imresize(given, **how)
    if wanted == np.uint8 and given.dtype in (np.uint8, np.float64):
        double = im2double(given) if given.dtype == np.uint8 else given
        yield "im2uint8(double)", im2uint8(np.clip(imresize(double, **how), 0, 1))
    elif given.dtype != wanted:
        yield "double", imresize(im2double(given), **how)


def _name_class(dtype: np.dtype[Any]) -> str:
    """MATLAB's name of a class of `CLASSES`."""
    return next(theirs for theirs, ours in CLASSES.items() if ours == dtype.name)


def _judge(reference: Reference | Call, arithmetic: str, result: NDArray[np.generic]) -> Verdict:
    wanted = reference.output
    if reference.corner:
        result = result[tuple(slice(n) for n in wanted.shape)]
    with np.errstate(over="ignore", invalid="ignore"):  # a stranger's values
        error = np.abs(result.astype(np.float64) - wanted.astype(np.float64))
    error[result == wanted] = 0  # infinities of psnr
    difference = float(error.max())
    relative = difference / max(float(np.abs(wanted.astype(np.float64)).max()), float(np.finfo(np.float64).tiny))
    differ = int((result != wanted).sum())
    # float32 is what patch files hold
    with np.errstate(over="ignore"):
        single = int((result.astype(np.float32) != wanted.astype(np.float32)).sum())
    tolerance = {"float64": TOLERANCE, "float32": SINGLE_TOLERANCE}.get(wanted.dtype.name)
    passed = differ == 0 if tolerance is None else bool(relative <= tolerance)
    if wanted.dtype == np.float64 and reference.function in ("psnr", "ssim"):
        passed = difference <= (PSNR_TOLERANCE if reference.function == "psnr" else SSIM_TOLERANCE)
    return _make_verdict(reference, arithmetic, difference, relative, (differ, single), passed)


def _say_size(reference: Reference | Call, arithmetic: str, shape: tuple[int, ...]) -> Verdict:
    note = f"size {_format_shape(shape)}, the reference has {_format_shape(reference.output.shape)}"
    return _say_fault(reference, arithmetic, note)


def _say_fault(reference: Reference | Call, arithmetic: str, note: str) -> Verdict:
    """A verdict without a comparison."""
    count = reference.output.size
    return replace(_make_verdict(reference, arithmetic, math.inf, math.inf, (count, count), False), note=note)


def _make_verdict(
    reference: Reference | Call, arithmetic: str, difference: float, relative: float, differ: tuple[int, int],
    passed: bool,
) -> Verdict:  # fmt: skip
    return Verdict(
        reference.name, reference.source, arithmetic, difference, relative, *differ, reference.output.size, passed,
        function=reference.function, origin=reference.origin,
    )  # fmt: skip


def _format_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def find_baseline(root: Path) -> tuple[list[Verdict], list[str]]:
    """The published baseline on Set5 of a data root; a line where that is left out.

    It is taken only where the set is the authors' byte for byte. The scores of a part of it, or of another copy, say
    nothing about the functions here.
    """
    folder, test_set = root / "test_data" / "Set5", None
    if not folder.is_dir():
        return [], []
    with contextlib.suppress(OSError, BadImagesError):  # no pictures, or some that cannot be read
        test_set = open_set("Set5", root)
    if test_set and test_set.registered:
        return check_baseline(test_set), []
    return [], [
        f"the published scores: {folder} is not the authors' Set5, file for file; idn fetch Set5 gets that, with "
        "another --data-root if these files are to stay"
    ]


def check_baseline(test_set: TestSet) -> list[Verdict]:
    """The bicubic scores of a test set against the published ones, at their printed precision."""
    verdicts = []
    for scale in SCALES:
        score = evaluate(BICUBIC, test_set, scale, ["float"])[0][0]
        if score.published_psnr is None or score.published_ssim is None:
            continue
        wrong = (
            f"{score.psnr:.2f}" != f"{score.published_psnr:.2f}",
            f"{score.ssim:.4f}" != f"{score.published_ssim:.4f}",
        )
        verdicts.append(
            Verdict(
                name=f"bicubic on {score.set} x{scale}",
                source="published_scores.csv",
                arithmetic="double",
                difference=abs(score.psnr - score.published_psnr),
                relative=abs(score.psnr - score.published_psnr) / score.published_psnr,
                differ=sum(wrong),
                differ_single=sum(wrong),
                values=2,
                passed=not any(wrong),
                function="bicubic baseline",
                origin=PUBLISHED,
                note=f"{score.psnr:.2f} dB / {score.ssim:.4f}, "
                f"published {score.published_psnr:.2f} / {score.published_ssim:.4f}"
                + ("" if score.registered else "; these are not the authors' files"),
            )
        )
    return verdicts


def format_verdict(verdict: Verdict) -> str:
    """One line: verdict, name, largest difference, values that differ."""
    facts = verdict.note or (
        f"largest difference {verdict.difference:.2g} ({verdict.relative:.1g} relative), "
        f"{verdict.differ} of {verdict.values} values differ, {verdict.differ_single} as float32"
    )
    border = f", {verdict.boundary}" if verdict.boundary else ""
    verb = "ok  " if verdict.passed else "FAIL"
    return f"{verb}  {verdict.source}: {verdict.name} [{verdict.arithmetic}{border}]  {facts}"


def group_by_function(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Verdicts by the function that they judge, in the order in which functions come."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(verdict.function, []).append(verdict)
    return groups


def summarize(verdicts: Sequence[Verdict]) -> str:
    """How many agree, and where the references come from: ``180 of 180 references agree: 14 MATLAB's own, …``."""
    return f"{sum(v.passed for v in verdicts)} of {len(verdicts)} references agree: {count_origins(verdicts)}"


def count_origins(verdicts: Iterable[Verdict]) -> str:
    """Where references come from: ``14 MATLAB's own, 166 exact arithmetic``."""
    origins = Counter(v.origin for v in verdicts)
    return ", ".join(f"{origins[name]} {name}" for name in (MATLAB, EXACT, PUBLISHED) if origins[name])


def describe_borders(verdicts: Iterable[Verdict]) -> list[str]:
    """Which border the MATLAB has that made a file of references, one line for each file in which it can be told."""
    seen: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        if verdict.passed and verdict.boundary and verdict.origin == MATLAB:
            seen.setdefault(verdict.source, Counter())[verdict.boundary] += 1
    return [
        f"{source}: made by a MATLAB with {' and with '.join(f'{name} borders ({n})' for name, n in count.items())}"
        for source, count in seen.items()
    ]
