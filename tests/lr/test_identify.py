"""`identify` names the maker of LR of many kinds, and none where none is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support.drawing import draw_photo
from support.lrmakers import QUICK, Case

from cli import main
from idn_data import identify
from idn_data.images.decode import read_image
from idn_data.images.exact import write_exact
from idn_data.lr.identify import Identification
from idn_data.lr.make import make_lr
from idn_data.lr.reduction import choose_reduction
from idn_data.matlab.color import rgb2y
from idn_data.matlab.resize import imresize

NAMES = {case.name: case for case in QUICK}


def write(folder: Path, pixels: np.ndarray, name: str = "a.png") -> Path:
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels)).save(folder / name)
    return folder / name


def compare(tmp_path: Path, lr: np.ndarray, hr: np.ndarray, **options: object) -> Identification:
    return identify(write(tmp_path / "lr", lr), write(tmp_path / "hr", hr), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", QUICK, ids=NAMES)
def test_makers(case: Case, tmp_path: Path) -> None:
    if not case.ready:
        pytest.skip(f"{case.needs} is not installed: pip install 'idn[bench]'")
    hr = draw_photo(208, 180, 3)
    verdict = compare(tmp_path, case.make(hr, 4), hr).verdict
    assert verdict.maker == case.maker, verdict.text
    if case.maker == "none":
        assert verdict.text.startswith("none of these; the nearest is ")
        assert verdict.command is None and verdict.method is None
        return
    assert (verdict.method, case.boundary or verdict.boundary) == (case.method, verdict.boundary)
    assert case.through in (None, verdict.through)
    for name, wanted in case.facts:
        if name == "moved":
            assert verdict.shift == (0.25, 0.25)
        else:
            assert getattr(verdict, name) == wanted
    assert verdict.differing == 0 and verdict.where == "nowhere" and verdict.scale == 4


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 2, "boundary": "replicate", "through": "double"},
        {"scale": 3, "degradation": "blur"},
        {"scale": 2.5, "method": "lanczos2"},
        {"scale": 2, "channel": "y", "antialias": False},
    ],
)
def test_the_command_makes_the_same_again(photos: Path, tmp_path: Path, options: dict) -> None:
    for grey in ("stone.bmp", "water.png"):
        (photos / grey).unlink()
    make_lr(photos, tmp_path / "lr", choose_reduction(**options))
    verdict = identify(tmp_path / "lr", photos).verdict
    words = (verdict.command or verdict.text).split()
    assert words[:4] == ["idn", "make-lr", str(photos), "--out"]
    said = dict(zip(words[5::2], words[6::2], strict=False)) if "--no-antialias" not in words else {}
    wanted = {"scale": "scale", "boundary": "boundary", "through": "through", "method": "method"}
    for name in said and wanted:
        if name in options:
            assert said[f"--{name}"] == f"{options[name]}"
    assert ("--no-antialias" in words) == ("antialias" in options)
    assert ("--channel" in words) == ("channel" in options)
    assert ("--degradation" in words) == ("degradation" in options)


def test_hr_that_was_not_cut_or_cut_elsewhere(tmp_path: Path) -> None:
    hr = draw_photo(131, 122, 4)
    for lr, crop in (
        (imresize(hr, 1 / 4), "not cut"),
        (imresize(hr[3:, 2:], 1 / 4), "cut at the top and the left"),
        (imresize(hr[1:129, 1:121], 1 / 4), "cut around the centre"),
    ):
        verdict = compare(tmp_path, lr, hr).verdict
        assert (verdict.maker, verdict.crop, verdict.command) == ("matlab", crop, None), verdict.text


@pytest.mark.parametrize("size", [(43, 85), (50, 75), (77, 115), (33, 98)])
def test_a_size_in_place_of_a_scale(tmp_path: Path, size: tuple[int, int]) -> None:
    """MATLAB's imresize(HR, [h w]) has a scale for each axis, which make-lr has not."""
    hr = draw_photo(100, 200, 4) if size == (43, 85) else draw_photo(256, 384, 4)[: 131 if size[0] == 33 else 256]
    verdict = compare(tmp_path, imresize(hr, size=size), hr).verdict
    assert (verdict.maker, verdict.crop, verdict.differing, verdict.command) == ("matlab", "by size", 0, None)
    assert ", by size, x" in verdict.text


def test_a_scale_is_said_with_all_its_digits(tmp_path: Path) -> None:
    hr = draw_photo(256, 384, 4)
    (hr_folder := tmp_path / "hr").mkdir()
    opaque = np.full((256, 384, 1), 255, np.uint8)
    write(hr_folder, np.concatenate([hr, opaque], axis=2))
    lr = write(tmp_path / "lr", imresize(hr, size=(96, 144)))
    words = (identify(lr, hr_folder).verdict.command or "").split()
    assert words[words.index("--scale") + 1] == repr(256 / 96) and words[-1] == "--drop-alpha"
    words[words.index("--out") + 1] = str(tmp_path / "again")
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, result.output
    assert (read_image(tmp_path / "again" / "a.png") == read_image(lr)).all()


