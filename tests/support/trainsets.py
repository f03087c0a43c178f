"""Small training sets, and what may happen to their files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import TrainSet, plan_train
from idn_data.patches.trainset import make_train

SMALL = Recipe(3, "pretrain", lr_patch=5)  # GT 15x15: thousands of patches from small images


def make(
    folder: Path, out: Path, recipe: Recipe = SMALL, *, workers: int = 2, force: bool = False, **options: object
) -> TrainSet:
    made = plan_train(folder, out, recipe, workers=workers, **options)  # type: ignore[arg-type]
    make_train(made, force=force, workers=workers)
    return made


def list_tree(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*"))


def flip_bit(path: Path, name: str, row: int, bit: int = 0) -> None:
    """Turn over one bit of the first value of a patch."""
    with h5py.File(path, "r+") as file:
        patch = file[name][row]
        bits = patch.view(np.uint8 if patch.dtype == np.uint8 else np.uint32)
        bits[0, 0, 0] ^= 1 << bit
        file[name][row] = patch
