"""The pictures of a training, whole: five downscales of each, 8 bits, in one array. Patches are cut from it at will."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idn_data.atomic import format_bytes
from idn_data.images.decode import ImageError, list_images, read_image, read_y
from idn_data.images.opening import open_picture
from idn_data.images.sources import BadImagesError, Source, digest_sources
from idn_data.images.variants import DOWNSCALES, make_variants
from idn_data.memory import allocate_bytes
from idn_data.patches.plan import count_patches
from idn_data.patches.recipe import BATCH
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_data.patches.recipe import Recipe
    from idn_data.workers import Progress


@dataclass(frozen=True, eq=False)
class Pool:
    """Whole pictures, each at up to five downscales: its planes.

    Parameters
    ----------
    recipe : Recipe
        Scale, patch size and border of what is to be cut.
    sources : tuple of Source
        The pictures.
    channels : {1, 3}
        Y; or R, G and B.
    pixels : (n,) uint8
        All planes, one after the other; of a plane, channel after channel, row after row.
    starts, heights, widths : (planes,) int64
        Where the first channel of a plane begins, and the size of a channel.
    mapped : bool
        Whether `pixels` lie in a file, not in memory.
    skipped : tuple of str
        A line on each picture that could not be used.
    left_out : tuple of str
        Names of pictures that were not to be used.
    """

    recipe: Recipe
    sources: tuple[Source, ...]
    channels: int
    pixels: NDArray[np.uint8]
    starts: NDArray[np.int64]
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    mapped: bool = False
    skipped: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    ends: NDArray[np.int64] = field(init=False, repr=False)  # positions of a patch in all planes up to each, (planes,)

    def __post_init__(self) -> None:
        side = self.recipe.gt_side
        rows, columns = self.heights - side + 1, self.widths - side + 1
        if not len(self.starts) or min(rows.min(), columns.min()) < 1:
            raise ValueError(f"a pool needs planes, each of {side}x{side} pixels or more")
        object.__setattr__(self, "ends", np.cumsum(rows * columns, dtype=np.int64))

    @property
    def positions(self) -> int:
        """Different patches that can be cut, orientations not counted."""
        return int(self.ends[-1])

    @cached_property
    def patches(self) -> int:
        """Patches of an epoch: as many as `make_train` would find in these pictures, but at least 64."""
        found = count_patches(((s.height, s.width) for s in self.sources), self.recipe)
        return max(BATCH, found // BATCH * BATCH)

    @cached_property
    def digest(self) -> str:
        """What decides the pixels and the patches: kind, LR side, border where it is not the usual one, sources."""
        kind = f"{'y' if self.channels == 1 else 'rgb'}-at-random-{self.recipe.lr_side}"
        border = "" if self.recipe.boundary == "symmetric" else f"={self.recipe.boundary}"
        return f"{kind}{border}:{digest_sources(self.sources)}"

    def describe(self) -> str:
        """Pictures, planes and bytes, for people."""
        kind = "Y" if self.channels == 1 else "RGB"
        many = f"{len(self.sources):,} picture{'s' * (len(self.sources) > 1)}"
        many += f" ({len(self.skipped):,} left out)" if self.skipped else ""
        return f"{many} in {len(self.starts):,} planes, {format_bytes(len(self.pixels))} of 8-bit {kind}"


def read_pool(
    folders: Sequence[Path],
    recipe: Recipe,
    *,
    channels: int = 1,
    leave_out: Collection[Path] = (),
    skip_bad: bool = False,
    workers: int | None = None,
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> Pool:
    """Read the pictures of folders, and reduce each as the training recipe does.

    Parameters
    ----------
    folders : sequence of path
        Their pictures follow each other.
    recipe : Recipe
        Without an offset: all positions are seen in any case.
    channels : {1, 3}
        Y as `make_train` takes it; or R, G and B, each reduced by itself.
    leave_out : collection of Path
        Pictures of the folders that are not to be used: another folder's of the same name are.
    skip_bad : bool
        Leave out pictures that cannot be read.
    workers : int, optional
        Threads; all cores by default. The result does not depend on it.
    scratch : path, optional
        A folder for the pixels, where they take more than half of the free memory; None: always in memory.
    progress : callable(what, done, total), optional

    Returns
    -------
    Pool

    Raises
    ------
    FileNotFoundError, BadImagesError
        No folder, no pictures, or pictures that cannot be used.
    ValueError
        A picture to leave out that is not there; pictures that are all too small; or an argument out of range.
    OSError
        No room for the pixels on the disk.
    """
    if channels not in (1, 3) or any(recipe.offset):
        raise ValueError(f"a pool has 1 or 3 channels and no offset; got {channels} and {list(recipe.offset)}")
    paths, threads = _list_pictures(folders, leave_out), count_workers(workers)
    sizes = list(map_in_order(_measure, paths, threads))
    firsts = np.cumsum([0, *(channels * size for size in sizes)], dtype=np.int64)
    pixels, mapped = allocate_bytes(int(firsts[-1]), scratch)

    def place(number: int) -> _Placed | str:
        first, last = firsts[number], firsts[number + 1]
        return _place(paths[number], channels, recipe.boundary, pixels[first:last])

    sources, bad, planes = [], [], []
    for number, found in enumerate(map_in_order(place, range(len(paths)), threads)):
        if isinstance(found, str):
            bad.append(found)
        else:
            sources.append(found[0])
            planes += [(firsts[number] + start, height, width) for start, height, width in found[1]]
        if progress:
            progress("reading pictures", number + 1, len(paths))
    if bad and (not skip_bad or not sources):
        raise BadImagesError(bad, all_bad=not sources)
    fit = [plane for plane in planes if min(plane[1:]) >= recipe.gt_side]
    if not fit:
        largest = max(sources, key=lambda s: min(s.height, s.width))
        raise ValueError(
            f"no picture holds a patch of {recipe.gt_side}x{recipe.gt_side} pixels (the largest is "
            f"{largest.height}x{largest.width}); take larger pictures, or a smaller patch"
        )
    starts, heights, widths = np.array(fit, np.int64).T.copy()
    return Pool(recipe, tuple(sources), channels, pixels, starts, heights, widths, mapped, tuple(bad),
                tuple(sorted(path.name for path in leave_out)))  # fmt: skip


def _list_pictures(folders: Sequence[Path], leave_out: Collection[Path]) -> list[Path]:
    """The pictures of some folders, but some of them, each of which must be there."""
    paths = [path for folder in folders for path in list_images(folder)]
    where = ", ".join(map(str, folders))
    if unknown := sorted(set(leave_out) - set(paths)):
        raise ValueError(f"{unknown[0]} is to be left out, but is no picture of {where}; name one that is")
    left = set(leave_out)
    if not (kept := [path for path in paths if path not in left]):
        raise ValueError(f"no picture of {where} is left; name folders with others" if folders else "no folder named")
    return kept


def _shrink(height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of a picture's planes."""
    return [(math.ceil(s * height), math.ceil(s * width)) for s in DOWNSCALES]


