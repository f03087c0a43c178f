"""References in a folder of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.referencefiles import CASE, COLOUR, GREY, judge, make_cases, matlab, save, write_cases, write_json

from idn_data.images.variants import modcrop
from idn_data.matlab.resize import imresize
from idn_data.scores.parity import (
    compare,
)
from idn_data.scores.reference import ReferenceFileError
from idn_data.scores.references import read_references

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_pictures_beside_their_input(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    folder = save(
        tmp_path / "set",
        a=image,
        a_down_x2=matlab(image, 1 / 2),
        a_down_x3_matlab=matlab(image, 1 / 3),
        a_up_x2=matlab(image, 2),
        a_x4=imresize(image, 1 / 4),
        a_20x40=imresize(image, size=(20, 40)),
        unrelated=image[:9, :9],
    )
    references = {r.name: r for r in read_references(folder)}
    assert {name: (r.scale, r.size) for name, r in references.items()} == {
        "a_down_x2.png": (1 / 2, None),
        "a_down_x3_matlab.png": (1 / 3, None),
        "a_up_x2.png": (2, None),
        "a_x4.png": (1 / 4, None),
        "a_20x40.png": (None, (20, 40)),
    }
    for name, verdict in judge(folder).items():
        assert verdict.passed, name
        assert verdict.source == "set"
        assert verdict.arithmetic == ("uint8" if name in ("a_x4.png", "a_20x40.png") else "im2uint8(double)")


def test_one_wrong_pixel_fails(tmp_path: Path) -> None:
    small = matlab(GREY, 1 / 2)
    small[3, 4] ^= 1
    verdict = judge(save(tmp_path / "set", a=GREY, a_down_x2=small, a_up_x2=matlab(GREY, 2)))
    assert (verdict["a_down_x2.png"].passed, verdict["a_up_x2.png"].passed) == (False, True)
    assert verdict["a_down_x2.png"].differ == 1


def test_an_input_whose_name_ends_in_its_size(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", b_48x65=GREY, b_20x31_uint8=imresize(GREY, size=(20, 31)))
    (reference,) = read_references(folder)
    assert (reference.name, reference.size) == ("b_20x31_uint8.png", (20, 31))
    assert (reference.input == GREY).all()
    assert compare(reference).arithmetic == "uint8"


def test_a_size_longer_than_the_input(tmp_path: Path) -> None:
    """Lower and much wider: 700 is a size, though it follows an x and the picture is a smaller one."""
    folder = save(tmp_path / "set", b=GREY, b_20x700=imresize(GREY, size=(20, 700)))
    (reference,) = read_references(folder)
    assert reference.size == (20, 700)
    assert compare(reference).passed


def test_names_of_div2k(tmp_path: Path) -> None:
    folder = save(
        tmp_path / "set",
        **{"0001": GREY, "0001x2": matlab(GREY, 1 / 2), "0002": COLOUR, "0002x3": matlab(COLOUR, 1 / 3)},
    )
    references = {r.name: r.scale for r in read_references(folder)}
    assert references == {"0001x2.png": 1 / 2, "0002x3.png": 1 / 3}
    assert all(v.passed for v in judge(folder).values())


def test_input_that_was_cropped_first(tmp_path: Path) -> None:
    small = matlab(modcrop(GREY, 4), 1 / 4)  # of 48x64 pixels, where the file holds 48x65
    assert small.shape == (12, 16)
    (reference,) = read_references(save(tmp_path / "set", a=GREY, a_x4=small))
    assert (reference.input.shape, reference.scale) == ((48, 64), 1 / 4)
    assert compare(reference).differ == 0


def test_the_longest_name_is_the_input(tmp_path: Path) -> None:
    other = GREY[::-1].copy()
    folder = save(tmp_path / "set", a=GREY, a_b=other, a_b_x2=matlab(other, 1 / 2))
    references = {r.name: r for r in read_references(folder)}
    assert (references["a_b_x2.png"].input == other).all()


def test_folder_of_everything(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", a=GREY, a_x2=matlab(GREY, 1 / 2))
    write_json(folder / "mine.json", {"cases": [CASE]})
    write_cases(folder / "reference.mat", make_cases()[:3])
    (folder / "notes.txt").write_text("passed over")
    assert [r.source for r in read_references(folder)] == ["set", "mine.json", *["reference.mat"] * 3]


def test_folder_with_nothing_to_compare(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(
            ReferenceFileError, match=r"nothing to compare; it needs pictures such as a\.png beside a_down"
        ):
            list(read_references(tmp_path))
        save(tmp_path, one=GREY, two=COLOUR)  # pictures, but none made from another


def test_folder_with_a_broken_picture(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", a=GREY, a_x2=matlab(GREY, 1 / 2))
    (folder / "b.png").write_bytes(b"")
    with pytest.raises(ReferenceFileError, match=r"b\.png: the file is empty"):
        list(read_references(folder))


def test_grey_beside_colour(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", a=COLOUR, a_x2=matlab(GREY, 1 / 2))
    with pytest.raises(ReferenceFileError, match=r"a\.png and a_x2\.png must both be grey or both RGB"):
        list(read_references(folder))


def test_a_picture_of_another_scale_fails(tmp_path: Path) -> None:
    (verdict,) = judge(save(tmp_path / "set", a=GREY, a_x2=matlab(GREY, 1 / 3))).values()
    assert not verdict.passed  # 16x22 pixels are neither half of it nor imresize to that size
