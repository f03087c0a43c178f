"""make-train: source images → plan → patches → one HDF5 file, or several shards.

Each patch is cut straight to its row of the file, which is mapped: no copy of the set in memory. A file larger than the
memory given is filled in several passes over the images, each for one range of rows: the bytes stay the same.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from PIL import Image

from idn_data.atomic import check_target, write_whole
from idn_data.images import VARIANTS, make_variants, read_y
from idn_data.patches import Plan, allocate_patches, cut_image, deal_shards, gt_levels
from idn_data.patchfile import Header, PatchFile, PatchWriter, Storage
from idn_data.recipe import BATCH, Recipe, name_shard
from idn_data.sources import Source, count_workers, digest_sources, map_in_order, read_folder, recognise_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Progress = Callable[[str, int, int], None]

MEMORY = 4 << 30  # bytes of a file filled at once, in the system's cache; every file of the README's table fits
RELEASE = 256 << 20  # bytes written before the pages are given back, which keeps the process small


@dataclass(frozen=True)
class Estimate:
    """What `make_train` would write, before anything is written. Bytes are bytes."""

    files: tuple[str, ...]
    images: int
    skipped: int
    patches: int
    patches_per_file: tuple[int, ...]
    bytes: int
    memory: int
    disk_free: int
    passes: int


@dataclass(frozen=True)
class TrainSet:
    """A training set about to be made: sources, recipe and where it goes; see `plan_train`."""

    out: Path
    recipe: Recipe
    sources: tuple[Source, ...]
    skipped: tuple[str, ...]
    seed: int
    storage: Storage
    shards: int
    memory: int

    def groups(self) -> list[list[Source]]:
        """The sources of each shard."""
        return [[self.sources[i] for i in group] for group in deal_shards(len(self.sources), self.shards, self.seed)]

    def path(self, shard: int) -> Path:
        """The file of a shard."""
        return self.out.with_name(name_shard(self.out.name, shard, self.shards))

    def plan(self, shard: int, group: list[Source]) -> Plan:
        """The plan of a shard."""
        return Plan(self.recipe, tuple((s.height, s.width) for s in group), self.seed, shard)

    @property
    def patch_bytes(self) -> int:
        """Bytes of a pair of patches in the file."""
        return 4 * self.recipe.lr_side**2 + self.recipe.gt_side**2 * (1 if self.storage == "uint8" else 4)

    def window(self, count: int) -> int:
        """Patches of a pass: all, or the multiple of 64 that fits the memory budget."""
        return min(count, max(BATCH, self.memory // self.patch_bytes // BATCH * BATCH))

    def estimate(self) -> Estimate:
        """Patches, bytes, memory and free disk space."""
        groups = self.groups()
        counts = tuple(self.plan(k, group).count for k, group in enumerate(groups))
        window = max(self.window(n) for n in counts)
        folder = next(p for p in (self.out.parent, *self.out.parent.resolve().parents) if p.is_dir())
        return Estimate(
            files=tuple(str(self.path(k)) for k in range(self.shards)),
            images=len(self.sources),
            skipped=len(self.skipped),
            patches=sum(counts),
            patches_per_file=counts,
            bytes=sum(counts) * self.patch_bytes + 64 * 1024 * self.shards,
            memory=min(window * self.patch_bytes, 3 * RELEASE) + (300 << 20),  # whole pages; Python, numba, images
            disk_free=shutil.disk_usage(folder).free,
            passes=max(-(-n // window) for n in counts) if window else 1,
        )


def plan_train(
    images: Path | str,
    out: Path | str,
    recipe: Recipe,
    *,
    seed: int = 0,
    storage: Storage = "float32",
    shards: int = 1,
    skip_bad: bool = False,
    workers: int | None = None,
    memory: int = MEMORY,
    progress: Progress | None = None,
) -> TrainSet:
    """Read every image of a folder once and settle what the training file will hold.

    Parameters
    ----------
    images : path
        Folder of source images.
    out : path
        The file; shards add their number to its name.
    recipe : Recipe
    seed : int
        Of the order of patches, and of the dealing into shards.
    storage : {"float32", "uint8"}
        uint8 keeps GT as the 8-bit value k, a quarter of the bytes, without loss.
    shards : int
        Number of files; images are dealt at random.
    skip_bad : bool
        Leave out images that cannot be read rather than refuse.
    workers : int, optional
        Threads; all cores by default.
    memory : int
        Bytes of a file filled in one pass over the images.
    progress : callable(what, done, total), optional

    Raises
    ------
    FileNotFoundError, BadImagesError
        No folder, no images, or images that cannot be used.
    ValueError
        The images are too small for one batch of patches.
    """
    sources, skipped = read_folder(images, skip_bad=skip_bad, workers=workers, progress=progress)
    if memory < 1 << 20:
        raise ValueError(f"memory must be at least 1 MiB; got {memory} bytes")
    made = TrainSet(Path(out), recipe, tuple(sources), tuple(skipped), seed, storage, shards, memory)
    for k, group in enumerate(made.groups()):
        if made.plan(k, group).count == 0:
            largest = max(group, key=lambda s: s.height * s.width)
            where = f"shard {k + 1} of {shards}" if shards > 1 else str(images)
            raise ValueError(
                f"{where}: the images yield fewer than {BATCH} patches of {recipe.gt_side}x{recipe.gt_side} pixels "
                f"(the largest is {largest.height}x{largest.width}); take more or larger images, or a smaller patch"
            )
    return made


def make_train(
    made: TrainSet, *, force: bool = False, workers: int | None = None, progress: Progress | None = None
) -> list[Path]:
    """Write the training file, or its shards.

    Parameters
    ----------
    made : TrainSet
        From `plan_train`.
    force : bool
        Replace existing files.
    workers : int, optional
        Threads; all cores by default. The bytes do not depend on it.
    progress : callable(what, done, total), optional

    Returns
    -------
    list of Path
        The files, whole and synced.

    Raises
    ------
    FileExistsError
        A file is there and `force` is false; nothing was written.
    OSError
        Too little disk space.
    """
    for k in range(made.shards):
        check_target(made.path(k), force)
    estimate = made.estimate()
    if estimate.bytes > estimate.disk_free:
        raise OSError(
            f"{made.out.parent}: {estimate.bytes / 1e9:.2f} GB are needed and {estimate.disk_free / 1e9:.2f} GB free; "
            "make room, choose another folder with --out, or halve it with --storage uint8"
        )
    for k, group in enumerate(made.groups()):
        _make_file(made, k, group, force, count_workers(workers), progress)
    return [made.path(k) for k in range(made.shards)]


def _make_file(
    made: TrainSet, shard: int, group: list[Source], force: bool, workers: int, progress: Progress | None
) -> None:
    plan = made.plan(shard, group)
    window = made.window(plan.count)
    header = make_header(made, shard, group, plan)
    what = "cutting patches" if made.shards == 1 else f"shard {shard + 1} of {made.shards}"
    images, unreleased = len(group) * -(-plan.count // window), 0
    with (
        write_whole(made.path(shard), force) as temporary,
        PatchWriter(temporary, header, plan.count, [(s.name, s.sha256) for s in group]) as writer,
    ):
        done = 0
        for first in range(0, plan.count, window):
            rows = slice(first, min(first + window, plan.count))
            for written in cut_window(plan, group, first, writer.gt[rows], writer.lr[rows], workers):
                unreleased += written * made.patch_bytes
                if unreleased > RELEASE:
                    writer.release()
                    unreleased = 0
                done += 1
                if progress:
                    progress(what, done, images)
        if progress:
            progress("writing to disk", 0, 1)
    if progress:
        progress("writing to disk", 1, 1)


def cut_window(
    plan: Plan,
    group: list[Source],
    first: int,
    gt: NDArray[np.uint8] | NDArray[np.float32],
    lr: NDArray[np.float32],
    workers: int,
) -> Iterator[int]:
    """Fill a window of rows from the images, on a pool of threads; yields each image's number of patches."""

    def cut(number: int) -> int:
        return cut_image(read_y(group[number].path), plan, number, first, gt, lr)

    return map_in_order(cut, range(len(group)), workers)


