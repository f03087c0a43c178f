"""Which patch files are found, and what is said where the choice is not clear."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from idn_data.patches.patchfile import PatchFileError
from idn_data.patches.recipe import Recipe
from idn_data.patches.shards import find_boundary, find_patch_files, read_patches
from idn_data.patches.trainplan import Teacher, plan_train
from idn_data.patches.trainset import make_train


def make_file(photos: Path, path: Path, **given: Any) -> list[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return make_train(plan_train(photos, path, Recipe(4, "pretrain", 5), **given))


def test_the_one_file_there_is(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make one with: idn make-train --scale 4 --stage pretrain"):
        find_patch_files([], None, None, tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"--stage pretrain --data-root {re.escape(str(tmp_path))}$"):
        find_patch_files([], None, None, tmp_path)
    first = make_file(photos, tmp_path / "train_data" / "idn_train_x4.h5")
    assert find_patch_files([], None, None, tmp_path) == (first, 4, "pretrain")
    make_file(photos, tmp_path / "train_data" / "idn_fine_tuning_x4.h5")
    with pytest.raises(
        ValueError, match=r"several patch files.*--scale 4 --stage pretrain; --scale 4 --stage finetune"
    ):
        find_patch_files([], None, None, tmp_path)
    assert find_patch_files([], None, "pretrain", tmp_path) == (first, 4, "pretrain")
    assert find_patch_files([], 4, None, tmp_path) == (first, 4, "pretrain")


def test_scales_without_patch_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no patch file is of scale 5; train from pictures: --images DIR"):
        find_patch_files([], 5, None, tmp_path)


def test_shards_must_be_whole(photos: Path, tmp_path: Path) -> None:
    shards = make_file(photos, tmp_path / "train_data" / "idn_train_x4.h5", shards=3)
    assert find_patch_files([], 4, None, tmp_path) == (shards, 4, "pretrain")
    stray = shards[0].with_name("idn_train_x4.4-of-4.h5")
    stray.write_bytes(b"")
    shards[0].with_name("idn_train_x4.1-of-3 (copy).h5").write_bytes(b"")  # no shard by its name
    with pytest.raises(ValueError, match="belongs to another set of shards"):
        find_patch_files([], 4, None, tmp_path)
    stray.unlink()
    shards[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"2-of-3\.h5: no such shard; make it, or use --data"):
        find_patch_files([], 4, None, tmp_path)


def test_a_given_file_says_its_scale(photos: Path, tmp_path: Path) -> None:
    files = make_file(photos, tmp_path / "a.h5")
    assert find_patch_files(files, None, None, tmp_path) == (files, 4, "pretrain")
    assert find_patch_files(files, 4, "finetune", tmp_path) == (files, 4, "finetune")
    with pytest.raises(ValueError, match="holds patches of scale 4, not 2; leave out --scale"):
        find_patch_files(files, 2, None, tmp_path)


def test_the_digest_knows_the_order_of_the_patches(photos: Path, tmp_path: Path) -> None:
    """A run is not resumed with a file of the same images in another order."""
    digests = [read_patches(make_file(photos, tmp_path / f"{seed}.h5", seed=seed))[2] for seed in (0, 5)]
    assert digests[1] == digests[0] + "+5"


def test_the_digest_knows_the_offset_and_the_teachers(photos: Path, tmp_path: Path) -> None:
    def digest(name: str, offset: tuple[int, int] = (0, 0), **given: Any) -> str:
        made = plan_train(photos, tmp_path / name, Recipe(4, "pretrain", 5, offset), **given)
        return read_patches(make_train(made))[2]

    plain, teacher = digest("plain.h5"), Teacher(lambda lr: np.kron(lr, np.ones((4, 4))), ("a" * 64, "b" * 64))
    assert digest("offset.h5", (1, 2), seed=5) == plain + "+5@1,2"
    assert digest("taught.h5", teacher=teacher) == plain + "~" + "a" * 12 + "~" + "b" * 12


def test_files_of_two_borders_are_not_mixed(photos: Path, tmp_path: Path) -> None:
    newer, older, foreign = tmp_path / "newer.h5", tmp_path / "older.h5", tmp_path / "matlab.h5"
    make_train(plan_train(photos, newer, Recipe(4, "pretrain", 5)))
    make_train(plan_train(photos, older, Recipe(4, "pretrain", 5, boundary="replicate")))
    with h5py.File(foreign, "w") as file:
        file["lr"], file["gt"] = np.zeros((64, 1, 5, 5), np.float32), np.zeros((64, 1, 20, 20), np.float32)
    assert read_patches([older])[2] == read_patches([newer])[2] + "=replicate"
    assert [find_boundary(files) for files in ([newer], [foreign, older], [foreign])] == [
        "symmetric",
        "replicate",
        None,
    ]
    message = r"newer\.h5 was made with the border symmetric, .*older\.h5 with replicate; train on files of one border"
    with pytest.raises(PatchFileError, match=message):
        read_patches([newer, foreign, older])
