"""make-lr on several machines: a few pictures at a time are a task of a Dask cluster.

Assumed, as in `idn_data.patches.cluster`: HR and output lie on a file system that all machines see under the same
paths. The command alone holds the folder and writes its journal. Workers write pictures, each whole or not at all, so
that a task may run twice, and may be cut off anywhere.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.atomic import BusyError
from idn_data.cluster import tasks
from idn_data.cluster.scheduler import SHARED, ClusterError, compare_versions, connect, find_scheduler
from idn_data.cluster.tasks import Deal, await_names, begin_task, examine_workers
from idn_data.lr.making import Stored, compute_picture, store_picture
from idn_data.lr.record import MARK, digest_file
from idn_data.patches.header import read_versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from idn_data.lr.plan import Job
    from idn_data.workers import Progress

PICTURES = 4  # of a task


@dataclass(frozen=True)
class Sight:
    """What must be true on a worker's machine: versions, a file beside the output, and some HR pictures."""

    mark: Path
    token: str  # what the file says
    versions: Mapping[str, str]
    sources: tuple[tuple[Path, str], ...]  # with their SHA-256

    def find_fault(self) -> str:
        """What is wrong with this worker, in one line; empty if nothing is."""
        try:
            compare_versions(self.versions, read_versions())
        except ClusterError as error:
            return str(error)
        try:
            seen = self.mark.read_text(encoding="utf-8")
        except OSError as error:
            return f"it does not see {self.mark.parent} ({error.strerror}); --out {SHARED}"
        if seen != self.token:
            return f"{self.mark.parent} is another folder there; --out {SHARED}"
        for source, digest in self.sources:
            try:
                if digest_file(source) != digest:
                    return f"{source} is another file there; the pictures {SHARED}"
            except OSError as error:
                return f"it does not see {source} ({error.strerror}); the pictures {SHARED}"
        return ""


@contextlib.contextmanager
def lay_mark(out: Path, jobs: Sequence[Job]) -> Iterator[Sight]:
    """What workers are to see, for the time of the block; a mark that a killed process left is overwritten."""
    mark, token = out.absolute() / MARK, secrets.token_hex(16)
    chosen = [job.source.absolute() for job in jobs[:: -(-len(jobs) // 3)]]
    mark.write_text(token, encoding="utf-8")
    try:
        yield Sight(mark, token, read_versions(), tuple((source, digest_file(source)) for source in chosen))
    finally:
        mark.unlink(missing_ok=True)


def make_on_cluster(
    out: Path,
    jobs: Sequence[Job],
    address: str,
    take: Callable[[Job, Stored], None],
    *,
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Make pictures on a Dask cluster; the caller holds the output folder.

    Parameters
    ----------
    out : path
        The output folder.
    jobs : sequence of Job
        What is left to be made; at least one.
    address : str
        ``tcp://host:8786``, a scheduler file, or ``local`` for a cluster of processes on this machine.
    take : callable(job, stored)
        Given what became of each picture, in no order.
    force : bool
        Replace what is there.
    workers : int, optional
        Processes of a local cluster; one per core by default.
    progress : callable(what, done, total), optional

    Raises
    ------
    ModuleNotFoundError
        Dask is not installed.
    ClusterError
        No cluster, workers that cannot make the same files, or a task that ends each worker that does it.
    FileExistsError, BusyError, OSError
        As in `idn_data.lr.make.make_lr`.
    """
    address = find_scheduler(address)
    parts = [jobs[k : k + PICTURES] for k in range(0, len(jobs), PICTURES)]
    names = {k: f"pictures {k * PICTURES + 1} to {k * PICTURES + len(part)}" for k, part in enumerate(parts)}

    def report(fractions: Mapping[int, float]) -> None:
        if progress:
            progress("making LR", int(sum(len(parts[k]) * done for k, done in fractions.items())), len(jobs))

    def take_all(k: int, answer: Sequence[Stored]) -> None:
        await_names([o.path for job, stored in zip(parts[k], answer, strict=True) if stored.files for o in job.outputs])
        for job, stored in zip(parts[k], answer, strict=True):
            take(job, stored)

    with (
        lay_mark(out, jobs) as sight,
        connect(address, workers, len(parts), tasks.DEATHS) as client,
    ):
        examine_workers(client, sight.find_fault, sight.versions["idn"], progress)
        Deal(client, names, make_on_worker, lambda k: (sight, _name_whole(parts[k]), force)).finish(report, take_all)


def _name_whole(jobs: Sequence[Job]) -> list[Job]:
    """Jobs with absolute paths: a worker may stand in another folder."""
    return [
        replace(
            job,
            source=job.source.absolute(),
            outputs=tuple(replace(output, path=output.path.absolute()) for output in job.outputs),
        )
        for job in jobs
    ]


def make_on_worker(
    number: int, topic: str, sight: Sight, jobs: Sequence[Job], force: bool
) -> tuple[str, list[Stored] | Exception]:
    """The task: some pictures, in a worker of Dask, as `idn_data.cluster.tasks.Deal` deals it out.

    Parameters
    ----------
    number : int
        Of the task, from 0.
    topic : str
        Under which the worker tells how much is done.
    sight : Sight
        This worker may have joined after the others were looked at.
    jobs : sequence of Job
    force : bool
        Replace what is there.

    Returns
    -------
    address : str
        The worker's.
    answer : list of Stored, or Exception
        What became of each picture; or what went wrong.
    """
    address, tell = begin_task(number, topic)
    try:
        if fault := sight.find_fault():
            raise ClusterError(fault)
        made: list[Stored] = []
        for job in jobs:
            tell(len(made) / len(jobs))
            made.append(_make_patiently(job, force))
    except Exception as error:
        return address, error.with_traceback(None)
    return address, made


def _make_patiently(job: Job, force: bool) -> Stored:
    """Make a picture; wait for a worker of a command that was killed, which may still be at it."""
    give_up = time.monotonic() + tasks.PATIENCE
    while True:
        try:
            return store_picture(compute_picture(job, force), force)
        except BusyError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)
