"""Decoding images as MATLAB's imread would: pictures as arrays, and which of them lie in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from idn_data.images.opening import ImageError as ImageError
from idn_data.images.opening import open_picture
from idn_data.images.views import pack_pixels
from idn_data.matlab.classes import im2uint8
from idn_data.matlab.color import rgb2y

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixel = TypeVar("Pixel", bound=np.generic)

SUFFIXES = (".bmp", ".png", ".jpg", ".jpeg", ".jfif", ".tif", ".tiff", ".webp")
BAND = 1 << 22  # pixels converted at a time


_ORIENTATION = 0x0112  # the EXIF tag
_TURN_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def read_image(path: Path | str) -> NDArray[np.uint8]:
    """Decode an image to 8 bits.

    Parameters
    ----------
    path : path
        BMP, PNG, JPEG, TIFF or WebP. The content decides, not the suffix.

    Returns
    -------
    (H, W) or (H, W, 3) uint8
        Grey stays grey. A palette is applied: all grey gives grey, else RGB. Alpha is dropped. 1-bit images become
        0 and 255. 16-bit grey is rounded to ``v/257`` (im2uint8); 16-bit colour keeps the high byte. Of several frames,
        the first. EXIF orientation is not applied and colour profiles are ignored, as in MATLAB's imread.

    Raises
    ------
    ImageError
        Missing, empty, truncated, not an image, CMYK or floating point; integers with a sign, or of other than 8 or 16
        bits; of TIFF, 16-bit colour in separate planes, and 16-bit grey whose white is 0; more than `MAX_PIXELS` pixels
        (of WebP, `MAX_PIXELS_WEBP`) or `MAX_BYTES` bytes.
    """
    with open_picture(path) as picture:
        return decode_bytes(picture)


def copy_pixels(picture: Image.Image, convert: Callable[[Image.Image], NDArray[Pixel]]) -> NDArray[Pixel]:
    """The array that `convert` makes of a picture, made strip by strip: it may take many times the result's memory."""
    width, height = picture.size
    rows = max(1, BAND // width)
    if rows >= height:
        return convert(picture)
    strip = convert(picture.crop((0, 0, width, rows)))
    whole = np.empty((height, *strip.shape[1:]), strip.dtype)
    for top in range(0, height, rows):
        whole[top : top + rows] = convert(picture.crop((0, top, width, min(top + rows, height))))
    return whole


def read_integers(picture: Image.Image) -> NDArray[np.uint16]:
    """The pixels of a picture of mode I or I;16…"""
    return np.array(picture).astype(np.uint16)  # safe: `open_picture` refuses integers of any other size


def load_as_stored(picture: Image.Image) -> Image.Image:
    """Decode, with the pixels as they lie in the file: Pillow turns TIFF by its orientation, and no other format."""
    turned = picture.getexif().get(_ORIENTATION) if picture.format == "TIFF" else None
    picture.load()
    return picture.transpose(_TURN_BACK[turned]) if turned in _TURN_BACK else picture


def decode_bytes(picture: Image.Image, compiled: bool = False) -> NDArray[np.uint8]:
    """Decode an open picture as `read_image` does; `compiled` as in `idn_data.images.exact.read_exact`."""
    grey_alpha = "LA;16B" in str(getattr(picture, "tile", ""))  # 16-bit grey with alpha, which Pillow widens to RGBA
    picture = load_as_stored(picture)
    mode = picture.mode
    if grey_alpha:
        return copy_pixels(picture, lambda part: np.array(part)[..., 0].copy())
    if mode in ("L", "RGB"):
        return copy_pixels(picture, pack_pixels if compiled else np.array)
    if mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        return copy_pixels(picture, lambda part: im2uint8(read_integers(part) / 65535.0))
    if mode in ("P", "PA"):
        rgb = copy_pixels(picture, lambda part: np.array(part.convert("RGBA"))[..., :3].copy())
        grey = (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all()
        return np.ascontiguousarray(rgb[..., 0]) if grey else rgb
    if mode in ("1", "LA", "La"):
        return copy_pixels(picture, lambda part: np.array(part.convert("L")))
    if mode in ("RGBA", "RGBa", "RGBX"):
        return copy_pixels(picture, lambda part: np.array(part)[..., :3].copy())
    raise ImageError(f"{mode} images are not supported; save it as 8-bit grey or RGB")


def read_y(path: Path | str) -> NDArray[np.uint8]:
    """The Y channel of an image file, (H, W) uint8; a grey image as it is."""
    image = read_image(path)
    y = np.empty(image.shape[:2], np.uint8)
    rows = max(1, BAND // image.shape[1])
    for top in range(0, len(image), rows):  # the doubles take 24 bytes for each pixel
        y[top : top + rows] = rgb2y(image[top : top + rows])
    return y


def list_images(folder: Path | str) -> list[Path]:
    """The image files of a folder by their suffix, sorted by name; hidden files and sub-folders are passed over.

    Raises
    ------
    FileNotFoundError
        No such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()]
    if not found:
        raise FileNotFoundError(f"no images in {folder}; looked for {', '.join(SUFFIXES)}")
    return sorted(found, key=lambda p: p.name)
