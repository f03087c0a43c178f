"""Puts trained weights where the package looks for them, with what made them and what they score.

IDN_DATA=... python tests/benchmarks/ship_weights.py WEIGHTS --machine "2 cores of ..." --command "idn train ..." [--command ...]

`--minutes` is the training time of earlier runs that WEIGHTS started from. Refuses weights that score less on any set
and protocol than the ones in place, or that lose a published SSIM which those reach, unless --force.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from idn_data.images.sets import find_data_root, find_present_sets
from idn_data.scores.benchmark import evaluate
from idn_data.scores.sets import open_set
from idn_data.scores.tables import format_comparison
from idn_train.checkpoint import load_weights, save_weights
from idn_train.upscale import make_method
from idn_train.weightfile import WEIGHTS, read_tensors


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("--machine", required=True)
    parser.add_argument("--command", action="append", required=True)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    network, metadata = load_weights(arguments.weights)
    root, found = find_data_root(), []
    for name in find_present_sets(root):
        found += evaluate(make_method(network, "IDN (ours)"), open_set(name, root), network.scale)[0]
    print(format_comparison(found))
    scores = {f"{s.set} {s.protocol}": {"psnr": round(s.psnr, 4), "ssim": round(s.ssim, 6)} for s in found}
    target = WEIGHTS / f"idn_x{network.scale}.safetensors"
    before = read_tensors(target)[1].get("scores", {}) if target.is_file() else {}
    worse = [key for key, value in before.items() if scores.get(key, value)["psnr"] < value["psnr"]]
    if worse and not arguments.force:
        sys.exit(f"{target} scores more on {', '.join(worse)}; it stays (--force replaces it)")
    lost = []
    for s in found:
        key = f"{s.set} {s.protocol}"
        if s.published_ssim is not None and round(s.ssim, 4) < s.published_ssim <= before.get(key, {}).get("ssim", 0.0):
            lost.append(key)
    if lost and not arguments.force:
        sys.exit(f"{target} reaches the published SSIM on {', '.join(lost)}; it stays (--force replaces it)")
    kept = ["recipe", "torch", "validation_psnr", "mean_of"]
    if not arguments.minutes:
        kept.append("step")  # of the last run alone, which would not go with the minutes of all
    facts = {name: metadata[name] for name in kept if name in metadata}
    minutes = round(arguments.minutes + float(metadata.get("minutes", 0.0)), 1)
    facts |= {"name": "IDN (ours)", "commands": arguments.command, "machine": arguments.machine, "minutes": minutes}
    target.parent.mkdir(exist_ok=True)
    save_weights(target, network, {**facts, "scores": scores}, force=True)
    print(f"{target}: {minutes} minutes of training")


if __name__ == "__main__":
    main()
