"""One picture: HR cut to a multiple of the scale, and the LR made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from idn_data.images.variants import modcrop
from idn_data.matlab.classes import im2double, im2uint8, im2uint16
from idn_data.matlab.color import rgb2ycbcr
from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.lr.reduction import Reduction
    from idn_data.matlab.filters import Edge
    from idn_data.matlab.weights import Boundary


def cut_picture(image: NDArray[Any], reduction: Reduction) -> NDArray[Any]:
    """HR as it is reduced: cut at the bottom and the right to a multiple of a whole scale, else as it is; a view.

    Raises
    ------
    ValueError
        A picture smaller than the scale.
    """
    return modcrop(image, int(reduction.scale)) if reduction.whole else image


def reduce_picture(hr: NDArray[Any], reduction: Reduction) -> NDArray[Any]:
    """The LR of an HR picture, as MATLAB makes it.

    Parameters
    ----------
    hr : (H, W) or (H, W, 3) uint8 or uint16
        Cut already, where it is to be cut (`cut_picture`).
    reduction : Reduction

    Returns
    -------
    (h, w) or (h, w, 3) array of the same type
        ``h = ceil(H / scale)``, and so the width.

    Raises
    ------
    TypeError
        Another type.
    """
    if hr.dtype not in (np.uint8, np.uint16):
        raise TypeError(f"LR is made of uint8 or uint16 pictures; got {hr.dtype}; convert it by im2uint8 first")
    hr = take_channel(hr, reduction)
    if reduction.through == "uint8":
        return _reduce(hr, reduction)
    return round_double(_reduce(im2double(hr), reduction), hr.dtype)


def take_channel(hr: NDArray[Any], reduction: Reduction) -> NDArray[Any]:
    """The picture, or its Y: MATLAB's ``rgb2ycbcr`` in the picture's own type; grey stays as it is."""
    if reduction.channel == "y" and hr.ndim == 3:
        return np.ascontiguousarray(rgb2ycbcr(hr)[..., 0])
    return hr


def round_double(image: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """``im2uint8`` or ``im2uint16`` of doubles in [0, 1]."""
    return im2uint8(image) if dtype == np.uint8 else im2uint16(image)


def _reduce(hr: NDArray[Any], reduction: Reduction) -> NDArray[Any]:
    factor = 1 / reduction.scale
    if reduction.degradation == "blur":
        from idn_data.matlab.filters import fspecial, imfilter  # scipy is wanted for this alone

        window = fspecial("gaussian", reduction.kernel, reduction.sigma)
        edge = cast("Edge", reduction.boundary)  # Reduction has checked it
        return imresize(imfilter(hr, window, edge), factor, "nearest")
    antialias = None if reduction.antialias else False  # None: MATLAB's default, by which "nearest" never does
    boundary = cast("Boundary", reduction.boundary)  # Reduction has checked it
    return imresize(hr, factor, reduction.method, boundary=boundary, antialias=antialias)
