"""What it brings to a training on a processor that freed memory stays with the process: patches/s, and pages cleared.

    python tests/benchmarks/bench_heap.py [--scale 4] [--rounds 3]

Each measurement is a process of its own; with and without alternate round by round.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

SHAPES = ((64, 11, 24), (64, 19, 8), (256, 24, 3))  # patches, side of the LR patch, steps measured


def measure(scale: int, batch: int, patch: int, steps: int, keep: bool) -> None:
    """In the child: print patches/s, the part of the time that the system took, and pages cleared a step."""
    import torch

    from idn_train.config import make_config
    from idn_train.heap import keep_freed_memory
    from idn_train.learner import make_learner, make_step

    if keep and not keep_freed_memory():
        sys.exit("freed memory cannot be kept here: no glibc, or a MALLOC_ variable is set")
    config = make_config(scale, "pretrain", "paper", batch=batch)
    learner = make_learner(config, torch.device("cpu"))
    step = make_step(learner, config)
    learner.set_rate(1e-3, config.average, 1)
    lr, gt = torch.rand(batch, 1, patch, patch), torch.rand(batch, 1, scale * patch, scale * patch)
    for _ in range(2):
        step(lr, gt)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(steps):
        step(lr, gt)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    system = after.ru_stime - before.ru_stime
    share = system / (system + after.ru_utime - before.ru_utime)
    print(batch * steps / seconds, share, (after.ru_minflt - before.ru_minflt) / steps)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=4, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        batch, patch, steps, keep = arguments.child
        measure(arguments.scale, batch, patch, steps, bool(keep))
        return
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    for shape in SHAPES:
        seen: dict[bool, list[list[float]]] = {False: [], True: []}
        for _ in range(arguments.rounds):
            for keep in (False, True):
                words = [__file__, "--scale", arguments.scale, "--child", *shape, int(keep)]
                child = subprocess.run([sys.executable, *map(str, words)], env=environment, stdout=-1, check=True)
                seen[keep].append([float(word) for word in child.stdout.split()])
        print(f"{shape[0]} patches of {shape[1]}x{shape[1]}:", flush=True)
        for keep, rows in seen.items():
            speeds, shares, pages = (sorted(column) for column in zip(*rows, strict=True))
            print(f"  {'kept' if keep else 'given back':10}  {statistics.median(speeds):6.1f} patches/s "
                  f"({speeds[0]:.1f} to {speeds[-1]:.1f})  system {statistics.median(shares):5.1%}  "
                  f"{statistics.median(pages):9,.0f} pages a step")  # fmt: skip
        ratios = [b[0] / a[0] for a, b in zip(seen[False], seen[True], strict=True)]
        print(f"  ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})", flush=True)


if __name__ == "__main__":
    main()
