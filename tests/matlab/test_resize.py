"""imresize against exact rational arithmetic, and every promise of its docstring."""

from __future__ import annotations

import doctest
import math
import random
import re
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from idn_data.images.variants import DOWNSCALES
from idn_data.matlab.compiled import load_kernels
from idn_data.matlab.resize import imresize
from idn_data.matlab.sizes import MAX_LENGTH
from idn_data.matlab.weights import BOUNDARIES, METHODS, _compute_weights, _cube, compute_weights

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

SMOOTH = ("bicubic", "bilinear", "lanczos2", "lanczos3")  # no jumps, so that doubles and fractions take the same taps
RNG = np.random.default_rng(1981)
GREY = RNG.random((23, 31))
COLOUR = RNG.random((19, 14, 3))
SCALES: tuple[Any, ...] = (0.5, 1 / 3, 0.7, 1.0, 1.7, 2, (0.4, 0.9), (0.9, 0.4), (2.5, 0.3), (0.3, 2.5))


KERNEL = ("method", "antialias", "boundary")


def ask_and_expect(
    choose: random.Random, number: int, kinds: int = 5
) -> tuple[tuple[int, int], dict[str, Any], tuple[int, int], tuple[float, float]]:
    """A random call of imresize: input shape, arguments, and by MATLAB's rules output shape and scales."""
    h, w = choose.randint(1, 9), choose.randint(1, 9)
    method = METHODS[number % len(METHODS)]
    how: dict[str, Any] = {"method": method, "antialias": choose.random() < 0.7, "boundary": choose.choice(BOUNDARIES)}
    if method not in SMOOTH:  # a box decides halves: only scales that are exact in binary
        pair = choose.choice((0.25, 0.5, 2.0)), choose.choice((0.25, 0.5, 2.0))
        return (h, w), {"scale": pair, **how}, (math.ceil(pair[0] * h), math.ceil(pair[1] * w)), pair
    kind = number // len(METHODS) % kinds
    if kind == 0:
        s = choose.uniform(0.2, 2.5)
        return (h, w), {"scale": s, **how}, (math.ceil(s * h), math.ceil(s * w)), (s, s)
    if kind == 1:  # the horizontal scale is the smaller one: columns first
        pair = choose.uniform(0.8, 2.5), choose.uniform(0.2, 0.75)
        return (h, w), {"scale": pair, **how}, (math.ceil(pair[0] * h), math.ceil(pair[1] * w)), pair
    n, m = choose.randint(1, 14), choose.randint(1, 14)
    if kind == 2:
        return (h, w), {"size": (n, m), **how}, (n, m), (n / h, m / w)
    if kind == 3:
        return (h, w), {"size": (n, choose.choice((None, math.nan))), **how}, (n, -(-n * w // h)), (n / h, n / h)
    return (h, w), {"size": (choose.choice((None, math.nan)), m), **how}, (-(-m * h // w), m), (m / w, m / w)


@pytest.mark.parametrize("number", range(60))
def test_random_doubles_against_fractions(exact: ModuleType, number: int) -> None:
    choose = random.Random(number)
    shape, how, wanted_shape, scales = ask_and_expect(choose, number)
    image = np.array([[choose.uniform(-1, 2) for _ in range(shape[1])] for _ in range(shape[0])])
    wanted = exact.imresize_exact(image.tolist(), wanted_shape, scales, **{k: how[k] for k in KERNEL})
    got = imresize(image, **how)
    assert got.dtype == np.float64
    assert got.shape == wanted_shape
    error = max(abs(Fraction(g) - e) for row, line in zip(got.tolist(), wanted, strict=True)
                for g, e in zip(row, line, strict=True))  # fmt: skip
    assert float(error) < 1e-14, (shape, how)  # for values up to 2


@pytest.mark.parametrize("number", range(60))
def test_random_uint8_against_fractions(exact: ModuleType, number: int) -> None:
    choose = random.Random(1000 + number)
    shape, how, wanted_shape, scales = ask_and_expect(choose, number, kinds=2)  # sizes give halves without end
    dyadic = all(math.log2(s) % 1 == 0 for s in scales)
    ties: list[Fraction] = [Fraction(0)]
    while ties:  # where weights are rounded, an exact half before rounding would test their last bits
        image = np.array([[choose.randrange(256) for _ in range(shape[1])] for _ in range(shape[0])], dtype=np.uint8)
        ties = []
        wanted = exact.imresize_exact(
            image.tolist(),
            wanted_shape,
            scales,
            integer="uint8",
            ties=None if dyadic else ties,
            **{k: how[k] for k in KERNEL},
        )
    got = imresize(image, **how)
    assert got.dtype == np.uint8
    assert got.tolist() == [[int(v) for v in row] for row in wanted], (shape, how)


def find_taps_in_doubles(n: int, n_out: int, scale: float, antialias: bool) -> list[list[tuple[int, float]]]:
    """The rules of fixtures/README.md in Python's own doubles: every step rounded, in the order written."""

    def cubic(x: float) -> float:
        x = abs(x)
        x2, x3 = x * x, float(Fraction(x) ** 3)  # a power rounded once
        if x <= 1:
            return 1.5 * x3 - 2.5 * x2 + 1
        return -0.5 * x3 + 2.5 * x2 - 4 * x + 2 if x <= 2 else 0.0

    shrink = antialias and scale < 1
    support = 4 / scale if shrink else 4.0
    taps = []
    for x in range(1, n_out + 1):
        u = x / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(u - support / 2)
        found, total = [], 0.0
        for k in range(left, left + math.ceil(support) + 2):
            weight = scale * cubic(scale * (u - k)) if shrink else cubic(u - k)
            total += weight
            mirrored = (k - 1) % (2 * n)
            found.append((mirrored if mirrored < n else 2 * n - 1 - mirrored, weight))
        taps.append([(k, weight / total) for k, weight in found])
    return taps


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    "scales", [(0.5, 0.5), (1 / 3, 1 / 3), (0.9, 0.9), (0.7, 0.6), (0.3, 0.8), (1.7, 1.7), (4, 0.45)]
)
def test_every_bit_of_the_doubles(scales: tuple[float, float], antialias: bool) -> None:
    rows = GREY.tolist()
    for axis in sorted((0, 1), key=lambda k: scales[k]):
        lines = [list(column) for column in zip(*rows, strict=True)] if axis == 0 else rows
        n_out = math.ceil(scales[axis] * len(lines[0]))
        resized = []
        for line in lines:
            resized.append([])
            for taps in find_taps_in_doubles(len(line), n_out, scales[axis], antialias):
                total = 0.0
                for k, weight in taps:
                    total += weight * line[k]
                resized[-1].append(total)
        rows = [list(column) for column in zip(*resized, strict=True)] if axis == 0 else resized
    assert imresize(GREY, scales, antialias=antialias).tolist() == rows


def test_the_pass_between_is_rounded_and_clamped(exact: ModuleType) -> None:
    image = np.zeros((6, 6), np.uint8)
    image[2:4, 2:4] = 255
    once = np.clip(np.round(imresize(image.astype(float), 1.5)), 0, 255)
    twice = imresize(image, 1.5)
    wanted = exact.imresize_exact(image.tolist(), (9, 9), (1.5, 1.5), integer="uint8")
    assert twice.tolist() == [[int(v) for v in row] for row in wanted]
    assert (once != twice).any()


def test_order_of_the_passes(exact: ModuleType) -> None:
    image = np.random.default_rng(5).integers(0, 256, (8, 8), dtype=np.uint8)
    for scales, n in (((0.7, 0.4), (6, 4)), ((0.4, 0.7), (4, 6))):
        wanted = exact.imresize_exact(image.tolist(), n, scales, integer="uint8")
        assert imresize(image, scales).tolist() == [[int(v) for v in row] for row in wanted]
    rows_first = imresize(imresize(image, (0.7, 1)), (1, 0.4))
    assert (imresize(image, (0.7, 0.4)) != rows_first).any()  # the other order would show


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.bool_])
def test_channels_are_resized_one_by_one(channels: int, dtype: type[np.generic]) -> None:
    image = (np.random.default_rng(channels).random((13, 10, channels)) * (255 if dtype == np.uint8 else 1.4)).astype(
        dtype
    )
    for scale in SCALES:
        for method in ("bicubic", "lanczos3", "box"):
            whole = imresize(image, scale, method=method)
            assert whole.dtype == dtype
            for c in range(channels):
                assert (whole[:, :, c] == imresize(image[:, :, c], scale, method=method)).all()


def resize_axis(
    image: NDArray[np.float64], axis: int, scale: float, method: Any = "bicubic", **how: Any
) -> NDArray[np.float64]:
    """One pass in numpy: doubles, tap by tap in index order."""
    n = image.shape[axis]
    weights, indices = compute_weights(n, math.ceil(scale * n), scale, method, **{"antialias": None, **how})
    moved = np.moveaxis(image, axis, -1)
    total = weights[:, 0] * moved[..., indices[:, 0]]
    for p in range(1, weights.shape[1]):
        total = total + weights[:, p] * moved[..., indices[:, p]]
    return np.moveaxis(total, -1, axis)


@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_single_is_rounded_after_each_pass(image: NDArray[np.float64]) -> None:
    single = image.astype(np.float32)
    differ = 0
    for scale in SCALES:
        vertical, horizontal = np.broadcast_to(scale, 2).tolist()
        for method in METHODS:
            got = imresize(single, scale, method)
            assert got.dtype == np.float32
            wanted = single
            for axis, s in sorted(enumerate((vertical, horizontal)), key=lambda pair: pair[1]):
                wanted = resize_axis(wanted.astype(np.float64), axis, s, method).astype(np.float32)
            assert (got == wanted).all()
            differ += int((got != imresize(single.astype(np.float64), scale, method).astype(np.float32)).sum())
    assert differ  # rounding once would show


@pytest.mark.parametrize("scale", SCALES)
def test_bool_is_uint8_above_128(scale: Any) -> None:
    image = GREY > 0.5
    got = imresize(image, scale)
    assert got.dtype == np.bool_
    assert (got == (imresize(image.astype(np.uint8) * np.uint8(255), scale) > 128)).all()


def test_bool_by_hand() -> None:
    image = np.array([[True, False, True, True, False, False]])
    # one of two is 127.5, rounded to 128, and that is not above 128
    assert imresize(image, (1, 0.5), method="box").tolist() == [[False, True, False]]
    assert imresize(image, (1, 2), method="nearest").tolist() == [np.repeat(image[0], 2).tolist()]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("method", METHODS)
def test_one_pixel(dtype: type[np.generic], method: str) -> None:
    for value in (0, 1) if dtype == np.bool_ else (0, 1, 77, 255):
        image = np.full((1, 1), value, dtype)
        for how in ({"scale": 3}, {"scale": 0.2}, {"size": (2, 5)}, {"size": (None, 4)}, {"scale": (0.5, 3)}):
            got = imresize(image, **how, method=method)  # type: ignore[arg-type]
            assert got.dtype == dtype
            np.testing.assert_allclose(got.astype(float), value, rtol=1e-6 if dtype == np.float32 else 1e-14)
        assert imresize(image, 3, method=method).shape == (3, 3)
        assert imresize(image, 0.2, method=method).shape == (1, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("base", [GREY, COLOUR], ids=["grey", "colour"])
def test_memory_layout_does_not_matter(base: NDArray[np.float64], dtype: type[np.generic]) -> None:
    plain = np.ascontiguousarray((base * (255 if dtype == np.uint8 else 1.4)).astype(dtype))
    before = plain.copy()
    wide = np.zeros((2 * plain.shape[0], 3 * plain.shape[1], *plain.shape[2:]), dtype)
    wide[::2, ::3] = plain
    read_only = plain.copy()
    read_only.flags.writeable = False
    shifted = np.frombuffer(b"\0" + plain.tobytes(), dtype, offset=1).reshape(plain.shape)
    layouts = {
        "stride": wide[::2, ::3],
        "flipped": np.ascontiguousarray(plain[::-1, ::-1])[::-1, ::-1],
        "Fortran": np.asfortranarray(plain),
        "transposed": np.ascontiguousarray(np.swapaxes(plain, 0, 1)).swapaxes(0, 1),
        "read-only": read_only,
        "unaligned": shifted,
    }
    for scale in (0.6, (1.5, 0.5)):
        wanted = imresize(plain, scale)
        assert wanted.flags.c_contiguous
        for name, image in layouts.items():
            assert (image == plain).all()
            assert (imresize(image, scale) == wanted).all(), name
    assert (plain == before).all()  # the input is left alone


INTEGERS = (np.uint8, np.uint16, np.uint32, np.int8, np.int16, np.int32)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_are_rounded_and_saturated_after_each_pass(exact: ModuleType, dtype: type[np.integer[Any]]) -> None:
    limits = np.iinfo(dtype)
    choose = random.Random(limits.max)
    image = np.array(
        [[choose.choice((limits.min, limits.max, choose.randint(limits.min, limits.max))) for _ in range(7)]
         for _ in range(8)], dtype)  # fmt: skip
    for scales, shape in (((2.0, 2.0), (16, 14)), ((0.5, 0.25), (4, 2)), ((4.0, 2.0), (32, 14)), ((1.0, 0.5), (8, 4))):
        for boundary in BOUNDARIES:  # halves are exact at these scales
            got = imresize(image, scales, boundary=boundary)
            wanted = exact.imresize_exact(
                image.tolist(), shape, scales, integer=np.dtype(dtype).name, boundary=boundary
            )
            assert got.dtype == dtype
            assert got.tolist() == [[int(v) for v in row] for row in wanted]


def test_negative_halves_are_rounded_away_from_zero() -> None:
    pair = np.array([[-3, -2], [2, 3]], np.int16)
    assert imresize(pair, (1, 0.5), "box").tolist() == [[-3], [3]]
    step = imresize(np.array([[-32768, -32768, 32767, 32767]], np.int16), (1, 2))[0].tolist()
    assert step[:3] == [-32768] * 3 and step[5:] == [32767] * 3  # what overshoots is saturated


@pytest.mark.parametrize("dtype", [*INTEGERS, np.float32, np.float64, np.bool_])
def test_trailing_dimensions(dtype: type[np.generic]) -> None:
    image = (np.random.default_rng(4).random((6, 5, 2, 3, 2)) * (100 if np.dtype(dtype).kind in "iu" else 1.4)).astype(
        dtype
    )
    whole = imresize(image, 1.6)
    assert whole.shape == (10, 8, 2, 3, 2) and whole.dtype == dtype
    for a, b, c in np.ndindex(2, 3, 2):
        assert (whole[:, :, a, b, c] == imresize(image[:, :, a, b, c], 1.6)).all()


def test_infinities_stay_where_they_are() -> None:
    """Taps that MATLAB drops must not touch a value; kept ones of weight 0 do: 0 times infinity is NaN."""
    image = np.array([[1.0, 2.0], [3.0, math.inf]])
    nearest = imresize(image, 2, "nearest")
    assert nearest.tolist() == image.repeat(2, 0).repeat(2, 1).tolist()
    assert imresize(image, 2, "box").tolist() == nearest.tolist()
    assert imresize(image, 2, "bilinear").tolist()[3] == [3.0, math.inf, math.inf, math.inf]
    assert not np.isnan(imresize(image, 2)).any() or np.isinf(image).any()
    row = np.array([[5.0, math.nan, 7.0, 8.0]])
    assert np.isnan(imresize(row, (1, 2), "nearest")).tolist() == [[False] * 2 + [True] * 2 + [False] * 4]


def test_weight_0_of_a_kept_tap_makes_nan_of_infinity() -> None:
    weights, indices = compute_weights(12, 5, 0.37, "bilinear")
    assert weights.any(0).all() and (weights == 0).any()  # kept for the sake of other pixels
    k = int(indices[weights == 0][0])
    row = np.ones((1, 12))
    row[0, k] = math.inf
    got = imresize(row, (1, 0.37), "bilinear")[0]
    wanted = ((weights == 0) & (indices == k)).any(1)
    assert np.isnan(got).tolist() == wanted.tolist() and wanted.any() and not wanted.all()


@pytest.mark.parametrize(
    ("name", "same"),
    [("Bicubic", "bicubic"), ("cubic", "bicubic"), ("CUBIC", "bicubic"), ("triangle", "bilinear"),
     ("Triangle", "bilinear"), ("BiLinear", "bilinear"), ("Lanczos3", "lanczos3"), ("NEAREST", "nearest"),
     ("Box", "box")],
)  # fmt: skip
def test_matlabs_names_in_any_case(name: str, same: str) -> None:
    for scale in (0.4, 1.7):
        assert (imresize(GREY, scale, name) == imresize(GREY, scale, same)).all()


def test_a_kernel_of_ones_own() -> None:
    def tent(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(0.0, 1.0 - np.abs(x))

    for scale in (0.4, 1.7, (0.5, 2.0)):
        for boundary in BOUNDARIES:
            mine = imresize(GREY, scale, (tent, 2), boundary=boundary)
            np.testing.assert_allclose(mine, imresize(GREY, scale, "bilinear", boundary=boundary), atol=1e-15)
    assert (imresize(GREY, 0.5, (tent, 2.0)) != imresize(GREY, 0.5, (tent, 2.0), antialias=False)).any()
    heights = iter((1.0, 2.0))  # one that changes its mind is asked again: nothing of it is kept
    flat = (lambda x: next(heights) * (np.abs(x) < 0.5), 1.0)
    assert compute_weights(4, 4, 1.0, flat)[0] is not compute_weights(4, 4, 1.0, flat)[0]


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        ((np.cos, 0), r"a kernel's width must be a positive number, at most 1024 pixels; got 0"),
        ((np.cos, 1e9), r"a kernel's width must be a positive number, at most 1024 pixels; got 1000000000\.0"),
        ((np.cos, "4"), r"a kernel's width must be a positive number, at most 1024 pixels; got '4'"),
        ((lambda x: x[0], 4.0), r"must return a finite real number for each distance .*; got float64 \(6,\)"),
        ((lambda x: x * np.nan, 4.0), r"must return a finite real number for each distance"),
        ((lambda x: x * 1j, 4.0), r"must return a finite real number for each distance .*; got complex128"),
        ((lambda x: 0 * x, 4.0), r"weights sum to 0 at scale 2: its width of 4 is too small"),
    ],
)
def test_unfit_kernels(kernel: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        imresize(GREY, 2, kernel)


def test_a_size_that_is_not_whole_is_rounded_up() -> None:
    assert (imresize(GREY, size=(4.2, 6.9)) == imresize(GREY, size=(5, 7))).all()
    assert imresize(GREY, size=(0.5, 0.5)).shape == (1, 1)
    # the open length is that of the size asked for, the scale that of the size made
    assert imresize(np.zeros((10, 10)), size=(4.2, None)).shape == (5, 5)
    assert imresize(np.zeros((10, 11)), size=(3.1, None)).shape == (4, 4)


def test_thirds_of_odd_lengths_are_what_ceil_sees() -> None:
    third = 1 / 3  # a little less than a third: 3n · third is n in doubles
    for n in range(1, 400):
        assert imresize(np.zeros((n, 1)), (third, 1)).shape[0] == math.ceil(third * n) == -(-n // 3)
    assert imresize(np.zeros((10, 10)), 1.1).shape == (11, 11)  # 11.000000000000002 would be 12
    assert imresize(np.zeros((100, 10)), 1.1).shape == (math.ceil(1.1 * 100), 11) == (111, 11)  # as MATLAB's ceil


def test_nested_lists_are_taken() -> None:
    assert (imresize([[0.0, 1.0], [2.0, 3.0]], 2) == imresize(np.array([[0.0, 1.0], [2.0, 3.0]]), 2)).all()  # type: ignore[arg-type]


def test_docstring_example() -> None:
    (found,) = (t for t in doctest.DocTestFinder().find(imresize, "imresize") if t.examples)
    assert len(found.examples) == 3
    assert doctest.DocTestRunner(verbose=False).run(found).failed == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.bool_])
@pytest.mark.parametrize("scale", [0.7, (1.3, 0.6)])
def test_out(dtype: type[np.generic], scale: Any) -> None:
    image = (COLOUR * (255 if dtype == np.uint8 else 1.4)).astype(dtype)
    wanted = imresize(image, scale)
    out = np.ones(wanted.shape, dtype)
    assert imresize(image, scale, out=out) is out
    assert (out == wanted).all()


def read_only(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[np.generic]:
    array = np.zeros(shape, dtype)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.bool_])
