"""IDN, the information distillation network of Hui, Wang and Gao (CVPR 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone uses)
from torch import Tensor, nn

from idn_data.matlab.weights import compute_weights
from idn_data.patches.recipe import SCALES

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 64  # channels between the blocks
SIDE = 16  # channels that pass by the second half of a block
SLOPE = 0.05
WINDOW = 5  # LR pixels along one axis whose bicubic weights reach the SR pixels of the middle one


def _conv(inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> tuple[nn.Module, nn.Module]:
    kind = nn.Conv2d if groups == 1 else _GroupedConv2d
    return kind(inputs, outputs, kernel, padding=kernel // 2, groups=groups), nn.LeakyReLU(SLOPE, inplace=True)


class _GroupedConv2d(nn.Conv2d):
    """`nn.Conv2d` of several groups; where a GPU trains, as one of a single group, whose step takes a quarter less."""

    def forward(self, x: Tensor) -> Tensor:
        if not (x.is_cuda and torch.is_grad_enabled()):
            return super().forward(x)
        kernel = _spread_groups(self.weight, self.groups).contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, kernel, self.bias, padding=self.padding)  # type: ignore[arg-type]


def _spread_groups(weight: Tensor, groups: int) -> Tensor:
    """Weights of a grouped convolution as those of a plain one: (outputs, inputs / groups, k, k) to (…, inputs, …)."""
    own = torch.eye(groups, dtype=weight.dtype, device=weight.device)[:, None, :, None, None, None]  # zero elsewhere
    return (weight.unflatten(0, (groups, -1)).unsqueeze(2) * own).flatten(2, 3).flatten(0, 1)


class DistillationBlock(nn.Module):
    """Two enhancement units of three convolutions and a compression unit; (N, 64, h, w) in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.enhance1 = nn.Sequential(*_conv(WIDTH, 48), *_conv(48, 32, groups=4), *_conv(32, WIDTH))
        self.enhance2 = nn.Sequential(*_conv(48, 64), *_conv(64, 48, groups=4), *_conv(48, WIDTH + SIDE))
        self.compress = nn.Sequential(*_conv(WIDTH + SIDE, WIDTH, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        side, onward = self.enhance1(x).split((SIDE, WIDTH - SIDE), dim=1)  # (N, 16, h, w), (N, 48, h, w)
        y = self.enhance2(onward)  # (N, 80, h, w)
        if torch.is_grad_enabled():
            y = torch.cat((x, side), dim=1).add_(y)
        else:  # the same sum in place: no further 80 channels, and 4 % faster
            y[:, :WIDTH] += x
            y[:, WIDTH:] += side
        out: Tensor = self.compress(y)  # (N, 64, h, w)
        return out


class IDN(nn.Module):
    """A residual by the network, added to MATLAB's bicubic of the input.

    Parameters
    ----------
    scale : {2, 3, 4}

    Notes
    -----
    552,769 parameters at every scale; weights are He's, see `reset_parameters`. Input: LR (N, 1, h, w), floating
    point in [0, 1], any h and w. Output: SR (N, 1, s·h, s·w), not clipped; float32 under bf16 autocast as well.
    """

    bicubic_weights: Tensor

    def __init__(self, scale: int) -> None:
        if scale not in SCALES or not isinstance(scale, int):
            raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}; got {scale!r}")
        super().__init__()
        self.scale = scale
        self.features = nn.Sequential(*_conv(1, WIDTH), *_conv(WIDTH, WIDTH))
        self.blocks = nn.Sequential(*(DistillationBlock() for _ in range(4)))
        # Holds the parameters only: `reconstruct` computes the same function several times as fast.
        self.upsample = nn.ConvTranspose2d(WIDTH, 1, 17, stride=scale, padding=9 - scale)
        self.register_buffer("bicubic_weights", _bicubic_weights(scale), persistent=False)
        self.reset_parameters()
        # The faster layout on CPU and GPU; the input need not have it. Not for `upsample`: its gradient comes in rows,
        # and processes that train together would turn it at each step, which torch warns of.
        for part in (self.features, self.blocks):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def from_pretrained(cls, source: int | Path | str) -> IDN:
        """Build a network with the weights that come along for a scale (2, 3, 4), or those of a file (.safetensors)."""
        from idn_train.checkpoint import load_weights
        from idn_train.weightfile import find_weights

        return load_weights(find_weights("idn", source) if isinstance(source, int) else source)[0]

    @torch.no_grad()
    def reset_parameters(
        self, generator: torch.Generator | None = None, reconstruction_std: float | None = None
    ) -> None:
        """Draw weights by He's rule for leaky ReLU (fan in), biases zero.

        `reconstruction_std` draws the transposed convolution with that standard deviation instead: 0.001 starts
        close to the bicubic image and trains faster. He's rule, as Caffe, TensorFlow and PyTorch read it there,
        counts the 17·17 weights of one channel and gives 0.083.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, a=SLOPE, generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        if reconstruction_std is not None:
            nn.init.normal_(self.upsample.weight, std=reconstruction_std, generator=generator)

    def forward(self, lr: Tensor) -> Tensor:
        if lr.ndim != 4 or lr.shape[1] != 1 or lr.numel() == 0:
            raise ValueError(f"IDN takes LR images as (N, 1, h, w), one channel, not empty; got {tuple(lr.shape)}")
        base = self.upscale_bicubic(lr)  # (N, 1, s·h, s·w)
        return base + self.reconstruct(self.blocks(self.features(lr)))

    def reconstruct(self, features: Tensor) -> Tensor:
        """The transposed convolution, cropped: (N, 64, h, w) to (N, 1, s·h, s·w), as a convolution and `pixel_shuffle`.

        Along one axis, SR pixel ``s·y + a`` gets weight ``k = a + 9 - s - s·d`` from LR pixel ``y + d``; k outside of
        0…16 is zero weight. The convolution makes the pixels a = 0…m·s-1 of m LR pixels at once, with stride m.
        """
        s = self.scale
        m = 2 if s == 2 else 1  # 16 channels for the processor's vectors, not 4: 3 times as fast
        r = -(-8 // s)  # d from -r to r + m - 1
        kernel = F.pad(self.upsample.weight, (s * (r + m) - 9, s * (r + m - 1) - 8) * 2)  # every k in a row
        kernel = _cut_windows(_cut_windows(kernel, 3, s, m), 2, s, m)  # (64, 1, n, m·s, n, m·s), n = 2r + m
        kernel = kernel.flip(2, 4)  # k falls as d rises
        kernel = kernel.permute(3, 5, 1, 0, 2, 4).flatten(0, 2)  # ((m·s)², 64, n, n)
        bias = self.upsample.bias.expand(len(kernel))  # type: ignore[union-attr]
        h, w = features.shape[2:]
        if h % m or w % m:
            features = F.pad(features, (0, w % m, 0, h % m))
        sr = F.conv2d(features, kernel, bias, stride=m, padding=r)  # (N, (m·s)², ⌈h/m⌉, ⌈w/m⌉)
        return F.pixel_shuffle(sr, m * s)[:, :, : s * h, : s * w]

    def upscale_bicubic(self, lr: Tensor) -> Tensor:
        """MATLAB's ``imresize(lr, s)``, exact but for float32's rounding: (N, 1, h, w) to (N, 1, s·h, s·w).

        Upscaling by a whole number repeats the same weights at every LR pixel. So one (25, s²) matrix on 5×5 windows
        does what two matrices B_h·x·B_wᵀ do, and memory grows with the image, not with the square of its sides.
        """
        rows, columns = (_mirror(length, lr.device) for length in lr.shape[-2:])
        padded = lr[:, 0, rows[:, None], columns]  # (N, h + 4, w + 4)
        windows = padded.unfold(1, WINDOW, 1).unfold(2, WINDOW, 1).flatten(3)  # (N, h, w, 25)
        with torch.autocast(lr.device.type, enabled=False):  # bf16 has 8 bits, too few for pixels
            sr = windows @ self.bicubic_weights.to(lr.dtype)  # (N, h, w, s²)
        return F.pixel_shuffle(sr.permute(0, 3, 1, 2), self.scale)


def _cut_windows(x: Tensor, axis: int, s: int, m: int) -> Tensor:
    """Windows of m·s along an axis, s apart; `unfold` compiled for a processor writes past its memory (torch 2.13)."""
    blocks = x.unflatten(axis, (-1, s))
    n = blocks.shape[axis] - m + 1
    return torch.cat([blocks.narrow(axis, k, n) for k in range(m)], dim=axis + 1)


def _bicubic_weights(scale: int) -> Tensor:
    """Weights of the 25 pixels of a 5×5 window for the s² SR pixels of its middle one, (25, s²) float32."""
    weights, indices = compute_weights(WINDOW, WINDOW * scale, scale)
    middle = slice(WINDOW // 2 * scale, (WINDOW // 2 + 1) * scale)
    axis = np.zeros((WINDOW, scale))
    np.add.at(axis, (indices[middle], np.arange(scale)[:, None]), weights[middle])  # add: an index may come twice
    return torch.from_numpy(np.kron(axis, axis)).float()  # the network's own precision


def _mirror(length: int, device: torch.device) -> Tensor:
    """Indices of an axis padded by 2, reflected with the edge pixel repeated as MATLAB does."""
    index = torch.arange(-(WINDOW // 2), length + WINDOW // 2, device=device) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)  # (length + 4,)
