"""idn_train.photos: what is read of photographs, what formats hold, and the names of results."""

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.Image import Exif
from support.drawing import draw_photo
from support.pngfiles import write_png

from idn_data.images.decode import ImageError, list_images, read_image
from idn_train.outputs import plan_outputs
from idn_train.photos import FORMATS, find_format, read_photo

ORIENTATION, MAKE, PREDICTOR = 274, 271, 317
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def read_back(picture: Image.Image, folder, **how: object):
    """Save a picture as PNG (or as `how` says) and read it."""
    path = folder / f"photo.{str(how.setdefault('format', 'PNG')).lower()}"
    picture.save(path, **how)
    return read_photo(path)


# ---- reading


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_pixels_and_alpha_as_they_are(tmp_path, mode):
    rgba = np.dstack((draw_photo(20, 31, 1), draw_photo(20, 31, 2)[..., 0]))
    picture = Image.fromarray(rgba).convert(mode)
    pixels, alpha, found, extras = read_back(picture, tmp_path)
    assert found == mode and extras == {}
    assert pixels.dtype == np.uint8 and (pixels == np.asarray(picture.convert(mode.removesuffix("A")))).all()
    if mode.endswith("A"):
        assert alpha.dtype == np.uint8 and (alpha == rgba[..., 3]).all()
    else:
        assert alpha is None


@pytest.mark.parametrize(("dtype", "kind"), [(np.uint16, "PNG"), (np.uint16, "TIFF")])
def test_16_bits_of_grey(tmp_path, dtype, kind):
    values = (draw_photo(20, 31, 1)[..., 0] * 257.0 + 3).clip(0, 65535).astype(dtype)
    pixels, alpha, mode, _ = read_back(Image.fromarray(values), tmp_path, format=kind)
    assert (mode, alpha, pixels.dtype) == ("I;16", None, np.uint16)
    assert (pixels == values).all()


@pytest.mark.parametrize("kind", ["LA", "tRNS"])
def test_16_bits_of_grey_with_transparency_become_8(tmp_path, caplog, kind):
    values = (draw_photo(20, 31, 1)[..., 0] * 257.0).astype(np.uint16)
    shown = np.where(values == values[0, 0], 0, 65535).astype(np.uint16)
    if kind == "LA":
        rows = np.stack([values, shown], axis=2).astype(">u2")
        write_png(tmp_path / "a.png", 31, 20, 16, 4, rows.tobytes())
    else:
        Image.fromarray(values).save(tmp_path / "a.png", transparency=int(values[0, 0]))
    pixels, alpha, mode, _ = read_photo(tmp_path / "a.png")
    assert (mode, pixels.dtype) == ("LA", np.uint8) and (pixels == values >> 8).all()
    assert (alpha == shown >> 8).all()
    assert "16-bit grey with transparency, which no result can hold; enlarged in 8 bits" in caplog.text


def test_integers_beyond_16_bits(tmp_path):
    """Nor those that may be fewer: what bits they are meant to have, the file does not say."""
    for value in (65536, -1, 200):
        Image.fromarray(np.array([[value, 0]], np.int32)).save(tmp_path / "a.tif")
        with pytest.raises(ImageError, match=r"a\.tif: 32-bit integers; save it with 8 or 16 bits"):
            read_photo(tmp_path / "a.tif")


def test_palettes_and_single_bits(tmp_path):
    rgb = draw_photo(30, 33, 5)
    palette = Image.fromarray(rgb).quantize(32)
    pixels, alpha, mode, _ = read_back(palette, tmp_path)
    assert (mode, alpha) == ("RGB", None) and (pixels == np.asarray(palette.convert("RGB"))).all()

    _, alpha, mode, _ = read_back(palette, tmp_path, transparency=bytes([0, 128, *[255] * 30]))
    assert mode == "RGBA"
    assert (alpha == np.choose(np.minimum(np.asarray(palette), 2), [0, 128, 255])).all()

    grey = Image.fromarray(rgb[..., 0])
    grey_palette = grey.quantize(256)
    pixels, alpha, mode, _ = read_back(grey_palette, tmp_path)
    assert (mode, alpha) == ("L", None) and (pixels == np.asarray(grey_palette.convert("L"))).all()
    assert read_back(grey_palette, tmp_path, icc_profile=PROFILE)[2] == "RGB"  # a profile of RGB

    pixels, alpha, mode, _ = read_back(grey.convert("1"), tmp_path)
    assert (mode, alpha) == ("L", None) and (pixels == np.asarray(grey.convert("1")) * 255).all()