@pytest.mark.parametrize(
    "unfit",
    [
        lambda image: np.zeros((5, 4), image.dtype),
        lambda image: np.zeros((4, 5, 1), image.dtype),
        lambda image: np.zeros((4, 5), np.uint16),
        lambda image: np.zeros((4, 5), image.dtype, order="F"),
        lambda image: np.zeros((8, 5), image.dtype)[::2],
        lambda image: read_only((4, 5), image.dtype),
    ],
    ids=["shape", "dimensions", "dtype", "Fortran", "stride", "read-only"],
)
def test_out_that_does_not_fit(dtype: type[np.generic], unfit: Any) -> None:
    image = np.ones((8, 10), dtype)
    with pytest.raises(ValueError, match=r"out must be .*array of shape \(4, 5\); got \w+ \("):
        imresize(image, 0.5, out=unfit(image))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.bool_])
def test_out_in_the_images_memory(dtype: type[np.generic]) -> None:
    image = np.ones((8, 10), dtype)
    with pytest.raises(ValueError, match="out must not share memory with the image"):
        imresize(image, 1, out=image)
    both = np.ones((12, 10), dtype)
    with pytest.raises(ValueError, match="out must not share memory with the image"):
        imresize(both[:8], (0.5, 1), out=both[6:10])
    beside = imresize(both[:8], (0.5, 1), out=both[8:])  # another part of the same array is apart from it
    assert (beside == imresize(np.ones((8, 10), dtype), (0.5, 1))).all()


