"""Numba kernel: the pixels that Pillow decoded, packed. Serial, without the GIL; import it through `load_kernels`."""

# mypy: disable-error-code="no-untyped-def"

import numpy as np
from numba import njit, types

_1, _2, _3, _4 = (np.uintp(k) for k in range(1, 5))  # a signed index keeps the loop from SIMD


@njit(
    [types.void(types.Array(types.uint8, 1, "C", readonly=True), types.uint8[::1])],
    nogil=True, cache=True, error_model="numpy", boundscheck=False,
)  # fmt: skip
def drop_fourth(source, out):
    """``out[3k + c] = source[4k + c]``, c = 0, 1, 2, of pixels k = 0…n-1; source (4n,) and out (3n,) uint8."""
    for n in range(out.shape[0] // 3):
        k = np.uintp(n)
        i, j = _4 * k, _3 * k
        out[j], out[j + _1], out[j + _2] = source[i], source[i + _1], source[i + _2]