def test_a_part(tmp_path: Path) -> None:
    hr = draw_photo(240, 200, 5)
    part = compare(tmp_path, imresize(hr, 1 / 2)[20:80, 11:70], hr).verdict
    assert (part.maker, part.crop, part.boundary) == ("matlab", "LR is a part", None)  # its border is not in sight
    cut = compare(tmp_path, imresize(hr[40:160, 22:140], 1 / 2), hr).verdict
    assert (cut.maker, cut.crop, cut.boundary) == ("matlab", "HR is a part", "symmetric")


def test_what_pictures_cannot_tell(tmp_path: Path) -> None:
    flat = compare(tmp_path, np.full((30, 30, 3), 90, np.uint8), np.full((120, 120, 3), 90, np.uint8)).verdict
    assert flat.maker == "none" and "no maker can be named: several do this" in flat.text
    assert len(flat.untold) > 20
    hr = draw_photo(90, 90, 1)
    third = compare(tmp_path, hr[1::3, 1::3], hr).verdict  # every third pixel: all kernels that are not widened
    assert third.maker == "none" and "the same on any picture: " in third.text and third.untold == ()
    assert third.command is not None and third.command.endswith("--scale 3 --method nearest")


def test_16_bits_and_a_jpeg_file(tmp_path: Path) -> None:
    wide = draw_photo(96, 96, 2).astype(np.uint16) * 257
    write_exact(wide, tmp_path / "hr.png")
    write_exact(imresize(wide, 1 / 4, boundary="replicate"), tmp_path / "lr.png")
    found = identify(tmp_path / "lr.png", tmp_path / "hr.png")
    assert (found.verdict.maker, found.verdict.boundary) == ("matlab", "replicate")
    assert "Pillow (16-bit pictures)" in found.not_tried
    hr = draw_photo(200, 200, 6)
    Image.fromarray(imresize(hr, 1 / 2)).save(tmp_path / "lr.jpg", quality=83)
    verdict = identify(tmp_path / "lr.jpg", write(tmp_path / "hr", hr)).verdict
    assert (verdict.maker, verdict.jpeg) == ("matlab", "the file's own tables, 4:2:0")


def test_pairs_by_name(tmp_path: Path) -> None:
    hr, lr = tmp_path / "hr", tmp_path / "lr"
    for k in range(5):
        image = draw_photo(60, 48, k)
        write(hr, image, f"a{k}_GT.png")
        write(lr, imresize(image, 1 / 2), f"a{k}_LRBI_x2.png")
    found = identify(lr, hr)
    assert found.pictures == ("a0_LRBI_x2.png", "a2_LRBI_x2.png", "a4_LRBI_x2.png")
    assert found.verdict.values == 3 * 30 * 24 * 3
    assert all(row["pictures"] in (0, 3) for row in found.candidates)
    write(hr, image, "a3.png")
    with pytest.raises(ValueError, match=r"a3_LRBI_x2\.png may belong to .* and to .*; name one of them alone"):
        identify(lr, hr)


def test_equal_names_are_pairs_whatever_they_look_like(tmp_path: Path) -> None:
    """The x01 of tex01 is no scale; of a part of the pictures neither."""
    for k in range(1, 5):
        write(tmp_path / "hr", image := draw_photo(60, 48, k), f"tex0{k}.png")
        if k > 2:
            write(tmp_path / "lr", imresize(image, 1 / 2), f"tex0{k}.png")
    found = identify(tmp_path / "lr", tmp_path / "hr")
    assert found.pictures == ("tex03.png", "tex04.png") and found.verdict.differing == 0


def test_names_that_link_to_one_file_are_pairs_of_their_own(tmp_path: Path) -> None:
    hr = draw_photo(60, 48, 0)
    files = {
        "hr": write(tmp_path / "blobs", hr, "1f.png"),
        "lr": write(tmp_path / "blobs", imresize(hr, 1 / 2), "2e.png"),
    }
    for folder, file in files.items():
        (tmp_path / folder).mkdir()
        for name in "ab":
            (tmp_path / folder / f"{name}.png").symlink_to(file)
    assert identify(tmp_path / "lr", tmp_path / "hr").pictures == ("a.png", "b.png")


@pytest.mark.parametrize("grey", ["a.png", "b.png"])
def test_exchanged_channels_beside_a_grey_picture(tmp_path: Path, grey: str) -> None:
    for k, name in enumerate(("a.png", "b.png")):
        hr = draw_photo(128, 112, k)
        hr = hr[..., 1] if name == grey else hr
        write(tmp_path / "hr", hr, name)
        lr = imresize(hr, 1 / 4)
        write(tmp_path / "lr", lr if name == grey else lr[..., ::-1], name)
    verdict = identify(tmp_path / "lr", tmp_path / "hr").verdict
    assert (verdict.maker, verdict.exchanged, verdict.differing) == ("matlab", True, 0), verdict.text


