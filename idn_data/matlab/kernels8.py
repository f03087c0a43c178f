"""Numba kernels: separable resampling of 8-bit images in float32, every value MATLAB's.

A float32 sum lies within a known bound of MATLAB's sum of doubles. Where it comes nearer to a half than that, its
rounding is in doubt, and it is summed again in doubles. The proof is in `idn_data.matlab.eightbit.find_limit`.

Eight rows go through together. The vertical pass packs the bytes of eight rows of a column side by side, so that one
vector of the horizontal pass holds the same value of eight rows. What comes out is packed four columns to a word, which
lays it in rows again. Serial, without the GIL, without validation; import it through `compiled.load_kernels`. Indices
are uintp: a signed one may count from the end, and the check for that keeps a loop from SIMD. Little-endian machines.
numba infers the types of arguments; the docstrings name them.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from typing import Any

import numpy as np
from numba import njit, types

OPTIONS: Any = {"nogil": True, "fastmath": False, "error_model": "numpy", "boundscheck": False}

BLOCK = 8  # rows made together: eight float32 fill one AVX2 register
CHUNK = 512  # values in flight beside one another: 8 rows of as many float32 are 16 KB, in L1


# read-only arguments; numba passes writable arrays to them as well
_BYTES, _INDICES, _SINGLES, _DOUBLES = (
    types.Array(t, 2, "C", readonly=True) for t in (types.uint8, types.uintp, types.float32, types.float64)
)
_AXIS = types.Tuple((_DOUBLES, _INDICES, _SINGLES, _INDICES, types.float32))  # `idn_data.matlab.eightbit.Axis`
_RESIZE = [types.void(_BYTES, _AXIS, _AXIS, types.intp, types.uint8[:, ::1])]

_8, _16, _24, _255 = np.int32(8), np.int32(16), np.int32(24), np.int32(255)
_U1, _U2, _U3, _U4, _U5, _U6, _U7, _U8 = (np.uintp(k) for k in range(1, 9))  # int64 beside uintp makes a float


@njit(**OPTIONS)
def clamp(value):
    """A float32 brought to 0…255."""
    return min(max(value, np.float32(0.0)), np.float32(255.0))


@njit(**OPTIONS)
def pack_sums(sums, step, count, limit, words, doubt):
    """Round four float32 sums to bytes, half up, and pack them: byte b of ``words[j]`` is of ``sums[b·step + j]``.

    words : int32, doubt : float32, the first `count` of each. ``doubt[j]`` is how far the four, clamped to 0…255, lie
    from their whole numbers at most, a difference that is exact in float32; not written where `limit` is 1. The casts
    are safe: 0.5…255.5 is cut to 0…255.
    """
    half, k1, k2, k3 = np.float32(0.5), np.uintp(step), np.uintp(2 * step), np.uintp(3 * step)
    if limit >= np.float32(1.0):
        for n in range(count):
            j = np.uintp(n)
            b0, b1 = np.int32(clamp(sums[j]) + half), np.int32(clamp(sums[k1 + j]) + half)
            b2, b3 = np.int32(clamp(sums[k2 + j]) + half), np.int32(clamp(sums[k3 + j]) + half)
            words[j] = b0 | (b1 << _8) | (b2 << _16) | (b3 << _24)
        return
    for n in range(count):
        j = np.uintp(n)
        v0, v1, v2, v3 = clamp(sums[j]), clamp(sums[k1 + j]), clamp(sums[k2 + j]), clamp(sums[k3 + j])
        b0, b1, b2, b3 = np.int32(v0 + half), np.int32(v1 + half), np.int32(v2 + half), np.int32(v3 + half)
        words[j] = b0 | (b1 << _8) | (b2 << _16) | (b3 << _24)
        d01 = max(abs(v0 - np.float32(b0)), abs(v1 - np.float32(b1)))
        d23 = max(abs(v2 - np.float32(b2)), abs(v3 - np.float32(b3)))
        doubt[j] = max(d01, d23)


@njit(**OPTIONS)
def any_doubt(doubt, first, last, limit):
    """Whether any of ``doubt[first:last]`` reaches `limit`, counted so that SIMD does it."""
    found = np.int32(0)
    for n in range(first, last):
        found = np.int32(found + np.int32(doubt[np.uintp(n)] >= limit))
    return found > 0


@njit(**OPTIONS)
def in_doubt(value, limit):
    """Whether a float32 sum may be rounded otherwise than the sum of doubles; see `pack_sums`."""
    v = clamp(value)
    return abs(v - np.float32(np.int32(v + np.float32(0.5)))) >= limit


@njit(**OPTIONS)
def round_double(value):
    """MATLAB's rounding to uint8: half away from zero, clamped; see `kernels.round_half_away`."""
    return np.uint8(np.floor(min(max(value, 0.0), 255.0) + 0.49999999999999994))


