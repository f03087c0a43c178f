"""LR as Pillow, OpenCV and scikit-image make it, where they are installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from idn_data.lr.candidates import Candidate, Make

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HINTS = {"cv2": "OpenCV (not installed: pip install opencv-python-headless)",
          "skimage": "scikit-image (not installed: pip install scikit-image)"}  # fmt: skip


def list_foreign() -> tuple[list[Candidate], list[str]]:
    """The candidates of the packages that are installed, and a line for each package that is not."""
    found, missing = list_pillow(), []
    for module, make in (("cv2", list_opencv), ("skimage", list_skimage)):
        if find_spec(module) is None:
            missing.append(_HINTS[module])
        else:
            found += make()
    return found, missing


def list_pillow() -> list[Candidate]:
    """``Image.resize`` by each of its filters."""

    def choose(name: str) -> Make:
        def make(hr: NDArray[Any], size: tuple[int, int], scale: float) -> NDArray[Any]:
            picture = Image.fromarray(np.ascontiguousarray(hr))
            return np.asarray(picture.resize((size[1], size[0]), Image.Resampling[name.upper()]))

        return make

    names = ("bicubic", "lanczos", "bilinear", "box", "hamming", "nearest")
    return [Candidate("pillow", name, choose(name), usual=name in ("bicubic", "lanczos", "bilinear")) for name in names]


def list_opencv() -> list[Candidate]:
    """``cv2.resize`` by each interpolation, of 8 bits and of floating point in [0, 1]."""
    import cv2

    def choose(flag: int, dtype: type | None) -> Make:
        def make(hr: NDArray[Any], size: tuple[int, int], scale: float) -> NDArray[Any]:
            source = np.ascontiguousarray(hr)
            if dtype is None:
                return np.asarray(cv2.resize(source, (size[1], size[0]), interpolation=flag))
            return round_float(cv2.resize(source.astype(dtype) / dtype(255), (size[1], size[0]), interpolation=flag))

        return make

    names = ("cubic", "area", "linear", "lanczos4", "nearest", "linear_exact", "nearest_exact")
    found = []
    for name in names:
        flag = getattr(cv2, f"INTER_{name.upper()}", None)
        if flag is None:  # an older OpenCV
            continue
        found.append(Candidate("opencv", name, choose(flag, None), usual=name in ("cubic", "area", "linear")))
        if name in ("cubic", "area", "linear", "lanczos4"):
            found.append(Candidate("opencv", name, choose(flag, np.float32), through="single"))
            found.append(Candidate("opencv", name, choose(flag, np.float64), through="double"))
    return found


def list_skimage() -> list[Candidate]:
    """``skimage.transform.resize`` by order 0, 1 and 3, with antialiasing and without."""
    from skimage import transform

    resize: Any = transform.resize

    def choose(order: int, antialias: bool) -> Make:
        def make(hr: NDArray[Any], size: tuple[int, int], scale: float) -> NDArray[Any]:
            return round_float(resize(hr, size, order=order, anti_aliasing=antialias))

        return make

    return [
        Candidate("skimage", f"resize, order {order}", choose(order, antialias), None, "double", antialias)
        for order in (3, 1, 0)
        for antialias in (True, False)
        if order or not antialias
    ]


def round_float(image: NDArray[Any]) -> NDArray[np.uint8]:
    """[0, 1] to 8 bits, halves to the even number, as numpy and torch round."""
    values = np.clip(np.asarray(image, dtype=np.float64) * 255.0, 0.0, 255.0)
    return np.round(values).astype(np.uint8)  # safe: whole numbers in 0…255
