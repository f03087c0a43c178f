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