def test_y_of_colour_beside_a_grey_picture(tmp_path: Path) -> None:
    for k, name in enumerate(("a.png", "b.png")):
        hr = draw_photo(128, 112, k)
        write(tmp_path / "hr", hr if k else hr[..., 1], name)
        write(tmp_path / "lr", imresize(rgb2y(hr) if k else hr[..., 1], 1 / 4), name)
    verdict = identify(tmp_path / "lr", tmp_path / "hr").verdict
    assert (verdict.maker, verdict.channel, verdict.differing) == ("matlab", "y", 0), verdict.text


@pytest.mark.parametrize("pale", ["a.png", "b.png"])
def test_colour_that_is_grey_in_lr(tmp_path: Path, pale: str) -> None:
    """A picture with hardly any colour, beside one in full colour."""
    for k, name in enumerate(("a.png", "b.png")):
        hr = draw_photo(128, 112, k)
        if name == pale:
            hr = np.repeat(hr[..., 1:2], 3, axis=2)
            hr[60, 60, 0] ^= 1
        write(tmp_path / "hr", hr, name)
        write(tmp_path / "lr", imresize(hr, 1 / 4), name)
    assert (read_image(tmp_path / "lr" / pale) == read_image(tmp_path / "lr" / pale)[..., :1]).all()
    verdict = identify(tmp_path / "lr", tmp_path / "hr").verdict
    assert (verdict.maker, verdict.channel, verdict.differing) == ("matlab", "rgb", 0), verdict.text


def test_8_bits_beside_16(tmp_path: Path) -> None:
    for k, (folder, name) in enumerate((("hr", "a.png"), ("hr", "b.png"))):
        hr = draw_photo(96, 96, k).astype(np.uint8 if k == 0 else np.uint16) * (257 if k else 1)
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "lr").mkdir(exist_ok=True)
        write_exact(hr, tmp_path / folder / name)
        write_exact(imresize(hr, 1 / 4), tmp_path / "lr" / name)
    found = identify(tmp_path / "lr", tmp_path / "hr")
    assert (found.verdict.maker, found.verdict.differing) == ("matlab", 0)
    assert "Pillow (16-bit pictures)" in found.not_tried


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    hr, lr = write(tmp_path / "hr", draw_photo(60, 50, 0)), write(tmp_path / "lr", draw_photo(15, 12, 1), "b.png")
    write(tmp_path / "hr", draw_photo(60, 50, 0), "c.png")
    with pytest.raises(ValueError, match=r"no LR has the name of an HR, such as b\.png and a\.png; name two files"):
        identify(tmp_path / "lr", tmp_path / "hr")
    with pytest.raises(ValueError, match=r"a\.png: 50x60 pixels are not fewer .*; give LR first, then HR"):
        identify(hr, lr)
    write(tmp_path / "lr2", draw_photo(30, 25, 0), "a.png")
    write(tmp_path / "lr2", draw_photo(15, 12, 0), "c.png")
    with pytest.raises(ValueError, match=r"pictures of several scales: a\.png x2, c\.png x4; name those of one scale"):
        identify(tmp_path / "lr2", tmp_path / "hr")
    odd = write(tmp_path / "odd", draw_photo(7, 40, 1))
    with pytest.raises(ValueError, match=r"LR of 40x7 pixels, HR of 50x60: no scale explains these"):
        identify(odd, hr)
    with pytest.raises(
        ValueError, match=r"not scale 5, and LR is no part of HR reduced; name the right HR, or another"
    ):
        identify(lr, hr, scale=5)
    with pytest.raises(ValueError, match="pictures must be at least 1; got 0"):
        identify(lr, hr, pictures=0)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        identify(tmp_path / "none", hr)
    write_exact(draw_photo(30, 25, 0).astype(np.uint16), tmp_path / "wide.png")
    with pytest.raises(ValueError, match=r"wide\.png: 16 bits, its HR .* 8; give both the same"):
        identify(tmp_path / "wide.png", hr)


def test_unrelated_pictures_have_no_maker(tmp_path: Path) -> None:
    verdict = compare(tmp_path, draw_photo(30, 25, 8), draw_photo(120, 100, 9)).verdict
    assert (verdict.maker, verdict.command) == ("none", None)


@pytest.mark.parametrize("boundary", ["symmetric", "replicate", "blurred"])
def test_matlabs_own(data_root: Path, matlab_folder: Path, boundary: str) -> None:
    for scale in (2, 3, 4):
        files = sorted((matlab_folder / boundary).glob(f"*_x{scale}.png"))
        if files:
            verdict = identify(files, data_root / "test_data" / "Set5").verdict
            assert (verdict.maker, verdict.boundary) == ("matlab", boundary.replace("blurred", "replicate")), (
                verdict.text
            )
            assert verdict.differing <= (boundary == "blurred") and verdict.through == "uint8"
            assert verdict.values == sum(read_image(path).size for path in files[:: max(1, (len(files) - 1) // 2)][:3])
