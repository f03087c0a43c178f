"""RLFN of F. Kong et al., "Residual local feature network for efficient super-resolution" (CVPR Workshops 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, BLOCKS, ATTENTION = 52, 6, 16  # channels, blocks, channels of the attention
SLOPE = 0.05  # of the leaky ReLU


class SpatialAttention(nn.Module):
    """ESA of J. Liu et al. (RFANet, CVPR 2020), as RLFN has it: one convolution between pooling and enlarging.

    Pixels are weighed by what a reduced map says about their wide surroundings: (N, c, h, w) in and out. Here both
    reductions pad, so that pictures of any size can be used. The paper does not say what it does at the border.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(width, inner, 1)
        self.side = nn.Conv2d(inner, inner, 1)
        self.reduce = nn.Conv2d(inner, inner, 3, stride=2, padding=1)
        self.around = nn.Conv2d(inner, inner, 3, padding=1)
        self.expand = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.squeeze(x)
        pooled = functional.max_pool2d(self.reduce(narrow), 7, stride=3, padding=3)  # about a sixth of each side
        wide = functional.interpolate(self.around(pooled), size=x.shape[2:], mode="bilinear", align_corners=False)
        return x * torch.sigmoid(self.expand(wide + self.side(narrow)))


class Block(nn.Module):
    """RLFB: three convolutions with leaky ReLU, the input added to them, a 1×1 convolution, attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(3):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
        self.local = nn.Sequential(*layers)
        self.fuse = nn.Conv2d(width, width, 1)
        self.attend = SpatialAttention(width, ATTENTION)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.attend(self.fuse(x + self.local(x)))
        return out


class RLFN(nn.Module):
    """6 blocks of 52 channels: (N, c, h, w) to (N, c, s·h, s·w).

    543,740 parameters at ×4 for RGB, 526,856 at ×2, which the paper rounds to 543 and 527 thousand. It follows the
    paper's figures 2 and 4. Not of the paper: the padding of `SpatialAttention`, and PyTorch's first weights. The
    paper trains by stages and with a contrastive loss; `idn train` trains by its own recipes.
    """

    def __init__(self, scale: int, channels: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, WIDTH, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(WIDTH) for _ in range(BLOCKS)))
        self.smooth = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.last = nn.Conv2d(WIDTH, channels * scale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.first(lr)
        sr: Tensor = self.shuffle(self.last(x + self.smooth(self.blocks(x))))
        return sr
