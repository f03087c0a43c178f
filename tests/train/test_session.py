"""From what a user asked for to what the trainer needs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support.running import COMMAND

from cli import main
from idn_data.atomic import hold
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import plan_train
from idn_data.patches.trainset import make_train
from idn_data.scores.sets import open_set
from idn_train.batches import load_patches
from idn_train.checkpoint import save_weights
from idn_train.config import Config
from idn_train.network import IDN
from idn_train.runstate import TrainingError
from idn_train.session import find_init, limit_threads, make_record, make_validation

ROWS = [{"step": "5", "seconds": "60", "loss": "50.1", "rate": "0.001", "psnr": "30.1"}]


def make_file(photos: Path, path: Path, **given: Any) -> list[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return make_train(plan_train(photos, path, Recipe(4, "pretrain", 5), **given))


def test_finetune_starts_from_the_pretrained_run_beside_it(tmp_path: Path) -> None:
    assert find_init(Config(4), tmp_path / "pretrain_x4") is None
    with pytest.raises(TrainingError, match="pretrain it, or name weights by --init"):
        find_init(Config(4, "finetune"), tmp_path / "finetune_x4")
    found = tmp_path / "pretrain_x4" / "final.safetensors"
    found.parent.mkdir()
    found.write_bytes(b"")
    assert find_init(Config(4, "finetune"), tmp_path / "finetune_x4") == found


def test_validation_and_record(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    test_set, network = open_set(str(photos), tmp_path), IDN(4)
    psnr = make_validation(test_set, 4)(network)
    assert 0 < psnr < 40
    make_record(tmp_path, "title", test_set, 4, tensorboard=True)(ROWS, network)
    assert np.asarray(Image.open(tmp_path / "psnr.png")).shape == (420, 760, 3)
    written = b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").iterdir())
    assert all(name in written for name in (b"loss", b"rate", b"psnr", b"PNG"))


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(ModuleNotFoundError, match=r"TensorBoard is not installed; pip install 'idn\[tensorboard\]'"):
        make_record(tmp_path, "title", None, 4, tensorboard=True)


def test_two_processes_give_the_curve_of_one(photos: Path, tmp_path: Path) -> None:
    """torchrun with gloo on this processor: the same global batch, the same losses within float's rounding."""
    data = make_file(photos, tmp_path / "a.h5")[0]
    options = ["--data", str(data), "--steps", "6", "--batch", "8", "--preset", "express", "--precision", "float32",
               "--validate-set", str(photos), "--validate-every", "3", "--quiet"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    one = CliRunner().invoke(main, ["train", "--scale", "4", *options, "--out", str(tmp_path / "one")])
    assert one.exit_code == 0, one.output
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "idn_train"]
    command += [*options, "--out", str(tmp_path / "two")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("final.safetensors") == 1
    assert "Warning" not in done.stderr  # torch's, of gradients that each process turns at each step
    curves = [np.genfromtxt(tmp_path / n / "metrics.csv", delimiter=",", names=True) for n in ("one", "two")]
    assert len(curves[0]) == 2
    for name in ("step", "psnr", "loss"):
        np.testing.assert_allclose(curves[0][name], curves[1][name], rtol=1e-4)


def test_threads_are_chosen_for_a_training_by_the_clock(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("idn_train.session.choose_threads", lambda step: step() or 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with limit_threads(Config(4), load_patches(make_file(photos, tmp_path / "a.h5"))) as threads:
            assert threads == torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        command = ["train", "--data", str(tmp_path / "a.h5"), "--batch", "4", "--validate-set", str(tmp_path / "none")]
        for clock, said in ((["--minutes", "0.01"], True), (["--steps", "1"], False)):
            result = CliRunner().invoke(main, [*command, *clock, "--out", str(tmp_path / clock[0])])
            assert result.exit_code == 0, result.output
            assert ("1 of 2 threads, quickest beside what else runs" in result.output) == said
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_torchrun_is_not_led_astray_by_a_cli_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "cli.py").write_text("raise SystemExit('another program')")
    command = [sys.executable, "-m", "idn_train", "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert "Train IDN" in done.stdout, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_stopped_training_is_no_success(photos: Path, tmp_path: Path) -> None:
    """So that `idn train … && idn train …` ends too; the files of an older run are gone by --restart.

    By SIGTERM; Ctrl-C is pressed in test_pictures.
    """
    data, run = make_file(photos, tmp_path / "a.h5")[0], tmp_path / "run"
    run.mkdir()
    for name in ("best.safetensors", "final.safetensors", "psnr.png"):
        (run / name).write_bytes(b"of an older run")
    command = [*COMMAND, "train", "--data", str(data), "--steps", "1000000", "--batch", "4",
               "--validate-set", str(tmp_path / "none"), "--restart", "--out", str(run)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("IDN x4")
        assert "/1,000,000" in next(line for line in process.stderr if "loss" in line)  # it trains
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().startswith("stopped; the same command without --restart goes on from")
    assert process.returncode == 128 + signal.SIGTERM
    assert [path.name for path in sorted(run.iterdir())] == ["last.safetensors"]


def test_a_restart_that_cannot_begin_leaves_the_old_run(photos: Path, tmp_path: Path) -> None:
    data, run = make_file(photos, tmp_path / "a.h5")[0], tmp_path / "run"
    (bad := tmp_path / "bad").mkdir()
    (bad / "a.png").write_bytes(b"no picture")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "small.py").write_text(
        "from torch import nn\nclass Net(nn.Conv2d):\n    def __init__(self, s): super().__init__(1, 16, 1)\n"
        "    def forward(self, x):\n        assert x.shape[2] > 5, 'small'\n"
        "        return nn.functional.pixel_shuffle(super().forward(x), 4)"
    )
    words = ["train", "--steps", "1", "--batch", "4", "--validate-set", str(photos), "--out", str(run)]
    patches = ["--data", str(data)]
    assert CliRunner().invoke(main, [*words, *patches]).exit_code == 0
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert len(before) == 5
    for given, said in (
        ([*patches, "--init", str(tmp_path / "none.safetensors")], "none.safetensors"),
        ([*patches, "--init", str(run / "best.safetensors")],
         "best.safetensors would be replaced by this very run; name another folder with --out"),
        ([*patches, "--batch", "1000000"], "a batch of 1000000 must be a multiple of 1 and fit in"),
        ([*patches, "--network", f"{tmp_path / 'broken.py'}:Net"], "its file cannot be run: line 1: ZeroDivisionError"),
        ([*patches, "--network", f"{tmp_path / 'small.py'}:Net"], "it cannot compute: line 5: AssertionError: small"),
        (["--images", str(bad), "--scale", "4"], "1 image(s) cannot be used"),
    ):  # fmt: skip
        result = CliRunner().invoke(main, [*words, *given, "--restart"])
        assert (result.exit_code, said in result.stderr) == (1, True), result.output
        assert {path.name: path.read_bytes() for path in run.iterdir()} == before, given
    assert CliRunner().invoke(main, [*words, *patches, "--seed", "1", "--restart"]).exit_code == 0
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert after.keys() == before.keys() and after["final.safetensors"] != before["final.safetensors"]


def test_first_weights_that_the_run_would_replace(photos: Path, tmp_path: Path) -> None:
    """Also where nothing is deleted: the first validation would write over them."""
    data, run = make_file(photos, tmp_path / "a.h5")[0], tmp_path / "run"
    save_weights(run / "best.safetensors", IDN(4))
    before = (run / "best.safetensors").read_bytes()
    words = ["train", "--data", str(data), "--steps", "1", "--batch", "4", "--validate-set", str(photos)]
    result = CliRunner().invoke(main, [*words, "--out", str(run), "--init", str(run / "best.safetensors")])
    assert result.exit_code == 1
    assert "would be replaced by this very run; name another folder with --out" in result.stderr
    assert (run / "best.safetensors").read_bytes() == before


def test_a_validation_set_with_a_damaged_picture(photos: Path, tmp_path: Path) -> None:
    """--skip-bad is for the pictures to train from, so it is not advised."""
    data, folder = make_file(photos, tmp_path / "a.h5")[0], tmp_path / "set"
    shutil.copytree(photos, folder)
    (folder / "zzz.png").write_bytes(b"no picture")
    words = [
        "train",
        "--data",
        str(data),
        "--steps",
        "1",
        "--validate-set",
        str(folder),
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    said = "cannot be used; mend them, or name another set or folder with --validate-set"
    assert result.stderr.splitlines()[-1].endswith(said)


def test_paper_takes_its_pictures_for_networks_in_colour_too(tmp_path: Path) -> None:
    words = [
        "train",
        "--preset",
        "paper",
        "--scale",
        "4",
        "--network",
        "idn_train.examples.espcn:ESPCN",
        "--channels",
        "3",
    ]
    result = CliRunner().invoke(main, [*words, "--data-root", str(tmp_path), "--out", str(tmp_path / "run")])
    assert result.exit_code == 1 and "291 is not in" in result.stderr


def test_another_validation_set_on_the_way(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, run = make_file(photos, tmp_path / "a.h5")[0], tmp_path / "run"
    (other := tmp_path / "other").mkdir()
    shutil.copy(photos / "street.png", other)
    words = ["train", "--data", str(data), "--batch", "4", "--out", str(run)]
    for steps, folder, anew in (("1", photos, False), ("2", photos, False), ("3", other, True), ("4", other, False)):
        caplog.clear()
        result = CliRunner().invoke(main, [*words, "--steps", steps, "--validate-set", str(folder)])
        assert result.exit_code == 0, result.output
        line = f"{run}: validated on other pictures than before; best.safetensors is chosen anew, and PSNR after step "
        line += "2 of metrics.csv is of these"
        assert ([record.getMessage() for record in caplog.records] == [line]) == anew


def test_two_trainings_in_one_folder(photos: Path, tmp_path: Path) -> None:
    data, run = make_file(photos, tmp_path / "a.h5")[0], tmp_path / "run"
    run.mkdir()
    command = [*COMMAND, "train", "--data", str(data), "--steps", "2", "--batch", "4", "--quiet",
               "--validate-set", str(tmp_path / "none"), "--out", str(run)]  # fmt: skip
    with hold(run):
        second = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert second.returncode == 1
    assert second.stderr.strip().endswith("wait for it, or name another output")
    assert list(run.iterdir()) == []
    assert CliRunner().invoke(main, command[len(COMMAND) :]).exit_code == 0
    assert (run / "final.safetensors").is_file()


@pytest.mark.parametrize(("clock", "good"), [(["--steps", "9"], 2), (["--minutes", "0.1"], 0)])
def test_a_full_memory_ends_in_one_line_that_names_a_smaller_batch(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[str], good: int
) -> None:
    """In a step, or where the number of threads is chosen."""
    data = make_file(photos, tmp_path / "a.h5")[0]
    forward, calls = IDN.forward, []

    def run_out(self: IDN, lr: torch.Tensor) -> torch.Tensor:
        calls.append(len(lr))
        if len(calls) > good:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, lr)

    monkeypatch.setattr(IDN, "forward", run_out)
    monkeypatch.setattr("idn_train.session.choose_threads", lambda step: step() or 1)
    command = ["train", "--data", str(data), "--batch", "8", *clock, "--validate-set", str(tmp_path / "none")]
    result = CliRunner().invoke(main, [*command, "--device", "cpu", "--out", str(tmp_path / "run")])
    assert result.exit_code == 1
    said = "idn: cpu: not enough memory for steps of batch 8; give a smaller one, --batch 4 say"
    assert result.stderr.splitlines()[-1] == said
    assert "Traceback" not in result.output
