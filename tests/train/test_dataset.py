"""PatchDataset: the patches of the files, through DataLoader with workers."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from idn_data import PatchDataset, PatchFile
from idn_data.patches.patchfile import PatchFileError
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import plan_train
from idn_data.patches.trainset import make_train


@pytest.fixture
def shards(photos: Path, tmp_path: Path) -> list[Path]:
    return make_train(plan_train(photos, tmp_path / "a.h5", Recipe(4, "pretrain", 7), shards=3))


def read_all(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    parts = []
    for path in paths:
        with PatchFile(path) as file:
            parts.append(file.read(0, file.count))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def test_items_are_the_rows_of_the_files(shards: list[Path]) -> None:
    lr, gt = read_all(shards)
    dataset = PatchDataset(shards)
    assert (len(dataset), dataset.scale, dataset.lr_side) == (len(lr), 4, 7)
    with PatchFile(shards[0]) as file:
        first = file.count
    for index in (0, first - 1, first, len(lr) - 1, -1):
        a, b = dataset[index]
        assert a.shape == (1, 7, 7) and b.shape == (1, 28, 28) and a.dtype == b.dtype == torch.float32
        assert np.array_equal(a.numpy(), lr[index]) and np.array_equal(b.numpy(), gt[index])
    with pytest.raises(IndexError):
        dataset[len(lr)]
    single = PatchDataset(str(shards[1]))
    assert np.array_equal(single[0][1].numpy(), gt[first])


@pytest.mark.parametrize("workers", [0, 1])
def test_through_a_loader(shards: list[Path], workers: int) -> None:
    lr, gt = read_all(shards)
    dataset = PatchDataset(shards)
    assert len(dataset[3]) == 2  # a file is open before the worker starts: it must not share it
    context = "spawn" if workers else None
    loader = DataLoader(dataset, batch_size=50, shuffle=False, num_workers=workers, multiprocessing_context=context)
    batches = list(loader)
    assert np.array_equal(torch.cat([b[0] for b in batches]).numpy(), lr)
    assert np.array_equal(torch.cat([b[1] for b in batches]).numpy(), gt)


def test_in_any_order_with_repetitions(shards: list[Path]) -> None:
    lr, _ = read_all(shards)
    order = [5, 90, 5, 0]
    taken = PatchDataset(shards).__getitems__(order)
    assert all(np.array_equal(pair[0].numpy(), lr[i]) for pair, i in zip(taken, order, strict=True))


def test_it_can_be_pickled_while_open(shards: list[Path]) -> None:
    dataset = PatchDataset(shards)
    before = dataset[7][0]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[7][0], before)


def test_what_is_refused(shards: list[Path], photos: Path, tmp_path: Path) -> None:
    with pytest.raises(PatchFileError, match="no patch file was named; idn make-train makes one"):
        PatchDataset([])
    with pytest.raises(PatchFileError, match="no such file"):
        PatchDataset(tmp_path / "none.h5")
    other = make_train(plan_train(photos, tmp_path / "b.h5", Recipe(4, "pretrain", 9)))
    with pytest.raises(PatchFileError, match="differ in scale or patch size; use files of one recipe"):
        PatchDataset([*shards, *other])


def test_damaged_rows_are_no_patches(shards: list[Path]) -> None:
    with h5py.File(shards[0], "r+") as file:
        file["gt"][5, 0, 3, 3] = np.nan
        file["lr"][7, 0, 0, 0] = 77
    dataset = PatchDataset(shards)
    assert dataset[6][0].isfinite().all()
    for row, name in ((5, "gt"), (7, "lr")):
        with pytest.raises(PatchFileError, match=rf"damaged in /{name} row\(s\) {row}"):
            dataset[row]


def test_files_of_two_borders_are_not_mixed(shards: list[Path], photos: Path, tmp_path: Path) -> None:
    recipe = Recipe(4, "pretrain", 7, boundary="replicate")
    older = make_train(plan_train(photos, tmp_path / "older.h5", recipe))
    with pytest.raises(PatchFileError, match=r"border symmetric, .*older\.h5 with replicate; train on files of one"):
        PatchDataset([*shards, *older])