@pytest.mark.parametrize("method", METHODS)
def test_scale_one_is_identity(method: str) -> None:
    eight = RNG.integers(0, 256, (9, 12), dtype=np.uint8)
    assert (imresize(eight, 1, method=method) == eight).all()
    assert (imresize(eight, size=(9, 12), method=method) == eight).all()
    if method in ("bicubic", "bilinear", "box", "nearest"):
        assert (imresize(GREY, 1.0, method=method) == GREY).all()
    else:  # the zeros of lanczos are zeros of a sine in doubles
        assert np.abs(imresize(GREY, 1.0, method=method) - GREY).max() < 1e-15


def test_nearest_repeats_and_picks() -> None:
    assert (imresize(GREY, 3, method="nearest") == GREY.repeat(3, 0).repeat(3, 1)).all()
    assert (imresize(GREY, 1 / 3, method="nearest")[:7, :10] == GREY[1:21:3, 1:30:3]).all()


def test_box_averages() -> None:
    image = RNG.random((8, 12))
    np.testing.assert_allclose(imresize(image, 0.25, method="box"), image.reshape(2, 4, 3, 4).mean((1, 3)), rtol=1e-14)


def test_antialias_only_when_shrinking() -> None:
    assert (imresize(GREY, 1.5, antialias=False) == imresize(GREY, 1.5)).all()
    assert (imresize(GREY, 0.5, antialias=False) != imresize(GREY, 0.5)).any()
    assert (imresize(GREY, 0.5) == imresize(GREY, 0.5, antialias=True)).all()


