"""Where batches come from: what a training asks of it, and patches of a file on the device, shuffled each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from idn_data.patches.shards import read_patches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from idn_data.workers import Progress


ALL = slice(None)


class Feed(Protocol):
    """Where the batches of a training come from: patches of a file (`Patches`), or whole pictures."""

    @property
    def scale(self) -> int:
        """Factor between LR and GT."""

    @property
    def device(self) -> torch.device:
        """Where the batches lie."""

    @property
    def digest(self) -> str:
        """What decides the patches: a run is resumed with the same only."""

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of pictures that it could have used, and did not: the weights say them."""

    def __len__(self) -> int:
        """Patches of an epoch."""

    def describe(self) -> str:
        """How many, and what lies where, for people."""

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """LR (n, C, p, p) and GT (n, C, s·p, s·p) of a few patches, to try a step on."""

    def batches(
        self, batch: int, seed: int, epoch: int, start: int = 0, own: slice = ALL
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """LR and GT, float32 on the device, of the batches of an epoch from number `start` on.

        They depend on `batch`, seed and epoch alone. Of each, the part `own` is given: this process's.
        """


@dataclass(frozen=True)
class Patches:
    """All patches of a training, in order of the files.

    lr : (N, 1, p, p) float32; gt : (N, 1, s·p, s·p) uint8 (k for k/255) or float32. On one device, the processor's or
    the accelerator's; or in pinned memory beside it, where they do not fit (`stream`).
    """

    lr: Tensor
    gt: Tensor
    scale: int
    digest: str
    device: torch.device
    stream: bool

    def __len__(self) -> int:
        return len(self.lr)

    @property
    def left_out(self) -> tuple[str, ...]:
        """None: what a file leaves out, it says itself."""
        return ()

    @property
    def bytes(self) -> int:
        """Bytes of both tensors."""
        return sum(t.numel() * t.element_size() for t in (self.lr, self.gt))

    def describe(self) -> str:
        """Count, bytes and place, for people."""
        kind = "uint8" if self.gt.dtype == torch.uint8 else "float32"
        place = "pinned" if self.stream else self.device.type
        return f"{len(self):,} patches, {self.bytes / 1e9:.2f} GB (GT {kind}) in {place} memory"

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """The first patches."""
        return self.take(torch.arange(min(count, len(self)), device=self.lr.device))

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """LR (n, 1, p, p) and GT (n, 1, s·p, s·p) of some rows, float32 on the device, GT as k/255."""
        lr, gt = self.lr[rows], self.gt[rows]
        if self.stream:
            lr, gt = (t.pin_memory().to(self.device, non_blocking=True) for t in (lr, gt))
        return lr, gt.float().div_(255) if gt.dtype == torch.uint8 else gt

    def batches(
        self, batch: int, seed: int, epoch: int, start: int = 0, own: slice = ALL
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch from batch number `start` on; what does not fill a batch is left for other epochs.

        The order depends on seed and epoch alone, so that a resumed run goes on with the very patches.
        """
        generator = torch.Generator(self.lr.device).manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(len(self), generator=generator, device=self.lr.device)
        pending = None
        for k in range(start, len(self) // batch):
            taken = self.take(order[k * batch : (k + 1) * batch][own])
            if not self.stream:
                yield taken
                continue
            if pending is not None:  # one batch ahead: its transfer runs while the last one computes
                yield pending
            pending = taken
        if pending is not None:
            yield pending


def load_patches(
    paths: Sequence[Path | str],
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> Patches:
    """Read patch files, ours or those of the MATLAB scripts, several shards as one, onto a device.

    Parameters
    ----------
    paths : sequence of path
        Files of one scale and patch size.
    device : device
        Where they are to live. An accelerator takes them while they leave half of its memory free; else they stay in
        the processor's memory and travel batch by batch.
    progress : callable(what, done, total), optional

    Raises
    ------
    PatchFileError
        A file is missing or unsound, or files of different sizes are mixed.
    """
    arrays, scale, digest = read_patches(paths, progress)
    return place_patches(arrays, scale, digest, torch.device(device))


def place_patches(
    arrays: tuple[NDArray[np.float32], NDArray[np.uint8]], scale: int, digest: str, device: torch.device
) -> Patches:
    """Bring LR (N, 1, p, p) and GT (N, 1, s·p, s·p) to a device as `load_patches` does; the CPU's are not copied."""
    lr, gt = map(torch.from_numpy, arrays)
    stream = False
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        stream = lr.numel() * 4 + gt.numel() > free // 2
    if device.type != "cpu" and not stream:
        lr, gt = lr.to(device), gt.to(device)
    return Patches(lr, gt, scale, digest, device, stream)
