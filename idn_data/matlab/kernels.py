"""Numba kernels: separable resampling. No validation here; see `resize`.

All kernels are serial and release the GIL, so that a pool of threads may run them side by side. They keep
IEEE order: no fastmath, no fused multiply-add, sums taken tap by tap in index order. SIMD runs across
pixels, never across the taps of one sum.

Importing this module compiles (or loads from numba's cache) every kernel. Import it through
`idn_data.matlab.compiled.load_kernels`, which lets one process at a time do so.
"""

# numba infers the types of arguments; the docstrings name them.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from typing import Any

import numpy as np
from numba import njit, types

OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy", "boundscheck": False}

BLOCK = 8  # rows of the output made together: eight doubles fill one AVX-512 register, two AVX2 ones


def constant(dtype: types.Type, ndim: int = 2) -> types.Array:
    """A C-contiguous argument that the kernel only reads; numba passes writable arrays to it as well."""
    return types.Array(dtype, ndim, "C", readonly=True)


_AXIS = (constant(types.float64), constant(types.uintp))  # weights and indices
_RESIZE = [
    types.void(constant(t), *_AXIS, *_AXIS, types.intp, types.intp, types.float64, types.float64, t[:, ::1])
    for t in (types.float32, types.float64)
]

AS_IT_IS, TO_WHOLE, TO_SINGLE = 0, 1, 2  # what a pass does with its sums before they are kept


@njit(**OPTIONS)
def round_half_away(value, low, high):
    """Clamp to low…high, whole numbers, and round half away from zero; float64 in, float64 out.

    The double before ½ is added, not ½: that would carry 0.49999999999999994 up to 1.
    """
    value = min(max(value, low), high)
    return np.copysign(np.floor(abs(value) + 0.49999999999999994), value)


@njit(**OPTIONS)
def round_row(row, rounding, low, high):
    """Round the float64 values of a row in place: not at all, `TO_WHOLE` numbers in low…high, or `TO_SINGLE`."""
    if rounding == TO_WHOLE:
        for j in range(row.shape[0]):
            row[j] = round_half_away(row[j], low, high)
    elif rounding == TO_SINGLE:
        for j in range(row.shape[0]):
            row[j] = np.float32(row[j])


@njit(**OPTIONS)
def sum_few_rows(source, weights, indices, i, row):
    """`sum_rows` for fewer than four taps: those of nearest, box and bilinear."""
    w0, s0 = weights[i, 0], source[indices[i, 0]]
    for j in range(row.shape[0]):
        row[j] = w0 * s0[j]
    for p in range(1, weights.shape[1]):
        w0, s0 = weights[i, p], source[indices[i, p]]
        for j in range(row.shape[0]):
            row[j] = row[j] + w0 * s0[j]


@njit(**OPTIONS)
def sum_rows(source, weights, indices, i, row):
    """One output row of the vertical pass: ``row[j] = Σ_p weights[i, p] · source[indices[i, p], j]``.

    source : (H, W) float32 or float64; weights : (n, P) float64; indices : (n, P) uintp, 0-based;
    row : (W,) float64, overwritten. The sum runs over p in order; four taps a sweep keep `row` in L1.
    """
    width = row.shape[0]
    taps = weights.shape[1]
    if taps < 4:
        sum_few_rows(source, weights, indices, i, row)
        return
    w0, w1, w2, w3 = weights[i, 0], weights[i, 1], weights[i, 2], weights[i, 3]
    s0, s1 = source[indices[i, 0]], source[indices[i, 1]]
    s2, s3 = source[indices[i, 2]], source[indices[i, 3]]
    for j in range(width):
        row[j] = w0 * s0[j] + w1 * s1[j] + w2 * s2[j] + w3 * s3[j]
    p = 4
    while p + 4 <= taps:
        w0, w1, w2, w3 = weights[i, p], weights[i, p + 1], weights[i, p + 2], weights[i, p + 3]
        s0, s1 = source[indices[i, p]], source[indices[i, p + 1]]
        s2, s3 = source[indices[i, p + 2]], source[indices[i, p + 3]]
        for j in range(width):
            row[j] = row[j] + w0 * s0[j] + w1 * s1[j] + w2 * s2[j] + w3 * s3[j]
        p += 4
    while p < taps:
        w0 = weights[i, p]
        s0 = source[indices[i, p]]
        for j in range(width):
            row[j] = row[j] + w0 * s0[j]
        p += 1


