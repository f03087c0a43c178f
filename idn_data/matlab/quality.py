"""MATLAB's `psnr` and `ssim`.

SSIM follows Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE TIP 2004: an 11×11 Gaussian window with σ = 1.5, K1 = 0.01, K2 = 0.03.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import correlate1d

if TYPE_CHECKING:
    from numpy.typing import NDArray


_RADIUS = 5
_WINDOW = np.exp(-(np.arange(-_RADIUS, _RADIUS + 1) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()


def _choose_peak(image: NDArray[np.generic], reference: NDArray[np.generic], peak: float | None) -> float:
    """The peak of two images that can be compared: as given, else MATLAB's for their class."""
    if image.shape != reference.shape or image.size == 0:
        raise ValueError(f"the two images must be of one shape, not empty; got {image.shape} and {reference.shape}")
    if peak is not None:
        return peak
    integers = {np.dtype(a.dtype) for a in (image, reference) if np.issubdtype(a.dtype, np.integer)}
    if not integers:
        return 1.0
    if image.dtype != reference.dtype:
        raise ValueError(
            f"the two images are {image.dtype} and {reference.dtype}; bring them to one type, or give peak"
        )
    return float(np.iinfo(integers.pop()).max)


def psnr(image: NDArray[np.generic], reference: NDArray[np.generic], peak: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, ``10·log10(peak² / mean squared error)``; inf for equal images.

    Parameters
    ----------
    image, reference : (H, W) or (H, W, C) arrays
        Same shape and range; colour counts as one mean over all channels, as in MATLAB's ``psnr``.
    peak : float, optional
        Without: the largest value of an integer type (255 for uint8), 1 for floating point, as in MATLAB.

    Raises
    ------
    ValueError
        The shapes differ, or an integer type meets another type without `peak`.
    """
    peak = _choose_peak(image, reference, peak)
    difference = np.asarray(image, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    error = float(np.mean(difference**2))
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def ssim(
    image: NDArray[np.generic], reference: NDArray[np.generic], peak: float | None = None, *, valid: bool = False
) -> float:
    """Mean structural similarity; 1 for equal images.

    Parameters
    ----------
    image, reference : (H, W) arrays
        Same shape and range.
    peak : float, optional
        Dynamic range L; without, as in `psnr`.
    valid : bool
        False: the border is replicated and every pixel counts (MATLAB's ``ssim``). True: only windows that lie
        wholly inside count (the script of the SSIM paper, which IDN's authors use).
    """
    if image.ndim != 2:
        raise ValueError(f"ssim compares one channel, (H, W); got {image.shape}; take Y by rgb2y")
    peak = _choose_peak(image, reference, peak)
    x, y = np.asarray(image, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if valid and min(x.shape) < 2 * _RADIUS + 1:
        raise ValueError(f"ssim of valid windows needs at least 11x11 pixels; got {x.shape[0]}x{x.shape[1]}")

    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return correlate1d(correlate1d(values, _WINDOW, axis=0, mode="nearest"), _WINDOW, axis=1, mode="nearest")

    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    bottom = (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    similarity = top / bottom
    return float(np.mean(similarity[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS] if valid else similarity))
