"""The captured step: on a GPU, steps in one launch do what steps one by one do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import interpolate

from idn_train.batches import Patches
from idn_train.checkpoint import load_weights
from idn_train.config import make_config
from idn_train.graph import EAGER, CapturedStep
from idn_train.learner import make_learner
from idn_train.trainer import train

pytestmark = pytest.mark.cuda


def test_every_call_is_one_step_and_reads_its_own_batch() -> None:
    total, rate = torch.zeros((), device="cuda"), torch.ones((), device="cuda")

    def step(lr: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
        total.add_(rate * (lr.sum() + gt.sum()))
        return total * 2

    captured, wanted = CapturedStep(step), 0.0
    for k in range(EAGER + 5):
        rate.fill_(k + 1)
        loss = captured(torch.full((2,), float(k), device="cuda"), torch.full((3,), 1.0, device="cuda"))
        wanted += (k + 1) * (2 * k + 3)
        assert float(total) == wanted
        assert float(loss) == 2 * wanted


def test_a_captured_training_is_the_same_but_for_rounding(tmp_path: Path) -> None:
    """The graph convolves in TF32, and Muon's steps stay long, so rounding grows: bf16 parts 0.15 of the way."""
    cuda = torch.device("cuda")
    lr = torch.rand(64, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    gt = interpolate(lr, scale_factor=2, mode="bicubic").clamp(0, 1)
    patches = Patches(lr.to(cuda), gt.to(cuda), 2, "0" * 64, cuda, False)
    config = make_config(2, "finetune", "express", clip=1.0, seed=3, last_loss="log-l2")
    config = replace(config, batch=16, steps=20, warmup=2)
    start = make_learner(config, torch.device("cpu")).network.features[2].weight.detach()
    ends = []
    for compiled in (False, True):
        train(config, patches, tmp_path / str(compiled), compiled=compiled)
        ends.append(load_weights(tmp_path / str(compiled) / "final.safetensors")[0].features[2].weight.detach())
    assert (ends[0] - ends[1]).norm() < 0.15 * (ends[0] - start).norm()
