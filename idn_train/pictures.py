"""Batches from whole pictures: made beside the steps by a thread, or on the GPU itself."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from idn_data.patches.windows import cut_windows, draw_windows
from idn_train.batches import ALL
from idn_train.cutter import Cutter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from idn_data.patches.pool import Pool

T = TypeVar("T")
AHEAD = 2  # batches that are made while a step runs


@dataclass(frozen=True, eq=False)
class Pictures:
    """Whole pictures to cut patches from, at random positions: a `Feed`.

    On the processor, or where an accelerator has no room for the pictures, one thread makes the batches ahead of the
    steps. Else the pictures lie on the accelerator, and the batches are made there.
    """

    pool: Pool
    device: torch.device
    cutter: Cutter | None  # None: the thread makes the batches

    @classmethod
    def place(cls, pool: Pool, device: torch.device) -> Pictures:
        """Bring a pool to a device, if it leaves half of its free memory there."""
        fits = device.type not in ("cpu", "cuda")
        if device.type == "cuda":
            fits = len(pool.pixels) <= torch.cuda.mem_get_info(device)[0] // 2
        return cls(pool, device, Cutter.make(pool, device) if fits else None)

    @property
    def scale(self) -> int:
        """Factor between LR and GT."""
        return self.pool.recipe.scale

    @property
    def digest(self) -> str:
        """What decides the patches, the seed aside."""
        return self.pool.digest

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of pictures that were not to be used."""
        return self.pool.left_out

    def __len__(self) -> int:
        return self.pool.patches

    def describe(self) -> str:
        """What is where, for people."""
        place = "a temporary file" if self.pool.mapped else "memory"
        if self.cutter:
            place = f"{self.device.type} memory"
        side = self.pool.recipe.gt_side
        return (
            f"{self.pool.describe()} in {place}, {len(self):,} patches an epoch at {self.pool.positions:,} positions "
            f"of {side}x{side}"
        )

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Some patches of seed 0."""
        draws = draw_windows(self.pool, 0, 0, 0, count)
        return self._cut(self.cutter, draws) if self.cutter else self._bring(self._make(draws))

    def batches(
        self, batch: int, seed: int, epoch: int, start: int = 0, own: slice = ALL
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch from number `start` on; each follows from seed, epoch and its number."""

        def draw(number: int) -> NDArray[np.int64]:
            return np.ascontiguousarray(draw_windows(self.pool, seed, epoch, number, batch)[own])

        numbers = range(start, len(self) // batch)
        if self.cutter:
            for number in numbers:
                yield self._cut(self.cutter, draw(number))
            return
        ready: tuple[Tensor, Tensor] | None = None
        for made in make_ahead(lambda number: self._make(draw(number)), numbers):
            brought = self._bring(made)
            if self.device.type == "cpu":
                yield brought
                continue
            if ready is not None:  # one batch ahead: its transfer runs while the last one computes
                yield ready
            ready = brought
        if ready is not None:
            yield ready

    def _cut(self, cutter: Cutter, draws: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """LR and GT of draws, made on the device."""
        numbers = torch.from_numpy(draws)
        if self.device.type == "cuda":  # from other memory the copy would wait for the steps before it
            numbers = numbers.pin_memory()
        return cutter.cut(numbers.to(self.device, non_blocking=True))

    def _make(self, draws: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """LR and GT of draws, made by the processor: float32 as its steps take them, or GT as bytes, to travel."""
        recipe = self.pool.recipe
        kind = torch.float32 if self.device.type == "cpu" else torch.uint8
        lr, gt = (
            torch.empty((len(draws), self.pool.channels, side, side), dtype=dtype)
            for side, dtype in ((recipe.lr_side, torch.float32), (recipe.gt_side, kind))
        )
        cut_windows(self.pool, draws, lr.numpy(), gt.numpy())
        return lr, gt

    def _bring(self, made: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """LR and GT on the device, GT as k/255. Not by the thread: while a step is captured, no other may call CUDA."""
        if self.device.type == "cpu":
            return made
        if self.device.type == "cuda":
            made = made[0].pin_memory(), made[1].pin_memory()
        lr, gt = (tensor.to(self.device, non_blocking=True) for tensor in made)
        return lr, gt.float().div_(255)


def make_ahead(make: Callable[[int], T], numbers: Sequence[int]) -> Iterator[T]:
    """What `make` makes of each number, in order, by one thread that is a few ahead.

    Its errors are raised here. When the iterator is closed, the thread finishes what it is at, and ends.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(1, "patches") as worker:
        try:
            for number in numbers:
                waiting.append(worker.submit(make, number))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