@njit(**OPTIONS)
def mix(tile, w0, w1, w2, w3, k0, k1, k2, k3):
    """Four taps of one value, in float32."""
    a0, a1, a2, a3 = np.float32(tile[k0]), np.float32(tile[k1]), np.float32(tile[k2]), np.float32(tile[k3])
    return w0 * a0 + w1 * a1 + w2 * a2 + w3 * a3


@njit(**OPTIONS)
def sum_row(source, weights, starts, taps, i, first, count, sums, at):
    """``sums[at + j] = Σ_p weights[i·P + p] · source[starts[i·P + p] + first + j]`` in float32, for j = 0…count-1.

    source : uint8, sums : float32, starts : uintp, where the row of each tap begins; all one-dimensional. Four taps a
    sweep, of which P is a multiple, keep the sums in L1.
    """
    q, f, o = np.uintp(i * taps), np.uintp(first), np.uintp(at)
    w0, w1, w2, w3 = weights[q], weights[q + _U1], weights[q + _U2], weights[q + _U3]
    k0, k1, k2, k3 = starts[q] + f, starts[q + _U1] + f, starts[q + _U2] + f, starts[q + _U3] + f
    for n in range(count):
        j = np.uintp(n)
        sums[o + j] = mix(source, w0, w1, w2, w3, k0 + j, k1 + j, k2 + j, k3 + j)
    for p in range(4, taps, 4):
        e = q + np.uintp(p)
        w0, w1, w2, w3 = weights[e], weights[e + _U1], weights[e + _U2], weights[e + _U3]
        k0, k1, k2, k3 = starts[e] + f, starts[e + _U1] + f, starts[e + _U2] + f, starts[e + _U3] + f
        for n in range(count):
            j = np.uintp(n)
            sums[o + j] = sums[o + j] + mix(source, w0, w1, w2, w3, k0 + j, k1 + j, k2 + j, k3 + j)


@njit(**OPTIONS)
def put(sums, k, a0, a1, a2, a3, a4, a5, a6, a7):
    """Store eight values, which all were read before: SIMD does it at once."""
    sums[k], sums[k + _U1], sums[k + _U2], sums[k + _U3] = a0, a1, a2, a3
    sums[k + _U4], sums[k + _U5], sums[k + _U6], sums[k + _U7] = a4, a5, a6, a7


@njit(**OPTIONS)
def find_place(v, step):
    """Where the eight rows of value v begin among sums that lie in four planes of `step`, for `pack_sums`."""
    return np.uintp((v & 3) * step + (v >> 2) * 8)


