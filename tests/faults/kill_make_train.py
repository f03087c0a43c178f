"""`idn make-train` killed with SIGKILL and run again: the files must be those of a run left alone, and nothing else there.

IDN_DATA=... python tests/faults/kill_make_train.py [--kills 50] [--images 40] [--shards 1] -- further options of make-train

A third of the kills falls anywhere, a third while patches are cut, a third while the file goes to the disk and gets its
name. After each: what stands under a final name must be whole; then the same command must end with the same bytes.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from hashlib import sha256
from itertools import cycle, islice
from pathlib import Path

from idn_data.images.decode import list_images
from idn_data.images.sets import find_data_root, find_set
from idn_data.patches.recipe import name_shard

PHASES = ("anywhere", "cutting", "writing")


class Run:
    """One run of the command, whose progress is followed: when each phase began, once for each shard."""

    def __init__(self, command: list[str]) -> None:
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.times: dict[str, list[float]] = {"anywhere": [0.0], "cutting": [], "writing": []}
        self.reader = threading.Thread(target=self.follow, daemon=True)
        self.reader.start()

    def follow(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            phase = (
                "writing" if "writing to disk" in line else "cutting" if "cutting" in line or "shard" in line else ""
            )
            if phase:
                self.times[phase].append(time.monotonic() - self.began)

    def finish(self) -> str:
        out, _ = self.process.communicate()
        self.reader.join()
        if self.process.returncode:
            raise SystemExit(f"exit code {self.process.returncode}: {' '.join(self.process.args)}")  # type: ignore[arg-type]
        return out

    def kill(self, phase: str, number: int, wait: float) -> bool:
        """Kill `wait` seconds into the phase of a shard; whether it was still running."""
        while len(self.times[phase]) <= number and self.process.poll() is None:
            time.sleep(0.001)
        time.sleep(wait)
        alive = self.process.poll() is None
        self.process.kill()
        self.process.communicate()
        self.reader.join()
        return alive


def digest(folder: Path) -> dict[str, str]:
    return {p.name: sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("[!.]*"))}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="on the disk to be tried")
    parser.add_argument("options", nargs="*")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        images, out = Path(name, "images"), Path(name, "out")
        images.mkdir()
        for path in islice(list_images(find_set("291", find_data_root())), arguments.images):
            shutil.copyfile(path, images / path.name)
        command = [sys.executable, "-m", "idn.cli", "make-train", "--scale", "4", "--images", str(images),
                   "--out", str(out / "set.h5"), "--shards", str(arguments.shards), *arguments.options]  # fmt: skip
        whole = Run(command)
        last = out / name_shard("set.h5", arguments.shards - 1, arguments.shards)
        while whole.process.poll() is None and not last.exists():
            time.sleep(0.001)
        named = time.monotonic() - whole.began
        whole.finish()
        wanted, begun = digest(out), whole.times
        lengths = {"anywhere": named, "cutting": begun["writing"][-1] - begun["cutting"][-1],
                   "writing": named - begun["writing"][-1]}  # fmt: skip
        print(f"left alone: {named:.1f} s, {len(wanted)} file(s), {sum(p.stat().st_size for p in out.iterdir()) / 1e6:.0f} MB; "
              + ", ".join(f"{phase} {lengths[phase]:.2f} s" for phase in PHASES[1:]))  # fmt: skip
        counts, found, problems, phases = Counter(), Counter(), [], cycle(PHASES)
        while counts.total() < arguments.kills:
            shutil.rmtree(out)
            phase = next(phases)
            number = 0 if phase == "anywhere" else generator.randrange(arguments.shards)
            if Run(command).kill(phase, number, generator.uniform(0, lengths[phase])):
                counts[phase] += 1
            else:
                found["over already"] += 1
            left = digest(out) if out.is_dir() else {}
            hidden = [p.suffix for p in out.glob(".*")] if out.is_dir() else []
            found.update([f"left {suffix}" for suffix in set(hidden)] + [f"{len(left)} of {len(wanted)} files stood"])
            problems += [f"{name} broken after a kill while {phase}" for name in left if left[name] != wanted[name]]
            if set(left) != set(wanted) or arguments.shards > 1:
                found["kept"] += "kept" in Run(command).finish()
            if digest(out) != wanted:
                problems.append(f"after a kill while {phase}: other bytes")
            problems += [f"after a kill while {phase}: {p.name} left" for p in out.glob(".*")]
            print(f"{counts.total()} kills ({phase}): {len(left)} of {len(wanted)} stood, hidden {hidden or 'none'}; "
                  f"problems: {len(problems)}", flush=True)  # fmt: skip
    print(f"{counts.total()} kills ({', '.join(f'{n} {phase}' for phase, n in counts.items())}); {dict(sorted(found.items()))}; "
          f"problems: {problems or 'none'}; files afterwards " + ("identical" if not problems else "NOT IDENTICAL"))  # fmt: skip
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
