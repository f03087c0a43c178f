"""Every block of every page is run: the session as printed, each command on small pictures, the Python."""

from __future__ import annotations

import re
import shlex
import subprocess
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support.caffefiles import draw_blobs, encode_net
from support.drawing import draw_photo

from cli import main
from idn_data.images.sets import list_registered

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "idn_data/README.md",
    "idn_train/README.md",
    "idn_train/weights/README.md",
    "fixtures/README.md",
    "tests/benchmarks/README.md",
    ".github/CONTRIBUTING.md",
)
SETS = ("Set5", "Set14", "B100", "Urban100")

every_page = pytest.mark.parametrize("page", PAGES)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def find_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", read(page), re.M | re.S)


def find_commands(page: str, start: str = "") -> list[list[str]]:
    """The words of each line of a page's sh blocks that starts so, comments left out."""
    lines = [line for block in find_blocks(page, "sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(start)]


def run(words: list[str]) -> Result:
    assert words[0] == "idn"
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, f"{shlex.join(words)}\n{result.output}"
    return result


@every_page
def test_every_block_is_run_somewhere(page: str) -> None:
    assert set(re.findall(r"^```(\w*)\n.*?^```", read(page), re.M | re.S)) <= {"console", "sh", "python", "text"}
    assert {words[0] for words in find_commands(page)} <= {"make", "idn", "pip"}


def test_readme_is_short_and_links_to_every_page() -> None:
    assert len(read("README.md").encode()) <= 10_240, "what a stranger reads in five minutes"
    for page in PAGES[1:]:
        assert f"]({page})" in read("README.md"), page


@every_page
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", read(page)):
        assert target.startswith("https://") or (ROOT / page).parent.joinpath(target).exists(), target


@every_page
def test_make_has_the_targets(page: str) -> None:
    commands = find_commands(page, "make ")
    if page == "README.md":
        assert [words[1] for words in commands][:2] == ["demo", "test"]
    for words in commands:
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)


@every_page
def test_pip_installs_extras_that_exist(page: str) -> None:
    section = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.optional-dependencies]")[2]
    extras = re.findall(r"^(\w+) = \[", section.partition("\n[")[0], re.M)
    assert "train" in extras
    for words in find_commands(page, "pip "):
        assert words[1] == "install"
        for names in re.findall(r"\[([\w,-]+)\]", " ".join(words)):
            assert set(names.split(",")) <= set(extras), words


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a reader, of small pictures: data, photos, two methods' results, a .caffemodel, a run."""
    folder = tmp_path / "world"
    for k, place in enumerate(("train_data/291", *(f"test_data/{name}" for name in SETS))):
        (folder / "data" / place).mkdir(parents=True)
        for n in range(2 if k else 8):  # as many as the pages' shards
            Image.fromarray(draw_photo(132, 120, 10 * k + n)).save(folder / "data" / place / f"{n}.bmp")
    for method, levels in (("RCAN", 4), ("EDSR", 16)):
        (folder / "results" / method).mkdir(parents=True)
        for path in (folder / "data" / "test_data" / "Set5").iterdir():
            coarse = np.array(Image.open(path)) // levels * levels
            Image.fromarray(coarse).save(folder / "results" / method / f"{path.stem}_{method}_x4.png")
    Image.fromarray(draw_photo(60, 50, 90)).save(folder / "photo.jpg")
    Image.fromarray(draw_photo(180, 200, 91)).save(folder / "photo.png")
    (folder / "DIV2K_train_HR").mkdir()
    Image.fromarray(draw_photo(180, 200, 93)).save(folder / "DIV2K_train_HR" / "0001.png")
    (folder / "photos").mkdir()
    Image.fromarray(draw_photo(30, 40, 92)).save(folder / "photos" / "holiday.jpg")
    (folder / "IDN_x4.caffemodel").write_bytes(encode_net(draw_blobs(), stride=4))
    (folder / "espcn.py").write_text((ROOT / "idn_train" / "examples" / "espcn.py").read_text())  # as the guide asks
    monkeypatch.chdir(folder)
    monkeypatch.delenv("IDN_DATA", raising=False)
    return folder


def shorten(words: list[str]) -> list[str]:
    """A command as it is written, but a training of three steps, and over what other commands of the page left."""
    if words[1] == "train":
        for option in ("--minutes", "--steps", "--epochs"):
            if option in words:
                at = words.index(option)
                words = words[:at] + words[at + 2 :]
        return [*words, "--steps", "3", "--batch", "4", "--precision", "float32", "--restart"]
    if words[1] == "validate":  # our Set5 is not the authors', which it would say
        return [*words, "--data-root", "nowhere"]
    if words[1] == "demo":
        return [*words, "--minutes", "0.02"]
    options = {option for parameter in main.commands[words[1]].params for option in parameter.opts}
    return [*words, "--force"] if "--force" in options else words


