"""The scheduler of a cluster: its address, whether it answers, a connection to it, or one started here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idn_data.workers import count_workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Client = Any  # distributed.Client, whose functions have no types

LOCAL = "local"
SHARED = "must lie on a file system that all machines share, under the same path"
CONNECT = 15.0  # seconds in which a scheduler must answer


class ClusterError(ValueError):
    """A cluster that cannot be used, or that failed."""


def load_dask(module: str = "distributed") -> Any:
    """A module of Dask, whose functions have no types; ModuleNotFoundError where Dask is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise ModuleNotFoundError("Dask is not installed; pip install 'idn[dask]'") from None


def find_scheduler(address: str) -> str:
    """The address of a scheduler: ``local``, an address, or the one in a scheduler file.

    Raises
    ------
    ModuleNotFoundError
        Dask is not installed.
    ClusterError
        Neither an address nor a scheduler file.
    """
    load_dask()
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


def compare_versions(here: Mapping[str, str], there: Mapping[str, str]) -> None:
    """Raise ClusterError unless a worker has the versions of the command, so that it makes the same bytes."""
    if other := [f"{name} {there[name]}, not {wanted}" for name, wanted in here.items() if there[name] != wanted]:
        raise ClusterError(f"it has {'; '.join(other)}: the bytes could differ; install the same versions there")


def check_cluster(address: str) -> None:
    """Raise what `find_scheduler` raises, or ClusterError if no scheduler answers: before hours of work, not after."""
    address = find_scheduler(address)
    if address == LOCAL:
        return
    dask, comms = load_dask(), load_dask("distributed.comm")

    async def call() -> None:
        options = dask.Security().get_connection_args("client")
        comm = await asyncio.wait_for(comms.connect(address, timeout=CONNECT, **options), CONNECT + 1)
        comm.abort()

    try:
        with ThreadPoolExecutor(1) as pool:  # a notebook has a loop of its own in this thread
            pool.submit(asyncio.run, call()).result()
    except (OSError, ValueError, TypeError, asyncio.TimeoutError) as error:
        reason = " ".join(str(error).split())[:160] or f"silent for {CONNECT:g} s"
        raise ClusterError(f"no Dask scheduler answers at {address} ({reason}); is it running there?") from None


@contextlib.contextmanager
def connect(address: str, workers: int | None, tasks: int, deaths: int) -> Iterator[Client]:
    """A client of a cluster, or of one started here for the time of the block; Dask's own messages are kept away.

    Parameters
    ----------
    address : str
        As `find_scheduler` gives it.
    workers : int, optional
        Processes of a local cluster; one per core by default, and no more than there are tasks.
    tasks : int
        That are to be done.
    deaths : int
        Workers of a local cluster that a task may cost.

    Yields
    ------
    distributed.Client

    Raises
    ------
    ClusterError
        No cluster could be reached, or started.
    """
    dask = load_dask()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_silence())
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter(
            "ignore", load_dask("distributed.versions").VersionMismatchWarning
        )  # what matters is compared by `compare_versions`
        cluster: Any = address
        try:
            if address == LOCAL:
                cluster = stack.enter_context(_start_cluster(min(count_workers(workers), tasks), deaths))
            client = stack.enter_context(dask.Client(cluster, timeout=CONNECT))
        except (OSError, RuntimeError) as error:
            raise ClusterError(f"no cluster to work with: {' '.join(str(error).split())[:160]}") from None
        yield client


@contextlib.contextmanager
def _start_cluster(workers: int, deaths: int) -> Iterator[Any]:
    """A cluster of processes on this machine, of one thread each, watched by this process: they end with it."""
    quiet = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}  # any port: another cluster may have the usual one
    with (
        tempfile.TemporaryDirectory(prefix="idn-", ignore_cleanup_errors=True) as scratch,
        load_dask().LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, memory_limit=0, host="127.0.0.1",
            dashboard_address=None, local_directory=scratch, silence_logs=logging.CRITICAL,
            preload=[__name__], scheduler_kwargs={"allowed_failures": deaths - 1, **quiet},
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
