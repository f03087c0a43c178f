from __future__ import annotations

import math
import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from support.pngfiles import write_png

from idn_data.images.decode import ImageError, list_images, read_image, read_y
from idn_data.images.opening import MAX_PIXELS
from idn_data.images.variants import (
    DOWNSCALES,
    FLIPS,
    ROTATIONS,
    VARIANTS,
    make_pair,
    make_variants,
    modcrop,
    variant_shapes,
)
from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(40)
GREY = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)


def save(path: Path, picture: Image.Image | NDArray[Any], **how: Any) -> Path:
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **how)
    return path


@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("suffix", [".bmp", ".png", ".tif", ".tiff"])
def test_lossless_formats(tmp_path: Path, image: NDArray[np.uint8], suffix: str) -> None:
    got = read_image(save(tmp_path / f"a{suffix}", image))
    assert got.dtype == np.uint8
    assert got.shape == image.shape
    assert (got == image).all()
    assert (read_image(str(tmp_path / f"a{suffix}")) == image).all()


def test_webp(tmp_path: Path) -> None:
    assert (read_image(save(tmp_path / "a.webp", COLOUR, lossless=True)) == COLOUR).all()


@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_jpeg(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    smooth = np.clip(image // 16 + 100, 0, 255).astype(np.uint8)
    got = read_image(save(tmp_path / "a.jpg", smooth, quality=100, subsampling=0))
    assert got.shape == smooth.shape
    assert np.abs(got.astype(int) - smooth).max() <= 4


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(COLOUR).save(path, format="PNG")
    assert (read_image(path) == COLOUR).all()


def test_palette_in_colour(tmp_path: Path) -> None:
    picture = Image.fromarray(COLOUR).quantize(12)
    wanted = np.array(picture.convert("RGB"))
    for suffix in (".png", ".bmp", ".tif"):
        got = read_image(save(tmp_path / f"a{suffix}", picture))
        assert got.shape == (7, 9, 3)
        assert (got == wanted).all()


def test_palette_in_grey(tmp_path: Path) -> None:
    picture = Image.fromarray(GREY % 16).convert("P")
    picture.putpalette([v for k in range(256) for v in [255 - k] * 3])  # the palette is applied, not the index kept
    for suffix in (".png", ".bmp"):
        got = read_image(save(tmp_path / f"a{suffix}", picture))
        assert got.shape == (7, 9)
        assert (got == 255 - GREY % 16).all()


@pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255])], ids=["one index", "a value for each"])
def test_palette_with_transparency(tmp_path: Path, transparency: int | bytes) -> None:
    picture = Image.fromarray(COLOUR).quantize(12)
    path = save(tmp_path / "a.png", picture, transparency=transparency)
    assert (read_image(path) == np.array(picture.convert("RGB"))).all()


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, (7, 9, 1), dtype=np.uint8)
    with_alpha = np.concatenate([COLOUR, alpha], axis=2)
    for suffix in (".png", ".tif"):
        assert (read_image(save(tmp_path / f"a{suffix}", with_alpha)) == COLOUR).all()
    webp = save(tmp_path / "a.webp", with_alpha, lossless=True, exact=True)
    assert (read_image(webp) == COLOUR).all()


