"""LR pictures by all kinds of makers, written without the code under test, and the verdict that is right for each."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from idn_data.matlab.classes import im2double, im2uint8
from idn_data.matlab.color import rgb2y
from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """A way to make LR of an HR that is cut to a multiple of the scale, and what `identify` is to answer."""

    name: str
    make: Callable[[Picture, int], Picture]
    maker: str
    method: str | None = None
    boundary: str | None = None
    through: str | None = None
    facts: tuple[tuple[str, Any], ...] = ()
    uncut: bool = False
    needs: str = "numpy"

    @property
    def ready(self) -> bool:
        return find_spec(self.needs) is not None


def matlab(
    method: str = "bicubic", boundary: Any = "symmetric", through: str = "uint8", antialias: bool = True
) -> Case:
    def make(hr: Picture, scale: int) -> Picture:
        options: dict[str, Any] = {"boundary": boundary} | ({} if antialias else {"antialias": False})
        if through == "uint8":
            return imresize(hr, 1 / scale, method, **options)
        return im2uint8(imresize(im2double(hr), 1 / scale, method, **options))

    name = f"MATLAB {method}, {boundary}, {through}" + ("" if antialias else ", no antialiasing")
    return Case(name, make, "matlab", method, boundary, through, (("antialias", antialias),))


def blurred(sigma: float, kernel: int, first: bool = False) -> Case:
    def make(hr: Picture, scale: int) -> Picture:
        from scipy.ndimage import correlate

        at = np.arange(kernel) - kernel // 2
        window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * sigma**2))
        window /= window.sum()
        planes = [correlate(hr[..., c].astype(np.float64), window, mode="nearest") for c in range(3)]
        start = 0 if first else scale // 2
        return np.floor(np.stack(planes, axis=2) + 0.5).astype(np.uint8)[start::scale, start::scale]

    name = f"blur, kernel {kernel}, sigma {sigma:g}" + (", first of each block" if first else "")
    return Case(f"imfilter {name}", make, "matlab", name, "replicate", "uint8")


def pillow(name: str) -> Case:
    def make(hr: Picture, scale: int) -> Picture:
        size = hr.shape[1] // scale, hr.shape[0] // scale
        return np.asarray(Image.fromarray(hr).resize(size, Image.Resampling[name.upper()]))

    return Case(f"Pillow {name}", make, "pillow", name)


def opencv(name: str) -> Case:
    def make(hr: Picture, scale: int) -> Picture:
        import cv2

        size = hr.shape[1] // scale, hr.shape[0] // scale
        return np.asarray(cv2.resize(hr, size, interpolation=getattr(cv2, f"INTER_{name.upper()}")))

    return Case(f"OpenCV {name}", make, "opencv", name, needs="cv2")


def torch(mode: str, antialias: bool) -> Case:
    def make(hr: Picture, scale: int) -> Picture:
        import torch
        from torch.nn.functional import interpolate

        planes = torch.from_numpy(hr.transpose(2, 0, 1).astype(np.float32) / np.float32(255))[None]
        made = interpolate(planes, scale_factor=1 / scale, mode=mode, antialias=antialias, align_corners=False)
        return np.asarray((made[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0))

    name = f"torch {mode}" + (", antialias" if antialias else "")
    return Case(name, make, "torch", mode, None, "single", (("antialias", antialias),), needs="torch")


def skimage(order: int, antialias: bool) -> Case:
    def make(hr: Picture, scale: int) -> Picture:
        from skimage import img_as_ubyte
        from skimage.transform import resize

        return img_as_ubyte(
            resize(hr, (hr.shape[0] // scale, hr.shape[1] // scale), order=order, anti_aliasing=antialias)
        )

    name = f"resize, order {order}"
    facts = (("antialias", antialias),)
    return Case(f"scikit-image {name}" + (", antialias" if antialias else ""), make, "skimage", name, None, "double",
                facts, needs="skimage")  # fmt: skip


def _shift(hr: Picture, scale: int) -> Picture:
    """By half an LR pixel at x2: HR moved by one pixel."""
    return imresize(np.roll(hr, (-1, -1), (0, 1)), 1 / scale)


def _shift_between(hr: Picture, scale: int) -> Picture:
    """By half an HR pixel, between its pixels."""
    double = im2double(hr)
    moved = (double + np.roll(double, -1, 0)) / 2
    return im2uint8(imresize((moved + np.roll(moved, -1, 1)) / 2, 1 / scale))


def _jpeg(quality: int, subsampling: int = 2) -> Callable[[Picture, int], Picture]:
    def make(hr: Picture, scale: int) -> Picture:
        stream = io.BytesIO()
        Image.fromarray(imresize(hr, 1 / scale)).save(stream, "JPEG", quality=quality, subsampling=subsampling)
        return np.asarray(Image.open(stream))

    return make


def _noise(hr: Picture, scale: int) -> Picture:
    lr = imresize(hr, 1 / scale).astype(np.float64)
    return np.clip(lr + np.random.default_rng(0).normal(0, 3, lr.shape), 0, 255).astype(np.uint8)


def _own_kernel(hr: Picture, scale: int) -> Picture:
    """Keys' cubic with a = -0.75, widened: nobody's."""

    def kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x, a = np.abs(x), -0.75
        inner = ((a + 2) * x**3 - (a + 3) * x**2 + 1) * (x <= 1)
        return inner + (a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a) * ((x > 1) & (x < 2))

    return imresize(hr, 1 / scale, (kernel, 4.0))


def _brighter(hr: Picture, scale: int) -> Picture:
    return np.clip(imresize(hr, 1 / scale).astype(int) + 2, 0, 255).astype(np.uint8)


def plain(name: str, make: Callable[[Picture, int], Picture], **facts: Any) -> Case:
    """MATLAB's usual LR, with something done to it."""
    return Case(name, make, "matlab", "bicubic", "symmetric", "uint8", tuple(facts.items()))


