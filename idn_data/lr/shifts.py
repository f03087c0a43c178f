"""A shift between an LR picture and the one that is expected, and a part cut out of an LR picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idn_data.lr.pictures import Picture


def estimate_shift(expected: NDArray[Any], lr: NDArray[Any]) -> tuple[float, float]:
    """How far LR samples below and to the right of what is expected, in LR pixels: (rows, columns).

    Least squares of ``lr = expected + d·gradient`` (Lucas and Kanade, 1981), three times, each time at the shift found.
    """
    first, second = (_to_grey(image) for image in (expected, lr))
    down = right = 0.0
    for _ in range(3):
        moved = _move(first, (down, right))
        gradients = [np.asarray(np.gradient(moved, axis=axis)) for axis in (0, 1)]
        inner = tuple(slice(min(4, n // 4), n - min(4, n // 4)) for n in first.shape)
        system = np.stack([g[inner].ravel() for g in gradients], axis=1)
        step, *_ = np.linalg.lstsq(system, (second - moved)[inner].ravel(), rcond=None)
        down, right = (at + min(1.0, max(-1.0, float(d))) for at, d in zip((down, right), step, strict=True))
    return down, right


def _to_grey(image: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(image.mean(axis=2) if image.ndim == 3 else image, dtype=np.float64)


def _move(image: NDArray[np.float64], shift: tuple[float, float]) -> NDArray[np.float64]:
    """Linear interpolation at the pixels moved by `shift`, the edge repeated."""
    for axis, amount in enumerate(shift):
        n = image.shape[axis]
        at = np.clip(np.arange(n) + amount, 0, n - 1)
        low = np.minimum(np.floor(at).astype(np.intp), n - 2) if n > 1 else np.zeros(n, np.intp)  # safe: in 0 … n-1
        weight = (at - low).reshape((-1, 1) if axis == 0 else (1, -1))
        upper = np.minimum(low + 1, n - 1)
        image = np.take(image, low, axis) * (1 - weight) + np.take(image, upper, axis) * weight
    return image


def find_part(picture: Picture, scales: Sequence[float]) -> tuple[float, Picture, float] | None:
    """The whole scale and the place at which LR is a part of its HR reduced; None where it fits at none.

    Returns
    -------
    (float, Picture, float) or None
        Scale; the picture with its place; the mean square of what remains, in squared 8-bit steps.
    """
    best: tuple[float, Picture, float] | None = None
    small = _to_grey(picture.lr)
    for scale in scales:
        step = int(scale)
        hr = picture.hr[: picture.hr_size[0] // step * step, : picture.hr_size[1] // step * step]
        if scale != step or min(hr.shape[:2]) == 0:
            continue
        whole = np.asarray(imresize(_to_grey(hr), 1 / scale), dtype=np.float64)
        if whole.shape[0] < small.shape[0] or whole.shape[1] < small.shape[1]:
            continue
        errors = _list_errors(whole, small)
        place = np.unravel_index(int(errors.argmin()), errors.shape)
        found = replace(picture, offset=(int(place[0]), int(place[1])))
        error = float(errors[place]) / (65535 / 255 if picture.lr.dtype == np.uint16 else 1) ** 2
        if best is None or error < best[2]:
            best = scale, found, error
    return best


def _list_errors(whole: NDArray[np.float64], part: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean square difference of a part at each place of the whole, by Fourier transforms."""
    shape = whole.shape
    offset = whole.mean()  # smaller numbers, smaller rounding
    whole, part = whole - offset, part - offset

    def correlate(image: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
        product = np.fft.rfft2(image) * np.conj(np.fft.rfft2(window, shape))
        return np.fft.irfft2(product, shape)[: shape[0] - part.shape[0] + 1, : shape[1] - part.shape[1] + 1]

    squares = correlate(whole**2, np.ones(part.shape)) - 2 * correlate(whole, part) + (part**2).sum()
    return np.asarray(np.maximum(squares, 0) / part.size)
