"""The training: it learns, it resumes bit for bit, it stops where it should."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.running import COMMAND

from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import plan_train
from idn_data.patches.trainset import make_train
from idn_train.batches import Patches, load_patches
from idn_train.checkpoint import load_weights, save_weights
from idn_train.clock import Cadence, Clock
from idn_train.config import Config, Loss
from idn_train.learner import copy_weights
from idn_train.network import IDN
from idn_train.runstate import ENDLESS, TrainingError
from idn_train.trainer import Hooks, Losses, Status, check_loss, train
from idn_train.weightfile import read_tensors, write_tensors

QUICK = Config(4, loss="l1", steps=6, batch=4, rate=1e-3, reconstruction_std=0.001, weight_decay=0.0)
SAME = Hooks(validate=lambda network: 30.0)


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


def load_weights_of_state(folder: Path) -> bool:
    """Whether the state holds finite weights."""
    tensors = load_file(folder / "last.safetensors")
    return all(bool(torch.isfinite(t).all()) for name, t in tensors.items() if name.startswith("w."))


def same_weights(first: Path, second: Path) -> bool:
    a, b = (load_weights(p / "final.safetensors")[0].state_dict() for p in (first, second))
    return all(torch.equal(a[k], b[k]) for k in a)


def test_it_learns(patches: Patches, tmp_path: Path) -> None:
    config = replace(QUICK, steps=60, batch=8)
    train(config, patches, tmp_path, cadence=Cadence(validate_steps=10))
    losses = [float(row["loss"]) for row in read_metrics(tmp_path)]
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"average": 0.5, "muon_rate": 0.01, "clip": 1.0, "weight_decay": 0.1},
        {"schedule": "cosine", "last_loss": "log-l2", "floor": 0.2},  # its last loss begins with the sixth step
    ],
)
def test_stopped_and_resumed_is_the_same_bit_for_bit(patches: Patches, tmp_path: Path, change: dict[str, Any]) -> None:
    config = replace(QUICK, **change)
    train(config, patches, tmp_path / "whole")
    for stop_at in (1, 3, 5):
        folder, asked = tmp_path / f"stopped{stop_at}", []

        def stop(at: int = stop_at, asked: list[int] = asked) -> bool:
            asked.append(1)
            return len(asked) >= at

        stopped = train(config, patches, folder, hooks=Hooks(stop=stop))
        assert stopped.name == "last.safetensors"
        assert len(asked) == stop_at
        assert not (folder / "final.safetensors").exists()
        train(config, patches, folder)
        assert same_weights(tmp_path / "whole", folder)


def test_a_last_loss_begins_late_where_a_run_is_cut_short(
    patches: Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other programs slow it down: after seven steps it is found that one more is all, and the last are two."""

    def measure(self: Clock, cadence: Cadence) -> None:
        self._run.steps = 8 if self._run.step == 7 else self._run.steps

    monkeypatch.setattr(Clock, "measure", measure)
    config = replace(QUICK, steps=40, schedule="cosine", last_loss="log-l2")
    train(config, patches, tmp_path, cadence=Cadence(validate_steps=1))
    losses = [float(row["loss"]) for row in read_metrics(tmp_path)]
    assert len(losses) == 8 and min(losses[:7]) > 25 > losses[7]


def test_a_last_loss_is_that_of_the_last_quarter(patches: Patches, tmp_path: Path) -> None:
    """Each row of the metrics has the loss of its own steps, and a smaller number is no cause to stop."""
    config = replace(QUICK, steps=8, schedule="cosine", last_loss="log-l2")
    for name, changed in (("both", config), ("one", replace(config, last_loss=""))):
        train(changed, patches, tmp_path / name, cadence=Cadence(validate_steps=1))
    both, one = ([float(row["loss"]) for row in read_metrics(tmp_path / name)] for name in ("both", "one"))
    assert both[:6] == one[:6] and min(one) > 25  # sums over 400 pixels
    assert max(both[6:]) < 25  # dB
    assert not same_weights(tmp_path / "both", tmp_path / "one")


@pytest.mark.parametrize(("average", "decay"), [(0.1, 0.1), (0.75, 2 / 11)])
def test_the_mean_of_the_weights_is_kept(patches: Patches, tmp_path: Path, average: float, decay: float) -> None:
    """Decay d: mean = d·mean + (1 - d)·weights, beginning with step 1; d at step t is at most t/(9 + t)."""
    for steps in (1, 2):
        train(replace(QUICK, steps=steps), patches, tmp_path / f"plain{steps}")
        train(replace(QUICK, steps=steps, average=average), patches, tmp_path / f"mean{steps}")
    first, second, mean = (
        load_weights(tmp_path / name / "final.safetensors")[0].upsample.weight for name in ("plain1", "plain2", "mean2")
    )
    assert torch.allclose(mean, decay * first + (1 - decay) * second, atol=1e-9)
    assert same_weights(tmp_path / "plain1", tmp_path / "mean1")