def test_grey_with_alpha_stays_grey(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
    picture = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    got = read_image(save(tmp_path / "a.png", picture))
    assert got.shape == GREY.shape
    assert (got == GREY).all()


def test_one_bit(tmp_path: Path) -> None:
    bits = GREY > 127
    for suffix in (".png", ".bmp", ".tif"):
        got = read_image(save(tmp_path / f"a{suffix}", Image.fromarray(bits)))
        assert got.dtype == np.uint8
        assert (got == np.where(bits, 255, 0)).all()


# v/257 in whole numbers: halves cannot occur, 257 being odd
SIXTEEN = np.array([[0, 1, 128, 129, 257], [385, 386, 32767, 65406, 65535]], dtype=np.uint16)
EIGHT = [[round(int(v) / 257) for v in row] for row in SIXTEEN]


def test_16_bit_grey(tmp_path: Path) -> None:
    assert EIGHT[0] == [0, 0, 0, 1, 1]
    assert EIGHT[1] == [1, 2, 127, 254, 255]
    for suffix in (".png", ".tif"):
        got = read_image(save(tmp_path / f"a{suffix}", SIXTEEN))
        assert got.dtype == np.uint8
        assert got.tolist() == EIGHT
    assert read_image(write_png(tmp_path / "b.png", 5, 2, 16, 0, SIXTEEN.astype(">u2").tobytes())).tolist() == EIGHT


def test_all_16_bit_values(tmp_path: Path) -> None:
    v = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = read_image(save(tmp_path / "a.png", v)).ravel().tolist()
    assert got == [(2 * k + 257) // 514 for k in range(65536)]


def test_16_bit_colour_keeps_the_high_byte(tmp_path: Path) -> None:
    wide = RNG.integers(0, 65536, (7, 9, 3), dtype=np.uint16)
    got = read_image(write_png(tmp_path / "a.png", 9, 7, 16, 2, wide.astype(">u2").tobytes()))
    assert (got == wide >> 8).all()
    assert (got != np.round(wide / 257)).any()


def test_16_bit_colour_with_alpha(tmp_path: Path) -> None:
    wide = RNG.integers(0, 65536, (7, 9, 4), dtype=np.uint16)
    got = read_image(write_png(tmp_path / "a.png", 9, 7, 16, 6, wide.astype(">u2").tobytes()))
    assert (got == wide[:, :, :3] >> 8).all()


def test_16_bit_grey_with_alpha_stays_grey(tmp_path: Path) -> None:
    wide = np.stack([SIXTEEN, SIXTEEN[::-1]], axis=2)
    got = read_image(write_png(tmp_path / "a.png", 5, 2, 16, 4, wide.astype(">u2").tobytes()))
    assert got.shape == (2, 5)  # not three equal planes, of which rgb2y would make 16…235
    assert (np.abs(got.astype(int) - EIGHT) <= 1).all()


def test_32_bit_integers_are_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 70000]], dtype=np.int32))
    with pytest.raises(ImageError, match=r"a\.tif: 32-bit integers; save it with 8 or 16 bits"):
        read_image(save(tmp_path / "a.tif", picture))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_is_not_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    how = {"lossless": True} if suffix == ".webp" else {}
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = read_image(save(tmp_path / f"plain{suffix}", COLOUR, **how))
    turned = save(tmp_path / f"turned{suffix}", COLOUR, exif=exif, **how)
    with Image.open(turned) as picture:
        assert picture.getexif()[0x0112] == orientation
    got = read_image(turned)
    assert got.shape == COLOUR.shape
    assert (got == plain).all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """It would take for ever."""
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: neither a file nor a folder, but a pipe or a device; name a file"):
        read_image(tmp_path / "a.png")


def test_first_of_several_frames(tmp_path: Path) -> None:
    others = [Image.fromarray(255 - GREY), Image.fromarray(GREY[:3])]
    path = save(tmp_path / "a.tif", GREY, save_all=True, append_images=others)
    with Image.open(path) as picture:
        assert picture.n_frames == 3
    assert (read_image(path) == GREY).all()


def test_colour_profile_is_ignored(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert (read_image(save(tmp_path / "a.png", COLOUR, icc_profile=profile)) == COLOUR).all()


@pytest.mark.parametrize(
    ("mode", "suffix", "said"), [("CMYK", ".jpg", "CMYK"), ("CMYK", ".tif", "CMYK"), ("F", ".tif", "F")]
)
def test_modes_without_a_rule(tmp_path: Path, mode: str, suffix: str, said: str) -> None:
    path = save(tmp_path / f"a{suffix}", Image.fromarray(COLOUR).convert("L" if mode == "F" else "RGB").convert(mode))
    with pytest.raises(ImageError, match=rf"a\{suffix}: {said} images are not supported; save it as 8-bit grey or RGB"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_truncated(tmp_path: Path, suffix: str, part: float) -> None:
    path = save(tmp_path / f"a{suffix}", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ImageError) as error:
        read_image(path)
    said = str(error.value)
    assert said.startswith(f"{path}: ") and len(said) > len(f"{path}: ")
    assert "\n" not in said


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"a\.png: the file is empty"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"just a text\n", b"\x00" * 500, b"\x89PNG\r\n\x1a\n", b"BM", b"<svg></svg>"])
def test_not_an_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png: .") as error:
        read_image(tmp_path / "a.png")
    assert "\n" not in str(error.value)