def _measure(path: Path) -> int:
    """Pixels of all planes of a picture, from its head alone; 0 where it cannot be read: then `_place` says why."""
    try:
        with open_picture(path) as picture:
            return sum(h * w for h, w in _shrink(picture.height, picture.width))
    except ImageError:
        return 0


_Placed = tuple[Source, list[tuple[int, int, int]]]  # a picture, and where each plane begins, its height and width


def _place(path: Path, channels: int, boundary: Boundary, room: NDArray[np.uint8]) -> _Placed | str:
    """Decode a picture and put its planes into its room; or say, in a line, why it cannot be used."""
    try:
        path.name.encode()  # the names are kept, and they are kept in UTF-8
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        image = read_y(path) if channels == 1 else read_image(path)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    except UnicodeEncodeError:
        return f"{str(path)!a}: the name is not UTF-8; rename the file"
    height, width = image.shape[:2]
    sizes = _shrink(height, width)
    if len(room) != channels * sum(h * w for h, w in sizes):
        return f"{path}: changed while it was read; start again"
    layers = np.broadcast_to(np.atleast_3d(image), (height, width, channels))  # grey is R, G and B alike
    starts = np.cumsum([0, *(channels * h * w for h, w in sizes)], dtype=np.int64)[:-1]
    for channel in range(channels):
        layer = np.ascontiguousarray(layers[..., channel])
        for start, plane in zip(starts, islice(make_variants(layer, boundary), len(DOWNSCALES)), strict=True):
            first = start + channel * plane.size
            room[first : first + plane.size] = plane.ravel()
    return Source(path, height, width, sha256), [(int(k), *size) for k, size in zip(starts, sizes, strict=True)]
