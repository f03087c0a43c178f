"""From what a user asked for to what the trainer needs: starting weights, validation, records."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from idn_data.pictures import save_picture
from idn_data.scores.benchmark import evaluate
from idn_data.scores.methods import BICUBIC
from idn_train.device import choose_threads
from idn_train.loss import compute_loss
from idn_train.metrics import open_tensorboard
from idn_train.network import IDN
from idn_train.report.curves import draw_curve
from idn_train.runstate import TrainingError
from idn_train.upscale import make_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from idn_data.scores.sets import TestSet
    from idn_train.batches import Patches
    from idn_train.config import Config


def find_init(config: Config, folder: Path) -> Path | None:
    """The weights a fine-tuning in `folder` starts from: those of the pretrained run of its scale, beside it."""
    if config.stage != "finetune":
        return None
    path = folder.parent / f"pretrain_x{config.scale}" / "final.safetensors"
    if not path.is_file():
        raise TrainingError(
            f"fine-tuning starts from {path}, which is not there; pretrain it, or name weights by --init"
        )
    return path


def make_validation(test_set: TestSet, scale: int) -> Callable[[IDN], float]:
    """PSNR in dB of a network on a test set: mean over its images, float protocol."""
    return lambda network: evaluate(make_method(network, "IDN"), test_set, scale, ["float"])[0][0].psnr


@contextlib.contextmanager
def limit_threads(config: Config, patches: Patches) -> Iterator[int]:
    """As many threads as train quickest beside what else the machine computes now, for the time of the block."""
    before = torch.get_num_threads()
    lr, gt = patches.take(torch.arange(min(16, config.batch, len(patches))))
    network, bf16 = IDN(config.scale), config.precision == "bf16"

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            sr = network(lr)
        compute_loss(sr, gt, config.loss).backward()

    torch.set_num_threads(threads := choose_threads(step))
    try:
        yield threads
    finally:
        torch.set_num_threads(before)


def make_record(
    folder: Path, title: str, test_set: TestSet | None, scale: int, tensorboard: bool = False
) -> Callable[[list[dict[str, str]], IDN], None]:
    """What a run draws after each validation: psnr.png, and TensorBoard's scalars and one SR image if wanted."""
    levels = {}
    if test_set is not None:
        levels["bicubic"] = evaluate(BICUBIC, test_set, scale, ["float"])[0][0].psnr
    add = open_tensorboard(folder / "tensorboard") if tensorboard else None

    def record(rows: list[dict[str, str]], network: IDN) -> None:
        picture = draw_curve(rows, title, levels)
        if picture is not None:
            save_picture(picture, folder / "psnr.png", force=True)
        if add is not None:
            pair = test_set.list_pairs(scale)[0]() if test_set is not None else None
            sr = make_method(network, "IDN").upscale(pair.lr, scale) if pair else None
            add(rows[-1], pair.name if pair else "", sr)

    return record
