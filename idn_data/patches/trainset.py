"""make-train: source images → plan → patches → one HDF5 file, or several shards.

Each patch is cut straight to its row of the file, which is mapped: no copy of the set in memory. A file larger than the
memory given is filled in several passes over the images, each for one range of rows: the bytes stay the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from idn_data.atomic import check_room, check_target, free_bytes, write_whole
from idn_data.images.decode import read_y
from idn_data.images.sets import recognise_set
from idn_data.images.sources import Source, digest_sources, read_folder
from idn_data.patches.patchfile import PatchFile, PatchFileError
from idn_data.patches.patchwriter import Header, PatchWriter, Storage
from idn_data.patches.plan import Plan, count_patches, cut_image, deal_shards
from idn_data.patches.recipe import BATCH, Recipe, name_shard
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from idn_data.workers import Progress

MEMORY = 4 << 30  # bytes of a file filled at once, in the system's cache; every file of the README's table fits
_UNLIKE = ("versions", "skipped", "skipped_count", "source_set")  # in shards that hold the same patches all the same
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
class Teacher:
    """Who answers for GT instead of the image: SR (s·h, s·w) of LR (h, w), float64 both, and the weights' SHA-256."""

    answer: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    digests: tuple[str, ...]


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
    teacher: Teacher | None = None

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
        """Bytes of a pair of patches in the file, with its checksums."""
        return 8 + 4 * self.recipe.lr_side**2 + self.recipe.gt_side**2 * (1 if self.storage == "uint8" else 4)

    def file_bytes(self, count: int) -> int:
        """Bytes of a file of that many patches, with room for what it says of itself."""
        return count * self.patch_bytes + 64 * 1024

    def window(self, count: int) -> int:
        """Patches of a pass: all, or the multiple of 64 that fits the memory budget."""
        return min(count, max(BATCH, self.memory // self.patch_bytes // BATCH * BATCH))

    def estimate(self) -> Estimate:
        """Patches, bytes, memory and free disk space."""
        counts = tuple(count_found(group, self.recipe) // BATCH * BATCH for group in self.groups())
        window = max(self.window(n) for n in counts)
        return Estimate(
            files=tuple(str(self.path(k)) for k in range(self.shards)),
            images=len(self.sources),
            skipped=len(self.skipped),
            patches=sum(counts),
            patches_per_file=counts,
            bytes=sum(map(self.file_bytes, counts)),
            memory=min(window * self.patch_bytes, 3 * RELEASE) + (300 << 20),  # whole pages; Python, numba, images
            disk_free=free_bytes(self.out.parent),
            passes=max(-(-n // window) for n in counts) if window else 1,
        )


def count_found(group: list[Source], recipe: Recipe) -> int:
    """Patches that a group of sources yields, before they are cut down to a multiple of 64."""
    return count_patches(((s.height, s.width) for s in group), recipe)


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
    teacher: Teacher | None = None,
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
    teacher : Teacher, optional
        Takes the place of the images' own pixels in GT: a network trained on its answers is taught what others know.
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
    made = TrainSet(Path(out), recipe, tuple(sources), tuple(skipped), seed, storage, shards, memory, teacher)
    for k, group in enumerate(made.groups()):
        if count_found(group, recipe) < BATCH:
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
    """Write the training file, or its shards. Shards that are finished are kept; see `find_finished`.

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
    BusyError
        Another process is writing one of them.
    OSError
        Too little disk space.
    """
    for k in choose_shards(made, force):
        make_shard(made, k, force=force, workers=workers, progress=progress)
    return [made.path(k) for k in range(made.shards)]


def find_finished(made: TrainSet) -> list[int]:
    """The shards that stand already, made by the same recipe from the same images; none of a set of one file.

    Their attributes and the digests of their checksums are verified, not every patch.

    Raises
    ------
    FileExistsError
        A shard was made otherwise, or from other images: the message says how.
    PatchFileError
        A shard is damaged.
    """
    finished: list[int] = []
    if made.shards == 1:
        return finished
    for k, group in enumerate(made.groups()):
        path = made.path(k)
        if not path.exists():
            continue
        wanted = make_header(made, k, group).attributes()
        try:
            with PatchFile(path) as file:
                held = file.attributes
        except PatchFileError as error:
            raise PatchFileError(f"{error}; --force makes all shards anew") from None
        other = [name for name in wanted if name not in _UNLIKE and held.get(name) != wanted[name]]
        if other:
            say = [f"{name} {str(held.get(name, 'unknown'))[:20]}, now {str(wanted[name])[:20]}" for name in other[:3]]
            images = " from other images," if "source_digest" in other else ""
            raise FileExistsError(
                f"{path} was made{images} with {'; '.join(say)}; --force makes all shards anew, --out names other files"
            )
        finished.append(k)
    return finished


def choose_shards(made: TrainSet, force: bool) -> list[int]:
    """The shards to be made, from 0: with `force` all, else those that do not stand; errors as in `make_train`."""
    kept = [] if force else find_finished(made)
    left = [k for k in range(made.shards) if k not in kept]
    for k in left:
        check_target(made.path(k), force)
    counts = made.estimate().patches_per_file
    advice = "make room, choose another folder with --out, or write fewer bytes with --storage uint8"
    check_room(made.out, sum(made.file_bytes(counts[k]) for k in left), advice)
    return left


def make_shard(
    made: TrainSet, shard: int, *, force: bool = False, workers: int | None = None, progress: Progress | None = None
) -> Path:
    """Write one file of the set: arguments and errors as in `make_train`, which looks at disk and finished shards."""
    group, path = made.groups()[shard], made.path(shard)
    plan, header = made.plan(shard, group), make_header(made, shard, group)
    window = made.window(plan.count)
    teach = made.teacher.answer if made.teacher else None
    what = f"shard {shard + 1} of {made.shards}"
    if made.shards == 1:
        what = "asking the teacher" if made.teacher else "cutting patches"
    images, unreleased = len(group) * -(-plan.count // window), 0
    with (
        write_whole(path, force, made.file_bytes(plan.count)) as temporary,
        PatchWriter(temporary, header, plan.count, [(s.name, s.sha256) for s in group]) as writer,
    ):
        done = 0
        for first in range(0, plan.count, window):
            rows = slice(first, min(first + window, plan.count))
            views = writer.gt[rows], writer.lr[rows], writer.crc[rows]
            for written in cut_window(plan, group, first, *views, workers=count_workers(workers), teach=teach):
                unreleased += written * made.patch_bytes
                if unreleased > RELEASE:
                    writer.release()
                    unreleased = 0
                done += 1
                if progress:
                    progress(what, done, images)
            del views  # the map cannot be closed while they are there
        if progress:
            progress("writing to disk", 0, 1)
    if progress:
        progress("writing to disk", 1, 1)
    return path


def cut_window(
    plan: Plan,
    group: list[Source],
    first: int,
    gt: NDArray[np.uint8] | NDArray[np.float32],
    lr: NDArray[np.float32],
    crc: NDArray[np.uint32] | None = None,
    *,
    workers: int,
    teach: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> Iterator[int]:
    """Fill a window of rows from the images, on a pool of threads; yields each image's number of patches."""

    def cut(number: int) -> int:
        return cut_image(read_y(group[number].path), plan, number, first, gt, lr, crc, teach)

    return map_in_order(cut, range(len(group)), workers)


def make_header(made: TrainSet, shard: int, group: list[Source]) -> Header:
    """What a file of the set says of itself."""
    return Header(
        scale=made.recipe.scale,
        stage=made.recipe.stage,
        lr_patch=made.recipe.lr_side,
        seed=made.seed,
        storage=made.storage,
        patches_found=count_found(group, made.recipe),
        source_digest=digest_sources(group),
        source_count=len(group),
        source_set=recognise_set(made.sources) or "",
        skipped=made.skipped,
        shard=shard,
        shards=made.shards,
        versions=read_versions(),
        teacher=made.teacher.digests if made.teacher else (),
        offset=made.recipe.offset,
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
