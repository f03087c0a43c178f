"""Style and types of all that is in the checkout, as `make check` has them."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("words", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)], ids=" ".join)
def test_style_and_types(words: tuple[str, ...]) -> None:
    if words[0] == "mypy" and sys.version_info < (3, 11):
        pytest.skip("the last numpy for Python 3.10 has other types")
    if find_spec(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed: pip install -e '.[test]'")
    done = subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
