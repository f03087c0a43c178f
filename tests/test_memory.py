"""Memory that a process keeps, in processes of their own: it cannot be undone."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from idn_data import memory

FAULTS = """
import resource, sys
import numpy as np
from idn_data.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()

def work():  # more at once than glibc keeps of itself: twice the largest
    arrays = [np.ones(8 << 20, np.uint8) for _ in range(5)]

for _ in range(3):
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_what_is_freed_is_taken_again_without_new_pages() -> None:
    faults = {}
    for way in ("keep", "leave"):
        ran = subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, text=True, check=True)
        faults[way] = int(ran.stdout)
    assert faults["keep"] < 500
    assert faults["leave"] > 5 * faults["keep"]


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OSError, AttributeError, TypeError):

        def fail(_: None, error: type[Exception] = error) -> None:
            raise error

        monkeypatch.setattr(memory.ctypes, "CDLL", fail)
        assert memory.keep_freed_memory() is False
