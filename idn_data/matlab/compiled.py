"""Modules of numba kernels, compiled on first use on a machine and then kept in numba's cache."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


@cache
def load_kernels(module: str = "idn_data.matlab.kernels") -> ModuleType:
    """Import a module of kernels, which compiles them or loads them from numba's cache.

    One process at a time: numba's cache is not safe against several processes filling it at once.

    Parameters
    ----------
    module : str
        Its full name; the resampling kernels unless told otherwise.
    """
    from filelock import FileLock

    here = hashlib.sha256(str(Path(__file__).resolve()).encode()).hexdigest()[:12]
    user = os.getuid() if hasattr(os, "getuid") else "user"
    with FileLock(Path(tempfile.gettempdir()) / f"idn-kernels-{user}-{here}.lock"):
        from numba import config

        before = config.SLP_VECTORIZE
        config.SLP_VECTORIZE = 1  # off by default in numba; it puts the eight sums of `sum_columns` in one register
        try:
            return import_module(module)
        finally:
            config.SLP_VECTORIZE = before
