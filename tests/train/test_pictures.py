"""Training from whole pictures: the batches, their thread, the tensors' way, the grid, and the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from support.running import COMMAND

from cli import main
from idn_data import memory
from idn_data.patches import grid
from idn_data.patches.pool import Pool, read_pool
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import plan_train
from idn_data.patches.trainset import make_train
from idn_data.patches.windows import cut_windows, draw_windows
from idn_train.batches import Feed, load_patches
from idn_train.checkpoint import load_weights
from idn_train.config import Config
from idn_train.cutter import Cutter
from idn_train.data import PictureRequest, open_data, plan_data
from idn_train.pictures import Pictures, make_ahead
from idn_train.runstate import TrainingError
from idn_train.trainer import Hooks, train

CPU = torch.device("cpu")
RECIPE = Recipe(4, "pretrain", 5)
QUICK = Config(4, loss="l1", steps=6, batch=4, rate=1e-3, reconstruction_std=0.001, weight_decay=0.0)


@pytest.fixture
def pool(photos: Path) -> Pool:
    return read_pool([photos], RECIPE)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    return load_weights(path)[0].state_dict()


def same_weights(first: Path, second: Path) -> bool:
    a, b = read_weights(first), read_weights(second)
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def run(*command: str | Path) -> str:
    """The command in this process; its output."""
    result = CliRunner().invoke(main, [*map(str, command)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("scale", "boundary"), [(2, "symmetric"), (3, "replicate"), (4, "symmetric"), (4, "replicate")]
)
def test_tensors_cut_what_the_kernel_cuts(photos: Path, scale: int, boundary: str, channels: int) -> None:
    recipe = Recipe(scale, "pretrain", 60 // scale, boundary=boundary)  # type: ignore[arg-type]  # the two there are
    pool = read_pool([photos], recipe, channels=channels)
    draws = draw_windows(pool, 3, 0, 0, 96)
    corners = draws[:32].copy()  # half of them at the edges: patches of 60 of at most 131 pixels reach them often
    corners[::2, 3], corners[1::2, 4] = 0, corners[1::2, 2] - recipe.gt_side
    draws = np.concatenate([draws, corners])
    shapes = [(len(draws), channels, side, side) for side in (recipe.lr_side, recipe.gt_side)]
    lr, gt = (np.empty(shape, np.float32) for shape in shapes)
    cut_windows(pool, draws, lr, gt)
    for floats, limit in ((torch.float64, 1.2e-7), (torch.float32, 1e-6)):  # single's rounding, of values up to 2
        cutter = Cutter.make(pool, CPU)
        cutter = replace(cutter, matrix=cutter.matrix.to(floats))
        made_lr, made_gt = cutter.cut(torch.from_numpy(draws))
        assert made_lr.dtype == made_gt.dtype == torch.float32
        assert np.abs(made_lr.numpy() - lr).max() <= limit
        assert np.array_equal(made_gt.numpy(), gt)


@pytest.mark.parametrize("resident", [False, True])
def test_batches_follow_from_seed_epoch_and_number(pool: Pool, resident: bool) -> None:
    pictures = Pictures(pool, CPU, Cutter.make(pool, CPU) if resident else None)

    def list_sums(seed: int, epoch: int, start: int = 0, own: slice = slice(None)) -> list[float]:
        return [float(lr.double().sum()) for lr, _ in pictures.batches(500, seed, epoch, start, own)]

    whole = list_sums(1, 2)
    assert len(whole) == len(pictures) // 500 >= 4
    assert list_sums(1, 2, start=3) == whole[3:]
    assert not set(list_sums(1, 3)) & set(whole)
    assert not set(list_sums(2, 2)) & set(whole)
    parts = [list_sums(1, 2, own=slice(k, k + 250)) for k in (0, 250)]
    assert np.allclose(np.sum(parts, 0), whole, rtol=1e-12)
    lr, gt = pictures.sample(7)
    assert (lr.shape, gt.shape) == ((7, 1, 5, 5), (7, 1, 20, 20))


def test_a_gpus_way_by_the_thread_gives_the_same_patches(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: the meta device stands for one that has no room, and takes the shapes alone."""
    away = Pictures(pool, torch.device("meta"), None)
    shapes = [(lr.shape, gt.shape, gt.dtype) for lr, gt in away.batches(500, 0, 0)]
    assert len(shapes) == len(away) // 500
    assert set(shapes) == {((500, 1, 5, 5), (500, 1, 20, 20), torch.float32)}


def count_makers() -> int:
    return sum(thread.name.startswith("patches") for thread in threading.enumerate())


