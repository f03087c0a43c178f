"""A patch file against the images it was made from, patch by patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idn_data.images.sources import digest_sources, read_folder
from idn_data.patches.plan import Plan, allocate_patches, gt_levels
from idn_data.patches.recipe import BATCH, Recipe
from idn_data.patches.trainset import cut_window
from idn_data.workers import count_workers

if TYPE_CHECKING:
    from pathlib import Path

    from idn_data.patches.patchfile import PatchFile
    from idn_data.workers import Progress


def verify_patches(
    file: PatchFile,
    images: Path | str,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Make every patch of a file again from the images and compare, bit for bit.

    Parameters
    ----------
    file : PatchFile
        A file of ours: it says how it was made.
    images : path
        The folder it was made from.

    Returns
    -------
    int
        Patches that differ; 0 for a sound file.

    Raises
    ------
    ValueError
        The file does not say how it was made, or these are not its images.
    """
    said = file.attributes
    if file.transposed:
        raise ValueError(f"{file.path}: not made by idn, so it does not say how; only idn's own files can be verified")
    if "teacher" in said:
        raise ValueError(f"{file.path}: its GT is a teacher's, not the images'; --verify takes its checksums")
    kinds = {"scale": int, "stage": str, "lr_patch": int, "seed": int, "shard": int, "source_digest": str}
    for name, kind in kinds.items():
        if name not in said:
            raise ValueError(f"{file.path}: the attribute {name!r} is missing; make the file again")
        if not isinstance(said[name], kind):
            raise ValueError(f"{file.path}: the attribute {name!r} is {str(said[name])[:40]!r}; make the file again")
    offset = said.get("offset", [0, 0])
    if not isinstance(offset, list) or not all(isinstance(k, int) for k in offset):
        raise ValueError(f"{file.path}: the attribute 'offset' is {str(offset)[:40]!r}; make the file again")
    recipe = Recipe(said["scale"], said["stage"], said["lr_patch"], tuple(offset))
    seed, shard, digest = said["seed"], max(0, said["shard"]), said["source_digest"]
    if (recipe.scale, recipe.lr_side) != (file.scale, file.lr_side) or np.float64 in (file.lr.dtype, file.gt.dtype):
        raise ValueError(f"{file.path}: the patches are not of the sizes and types that it says; make the file again")
    wanted = dict(file.sources())
    sources, _ = read_folder(images, skip_bad=True, workers=workers, progress=progress)
    group = [s for s in sources if wanted.get(s.name) == s.sha256]
    if digest_sources(group) != digest:
        missing = sorted(set(wanted) - {s.name for s in group})
        raise ValueError(
            f"{images}: not the images of this file; {len(missing)} of {len(wanted)} are missing or changed"
            + (f", {missing[0]} first" if missing else "")
        )
    plan = Plan(recipe, tuple((s.height, s.width) for s in group), seed, shard)
    if plan.count != file.count:
        raise ValueError(f"{file.path}: holds {file.count} patches where these images yield {plan.count}")
    window, step, differ = min(plan.count, max(BATCH, (512 << 20) // recipe.gt_side**2)), 4096, 0
    gt, lr = allocate_patches(recipe, window)
    levels = gt_levels(file.gt.dtype)
    passes = -(-plan.count // window)
    for number, first in enumerate(range(0, plan.count, window)):
        size = min(window, plan.count - first)
        cutting = cut_window(plan, group, first, gt[:size], lr[:size], workers=count_workers(workers))
        for done, _ in enumerate(cutting, 1):
            if progress:
                progress("comparing", number * len(group) + done, passes * len(group))
        for k in range(0, size, step):
            rows = slice(k, min(k + step, size))
            held = slice(first + rows.start, first + rows.stop)
            same = np.ones(rows.stop - rows.start, bool)
            for found, wanted in ((file.lr[held, 0], lr[rows]), (file.gt[held, 0], levels[gt[rows]])):
                bits = f"u{found.itemsize}"  # as bits, so that NaN and -0 count as well
                same &= (found.view(bits) == wanted.view(bits)).all(axis=(1, 2))
            differ += int(len(same) - same.sum())
    return differ
