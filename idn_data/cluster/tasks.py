"""Tasks of a cluster: dealt out one by one, done again elsewhere where a worker dies."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from idn_data.cluster.scheduler import ClusterError, load_dask

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from idn_data.cluster.scheduler import Client
    from idn_data.workers import Progress

    Future = Any  # distributed.Future, whose functions have no types

DEATHS = 4  # workers that a task may cost
PATIENCE = 120.0  # seconds until a new name is seen: NFS takes up to 90
_GONE = "the scheduler is gone; start the cluster anew, and the same command keeps what is finished"


def examine_workers(client: Client, find_fault: Callable[[], str], version: str, progress: Progress | None) -> None:
    """Wait for a worker, which a batch system may start hours later, and look at all that are there.

    Parameters
    ----------
    client : distributed.Client
    find_fault : callable() -> str
        Called in each worker: what is wrong with it, in one line; empty if nothing is.
    version : str
        Of idn here.
    progress : callable(what, done, total), optional

    Raises
    ------
    ClusterError
        A worker that cannot make the same files, or the scheduler is gone.
    """
    while not client.nthreads():
        if progress:
            progress("waiting for workers", 0, 1)
        time.sleep(0.5)
        if client.status != "running":
            raise ClusterError(_GONE)
    for worker, fault in client.run(find_fault, on_error="return").items():
        if isinstance(fault, Exception):
            fault = f"it has another idn, or none ({fault}); install idn {version} there as here"
        if fault:
            raise ClusterError(f"worker {worker}: {fault}")


class StoppedError(Exception):
    """Nobody waits for the task any more."""


def begin_task(number: int, topic: str) -> tuple[str, Callable[[float], None]]:
    """In a worker, within a task: its address, and ``tell(fraction)``, which says how much of the task is done.

    `tell` raises StoppedError where the command was interrupted, or is dead.
    """
    from distributed import get_worker

    worker = get_worker()
    key, told = worker.get_current_task(), 0.0

    def tell(fraction: float) -> None:
        nonlocal told
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise StoppedError
        if time.monotonic() - told > 1:
            told = time.monotonic()
            worker.log_event(topic, (number, fraction))

    return worker.address, tell


class Deal:
    """Numbered tasks of a cluster, as many at a time as it has threads.

    Were all submitted at once, Dask would queue some behind busy workers, and leave them there while others are idle.

    Parameters
    ----------
    client : distributed.Client
    names : mapping of int to str
        The numbers of the tasks, in their order, and what errors call them.
    work : callable(number, topic, *arguments) -> (address, answer)
        A task, in a worker. Errors are its answer, not raised: a worker logs what is raised, with a traceback, and does
        not say where it was. `begin_task` gives it the address, and what tells how much is done.
    arguments : tuple, or callable(number) -> tuple
        What a task is told.
    """

    def __init__(
        self, client: Client, names: Mapping[int, str], work: Callable[..., tuple[str, Any]],
        arguments: tuple[Any, ...] | Callable[[int], tuple[Any, ...]],
    ) -> None:  # fmt: skip
        self.client, self.names, self.work, self.arguments = client, names, work, arguments
        self.topic = f"idn-{secrets.token_hex(8)}"
        self.waiting = list(reversed(list(names)))
        self.running: dict[Future, int] = {}
        self.fractions = dict.fromkeys(names, 0.0)  # of each task that is done
        self.deaths = Counter[str]()

    def finish(
        self, report: Callable[[Mapping[int, float]], None], take: Callable[[int, Any], None] | None = None
    ) -> None:
        """Do all tasks; the first that fails ends it.

        Parameters
        ----------
        report : callable(fractions)
            Told what part of each task is done, again and again.
        take : callable(number, answer), optional
            Given each answer, in no order.
        """
        self.client.subscribe_topic(self.topic, self._hear)
        try:
            while self.waiting or self.running:
                report(self.fractions)
                self._submit()
                self._collect(take)
                if self.client.status != "running":
                    raise ClusterError(_GONE)
            report(self.fractions)
        finally:
            with contextlib.suppress(Exception):  # a scheduler that is gone cannot be told
                self.client.unsubscribe_topic(self.topic)
                self.client.cancel(list(self.running), force=True)

    def _hear(self, event: tuple[float, tuple[int, float]]) -> None:
        """Take down what a worker says of its task."""
        number, fraction = event[1]
        self.fractions[number] = max(self.fractions[number], min(fraction, 0.99))

    def _submit(self) -> None:
        """Give each idle thread a task."""
        with contextlib.suppress(OSError):  # of a scheduler that is gone, which `finish` sees
            for _ in range(sum(self.client.nthreads().values()) - len(self.running)):
                if self.waiting:
                    k = self.waiting.pop()
                    told = self.arguments(k) if callable(self.arguments) else self.arguments
                    task = self.client.submit(self.work, k, self.topic, *told, key=(self.topic, k), pure=False)
                    self.running[task] = k

    def _collect(self, take: Callable[[int, Any], None] | None) -> None:
        """Wait half a second for a task to be finished, and take those that are."""
        dask = load_dask()
        if not self.running:
            time.sleep(0.5)  # no worker is there now
        # the first two are one and the same from Python 3.11 on
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError, dask.CancelledError):
            dask.wait(list(self.running), timeout=0.5, return_when="FIRST_COMPLETED")
        for task in [task for task in self.running if task.status != "pending"]:
            if _finish(task, self.names[self.running[task]], self.deaths):
                k = self.running.pop(task)
                if take:
                    take(k, task.result()[1])
                self.fractions[k] = 1.0


def _finish(future: Future, name: str, deaths: Counter[str]) -> bool:
    """Whether a task that is no longer pending was done; false if it is done again. Raises what went wrong."""
    if future.status == "finished":
        worker, answer = future.result()
        if isinstance(answer, ClusterError):
            raise ClusterError(f"worker {worker}: {answer}")
        if isinstance(answer, Exception):
            raise answer
        return True
    if future.status != "error":
        raise ClusterError(_GONE)
    error = future.exception()
    if not isinstance(error, load_dask().KilledWorker):
        raise ClusterError(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    deaths[name] += error.allowed_failures + 1
    if deaths[name] >= DEATHS:
        raise ClusterError(
            f"{name}: {deaths[name]} workers died while making it; give them more memory, or smaller tasks; "
            "the same command keeps what is finished"
        )
    future.retry()  # a cluster that is set to give up sooner
    return False


def await_names(paths: Sequence[Path]) -> None:
    """Wait until this machine sees what others wrote."""
    give_up = time.monotonic() + PATIENCE
    while missing := [path for path in paths if not path.is_file()]:
        if time.monotonic() > give_up:
            raise ClusterError(f"{missing[0]}: a worker made it, but it is not here; --out must lie on a shared disk")
        time.sleep(0.5)