@every_page
def test_commands(page: str, small_world: Path) -> None:
    """Each line in its order, in one folder; not those of a far cluster, nor `fetch`, which has its own test."""
    commands = [w for w in find_commands(page, "idn ") if w[1] != "fetch" and "tcp://" not in " ".join(w)]
    if page == "README.md":
        assert {words[1] for words in commands} >= {"make-lr", "score", "identify", "train", "evaluate", "upscale"}
    if page == "README.md" and commands:  # the run that it reports on
        run(shorten(["idn", "make-train", "--scale", "4", "--quiet"]))
    for words in commands:
        run(shorten(words))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def repository(data_root: Path, tmp_path: Path) -> Path:
    """The authors' repository with what is here of its images."""
    folder = tmp_path / "repository" / "IDN-Caffe"
    for file in list_registered():
        place = "train_data" if file.set == "291" else "test_data"
        source = data_root / place / file.set / file.name
        if source.is_file():
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source.resolve())
    return folder


@pytest.fixture
def mirror(repository: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(repository)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_fetching(repository: Path, mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fetch lines, from a server and a ZIP of this machine; the sets that are not here are left out."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IDN_DATA", raising=False)
    with zipfile.ZipFile("IDN-Caffe.zip", "w") as archive:
        for path in sorted(repository.rglob("*")):
            if path.is_file() and path.parent.name == "Set5":
                archive.write(path, path.relative_to(repository.parent))
    commands = [words for page in PAGES for words in find_commands(page, "idn fetch")]
    assert len(commands) >= 4
    for words in commands:
        words = [w for w in words if w != "Urban100"]
        if "--mirror" in words:
            words[words.index("--mirror") + 1] = mirror
        elif "--from" not in words and len(words) > 2:
            words += ["--mirror", mirror]
        run(words)
    assert len(list(Path("data/train_data/291").iterdir())) == 291
    # and what fetch is for: the published table in two more commands
    run(["idn", "make-test", "Set5"])
    assert "33.68  0.9304  33.68/0.9304  +0.00/+0.0000" in run(["idn", "evaluate", "bicubic", "--set", "Set5"]).stdout


def test_session(data_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first session prints what README says that it prints."""
    (tmp_path / "data").symlink_to(data_root.resolve())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IDN_DATA", raising=False)
    (session,) = find_blocks("README.md", "console")
    steps = re.findall(r"^\$ (idn .*)\n((?:(?!\$ ).*\n)*)", session, re.M)
    assert len(steps) >= 2
    for command, printed in steps:
        words = shlex.split(command)
        assert run(words).stdout.strip() == printed.strip()


def test_the_guide_shows_espcn_as_it_is() -> None:
    assert (ROOT / "idn_train" / "examples" / "espcn.py").read_text() in find_blocks("idn_train/README.md", "python")


@every_page
def test_python_runs(page: str, small_world: Path) -> None:
    blocks = find_blocks(page, "python")
    if "PatchDataset" in read(page) and blocks:
        run(["idn", "make-train", "--scale", "4", "--quiet"])
    for block in blocks:
        code = compile(block, page, "exec")
        if "SLURMCluster" not in block:  # there is no Slurm here: its Python is compiled, its command read
            exec(code, {"__name__": "page"})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """What the shells are told to source is there, and completes a command's name."""
    text = read("idn_data/README.md")
    assert f"_IDN_COMPLETE={shell}_source" in text or f"`{shell}_source`" in text
    runner = CliRunner()
    script = runner.invoke(main, prog_name="idn", env={"_IDN_COMPLETE": f"{shell}_source"})
    assert f"{shell}_complete" in script.output
    words = {"_IDN_COMPLETE": f"{shell}_complete", "COMP_WORDS": "idn eval", "COMP_CWORD": "eval"}
    if shell != "fish":
        words["COMP_CWORD"] = "1"
    assert "evaluate" in runner.invoke(main, prog_name="idn", env=words).output


@every_page
def test_options_in_the_text_exist(page: str) -> None:
    """Also those between the lines: every `idn command --option` that a page names."""
    for line in re.findall(r"`?\$? ?(idn (?:make-|import-|export-)?[a-z]+[^`\n]*)", read(page)):
        words = line.split()
        if words[1] in main.commands:
            options = {"--help", *(o for parameter in main.commands[words[1]].params for o in parameter.opts)}
            for word in words[2:]:
                assert not word.startswith("--") or word.split("=")[0].rstrip(",;.)") in options, line


def test_readme_names_every_command() -> None:
    for name in main.commands:
        assert f"`idn {name}`" in read("README.md") or f"`{name}`" in read("README.md"), name
