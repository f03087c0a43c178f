"""make-train: a plan becomes one HDF5 file, or several shards.

Each patch is cut straight to its row of the file, which is mapped: no copy of the set in memory. A file larger than the
memory given is filled in several passes over the images, each for one range of rows: the bytes stay the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from idn_data.atomic import check_room, check_target, write_whole
from idn_data.patches.cut import Window, cut_window
from idn_data.patches.patchfile import PatchFile, PatchFileError
from idn_data.patches.patchwriter import PatchWriter
from idn_data.patches.trainplan import RELEASE, Shard, TrainSet
from idn_data.workers import count_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from idn_data.patches.plan import Plan
    from idn_data.workers import Progress

_UNLIKE = ("versions", "skipped", "skipped_count", "source_set")  # in shards that hold the same patches all the same
_UNSAID = {
    "offset": [0, 0],
    "teacher": "none",
    "boundary": "symmetric",
}  # what is true of a file without these attributes
_DERIVED = ("recipe", "digested")  # attributes that follow from others


def make_train(
    made: TrainSet,
    *,
    force: bool = False,
    left: Sequence[int] | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write the training file, or its shards. Shards that are finished are kept; see `find_finished`.

    Parameters
    ----------
    made : TrainSet
        From `plan_train`.
    force : bool
        Replace existing files.
    left : sequence of int, optional
        The shards to be made, as `choose_shards` gives them; by default it is asked here.
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
    ImageError, ValueError
        An image is gone, or changed.
    OSError
        Too little disk space.
    """
    for k in choose_shards(made, force) if left is None else left:
        make_shard(made, k, force=force, workers=workers, progress=progress)
    return made.paths


def choose_shards(made: TrainSet, force: bool) -> list[int]:
    """The shards to be made, from 0: with `force` all, else those that do not stand; errors as in `make_train`."""
    kept = [] if force else find_finished(made)
    left = [shard for shard in made.files if shard.number not in kept]
    for shard in left:
        check_target(shard.path, force)
    advice = "make room, choose another folder with --out, or write fewer bytes with --storage uint8"
    check_room(made.out, sum(shard.bytes for shard in left), advice)
    return [shard.number for shard in left]


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
    if made.shards == 1:
        return []
    standing = [shard for shard in made.files if shard.path.exists()]
    for shard in standing:
        _check_shard(made, shard)
    return [shard.number for shard in standing]


def _check_shard(made: TrainSet, shard: Shard) -> None:
    """Raise unless the file of a shard is what would be made anew."""
    try:
        with PatchFile(shard.path) as file:
            held = file.attributes
    except PatchFileError as error:
        raise PatchFileError(f"{error}; --force makes all shards anew") from None
    held, wanted = {**_UNSAID, **held}, {**_UNSAID, **made.header(shard).attributes()}
    other = [name for name in wanted if name not in _UNLIKE and held.get(name) != wanted[name]]
    if other:
        named = [name for name in other if name not in _DERIVED] or other
        say = [f"{name} {str(held.get(name, 'unknown'))[:20]}, now {str(wanted[name])[:20]}" for name in named[:3]]
        images = " from other images," if "source_digest" in other else ""
        raise FileExistsError(
            f"{shard.path} was made{images} with {'; '.join(say)}; --force makes all shards anew, "
            "--out names other files"
        )


def make_shard(
    made: TrainSet, number: int, *, force: bool = False, workers: int | None = None, progress: Progress | None = None
) -> Path:
    """Write one file of the set, without a look at disk space and finished shards.

    Parameters
    ----------
    made : TrainSet
        From `plan_train`.
    number : int
        Of the shard, from 0.
    force : bool
        Replace an existing file.
    workers : int, optional
        Threads; all cores by default.
    progress : callable(what, done, total), optional

    Returns
    -------
    Path
        The file, whole and synced.

    Raises
    ------
    FileExistsError, BusyError, OSError, ImageError
        As `make_train`.
    """
    shard = made.files[number]
    plan = made.plan(shard)
    what = f"shard {number + 1} of {made.shards}"
    if made.shards == 1:
        what = "asking the teacher" if made.teacher else "cutting patches"

    def tell(images_done: int) -> None:
        if progress:
            progress(what, images_done, len(shard.sources) * made.passes(shard))

    names = [(s.name, s.sha256) for s in shard.sources]
    with (
        write_whole(shard.path, force, shard.bytes) as temporary,
        PatchWriter(temporary, made.header(shard), shard.count, names) as writer,
    ):
        _fill_shard(made, shard, plan, writer, count_workers(workers), tell)
        if progress:
            progress("writing to disk", 0, 1)
    if progress:
        progress("writing to disk", 1, 1)
    return shard.path


def _fill_shard(
    made: TrainSet, shard: Shard, plan: Plan, writer: PatchWriter, workers: int, tell: Callable[[int], None]
) -> None:
    """Cut all patches into their rows, a window at a time; the views of the mapped file end with this function."""
    teach = made.teacher.answer if made.teacher else None
    done = unreleased = 0
    for first in range(0, plan.count, made.window(shard)):
        rows = slice(first, min(first + made.window(shard), plan.count))
        window = Window(first, writer.gt[rows], writer.lr[rows], writer.crc[rows])
        for written in cut_window(plan, shard.sources, window, workers=workers, teach=teach):
            unreleased += written * shard.patch_bytes
            if unreleased > RELEASE:
                writer.release()
                unreleased = 0
            done += 1
            tell(done)