QUICK = (
    matlab(), matlab(boundary="replicate"), matlab(through="double"), matlab(boundary="replicate", through="double"),
    matlab(antialias=False, boundary="symmetric"), matlab("bilinear"), matlab("lanczos3", through="double"),
    pillow("bicubic"), pillow("lanczos"), pillow("bilinear"), pillow("box"),
    opencv("cubic"), opencv("area"), opencv("linear"), opencv("lanczos4"),
    torch("bicubic", True), torch("bicubic", False), torch("bilinear", True),
    skimage(3, True), skimage(3, False), skimage(1, True),
    plain("MATLAB of Y", lambda hr, s: imresize(rgb2y(hr), 1 / s), channel="y"),
    plain("BGR", lambda hr, s: imresize(hr, 1 / s)[..., ::-1], exchanged=True),
    Case("shifted by one HR pixel", _shift, "matlab", "bicubic", None, "uint8", (("moved", (1, 1)),)),
    plain("JPEG 90", _jpeg(90), jpeg="quality 90, 4:2:0"),
    Case("none: noise", _noise, "none"),
    Case("none: another kernel", _own_kernel, "none"),
    Case("none: brighter", _brighter, "none"),
    Case("none: between HR pixels", _shift_between, "none", facts=(("moved", (0.5, 0.5)),)),
)  # fmt: skip
SLOW = (
    matlab("lanczos2"), matlab("box", through="double", boundary="symmetric"), matlab("bilinear", antialias=False),
    blurred(1.6, 7), blurred(1.2, 15), blurred(2.6, 21, first=True), pillow("hamming"),
    plain("JPEG 75", _jpeg(75), jpeg="quality 75, 4:2:0"),
    plain("JPEG 95, 4:4:4", _jpeg(95, 0), jpeg="quality 95, 4:4:4"),
)  # fmt: skip
