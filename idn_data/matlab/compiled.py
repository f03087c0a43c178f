"""Modules of numba kernels, compiled on first use on a machine and then kept in numba's cache.

numba keeps them beside the modules, or else below HOME, or where NUMBA_CACHE_DIR says. Where none of these can be
written (a container, an installation of somebody else's), a folder of this user's among the temporary ones serves.
"""

from __future__ import annotations

import atexit
import contextlib
import glob
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

PATIENCE = 5.0  # seconds to wait in silence
_LOG = logging.getLogger(__name__)  # without a handler, warnings go to standard error
_unkept: list[str] = []  # what `explain_cache` says


@cache
def load_kernels(module: str = "idn_data.matlab.kernels") -> ModuleType:
    """Import a module of kernels, which compiles them or loads them from numba's cache.

    One process at a time: numba's cache is not safe against several processes filling it at once.

    Parameters
    ----------
    module : str
        Its full name; the resampling kernels unless told otherwise.
    """
    private = find_private_folder()
    with _one_process_at_a_time(private):
        import numba

        config: Any = numba.config  # its attributes are made as it is imported
        before = config.SLP_VECTORIZE, config.CACHE_DIR
        config.SLP_VECTORIZE = 1  # off by default in numba; it puts the eight sums of `sum_columns` in one register
        try:
            try:
                return _import_mended(module)
            except (RuntimeError, OSError) as error:  # numba finds no folder, or cannot write what it found
                if isinstance(error, RuntimeError) and "cannot cache" not in str(error):
                    raise
            try:
                config.CACHE_DIR = str(_make_cache_folder(private))
                return _import_mended(module)
            except (RuntimeError, OSError):
                return _import_without_cache(module)
        finally:
            config.SLP_VECTORIZE, config.CACHE_DIR = before


def _import_mended(module: str) -> ModuleType:
    """Import a module; once more, without what numba's cache holds of it, if that cannot be read."""
    import numba

    config: Any = numba.config  # as above
    try:
        return import_module(module)
    except (RuntimeError, OSError):
        raise
    except Exception:  # a torn file in the cache raises nearly any
        if not _remove_cached(module, config.CACHE_DIR):
            raise
        return import_module(module)


def _remove_cached(module: str, folder: str) -> int:
    """Remove what numba's cache holds of a module, which is compiled anew then; the number of files."""
    found = find_spec(module)
    if found is None or found.origin is None:
        return 0
    source = Path(found.origin)
    places = [source.parent / "__pycache__", *([Path(folder)] if folder else [])]
    count = 0
    for path in [path for place in places for path in place.rglob(f"{glob.escape(source.stem)}.*.nb[ic]")]:
        with contextlib.suppress(OSError):
            path.unlink()
            count += 1
    return count


def explain_cache() -> str | None:
    """One line about kernels that are not kept where they should be; None where they are."""
    return _unkept[-1] if _unkept else None


def find_private_folder() -> Path | None:
    """A folder among the temporary ones that nobody else may write or read, the same each time; None if there is none.

    numba's cache is code: whoever may write it runs what he likes as the user who reads it. In a folder that all may
    write, anybody can make this name first.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"  # Windows has temporary folders for each user
    try:
        folder = Path(tempfile.gettempdir()) / f"idn-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    own = not hasattr(os, "getuid") or (facts.st_uid == os.getuid() and not facts.st_mode & 0o077)
    return folder if own and stat.S_ISDIR(facts.st_mode) else None


@contextlib.contextmanager
def _one_process_at_a_time(private: Path | None) -> Iterator[None]:
    """Hold the lock of this installation, where there is a folder for it and its file system has locks."""
    from filelock import FileLock, Timeout

    here = hashlib.sha256(os.fsencode(Path(__file__).resolve())).hexdigest()[:12]
    with contextlib.ExitStack() as stack:
        if private is not None:
            with contextlib.suppress(OSError, NotImplementedError):
                lock = FileLock(private / f"kernels-{here}.lock")
                try:
                    stack.enter_context(lock.acquire(PATIENCE))
                except Timeout:
                    _LOG.warning("waiting for another process of idn, which compiles the resize kernels")
                    stack.enter_context(lock.acquire())
        yield


def _make_cache_folder(private: Path | None) -> Path:
    """A folder for numba's cache: in the private one, or else a new one that ends with the process."""
    if private is not None:
        folder, until = private / "numba", ""
        folder.mkdir(mode=0o700, exist_ok=True)
    else:
        folder, until = Path(tempfile.mkdtemp(prefix="idn-")), ", for this run alone"
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _unkept.append(_say_unkept(f"they are kept in {folder}{until}"))
    return folder


def _import_without_cache(module: str) -> ModuleType:
    import numba.core.dispatcher

    dispatcher: Any = numba.core.dispatcher.Dispatcher  # the module says cache=True, which is not to be heard
    keep = dispatcher.enable_caching
    dispatcher.enable_caching = lambda _: None
    try:
        return import_module(module)
    finally:
        dispatcher.enable_caching = keep
        _unkept.append(_say_unkept("each run compiles them anew"))


def _say_unkept(instead: str) -> str:
    return (
        f"compiled kernels cannot be kept beside idn or below HOME, where nothing can be written: {instead}; "
        "NUMBA_CACHE_DIR=FOLDER names a better place"
    )
