"""A disk of 200 MB that make-train, make-test, evaluate --save-images and train fill up; and a limit of file sizes.

IDN_DATA=... python tests/faults/fill_disk.py

The disk is a tmpfs, which only root may mount; without it the limit alone is tried. For each case: exit code 1, one clear
line, whole files or none under the final names, no temporaries. Exit code 1 if anything is otherwise.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from PIL import Image
from scipy.io import loadmat

from idn_data.images.decode import list_images
from idn_data.images.sets import find_data_root, find_set
from idn_data.patches.patchfile import PatchFile
from idn_train.weightfile import read_tensors

MB, SIZE = 1_000_000, 200


@contextlib.contextmanager
def mount(folder: Path) -> Iterator[bool]:
    """A tmpfs of 200 MB there, if this user may."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE * MB}", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def leave_free(folder: Path, megabytes: float) -> None:
    """Let another file take all the room but so much."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    while (size := shutil.disk_usage(folder).free - int(megabytes * MB)) > 0:
        with contextlib.suppress(OSError), ballast.open("wb") as stream:  # another process was quicker: once more
            os.posix_fallocate(stream.fileno(), 0, size)
            return


def check_whole(path: Path) -> None:
    """Raise unless a result is whole."""
    if path.suffix == ".h5":
        with PatchFile(path) as file:
            assert not any(len(rows) for rows in file.find_damage().values())
    elif path.suffix == ".mat":
        loadmat(path)
    elif path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
    elif path.suffix == ".safetensors":
        read_tensors(path)
    else:
        assert path.suffix == ".csv" and path.read_text().endswith("\n"), path


class Trial:
    """Runs idn and keeps what went wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def run(
        self,
        name: str,
        arguments: list[str | Path],
        out: Path,
        *,
        limit: int = 0,
        fill: Callable[[], None] | None = None,
    ) -> None:
        def set_limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "idn.cli", *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, preexec_fn=set_limit if limit else None,
        )  # fmt: skip
        if fill:
            fill()
        _, error = process.communicate(timeout=500)
        lines = error.strip().splitlines() or ["nothing was said"]
        here = sorted(p for p in out.rglob("*") if p.is_file() and p.name != "ballast")
        wrong = [] if process.returncode == 1 else [f"exit code {process.returncode}"]
        wrong += [] if lines[-1].startswith("idn: ") and " needed, " in lines[-1] else [f"says {lines[-1]!r}"]
        wrong += ["a traceback"] if "Traceback" in error else []
        for path in here:
            if path.name.startswith("."):
                wrong.append(f"leaves {path.name}")
                continue
            try:
                check_whole(path)
            except Exception as broken:
                wrong.append(f"{path.name}: {broken!r}")
        self.problems += [f"{name}: {w}" for w in wrong]
        print(f"{name}: {lines[-1]}\n    {time.monotonic() - began:.1f} s, exit code {process.returncode}, "
              f"{len(here)} whole files, problems: {wrong or 'none'}", flush=True)  # fmt: skip


def main() -> None:
    root, trial = find_data_root(), Trial()
    with tempfile.TemporaryDirectory() as name:
        folder, images, none = Path(name), Path(name, "images"), Path(name, "none")
        images.mkdir()
        for path in islice(list_images(find_set("291", root)), 100):
            shutil.copyfile(path, images / path.name)
        few = folder / "few"
        few.mkdir()
        for path in islice(list_images(images), 8):
            shutil.copyfile(path, few / path.name)
        data = folder / "data.h5"
        subprocess.run(
            [sys.executable, "-m", "idn.cli", "make-train", "--scale", "4", "--images", few, "--out", data, "-q"],
            check=True,
        )
        make, small = (
            ["make-train", "--scale", "4", "--images", images],
            ["make-train", "--scale", "4", "--images", few],
        )
        test = ["make-test", find_set("B100", root), "--out"]
        train = [
            "train",
            "--data",
            data,
            "--steps",
            30,
            "--validate-every",
            10,
            "--data-root",
            none,
            "--device",
            "cpu",
            "--out",
        ]
        save = ["evaluate", "bicubic", "--set", find_set("Set5", root), "--scale", "2", "--save-images"]

        with mount(folder / "disk") as mounted:
            disk = folder / "disk"
            if not mounted:
                print("no tmpfs could be mounted: only the limit of file sizes is tried")
            else:
                trial.run("make-train, too large from the start", [*make, "--out", disk / "a" / "set.h5"], disk)

                def fill_after_first() -> None:
                    while not list(disk.rglob("set.1-of-8.h5")):
                        time.sleep(0.001)
                    leave_free(disk, 20)

                shards = [*make, "--storage", "uint8", "--out", disk / "b" / "set.h5", "--shards", "8"]
                trial.run("make-train --shards, filled by others", shards, disk, fill=fill_after_first)
                (disk / "ballast").unlink()
                again = subprocess.run(
                    [sys.executable, "-m", "idn.cli", *map(str, shards)], capture_output=True, text=True, check=True
                )
                print(f"    room made, once more: {again.stdout.splitlines()[-1]}")
                shutil.rmtree(disk / "b")
                for name, free in (("from the start", 10), ("on the way", 80)):
                    leave_free(disk, free)
                    trial.run(f"make-test, too large {name}", [*test, disk / "mat"], disk)
                leave_free(disk, 0.5)
                trial.run("evaluate --save-images", [*save, disk / "images"], disk)
                shutil.rmtree(disk / "images", ignore_errors=True)
                for free in (0.002, 5, 12):
                    leave_free(disk, free)
                    trial.run(f"train, {free} MB free", [*train, disk / "run"], disk)
                    shutil.rmtree(disk / "run", ignore_errors=True)

        limited = folder / "limited"
        limited.mkdir()
        trial.run("make-train, limit 5 MB", [*small, "--out", limited / "set.h5"], limited, limit=5 * MB)
        trial.run("make-test, limit 0.1 MB", [*test, limited / "mat"], limited, limit=MB // 10)
        trial.run("evaluate --save-images, limit 0.1 MB", [*save, limited / "images"], limited, limit=MB // 10)
        shutil.rmtree(limited / "images", ignore_errors=True)
        trial.run("train, limit 1 MB", [*train, limited / "run"], limited, limit=MB)
    print(f"problems: {trial.problems or 'none'}")
    sys.exit(1 if trial.problems else 0)


if __name__ == "__main__":
    main()
