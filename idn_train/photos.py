"""Photographs as files: what is read of them, what formats can hold, and how they are saved."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from idn_data.images.decode import ImageError, copy_pixels, load_as_stored, read_integers
from idn_data.images.opening import hush, open_picture
from idn_data.matlab.classes import im2uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOG = logging.getLogger(__name__)  # without a handler, warnings go to standard error
FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
    ".bmp": "BMP",
}  # fmt: skip
_LONGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels along a side that a format can hold
# What a TIFF says of the picture and not of its own layout: EXIF's list for its first directory, and the two below it
_TIFF_EXIF = {270, 271, 272, 274, 282, 283, 296, 305, 306, 315, 33432, 34665, 34853}


def read_photo(path: Path | str) -> tuple[NDArray[Any], NDArray[np.uint8] | None, str, dict[str, Any]]:
    """Decode a photograph and what belongs to it.

    Parameters
    ----------
    path : path
        BMP, PNG, JPEG, TIFF or WebP: colour, palette, grey, 16-bit grey (of 16-bit colour, the high byte), alpha.

    Returns
    -------
    pixels : (h, w) uint8 or uint16, or (h, w, 3) uint8
        As they are stored: EXIF's orientation is not applied.
    alpha : (h, w) uint8 or None
    mode : str
        Pillow's, of a picture of these: "L", "LA", "RGB", "RGBA" or "I;16".
    extras : dict
        "exif" and "icc_profile" as bytes, where there are any: what Pillow's ``save`` takes.

    Raises
    ------
    ImageError
        As `idn_data.images.decode.read_image`.
    """
    with open_picture(path) as picture:
        tags = picture.getexif() if picture.format == "TIFF" else {}  # all tags of the file
        for tag in set(tags) - _TIFF_EXIF:
            del tags[tag]
        exif = tags.tobytes() if isinstance(tags, Image.Exif) and len(tags) else None
        halved = "LA;16B" in str(getattr(picture, "tile", ""))  # 16-bit grey with alpha, which Pillow opens as RGBA
        picture = load_as_stored(picture)
        exif, icc = exif or picture.info.get("exif"), picture.info.get("icc_profile")
        exif = exif and b"Exif\0\0" + exif.removeprefix(b"Exif\0\0")  # WebP may leave this head out
        extras = {key: value for key, value in {"exif": exif, "icc_profile": icc}.items() if value}
        if picture.mode.startswith("I"):
            pixels = copy_pixels(picture, read_integers)
            if "transparency" not in picture.info:
                return pixels, None, "I;16", extras
            _LOG.warning("%s: 16-bit grey with transparency, which no result can hold; enlarged in 8 bits", path)
            shown = pixels != picture.info["transparency"]
            return im2uint8(pixels / 65535.0), (255 * shown).astype(np.uint8), "LA", extras  # safe: 0 or 255
        if halved:
            _LOG.warning("%s: 16-bit grey with transparency, which no result can hold; enlarged in 8 bits", path)
        grey = halved or picture.mode in ("1", "L", "LA", "La")
        alpha: NDArray[Any] | None = None
        if not grey and picture.mode not in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX"):
            raise ImageError(f"{picture.mode} images are not supported; save it as grey or RGB")
        kept, base = ("LA", "L") if grey and not halved else ("RGBA", "RGB")
        if picture.has_transparency_data:
            alpha = copy_pixels(picture, lambda part: np.array(part.convert(kept).getchannel("A")))
            pixels = copy_pixels(picture, lambda part: np.array(part.convert(kept).convert(base)))
        else:
            pixels = copy_pixels(picture, lambda part: np.array(part.convert(base)))
        if picture.mode == "P" and alpha is None and not icc and (pixels == pixels[..., :1]).all():
            grey, pixels = True, np.ascontiguousarray(pixels[..., 0])  # as `read_image` has it
        if halved:
            pixels = np.ascontiguousarray(pixels[..., 0])
        return pixels, alpha, ("L" if grey else "RGB") + ("" if alpha is None else "A"), extras


def find_format(target: Path, mode: str = "", side: int = 0, extras: Collection[str] = ()) -> str:
    """Pillow's name of the format of a suffix.

    Parameters
    ----------
    target : path
        Of a suffix in `FORMATS`, in either case.
    mode : str
        Of the picture, as `read_photo` says it.
    side : int
        Its longer side, pixels.
    extras : collection of str
        What it comes with, as `read_photo` names it.

    Returns
    -------
    str
        "PNG", "JPEG", "TIFF", "WEBP" or "BMP".

    Raises
    ------
    ValueError
        No such format, or one that cannot hold the picture: to be called before the work.
    """
    if target.suffix.lower() not in FORMATS:
        raise ValueError(f"{target}: cannot write {target.suffix or 'without suffix'}; one of {', '.join(FORMATS)}")
    name = FORMATS[target.suffix.lower()]
    for what, fits in (
        ("16-bit pixels", mode != "I;16" or name not in ("JPEG", "WEBP", "BMP")),
        ("an alpha channel", not mode.endswith("A") or name not in ("JPEG", "BMP")),
        ("a colour profile", "icc_profile" not in extras or name != "BMP"),
        ("EXIF", "exif" not in extras or name != "BMP"),
        (f"{side} pixels along a side", side <= _LONGEST.get(name, side)),
    ):
        if not fits:
            raise ValueError(f"{target}: {name} cannot hold {what}, which the result has; name a .png or .tif")
    return name


def save_photo(picture: Image.Image, path: Path, name: str, extras: dict[str, Any]) -> None:
    """Save a picture in the format of that name with what `read_photo` found; without EXIF that cannot be written."""
    how = {"quality": 95} if name in ("JPEG", "WEBP") else {}
    with hush():
        try:
            picture.save(path, format=name, **extras, **how)
        except OSError:
            raise
        except Exception:  # damaged, or longer than JPEG takes: TIFF's and WebP's are taken apart and written anew
            if "exif" not in extras:
                raise
            picture.save(path, format=name, **{**extras, "exif": b""}, **how)
