"""What a training makes small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from idn_train.config import Loss

SSIM_SHARE = 0.05  # of 1 - SSIM beside a mean of absolute differences: at the end of x4 half of their gradient
SIDE, STRIDE = 6, 3  # of the squares of pixels that are compared


def compute_loss(sr: Tensor, gt: Tensor, kind: Loss) -> Tensor:
    """½Σ(gt - sr)², Σ|gt - sr|, or Σ|gt - sr| + 0.05·P·(1 - SSIM) over the P pixels of a patch; mean over the batch.

    Parameters
    ----------
    sr, gt : (N, 1, H, W) tensors
        0…1; gt float32.
    kind : {"l2", "l1", "l1+ssim"}
        The last follows Zhao, Gallo, Frosio and Kautz, "Loss functions for image restoration with neural networks"
        (IEEE TCI 2017), with one scale and a smaller share of SSIM, as PSNR is to stay the aim.

    Raises
    ------
    ValueError
        For patches too small for "l1+ssim".
    """
    sr = sr.float()
    difference = sr - gt
    total = 0.5 * difference.square().sum() if kind == "l2" else difference.abs().sum()
    if kind == "l1+ssim":
        if min(gt.shape[-2:]) < SIDE:
            have = f"{gt.shape[-2]}x{gt.shape[-1]}"
            raise ValueError(f"l1+ssim compares {SIDE}x{SIDE} pixels; got GT patches of {have}; give --loss l1")
        total = total + SSIM_SHARE * gt.numel() * (1 - compare_structure(sr, gt))
    return total / len(gt)


def compare_structure(sr: Tensor, gt: Tensor) -> Tensor:
    """Mean SSIM of (N, 1, H, W) both, 0…1, float32, over squares of 6 x 6 pixels, one every 3 pixels.

    (2·mx·my + C1)·(2·cov + C2) / ((mx² + my² + C1)·(vx + vy + C2)), C1 = 0.01², C2 = 0.03² (Wang et al. 2004). The
    square is about as wide as the Gaussian of `idn_data.ssim` (σ = 1.5; a square of side w has σ² = (w² - 1)/12). A
    ninth of the windows has the same mean, and a stride of 3 meets every position of a GT pixel in its LR pixel at ×2
    and ×4.
    """
    maps = torch.cat([sr, gt, sr * gt, sr * sr + gt * gt], dim=1)  # (N, 4, H, W)
    mx, my, mxy, squares = functional.avg_pool2d(maps, SIDE, STRIDE).unbind(1)  # (N, (H - 6)//3 + 1, …) each
    product, power = mx * my, mx * mx + my * my
    top = (2 * product + 0.01**2) * (2 * (mxy - product) + 0.03**2)
    return (top / ((power + 0.01**2) * (squares - power + 0.03**2))).mean()
