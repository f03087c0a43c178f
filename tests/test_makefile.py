"""The Makefile, with an interpreter that is a script of the test's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]
INTERPRETER = """#!/bin/sh
test "$1 $2" = "-m venv" || exit 2
mkdir -p "$3/bin"
ln -sf "$0" "$3/bin/python"
test -e ensurepip || exit 1
touch "$3/whole"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the interpreter is a shell script")
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_environment_that_failed_half_way_is_made_anew(tmp_path: Path) -> None:
    """As on Debian without python3-venv: the interpreter is there already when ensurepip fails."""
    (tmp_path / "python").write_text(INTERPRETER)
    (tmp_path / "python").chmod(0o755)
    command = ["make", "-f", str(HOME / "Makefile"), "-C", str(tmp_path), f"PYTHON={tmp_path / 'python'}"]
    first = subprocess.run([*command, ".venv/bin/python"], capture_output=True, check=False)
    assert first.returncode != 0
    (tmp_path / "ensurepip").touch()
    second = subprocess.run([*command, ".venv/bin/python"], capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert (tmp_path / ".venv" / "whole").exists()
