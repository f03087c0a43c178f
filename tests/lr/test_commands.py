"""`idn make-lr` and `idn identify` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from cli import main


def run(*arguments: str | int | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def last_line(result: Result) -> str:
    assert "Traceback" not in result.output
    return result.stderr.strip().splitlines()[-1]


def test_make_lr(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "lr"
    common = ["make-lr", photos, "--scale", 2, "--scale", 4, "--out", out, "--layout", "div2k", "--quiet"]
    dry = run(*common, "--dry-run")
    assert f"{out}: 10 files of 5 pictures, 0 of them there already" in dry.stdout
    assert f"  {out}/X2/harbourx2.png  of {photos}/harbour.bmp" in dry.stdout
    files = json.loads(run(*common, "--dry-run", "--json", "-").stdout)["files"]
    assert not out.exists()
    assert run(*common).stdout.startswith(f"{out}: 10 files made, 0 kept, ")
    again = json.loads(run(*common, "--json", "-").stdout)
    assert (again["files"], again["made"], again["kept"], again["skipped"]) == (files, 0, 10, [])


def test_make_lr_says_what_is_wrong(photos: Path, tmp_path: Path) -> None:
    common = ["make-lr", photos, "--out", tmp_path / "lr"]
    for options, text in (
        ([], "Missing option '--scale'"),
        (["--scale", 1], "scale must be above 1"),
        (["--scale", 4, "--sigma", 2], "sigma has no effect with degradation 'bicubic'"),
        (["--scale", 4, "--degradation", "blur", "--no-antialias"], "antialias has no effect with degradation 'blur'"),
        (["--scale", 4, "--boundary", "circular"], "unknown boundary 'circular' with --degradation bicubic"),
    ):
        result = run(*common, *options)
        assert result.exit_code == 2 and text in last_line(result), result.output
    (photos / "empty.png").touch()
    bad = run(*common, "--scale", 4)
    assert bad.exit_code == 1
    assert last_line(bad) == ("idn: 1 image(s) cannot be used; nothing was written; mend them, or leave them out with "
                              "--skip-bad")  # fmt: skip
    good = run(*common, "--scale", 4, "--skip-bad")
    assert good.exit_code == 0 and f"left out: {photos}/empty.png: the file is empty" in good.stderr


def test_identify(photos: Path, tmp_path: Path) -> None:
    run("make-lr", photos, "--scale", 4, "--out", tmp_path / "lr", "--boundary", "replicate", "--quiet")
    for grey in ("stone", "water"):
        (tmp_path / "lr" / f"{grey}.png").unlink()
    said = run("identify", tmp_path / "lr", photos, "--quiet")
    assert said.exit_code == 0, said.output
    lines = said.stdout.splitlines()
    assert lines[0].startswith("matlab bicubic, boundary replicate, antialiasing, x4: 0 of ")
    assert lines[1] == f"made again by: idn make-lr {photos} --out LR --scale 4 --boundary replicate"
    assert "compared: harbour.png, meadow.png, street.png" in lines
    facts = json.loads(run("identify", tmp_path / "lr", photos, "--quiet", "--json", "-").stdout)
    wanted = {"maker": "matlab", "method": "bicubic", "boundary": "replicate", "through": "uint8", "differing": 0}
    assert wanted.items() <= facts["verdict"].items()
    assert len(facts["candidates"]) > 50
    wrong = run("identify", photos, tmp_path / "lr", "--quiet")
    assert wrong.exit_code == 1 and "give LR first, then HR" in last_line(wrong)
