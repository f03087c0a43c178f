"""Models of `idn export-onnx` in onnxruntime beside `idn upscale` of the same picture, in 8-bit steps.

    python tests/benchmarks/compare_onnx.py PICTURE                            small sizes and 1362×2049, ×4
    python tests/benchmarks/compare_onnx.py PICTURE --size 1362 2049 --scale 2

The picture is resized to each size by bicubic first. Needs onnxruntime: pip install -e '.[test]'. At 1362×2049
onnxruntime takes about 5 GB.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
from PIL import Image

from idn_data import imresize
from idn_data.images.decode import read_image
from idn_train.checkpoint import load_weights
from idn_train.onnxfile import export_onnx
from idn_train.upscale import upscale_photo
from idn_train.weightfile import find_weights, read_weights

SIZES = [(1, 7), (7, 1), (1, 1), (2, 3), (255, 257), (1362, 2049)]
FORMS = {
    "--rgb": {}, "--rgb --half": {"half": True}, "--rgb --uint8": {"uint8": True},
    "--rgb --half --uint8": {"half": True, "uint8": True},
}  # fmt: skip


def run_model(path: Path, pixels: np.ndarray, form: dict[str, bool]) -> np.ndarray:
    """The 8-bit result of a model, (s·h, s·w, 3)."""
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = False
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    lr = np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]
    if "uint8" not in form:
        lr = (lr / np.float32(255)).astype(np.float16 if "half" in form else np.float32)
    sr = session.run(None, {"lr": lr})[0][0].transpose(1, 2, 0)
    return sr if sr.dtype == np.uint8 else np.floor(sr.astype(np.float32).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, action="append", metavar=("H", "W"))
    parser.add_argument("--form", choices=FORMS, action="append", help="Repeatable.  [default: all]")
    given = parser.parse_args()
    picture, weights = read_image(given.picture), read_weights(find_weights("idn", given.scale))
    network, _ = load_weights(find_weights("idn", given.scale))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for height, width in given.size or SIZES:
            pixels = imresize(picture, size=(height, width))
            Image.fromarray(pixels).save(folder / "lr.png")
            began = time.perf_counter()
            upscale_photo(network, folder / "lr.png", folder / "sr.png", force=True)
            print(f"{height}x{width}: upscale {time.perf_counter() - began:.1f} s", flush=True)
            wanted = read_image(folder / "sr.png").astype(np.int16)
            for title, form in ((title, FORMS[title]) for title in given.form or FORMS):
                export_onnx(weights.tensors, given.scale, folder / "m.onnx", rgb=True, force=True, **form)
                began = time.perf_counter()
                steps = np.abs(run_model(folder / "m.onnx", pixels, form) - wanted)
                seconds, size = time.perf_counter() - began, (folder / "m.onnx").stat().st_size
                share = 100 * (steps > 0).mean()
                print(
                    f"  {title:<21} {size:>9,} bytes  {seconds:6.1f} s  at most {steps.max()} steps apart, {share:.4f} %"
                )


if __name__ == "__main__":
    main()
