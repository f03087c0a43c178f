"""All bits of a picture: 16-bit colour and grey as they are stored, written and read again."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.drawing import draw_photo

from idn_data.images.decode import ImageError, read_image
from idn_data.images.exact import Header, read_exact, read_header, write_exact


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
    tags = [(256, 3, 1, 21), (257, 3, 1, 33), (258, 3, 3, 8 + 2 + 12 * 9 + 4), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, 1, 200), (277, 3, 1, 3), (278, 3, 1, 33), (279, 4, 1, len(body))]  # fmt: skip
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", len(tags))
    for tag, kind, count, value in tags:
        head += struct.pack(f"{order}HHI", tag, kind, count)
        head += struct.pack(f"{order}HH", value, 0) if kind == 3 and count == 1 else struct.pack(f"{order}I", value)
    head += struct.pack(f"{order}I", 0) + struct.pack(f"{order}HHH", 16, 16, 16)
    path.write_bytes(head.ljust(200, b"\0") + body)
    np.testing.assert_array_equal(read_exact(path), wide)


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
