"""What MS-COCO takes: make-train measured here on the 291 images, carried over by pixels.

IDN_DATA=... python tests/benchmarks/plan_coco.py [--rounds 2] [--scale 4] [--stage pretrain] [--folder DIR]

Prints the rates of each storage, and a table of hours, bytes and machines. Patches and bytes follow from the sizes
of the images by the recipe itself; hours from the pixels/s measured, with the cost of reading the images first, which one
machine does. No disk that all machines share was measured: beside the hours stands the rate that it must bear.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from idn_data.images.sets import find_data_root, find_set
from idn_data.matlab.compiled import load_kernels
from idn_data.patches.header import STORAGES
from idn_data.patches.plan import count_patches
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import measure_patch, plan_train
from idn_data.patches.trainset import make_train
from idn_data.workers import count_workers

IMAGES, SIZE = 118_287, (480, 640)  # train2017; most are about 640 by 480
CORES = 2  # of a machine


def say(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--stage", default="pretrain")
    parser.add_argument("--folder", type=Path, help="on the disk to be tried")
    arguments = parser.parse_args()
    recipe, folder = Recipe(arguments.scale, arguments.stage), find_set("291", find_data_root())
    load_kernels()
    rows, coco = [], count_patches([SIZE] * 100, recipe) * IMAGES // 100
    print(f"make-train of the 291 images on {count_workers()} of {os.cpu_count()} cores, x{recipe.scale} {recipe.stage}, "
          f"load {os.getloadavg()[0]:.1f}; medians of {arguments.rounds}")  # fmt: skip
    for storage in STORAGES:
        reading, making = [], []
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
                began = time.perf_counter()
                made = plan_train(folder, Path(name) / "set.h5", recipe, storage=storage)
                planned = time.perf_counter()
                size = make_train(made)[0].stat().st_size
                reading.append(planned - began)
                making.append(time.perf_counter() - planned)
        pixels = sum(s.height * s.width for s in made.sources)
        count = made.estimate().patches
        read, cut = pixels / np.median(reading), pixels / np.median(making)
        print(f"{storage:<8} {count / np.median(making):,.0f} patches/s, {size / np.median(making) / 1e6:.0f} MB/s, "
              f"{cut / 1e6:.2f} million source pixels/s; reading {read / 1e6:.0f} million pixels/s; "
              f"{np.median(making):.1f} s, {min(making):.1f} to {max(making):.1f}")  # fmt: skip
        whole = IMAGES * SIZE[0] * SIZE[1]
        bytes_ = coco * measure_patch(recipe, storage)
        for machines in (1, 10, 100):
            hours = whole / read / 3600, whole / cut / machines / 3600
            rate = bytes_ / hours[1] / 3600
            rows.append(
                f"| {storage} | {bytes_ / 1e12:.2f} TB | {machines} | {say(hours[0])} + {say(hours[1])} | {rate / 1e9:.2f} GB/s |"
            )
    print(f"\nMS-COCO train2017: {IMAGES:,} images of {SIZE[1]}x{SIZE[0]}, {coco:,} patches\n")
    print(
        f"| storage | bytes | workers of {CORES} cores | reading + making | the shared disk must bear |\n|---|---:|---:|---:|---:|"
    )
    print("\n".join(rows))


if __name__ == "__main__":
    main()
