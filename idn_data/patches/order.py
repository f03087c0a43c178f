"""What a worker of a cluster is told, what it looks at before it begins, and the shard it makes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.atomic import BusyError
from idn_data.cluster.scheduler import SHARED, ClusterError, compare_versions
from idn_data.cluster.tasks import begin_task
from idn_data.images.sources import Source
from idn_data.patches.header import read_versions
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import TrainSet
from idn_data.patches.trainset import find_finished, make_shard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from idn_data.workers import Progress

PATIENCE = 120.0  # seconds until the lock of a dead machine is gone: NFS takes up to 90


@dataclass(frozen=True)
class Order:
    """What a worker is told: where the plan lies, as JSON beside the output, and what must be true on its machine.

    The plan of a large set is long (15 MB for MS-COCO): as a file it is read once by each worker, sent to none, and
    shows whether that worker sees the output folder.
    """

    plan: Path
    sha256: str
    versions: dict[str, str]

    def read(self) -> TrainSet:
        """The plan; ClusterError with what is wrong with this worker, in one line, if it cannot make the same bytes."""
        compare_versions(self.versions, read_versions())
        try:
            made = _read_plan(self.plan, self.sha256)
        except OSError as error:
            raise ClusterError(f"it does not see {self.plan.parent} ({error.strerror}); --out {SHARED}") from None
        if made is None:
            raise ClusterError(f"{self.plan.parent} is another folder there; --out {SHARED}")
        for source in made.sources[:: -(-len(made.sources) // 3)]:  # a few of them
            try:
                if hashlib.sha256(source.path.read_bytes()).hexdigest() != source.sha256:
                    raise ClusterError(f"{source.path} is another file there; the images {SHARED}")
            except OSError as error:
                raise ClusterError(f"it does not see {source.path} ({error.strerror}); the images {SHARED}") from None
        return made

    def find_fault(self) -> str:
        """What `read` finds wrong; empty if nothing is."""
        try:
            self.read()
        except ClusterError as error:
            return str(error)
        return ""


@contextlib.contextmanager
def lay_plan(made: TrainSet) -> Iterator[Order]:
    """The plan beside the output, for the time of the block; one that a killed process left is overwritten."""
    out, data = made.out.absolute(), write_plan(made)
    plan = out.with_name(f".{out.name}.plan")
    plan.write_bytes(data)
    try:
        yield Order(plan, hashlib.sha256(data).hexdigest(), read_versions())
    finally:
        plan.unlink(missing_ok=True)


def write_plan(made: TrainSet) -> bytes:
    """A plan as JSON, its paths absolute: a worker may stand in another folder."""
    sources = [(str(s.path.absolute()), s.height, s.width, s.sha256) for s in made.sources]
    facts = {name: getattr(made, name) for name in ("skipped", "seed", "storage", "shards", "memory")}
    return json.dumps(
        {"out": str(made.out.absolute()), "recipe": asdict(made.recipe), "sources": sources, **facts}
    ).encode()


@lru_cache(maxsize=1)
def _read_plan(path: Path, sha256: str) -> TrainSet | None:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        return None
    said = json.loads(data)
    sources = tuple(Source(Path(name), *rest) for name, *rest in said.pop("sources"))
    out, recipe, skipped = Path(said.pop("out")), Recipe(**said.pop("recipe")), tuple(said.pop("skipped"))
    return TrainSet(out, recipe, sources, skipped, **said)


def make_on_worker(shard: int, topic: str, order: Order, force: bool, threads: int) -> tuple[str, Exception | None]:
    """The task: one shard, in a worker of Dask, as `idn_data.cluster.tasks.Deal` deals it out.

    Parameters
    ----------
    shard : int
        Its number, from 0.
    topic : str
        Under which the worker tells how much is done.
    order : Order
    force : bool
        Replace an existing file.
    threads : int

    Returns
    -------
    address : str
        The worker's.
    error : Exception, optional
        What went wrong.
    """
    address, tell = begin_task(shard, topic)

    def watch(what: str, done: int, total: int) -> None:
        tell(done / total if what.startswith("shard") else 0.0)

    try:
        _make_whole(order.read(), shard, force, threads, watch)  # this worker may have joined after the others
    except Exception as error:
        return address, error.with_traceback(None)
    return address, None


def _make_whole(made: TrainSet, shard: int, force: bool, threads: int, progress: Progress) -> None:
    """Make a shard, unless a worker that died after finishing it did so."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            if not force and made.files[shard].path.exists() and shard in find_finished(made):
                return
            make_shard(made, shard, force=force, workers=threads, progress=progress)
            return
        except BusyError:  # a worker thought dead may still be dying
            if time.monotonic() > give_up:
                raise
            progress("waiting", 0, 1)
            time.sleep(1)