@njit(**OPTIONS)
def sum_columns(tile, weights, starts, taps, channels, first, last, sums, step):
    """Eight rows of pixels first…last-1 of the horizontal pass, in float32.

    ``sums[find_place(v) + r]``, of value v = (j - first)·C + c and row r, is
    ``Σ_p weights[j·P + p] · tile[starts[j·P + p] + 8·c + r]``, P a multiple of 4.
    tile : float32, eight rows of a value side by side; starts : uintp; all one-dimensional.
    """
    for j in range(first, last):
        q, v = np.uintp(j * taps), (j - first) * channels
        w0, w1, w2, w3 = weights[q], weights[q + _U1], weights[q + _U2], weights[q + _U3]
        k0, k1, k2, k3 = starts[q], starts[q + _U1], starts[q + _U2], starts[q + _U3]
        for c in range(channels):
            k = find_place(v + c, step)
            a0 = mix(tile, w0, w1, w2, w3, k0, k1, k2, k3)
            a1 = mix(tile, w0, w1, w2, w3, k0 + _U1, k1 + _U1, k2 + _U1, k3 + _U1)
            a2 = mix(tile, w0, w1, w2, w3, k0 + _U2, k1 + _U2, k2 + _U2, k3 + _U2)
            a3 = mix(tile, w0, w1, w2, w3, k0 + _U3, k1 + _U3, k2 + _U3, k3 + _U3)
            a4 = mix(tile, w0, w1, w2, w3, k0 + _U4, k1 + _U4, k2 + _U4, k3 + _U4)
            a5 = mix(tile, w0, w1, w2, w3, k0 + _U5, k1 + _U5, k2 + _U5, k3 + _U5)
            a6 = mix(tile, w0, w1, w2, w3, k0 + _U6, k1 + _U6, k2 + _U6, k3 + _U6)
            a7 = mix(tile, w0, w1, w2, w3, k0 + _U7, k1 + _U7, k2 + _U7, k3 + _U7)
            put(sums, k, a0, a1, a2, a3, a4, a5, a6, a7)
            k0, k1, k2, k3 = k0 + _U8, k1 + _U8, k2 + _U8, k3 + _U8
        for p in range(4, taps, 4):
            e = q + np.uintp(p)
            w0, w1, w2, w3 = weights[e], weights[e + _U1], weights[e + _U2], weights[e + _U3]
            k0, k1, k2, k3 = starts[e], starts[e + _U1], starts[e + _U2], starts[e + _U3]
            for c in range(channels):
                k = find_place(v + c, step)
                a0 = sums[k] + mix(tile, w0, w1, w2, w3, k0, k1, k2, k3)
                a1 = sums[k + _U1] + mix(tile, w0, w1, w2, w3, k0 + _U1, k1 + _U1, k2 + _U1, k3 + _U1)
                a2 = sums[k + _U2] + mix(tile, w0, w1, w2, w3, k0 + _U2, k1 + _U2, k2 + _U2, k3 + _U2)
                a3 = sums[k + _U3] + mix(tile, w0, w1, w2, w3, k0 + _U3, k1 + _U3, k2 + _U3, k3 + _U3)
                a4 = sums[k + _U4] + mix(tile, w0, w1, w2, w3, k0 + _U4, k1 + _U4, k2 + _U4, k3 + _U4)
                a5 = sums[k + _U5] + mix(tile, w0, w1, w2, w3, k0 + _U5, k1 + _U5, k2 + _U5, k3 + _U5)
                a6 = sums[k + _U6] + mix(tile, w0, w1, w2, w3, k0 + _U6, k1 + _U6, k2 + _U6, k3 + _U6)
                a7 = sums[k + _U7] + mix(tile, w0, w1, w2, w3, k0 + _U7, k1 + _U7, k2 + _U7, k3 + _U7)
                put(sums, k, a0, a1, a2, a3, a4, a5, a6, a7)
                k0, k1, k2, k3 = k0 + _U8, k1 + _U8, k2 + _U8, k3 + _U8


@njit(**OPTIONS)
def widen_bytes(values, out):
    """Bytes to float32, both one-dimensional."""
    for k in range(values.shape[0]):
        out[k] = values[k]


@njit(**OPTIONS)
def unpack_words(words, fours, out, place):
    """``out[r, place + q] = words[8q + r]`` for q = 0…fours-1; out (8, ·), both int32."""
    r0, r1, r2, r3, r4, r5, r6, r7 = out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7]
    for q in range(fours):
        k, n = np.uintp(8 * q), np.uintp(place + q)
        a0, a1, a2, a3 = words[k], words[k + _U1], words[k + _U2], words[k + _U3]
        a4, a5, a6, a7 = words[k + _U4], words[k + _U5], words[k + _U6], words[k + _U7]
        r0[n], r1[n], r2[n], r3[n], r4[n], r5[n], r6[n], r7[n] = a0, a1, a2, a3, a4, a5, a6, a7


