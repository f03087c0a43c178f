"""8-bit images through float32: every value that of the sums in doubles, and the bound that says so."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.drawing import draw_photo

from idn_data.matlab import eightbit
from idn_data.matlab.eightbit import _find_axis, find_limit, resize_bytes
from idn_data.matlab.resize import _resize_doubles, imresize
from idn_data.matlab.sizes import find_lengths
from idn_data.matlab.weights import BOUNDARIES, METHODS, compute_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

RNG = np.random.default_rng(255)
SCALES: tuple[Any, ...] = (0.25, 1 / 3, 0.5, 0.7, 0.9, 1.0, 1.7, 2, 2.3, 3, 4, (0.4, 0.9), (0.9, 0.4), (2.5, 0.3))


def make_hard_images() -> dict[str, NDArray[np.uint8]]:
    """Photographs, noise, all levels, edges that overshoot, and pairs whose mean is a half."""
    levels = np.arange(256, dtype=np.uint8)
    ends = RNG.choice(np.array([0, 1, 127, 128, 254, 255], np.uint8), (40, 37, 3))
    halves = (np.indices((31, 45)).sum(0) % 2).astype(np.uint8) + np.arange(45, dtype=np.uint8)
    return {
        "photo": draw_photo(61, 53, 3),
        "noise": RNG.integers(0, 256, (45, 67, 3), dtype=np.uint8),
        "levels": np.stack([levels, levels[::-1], RNG.permutation(levels)] * 5),
        "ends": ends,
        "halves": halves,
        "wide": RNG.integers(0, 256, (5, 700), dtype=np.uint8),
        "four": RNG.integers(0, 256, (9, 21, 4), dtype=np.uint8),
        "many": RNG.integers(0, 256, (3, 4, 600), dtype=np.uint8),  # more channels than are in flight at once
        "planes": RNG.integers(0, 256, (6, 7, 5, 3), dtype=np.uint8),
    }


IMAGES = make_hard_images()


def resize_in_doubles(image: NDArray[np.uint8], scale: Any, **how: Any) -> NDArray[np.uint8]:
    scales, lengths = find_lengths(image.shape[:2], scale, None)
    out = np.empty((*lengths, *image.shape[2:]), np.uint8)
    flat = image.reshape(len(image), -1)
    how = {"method": "bicubic", "antialias": None, "boundary": "symmetric", **how}
    _resize_doubles(flat, scales, out.reshape(len(out), -1), flat.shape[1] // image.shape[1], **how)
    return out


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_every_value_is_that_of_doubles(name: str, boundary: Any) -> None:
    image = IMAGES[name]
    for scale in SCALES:
        for method in METHODS:
            how: dict[str, Any] = {"method": method, "boundary": boundary, "antialias": scale != 0.7}
            assert (imresize(image, scale, **how) == resize_in_doubles(image, scale, **how)).all(), (scale, method)


def test_a_kernel_of_ones_own() -> None:
    def sharp(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(0.0, 1.3 - np.abs(x)) - 0.11 * (np.abs(x) < 2.5)

    for scale in SCALES:
        got = imresize(IMAGES["photo"], scale, (sharp, 5.0))
        assert (got == resize_in_doubles(IMAGES["photo"], scale, method=(sharp, 5.0))).all()


def test_the_guard_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it float32 would round otherwise here and there."""
    image = RNG.integers(0, 256, (120, 130, 3), dtype=np.uint8)
    wanted = resize_in_doubles(image, 2.3)
    assert (imresize(image, 2.3) == wanted).all()
    monkeypatch.setattr(eightbit, "find_limit", lambda weights: np.float32(1))
    _find_axis.cache_clear()
    try:
        assert (imresize(image, 2.3) != wanted).any()
    finally:
        _find_axis.cache_clear()


@pytest.mark.parametrize(("scale", "exact"), [(0.5, True), (0.25, True), (2.0, True), (4.0, True), (3.0, False)])
def test_where_float32_is_exact(scale: float, exact: bool) -> None:
    limit = find_limit(compute_weights(64, int(64 * scale), scale)[0])
    assert limit is not None
    assert (limit == 1) == exact
    assert exact or 0.499 < limit < 0.5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [0.15, 1 / 3, 0.7, 1.7, 3.0])
def test_the_bound_holds(method: str, scale: float) -> None:
    """float32 sums of the worst bytes, in the kernel's order, against fractions and doubles."""
    axis = _find_axis(60, int(60 * scale), scale, method, True, "symmetric")
    assert axis is not None
    bound = 0 if axis.limit == 1 else 0.5 - float(axis.limit)
    worst = 0.0
    for row, row32 in zip(axis.weights, axis.weights32, strict=True):
        for x in (np.where(row32 > 0, 255, 0), np.where(row32 > 0, 255, 254), RNG.integers(0, 256, len(row32))):
            single = np.float32(0)
            for p in range(0, len(row32), 4):
                four = [row32[p + k] * np.float32(x[p + k]) for k in range(4)]
                single = single + (((four[0] + four[1]) + four[2]) + four[3])
            exact = sum(Fraction(float(w)) * int(v) for w, v in zip(row, x, strict=False))
            worst = max(worst, float(abs(Fraction(float(single)) - exact)))
    assert worst <= bound, (worst, bound)


def test_float32_is_not_taken_where_it_will_not_do() -> None:
    assert find_limit(np.full((2, 8192), 1 / 8192 + 1e-9)) is None  # too many taps
    assert find_limit(np.array([[40000.0, -39999.1]])) is None  # too large
    row, out = np.zeros((1, 20000), np.uint8), np.full((1, 2), 7, np.uint8)
    assert not resize_bytes(row, (1.0, 1e-4), out, 1, "bicubic", None, "symmetric")
    assert (out == 7).all()
    noise = RNG.integers(0, 256, (1, 20000), dtype=np.uint8)
    assert (imresize(noise, (1, 1e-4)) == resize_in_doubles(noise, (1, 1e-4))).all()