@njit(**OPTIONS)
def sum_columns(tile, weights, indices, channels, out):
    """Eight output rows of the horizontal pass: ``out[r, j·C + c] = Σ_p weights[j, p] · tile[indices[j, p]·C + c, r]``.

    tile : (W·C, 8) float64, eight rows side by side, so that one vector holds the same pixel of eight rows;
    weights : (n, P) float64, P >= 4; indices : (n, P) uintp, 0-based pixels; out : (8, n·C), any pixel type.
    """
    o0, o1, o2, o3, o4, o5, o6, o7 = out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7]
    step = np.uintp(channels)
    for j in range(weights.shape[0]):
        for c in range(channels):
            lane = np.uintp(c)
            w0, w1, w2, w3 = weights[j, 0], weights[j, 1], weights[j, 2], weights[j, 3]
            t0, t1 = tile[indices[j, 0] * step + lane], tile[indices[j, 1] * step + lane]
            t2, t3 = tile[indices[j, 2] * step + lane], tile[indices[j, 3] * step + lane]
            a0 = w0 * t0[0] + w1 * t1[0] + w2 * t2[0] + w3 * t3[0]
            a1 = w0 * t0[1] + w1 * t1[1] + w2 * t2[1] + w3 * t3[1]
            a2 = w0 * t0[2] + w1 * t1[2] + w2 * t2[2] + w3 * t3[2]
            a3 = w0 * t0[3] + w1 * t1[3] + w2 * t2[3] + w3 * t3[3]
            a4 = w0 * t0[4] + w1 * t1[4] + w2 * t2[4] + w3 * t3[4]
            a5 = w0 * t0[5] + w1 * t1[5] + w2 * t2[5] + w3 * t3[5]
            a6 = w0 * t0[6] + w1 * t1[6] + w2 * t2[6] + w3 * t3[6]
            a7 = w0 * t0[7] + w1 * t1[7] + w2 * t2[7] + w3 * t3[7]
            for p in range(4, weights.shape[1]):
                w0 = weights[j, p]
                t0 = tile[indices[j, p] * step + lane]
                a0 += w0 * t0[0]
                a1 += w0 * t0[1]
                a2 += w0 * t0[2]
                a3 += w0 * t0[3]
                a4 += w0 * t0[4]
                a5 += w0 * t0[5]
                a6 += w0 * t0[6]
                a7 += w0 * t0[7]
            k = j * channels + c
            o0[k] = a0
            o1[k] = a1
            o2[k] = a2
            o3[k] = a3
            o4[k] = a4
            o5[k] = a5
            o6[k] = a6
            o7[k] = a7


@njit(**OPTIONS)
def sum_few_columns(tile, weights, indices, channels, out):
    """`sum_columns` for fewer than four taps: those of nearest, box and bilinear."""
    step = np.uintp(channels)
    for j in range(weights.shape[0]):
        for c in range(channels):
            for r in range(BLOCK):
                total = weights[j, 0] * tile[indices[j, 0] * step + np.uintp(c), r]
                for p in range(1, weights.shape[1]):
                    total += weights[j, p] * tile[indices[j, p] * step + np.uintp(c), r]
                out[r, j * channels + c] = total


@njit(**OPTIONS)
def transpose_block(rows, tile):
    """``tile[j, r] = rows[r, j]``; rows (8, W) float64, tile (W, 8) float64."""
    for j in range(rows.shape[1]):
        for r in range(BLOCK):
            tile[j, r] = rows[r, j]


@njit(**OPTIONS)
def store_rows(rows, count, rounding, low, high, out):
    """Copy the first `count` of the eight float64 `rows` to `out`, rounded as `round_row` does."""
    for r in range(count):
        row = rows[r]
        if rounding != AS_IT_IS:
            round_row(row, rounding, low, high)
        for j in range(row.shape[0]):
            out[r, j] = row[j]


@njit(_RESIZE, cache=True, **OPTIONS)
def resize_rows_then_columns(source, wv, iv, wh, ih, channels, rounding, low, high, out):
    """Vertical pass, then horizontal pass, eight output rows at a time, without a full-size intermediate.

    source : (H, W·C) and out : (h, w·C), the same pixel type; wv, iv : (h, P) vertical weights and 0-based rows;
    wh, ih : (w, Q) horizontal weights and 0-based pixels. Both passes round their sums as `round_row` does.
    """
    height, width, few = wv.shape[0], source.shape[1], wh.shape[1] < 4
    rows = np.zeros((BLOCK, width))
    tile = np.empty((width, BLOCK))
    result = np.empty((BLOCK, out.shape[1]))
    for i in range(0, height, BLOCK):
        count = min(BLOCK, height - i)
        for r in range(count):
            sum_rows(source, wv, iv, i + r, rows[r])
            if rounding != AS_IT_IS:
                round_row(rows[r], rounding, low, high)
        transpose_block(rows, tile)
        if few:
            sum_few_columns(tile, wh, ih, channels, result)
            store_rows(result, count, rounding, low, high, out[i : i + count])
        elif rounding == TO_WHOLE or count < BLOCK:
            sum_columns(tile, wh, ih, channels, result)
            store_rows(result, count, rounding, low, high, out[i : i + count])
        else:  # the cast to the pixel type rounds to single
            sum_columns(tile, wh, ih, channels, out[i : i + BLOCK])


@njit(_RESIZE, cache=True, **OPTIONS)
def resize_columns_then_rows(source, wv, iv, wh, ih, channels, rounding, low, high, out):
    """Horizontal pass, then vertical pass; arguments as in `resize_rows_then_columns`.

    The intermediate, (H, w·C) float64, is smaller than the source: this order is MATLAB's only where the
    horizontal scale is the smaller one.
    """
    height, width = source.shape
    rows = np.zeros((BLOCK, width))
    tile = np.empty((width, BLOCK))
    result = np.empty((BLOCK, out.shape[1]))
    between = np.empty((height, out.shape[1]))
    for i in range(0, height, BLOCK):
        count = min(BLOCK, height - i)
        for r in range(count):
            for j in range(width):
                rows[r, j] = source[i + r, j]
        transpose_block(rows, tile)
        if wh.shape[1] < 4:
            sum_few_columns(tile, wh, ih, channels, result)
        else:
            sum_columns(tile, wh, ih, channels, result)
        store_rows(result, count, rounding, low, high, between[i : i + count])
    for i in range(wv.shape[0]):
        sum_rows(between, wv, iv, i, result[0])
        store_rows(result, 1, rounding, low, high, out[i : i + 1])
