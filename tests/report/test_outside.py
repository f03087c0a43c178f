"""idn_train.report.outside: anybody's pictures on the page, beside a network and without one."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.drawing import draw_photo
from support.htmlpages import read_page, read_tables, say

from cli import main
from idn_data import score_pictures
from idn_data.scores.pairs import PairError
from idn_data.scores.scoring import plan_scores, score_plan
from idn_data.scores.sets import open_set
from idn_train.report.outside import report_pictures, split_paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """GT of two pictures, one not cut and one grey, and the answers of two methods."""
    for name, height in (("a", 51), ("b", 48)):
        pixels = draw_photo(height, 56, height)
        pixels = pixels[:, :, 0] if name == "b" else pixels
        for folder, levels in (("gt", 1), ("sharp", 4), ("coarse", 32)):
            (tmp_path / folder).mkdir(exist_ok=True)
            whole = pixels if folder == "gt" else pixels[:48] // levels * levels
            Image.fromarray(whole).save(tmp_path / folder / f"{name}{'' if folder == 'gt' else '_x4'}.png")
    return tmp_path


def test_the_page_has_their_scores_and_pictures(folders: Path) -> None:
    gt = open_set(str(folders / "gt"), folders)
    page = report_pictures([folders / "sharp", folders / "coarse"], gt, 4, shown=["a"])
    root = read_page(page)
    text = say(root)
    scores = score_pictures([folders / "sharp", folders / "coarse"], folders / "gt", 4, ("y",), crop_gt=True)
    cells = [cell for table in read_tables(root) for row in table for cell in row]
    for row in scores:
        assert any(f"{row.psnr:.2f}" in cell for cell in cells), row.method
        assert row.method in text
    assert "a" in text and len(list(root.iter("img"))) >= 4  # GT, bicubic, and both


def find_caption(page: str, method: str) -> str:
    """What stands under a picture of a method."""
    text = say(read_page(page))
    return re.findall(rf"{re.escape(method)}\s+([\d.]+|Inf|inf) dB", text)[-1]


def test_colour_pictures_of_grey_gt_have_the_score_of_the_table(folders: Path) -> None:
    """As most frameworks save a grey picture. The table's float score is the caption's."""
    grey = np.array(Image.open(folders / "sharp" / "b_x4.png"))
    Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2)).save(folders / "sharp" / "b_x4.png")
    page = report_pictures([folders / "sharp"], open_set(str(folders / "gt"), folders), 4, shown=["b"])
    plan = plan_scores([folders / "sharp"], [folders / "gt"], 4, crop_gt=True)
    wanted = next(p.psnr for p in score_plan(plan, ("float",))[0].pictures if p.picture == "b")
    assert find_caption(page, "sharp") == f"{wanted:.2f}"


@pytest.mark.parametrize("rows", [51, 50, 49, 48, 47])
def test_pictures_of_any_size_that_can_be_scored(folders: Path, rows: int) -> None:
    """GT of 51 rows, at x4: SR of them all, or of fewer."""
    whole = np.array(Image.open(folders / "gt" / "a.png"))
    Image.fromarray(whole[:rows] // 4 * 4).save(folders / "sharp" / "a_x4.png")
    gt = open_set(str(folders / "gt"), folders)
    if rows == 47:
        with pytest.raises(PairError, match="1 pictures cannot be scored"):
            report_pictures([folders / "sharp"], gt, 4)
        return
    page = report_pictures([folders / "sharp", folders / "coarse"], gt, 4, shown=["a"])
    assert "sharp: pictures ×4" in say(read_page(page))
    heights = {Image.open(BytesIO(b64decode(found))).height for found in re.findall(r"base64,([^\"']+)", page)}
    assert heights == {48}


def test_names_of_the_page_itself_are_changed(folders: Path) -> None:
    """Pictures in a folder called bicubic do not take the place of the page's own baseline."""
    (folders / "coarse").rename(folders / "bicubic")
    gt = open_set(str(folders / "gt"), folders)
    page = report_pictures([folders / "bicubic", folders / "sharp"], gt, 4, shown=["a"])
    alone = report_pictures([folders / "sharp"], gt, 4, shown=["a"])
    row = [r for table in read_tables(read_page(alone)) for r in table if r and r[0].lower() == "bicubic"]
    both = [r for table in read_tables(read_page(page)) for r in table if r and r[0].lower() == "bicubic"]
    assert row and row == both
    assert "bicubic (pictures)" in say(read_page(page))


@pytest.mark.parametrize("names", [("RCAN", "EDSR"), ("EDSR", "RCAN")])
def test_published_figures_are_of_the_method_of_their_name(
    folders: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    """Of EDSR none are at hand, and RCAN's are not its. They stand beside as many pictures as the set has."""
    count = len(list((folders / "gt").iterdir()))
    monkeypatch.setattr("idn_data.scores.benchmark.read_registry", lambda: {"Set5": dict.fromkeys(range(count))})
    (folders / "sharp").rename(folders / "RCAN")
    (folders / "coarse").rename(folders / "EDSR")
    gt = replace(open_set(str(folders / "gt"), folders), name="Set5")
    page = report_pictures([folders / name for name in names], gt, 4, shown=["a"])
    table = next(t for t in read_tables(read_page(page)) if any(row[0] == "RCAN, published" for row in t))
    rows = {row[0]: row[1:] for row in table}
    assert rows["RCAN, published"] == ["32.63", "", "0.9002", ""]
    assert rows["RCAN"][1] and rows["RCAN"][3] and not rows["EDSR"][1] and not rows["EDSR"][3]
    assert "None, published" not in say(read_page(page))


def test_with_a_network_beside(folders: Path) -> None:
    weights = folders / "idn.safetensors"
    from idn_train import IDN, save_weights

    network = IDN(4)
    network.reset_parameters(reconstruction_std=0.001)
    save_weights(weights, network, {"name": "net"})
    words = ["report", str(folders / "sharp"), str(weights), "--gt", str(folders / "gt"), "--scale", "4", "-q"]
    result = CliRunner().invoke(main, [*words, "--out", str(folders / "page.html")])
    assert result.exit_code == 0, result.output
    text = say(read_page((folders / "page.html").read_text(encoding="utf-8")))
    assert "net" in text and "sharp" in text and "bicubic" in text


def test_what_is_refused(folders: Path) -> None:
    gt = open_set(str(folders / "gt"), folders)
    with pytest.raises(ValueError, match="no SR pictures were named; name folders of SR pictures"):
        report_pictures([], gt, 4)
    with pytest.raises(ValueError, match="no picture 'c'; one of a, b"):
        report_pictures([folders / "sharp"], gt, 4, shown=["c"])
    result = CliRunner().invoke(main, ["report", str(folders / "sharp"), "--gt", str(folders / "gt")])
    assert result.exit_code == 2 and "--gt and --scale go together" in result.output


def test_networks_are_told_from_pictures(folders: Path) -> None:
    run = folders / "run"
    run.mkdir()
    (run / "best.safetensors").write_bytes(b"")
    given = [folders / "sharp", run, folders / "w.safetensors", folders / "sharp" / "a_x4.png"]
    assert split_paths(given) == ([given[1], given[2]], [given[0], given[3]])
    assert np.array(Image.open(given[3])).shape == (48, 56, 3)
