"""make-train beside the plain writing of the same bytes: h5py from memory, flush, fsync. One run, alternating.

IDN_DATA=... python tests/benchmarks/bench_make_train.py [--rounds 3] [--storage float32] [--folder DIR]
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np

from idn_data.images.sets import find_data_root, find_set
from idn_data.matlab.compiled import load_kernels
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import plan_train
from idn_data.patches.trainset import make_train


def write_plain(path: Path, count: int, recipe: Recipe, storage: str) -> float:
    """Seconds to write a file of the same datasets from memory: a block of 64 MiB, over and over."""
    p, g = recipe.lr_side, recipe.gt_side
    kind = np.uint8 if storage == "uint8" else np.float32
    step = (64 << 20) // (g * g * np.dtype(kind).itemsize)
    gt = np.random.default_rng(0).integers(0, 256, (step, 1, g, g)).astype(kind)
    lr = np.zeros((count, 1, p, p), np.float32)
    start = time.perf_counter()
    with h5py.File(path, "w") as file:
        file.create_dataset("lr", data=lr)
        data = file.create_dataset("gt", (count, 1, g, g), kind)
        for k in range(0, count, step):
            data.write_direct(gt[: min(step, count - k)], dest_sel=np.s_[k : k + step])
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
    return time.perf_counter() - start


def make(path: Path, recipe: Recipe, storage: str, workers: int) -> float:
    """Seconds for make-train, reading the images included, kernels warm."""
    images = find_set("291", find_data_root())
    start = time.perf_counter()
    made = plan_train(images, path, recipe, storage=storage, workers=workers)  # type: ignore[arg-type]
    make_train(made, force=True, workers=workers)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--storage", choices=("float32", "uint8"), default="float32")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--once", type=Path, help="only make this file, and print seconds and peak memory")
    arguments = parser.parse_args()
    recipe = Recipe(4, "pretrain")
    load_kernels()
    if arguments.once:
        seconds = make(arguments.once, recipe, arguments.storage, arguments.workers)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{seconds} {peak}")
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
          + ", ".join(f"{p} {version(p)}" for p in ("numpy", "numba", "h5py")))  # fmt: skip
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path, rows = Path(folder) / "idn_train_x4.h5", []
        for k in range(arguments.rounds):
            path.unlink(missing_ok=True)
            os.sync()
            plain = write_plain(path, 415_296, recipe, arguments.storage)
            path.unlink()
            os.sync()
            command = [sys.executable, __file__, "--once", str(path), "--storage", arguments.storage]
            command += ["--workers", str(arguments.workers)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, peak = map(float, answer.stdout.split())
            size = path.stat().st_size
            rows.append(seconds - plain)
            print(f"round {k + 1}: plain writing {plain:.2f} s, make-train {seconds:.2f} s ({rows[-1]:+.2f} s), "
                  f"{291 / seconds:.1f} images/s, {size / seconds / 1e6:.0f} MB/s, {size / 1e9:.3f} GB, peak memory {peak:.0f} MiB")  # fmt: skip
        print(f"longer than plain writing: median {np.median(rows):.2f} s, from {min(rows):.2f} to {max(rows):.2f} s")


if __name__ == "__main__":
    main()
