"""Why your bicubic PSNR differs: what each usual shortcut gives on a test set, as a Markdown table.

IDN_DATA=... python tests/benchmarks/compare_bicubics.py [--set Set5]

Each row is what a script gets that does one thing in another way than MATLAB's imresize and the float protocol: the
interpolation of a library, in the way that its documentation suggests, or a step of the scoring.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import skimage.transform
import torch
from PIL import Image

from idn_data import imresize, modcrop, psnr, read_image, rgb2ycbcr, shave
from idn_data.images.sets import find_data_root
from idn_data.matlab.classes import im2double, im2uint8
from idn_data.scores.sets import open_set

Resize = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


def read_y(gt: np.ndarray) -> np.ndarray:
    """Y in [0, 1] as MATLAB's rgb2ycbcr of uint8 gives it."""
    return im2double(gt if gt.ndim == 2 else rgb2ycbcr(gt)[..., 0])


def resize_torch(antialias: bool) -> Resize:
    def resize(y: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        x = torch.from_numpy(y)[None, None]
        return torch.nn.functional.interpolate(x, size=size, mode="bicubic", antialias=antialias)[0, 0].numpy()

    return resize


def resize_pillow_8bit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


LIBRARIES: dict[str, Resize] = {
    "Pillow `resize`, mode F": lambda y, size: np.asarray(
        Image.fromarray(y.astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC), np.float64
    ),
    "torch `interpolate`, antialias": resize_torch(True),
    "torch `interpolate`": resize_torch(False),
    "OpenCV `INTER_CUBIC`": lambda y, size: cv2.resize(y, size[::-1], interpolation=cv2.INTER_CUBIC),
    "OpenCV `INTER_AREA` down, `INTER_CUBIC` up": lambda y, size: cv2.resize(
        y, size[::-1], interpolation=cv2.INTER_AREA if size[0] < y.shape[0] else cv2.INTER_CUBIC
    ),
    "scikit-image `resize`, order 3": lambda y, size: skimage.transform.resize(
        y, size, order=3, anti_aliasing=size[0] < y.shape[0]
    ),
}


def score_image(gt: np.ndarray, scale: int) -> dict[str, float]:
    """PSNR of each row on one image."""
    gt = modcrop(gt, scale)
    y = read_y(gt)
    size, small = y.shape, (y.shape[0] // scale, y.shape[1] // scale)
    lr = imresize(y, 1 / scale)
    sr = imresize(lr, scale)

    def compare(result: np.ndarray, against: np.ndarray = y, border: int = scale) -> float:
        first, second = (shave(image, border).reshape(image.shape[0] - 2 * border, -1) for image in (result, against))
        return psnr(first, second)

    rows = {"**idn**, as MATLAB in the float protocol": compare(sr)}
    for name, resize in LIBRARIES.items():
        rows[name] = compare(resize(resize(y, small), size))
        rows[f"{name}; LR by idn"] = compare(resize(lr, size))
    down = resize_pillow_8bit(gt, small)
    rows["Pillow on the 8-bit RGB image, then Y"] = compare(read_y(resize_pillow_8bit(down, size)))
    rows["idn, LR rounded to 8 bits"] = compare(imresize(im2double(im2uint8(lr)), scale))
    rows["idn, LR and SR rounded to 8 bits"] = compare(im2double(im2uint8(imresize(im2double(im2uint8(lr)), scale))))
    rows["idn, nothing shaved"] = compare(sr, border=0)
    rows["idn, 2·scale pixels shaved"] = compare(sr, border=2 * scale)
    if gt.ndim == 3:
        rgb = im2double(gt)
        result = imresize(imresize(rgb, 1 / scale), scale)
        rows["idn, scored on RGB"] = compare(result, rgb)
        full = np.array([0.299, 0.587, 0.114])
        rows["idn, Y of full range (JPEG, OpenCV)"] = compare(result @ full, rgb @ full)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", default="Set5")
    arguments = parser.parse_args()
    test_set = open_set(arguments.set, find_data_root())
    images = [read_image(path) for path in test_set.paths]
    table: dict[str, list[float]] = {}
    for scale in (2, 3, 4):
        found: dict[str, list[Any]] = {}
        for image in images:
            for name, value in score_image(image, scale).items():
                found.setdefault(name, []).append(value)
        for name, values in found.items():
            table.setdefault(name, []).append(float(np.mean(values)))
    exact = next(iter(table.values()))
    print(f"| {arguments.set}, PSNR in dB (difference) | ×2 | ×3 | ×4 |\n|---|---:|---:|---:|")
    for name, values in table.items():
        cells = [
            f"{v:.2f}" + ("" if values is exact else f" ({v - e:+.2f})") for v, e in zip(values, exact, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    versions = {"Pillow": Image.__version__, "OpenCV": cv2.__version__, "torch": torch.__version__,
                "scikit-image": skimage.__version__}  # fmt: skip
    print("\n" + ", ".join(f"{name} {version}" for name, version in versions.items()))


if __name__ == "__main__":
    main()
