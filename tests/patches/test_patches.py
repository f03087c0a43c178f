from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from idn_data.images.decode import list_images, read_y
from idn_data.images.variants import make_variants, modcrop
from idn_data.matlab.resize import imresize
from idn_data.patches.cut import Window, cut_image
from idn_data.patches.plan import Plan, count_grid, deal_shards
from idn_data.patches.recipe import BATCH, SCALES, STAGES, Recipe

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RECIPES = [Recipe(scale, stage) for stage in STAGES for scale in SCALES]
SMALL = Recipe(3, "pretrain", lr_patch=5)  # many patches even on small images
SIZES = ((120, 97), (46, 131), (97, 97))

# patches in the six files made from the 291 images
REAL_COUNTS = {
    (2, "pretrain"): 222_080, (3, "pretrain"): 412_352, (4, "pretrain"): 415_296,
    (2, "finetune"): 119_488, (3, "finetune"): 119_488, (4, "finetune"): 125_312,
}  # fmt: skip

every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: f"{r.stage}-x{r.scale}")


@pytest.fixture
def small_plan() -> Plan:
    return Plan(SMALL, SIZES, seed=3)


def read_all(folder: Path) -> tuple[list[NDArray[np.uint8]], tuple[tuple[int, int], ...]]:
    images = [read_y(p) for p in list_images(folder)]
    return images, tuple((y.shape[0], y.shape[1]) for y in images)


def cut_slowly(y: NDArray[np.uint8], recipe: Recipe) -> list[list[tuple[int, int, NDArray[np.uint8]]]]:
    """For each variant, the patches that fit, found by trying one position after the other: (y, x, GT patch)."""
    side, found = recipe.gt_side, []
    for variant in make_variants(y):
        gt = modcrop(variant, recipe.scale)
        patches, i = [], 0
        while i + side <= gt.shape[0]:
            j = 0
            while j + side <= gt.shape[1]:
                patches.append((i, j, gt[i : i + side, j : j + side]))
                j += side
            i += side
        found.append(patches)
    return found


@every_recipe
def test_counts_on_the_real_images(data_root: Path, recipe: Recipe) -> None:
    sizes = []
    for path in list_images(data_root / "train_data" / "291"):
        with Image.open(path) as picture:
            sizes.append((picture.height, picture.width))
    assert len(sizes) == 291
    plan = Plan(recipe, tuple(sizes), seed=0)
    assert plan.count == REAL_COUNTS[recipe.scale, recipe.stage]
    assert plan.count <= plan.found < plan.count + BATCH


@every_recipe
def test_counts_from_sizes_equal_counts_from_cutting(photos: Path, recipe: Recipe) -> None:
    images, sizes = read_all(photos)
    plan = Plan(recipe, sizes, seed=0)
    counts = [len(patches) for y in images for patches in cut_slowly(y, recipe)]
    assert counts == np.diff(plan.starts).tolist()
    assert sum(counts) == plan.found > 0
    assert plan.count == plan.found // BATCH * BATCH


def test_counts_of_real_images_equal_counts_from_cutting(data_root: Path) -> None:
    paths = list_images(data_root / "train_data" / "291")[::97]
    images = [read_y(p) for p in paths]
    for recipe in RECIPES:
        plan = Plan(recipe, tuple((y.shape[0], y.shape[1]) for y in images), seed=0)
        counts = [len(patches) for y in images for patches in cut_slowly(y, recipe)]
        assert counts == np.diff(plan.starts).tolist()


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [(90, 90, (2, 2)), (89, 90, (1, 2)), (44, 90, (0, 2)), (134, 44, (2, 0)), (1, 1, (0, 0)), (137, 47, (3, 1))],
)
def test_grid_of_whole_patches(height: int, width: int, grid: tuple[int, int]) -> None:
    assert count_grid(height, width, Recipe(3, "pretrain")) == grid  # GT side 45


def test_places_are_a_bijection(small_plan: Plan) -> None:
    plan = small_plan
    assert plan.found % BATCH != 0  # otherwise nothing is left out and the test shows less
    kept = plan.places[plan.places >= 0]
    assert sorted(kept.tolist()) == list(range(plan.count))
    assert set(plan.places[plan.places < 0].tolist()) == {-1}
    assert int((plan.places == -1).sum()) == plan.found - plan.count


def test_nothing_is_left_out_of_whole_batches() -> None:
    plan = Plan(Recipe(2, "pretrain", lr_patch=4), ((64, 64),) * 8, seed=0)
    assert plan.found % BATCH == 0
    assert plan.count == plan.found
    assert plan.places.min() == 0


def test_order_is_a_thorough_shuffle(small_plan: Plan) -> None:
    kept = small_plan.places[small_plan.places >= 0]
    # neighbours on the grid land far apart: about a third of the file for a uniform permutation
    assert 0.25 < float(np.abs(np.diff(kept)).mean()) / small_plan.count < 0.42


def test_variant_places_are_slices_of_the_whole(small_plan: Plan) -> None:
    joined = [small_plan.variant_places(image, v) for image in range(len(SIZES)) for v in range(40)]
    np.testing.assert_array_equal(np.concatenate(joined), small_plan.places)


