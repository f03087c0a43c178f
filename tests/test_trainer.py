"""The training: it learns, it resumes bit for bit, it stops where it should."""

from __future__ import annotations

import csv
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idn_data.recipe import Recipe
from idn_data.trainset import make_train, plan_train
from idn_train.batches import Patches, load_patches
from idn_train.checkpoint import load_weights, save_weights
from idn_train.network import IDN
from idn_train.trainer import (
    Config,
    RunState,
    TrainingError,
    choose_device,
    compute_loss,
    copy_weights,
    make_optimizer,
    rate_at,
    stage_config,
    train,
)

QUICK = Config(4, loss="l1", steps=6, batch=4, rate=1e-3, reconstruction_std=0.001, weight_decay=0.0)


@pytest.fixture(scope="module")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Patches:
    """A few patches of 5x5 LR pixels: a step takes milliseconds."""
    generator = torch.Generator().manual_seed(1)
    gt = torch.randint(0, 256, (40, 1, 5, 5), generator=generator).to(torch.uint8)
    gt = gt.repeat_interleave(4, 2).repeat_interleave(4, 3)
    lr = gt[:, :, ::4, ::4].float() / 255
    return Patches(lr, gt, 4, "test", torch.device("cpu"), False)


def read_metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def same_weights(first: Path, second: Path) -> bool:
    a, b = (load_weights(p / "final.safetensors")[0].state_dict() for p in (first, second))
    return all(torch.equal(a[k], b[k]) for k in a)


def test_stages_are_those_of_the_readme() -> None:
    pre, fine = stage_config(4, "pretrain"), stage_config(3, "finetune")
    assert (pre.loss, pre.epochs, pre.decay_epochs) == ("l2", 100, 0)
    assert (pre.rate, pre.batch, pre.weight_decay) == (1e-4, 64, 1e-4)
    assert (fine.loss, fine.epochs, fine.decay_epochs, fine.scale) == ("l1", 600, 250, 3)


def test_rates() -> None:
    fine = stage_config(4, "finetune")
    assert [rate_at(fine, epoch * 10, 6000, 10) for epoch in (0, 249, 250, 500)] == pytest.approx(
        [1e-4, 1e-4, 1e-5, 1e-6]
    )
    cosine = replace(QUICK, schedule="cosine", warmup=10, rate=1e-3)
    assert [rate_at(cosine, k, 110, 10) for k in (0, 9, 10, 60)] == pytest.approx([1e-4, 1e-3, 1e-3, 5e-4])
    assert rate_at(cosine, 110, 110, 10) == pytest.approx(0)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"scale": 5}, "scale must be one of"),
        ({"loss": "l3"}, "loss must be one of l1, l2"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"rate": 0.0}, "rate must lie between"),
        ({"warmup": -1}, "warmup must be 0 or more"),
        ({"precision": "fp8"}, "precision must be one of"),
    ],
)
def test_bad_config(change: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        replace(QUICK, **change)  # type: ignore[arg-type]


def test_loss_sums_over_pixels_and_averages_over_the_batch() -> None:
    sr, gt = torch.zeros(2, 1, 3, 3), torch.full((2, 1, 3, 3), 0.5)
    assert float(compute_loss(sr, gt, "l1")) == pytest.approx(9 * 0.5)
    assert float(compute_loss(sr, gt, "l2")) == pytest.approx(9 * 0.125)


def test_weight_decay_is_that_of_the_readme_on_weights_only() -> None:
    """λ/2·‖w‖² adds λ·w to the gradient of each weight, and nothing to a bias."""
    network = IDN(4)
    optimizer = make_optimizer(network, replace(QUICK, weight_decay=0.1))
    decayed = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decayed) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        assert decayed[id(parameter)] == (0.1 if name.endswith("weight") else 0.0)


def test_it_learns(patches: Patches, tmp_path: Path) -> None:
    config = replace(QUICK, steps=60, batch=8)
    train(config, patches, tmp_path, validate_every=10)
    losses = [float(row["loss"]) for row in read_metrics(tmp_path)]
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]


