"""The commands as a user meets them: exit codes, one-line errors, files, help."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result

from cli import main
from idn_data.images import read_image

COMMANDS = sorted(main.commands)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def check_failure(result: Result, code: int, text: str) -> None:
    assert result.exit_code == code, result.output
    last = result.stderr.strip().splitlines()[-1]
    assert text in last
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"  idn {command}" in result.output
    assert max(map(len, result.output.splitlines())) <= 100


def test_help_imports_neither_numba_nor_torch_nor_numpy() -> None:
    code = (
        "import sys; sys.argv = ['idn', *sys.argv[1:]]; from cli import main\n"
        "try: main()\nexcept SystemExit as e: assert e.code == 0, e.code\n"
        "bad = {'numba', 'torch', 'numpy', 'h5py', 'scipy'} & set(sys.modules); assert not bad, bad"
    )
    for arguments in ([], *([c] for c in COMMANDS)):
        subprocess.run([sys.executable, "-c", code, *arguments, "--help"], check=True, stdout=subprocess.DEVNULL)


def test_wrong_usage_exits_with_2(photos: Path) -> None:
    for arguments in (
        ["make-train"],
        ["make-train", "--scale", "5"],
        ["no-such"],
        ["evaluate", "nonsense"],
        ["inspect"],
    ):
        assert run(*arguments).exit_code == 2, arguments
    check_failure(run("evaluate", "nonsense"), 2, "'nonsense' is no method; bicubic")


def test_make_train_inspect_verify(photos: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    out = root / "train_data" / "idn_train_x4.h5"
    common = ["make-train", "--scale", "4", "--images", photos, "--data-root", root]
    dry = run(*common, "--dry-run", "--json", "-")
    assert dry.exit_code == 0
    estimate = json.loads(dry.stdout)
    assert estimate["files"] == [str(out)]
    assert not root.exists()

    made = run(*common)
    assert made.exit_code == 0, made.output
    assert f"{out}: {estimate['patches']:,} patches (LR 11x11, GT 44x44) of {estimate['images']} images" in made.stdout
    with h5py.File(out) as file:
        assert file["lr"].shape == (estimate["patches"], 1, 11, 11)
    check_failure(run(*common), 1, "exists already")

    sheet = tmp_path / "sheet.png"
    seen = run("inspect", out, "--sheet", sheet, "--verify", "--images", photos)
    assert seen.exit_code == 0, seen.output
    assert f"all {estimate['patches']:,} patches are what the images yield" in seen.stdout
    assert sheet.stat().st_size > 1000

    with h5py.File(out, "r+") as file:
        file["gt"][3, 0, 5, 5] += 0.5
    check_failure(run("inspect", out, "--verify", "--images", photos), 1, f"1 of {estimate['patches']} patches differ")
    assert json.loads(run("inspect", out, "--json", "-").stdout)["patches"] == estimate["patches"]


def test_bad_images_are_listed_and_nothing_is_written(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(photos, folder)
    (folder / "empty.png").touch()
    (folder / "words.jpg").write_text("no picture")
    out = tmp_path / "out.h5"
    result = run("make-train", "--scale", "4", "--images", folder, "--out", out)
    check_failure(result, 1, "2 image(s) cannot be used; nothing was written")
    assert "empty.png: the file is empty" in result.stderr
    assert "words.jpg: not an image" in result.stderr
    assert not out.exists()
    skipped = run("make-train", "--scale", "4", "--images", folder, "--out", out, "--skip-bad")
    assert skipped.exit_code == 0, skipped.output
    assert skipped.stderr.count("left out:") == 2
    with h5py.File(out) as file:
        assert file.attrs["skipped_count"] == 2


def test_missing_data_names_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    check_failure(run("make-train", "--scale", "2"), 1, "name the data root with --data-root or IDN_DATA")
    check_failure(run("make-test", "Set5"), 1, "Set5 is not in data/test_data/Set5")
    check_failure(run("evaluate", "bicubic"), 1, "no test set below")
    check_failure(run("inspect", "missing.h5"), 1, "missing.h5: no such file; idn make-train makes one")


def test_make_test_then_evaluate_from_images_and_from_mat(photos: Path, tmp_path: Path) -> None:
    mat = tmp_path / "mat"
    made = run("make-test", photos, "--scale", "2", "--out", mat)
    assert made.exit_code == 0, made.output
    scores = {}
    for where in (photos, mat):
        result = run("evaluate", "bicubic", "--set", where, "--scale", "2", "--json", "-")
        assert result.exit_code == 0, result.output
        scores[where] = [(r["protocol"], r["psnr"], r["ssim"]) for r in json.loads(result.stdout)]
    assert scores[photos] == scores[mat]


def test_evaluate_writes_csv_and_json(photos: Path, tmp_path: Path) -> None:
    files = tmp_path / "scores.json", tmp_path / "scores.csv"
    result = run("evaluate", "bicubic", "--set", photos, "--scale", "3", "--json", files[0], "--csv", files[1])
    assert result.exit_code == 0, result.output
    rows = json.loads(files[0].read_text())
    table = list(csv.DictReader(io.StringIO(files[1].read_text())))
    wanted = ["set", "scale", "method", "protocol", "images", "psnr", "ssim", "published_psnr", "published_ssim"]
    assert list(rows[0])[: len(wanted)] == list(table[0])[: len(wanted)] == wanted
    assert [r["protocol"] for r in rows] == ["float", "uint8"]
    assert [float(r["psnr"]) for r in table] == [r["psnr"] for r in rows]
    assert "Y channel, scale pixels shaved" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_evaluate_prints_the_published_baseline(data_root: Path) -> None:
    result = run("evaluate", "bicubic", "--set", "Set5", "--scale", "4", "--data-root", data_root)
    assert "28.43  0.8104  28.43/0.8104  +0.00/+0.0000" in result.stdout
    assert "the authors' files" in result.stdout


def test_validate(tmp_path: Path) -> None:
    result = run("validate", "--data-root", tmp_path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[-1] == f"{len(lines) - 1} of {len(lines) - 1} references agree"
    assert all(line.startswith("ok ") for line in lines[:-1])


def test_validate_fails_on_a_wrong_reference(tmp_path: Path) -> None:
    case = {"name": "wrong", "input": [[1.0, 2.0], [3.0, 4.0]], "output": [[2.5001]], "size": [1, 1]}
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps({"cases": [case]}))
    result = run("validate", "--reference", path, "--data-root", tmp_path)
    check_failure(result, 1, "1 reference(s) disagree, wrong first")
    assert "FAIL  wrong.json: wrong" in result.stdout
    check_failure(run("validate", "--reference", tmp_path / "none.mat"), 1, "no such file or folder")


def test_networks_through_the_same_commands(photos: Path, tmp_path: Path) -> None:
    """train, evaluate, upscale and compare, one after the other, on a network of a few steps."""
    root, run_folder = tmp_path / "root", tmp_path / "run"
    made = run("make-train", "--scale", "4", "--images", photos, "--data-root", root, "--lr-patch", "6", "--quiet")
    assert made.exit_code == 0, made.output
    options = ["--recipe", "express", "--steps", "3", "--batch", "4", "--validate-set", photos, "--quiet"]
    trained = run("train", "--data-root", root, "--run", run_folder, *options)
    assert trained.exit_code == 0, trained.output
    assert "IDN x4, pretrain:" in trained.stdout
    weights = run_folder / "final.safetensors"
    assert weights.is_file()

    images = tmp_path / "sr"
    scored = run(
        "evaluate", "bicubic", weights, "--set", photos, "--scale", "4", "--save-images", images, "--json", "-"
    )
    assert scored.exit_code == 0, scored.output
    assert [r["method"] for r in json.loads(scored.stdout)] == ["bicubic"] * 2 + ["final"] * 2
    assert len(list(images.glob("*_x4_final.png"))) == 5
    check_failure(run("evaluate", weights, "--set", photos, "--scale", "2"), 2, "is made for scale 4 alone")

    enlarged = run("upscale", photos / "street.png", "--weights", weights, "--out", tmp_path / "large", "--quiet")
    assert enlarged.exit_code == 0, enlarged.output
    assert read_image(tmp_path / "large" / "street_x4.png").shape == (4 * 131, 4 * 122, 3)

    figure = tmp_path / "figure.png"
    box = ["--box", "10", "10", "60", "50"]
    drawn = run("compare", photos / "street.png", "--scale", "4", *box, "--weights", weights, "--out", figure)
    assert drawn.exit_code == 0, drawn.output
    assert figure.stat().st_size > 5000


def test_train_without_patches_names_the_next_step(tmp_path: Path) -> None:
    missing = run("train", "--data-root", tmp_path, "--scale", "3")
    check_failure(missing, 1, "make one with: idn make-train --scale 3 --stage pretrain")
    check_failure(run("train", "--data", tmp_path / "none.h5"), 1, "none.h5: no such file")


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("idn_train.checkpoint", "idn_train.network", "idn_train.session", "idn_train.upscale"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run("upscale", tmp_path / "a.png", "--weights", tmp_path / "w.safetensors")
    check_failure(result, 1, "networks need torch, which is not installed; pip install 'idn[train]'")


def test_unforeseen_errors_show_no_traceback(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("idn_data.trainset.make_train", fail)
    result = run("make-train", "--scale", "4", "--images", photos, "--out", tmp_path / "a.h5")
    check_failure(result, 1, "internal error, please report it (RuntimeError: surprise)")


def test_output_that_cannot_be_written(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("make-train", "--scale", "4", "--images", photos, "--out", tmp_path / "file" / "a.h5")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
