"""make-train on several machines: each shard is a task of a Dask cluster.

Assumed: images and output lie on a file system that all machines see under the same paths, and whose locks end with the
process that holds them, on another machine as well (NFS 4, Lustre mounted with flock, GPFS). A task writes its file as
`idn_data.patches.trainset` does elsewhere, so that it may run twice, and may be cut off anywhere.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from idn_data.atomic import BusyError, check_target, hold
from idn_data.cluster import tasks
from idn_data.cluster.scheduler import LOCAL, check_cluster, connect, find_scheduler
from idn_data.cluster.tasks import Deal, await_names, examine_workers
from idn_data.patches.order import lay_plan, make_on_worker
from idn_data.patches.trainset import choose_shards
from idn_data.workers import count_workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from idn_data.patches.trainplan import TrainSet
    from idn_data.workers import Progress


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
            connect(address, workers, len(left), tasks.DEATHS) as client,
        ):
            threads = max(1, count_workers() // (len(client.nthreads()) or 1)) if address == LOCAL else 1
            examine_workers(client, order.find_fault, order.versions["idn"], progress)
            names = {k: f"shard {k + 1} of {made.shards}" for k in left}
            sizes = {k: len(made.files[k].sources) for k in left}

            def report(fractions: Mapping[int, float]) -> None:
                """Say how many images are done, of all those of the shards that were left."""
                if progress:
                    progress("making shards", int(sum(sizes[k] * f for k, f in fractions.items())), sum(sizes.values()))

            Deal(client, names, make_on_worker, (order, force, threads)).finish(report)
    finally:
        for k in left:  # what a process that was cut off left; one that still writes keeps its own
            with contextlib.suppress(BusyError, OSError):
                check_target(made.files[k].path, force=True)
    await_names([made.files[k].path for k in left])
    return made.paths
