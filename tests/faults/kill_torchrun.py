"""`torchrun -m idn_train` of which one worker is killed with SIGKILL: started again, it must end with the same weights.

IDN_DATA=... python tests/faults/kill_torchrun.py [--kills 4] [--steps 200] -- further options of idn train

Two processes with gloo on the processor, float32. Each kill takes one of the two, at a random moment after a random
step. Prints each kill, how long torchrun then took to end, whether a worker outlived it, and how the final weights
differ from those of a run left alone. Exit code 1 if they differ beyond float's rounding, or anything is left. Linux.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import numpy as np

from idn_data.images.decode import list_images
from idn_data.images.sets import find_data_root, find_set
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import plan_train
from idn_data.patches.trainset import make_train
from idn_train.checkpoint import load_weights
from idn_train.metrics import read_rows
from idn_train.weightfile import read_tensors

PATIENCE = 120.0  # seconds in which torchrun must notice that a worker is gone


def find_workers(torchrun: int) -> dict[int, int]:
    """Rank -> process id of torchrun's workers."""
    found = {}
    for children in Path(f"/proc/{torchrun}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            said = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            ranks = [int(line[5:]) for line in said if line.startswith(b"RANK=")]
            found.update(dict.fromkeys(ranks, child))
    return found


def is_alive(process: int) -> bool:
    """Whether a process runs still; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def compare(first: Path, second: Path) -> float:
    """Largest difference between two networks' weights, as a part of the largest weight of its tensor."""
    a, b = (read_tensors(p / "final.safetensors")[0] for p in (first, second))
    assert a.keys() == b.keys()
    return max(float(np.abs(a[k] - b[k]).max() / np.abs(a[k]).max()) if a[k].any() else 0.0 for k in a)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="*")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for path in islice(list_images(find_set("291", find_data_root())), arguments.images):
            shutil.copyfile(path, folder / "images" / path.name)
        data = make_train(plan_train(folder / "images", folder / "patches.h5", Recipe(4, "pretrain")))[0]
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "idn_train",
                   "--data", str(data), "--batch", "8", "--steps", str(arguments.steps), "--precision", "float32",
                   "--device", "cpu", "--validate-set", str(folder / "none"), "--validate-every", "7", "--quiet",
                   *arguments.options]  # fmt: skip
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        log = (folder / "log").open("w+")

        def start(run: Path) -> subprocess.Popen[bytes]:
            return subprocess.Popen([*command, "--out", str(run)], env=environment, stdout=log, stderr=log)

        def fail(why: str) -> None:
            print((folder / "log").read_text()[-3000:])
            raise SystemExit(why)

        began = time.monotonic()
        whole, run = folder / "whole", folder / "killed"
        if start(whole).wait():
            fail("the run left alone failed; see above")
        print(
            f"left alone: {time.monotonic() - began:.1f} s, {arguments.steps} steps of batch 8 in two processes",
            flush=True,
        )

        targets = sorted(generator.sample(range(1, int(0.9 * arguments.steps)), arguments.kills))
        problems, killed = [], 0
        while not (run / "final.safetensors").exists():
            process, workers = start(run), {}
            while process.poll() is None and killed < len(targets):
                rows = read_rows(run / "metrics.csv")
                if rows and int(rows[-1]["step"]) >= targets[killed] and len(workers := find_workers(process.pid)) == 2:
                    time.sleep(generator.uniform(0, 1.0))
                    rank = killed % 2
                    os.kill(workers[rank], signal.SIGKILL)
                    killed += 1
                    break
                workers = {}
                time.sleep(0.02)
            moment = time.monotonic()
            try:
                code = process.wait(PATIENCE if workers else None)
            except subprocess.TimeoutExpired:
                problems.append(f"torchrun still ran {PATIENCE:.0f} s after rank {rank} was killed")
                process.kill()
                code = process.wait()
            left = [rank for rank, worker in workers.items() if is_alive(worker)]
            if left:
                problems.append(f"ranks {left} outlived torchrun")
                for rank in left:
                    os.kill(workers[rank], signal.SIGKILL)
            if not workers and code:
                fail(f"not killed, and exit code {code}; see above")
            for path in run.glob("*.safetensors"):
                try:
                    step = (
                        read_tensors(path)[1]["step"]
                        if path.name == "last.safetensors"
                        else load_weights(path)[1]["step"]
                    )
                except ValueError as error:
                    problems.append(str(error))
            if workers:
                print(f"kill {killed}, rank {rank} after step {targets[killed - 1]}: torchrun ended {time.monotonic() - moment:.1f} s later "
                      f"with exit code {code}; workers left: {left or 'none'}; state of step {step}", flush=True)  # fmt: skip
        difference = compare(whole, run)
        hidden = [p.name for p in run.iterdir() if p.name.startswith(".")]
        rows = [int(row["step"]) for row in read_rows(run / "metrics.csv")]
        if rows != [int(row["step"]) for row in read_rows(whole / "metrics.csv")]:
            problems.append(f"other rows in metrics.csv: {rows}")
        log.close()
    same = "identical" if difference == 0 else f"within {difference:.1e} of a tensor's largest weight"
    print(f"{killed} kills; problems: {problems or 'none'}; leftovers: {hidden or 'none'}; final weights {same}")
    sys.exit(1 if problems or difference > 1e-4 else 0)


if __name__ == "__main__":
    main()
