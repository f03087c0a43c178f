"""idn_data.images.pairs: what is taken off the names of pictures, and what is left together."""

from __future__ import annotations

from pathlib import Path

import pytest

from idn_data.images.pairs import LAYOUT_WORDS, group_by_name, strip_name


@pytest.mark.parametrize(
    ("stem", "left"),
    [
        ("baby", "baby"),
        ("0801x4", "0801"),
        ("a-x1.5", "a"),
        ("baby_HR_x4", "baby"),
        ("baby_LRBI_X2", "baby"),
        ("baby_gt-SR", "baby"),
        ("baby_out", "baby_out"),
        ("box4", "bo"),  # a scale needs no sign before it: DIV2K has none
        ("x4", "x4"),
        ("GT", "GT"),
        ("SR_x4", "SR"),
        ("a_b_GT", "a_b"),
    ],
)
def test_what_layouts_add(stem: str, left: str) -> None:
    assert strip_name(stem) == left


def test_one_scale_and_other_words() -> None:
    assert strip_name("a_x3_SR", scale=4) == "a_x3"
    assert strip_name("a_x4_SR", scale=4) == "a"
    assert strip_name("a_x1.5", scale=1.5) == "a"
    assert strip_name("a_x1-5", scale=1.5) == "a_x1-5"  # the point is a point
    assert strip_name("a_rcan_x4_out", (*LAYOUT_WORDS, "out", "RCAN"), 4) == "a"


def test_groups() -> None:
    low, high = ([Path(folder) / name for name in names] for folder, names in (
        ("lr", ("b_x2.png", "a_x2.png", "a_x4.png")), ("hr", ("a.bmp", "c.bmp", "b_GT.bmp")),
    ))  # fmt: skip
    groups = group_by_name(low, high, strip_name, strip_name)
    assert list(groups) == ["b", "a", "c"]
    assert groups == {"b": ([low[0]], [high[2]]), "a": ([low[1], low[2]], [high[0]]), "c": ([], [high[1]])}
    assert list(group_by_name(low, high, str, strip_name)) == ["b_x2", "a_x2", "a_x4", "a", "c", "b"]
