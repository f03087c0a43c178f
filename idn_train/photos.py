"""Photographs as files: what is read of them, what formats can hold, and the names of their enlarged results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from idn_data.atomic import check_target, write_whole
from idn_data.images.decode import (
    ImageError,
    copy_pixels,
    hush,
    list_images,
    load_as_stored,
    open_picture,
    read_integers,
)
from idn_data.matlab.classes import im2uint8, im2uint16
from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idn_data.workers import Progress

# number of tiles; rows and columns of SR; what belongs there: (h, w) or (h, w, 3) float32 in [0, 1], not clipped
Tile = tuple[int, slice, slice, "NDArray[np.float32]"]
Enlarge = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"
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
        As `idn_data.images.decode.read_image`; also for integers beyond 16 bits.
    """
    with open_picture(path) as picture:
        tags = picture.getexif() if picture.format == "TIFF" else {}  # all tags of the file
        for tag in set(tags) - _TIFF_EXIF:
            del tags[tag]
        exif = tags.tobytes() if isinstance(tags, Image.Exif) and len(tags) else None
        picture = load_as_stored(picture)
        exif, icc = exif or picture.info.get("exif"), picture.info.get("icc_profile")
        exif = exif and b"Exif\0\0" + exif.removeprefix(b"Exif\0\0")  # WebP may leave this head out
        extras = {key: value for key, value in {"exif": exif, "icc_profile": icc}.items() if value}
        if picture.mode.startswith("I"):
            return copy_pixels(picture, read_integers), None, "I;16", extras
        grey, alpha = picture.mode in ("1", "L", "LA", "La"), None
        if not grey and picture.mode not in ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX"):
            raise ImageError(f"{picture.mode} images are not supported; save it as grey or RGB")
        kept, base = ("LA", "L") if grey else ("RGBA", "RGB")
        if picture.has_transparency_data:
            alpha = copy_pixels(picture, lambda part: np.array(part.convert(kept).getchannel("A")))
            pixels = copy_pixels(picture, lambda part: np.array(part.convert(kept).convert(base)))
        else:
            pixels = copy_pixels(picture, lambda part: np.array(part.convert(base)))
        if picture.mode == "P" and alpha is None and not icc and (pixels == pixels[..., :1]).all():
            grey, pixels = True, np.ascontiguousarray(pixels[..., 0])  # as `read_image` has it
        return pixels, alpha, ("L" if grey else "RGB") + ("" if alpha is None else "A"), extras


def find_format(target: Path, mode: str = "", side: int = 0) -> str:
    """Pillow's name of the format of a suffix.

    Parameters
    ----------
    target : path
        Of a suffix in `FORMATS`, in either case.
    mode : str
        Of the picture, as `read_photo` says it.
    side : int
        Its longer side, pixels.

    Raises
    ------
    ValueError
        No such format, or one that cannot hold the picture: to be called before the work.
    """
    if target.suffix.lower() not in FORMATS:
        raise ValueError(f"{target}: cannot write {target.suffix or 'without suffix'}; one of {', '.join(FORMATS)}")
    name = FORMATS[target.suffix.lower()]
    for what, fits in (
        ("16-bit pixels", mode != "I;16" or name not in ("JPEG", "WEBP")),
        ("an alpha channel", not mode.endswith("A") or name != "JPEG"),
        (f"{side} pixels along a side", side <= _LONGEST.get(name, side)),
    ):
        if not fits:
            raise ValueError(f"{target}: {name} cannot hold {what}, which the result has; name a .png or .tif")
    return name


def plan_outputs(
    sources: Sequence[Path | str], out: Path | str | None, scale: int, suffix: str = ".png", *, force: bool = False
) -> list[tuple[Path, Path]]:
    """Which photo becomes which file: ``<stem>_x<scale><suffix>`` beside it or in the folder `out`.

    Sources are files, and folders of images, where the results of an earlier run are passed over. For one file, `out`
    may be the target itself, with a suffix of `FORMATS`. All targets are checked, before the first photo is enlarged.

    Raises
    ------
    FileNotFoundError, ValueError
        A source is missing or has no image; two photos would become one file, or one is the result of another; no
        such format.
    FileExistsError, IsADirectoryError, NotADirectoryError
        A target is there and `force` false, or it is a folder; `out` cannot be a folder.
    """
    given, folder = [Path(source) for source in sources], None if out is None else Path(out)
    if folder and len(given) == 1 and given[0].is_file() and folder.suffix.lower() in FORMATS and not folder.is_dir():
        return [(given[0], check_target(folder, force))]
    if folder and (file := next((p for p in (folder, *folder.parents) if p.is_file()), None)):
        raise NotADirectoryError(f"{file} is a file; name a folder, or with one photo a file that ends in .png or .jpg")

    def name_target(path: Path) -> Path:
        return (folder or path.parent) / f"{path.stem}_x{scale}{suffix}"

    owners: dict[Path, Path] = {}
    for path in given:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        images = list_images(path) if path.is_dir() else [path]
        earlier = {name_target(image) for image in images} if path.is_dir() else set()
        for image in (image for image in images if image not in earlier):
            find_format(target := name_target(image))
            if target in owners:
                raise ValueError(f"{owners[target]} and {image} would both become {target}; rename or leave out one")
            owners[target] = image
    if both := sorted(owners.keys() & set(owners.values())):
        raise ValueError(f"{both[0]} is a photo to enlarge and the result of {owners[both[0]]}; leave out one")
    return [(source, check_target(target, force)) for target, source in owners.items()]


