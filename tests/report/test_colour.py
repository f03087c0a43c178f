"""Networks of the user's own in a report: their names, and those for RGB in the protocols that they have."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.drawing import draw_photo
from support.htmlpages import read_page, read_tables

from idn_data.scores.methods import Method
from idn_data.scores.sets import open_set
from idn_train.report.make import make_report
from idn_train.report.outside import report_pictures
from idn_train.report.runs import Point, Run

GREY = Method("a", lambda lr, s: np.full((s * lr.shape[0], s * lr.shape[1]), 0.5))
COLOUR = Method("b", lambda lr, s: np.full((s * lr.shape[0], s * lr.shape[1], 3), 0.5), colour=True)
POINTS = (Point(1, 1.0, 9.0, 20.0), Point(2, 2.0, 8.0, 21.0))
PLAIN = Run("plain", Path("a.safetensors"), 4, {"scale": 4, "validation_psnr": 21.0}, POINTS)
RGB = Run("rgb", Path("b.safetensors"), 4, {"scale": 4, "network": "net.py:Net<b>", "channels": 3}, POINTS)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for k in range(2):
        Image.fromarray(draw_photo(64, 56, k)).save(tmp_path / "pictures" / f"{k}.png")
    return tmp_path / "pictures"


def test_a_network_for_rgb_beside_one_for_y(pictures: Path, tmp_path: Path) -> None:
    page = make_report(
        [(PLAIN, GREY), (RGB, COLOUR)], [open_set(str(pictures), tmp_path)], sorted(pictures.iterdir())[:1]
    )
    tables = [[row[0] for row in table] for table in read_tables(read_page(page)) if table[2][0] == "Bicubic"]
    assert [rows[2:] for rows in tables] == [["Bicubic", "plain"]] * 2 + [["Bicubic", "plain", "rgb"]] * 2
    assert "<b>rgb</b>: net.py:Net&lt;b&gt; ×4" in page and "<b>plain</b>: IDN ×4" in page
    assert "The runs were validated in different protocols: float, and y of networks for RGB." in page
    assert "in the RGB protocol all channels, and 6 pixels more" in page
    assert "(protocol y)" in page


def test_networks_for_rgb_alone(pictures: Path, tmp_path: Path) -> None:
    page = make_report([(RGB, COLOUR)], [open_set(str(pictures), tmp_path)], [])
    assert "Y protocol" in page and "RGB protocol" in page and "Float protocol" not in page
    assert "dB</b> on pictures" in page


def test_beside_pictures_of_others(pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "sr")
    page = report_pictures([tmp_path / "sr"], open_set(str(pictures), tmp_path), 4, [(RGB, COLOUR)])
    assert "Float protocol" in page and "<b>rgb</b>: net.py:Net&lt;b&gt; ×4" in page