def test_text_is_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("just a text")
    with pytest.raises(ImageError, match=r"not an image in one of the formats BMP, PNG, JPEG, TIFF, WEBP"):
        read_image(tmp_path / "a.png")


def test_other_formats_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path, format="GIF")
    with pytest.raises(ImageError, match="not an image in one of the formats"):
        read_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match=r"a folder; name a file|no permission") as error:
        read_image(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize(("width", "height"), [(30000, 30000), (10000, 9000)])
def test_decompression_bomb(tmp_path: Path, width: int, height: int) -> None:
    assert width * height > MAX_PIXELS
    path = write_png(tmp_path / "a.png", width, height, 8, 2, b"")
    assert path.stat().st_size < 1000
    with pytest.raises(ImageError, match=rf"a\.png: .*{MAX_PIXELS}") as error:
        read_image(path)
    assert "pixels" in str(error.value)


def test_bomb_check_does_not_depend_on_pillows_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = write_png(tmp_path / "a.png", 30000, 30000, 8, 0, b"")
    with pytest.raises(ImageError, match=rf"30000x30000 pixels; at most {MAX_PIXELS}"):
        read_image(path)


def test_reading_leaves_the_warning_filters_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", GREY)
    before = list(warnings.filters)
    read_image(path)
    assert warnings.filters == before


def test_image_error_is_a_value_error() -> None:
    assert issubclass(ImageError, ValueError)


def test_read_y(tmp_path: Path) -> None:
    grey, white = save(tmp_path / "grey.png", GREY), save(tmp_path / "white.png", np.full((2, 2, 3), 255, np.uint8))
    assert (read_y(grey) == GREY).all()
    assert read_y(white).tolist() == [[235, 235], [235, 235]]


def test_bridge_of_set14_is_grey(data_root: Path) -> None:
    """A palette of greys: used as it is, not put through rgb2ycbcr."""
    (path,) = (p for p in list_images(data_root / "test_data" / "Set14") if p.stem == "bridge")
    with Image.open(path) as picture:
        wanted = np.array(picture.convert("RGB"))
    image = read_image(path)
    assert image.ndim == 2
    assert (wanted == image[:, :, None]).all()
    assert (read_y(path) == image).all()


def test_list_images(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.bmp", "C.jpeg", "d.tif", "e.TIFF", "f.webp", "g.jpg", "h.JFIF"):
        (tmp_path / name).write_bytes(b"")
    for name in ("notes.txt", ".hidden.png", "a.gif", "png", "b.png.part"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "deep.png").write_bytes(b"")
    assert [p.name for p in list_images(tmp_path)] == [
        "C.jpeg",
        "a.bmp",
        "b.PNG",
        "d.tif",
        "e.TIFF",
        "f.webp",
        "g.jpg",
        "h.JFIF",
    ]
    assert list_images(str(tmp_path)) == list_images(tmp_path)


def test_list_images_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(FileNotFoundError, match=r"no images in .*; looked for \.bmp, \.png, \.jpg"):
        list_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        list_images(tmp_path / "notes.txt")


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 7])
def test_modcrop(scale: int) -> None:
    for image in (GREY, COLOUR):
        got = modcrop(image, scale)
        assert got.shape[:2] == (7 - 7 % scale, 9 - 9 % scale)
        assert (got == image[: got.shape[0], : got.shape[1]]).all()
        assert np.shares_memory(got, image)


def test_modcrop_of_too_small_an_image() -> None:
    with pytest.raises(ValueError, match="a 7x9 image is too small for scale 8"):
        modcrop(GREY, 8)
    with pytest.raises(ValueError, match="a 9x7 image is too small for scale 8"):
        modcrop(GREY.T, 8)