def test_nearest_antialiases_only_when_told_so() -> None:
    row = np.array([[0, 100, 200, 50]], np.uint8)
    assert imresize(row, size=(1, 2), method="nearest").tolist() == [[100, 50]]
    assert imresize(row, size=(1, 2), method="nearest", antialias=False).tolist() == [[100, 50]]
    assert imresize(row, size=(1, 2), method="nearest", antialias=True).tolist() == [[50, 125]]
    assert (imresize(GREY, 0.5, "nearest", antialias=True) == imresize(GREY, 0.5, "box")).all()


def test_doubles_are_not_clipped() -> None:
    step = np.zeros((4, 16))
    step[:, 8:] = 1
    grown = imresize(step, 3)
    assert grown.max() > 1.01
    assert grown.min() < -0.01
    assert imresize(1e6 * step - 3e6, 3).min() < -3e6


def test_lengths_of_the_recipe() -> None:
    assert DOWNSCALES == (1.0, 0.9, 0.8, 0.7, 0.6)
    image = np.zeros((350, 481), np.float32)
    lengths = [imresize(image, s).shape for s in DOWNSCALES]
    assert lengths == [(350, 481), (315, 433), (280, 385), (245, 337), (210, 289)]
    assert lengths == [(math.ceil(s * 350), math.ceil(s * 481)) for s in DOWNSCALES]


