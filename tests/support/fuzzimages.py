"""Mutated pictures, for `fuzzing`."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from support.fuzzing import NUMBERS, Rng, mutate, pick

from idn_data.images.decode import ImageError, read_y
from idn_train.photos import read_photo, save_photo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _png(
    width: int, height: int, depth: int, kind: int, data: bytes, *, interlace: int = 0, extra: bytes = b""
) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    parts = (chunk(b"IHDR", head), extra, chunk(b"IDAT", data), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with the right checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deflate_zeros(size: int) -> bytes:
    """So many zeros, packed a thousand to one."""
    packer, block, parts = zlib.compressobj(9), bytes(1 << 20), []
    for _ in range(size >> 20):
        parts.append(packer.compress(block))
    return b"".join([*parts, packer.compress(bytes(size & ((1 << 20) - 1))), packer.flush()])


def _tiff_bomb(side: int, bits: int) -> bytes:
    data = deflate_zeros(side * side * bits // 8)
    entries = (
        (256, side),
        (257, side),
        (258, bits),
        (259, 8),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, side),
        (279, len(data)),
    )
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return (
        struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(entries)) + directory + bytes(4)
    )


def repeat_scans(jpeg: bytes, times: int, sides: tuple[int, int] | None = None) -> bytes:
    """A progressive JPEG whose last scan comes again and again; of other height and width, if given."""
    if sides:
        at = jpeg.index(b"\xff\xc2") + 5
        jpeg = jpeg[:at] + struct.pack(">HH", *sides) + jpeg[at + 4 :]
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * times + b"\xff\xd9"


def encode_mpo(times: int, sides: tuple[int, int] | None = None) -> bytes:
    """Two progressive JPEGs in one file, of 64x64 pixels; the first treated as by `repeat_scans`."""
    stream, picture = io.BytesIO(), Image.new("RGB", (64, 64))
    picture.save(stream, "MPO", progressive=True, save_all=True, append_images=[picture])
    whole = stream.getvalue()
    end = whole.index(b"\xff\xd9\xff\xd8") + 2
    return repeat_scans(whole[:end], times, sides) + whole[end:]


def make_images() -> list[bytes]:
    """Small pictures of every format, mode and compression that Pillow writes, and a few that it does not."""
    rng = np.random.default_rng(1)
    rgb = np.repeat(np.repeat(rng.integers(0, 256, (6, 5, 4), dtype=np.uint8), 4, 0), 4, 1)
    colour, grey, alpha = Image.fromarray(rgb[..., :3]), Image.fromarray(rgb[..., 0]), Image.fromarray(rgb)
    wide = Image.fromarray(rgb[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[274], exif[270], exif[34665] = 6, "a picture", {36864: b"0230"}
    more: dict[str, Any] = {"exif": exif.tobytes(), "icc_profile": rng.bytes(300)}
    plans: list[tuple[Image.Image, str, dict[str, Any]]] = [
        *((p, "BMP", {}) for p in (colour, grey, alpha, grey.convert("1"), colour.convert("P"))),
        *((p, "PNG", more) for p in (colour, grey, alpha, wide, grey.convert("LA"), grey.convert("1"),
        colour.convert("P"))),
        *((p, "JPEG", {"progressive": on, **more}) for on in (False, True) for p in (colour, grey,
        colour.convert("CMYK"))),
        *((p, "TIFF", {}) for p in (colour, grey, alpha, wide, grey.convert("1"), colour.convert("P"),
        grey.convert("F"),
                                    grey.convert("I"), colour.convert("CMYK"), colour.convert("LAB"))),
        *((colour, "TIFF", {"compression": c, "icc_profile": rng.bytes(300)}) for c in ("tiff_lzw",
        "tiff_adobe_deflate", "packbits", "jpeg")),
        *((grey.convert("1"), "TIFF", {"compression": c}) for c in ("group3", "group4", "tiff_ccitt")),
        *((p, "WEBP", {"lossless": on, **more}) for on in (False, True) for p in (colour, alpha)),
        (colour, "TIFF", {"save_all": True, "append_images": [grey]}),
        (colour, "WEBP", {"save_all": True, "append_images": [alpha]}), (colour, "PNG", {"save_all": True,
        "append_images": [colour]}),
    ]  # fmt: skip
    files = []
    for picture, kind, how in plans:
        stream = io.BytesIO()
        with contextlib.suppress(OSError, KeyError):  # a codec that this Pillow lacks
            picture.save(stream, kind, **how)
            files.append(stream.getvalue())
    rows = b"".join(b"\0" + rng.bytes(60) for _ in range(10))
    files += [_png(10, 10, 16, 2, zlib.compress(rows)), _png(10, 10, 8, 6, zlib.compress(rows), interlace=1)]
    rle = bytes([4, 7, 0, 0, 4, 9, 0, 0, 0, 4, 1, 2, 3, 4, 0, 2, 1, 0, 0, 1])
    head = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 8, 1, len(rle), 0, 0, 256, 0)
    files.append(struct.pack("<2sIHHI", b"BM", 1078 + len(rle), 0, 0, 1078) + head + rng.bytes(1024) + rle)
    return files


def make_image_bombs() -> list[Callable[[], bytes]]:
    """Small files that take much memory or time, each made only when it is wanted."""
    side, small = 8191, Image.new("RGB", (64, 64))

    def jpeg(times: int, sides: tuple[int, int] | None) -> bytes:
        stream = io.BytesIO()
        small.save(stream, "JPEG", progressive=True)
        return repeat_scans(stream.getvalue(), times, sides)

    def webp(side: int) -> bytes:
        stream = io.BytesIO()
        Image.new("RGB", (side, side)).save(stream, "WEBP", lossless=True, quality=0, method=0)
        return stream.getvalue()

    text = chunk(b"zTXt", b"a\0\0" + deflate_zeros(60 << 20)) * 8
    plans = [(16, 0, 2), (8, 3, 1), (8, 2, 3), (8, 4, 2), (16, 6, 8), (1, 0, 1 / 8), (16, 2, 6)]
    return [
        *(lambda d=d, k=k, b=b: _png(side, side, d, k, deflate_zeros(int(side * (1 + side * b)))) for d, k, b in plans),
        lambda: _png(4, 4, 8, 0, zlib.compress(bytes(20)), extra=text),
        lambda: _png(4, 4, 8, 0, zlib.compress(bytes(20)), extra=chunk(b"iCCP", b"a\0\0" + deflate_zeros(200 << 20))),
        *(lambda b=b: _tiff_bomb(side, b) for b in (1, 8, 16, 32)),
        lambda: jpeg(70, (8000, 8000)), lambda: jpeg(400, (9000, 9000)), lambda: jpeg(20000, None), lambda: jpeg(1,
        (8190, 8190)), lambda: encode_mpo(400, (8000, 8000)),
        lambda: webp(9000), lambda: webp(5792),
    ]  # fmt: skip


def mutate_image(data: bytes, rng: Rng) -> bytes:
    """As `mutate`; or a PNG's chunks, with checksums that are right, a BMP's header, a TIFF's directory."""
    if data[:4] == b"\x89PNG" and rng.random() < 0.7:
        chunks, at = [], 8
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
            at += 12 + size
        for _ in range(int(rng.integers(1, 4))):
            k = int(rng.integers(len(chunks)))
            name, inside = chunks[k]
            match int(rng.integers(6)):
                case 0:
                    chunks.insert(int(rng.integers(len(chunks) + 1)), (name, inside))
                case 1 if len(chunks) > 1:
                    del chunks[k]
                case 2:
                    chunks[k] = (name, mutate(inside, rng))
                case 3:
                    chunks[k] = (
                        pick(
                            rng,
                            (b"tRNS", b"PLTE", b"iCCP", b"eXIf", b"acTL", b"fcTL", b"zTXt", b"iTXt", b"gAMA", b"pHYs"),
                        ),
                        inside,
                    )
                case _:
                    chunks[0] = (b"IHDR", mutate(chunks[0][1], rng))
        return data[:8] + b"".join(chunk(name, inside) for name, inside in chunks)
    if data[:2] in (b"BM", b"II", b"MM") and rng.random() < 0.5:
        big = data[:2] == b"MM"
        first = 14 if data[:2] == b"BM" else int.from_bytes(data[4:8], "big" if big else "little")
        out = bytearray(data)
        for _ in range(int(rng.integers(1, 4))):
            at = first + int(rng.integers(0, 40 if data[:2] == b"BM" else 160))
            width = pick(rng, (1, 2, 4))
            out[at : at + width] = (pick(rng, NUMBERS) % (1 << 8 * width)).to_bytes(width, "big" if big else "little")
        return bytes(out)
    return mutate(data, rng)


