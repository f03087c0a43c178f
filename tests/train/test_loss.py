"""The losses, against sums that can be read and the SSIM of the scores."""

from __future__ import annotations

import re
from typing import get_args

import numpy as np
import pytest
import torch

from idn_data import ssim
from idn_train.config import Loss
from idn_train.loss import BEND, SSIM_SHARE, compare_structure, compute_loss


def make_pair(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """SR and GT, (2, 1, H, W): waves, and the same with noise; the second pair flat and without."""
    generator = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    wave = 0.5 + 0.3 * torch.sin(0.4 * x + 0.2 * y) + 0.05 * torch.rand(height, width, generator=generator)
    gt = torch.stack([wave, torch.full_like(wave, 0.7)])[:, None]
    noise = 0.08 * torch.randn(height, width, generator=generator)
    return gt + torch.stack([noise, torch.zeros_like(noise)])[:, None], gt


def test_loss_sums_over_pixels_and_averages_over_the_batch() -> None:
    sr, gt = torch.zeros(2, 1, 6, 6), torch.full((2, 1, 6, 6), 0.5)
    assert float(compute_loss(sr, gt, "l1")) == pytest.approx(36 * 0.5)
    assert float(compute_loss(sr, gt, "l2")) == pytest.approx(36 * 0.125)
    similarity = 1e-4 / (0.25 + 1e-4)  # the windows are flat: only their means differ
    assert float(compute_loss(sr, gt, "l1+ssim")) == pytest.approx(36 * (0.5 + SSIM_SHARE * (1 - similarity)), rel=1e-6)


@pytest.mark.parametrize(("height", "width"), [(6, 6), (8, 13), (24, 20)])
def test_structure_is_the_mean_of_ssim_over_squares(height: int, width: int) -> None:
    sr, gt = make_pair(height, width)
    expected = []
    for a, b in zip(sr.double().numpy()[:, 0], gt.double().numpy()[:, 0], strict=True):
        values = []
        for i in range(0, height - 5, 3):
            for j in range(0, width - 5, 3):
                u, v = a[i : i + 6, j : j + 6], b[i : i + 6, j : j + 6]
                covariance = np.mean((u - u.mean()) * (v - v.mean()))
                light = (2 * u.mean() * v.mean() + 1e-4) / (u.mean() ** 2 + v.mean() ** 2 + 1e-4)
                values.append(light * (2 * covariance + 9e-4) / (u.var() + v.var() + 9e-4))
        expected.append(np.mean(values))
    assert compare_structure(sr, gt).tolist() == pytest.approx(expected, abs=1e-5)


def test_structure_is_close_to_the_ssim_of_the_scores() -> None:
    sr, gt = make_pair(120, 150)
    scored = ssim(sr[0, 0].double().numpy(), gt[0, 0].double().numpy(), peak=1.0, valid=True)
    assert scored < 0.9
    assert float(compare_structure(sr[:1], gt[:1])) == pytest.approx(
        scored, abs=0.03
    )  # squares see noise a little otherwise


def test_logarithmic_losses_are_the_mean_of_each_patch_in_db() -> None:
    sr, gt = torch.zeros(2, 1, 6, 6), torch.full((2, 1, 6, 6), 0.5)
    gt[1] = 0.01
    each = {"log-l2": (0.25, 1e-4), "log-l1": (0.5, 0.01)}
    apart = [1 - 1e-4 / (g * g + 1e-4) for g in (0.5, 0.01)]  # 1 - SSIM of flat windows, one of them zero
    each["log-l1+ssim"] = (0.5 + SSIM_SHARE * apart[0], 0.01 + SSIM_SHARE * apart[1])
    for kind, errors in each.items():
        factor = 10 if kind == "log-l2" else 20
        expected = np.mean([factor * np.log10(1 + error / BEND[kind]) for error in errors])
        assert float(compute_loss(sr, gt, kind)) == pytest.approx(expected, rel=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_logarithmic_losses_let_rough_patches_rule_less(kind: str) -> None:
    """How hard a patch with ten times the error pulls, against the smooth one beside it."""

    def pull(kind: str) -> float:
        sr = torch.zeros(2, 1, 6, 6, requires_grad=True)
        gt = torch.tensor([0.05, 0.5]).reshape(2, 1, 1, 1).expand(2, 1, 6, 6)
        (slope,) = torch.autograd.grad(compute_loss(sr, gt, kind), sr)  # type: ignore[arg-type]
        smooth, rough = slope.abs().mean((1, 2, 3)).tolist()
        return float(rough / smooth)

    mean = {"l1": (0.05, 0.5), "l2": (0.05**2, 0.5**2)}[kind]
    bend = BEND[f"log-{kind}"]
    assert pull(kind) == pytest.approx({"l1": 1, "l2": 10}[kind])
    assert pull(f"log-{kind}") == pytest.approx(pull(kind) * (bend + mean[0]) / (bend + mean[1]), rel=1e-4)


@pytest.mark.parametrize("kind", get_args(Loss))
def test_a_step_down_the_gradient_makes_the_loss_smaller(kind: Loss) -> None:
    sr, gt = make_pair(24, 24)
    sr.requires_grad_()
    before = compute_loss(sr, gt, kind)
    (slope,) = torch.autograd.grad(before, sr)
    slope = slope / slope.abs().max()
    assert bool(torch.isfinite(slope).all())
    assert float(compute_loss(sr.detach() - 1e-3 * slope, gt, kind)) < float(before.detach())


def test_half_precision_is_compared_as_float32() -> None:
    sr, gt = make_pair(24, 24)
    loss = compute_loss(sr.bfloat16(), gt, "l1+ssim")
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(compute_loss(sr.bfloat16().float(), gt, "l1+ssim")), rel=1e-6)


@pytest.mark.parametrize(("kind", "instead"), [("l1+ssim", "l1"), ("log-l1+ssim", "log-l1")])
def test_patches_too_small_for_ssim(kind: Loss, instead: str) -> None:
    message = f"{kind} compares 6x6 pixels; got GT patches of 4x8; give --loss or --last-loss {instead}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        compute_loss(torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 8), kind)