def test_lengths_are_those_of_doubles() -> None:
    # 0.1 + 0.2 is a little more than 0.3, and ceil sees it
    assert imresize(np.zeros((10, 10)), 0.1 + 0.2).shape == (4, 4)
    assert imresize(np.zeros((10, 10)), 0.3).shape == (3, 3)
    assert imresize(np.zeros((7, 10)), size=(3, None)).shape == (3, 5)
    assert imresize(np.zeros((7, 10)), size=(math.nan, 5.0)).shape == (4, 5)


def test_numpy_numbers_as_scale_and_size() -> None:
    wanted = imresize(GREY, 0.5)
    for scale in (np.float64(0.5), np.float32(0.5), np.array([0.5, 0.5]), [0.5, 0.5]):
        assert (imresize(GREY, scale) == wanted).all()  # type: ignore[arg-type]
    assert (imresize(GREY, size=np.array([5, 7])) == imresize(GREY, size=(5, 7))).all()  # type: ignore[arg-type]


AXES = [
    (7, 14, 2.0),
    (9, 3, 1 / 3),
    (10, 7, 0.7),
    (35, 32, 0.9),
    (5, 1, 0.2),
    (1, 4, 4.0),
    (64, 23, 23 / 64),
    (3, 1, 0.01),
]


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n_in", "n_out", "scale"), AXES)
def test_weights(n_in: int, n_out: int, scale: float, method: str, antialias: bool) -> None:
    weights, indices = compute_weights(n_in, n_out, scale, method, antialias)
    assert weights.shape == indices.shape
    assert weights.shape[0] == n_out
    assert weights.any(0).all()
    assert weights.dtype == np.float64 and indices.dtype == np.uintp
    assert weights.flags.c_contiguous and indices.flags.c_contiguous
    assert not weights.flags.writeable and not indices.flags.writeable
    assert int(indices.max()) < n_in
    for row in weights.tolist():
        assert abs(sum(map(Fraction, row)) - 1) < Fraction(1, 10**14)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("method", SMOOTH)
