"""`make_lr`: LR pictures of whole folders, in parallel, resumable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.atomic import hold, sweep
from idn_data.lr.layouts import note_older
from idn_data.lr.making import Computed, Stored, compute_picture, store_picture
from idn_data.lr.plan import Job, LrPlan, plan_lr
from idn_data.lr.record import MARK, Journal, digest_file
from idn_data.lr.reduction import Reduction
from idn_data.matlab.compiled import load_kernels
from idn_data.workers import count_workers, map_in_order, map_in_two_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from idn_data.workers import Progress


class LrError(ValueError):
    """Some pictures were not made, the others were; `lines` holds one line for each."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__(message)


@dataclass(frozen=True)
class Made:
    """What a run did.

    files : those that are there and right, in the order of the pictures; made, kept : how many of them were made now,
    and how many stood already; skipped : a line for each picture left out, with why. An older file may stand in the
    place of such a picture's: its line names it, and `files` does not.
    """

    files: tuple[Path, ...]
    made: int
    kept: int
    skipped: tuple[str, ...] = ()


def make_lr(
    hr: Sequence[Path | str] | Path | str,
    out: Path | str,
    reductions: Sequence[Reduction] | Reduction | float,
    *,
    layout: str = "flat",
    format: str = "png",  # noqa: A002  # the command's own name for it
    drop_alpha: bool = False,
    skip_bad: bool = False,
    force: bool = False,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> Made:
    """Make LR pictures as MATLAB makes them.

    Parameters
    ----------
    hr : path or sequence of path
        Pictures and folders of pictures: 8 or 16 bits, grey, colour or palette.
    out : path
        The folder of everything. A journal, ``.idn-lr.jsonl``, says there what was made of what.
    reductions : number, Reduction or sequence of Reduction
        The scale; or all settings, one for each scale.
    layout : {"flat", "div2k", "rcan"}
        Names and folders, as `idn_data.lr.layouts.name_outputs` says.
    format : {"png", "bmp", "tif"}
        All without loss.
    drop_alpha : bool
        Take pictures with transparency without it, as scripts with MATLAB's imread do; else they are refused.
    skip_bad : bool
        Leave out pictures that cannot be used.
    force : bool
        Make and replace what is there.
    workers : int, optional
        Pictures at a time; one for each core unless given.
    address : str, optional
        Of a Dask cluster that makes them: ``tcp://host:8786``, a scheduler file, or ``local`` for processes here.
    progress : callable(what, done, total), optional

    Returns
    -------
    Made

    Raises
    ------
    ModuleNotFoundError, ClusterError
        With an address, as `idn_data.lr.cluster.make_on_cluster`.
    FileNotFoundError, ValueError, BadImagesError
        Before any work: no pictures; two that would become one file; pictures that cannot be used.
    FileExistsError
        A file is there that is not what would be made, and `force` is false.
    LrError
        Pictures turned out damaged while they were decoded; all others are made.
    """
    plan = plan_lr(hr, out, reductions, layout=layout, format=format, drop_alpha=drop_alpha, skip_bad=skip_bad,
                   workers=workers, progress=progress)  # fmt: skip
    return run_plan(plan, force=force, workers=workers, address=address, progress=progress)


def run_plan(
    plan: LrPlan,
    *,
    force: bool = False,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress | None = None,
) -> Made:
    """Make what a plan says; as `make_lr`."""
    load_kernels()
    load_kernels("idn_data.matlab.kernels8")
    load_kernels("idn_data.images.kernels")
    threads = count_workers(workers)
    plan.out.mkdir(parents=True, exist_ok=True)
    with hold(plan.out), Journal(plan.out) as journal:
        files = [output for job in plan.jobs for output in job.outputs]
        (plan.out / MARK).unlink(missing_ok=True)  # of a command that was killed
        for output in files:
            sweep(output.path)
        kept = set() if force else _find_finished(plan, journal, threads, progress)
        jobs = [replace(job, outputs=tuple(o for o in job.outputs if o.path not in kept)) for job in plan.jobs]
        jobs = [job for job in jobs if job.outputs]
        found: dict[Path, Stored] = {}

        def note(job: Job, stored: Stored) -> None:
            for output, digest in zip(job.outputs, stored.files, strict=not stored.bad):
                journal.add(output, digest, job.source, stored.digest)
            found[job.source] = stored

        if address is None:
            _make_here(jobs, force, threads, note, progress)
        elif jobs:
            from idn_data.lr.cluster import make_on_cluster

            make_on_cluster(plan.out, jobs, address, note, force=force, workers=workers, progress=progress)
    faults = tuple(note_older(line, job.outputs) for job in jobs for line in found[job.source].bad)
    if faults and not plan.skip_bad:
        advice = "mend them and run the same command again, or leave them out with --skip-bad"
        raise LrError(f"{len(faults)} picture(s) cannot be used; all others are made; {advice}", faults)
    lost = {output.path for job in jobs if found[job.source].bad for output in job.outputs}
    paths = tuple(output.path for output in files if output.path not in lost)
    stood = sum(stored.stood for stored in found.values())
    made = sum(len(stored.files) for stored in found.values()) - stood
    return Made(paths, made, len(kept) + stood, (*plan.skipped, *faults))


def _make_here(
    jobs: Sequence[Job], force: bool, threads: int, note: Callable[[Job, Stored], None], progress: Progress | None
) -> None:
    """Make pictures by threads of this process."""

    def store(computed: Computed) -> None:
        note(computed.job, store_picture(computed, force))

    made = map_in_two_steps(lambda job: compute_picture(job, force), store, jobs, threads)
    for done, _ in enumerate(made, 1):
        if progress:
            progress("making LR", done, len(jobs))


def _find_finished(plan: LrPlan, journal: Journal, threads: int, progress: Progress | None) -> set[Path]:
    """The outputs that stand, are recorded, and are intact; FileExistsError for any that is recorded and is not right.

    One that is there without a record is looked at later: it is made again and compared.
    """
    jobs = [job for job in plan.jobs if any(o.path.exists() and journal.find(o) for o in job.outputs)]

    def check(job: Job) -> tuple[list[Path], list[str]]:
        right, wrong, source = [], [], digest_file(job.source)
        for output in job.outputs:
            line = journal.find(output)
            if line is None or not output.path.exists():
                continue
            if not journal.same_settings(output):
                wrong.append(f"{output.path}: made with other settings")
            elif line.get("source_sha256") != source:
                wrong.append(f"{output.path}: made of another picture ({line.get('source')})")
            elif line.get("sha256") != digest_file(output.path):
                wrong.append(f"{output.path}: changed since it was made")
            else:
                right.append(output.path)
        return right, wrong

    kept, faults = set(), []
    for done, (right, wrong) in enumerate(map_in_order(check, jobs, threads), 1):
        kept.update(right)
        faults += wrong
        if progress:
            progress("checking", done, len(jobs))
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise FileExistsError(f"{faults[0]}{more}; --force replaces them, or name another --out")
    return kept