def test_a_transparent_colour_becomes_alpha(tmp_path):
    rgb = draw_photo(20, 21, 5)
    rgb[5:9, 6:12] = (1, 2, 3)
    expected = np.full((20, 21), 255, np.uint8)
    expected[5:9, 6:12] = 0
    pixels, alpha, mode, _ = read_back(Image.fromarray(rgb), tmp_path, transparency=(1, 2, 3))
    assert mode == "RGBA" and (pixels == rgb).all() and (alpha == expected).all()
    rgb[..., 0] = np.where(expected, rgb[..., 0] | 2, 1)
    pixels, alpha, mode, _ = read_back(Image.fromarray(rgb[..., 0]), tmp_path, transparency=1)
    assert mode == "LA" and (pixels == rgb[..., 0]).all() and (alpha == expected).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_and_profile_come_along_and_nothing_is_turned(tmp_path, kind):
    exif = Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Maker"
    picture = Image.fromarray(draw_photo(20, 31, 5))
    pixels, _, _, extras = read_back(picture, tmp_path, format=kind, exif=exif.tobytes(), icc_profile=PROFILE)
    assert extras["icc_profile"] == PROFILE and extras["exif"].startswith(b"Exif\0\0")
    found = Exif()
    found.load(extras["exif"])
    assert (found[ORIENTATION], found[MAKE]) == (6, "Maker")
    assert pixels.shape == (20, 31, 3) and (pixels == read_image(tmp_path / f"photo.{kind.lower()}")).all()