@pytest.mark.parametrize(("n_in", "n_out", "scale"), [a for a in AXES if a[1] == a[0] * a[2]])
def test_weights_are_symmetric(n_in: int, n_out: int, scale: float, method: str, antialias: bool) -> None:
    weights, indices = compute_weights(n_in, n_out, scale, method, antialias)
    dense = np.zeros((n_out, n_in))
    np.add.at(dense, (np.arange(n_out)[:, None], indices), weights)
    np.testing.assert_allclose(dense, dense[::-1, ::-1], atol=1e-14)


def test_weights_mirror_at_the_border() -> None:
    indices = compute_weights(2, 1, 0.1)[1][0].tolist()
    period = [0, 1, 1, 0]  # there and back, each edge pixel twice, without end
    assert len(indices) > 30
    assert any(indices == [period[(start + k) % 4] for k in range(len(indices))] for start in range(4))


def test_replicate_repeats_the_edge() -> None:
    weights, indices = compute_weights(3, 6, 2.0, boundary="replicate")
    assert indices.tolist()[0] == [0, 0, 0, 1, 2][: indices.shape[1]]
    mirrored_weights, mirrored = compute_weights(3, 6, 2.0)
    assert (weights == mirrored_weights).all()
    assert mirrored.tolist()[0] == [1, 0, 0, 1, 2][: mirrored.shape[1]]


