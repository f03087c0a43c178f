"""idn_train.report.chart: the SVG's geometry, its texts, and what it refuses."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from idn_train.report.chart import HEIGHT, Line, draw_chart, find_log_ticks

RISING = Line("a", [(1.0, 30.0, "first"), (2.0, 31.0, "second"), (4.0, 31.5, "third")], 1)


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # well formed, or this raises


def find_curve(svg: str) -> list[tuple[float, float]]:
    points = parse(svg).find("svg/polyline").get("points")  # type: ignore[union-attr]
    return [tuple(map(float, point.split(","))) for point in points.split()]  # type: ignore[union-attr, misc]


def test_the_curve_lies_where_its_values_do() -> None:
    svg = draw_chart([RISING], title="PSNR", x_title="minutes")
    curve = find_curve(svg)
    assert [x for x, _ in curve] == [250, 500, 1000]  # thousandths of the width, from 0
    (_, first), (_, second), (_, third) = curve
    assert HEIGHT > first > second > third > 0
    assert (first - second) / (second - third) == pytest.approx(2, abs=0.02)
    dots = parse(svg).findall("circle")
    assert [(d.get("cx"), d.find("title").text) for d in dots] == [  # type: ignore[union-attr]
        ("25.00%", "first"), ("50.00%", "second"), ("100.00%", "third"),
    ]  # fmt: skip
    assert [float(d.get("cy", "")) for d in dots] == [y for _, y in curve]


def test_ticks_stand_at_their_values() -> None:
    root = parse(draw_chart([RISING], title="PSNR", x_title="minutes"))
    ticks = {float(t.text or ""): float(t.get("y", "")) for t in root.findall("text[@text-anchor='end'][@dy]")}
    assert len(ticks) > 2
    curve = find_curve(draw_chart([RISING], title="PSNR", x_title="minutes"))
    assert ticks[31.0] == pytest.approx(curve[1][1], abs=0.1)


def test_a_logarithmic_axis_spaces_factors_equally() -> None:
    points = [(float(k), 100.0 / 10**k, "") for k in range(3)]
    curve = find_curve(draw_chart([Line("a", points)], title="loss", x_title="steps", log=True))
    assert curve[1][1] - curve[0][1] == pytest.approx(curve[2][1] - curve[1][1], abs=0.2)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0.9, 120, [1, 2, 5, 10, 20, 50, 100]), (42, 61, [45, 50, 55, 60]), (3, 60, [5, 10, 20, 50])],
)
def test_logarithmic_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert find_log_ticks(low, high) == pytest.approx(ticks)


def test_names_of_levels_keep_clear_of_each_other() -> None:
    levels = {"a": 31.82, "b": 31.8, "c": 31.79, "d": 28.0}
    root = parse(draw_chart([RISING], levels, title="PSNR", x_title="minutes"))
    names = [(t.text, float(t.get("y", ""))) for t in root.findall("text[@class='name']")]
    assert [text for text, _ in names] == ["a 31.82", "b 31.80", "c 31.79", "d 28.00"]
    heights = [y for _, y in names]
    assert min(b - a for a, b in pairwise(heights)) >= 15
    assert len(root.findall("line[@class='level']")) == 4


def test_many_points_have_a_dot_at_the_end_alone() -> None:
    points = [(float(k), 30 + k / 100, str(k)) for k in range(200)]
    dots = parse(draw_chart([Line("a", points)], title="PSNR", x_title="steps")).findall("circle")
    assert [d.find("title").text for d in dots] == ["199"]  # type: ignore[union-attr]


def test_one_point_and_a_line_without_any() -> None:
    svg = draw_chart([Line("a", [(0.0, 5.0, "")]), Line("b", [])], title="PSNR", x_title="steps")
    assert len(parse(svg).findall("circle")) == 1
    assert "nan" not in svg and "inf" not in svg


def test_texts_are_escaped_and_told() -> None:
    name = '<b> & "x"'
    svg = draw_chart([Line(name, [(1.0, 2.0, name)])], {name: 3.0}, title=name, x_title=name)
    root = parse(svg)
    assert root.get("aria-label") == f"{name}: {name} from 2 to 2; {name} 3.00"
    assert not re.search(r"<b>", svg)
    assert root.find("circle/title").text == name  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"PSNR: values must be finite$"):
        draw_chart([Line("a", [(1.0, value, "")])], title="PSNR", x_title="steps")


def test_zero_on_a_logarithmic_axis_and_no_points_are_refused() -> None:
    with pytest.raises(ValueError, match="finite, and above 0 on a logarithmic axis"):
        draw_chart([Line("a", [(1.0, 0.0, "")])], title="loss", x_title="steps", log=True)
    with pytest.raises(ValueError, match="loss: no points to draw; give a line with some"):
        draw_chart([Line("a", [])], title="loss", x_title="steps")
