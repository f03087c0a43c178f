"""10,000 mutated inputs for every reader: no traceback, no hang over 5 s, no crash, less than 1 GB of memory
beyond what the process holds after its imports (a torch built for CUDA alone has several).

python tests/faults/fuzz_readers.py [--inputs N] [--seed S] [--seconds T] [--keep FOLDER] [READER...]

Each reader works in a child process of its own, which is started again where it died. The inputs of findings are kept in
FOLDER. Prints a table, and every finding; exit code 1 if there is any.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[k]) for k in (1, 2)]  # tests, for support; the top, for cli

PATIENCE = 10.0  # seconds beyond the limit without a word from a child
ROOM = 2 << 30  # bytes of address space beyond what a child has at first: a net below the limit of memory in use


READERS = {  # each module imports what its readers need
    "images": "fuzzimages.Images", "photos": "fuzzimages.Photos", "patches": "fuzzpatches.Patches",
    "mat": "fuzzreferences.Mat", "testset": "fuzzreferences.TestSets", "json": "fuzzreferences.Json",
    "weights": "fuzzweights.Weights", "state": "fuzzweights.State", "caffemodel": "fuzzweights.Caffemodel",
    "csv": "fuzztables.Csv", "zip": "fuzztables.Zip", "commands": "fuzzcommands.Commands",
}  # fmt: skip


def open_reader(name: str, folder: Path) -> Any:
    """A reader by its name."""
    module, _, kind = READERS[name].partition(".")
    return getattr(importlib.import_module(f"support.{module}"), kind)(folder)


def work(name: str, seed: int, first: int, last: int, limit: float, folder: Path, keep: Path) -> None:
    """The child: a line of JSON for each input; what C libraries print counts as a finding."""
    from support.fuzzing import read_memory, try_input

    words, errors = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
    sys.excepthook = lambda *what: traceback.print_exception(*what, file=errors)  # the harness' own
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        reader = open_reader(name, folder)
        size, held, has_torch = read_memory("VmSize"), read_memory("VmRSS"), "torch" in sys.modules
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        before = os.fstat(printed.fileno()).st_size
        for number in range(first, last):
            state, seconds, peak, said = try_input(reader, name, seed, number, limit, held)
            if has_torch != ("torch" in sys.modules):
                raise RuntimeError(f"{name}: torch is imported while it reads; its __init__ is to import it")
            after = os.fstat(printed.fileno()).st_size
            if after != before:
                text = os.pread(printed.fileno(), after - before, before).decode(errors="replace")
                state, said, before = "finding", f"printed {text[:300]!r}; {said}", after
            if state == "finding":
                keep_input(folder, keep / f"{name}-{number}")
            words.write(json.dumps([number, state, seconds, peak, said[:600]]) + "\n")
            words.flush()


def run(name: str, count: int, seed: int, limit: float, keep: Path) -> dict:
    """All inputs of a reader; what came of them."""
    states, findings, slowest, peak, first = Counter(), [], 0.0, 0, 0
    began = time.monotonic()
    while first < count:
        folder = Path(tempfile.mkdtemp(prefix=f"idn-fuzz-{name}-"))
        child = subprocess.Popen(
            [sys.executable, __file__, "--child", name, str(seed), str(first), str(count), str(limit),
             str(folder), str(keep.resolve())],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        )  # fmt: skip
        rest, patience = b"", 600.0  # importing takes a while, compiling the kernels a minute
        while True:
            ready, _, _ = select.select([child.stdout], [], [], patience)
            part = os.read(child.stdout.fileno(), 1 << 16) if ready else b""
            if not part:
                break
            *lines, rest = (rest + part).split(b"\n")
            patience = limit + PATIENCE if lines else patience
            for line in lines:
                number, state, seconds, high, said = json.loads(line)
                states[state] += 1
                slowest, peak, first = max(slowest, seconds), max(peak, high), number + 1
                if state == "finding":
                    findings.append((number, said))
        hung = child.poll() is None and not ready
        if hung:
            child.kill()
        code = child.wait()
        if first < count:
            if code == 0:
                raise SystemExit(f"{name}: the child ended early")
            what = "hang" if hung else f"crash: {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            findings.append((first, what))
            states["finding"] += 1
            keep_input(folder, keep / f"{name}-{first}")
            if code > 0:  # the harness' own error
                raise SystemExit(f"{name}: the child fails to start; run it by hand: --child {name} {seed} 0 1 FOLDER")
            first += 1
        shutil.rmtree(folder, ignore_errors=True)
    return {"name": name, "states": states, "findings": findings, "slowest": slowest, "peak": peak,
            "seconds": time.monotonic() - began}  # fmt: skip


def keep_input(folder: Path, target: Path) -> None:
    """Copy what a reader was given."""
    if len(list(target.parent.glob("*"))) < 400:  # not for ever
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder, target, symlinks=True, ignore=lambda _, names: [n for n in names if n == "pipe"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="the longest that an input may take")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; all without")
    given = parser.parse_args()
    bad = 0
    for name in given.readers or READERS:
        if name not in READERS:
            parser.error(f"no reader {name!r}; one of {', '.join(READERS)}")
    print(
        f"{'reader':<12}{'inputs':>8}{'accepted':>10}{'refused':>9}{'findings':>10}{'slowest':>9}{'memory':>9}{'in all':>8}"
    )
    for name in given.readers or READERS:
        r = run(name, given.inputs, given.seed, given.seconds, given.keep)
        states = r["states"]
        print(f"{name:<12}{sum(states.values()):>8}{states['accepted']:>10}{states['refused']:>9}{states['finding']:>10}"
              f"{r['slowest']:>7.2f} s{r['peak'] / 1e6:>6.0f} MB{r['seconds']:>6.0f} s", flush=True)  # fmt: skip
        kinds = Counter(said.split("|")[-1][:100] if "|" in said else said[:60] for _, said in r["findings"])
        for number, said in r["findings"]:
            kind = said.split("|")[-1][:100] if "|" in said else said[:60]
            if kind in kinds:
                print(f"    {number} ({kinds.pop(kind)} alike): {said}", flush=True)
        bad += len(r["findings"])
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        work(sys.argv[2], *map(int, sys.argv[3:6]), float(sys.argv[6]), *map(Path, sys.argv[7:]))
    else:
        main()