class Images:
    """`read_image`, as make-train, make-test and evaluate use it."""

    allowed: tuple[type, ...] = (ImageError,)

    def __init__(self, folder: Path) -> None:
        self.path, self.seeds, self.bombs = folder / "a.png", make_images(), make_image_bombs()

    def write(self, rng: Rng) -> None:
        """A mutated picture; one in 200 a small file of many pixels, scans or letters."""
        data = pick(rng, self.bombs)() if rng.random() < 1 / 200 else mutate_image(pick(rng, self.seeds), rng)
        self.path.write_bytes(data)

    def read(self) -> None:
        """Its Y."""
        y = read_y(self.path)
        assert y.dtype == np.uint8 and y.ndim == 2 and y.size


class Photos(Images):
    """`read_photo`, as upscale uses it, and saving with the same EXIF and profile."""

    def read(self) -> None:
        """Pixels, alpha and what belongs to them; small ones are saved again."""
        pixels, alpha, mode, extras = read_photo(self.path)
        assert pixels.dtype in (np.uint8, np.uint16) and (alpha is None or alpha.shape == pixels.shape[:2])
        assert (mode[-1] == "A") == (alpha is not None)
        if pixels.size < 100_000:
            picture = Image.fromarray(pixels)
            for kind in ("PNG", "TIFF", *(("JPEG", "WEBP") if pixels.dtype == np.uint8 else ())):
                save_photo(picture, self.path.with_name("b"), kind, extras)
