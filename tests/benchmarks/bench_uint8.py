"""Speed of imresize of 8-bit colour beside Pillow and OpenCV: one thread, one run, interleaved rounds.

Pillow's filter is of the same kind (Keys' cubic, widened when shrinking), but not MATLAB's values; OpenCV's
INTER_CUBIC does not antialias, and reads 4 x 4 pixels at any scale. With --doubles, float64 beside another
checkout of this project, whose Python is named (both checkouts must have compiled their kernels before).

    python tests/benchmarks/bench_uint8.py            (needs: pip install -e '.[bench]')
    python tests/benchmarks/bench_uint8.py --doubles /path/to/other/.venv/bin/python
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from PIL import Image

from idn_data import imresize

SHAPES = ((256, 256), (644, 1024), (1356, 2040))
SCALES = (0.25, 0.5, 2.0)
OTHER_SCALES = (1 / 3, 0.7, 3.0)  # where float32 is not exact and values in doubt are summed again
ROUNDS = 21


def time_together(functions: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """Median and smallest time in ms; rounds interleaved, so that drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: (float(np.median(t)), min(t)) for name, t in times.items()}


def compare_bytes(scales: tuple[float, ...]) -> None:
    try:
        import cv2

        cv2.setNumThreads(1)
    except ImportError:
        cv2 = None
        print("opencv-python-headless is not installed: Pillow alone")
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        picture = Image.fromarray(image)
        for scale in scales:
            h, w = imresize(image, scale).shape[:2]
            functions: dict[str, Callable[[], object]] = {
                "idn": lambda: imresize(image, scale),
                "Pillow": lambda: picture.resize((w, h), Image.Resampling.BICUBIC),
            }
            if cv2 is not None:
                functions["OpenCV"] = lambda: cv2.resize(image, (w, h), interpolation=cv2.INTER_CUBIC)
            result = time_together(functions)
            base = result["idn"]
            print(f"{shape[0]}x{shape[1]}x3 x{scale:<6.3g}" + "  ".join(
                f"{n} {median:.2f} (min {least:.2f})" + (f" [{median / base[0]:.1f}]" if n != "idn" else "")
                for n, (median, least) in result.items()))  # fmt: skip


ASK = """
import sys, time
import numpy as np
from idn_data import imresize
image = np.random.default_rng(0).random(eval(sys.argv[1]))
for line in sys.stdin:
    start = time.perf_counter()
    imresize(image, float(line))
    print(time.perf_counter() - start, flush=True)
"""


def compare_doubles(other: str) -> None:
    """Median of the ratios of this checkout's time to the other's, below 1 where this one is quicker."""
    ratios = []
    for shape in SHAPES:
        children = [
            subprocess.Popen([python, "-c", ASK, str(shape)], stdin=-1, stdout=-1, text=True, cwd="/")
            for python in (other, sys.executable)
        ]

        def ask(child: subprocess.Popen[str], scale: float) -> float:
            assert child.stdin is not None and child.stdout is not None
            child.stdin.write(f"{scale}\n")
            child.stdin.flush()
            return float(child.stdout.readline())

        for scale in (*SCALES, 0.9, 1 / 3):
            pairs = [[ask(child, scale) for child in children] for _ in range(ROUNDS)][1:]
            ratio = float(np.median([theirs / mine for theirs, mine in pairs]))
            least = [1e3 * min(column) for column in zip(*pairs, strict=True)]
            ratios.append(ratio)
            print(
                f"{shape[0]}x{shape[1]} x{scale:<6.3g} other {least[0]:.2f}  this {least[1]:.2f} ms  ratio {ratio:.2f}"
            )
        for child in children:
            child.communicate()
    print(f"median of ratios (other / this): {np.median(ratios):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--doubles", metavar="PYTHON", help="the Python of another checkout")
    parser.add_argument("--all", action="store_true", help="three more scales")
    arguments = parser.parse_args()
    packages = []
    for package in ("numpy", "numba", "pillow", "opencv-python-headless"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one thread; "
          + ", ".join(packages))  # fmt: skip
    if arguments.doubles:
        compare_doubles(arguments.doubles)
        return
    print("milliseconds, median of interleaved rounds (smallest); in brackets: times idn's median\n")
    compare_bytes(SCALES + (OTHER_SCALES if arguments.all else ()))


if __name__ == "__main__":
    main()
