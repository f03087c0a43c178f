"""A Dask cluster for tests."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ABSENT = "(No such file|The system cannot find).*"  # a system's words for a missing file; the second are Windows'


@contextmanager
def start_cluster_of_a_thread() -> Iterator[str]:
    """The address of a cluster whose one worker is a thread of this process, so that tests can spoil what it sees."""
    import distributed

    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None,
        memory_limit=0, silence_logs=logging.CRITICAL,
        scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    ) as here:  # fmt: skip
        yield here.scheduler_address
