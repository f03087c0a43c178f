"""The authors' weights in OpenCV's dnn and in idn, float32, two threads: do they agree, and which is faster?

OpenCV reads Caffe's files up to version 4. It gets the .caffemodel itself and a network description written here; it
computes the residual only, and the bicubic that idn's time includes is added for the comparison of values. Run with

    IDN_DATA=… IDN_WEIGHTS=… python tests/benchmarks/bench_opencv.py     (needs: pip install 'opencv-python-headless<5')

IDN_DATA holds test_data/Set5; IDN_WEIGHTS holds IDN_x2, IDN_x3 and IDN_x4.caffemodel ($IDN_DATA/../weights by default).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from idn_data import imresize
from idn_data.images.decode import read_y
from idn_data.matlab.classes import im2double
from idn_train import load_caffemodel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

THREADS = 2
ROUNDS = 15


def write_prototxt(scale: int, height: int, width: int) -> str:
    """IDN for Caffe, in its text format; padding 9 - s, then cropped, covers the whole picture without a shift."""
    layers = [f'name: "IDN" input: "lr" input_dim: 1 input_dim: 1 input_dim: {height} input_dim: {width}']

    def add(name: str, kind: str, bottoms: list[str], tops: list[str], parameters: str = "") -> str:
        links = " ".join([*(f'bottom: "{b}"' for b in bottoms), *(f'top: "{t}"' for t in tops)])
        layers.append(f'layer {{ name: "{name}" type: "{kind}" {links} {parameters} }}')
        return tops[0]

    def conv(name: str, bottom: str, outputs: int, kernel: int = 3, group: int = 1) -> str:
        parameters = f"num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} group: {group}"
        add(name, "Convolution", [bottom], [name], f"convolution_param {{ {parameters} }}")
        return add(f"relu_{name}", "ReLU", [name], [name], "relu_param { negative_slope: 0.05 }")

    x = conv("conv2", conv("conv1", "lr", 64), 64)
    for block in range(1, 5):
        name = f"conv{block + 2}"
        y = conv(f"{name}_3", conv(f"{name}_2", conv(f"{name}_1", x, 48), 32, group=4), 64)
        side, onward = f"side{block}", f"onward{block}"
        add(f"slice{block}", "Slice", [y], [side, onward], "slice_param { axis: 1 slice_point: 16 }")
        z = conv(f"{name}_6", conv(f"{name}_5", conv(f"{name}_4", onward, 64), 48, group=4), 80)
        joined = add(f"concat{block}", "Concat", [x, side], [f"concat{block}"])
        total = add(f"sum{block}", "Eltwise", [joined, z], [f"sum{block}"], "eltwise_param { operation: SUM }")
        x = conv(f"down{block}", total, 64, kernel=1)
    parameters = f"num_output: 1 kernel_size: 17 stride: {scale} pad: {9 - scale}"
    add("upsample", "Deconvolution", [x], ["upsample"], f"convolution_param {{ {parameters} }}")
    return "\n".join(layers)


def time_together(functions: dict[str, Callable[[], object]]) -> dict[str, NDArray[np.float64]]:
    """Milliseconds of each round; rounds interleaved, so that drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
        function()
    for _ in range(ROUNDS):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: np.array(t) for name, t in times.items()}


def main() -> None:
    root = os.environ.get("IDN_DATA")
    if not root:
        sys.exit("needs Set5: set IDN_DATA to the folder that holds test_data/Set5")
    weights = Path(os.environ.get("IDN_WEIGHTS") or Path(root).resolve().parent / "weights")
    torch.set_num_threads(THREADS)
    cv2.setNumThreads(THREADS)
    print(
        f"OpenCV {cv2.__version__}, torch {torch.__version__}, float32, {THREADS} threads; {ROUNDS} interleaved rounds"
    )
    baby = im2double(read_y(Path(root) / "test_data" / "Set5" / "baby_GT.bmp"))
    agree = True
    for scale in (2, 3, 4):
        path = weights / f"IDN_x{scale}.caffemodel"
        lr = imresize(baby, 0.5).astype(np.float32)  # the same 256x256 at every scale; float32 is both engines' input
        network = load_caffemodel(path)
        text = write_prototxt(scale, *lr.shape).encode()
        engine = cv2.dnn.readNetFromCaffe(np.frombuffer(text, np.uint8), np.fromfile(path, np.uint8))
        engine.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        engine.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)

        def run_opencv(engine: cv2.dnn.Net = engine, lr: NDArray[np.float32] = lr) -> NDArray[np.float32]:
            engine.setInput(lr[None, None])
            return engine.forward()[0, 0]

        @torch.inference_mode()
        def run_idn(network: torch.nn.Module = network, lr: NDArray[np.float32] = lr) -> NDArray[np.float32]:
            return network(torch.from_numpy(lr)[None, None])[0, 0].numpy()

        mine = run_idn()
        theirs = run_opencv()[: mine.shape[0], : mine.shape[1]] + imresize(lr.astype(np.float64), scale)
        difference = float(np.abs(mine - theirs).max())
        agree &= difference < 1e-4
        times = time_together({"OpenCV": run_opencv, "idn": run_idn})
        ratio = float(np.median(times["OpenCV"] / times["idn"]))  # of the same round
        best = times["OpenCV"].min() / times["idn"].min()
        listed = ", ".join(f"{name} {np.median(t):.0f} ms (best {t.min():.0f})" for name, t in times.items())
        print(f"x{scale}, LR {lr.shape[0]}x{lr.shape[1]}: {listed}; idn {ratio:.2f} times as fast (best against best "
              f"{best:.2f}); largest difference {difference:.1e}", flush=True)  # fmt: skip
    if not agree:
        sys.exit("the outputs differ by more than 1e-4")


if __name__ == "__main__":
    main()
