"""The patches of make-train in memory, without a file: the same ones, in the same order."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idn_data.atomic import format_bytes
from idn_data.memory import find_free_memory
from idn_data.patches.cut import Window, cut_window
from idn_data.patches.shards import name_origin
from idn_data.patches.trainplan import measure_patch, plan_train
from idn_data.workers import count_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idn_data.patches.recipe import Recipe
    from idn_data.workers import Progress


def cut_grid(
    folders: Sequence[Path],
    recipe: Recipe,
    *,
    seed: int = 0,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[tuple[NDArray[np.float32], NDArray[np.uint8]], str]:
    """What `read_patches` would give of the files that `make_train` makes of some folders, a file each.

    Parameters
    ----------
    folders : sequence of path
    recipe : Recipe
    seed : int
        Of the order of patches, as in `plan_train`.
    skip_bad : bool
        Leave out pictures that cannot be read.
    workers : int, optional
        Threads; all cores by default. The result does not depend on it.
    progress : callable(what, done, total), optional

    Returns
    -------
    (lr, gt), digest
        (N, 1, p, p) float32; (N, 1, s·p, s·p) uint8, k for k/255; the
        digest that `read_patches` would give.

    Raises
    ------
    FileNotFoundError, BadImagesError, ValueError
        As `plan_train`; and for patches that take more than the free memory.
    """
    sets = [
        plan_train(
            folder, Path(recipe.file_name), recipe, seed=seed, storage="uint8", skip_bad=skip_bad, workers=workers,
            progress=progress,
        )
        for folder in folders
    ]  # fmt: skip
    shards = [made.files[0] for made in sets]
    total, free = sum(shard.count for shard in shards), find_free_memory()
    if free is not None and (need := total * measure_patch(recipe, "uint8")) > free:
        raise ValueError(
            f"the {total:,} patches of the grid take {format_bytes(need)}, {format_bytes(free)} of memory are free; "
            "leave out --grid, or take fewer pictures"
        )
    lr = np.empty((total, 1, recipe.lr_side, recipe.lr_side), np.float32)
    gt = np.empty((total, 1, recipe.gt_side, recipe.gt_side), np.uint8)
    first = 0
    for made, shard in zip(sets, shards, strict=True):
        rows = slice(first, first + shard.count)
        window = Window(0, gt[rows, 0], lr[rows, 0])
        cutting = cut_window(made.plan(shard), shard.sources, window, workers=count_workers(workers))
        for done, _ in enumerate(cutting, 1):
            if progress:
                progress("cutting patches", done, len(shard.sources))
        first += shard.count
    digests = [name_origin(made.header(shard).attributes()) for made, shard in zip(sets, shards, strict=True)]
    return (lr, gt), " ".join(digests)
