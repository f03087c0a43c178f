"""How tests run the command in a process of its own: cli.py of this checkout, whatever is installed."""

from __future__ import annotations

import sys
from pathlib import Path

COMMAND = (sys.executable, str(Path(__file__).resolve().parents[2] / "cli.py"))
