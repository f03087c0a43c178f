"""Speed of imresize beside Pillow, torch, ResizeRight and scikit-image: one thread, one run, medians.

None of the others is MATLAB's function; they are the speed to beat. Run with

    python tests/benchmarks/bench_imresize.py            (needs: pip install -e '.[bench]')
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

import platform
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch
from PIL import Image
from resize_right import interp_methods, resize_right
from skimage.transform import resize as skimage_resize

from idn_data import imresize

SHAPES = ((321, 481), (644, 1024))
SCALES = (0.25, 0.9, 4.0)
ROUNDS = 21


def time_together(functions: dict[str, Callable[[], object]], slow: set[str]) -> dict[str, tuple[float, float]]:
    """Median and spread (interquartile range over median) in ms; rounds interleaved, so that drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for k in range(ROUNDS):
        for name, function in functions.items():
            if name in slow and k >= 5:
                continue
            start = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {
        n: (float(np.median(t)), float(np.subtract(*np.percentile(t, [75, 25])) / np.median(t)))
        for n, t in times.items()
    }


def main() -> None:
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one thread; "
          + ", ".join(f"{p} {version(p)}" for p in ("numpy", "numba", "pillow", "torch", "resize-right", "scikit-image")))  # fmt: skip
    print("milliseconds, median of interleaved rounds (interquartile range); in brackets: times idn's\n")
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        image = rng.random(shape)
        single = Image.fromarray(image.astype(np.float32))
        tensor = torch.from_numpy(image)[None, None]
        for scale in SCALES:
            h, w = imresize(image, scale).shape
            functions: dict[str, Callable[[], object]] = {
                "idn": lambda: imresize(image, scale),
                "Pillow f32": lambda: single.resize((w, h), Image.Resampling.BICUBIC),
                "torch f64": lambda: torch.nn.functional.interpolate(
                    tensor, size=(h, w), mode="bicubic", antialias=True
                ),
                "ResizeRight": lambda: resize_right.resize(image, scale, interp_method=interp_methods.cubic),
                "scikit-image": lambda: skimage_resize(image, (h, w), order=3, anti_aliasing=scale < 1),
            }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = time_together(functions, {"ResizeRight", "scikit-image"})
            base = result["idn"][0]
            print(f"{shape[0]}x{shape[1]} x{scale:<5g}" + "  ".join(
                f"{n} {ms:.3f} ±{iqr:.0%}" + (f" [{ms / base:.1f}]" if n != "idn" else "") for n, (ms, iqr) in result.items()))  # fmt: skip


if __name__ == "__main__":
    main()
