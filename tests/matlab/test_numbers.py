"""Arrays in the other byte order, and numpy's own numbers as parameters: the same results as of the usual ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from idn_data.images.variants import make_pair, modcrop
from idn_data.matlab.classes import im2double, im2single, im2uint8, im2uint16, order_bytes
from idn_data.matlab.color import rgb2gray, rgb2y, rgb2ycbcr, ycbcr2rgb
from idn_data.matlab.filters import fspecial, imfilter
from idn_data.matlab.quality import psnr, ssim, ssim_map
from idn_data.matlab.resize import imresize
from idn_data.matlab.sizes import find_lengths
from idn_data.matlab.weights import compute_weights
from idn_data.scores.protocols import score, shave

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RNG = np.random.default_rng(5)
GREY, COLOUR = RNG.random((24, 21)), RNG.random((24, 21, 3))
KERNEL = fspecial("gaussian", 5, 1.1)
CLASSES: dict[str, Callable[[NDArray[np.float64]], NDArray[Any]]] = {
    "u2": im2uint16,
    "f8": im2double,
    "f4": im2single,
    "i2": lambda image: (image * 60000 - 30000).astype(np.int16),
}
GREY_FUNCTIONS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "im2double": im2double,
    "im2single": im2single,
    "im2uint8": im2uint8,
    "im2uint16": im2uint16,
    "rgb2y": rgb2y,
    "imfilter": lambda a: imfilter(a, KERNEL, "replicate"),
    "imfilter's kernel": lambda a: imfilter(im2double(GREY), a[:5, :5]),
    "imresize": lambda a: imresize(a, 0.4),
    "psnr": lambda a: psnr(a, np.roll(a, 1, 0)),
    "ssim": lambda a: ssim(a, np.roll(a, 1, 0)),
    "ssim_map": lambda a: ssim_map(a, np.roll(a, 1, 0), valid=True),
    "score": lambda a: np.array([score(a, np.roll(a, 1, 0), 2, name) for name in ("float", "uint8")]),
    "modcrop": lambda a: modcrop(a, 4),
}
COLOUR_FUNCTIONS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "rgb2ycbcr": rgb2ycbcr, "rgb2y": rgb2y, "ycbcr2rgb": ycbcr2rgb, "rgb2gray": rgb2gray,
    "imresize": lambda a: imresize(a, 2),
}  # fmt: skip
ONLY_UNSIGNED = {"im2double", "im2single", "im2uint8", "im2uint16", "rgb2y", "imfilter", "score"}  # refuse int16


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("name", GREY_FUNCTIONS)
def test_the_other_byte_order(name: str, kind: str) -> None:
    if kind == "i2" and name in ONLY_UNSIGNED:
        with pytest.raises(TypeError, match=r"takes uint8, uint16, float32(, float64 or bool| or float64); got "):
            GREY_FUNCTIONS[name](swap(CLASSES[kind](GREY)))
        return
    check_alike(GREY_FUNCTIONS[name], CLASSES[kind](GREY), native=name != "modcrop")  # a view, as it says


@pytest.mark.parametrize("kind", ["u2", "f8", "f4"])
@pytest.mark.parametrize("name", COLOUR_FUNCTIONS)
def test_colour_in_the_other_byte_order(name: str, kind: str) -> None:
    check_alike(COLOUR_FUNCTIONS[name], CLASSES[kind](COLOUR), native=True)


def swap(image: NDArray[Any]) -> NDArray[Any]:
    """The same values in the byte order that this machine has not."""
    return image.astype(image.dtype.newbyteorder("S"))


def check_alike(function: Callable[[NDArray[Any]], Any], image: NDArray[Any], native: bool) -> None:
    other = swap(image)
    assert not other.dtype.isnative and (other == image).all()
    wanted, found = np.asarray(function(image)), np.asarray(function(other))
    assert found.shape == wanted.shape and (found == wanted).all()
    if native:
        assert found.dtype == wanted.dtype and found.dtype.isnative


def test_a_16_bit_picture_keeps_its_greys() -> None:
    """All were white."""
    picture = np.array([[0, 128, 257, 32896, 65535]], ">u2")
    assert im2uint8(picture).tolist() == [[0, 0, 1, 128, 255]]
    assert im2uint16(picture).tolist() == picture.tolist()


def test_the_usual_order_is_not_copied() -> None:
    for image in (GREY, im2uint8(GREY), im2uint16(GREY), GREY > 0.5):
        assert order_bytes(image) is image
    assert im2uint8(image := im2uint8(GREY)) is image
    assert im2double(GREY) is GREY


def test_an_output_in_the_other_order_is_refused() -> None:
    with pytest.raises(ValueError, match=r"out must be a writable C-contiguous float64 array of shape \(48, 42\)"):
        imresize(GREY, 2, out=np.empty((48, 42), swap(GREY).dtype))


# --- numpy's numbers ---


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64, np.float32, np.float64, np.array])
def test_sizes_of_any_type(kind: Callable[[Any], Any]) -> None:
    """240·500 does not fit into 16 bits."""
    for size, lengths in (((240, None), (240, 250)), ((None, 250), (240, 250)), ((240, 250), (240, 250))):
        given = tuple(None if n is None else kind(n) for n in size)
        scales, found = find_lengths((480, 500), None, given)
        assert (scales, found) == ((0.5, 0.5), lengths)
        assert all(type(n) is int for n in found) and all(type(s) is float for s in scales)
    assert imresize(np.zeros((24, 50)), size=(kind(12), None)).shape == (12, 25)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.array])
def test_scales_of_any_type(kind: Callable[[Any], Any]) -> None:
    for scale in (kind(0.5), (kind(0.5), kind(0.5)), np.array([0.5, 0.5])):
        assert (imresize(GREY, scale) == imresize(GREY, 0.5)).all()
    assert (imresize(GREY, np.uint8(2)) == imresize(GREY, 2)).all()
    for scale in (np.array("0.5"), np.float32("nan"), np.array([0.5])):
        with pytest.raises(ValueError, match="scale must be one positive number or two"):
            imresize(GREY, scale)
    with pytest.raises(ValueError, match=r"size must be \(rows, columns\), positive"):
        imresize(GREY, size=np.array(4))  # type: ignore[arg-type]  # on purpose


def test_weights_of_any_type() -> None:
    for boundary in ("symmetric", "replicate"):
        wanted = compute_weights(200, 100, 0.5, boundary=boundary)
        found = compute_weights(np.uint8(200), np.uint8(100), np.float16(0.5), boundary=boundary)  # type: ignore[arg-type]  # numpy's integers
        assert all((a == b).all() for a, b in zip(wanted, found, strict=True))


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, np.float64])
def test_kernels_by_numbers_of_any_type(kind: Callable[[Any], Any]) -> None:
    assert (fspecial("gaussian", kind(7), kind(2)) == fspecial("gaussian", 7, 2)).all()
    assert (fspecial("gaussian", (kind(7), kind(5)), kind(2)) == fspecial("gaussian", (7, 5), 2)).all()
    assert (fspecial("average", kind(3)) == fspecial("average", 3)).all()
    assert (fspecial("motion", kind(9), kind(45)) == fspecial("motion", 9, 45)).all()
    assert (imfilter(GREY, KERNEL, kind(1)) == imfilter(GREY, KERNEL, 1)).all()
    assert (imfilter(GREY, KERNEL, kind(0)) == imfilter(GREY, KERNEL)).all()


def test_a_border_of_numpys_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="or a finite number; got"):
        imfilter(GREY, KERNEL, np.float32("inf"))


def test_scores_by_numbers_of_any_type() -> None:
    a, b = im2uint8(GREY), im2uint8(np.roll(GREY, 1, 0))
    assert psnr(a, b, np.uint8(255)) == psnr(a, b, 255.0)
    big = np.kron(GREY, np.ones((4, 4)))
    assert ssim(big, big[::-1], radius=np.uint8(16)) == ssim(big, big[::-1], radius=16)  # 16² overflowed


def test_crops_by_numbers_of_any_type() -> None:
    wide = np.zeros((600, 601), np.uint8)
    assert modcrop(wide, np.uint8(4)).shape == (600, 600)  # type: ignore[arg-type]  # numpy's integers
    assert shave(wide, np.uint8(200)).shape == (200, 201)  # type: ignore[arg-type]  # numpy's integers
    (gt, lr), (gt3, lr3) = make_pair(wide + np.uint8(9), np.uint8(3)), make_pair(wide + np.uint8(9), 3)  # type: ignore[arg-type]  # numpy's integers
    assert (gt == gt3).all() and lr.shape == lr3.shape == (200, 200) and (lr == lr3).all()
