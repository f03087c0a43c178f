"""The commands as a user meets them: exit codes, one-line errors, files, help."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support.caffefiles import draw_blobs, encode_net
from support.patchsamples import drop_checksums

from cli import main
from idn_data.images.decode import read_image
from idn_data.matlab.resize import imresize
from idn_data.patches.patchfile import PatchFile
from idn_data.pictures import draw_patches
from idn_data.scores.call import FUNCTIONS
from idn_data.scores.figure import draw_figure
from idn_data.scores.references import read_shipped
from idn_train.methods import open_method
from idn_train.weightfile import find_weights

COMMANDS = sorted(main.commands)


def run(*arguments: str | int | Path) -> Result:
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
    with PatchFile(out) as patches:
        assert np.array_equal(np.asarray(Image.open(sheet)), np.asarray(draw_patches(patches)))

    assert f"all {estimate['patches']:,} patches and the attributes are as written" in seen.stdout
    plain = run("inspect", out, "--verify", "--data-root", tmp_path / "none")  # no images are needed
    assert plain.exit_code == 0, plain.output
    assert "are what the images yield" not in plain.output

    with h5py.File(out, "r+") as file:
        file["gt"][3, 0, 5, 5] += 0.5
    damaged = run("inspect", out, "--verify", "--json", tmp_path / "facts.json")
    check_failure(damaged, 1, f"{out}: damaged in /gt row(s) 3; copy or make the file again")
    assert json.loads((tmp_path / "facts.json").read_text())["damaged_rows"] == {"lr": [], "gt": [3]}
    for way in (["--images", photos], ["--against-images", "--images", photos]):
        check_failure(run("inspect", out, *way), 1, f"1 of {estimate['patches']} patches differ")
    check_failure(run("inspect", out, "--verify", "--images", photos), 1, "damaged in /gt row(s) 3")
    check_failure(run("inspect", out, "--against-images", "--data-root", tmp_path), 1, "291 is not in")
    assert json.loads(run("inspect", out, "--json", "-").stdout)["patches"] == estimate["patches"]


def test_make_train_with_an_offset(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "offset.h5"
    common = ["make-train", "--scale", "4", "--images", photos, "--lr-patch", "19", "--storage", "uint8", "--out", out]
    check_failure(run(*common, "--offset", "76", "0"), 1, "the offset must be two whole numbers in 0…75")
    check_failure(run(*common, "--offset", "1", "-1"), 2, "-1")
    augmented = run(*common, "--offset", "1", "2", "--save-augmented", tmp_path / "aug")
    check_failure(augmented, 2, "--save-augmented saves whole images; give it without --offset")
    made = run(*common, "--offset", "1", "2")
    assert made.exit_code == 0, made.output
    seen = run("inspect", out, "--verify", "--against-images", "--images", photos)
    assert seen.exit_code == 0, seen.output
    assert "[1, 2]" in seen.output


def test_make_train_by_a_teacher(photos: Path, tmp_path: Path) -> None:
    weights, out = find_weights("idn", 4), tmp_path / "taught.h5"
    common = ["make-train", "--scale", "4", "--images", photos, "--lr-patch", "19", "--storage", "uint8", "--out", out]
    check_failure(run(*common, "--teacher", tmp_path / "no.safetensors"), 1, "no.safetensors")
    check_failure(run(*common, "--teacher", find_weights("idn", 3)), 1, "made for scale 3, not 4; name weights of that")
    dask = run(*common, "--teacher", weights, "--shards", "2", "--dask", "local")
    check_failure(dask, 2, "--teacher does not go with --dask; make the shards here, without it")
    made = run(*common, "--teacher", weights)
    assert made.exit_code == 0, made.output
    seen = run("inspect", out, "--verify")
    assert seen.exit_code == 0, seen.output
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in seen.output
    check_failure(run("inspect", out, "--against-images", "--images", photos), 1, "its GT is a teacher's")
    trained = run("train", "--scale", "4", "--stage", "finetune", "--data", out, "--init", weights, "--steps", "2",
                  "--batch", "4", "--out", tmp_path / "run", "--validate-set", tmp_path / "none")  # fmt: skip
    assert trained.exit_code == 0, trained.output


def test_inspect_verify_without_checksums(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    assert run("make-train", "--scale", "4", "--images", photos, "--out", out).exit_code == 0
    drop_checksums(out)
    check_failure(run("inspect", out, "--verify"), 1, "out.h5: holds no checksums: made by an older idn")
    seen = run("inspect", out, "--verify", "--images", photos)
    assert seen.exit_code == 0, seen.output
    assert "are what the images yield" in seen.output
    assert "are as written" not in seen.output


def test_make_train_keeps_finished_shards(photos: Path, tmp_path: Path) -> None:
    arguments = ["make-train", "--scale", "4", "--images", photos, "--out", tmp_path / "set.h5", "--shards", "2"]
    first = run(*arguments)
    assert first.exit_code == 0, first.output
    assert "kept" not in first.output
    (tmp_path / "set.1-of-2.h5").unlink()
    again = run(*arguments, "--quiet")
    assert again.exit_code == 0, again.output
    assert "1 of 2 shards stood already and were kept; --force makes them anew" in again.stdout
    assert json.loads(run(*arguments, "--quiet", "--json", "-").stdout)["kept"] == 2
    check_failure(run(*arguments, "--seed", "3"), 1, "with seed 0, now 3")
    assert run(*arguments, "--seed", "3", "--force").exit_code == 0


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
    remedy = "; nothing was written; mend them, or leave them out with --skip-bad"
    assert result.stderr.rstrip().endswith(remedy)
    other = run("evaluate", "bicubic", "--set", folder, "--scale", "2")  # which has no such option
    check_failure(other, 1, "2 image(s) cannot be used; nothing was written; mend them, or take other images")
    assert "--skip-bad" not in other.output
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
    scores: dict[tuple[str, Path], list[tuple[str, float, float]]] = {}
    for border in ("symmetric", "replicate"):
        mat = tmp_path / border
        made = run("make-test", photos, "--scale", "2", "--scale", "8", "--out", mat, "--boundary", border)
        assert made.exit_code == 0, made.output
        for where in (photos, mat):
            result = run("evaluate", "bicubic", "--set", where, "--scale", "2", "--boundary", border, "--json", "-")
            assert result.exit_code == 0, result.output
            scores[border, where] = [(r["protocol"], r["psnr"], r["ssim"]) for r in json.loads(result.stdout)]
        assert scores[border, photos] == scores[border, mat]
    assert scores["symmetric", photos] != scores["replicate", photos]
    again = run("make-test", photos, "--scale", "3", "--out", tmp_path / "replicate")
    check_failure(again, 1, "was made with the border replicate, now symmetric; choose another folder with --out")


def test_two_sets_that_would_go_to_one_folder(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "other" / photos.name).mkdir(parents=True)
    for sets in ((photos, tmp_path / "other" / photos.name), (photos, f"{photos}/../{photos.name}")):
        check_failure(run("make-test", *sets, "--out", tmp_path / "mat"), 1, "would both become")
    assert not (tmp_path / "mat").exists()


def test_make_train_by_the_older_border(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "older.h5"
    made = run("make-train", "--scale", "4", "--images", photos, "--out", out, "--boundary", "replicate")
    assert made.exit_code == 0, made.output
    seen = run("inspect", out, "--verify", "--images", photos)
    assert seen.exit_code == 0, seen.output
    assert "boundary          replicate\n" in seen.stdout
    assert "patches are what the images yield" in seen.stdout


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
    assert "Y channel, scale pixels shaved, replicate borders of LR" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_evaluate_prints_the_published_baseline(data_root: Path) -> None:
    result = run("evaluate", "bicubic", "--set", "Set5", "--scale", "4", "--data-root", data_root)
    assert "28.43  0.8104  28.43/0.8104  +0.00/+0.0000" in result.stdout
    assert "the authors' files" in result.stdout


def test_validate(tmp_path: Path) -> None:
    result = run("validate", "--data-root", tmp_path)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    heads = [line.partition(": ") for line in lines[:-1] if not line.startswith("ok ")]
    assert [head for head, _, _ in heads][:2] == ["imresize", "rgb2ycbcr"]  # the function; below it its references
    assert {head for head, _, _ in heads} == {"imresize", *FUNCTIONS}
    assert all(re.fullmatch(r"(\d+ MATLAB's own)?(, )?(\d+ exact arithmetic)?", rest) for _, _, rest in heads)
    n = len(lines) - 1 - len(heads)
    own, exact = (
        sum(int(k) for _, _, rest in heads for k in re.findall(rf"(\d+) {what}", rest)) for what in ("M", "e")
    )
    assert lines[-1] == f"{n} of {n} references agree: {own} MATLAB's own, {exact} exact arithmetic"


def test_validate_leaves_out_another_set5(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = list(read_shipped())[:3]
    monkeypatch.setattr("idn_data.scores.references.read_shipped", lambda: few)
    (tmp_path / "test_data").mkdir()
    photos.rename(tmp_path / "test_data" / "Set5")
    result = run("validate", "--quiet", "--data-root", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("3 of 3 references agree: ") and "published" not in result.stdout
    said = f"left out: the published scores: {tmp_path}/test_data/Set5 is not the authors' Set5, file for file; "
    assert result.stderr.startswith(f"{said}idn fetch Set5 gets that") and result.stderr.count("\n") == 1


def test_validate_says_which_border_a_matlab_has(tmp_path: Path) -> None:
    step = [[0.0, 1.0, 5.0, 2.0]] * 4
    case = {"name": "old", "input": step, "output": imresize(np.array(step), 0.5, boundary="replicate").tolist()}
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"cases": [case | {"scale": 0.5}]}))
    result = run("validate", "--quiet", "--reference", path, "--data-root", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "old.json: made by a MATLAB with replicate borders (1)"


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
    options = ["--preset", "express", "--steps", "3", "--batch", "4", "--validate-set", photos, "--quiet"]
    trained = run("train", "--data-root", root, "--out", run_folder, *options)
    assert trained.exit_code == 0, trained.output
    assert "IDN x4, pretrain:" in trained.stdout
    weights = run_folder / "final.safetensors"
    assert weights.is_file()

    images = tmp_path / "sr"
    scored = run(
        "evaluate", "bicubic", weights, "--set", photos, "--scale", "4", "--save-images", images, "--json", "-"
    )
    assert scored.exit_code == 0, scored.output
    assert [r["method"] for r in json.loads(scored.stdout)] == ["bicubic"] * 2 + [run_folder.name] * 2
    assert len(list(images.glob(f"*_x4_{run_folder.name}.png"))) == 5
    check_failure(run("evaluate", weights, "--set", photos, "--scale", "2"), 2, "is made for scale 4 alone")

    best, name = run_folder / "best.safetensors", run_folder.name
    both = run("evaluate", best, weights, weights, "--set", photos, "--protocol", "float", "--json", "-")
    assert [r["method"] for r in json.loads(both.stdout)] == [name, f"{name} final", f"{name} final (3)"]
    check_failure(run("evaluate", weights, "--set", photos, "--save-images", images), 1, "exists already")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    again = run("train", "--data-root", root, "--out", run_folder, *options)
    assert again.exit_code == 0, again.output
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers

    enlarged = run("upscale", photos / "street.png", "--weights", weights, "--out", tmp_path / "large", "--quiet")
    assert enlarged.exit_code == 0, enlarged.output
    assert read_image(tmp_path / "large" / "street_x4.png").shape == (4 * 131, 4 * 122, 3)

    figure = tmp_path / "figure.png"
    box = ["--box", "10", "10", "60", "50"]
    drawn = run("compare", photos / "street.png", "--scale", "4", *box, "--weights", weights, "--out", figure)
    assert drawn.exit_code == 0, drawn.output
    wanted = draw_figure(photos / "street.png", 4, (10, 10, 60, 50), [open_method(str(weights))[0]])
    assert np.array_equal(np.asarray(Image.open(figure)), np.asarray(wanted))


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights that come along, for 2 and 4, that add nothing to bicubic but a little light."""
    import torch

    from idn_train.checkpoint import save_weights
    from idn_train.network import IDN

    for scale in (2, 4):
        network = IDN(scale)
        with torch.no_grad():
            network.upsample.weight.zero_()
            network.upsample.bias.fill_(scale / 100)
        save_weights(tmp_path / "weights" / f"idn_x{scale}.safetensors", network, {"name": "IDN (ours)"})
    monkeypatch.setattr("idn_train.weightfile.WEIGHTS", tmp_path / "weights")
    return tmp_path / "weights"


