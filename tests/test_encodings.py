"""Standard output and error that lack letters: what was done has not failed, whatever it is called."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.drawing import draw_photo
from support.running import COMMAND

from cli import main
from idn_data.terminal import write_json

ENCODINGS = ("cp437", "cp1252", "latin-1", "ascii", "utf-8")
NAME = "Straße 日本 😀 …"


class Terminal(io.TextIOWrapper):
    """A stream of some encoding that refuses what it lacks; as a terminal, it is shown bars."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, errors="strict", newline="")

    def isatty(self) -> bool:
        return True

    def read_all(self) -> bytes:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue()


def run(monkeypatch: pytest.MonkeyPatch, encoding: str, *words: str | Path) -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error of a command."""
    out, err = Terminal(encoding), Terminal(encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            main.main([str(w) for w in words], prog_name="idn")
    assert ended.value.code in (0, 1, 2)
    return int(ended.value.code), out.read_all(), err.read_all()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures whose names no old encoding has."""
    folder = tmp_path / NAME
    folder.mkdir()
    for k in range(2):
        Image.fromarray(draw_photo(60, 64, k)).save(folder / f"{NAME}{k}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IDN_DATA", raising=False)
    return folder


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_kind_of_command(world: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    made = ["make-train", "--scale", "2", "--images", world, "--lr-patch", "5", "--shards", "2"]
    for words in (
        [*made, "--out", f"{NAME}.h5"],
        [*made, "--out", f"{NAME}.h5", "--dry-run"],
        ["inspect", f"{NAME}.1-of-2.h5", "--sheet", f"{NAME}.png"],
        ["make-test", world, "--scale", "2", "--out", f"{NAME} mat"],
        ["evaluate", "bicubic", "--set", world, "--scale", "2", "--per-image", "--csv", f"{NAME}.csv"],
        ["evaluate", "bicubic", "--set", world, "--scale", "2", "--markdown", "-"],
        ["evaluate", "bicubic", "--set", world, "--scale", "2", "--csv", "-"],
        ["upscale", world / f"{NAME}0.png", "--scale", "2", "--out", f"{NAME} large"],
        ["compare", world / f"{NAME}0.png", "--scale", "2", "--box", "3", "3", "40", "40", "--weights", "bicubic"],
        ["fetch"],
        ["--help"],
    ):
        code, out, err = run(monkeypatch, encoding, *words)
        assert code == 0, (words, err)
        assert out or "--csv" in words, words
        assert b"Traceback" not in err


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_errors(world: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    code, _, err = run(monkeypatch, encoding, "inspect", f"{NAME}.h5")
    assert code == 1
    assert b".h5: no such file; idn make-train makes one" in err
    code, _, err = run(monkeypatch, encoding, "make-train", "--scale", NAME)
    assert code == 2
    assert b"Error: Invalid value for '--scale'" in err


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_stays_json(world: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    common = ["make-train", "--scale", "2", "--images", world, "--lr-patch", "5", "--out", f"{NAME}.h5"]
    code, out, err = run(monkeypatch, encoding, *common, "--json", "-")
    assert code == 0, err
    assert [Path(name).name for name in json.loads(out.decode(encoding))["files"]] == [f"{NAME}.h5"]
    code, out, _ = run(monkeypatch, encoding, "inspect", f"{NAME}.h5", "--json", "-")
    assert json.loads(out.decode(encoding))["file"] == f"{NAME}.h5"


def test_names_that_are_no_text_in_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff.png")
    write_json(str(tmp_path / "a.json"), {"file": name, "letter": "é"})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"file": name, "letter": "é"}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="their file systems have only names that are text")
def test_a_file_whose_name_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / os.fsdecode(b"of \xff")
    folder.mkdir()
    Image.fromarray(np.full((60, 64), 9, np.uint8)).save(folder / os.fsdecode(b"a\xff.png"))
    photo = folder / os.fsdecode(b"a\xff.png")
    code, _, err = run(monkeypatch, "utf-8", "upscale", photo, "--scale", "2", "--out", tmp_path / os.fsdecode(b"\xfe"))
    assert code == 0, err
    code, _, err = run(monkeypatch, "utf-8", "evaluate", "bicubic", "--set", folder, "--scale", "2")
    assert code == 1
    assert rb"a\udcff.png" in err
    assert b"the name is not UTF-8; rename the file" in err


def test_the_command_as_a_shell_starts_it(world: Path) -> None:
    words = ["make-train", "--scale", "2", "--images", str(world), "--lr-patch", "5", "--shards", "2", "--out", "é.h5"]
    environment = {**os.environ, "PYTHONIOENCODING": "cp437"}
    done = subprocess.run([*COMMAND, *words], env=environment, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "é.1-of-2.h5 \\u2026 é.2-of-2.h5: ".encode("cp437") in done.stdout
