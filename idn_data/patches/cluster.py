"""make-train on several machines: each shard is a task of a Dask cluster.

Assumed: images and output lie on a file system that all machines see under the same paths, and whose locks end with the
process that holds them, on another machine as well (NFS 4, Lustre mounted with flock, GPFS). A task writes its file as
`idn_data.patches.trainset` does elsewhere, so that it may run twice, and may be cut off anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
import signal
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idn_data.atomic import BusyError, check_target, hold
from idn_data.images.sources import Source
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainset import TrainSet, choose_shards, find_finished, make_shard, read_versions
from idn_data.workers import count_workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from distributed import Client, Future

    from idn_data.workers import Progress

LOCAL = "local"
CONNECT = 15.0  # seconds in which a scheduler must answer
PATIENCE = 120.0  # seconds until the lock of a dead machine is gone, and until a new name is seen: NFS takes up to 90
DEATHS = 4  # workers that a shard may cost
_SHARED = "must lie on a file system that all machines share, under the same path"

_GONE = "the scheduler is gone; start the cluster anew, and the same command keeps the finished shards"


class ClusterError(ValueError):
    """A cluster that cannot be used, or that failed."""


class _StoppedError(Exception):
    """Nobody waits for the shard any more."""


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
        versions = read_versions()
        if other := [f"{name} {versions[name]}, not {v}" for name, v in self.versions.items() if versions[name] != v]:
            raise ClusterError(f"it has {'; '.join(other)}: the bytes could differ; install the same versions there")
        try:
            made = _read_plan(self.plan, self.sha256)
        except OSError as error:
            raise ClusterError(f"it does not see {self.plan.parent} ({error.strerror}); --out {_SHARED}") from None
        if made is None:
            raise ClusterError(f"{self.plan.parent} is another folder there; --out {_SHARED}")
        for source in made.sources[:: -(-len(made.sources) // 3)]:  # a few of them
            try:
                if hashlib.sha256(source.path.read_bytes()).hexdigest() != source.sha256:
                    raise ClusterError(f"{source.path} is another file there; the images {_SHARED}")
            except OSError as error:
                raise ClusterError(f"it does not see {source.path} ({error.strerror}); the images {_SHARED}") from None
        return made

    def find_fault(self) -> str:
        """What `read` finds wrong; empty if nothing is."""
        try:
            self.read()
        except ClusterError as error:
            return str(error)
        return ""


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


def find_scheduler(address: str) -> str:
    """The address of a scheduler: ``local``, an address, or the one in a scheduler file.

    Raises
    ------
    ModuleNotFoundError
        Dask is not installed.
    ClusterError
        Neither an address nor a scheduler file.
    """
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise ModuleNotFoundError("Dask is not installed; pip install 'idn[dask]'") from None
    if address == LOCAL or "://" in address:
        return address
    path = Path(address)
    if not path.is_file():
        raise ClusterError(
            f"{address!r}: no such scheduler file, and no address such as tcp://host:8786; local starts a cluster here"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["address"]
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str):
        raise ClusterError(f"{path}: not a scheduler file of Dask; dask scheduler --scheduler-file writes one")
    return found


def check_cluster(address: str) -> None:
    """Raise what `find_scheduler` raises, or ClusterError if no scheduler answers: before hours of work, not after."""
    address = find_scheduler(address)
    if address == LOCAL:
        return
    from distributed import Security
    from distributed.comm import connect

    async def call() -> None:
        options = Security().get_connection_args("client")
        comm = await asyncio.wait_for(connect(address, timeout=CONNECT, **options), CONNECT + 1)
        comm.abort()

    try:
        with ThreadPoolExecutor(1) as pool:  # a notebook has a loop of its own in this thread
            pool.submit(asyncio.run, call()).result()
    except (OSError, ValueError, TypeError, asyncio.TimeoutError) as error:
        reason = " ".join(str(error).split())[:160] or f"silent for {CONNECT:g} s"
        raise ClusterError(f"no Dask scheduler answers at {address} ({reason}); is it running there?") from None


def make_train_on_cluster(
    made: TrainSet, address: str, *, force: bool = False, workers: int | None = None, progress: Progress | None = None
) -> list[Path]:
    """Write the shards of a training set on a Dask cluster: the bytes of `idn_data.patches.trainset.make_train`.

    A shard whose worker died is made again on another. Finished shards are kept, also when the others fail.

    Parameters
    ----------
    made : TrainSet
        From `idn_data.patches.trainset.plan_train`, of at least two shards.
    address : str
        ``tcp://host:8786``, a scheduler file, or ``local`` for a cluster of processes on this machine.
    workers : int, optional
        Processes of a local cluster; one per core by default. Elsewhere each thread of a worker makes one shard.
    force, progress
        As `make_train` takes them; so is the result.

    Raises
    ------
    ModuleNotFoundError
        Dask is not installed.
    ClusterError
        No cluster, workers that cannot make the same files, or a shard that ends each worker that makes it.
    FileExistsError, BusyError, OSError, ImageError
        As in `make_train`.
    """
    address = find_scheduler(address)
    if made.shards < 2:
        raise ValueError(f"a cluster makes shards, at least 2; got {made.shards}; give --shards")
    left = choose_shards(made, force)
    paths = [made.path(k) for k in range(made.shards)]
    if not left:
        return paths
    check_cluster(address)
    made.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with hold(made.out), _lay_plan(made) as order, _connect(address, workers, len(left)) as client:
            threads = max(1, count_workers() // (len(client.nthreads()) or 1)) if address == LOCAL else 1
            _examine_workers(client, order, progress)
            _make_shards(client, made, left, (order, force, threads), progress)
    finally:
        for k in left:  # what a process that was cut off left; one that still writes keeps its own
            with contextlib.suppress(BusyError, OSError):
                check_target(made.path(k), force=True)
    _await_names([made.path(k) for k in left])
    return paths


@contextlib.contextmanager
def _lay_plan(made: TrainSet) -> Iterator[Order]:
    """The plan beside the output, for the time of the block; one that a killed process left is overwritten."""
    out, data = made.out.absolute(), write_plan(made)
    plan = out.with_name(f".{out.name}.plan")
    plan.write_bytes(data)
    try:
        yield Order(plan, hashlib.sha256(data).hexdigest(), read_versions())
    finally:
        plan.unlink(missing_ok=True)


@contextlib.contextmanager
def _connect(address: str, workers: int | None, tasks: int) -> Iterator[Client]:
    """A client of the cluster, or of one started here for the time of the block; Dask's own messages are kept away."""
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    with contextlib.ExitStack() as stack:
        stack.enter_context(_silence())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore", VersionMismatchWarning)  # what matters is in Order
        cluster: Any = address
        try:
            if address == LOCAL:
                cluster = stack.enter_context(_start_cluster(min(count_workers(workers), tasks)))
            client = stack.enter_context(Client(cluster, timeout=CONNECT))
        except (OSError, RuntimeError) as error:
            raise ClusterError(f"no cluster to work with: {' '.join(str(error).split())[:160]}") from None
        yield client


