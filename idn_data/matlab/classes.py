"""MATLAB's conversions between classes of images: im2double, im2single, im2uint8, im2uint16.

Floating point holds intensities in [0, 1]. An integer class spans them with its whole range: 8-bit k is k/255, 16-bit k
is k/65535. True is 1. (MATLAB's documentation of these four functions.)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Interpolated intensities overshoot [0, 1]: by 0.3 at most with the bicubic kernel along both axes, 0.71 with lanczos3.
# Pictures in 0…255 lie far beyond.
_LOWEST, _HIGHEST = -1.0, 2.0
_BELOW_HALF = 0.49999999999999994  # the double before 1/2: adding 1/2 itself would carry it up to 1


def check_array(image: object, name: str, kinds: str = "uint8, uint16, float32, float64 or bool") -> NDArray[Any]:
    """An image as a numpy array of one of the classes that are known here, not empty, in this machine's byte order.

    Raises
    ------
    TypeError
        A tensor, a list, or an array of another dtype.
    ValueError
        An empty array.
    """
    if not isinstance(image, np.ndarray):
        kind = f"{type(image).__module__.split('.')[0]}.{type(image).__name__}".removeprefix("builtins.")
        raise TypeError(f"{name} takes a numpy array; got {kind}; convert it by numpy.asarray, a tensor by .numpy()")
    known = kinds.replace(" or ", ", ").split(", ")
    if image.dtype.name not in known:
        raise TypeError(f"{name} takes {kinds}; got {image.dtype}; convert it first")
    if image.size == 0:
        raise ValueError(f"{name} takes an image that is not empty; got shape {image.shape}")
    return order_bytes(image)


def order_bytes(array: NDArray[Any]) -> NDArray[Any]:
    """The same values in this machine's byte order; the array itself where they have it already.

    Equal numbers in another order are another dtype to numpy: ``">u2" == np.uint16`` is false.
    """
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def check_unit_range(image: NDArray[Any], name: str) -> None:
    """Refuse floats that cannot be intensities in [0, 1]: NaN, or values beyond any interpolation's overshoot.

    Raises
    ------
    ValueError
        A NaN, or a value below -1 or above 2.
    """
    low, high = float(image.min()), float(image.max())
    if math.isnan(low):  # numpy's smallest of anything with a NaN is NaN
        raise ValueError(f"{name}: the image holds NaN; look for what made it")
    if low < _LOWEST or high > _HIGHEST:
        raise ValueError(
            f"{name} takes floats in [0, 1]; these go from {low:g} to {high:g}; divide values in 0…255 by 255, or clip"
        )


def round_to_integers(values: NDArray[np.float64], dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Round half away from zero and saturate, as MATLAB's integer classes do; `values` is overwritten."""
    np.clip(values, 0.0, float(np.iinfo(dtype).max), out=values)
    values += _BELOW_HALF
    return values.astype(dtype)  # the cast only cuts off the fractions of 0 … the largest


def im2double(image: NDArray[Any]) -> NDArray[np.float64]:
    """Intensities as float64: MATLAB's quotient k/255 or k/65535, float32 as it is, True as 1.

    Parameters
    ----------
    image : array of uint8, uint16, float32, float64 or bool
        Any shape. Floats are passed on whatever their range; float64 is not copied.

    Raises
    ------
    TypeError, ValueError
        No numpy array, another dtype; an empty image.
    """
    image = check_array(image, "im2double")
    if image.dtype.kind == "u":
        return image / float(np.iinfo(image.dtype).max)
    return image.astype(np.float64, copy=False)


def im2single(image: NDArray[Any]) -> NDArray[np.float32]:
    """Intensities as float32: the quotient k/255 or k/65535 rounded once, float64 rounded, True as 1.

    Parameters and errors as `im2double`.
    """
    image = check_array(image, "im2single")
    if image.dtype.kind == "u":
        single: NDArray[np.float32] = np.divide(image, np.float32(np.iinfo(image.dtype).max), dtype=np.float32)
        return single
    return image.astype(np.float32, copy=False)  # rounds float64, as the name says


def im2uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Intensities as 8 bits: floats times 255, 16-bit k as k/257, both rounded half away from zero; True as 255.

    Parameters
    ----------
    image : array of uint8, uint16, float32, float64 or bool
        Any shape. Floats in [0, 1]; what lies a little outside is clamped. uint8 is passed on, not copied.

    Raises
    ------
    TypeError
        No numpy array, or another dtype.
    ValueError
        An empty image; floats with NaN, or below -1 or above 2: they cannot be intensities in [0, 1].
    """
    image = check_array(image, "im2uint8")
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:  # (k + 128) // 257 is k/257 rounded: 257 is odd, so no half occurs
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 + 128 over 257 is 255
    return _scale_up(image, "im2uint8", np.uint8)


def im2uint16(image: NDArray[Any]) -> NDArray[np.uint16]:
    """Intensities as 16 bits: floats times 65535, rounded half away from zero; 8-bit k as 257·k; True as 65535.

    Parameters and errors as `im2uint8`.
    """
    image = check_array(image, "im2uint16")
    if image.dtype == np.uint16:
        return image
    if image.dtype == np.uint8:
        return image.astype(np.uint16) * np.uint16(257)  # 255·257 = 65535 fits
    return _scale_up(image, "im2uint16", np.uint16)


def _scale_up(image: NDArray[Any], name: str, dtype: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    if image.dtype.kind == "f":
        check_unit_range(image, name)
    return round_to_integers(image.astype(np.float64) * float(np.iinfo(dtype).max), dtype)
