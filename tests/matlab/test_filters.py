"""imfilter and fspecial against MATLAB's documentation, pictures that MATLAB made, and sums written out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from idn_data.images.decode import read_image
from idn_data.images.variants import modcrop
from idn_data.matlab.filters import fspecial, imfilter
from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAGIC = np.array([[17, 24, 1, 8, 15], [23, 5, 7, 14, 16], [4, 6, 13, 20, 22], [10, 12, 19, 21, 3], [11, 18, 25, 2, 9]])
# MATLAB's documentation of imfilter: imfilter(magic(5), [-1 0 1])
FILTERED = [
    [24, -16, -16, 14, -8], [5, -16, 9, 9, -14], [6, 9, 14, 9, -20], [12, 9, 9, -16, -21], [18, 14, -16, -16, -2],
]  # fmt: skip
SIDEWAYS = np.array([[-1, 0, 1]])


def filter_slowly(image: NDArray[Any], kernel: NDArray[Any], boundary: str | float) -> NDArray[np.float64]:
    """The sum of the documentation, pixel by pixel."""
    height, width = image.shape
    rows, columns = kernel.shape
    top, left = (rows + 1) // 2 - 1, (columns + 1) // 2 - 1  # the centre, from 0: MATLAB's floor((size + 1)/2)
    out = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            for i in range(rows):
                for j in range(columns):
                    v, u = y + i - top, x + j - left
                    inside = 0 <= v < height and 0 <= u < width
                    if boundary == "replicate":
                        v, u = min(max(v, 0), height - 1), min(max(u, 0), width - 1)
                    elif boundary == "circular":
                        v, u = v % height, u % width
                    elif boundary == "symmetric":
                        v, u = v % (2 * height), u % (2 * width)
                        v, u = min(v, 2 * height - 1 - v), min(u, 2 * width - 1 - u)
                    value = float(boundary) if not isinstance(boundary, str) and not inside else image[v, u]
                    out[y, x] += kernel[i, j] * value
    return out


def test_the_example_of_the_documentation() -> None:
    assert imfilter(MAGIC.astype(float), SIDEWAYS).tolist() == FILTERED
    assert imfilter(MAGIC.astype(np.uint8), SIDEWAYS).tolist() == np.maximum(FILTERED, 0).tolist()
    turned = imfilter(MAGIC.astype(float), SIDEWAYS, mode="conv")
    assert turned.tolist() == (-np.array(FILTERED)).tolist()


@pytest.mark.parametrize("boundary", ["replicate", "symmetric", "circular", 0, 7.5])
@pytest.mark.parametrize("shape", [(3, 3), (1, 5), (4, 2), (7, 7), (1, 1)])
def test_every_border(boundary: Any, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    image, kernel = rng.normal(size=(6, 5)), rng.normal(size=shape)
    wanted = filter_slowly(image, kernel, boundary)
    np.testing.assert_allclose(imfilter(image, kernel, boundary), wanted, atol=1e-12)
    colour = np.dstack([image, -image, image * 2])
    got = imfilter(colour, kernel, boundary)
    for k in range(3):
        assert (got[:, :, k] == imfilter(colour[:, :, k], kernel, boundary)).all()


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_integers_are_rounded_half_away_from_zero_and_saturated(dtype: type, top: int) -> None:
    row = np.array([[1, 2, 4, 5, top, top]], dtype=dtype)
    assert imfilter(row, np.array([[0.5, 0.5]])).tolist() == [[2, 3, 5, top // 2 + 3, top, top // 2 + 1]]
    assert imfilter(row, np.array([[2.0]])).tolist() == [[2, 4, 8, 10, top, top]]
    assert imfilter(row, np.array([[-1.0]])).tolist() == [[0] * 6]


def test_kernels_in_small_units() -> None:
    """scipy passes over weights up to 2.2e-16; and a power of two changes no bit of a sum."""
    image = np.random.default_rng(3).random((9, 8))
    kernel = np.random.default_rng(4).normal(size=(3, 3))
    for power in (-60, -1, 40):
        assert (imfilter(image, kernel * 2.0**power) == imfilter(image, kernel) * 2.0**power).all()
    assert imfilter(np.full((3, 3), 1e20), np.full((1, 1), 1e-17)) == pytest.approx(np.full((3, 3), 1000.0))
    assert not imfilter(image, np.zeros((3, 3))).any()


def test_single_is_rounded_once() -> None:
    rng = np.random.default_rng(2)
    image, kernel = rng.random((9, 8), dtype=np.float32), rng.random((3, 3))
    got = imfilter(image, kernel, "replicate")
    assert got.dtype == np.float32
    assert (got == imfilter(image.astype(np.float64), kernel, "replicate").astype(np.float32)).all()


def test_blurred_lr_of_matlab(data_root: Path, matlab_folder: Path) -> None:
    """Set5's "BD" pictures of SRFBN's authors (Paper99/SRFBN_CVPR19): blur, then every third pixel from the second."""
    differing = total = 0
    for path in sorted((matlab_folder / "blurred").glob("*_LRBD_x3.png")):
        name = path.name.split("_")[0]
        hr = modcrop(read_image(data_root / "test_data" / "Set5" / f"{name}_GT.bmp"), 3)
        blurred = imfilter(hr, fspecial("gaussian", 7, 1.6), "replicate")
        lr, wanted = imresize(blurred, 1 / 3, "nearest"), read_image(path)
        assert (lr == blurred[1::3, 1::3]).all()
        differing, total = differing + int((lr != wanted).sum()), total + wanted.size
    assert total > 40_000
    assert differing <= 1


def test_gaussian() -> None:
    kernel = fspecial("gaussian", (3, 5), 0.8)
    total = sum(math.exp(-(x * x + y * y) / 1.28) for y in (-1, 0, 1) for x in (-2, -1, 0, 1, 2))
    wanted = [[math.exp(-(x * x + y * y) / 1.28) / total for x in (-2, -1, 0, 1, 2)] for y in (-1, 0, 1)]
    np.testing.assert_allclose(kernel, wanted, rtol=1e-14)
    assert (fspecial("gaussian") == fspecial("gaussian", 3, 0.5)).all()
    np.testing.assert_allclose(fspecial("gaussian", 2, 1), np.full((2, 2), 0.25), rtol=1e-15)
    assert fspecial("gaussian", 99, 0.5)[0, 0] == 0  # far below the largest


def test_average() -> None:
    assert fspecial("average").tolist() == [[1 / 9] * 3] * 3
    assert fspecial("average", (1, 4)).tolist() == [[0.25] * 4]


def test_motion() -> None:
    """MATLAB Answers 307822 prints fspecial('motion', 3, 45) with four digits."""
    printed = [[0, 0.0754, 0.1883], [0.0754, 0.3215, 0.0754], [0.1883, 0.0754, 0]]
    assert np.round(fspecial("motion", 3, 45), 4).tolist() == printed
    for angle in (135, -45):
        np.testing.assert_allclose(fspecial("motion", 3, angle), fspecial("motion", 3, 45)[::-1], atol=1e-15)
    np.testing.assert_allclose(fspecial("motion"), [[1 / 9] * 9], rtol=1e-15)
    np.testing.assert_allclose(fspecial("motion", 9, 90), [[1 / 9]] * 9, rtol=1e-15)
    assert fspecial("motion", 1).tolist() == [[1]]
    for length, angle in ((9, 45), (10, 20), (31, 11), (50, 100)):
        kernel = fspecial("motion", length, angle)
        assert kernel.sum() == pytest.approx(1, abs=1e-14)
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-15)
        assert all(n % 2 for n in kernel.shape)
        rise, run = (np.abs(f(np.radians(angle))) * (length - 1) / 2 for f in (np.sin, np.cos))
        assert abs(kernel.shape[0] // 2 - rise) <= 1
        assert abs(kernel.shape[1] // 2 - run) <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("disk",), "unknown kernel 'disk'; one of gaussian, average, motion"),
        (("gaussian", 3, 0), "sigma must be a positive number, at most 1024; got 0"),
        (("gaussian", 3, math.nan), "sigma must be a positive number, at most 1024; got nan"),
        (("gaussian", 2.5), "size is one or two whole numbers of 1 to 1024; got 2.5"),
        (("gaussian", (3, 3, 3)), r"size is one or two whole numbers of 1 to 1024; got \(3, 3, 3\)"),
        (("average", 0), "size is one or two whole numbers of 1 to 1024; got 0"),
        (("average", 3, 3), "fspecial average takes at most 1 parameters; got 2"),
        (("motion", 9, math.inf), "angle must be a finite number of degrees; got inf"),
        (("motion", -1), "length must be a positive number, at most 1024; got -1"),
    ],
)
def test_kernels_that_are_not_there(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fspecial(*arguments)


IMAGE, KERNEL = np.zeros((4, 4)), np.ones((3, 3))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ((IMAGE.astype(int), KERNEL), TypeError, "imfilter takes uint8, uint16, float32 or float64; got int64"),
        ((IMAGE.tolist(), KERNEL), TypeError, "imfilter takes a numpy array; got list"),
        ((IMAGE[0], KERNEL), ValueError, r"takes an \(H, W\) or \(H, W, C\) image; got shape \(4,\)"),
        ((IMAGE[:0], KERNEL), ValueError, r"takes an image that is not empty; got shape \(0, 4\)"),
        ((IMAGE, KERNEL[0]), ValueError, r"a kernel has two dimensions, each of 1 to 1024; got shape \(3,\)"),
        ((IMAGE, KERNEL[:0]), ValueError, r"a kernel has two dimensions, each of 1 to 1024; got shape \(0, 3\)"),
        ((IMAGE, KERNEL * np.inf), ValueError, "a kernel holds finite numbers; got NaN or Inf"),
        ((IMAGE, KERNEL.tolist()), TypeError, "a kernel is a numpy array of numbers; got list"),
        ((IMAGE, KERNEL, "reflect"), ValueError, "unknown boundary 'reflect'; one of replicate, symmetric, circular"),
        ((IMAGE, KERNEL, math.nan), ValueError, "or a finite number; got nan"),
        ((IMAGE, KERNEL, 0, "full"), ValueError, "unknown mode 'full'; one of corr, conv"),
        ((IMAGE, KERNEL[:2], 0, "conv"), ValueError, "convolution takes a kernel of odd sides; got 2x3"),
    ],
)
def test_what_cannot_be_filtered(arguments: tuple[Any, ...], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        imfilter(*arguments)
