"""The plan of a training set: its images dealt into files, and what each file will hold. Nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from idn_data.atomic import free_bytes
from idn_data.images.sets import recognise_set
from idn_data.images.sources import Source, digest_sources, read_folder
from idn_data.patches.header import Header, Storage, read_versions
from idn_data.patches.plan import Plan, count_patches, deal_shards
from idn_data.patches.recipe import BATCH, SCALES, Recipe, name_shard
from idn_data.workers import count_workers

if TYPE_CHECKING:
    from idn_data.images.variants import Teach
    from idn_data.workers import Progress

MEMORY = 4 << 30  # bytes of a file filled at once, in the system's cache; every file of the README's table fits
RELEASE = 256 << 20  # bytes written before the pages are given back, which keeps the process small


_CUTTING = 37  # bytes for each pixel of a picture, in each thread that cuts one
_ORDERING = 24  # bytes for each patch, while their order is drawn


@dataclass(frozen=True)
class Estimate:
    """What `make_train` would write, before anything is written. Bytes are bytes."""

    files: tuple[str, ...]
    images: int
    skipped: int
    patches: int
    patches_per_file: tuple[int, ...]
    bytes: int
    bytes_left: int  # of the files that are not there yet
    memory: int
    disk_free: int
    passes: int


@dataclass(frozen=True)
class Teacher:
    """Who answers for GT instead of the image: SR (s·h, s·w) of LR (h, w), float64 both, and the weights' SHA-256."""

    answer: Teach
    digests: tuple[str, ...]


@dataclass(frozen=True)
class Shard:
    """One file of a training set: its number from 0, its name, its images, and what it will hold."""

    number: int
    path: Path
    sources: tuple[Source, ...]
    found: int  # patches on the grids of its images
    patch_bytes: int  # of a pair of patches in the file

    @property
    def count(self) -> int:
        """Patches in the file: the multiple of 64 below `found`."""
        return self.found // BATCH * BATCH

    @property
    def bytes(self) -> int:
        """Bytes of the file, with room for what it says of itself."""
        return self.count * self.patch_bytes + 64 * 1024


@dataclass(frozen=True)
class TrainSet:
    """A training set about to be made: sources, recipe and where it goes, and the files that follow from them.

    See `plan_train`, which makes it. `files` is computed once, from the sizes of the images.
    """

    out: Path
    recipe: Recipe
    sources: tuple[Source, ...]
    skipped: tuple[str, ...]
    seed: int
    storage: Storage
    shards: int
    memory: int
    teacher: Teacher | None = None
    files: tuple[Shard, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.memory < 1 << 20:
            raise ValueError(f"memory must be at least 1 MiB; got {self.memory} bytes")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must lie in 0…2^63-1; got {self.seed}")
        if self.storage not in get_args(Storage):
            raise ValueError(f"storage must be one of {', '.join(get_args(Storage))}; got {self.storage!r}")
        files, size = [], measure_patch(self.recipe, self.storage)
        for k, group in enumerate(deal_shards(len(self.sources), self.shards, self.seed)):
            sources = tuple(self.sources[i] for i in group)
            found = count_patches(((s.height, s.width) for s in sources), self.recipe)
            files.append(Shard(k, self.out.with_name(name_shard(self.out.name, k, self.shards)), sources, found, size))
        object.__setattr__(self, "files", tuple(files))

    @property
    def paths(self) -> list[Path]:
        """The files' names."""
        return [shard.path for shard in self.files]

    def plan(self, shard: Shard) -> Plan:
        """Which patch stands in which row of a shard."""
        return Plan(self.recipe, tuple((s.height, s.width) for s in shard.sources), self.seed, shard.number)

    def window(self, shard: Shard) -> int:
        """Patches of a pass over a shard's images: all, or the multiple of 64 that fits the memory budget."""
        return min(shard.count, max(BATCH, self.memory // shard.patch_bytes // BATCH * BATCH))

    def passes(self, shard: Shard) -> int:
        """How many passes over its images fill a shard."""
        return -(-shard.count // max(self.window(shard), 1))

    def header(self, shard: Shard) -> Header:
        """What a shard says of itself."""
        return Header(
            scale=self.recipe.scale,
            stage=self.recipe.stage,
            lr_patch=self.recipe.lr_side,
            seed=self.seed,
            storage=self.storage,
            patches_found=shard.found,
            source_digest=digest_sources(shard.sources),
            source_count=len(shard.sources),
            source_set=recognise_set(self.sources) or "",
            skipped=self.skipped,
            shard=shard.number,
            shards=self.shards,
            versions=read_versions(),
            teacher=self.teacher.digests if self.teacher else (),
            offset=self.recipe.offset,
            boundary=self.recipe.boundary,
        )

    def estimate(self, workers: int | None = None) -> Estimate:
        """Patches, bytes, memory and free disk space, with so many threads (all cores by default)."""
        threads = min(count_workers(workers), len(self.sources))
        pictures = threads * _CUTTING * max(s.height * s.width for s in self.sources)
        order = _ORDERING * max(shard.found for shard in self.files)
        largest = max(self.window(shard) * shard.patch_bytes for shard in self.files)
        return Estimate(
            files=tuple(map(str, self.paths)),
            images=len(self.sources),
            skipped=len(self.skipped),
            patches=sum(shard.count for shard in self.files),
            patches_per_file=tuple(shard.count for shard in self.files),
            bytes=sum(shard.bytes for shard in self.files),
            bytes_left=sum(shard.bytes for shard in self.files if not shard.path.exists()),
            memory=min(largest, 3 * RELEASE) + pictures + order + (300 << 20),  # whole pages; last Python, numba
            disk_free=free_bytes(self.out.parent),
            passes=max(self.passes(shard) for shard in self.files),
        )


def measure_patch(recipe: Recipe, storage: Storage) -> int:
    """Bytes of a pair of patches in a file, with its checksums."""
    return 8 + 4 * recipe.lr_side**2 + recipe.gt_side**2 * (1 if storage == "uint8" else 4)


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

    Returns
    -------
    TrainSet

    Raises
    ------
    FileNotFoundError, BadImagesError
        No folder, no images, or images that cannot be used.
    ValueError
        The images are too small for one batch of patches, or an argument is out of range.
    """
    if recipe.scale not in SCALES:
        raise ValueError(f"patch files are of scale {', '.join(map(str, SCALES))}; got {recipe.scale}")
    sources, skipped = read_folder(images, skip_bad=skip_bad, workers=workers, progress=progress)
    made = TrainSet(Path(out), recipe, tuple(sources), tuple(skipped), seed, storage, shards, memory, teacher)
    for shard in made.files:
        if shard.count < BATCH:
            largest = max(shard.sources, key=lambda s: s.height * s.width)
            where = f"shard {shard.number + 1} of {shards}" if shards > 1 else str(images)
            raise ValueError(
                f"{where}: the images yield fewer than {BATCH} patches of {recipe.gt_side}x{recipe.gt_side} pixels "
                f"(the largest is {largest.height}x{largest.width}); take more or larger images, or a smaller patch"
            )
    return made
