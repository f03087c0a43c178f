"""imresize of tensors beside F.interpolate, ResizeRight and bicubic_pytorch's method: forward and backward.

    python tests/benchmarks/bench_tensors.py              times (needs: pip install -e '.[bench]')
    python tests/benchmarks/bench_tensors.py --quick      the same with few rounds and small images
    python tests/benchmarks/bench_tensors.py --device cuda   on a GPU
    python tests/benchmarks/bench_tensors.py --differences   largest difference from idn_data.imresize

`F.interpolate(antialias=True)` is not MATLAB's function; it is the speed to beat. ResizeRight and bicubic_pytorch are.
"""

from __future__ import annotations

import argparse
import math
import platform
import random
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

import idn_data
from idn_data import BOUNDARIES, METHODS
from idn_data.matlab.weights import compute_weights
from idn_train import imresize

CASES = (
    ((16, 1, 48, 48), 0.5), ((16, 1, 48, 48), 4.0), ((1, 3, 256, 256), 0.25), ((1, 3, 256, 256), 4.0),
    ((1, 3, 720, 1280), 0.5), ((1, 3, 720, 1280), 2.0), ((1, 3, 1080, 1920), 0.3),
)  # fmt: skip
LARGE = 1 << 20  # pixels of images that a few rounds are enough for

Resize = Callable[[torch.Tensor], torch.Tensor]


def gather_windows(x: torch.Tensor, scale: float) -> torch.Tensor:
    """Stands for the method of bicubic_pytorch (S. Son), written for this benchmark from its description.

    Along each axis: pad by reflection with the edge pixel repeated, unfold every window of P pixels, pick the window
    of each output pixel, multiply with its weights and sum. The weights are kept from call to call, which that
    project does not do: so this is rather quicker than it.
    """
    for axis in (2, 3):
        n = x.shape[axis]
        m = math.ceil(n * scale)
        weights, indices = compute_weights(n, m, scale)
        taps = weights.shape[1]
        inner = indices.astype(np.int64)
        # where a window starts: indices rise by one from tap to tap but at the border, where they reflect
        u = np.arange(1, m + 1) / scale + 0.5 * (1 - 1 / scale)
        width = 4 / min(scale, 1)
        left = np.floor(u - width / 2).astype(np.int64) - 1
        folded = np.mod(left[:, None] + np.arange(math.ceil(width) + 2), 2 * n)
        folded = np.where(folded < n, folded, 2 * n - 1 - folded)
        shift = next(k for k in range(folded.shape[1] - taps + 1) if (folded[:, k : k + taps] == inner).all())
        first = left + shift
        before, after = max(0, -int(first.min())), max(0, int(first.max()) + taps - n)
        reflected = np.mod(np.arange(-before, n + after), 2 * n)
        reflected = np.where(reflected < n, reflected, 2 * n - 1 - reflected)
        padded = x.index_select(axis, torch.from_numpy(reflected).to(x.device))
        b, c, h, w = padded.shape
        kernel = (taps, 1) if axis == 2 else (1, taps)
        windows = F.unfold(padded.reshape(b * c, 1, h, w), kernel)
        sides = (h - taps + 1, w) if axis == 2 else (h, w - taps + 1)
        windows = windows.view(b * c, taps, *sides).index_select(axis, torch.from_numpy(first + before).to(x.device))
        factor = torch.from_numpy(weights.T.copy()).to(x)
        x = (windows * (factor[None, :, :, None] if axis == 2 else factor[None, :, None, :])).sum(1)
        x = x.view(b, c, *x.shape[1:])
    return x


def list_peers(scale: float) -> dict[str, Resize]:
    from resize_right import interp_methods, resize_right

    return {
        "idn": lambda x: imresize(x, scale),
        "interpolate": lambda x: F.interpolate(
            x, size=[math.ceil(n * scale) for n in x.shape[-2:]], mode="bicubic", antialias=True
        ),
        "ResizeRight": lambda x: resize_right.resize(x, scale, interp_method=interp_methods.cubic),
        "bicubic_pytorch's method": lambda x: gather_windows(x, scale),
    }


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def time_peers(x: torch.Tensor, scale: float, rounds: int, backward: bool) -> dict[str, tuple[float, float]]:
    """Median and least milliseconds; rounds interleaved, so that drift hits all alike.

    Each round has an order of its own: who comes after large arrays finds the caches full of them.
    """
    times: dict[str, list[float]] = {}
    peers, order = list(list_peers(scale).items()), random.Random(0)
    for k in range(rounds + 1):  # the first is not counted
        for name, resize in order.sample(peers, len(peers)):
            leaf = x.clone().requires_grad_(backward)
            wait(x.device)
            start = time.perf_counter()
            y = resize(leaf)
            if backward:
                y.backward(torch.ones_like(y))
            wait(x.device)
            if k:
                times.setdefault(name, []).append((time.perf_counter() - start) * 1e3)
    return {name: (float(np.median(t)), min(t)) for name, t in times.items()}


def print_times(quick: bool, device: torch.device) -> None:
    gpu = device.type == "cuda"
    name = torch.cuda.get_device_name() if gpu else platform.processor() or platform.machine()
    print(f"{name}, torch {torch.__version__}, "
          f"resize-right {version('resize-right')}; float32; ms, median and least; in brackets: times idn's")  # fmt: skip
    for threads in (1,) if gpu else (1, 2):
        torch.set_num_threads(threads)
        for shape, scale in CASES[:3] if quick else CASES:
            x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device)
            for backward in (False, True):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = time_peers(x, scale, 4 if quick else 16 if x.numel() < LARGE else 6, backward)
                told = "  ".join(
                    f"{name} {ms:.2f}, {least:.2f} [{ms / found['idn'][0]:.1f}, {least / found['idn'][1]:.1f}]"
                    for name, (ms, least) in found.items()
                )
                print(f"{'' if gpu else f'{threads} thread(s) '}{'x'.join(map(str, shape))} x{scale:g} "
                      f"{'forward and backward' if backward else 'forward'}: {told}", flush=True)  # fmt: skip


def print_differences() -> None:
    image = torch.rand(96, 131, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ways = [{"scale": s, "antialias": a} for s in (0.25, 1 / 3, 0.7, 2, 3, (0.4, 1.6)) for a in (True, False)]
    inputs = {"float64": image, "float32": image.float(), "uint8": (image * 255).round().byte()}
    print("largest difference from idn_data.imresize, values in [0, 1], uint8 in 0…255")
    for dtype, x in inputs.items():
        for method in METHODS:
            for boundary in BOUNDARIES:
                worst = 0.0
                for way in ways:
                    mine = imresize(x, method=method, boundary=boundary, **way).double().numpy()
                    theirs = idn_data.imresize(x.numpy(), method=method, boundary=boundary, **way)
                    worst = max(worst, float(np.abs(mine - theirs.astype(np.float64)).max()))
                print(f"{dtype:8} {method:9} {boundary:10} {worst:.1e}")


def check_peers() -> None:
    """That the peers compute the same, but for interpolate."""
    x = torch.rand(1, 2, 40, 52, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for scale in (0.25, 0.5, 2.0, 4.0):
        assert (gather_windows(x, scale) - imresize(x, scale)).abs().max() < 1e-12, scale


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--differences", action="store_true")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.differences:
        print_differences()
    else:
        check_peers()
        print_times(options.quick, torch.device(options.device))
