"""The demo, whole, and README's Python."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli import main

ROOT = Path(__file__).resolve().parents[1]


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


def test_readme_python_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def test_readme_commands_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = re.findall(r"\bidn ((?:make-|import-)?[a-z]+)((?: +--[a-z-]+)*)", text)
    assert {name for name, _ in used} >= {"validate", "evaluate", "make-train", "make-test"}
    for line in re.findall(r"`?\$? ?(idn (?:make-|import-)?[a-z]+[^`\n]*)", text):
        words = line.split()
        if words[1] not in main.commands:
            continue
        options = {o for p in main.commands[words[1]].params for o in p.opts}
        for word in words[2:]:
            if word.startswith("--"):
                assert word.split("=")[0] in options, line
