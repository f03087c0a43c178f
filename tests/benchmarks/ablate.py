"""What each ingredient of the preset `express` is worth: trainings of equal length without it, as a Markdown table.

IDN_DATA=... python tests/benchmarks/ablate.py [--scale 4] [--steps 1000] [--seeds 1] [--final-seeds 3] [--out ablation]

Each training keeps its run in the folder and goes on where it was; a finished one is read, not made again. The last
column is processor time, so that a variant that takes longer to the same PSNR shows.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from idn_data.images.sets import find_data_root
from idn_data.patches.recipe import Recipe
from idn_data.scores.sets import open_set
from idn_train.batches import load_patches
from idn_train.clock import Cadence
from idn_train.config import make_config
from idn_train.device import choose_device, choose_precision
from idn_train.metrics import read_rows, write_rows
from idn_train.session import make_validation
from idn_train.trainer import Hooks, train

VARIANTS: dict[str, dict[str, Any]] = {
    "express": {},
    "no weight decay": {"weight_decay": 0.0},
    "Muon 3e-3": {"muon_rate": 3e-3},
    "L2": {"loss": "l2"},
    "no warm-up": {"warmup": 0},
    "He's reconstruction": {"reconstruction_std": 0.0},
    "no cosine": {"schedule": "steps"},
    "no mean of weights": {"average": 0.0},
    "neither cosine nor mean": {"schedule": "steps", "average": 0.0},
    "clip 1": {"clip": 1.0},
    "batch 32, twice the steps": {"batch": 32},
    "weight decay 1": {"weight_decay": 1.0},
    "Muon 12e-3": {"muon_rate": 12e-3},
    "weight decay 1, Muon 12e-3": {"weight_decay": 1.0, "muon_rate": 12e-3},
    "weight decay 1, Muon 3e-3": {"weight_decay": 1.0, "muon_rate": 3e-3},
    "weight decay 0.1, Muon 3e-3": {"weight_decay": 0.1, "muon_rate": 3e-3},
    "no weight decay, Muon 3e-3": {"weight_decay": 0.0, "muon_rate": 3e-3},
    # Adam's decay would be L2's, in the gradient
    "Adam 1e-3 for all, no decay": {"muon_rate": 0.0, "weight_decay": 0.0},
    "Adam 3e-3 for all, no decay": {"muon_rate": 0.0, "rate": 3e-3, "weight_decay": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--final-seeds", type=int, default=3)
    parser.add_argument("--only", action="append", default=[], help="variant; repeatable")
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    arguments = parser.parse_args()
    root, device = find_data_root(), choose_device()
    patches = load_patches([root / "train_data" / Recipe(arguments.scale, "pretrain").file_name], device)
    validate = make_validation(open_set("Set5", root), arguments.scale)
    results = arguments.out / "results.csv"
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, change in VARIANTS.items():
        if arguments.only and name not in arguments.only:
            continue
        for seed in range(arguments.final_seeds if name == "express" else arguments.seeds):
            rows = read_rows(results)
            key = {"scale": str(arguments.scale), "steps": str(arguments.steps), "variant": name, "seed": str(seed)}
            if any(all(row[k] == v for k, v in key.items()) for row in rows):
                continue
            steps = arguments.steps * (64 // change.get("batch", 64))
            config = make_config(
                arguments.scale, "pretrain", "express", **{"precision": choose_precision(device), **change},
                steps=steps, seed=seed,
            )  # fmt: skip
            began, folder = (
                time.process_time(),
                arguments.out / f"x{arguments.scale}_{arguments.steps}_{name}_{seed}".replace(" ", "_"),
            )
            train(config, patches, folder, cadence=Cadence(validate_steps=steps), hooks=Hooks(validate=validate))
            seconds = (time.process_time() - began) / torch.get_num_threads()
            psnr = read_rows(folder / "metrics.csv")[-1]["psnr"]
            write_rows(results, [*read_rows(results), {**key, "psnr": psnr, "seconds": f"{seconds:.0f}"}])
            print(f"{name}, seed {seed}: {psnr} dB, {seconds:.0f} s", flush=True)
    found: dict[str, list[tuple[float, float]]] = {}
    for row in read_rows(results):
        if (row["scale"], row["steps"]) == (str(arguments.scale), str(arguments.steps)):
            found.setdefault(row["variant"], []).append((float(row["psnr"]), float(row["seconds"])))
    print("\n| variant | seeds | PSNR on Set5, dB | spread | seconds |\n|---|---:|---:|---:|---:|")
    for name, values in found.items():
        psnr = [v for v, _ in values]
        spread = f"{max(psnr) - min(psnr):.3f}" if len(psnr) > 1 else "-"
        print(f"| {name} | {len(psnr)} | {statistics.mean(psnr):.3f} | {spread} | "
              f"{statistics.mean(s for _, s in values):.0f} |")  # fmt: skip


if __name__ == "__main__":
    main()
