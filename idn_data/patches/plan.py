"""The plan, which patch stands where, made from image sizes alone; then the cutting."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.images.variants import VARIANTS, make_pair, make_taught_pairs, make_variants, variant_shapes
from idn_data.matlab.compiled import load_kernels
from idn_data.patches.recipe import BATCH, Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray


def count_grid(height: int, width: int, recipe: Recipe) -> tuple[int, int]:
    """Rows and columns of the patch grid on one image of that size, in pixels of the GT."""
    step = recipe.gt_side
    crop_h, crop_w = height // recipe.scale * recipe.scale, width // recipe.scale * recipe.scale
    return crop_h // step, crop_w // step


@lru_cache(maxsize=4096)
def _count_image(height: int, width: int, recipe: Recipe) -> int:
    return sum(int(np.prod(count_grid(h, w, recipe))) for h, w in variant_shapes(*recipe.crop(height, width)))


def count_patches(sizes: Iterable[tuple[int, int]], recipe: Recipe) -> int:
    """Patches on the grids of all variants of images of those sizes, (height, width)."""
    return sum(_count_image(height, width, recipe) for height, width in sizes)


@dataclass(frozen=True)
class Plan:
    """Which patch of which variant of which image goes to which row of the file.

    Patches are numbered image by image, variant by variant, along the rows of the grid; one random permutation, cut
    down to a multiple of 64, orders them in the file. Nothing of it depends on pixels or on the number of workers.

    Parameters
    ----------
    recipe : Recipe
    sizes : sequence of (int, int)
        Height and width of each source image.
    seed : int
    shard : int
        Number of the shard, from 0; each has a permutation of its own.
    """

    recipe: Recipe
    sizes: tuple[tuple[int, int], ...]
    seed: int
    shard: int = 0
    starts: NDArray[np.int64] = field(init=False, repr=False, compare=False)  # (images·40 + 1,)
    places: NDArray[np.intp] = field(init=False, repr=False, compare=False)  # (found,), -1 for those left out

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must lie in 0…2^63-1; got {self.seed}")
        images = range(len(self.sizes))
        counts = [int(np.prod(count_grid(h, w, self.recipe))) for image in images for h, w in self.shapes(image)]
        starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        found = int(starts[-1])
        order = np.random.default_rng([self.seed, self.shard]).permutation(found)
        places = np.empty(found, np.intp)
        places[order] = np.arange(found)
        places[places >= found // BATCH * BATCH] = -1
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "places", places)

    @property
    def found(self) -> int:
        """Patches on the grids of all variants."""
        return len(self.places)

    @property
    def count(self) -> int:
        """Patches in the file: the multiple of 64 below `found`."""
        return self.found // BATCH * BATCH

    def shapes(self, image: int) -> list[tuple[int, int]]:
        """Height and width of the 40 variants of an image, its offset cut off."""
        return variant_shapes(*self.recipe.crop(*self.sizes[image]))

    def variant_places(self, image: int, variant: int) -> NDArray[np.intp]:
        """Rows of the file for the patches of one variant, in grid order; -1 for a patch left out."""
        k = image * VARIANTS + variant
        return self.places[self.starts[k] : self.starts[k + 1]]

    def locate(self, row: int) -> tuple[int, int, int, int]:
        """Image, variant, and GT pixel (y, x) in the variant, of the patch in a row of the file."""
        if not 0 <= row < self.count:
            raise IndexError(f"row {row} is outside 0…{self.count - 1}")
        number = int(np.flatnonzero(self.places == row)[0])
        k = int(np.searchsorted(self.starts, number, side="right")) - 1
        image, variant = divmod(k, VARIANTS)
        _, columns = count_grid(*self.shapes(image)[variant], self.recipe)
        y, x = divmod(number - int(self.starts[k]), columns)
        return image, variant, y * self.recipe.gt_side, x * self.recipe.gt_side


def deal_shards(images: int, shards: int, seed: int) -> list[list[int]]:
    """Deal image numbers at random into `shards` groups of nearly equal size, each in ascending order."""
    if not 1 <= shards <= max(images, 1):
        raise ValueError(f"shards must lie in 1…{images}, the number of images; got {shards}")
    if shards == 1:
        return [list(range(images))]
    order = np.random.default_rng([seed, 0, shards]).permutation(images)
    return [sorted(int(i) for i in order[k::shards]) for k in range(shards)]


def allocate_patches(recipe: Recipe, count: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Room in memory for `count` patches: GT as 8-bit values (count, s·p, s·p), LR (count, p, p) float32."""
    gt = np.empty((count, recipe.gt_side, recipe.gt_side), np.uint8)
    return gt, np.empty((count, recipe.lr_side, recipe.lr_side), np.float32)


def gt_levels(dtype: np.dtype) -> NDArray[np.generic]:
    """What the 8-bit values k = 0…255 of GT are stored as: themselves in uint8, MATLAB's single(k/255) in float32."""
    k = np.arange(256, dtype=np.uint8)
    return k if dtype == np.uint8 else (k / 255.0).astype(np.float32)


def cut_image(
    y: NDArray[np.uint8],
    plan: Plan,
    image: int,
    first: int,
    gt: NDArray[np.uint8] | NDArray[np.float32],
    lr: NDArray[np.float32],
    crc: NDArray[np.uint32] | None = None,
    teach: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> int:
    """Cut all patches of one image whose row lies in the window ``first … first + len(gt) - 1`` into that window.

    Parameters
    ----------
    y : (H, W) uint8
        Y of the source image.
    plan, image
        The plan and the number of the image in it.
    first : int
        Row of the file that ``gt[0]`` and ``lr[0]`` stand for.
    gt : (m, s·p, s·p) uint8 or float32
        Values k, or k/255. Written in place; different images write different rows, so threads need no lock.
    lr : (m, p, p) float32
        Written in place.
    crc : (m, 2) uint32, optional
        Written in place: CRC-32 of LR's bytes and of GT's 8-bit values k.
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
    kernels, scale, (top, left) = load_kernels("idn_data.patches.kernels"), plan.recipe.scale, plan.recipe.offset
    last, written, levels = first + len(gt), 0, gt_levels(gt.dtype)
    lr_bytes = lr.reshape(len(lr), -1).view(np.uint8)
    crc = np.empty((0, 2), np.uint32) if crc is None else crc
    if plan.starts[image * VARIANTS] == plan.starts[(image + 1) * VARIANTS]:
        return 0  # too small for a patch, or for the offset
    y = y[top:, left:]
    variants: Iterable[Any] = make_taught_pairs(y, scale, teach) if teach else make_variants(y)
    for number, (variant, shape) in enumerate(zip(variants, plan.shapes(image), strict=True)):
        places = plan.variant_places(image, number)
        here = int(((places >= first) & (places < last)).sum())
        if here:
            variant_gt, variant_lr = variant if teach else make_pair(variant, scale)
            _, columns = count_grid(*shape, plan.recipe)
            kernels.cut_patches(
                variant_gt, variant_lr, places, columns, scale, first, last, levels, gt, lr, lr_bytes, crc
            )
            written += here
    return written
