"""Freed memory stays with a training, or goes back to the system."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from idn_train.heap import keep_freed_memory

PAGES = """
import resource, sys
import numpy as np
from idn_train.heap import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()
for _ in range(10):  # until there is room for the next one, wherever its first byte may lie
    np.ones(6_000_000)  # 46 MiB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(6_000_000)
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is of Linux")
def test_freed_memory_is_kept() -> None:
    """A page that the system lends again is a fault: counted, not timed."""
    pages = {}
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    for how in ("keep", "leave"):
        done = subprocess.run([sys.executable, "-c", PAGES, how], env=environ, capture_output=True, check=True)
        kept, pages[how] = (int(word) for word in done.stdout.split())
        assert kept == (how == "keep")
    assert pages["keep"] < 0.1 * pages["leave"]  # of huge pages as of small ones


def test_freed_memory_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: SimpleNamespace())  # musl has no mallopt
    monkeypatch.setattr("os.environ", {})
    assert not keep_freed_memory()
    asked = SimpleNamespace(mallopt=lambda option, value: 1)
    monkeypatch.setattr("ctypes.CDLL", lambda name: asked)
    assert keep_freed_memory() == (sys.platform == "linux")
    monkeypatch.setattr("os.environ", {"MALLOC_ARENA_MAX": "2"})  # who has set one has chosen
    assert not keep_freed_memory()
    monkeypatch.setattr("os.environ", {})
    monkeypatch.setattr("sys.platform", "darwin")
    assert not keep_freed_memory()