def test_upscale_takes_the_weights_that_come_along(photos: Path, tmp_path: Path, shipped: Path) -> None:
    street, out = photos / "street.png", tmp_path / "out"
    large = run("upscale", street, "--scale", "4", "--out", out, "--quiet")
    assert large.exit_code == 0, large.output
    assert large.stdout.split() == [str(out / "street_x4.png")]
    assert read_image(out / "street_x4.png").shape == (4 * 131, 4 * 122, 3)

    other = tmp_path / "other.safetensors"
    shutil.copy(shipped / "idn_x2.safetensors", other)
    for extra in ([], ["--scale", "2", "--force"]):
        large = run("upscale", street, "--weights", other, "--out", out, "--quiet", *extra)
        assert large.exit_code == 0, large.output
        assert read_image(out / "street_x2.png").shape == (2 * 131, 2 * 122, 3)

    check_failure(run("upscale", street), 2, "which scale? give --scale 2, 3 or 4, or --weights with a file")
    wrong = run("upscale", street, "--weights", other, "--scale", "4")
    check_failure(wrong, 2, "other.safetensors is made for scale 2, not 4")
    check_failure(run("upscale", street, "--scale", "3"), 1, "no weights of scale 3 come along (there are: 2, 4)")
    check_failure(run("upscale", street, "--weights", tmp_path / "none.safetensors"), 1, "none.safetensors: no such")


