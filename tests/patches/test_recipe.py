from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idn_data.patches.recipe import BATCH, SCALES, STAGES, Recipe, Stage, name_shard
from idn_data.patches.trainplan import plan_train

# the table of the IDN-TensorFlow README: scale, stage, LR and GT side, file
README = [
    (2, "pretrain", 29, 58, "idn_train_x2.h5"),
    (3, "pretrain", 15, 45, "idn_train_x3.h5"),
    (4, "pretrain", 11, 44, "idn_train_x4.h5"),
    (2, "finetune", 39, 78, "idn_fine_tuning_x2.h5"),
    (3, "finetune", 26, 78, "idn_fine_tuning_x3.h5"),
    (4, "finetune", 19, 76, "idn_fine_tuning_x4.h5"),
]


@pytest.mark.parametrize(("scale", "stage", "lr", "gt", "file"), README)
def test_table_of_the_readme(scale: int, stage: Stage, lr: int, gt: int, file: str) -> None:
    recipe = Recipe(scale, stage)
    assert (recipe.lr_side, recipe.gt_side, recipe.file_name) == (lr, gt, file)
    assert recipe.lr_patch == lr  # settled once, so that equal recipes compare equal
    assert recipe == Recipe(scale, stage, lr)


def test_scales_and_stages_are_those_of_the_table() -> None:
    assert {(scale, stage) for scale, stage, *_ in README} == {(scale, stage) for scale in SCALES for stage in STAGES}
    assert BATCH == 64


def test_other_patch_side() -> None:
    recipe = Recipe(3, "finetune", 20)
    assert (recipe.lr_side, recipe.gt_side, recipe.file_name) == (20, 60, "idn_fine_tuning_x3.h5")
    assert Recipe(2, "pretrain", 1).gt_side == 2
    assert Recipe(2, "pretrain", 1024).gt_side == 2048


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64])
def test_numbers_of_numpys(kind: Any) -> None:
    """A scale of 4 was refused as none of 2, 3, 4 …, and a side of 100 times 4 overflowed."""
    recipe = Recipe(kind(4), "finetune", kind(100), (kind(1), kind(3)))
    assert recipe == Recipe(4, "finetune", 100, (1, 3)) and recipe.gt_side == 400
    assert all(type(n) is int for n in (recipe.scale, recipe.lr_patch, *recipe.offset))


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe(2, "pretrain").scale = 3  # type: ignore[misc]


@pytest.mark.parametrize("scale", [0, 1, 9, -2])
def test_wrong_scale(scale: int) -> None:
    with pytest.raises(ValueError, match=rf"scale must be one of 2, 3, 4, 5, 6, 7, 8; got {scale}"):
        Recipe(scale, "pretrain")


def test_above_four_there_are_no_files(tmp_path: Path) -> None:
    assert Recipe(8, "pretrain").gt_side == 88
    with pytest.raises(ValueError, match="patch files are of scale 2, 3, 4; got 8"):
        plan_train(tmp_path, tmp_path / "a.h5", Recipe(8, "pretrain"))


def test_wrong_stage() -> None:
    with pytest.raises(ValueError, match="stage must be one of pretrain, finetune; got 'training'"):
        Recipe(2, "training")  # type: ignore[arg-type]


@pytest.mark.parametrize("side", [0, -1, 1025, 5.5])
def test_wrong_patch_side(side: float) -> None:
    with pytest.raises(ValueError, match=rf"LR patch side must be a whole number in 1…1024; got {side}"):
        Recipe(2, "pretrain", side)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "index", "count", "wanted"),
    [
        ("idn_train_x4.h5", 0, 1, "idn_train_x4.h5"),
        ("idn_train_x4.h5", 0, 8, "idn_train_x4.1-of-8.h5"),
        ("idn_train_x4.h5", 7, 8, "idn_train_x4.8-of-8.h5"),
        ("idn_train_x4.h5", 8, 12, "idn_train_x4.09-of-12.h5"),
        ("my.set.h5", 1, 2, "my.set.2-of-2.h5"),
        ("patches", 1, 2, "patches.2-of-2"),
    ],
)
def test_name_shard(name: str, index: int, count: int, wanted: str) -> None:
    assert name_shard(name, index, count) == wanted


def test_shards_sort_in_order() -> None:
    shards = [name_shard("a.h5", k, 11) for k in range(11)]
    assert sorted(shards) == shards
    assert len(set(shards)) == 11


def test_an_offset_is_cut_off_the_images() -> None:
    recipe = Recipe(4, "finetune", 19, (1, 3))
    assert recipe.crop(100, 90) == (99, 87)
    assert recipe.crop(1, 2) == (0, 0)
    assert recipe == Recipe(4, "finetune", 19, [1, 3])  # type: ignore[arg-type]  # as JSON keeps it
    assert Recipe(4, "finetune", 19).offset == (0, 0)


@pytest.mark.parametrize("offset", [(76, 0), (0, -1), (1,), (1.5, 0)])
def test_wrong_offset(offset: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"the offset must be two whole numbers in 0…75, below a GT patch; got \["):
        Recipe(4, "finetune", 19, offset)  # type: ignore[arg-type]


def test_wrong_boundary() -> None:
    with pytest.raises(ValueError, match="the boundary must be one of symmetric, replicate; got 'circular'"):
        Recipe(4, "finetune", boundary="circular")  # type: ignore[arg-type]  # what it refuses
