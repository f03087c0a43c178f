"""The settings of an LR picture, and the LR of one picture."""

from __future__ import annotations

import numpy as np
import pytest
from support.drawing import draw_photo

from idn_data.lr.degrade import cut_picture, reduce_picture
from idn_data.lr.reduction import choose_reduction
from idn_data.matlab.classes import im2double, im2uint8
from idn_data.matlab.color import rgb2ycbcr
from idn_data.matlab.resize import imresize


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scale": 1}, r"scale must be above 1 and at most 64; got 1"),
        ({"scale": 0.25}, r"scale must be above 1 and at most 64; got 0\.25"),
        ({"scale": float("nan")}, r"scale must be above 1 and at most 64; got nan"),
        ({"scale": 4, "degradation": "noise"}, r"unknown degradation 'noise'; one of bicubic, blur"),
        ({"scale": 4, "method": "cubical"}, r"unknown method 'cubical'; one of bicubic"),
        ({"scale": 4, "boundary": "circular"}, r"'circular' with --degradation bicubic; one of symmetric, replicate"),
        ({"scale": 4, "through": "float"}, r"unknown through 'float'; one of uint8, double"),
        ({"scale": 4, "channel": "cb"}, r"unknown channel 'cb'; one of rgb, y"),
        ({"scale": 4, "sigma": 2.0}, r"sigma has no effect with degradation 'bicubic'; leave it out, or take 'blur'"),
        ({"scale": 4, "degradation": "blur", "method": "box"}, r"method has no effect with degradation 'blur'"),
        ({"scale": 4, "degradation": "blur", "sigma": 0}, r"sigma must be above 0 and at most 100 pixels; got 0"),
        ({"scale": 4, "degradation": "blur", "kernel": 0}, r"kernel must have 1 to 255 pixels along a side; got 0"),
    ],
)
def test_settings_that_cannot_be(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        choose_reduction(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_a_whole_scale_cuts_and_another_does_not() -> None:
    image = draw_photo(31, 22, 0)
    whole, broken = choose_reduction(4), choose_reduction(2.5)
    assert cut_picture(image, whole).shape == (28, 20, 3)
    assert cut_picture(image, broken).shape == (31, 22, 3)
    assert reduce_picture(cut_picture(image, whole), whole).shape == (7, 5, 3)
    assert reduce_picture(image, broken).shape == (13, 9, 3)


def test_each_setting_does_what_matlab_would() -> None:
    image = draw_photo(32, 24, 1)

    def lr(**options: object) -> np.ndarray:
        return reduce_picture(image, choose_reduction(4, **options))  # type: ignore[arg-type]  # options of all kinds

    np.testing.assert_array_equal(lr(), imresize(image, 1 / 4))
    np.testing.assert_array_equal(lr(boundary="replicate"), imresize(image, 1 / 4, boundary="replicate"))
    np.testing.assert_array_equal(
        lr(method="lanczos3", antialias=False), imresize(image, 1 / 4, "lanczos3", antialias=False)
    )
    np.testing.assert_array_equal(lr(through="double"), im2uint8(imresize(im2double(image), 1 / 4)))
    np.testing.assert_array_equal(lr(channel="y"), imresize(np.ascontiguousarray(rgb2ycbcr(image)[..., 0]), 1 / 4))
    np.testing.assert_array_equal(lr(method="nearest"), imresize(image, 1 / 4, "nearest"))
    assert (lr(through="double") != lr()).any()


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="LR is made of uint8 or uint16 pictures; got float64; convert it by im2uint8"):
        reduce_picture(np.zeros((8, 8)), choose_reduction(4))