@contextlib.contextmanager
def _start_cluster(workers: int) -> Iterator[Any]:
    """A cluster of processes on this machine, of one thread each, watched by this process: they end with it."""
    from distributed import LocalCluster

    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # any port: another cluster may have the usual one
    with (
        tempfile.TemporaryDirectory(prefix="idn-", ignore_cleanup_errors=True) as scratch,
        LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, memory_limit=0, host="127.0.0.1",
            dashboard_address=None, local_directory=scratch, silence_logs=logging.CRITICAL,
            preload=[__name__], scheduler_kwargs={"allowed_failures": DEATHS - 1, **quiet},
        ) as cluster,
    ):  # fmt: skip
        yield cluster


def dask_setup(worker: Any) -> None:
    """What Dask calls in each worker of a local cluster: Ctrl-C is for the command, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing of Dask's log on the terminal: what a user must know is raised."""
    names = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application", "asyncio")
    loggers = [logging.getLogger(name) for name in names]  # those that Dask gives a level of their own
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _examine_workers(client: Client, order: Order, progress: Progress | None) -> None:
    """Wait for a worker, which a batch system may start hours later, and look at all that are there."""
    while not client.nthreads():
        if progress:
            progress("waiting for workers", 0, 1)
        time.sleep(0.5)
        if client.status != "running":
            raise ClusterError(_GONE)
    for worker, fault in client.run(order.find_fault, on_error="return").items():
        if isinstance(fault, Exception):
            fault = f"it has another idn, or none ({fault}); install idn {order.versions['idn']} there as here"
        if fault:
            raise ClusterError(f"worker {worker}: {fault}")


