"""Pictures set aside: which they are, that no patch is cut from them, and what the weights say."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from cli import main
from idn_data.images.sources import BadImagesError
from idn_train.config import PAPER_PATCH, Config, make_config
from idn_train.data import PictureRequest, open_data
from idn_train.session import Request, plan_job
from idn_train.setaside import list_set_aside, open_set_aside
from idn_train.weightfile import read_tensors

CPU = torch.device("cpu")


@pytest.fixture
def twenty(photos: Path, tmp_path: Path) -> Path:
    """Twenty pictures, a00 to a19."""
    folder, sources = tmp_path / "twenty", sorted(p for p in photos.iterdir() if p.suffix in (".png", ".bmp", ".jpg"))
    folder.mkdir()
    for number in range(20):
        source = sources[number % len(sources)]
        shutil.copy(source, folder / f"a{number:02}{source.suffix}")
    return folder


def test_every_tenth_picture_of_each_folder(twenty: Path, tmp_path: Path) -> None:
    assert [path.stem for path in list_set_aside([twenty])] == ["a09", "a19"]
    other = tmp_path / "other"
    shutil.copytree(twenty, other)
    assert [path.parent.name for path in list_set_aside([twenty, other])] == ["twenty"] * 2 + ["other"] * 2
    for path in sorted(other.iterdir())[9:]:
        path.unlink()
    assert [path.stem for path in list_set_aside([other])] == ["a08"]
    for path in sorted(other.iterdir())[1:]:
        path.unlink()
    with pytest.raises(
        ValueError, match=r"a00\.\w+ is the only picture: none can be set aside; name folders with more"
    ):
        list_set_aside([other])


def test_the_291_set_29_aside(data_root: Path) -> None:
    names = [path.name for path in list_set_aside([data_root / "train_data" / "291"])]
    assert len(names) == 29
    assert names[0] == "000t18.bmp"
    assert names[-1] == "95006.jpg"


def test_they_are_validated_on_and_not_cut_from(twenty: Path, tmp_path: Path) -> None:
    pictures = PictureRequest((twenty,), lr_patch=6, set_aside=True)
    job = plan_job(Request(pictures=pictures, scale=4, device="cpu"), tmp_path)
    assert job.test_set is not None
    assert job.test_set.name == "2 pictures set aside"
    assert [path.stem for path in job.test_set.paths] == ["a09", "a19"]
    feed = open_data(job.data, CPU, 0, tmp_path)
    whole = open_data(replace(job.data, set_aside=()), CPU, 0, tmp_path)
    assert [Path(name).stem for name in feed.left_out] == ["a09", "a19"]
    assert whole.left_out == ()
    assert feed.digest != whole.digest
    assert len(feed) < len(whole)


def test_another_set_may_be_named(twenty: Path, tmp_path: Path) -> None:
    pictures = PictureRequest((twenty,), lr_patch=6, set_aside=True)
    request = Request(pictures=pictures, scale=4, device="cpu", validate_set=str(twenty))
    job = plan_job(request, tmp_path)
    assert job.test_set is not None
    assert len(job.test_set.paths) == 20


def test_a_damaged_one_is_named(twenty: Path) -> None:
    aside = list_set_aside([twenty])
    aside[0].write_bytes(b"")
    with pytest.raises(BadImagesError, match="1 image"):
        open_set_aside(aside)


def test_skip_bad_leaves_a_damaged_one_out(twenty: Path, tmp_path: Path) -> None:
    """Also of the pictures that are trained on."""
    first, second = list_set_aside([twenty])
    first.write_bytes(b"")
    next(path for path in twenty.iterdir() if path not in (first, second)).write_bytes(b"")
    words = ["train", "--scale", "4", "--images", str(twenty), "--set-aside", "--lr-patch", "6", "--steps", "1"]
    words += ["--batch", "4", "--device", "cpu", "--out", str(tmp_path / "run")]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 1
    assert "leave them out with --skip-bad" in refused.stderr
    result = CliRunner().invoke(main, [*words, "--skip-bad"])
    assert result.exit_code == 0, result.output
    assert "validated on 1 pictures set aside (1 left out)" in result.output
    second.write_bytes(b"")
    none = CliRunner().invoke(main, [*words, "--skip-bad"])
    assert none.exit_code == 1
    assert none.stderr.splitlines()[-1].endswith("mend them, or take other images")


def test_a_set_that_is_not_there_is_named_under_any_preset(twenty: Path, tmp_path: Path) -> None:
    words = ["train", "--scale", "4", "--images", str(twenty), "--lr-patch", "6", "--steps", "1", "--batch", "4"]
    for preset, given, said in (
        ("paper", ["--validate-set", "Sett5"], "no validation: no Sett5 here"),
        ("express", ["--validate-set", "Sett5"], "no validation: no Sett5 here"),
        ("paper", [], "no validation; --set-aside or --validate-set for one"),
    ):
        out = tmp_path / f"{preset}{len(given)}"
        result = CliRunner().invoke(main, [*words, "--preset", preset, *given, "--out", str(out)])
        assert result.exit_code == 0, result.output
        assert said in result.output


def test_the_grid_takes_all(twenty: Path) -> None:
    with pytest.raises(ValueError, match="the grid takes all pictures of a folder; give --grid or --set-aside"):
        PictureRequest((twenty,), grid=True, set_aside=True)


def test_the_preset_paper_needs_no_flags(twenty: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "test_data").mkdir(parents=True)
    shutil.copytree(twenty, root / "train_data" / "291")
    shutil.copytree(twenty, root / "test_data" / "Set5")  # there, and not looked at
    job = plan_job(Request(scale=4, preset="paper", device="cpu"), root)
    assert job.data.pictures is not None
    assert job.data.pictures.lr_patch == PAPER_PATCH
    assert job.data.folders == (root / "train_data" / "291",)
    assert job.test_set is None
    assert str(job.folder) == str(Path("runs", "paper_x4"))
    assert (job.config.batch, job.config.schedule, job.config.loss) == (256, "cosine", "l1")
    named = PictureRequest((twenty,), lr_patch=9)
    assert plan_job(Request(pictures=named, scale=4, preset="paper", device="cpu"), root).data.pictures == named
    with pytest.raises(ValueError, match="the preset paper is one training from the start; leave out the stage"):
        make_config(4, "finetune", "paper")
    assert make_config(4, "pretrain", "paper") != Config(4)


def test_the_command_and_the_weights_say_what_was_set_aside(twenty: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", "--scale", "4", "--preset", "paper", "--images", str(twenty), "--set-aside", "--lr-patch", "6"]
    words += ["--steps", "2", "--batch", "4", "--device", "cpu", "--out", str(out), "--data-root", str(tmp_path)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "validated on 2 pictures set aside" in result.output
    _, said = read_tensors(out / "final.safetensors")
    assert [Path(name).stem for name in said["recipe"]["left_out"]] == ["a09", "a19"]
    assert said["validation_psnr"] > 10
    refused = CliRunner().invoke(main, ["train", "--scale", "4", "--set-aside"])
    assert refused.exit_code == 2
    assert "--set-aside says how patches are cut from pictures; give it with --images DIR" in refused.output
