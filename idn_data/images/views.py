"""The pixels of a decoded picture where Pillow keeps them, without a copy: by the Arrow C data interface.

Pillow keeps colour as four bytes a pixel. `numpy.asarray` of a picture packs them through two copies, and stops all
other threads meanwhile.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.matlab.compiled import load_kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image


class _Array(ctypes.Structure):
    """``struct ArrowArray`` of https://arrow.apache.org/docs/format/CDataInterface.html."""


_Array._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    *((name, ctypes.c_void_p) for name in ("dictionary", "release", "private_data")),
]


class _Held:
    """What numpy takes the address from; it holds Pillow's memory as long as an array of it lives."""

    def __init__(self, array: object, address: int, shape: tuple[int, ...]) -> None:
        self.array = array
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": "|u1", "data": (address, True)}


def view_pixels(picture: Image.Image) -> NDArray[np.uint8] | None:
    """The pixels of a decoded RGB picture, in place.

    Returns
    -------
    (H, W, 4) uint8 or None
        Read-only; the fourth value of a pixel says nothing. None where Pillow cannot show them: before 11.2, in other
        modes, or where they lie in several pieces, as of more than 4 million pixels.
    """
    if sys.implementation.name != "cpython" or picture.mode != "RGB" or not hasattr(picture, "__arrow_c_array__"):
        return None
    try:
        _, capsule = picture.__arrow_c_array__()
    except ValueError:  # in pieces
        return None
    get: Any = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    array = _Array.from_address(get(capsule, b"arrow_array"))
    values = array.children[0].contents if array.n_children == 1 else array
    if (array.offset, values.offset, values.length) != (0, 0, 4 * picture.width * picture.height):
        return None
    return np.asarray(_Held(capsule, values.buffers[1], (picture.height, picture.width, 4)))


def pack_pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """``numpy.array(picture)`` of a decoded picture; of RGB a compiled kernel makes it, in a quarter of the time.

    Returns
    -------
    (H, W) or (H, W, C) uint8
    """
    view = view_pixels(picture)
    if view is None:
        return np.array(picture)
    packed = np.empty((picture.height, picture.width, 3), np.uint8)
    load_kernels("idn_data.images.kernels").drop_fourth(view.reshape(-1), packed.reshape(-1))
    return packed
