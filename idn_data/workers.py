"""Threads over pictures: how many, and their results in order."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from idn_data.cgroups import count_cores

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from typing import TypeVar

    T = TypeVar("T")
    R = TypeVar("R")
    M = TypeVar("M")

Progress = Callable[[str, int, int], None]  # what is done, how many of it, of how many


def count_workers(workers: int | None = None) -> int:
    """The number of worker threads: as given, else one for each core that this process and its container may use."""
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1; got {workers}")
    if workers:
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, max(1, math.ceil(count_cores() or cores)))


def map_in_order(function: Callable[[T], R], items: Sequence[T], workers: int) -> Generator[R, None, None]:
    """``map`` over a pool of threads, results in order, few in flight, stopped cleanly by an error or an interrupt."""
    with ThreadPoolExecutor(workers) as pool:
        ahead = 2 * workers
        running = [pool.submit(function, item) for item in items[:ahead]]
        try:
            for k in range(len(items)):
                result = running.pop(0).result()
                if k + ahead < len(items):
                    running.append(pool.submit(function, items[k + ahead]))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def map_in_two_steps(
    compute: Callable[[T], M], store: Callable[[M], R], items: Sequence[T], workers: int
) -> Iterator[R]:
    """``store(compute(item))`` of each item, results in order; the second step has threads of its own.

    For a first step that keeps a core busy and a second that mostly waits, for a disk: no core waits with it. At most
    ``2 * workers + 1`` items are on their way. After an error or an interrupt nothing new is begun, and what was
    computed is stored before the error goes on.
    """
    with ThreadPoolExecutor(workers) as storing:
        ahead = map_in_order(lambda item: storing.submit(store, compute(item)), items, workers)
        with contextlib.closing(ahead):
            for stored in ahead:
                yield stored.result()
