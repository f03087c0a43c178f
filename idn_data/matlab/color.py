"""MATLAB's colour conversions: rgb2ycbcr, ycbcr2rgb, rgb2gray.

ITU-R BT.601 with studio swing: Y in 16…235, Cb and Cr in 16…240 for 8-bit images, as in MATLAB's documentation. Each
works for uint8, uint16, float32 and float64, and answers the class it was given. Sums are taken in float64 in the order
(R + G) + B + offset. Integers are rounded half away from zero at the end, float32 once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.matlab.classes import check_array, check_unit_range, round_to_integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_CLASSES = "uint8, uint16, float32 or float64"

# Rows Y, Cb, Cr; columns R, G, B. MATLAB multiplies the matrix of BT.601 by 1/255 first: its own doubles agree in every
# bit that way, and in two thirds of the values if the sum is divided. For uint8 that decides 122 of 256³ colours.
_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) * (1 / 255)
_OFFSET = np.array([16.0, 128.0, 128.0])

# The inverse of that matrix, without 1/255, as MATLAB's LAPACK rounds it: written down, because another LAPACK rounds
# otherwise. With these, MATLAB's doubles agree in every bit. The two smallest would be 0 but for the three decimals of
# BT.601; they were fitted to those doubles, which leave them a relative width of 3e-13 and 1e-13.
_TO_RGB = np.array([
    [float.fromhex(text) for text in row.split()]
    for row in (
        "0x1.2b404ad012b41p-8 0x1.44990aba9e40cp-30 0x1.9a2f673be09eap-8",
        "0x1.2b404ad012b41p-8 -0x1.92bceff356127p-10 -0x1.a1df408792a7bp-9",
        "0x1.2b404ad012b41p-8 0x1.0337e5c16a36fp-7 0x1.9b8b2d9a81845p-27",
    )
])  # fmt: skip
_TO_GRAY = np.array([0.29893602129377539, 0.58704307445112125, 0.11402090425510336])


def _check_colour(image: object, name: str) -> NDArray[Any]:
    checked = check_array(image, name, _CLASSES)
    if checked.ndim != 3 or checked.shape[2] != 3:
        raise ValueError(f"{name} takes an H×W×3 image; got {checked.dtype} {checked.shape}")
    if checked.dtype.kind == "f":
        check_unit_range(checked, name)
    return checked


def _mix(image: NDArray[Any], weights: Sequence[float] | NDArray[np.float64], offset: float) -> NDArray[np.float64]:
    """One channel of a linear combination of three: ((w1·R + w2·G) + w3·B) + offset, (H, W) float64."""
    total: NDArray[np.float64] = np.multiply(image[:, :, 0], weights[0], dtype=np.float64)
    total += np.multiply(image[:, :, 1], weights[1], dtype=np.float64)
    total += np.multiply(image[:, :, 2], weights[2], dtype=np.float64)
    total += offset
    return total


def _return_to_class(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "u":
        return round_to_integers(values, dtype.type)
    return values.astype(dtype, copy=False)  # float32: the one rounding


def _find_unit(dtype: np.dtype[Any]) -> float:
    """What 1/255 is in a class: 1 for uint8, 257 for uint16, 1/255 for floating point."""
    return {"uint8": 1.0, "uint16": 257.0}.get(dtype.name, 1 / 255)


def rgb2ycbcr(image: NDArray[Any]) -> NDArray[Any]:
    """RGB to YCbCr as MATLAB's ``rgb2ycbcr``.

    Parameters
    ----------
    image : (H, W, 3) uint8, uint16, float32 or float64
        Floats in [0, 1], but for a small overshoot.

    Returns
    -------
    (H, W, 3) array of the image's dtype
        Y in 16…235 and Cb, Cr in 16…240 for uint8; 257 times as much for uint16; a 255th for floats, not clipped.

    Raises
    ------
    TypeError, ValueError
        Another dtype or shape, an empty image, floats that hold NaN or are not in [0, 1].
    """
    image = _check_colour(image, "rgb2ycbcr")
    out = np.empty(image.shape, image.dtype)
    for k in range(3):
        offset = float(_OFFSET[k]) * _find_unit(image.dtype)
        out[:, :, k] = _return_to_class(_mix(image, _TO_YCBCR[k], offset), image.dtype)
    return out


def rgb2y(image: NDArray[Any]) -> NDArray[Any]:
    """The Y of an image, (H, W): of `rgb2ycbcr` for (H, W, 3), the image itself for a grey (H, W) one.

    Dtypes, ranges and errors as `rgb2ycbcr`.
    """
    if isinstance(image, np.ndarray) and image.ndim == 2:
        checked = check_array(image, "rgb2y", _CLASSES)
        if checked.dtype.kind == "f":
            check_unit_range(checked, "rgb2y")
        return checked
    image = _check_colour(image, "rgb2y")
    offset = float(_OFFSET[0]) * _find_unit(image.dtype)
    return _return_to_class(_mix(image, _TO_YCBCR[0], offset), image.dtype)


def ycbcr2rgb(image: NDArray[Any]) -> NDArray[Any]:
    """YCbCr to RGB as MATLAB's ``ycbcr2rgb``, clamped to the range of the class (floats: [0, 1]).

    Parameters
    ----------
    image : (H, W, 3) uint8, uint16, float32 or float64
        As `rgb2ycbcr` answers it.

    Returns
    -------
    (H, W, 3) array of the image's dtype

    Raises
    ------
    TypeError, ValueError
        As `rgb2ycbcr`.
    """
    image = _check_colour(image, "ycbcr2rgb")
    unit = _find_unit(image.dtype)
    top = 1.0 if image.dtype.kind == "f" else float(np.iinfo(image.dtype).max)
    out = np.empty(image.shape, image.dtype)
    for k, row in enumerate(_TO_RGB):
        shift = (row[0] * _OFFSET[0] + row[1] * _OFFSET[1]) + row[2] * _OFFSET[2]
        plane = _mix(image, 255 * row, -shift * (255 * unit))
        out[:, :, k] = _return_to_class(np.clip(plane, 0.0, top, out=plane), image.dtype)
    return out


def rgb2gray(image: NDArray[Any]) -> NDArray[Any]:
    """Grey of RGB as MATLAB's ``rgb2gray``: 0.2989 R + 0.5870 G + 0.1140 B with more digits, (H, W, 3) to (H, W).

    The whole range is used, unlike the Y of `rgb2ycbcr`: published scores are of that Y. Digits as in MATLAB's
    documentation; order and rounding as in `rgb2ycbcr`, for no grey image of MATLAB's was at hand to compare with.
    Dtypes, ranges and errors as `rgb2ycbcr`.
    """
    image = _check_colour(image, "rgb2gray")
    return _return_to_class(_mix(image, _TO_GRAY, 0.0), image.dtype)
