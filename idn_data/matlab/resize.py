"""MATLAB's `imresize`, of numpy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import numpy as np

from idn_data.matlab.classes import order_bytes
from idn_data.matlab.compiled import load_kernels
from idn_data.matlab.eightbit import resize_bytes
from idn_data.matlab.sizes import find_lengths
from idn_data.matlab.weights import check_boundary, compute_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.matlab.sizes import Scale, Size
    from idn_data.matlab.weights import Boundary, Method

Pixel = TypeVar("Pixel", bound=np.generic)  # the result's type is the image's

_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64", "bool")
_DTYPES = frozenset(map(np.dtype, _TYPES))
_REMEDIES = {
    "c": "resize its real and imaginary parts",
    "O": "make it an array of numbers",
    "f": "convert it with astype(np.float32) or float64",
    "iu": "its numbers may not fit in the doubles that are summed; convert it with astype(np.int32) or float64",
}


class _Rounding(NamedTuple):
    """What a pass makes of its sums before they are kept, in the numbers that the kernels take."""

    kind: int  # 0 as they are, 1 whole numbers in low…high, 2 single
    low: float
    high: float


def _find_rounding(dtype: np.dtype[Any]) -> _Rounding:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return _Rounding(1, float(limits.min), float(limits.max))
    return _Rounding(2 if dtype == np.float32 else 0, 0.0, 0.0)


def imresize(
    image: NDArray[Pixel],
    scale: Scale | None = None,
    method: Method = "bicubic",
    *,
    size: Size | None = None,
    antialias: bool | None = None,
    boundary: Boundary = "symmetric",
    out: NDArray[Pixel] | None = None,
) -> NDArray[Pixel]:
    """Resize an image as MATLAB's ``imresize`` does, to the last pixel.

    Parameters
    ----------
    image : (H, W) or (H, W, …) array
        Its first two dimensions are resized, each (H, W) plane by itself. uint8, uint16, uint32, int8, int16, int32:
        both passes round half away from zero and saturate at the type's limits, as MATLAB does. float64: nothing is
        clipped. float32: summed in float64, rounded to float32 after each pass. bool: taken as 0 and 255 in uint8, and
        true where the result exceeds 128, as MATLAB treats logical images.
    scale : float or (float, float), optional
        Factor for both axes, or one for rows and one for columns. The output has ``ceil(scale * n)`` pixels.
    method : str or (function, width)
        A name in any case: "bicubic" or "cubic", "bilinear" or "triangle", "lanczos2", "lanczos3", "box", "nearest".
        Or a kernel of your own: a function from distances in pixels to weights (float64 arrays of one shape), and the
        width in pixels outside which it is 0.
    size : (float, float), optional
        Rows and columns of the output, rounded up. One of them may be None or NaN: it follows from the other's scale.
    antialias : bool, optional
        Widen the kernel when shrinking. By default as in MATLAB: yes, but not for "nearest".
    boundary : {"symmetric", "replicate"}
        What lies beyond the edge: the mirror image with the edge pixel repeated, as in newer MATLABs, or the edge
        pixel, as in older ones (R2013b and before).
    out : array, optional
        Where to put the result: C-contiguous, of the right shape and of the image's dtype, apart from it in memory.

    Returns
    -------
    (h, w) or (h, w, …) array of the image's dtype

    Raises
    ------
    TypeError
        For a torch tensor and for any other dtype.
    ValueError
        For an empty image, fewer than two dimensions, a bad scale, size, method or boundary, or an unfit `out`.

    Notes
    -----
    The axis with the smaller scale goes first, rows at equal scales. Within a pass, sums are taken tap by tap
    in index order, without fused multiply-add: doubles agree with MATLAB's within a few units in the last place.

    Examples
    --------
    >>> import numpy as np
    >>> from idn_data import imresize
    >>> imresize(np.arange(16, dtype=np.uint8).reshape(4, 4), 0.5)
    array([[ 2,  5],
           [10, 13]], dtype=uint8)
    """
    image = cast("NDArray[Pixel]", _check_image(image))  # the same values
    check_boundary(boundary)
    height, width = image.shape[:2]
    (scale_v, scale_h), (n_v, n_h) = find_lengths((height, width), scale, size)
    shape = (n_v, n_h, *image.shape[2:])
    if out is not None:
        _check_out(out, shape, image)
    target = np.empty(shape, image.dtype) if out is None else out
    source: NDArray[Any] = image.astype(np.uint8) * np.uint8(255) if image.dtype == np.bool_ else image
    room: NDArray[Any] = np.empty(shape, source.dtype) if image.dtype == np.bool_ else target
    flat, flat_room = np.ascontiguousarray(source).reshape(height, -1), room.reshape(n_v, -1)
    how = (flat.shape[1] // width, method, antialias, boundary)
    if source.dtype != np.uint8 or not resize_bytes(flat, (scale_v, scale_h), flat_room, *how):
        _resize_doubles(flat, (scale_v, scale_h), flat_room, *how)
    if target.dtype == np.bool_:
        np.greater(room, 128, out=target)
    return target


def _resize_doubles(
    source: NDArray[Any],
    scales: tuple[float, float],
    out: NDArray[Any],
    channels: int,
    method: Method,
    antialias: bool | None,
    boundary: Boundary,
) -> None:
    """Both passes summed in doubles; source (H, W·C) and out (h, w·C) of one type."""
    wv, iv = compute_weights(len(source), len(out), scales[0], method, antialias, boundary)
    wh, ih = compute_weights(
        source.shape[1] // channels, out.shape[1] // channels, scales[1], method, antialias, boundary
    )  # fmt: skip
    rounding = _find_rounding(source.dtype)
    room = out
    if rounding.kind == 1:  # exact: integers of 32 bits at most
        source, room = source.astype(np.float64), np.empty(out.shape)
    kernels = load_kernels()
    run = kernels.resize_rows_then_columns if scales[0] <= scales[1] else kernels.resize_columns_then_rows
    run(source, wv, iv, wh, ih, channels, *rounding, room)
    if room is not out:
        np.copyto(out, room, casting="unsafe")  # safe: whole numbers within the type's limits


def _check_image(image: object) -> NDArray[np.generic]:
    """The image as an array in this machine's byte order, of a type and a shape that can be resized."""
    if not isinstance(image, np.ndarray) and type(image).__module__.split(".")[0] == "torch":
        raise TypeError("imresize takes numpy arrays; got a torch tensor: use idn_train.imresize")
    array = order_bytes(np.asarray(image))
    if array.dtype not in _DTYPES:
        remedy = next((text for kinds, text in _REMEDIES.items() if array.dtype.kind in kinds), "convert it first")
        raise TypeError(f"imresize takes {', '.join(_TYPES)} images; got {array.dtype}; {remedy}")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(f"imresize takes a non-empty array of two dimensions or more (H, W, …); got {array.shape}")
    return array


def _check_out(out: NDArray[np.generic], shape: tuple[int, ...], image: NDArray[np.generic]) -> None:
    if out.shape != shape or out.dtype != image.dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out must be a writable C-contiguous {image.dtype} array of shape {shape}; got {out.dtype} {out.shape}"
        )
    if np.may_share_memory(out, image):
        raise ValueError("out must not share memory with the image")
