"""The demo, whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import main


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image: pip install -e '.[demo]'")
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "demo"), "--minutes", "0.1"])
    assert result.exit_code == 0, result.output
    for text in ("patches are what the images yield", "references agree", "12 files"):
        assert text in result.output
    for name in ("patches.png", "comparison.png", "networks.png"):
        picture = np.asarray(Image.open(tmp_path / "demo" / name))
        assert picture.shape[1] > 1000
        assert picture.std() > 20  # not a blank page


def test_a_step_that_fails_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [("A file that is not there", ["inspect", "none.h5"]), ("Never shown", ["validate"])]
    monkeypatch.setattr("idn_data.demo.list_steps", lambda *_: steps)
    monkeypatch.setattr("idn_data.demo.copy_photos", lambda _: (tmp_path, tmp_path))
    result = CliRunner().invoke(main, ["demo", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 1
    assert "none.h5: no such file" in result.output
    assert "Never shown" not in result.output
