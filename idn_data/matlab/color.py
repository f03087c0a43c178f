"""MATLAB's colour and class conversions: rgb2ycbcr, ycbcr2rgb, im2double, im2uint8.

ITU-R BT.601 with studio swing: Y in 16…235, Cb and Cr in 16…240 for 8-bit images, as in MATLAB's documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# rows Y, Cb, Cr; columns R, G, B in [0, 1]
_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_OFFSET = np.array([16.0, 128.0, 128.0])
_TO_RGB = np.linalg.inv(_TO_YCBCR)


_BELOW_HALF = 0.49999999999999994  # the double before 1/2: adding 1/2 itself would carry it up to 1


def _round_uint8(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round half away from zero and clamp, as MATLAB's uint8() does; the cast only cuts off fractions of 0…255."""
    values = np.clip(values, 0.0, 255.0)
    values += _BELOW_HALF
    return values.astype(np.uint8)


def _check_colour(image: NDArray[np.generic], name: str) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{name} takes an H×W×3 uint8 image; got {image.dtype} {image.shape}")


def rgb2ycbcr(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB to YCbCr, both (H, W, 3) uint8, rounded to the nearest as MATLAB's ``rgb2ycbcr``."""
    _check_colour(image, "rgb2ycbcr")
    r, g, b = (image[:, :, k].astype(np.float64) for k in range(3))
    planes = [o + (m[0] * r + m[1] * g + m[2] * b) / 255.0 for m, o in zip(_TO_YCBCR, _OFFSET, strict=True)]
    return _round_uint8(np.stack(planes, axis=2))


def rgb2y(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The Y of an image, (H, W) uint8: of `rgb2ycbcr` for (H, W, 3), the image itself for a grey (H, W) one."""
    if image.ndim == 2 and image.dtype == np.uint8:
        return image
    _check_colour(image, "rgb2y")
    m = _TO_YCBCR[0]
    y = m[0] * image[:, :, 0]
    y += m[1] * image[:, :, 1]
    y += m[2] * image[:, :, 2]
    y /= 255.0
    y += 16.0
    return _round_uint8(y)


def ycbcr2rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """YCbCr to RGB, both (H, W, 3) uint8, rounded and clamped as MATLAB's ``ycbcr2rgb``."""
    _check_colour(image, "ycbcr2rgb")
    y, cb, cr = (image[:, :, k].astype(np.float64) - _OFFSET[k] for k in range(3))
    planes = [255.0 * (m[0] * y + m[1] * cb + m[2] * cr) for m in _TO_RGB]
    return _round_uint8(np.stack(planes, axis=2))


def im2double(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """8-bit values k to k/255 in float64, exactly MATLAB's quotient."""
    if image.dtype != np.uint8:
        raise ValueError(f"im2double takes a uint8 image; got {image.dtype}")
    return image / 255.0


def im2uint8(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Values in [0, 1] to 8 bits: times 255, rounded half away from zero, clamped."""
    return _round_uint8(np.asarray(image, dtype=np.float64) * 255.0)
