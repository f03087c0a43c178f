"""Patches cut from whole pictures on the device itself: the tensors' way of `idn_data.patches.windows`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from idn_data.patches.windows import ORIENTATIONS, find_taps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.patches.pool import Pool


@dataclass(frozen=True, eq=False)
class Cutter:
    """The pixels of a pool on a device, and what turns draws into LR and GT there.

    A window is gathered pixel by pixel, what lies beyond the edge included. Both axes are then reduced by one product
    with the matrix of the taps, in float64 where the device has it.

    Parameters
    ----------
    scale, lead, channels : int
    replicate : bool
        Beyond the edge lies the edge pixel, not the mirror image.
    pixels : (n,) uint8
    matrix : (p, R) float64 or float32
        LR pixels of the R pixels of a window; `lead` of them lie before the patch.
    turn_lr, turn_gt : (8, p·p) and (8, (s·p)²) int64
        Where each pixel of a turned patch comes from, for each orientation.
    """

    scale: int
    lead: int
    channels: int
    replicate: bool
    pixels: Tensor
    matrix: Tensor
    turn_lr: Tensor
    turn_gt: Tensor

    @classmethod
    def make(cls, pool: Pool, device: torch.device) -> Cutter:
        """Bring a pool to a device."""
        scale, p = pool.recipe.scale, pool.recipe.lr_side
        taps = find_taps(scale)
        matrix = np.zeros((p, scale * (p - 1) + int(taps.offsets[-1]) + 1))
        for row in range(p):
            matrix[row, scale * row + taps.offsets] = taps.weights
        floats = torch.float32 if device.type == "mps" else torch.float64  # mps has no other
        return cls(
            scale, taps.lead, pool.channels, pool.recipe.boundary == "replicate",
            torch.from_numpy(pool.pixels).to(device), torch.from_numpy(matrix).to(device, floats),
            *(torch.from_numpy(list_turns(side)).to(device) for side in (p, pool.recipe.gt_side)),
        )  # fmt: skip

    def cut(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """LR (n, C, p, p) and GT (n, C, s·p, s·p), float32, of draws (n, 6) int64 on the device."""
        start, height, width, y, x, orientation = draws.T
        rows, columns = self._reach(height, y), self._reach(width, x)
        layers = torch.arange(self.channels, device=draws.device) * (height * width)[:, None]  # (n, C)
        lines = (start[:, None] + layers)[:, :, None] + (rows * width[:, None])[:, None]  # (n, C, R)
        window = self.pixels[lines[..., None] + columns[:, None, None]]  # (n, C, R, R)
        inside = slice(self.lead, self.lead + self.scale * len(self.matrix))
        lr = self.matrix @ (window.to(self.matrix.dtype) / 255) @ self.matrix.T
        gt = window[..., inside, inside]
        return _turn(lr.float(), self.turn_lr[orientation]), _turn(gt, self.turn_gt[orientation]).float().div_(255)

    def _reach(self, length: Tensor, place: Tensor) -> Tensor:
        """The pixels along an axis that patches at `place` need, (n, R): folded at the edges of their phase's crop."""
        phase = place % self.scale
        whole = ((length - phase) // self.scale * self.scale)[:, None]
        step = torch.arange(self.matrix.shape[1], device=place.device)
        index = (place - phase - self.lead)[:, None] + step
        if self.replicate:
            index = torch.minimum(index.clamp(min=0), whole - 1)
        else:
            index = index % (2 * whole)
            index = torch.minimum(index, 2 * whole - 1 - index)
        return index + phase[:, None]


def list_turns(side: int) -> NDArray[np.int64]:
    """Where each pixel of a turned square comes from, (8, side²)."""
    square = np.arange(side * side, dtype=np.int64).reshape(side, side)
    turned = [np.rot90(square, number // 2)[:: -1 if number % 2 else 1] for number in range(ORIENTATIONS)]
    return np.stack(turned).reshape(ORIENTATIONS, -1)


def _turn(patches: Tensor, sources: Tensor) -> Tensor:
    """Patches (n, C, k, k) with each pixel taken from where `sources` (n, k²) says."""
    flat = patches.flatten(2)
    return flat.gather(2, sources[:, None].expand(flat.shape)).view(patches.shape)