def test_a_clipped_gradient_has_that_norm(patches: Patches, tmp_path: Path) -> None:
    """Adam's first moment after one step is a tenth of the gradient."""
    norms = []
    for clip in (0.0, 1e-3, 1e9):
        folder = tmp_path / str(clip)
        train(replace(QUICK, steps=1, clip=clip), patches, folder)
        state = load_file(folder / "last.safetensors")
        norms.append(10 * sum(float(t.square().sum()) for k, t in state.items() if k.endswith(".exp_avg")) ** 0.5)
    assert norms[0] > 1
    assert norms[1] == pytest.approx(1e-3, rel=1e-3)
    assert norms[2] == norms[0]  # never lengthened


def test_a_run_from_before_there_was_a_clip_goes_on(patches: Patches, tmp_path: Path) -> None:
    train(QUICK, patches, tmp_path / "whole")
    train(QUICK, patches, tmp_path / "old", hooks=Hooks(stop=lambda: True))
    path = tmp_path / "old" / "last.safetensors"
    arrays, said = read_tensors(path)
    del said["identity"]["clip"]
    write_tensors(path, arrays, said, force=True)
    with pytest.raises(TrainingError, match=r"holds a run with clip=0\.0, not 1\.0"):
        train(replace(QUICK, clip=1.0), patches, tmp_path / "old")
    train(QUICK, patches, tmp_path / "old")
    assert same_weights(tmp_path / "whole", tmp_path / "old")