def _make_shards(
    client: Client, made: TrainSet, left: Sequence[int], arguments: tuple[Order, bool, int], progress: Progress | None
) -> None:
    """Make the shards that are left, as many at a time as the cluster has threads; the first that fails ends it.

    Were all submitted at once, Dask would queue some behind busy workers, and leave them there while others are idle.
    """
    from distributed import CancelledError, wait

    sizes, fractions = [len(group) for group in made.groups()], dict.fromkeys(left, 0.0)
    running: dict[Future, int] = {}
    waiting, deaths = list(reversed(left)), Counter[str]()
    run = f"idn-{secrets.token_hex(8)}"

    def hear(event: tuple[float, tuple[int, float]]) -> None:
        shard, fraction = event[1]
        fractions[shard] = max(fractions[shard], min(fraction, 0.99))

    client.subscribe_topic(run, hear)
    try:
        while waiting or running:
            if progress:
                done = int(sum(sizes[k] * fraction for k, fraction in fractions.items()))
                progress("making shards", done, sum(sizes[k] for k in left))
            with contextlib.suppress(OSError):  # of a scheduler that is gone, see below
                for _ in range(sum(client.nthreads().values()) - len(running)):
                    if waiting:
                        k = waiting.pop()
                        running[client.submit(make_on_worker, k, run, *arguments, key=(run, k), pure=False)] = k
            if not running:
                time.sleep(0.5)  # no worker is there now
            with contextlib.suppress(
                TimeoutError, asyncio.TimeoutError, CancelledError
            ):  # one and the same from 3.11 on
                wait(list(running), timeout=0.5, return_when="FIRST_COMPLETED")
            for future in [f for f in running if f.status != "pending"]:
                if _finish(future, f"shard {running[future] + 1} of {made.shards}", deaths):
                    fractions[running.pop(future)] = 1.0
            if client.status != "running":
                raise ClusterError(_GONE)
        if progress:
            progress("making shards", sum(sizes[k] for k in left), sum(sizes[k] for k in left))
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is gone cannot be told
            client.unsubscribe_topic(run)
            client.cancel(list(running), force=True)


def _finish(future: Future, name: str, deaths: Counter[str]) -> bool:
    """Whether a task that is no longer pending made its shard; false if it is made again. Raises what went wrong."""
    from distributed import KilledWorker

    if future.status == "finished":
        worker, error = future.result()
        if isinstance(error, ClusterError):
            raise ClusterError(f"worker {worker}: {error}")
        if error is not None:
            raise error
        return True
    if future.status != "error":
        raise ClusterError(_GONE)
    error = future.exception()
    if not isinstance(error, KilledWorker):
        raise ClusterError(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    deaths[name] += error.allowed_failures + 1
    if deaths[name] >= DEATHS:
        raise ClusterError(
            f"{name}: {deaths[name]} workers died while making it; give them more memory, or make more shards; "
            "the same command keeps the finished ones"
        )
    future.retry()  # a cluster that is set to give up sooner
    return False


def make_on_worker(shard: int, topic: str, order: Order, force: bool, threads: int) -> tuple[str, Exception | None]:
    """The task: one shard, in a worker of Dask. Returns the worker's address and what went wrong.

    Errors are returned, not raised: a worker logs what is raised, with a traceback, and does not say where it was.
    """
    from distributed import get_worker

    worker = get_worker()
    key, told = worker.get_current_task(), 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal told
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":  # the command was interrupted, or is dead
            raise _StoppedError
        if what.startswith("shard") and time.monotonic() - told > 1:
            told = time.monotonic()
            worker.log_event(topic, (shard, done / total))

    try:
        _make_whole(order.read(), shard, force, threads, tell)  # this worker may have joined after the others
    except Exception as error:
        return worker.address, error.with_traceback(None)
    return worker.address, None


def _make_whole(made: TrainSet, shard: int, force: bool, threads: int, progress: Progress) -> None:
    """Make a shard, unless a worker that died after finishing it did so."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            if not force and made.path(shard).exists() and shard in find_finished(made):
                return
            make_shard(made, shard, force=force, workers=threads, progress=progress)
            return
        except BusyError:  # a worker thought dead may still be dying
            if time.monotonic() > give_up:
                raise
            progress("waiting", 0, 1)
            time.sleep(1)


def _await_names(paths: Sequence[Path]) -> None:
    """Wait until this machine sees what others wrote."""
    give_up = time.monotonic() + PATIENCE
    while missing := [path for path in paths if not path.is_file()]:
        if time.monotonic() > give_up:
            raise ClusterError(f"{missing[0]}: a worker made it, but it is not here; --out must lie on a shared disk")
        time.sleep(0.5)