def round_away(value: float) -> int:
    """Half away from zero, clamped to 0…255, of a value that is not negative by more than noise."""
    whole = math.floor(value)
    return min(255, max(0, whole + (value - whole >= 0.5)))


@pytest.mark.parametrize("shape", [(21, 34), (10, 10), (1, 3)])
def test_make_variants_is_the_scripts_loop(shape: tuple[int, int]) -> None:
    y = RNG.integers(0, 256, shape, dtype=np.uint8)
    got = list(make_variants(y))
    assert len(got) == VARIANTS == 40
    number = 0
    for turns in (0, 1, 2, 3):
        for flip in (False, True):
            for scale in (1.0, 0.9, 0.8, 0.7, 0.6):
                # as data_aug.m does it: resize in double, imrotate, flip, and imwrite to 8 bits
                image = imresize(y / 255.0, scale)
                for _ in range(turns):
                    image = image.T[::-1]  # a quarter turn counter-clockwise
                if flip:
                    image = image[::-1]
                wanted = [[round_away(v * 255.0) for v in row] for row in image.tolist()]
                assert got[number].dtype == np.uint8
                assert got[number].flags.c_contiguous
                assert got[number].tolist() == wanted, (turns, flip, scale)
                number += 1


def test_variants_are_the_callers_own() -> None:
    y = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
    before, wanted = y.copy(), [v.copy() for v in make_variants(y)]
    for variant, right in zip(make_variants(y), wanted, strict=True):
        assert (variant == right).all() and variant.flags.c_contiguous
        variant[:] = 0
    assert (y == before).all()


def test_order_of_the_variants() -> None:
    y = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
    got = [v.tolist() for v in make_variants(y)]
    assert got[0] == [[10, 20, 30], [40, 50, 60]]
    assert got[5] == [[40, 50, 60], [10, 20, 30]]  # up-down
    assert got[10] == [[30, 60], [20, 50], [10, 40]]  # counter-clockwise
    assert got[15] == [[10, 40], [20, 50], [30, 60]]
    assert got[20] == [[60, 50, 40], [30, 20, 10]]
    assert got[30] == [[40, 10], [50, 20], [60, 30]]
    assert (ROTATIONS, FLIPS, len(DOWNSCALES)) == ((0, 1, 2, 3), (False, True), 5)


def test_downscales_are_matlabs_doubles() -> None:
    # MATLAB builds 1.0:-0.1:0.6 from both ends towards the middle; here both ways give the same doubles
    assert DOWNSCALES == (1.0, 1.0 - 0.1, (1.0 + 0.6) / 2, 0.6 + 0.1, 0.6)


@pytest.mark.parametrize("shape", [(350, 481), (481, 321), (85, 110), (1, 1), (10, 7), (5, 320)])
def test_variant_shapes_are_the_real_ones(shape: tuple[int, int]) -> None:
    shapes = variant_shapes(*shape)
    assert len(shapes) == 40
    assert shapes == [v.shape for v in make_variants(np.zeros(shape, np.uint8))]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_make_pair(scale: int) -> None:
    image = RNG.integers(0, 256, (26, 31), dtype=np.uint8)[::-1]
    gt, lr = make_pair(image, scale)
    h, w = 26 // scale, 31 // scale
    assert gt.dtype == np.uint8 and gt.flags.c_contiguous
    assert (gt == image[: h * scale, : w * scale]).all()
    assert lr.shape == (h, w)
    assert lr.dtype == np.float64
    assert (lr == imresize(gt / 255.0, 1 / scale)).all()


def test_lr_is_not_clipped() -> None:
    bars = np.zeros((24, 24), np.uint8)
    bars[:, 8:16] = 255
    _, lr = make_pair(bars, 2)
    assert lr.min() < 0
    assert lr.max() > 1


def test_make_pair_of_too_small_an_image() -> None:
    with pytest.raises(ValueError, match="a 3x9 image is too small for scale 4"):
        make_pair(GREY[:3], 4)