def test_the_thread_is_a_few_ahead_and_ends_with_its_iterator() -> None:
    made: list[int] = []
    numbers = make_ahead(lambda k: made.append(k) or k, range(100))
    assert [next(numbers) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert count_makers() == 1
    numbers.close()  # type: ignore[attr-defined]  # it is a generator
    assert count_makers() == 0
    assert made == list(range(len(made)))
    assert len(made) <= 7
    assert list(make_ahead(lambda k: k, range(3, 7))) == [3, 4, 5, 6]
    assert list(make_ahead(lambda k: k, range(0))) == []


def test_errors_of_the_thread_reach_the_user() -> None:
    def fail(number: int) -> int:
        if number == 2:
            raise OSError("the disk is gone")
        return number

    numbers = make_ahead(fail, range(100))
    assert [next(numbers), next(numbers)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(numbers)
    assert count_makers() == 0


def test_stopped_in_an_epoch_and_resumed_is_the_same_bit_for_bit(pool: Pool, tmp_path: Path) -> None:
    pictures = Pictures.place(pool, CPU)
    train(QUICK, pictures, tmp_path / "whole")
    for stop_at in (1, 4):
        asked: list[int] = []

        def stop(at: int = stop_at, asked: list[int] = asked) -> bool:
            asked.append(1)
            return len(asked) >= at

        folder = tmp_path / str(stop_at)
        assert train(QUICK, pictures, folder, hooks=Hooks(stop=stop)).name == "last.safetensors"
        assert count_makers() == 0
        train(QUICK, pictures, folder)
        assert same_weights(tmp_path / "whole" / "final.safetensors", folder / "final.safetensors")


def test_a_run_is_not_resumed_with_other_pictures(photos: Path, pool: Pool, tmp_path: Path) -> None:
    train(replace(QUICK, steps=1), Pictures.place(pool, CPU), tmp_path / "run")
    replicated = replace(RECIPE, boundary="replicate")
    for other in (
        read_pool([photos], RECIPE, leave_out=[photos / "water.png"]),
        read_pool([photos], replicated),
    ):
        with pytest.raises(TrainingError, match=r"holds a run with data='y-at-random-5:.*, not 'y-at-random-5"):
            train(replace(QUICK, steps=1), Pictures.place(other, CPU), tmp_path / "run")


def open_grid(photos: Path, seed: int = 0, **given: object) -> Feed:
    request = PictureRequest((photos,), True, lr_patch=5, **given)  # type: ignore[arg-type]  # each test's own
    return open_data(plan_data((), request, 4, None, photos), CPU, seed, photos)


@pytest.mark.parametrize("seed", [0, 3])
def test_the_grid_is_the_file(photos: Path, tmp_path: Path, seed: int) -> None:
    """Patches, order, name and weights; so a run that was begun with the file goes on without it."""
    made = plan_train(photos, tmp_path / "a.h5", replace(RECIPE, boundary="replicate"), seed=seed)
    file, cut = load_patches(make_train(made)), open_grid(photos, seed, boundary="replicate")
    assert torch.equal(file.lr, cut.lr)  # type: ignore[attr-defined]  # both are Patches
    assert torch.equal(file.gt, cut.gt)  # type: ignore[attr-defined]
    assert file.digest == cut.digest
    assert len(file) == len(cut)


def test_the_grid_of_several_folders_is_several_files(photos: Path, tmp_path: Path) -> None:
    paths = [make_train(plan_train(photos, tmp_path / name, RECIPE, seed=2))[0] for name in ("a.h5", "b.h5")]
    file = load_patches(paths)
    request = PictureRequest((photos, photos), True, lr_patch=5)
    cut = open_data(plan_data((), request, 4, None, photos), CPU, 2, photos)
    assert torch.equal(file.lr, cut.lr)  # type: ignore[attr-defined]  # both are Patches
    assert file.digest == cut.digest


def test_a_grid_too_large_for_memory_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid, "find_free_memory", lambda: 1000)
    with pytest.raises(
        ValueError, match=r"patches of the grid take [\d.]+ MB, 1,000 bytes of memory are free; leave out"
    ):
        open_grid(photos)


def test_what_cannot_be_planned_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder of pictures was named"):
        PictureRequest(())
    request = PictureRequest((photos,))
    with pytest.raises(ValueError, match=r"pictures and the patch file a\.h5 were named; train from one of both"):
        plan_data([Path("a.h5")], request, 4, None, tmp_path)
    with pytest.raises(ValueError, match="pictures have no scale; name it, one of 2, 3, 4"):
        plan_data([], request, None, None, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no set or folder 'nowhere'"):
        plan_data([], PictureRequest((Path("nowhere"),)), 4, None, tmp_path)
    assert plan_data([], request, 4, None, tmp_path).stage == "pretrain"


def test_the_command_from_file_and_from_grid_gives_the_same_weights(photos: Path, tmp_path: Path) -> None:
    run("make-train", "--images", photos, "--scale", 4, "--lr-patch", 5, "--seed", 6, "--out", tmp_path / "a.h5", "-q")
    common = ["--steps", 20, "--batch", 8, "--seed", 6, "--preset", "express", "--validate-set", "none", "-q"]
    run("train", "--data", tmp_path / "a.h5", *common, "--out", tmp_path / "file")
    cut = ["train", "--images", photos, "--scale", 4, "--lr-patch", 5, *common]
    run(*cut, "--grid", "--out", tmp_path / "grid")
    assert same_weights(tmp_path / "file" / "final.safetensors", tmp_path / "grid" / "final.safetensors")
    assert run(*cut, "--grid", "--out", tmp_path / "file")  # goes on, with nothing left to do
    other = CliRunner().invoke(main, [*map(str, cut), "--out", str(tmp_path / "file")])
    assert other.exit_code == 1
    assert "holds a run with data=" in other.output


@pytest.mark.parametrize(("free", "place"), [(1 << 40, "memory"), (1000, "a temporary file")])
def test_the_first_line_says_what_lies_where(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, place: str
) -> None:
    monkeypatch.setattr(memory, "find_free_memory", lambda: free)
    command = ["train", "--images", photos, "--scale", 4, "--steps", 1, "--batch", 4, "--validate-set", "none"]
    said = run(*command, "--out", tmp_path / "r")
    assert "5 pictures in 25 planes, " in said
    assert f" of 8-bit Y in {place}, " in said
    assert " patches an epoch at " in said
    assert " positions of 44x44, " in said
    written = {path.name for path in (tmp_path / "r").iterdir()}
    assert written == {"final.safetensors", "last.safetensors", "metrics.csv"}  # the file is gone


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--images", "a", "--scale", "4", "--data", "a.h5"], "--images trains from pictures, --data from patch files"),
        (["--images", "a"], "--images needs --scale, such as 4"),
        (["--grid"], "--grid says how patches are cut from pictures; give it with --images DIR"),
        (["--lr-patch", "9"], "--lr-patch says how patches are cut"),
        (["--boundary", "replicate"], "--boundary says how patches are cut"),
        (["--skip-bad"], "--skip-bad says how patches are cut"),
    ],
)
def test_options_that_do_not_fit_together_are_wrong_usage(options: list[str], text: str) -> None:
    result = CliRunner().invoke(main, ["train", *options])
    assert result.exit_code == 2
    assert text in " ".join(result.output.split())


