from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from idn_data.matlab.classes import im2double, im2single, im2uint8, im2uint16, round_to_integers
from idn_data.matlab.color import rgb2gray, rgb2y, rgb2ycbcr, ycbcr2rgb
from idn_data.matlab.compiled import load_kernels
from idn_data.matlab.matfile import read_mat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

# BT.601 in thousandths, rows Y, Cb, Cr
MATRIX = [[65481, 128553, 24966], [-37797, -74203, 112000], [112000, -93786, -18214]]
OFFSET = [16, 128, 128]


def one(colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.array([[colour]], dtype=np.uint8)


def convert_exactly(colour: tuple[int, int, int]) -> tuple[list[int], list[bool]]:
    """Y, Cb, Cr rounded half away from zero, and which of them are exact halves before."""
    values, halves = [], []
    for row, offset in zip(MATRIX, OFFSET, strict=True):
        exact = offset + sum(Fraction(m * int(v), 255000) for m, v in zip(row, colour, strict=True))
        values.append(int((exact + Fraction(1, 2)) // 1))
        halves.append(exact % 1 == Fraction(1, 2))
    return values, halves


@pytest.mark.parametrize(
    ("rgb", "ycbcr"),
    [
        ((255, 255, 255), [235, 128, 128]),
        ((0, 0, 0), [16, 128, 128]),
        ((255, 0, 0), [81, 90, 240]),
        ((0, 255, 0), [145, 54, 34]),
        ((0, 0, 255), [41, 240, 110]),
        ((255, 255, 0), [210, 16, 146]),
    ],
)
def test_known_colours(rgb: tuple[int, int, int], ycbcr: list[int]) -> None:
    assert convert_exactly(rgb)[0] == ycbcr
    assert rgb2ycbcr(one(rgb))[0, 0].tolist() == ycbcr


def test_all_greys() -> None:
    k = np.arange(256, dtype=np.uint8)
    got = rgb2ycbcr(np.repeat(k[None, :, None], 3, axis=2))
    wanted = [int((16 + Fraction(219 * v, 255) + Fraction(1, 2)) // 1) for v in range(256)]
    assert got[0, :, 0].tolist() == wanted
    assert (got[0, :, 1:] == 128).all()


def test_random_colours_are_exact() -> None:
    colours = np.random.default_rng(601).integers(0, 256, (1, 4000, 3), dtype=np.uint8)
    got = rgb2ycbcr(colours)
    assert got.dtype == np.uint8
    for colour, values in zip(colours[0].tolist(), got[0].tolist(), strict=True):
        wanted, halves = convert_exactly(colour)
        for value, want, half in zip(values, wanted, halves, strict=True):
            # doubles cannot decide the 194 colours of 256³ whose Y is an exact half
            assert value == want or (half and value == want - 1), (colour, values, wanted)


def test_a_million_colours_in_whole_numbers() -> None:
    steps = np.r_[0:256:3, 1, 254]
    r, g, b = (v.ravel() for v in np.meshgrid(steps, steps, steps, indexing="ij"))
    image = np.stack([r, g, b], axis=1).astype(np.uint8)[None]
    got = rgb2ycbcr(image)[0].astype(np.int64)
    for k in range(3):
        doubled = 2 * (MATRIX[k][0] * r + MATRIX[k][1] * g + MATRIX[k][2] * b + OFFSET[k] * 255000) + 255000
        wanted, half = doubled // 510000, doubled % 510000 == 0
        assert (got[:, k] == wanted)[~half].all()
        assert (np.abs(got[:, k] - wanted) <= 1).all()
        assert half.sum() < 50


def test_rgb2y_is_the_y_of_rgb2ycbcr() -> None:
    image = np.random.default_rng(1).integers(0, 256, (61, 67, 3), dtype=np.uint8)
    assert (rgb2y(image) == rgb2ycbcr(image)[:, :, 0]).all()
    assert (rgb2y(image[::-1, ::2]) == rgb2y(image)[::-1, ::2]).all()


def test_rgb2y_leaves_grey_alone() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert (rgb2y(grey) == grey).all()  # not squeezed into 16…235


def test_ycbcr2rgb_inverts_within_two() -> None:
    image = np.random.default_rng(2).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    back = ycbcr2rgb(rgb2ycbcr(image))
    assert back.dtype == np.uint8
    assert int(np.abs(back.astype(int) - image.astype(int)).max()) <= 2


@pytest.mark.parametrize(
    ("ycbcr", "rgb"),
    [
        ((235, 128, 128), [255, 255, 255]),
        ((16, 128, 128), [0, 0, 0]),
        ((255, 128, 128), [255, 255, 255]),  # whiter than white is clamped
        ((0, 128, 128), [0, 0, 0]),
        ((81, 90, 240), [254, 0, 0]),
    ],
)
def test_ycbcr2rgb_known_colours(ycbcr: tuple[int, int, int], rgb: list[int]) -> None:
    assert ycbcr2rgb(one(ycbcr))[0, 0].tolist() == rgb


def test_ycbcr2rgb_is_the_exact_inverse_matrix() -> None:
    (a, b, c), (d, e, f), (g, h, i) = ([Fraction(v, 1000) for v in row] for row in MATRIX)
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    inverse = [
        [(e * i - f * h), (c * h - b * i), (b * f - c * e)],
        [(f * g - d * i), (a * i - c * g), (c * d - a * f)],
        [(d * h - e * g), (b * g - a * h), (a * e - b * d)],
    ]
    colours = np.random.default_rng(3).integers(0, 256, (1, 2000, 3), dtype=np.uint8)
    got = ycbcr2rgb(colours)
    for colour, values in zip(colours[0].tolist(), got[0].tolist(), strict=True):
        for row, value in zip(inverse, values, strict=True):
            exact = 255 * sum(m * (v - o) for m, v, o in zip(row, colour, OFFSET, strict=True)) / determinant
            assert value == min(255, max(0, (exact + Fraction(1, 2)) // 1)), (colour, values)


@pytest.mark.parametrize("function", [rgb2ycbcr, ycbcr2rgb])
@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((2, 2), np.uint8), r"uint8 \(2, 2\)"),
        (np.zeros((2, 2, 4), np.uint8), r"uint8 \(2, 2, 4\)"),
        (np.zeros((2, 2, 1)), r"float64 \(2, 2, 1\)"),
    ],
)
def test_colour_wants_three_planes(function: object, image: NDArray[np.generic], said: str) -> None:
    with pytest.raises(ValueError, match=rf"takes an H×W×3 image; got {said}"):
        function(image)  # type: ignore[operator]


@pytest.mark.parametrize("image", [np.zeros((2, 2, 1)), np.zeros((2, 2, 2), np.uint8)])
def test_rgb2y_errors(image: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="rgb2y takes an H×W×3 image; got"):
        rgb2y(image)  # type: ignore[arg-type]


def test_im2double_is_the_quotient_and_im2uint8_its_inverse() -> None:
    k = np.arange(256, dtype=np.uint8).reshape(16, 16)
    double = im2double(k)
    assert double.dtype == np.float64
    assert double.ravel().tolist() == [float(Fraction(v, 255)) for v in range(256)]
    assert (im2uint8(double) == k).all()


def round_exactly(value: float) -> int:
    return int(min(255, max(0, (Fraction(value) + Fraction(1, 2)) // 1)))


def test_im2uint8_rounds_half_away_from_zero() -> None:
    halves = [v for v in ((k + 0.5) / 255 for k in range(255)) if v * 255 % 1 == 0.5]
    assert len(halves) > 100
    got = im2uint8(np.array(halves))
    assert got.tolist() == [int(v * 255 + 0.5) for v in halves]
    assert any(g % 2 for g in got.tolist())  # rounding half to even would give even numbers alone


def test_rounding_does_not_add_a_half_first() -> None:
    trap = 0.49999999999999994
    assert math.floor(trap + 0.5) == 1  # the sum rounds up
    assert round_to_integers(np.array([trap, 0.5, 1.4999999999999998, 254.49999999999997]), np.uint8).tolist() == [
        0,
        1,
        1,
        254,
    ]


def test_im2uint8_near_every_half() -> None:
    values = np.array([(k + 0.5) / 255 for k in range(255)])
    for _ in range(3):
        near = np.concatenate([np.nextafter(values, 0), values, np.nextafter(values, 1)])
        assert im2uint8(near).tolist() == [round_exactly(v) for v in (near * 255.0).tolist()]
        values = np.nextafter(values, 0)


def test_im2uint8_clamps() -> None:
    got = im2uint8(np.array([-1, -0.2, -1e-300, 0.0, 1.0, 1.0000001, 2]))
    assert got.tolist() == [0, 0, 0, 0, 255, 255, 255]


def test_im2uint8_of_single() -> None:
    single = np.array([0.1, 0.5, 0.7], dtype=np.float32)
    assert (im2uint8(single) == im2uint8(single.astype(np.float64))).all()


def test_the_kernels_round_alike() -> None:
    round_half_away = load_kernels().round_half_away
    values = [-3.0, -0.5, 0.0, 0.49999999999999994, 0.5, 1.5, 2.5, 254.49999999999997, 254.5, 255.0, 300.0]
    assert [int(round_half_away(v, 0.0, 255.0)) for v in values] == [round_exactly(v) for v in values]


def test_all_colours_are_the_formula() -> None:
    """256³ colours: coefficients times 1/255 first, ((R + G) + B) + offset in doubles, halves away from zero.

    Dividing the sum by 255 gives 122 of them another Y.
    """
    k = np.arange(256.0)
    scaled = [[m / 1000 * (1 / 255) for m in row] for row in MATRIX]
    divided = 0
    for start in range(0, 256, 8):
        r, g, b = np.arange(start, start + 8.0)[:, None, None], k[:, None], k
        image = np.stack(np.broadcast_arrays(r, g, b), axis=-1).astype(np.uint8).reshape(8 * 256, 256, 3)
        got = rgb2ycbcr(image)
        for channel, (row, offset) in enumerate(zip(scaled, OFFSET, strict=True)):
            value = ((row[0] * r + row[1] * g) + row[2] * b) + offset
            whole = np.floor(value)
            wanted = whole + (value - whole >= 0.5)  # the difference is exact
            assert (got[:, :, channel] == wanted.reshape(8 * 256, 256)).all()
        old = ((MATRIX[0][0] / 1000 * r + MATRIX[0][1] / 1000 * g) + MATRIX[0][2] / 1000 * b) / 255 + 16
        divided += int((got[:, :, 0] != np.floor(old + 0.5).reshape(8 * 256, 256)).sum())
    assert divided == 122


def test_doubles_of_matlab(matlab_folder: Path) -> None:
    """twtygqyy/pytorch-vdsr: 255·Y of rgb2ycbcr(gt/255), and 255·ycbcr2rgb, in every bit."""
    for scale in (3, 4):
        held = read_mat(
            matlab_folder / "doubles" / f"butterfly_GT_x{scale}.mat", ("im_gt", "im_gt_y", "im_l", "im_l_ycbcr")
        )
        double = held["im_gt"] / 255  # as doubles: k exactly
        assert (rgb2ycbcr(double)[:, :, 0] * 255 == held["im_gt_y"]).all()
        assert (rgb2y(double) * 255 == held["im_gt_y"]).all()
        assert (ycbcr2rgb(held["im_l_ycbcr"]) * 255 == held["im_l"]).all()


@pytest.mark.parametrize("function", [rgb2ycbcr, ycbcr2rgb, rgb2gray])
def test_classes_agree(function: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """16 bits are 257 times 8 bits, floats a 255th, but for rounding; single is the double rounded once."""
    image = np.random.default_rng(5).integers(0, 256, (40, 41, 3), dtype=np.uint8)
    eight, sixteen = function(image), function(im2uint16(image))
    double, single = function(im2double(image)), function(im2single(image))
    assert (eight.dtype, sixteen.dtype) == (np.uint8, np.uint16)
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    assert (im2uint8(sixteen) == eight).mean() > 0.99
    assert np.abs(sixteen / 65535 - double).max() < 0.51 / 65535
    assert np.abs(eight / 255 - double).max() < 0.51 / 255
    assert np.abs(single - double).max() < 1e-6
    assert (single == function(im2single(image).astype(np.float64)).astype(np.float32)).all()


def test_ycbcr2rgb_of_doubles_is_the_inverse() -> None:
    image = np.random.default_rng(6).random((30, 31, 3))
    assert np.abs(ycbcr2rgb(rgb2ycbcr(image)) - image).max() < 1e-8
    clamped = ycbcr2rgb(np.array([[[1.2, 0.5, 0.5], [0.0, 0.5, 0.5]]]))
    assert clamped[0, 0].tolist() == [1, 1, 1]
    assert clamped[0, 1].tolist() == [0, 0, 0]


def test_rgb2gray() -> None:
    """Digits of MATLAB's documentation; the sum of the weights is 1, so that grey stays grey."""
    k = np.arange(256, dtype=np.uint8)
    grey = np.repeat(k[None, :, None], 3, axis=2)
    assert (rgb2gray(grey)[0] == k).all()
    corners = np.eye(3)[None]
    np.testing.assert_allclose(
        rgb2gray(corners)[0], [0.298936021293775, 0.587043074451121, 0.114020904255103], atol=1e-15
    )
    assert rgb2gray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)).tolist() == [[76, 150, 29]]


def test_classes_of_integers() -> None:
    sixteen = np.array([0, 128, 129, 1285, 32767, 32768, 65535], np.uint16)
    assert im2uint8(sixteen).tolist() == [round_exactly(float(Fraction(int(v), 257))) for v in sixteen]
    assert im2uint8(np.array([0, 1285, 65535], np.uint16)).tolist() == [0, 5, 255]
    every = np.arange(65536).astype(np.uint16)
    assert im2uint8(every).tolist() == [(2 * int(v) + 257) // 514 for v in every]
    assert (im2uint16(im2double(every)) == every).all()
    assert (im2uint16(im2single(every)) == every).all()
    eight = np.arange(256, dtype=np.uint8)
    assert (im2uint8(eight) == eight).all()
    assert (im2uint8(im2uint16(eight)) == eight).all()
    assert im2uint16(eight).tolist() == [257 * v for v in range(256)]
    assert im2double(every).tolist() == [float(Fraction(v, 65535)) for v in range(65536)]
    assert im2single(eight).tolist() == [float(np.float32(k) / np.float32(255)) for k in range(256)]
    truth = np.array([True, False])
    assert [f(truth).tolist() for f in (im2double, im2single, im2uint8, im2uint16)] == [
        [1, 0], [1, 0], [255, 0], [65535, 0],
    ]  # fmt: skip