def test_upscale_goes_on_after_a_bad_photo(photos: Path, tmp_path: Path, shipped: Path) -> None:
    (photos / "b_empty.png").touch()
    (photos / "s_words.jpg").write_text("no picture")
    out = tmp_path / "out"
    result = run("upscale", photos, "--scale", "2", "--out", out, "--quiet")
    check_failure(result, 1, "idn: 2 of 7 photos could not be enlarged; see above")
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert "b_empty.png: the file is empty" in lines[0] and "s_words.jpg: not an image" in lines[1]
    names = [f"{stem}_x2.png" for stem in ("harbour", "meadow", "stone", "street", "water")]
    assert sorted(p.name for p in out.iterdir()) == names
    assert [Path(line).name for line in result.stdout.splitlines()] == names

    alone = run("upscale", photos / "b_empty.png", "--scale", "2", "--out", out, "--quiet")
    check_failure(alone, 1, "b_empty.png: the file is empty")
    assert len(alone.stderr.splitlines()) == 1


def test_upscale_checks_all_targets_before_its_first_photo(photos: Path, tmp_path: Path, shipped: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "water_x2.png").write_text("precious")  # of the last photo
    result = run("upscale", photos, "--scale", "2", "--out", out, "--quiet")
    check_failure(result, 1, "water_x2.png exists already; --force replaces it")
    assert [p.name for p in out.iterdir()] == ["water_x2.png"]
    assert run("upscale", photos, "--scale", "2", "--out", out, "--quiet", "--force").exit_code == 0
    assert len(list(out.iterdir())) == 5


