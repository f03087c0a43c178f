"""The files of --json, --csv and --markdown: looked at before the work, and written when the result is printed."""

from __future__ import annotations

import errno
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from support.patchsamples import write

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
        ("score {0}/photos --gt {0}/photos --scale 2 --dry-run --json", "equal names"),
        *((f"score {{0}}/photos --gt {{0}}/photos --scale 2 {option}", "mean") for option in OPTIONS),
        ("validate --data-root {0} --json", "references agree"),
    ],
)
def test_a_result_is_not_lost_with_its_file(
    words: str, said: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may be full at the end."""
    make_lr(photos / "water.png", tmp_path / "lr", 4)
    write(tmp_path / "sample.h5")

    def fail(path: Path, text: str, force: bool = False) -> None:
        raise OSError(errno.ENOSPC, "not written, the disk is full", str(path))

    monkeypatch.setattr("idn_data.atomic.write_text", fail)
    result = run(*words.format(tmp_path).split(), tmp_path / "report")
    assert result.exit_code == 1, result.output
    assert result.stderr.splitlines()[-1] == f"idn: {tmp_path}/report: not written, the disk is full"
    assert said in result.stdout
