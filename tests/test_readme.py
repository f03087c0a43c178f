"""README's blocks, each one run: the session as printed, every command on small pictures, the Python."""

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
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SETS = ("Set5", "Set14", "B100", "Urban100")
WEIGHTS = "original_x4.safetensors"


def find_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.M | re.S)


def find_commands(start: str) -> list[list[str]]:
    """The words of each line of README's sh blocks that starts so, comments left out."""
    lines = [line for block in find_blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(start)]


def run(words: list[str]) -> Result:
    assert words[0] == "idn"
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, f"{shlex.join(words)}\n{result.output}"
    return result


@pytest.fixture(scope="module")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as README's reader has it, of small pictures: data, photos, a .caffemodel."""
    folder = tmp_path_factory.mktemp("readme")
    for k, place in enumerate(("train_data/291", *(f"test_data/{name}" for name in SETS))):
        (folder / "data" / place).mkdir(parents=True)
        for n in range(2 if k else 8):  # as many as README's shards
            Image.fromarray(draw_photo(130, 120, 10 * k + n)).save(folder / "data" / place / f"{n}.bmp")
    Image.fromarray(draw_photo(60, 50, 90)).save(folder / "photo.jpg")
    Image.fromarray(draw_photo(180, 200, 91)).save(folder / "photo.png")
    (folder / "photos").mkdir()
    Image.fromarray(draw_photo(20, 30, 92)).save(folder / "photos" / "a.png")
    (folder / "IDN_x4.caffemodel").write_bytes(encode_net(draw_blobs(), stride=4))
    return folder


def test_every_block_is_run_somewhere() -> None:
    languages = re.findall(r"^```(\w*)\n.*?^```", TEXT, re.M | re.S)
    assert set(languages) <= {"console", "sh", "python"}
    assert len(find_commands("")) == sum(len(find_commands(f"{start} ")) for start in ("make", "idn"))


def test_make_has_the_targets() -> None:
    commands = find_commands("make ")
    assert [words[1] for words in commands][:2] == ["demo", "test"]
    for words in commands:
        subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, check=True, capture_output=True)


def test_commands(small_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line in its order, as written but for the length of trainings, in one folder; not those of a far cluster."""
    monkeypatch.chdir(small_world)
    monkeypatch.delenv("IDN_DATA", raising=False)
    commands = [words for words in find_commands("idn ") if words[1] != "fetch" and "tcp://" not in " ".join(words)]
    assert {words[1] for words in commands} >= {"make-train", "make-test", "train", "evaluate", "upscale", "report"}
    for words in commands:
        if words[1] == "train":  # three steps instead of hours
            for option in ("--minutes", "--steps", "--epochs"):
                if option in words:
                    del words[words.index(option) : words.index(option) + 2]
            words += ["--steps", "3", "--batch", "4", "--precision", "float32", "--restart"]
        elif words[1] in (
            "make-train",
            "make-test",
            "upscale",
            "report",
            "compare",
            "evaluate",
            "average",
            "export-onnx",
        ):
            words += ["--force"]
        elif words[1] == "validate":  # our Set5 is not the authors', which it would say
            words += ["--data-root", "nowhere"]
        run(words)
    assert Path("runs/pretrain_x4/final.safetensors").is_file()
    assert Path(WEIGHTS).is_file()


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
    commands = find_commands("idn fetch")
    assert len(commands) >= 3
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
    (session,) = find_blocks("console")
    steps = re.findall(r"^\$ (idn .*)\n((?:(?!\$ ).*\n)*)", session, re.M)
    assert len(steps) >= 3
    for command, printed in steps:
        words = shlex.split(command)
        if words[1] == "make-train":  # 3 GB: the plan says as much
            (count,) = re.findall(r"([\d,]+) patches", printed)
            assert f"patches     {count}\n" in run([*words, "--dry-run"]).output
        else:
            assert run(words).stdout.strip() == printed.strip()


def test_python_runs(small_world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_world)
    blocks = find_blocks("python")
    assert blocks
    for block in blocks:
        code = compile(block, "README.md", "exec")
        if "SLURMCluster" not in block:  # there is no Slurm here: its Python is compiled, its command read
            exec(code, {})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """What the shells are told to source is there, and completes a command's name."""
    assert f"_IDN_COMPLETE={shell}_source" in TEXT or f"`{shell}_source`" in TEXT
    runner = CliRunner()
    script = runner.invoke(main, prog_name="idn", env={"_IDN_COMPLETE": f"{shell}_source"})
    assert f"{shell}_complete" in script.output
    words = {"_IDN_COMPLETE": f"{shell}_complete", "COMP_WORDS": "idn eval", "COMP_CWORD": "eval"}
    if shell != "fish":
        words["COMP_CWORD"] = "1"
    assert "evaluate" in runner.invoke(main, prog_name="idn", env=words).output


def test_options_in_the_text_exist() -> None:
    """Also those between the lines: every `idn command --option` that README names."""
    for line in re.findall(r"`?\$? ?(idn (?:make-|import-|export-)?[a-z]+[^`\n]*)", TEXT):
        words = line.split()
        if words[1] in main.commands:
            options = {option for parameter in main.commands[words[1]].params for option in parameter.opts}
            for word in words[2:]:
                assert not word.startswith("--") or word.split("=")[0].rstrip(",;.)") in options, line