def test_cube_is_correctly_rounded() -> None:
    rng = np.random.default_rng(754)
    values = np.concatenate(
        [
            rng.random(20000) * 2,
            np.ldexp(0.5 + rng.random(5000) / 2, rng.integers(-60, 1, 5000)),
            np.nextafter(np.arange(0, 33) / 16, 0)[1:],
            np.arange(0, 33) / 16,
            np.nextafter(np.arange(0, 32) / 16, 2),
        ]
    )
    assert values.min() >= 0 and values.max() <= 2
    exact = [float(Fraction(v) ** 3) for v in values.tolist()]
    assert _cube(values).tolist() == exact
    assert (values * values * values).tolist() != exact  # rounding twice would not do
    assert _cube(-values).tolist() == [-v for v in exact]


def test_threads_do_not_disturb_each_other() -> None:
    images = [np.random.default_rng(k).random((97, 83, 3)) for k in range(4)]
    images += [(255 * image).astype(np.uint8) for image in images]
    jobs = [(image, scale) for image in images for scale in SCALES]
    alone = [imresize(image, scale) for image, scale in jobs]
    _compute_weights.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            together = list(pool.map(lambda job: imresize(*job), jobs))
            assert all((a == b).all() for a, b in zip(alone, together, strict=True))


def test_kernels_are_loaded_once() -> None:
    assert load_kernels() is load_kernels()


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [
        (np.int64, "its numbers may not fit in the doubles that are summed; convert it with astype"),
        (np.uint64, "its numbers may not fit in the doubles that are summed; convert it with astype"),
        (np.float16, r"convert it with astype\(np.float32\) or float64"),
        (np.complex128, "resize its real and imaginary parts"),
        (object, "make it an array of numbers"),
        ("U1", "convert it first"),
        ("datetime64[s]", "convert it first"),
    ],
)
def test_wrong_type(dtype: Any, remedy: str) -> None:
    said = f"imresize takes uint8, .*, float64, bool images; got {re.escape(str(np.dtype(dtype)))}; {remedy}"
    with pytest.raises(TypeError, match=said):
        imresize(np.zeros((4, 4), dtype), 2)


