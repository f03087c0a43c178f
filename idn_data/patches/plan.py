"""The plan of a patch file: which patch stands in which row, made from the sizes of the images alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from idn_data.images.variants import VARIANTS, variant_shapes
from idn_data.patches.recipe import BATCH, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


def count_grid(height: int, width: int, recipe: Recipe) -> tuple[int, int]:
    """Rows and columns of the patch grid on one image of that size, in pixels of the GT."""
    step = recipe.gt_side
    crop_h, crop_w = height // recipe.scale * recipe.scale, width // recipe.scale * recipe.scale
    return crop_h // step, crop_w // step


@lru_cache(maxsize=4096)
def _count_image(height: int, width: int, recipe: Recipe) -> int:
    return sum(math.prod(count_grid(h, w, recipe)) for h, w in variant_shapes(*recipe.crop(height, width)))


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
        counts = [math.prod(count_grid(h, w, self.recipe)) for image in images for h, w in self.shapes(image)]
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
