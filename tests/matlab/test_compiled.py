"""Where compiled kernels are kept when neither the package nor HOME can be written, and whose folder that is."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from numba import config
from numba.core import caching

from idn_data.matlab import compiled
from idn_data.terminal import load_kernels_aloud

KERNELS = """
from numba import njit, types

@njit([types.int64(types.int64)], cache=True)
def double(value):
    return 2 * value
"""


@pytest.fixture(scope="module")
def loaded() -> None:
    """idn's own kernels, from where numba keeps them, before it may no longer."""
    load_kernels_aloud(True)


@pytest.fixture
def kernels(
    loaded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The name of a small module of kernels, on a machine where numba may write among the temporary files alone."""
    name = f"kernels_of_{request.node.name.partition('[')[0]}"
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / f"{name}.py").write_text(KERNELS)
    (tmp_path / "temporary").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "package")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(compiled, "_unkept", [])
    monkeypatch.setattr(config, "CACHE_DIR", "")
    ensure = caching._CacheLocator.ensure_cache_path

    def refuse(locator: caching._CacheLocator) -> None:
        if not Path(locator.get_cache_path()).is_relative_to(tmp_path / "temporary"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), locator.get_cache_path())
        ensure(locator)

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    yield name
    sys.modules.pop(name, None)
    compiled.load_kernels.cache_clear()


def list_kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "temporary").rglob("*.nbc"))


def test_kernels_are_kept_among_the_temporary_files(kernels: str, tmp_path: Path) -> None:
    assert compiled.load_kernels(kernels).double(21) == 42
    private = compiled.find_private_folder()
    assert private is not None
    assert len(list_kept(tmp_path)) == 1
    assert list_kept(tmp_path)[0].is_relative_to(private / "numba")
    said = compiled.explain_cache()
    assert said is not None
    assert f"where nothing can be written: they are kept in {private / 'numba'}; NUMBA_CACHE_DIR" in said
    assert config.CACHE_DIR == ""  # the functions of the user's own are none of our business
    del sys.modules[kernels]
    compiled.load_kernels.cache_clear()
    assert not sum(compiled.load_kernels(kernels).double.stats.cache_misses.values())  # the next process reads them


def test_a_machine_where_they_can_be_kept_says_nothing(
    kernels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "temporary" / "of the user"))
    assert compiled.load_kernels(kernels).double(21) == 42
    assert compiled.explain_cache() is None
    assert list_kept(tmp_path)[0].is_relative_to(tmp_path / "temporary" / "of the user")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX's owners and modes; Windows has folders for each user")
@pytest.mark.parametrize("how", ["open to all", "of another user", "a link", "a file"])
def test_a_folder_that_others_may_write_is_not_used(
    kernels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    name = tmp_path / "temporary" / f"idn-{os.getuid()}"
    if how == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        name.symlink_to(tmp_path / "elsewhere")
    elif how == "a file":
        name.write_bytes(b"")
    else:
        name.mkdir(mode=0o700)
        if how == "open to all":
            name.chmod(0o777)
        else:
            user = os.getuid() + 1
            monkeypatch.setattr(os, "getuid", lambda: user)
            name.rename(name.with_name(f"idn-{user}"))
    assert compiled.find_private_folder() is None
    assert compiled.load_kernels(kernels).double(21) == 42
    (kept,) = list_kept(tmp_path)
    own = next(p for p in kept.parents if p.parent == tmp_path / "temporary")
    assert own.name != name.name and stat.S_IMODE(own.stat().st_mode) == 0o700
    assert f"they are kept in {own}, for this run alone" in str(compiled.explain_cache())
    assert not (tmp_path / "elsewhere").exists() or not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("how", ["no temporary folder", "a full disk"])
def test_kernels_run_where_nothing_can_be_written_at_all(
    kernels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if how == "a full disk":  # found only when the kernels are written
        monkeypatch.setattr(caching.IndexDataCacheFile, "save", fail)
    else:
        monkeypatch.setattr(tempfile, "gettempdir", fail)
    assert compiled.load_kernels(kernels).double(21) == 42
    assert list_kept(tmp_path) == []
    assert "each run compiles them anew" in str(compiled.explain_cache())


def test_other_errors_of_a_module_stay_as_they_are(
    kernels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package" / f"{kernels}.py").write_text("raise RuntimeError('a fault of its own')")
    with pytest.raises(RuntimeError, match="a fault of its own"):
        compiled.load_kernels(kernels)
    assert compiled.explain_cache() is None


@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="without the JIT nothing is compiled")
def test_a_compilation_is_said_when_there_is_one(kernels: str, capsys: pytest.CaptureFixture[str]) -> None:
    """However long it takes to read kernels that are there: a slow machine is not told that they are compiled."""
    for said in (["compiling the resize kernels, once on this machine"], []):
        load_kernels_aloud(False, kernels)
        lines = capsys.readouterr().err.splitlines()
        assert [line for line in lines if line.startswith("compiling")] == said
        del sys.modules[kernels]
        compiled.load_kernels.cache_clear()
    compiled._unkept.clear()
    load_kernels_aloud(True, kernels)
    assert capsys.readouterr().err == ""


def test_who_waits_for_another_process_is_told(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other, said = contextlib.ExitStack(), []

    def warn(text: str) -> None:
        said.append(text)
        other.close()  # the other process is through

    monkeypatch.setattr(compiled._LOG, "warning", warn)
    monkeypatch.setattr(compiled, "PATIENCE", 0.05)
    other.enter_context(compiled._one_process_at_a_time(compiled.find_private_folder()))
    assert compiled.load_kernels(kernels).double(21) == 42
    assert said == ["waiting for another process of idn, which compiles the resize kernels"]


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", [b"", b"\0" * 100])
def test_a_torn_file_in_the_cache_is_made_anew(kernels: str, tmp_path: Path, kind: str, damage: bytes) -> None:
    """As a power cut leaves one: numba gives files their names before they are on the disk."""
    compiled.load_kernels(kernels)
    sys.modules.pop(kernels)
    compiled.load_kernels.cache_clear()
    (torn,) = (tmp_path / "temporary").rglob(f"*.{kind}")
    torn.write_bytes(damage)
    module = compiled.load_kernels(kernels)
    assert module.double(21) == 42
    assert torn.stat().st_size > 100 or not torn.exists()