def make_header(made: TrainSet, shard: int, group: list[Source], plan: Plan) -> Header:
    """What a file of the set says of itself."""
    return Header(
        scale=made.recipe.scale,
        stage=made.recipe.stage,
        lr_patch=made.recipe.lr_side,
        seed=made.seed,
        storage=made.storage,
        patches_found=plan.found,
        source_digest=digest_sources(group),
        source_count=len(group),
        source_set=recognise_set(made.sources) or "",
        skipped=made.skipped,
        shard=shard,
        shards=made.shards,
        versions=read_versions(),
    )


def read_versions() -> dict[str, str]:
    """Versions of what shapes the bytes of a file."""
    versions = {"hdf5": h5py.version.hdf5_version}
    for package in ("idn", "numpy", "numba", "pillow", "h5py"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that was never installed
            versions[package] = "unknown"
    return versions


def save_augmented(
    sources: tuple[Source, ...],
    folder: Path | str,
    *,
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Save the 40 variants of each image as 8-bit grey BMP, named as ``data_aug.m`` names them: ``<image>_<0…39>.bmp``.

    Returns the number of files. A name that stands already is an error unless `force`, before anything is written.
    """
    folder = Path(folder)
    stems = [s.path.stem for s in sources]
    if len(set(stems)) != len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise ValueError(
            f"two images are called {twice!r}: their augmented files would bear the same names; rename one"
        )
    for stem in stems:
        for number in range(VARIANTS):
            check_target(folder / f"{stem}_{number}.bmp", force)
    folder.mkdir(parents=True, exist_ok=True)

    def save(source: Source) -> int:
        number = 0
        for number, variant in enumerate(make_variants(read_y(source.path)), 1):
            with write_whole(folder / f"{source.path.stem}_{number - 1}.bmp", force) as temporary:
                Image.fromarray(variant).save(temporary, format="BMP")
        return number

    total = 0
    for done, count in enumerate(map_in_order(save, sources, count_workers(workers)), 1):
        total += count
        if progress:
            progress("saving augmented images", done, len(sources))
    return total


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
    try:
        recipe = Recipe(int(said["scale"]), said["stage"], int(said["lr_patch"]))
        seed, shard, digest = int(said["seed"]), int(said["shard"]), str(said["source_digest"])
    except KeyError as error:
        raise ValueError(f"{file.path}: the attribute {error} is missing; make the file again") from None
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
        for done, _ in enumerate(cut_window(plan, group, first, gt[:size], lr[:size], count_workers(workers)), 1):
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
