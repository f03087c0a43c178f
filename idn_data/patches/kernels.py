"""Numba kernels of patches: cutting, checksums, levels. No validation here; see `plan`, `checksums` and `patchfile`.

Rules as in `idn_data.matlab.kernels`; import it through `idn_data.matlab.compiled.load_kernels`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit, types

from idn_data.matlab.kernels import OPTIONS, constant

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _tabulate_crc() -> NDArray[np.uint32]:
    """CRC-32 tables (8, 256) uint32: row k, what a byte adds that k more bytes follow."""
    tables = np.zeros((8, 256), np.uint32)
    for value in range(256):
        rest = value
        for _ in range(8):
            rest = rest >> 1 ^ (0xEDB88320 if rest & 1 else 0)
        tables[0, value] = rest
    for k in range(1, 8):
        tables[k] = tables[k - 1] >> 8 ^ tables[0, tables[k - 1] & 255]
    return tables


_CRC = _tabulate_crc()


@njit(**OPTIONS)  # type: ignore[untyped-decorator]  # so numba types it where it gets no signature
def compute_crc(data: NDArray[np.uint8]) -> np.uint32:
    """CRC-32 of (n,) uint8, the one of zlib and PNG, eight bytes a step ("slicing by 8", Kounavis and Berry 2005)."""
    crc = np.uint32(0xFFFFFFFF)
    whole = data.shape[0] // 8 * 8
    words = data[:whole].view(np.uint64)
    for i in range(words.shape[0]):
        word = words[i] ^ np.uint64(crc)
        crc = (
            _CRC[7, word & 255] ^ _CRC[6, word >> 8 & 255] ^ _CRC[5, word >> 16 & 255] ^ _CRC[4, word >> 24 & 255]
            ^ _CRC[3, word >> 32 & 255] ^ _CRC[2, word >> 40 & 255] ^ _CRC[1, word >> 48 & 255] ^ _CRC[0, word >> 56]
        )  # fmt: skip
    for i in range(whole, data.shape[0]):
        crc = _CRC[0, np.uint32(data[i]) ^ (crc & np.uint32(255))] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


@njit(
    [
        types.void(
            constant(types.uint8),
            constant(types.float64),
            constant(types.intp, 1),
            *(types.intp,) * 4,
            constant(t, 1),
            t[:, :, ::1],
            types.float32[:, :, ::1],
            types.uint8[:, ::1],
            types.uint32[:, ::1],
        )
        for t in (types.uint8, types.float32)
    ],
    cache=True,
    **OPTIONS,
)
def cut_patches(
    gt: NDArray[np.uint8], lr: NDArray[np.float64], places: NDArray[np.intp], columns: int, scale: int, first: int,
    last: int, levels: NDArray[np.uint8] | NDArray[np.float32], gt_out: NDArray[np.uint8] | NDArray[np.float32],
    lr_out: NDArray[np.float32], lr_bytes: NDArray[np.uint8], crc_out: NDArray[np.uint32],
) -> None:  # fmt: skip
    """Cut the grid of one image and put each patch where `places` says.

    gt : (s·h, s·w) uint8; lr : (h, w) float64; places : (n,) intp, the row in the file of each patch of the
    grid, row by row, or -1 for one left out; `columns` patches stand in a row of the grid. Only rows first…last-1 are
    written, to ``place - first`` of gt_out (m, s·p, s·p) as ``levels[k]`` and of lr_out (m, p, p) float32.
    float64 to float32 is the file's own precision (the scripts store single).

    The CRC-32 of each patch goes to crc_out (m, 2) while the patch is in the cache: of LR as stored, whose bytes are
    lr_bytes (m, 4·p·p), and of GT as bytes k, whatever it is stored as. With m = 0, none are made.
    """
    p = lr_out.shape[1]
    g = gt_out.shape[1]
    held = np.empty(g * g, np.uint8)
    for k in range(places.shape[0]):
        place = places[k]
        if place < first or place >= last:
            continue
        y = (k // columns) * p
        x = (k % columns) * p
        patch = lr_out[place - first]
        for i in range(p):
            for j in range(p):
                patch[i, j] = lr[y + i, x + j]
        whole = gt_out[place - first]
        for i in range(g):
            line = gt[y * scale + i, x * scale : x * scale + g]
            row, kept = whole[i], held[i * g : (i + 1) * g]
            for j in range(g):
                row[j] = levels[line[j]]
            for j in range(g):  # not `kept[:] = line`: its text of an error takes 4 s to compile
                kept[j] = line[j]
        if crc_out.shape[0]:
            crc_out[place - first, 0] = compute_crc(lr_bytes[place - first])
            crc_out[place - first, 1] = compute_crc(held)


@njit(
    types.void(constant(types.uint8), constant(types.uint8), types.uint32[:, ::1]),
    cache=True,
    **OPTIONS,
)
def checksum_rows(lr: NDArray[np.uint8], gt: NDArray[np.uint8], out: NDArray[np.uint32]) -> None:
    """CRC-32 of rows of LR and GT as `cut_patches` takes them: (n, 4·p·p) uint8 bytes, (n, (s·p)²) uint8 k."""
    for row in range(out.shape[0]):
        out[row, 0] = compute_crc(lr[row])
        out[row, 1] = compute_crc(gt[row])


@njit(
    types.void(constant(types.float32), constant(types.int32), types.uint8[:, ::1], types.boolean[::1]),
    cache=True,
    **OPTIONS,
)
def find_levels(
    values: NDArray[np.float32], bits: NDArray[np.int32], out: NDArray[np.uint8], exact: NDArray[np.bool_]
) -> None:
    """The k of values that should be single(k/255), and for each row whether all of them are so, bit for bit.

    values : (n, m) float32, whatever they are; bits : the same as int32, for the sign of zero; out : (n, m) uint8;
    exact : (n,) bool. The cast to uint8 is safe: what is NaN or out of range becomes 0 before it.
    """
    for r in range(values.shape[0]):
        wrong = np.int32(0)
        for j in range(values.shape[1]):
            value = values[r, j]
            k = value * np.float32(255) + np.float32(0.5)
            level = np.int32(k if k >= np.float32(0) and k < np.float32(256) else np.float32(0))
            out[r, j] = np.uint8(level)
            wrong |= np.int32(np.float32(level) / np.float32(255) != value) | np.int32(bits[r, j] < 0)
        exact[r] = wrong == 0
