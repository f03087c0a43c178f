"""Opening image files that may be damaged, or made to harm: within bounds, and each fault with its own message."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import stat
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError, _imaging

from idn_data.access import explain_refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORMATS = ("BMP", "PNG", "JPEG", "TIFF", "WEBP")
MAX_PIXELS = 1 << 26  # a file of some bytes may claim them all: 4 bytes each in Pillow, 3 in the result
MAX_PIXELS_WEBP = 1 << 25  # its decoder takes three times as much
MAX_BYTES = 8 * MAX_PIXELS
MAX_SCANS = 32  # of a JPEG, or as many as go over 5e9 pixels in all: each goes over the whole picture

_hushing = threading.Lock()
_hushed: list[warnings.catch_warnings[None]] = []  # one for each picture that is open, the first of them entered


class ImageError(ValueError):
    """An image file that cannot be used; the message names it and says why."""


@contextlib.contextmanager
def hush() -> Iterator[None]:
    """Keep Pillow's warnings of damaged files from the user, as long as any thread reads."""
    with _hushing:
        _hushed.append(warnings.catch_warnings())  # it changes the whole process
        if len(_hushed) == 1:
            _hushed[0].__enter__()
            warnings.filterwarnings("ignore", module="PIL")
    try:
        yield
    finally:
        with _hushing:
            if len(_hushed) == 1:
                _hushed[0].__exit__(None, None, None)
            _hushed.pop()


@cache
def _hush_libraries() -> None:
    """Keep what Pillow logs, and what its libtiff prints, from standard error: the exceptions say enough."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    with contextlib.suppress(AttributeError, OSError):  # where libtiff's functions cannot be reached, they print
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


@contextlib.contextmanager
def open_picture(path: Path | str) -> Iterator[Image.Image]:
    """Open an image file as `read_image` does, for a block that decodes it.

    Yields
    ------
    PIL.Image.Image
        Not decoded yet; closed when the block ends.

    Raises
    ------
    ImageError
        As `read_image`, for whatever goes wrong here or in the block: so the block should only decode.
    """
    path = Path(path)
    _hush_libraries()
    try:
        with hush():
            found = path.stat()
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):  # to open a pipe may take for ever
                raise ImageError("neither a file nor a folder, but a pipe or a device; name a file")
            if found.st_size > MAX_BYTES:
                raise ImageError(f"{found.st_size:,} bytes; at most {MAX_BYTES:,}")
            with Image.open(path, formats=FORMATS) as picture:
                _check_cost(picture, path)
                if picture.format == "TIFF":
                    _check_values(picture.mode, picture.tag_v2)  # type: ignore[attr-defined]  # every TIFF has it
                yield picture
    except Image.DecompressionBombError:
        raise ImageError(f"{path}: more than {MAX_PIXELS} pixels; resize or crop it first") from None
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except MemoryError:
        raise ImageError(f"{path}: not enough memory to decode it") from None
    except Exception as error:  # decoders of broken files raise nearly anything
        if isinstance(error, OSError) and error.errno:  # the system's own, not a decoder's
            reason = explain_refusal(error, path, writing=False)
        elif path.is_file() and path.stat().st_size == 0:
            reason = "the file is empty"
        elif isinstance(error, UnidentifiedImageError):
            reason = f"not an image in one of the formats {', '.join(FORMATS)}"
        else:
            reason = " ".join(str(error).split()) or "damaged"
        raise ImageError(f"{path}: {reason}") from None


def find_size(picture: Image.Image) -> tuple[int, int]:
    """Rows and columns as they lie in the file: Pillow may give those of a TIFF as its orientation turns them."""
    if picture.format == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined]  # every TIFF has it
        return int(tags[257]), int(tags[256])  # ImageLength, ImageWidth
    return picture.height, picture.width


def _check_cost(picture: Image.Image, path: Path) -> None:
    pixels = picture.width * picture.height
    most = MAX_PIXELS_WEBP if picture.format == "WEBP" else MAX_PIXELS
    if pixels > most:
        raise ImageError(f"{picture.width}x{picture.height} pixels; at most {most}")
    if picture.format in ("JPEG", "MPO"):  # an MPO is a JPEG with more pictures behind it
        scans = path.read_bytes().count(b"\xff\xda")
        if scans > max(MAX_SCANS, 5e9 / pixels):
            raise ImageError(f"a JPEG of {scans} scans, which would take long; save it anew")


def _check_values(mode: str, tags: Mapping[int, Any]) -> None:
    """Refuse a TIFF that Pillow would decode to other values than the file means, and say nothing.

    Integers of other sizes come out as if they had 16 bits: a picture that is nearly black.
    """
    bits, kinds, planes, white = tags.get(258, (1,)), tags.get(339, (1,)), tags.get(284, 1), tags.get(262)
    if planes == 2 and len(bits) > 1 and max(bits) > 8:
        raise ImageError(f"{max(bits)}-bit colour in separate planes; save it with its planes together")
    if mode.startswith("I") and max(bits) != 16:
        raise ImageError(f"{max(bits)}-bit integers; save it with 8 or 16 bits")
    if 2 in kinds:
        raise ImageError("integers with a sign; save it with 8 or 16 bits without sign")
    if mode.startswith("I") and white == 0:
        raise ImageError("16-bit grey whose white is 0; save it with black as 0")
