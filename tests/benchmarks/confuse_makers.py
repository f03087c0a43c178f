"""Whom `identify` names for LR of many makers: a table, and no wrong name.

IDN_DATA=... python tests/benchmarks/confuse_makers.py [--scale 2 --scale 3 --scale 4] [--set Set5] [--pictures 3]

Rows whose package is not installed are left out and named. Beside them: the folders of pictures that MATLAB made, where
they lie beside IDN_DATA.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.lrmakers import QUICK, SLOW, Case

from idn_data import identify
from idn_data.images.decode import list_images, read_image
from idn_data.images.sets import find_data_root, find_set
from idn_data.images.variants import modcrop
from idn_data.lr.identify import Verdict


def judge(case: Case, verdict: Verdict, scale: int) -> str:
    """ "right"; "one of several" (another maker's function that does the same to any picture is named, and this one
    beside it); "none named" (a maker's LR of which nothing was said); or what is wrong."""
    if verdict.maker != case.maker:
        if verdict.maker != "none" and any(same.startswith(f"{case.maker} {case.method}") for same in verdict.same):
            return "one of several"
        return "none named" if verdict.maker == "none" else f"WRONG: {verdict.maker}"
    wrong = []
    for name in ("method", "boundary", "through"):
        wanted, given = getattr(case, name), getattr(verdict, name)
        if (
            wanted is not None
            and given != wanted
            and not any(f"{wanted}" in s for s in (*verdict.same, *verdict.untold))
        ):
            wrong.append(f"{name} {given}, not {wanted}")
    for name, wanted in case.facts:
        if name == "moved":
            moved = None if verdict.shift is None else np.array(verdict.shift) * scale
            if moved is None or np.abs(moved - wanted).max() > 0.15:
                wrong.append(f"shift {moved}, not {wanted}")
        elif getattr(verdict, name) != wanted and not verdict.same:
            wrong.append(f"{name} {getattr(verdict, name)}, not {wanted}")
    return "WRONG: " + "; ".join(wrong) if wrong else "right"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int, action="append")
    parser.add_argument("--set", default="Set5")
    parser.add_argument("--pictures", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    arguments = parser.parse_args()
    root = find_data_root()
    images = list_images(find_set(arguments.set, root))
    wrong = count = unnamed = 0
    with tempfile.TemporaryDirectory() as folder:
        for scale in arguments.scale or (2, 3, 4):
            for case in (*QUICK, *SLOW):
                if arguments.only not in case.name:
                    continue
                if not case.ready:
                    print(f"x{scale} {case.name:<44} left out: {case.needs} is not installed")
                    continue
                lr = Path(folder, f"{scale}", case.name.replace(" ", "_").replace(":", ""))
                lr.mkdir(parents=True)
                for path in images:
                    made = case.make(np.ascontiguousarray(modcrop(read_image(path), scale)), scale)
                    Image.fromarray(np.ascontiguousarray(made)).save(lr / f"{path.stem}.png")
                began = time.perf_counter()
                verdict = identify(lr, images[0].parent, pictures=arguments.pictures).verdict
                result = judge(case, verdict, scale)
                count, wrong, unnamed = count + 1, wrong + ("WRONG" in result), unnamed + (result == "none named")
                print(
                    f"x{scale} {case.name:<44} {result:<11} {time.perf_counter() - began:5.1f} s  {verdict.text}",
                    flush=True,
                )
        for boundary in ("symmetric", "replicate", "blurred"):
            for scale in (2, 3, 4):
                files = sorted((root / ".." / "matlab" / boundary).glob(f"*_x{scale}.png"))
                if files:
                    verdict = identify(files, images[0].parent).verdict
                    good = verdict.maker == "matlab" and verdict.boundary == boundary.replace("blurred", "replicate")
                    count, wrong = count + 1, wrong + (not good)
                    print(f"x{scale} MATLAB's own, {boundary:<29} {'right' if good else 'WRONG':<11} {verdict.text}")
    print(f"{count} folders: {count - wrong - unnamed} right, {unnamed} not named, {wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