def test_a_tensor_is_sent_to_the_trainers_imresize() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"takes numpy arrays; got a torch tensor: use idn_train\.imresize"):
        imresize(torch.zeros(4, 4), 2)


@pytest.mark.parametrize("shape", [(), (4,), (0, 4), (4, 0), (4, 4, 0), (2, 2, 2, 0)])
def test_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes a non-empty array of two dimensions or more \(H, W, …\); got \("):
        imresize(np.zeros(shape), 2)


def test_wrong_method() -> None:
    for method in ("spline", "", "linear", "cub", 3, None, ("bicubic", 4)):
        with pytest.raises(
            ValueError, match=r"unknown method .*; one of bicubic, .*, cubic, triangle, or .function, wid"
        ):
            imresize(GREY, 2, method)  # type: ignore[arg-type]  # on purpose


def test_wrong_boundary() -> None:
    with pytest.raises(ValueError, match="unknown boundary 'reflect'; one of symmetric, replicate"):
        imresize(GREY, 2, boundary="reflect")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="unknown boundary 'circular'; one of symmetric, replicate"):
        compute_weights(4, 8, 2.0, boundary="circular")  # type: ignore[arg-type]  # on purpose


def test_neither_scale_nor_size_or_both() -> None:
    with pytest.raises(ValueError, match="either scale or size, and exactly one of them; got neither"):
        imresize(GREY)
    with pytest.raises(ValueError, match=r"exactly one of them; got scale=2 and size=\(4, 4\)"):
        imresize(GREY, 2, size=(4, 4))


@pytest.mark.parametrize(
    "scale", [0, -1, math.nan, math.inf, (1, 0), (1, math.nan), (1, 2, 3), (2,), (), "2", np.array(0.5) * [1, 1, 1]]
)
def test_wrong_scale(scale: Any) -> None:
    with pytest.raises(ValueError, match=r"scale must be one positive number or two \(rows, columns\); got "):
        imresize(GREY, scale)


@pytest.mark.parametrize("size", [(0, 4), (-3, 4), (4,), (4, 4, 4), (), (None, None), (math.nan, None), 5, ("2", 2)])
def test_wrong_size(size: Any) -> None:
    with pytest.raises(ValueError, match=r"size must be \(rows, columns\), positive, .*; got "):
        imresize(GREY, size=size)


@pytest.mark.parametrize("size", [(math.inf, 4), (4, math.inf), (None, math.inf)])
def test_infinite_size(size: Any) -> None:
    with pytest.raises(ValueError, match=r"size must be finite; got "):
        imresize(GREY, size=size)


@pytest.mark.parametrize(
    "how", [{"scale": 1e9}, {"scale": 1e308}, {"size": (MAX_LENGTH + 1, 1)}, {"size": (None, 1e300)}]
)
def test_output_too_large(how: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"too large; at most {MAX_LENGTH} pixels along an axis"):
        imresize(GREY, **how)


@pytest.mark.parametrize("scale", [1e-12, 1e-300])
def test_scale_too_small(scale: float) -> None:
    """A window of 4/scale taps: the scale is to blame, by name, not the memory or numpy."""
    with pytest.raises(ValueError, match=rf"scale {scale:g} is too small; at least "):
        imresize(GREY, scale)
    with pytest.raises(ValueError, match=rf"scale {scale:g} is too small; at least "):
        imresize(GREY, (1, scale))
