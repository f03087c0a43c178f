"""metrics.csv and the curve drawn from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from idn_train.metrics import read_rows, write_rows
from idn_train.report.curves import draw_curve, find_ticks

BLUE = (22, 96, 180)
ROWS = [{"step": str(k), "seconds": str(60 * k), "psnr": f"{30 + k / 10:.2f}"} for k in range(1, 6)]


def test_rows_come_back(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "none.csv") == []
    write_rows(tmp_path / "metrics.csv", ROWS)
    assert read_rows(tmp_path / "metrics.csv") == ROWS
    write_rows(tmp_path / "metrics.csv", ROWS[:1])
    assert read_rows(tmp_path / "metrics.csv") == ROWS[:1]
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"), [(0, 10, [0, 2, 4, 6, 8, 10]), (28.43, 31.2, [28.5, 29, 29.5, 30, 30.5, 31]), (5, 5, [5])]
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert find_ticks(low, high) == pytest.approx(ticks)


def test_the_curve_rises_where_the_psnr_does() -> None:
    picture = draw_curve(ROWS, "x4", {"bicubic": 28.43})
    assert picture is not None
    blue = (np.asarray(picture) == BLUE).all(axis=2)
    columns = np.flatnonzero(blue.any(axis=0))
    heights = [np.flatnonzero(blue[:, c]).mean() for c in columns]
    assert len(columns) > 300
    assert (np.diff(heights) <= 1).all()  # rows count downwards
    assert heights[-1] < heights[0] - 50


def test_one_point_is_a_dot_at_the_end_of_the_axis() -> None:
    picture = draw_curve(ROWS[:1], "one", size=(400, 300))
    assert picture is not None
    rows, columns = np.nonzero((np.asarray(picture) == BLUE).all(axis=2))
    assert (columns.min(), columns.max()) == (400 - 20 - 3, 400 - 20 + 3)
    middle = (44 + 300 - 48) / 2  # of the plotted area: the only value is the middle of its range
    assert (rows.min(), rows.max()) == (middle - 3, middle + 3)


def test_without_a_psnr_there_is_no_curve() -> None:
    assert draw_curve([{"step": "1", "seconds": "1", "psnr": ""}], "none") is None
