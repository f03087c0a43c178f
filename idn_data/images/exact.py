"""Pictures with all their bits: 8 and 16 bits, grey and colour, read and written without loss.

Pillow shows only the high byte of 16-bit colour, and cannot write it. Here its decoder is asked once for each byte.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile

from idn_data.images.decode import ImageError, copy_pixels, decode_bytes, load_as_stored, read_integers
from idn_data.images.opening import find_size, open_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = {"png": "PNG", "bmp": "BMP", "tif": "TIFF"}  # without loss; suffix -> Pillow's name
COMPRESSION = 2  # of zlib, for PNG: a fifth of the time of Pillow's own 6, files 1 to 4 % larger
_HIGH_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}  # and who shows the low


@dataclass(frozen=True)
class Header:
    """What a file says of its picture: sides in pixels, 8 or 16 bits, colour (of a palette: perhaps), transparency."""

    height: int
    width: int
    bits: int
    colour: bool
    alpha: bool


def read_header(path: Path | str) -> Header:
    """What a file says of its picture, without decoding it; ImageError as `idn_data.images.decode.read_image`."""
    with open_picture(path) as picture:
        return _describe(picture)


def _describe(picture: Image.Image) -> Header:
    wide = picture.mode.startswith("I") or _raw_mode(picture).endswith(("16B", "16L", "16N"))  # BGR;16 of BMP is 5-6-5
    colour = picture.mode not in ("1", "L", "LA", "La") and not picture.mode.startswith("I")
    colour = colour and not _raw_mode(picture).startswith("LA")
    return Header(*find_size(picture), 16 if wide else 8, colour, picture.has_transparency_data)


def _raw_mode(picture: Image.Image) -> str:
    """How the pixels lie in the file, in Pillow's words, such as "RGB;16B"; empty where that is not said."""
    tiles = picture.tile if isinstance(picture, ImageFile.ImageFile) else []
    args = tiles[0][3] if tiles else ""  # by number: before Pillow 11, tiles are plain tuples
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def read_exact(path: Path | str, compiled: bool = False) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode a picture with all its bits, as MATLAB's imread; transparency is dropped.

    Parameters
    ----------
    path : path
        BMP, PNG, JPEG, TIFF or WebP.
    compiled : bool
        Copy 8-bit colour out of Pillow by a numba kernel: for many pictures, as that takes a moment to load.

    Returns
    -------
    (H, W) or (H, W, 3) uint8 or uint16
        8 bits as `idn_data.images.decode.read_image`; 16 bits as they are stored.

    Raises
    ------
    ImageError
        As `read_image`; also for 16-bit grey with transparency.
    """
    with open_picture(path) as picture:
        raw, header = _raw_mode(picture), _describe(picture)
        if header.bits == 8:
            return decode_bytes(picture, compiled)
        if picture.mode.startswith("I"):
            return copy_pixels(load_as_stored(picture), read_integers)
        if len(raw.split(";")) != 2 or raw.split(";")[0] not in ("RGB", "RGBA", "RGBX"):
            raise ImageError("16-bit pixels in an unusual order; save it as grey or RGB without transparency")
    layout, order = raw.split(";")
    high = _read_bytes(path, raw)
    low = _read_bytes(path, f"{layout};{_HIGH_BYTE[order]}")
    wide = high.astype(np.uint16)
    wide <<= 8
    wide |= low
    return wide


def _read_bytes(path: Path | str, raw: str) -> NDArray[np.uint8]:
    """One byte of each value of a 16-bit colour picture: the one that Pillow's decoder takes in raw mode `raw`."""
    with open_picture(path) as picture:
        assert isinstance(picture, ImageFile.ImageFile)  # as all that were opened
        picture.tile = [_change_raw_mode(tile, raw) for tile in picture.tile]
        decoded = load_as_stored(picture)
        return copy_pixels(decoded, lambda part: np.array(part)[..., :3].copy())


def _change_raw_mode(tile: Any, raw: str) -> Any:
    """A tile of Pillow's with another raw mode, and of the same type."""
    args = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
    return getattr(tile, "_make", tuple)((*tile[:3], args))


def check_format(name: str, header: Header) -> None:
    """Raise ValueError where a format cannot hold a picture without loss."""
    if header.bits == 16 and (name == "bmp" or (name == "tif" and header.colour)):
        kind = "16-bit colour" if header.colour else "16-bit pixels"
        raise ValueError(f"{name} cannot hold {kind}; take --format png")


def write_exact(image: NDArray[np.uint8] | NDArray[np.uint16], path: Path | str, name: str = "png") -> None:
    """Write a picture without loss; the same pixels give the same bytes.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8 or uint16
    path : path
        Written in place: give the temporary path of `idn_data.atomic.write_whole`.
    name : {"png", "bmp", "tif"}
        The format. PNG is compressed with level `COMPRESSION`, TIFF is not compressed.

    Raises
    ------
    ValueError
        A format that cannot hold the picture.
    OSError
        The file cannot be written.
    """
    Path(path).write_bytes(encode_exact(image, name))


def encode_exact(image: NDArray[np.uint8] | NDArray[np.uint16], name: str = "png") -> bytes:
    """The bytes of the file that `write_exact` writes; ValueError as there."""
    colour = image.ndim == 3
    check_format(name, Header(image.shape[0], image.shape[1], 8 * image.dtype.itemsize, colour, False))
    if colour and image.dtype == np.uint16:
        return _encode_png16(image.astype(np.uint16, copy=False))
    options = {"compress_level": COMPRESSION} if name == "png" else {}
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, format=FORMATS[name], **options)
    return stream.getvalue()


def _encode_png16(image: NDArray[np.uint16]) -> bytes:
    """A PNG of (H, W, 3) uint16: for each row that filter of the format whose bytes are the smallest in sum."""
    height, width = image.shape[:2]
    rows = image.astype(">u2").view(np.uint8).reshape(height, 6 * width)
    left, up = np.zeros_like(rows), np.zeros_like(rows)
    left[:, 6:], up[1:] = rows[:, :-6], rows[:-1]
    lines = np.stack([rows, rows - left, rows - up])  # filters 0, 1, 2; uint8 wraps, as the format has it
    cost = np.abs(lines.view(np.int8).astype(np.int32)).sum(axis=2)
    best = cost.argmin(axis=0)
    chosen = lines[best, np.arange(height)]
    data = np.concatenate([best.astype(np.uint8)[:, None], chosen], axis=1).tobytes()  # safe: 0, 1 or 2

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)  # 16 bits, RGB, not interlaced
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data, 6)) + chunk(b"IEND", b"")
