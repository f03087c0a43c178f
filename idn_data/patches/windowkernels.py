"""Numba kernels of patches cut from whole pictures. No validation here; see `windows`.

Rules as in `idn_data.matlab.kernels`; import it through `idn_data.matlab.compiled.load_kernels`.
"""

# numba infers the types of arguments; the docstrings name them.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np
from numba import njit, types

from idn_data.matlab.kernels import OPTIONS, constant

LANES = 8  # doubles of one AVX-512 register


@njit(**OPTIONS)
def fold(index, n, replicate):
    """The pixel 0…n-1 that stands for a 0-based `index` beyond the edge: the mirrored one, or the edge pixel."""
    if 0 <= index < n:
        return index
    if replicate:
        return min(max(index, 0), n - 1)
    around = index % (2 * n)
    return around if around < n else 2 * n - 1 - around


@njit(**OPTIONS)
def find_walk(orientation, side, row, column):
    """How to read a square turned: where to begin, the step to the next row of the result, and to its next column.

    `orientation` 2·k + f: k quarter turns counter-clockwise, then, with f, rows upside down. The square has `side`
    pixels; in memory its rows are `row` apart and its columns `column`.
    """
    turns, last = orientation // 2, side - 1
    if turns == 0:
        first, down, right = 0, row, column
    elif turns == 1:
        first, down, right = last * column, -column, row
    elif turns == 2:
        first, down, right = last * (row + column), -row, -column
    else:
        first, down, right = last * row, column, -row
    if orientation % 2:
        first, down = first + last * down, -down
    return first, down, right


@njit(**OPTIONS)
def copy_window(plane, width, top, left, rows, columns, side, replicate, values, window):
    """The pixels around a patch, as doubles, with what lies beyond the edge.

    plane : (h·w,) uint8, of `width` pixels a row; its crop begins at pixel (top[0], left[0]) and has top[1] rows and
    left[1] columns. `rows` and `columns` are the first row and column of the window, counted in the crop, from 0; they
    may lie outside. values : (256,) float64, what a byte becomes. window : (R, n) float64; of its columns the first
    `side` are overwritten.
    """
    inside = columns >= 0 and columns + side <= left[1]
    for r in range(window.shape[0]):
        line = (top[0] + fold(rows + r, top[1], replicate)) * width + left[0]
        row = window[r]
        if inside:
            pixels = plane[line + columns : line + columns + side]
            for c in range(side):
                row[c] = values[pixels[c]]
        else:
            for c in range(side):
                row[c] = values[plane[line + fold(columns + c, left[1], replicate)]]


@njit(**OPTIONS)
def sum_taps(source, step, weights, offsets, out):
    """Reduce the rows: ``out[i, j] = Σ_t weights[t] · source[step·i + offsets[t], j]``, t in order.

    source : (R, n) float64; weights : (P,) float64; offsets : (P,) intp, 0 or more; out : (p, n) float64, overwritten.
    n is a multiple of `LANES`: a strip of eight sums stays in registers, and SIMD runs across pixels.
    """
    for i in range(out.shape[0]):
        base = step * i
        for j in range(0, out.shape[1], LANES):
            first = source[base + offsets[0], j : j + LANES]
            w = weights[0]
            a0, a1, a2, a3 = w * first[0], w * first[1], w * first[2], w * first[3]
            a4, a5, a6, a7 = w * first[4], w * first[5], w * first[6], w * first[7]
            for t in range(1, weights.shape[0]):
                line = source[base + offsets[t], j : j + LANES]
                w = weights[t]
                a0 += w * line[0]
                a1 += w * line[1]
                a2 += w * line[2]
                a3 += w * line[3]
                a4 += w * line[4]
                a5 += w * line[5]
                a6 += w * line[6]
                a7 += w * line[7]
            o = out[i, j : j + LANES]
            o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7] = a0, a1, a2, a3, a4, a5, a6, a7


@njit(
    [
        types.void(
            constant(types.uint8, 1), constant(types.int64), types.intp, constant(types.float64, 1),
            constant(types.intp, 1), types.intp, types.boolean, constant(types.float64, 1), constant(t, 1),
            types.float32[:, :, :, ::1], t[:, :, :, ::1],
        )
        for t in (types.uint8, types.float32)
    ],
    cache=True,
    **OPTIONS,
)  # fmt: skip
def cut_windows(pixels, draws, scale, weights, offsets, lead, replicate, values, levels, lr_out, gt_out):
    """GT of each draw as it lies in its plane, and its LR by MATLAB's imresize of that phase, both turned.

    pixels : (n,) uint8; draws : (m, 6) int64: where the first channel begins in `pixels`, height and width of a
    channel, row and column of the patch, orientation as in `find_walk`. The channels of a plane follow each other.
    weights, offsets : (P,) float64 and intp: the taps of an LR pixel, whose first lies `lead` pixels before s times
    its number; offsets[0] is 0. values : (256,) float64, k/255; levels : (256,), what k becomes in GT.
    lr_out : (m, C, p, p) float32; gt_out : (m, C, s·p, s·p).

    For a patch at (y, x) the LR is that of the crop from (y mod s, x mod s) on, cut to multiples of s. Rows are reduced
    first, in doubles, as imresize does at equal scales. float64 to float32 is the precision of LR in patch files.
    """
    p, g = lr_out.shape[2], gt_out.shape[2]
    reach = scale * (p - 1) + offsets[-1] + 1
    wide, long = (reach + LANES - 1) // LANES * LANES, (p + LANES - 1) // LANES * LANES
    window = np.zeros((reach, wide))
    between = np.empty((p, wide))
    turned = np.zeros((reach, long))
    lr = np.empty((p, long))  # by columns: the second pass sums over rows as well
    columns = lr.reshape(p * long)
    for k in range(draws.shape[0]):
        height, width, y, x, orientation = draws[k, 1], draws[k, 2], draws[k, 3], draws[k, 4], draws[k, 5]
        dy, dx = y % scale, x % scale
        top, left = (dy, (height - dy) // scale * scale), (dx, (width - dx) // scale * scale)
        walk = find_walk(orientation, g, width, 1)
        walk_lr = find_walk(orientation, p, 1, long)
        for channel in range(lr_out.shape[1]):
            start = draws[k, 0] + channel * height * width
            plane = pixels[start : start + height * width]
            copy_window(plane, width, top, left, y - dy - lead, x - dx - lead, reach, replicate, values, window)
            sum_taps(window, scale, weights, offsets, between)
            for i in range(p):
                for j in range(reach):
                    turned[j, i] = between[i, j]
            sum_taps(turned, scale, weights, offsets, lr)
            small = lr_out[k, channel]
            for i in range(p):
                line = walk_lr[0] + i * walk_lr[1]
                for j in range(p):
                    small[i, j] = columns[line + j * walk_lr[2]]
            large = gt_out[k, channel]
            for i in range(g):
                line = y * width + x + walk[0] + i * walk[1]
                for j in range(g):
                    large[i, j] = levels[plane[line + j * walk[2]]]