def list_spans(length: int, tile: int, reach: int) -> list[tuple[int, int, int, int]]:
    """Tiles of nearly equal length along an axis: (first, last, start, stop), the latter two with what surrounds them.

    The surroundings end at the image's own border, where convolutions pad with zeros as they do on the whole image.
    Tiles begin at even pixels, because the reconstruction at ×2 works on pairs of them.
    """
    count = -(-length // tile)
    edges = [*sorted({2 * (k * length // (2 * count)) for k in range(count)}), length]
    return [(a, b, max(0, a - reach), min(length, b + reach)) for a, b in pairwise(edges)]


def enlarge_tiles(
    pixels: NDArray[Any], peak: float, scale: int, tile: int, reach: int, enlarge: Enlarge
) -> Iterator[Tile]:
    """Enlarge an image tile by tile, each with `reach` LR pixels around it, so that the result is that of the whole.

    Parameters
    ----------
    pixels : (h, w) or (h, w, C), 0…`peak`
    scale, tile, reach : int
        `tile`: LR pixels along a side, about.
    enlarge : callable((h, w, C) float32 in [0, 1]) -> (s·h, s·w, C)

    Yields
    ------
    Tile
        Number of tiles; rows and columns of the result; what belongs there.
    """
    if tile < 1:
        raise ValueError(f"tile must be at least 1 pixel; got {tile}")
    rows, columns = (list_spans(n, tile, reach) for n in pixels.shape[:2])
    for y0, y1, top, bottom in rows:
        for x0, x1, left, right in columns:
            # float32 is the network's own precision, and holds 8 and 16 bits exactly
            part = np.atleast_3d(pixels[top:bottom, left:right]).astype(np.float32) / np.float32(peak)
            sr = enlarge(part)
            own = sr[scale * (y0 - top) : scale * (y1 - top), scale * (x0 - left) : scale * (x1 - left)]
            place = slice(scale * y0, scale * y1), slice(scale * x0, scale * x1)
            yield len(rows) * len(columns), *place, own if pixels.ndim == 3 else own[..., 0]


def enlarge_photo(
    source: Path | str,
    target: Path | str,
    scale: int,
    enlarge: Callable[[NDArray[Any], int], Iterator[Tile]],
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Enlarge a photograph tile by tile; alpha by MATLAB's bicubic.

    Parameters
    ----------
    source, target : path
        As `read_photo` takes it, and of a suffix in `FORMATS`. JPEG and WebP with quality 95, TIFF not compressed.
        16-bit grey stays 16-bit. ICC profile and EXIF are kept as they are: its orientation too, with the pixels as
        they are stored.
    scale : int
    enlarge : callable(pixels, peak) -> iterator of Tile
        Makes the tiles of the result from pixels of 0…peak.
    force : bool
        Replace an existing target.
    progress : callable(what, done, total), optional
        Called after each tile.

    Returns
    -------
    (int, int)
        Rows and columns of the result.

    Raises
    ------
    ImageError, FileExistsError, ValueError
        The source cannot be used; the target is there and `force` false; its format cannot hold the picture.
    """
    source, target = Path(source), Path(target)
    find_format(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"{target}: would replace the photo itself; name another file")
    check_target(target, force)
    pixels, alpha, mode, extras = read_photo(source)
    height, width = scale * pixels.shape[0], scale * pixels.shape[1]
    name, peak = find_format(target, mode, max(height, width)), 65535 if mode == "I;16" else 255
    alpha = None if alpha is None else imresize(alpha, scale)  # (s·h, s·w)
    result = Image.new(mode, (width, height))
    for done, (total, rows, columns, sr) in enumerate(enlarge(pixels, peak), 1):
        # the cast to 16 bits is safe: clipped, and only fractions are cut off
        part: NDArray[Any] = (im2uint8 if peak == 255 else im2uint16)(np.clip(sr, 0.0, 1.0))
        if alpha is not None:
            part = np.dstack((part, alpha[rows, columns]))
        result.paste(Image.fromarray(np.ascontiguousarray(part)), (columns.start, rows.start))
        if progress:
            progress(source.name, done, total)
    with write_whole(target, force) as temporary:
        save_photo(result, temporary, name, extras)
    return height, width


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
