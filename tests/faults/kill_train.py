"""`idn train` killed with SIGKILL at random moments and started again: the weights must be those of a run left alone.

IDN_DATA=... python tests/faults/kill_train.py [--kills 10] [--steps 120] [--precision auto] -- further options of idn train

Prints each kill and the verdict; exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from idn_train.checkpoint import load_weights
from idn_train.metrics import read_rows
from idn_train.weightfile import read_tensors


def digest(path: Path) -> str:
    """SHA-256 of the weights, without what is said of the minutes they took."""
    tensors = read_tensors(path)[0]
    return sha256(b"".join(tensors[name].tobytes() for name in sorted(tensors))).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="*")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "idn.cli", "train", "--steps", str(arguments.steps), "--validate-every", "7",
                   "--quiet", *arguments.options]  # fmt: skip
        began = time.monotonic()
        subprocess.run([*command, "--out", f"{folder}/whole"], check=True, stdout=subprocess.DEVNULL)
        length = time.monotonic() - began
        print(f"left alone: {length:.1f} s, {digest(Path(folder, 'whole', 'final.safetensors'))[:16]}")
        # each kill comes when a random step was logged and a random moment has passed, so that all fall into the run
        targets = sorted(generator.sample(range(1, int(0.9 * arguments.steps)), arguments.kills))
        killed, broken, attempts = 0, [], 0
        run = Path(folder, "killed")
        while not (run / "final.safetensors").exists():
            attempts += 1
            with subprocess.Popen([*command, "--out", str(run)], stdout=subprocess.DEVNULL) as process:
                while killed < len(targets) and process.poll() is None:
                    rows = read_rows(run / "metrics.csv")
                    if rows and int(rows[-1]["step"]) >= targets[killed]:
                        time.sleep(generator.uniform(0, 1.5))
                        process.kill()
                        killed += 1
                        break
                    time.sleep(0.02)
                process.wait()
            step = "no state yet"
            for path in run.glob("*.safetensors"):
                try:
                    said = read_tensors(path)[1]
                    if path.name == "last.safetensors":
                        step = f"state of step {said['step']}"
                    else:
                        load_weights(path)
                except ValueError as error:
                    broken.append(str(error))
            print(f"attempt {attempts}, {killed} kills, {step}", flush=True)
        same = digest(run / "final.safetensors") == digest(Path(folder, "whole", "final.safetensors"))
        left = [p.name for p in run.iterdir() if p.name.startswith(".")]
    print(f"{killed} kills; broken files: {broken or 'none'}; leftovers: {left or 'none'}; final weights "
          + ("identical" if same else "DIFFER"))  # fmt: skip
    sys.exit(0 if same and not broken else 1)


if __name__ == "__main__":
    main()