def test_interrupted_and_resumed_is_the_same_bit_for_bit(patches: Patches, tmp_path: Path) -> None:
    train(QUICK, patches, tmp_path / "whole")
    for stop_at in (1, 3, 5):
        folder = tmp_path / f"stopped{stop_at}"
        seen = []

        def interrupt(network: IDN, at: int = stop_at, seen: list[int] = seen) -> float:
            seen.append(1)
            if len(seen) == at:
                raise KeyboardInterrupt
            return 1.0

        stopped = train(QUICK, patches, folder, validate=interrupt, validate_every=1)
        assert stopped.name == "last.safetensors"
        assert not (folder / "final.safetensors").exists()
        train(QUICK, patches, folder)
        assert same_weights(tmp_path / "whole", folder)


def test_resumed_metrics_have_each_step_once(patches: Patches, tmp_path: Path) -> None:
    train(replace(QUICK, steps=3), patches, tmp_path, validate_every=1)
    state = RunState(tmp_path, {})
    assert not state.rows
    rows = read_metrics(tmp_path)
    assert [int(r["step"]) for r in rows] == [1, 2, 3]


def test_another_configuration_does_not_resume(patches: Patches, tmp_path: Path) -> None:
    train(QUICK, patches, tmp_path)
    with pytest.raises(TrainingError, match=r"holds a run with rate=0\.001, not 0\.002; name another folder"):
        train(replace(QUICK, rate=2e-3), patches, tmp_path)


def test_damaged_state(patches: Patches, tmp_path: Path) -> None:
    train(QUICK, patches, tmp_path)
    path = tmp_path / "last.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(TrainingError, match=r"not a state to resume from .*--restart begins anew"):
        train(QUICK, patches, tmp_path)


def test_nan_stops_the_run_and_leaves_no_bad_state(patches: Patches, tmp_path: Path) -> None:
    broken = replace(patches, lr=patches.lr * math.nan)
    with pytest.raises(TrainingError, match="step 1: the loss is not finite; lower --rate"):
        train(QUICK, broken, tmp_path, validate_every=1)
    assert not (tmp_path / "last.safetensors").exists()


def test_validation_keeps_the_best(patches: Patches, tmp_path: Path) -> None:
    scores = iter([30.0, 31.0, 29.0])
    train(replace(QUICK, steps=3), patches, tmp_path, validate=lambda network: next(scores), validate_every=1)
    assert [row["psnr"] for row in read_metrics(tmp_path)] == ["30.0000", "31.0000", "29.0000"]
    assert load_weights(tmp_path / "best.safetensors")[1]["validation_psnr"] == 31.0


def test_weights_of_another_scale_lack_only_the_reconstruction(tmp_path: Path) -> None:
    source, target = IDN(2), IDN(4)
    save_weights(tmp_path / "x2.safetensors", source)
    before = target.upsample.weight.clone()
    copy_weights(target, tmp_path / "x2.safetensors")
    assert torch.equal(target.upsample.weight, before)
    assert torch.equal(target.features[0].weight, source.features[0].weight)


def test_wrong_scale_and_too_few_patches(patches: Patches, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the patches are of scale 4, the run of scale 2"):
        train(replace(QUICK, scale=2), patches, tmp_path)
    with pytest.raises(TrainingError, match="fit in 40 patches"):
        train(replace(QUICK, batch=64), patches, tmp_path)


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="no device 'abacus' here"):
        choose_device("abacus")


def test_killed_and_started_again_ends_with_the_same_weights(photos: Path, tmp_path: Path) -> None:
    """The command itself, killed with SIGKILL in the middle of steps."""
    data = make_train(plan_train(photos, tmp_path / "a.h5", Recipe(4, "pretrain", 5)))[0]
    assert len(load_patches([data])) >= 64
    command = [sys.executable, "-m", "cli", "train", "--data", str(data), "--steps", "12", "--batch", "4",
               "--validate-set", str(tmp_path / "none"), "--validate-every", "2", "--quiet"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--run", str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    folder = tmp_path / "killed"
    kills = 0
    for _ in range(20):
        with subprocess.Popen([*command, "--run", str(folder)], env=environment, stdout=subprocess.DEVNULL) as process:
            steps = len(read_metrics(folder)) if (folder / "metrics.csv").is_file() else 0
            while kills < 2 and process.poll() is None:
                if (folder / "metrics.csv").is_file() and len(read_metrics(folder)) > steps:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    break
                time.sleep(0.005)
            process.wait()
        if (folder / "final.safetensors").is_file():
            break
    assert kills == 2
    assert same_weights(tmp_path / "whole", folder)
