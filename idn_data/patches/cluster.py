"""make-train on several machines: each shard is a task of a Dask cluster.

Assumed: images and output lie on a file system that all machines see under the same paths, and whose locks end with the
process that holds them, on another machine as well (NFS 4, Lustre mounted with flock, GPFS). A task writes its file as
`idn_data.patches.trainset` does elsewhere, so that it may run twice, and may be cut off anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING

from idn_data.atomic import BusyError, check_target, hold
from idn_data.patches.order import ClusterError, Order, await_names, lay_plan, make_on_worker
from idn_data.patches.scheduler import LOCAL, check_cluster, connect, find_scheduler, load_dask
from idn_data.patches.trainset import choose_shards
from idn_data.workers import count_workers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Any

    from idn_data.patches.scheduler import Client
    from idn_data.patches.trainplan import TrainSet
    from idn_data.workers import Progress

    Future = Any  # distributed.Future, whose functions have no types

DEATHS = 4  # workers that a shard may cost
_GONE = "the scheduler is gone; start the cluster anew, and the same command keeps the finished shards"


def make_train_on_cluster(
    made: TrainSet,
    address: str,
    *,
    force: bool = False,
    left: Sequence[int] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the shards of a training set on a Dask cluster: the bytes of `idn_data.patches.trainset.make_train`.

    A shard whose worker died is made again on another. Finished shards are kept, also when the others fail.

    Parameters
    ----------
    made : TrainSet
        From `idn_data.patches.trainplan.plan_train`, of at least two shards, without a teacher.
    address : str
        ``tcp://host:8786``, a scheduler file, or ``local`` for a cluster of processes on this machine.
    force : bool
        Replace existing files.
    left : sequence of int, optional
        The shards to be made, as `idn_data.patches.trainset.choose_shards` gives them; by default it is asked here.
    workers : int, optional
        Processes of a local cluster; one per core by default. Elsewhere each thread of a worker makes one shard.
    progress : callable(what, done, total), optional

    Returns
    -------
    list of Path
        The files, whole and synced.

    Raises
    ------
    ModuleNotFoundError
        Dask is not installed.
    ClusterError
        No cluster, workers that cannot make the same files, or a shard that ends each worker that makes it.
    ValueError
        Fewer than two shards, or a teacher, which stays on this machine.
    FileExistsError, BusyError, OSError, ImageError
        As in `make_train`.
    """
    address = find_scheduler(address)
    if made.shards < 2:
        raise ValueError(f"a cluster makes shards, at least 2; got {made.shards}; give --shards")
    if made.teacher:
        raise ValueError("a teacher stays on this machine; make its shards here, without --dask")
    left = choose_shards(made, force) if left is None else left
    if not left:
        return made.paths
    check_cluster(address)
    made.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            hold(made.out),
            lay_plan(made) as order,
            connect(address, workers, len(left), DEATHS) as client,
        ):
            threads = max(1, count_workers() // (len(client.nthreads()) or 1)) if address == LOCAL else 1
            _examine_workers(client, order, progress)
            _Run(client, made, left, (order, force, threads)).finish(progress)
    finally:
        for k in left:  # what a process that was cut off left; one that still writes keeps its own
            with contextlib.suppress(BusyError, OSError):
                check_target(made.files[k].path, force=True)
    await_names([made.files[k].path for k in left])
    return made.paths


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


class _Run:
    """The shards that are left as tasks of a cluster, as many at a time as it has threads.

    Were all submitted at once, Dask would queue some behind busy workers, and leave them there while others are idle.
    """

    def __init__(self, client: Client, made: TrainSet, left: Sequence[int], arguments: tuple[Order, bool, int]) -> None:
        self.client, self.made, self.arguments = client, made, arguments
        self.name = f"idn-{secrets.token_hex(8)}"
        self.waiting = list(reversed(left))
        self.running: dict[Future, int] = {}
        self.fractions = dict.fromkeys(left, 0.0)  # of each shard that is done
        self.deaths = Counter[str]()

    def finish(self, progress: Progress | None) -> None:
        """Make all shards; the first that fails ends it."""
        self.client.subscribe_topic(self.name, self._hear)
        try:
            while self.waiting or self.running:
                self._report(progress)
                self._submit()
                self._collect()
                if self.client.status != "running":
                    raise ClusterError(_GONE)
            self._report(progress)
        finally:
            with contextlib.suppress(Exception):  # a scheduler that is gone cannot be told
                self.client.unsubscribe_topic(self.name)
                self.client.cancel(list(self.running), force=True)

    def _hear(self, event: tuple[float, tuple[int, float]]) -> None:
        """Take down what a worker says of its shard."""
        shard, fraction = event[1]
        self.fractions[shard] = max(self.fractions[shard], min(fraction, 0.99))

    def _report(self, progress: Progress | None) -> None:
        """Say how many images are done, of all those of the shards that were left."""
        if progress:
            sizes = {k: len(self.made.files[k].sources) for k in self.fractions}
            progress("making shards", int(sum(sizes[k] * f for k, f in self.fractions.items())), sum(sizes.values()))

    def _submit(self) -> None:
        """Give each idle thread a shard."""
        with contextlib.suppress(OSError):  # of a scheduler that is gone, which `finish` sees
            for _ in range(sum(self.client.nthreads().values()) - len(self.running)):
                if self.waiting:
                    k = self.waiting.pop()
                    key = (self.name, k)
                    task = self.client.submit(make_on_worker, k, self.name, *self.arguments, key=key, pure=False)
                    self.running[task] = k

    def _collect(self) -> None:
        """Wait half a second for a shard to be finished, and take those that are."""
        dask = load_dask()
        if not self.running:
            time.sleep(0.5)  # no worker is there now
        # the first two are one and the same from Python 3.11 on
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError, dask.CancelledError):
            dask.wait(list(self.running), timeout=0.5, return_when="FIRST_COMPLETED")
        for task in [task for task in self.running if task.status != "pending"]:
            if _finish(task, f"shard {self.running[task] + 1} of {self.made.shards}", self.deaths):
                self.fractions[self.running.pop(task)] = 1.0


def _finish(future: Future, name: str, deaths: Counter[str]) -> bool:
    """Whether a task that is no longer pending made its shard; false if it is made again. Raises what went wrong."""
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
    if not isinstance(error, load_dask().KilledWorker):
        raise ClusterError(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    deaths[name] += error.allowed_failures + 1
    if deaths[name] >= DEATHS:
        raise ClusterError(
            f"{name}: {deaths[name]} workers died while making it; give them more memory, or make more shards; "
            "the same command keeps the finished ones"
        )
    future.retry()  # a cluster that is set to give up sooner
    return False
