"""What a run of `make_lr` is to make: found and checked before any work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.images.decode import ImageError
from idn_data.images.exact import FORMATS, Header, check_format, read_header
from idn_data.images.sources import BadImagesError
from idn_data.lr.layouts import LAYOUTS, Output, check_names, list_sources, name_outputs, note_older
from idn_data.lr.reduction import Reduction, choose_reduction
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idn_data.workers import Progress


@dataclass(frozen=True)
class Job:
    """One picture: its file, what that says of it, and what is made of it."""

    source: Path
    header: Header
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class LrPlan:
    """All pictures of a run, and those left out, each with why."""

    out: Path
    jobs: tuple[Job, ...]
    skipped: tuple[str, ...] = ()
    skip_bad: bool = False

    @property
    def files(self) -> list[Path]:
        """Every file that is to be there at the end."""
        return [output.path for job in self.jobs for output in job.outputs]


def plan_lr(
    hr: Sequence[Path | str] | Path | str,
    out: Path | str,
    reductions: Sequence[Reduction] | Reduction | float,
    *,
    layout: str = "flat",
    format: str = "png",  # noqa: A002  # the command's own name for it
    drop_alpha: bool = False,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> LrPlan:
    """Name everything that `make_lr` is to make; only the heads of the pictures are read.

    Parameters, errors
    ------------------
    As `make_lr`.

    Returns
    -------
    LrPlan
    """
    chosen = _list_reductions(reductions)
    for name, value, allowed in (("layout", layout, LAYOUTS), ("format", format, tuple(FORMATS))):
        if value not in allowed:
            raise ValueError(f"unknown {name} {value!r}; one of {', '.join(allowed)}")
    out = Path(out)
    if file := next((p for p in (out, *out.parents) if p.is_file()), None):
        raise NotADirectoryError(f"{file} is a file; name a folder with --out")
    sources = list_sources([hr] if isinstance(hr, (str, Path)) else hr)
    named = {source: name_outputs(source, out, chosen, layout, format) for source in sources}
    check_names([(source, output) for source, outputs in named.items() for output in outputs], layout)

    def examine(source: Path) -> Job | str:
        try:
            return Job(source, _check_picture(source, out, named[source], format, drop_alpha), tuple(named[source]))
        except ImageError as error:
            return note_older(str(error), named[source]) if skip_bad else str(error)

    jobs, bad = [], []
    for done, found in enumerate(map_in_order(examine, sources, count_workers(workers)), 1):
        if isinstance(found, Job):
            jobs.append(found)
        else:
            bad.append(found)
        if progress:
            progress("looking at pictures", done, len(sources))
    if bad and (not skip_bad or not jobs):
        raise BadImagesError(bad, all_bad=not jobs)
    return LrPlan(out, tuple(jobs), tuple(bad), skip_bad)


def _list_reductions(given: Sequence[Reduction] | Reduction | float) -> tuple[Reduction, ...]:
    if isinstance(given, Reduction):
        chosen: tuple[Reduction, ...] = (given,)
    elif isinstance(given, (int, float)):
        chosen = (choose_reduction(given),)
    else:
        chosen = tuple(given)
    labels = [reduction.label for reduction in chosen]
    if not chosen or len(set(labels)) < len(labels):
        raise ValueError(f"give each scale once; got {', '.join(labels) or 'none'}")
    return chosen


def _check_picture(source: Path, out: Path, outputs: Sequence[Output], name: str, drop_alpha: bool) -> Header:
    """The head of a picture; ImageError where it cannot be reduced so."""
    reductions = [output.reduction for output in outputs]
    try:  # the journal says these in UTF-8; in some layouts the source's folder is a part of them
        "".join([source.name, *(str(output.path.relative_to(out)) for output in outputs)]).encode()
    except UnicodeEncodeError:
        raise ImageError(f"{str(source)!a}: the name, or its folder's, is not UTF-8; rename it") from None
    header = read_header(source)
    if header.alpha and not drop_alpha:
        raise ImageError(f"{source}: has transparency, which LR pictures have not; leave it out, or take --drop-alpha")
    small = [r.label for r in reductions if min(header.height, header.width) < r.scale]
    if small:
        raise ImageError(f"{source}: {header.width}x{header.height} pixels are too few for scale {small[0]}")
    try:
        colour = header.colour and any(o.cut_hr or o.reduction.channel == "rgb" for o in outputs)
        check_format(name, replace(header, colour=colour))
    except ValueError as error:
        raise ImageError(f"{source}: {error}") from None
    return header
