"""ESPCN for Y and RLFN for RGB by the command: trained, scored, enlarged, exported; and resumed exactly after a kill.

    python tests/benchmarks/own_networks.py --images 291 --set Set5 --minutes 10 --out runs

IDN_DATA names the data root. The kill is by SIGKILL in a run of 300 steps, once it has been validated twice; its weights
are compared bit for bit with those of a run that was left alone.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

NETWORKS = {
    "espcn": ["--network", "idn_train.examples.espcn:ESPCN"],
    "rlfn": ["--network", "idn_train.examples.rlfn:RLFN"],
}
CHANNELS = {"espcn": [], "rlfn": ["--channels", "3"]}
IDN = [sys.executable, "-m", "idn.cli"]


def run(*words: object) -> None:
    print("$ idn", *words, flush=True)
    subprocess.run([*IDN, *map(str, words)], check=True)


def resume(name: str, common: list[str], out: Path) -> bool:
    """Whether a run that was killed on its way ends with the weights of one that was not."""
    for part in ("whole", "cut"):
        shutil.rmtree(out / f"{name}_{part}", ignore_errors=True)
    steps = ["--steps", "300", "--validate-every", "30", "--quiet"]
    run("train", *common, *steps, "--out", out / f"{name}_whole")
    words = [*common, *steps, "--out", str(out / f"{name}_cut")]
    process = subprocess.Popen([*IDN, "train", *words])
    metrics = out / f"{name}_cut" / "metrics.csv"
    while process.poll() is None and not (metrics.is_file() and len(metrics.read_text().splitlines()) > 2):
        time.sleep(0.05)
    process.kill()
    print(
        f"killed: exit code {process.wait()}, after {metrics.read_text().splitlines()[-1].split(',')[0]} steps or more"
    )
    run("train", *words)
    whole, cut = (load_file(out / f"{name}_{part}" / "final.safetensors") for part in ("whole", "cut"))
    return whole.keys() == cut.keys() and all(np.array_equal(whole[k], cut[k]) for k in whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="291")
    parser.add_argument("--set", default="Set5")
    parser.add_argument("--scale", default="4")
    parser.add_argument("--minutes", type=float, default=10.0, help="0: the weights are there")
    parser.add_argument("--photo", type=Path, help="to enlarge")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    asked = parser.parse_args()
    for name, network in NETWORKS.items():
        data = ["--images", asked.images, "--scale", asked.scale, "--lr-patch", "24", "--validate-set", asked.set]
        common = [*data, *network, *CHANNELS[name], "--preset", "express", "--batch", "16"]
        weights = asked.out / name / "final.safetensors"
        if asked.minutes:
            run("train", *common, "--minutes", asked.minutes, "--out", asked.out / name, "--quiet")
        run("evaluate", weights, "bicubic", "--scale", asked.scale, *network, "--set", asked.set, "--protocol", "y")
        if asked.photo:
            run("upscale", asked.photo, "--weights", weights, *network, "--out", asked.out / f"{name}.png", "--force")
        run("export-onnx", weights, *network, "--out", asked.out / f"{name}.onnx", "--force")
        print(f"{name}: resumed exactly: {resume(name, common, asked.out)}", flush=True)


if __name__ == "__main__":
    main()
