"""The files of --json, --csv and --markdown: looked at before the work, and written when the result is printed."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from support.patchsamples import write
from support.running import COMMAND

from cli import main
from idn_data.lr.make import make_lr

OPTIONS = ("--json", "--csv", "--markdown")
REPORTS = [
    (name, option.opts[0])
    for name, command in sorted(main.commands.items())
    for option in command.params
    if isinstance(option, click.Option) and option.opts[0] in OPTIONS
]


def run(*arguments: str | int | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_there_are_reports() -> None:
    assert {option for _, option in REPORTS} == {*OPTIONS} and len(REPORTS) > 10


@pytest.mark.parametrize(("command", "option"), REPORTS)
def test_a_target_that_cannot_be_written_is_refused_at_once(command: str, option: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target, said in (
        (tmp_path, f"{tmp_path} is a folder; name a file"),
        (tmp_path / "file" / "out", f"{tmp_path}/file/out: not written: a part of its path is a file, not a folder"),
    ):
        result = run(command, option, target)
        assert result.exit_code == 1 and result.stdout == ""
        assert result.stderr.startswith(f"idn: {said}") and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fetch --data-root {0} --json", "data root: "),
        ("make-train --scale 2 --images {0}/photos --out {0}/a.h5 --lr-patch 8 --dry-run --json", "patches"),
        ("make-train --scale 2 --images {0}/photos --out {0}/a.h5 --lr-patch 8 --json", "patches"),
        ("make-lr {0}/photos --scale 2 --out {0}/new --dry-run --json", "5 files of 5 pictures"),
        ("make-lr {0}/photos --scale 2 --out {0}/new --json", "5 files made"),
        ("identify {0}/lr/water.png {0}/photos/water.png --json", "made again by: "),
        ("inspect {0}/sample.h5 --json", "patches"),
        *((f"evaluate bicubic --set {{0}}/photos --scale 2 {option}", "SHA-256 of the images:") for option in OPTIONS),
        ("score {0}/sr --gt {0}/photos --scale 2 --dry-run --json", "equal names"),
        *((f"score {{0}}/sr --gt {{0}}/photos --scale 2 {option}", "mean") for option in OPTIONS),
        ("validate --data-root {0} --json", "references agree"),
    ],
)
def test_a_result_is_not_lost_with_its_file(
    words: str, said: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may be full at the end."""
    make_lr(photos / "water.png", tmp_path / "lr", 4)
    write(tmp_path / "sample.h5")
    shutil.copytree(photos, tmp_path / "sr")

    def fail(path: Path, text: str, force: bool = False) -> None:
        raise OSError(errno.ENOSPC, "not written, the disk is full", str(path))

    monkeypatch.setattr("idn_data.atomic.write_text", fail)
    result = run(*words.format(tmp_path).split(), tmp_path / "report")
    assert result.exit_code == 1, result.output
    assert result.stderr.splitlines()[-1] == f"idn: {tmp_path}/report: not written, the disk is full"
    assert said in result.stdout


@pytest.mark.parametrize("words", ["evaluate bicubic --set {0}/photos --scale 2 -q", "validate -q --data-root {0}"])
def test_files_are_written_where_the_reader_of_the_text_has_gone(photos: Path, tmp_path: Path, words: str) -> None:
    """As that of ``idn … | head``."""
    targets = [tmp_path / "a.json", tmp_path / "a.csv"][: 1 if "validate" in words else 2]
    options = [str(word) for target in targets for word in (f"--{target.suffix[1:]}", target)]
    read, write_end = os.pipe()
    os.close(read)
    with os.fdopen(write_end, "w") as closed:
        command = [*COMMAND, *words.format(tmp_path).split(), *options]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 1 and done.stderr == ""
    assert all(target.stat().st_size > 100 for target in targets)


@pytest.mark.parametrize("words", ["evaluate bicubic --set {0}/photos", "score {0}/sr --gt {0}/photos --scale 2"])
def test_two_reports_have_two_places(tmp_path: Path, words: str) -> None:
    for place in ("-", str(tmp_path / "both")):
        result = run(*words.format(tmp_path).split(), "--csv", place, "--json", place)
        assert result.exit_code == 2
        assert f"--csv and --json both name {place}; give each a file of its own" in result.stderr


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="no such name here")
def test_what_is_printed_to_a_file_is_not_replaced(tmp_path: Path) -> None:
    """`/dev/stdout` leads to the file that a shell opened; a report is added there."""
    with (tmp_path / "log").open("ab") as log:
        log.write(b"precious\n")
        log.flush()
        command = [*COMMAND, "fetch", "--data-root", str(tmp_path), "--json", "/dev/stdout"]
        subprocess.run(command, stdout=log, check=True, timeout=300)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[0] == "precious" and any(line.startswith("data root: ") for line in lines)
    assert lines[-1] == "]" and json.loads("\n".join(lines[lines.index("[") :]))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("closed", [False, True])
def test_progress_that_cannot_be_written_ends_no_work(photos: Path, tmp_path: Path, closed: bool) -> None:
    shutil.copytree(photos, tmp_path / "sr")
    words = ["score", str(tmp_path / "sr"), "--gt", str(photos), "--scale", "2", "--json", str(tmp_path / "a.json")]
    shell = " ".join(map(shlex.quote, [*map(str, COMMAND), *words])) + (" 2>&-" if closed else " 2>/dev/full")
    done = subprocess.run(["sh", "-c", shell], stdout=subprocess.PIPE, text=True, timeout=300)
    assert done.returncode == 0 and "mean" in done.stdout and "scoring" not in done.stdout
    assert len(json.loads((tmp_path / "a.json").read_text())) == 1


def test_an_empty_name_is_no_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    before = sorted(photos.iterdir())
    make_lr_of_nothing = ["make-lr", "", "--scale", "2", "--out", "x"]
    for words in (["upscale", "", "--scale", "2"], ["fetch", "--data-root", ""], make_lr_of_nothing):
        result = run(*words)
        assert result.exit_code == 2 and "an empty name; give a path, or . for this folder" in result.stderr
    assert sorted(photos.iterdir()) == before
