"""Cutting: the patches of images, each to its row of a patch file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idn_data.images.decode import read_y
from idn_data.images.variants import VARIANTS, make_pair, make_taught_pairs, make_variants
from idn_data.matlab.compiled import load_kernels
from idn_data.patches.header import gt_levels
from idn_data.patches.plan import count_grid
from idn_data.workers import map_in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from idn_data.images.sources import Source
    from idn_data.images.variants import Teach
    from idn_data.patches.plan import Plan
    from idn_data.patches.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Window:
    """A run of rows of a patch file, to be filled: where it begins, and the arrays for its patches.

    Different images write different rows, so threads need no lock.

    Parameters
    ----------
    first : int
        Row of the file that ``gt[0]`` and ``lr[0]`` stand for.
    gt : (m, s·p, s·p) uint8 or float32
        Values k, or k/255.
    lr : (m, p, p) float32
    crc : (m, 2) uint32, optional
        CRC-32 of LR's bytes and of GT's 8-bit values k, if wanted.
    """

    first: int
    gt: NDArray[np.uint8] | NDArray[np.float32]
    lr: NDArray[np.float32]
    crc: NDArray[np.uint32] | None = None

    @classmethod
    def allocate(cls, recipe: Recipe, count: int, first: int = 0) -> Window:
        """A window of `count` rows in memory, GT as 8-bit values, without checksums."""
        gt = np.empty((count, recipe.gt_side, recipe.gt_side), np.uint8)
        return cls(first, gt, np.empty((count, recipe.lr_side, recipe.lr_side), np.float32))

    @property
    def last(self) -> int:
        """The row after the window's last."""
        return self.first + len(self.gt)

    def count_rows(self, places: NDArray[np.intp]) -> int:
        """How many of these rows of the file lie in the window."""
        return int(((places >= self.first) & (places < self.last)).sum())

    def fill(self, gt: NDArray[np.uint8], lr: NDArray[np.float64], places: NDArray[np.intp], columns: int) -> None:
        """Cut the grid of one variant into the rows that lie here.

        Parameters
        ----------
        gt : (s·h, s·w) uint8
        lr : (h, w) float64
        places : (n,) intp
            Row of the file of each patch of the grid, row by row; -1 for one that is left out.
        columns : int
            Patches in a row of the grid.

        Raises
        ------
        ValueError
            GT is not a whole number of times as large as LR.
        """
        scale, rest = divmod(gt.shape[0], lr.shape[0])
        if rest or gt.shape != (scale * lr.shape[0], scale * lr.shape[1]):
            raise ValueError(f"GT {gt.shape} must be 2, 3 or 4 times LR {lr.shape}")
        crc = np.empty((0, 2), np.uint32) if self.crc is None else self.crc
        load_kernels("idn_data.patches.kernels").cut_patches(
            gt, lr, places, columns, scale, self.first, self.last, gt_levels(self.gt.dtype), self.gt, self.lr,
            self.lr.reshape(len(self.lr), -1).view(np.uint8), crc,
        )  # fmt: skip


def cut_image(y: NDArray[np.uint8], plan: Plan, image: int, window: Window, teach: Teach | None = None) -> int:
    """Cut all patches of one image whose row lies in a window into that window.

    Parameters
    ----------
    y : (H, W) uint8
        Y of the source image.
    plan : Plan
    image : int
        The number of the image in the plan.
    window : Window
        Written in place.
    teach : callable((h, w) float64) -> (s·h, s·w) float64, optional
        What to take for GT, from LR: see `idn_data.images.variants.make_taught_pairs`.

    Returns
    -------
    int
        Patches written.

    Raises
    ------
    ValueError
        The image does not have the size that the plan was made for.
    """
    if y.shape != plan.sizes[image]:
        was, now = plan.sizes[image], y.shape
        raise ValueError(f"image {image} changed while it was in use: {was[0]}x{was[1]} before, {now[0]}x{now[1]} now")
    here = [window.count_rows(plan.variant_places(image, number)) for number in range(VARIANTS)]
    if not any(here):
        return 0  # too small for a patch, or for the offset
    top, left = plan.recipe.offset
    pairs = _make_pairs(y[top:, left:], plan.recipe, here, teach)
    for number, (pair, shape) in enumerate(zip(pairs, plan.shapes(image), strict=True)):
        if here[number] and pair:
            _, columns = count_grid(*shape, plan.recipe)
            window.fill(*pair, plan.variant_places(image, number), columns)
    return sum(here)


def _make_pairs(
    y: NDArray[np.uint8], recipe: Recipe, wanted: Sequence[int], teach: Teach | None
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]] | None]:
    """GT and LR of each variant; None where none of its patches is wanted."""
    if teach:
        yield from make_taught_pairs(y, recipe.scale, teach, recipe.boundary)
    else:
        for count, variant in zip(wanted, make_variants(y, recipe.boundary), strict=True):
            yield make_pair(variant, recipe.scale, recipe.boundary) if count else None


def cut_window(
    plan: Plan, sources: Sequence[Source], window: Window, *, workers: int, teach: Teach | None = None
) -> Iterator[int]:
    """Fill a window of rows from the images, on a pool of threads.

    Parameters
    ----------
    plan : Plan
    sources : sequence of Source
        The images that the plan was made of, in its order.
    window : Window
    workers : int
        Threads.
    teach : callable, optional
        As in `cut_image`.

    Yields
    ------
    int
        Each image's number of patches in the window.

    Raises
    ------
    ImageError, ValueError
        An image is gone, or changed.
    """

    def cut(number: int) -> int:
        return cut_image(read_y(sources[number].path), plan, number, window, teach)

    return map_in_order(cut, range(len(sources)), workers)
