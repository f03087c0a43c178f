"""modcrop, GT and LR of an image, and the 40 variants of the training recipe."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from idn_data.matlab.classes import check_array, im2double, im2uint8
from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary

    Pixel = TypeVar("Pixel", bound=np.generic)
    Teach = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # SR (s·h, s·w) of an LR (h, w), in [0, 1]

ROTATIONS = (0, 1, 2, 3)  # quarter turns, counter-clockwise
FLIPS = (False, True)  # up-down
DOWNSCALES = tuple(1.0 - 0.1 * k for k in range(5))  # the doubles of MATLAB's 1.0:-0.1:0.6
VARIANTS = len(ROTATIONS) * len(FLIPS) * len(DOWNSCALES)


def modcrop(image: NDArray[Pixel], scale: int) -> NDArray[Pixel]:
    """Cut the bottom and the right so that both sides are multiples of `scale`: a view of an (H, W) or (H, W, C) array.

    Raises
    ------
    TypeError, ValueError
        No numpy array of two or three dimensions; a scale that is not whole or below 1; nothing is left.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"modcrop takes a numpy array; got {type(image).__name__}; convert it by numpy.asarray")
    if image.ndim not in (2, 3):
        raise ValueError(f"modcrop takes an (H, W) or (H, W, C) image; got shape {image.shape}")
    if not isinstance(scale, (int, np.integer)) or scale < 1:
        raise ValueError(f"scale must be a whole number, at least 1; got {scale!r}")
    scale = int(scale)  # a small integer of numpy's would overflow
    height, width = image.shape[0] // scale * scale, image.shape[1] // scale * scale
    if height == 0 or width == 0:
        raise ValueError(f"a {image.shape[0]}x{image.shape[1]} image is too small for scale {scale}")
    return image[:height, :width]


def make_variants(y: NDArray[np.uint8], boundary: Boundary = "symmetric") -> Iterator[NDArray[np.uint8]]:
    """The 40 images that the scripts' ``data_aug.m`` saves, in the order of their numbers.

    For each rotation, for each flip, for each downscale: resized in float64, turned, flipped, rounded to 8 bits.

    Parameters
    ----------
    y : (H, W) uint8
    boundary : {"symmetric", "replicate"}
        What lies beyond the edge of what is reduced: as newer MATLABs have it, or older ones.

    Yields
    ------
    (h, w) uint8, C-contiguous
    """
    double = im2double(check_array(y, "make_variants", "uint8"))
    # rounding pixel by pixel commutes with turning and flipping, so five roundings serve all forty
    small = [y if s == 1.0 else im2uint8(imresize(double, s, boundary=boundary)) for s in DOWNSCALES]
    for turns in ROTATIONS:
        for flip in FLIPS:
            for image in small:
                turned = np.rot90(image, turns)
                yield np.array(turned[::-1] if flip else turned, order="C")  # a copy: it is the caller's to change


def make_taught_pairs(
    y: NDArray[np.uint8], scale: int, teach: Teach, boundary: Boundary = "symmetric"
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """GT and LR of the 40 variants, as `make_pair`, but with a teacher's answer, rounded to 8 bits, as GT.

    Parameters
    ----------
    y : (H, W) uint8
    teach : callable((h, w) float64) -> (s·h, s·w) float64
        A network's SR of an LR; in [0, 1], what lies outside is clipped. It is asked once for each downscale: the other
        orientations are its answer and the LR, turned and flipped together, as befits a mean over all orientations.
    boundary : {"symmetric", "replicate"}
        As in `make_variants`.

    Yields
    ------
    gt : (s·h, s·w) uint8, C-contiguous
    lr : (h, w) float64, C-contiguous

    Raises
    ------
    ValueError
        The image is too small for the scale.
    """
    pairs = []
    for image in islice(make_variants(y, boundary), len(DOWNSCALES)):
        small = make_pair(image, scale, boundary)[1]
        pairs.append((im2uint8(np.clip(teach(small), 0.0, 1.0)), small))
    for turns in ROTATIONS:
        for flip in FLIPS:
            step = -1 if flip else 1
            for gt, lr in pairs:
                yield (
                    np.ascontiguousarray(np.rot90(gt, turns)[::step]),
                    np.ascontiguousarray(np.rot90(lr, turns)[::step]),
                )


def variant_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of the 40 variants of an image, without its pixels."""
    shapes = []
    for turns in ROTATIONS:
        for _ in FLIPS:
            for s in DOWNSCALES:
                h, w = math.ceil(s * height), math.ceil(s * width)
                shapes.append((w, h) if turns % 2 else (h, w))
    return shapes


def make_pair(
    image: NDArray[np.uint8], scale: int, boundary: Boundary = "symmetric"
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """GT and LR of an image: modcrop, and MATLAB's ``imresize(im2double(GT), 1/scale)``, with the border named.

    Returns
    -------
    gt : (s·h, s·w) uint8, C-contiguous
    lr : (h, w) float64
        Not clipped: the bicubic kernel overshoots [0, 1] a little.
    """
    gt = np.ascontiguousarray(modcrop(check_array(image, "make_pair", "uint8"), scale))
    return gt, imresize(im2double(gt), 1 / int(scale), boundary=boundary)
