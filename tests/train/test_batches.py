"""Patches on the device: what is read, and in which order it comes."""

from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from support.patchsamples import drop_checksums

from idn_data.patches.patchfile import PatchFile, PatchFileError
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import plan_train
from idn_data.patches.trainset import make_train
from idn_train.batches import load_patches


def make_file(photos: Path, out: Path, **how: object) -> list[Path]:
    return make_train(plan_train(photos, out, Recipe(4, "pretrain"), **how))  # type: ignore[arg-type]


def test_both_storages_give_the_same_patches(photos: Path, tmp_path: Path) -> None:
    single = load_patches(make_file(photos, tmp_path / "a.h5"))
    bytes_ = load_patches(make_file(photos, tmp_path / "b.h5", storage="uint8"))
    assert single.gt.dtype == bytes_.gt.dtype == torch.uint8
    assert torch.equal(single.lr, bytes_.lr)
    assert torch.equal(single.gt, bytes_.gt)
    with PatchFile(tmp_path / "a.h5") as file:
        lr, gt = single.take(torch.tensor([5, 0]))
        assert np.array_equal(gt[0], file.read(5, 6)[1][0])
        assert np.array_equal(lr[1], file.read(0, 1)[0][0])


def test_shards_follow_each_other(photos: Path, tmp_path: Path) -> None:
    paths = make_file(photos, tmp_path / "a.h5", shards=2)
    parts = [load_patches([p]) for p in paths]
    whole = load_patches(paths)
    assert len(whole) == sum(map(len, parts))
    assert torch.equal(whole.lr, torch.cat([p.lr for p in parts]))


def test_files_of_matlab_are_turned_upright(photos: Path, tmp_path: Path) -> None:
    (path,) = make_file(photos, tmp_path / "a.h5")
    with h5py.File(path) as ours, h5py.File(tmp_path / "matlab.h5", "w") as theirs:
        for name in ("lr", "gt"):
            data = ours[name][:].swapaxes(2, 3)
            theirs.create_dataset(name, data=data, chunks=(64, *data.shape[1:]), maxshape=(None, *data.shape[1:]))
    ours_read, theirs_read = load_patches([path]), load_patches([tmp_path / "matlab.h5"])
    assert torch.equal(ours_read.lr, theirs_read.lr)
    assert torch.equal(ours_read.gt, theirs_read.gt)


def test_order_depends_on_seed_and_epoch_alone(photos: Path, tmp_path: Path) -> None:
    patches = load_patches(make_file(photos, tmp_path / "a.h5"))

    def order(seed: int, epoch: int, start: int = 0) -> list[float]:
        return [float(lr.sum()) for lr, _ in patches.batches(16, seed, epoch, start)]

    first = order(0, 0)
    assert len(first) == len(patches) // 16
    assert order(0, 0) == first
    assert order(0, 0, start=3) == first[3:]
    assert order(0, 1) != first
    assert order(1, 0) != first
    seen = torch.cat([lr for lr, _ in patches.batches(16, 0, 0)]).flatten(1).sum(1).sort().values
    assert torch.allclose(seen, patches.lr.flatten(1).sum(1).sort().values[: len(seen)], atol=1) or len(seen) < len(
        patches
    )


@pytest.mark.parametrize(("name", "value"), [("gt", 0.5001), ("gt", math.nan), ("gt", 1.5), ("lr", math.nan),
                                             ("lr", 9.0), ("lr", -math.inf)])  # fmt: skip
def test_values_out_of_range_are_refused(photos: Path, tmp_path: Path, name: str, value: float) -> None:
    (path,) = make_file(photos, tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file[name][7, 0, 3, 3] = value
    with pytest.raises(PatchFileError, match=rf"a\.h5: damaged in /{name} row\(s\) 7; copy or make the file again"):
        load_patches([path])
    drop_checksums(path)
    with pytest.raises(PatchFileError, match=rf"/{name} row\(s\) 7: GT must be k/255, LR near \[0, 1\]; make the file"):
        load_patches([path])


def test_a_flipped_bit_is_refused(photos: Path, tmp_path: Path) -> None:
    """Another value that is just as good for an LR or a GT: only the checksum tells."""
    (path,) = make_file(photos, tmp_path / "a.h5", storage="uint8")
    with h5py.File(path, "r+") as file:
        for row in (3, 70, 71):
            file["gt"][row, 0, 3, 3] ^= 1
    with pytest.raises(PatchFileError, match=r"damaged in /gt row\(s\) 3, 70…71; copy or make the file again"):
        load_patches([path])
    drop_checksums(path)
    assert len(load_patches([path])) > 71


def test_files_of_two_recipes_do_not_mix(photos: Path, tmp_path: Path) -> None:
    (first,) = make_file(photos, tmp_path / "a.h5")
    (second,) = make_train(plan_train(photos, tmp_path / "b.h5", Recipe(4, "pretrain", 9)))
    with pytest.raises(PatchFileError, match="differ in scale or patch size"):
        load_patches([first, second])
    with pytest.raises(PatchFileError, match="no patch file was named"):
        load_patches([])
