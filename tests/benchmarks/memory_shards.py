"""Peak memory of `idn make-train --shards` as the image count grows: 291 images, and the same under 10 times as many names.

IDN_DATA=... python tests/benchmarks/memory_shards.py [--times 10] [--shards 8] [--storage uint8] [--folder DIR]

Finished shards are removed at once: the disk holds two at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from idn_data.images.decode import list_images
from idn_data.images.sets import find_data_root, find_set


def repeat(images: list[Path], times: int, folder: Path) -> None:
    """The images under `times` names each: links to one copy."""
    folder.mkdir()
    for path in images:
        first = folder / f"0_{path.name}"
        shutil.copyfile(path, first)
        for k in range(1, times):
            os.link(first, folder / f"{k}_{path.name}")


def sweep(folder: Path, stop: threading.Event, seen: set[str]) -> None:
    while not stop.wait(0.2):
        for path in folder.glob("set*.h5"):
            path.unlink()
            seen.add(path.name)


def measure(images: Path, out: Path, shards: int, storage: str) -> tuple[float, float, dict[str, int]]:
    """Seconds, peak memory in MiB, and the estimate."""
    command = [sys.executable, "-m", "idn.cli", "make-train", "--scale", "4", "--images", str(images), "--out", str(out / "set.h5"),
               "--shards", str(shards), "--storage", storage, "--quiet", "--force"]  # fmt: skip
    estimate = json.loads(
        subprocess.run([*command, "--dry-run", "--json", "-"], check=True, capture_output=True).stdout
    )
    stop, seen, began = threading.Event(), set(), time.monotonic()
    sweeper = threading.Thread(target=sweep, args=(out, stop, seen))
    sweeper.start()
    # the command names its files at the end, when they are gone: what counts is that all were written
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _, _, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    time.sleep(1)
    stop.set()
    sweeper.join()
    if len(seen) != shards:
        raise SystemExit(f"{len(seen)} of {shards} shards were written")
    return seconds, usage.ru_maxrss / 1024, estimate


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--storage", default="uint8")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    images = list_images(find_set("291", find_data_root()))
    print("| images | shards | patches | GB written | seconds | peak memory, MiB |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        for times, shards in ((1, arguments.shards), (arguments.times, arguments.shards * arguments.times), (arguments.times, arguments.shards)):  # fmt: skip
            folder, out = Path(name, f"images{times}_{shards}"), Path(name, "out")
            out.mkdir(exist_ok=True)
            repeat(images, times, folder)
            seconds, peak, estimate = measure(folder, out, shards, arguments.storage)
            print(f"| {estimate['images']} | {shards} | {estimate['patches']:,} | {estimate['bytes'] / 1e9:.2f} | {seconds:.0f} | {peak:.0f} |",
                  flush=True)  # fmt: skip
            shutil.rmtree(folder)
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
