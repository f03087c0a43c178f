"""ESPCN of W. Shi et al., "Real-time single image and video super-resolution …" (CVPR 2016)."""

from torch import nn


class ESPCN(nn.Sequential):
    """Three convolutions on LR; the last makes s² pixels of each LR pixel: (N, c, h, w) to (N, c, s·h, s·w)."""

    def __init__(self, scale: int, channels: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, 64, 5, padding=2),
            nn.Tanh(),
            nn.Conv2d(64, 32, 3, padding=1),
            nn.Tanh(),
            nn.Conv2d(32, channels * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )
