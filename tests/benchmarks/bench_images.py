"""Training from many large pictures: memory, seconds until the first step, and patches/s beside the bare step.

IDN_DATA=... python tests/benchmarks/bench_images.py [--pictures 800] [--rounds 5] [--steps 60] [--out DIR]

The pictures are 2040x1356, PNG, made of the 291 by enlarging them: as many bytes and as much to decode as DIV2K's.

bare     forward, loss, backward, optimizers on one batch that lies ready
idn      idn_train.trainer.train from the pictures, at random positions, with watching
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from idn_data.atomic import format_bytes
from idn_data.images.decode import list_images
from idn_data.images.sets import find_data_root
from idn_data.patches.windows import cut_windows, draw_windows
from idn_data.workers import count_workers, map_in_order
from idn_train.batches import Feed
from idn_train.config import Config, make_config
from idn_train.data import PictureRequest, open_data, plan_data
from idn_train.device import choose_device, choose_precision
from idn_train.learner import make_learner, make_step
from idn_train.pictures import Pictures
from idn_train.trainer import Hooks, Status, train

SIZE = (2040, 1356)
FIRST = 10  # steps that are not timed


def make_pictures(folder: Path, count: int) -> None:
    """Enlarged pictures of the 291, with noise of their own: no two are alike, and PNG has something to do."""
    sources = list_images(find_data_root() / "train_data" / "291")

    def make(number: int) -> None:
        with Image.open(sources[number % len(sources)]) as source:
            pixels = np.asarray(source.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC), np.int16)
        noise = np.random.default_rng(number).integers(-3, 4, pixels.shape, np.int16)
        whole = np.clip(pixels + noise, 0, 255).astype(np.uint8)  # safe: clipped
        Image.fromarray(whole).save(folder / f"{number:04}.png", compress_level=1)

    for done, _ in enumerate(map_in_order(make, range(count), count_workers()), 1):
        if done % 50 == 0:
            print(f"{done} pictures made", flush=True)


def read_memory(name: str) -> int:
    """Bytes of this process, by a line of /proc/self/status: VmHWM, RssAnon, RssFile …; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


class Meter:
    """Runs of the same steps, timed in the same way."""

    def __init__(self, config: Config, feed: Feed, compiled: bool) -> None:
        self.config, self.feed, self.compiled = config, feed, compiled

    def wait(self) -> float:
        if self.feed.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def measure_bare(self) -> float:
        """Patches per second of the step alone."""
        config, device = self.config, self.feed.device
        learner = make_learner(config, device, None, self.compiled and device.type == "cuda")
        step = make_step(learner, config, compiled=self.compiled)
        lr, gt = self.feed.sample(config.batch)
        for number in range(config.steps):
            if number == FIRST:
                began = self.wait()
            learner.set_rate(1.0, config.average, number)
            step(lr, gt)
        return config.batch * (config.steps - FIRST) / (self.wait() - began)

    def measure_idn(self) -> float:
        """Patches per second of `train`."""
        seen: list[float] = []
        count = [0]

        def note() -> bool:
            count[0] += 1
            if count[0] in (FIRST, self.config.steps):
                seen.append(self.wait())
            return False

        def watch(at: Status) -> None:
            """As the command line does: asked for once a second."""

        with tempfile.TemporaryDirectory() as folder:
            train(self.config, self.feed, Path(folder), compiled=self.compiled, hooks=Hooks(stop=note, watch=watch))
        return self.config.batch * (self.config.steps - FIRST) / (seen[1] - seen[0])


def measure_cutting(feed: Pictures, batch: int) -> float:
    """Milliseconds that the thread needs for a batch, with nothing beside it."""
    recipe, taken = feed.pool.recipe, []
    lr = np.empty((batch, 1, recipe.lr_side, recipe.lr_side), np.float32)
    gt = np.empty((batch, 1, recipe.gt_side, recipe.gt_side), np.float32)
    for number in range(30):
        began = time.perf_counter()
        cut_windows(feed.pool, draw_windows(feed.pool, 0, 0, number, batch), lr, gt)
        taken.append(time.perf_counter() - began)
    return 1e3 * statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=800)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--stage", default="pretrain")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, help="where the pictures go, and stay; a temporary folder otherwise")
    arguments = parser.parse_args()
    device = choose_device()
    precision = choose_precision(device)
    config = make_config(arguments.scale, arguments.stage, "express", precision=precision, batch=arguments.batch)
    config = replace(config, steps=arguments.steps + FIRST)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.out or Path(scratch, "pictures")
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.iterdir()):
            make_pictures(folder, arguments.pictures)
        before, began = read_memory("VmRSS"), time.perf_counter()
        data = plan_data((), PictureRequest((folder,)), arguments.scale, arguments.stage, find_data_root())
        feed = open_data(data, device, 0, Path(scratch))
        assert isinstance(feed, Pictures)
        reading = time.perf_counter() - began
        next(iter(feed.batches(arguments.batch, 0, 0)))
        print(f"read in {reading:.1f} s, first batch after {time.perf_counter() - began:.1f} s; {feed.describe()}")
        print(f"memory {format_bytes(read_memory('VmRSS'))}, {format_bytes(before)} before; "
              f"most {format_bytes(read_memory('VmHWM'))}, of it files {format_bytes(read_memory('RssFile'))}")  # fmt: skip
        print(f"one batch of {arguments.batch} by one thread alone: {measure_cutting(feed, arguments.batch):.2f} ms")
        meter = Meter(config, feed, device.type == "cuda")
        rates: dict[str, list[float]] = {"bare": [], "idn": []}
        for _ in range(arguments.rounds):
            for name, measure in (("bare", meter.measure_bare), ("idn", meter.measure_idn)):
                rates[name].append(measure())
                print(f"{name:<6}{rates[name][-1]:8.0f}", flush=True)
        print(f"x{arguments.scale} {arguments.stage}, batch {config.batch}, {config.precision}, {device}, "
              f"{torch.get_num_threads()} threads, torch {torch.__version__}; patches/s, median of {arguments.rounds}")  # fmt: skip
        for name, values in rates.items():
            print(f"{name:<6}{statistics.median(values):8.0f}   {min(values):.0f} to {max(values):.0f}")
        print(f"idn / bare {statistics.median(rates['idn']) / statistics.median(rates['bare']):.3f}")


if __name__ == "__main__":
    main()
