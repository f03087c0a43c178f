"""Patch files as a PyTorch dataset, for those with a trainer of their own."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from idn_data.patches.patchfile import PatchFile, PatchFileError
from idn_data.patches.shards import find_boundary

if TYPE_CHECKING:
    from collections.abc import Sequence

Pair = tuple[torch.Tensor, torch.Tensor]


class PatchDataset(Dataset[Pair]):
    """Pairs (LR, GT) of one or several patch files, ours or those of the MATLAB scripts.

    Each process opens the files by itself, when it first reads: `DataLoader` workers may be forked or spawned. A whole
    batch is read at once, in the order of the file.

    Parameters
    ----------
    paths : path, or sequence of path
        Files, or shards, of one scale and patch size; in their order.

    Notes
    -----
    An item is LR (1, p, p) and GT (1, s·p, s·p), float32, GT in [0, 1], LR with bicubic's small overshoot.

    Raises
    ------
    PatchFileError
        A file is missing or unsound, or they differ in scale, patch size or border.
    """

    def __init__(self, paths: Path | str | Sequence[Path | str]) -> None:
        self.paths = [Path(p) for p in ([paths] if isinstance(paths, (str, Path)) else paths)]
        if not self.paths:
            raise PatchFileError("no patch file was named; idn make-train makes one")
        find_boundary(self.paths)
        sides, counts = [], []
        for path in self.paths:
            with PatchFile(path) as file:
                sides.append((file.scale, file.lr_side))
                counts.append(file.count)
        if len(set(sides)) > 1:
            raise PatchFileError("the patch files differ in scale or patch size; use files of one recipe")
        self.scale, self.lr_side = sides[0]
        self._ends = list(itertools.accumulate(counts))
        self._files: dict[int, PatchFile] = {}

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Pair:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Pair]:
        """Several items at once, as `DataLoader` asks for them."""
        pairs: dict[int, Pair] = {}
        for index in sorted({range(len(self))[i] for i in indices}):  # range: the rules and errors of a list's indices
            number = bisect_right(self._ends, index)
            if number not in self._files:
                self._files[number] = PatchFile(self.paths[number])
            row = index - (self._ends[number - 1] if number else 0)
            lr, gt = self._files[number].read_sound(row, row + 1)
            pairs[index] = torch.from_numpy(np.ascontiguousarray(lr[0])), torch.from_numpy(np.ascontiguousarray(gt[0]))
        return [pairs[range(len(self))[i]] for i in indices]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # open files stay with their process