def test_upscale_stops_where_nothing_can_be_written(
    photos: Path, tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("idn_train.enlarge.write_whole", fail)
    result = run("upscale", photos, "--scale", "2", "--out", tmp_path / "out", "--quiet")
    check_failure(result, 1, "idn: No space left on device")
    assert len(result.stderr.splitlines()) == 1


def test_upscale_leaves_out_the_results_of_an_earlier_run(photos: Path, tmp_path: Path, shipped: Path) -> None:
    Image.new("L", (3, 3)).save(photos / "photo.jfif", format="JPEG")
    for scale, out in (("2", []), ("4", []), ("2", ["--out", tmp_path / "large"])):
        result = run("upscale", photos, "--scale", scale, *out, "--quiet")
        assert result.exit_code == 0, result.output
        assert len(result.stdout.splitlines()) == 6
        there = len(list(photos.iterdir())) - 6
    assert there == 12
    assert result.stderr == f"left out: 12 results of an earlier run, {photos / 'harbour_x2.png'} first\n"


def test_upscale_to_a_file_of_its_name(photos: Path, tmp_path: Path, shipped: Path) -> None:
    for name, kind in (("o.bmp", "BMP"), ("o.jpg", "JPEG"), ("o.tif", "TIFF")):
        result = run("upscale", photos / "street.png", "--scale", "2", "--out", tmp_path / name, "--quiet")
        assert result.exit_code == 0, result.output
        with Image.open(tmp_path / name) as picture:
            assert (picture.format, picture.size) == (kind, (2 * 122, 2 * 131))
    before = sorted(tmp_path.iterdir())
    several = run("upscale", photos, "--scale", "2", "--out", tmp_path / "p.bmp", "--quiet")
    check_failure(several, 1, "p.bmp is one file, for 5 photos; name a folder, or make it first")
    check_failure(run("upscale", photos, "--scale", "2", "--out", tmp_path / "p.gif"), 1, "p.gif is one file, for 5")
    alone = run("upscale", photos / "street.png", "--scale", "2", "--out", tmp_path / "p.gif")
    check_failure(alone, 1, "p.gif: cannot write .gif; one of .png")
    assert sorted(tmp_path.iterdir()) == before


def test_a_format_that_is_not_the_files(photos: Path, tmp_path: Path, shipped: Path) -> None:
    """It was passed over, and the file written as its name says."""
    common = ["upscale", photos / "street.png", "--scale", "2", "--quiet"]
    for name, kind in (("o.png", ".tif"), ("o.jpg", ".webp"), ("o.BMP", ".png")):
        said = f"--format {kind} is not what --out {tmp_path / name} says; leave out one of them"
        result = run(*common, "--out", tmp_path / name, "--format", kind)
        assert result.exit_code == 2 and said in " ".join(result.stderr.split()), result.stderr
    for name, kind in (("o.jpeg", ".jpg"), ("o.tiff", ".tif")):  # the same by another name
        result = run(*common, "--out", tmp_path / name, "--format", kind)
        assert result.exit_code == 0, result.output
    (tmp_path / "large.png").mkdir()
    result = run(*common, "--out", tmp_path / "large.png", "--format", ".tif")
    assert result.stdout == f"{tmp_path / 'large.png' / 'street_x2.tif'}\n"


def test_pictures_that_are_png_under_another_name(photos: Path, tmp_path: Path) -> None:
    for words in (
        ["compare", photos / "street.png", "--scale", "2", "--box", 1, 1, 9, 9, "--out", tmp_path / "a.jpg"],
        ["inspect", tmp_path / "a.h5", "--sheet", tmp_path / "a.jpg"],
    ):
        check_failure(run(*words), 2, "a.jpg: the picture is written as PNG; name a .png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on Windows")
def test_reports_go_to_a_pipe(photos: Path, tmp_path: Path) -> None:
    """It was replaced by a file, and its reader waited for ever."""
    os.mkfifo(tmp_path / "pipe")
    shutil.copytree(photos, tmp_path / "sr")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        for option in ("--json", "--csv", "--markdown"):
            result = run("score", tmp_path / "sr", "--gt", photos, "--scale", "2", option, tmp_path / "pipe", "--quiet")
            assert result.exit_code == 0, result.output
            assert "photos" in os.read(reader, 1 << 16).decode()  # the set's name
    finally:
        os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    check_failure(run("report", tmp_path / "gone", "--out", tmp_path / "pipe"), 1, "gone")  # a page can go there, too
    made = run("make-train", "--scale", "4", "--images", photos, "--out", tmp_path / "pipe", "--force")
    check_failure(made, 1, "pipe is a pipe or a device, which is not to be replaced; name a file")


def pipe(data: bytes, *arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["upscale", *map(str, arguments)], input=data)


def test_upscale_from_standard_input_to_standard_output(photos: Path, tmp_path: Path, shipped: Path) -> None:
    data = (photos / "street.png").read_bytes()
    assert run("upscale", photos / "street.png", "--scale", "2", "--out", tmp_path, "--quiet").exit_code == 0
    wanted = (tmp_path / "street_x2.png").read_bytes()
    for arguments in (["-"], ["-", "--out", "-"], [photos / "street.png", "--out", "-"], ["-", "--quiet"]):
        result = pipe(data, *arguments, "--scale", "2")
        assert result.exit_code == 0, result.stderr
        assert result.stdout_bytes == wanted, arguments
    jpeg = pipe(data, "-", "--scale", "2", "--format", ".jpg")
    assert Image.open(io.BytesIO(jpeg.stdout_bytes)).format == "JPEG"
    written = pipe(data, "-", "--scale", "2", "--out", tmp_path / "own.png", "--quiet")
    assert written.stdout == f"{tmp_path / 'own.png'}\n"
    assert (tmp_path / "own.png").read_bytes() == wanted


def test_what_is_no_picture_on_standard_input(photos: Path, shipped: Path) -> None:
    for data, said in (
        (b"", "idn: standard input: 0 bytes, of 1 to 536,870,912; pipe a picture in"),
        (b"no picture", "idn: standard input: not an image in one of the formats"),
    ):
        result = pipe(data, "-", "--scale", "2")
        check_failure(result, 1, said)
        assert result.stdout == ""
    check_failure(pipe(b"", "-", photos / "stone.bmp", "--scale", "2"), 2, "- stands for one picture; give it without")
    check_failure(pipe(b"", *photos.iterdir(), "--scale", "2", "--out", "-"), 2, "- stands for one picture")
    check_failure(pipe(b"", photos, "--scale", "2", "--out", "-"), 1, "standard output.png is one file, for 5 photos")


def test_upscale_by_either_boundary_and_on_a_device(photos: Path, tmp_path: Path, shipped: Path) -> None:
    results = {}
    for boundary in ("symmetric", "replicate"):
        out = tmp_path / f"{boundary}.png"
        options = ["--boundary", boundary, "--device", "cpu", "--out", out, "--quiet"]
        assert run("upscale", photos / "street.png", "--scale", "2", *options).exit_code == 0
        results[boundary] = read_image(out).astype(int)
    differs = (results["symmetric"] != results["replicate"]).any(axis=2)
    assert differs.any() and not differs[4:-4, 4:-4].any()  # the border alone
    assert run("upscale", photos / "street.png", "--scale", "2", "--boundary", "periodic").exit_code == 2
    check_failure(
        run("upscale", photos / "street.png", "--scale", "2", "--device", "cuda:99"), 1, "no device 'cuda:99'"
    )


@pytest.mark.parametrize("name", ["cpu", "mps"])
def test_networks_compute_on_the_device_that_is_named(
    photos: Path, tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import torch

    asked: list[str] = []
    monkeypatch.setattr("idn_train.device.choose_device", lambda name: asked.append(name) or torch.device("cpu"))
    picture, out, weights = photos / "street.png", tmp_path / "new", tmp_path / "weights" / "idn_x2.safetensors"
    box = ["--box", "10", "10", "60", "50"]
    for arguments in (
        ["evaluate", "idn", "--set", photos, "--scale", "2", "--protocol", "float"],
        ["compare", picture, "--scale", "2", *box, "--out", f"{out}.png"],
        ["report", weights, "--set", photos, "--image", picture, "--out", f"{out}.html"],
        ["upscale", picture, "--scale", "2", "--out", f"{out}2.png"],
    ):
        result = run(*arguments, "--device", name)
        assert result.exit_code == 0, result.output
        assert asked.pop() == name and not asked
        check_failure(run(*arguments, "--device", "abacus"), 2, "'abacus' is no device; one of auto, cpu, cuda, cuda:1")


def test_a_network_that_a_gpu_cannot_hold_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch, photos: Path) -> None:
    import torch

    def fail(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")

    monkeypatch.setattr("idn_train.methods.open_methods", fail)
    result = run("evaluate", "idn", "--set", photos, "--scale", "2")
    check_failure(result, 1, "idn: not enough memory; close other programs, or use smaller images")


def test_a_full_memory_names_what_the_command_has(
    photos: Path, tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("idn_train.enlarge.read_photo", fail)
    monkeypatch.setattr("idn_data.patches.trainplan.plan_train", fail)
    said = "idn: not enough memory; close other programs, or use smaller images"
    for arguments, end in (
        (["upscale", photos / "street.png", "--scale", "2", "--out", tmp_path], said),
        (["make-train", "--scale", "2", "--images", photos], f"{said} or --workers 1"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1] == end


def test_import_caffe(tmp_path: Path) -> None:
    from idn_train.checkpoint import load_weights

    blobs = draw_blobs()
    (tmp_path / "IDN_x3.caffemodel").write_bytes(encode_net(blobs, stride=3))
    (tmp_path / "old.caffemodel").write_bytes(encode_net(blobs, stride=None))
    out = tmp_path / "out.safetensors"
    result = run("import-caffe", tmp_path / "IDN_x3.caffemodel", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: IDN x3, 552,769 parameters\n"
    network, metadata = load_weights(out)
    assert (metadata["name"], metadata["source"]) == ("IDN (Original)", "IDN_x3.caffemodel")
    assert (network.blocks[1].compress[0].weight.detach().numpy() == blobs["down2"][0]).all()
    check_failure(run("import-caffe", tmp_path / "old.caffemodel", "--out", out), 1, "does not say its scale; give it")
    given = ["import-caffe", tmp_path / "old.caffemodel", "--scale", "2", "--out", out]
    check_failure(run(*given), 1, "exists already")
    assert run(*given, "--force").exit_code == 0
    assert load_weights(out)[0].scale == 2


def test_evaluate_idn_at_every_scale_that_comes_along(photos: Path, shipped: Path, tmp_path: Path) -> None:
    def score(*arguments: str | Path) -> list[tuple[str, int]]:
        result = run("evaluate", *arguments, "--set", photos, "--protocol", "float", "--json", "-", "--quiet")
        assert result.exit_code == 0, result.output
        return [(r["method"], r["scale"]) for r in json.loads(result.stdout)]

    bicubic, ours = [("bicubic", s) for s in (2, 3, 4)], [("IDN (ours)", s) for s in (2, 4)]
    assert score("bicubic", "idn") == [*bicubic, *ours]
    assert score("idn", "--scale", "4") == ours[1:]
    assert score("idn", "--scale", "4", "--scale", "2", "--self-ensemble") == [("IDN (ours)+", 2), ("IDN (ours)+", 4)]
    missing = run("evaluate", "idn", "--scale", "3", "--set", photos)
    check_failure(missing, 1, "no weights of scale 3 come along (there are: 2, 4); make them with: idn train --scale 3")
    for path in shipped.iterdir():
        path.unlink()
    check_failure(run("evaluate", "idn", "--set", photos), 1, "no weights of scale 2 come along (there are: none)")


def test_compare_shows_the_network_that_comes_along(
    photos: Path, tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        "idn_data.scores.figure.draw_figure",
        lambda *given: drawn.append([m.name for m in given[3]]) or Image.new("L", (1, 1)),
    )
    out = tmp_path / "a.png"
    other = shipped / "idn_x2.safetensors"
    for scale, weights in (("2", []), ("3", []), ("2", ["bicubic"]), ("4", ["bicubic", "idn"]), ("2", [other, "idn"])):
        options = [word for name in weights for word in ("--weights", name)]
        result = run("compare", photos / "street.png", "--scale", scale, "--box", 10, 10, 60, 50, *options, "--out",
                     out, "--force")  # fmt: skip
        assert result.exit_code == 0, result.output
    assert drawn == [["IDN (ours)"], [], [], ["IDN (ours)"], ["IDN (ours)"] * 2]
    before = len(drawn)
    box = ["--box", "10", "10", "60", "50"]
    check_failure(run("compare", photos / "street.png", "--scale", "2", *box, "--out", out), 1, "exists already")
    missing = run("compare", photos / "street.png", "--scale", "3", *box, "--weights", "idn", "--out", tmp_path / "b")
    check_failure(missing, 1, "no weights of scale 3 come along")
    assert len(drawn) == before


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

    monkeypatch.setattr("idn_data.patches.trainset.make_train", fail)
    result = run("make-train", "--scale", "4", "--images", photos, "--out", tmp_path / "a.h5")
    check_failure(result, 1, "internal error, please report it (RuntimeError: surprise)")


def test_output_that_cannot_be_written(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "a.h5"
    result = run("make-train", "--scale", "4", "--images", photos, "--out", target)
    check_failure(result, 1, "not written: a part of its path is a file, not a folder; look at the path")


def test_average(tmp_path: Path) -> None:
    from idn_train.checkpoint import load_weights, save_weights
    from idn_train.network import IDN

    paths, out = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"], tmp_path / "mean.safetensors"
    for path in paths:
        save_weights(path, IDN(4))
    result = run("average", *paths, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out}: IDN x4, the mean of 2\n"
    assert [member["file"] for member in load_weights(out)[1]["mean_of"]] == ["a.safetensors", "b.safetensors"]
    check_failure(run("average", *paths, "--out", out), 1, "exists already")
    assert run("average", *paths, "--out", out, "--force").exit_code == 0
    check_failure(run("average", paths[0], "--out", out), 2, "two weight files or more; got only")
    save_weights(paths[1], IDN(2), force=True)
    check_failure(run("average", *paths, "--out", out, "--force"), 1, "made for scale 2, not 4")


def test_the_folder_itself_starts_the_commands(tmp_path: Path) -> None:
    """What ``python -m idn`` does where it is installed, from the checkout."""
    (tmp_path / "cli.py").write_text("raise SystemExit('another program')")
    start = [sys.executable, str(Path(__file__).parents[1])]
    told = subprocess.run([*start, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("Usage: idn [OPTIONS] COMMAND")
    wrong = subprocess.run([*start, "upscale"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert wrong.returncode == 2 and "Missing argument" in wrong.stderr


def test_export_onnx(tmp_path: Path) -> None:
    from idn_train.checkpoint import save_weights
    from idn_train.network import IDN

    weights, model = tmp_path / "w.safetensors", tmp_path / "w.onnx"
    save_weights(weights, IDN(3))
    assert run("export-onnx", weights, "--out", model).exit_code == 0
    assert model.stat().st_size > 2_000_000
    check_failure(run("export-onnx", weights, "--out", model), 1, "w.onnx")
    result = run("export-onnx", weights, "--rgb", "--half", "--uint8", "--out", model, "--force")
    assert result.stdout == f"{model}: IDN x3, RGB in 8 bits, network in float16, any input size\n"
    assert model.stat().st_size < 1_200_000
    check_failure(
        run("export-onnx", weights, "--scale", "2", "--out", tmp_path / "b.onnx"), 2, "made for scale 3, not 2"
    )
    check_failure(run("export-onnx", "idn", "--out", tmp_path / "b.onnx"), 1, "give --scale, one of 2, 3, 4")


def test_evaluate_in_every_protocol(photos: Path) -> None:
    """The four protocols from the command line, and a border instead of theirs."""
    protocols = [word for name in ("float", "uint8", "y", "rgb") for word in ("--protocol", name)]
    result = run("evaluate", "bicubic", "--set", photos, "--scale", "2", *protocols, "--json", "-")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(r["protocol"], r["channel"], r["border"], r["boundary"]) for r in rows] == [
        ("float", "Y", 2, "symmetric"), ("uint8", "Y", 2, "replicate"),
        ("y", "Y", 2, "symmetric"), ("rgb", "RGB", 8, "symmetric"),
    ]  # fmt: skip
    assert len({r["psnr"] for r in rows}) == 4
    other = run("evaluate", "bicubic", "--set", photos, "--scale", "2", "--boundary", "replicate", "--json", "-")
    first, second = json.loads(other.stdout)
    assert (first["boundary"], second["boundary"]) == ("replicate", "replicate")
    assert first["psnr"] != rows[0]["psnr"]
    assert second["psnr"] == rows[1]["psnr"]


def test_evaluate_names_images_that_are_too_small(photos: Path) -> None:
    Image.new("RGB", (16, 40)).save(photos / "thin.png")
    result = run("evaluate", "bicubic", "--set", photos, "--scale", "4")
    check_failure(result, 1, "photos x4: too small for the protocol uint8: thin (40x16)")
    assert run("evaluate", "bicubic", "--set", photos, "--scale", "4", "--protocol", "float").exit_code == 0


def test_lr_of_a_known_set(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name; a folder of that name in the working folder comes first."""
    (tmp_path / "test_data").mkdir()
    shutil.copytree(photos, tmp_path / "test_data" / "Set5")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    common = ["--data-root", tmp_path, "--quiet"]
    assert "5 files made" in run("make-lr", "Set5", "--scale", "4", "--out", "lr", *common).output
    assert "made again by: idn make-lr" in run("identify", "lr", "Set5", *common).output
    check_failure(run("make-lr", "Set14", "--scale", "4", "--out", "lr", *common), 1, "Set14 is not in")
    shutil.copytree(photos, tmp_path / "here" / "Set5")
    (tmp_path / "here" / "Set5" / "water.png").unlink()
    assert "4 files made" in run("make-lr", "Set5", "--scale", "4", "--out", "other", *common).output
