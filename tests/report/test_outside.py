"""idn_train.report.outside: anybody's pictures on the page, beside a network and without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.drawing import draw_photo
from support.htmlpages import read_page, read_tables, say

from cli import main
from idn_data import score_pictures
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
