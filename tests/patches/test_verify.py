"""Patch files against the images they were made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from PIL import Image
from support.patchsamples import drop_checksums
from support.trainsets import flip_bit, make

from idn_data.patches.patchfile import PatchFile
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import Teacher, plan_train
from idn_data.patches.trainset import make_train
from idn_data.patches.verify import verify_patches

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

both_storages = pytest.mark.parametrize("storage", ["float32", "uint8"])


def test_a_teachers_file_is_not_compared_with_the_images(photos: Path, tmp_path: Path) -> None:
    teacher = Teacher(lambda lr: np.kron(lr, np.ones((3, 3))), ("0" * 64,))
    make_train(plan_train(photos, tmp_path / "out.h5", Recipe(3, "pretrain", 5), teacher=teacher))
    with (
        PatchFile(tmp_path / "out.h5") as file,
        pytest.raises(ValueError, match="a teacher's, not the images'; --verify takes"),
    ):
        verify_patches(file, photos)


@both_storages
def test_verify_finds_every_flipped_bit(photos: Path, tmp_path: Path, storage: str) -> None:
    out = tmp_path / "out.h5"
    count = make(photos, out, storage=storage, seed=3).estimate().patches

    def differ() -> int:
        with PatchFile(out) as file:
            return verify_patches(file, photos, workers=2)

    assert differ() == 0
    flip_bit(out, "gt", 0)
    assert differ() == 1
    flip_bit(out, "lr", 0)  # the same patch
    assert differ() == 1
    flip_bit(out, "lr", count - 1)
    flip_bit(out, "gt", count // 2, bit=6)
    assert differ() == 3
    for name, row, bit in (("gt", 0, 0), ("lr", 0, 0), ("lr", count - 1, 0), ("gt", count // 2, 6)):
        flip_bit(out, name, row, bit)
    assert differ() == 0


@pytest.mark.parametrize("name", ["lr", "gt"])
def test_verify_finds_the_flipped_sign_of_a_zero(tmp_path: Path, name: str) -> None:
    folder, out = tmp_path / "images", tmp_path / "out.h5"
    folder.mkdir()
    Image.new("L", (90, 90)).save(folder / "black.png")
    make(folder, out)
    flip_bit(out, name, 5, bit=31)
    with PatchFile(out) as file:
        assert verify_patches(file, folder) == 1  # "bit for bit": -0.0 is not 0.0


@pytest.mark.parametrize("name", ["lr", "gt"])
def test_verify_finds_a_nan(photos: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out.h5"
    make(photos, out)
    with h5py.File(out, "r+") as file:
        file[name][9, 0, 2, 3] = np.nan
    with PatchFile(out) as patches:
        assert verify_patches(patches, photos) == 1


def test_verify_passes_over_other_images(photos: Path, tmp_path: Path) -> None:
    make(photos, tmp_path / "out.h5")
    Image.new("L", (90, 90)).save(photos / "another.png")
    with PatchFile(tmp_path / "out.h5") as file:
        assert verify_patches(file, photos) == 0


def drop(folder: Path) -> None:
    (folder / "meadow.jpg").unlink()


def repaint(folder: Path) -> None:
    with Image.open(folder / "stone.bmp") as picture:
        pixels = np.array(picture)
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(folder / "stone.bmp")


@pytest.mark.parametrize(("change", "name"), [(drop, "meadow.jpg"), (repaint, "stone.bmp")])
def test_verify_refuses_other_images(photos: Path, tmp_path: Path, change: Callable[[Path], None], name: str) -> None:
    make(photos, tmp_path / "out.h5")
    change(photos)
    message = f"not the images of this file; 1 of 5 are missing or changed, {name} first"
    with PatchFile(tmp_path / "out.h5") as file, pytest.raises(ValueError, match=message):
        verify_patches(file, photos)


def test_verify_refuses_a_file_that_does_not_say_how(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "matlab.h5"
    with h5py.File(path, "w") as file:
        file["lr"], file["gt"] = np.zeros((64, 1, 5, 5), np.float32), np.zeros((64, 1, 15, 15), np.float32)
    with PatchFile(path) as patches, pytest.raises(ValueError, match="not made by idn, so it does not say how"):
        verify_patches(patches, photos)


@pytest.mark.parametrize("name", ["scale", "stage", "lr_patch", "seed", "shard", "source_digest"])
def test_verify_names_the_missing_attribute(photos: Path, tmp_path: Path, name: str) -> None:
    make(photos, tmp_path / "out.h5")
    drop_checksums(tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        del file.attrs[name]
    with (
        PatchFile(tmp_path / "out.h5") as patches,
        pytest.raises(ValueError, match=f"the attribute '{name}' is missing; make the file again"),
    ):
        verify_patches(patches, photos)


def test_verify_refuses_another_count(photos: Path, tmp_path: Path) -> None:
    make(photos, tmp_path / "out.h5")
    drop_checksums(tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        lr, gt = file["lr"][:-64], file["gt"][:-64]
        del file["lr"], file["gt"]
        file["lr"], file["gt"] = lr, gt
    with (
        PatchFile(tmp_path / "out.h5") as patches,
        pytest.raises(ValueError, match=r"holds \d+ patches where these images yield \d+"),
    ):
        verify_patches(patches, photos)


def test_verify_refuses_an_offset_that_is_none(photos: Path, tmp_path: Path) -> None:
    make_train(plan_train(photos, tmp_path / "out.h5", Recipe(3, "pretrain", 5, (1, 2))))
    drop_checksums(tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5", "r+") as file:
        file.attrs["offset"] = "far"
    with (
        PatchFile(tmp_path / "out.h5") as file,
        pytest.raises(ValueError, match="the attribute 'offset' is 'far'; make the file again"),
    ):
        verify_patches(file, photos)
