"""MATLAB's `psnr` and `ssim`.

SSIM follows Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE TIP 2004: a Gaussian window with σ = 1.5 of 11×11 pixels, K1 = 0.01, K2 = 0.03. Options and defaults
are those of MATLAB's documentation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import correlate1d

from idn_data.matlab.classes import check_array, check_unit_range

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_CLASSES = "uint8, uint16, int16, float32 or float64"
_MAX_RADIUS = 100.0


def _check_pair(image: object, reference: object, name: str, peak: float | None) -> tuple[Any, Any, float]:
    """Two images that can be compared, and the peak: as given, else the range of their class as in MATLAB."""
    a, b = (check_array(part, name, _CLASSES) for part in (image, reference))
    if a.shape != b.shape:
        raise ValueError(f"{name}: the two images must be of one shape; got {a.shape} and {b.shape}")
    if peak is not None:
        if not 0 < peak < math.inf:
            raise ValueError(f"peak must be a positive number; got {peak!r}")
        return a, b, float(peak)
    if a.dtype != b.dtype and (a.dtype.kind, b.dtype.kind) != ("f", "f"):
        raise ValueError(f"the two images are {a.dtype} and {b.dtype}; bring them to one type, or give peak")
    if a.dtype.kind == "f":
        for part in (a, b):
            check_unit_range(part, f"{name} without peak")
        return a, b, 1.0
    limits = np.iinfo(a.dtype)
    return a, b, float(limits.max) - float(limits.min)


def psnr(image: NDArray[Any], reference: NDArray[Any], peak: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB, ``10·log10(peak² / mean squared error)``; inf for equal images.

    Parameters
    ----------
    image, reference : (H, W) or (H, W, C) uint8, uint16, int16, float32 or float64
        Same shape and range; colour counts as one mean over all channels, as in MATLAB's ``psnr``.
    peak : float, optional
        Without, as in MATLAB: the range of an integer class (255 for uint8, 65535 for uint16 and int16), 1 for floats,
        which must lie in [0, 1].

    Raises
    ------
    TypeError
        No numpy arrays, or another dtype.
    ValueError
        The shapes differ, an image is empty or holds NaN; without `peak`: an integer type meets another type, or floats
        cannot lie in [0, 1].
    """
    a, b, top = _check_pair(image, reference, "psnr", peak)
    with np.errstate(invalid="ignore", over="ignore"):  # infinities are named below
        difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
        error = float(np.mean(difference**2))
    if not math.isfinite(error):
        raise ValueError("psnr: an image holds NaN or infinities; look for what made them")
    return math.inf if error == 0 else 10 * math.log10(top**2 / error)


def ssim(
    image: NDArray[Any], reference: NDArray[Any], peak: float | None = None, *, valid: bool = False,
    radius: float = 1.5, exponents: Sequence[float] = (1, 1, 1), constants: Sequence[float] | None = None,
) -> float:  # fmt: skip
    """Mean structural similarity; 1 for equal images. Parameters and errors as `ssim_map`, whose mean it is."""
    similarity = ssim_map(image, reference, peak, valid=valid, radius=radius, exponents=exponents, constants=constants)
    return float(np.mean(similarity))


