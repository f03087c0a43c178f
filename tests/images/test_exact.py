"""All bits of a picture: 16-bit colour and grey as they are stored, written and read again."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from support.drawing import draw_photo
from support.tifffiles import PLANES, SIGN, WHITE, encode_tiff

from idn_data.images.decode import ImageError, read_image
from idn_data.images.exact import Header, read_exact, read_header, write_exact
from idn_data.matlab.classes import im2uint8
from idn_train.photos import read_photo


def draw_wide(height: int = 33, width: int = 21) -> np.ndarray:
    """(height, width, 3) uint16 with all bits in use."""
    low = np.random.default_rng(0).integers(0, 256, (height, width, 3))
    return (draw_photo(height, width, 5).astype(np.uint16) << 8) + low.astype(np.uint16)


def encode_png(pixels: np.ndarray, kind: int) -> bytes:
    """A PNG of 16 bits without filters, of any channels: written apart from the code under test."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["png", "bmp", "tif"])
@pytest.mark.parametrize("kind", ["grey", "colour", "grey16", "colour16"])
def test_what_is_written_is_read(tmp_path: Path, name: str, kind: str) -> None:
    wide = draw_wide() if "16" in kind else draw_photo(33, 21, 1)
    image = wide if "colour" in kind else wide[..., 1]
    path = tmp_path / f"a.{name}"
    if (name, kind) in (("bmp", "grey16"), ("bmp", "colour16"), ("tif", "colour16")):
        with pytest.raises(ValueError, match=rf"{name} cannot hold 16-bit .*; take --format png"):
            write_exact(image, path, name)
        return
    write_exact(image, path, name)
    read = read_exact(path)
    assert read.dtype == image.dtype
    np.testing.assert_array_equal(read, image)
    assert read_header(path) == Header(33, 21, 16 if "16" in kind else 8, "colour" in kind, False)
    again = tmp_path / "again"
    write_exact(image, again, name)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (6, 4)])
def test_16_bit_colour_of_others(tmp_path: Path, kind: int, channels: int) -> None:
    wide = draw_wide()
    pixels = np.concatenate([wide, np.full_like(wide[..., :1], 40_000)], axis=2)[..., :channels]
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(pixels, kind))
    np.testing.assert_array_equal(read_exact(path), wide)
    assert read_header(path) == Header(33, 21, 16, True, channels == 4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_in_both_orders_of_bytes(tmp_path: Path, order: str) -> None:
    wide = draw_wide()
    path, body = tmp_path / "a.tif", wide.astype(f"{order}u2").tobytes()
    path.write_bytes(encode_tiff([body], (33, 21), (16, 16, 16), order))
    np.testing.assert_array_equal(read_exact(path), wide)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_tiff_in_both_orders_of_bytes(tmp_path: Path, order: str) -> None:
    grey = draw_wide()[..., 0]
    path = tmp_path / "a.tif"
    path.write_bytes(encode_tiff([grey.astype(f"{order}u2").tobytes()], (33, 21), (16,), order))
    np.testing.assert_array_equal(read_exact(path), grey)
    np.testing.assert_array_equal(read_image(path), im2uint8(grey))


READERS = (read_exact, read_header, read_image, read_photo)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_in_separate_planes(tmp_path: Path, order: str) -> None:
    """Of 16 bits, Pillow takes the first half of each plane, and each byte for a pixel."""
    wide, path = draw_wide(), tmp_path / "a.tif"
    planes = [wide[..., k].astype(f"{order}u2").tobytes() for k in range(3)]
    path.write_bytes(encode_tiff(planes, (33, 21), (16, 16, 16), order, {PLANES: 2}))
    for read in READERS:
        with pytest.raises(ImageError, match=r"a\.tif: 16-bit colour in separate planes; save it with its planes"):
            read(path)
    eight = (wide >> 8).astype(np.uint8)
    path.write_bytes(encode_tiff([eight[..., k].tobytes() for k in range(3)], (33, 21), (8, 8, 8), order, {PLANES: 2}))
    np.testing.assert_array_equal(read_exact(path), eight)


@pytest.mark.parametrize(
    ("bits", "more", "said"),
    [
        (32, {}, "32-bit integers; save it with 8 or 16 bits"),
        (32, {SIGN: 2}, "32-bit integers; save it with 8 or 16 bits"),
        (12, {}, "12-bit integers; save it with 8 or 16 bits"),
        (16, {SIGN: 2}, "integers with a sign; save it with 8 or 16 bits without sign"),
        (8, {SIGN: 2}, "integers with a sign; save it with 8 or 16 bits without sign"),
        (16, {WHITE: 0}, "16-bit grey whose white is 0; save it with black as 0"),
    ],
)
def test_integers_that_would_be_read_as_other_values(
    tmp_path: Path, bits: int, more: dict[int, int], said: str
) -> None:
    """All of them small: none tells by its size."""
    path = tmp_path / "a.tif"
    path.write_bytes(encode_tiff([bytes(8 * bits)], (8, 8), (bits,), "<", more))
    for read in READERS:
        with pytest.raises(ImageError, match=rf"a\.tif: {said}$"):
            read(path)


@pytest.mark.parametrize("bits", [15, 16])
def test_bmp_of_16_bits_a_pixel_has_8_bits_a_colour(tmp_path: Path, bits: int) -> None:
    """5-5-5 and 5-6-5: each colour fits in 8 bits."""
    pixels = np.array([[31 << (bits - 5), 0], [31, 0x7FFF if bits == 15 else 0xFFFF]], "<u2")  # from the bottom up
    masks = b"" if bits == 15 else struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    head = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 16, 0 if bits == 15 else 3, pixels.nbytes, 0, 0, 0, 0)
    start = 14 + len(head) + len(masks)
    path = tmp_path / "a.bmp"
    path.write_bytes(
        struct.pack("<2sIHHI", b"BM", start + pixels.nbytes, 0, 0, start) + head + masks + pixels.tobytes()
    )
    assert read_header(path) == Header(2, 2, 8, True, False)
    assert read_exact(path).tolist() == [[[0, 0, 255], [255, 255, 255]], [[255, 0, 0], [0, 0, 0]]]


def test_tiles_as_pillow_had_them_before_11(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain tuples, without names."""
    opened = PngImageFile._open

    def open_old(self: PngImageFile) -> None:
        opened(self)
        self.tile = [tuple(tile) for tile in self.tile]  # type: ignore[misc]  # as said

    monkeypatch.setattr(PngImageFile, "_open", open_old)
    for image in (draw_wide(), draw_wide()[..., 0], draw_photo(33, 21, 1)):
        write_exact(image, tmp_path / "a.png")
        np.testing.assert_array_equal(read_exact(tmp_path / "a.png"), image)
        assert read_header(tmp_path / "a.png").bits == 8 * image.itemsize


def test_grey_with_transparency_of_16_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(draw_wide()[..., :2], 4))
    assert read_header(path) == Header(33, 21, 16, False, True)
    with pytest.raises(ImageError, match="16-bit pixels in an unusual order; save it as grey or RGB"):
        read_exact(path)


def test_8_bits_are_read_as_everywhere(photos: Path) -> None:
    for path in photos.iterdir():
        np.testing.assert_array_equal(read_exact(path), read_image(path))
    Image.fromarray(draw_photo(9, 8, 0)).quantize(16).save(photos / "palette.png")
    np.testing.assert_array_equal(read_exact(photos / "palette.png"), read_image(photos / "palette.png"))


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_exact(draw_wide(), path)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(ImageError, match=r"a\.png: "):
        read_exact(path)