def test_locate_round_trip(small_plan: Plan) -> None:
    seen = set()
    for row in range(small_plan.count):
        image, variant, y, x = small_plan.locate(row)
        places = small_plan.variant_places(image, variant)
        h, w = SIZES[image] if variant < 10 or 20 <= variant < 30 else SIZES[image][::-1]
        downscale = 1.0 - 0.1 * (variant % 5)
        columns = int(np.ceil(w * downscale)) // SMALL.gt_side
        assert y % SMALL.gt_side == x % SMALL.gt_side == 0
        assert 0 <= y <= np.ceil(h * downscale) - SMALL.gt_side
        assert 0 <= x <= np.ceil(w * downscale) - SMALL.gt_side
        assert places[y // SMALL.gt_side * columns + x // SMALL.gt_side] == row
        seen.add((image, variant, y, x))
    assert len(seen) == small_plan.count


@pytest.mark.parametrize("row", [-1, 10**9])
def test_locate_refuses_rows_outside(small_plan: Plan, row: int) -> None:
    with pytest.raises(IndexError, match=f"row {row} is outside 0…{small_plan.count - 1}"):
        small_plan.locate(row)
    with pytest.raises(IndexError, match="is outside"):
        small_plan.locate(small_plan.count)


def test_same_arguments_same_order(small_plan: Plan) -> None:
    np.testing.assert_array_equal(small_plan.places, Plan(SMALL, SIZES, seed=3).places)


@pytest.mark.parametrize(("seed", "shard"), [(4, 0), (3, 1), (0, 3)])
def test_another_seed_or_shard_another_order(small_plan: Plan, seed: int, shard: int) -> None:
    other = Plan(SMALL, SIZES, seed, shard)
    assert other.found == small_plan.found
    assert (other.places == small_plan.places).mean() < 0.05


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_beyond_the_file_format_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"seed must lie in 0…2\^63-1; got {seed}"):
        Plan(SMALL, SIZES, seed=seed)


def test_largest_seed() -> None:
    assert Plan(SMALL, SIZES, seed=2**63 - 1).count > 0


def test_images_too_small_give_an_empty_plan() -> None:
    plan = Plan(Recipe(4, "finetune"), ((75, 300), (10, 10)), seed=0)
    assert (plan.found, plan.count) == (0, 0)
    with pytest.raises(IndexError, match="row 0 is outside"):
        plan.locate(0)


@pytest.mark.parametrize(("images", "shards"), [(291, 8), (291, 1), (7, 7), (10, 3), (1, 1)])
def test_shards_are_a_partition(images: int, shards: int) -> None:
    groups = deal_shards(images, shards, seed=5)
    assert len(groups) == shards
    assert sorted(i for group in groups for i in group) == list(range(images))
    assert max(map(len, groups)) - min(map(len, groups)) <= 1
    assert all(group == sorted(group) for group in groups)
    assert groups == deal_shards(images, shards, seed=5)


def test_shards_are_dealt_at_random() -> None:
    groups = deal_shards(291, 8, seed=5)
    assert groups != deal_shards(291, 8, seed=6)
    assert groups != [list(range(291))[k::8] for k in range(8)]


@pytest.mark.parametrize(("images", "shards"), [(3, 4), (3, 0), (3, -1), (0, 2)])
def test_impossible_shards_are_refused(images: int, shards: int) -> None:
    with pytest.raises(ValueError, match=f"shards must lie in 1…{images}, the number of images; got {shards}"):
        deal_shards(images, shards, seed=0)


@pytest.mark.parametrize("recipe", [SMALL, Recipe(2, "finetune"), Recipe(4, "pretrain")], ids=str)
def test_cut_image_puts_every_patch_where_the_plan_says(photos: Path, recipe: Recipe) -> None:
    images, sizes = read_all(photos)
    plan = Plan(recipe, sizes, seed=1)
    window = Window.allocate(recipe, plan.count)
    for number, y in enumerate(images):
        cut_image(y, plan, number, window)
    gt, lr = window.gt, window.lr
    cut = [cut_slowly(y, recipe) for y in images]
    for row in range(plan.count):
        image, variant, i, j = plan.locate(row)
        patch = next(patch for y, x, patch in cut[image][variant] if (y, x) == (i, j))
        np.testing.assert_array_equal(gt[row], patch)
    assert gt.dtype == np.uint8
    assert lr.dtype == np.float32


def test_lr_belongs_to_its_gt(photos: Path) -> None:
    """LR patches are cut from the reduced variant, so that they know what lies beyond the GT patch."""
    images, sizes = read_all(photos)
    plan = Plan(SMALL, sizes, seed=1)
    window = Window.allocate(SMALL, plan.count)
    for number, y in enumerate(images):
        cut_image(y, plan, number, window)
    lr = window.lr
    p = SMALL.lr_side
    for row in range(0, plan.count, 61):
        image, variant, i, j = plan.locate(row)
        whole = list(make_variants(images[image]))[variant]
        reduced = imresize(modcrop(whole, 3) / 255.0, 1 / 3)
        np.testing.assert_array_equal(lr[row], reduced[i // 3 : i // 3 + p, j // 3 : j // 3 + p].astype(np.float32))


@pytest.mark.parametrize("split", [1, 64, 777])
def test_two_windows_are_one_whole(photos: Path, split: int) -> None:
    images, sizes = read_all(photos)
    plan = Plan(SMALL, sizes, seed=2)
    whole = Window.allocate(SMALL, plan.count)
    parts = [Window.allocate(SMALL, split), Window.allocate(SMALL, plan.count - split, first=split)]
    for number, y in enumerate(images):
        cut = [cut_image(y, plan, number, window) for window in (whole, *parts)]
        assert cut[0] == cut[1] + cut[2] > 0
    np.testing.assert_array_equal(np.concatenate([part.gt for part in parts]), whole.gt)
    np.testing.assert_array_equal(np.concatenate([part.lr for part in parts]), whole.lr)


def test_image_of_another_size_is_refused() -> None:
    plan = Plan(SMALL, SIZES, seed=0)
    window = Window.allocate(SMALL, plan.count)
    with pytest.raises(ValueError, match="image 1 changed while it was in use: 46x131 before, 46x130 now"):
        cut_image(np.zeros((46, 130), np.uint8), plan, 1, window)