def test_bad_pictures_are_refused_or_left_out(photos: Path, tmp_path: Path) -> None:
    (photos / "empty.png").write_bytes(b"")
    command = [
        "train",
        "--images",
        photos,
        "--scale",
        4,
        "--steps",
        1,
        "--validate-set",
        "none",
        "--out",
        tmp_path / "r",
    ]
    result = CliRunner().invoke(main, [*map(str, command)])
    assert result.exit_code == 1
    assert "empty.png: the file is empty" in result.output
    assert "leave them out with --skip-bad" in result.output
    assert "5 pictures (1 left out) in 25 planes" in run(*command, "--skip-bad")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_an_interrupted_training_ends_and_can_go_on(photos: Path, tmp_path: Path) -> None:
    """With its thread at work: it must not keep the process."""
    command = [*COMMAND, "train", "--images", str(photos), "--scale", "4", "--lr-patch", "5", "--batch", "4",
               "--validate-set", "none", "--steps", "100000", "--out", str(tmp_path / "run")]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        assert "/100,000" in next(line for line in process.stderr if "loss" in line)  # it trains
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    assert "the same command goes on from" in said


@pytest.mark.cuda
@pytest.mark.parametrize("resident", [True, False])
def test_a_gpu_gets_the_patches_of_the_kernel(photos: Path, resident: bool) -> None:
    """Made there of the pictures, or by the thread and brought there: the same draws, equal within float32."""
    pool, cuda = read_pool([photos], RECIPE), torch.device("cuda")
    here = Pictures.place(pool, CPU)
    there = Pictures(pool, cuda, Cutter.make(pool, cuda) if resident else None)
    batches = zip(here.batches(200, 1, 2), there.batches(200, 1, 2), strict=True)
    for (lr, gt), (made_lr, made_gt) in batches:
        assert made_lr.device.type == "cuda"
        assert float((made_gt.cpu() - gt).abs().max()) <= 6e-8  # a GPU multiplies by 1/255
        assert float((made_lr.cpu() - lr).abs().max()) <= (1.2e-7 if resident else 0)
    assert Pictures.place(pool, cuda).cutter is not None
