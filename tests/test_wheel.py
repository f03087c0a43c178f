"""The wheel: what is in it, and that it works in an empty environment, outside the checkout, with what it asks for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image
from support.drawing import draw_photo

ROOT = Path(__file__).resolve().parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the checkout, tests and all."""
    folder = tmp_path_factory.mktemp("wheel")
    passed_over = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "demo", "data", "runs")
    shutil.copytree(ROOT, folder / "source", ignore=passed_over)
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source"]
    subprocess.run(build, check=True, timeout=900)
    (made,) = folder.glob("*.whl")
    return made


def test_what_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    modules = {
        path.relative_to(ROOT).as_posix() for room in ("idn_data", "idn_train") for path in (ROOT / room).rglob("*.py")
    }
    read = {f"idn_data/fixtures/{path.name}" for path in (ROOT / "fixtures").iterdir() if path.is_file()}
    read |= {f"idn_train/weights/{path.name}" for path in (ROOT / "idn_train" / "weights").iterdir()}
    read |= {"idn_data/py.typed", "idn_train/py.typed", "idn_train/report/report.html"}
    assert names == {"idn/cli.py", "idn/__main__.py"} | modules | read  # so no tests, and no `cli` of all the world
    assert wheel.stat().st_size < 8_000_000


def find_requirements(wheel: Path) -> set[str]:
    """The distributions that it asks for without any extra, and those that these ask for."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        left = Parser().parsestr(archive.read(name).decode()).get_all("Requires-Dist", [])
    found: set[str] = set()
    while left:
        wanted = Requirement(left.pop())
        if wanted.name not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found.add(wanted.name)
            left += distribution(wanted.name).requires or []
    return found


def lend(name: str, folder: Path) -> None:
    """Let a distribution that is installed here be found in a folder as well."""
    whole = distribution(name)
    for top in {path.parts[0] for path in whole.files or () if path.parts[0] not in ("..", "__pycache__")}:
        source, target = Path(str(whole.locate_file(top))), folder / top
        try:
            target.symlink_to(source, source.is_dir())
        except OSError:  # Windows lets not everybody make links
            (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


def test_it_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Nothing is downloaded: what it asks for is lent by the environment of the tests; torch, say, is not there."""
    venv.create(tmp_path / "env", with_pip=True, symlinks=sys.platform != "win32")
    scripts = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / ("python.exe" if sys.platform == "win32" else "python")
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    for name in find_requirements(wheel):
        lend(name, packages)
    subprocess.run([python, *PIP[1:], "install", "--no-deps", "--no-index", wheel], check=True, timeout=900)
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "cli.py").write_text("raise SystemExit('another program')")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "IDN_DATA")}

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(w) for w in words], cwd=tmp_path / "away", env=environment, capture_output=True, text=True, timeout=900
        )

    for start in ([scripts / "idn"], [python, "-m", "idn"], [python, "-m", "idn.cli"]):
        told = run(*start, "--help")
        assert told.returncode == 0, told.stderr
        assert told.stdout.startswith("Usage: idn [OPTIONS] COMMAND")
    # as in a container: nobody, root neither, can make these folders, so that no compiled kernel is kept there
    for room in ("images", "matlab", "patches"):
        shutil.rmtree(packages / "idn_data" / room / "__pycache__", ignore_errors=True)
        (packages / "idn_data" / room / "__pycache__").write_bytes(b"")
    (tmp_path / "temporary").mkdir()
    environment.update({"HOME": os.devnull, "LOCALAPPDATA": os.devnull, "TMPDIR": str(tmp_path / "temporary")})
    environment.pop("NUMBA_CACHE_DIR", None)
    environment.pop("XDG_CACHE_HOME", None)
    for k, place in enumerate(("sr", "gt")):
        (tmp_path / place).mkdir()
        Image.fromarray(draw_photo(40, 32, k)).save(tmp_path / place / "a.png")
    scored = run(scripts / "idn", "score", tmp_path / "sr", "--gt", tmp_path / "gt", "--scale", "2")
    assert scored.returncode == 0, scored.stderr
    assert "PSNR" in scored.stdout
    module = "idn_data.images.kernels"  # the quickest to compile
    code = f"from idn_data.matlab import compiled as c; c.load_kernels({module!r}); print(c.explain_cache())"
    told = run(python, "-c", code)
    assert told.returncode == 0, told.stderr
    assert sys.platform == "win32" or told.stdout.startswith("compiled kernels cannot be kept")
    listed = run(scripts / "idn", "fetch")  # reads what lies beside the modules
    assert listed.returncode == 0, listed.stderr
    assert "Urban100" in listed.stdout
    trained = run(python, "-m", "idn_train", "--steps", "1", "--data", "a.h5")
    assert trained.returncode == 1
    assert "networks need torch, which is not installed; pip install 'idn[train]'" in trained.stderr
    cli = run(python, "-c", "import idn.cli; print(idn.cli.__file__)").stdout.strip()
    assert Path(cli).resolve().is_relative_to(packages.resolve())
