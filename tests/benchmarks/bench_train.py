"""The training loop beside the bare step, and beside the usual way with a DataLoader. One run, alternating.

IDN_DATA=... python tests/benchmarks/bench_train.py [--scale 4] [--rounds 5] [--steps 60]

bare     forward, loss, backward, Adam on one batch that lies ready
idn      idn_train.trainer.train on the real patch file: batches, schedule, checks, watching
usual    a Dataset that opens the HDF5 file for each item, DataLoader with 0 and with 2 workers, float32, NCHW
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import h5py
import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.data import DataLoader, Dataset

from idn_data.images.sets import find_data_root
from idn_data.patches.recipe import Recipe
from idn_train.batches import load_patches
from idn_train.config import make_config
from idn_train.device import choose_device, choose_precision
from idn_train.loss import compute_loss
from idn_train.network import IDN
from idn_train.optimizer import make_optimizers
from idn_train.trainer import Hooks, Status, train


class FileOfPatches(Dataset):
    """The usual way: what most trainers write first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with h5py.File(path) as file:
            self.count = len(file["lr"])

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        with h5py.File(self.path) as file:
            return torch.from_numpy(file["lr"][k]), torch.from_numpy(file["gt"][k])


class UsualIDN(IDN):
    """The same network as it is usually written: the transposed convolution itself, two dense bicubic matrices."""

    def reconstruct(self, features: torch.Tensor) -> torch.Tensor:
        s, (h, w) = self.scale, features.shape[2:]
        up = F.conv_transpose2d(features, self.upsample.weight, self.upsample.bias, stride=s, padding=9 - s)
        return F.pad(up, (0, s * w - up.shape[3], 0, s * h - up.shape[2]))[:, :, : s * h, : s * w]


def measure_usual(path: Path, scale: int, steps: int, workers: int) -> float:
    """Patches per second."""
    network = UsualIDN(scale).to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    began = 0.0
    for step, (lr, gt) in enumerate(DataLoader(FileOfPatches(path), 64, shuffle=True, num_workers=workers)):
        if step == 3:
            began = time.perf_counter()
        if step == steps + 3:
            break
        optimizer.zero_grad()
        compute_loss(network(lr), gt, "l2").backward()
        optimizer.step()
    return 64 * steps / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--preset", default="tensorflow")
    arguments = parser.parse_args()
    device = choose_device()
    path = find_data_root() / "train_data" / Recipe(arguments.scale, "pretrain").file_name
    config = replace(
        make_config(arguments.scale, "pretrain", arguments.preset, precision=choose_precision(device)),
        steps=arguments.steps + 10,
    )
    patches = load_patches([path], device)

    def measure_bare() -> float:
        network = IDN(config.scale).to(device)
        optimizers = make_optimizers(network, config)
        lr, gt = patches.take(torch.arange(config.batch, device=device))
        for step in range(arguments.steps + 10):
            if step == 10:
                synchronize()
                began = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                sr = network(lr)
            compute_loss(sr, gt, config.loss).backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        synchronize()
        return config.batch * arguments.steps / (time.perf_counter() - began)

    def synchronize() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def measure_idn() -> float:
        seen: list[tuple[int, float]] = []

        def note(count: list[int] = [0]) -> bool:  # noqa: B006 (asked once after each step)
            count[0] += 1
            if count[0] in (10, config.steps):
                synchronize()
                seen.append((count[0], time.perf_counter()))
            return False

        def watch(at: Status) -> None:
            """As the command line does: asked for once a second."""

        with tempfile.TemporaryDirectory() as folder:
            train(config, patches, Path(folder), hooks=Hooks(stop=note, watch=watch))
        (first, began), (last, ended) = seen
        return config.batch * (last - first) / (ended - began)

    ways = {
        "bare": measure_bare,
        "idn": measure_idn,
        "usual, 0 workers": lambda: measure_usual(path, config.scale, arguments.steps, 0),
        "usual, 2 workers": lambda: measure_usual(path, config.scale, arguments.steps, 2),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.rounds):
        for name, way in ways.items():
            rates[name].append(way())
            print(f"{name:<18}{rates[name][-1]:8.0f}", flush=True)
    print(f"x{config.scale}, {len(patches):,} patches, batch {config.batch}, {config.precision}, {device}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}; patches/s, median of {arguments.rounds}")  # fmt: skip
    for name, values in rates.items():
        print(f"{name:<18}{statistics.median(values):8.0f}   {min(values):.0f} to {max(values):.0f}")
    middle = {name: statistics.median(values) for name, values in rates.items()}
    print(f"idn / bare {middle['idn'] / middle['bare']:.3f}")
    print(f"idn / usual {middle['idn'] / max(middle['usual, 0 workers'], middle['usual, 2 workers']):.2f}")


if __name__ == "__main__":
    main()
