"""idn_data.scores.scoring: pictures from anywhere, RCAN's own figures, and what is said before anything is computed."""

from __future__ import annotations

import csv
import json
import math
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.drawing import draw_photo

from cli import main
from idn_data import score_pictures
from idn_data.images.decode import read_image
from idn_data.matlab.classes import im2double
from idn_data.matlab.color import rgb2y
from idn_data.scores.pairs import PairError
from idn_data.scores.protocols import score
from idn_data.scores.scoring import plan_scores, score_plan

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def save(path: Path, pixels: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def blur(pixels: NDArray[np.uint8], amount: int) -> NDArray[np.uint8]:
    """A worse picture: coarser levels."""
    return pixels // amount * amount


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """GT of three pictures, one of them grey, and two methods' answers."""
    for seed, name in enumerate(("a", "b", "grey")):
        pixels = draw_photo(40 + 4 * seed, 48, seed)
        pixels = pixels[:, :, 1] if name == "grey" else pixels
        save(tmp_path / "gt" / f"{name}.png", pixels)
        save(tmp_path / "good" / f"{name}_x4.png", blur(pixels, 4))
        save(tmp_path / "worse" / f"{name}_x4_worse.png", blur(pixels, 16))
    return tmp_path


def run(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["score", *map(str, words)])
    assert result.exit_code == code, result.output
    return result.output


def test_rcans_own_pictures_have_the_figures_of_its_paper(data_root: Path, matlab_folder: Path) -> None:
    """RCAN, ECCV 2018, table 2: Set5 ×4, 32.63 dB / 0.9002."""
    (found,) = score_pictures(matlab_folder / "rcan_sr", data_root / "test_data" / "Set5", 4)
    assert (round(found.psnr, 2), round(found.ssim, 4)) == (32.63, 0.9002)
    assert (found.set, found.images, found.border, found.channel) == ("Set5", 5, 4, "Y")
    text = run(matlab_folder / "rcan_sr", "--gt", data_root / "test_data" / "Set5", "--scale", 4, "--published", "-q")
    assert text.count("32.63/0.9002") == 2, "measured and published side by side"


def test_every_protocol_is_the_librarys_score_of_each_pair(folders: Path) -> None:
    found = score_pictures([folders / "good", folders / "worse"], folders / "gt", 4, ("y", "rgb", "float", "uint8"))
    assert [(s.protocol, s.method) for s in found] == [
        (p, m) for p in ("y", "rgb", "float", "uint8") for m in ("good", "worse")
    ]
    for s in found:
        wanted = []
        for row in s.pictures:
            sr, gt = (np.array(Image.open(p)) for p in (
                next((folders / s.method).glob(f"{row.picture}_*")), folders / "gt" / f"{row.picture}.png"
            ))  # fmt: skip
            if s.protocol in ("float", "uint8") and sr.ndim == 3:
                sr, gt = rgb2y(sr), rgb2y(gt)
            if s.protocol == "float":
                sr, gt = im2double(sr), im2double(gt)
            wanted.append(score(sr, gt, 4, s.protocol))
            assert (row.psnr, row.ssim) == wanted[-1]
        assert s.psnr == pytest.approx(np.mean([w[0] for w in wanted]), abs=1e-12)
    assert found[0].psnr > found[1].psnr


def test_a_border_of_ones_own(folders: Path) -> None:
    (two,) = score_pictures(folders / "good", folders / "gt", 4, border=2)
    (own,) = score_pictures(folders / "good", folders / "gt", 4)
    assert (two.border, own.border) == (2, 4) and two.psnr != own.psnr


def test_grey_beside_colour_counts_as_colour(tmp_path: Path) -> None:
    grey = draw_photo(40, 40, 0)[:, :, 0]
    save(tmp_path / "gt" / "a.png", grey)
    save(tmp_path / "sr" / "a.png", np.repeat(blur(grey, 4)[:, :, None], 3, axis=2))
    save(tmp_path / "same" / "a.png", blur(grey, 4))
    beside, alone = score_pictures([tmp_path / "sr", tmp_path / "same"], tmp_path / "gt", 4)
    # Y of grey colour is 219/255 of the grey
    assert beside.psnr - alone.psnr == pytest.approx(20 * math.log10(255 / 219), abs=1e-6)


def test_gt_that_was_not_cut(tmp_path: Path) -> None:
    gt = draw_photo(43, 46, 0)
    save(tmp_path / "gt" / "a.png", gt)
    save(tmp_path / "sr" / "a.png", gt[:40, :44])
    with pytest.raises(PairError, match="1 pictures cannot be scored; nothing was computed") as caught:
        score_pictures(tmp_path / "sr", tmp_path / "gt", 4)
    assert "SR is 40x44, GT 43x46; --crop-gt cuts GT" in caught.value.lines[0]
    (found,) = score_pictures(tmp_path / "sr", tmp_path / "gt", 4, crop_gt=True)
    assert found.psnr == math.inf and found.ssim == 1
    save(tmp_path / "sr" / "a.png", gt[:39, :44])
    with pytest.raises(PairError) as caught:
        score_pictures(tmp_path / "sr", tmp_path / "gt", 4, crop_gt=True)
    assert "name the GT of this very picture" in caught.value.lines[0]


def test_more_than_8_bits(tmp_path: Path) -> None:
    save(tmp_path / "gt" / "a.png", draw_photo(40, 40, 0)[:, :, 0])
    Image.fromarray(np.full((40, 40), 40_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(PairError) as caught:
        score_pictures(tmp_path / "a.png", tmp_path / "gt", 4)
    assert "more than 8 bits; scores are of 8-bit pictures; save it with 8 bits" in caught.value.lines[0]


def test_jpeg_is_scored_with_a_word(folders: Path) -> None:
    save(folders / "jpeg" / "a.jpg", draw_photo(40, 48, 0))
    plan = plan_scores([folders / "jpeg"], [folders / "gt" / "a.png"], 4)
    assert plan.notes == ("jpeg: 1 SR pictures are JPEG, whose own loss counts as the method's",)
    assert score_plan(plan)[0].psnr < 60


def test_too_small_names_the_picture(tmp_path: Path) -> None:
    small = save(tmp_path / "sr" / "a.png", draw_photo(14, 14, 0))
    gt = save(tmp_path / "gt" / "a.png", draw_photo(14, 14, 0))
    with pytest.raises(ValueError, match=rf"{small}.*11x11"):
        score_pictures(small, gt, 4)


def test_methods_may_be_named(folders: Path) -> None:
    plan = plan_scores([folders / "good", folders / "worse"], [folders / "gt"], 4, methods=["A", "B"])
    assert [p.method for p in plan.pairings] == ["A", "B"]
    with pytest.raises(ValueError, match=r"1 names for 2 methods \(good, worse\); give one --method for each"):
        plan_scores([folders / "good", folders / "worse"], [folders / "gt"], 4, methods=["A"])
    with pytest.raises(ValueError, match="scale must be a positive number; got nan"):
        plan_scores([folders / "good"], [folders / "gt"], math.nan)


def test_the_command(folders: Path) -> None:
    words = [folders / "good", folders / "worse", "--gt", folders / "gt", "--scale", 4, "-q"]
    text = run(
        *words, "--per-image", "--csv", folders / "s.csv", "--json", folders / "s.json", "--markdown", folders / "s.md"
    )
    head, _, *lines = text.splitlines()
    assert head.startswith("protocol y: ") and head.endswith("; 4 pixels shaved off each side")
    assert [line.split()[0] for line in lines] == ["gt", "a", "b", "grey", "mean"]
    assert lines[0].split() == ["gt", "x4", "good", "worse"]
    rows = json.loads((folders / "s.json").read_text())
    assert [row["method"] for row in rows] == ["good", "worse"]
    assert {"method", "scale", "protocol", "images", "psnr", "ssim"} <= set(rows[0]) and rows[0]["images"] == 3
    with (folders / "s.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["picture"] for row in table] == ["a", "b", "grey", "mean of 3"] * 2
    assert float(table[3]["psnr"]) == rows[0]["psnr"]
    assert "| mean of 3 | " in (folders / "s.md").read_text()


def test_a_dry_run_shows_the_pairs(folders: Path) -> None:
    text = run(folders / "good", "--gt", folders / "gt", "--scale", 4, "--dry-run")
    assert text.startswith("good: paired by names without the scale, GT, HR, LR, SR and the like\n")
    assert "PSNR" not in text and text.count("_x4.png") == 3
    (folders / "good" / "a_x4.png").unlink()
    text = run(folders / "good", "--gt", folders / "gt", "--scale", 4, code=1)
    assert "no SR of this name" in text and "--partial" in text
    assert "no partner" in run(folders / "good", "--gt", folders / "gt", "--scale", 4, "--partial", "--dry-run")


def test_means_of_unlike_pictures_say_so(folders: Path) -> None:
    """Left out pictures: each mean under its own count, and no published mean of the whole set beside."""
    (folders / "worse" / "b_x4_worse.png").unlink()
    text = run(folders / "good", folders / "worse", "--gt", folders / "gt", "--scale", 4, "--partial", "-q")
    assert text.splitlines()[-1].startswith("mean of 3, 2 ")


def test_published_figures_stand_beside_the_whole_set_alone(tmp_path: Path) -> None:
    for name in ("baby", "bird", "butterfly", "head", "woman"):
        save(tmp_path / "Set5" / f"{name}_GT.bmp", draw_photo(40, 48, 1))
        save(tmp_path / "RCAN" / f"{name}_x4.png", blur(draw_photo(40, 48, 1), 4))
    words = [tmp_path / "RCAN", "--gt", tmp_path / "Set5", "--scale", 4, "--published"]
    assert "RCAN+ (published)" in run(*words)
    for other in (("--protocol", "rgb"), ("--border", "0")):
        text = run(*words, *other)
        assert "nothing published stands beside: that is of a whole known set" in text and "(published)" not in text
    (tmp_path / "RCAN" / "baby_x4.png").unlink()
    text = run(*words, "--partial")
    assert "(published)" not in text and "nothing published stands beside" in text
    (tmp_path / "Set5" / "baby_GT.bmp").unlink()
    assert "(published)" not in run(*words)


def test_gt_is_a_known_set_or_is_there(folders: Path) -> None:
    (folders / "test_data").mkdir()
    (folders / "gt").rename(folders / "test_data" / "Set5")
    words = [folders / "good", "--scale", 4, "--data-root", folders, "--gt"]
    assert "mean of 3" in run(*words, "Set5")
    text = run(*words, "Set55", code=1)
    assert "no set or folder 'Set55'; one of 291, Set5, Set14" in text
    with pytest.raises(FileNotFoundError, match=r"no such picture or folder: .*Set55; name the folder of the GT"):
        plan_scores([folders / "good"], [folders / "Set55"], 4)


def test_a_known_name_means_the_data_root(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the results of a method on that set, which may lie in the folder one works in."""
    (folders / "test_data").mkdir()
    (folders / "gt").rename(folders / "test_data" / "Set5")
    (folders / "good").rename(folders / "Set5")
    monkeypatch.chdir(folders)
    words = ["worse", "--scale", 4, "--data-root", folders, "--gt"]
    assert run(*words, "Set5") == run(*words, folders / "test_data" / "Set5") != run(*words, "./Set5")


def test_sr_is_no_gt(folders: Path) -> None:
    with pytest.raises(PairError, match="3 pictures cannot be scored; nothing was computed") as caught:
        plan_scores([folders / "gt"], [folders / "gt"], 4)
    assert caught.value.lines[0].endswith(
        "a.png: is SR and GT at once; name the folder of SR first, that of GT by --gt"
    )


def test_links_keep_their_names(folders: Path) -> None:
    """A column is called as the folder was named, and pictures that lead into a store stay together."""
    (folders / "RCAN").symlink_to(folders / "good")
    for number, name in enumerate(("a", "b", "grey")):
        for folder in (folders / "store" / f"{number}", folders / "annex"):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folders / "good" / f"{name}_x4.png", folders / "store" / f"{number}" / "KEY")
        (folders / "annex" / f"{name}.png").symlink_to(folders / "store" / f"{number}" / "KEY")
    for sr in ([folders / "RCAN"], sorted((folders / "annex").iterdir())):
        plan = plan_scores(sr, [folders / "gt"], 4)
        assert [(p.method, len(p.pairs)) for p in plan.pairings] == [(sr[0].name if len(sr) == 1 else "annex", 3)]
    assert plan_scores([folders / "RCAN"], sorted((folders / "annex").iterdir()), 4).set == "annex"


def test_a_protocol_counts_once(folders: Path) -> None:
    plan = plan_scores([folders / "good"], [folders / "gt"], 4)
    assert score_plan(plan, ["y", "y", "float"]) == score_plan(plan, ["y", "float"])


@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_a_tiff_that_says_it_lies_on_its_side(folders: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = read_image(folders / "gt" / "a.png")
    save(folders / "tiff" / "a.tif", pixels)
    Image.fromarray(pixels).save(folders / "tiff" / "a.tif", exif=exif)
    (score,) = score_plan(plan_scores([folders / "tiff"], [folders / "gt" / "a.png"], 4))
    assert score.psnr == math.inf


def test_two_folders_of_one_name_take_names(folders: Path) -> None:
    (folders / "old").mkdir()
    (folders / "worse").rename(folders / "old" / "good")
    words = [folders / "good", folders / "old" / "good", "--gt", folders / "gt", "--scale", 4, "-q"]
    assert "two folders are called 'good'; rename one, or name the methods with --method" in run(*words, code=1)
    assert run(*words, "--method", "new", "--method", "old").splitlines()[2].split()[2:] == ["new", "old"]
