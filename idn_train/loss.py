"""What a training makes small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from idn_train.config import Loss

SSIM_SHARE = 0.05  # of 1 - SSIM beside a mean of absolute differences: at the end of x4 half of their gradient
SSIM_WINDOW, SSIM_STRIDE = 6, 3  # pixels: side of the squares that are compared, and from one to the next
# Means of a patch, of 0…1: below them it counts in proportion, above them by its ratio. Chosen once, not tuned.
BEND = {"log-l2": 3e-4, "log-l1": 0.004, "log-l1+ssim": 0.006}


def compute_loss(sr: Tensor, gt: Tensor, kind: Loss) -> Tensor:
    """What a batch loses, patch by patch; mean over the batch, a scalar, float32.

    ========  =========================================================================================
    l2        ½Σ(gt - sr)²
    l1        Σ|gt - sr|
    l1+ssim   P·(mae + 0.05·(1 - SSIM)), P pixels, mae their mean absolute difference
    log-…     in dB: 10·log10(1 + mse/c), 20·log10(1 + mae/c), 20·log10(1 + (mae + 0.05·(1 - SSIM))/c)
    ========  =========================================================================================

    Parameters
    ----------
    sr, gt : (N, C, H, W) tensors, C = 1 or 3
        0…1; gt float32.
    kind : {"l2", "l1", "l1+ssim", "log-l2", "log-l1", "log-l1+ssim"}
        SSIM as in Zhao, Gallo, Frosio and Kautz, "Loss functions for image restoration with neural networks"
        (IEEE TCI 2017), with one scale and a smaller share, as PSNR is to stay the aim. In a sum the rough patches
        rule; scores are means of dB, where a smooth picture counts as much as a rough one: hence log-….

    Raises
    ------
    ValueError
        For patches too small for SSIM.
    """
    sr = sr.float()
    difference, pixels = sr - gt, gt[0].numel()
    each = difference.square() if kind.endswith("l2") else difference.abs()
    each = each.sum((1, 2, 3))  # (N,)
    if kind.endswith("+ssim"):
        if min(gt.shape[-2:]) < SSIM_WINDOW:
            have = f"{gt.shape[-2]}x{gt.shape[-1]}"
            raise ValueError(
                f"{kind} compares {SSIM_WINDOW}x{SSIM_WINDOW} pixels; got GT patches of {have}; "
                f"give --loss or --last-loss {kind[:-5]}"
            )
        each = each + SSIM_SHARE * pixels * (1 - compare_structure(sr, gt))
    if kind.startswith("log-"):
        each = torch.log10(1 + each / (pixels * BEND[kind])) * (10 if kind == "log-l2" else 20)
    return each.mean() * (0.5 if kind == "l2" else 1)


def compare_structure(sr: Tensor, gt: Tensor) -> Tensor:
    """SSIM of (N, C, H, W) both, 0…1, float32: the mean of each, (N,), over 6 x 6 pixels every 3 pixels.

    (2·mx·my + C1)·(2·cov + C2) / ((mx² + my² + C1)·(vx + vy + C2)), C1 = 0.01², C2 = 0.03² (Wang et al. 2004). The
    square is about as wide as the Gaussian of `idn_data.ssim` (σ = 1.5; a square of side w has σ² = (w² - 1)/12). A
    ninth of the windows has the same mean, and a stride of 3 meets every position of a GT pixel in its LR pixel at ×2
    and ×4.
    """
    maps = torch.cat([sr, gt, sr * gt, sr * sr + gt * gt], dim=1)  # (N, 4·C, H, W)
    mx, my, mxy, squares = functional.avg_pool2d(maps, SSIM_WINDOW, SSIM_STRIDE).chunk(
        4, dim=1
    )  # (N, C, (H - 6)//3 + 1, …) each
    product, power = mx * my, mx * mx + my * my
    top = (2 * product + 0.01**2) * (2 * (mxy - product) + 0.03**2)
    return (top / ((power + 0.01**2) * (squares - power + 0.03**2))).mean((1, 2, 3))
