from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support.drawing import draw_photo

from idn_data.images.sources import check_outputs
from idn_data.lr.plan import plan_lr
from idn_data.namesakes import Targets, tells_case
from idn_data.patches.augmented import check_names
from idn_data.scores.maketest import make_test
from idn_train.outputs import plan_outputs

A, B, C = Path("in/a.png"), Path("in/A.png"), Path("other/a.png")


def test_a_path_is_taken_once(tmp_path: Path) -> None:
    targets = Targets()
    assert targets.take(tmp_path / "a", A) is None
    assert targets.take(tmp_path / "b", B) is None
    assert targets.take(tmp_path / "a", C) == A
    assert targets.take(tmp_path / "a", A) == A


@pytest.mark.parametrize("tells", [True, False])
def test_case_counts_where_the_disk_tells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    monkeypatch.setattr("idn_data.namesakes.tells_case", lambda folder: tells)
    targets = Targets()
    assert targets.take(tmp_path / "a", A) is None
    assert targets.take(tmp_path / "A", B) == (None if tells else A)
    assert targets.take(tmp_path / "A", C) == (B if tells else A)


def test_the_disk_is_asked_in_the_first_folder_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: asked.append(path) or exists(path))
    monkeypatch.setattr(sys, "platform", "unknown")
    assert tells_case(tmp_path / "not" / "there") == (not exists(tmp_path.with_name(tmp_path.name.upper())))
    assert [path.parent for path in asked] == [tmp_path]
    assert asked[0].name.startswith(".IDN-CASE-")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_both_names_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: path.name.startswith(".IDN-CASE-"))
    assert not tells_case(tmp_path)


@pytest.mark.parametrize(("platform", "tells"), [("linux", True), ("win32", False), ("darwin", False)])
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, tells: bool
) -> None:
    def refuse(*given: object, **options: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    monkeypatch.setattr(sys, "platform", platform)
    assert tells_case(tmp_path) == tells


COMMANDS: dict[str, Callable[[Path, Path], object]] = {
    "make-lr": lambda images, out: plan_lr(images, out, 2),
    "make-test": lambda images, out: make_test(images, out, [2]),
    "make-train": lambda images, out: check_names(images, out),
    "upscale": lambda images, out: plan_outputs([images], out, 2),
    "several sets": lambda images, out: check_outputs(sorted(images.iterdir()), lambda path: out / path.name),
}


@pytest.mark.skipif(not tells_case(Path(__file__).parent), reason="this disk takes a.png and A.png for one file")
@pytest.mark.parametrize("command", COMMANDS)
def test_two_pictures_would_become_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(draw_photo(48, 48, 0)).save(images / "a.png")
    shutil.copyfile(images / "a.png", images / "A.png")
    out = tmp_path / "out"
    COMMANDS[command](images, out)
    shutil.rmtree(out, ignore_errors=True)
    monkeypatch.setattr("idn_data.namesakes.tells_case", lambda folder: False)
    with pytest.raises(ValueError, match=r"A\.png and .*a\.png would both become .*; rename or leave out one"):
        COMMANDS[command](images, out)
    assert not out.exists()
