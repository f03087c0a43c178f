"""A photograph enlarged tile by tile: the tiles equal the whole, and what nobody sees does not show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from scipy.ndimage import distance_transform_edt

from idn_data.atomic import check_target, write_whole
from idn_data.images.decode import BAND, ImageError
from idn_data.matlab.classes import im2uint8, im2uint16
from idn_data.matlab.resize import imresize
from idn_train.photos import find_format, read_photo, save_photo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_data.workers import Progress

# number of tiles; rows and columns of SR; what belongs there: (h, w) or (h, w, 3) float32 in [0, 1], not clipped
Tile = tuple[int, slice, slice, "NDArray[np.float32]"]
# colours (h, w, C) and alpha (h, w) or None, float32 in [0, 1], to (s·h, s·w, C)
Enlarge = Callable[["NDArray[np.float32]", "NDArray[np.float32] | None"], "NDArray[np.float32]"]

MARGIN = 64  # pixels; more than networks reach, 34 along a diagonal's sides, so that bands do not show either


def list_spans(length: int, tile: int, reach: int) -> list[tuple[int, int, int, int]]:
    """Tiles of nearly equal length along an axis: (first, last, start, stop), the latter two with what surrounds them.

    The surroundings end at the image's own border, where convolutions pad with zeros as they do on the whole image.
    Tiles begin at even pixels, because the reconstruction at ×2 works on pairs of them.
    """
    count = -(-length // tile)
    edges = [*sorted({2 * (k * length // (2 * count)) for k in range(count)}), length]
    return [(a, b, max(0, a - reach), min(length, b + reach)) for a, b in pairwise(edges)]


def fill_hidden(pixels: NDArray[Any], alpha: NDArray[np.uint8]) -> None:
    """Give each pixel of alpha 0 the colour of the nearest that is seen, in place.

    Networks look at all that surrounds a pixel. So a colour that nobody sees, often black or whatever lay there before,
    would show along the edges. The picture is taken in bands, each with `MARGIN` rows above and below it: what lies
    farther from all that is seen gets no colour, and makes no difference.

    Parameters
    ----------
    pixels : (h, w) or (h, w, C)
    alpha : (h, w) uint8
    """
    height, width = alpha.shape
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        first, last = max(0, top - MARGIN), min(height, bottom + MARGIN)
        hidden = alpha[first:last] == 0
        own = hidden[top - first : bottom - first]
        if not own.any():
            continue
        if hidden.all():
            pixels[top:bottom] = 0
            continue
        nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)  # rows and columns
        y, x = nearest[:, top - first : bottom - first][:, own]
        # only pixels that are seen are read, and those are never written
        pixels[top:bottom][own] = pixels[first + y, x]


def enlarge_tiles(
    pixels: NDArray[Any], alpha: NDArray[np.uint8] | None, peak: float, scale: int, tile: int, reach: int,
    enlarge: Enlarge,
) -> Iterator[Tile]:  # fmt: skip
    """Enlarge an image tile by tile, each with `reach` LR pixels around it, so that the result is that of the whole.

    Parameters
    ----------
    pixels : (h, w) or (h, w, C), 0…`peak`
    alpha : (h, w) uint8 or None
    peak : float
    scale : int
    tile : int
        LR pixels along a side, about.
    reach : int
        LR pixels.
    enlarge : callable
        Colours (h, w, C) and alpha (h, w) or None, float32 in [0, 1], to (s·h, s·w, C).

    Yields
    ------
    Tile
        Number of tiles; rows and columns of the result; what belongs there.

    Raises
    ------
    ValueError
        Tiles of no pixel.
    """
    if tile < 1:
        raise ValueError(f"tile must be at least 1 pixel; got {tile}")
    rows, columns = (list_spans(n, tile, reach) for n in pixels.shape[:2])
    for y0, y1, top, bottom in rows:
        for x0, x1, left, right in columns:
            around = slice(top, bottom), slice(left, right)
            # float32 is the network's own precision, and holds 8 and 16 bits exactly
            part = np.atleast_3d(pixels[around]).astype(np.float32) / np.float32(peak)
            sr = enlarge(part, None if alpha is None else alpha[around].astype(np.float32) / np.float32(255))
            own = sr[scale * (y0 - top) : scale * (y1 - top), scale * (x0 - left) : scale * (x1 - left)]
            place = slice(scale * y0, scale * y1), slice(scale * x0, scale * x1)
            yield len(rows) * len(columns), *place, own if pixels.ndim == 3 else own[..., 0]


def enlarge_photo(
    source: Path | str,
    target: Path | str,
    scale: int,
    enlarge: Callable[[NDArray[Any], NDArray[np.uint8] | None, int], Iterator[Tile]],
    *,
    boundary: Boundary = "symmetric",
    force: bool = False,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Enlarge a photograph tile by tile; alpha by MATLAB's bicubic, and colours as far as they are seen.

    Parameters
    ----------
    source, target : path
        As `read_photo` takes it, and of a suffix in `idn_train.photos.FORMATS`. JPEG and WebP with quality 95, TIFF
        not compressed. 16-bit grey stays 16-bit. ICC profile and EXIF are kept as they are: its orientation too, with
        the pixels as they are stored.
    scale : int
    enlarge : callable(pixels, alpha, peak) -> iterator of Tile
        Makes the tiles of the result from pixels of 0…peak and alpha of 0…255, or None.
    boundary : {"symmetric", "replicate"}
        Of alpha's bicubic.
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
    name = find_format(target, mode, max(height, width), extras)
    try:
        result = _assemble(pixels, alpha, mode, scale, enlarge, boundary, progress and partial(progress, source.name))
    except MemoryError as error:
        reason = str(error) or "not enough memory; close other programs, or crop it first"
        raise ImageError(f"{source}: cannot be enlarged to {width}x{height} pixels ({reason})") from None
    with write_whole(target, force) as temporary:
        save_photo(result, temporary, name, extras)
    return height, width


def _assemble(
    pixels: NDArray[Any],
    alpha: NDArray[np.uint8] | None,
    mode: str,
    scale: int,
    enlarge: Callable[[NDArray[Any], NDArray[np.uint8] | None, int], Iterator[Tile]],
    boundary: Boundary,
    progress: Callable[[int, int], None] | None,
) -> Image.Image:
    """The result as Pillow's picture; parameters as `enlarge_photo`."""
    enlarged = None
    if alpha is not None:
        fill_hidden(pixels, alpha)
        enlarged = imresize(alpha, scale, boundary=boundary)  # (s·h, s·w)
    result = Image.new(mode, (scale * pixels.shape[1], scale * pixels.shape[0]))
    peak = 65535 if mode == "I;16" else 255
    for done, (total, rows, columns, sr) in enumerate(enlarge(pixels, alpha, peak), 1):
        part: NDArray[Any] = (im2uint8 if peak == 255 else im2uint16)(np.clip(sr, 0.0, 1.0))
        if enlarged is not None:
            part = np.dstack((part, enlarged[rows, columns]))
        result.paste(Image.fromarray(np.ascontiguousarray(part)), (columns.start, rows.start))
        if progress:
            progress(done, total)
    return result
