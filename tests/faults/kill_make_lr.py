"""`idn make-lr` killed with SIGKILL and run again: nothing broken, only what is missing is made, the same bytes.

IDN_DATA=... python tests/faults/kill_make_lr.py [--kills 20] [--images 40] [--seed 0] -- further options of make-lr

Each kill falls at a random moment between the first file and the last. After it: what stands under a final name is
whole and right. Then the same command: what stood keeps its inode and its time, what is missing is made, no hidden file
but the journal is left.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

from idn_data.images.decode import list_images
from idn_data.images.sets import find_data_root, find_set
from idn_data.lr.record import JOURNAL


def digest(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("[!.]*")) if p.is_file()}  # fmt: skip


def stamp(folder: Path) -> dict[str, tuple[int, int]]:
    return {p.relative_to(folder).as_posix(): (p.stat().st_ino, p.stat().st_mtime_ns)
            for p in folder.rglob("[!.]*") if p.is_file()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="on the disk to be tried")
    parser.add_argument("options", nargs="*")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        images, out = Path(name, "images"), Path(name, "out")
        images.mkdir()
        for path in list_images(find_set("291", find_data_root()))[: arguments.images]:
            shutil.copyfile(path, images / path.name)
        command = [sys.executable, "-m", "cli", "make-lr", str(images), "--scale", "2", "--scale", "3", "--out", str(out),
                   "--layout", "rcan", "--json", "-", "--quiet", *arguments.options]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # kernels are compiled, files are cached
        wanted = digest(out)
        print(
            f"left alone: {len(wanted)} files, {sum(p.stat().st_size for p in out.rglob('*') if p.is_file()) / 1e6:.1f} MB"
        )
        kills, found, problems = 0, Counter(), []
        while kills < arguments.kills:
            shutil.rmtree(out)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            target = generator.randrange(len(wanted))  # killed when about so many files stand, and a little later
            while process.poll() is None and sum(1 for _ in out.rglob("[!.]*.png")) < target:
                time.sleep(0.002)
            time.sleep(generator.uniform(0, 0.02))
            alive = process.poll() is None
            process.kill()
            process.wait()
            if not alive:
                found["over already"] += 1
                continue
            kills += 1
            left, before = digest(out), stamp(out)
            hidden = Counter(p.suffix for p in out.rglob(".*") if p.name != JOURNAL)
            found.update({f"left {suffix}": 1 for suffix in hidden})
            problems += [f"{path} broken after a kill" for path in left if left[path] != wanted[path]]
            answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            if (answer["kept"], answer["made"]) != (len(left), len(wanted) - len(left)):
                problems.append(f"{len(left)} stood, but {answer['kept']} were kept and {answer['made']} made")
            after = stamp(out)
            problems += [f"{path} was written again" for path in before if after[path] != before[path]]
            if digest(out) != wanted:
                problems.append("other bytes after the rerun")
            problems += [f"{p.name} left" for p in out.rglob(".*") if p.name != JOURNAL]
            print(f"kill {kills}: {len(left)} of {len(wanted)} files stood, hidden {dict(hidden) or 'none'}; made "
                  f"{answer['made']}; problems: {len(problems)}", flush=True)  # fmt: skip
    print(f"{kills} kills; {dict(sorted(found.items()))}; problems: {problems or 'none'}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
