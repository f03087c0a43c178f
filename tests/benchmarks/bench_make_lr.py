"""make-lr beside the decoding of HR and the encoding of LR alone, with the same library: one run, alternating.

IDN_DATA=... python tests/benchmarks/bench_make_lr.py [--pictures 100] [--scale 4] [--rounds 3]

HR are pictures of B100 or Set5, enlarged to 2040x1356, as PNG, in a temporary folder. The other side is Pillow
alone: each HR is opened and made an array, and pixels that are ready are saved with the same level, in a pool of as many
threads. It makes nothing else: no LR, no digest, no lock, no journal, no waiting for the disk. Times are of processes of their own, without their start.
Memory is the peak of such a process at 20 pictures and at all.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

from idn_data.images.decode import list_images
from idn_data.images.exact import COMPRESSION, read_exact
from idn_data.images.sets import find_data_root
from idn_data.lr.make import make_lr
from idn_data.matlab.compiled import load_kernels
from idn_data.matlab.resize import imresize
from idn_data.memory import keep_freed_memory
from idn_data.workers import count_workers, map_in_order

WIDTH, HEIGHT = 2040, 1356


def draw(folder: Path, count: int) -> None:
    """The HR: real pictures enlarged, some turned over, so that no two are alike."""
    root = find_data_root() / "test_data"
    sources = list_images(root / "B100" if (root / "B100").is_dir() else root / "Set5")

    def save(number: int) -> None:
        with Image.open(sources[number % len(sources)]) as picture:
            enlarged = picture.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        if number >= len(sources):
            enlarged = enlarged.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        enlarged.save(folder / f"{number:04}.png")

    folder.mkdir()
    for _ in map_in_order(save, range(count), 2):
        pass


def decode_and_encode(hr: Path, out: Path, scale: int) -> None:
    paths = list_images(hr)
    ready = [imresize(read_exact(path), 1 / scale) for path in paths[:4]]  # before the clock runs
    out.mkdir()

    def work(number: int) -> None:
        with Image.open(paths[number]) as picture:
            np.asarray(picture)
        Image.fromarray(ready[number % 4]).save(out / paths[number].name, compress_level=COMPRESSION)

    start = time.perf_counter(), time.process_time()
    for _ in map_in_order(work, range(len(paths)), count_workers()):
        pass
    print(time.perf_counter() - start[0], time.process_time() - start[1])


def make(hr: Path, out: Path, scale: int) -> None:
    load_kernels()
    load_kernels("idn_data.matlab.kernels8")
    load_kernels("idn_data.images.kernels")
    start = time.perf_counter(), time.process_time()
    make_lr(hr, out, scale)
    print(time.perf_counter() - start[0], time.process_time() - start[1])


def run(kind: str, hr: Path, out: Path, scale: int) -> tuple[float, float, float]:
    """Seconds, seconds of processors, and peak memory in MiB, of a process of its own."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, __file__, "--only", kind, "--hr", str(hr), "--out", str(out), "--scale", str(scale)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(answer[0]), float(answer[1]), float(answer[2])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="on the disk to be tried")
    parser.add_argument("--only", choices=("plain", "make"), help=argparse.SUPPRESS)
    parser.add_argument("--hr", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    scale = arguments.scale
    if arguments.only:
        keep_freed_memory()  # as the command does; the other side gets it as well
        (make if arguments.only == "make" else decode_and_encode)(arguments.hr, arguments.out, scale)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, Pillow {version('pillow')}; "
          f"{arguments.pictures} pictures of {WIDTH}x{HEIGHT}, x{scale}, PNG level {COMPRESSION}")  # fmt: skip
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        hr, few, out = Path(name, "hr"), Path(name, "few"), Path(name, "out")
        draw(hr, arguments.pictures)
        draw(few, 20)
        ratios = []
        for number in range(arguments.rounds):
            plain, idle, _ = run("plain", hr, out, scale)
            made, busy, peak = run("make", hr, out, scale)
            ratios.append(made / plain)
            again = time.perf_counter()
            make_lr(hr, out, scale)
            again = time.perf_counter() - again
            print(f"round {number + 1}: decoding and encoding {plain:.2f} s, make-lr {made:.2f} s ({ratios[-1]:.3f} times), "
                  f"of processors {idle:.2f} and {busy:.2f} s ({busy / idle:.3f} times), "
                  f"{arguments.pictures / made:.1f} pictures/s; again, all kept: {again:.2f} s", flush=True)  # fmt: skip
        _, _, small = run("make", few, out, scale)
        print(f"median {np.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f} times")
        print(f"peak memory: {small:.0f} MiB at 20 pictures, {peak:.0f} MiB at {arguments.pictures}")


if __name__ == "__main__":
    main()
