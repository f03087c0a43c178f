"""`idn make-train --dask local` with a worker killed in the middle of a shard: the files must be those of the serial way.

IDN_DATA=... python tests/faults/kill_dask.py [--kills 1] [--shards 8] [--workers 2] [--folder DIR] -- options of make-train

Makes the shards of the 291 images serially, then on a cluster of processes here; each kill is SIGKILL to the worker
that writes a random shard, while it writes. Prints what was killed and how many shards are identical (SHA-256); exit
code 1 if any is not, or anything else is left. Linux.
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
from hashlib import sha256
from pathlib import Path

OPTIONS = ["--scale", "4", "--storage", "uint8"]


def digest(folder: Path) -> dict[str, str]:
    """Everything in a folder, hidden files as well."""
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def find_writers(command: int) -> dict[int, str]:
    """Process id -> the temporary file it has mapped, of the workers of a command."""
    found = {}
    for children in Path(f"/proc/{command}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            try:
                maps = Path(f"/proc/{child}/maps").read_text()
            except OSError:  # it ended meanwhile
                continue
            if parts := [line.split()[-1] for line in maps.splitlines() if line.endswith(".part")]:
                found[child] = Path(parts[0]).name
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=1)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="on the disk to be tried")
    parser.add_argument("options", nargs="*", help=f"of make-train  [{' '.join(OPTIONS)}]")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        wanted: dict[str, str] = {}
        for way in ("serial", "dask"):
            out = Path(name, way)
            command = [sys.executable, "-m", "idn.cli", "make-train", "--out", str(out / "set.h5"), "--quiet",
                       "--shards", str(arguments.shards), *(arguments.options or OPTIONS)]  # fmt: skip
            if way == "dask":
                command += ["--dask", "local", "--workers", str(arguments.workers)]
            killed, seen, began = 0, set(), time.monotonic()
            # a worker is killed a random moment after it began one of these, counted as they begin
            targets = generator.sample(range(1, arguments.shards + 1), arguments.kills) if way == "dask" else []
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                while process.poll() is None and killed < len(targets):
                    for worker, part in find_writers(process.pid).items():
                        if part in seen:
                            continue
                        seen.add(part)
                        if len(seen) in targets:
                            time.sleep(generator.uniform(0.05, 0.8))
                            wrote = find_writers(process.pid).get(worker)
                            os.kill(worker, signal.SIGKILL)
                            killed += 1
                            print(f"kill {killed}: worker {worker}, which wrote {wrote or 'nothing'}; finished then: "
                                  f"{len(list(out.glob('set.*')))} of {arguments.shards}", flush=True)  # fmt: skip
                    time.sleep(0.01)
                process.communicate()
            found = digest(out)
            size = sum(p.stat().st_size for p in out.iterdir())
            print(
                f"{way}: exit code {process.returncode}, {time.monotonic() - began:.1f} s, {len(found)} file(s), {size / 1e9:.2f} GB",
                flush=True,
            )
            if way == "serial":
                wanted = found
                shutil.rmtree(out)
    same = sum(found.get(name) == value for name, value in wanted.items())
    extra = sorted(set(found) - set(wanted))
    print(
        f"{killed} of {arguments.workers} workers killed: {same} of {len(wanted)} shards identical (SHA-256); leftovers: {extra or 'none'}"
    )
    sys.exit(0 if same == len(wanted) == arguments.shards and not extra and killed == arguments.kills else 1)


if __name__ == "__main__":
    main()