def test_metrics_have_each_step_once_after_a_resume(patches: Patches, tmp_path: Path) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 3

    for hooks in (Hooks(stop=stop), Hooks()):
        train(QUICK, patches, tmp_path, cadence=Cadence(validate_steps=1), hooks=hooks)
    assert [int(r["step"]) for r in read_metrics(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_a_run_of_steps_can_be_prolonged(patches: Patches, tmp_path: Path) -> None:
    """Its rates do not depend on the end; a cosine's do."""
    train(replace(QUICK, steps=3), patches, tmp_path / "long")
    train(QUICK, patches, tmp_path / "long")
    train(QUICK, patches, tmp_path / "whole")
    assert same_weights(tmp_path / "whole", tmp_path / "long")
    cosine = replace(QUICK, schedule="cosine")
    train(replace(cosine, steps=3), patches, tmp_path / "cosine")
    with pytest.raises(TrainingError, match="holds a run with steps=3, not 6; name another folder"):
        train(cosine, patches, tmp_path / "cosine")


@pytest.mark.parametrize("schedule", ["steps", "cosine"])
def test_minutes_end_a_run(patches: Patches, tmp_path: Path, schedule: str) -> None:
    config = replace(QUICK, steps=100_000, schedule=schedule)  # type: ignore[arg-type]
    result = train(config, patches, tmp_path, minutes=0.05)
    assert result.name == "final.safetensors"
    steps = load_weights(result)[1]["step"]
    assert 1 <= steps < 100_000
    again = train(config, patches, tmp_path, minutes=0.05)
    assert load_weights(again)[1]["step"] == steps


def test_minutes_end_a_cosine_however_often_it_is_validated(patches: Patches, tmp_path: Path) -> None:
    config, began = replace(QUICK, steps=100_000, schedule="cosine"), time.monotonic()
    hooks = Hooks(validate=lambda network: 30.0, stop=lambda: time.monotonic() - began > 60)
    result = train(config, patches, tmp_path, minutes=0.05, cadence=Cadence(validate_steps=3), hooks=hooks)
    assert result.name == "final.safetensors"
    assert load_weights(result)[1]["step"] < 100_000


def test_time_left_knows_of_minutes(patches: Patches, tmp_path: Path) -> None:
    seen: list[float] = []
    hooks = Hooks(watch=lambda at: seen.append(at.seconds_left))
    train(replace(QUICK, steps=100_000), patches, tmp_path, minutes=0.04, hooks=hooks)
    assert seen
    assert max(seen) <= 0.04 * 60


def test_validation_by_minutes(patches: Patches, tmp_path: Path) -> None:
    train(QUICK, patches, tmp_path, cadence=Cadence(validate_minutes=1e-9), hooks=SAME)
    assert len(read_metrics(tmp_path)) == 6
    train(QUICK, patches, tmp_path / "b", cadence=Cadence(validate_minutes=60), hooks=SAME)
    assert len(read_metrics(tmp_path / "b")) == 1


def test_compiled_is_the_same_but_for_rounding(
    patches: Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.compile's own tracing with its eager backend: no compiler is needed for that."""
    compile_ = torch.compile
    used = []

    def compile_eagerly(model: object) -> object:
        used.append(model)
        return compile_(model, backend="eager")  # type: ignore[call-overload]

    monkeypatch.setattr(torch, "compile", compile_eagerly)
    config = replace(QUICK, steps=2)
    train(config, patches, tmp_path / "compiled", compiled=True)
    train(config, patches, tmp_path / "plain")
    assert len(used) == 1
    a, b = (load_weights(tmp_path / n / "final.safetensors")[0].features[2].weight for n in ("compiled", "plain"))
    assert torch.allclose(a, b, atol=1e-6)


def test_what_watchers_see(patches: Patches, tmp_path: Path) -> None:
    seen: list[Status] = []
    drawn: list[tuple[int, str]] = []
    hooks = Hooks(SAME.validate, lambda rows, network: drawn.append((len(rows), rows[-1]["psnr"])), seen.append)
    train(QUICK, patches, tmp_path, cadence=Cadence(validate_steps=2), hooks=hooks)
    assert drawn == [(1, "30.0000"), (2, "30.0000"), (3, "30.0000")]
    assert seen[-1].step == seen[-1].steps == 6
    assert seen[-1].patches_per_second > 0


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
    with pytest.raises(TrainingError, match=r"step 1: the loss is not finite; .*; no checkpoint was saved yet"):
        train(QUICK, broken, tmp_path, cadence=Cadence(validate_steps=1))
    assert not (tmp_path / "last.safetensors").exists()


def test_divergence_names_the_last_good_checkpoint(patches: Patches, tmp_path: Path) -> None:
    config = replace(QUICK, rate=0.9, loss="l2", steps=50)
    said = r"step \d+: the loss (grew|is not finite).*--init .*last.safetensors with another --out"
    with pytest.raises(TrainingError, match=said):
        train(config, patches, tmp_path, cadence=Cadence(validate_steps=1))
    assert load_weights_of_state(tmp_path)


@pytest.mark.parametrize(("kind", "high", "higher"), [("l1", 199.0, 201.0), ("log-l1", 36.0, 36.1)])
def test_twenty_times_the_first_loss_is_too_much(kind: Loss, high: float, higher: float, tmp_path: Path) -> None:
    """20·log10(20) = 26.02 where the loss is in dB."""
    assert check_loss(high, 10.0, 50, tmp_path, kind) == high
    with pytest.raises(TrainingError, match=f"^step 50: the loss grew to {higher:.3g} from 10; lower --rate"):
        check_loss(higher, 10.0, 50, tmp_path, kind)


def test_a_flat_patch_before_a_textured_one_is_no_divergence(tmp_path: Path) -> None:
    """One patch a step; every fiftieth step is looked at: the first one's patch is flat."""
    losses = Losses("l1")
    for step in range(1, 501):
        loss = 0.01 if step == 50 else 10.0
        losses.add(torch.tensor(loss), 1)
        if step % 50 == 0:
            losses.look(loss, step, tmp_path)
    assert losses.take_mean() == pytest.approx(9.001)
    for _ in range(100):
        losses.add(torch.tensor(250.0), 1)
    with pytest.raises(TrainingError, match=r"^step 600: the loss grew to 250 from 9\.9; lower --rate"):
        losses.look(250.0, 600, tmp_path)
    with pytest.raises(TrainingError, match=r"^step 50: the loss is not finite"):
        Losses("l1").look(math.nan, 50, tmp_path)


def test_a_first_loss_of_zero_is_no_measure(tmp_path: Path) -> None:
    losses = Losses("l1")
    for step, loss in enumerate((0.0, 10.0, 150.0), 1):
        losses.add(torch.tensor(loss), 64)
        losses.look(loss, step, tmp_path)
    losses.add(torch.tensor(201.0), 64)
    with pytest.raises(TrainingError, match=r"^step 4: the loss grew to 201 from 10; lower --rate"):
        losses.look(201.0, 4, tmp_path)


def test_small_batches_train_past_a_flat_patch(patches: Patches, tmp_path: Path) -> None:
    """The batch that is looked at first is flat, and its loss almost 0."""
    first, _ = next(iter(patches.batches(1, QUICK.seed, 0)))
    flat = next(k for k, lr in enumerate(patches.lr) if torch.equal(lr, first[0]))
    lr, gt = patches.lr.clone(), patches.gt.clone()
    lr[flat], gt[flat] = 0.0, 0
    config = replace(QUICK, batch=1, steps=3, rate=1e-6)
    train(config, replace(patches, lr=lr, gt=gt), tmp_path, cadence=Cadence(validate_steps=1))
    losses = [float(row["loss"]) for row in read_metrics(tmp_path)]
    assert losses[1] > 20 * losses[0], "as it is to be"


def test_a_state_of_any_size_is_read_again(patches: Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of 70 million parameters has a state of a GB: limits below IDN's state stand for it."""
    train(replace(QUICK, steps=3), patches, tmp_path)
    for module in ("runstate", "weightfile"):
        for name in ("MAX_BYTES", "MAX_OWN_BYTES"):
            monkeypatch.setattr(f"idn_train.{module}.{name}", 60_000, raising=False)
    train(QUICK, patches, tmp_path)
    path = tmp_path / "last.safetensors"
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size + 60_000)
    with pytest.raises(TrainingError, match=r"bytes, more than the [\d,]+ that may"):
        train(replace(QUICK, steps=9), patches, tmp_path)


def test_minutes_alone_are_the_length_of_a_cosine(patches: Patches, tmp_path: Path) -> None:
    """A few patches have short epochs; the steps of 100 of them would be over at once."""
    config, seen = replace(QUICK, epochs=0, steps=0, batch=1, schedule="cosine"), list[Status]()
    few, began = replace(patches, lr=patches.lr[:1], gt=patches.gt[:1]), time.monotonic()
    often = Cadence(validate_steps=1000)
    result = train(config, few, tmp_path, minutes=0.04, cadence=often, hooks=Hooks(watch=seen.append))
    said = load_weights(result)[1]
    assert said["step"] > 100 or time.monotonic() - began > 2
    assert all(0 < at.steps < 1_000_000 for at in seen)
    assert "epochs" not in said["recipe"]
    again = train(config, few, tmp_path, minutes=0.04)
    assert load_weights(again)[1]["step"] == said["step"]
    with pytest.raises(TrainingError, match="epochs=0 are as many as the minutes allow, and they are 0; give minutes"):
        train(config, few, tmp_path / "none")


def test_a_killed_run_of_minutes_goes_on_before_its_length_is_known(patches: Patches, tmp_path: Path) -> None:
    config = replace(QUICK, epochs=0, steps=0, schedule="cosine")
    stopped = train(config, patches, tmp_path, minutes=0.02, hooks=Hooks(stop=lambda: True))
    assert read_tensors(stopped)[1]["steps"] == ENDLESS
    ended = train(config, patches, tmp_path, minutes=0.02, cadence=Cadence(validate_steps=1000))
    assert ended.name == "final.safetensors"


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_state_is_read_as_weights(patches: Patches, tmp_path: Path, average: float) -> None:
    train(replace(QUICK, average=average), patches, tmp_path)
    (state, said), (final, _) = (load_weights(tmp_path / f"{name}.safetensors") for name in ("last", "final"))
    assert said["step"] == 6
    assert all(torch.equal(a, b) for a, b in zip(state.parameters(), final.parameters(), strict=True))
    begun = train(replace(QUICK, steps=1), patches, tmp_path / "begun", init=tmp_path / "last.safetensors")
    assert begun.name == "final.safetensors"


def test_a_finished_run_stays_as_it_is(patches: Patches, tmp_path: Path) -> None:
    """A fine-tuning remembers the very file that it starts from: it must be there when both are started again."""
    hooks = Hooks(validate=lambda network: 30.123456)
    train(QUICK, patches, tmp_path, hooks=hooks)
    before = (tmp_path / "final.safetensors").read_bytes()
    train(QUICK, patches, tmp_path, hooks=hooks)
    assert (tmp_path / "final.safetensors").read_bytes() == before
    (tmp_path / "final.safetensors").write_bytes(b"broken")
    train(QUICK, patches, tmp_path, hooks=hooks)
    assert load_weights(tmp_path / "final.safetensors")[1]["step"] == 6


def test_validation_keeps_the_best(patches: Patches, tmp_path: Path) -> None:
    scores = iter([30.0, 31.0, 29.0])
    hooks = Hooks(validate=lambda network: next(scores))
    train(replace(QUICK, steps=3), patches, tmp_path, cadence=Cadence(validate_steps=1), hooks=hooks)
    assert [row["psnr"] for row in read_metrics(tmp_path)] == ["30.0000", "31.0000", "29.0000"]
    assert load_weights(tmp_path / "best.safetensors")[1]["validation_psnr"] == 31.0


def test_the_best_on_other_pictures_is_no_measure(
    patches: Patches, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A set whose PSNR is lower everywhere; a state of before the pictures were noted has none to compare."""
    every = Cadence(validate_steps=1)

    def go_on(steps: int, psnr: float, digest: str) -> float:
        caplog.clear()
        train(
            replace(QUICK, steps=steps),
            patches,
            tmp_path,
            cadence=every,
            hooks=Hooks(lambda _: psnr, validated_on=digest),
        )
        return float(load_weights(tmp_path / "best.safetensors")[1]["validation_psnr"])

    assert go_on(1, 30.0, "a") == go_on(2, 29.0, "a") == 30.0
    assert not caplog.records
    assert go_on(3, 21.0, "b") == 21.0
    assert caplog.text.count("validated on other pictures than before; best.safetensors is chosen anew") == 1
    assert go_on(3, 20.0, "a") == 21.0
    assert not caplog.records  # nothing was left to do
    path = tmp_path / "last.safetensors"
    arrays, said = read_tensors(path)
    assert said.pop("validated_on") == "b"
    write_tensors(path, arrays, said, force=True)
    assert go_on(4, 20.0, "a") == 21.0
    train(replace(QUICK, steps=5), patches, tmp_path, cadence=every)  # without a validation
    assert go_on(6, 22.0, "a") == 22.0
    assert not caplog.records


@pytest.mark.parametrize("stop", [19, 20, 21])
def test_a_run_cut_short_begins_its_last_loss_after_a_resume_too(
    patches: Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """Where the clock shortens a run at step 20, the last loss should have begun by then; it is stopped around it."""

    def shorten(clock: Clock, cadence: Cadence) -> None:
        if clock._run.step == 20:
            clock._run.steps = 24

    monkeypatch.setattr(Clock, "measure", shorten)
    config = replace(QUICK, steps=40, schedule="cosine", last_loss="log-l2", average=0.9)
    calls = iter(range(1, 100))
    train(config, patches, tmp_path / "whole", minutes=5)
    train(config, patches, tmp_path / "cut", minutes=5, hooks=Hooks(stop=lambda: next(calls) == stop))
    train(config, patches, tmp_path / "cut", minutes=5)
    assert same_weights(tmp_path / "whole", tmp_path / "cut")
    train(replace(config, last_loss=""), patches, tmp_path / "one", minutes=5)
    assert not same_weights(tmp_path / "whole", tmp_path / "one")


def test_a_clock_that_has_not_moved_on(patches: Patches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some clocks stand still for milliseconds."""
    monkeypatch.setattr("idn_train.clock.time.perf_counter", lambda: 5.0)
    seen: list[Status] = []
    train(QUICK, patches, tmp_path, hooks=Hooks(watch=seen.append))
    assert seen and all(status.patches_per_second > 0 for status in seen)


def test_a_last_loss_that_cannot_be_is_found_at_once(patches: Patches, tmp_path: Path) -> None:
    small = replace(patches, lr=patches.lr[..., :1, :1].clone(), gt=patches.gt[..., :4, :4].clone())
    config = replace(QUICK, steps=8, schedule="cosine", last_loss="l1+ssim")
    with pytest.raises(ValueError, match=r"got GT patches of 4x4; give --loss or --last-loss l1$"):
        train(config, small, tmp_path, cadence=Cadence(validate_steps=1))
    assert list(tmp_path.iterdir()) == []


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


def test_killed_and_started_again_ends_with_the_same_weights(photos: Path, tmp_path: Path) -> None:
    """The command itself, killed in the middle of steps."""
    data = make_train(plan_train(photos, tmp_path / "a.h5", Recipe(4, "pretrain", 5)))[0]
    assert len(load_patches([data])) >= 64
    command = [*COMMAND, "train", "--data", str(data), "--steps", "12", "--batch", "4",
               "--validate-set", str(tmp_path / "none"), "--validate-every", "2", "--quiet"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    folder = tmp_path / "killed"
    kills = 0
    for _ in range(5):
        with subprocess.Popen([*command, "--out", str(folder)], env=environment, stdout=subprocess.DEVNULL) as process:
            steps = len(read_metrics(folder)) if (folder / "metrics.csv").is_file() else 0
            while kills < 1 and process.poll() is None:
                if (folder / "metrics.csv").is_file() and len(read_metrics(folder)) > steps:
                    process.kill()
                    kills += 1
                    break
                time.sleep(0.005)
            process.wait()
        if (folder / "final.safetensors").is_file():
            break
    assert kills == 1
    assert same_weights(tmp_path / "whole", folder)
