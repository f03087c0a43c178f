"""A patch file against the images it was made from, patch by patch."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from idn_data.images.sources import Source, digest_sources, read_folder
from idn_data.patches.cut import Window, cut_window
from idn_data.patches.header import gt_levels
from idn_data.patches.plan import Plan
from idn_data.patches.recipe import BATCH, Recipe, Stage
from idn_data.workers import count_workers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from idn_data.patches.patchfile import PatchFile
    from idn_data.workers import Progress

    T = TypeVar("T", int, str)

AT_ONCE = 512 << 20  # bytes of GT that are made again at a time
STEP = 4096  # patches that are compared at a time


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
    workers : int, optional
        Threads; all cores by default.
    progress : callable(what, done, total), optional

    Returns
    -------
    int
        Patches that differ; 0 for a sound file.

    Raises
    ------
    ValueError
        The file does not say how it was made, or these are not its images.
    """
    recipe = read_recipe(file)
    seed, shard = _read_attribute(file, "seed", int), max(0, _read_attribute(file, "shard", int))
    sources = _find_sources(file, images, workers, progress)
    plan = Plan(recipe, tuple((s.height, s.width) for s in sources), seed, shard)
    if plan.count != file.count:
        raise ValueError(f"{file.path}: holds {file.count} patches where these images yield {plan.count}")
    rows = min(plan.count, max(BATCH, AT_ONCE // recipe.gt_side**2))
    whole, total, differ = Window.allocate(recipe, rows), len(sources) * -(-plan.count // rows), 0
    done = 0
    for first in range(0, plan.count, rows):
        size = min(rows, plan.count - first)
        window = Window(first, whole.gt[:size], whole.lr[:size])
        for _ in cut_window(plan, sources, window, workers=count_workers(workers)):
            done += 1
            if progress:
                progress("comparing", done, total)
        differ += _count_differing(file, window)
    return differ


def read_recipe(file: PatchFile) -> Recipe:
    """The recipe that a file of ours says it was made by.

    Raises
    ------
    ValueError
        It does not say so, or not what its patches are, or its GT is a teacher's.
    """
    said = file.attributes
    if file.transposed:
        raise ValueError(f"{file.path}: not made by idn, so it does not say how; only idn's own files can be verified")
    if "teacher" in said:
        raise ValueError(f"{file.path}: its GT is a teacher's, not the images'; --verify takes its checksums")
    scale, side = _read_attribute(file, "scale", int), _read_attribute(file, "lr_patch", int)
    stage = cast("Stage", _read_attribute(file, "stage", str))  # Recipe refuses any other
    offset = said.get("offset", [0, 0])
    if not isinstance(offset, list) or not all(isinstance(k, int) for k in offset):
        raise ValueError(f"{file.path}: the attribute 'offset' is {str(offset)[:40]!r}; make the file again")
    if (scale, side) != (file.scale, file.lr_side) or np.float64 in (file.lr.dtype, file.gt.dtype):
        raise ValueError(f"{file.path}: the patches are not of the sizes and types that it says; make the file again")
    return Recipe(scale, stage, side, tuple(offset), file.boundary or "symmetric")  # ours always says it


def _read_attribute(file: PatchFile, name: str, kind: type[T]) -> T:
    """An attribute of a file; ValueError where it is missing, or of another type."""
    if name not in file.attributes:
        raise ValueError(f"{file.path}: the attribute {name!r} is missing; make the file again")
    value = file.attributes[name]
    if not isinstance(value, kind):
        raise ValueError(f"{file.path}: the attribute {name!r} is {str(value)[:40]!r}; make the file again")
    return value


def _find_sources(file: PatchFile, images: Path | str, workers: int | None, progress: Progress | None) -> list[Source]:
    """The images of a folder that a file was made from, in its order; ValueError if some are missing or changed."""
    digest, wanted = _read_attribute(file, "source_digest", str), dict(file.sources())
    found, _ = read_folder(images, skip_bad=True, workers=workers, progress=progress)
    sources = [s for s in found if wanted.get(s.name) == s.sha256]
    if digest_sources(sources) != digest:
        missing = sorted(set(wanted) - {s.name for s in sources})
        raise ValueError(
            f"{images}: not the images of this file; {len(missing)} of {len(wanted)} are missing or changed"
            + (f", {missing[0]} first" if missing else "")
        )
    return sources


def _count_differing(file: PatchFile, window: Window) -> int:
    """The patches of a file that are not those of a window, whose GT holds values k."""
    levels, differ = gt_levels(file.gt.dtype), 0
    for k in range(window.first, window.last, STEP):
        held, made = slice(k, min(k + STEP, window.last)), slice(k - window.first, k - window.first + STEP)
        lr_same = _compare_bits(file.lr[held, 0], window.lr[made])
        gt_same = _compare_bits(file.gt[held, 0], levels[window.gt[made]])
        differ += int((~(lr_same & gt_same)).sum())
    return differ


def _compare_bits(held: NDArray[np.generic], made: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which patches of (n, p, p) are equal, bit for bit, so that NaN and -0 count as well."""
    bits = f"u{held.itemsize}"
    return np.asarray((held.view(bits) == made.view(bits)).all(axis=(1, 2)))
