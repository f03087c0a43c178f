"""On a GPU: what is chosen there, pictures and scores equal to the processor's, and a memory that is too small.

``pytest -m cuda`` runs all tests that need one. Those of the captured step, of patches and of tensors lie beside what
they test.
"""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support.drawing import draw_photo

from cli import main
from idn_data.images.decode import read_image
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import plan_train
from idn_data.patches.trainset import make_train
from idn_train.device import choose_device, choose_precision
from idn_train.loss import compute_loss
from idn_train.network import IDN
from idn_train.upscale import upscale_photo

pytestmark = pytest.mark.cuda


# These two are the first of all: what later tests leave in the GPU's memory would be lent to them as well.


@contextmanager
def lend_memory(megabytes: int) -> Iterator[None]:
    """This much of the GPU's memory, and no more, for the time of the block."""
    gc.collect()  # graphs of earlier tests keep their memory until they go
    torch.zeros(1, device="cuda")  # what a context takes does not count
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + megabytes * 1e6) / whole)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_small_memory_gets_smaller_tiles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Image.fromarray(draw_photo(360, 380, 1)).save(tmp_path / "a.png")
    network = IDN.from_pretrained(2).to("cuda")
    upscale_photo(network, tmp_path / "a.png", tmp_path / "whole.png")
    with lend_memory(150), caplog.at_level(logging.WARNING):
        upscale_photo(network, tmp_path / "a.png", tmp_path / "tiled.png")
    said = [record.message for record in caplog.records]
    assert said[0] == "cuda:0: not enough memory; going on with tiles of 190 pixels"  # and smaller ones, if need be
    assert all("going on with tiles of" in line for line in said)
    steps = np.abs(read_image(tmp_path / "whole.png").astype(int) - read_image(tmp_path / "tiled.png"))
    assert steps.max() <= 1


def test_a_small_memory_ends_a_training_in_one_line(photos: Path, tmp_path: Path) -> None:
    (path,) = make_train(plan_train(photos, tmp_path / "a.h5", Recipe(2, "pretrain", 10)))
    command = ["train", "--data", str(path), "--batch", "512", "--steps", "2", "--no-compile"]
    where = ["--device", "cuda", "--validate-set", str(tmp_path / "none"), "--out", str(tmp_path / "run")]
    with lend_memory(100):
        result = CliRunner().invoke(main, [*command, *where])
    assert result.exit_code == 1
    said = "idn: cuda:0: not enough memory for steps of batch 512; give a smaller one, --batch 256 say"
    assert result.stderr.splitlines()[-1] == said
    assert "Traceback" not in result.output


def test_auto_takes_the_gpu_in_its_own_precision() -> None:
    device = choose_device()
    assert device == torch.device("cuda:0")
    assert choose_precision(device) == ("bf16" if torch.cuda.get_device_capability() >= (8, 0) else "float32")
    with pytest.raises(ValueError, match="no device 'cuda:99' here; one of auto, cpu, cuda"):
        choose_device("cuda:99")


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("tile", [384, 40])
def test_photos_are_the_processors_within_one_step(tmp_path: Path, scale: int, tile: int) -> None:
    Image.fromarray(draw_photo(91, 120, scale)).save(tmp_path / "a.png")
    for name in ("cpu", "cuda"):
        network = IDN.from_pretrained(scale).to(name)
        upscale_photo(network, tmp_path / "a.png", tmp_path / f"{name}.png", tile=tile)
    steps = np.abs(read_image(tmp_path / "cpu.png").astype(int) - read_image(tmp_path / "cuda.png"))
    assert steps.max() <= 1 and (steps > 0).mean() < 1e-3


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_scores_are_the_processors_to_1e_4_db(photos: Path, precision: str) -> None:
    """Also where products of float32 may be rounded to TF32, as they may in convolutions by default."""
    scores = {}
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        for name in ("cpu", "cuda", "auto"):
            command = [
                "evaluate",
                "idn",
                "--set",
                str(photos),
                "--scale",
                "2",
                "--scale",
                "4",
                "--json",
                "-",
                "--quiet",
            ]
            result = CliRunner().invoke(main, [*command, "--device", name])
            assert result.exit_code == 0, result.output
            scores[name] = [(row["psnr"], row["ssim"]) for row in json.loads(result.stdout)]
    finally:
        torch.set_float32_matmul_precision(before)
    assert scores["auto"] == scores["cuda"]  # and the same once more
    psnr, ssim = np.abs(np.subtract(scores["cpu"], scores["cuda"])).max(axis=0)
    assert psnr < 1e-4 and ssim < 1e-6


def test_gradients_are_the_processors() -> None:
    """Grouped convolutions are spread out there, and the bicubic is not: one step's gradients, in float32."""
    generator = torch.Generator().manual_seed(0)
    lr, gt = torch.rand(4, 1, 14, 14, generator=generator), torch.rand(4, 1, 28, 28, generator=generator)
    gradients = []
    for name in ("cpu", "cuda"):
        network = IDN(2)
        network.reset_parameters(torch.Generator().manual_seed(1), 0.001)
        network.to(name)
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            compute_loss(network(lr.to(name)), gt.to(name), "l2").backward()
        gradients.append({key: p.grad.cpu() for key, p in network.named_parameters() if p.grad is not None})
    assert len(gradients[0]) == 62
    for key, own in gradients[0].items():
        assert float((gradients[1][key] - own).norm()) <= 1e-4 * float(own.norm()), key