def ssim_map(
    image: NDArray[Any], reference: NDArray[Any], peak: float | None = None, *, valid: bool = False,
    radius: float = 1.5, exponents: Sequence[float] = (1, 1, 1), constants: Sequence[float] | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """Structural similarity at each pixel, the second output of MATLAB's ``ssim``.

    Parameters
    ----------
    image, reference : (H, W) uint8, uint16, int16, float32 or float64
        Same shape and range. Of colour, compare each channel, or take Y by `rgb2y`: MATLAB would take the channels for
        the layers of a volume.
    peak : float, optional
        MATLAB's DynamicRange, L; without, as in `psnr`.
    valid : bool
        False: the border is replicated and every pixel counts (MATLAB's ``ssim``). True: only windows that lie
        wholly inside count (the script of the SSIM paper, which IDN's authors use).
    radius : float
        MATLAB's Radius: σ of the Gaussian window in pixels. Its side is 2·⌈3·radius⌉ + 1.
    exponents : three floats
        MATLAB's Exponents, of luminance, contrast and structure, 0 or more. Where one is not whole, its term is clamped
        to 0 from below, as MATLAB's documentation says.
    constants : three floats, optional
        MATLAB's RegularizationConstants, 0 or more.  [default: (0.01·L)², (0.03·L)², (0.03·L)²/2]

    Returns
    -------
    (H, W) float64; less by the window's side - 1 where `valid`

    Raises
    ------
    TypeError, ValueError
        As `psnr`; colour; an option that is not possible; an image smaller than the window where `valid`.
    """
    a, b, top = _check_pair(image, reference, "ssim", peak)
    if a.ndim != 2:
        raise ValueError(
            f"ssim compares one channel, (H, W); got {a.shape}; take Y by rgb2y, or each channel by itself"
        )
    if not 0 < radius <= _MAX_RADIUS:
        raise ValueError(f"radius must be a positive number, at most {_MAX_RADIUS:g}; got {radius!r}")
    radius = float(radius)  # numpy's small integers would overflow below
    reach = math.ceil(3 * radius)
    if valid and min(a.shape) < 2 * reach + 1:
        side = 2 * reach + 1
        raise ValueError(f"ssim of valid windows needs at least {side}x{side} pixels; got {a.shape[0]}x{a.shape[1]}")
    chosen = (0.01 * top) ** 2, (0.03 * top) ** 2, (0.03 * top) ** 2 / 2
    c = chosen if constants is None else _check_three(constants, "constants")
    low = float(np.iinfo(np.int16).min) if np.int16 in (a.dtype, b.dtype) else 0.0  # SSIM is of values from 0 upwards
    x, y = (np.asarray(part, dtype=np.float64) - low if low else np.asarray(part, dtype=np.float64) for part in (a, b))
    with np.errstate(invalid="ignore", over="ignore"):  # infinities are named below
        similarity = _compare(x, y, radius, _check_three(exponents, "exponents"), c)
    if np.isnan(similarity).any():
        raise ValueError("ssim: an image holds NaN or infinities; look for what made them")
    return similarity[reach:-reach, reach:-reach] if valid else similarity


def _check_three(values: Sequence[float], name: str) -> tuple[float, float, float]:
    found = tuple(float(v) for v in values)
    if len(found) != 3 or not all(0 <= v < math.inf for v in found):
        raise ValueError(f"{name} must be three numbers, 0 or more; got {values!r}")
    return found[0], found[1], found[2]


def _compare(
    x: NDArray[np.float64], y: NDArray[np.float64], radius: float, exponents: tuple[float, float, float],
    c: tuple[float, float, float],
) -> NDArray[np.float64]:  # fmt: skip
    """Equations 12 and, where the exponents are 1 and c3 = c2/2, 13 of the paper; borders replicated."""
    reach = math.ceil(3 * radius)
    window = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * radius**2))
    window /= window.sum()

    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = correlate1d(values, window, axis=0, mode="nearest")
        blurred: NDArray[np.float64] = correlate1d(rows, window, axis=1, mode="nearest")
        return blurred

    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    luminance = 2 * mean_x * mean_y + c[0], mean_x**2 + mean_y**2 + c[0]
    if exponents == (1, 1, 1) and c[2] == c[1] / 2:
        return _divide(luminance[0] * (2 * covariance + c[1]), luminance[1] * (variance_x + variance_y + c[1]))
    deviations = np.sqrt(np.maximum(variance_x, 0) * np.maximum(variance_y, 0))  # below 0 by rounding alone
    contrast = 2 * deviations + c[1], variance_x + variance_y + c[1]
    structure = covariance + c[2], deviations + c[2]
    similarity = np.ones(x.shape)
    for (top, bottom), exponent in zip((luminance, contrast, structure), exponents, strict=True):
        term = _divide(top, bottom)
        similarity *= (term if exponent == int(exponent) else np.maximum(term, 0)) ** exponent
    return similarity


def _divide(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quotient; 1 where the divisor is 0, which constants of 0 allow."""
    quotient: NDArray[np.float64] = np.divide(top, bottom, out=np.ones_like(top), where=bottom != 0)
    return quotient