def test_a_tiffs_layout_does_not_come_along(tmp_path):
    how = {"format": "TIFF", "compression": "tiff_lzw", "tiffinfo": {MAKE: "Maker", PREDICTOR: 2}}
    picture = Image.fromarray(draw_photo(20, 31, 5))
    extras = read_back(picture, tmp_path, **how)[3]
    found = Exif()
    found.load(extras["exif"])
    assert found[MAKE] == "Maker" and PREDICTOR not in found
    with Image.open(tmp_path / "photo.tiff") as stored:
        assert stored.tag_v2[PREDICTOR] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.png: the file is empty"),
        (b"no picture", r"a\.png: not an image in one of the formats"),
        (None, r"a\.png: no such file"),
    ],
)
def test_unreadable_photos(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        read_photo(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


def test_truncated_and_unsupported_photos(tmp_path):
    picture = Image.fromarray(draw_photo(60, 60, 1))
    picture.save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    with pytest.raises(ImageError, match=r"a\.jpg: .*truncated"):
        read_photo(tmp_path / "a.jpg")
    picture.convert("CMYK").save(tmp_path / "c.jpg")
    with pytest.raises(ImageError, match=r"c\.jpg: CMYK images are not supported; save it as grey or RGB"):
        read_photo(tmp_path / "c.jpg")


# ---- formats


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_in_either_case(tmp_path, suffix):
    assert find_format(tmp_path / f"b{suffix}") == find_format(tmp_path / f"b{suffix.upper()}") == FORMATS[suffix]
    assert find_format(tmp_path / f"b{suffix}", "RGB", 16_383) == FORMATS[suffix]


@pytest.mark.parametrize(
    ("mode", "side", "suffix", "message"),
    [
        ("I;16", 4, ".jpg", r"b\.jpg: JPEG cannot hold 16-bit pixels, which the result has; name a \.png or \.tif"),
        ("I;16", 4, ".webp", "WEBP cannot hold 16-bit pixels"),
        ("RGBA", 4, ".jpeg", "JPEG cannot hold an alpha channel"),
        ("RGBA", 4, ".bmp", "BMP cannot hold an alpha channel"),
        ("I;16", 4, ".bmp", "BMP cannot hold 16-bit pixels"),
        ("LA", 4, ".jpg", "JPEG cannot hold an alpha channel"),
        ("L", 16_384, ".webp", "WEBP cannot hold 16384 pixels along a side"),
        ("L", 65_501, ".jpg", "JPEG cannot hold 65501 pixels along a side"),
        ("L", 4, ".gif", r"b\.gif: cannot write \.gif; one of \.png, \.jpg, \.jpeg, \.jfif, \.tif, \.tiff, "),
        ("L", 4, "", "b: cannot write without suffix; one of"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path, mode, side, suffix, message):
    with pytest.raises(ValueError, match=message):
        find_format(tmp_path / f"b{suffix}", mode, side)


def test_a_bmp_has_no_room_for_what_belongs_to_a_photo(tmp_path):
    for name, said in (("icc_profile", "a colour profile"), ("exif", "EXIF")):
        with pytest.raises(ValueError, match=rf"b\.bmp: BMP cannot hold {said}, which the result has; name a \.png"):
            find_format(tmp_path / "b.bmp", "RGB", 4, {name: b""})
        assert find_format(tmp_path / "b.png", "RGB", 4, {name: b""}) == "PNG"


def test_what_formats_do_hold(tmp_path):
    for suffix, mode, side in ((".webp", "RGBA", 16_383), (".png", "I;16", 70_000), (".tif", "LA", 70_000)):
        Image.new(mode, (2, 1)).save(tmp_path / f"b{suffix}", format=find_format(tmp_path / f"b{suffix}", mode, side))
        assert read_photo(tmp_path / f"b{suffix}")[2] == mode


# ---- names


def plan(*given, **how):
    """The plan alone, where nothing is left out."""
    planned, earlier = plan_outputs(*given, **how)
    assert not earlier
    return planned


def test_plan_beside_the_source_and_in_a_folder(photos, tmp_path):
    stone = photos / "stone.bmp"
    assert plan([stone], None, 2) == [(stone, photos / "stone_x2.png")]
    out = tmp_path / "out"
    assert plan([str(stone)], str(out), 4, ".jpg") == [(stone, out / "stone_x4.jpg")]
    assert plan([photos], out, 3) == [(p, out / f"{p.stem}_x3.png") for p in list_images(photos)]
    water = photos / "water.png"
    assert plan([water, stone], None, 3) == [(p, photos / f"{p.stem}_x3.png") for p in (water, stone)]
    assert not out.exists()


@pytest.mark.parametrize("name", ["name.tif", "name.bmp", "o.JFIF", "deep/er/name.png"])
def test_a_file_name_for_one_photo(photos, tmp_path, name):
    stone, out = photos / "stone.bmp", tmp_path / name
    assert plan([stone], out, 4) == [(stone, out)]
    (tmp_path / "one").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "one" / "a.png")
    assert plan([tmp_path / "one"], out, 4) == [(tmp_path / "one" / "a.png", out)]  # the only one of its folder
    with pytest.raises(ValueError, match=rf"{out} is one file, for 5 photos; name a folder, or make it first"):
        plan_outputs([photos], out, 4)
    out.mkdir(parents=True)  # a folder with such a name is a folder
    assert plan([stone], out, 4) == [(stone, out / "stone_x4.png")]


@pytest.mark.parametrize("name", ["stone.png", "link.png", "same.png"])
def test_a_photo_is_not_replaced_by_its_own_result(tmp_path, name):
    """Not with force either, and not through another name of the same file."""
    stone = tmp_path / "stone.png"
    Image.new("L", (2, 2)).save(stone)
    (tmp_path / "link.png").symlink_to(stone)
    (tmp_path / "same.png").hardlink_to(stone)
    with pytest.raises(ValueError, match=rf"{name} is the photo itself; name another file"):
        plan_outputs([stone], tmp_path / name, 4, force=True)


def test_a_file_name_that_cannot_be_written(photos, tmp_path):
    for name in ("o.gif", "results.v2"):
        with pytest.raises(ValueError, match=rf"{name}: cannot write \.[a-z0-9]+; one of \.png"):
            plan_outputs([photos / "stone.bmp"], tmp_path / name, 4)


def test_the_results_of_an_earlier_run_are_left_out(photos, tmp_path):
    """Of every scale and format, in a folder or by name, and wherever the new ones go."""
    first = plan([photos], None, 2)
    results = [*(target for _, target in first), photos / "stone_x3.jpg", photos / "stone_x2_x2.png"]
    for result in results:
        Image.new("L", (2, 2)).save(result)
    results.sort(key=lambda p: p.name)
    assert plan_outputs([photos], None, 2, force=True) == (first, results)
    for scale, out, suffix in ((3, None, ".png"), (2, tmp_path / "out", ".png"), (2, None, ".jpg")):
        planned, earlier = plan_outputs([photos], out, scale, suffix, force=True)
        assert ([source for source, _ in planned], earlier) == ([source for source, _ in first], results)
    stone, result = photos / "stone.bmp", photos / "stone_x2.png"
    assert plan_outputs([stone, result], None, 4) == ([(stone, photos / "stone_x4.png")], [result])
    assert plan([result], None, 4) == [(result, photos / "stone_x2_x4.png")]  # who names it alone wants it
    stone.unlink()
    planned, earlier = plan_outputs([photos], tmp_path / "out", 4)
    assert result in [source for source, _ in planned] and result not in earlier  # its photo is gone: it is one itself


@pytest.mark.parametrize("scale", [2, 5, 6, 7, 8])
def test_the_results_of_every_scale_are_known(photos, tmp_path, scale):
    first = plan([photos], None, scale)
    for _, result in first:
        Image.new("L", (2, 2)).save(result)
    assert plan_outputs([photos], None, scale, force=True) == (first, [target for _, target in first])
    (photos / "stone_x9.png").touch()  # of no scale that there is
    assert len(plan_outputs([photos], tmp_path / "out", scale)[0]) == 6


def test_plan_refuses_what_collides_or_is_missing(photos, tmp_path):
    Image.new("L", (2, 2)).save(photos / "stone.png")
    with pytest.raises(ValueError, match=r"stone\.bmp and .*stone\.png would both become .*stone_x2\.png; rename or"):
        plan_outputs([photos], None, 2)
    with pytest.raises(ValueError, match=r"water\.png and .*water\.png would both become"):
        plan_outputs([photos / "water.png", photos / "water.png"], None, 2)
    (photos / "sub").mkdir()
    with pytest.raises(ValueError, match=r"water\.png and .*sub/\.\./water\.png would both become"):
        plan_outputs([photos / "water.png", photos / "sub" / ".." / "water.png"], None, 2)
    (other := tmp_path / "other").mkdir()
    Image.new("L", (2, 2)).save(other / "water_x2.png")
    with pytest.raises(ValueError, match=r"water_x2\.png is a photo to enlarge and the result of .*water\.png; leave"):
        plan_outputs([photos / "water.png", other / "water_x2.png"], other, 2, force=True)
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*none"):
        plan_outputs([tmp_path / "none"], None, 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images in .*empty"):
        plan_outputs([tmp_path / "empty"], None, 2)
    with pytest.raises(ValueError, match=r"cannot write \.gif; one of \.png"):
        plan_outputs([photos / "water.png"], None, 2, ".gif")


def test_plan_refuses_targets_that_are_there(photos, tmp_path):
    """Whatever would stop a run on its way stops it before its first photo."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "street_x2.png").touch()  # the third of five
    with pytest.raises(FileExistsError, match=r"street_x2\.png exists already; --force replaces it"):
        plan_outputs([photos], out, 2)
    assert len(plan([photos], out, 2, force=True)) == 5
    with pytest.raises(FileExistsError, match=r"street_x2\.png exists already"):
        plan_outputs([photos / "stone.bmp"], out / "street_x2.png", 2)
    (out / "stone_x2.png").mkdir()
    with pytest.raises(IsADirectoryError, match=r"stone_x2\.png is a folder; name a file"):
        plan_outputs([photos], out, 2, force=True)


def test_plan_refuses_a_file_in_the_place_of_a_folder(photos, tmp_path):
    for name in ("notes", "notes.txt"):
        (tmp_path / name).touch()
    for out in (tmp_path / "notes", tmp_path / "notes.txt" / "large"):
        with pytest.raises(NotADirectoryError, match=r"notes.* is a file; name a folder, or with one photo a file"):
            plan_outputs([photos], out, 2, force=True)