@njit(**OPTIONS)
def copy_bytes(source, target, at, count):
    """``target[at + j] = source[j]`` for j = 0…count-1, both one-dimensional."""
    start = np.uintp(at)
    for n in range(count):
        j = np.uintp(n)
        target[start + j] = source[j]


@njit(**OPTIONS)
def sum_again(values, weights, indices, i, step, lane):
    """A sum in doubles, as MATLAB takes it, rounded: ``Σ_p weights[i, p] · values[indices[i, p]·step + lane]``."""
    total = 0.0
    for p in range(weights.shape[1]):
        total += weights[i, p] * np.float64(values[np.intp(indices[i, p]) * step + lane])
    return round_double(total)


@njit(**OPTIONS)
def resize_columns(tile, columns, axis, channels, room, out):
    """Eight rows of the horizontal pass: columns, (W·C·8,) bytes, eight rows of a value side by side, to words of out.

    tile : the same in float32; axis : as `prepare` returns it; out : (8, ·) int32, four bytes each.
    """
    weights, indices, weights32, starts, taps, limit = axis
    sums, words, doubt = room
    bytes4, n = words.view(np.uint8), weights.shape[0]
    step, pixels = sums.shape[0] // 4, max(CHUNK // channels, 4) // 4 * 4
    for first in range(0, n, pixels):
        last = min(first + pixels, n)
        count, fours = (last - first) * channels, ((last - first) * channels + 3) // 4
        sum_columns(tile, weights32, starts, taps, channels, first, last, sums, step)
        pack_sums(sums, step, 8 * fours, limit, words, doubt)
        for block in range(0, 8 * fours if limit < 1 else 0, 64):
            end = min(block + 64, 8 * fours)
            if any_doubt(doubt, block, end, limit):
                for k in range(block, end):
                    for b in range(4 if doubt[k] >= limit else 0):
                        v = k // 8 * 4 + b
                        if v < count and in_doubt(sums[b * step + k], limit):
                            j, lane = first + v // channels, v % channels * 8 + k % 8
                            bytes4[4 * k + b] = sum_again(columns, weights, indices, j, 8 * channels, lane)
        unpack_words(words, fours, out, first * channels // 4)


@njit(**OPTIONS)
def resize_four_rows(source, width, axis, i, count, first, n, room):
    """Values first…first+n-1 of rows i…i+count-1, at most four, of the vertical pass, into the words of `room`.

    source : (H·W·C,) uint8, width : W·C; axis : as `prepare` returns it.
    """
    weights, indices, weights32, starts, taps, limit = axis
    sums, words, doubt = room
    bytes4 = words.view(np.uint8)
    for r in range(count):
        sum_row(source, weights32, starts, taps, i + r, first, n, sums, r * CHUNK)
    pack_sums(sums, CHUNK, n, limit, words, doubt)
    for block in range(0, n if limit < 1 else 0, 64):
        end = min(block + 64, n)
        if any_doubt(doubt, block, end, limit):
            for j in range(block, end):
                for b in range(count if doubt[j] >= limit else 0):
                    if in_doubt(sums[b * CHUNK + j], limit):
                        bytes4[4 * j + b] = sum_again(source, weights, indices, i + b, width, first + j)


@njit(**OPTIONS)
def resize_eight_rows(source, width, axis, i, count, room, columns, tile):
    """Rows i…i+count-1, at most eight, of the vertical pass, side by side: columns (W·C·8,) bytes, tile in float32."""
    words, words8 = room[1], columns.view(np.int32)
    for first in range(0, width, CHUNK):
        n = min(CHUNK, width - first)
        for half in range((count + 3) // 4):
            resize_four_rows(source, width, axis, i + 4 * half, min(4, count - 4 * half), first, n, room)
            for k in range(n):
                j = np.uintp(k)
                words8[np.uintp(2 * first + half) + _U2 * j] = words[j]
    widen_bytes(columns, tile)


@njit(**OPTIONS)
def unpack_row(words, r, count, target, at):
    """``target[at + j]`` is byte r of ``words[j]`` for j = 0…count-1. The cast cuts off the other bytes."""
    start, shift = np.uintp(at), np.int32(8 * r)
    for n in range(count):
        j = np.uintp(n)
        target[start + j] = np.uint8((words[j] >> shift) & _255)


@njit(**OPTIONS)
def prepare(axis, step):
    """An axis for the passes: weights, indices, the float32 weights and ``starts`` of their taps, P, limit.

    starts : indices · step, where a tap begins: a row of an image, or eight values of a tile. Both one-dimensional.
    """
    weights, indices, weights32, indices32, limit = axis
    starts, k = np.empty(indices32.size, np.uintp), 0
    for i in range(indices32.shape[0]):
        for p in range(indices32.shape[1]):
            starts[k] = indices32[i, p] * np.uintp(step)
            k += 1
    return weights, indices, weights32.reshape(weights32.size), starts, indices32.shape[1], limit


@njit(**OPTIONS)
def make_room(channels):
    """Buffers: float32 sums in four planes, the words packed from them, and their doubts."""
    size = 8 * ((max(CHUNK, 4 * channels) + 3) // 4)
    return np.zeros(4 * size, np.float32), np.zeros(size, np.int32), np.zeros(size, np.float32)


@njit(_RESIZE, cache=True, **OPTIONS)
def resize_rows_then_columns(source, vertical, horizontal, channels, out):
    """Vertical pass, then horizontal pass, eight output rows at a time.

    source : (H, W·C) and out : (h, w·C) uint8; vertical, horizontal : the fields of `idn_data.matlab.eightbit.Axis`.
    """
    height, width, wide = vertical[0].shape[0], source.shape[1], out.shape[1]
    down, along = prepare(vertical, width), prepare(horizontal, 8 * channels)
    columns, tile = np.zeros(width * 8, np.uint8), np.zeros(width * 8, np.float32)
    result = np.zeros((BLOCK, (wide + 3) // 4), np.int32)
    bytes4, flat_source, flat_out = result.view(np.uint8), source.reshape(source.size), out.reshape(out.size)
    room = make_room(channels)
    for i in range(0, height, BLOCK):
        count = min(BLOCK, height - i)
        resize_eight_rows(flat_source, width, down, i, count, room, columns, tile)
        resize_columns(tile, columns, along, channels, room, result)
        for r in range(count):
            copy_bytes(bytes4[r], flat_out, (i + r) * wide, wide)


@njit(_RESIZE, cache=True, **OPTIONS)
def resize_columns_then_rows(source, vertical, horizontal, channels, out):
    """Horizontal pass, then vertical pass; arguments as in `resize_rows_then_columns`."""
    height, width, wide = source.shape[0], source.shape[1], out.shape[1]
    down, along = prepare(vertical, wide), prepare(horizontal, 8 * channels)
    columns, tile = np.zeros(width * 8, np.uint8), np.zeros(width * 8, np.float32)
    result = np.zeros((BLOCK, (wide + 3) // 4), np.int32)
    bytes4, flat_out = result.view(np.uint8), out.reshape(out.size)
    between = np.empty(height * wide, np.uint8)
    room = make_room(channels)
    for i in range(0, height, BLOCK):
        count = min(BLOCK, height - i)
        for r in range(count):
            row, lane = source[i + r], np.uintp(r)
            for n in range(width):
                columns[lane + _U8 * np.uintp(n)] = row[np.uintp(n)]
        widen_bytes(columns, tile)
        resize_columns(tile, columns, along, channels, room, result)
        for r in range(count):
            copy_bytes(bytes4[r], between, (i + r) * wide, wide)
    for i in range(0, vertical[0].shape[0], 4):
        count = min(4, vertical[0].shape[0] - i)
        for first in range(0, wide, CHUNK):
            n = min(CHUNK, wide - first)
            resize_four_rows(between, wide, down, i, count, first, n, room)
            for r in range(count):
                unpack_row(room[1], r, n, flat_out, (i + r) * wide + first)
