"""What MATLAB's `imresize` makes of a scale or a size: the scale of each axis and the output's shape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    Scale: TypeAlias = float | Sequence[float]
    Size: TypeAlias = Sequence[float | None]

MAX_LENGTH = 1 << 24  # pixels along one axis; beyond it a size is taken for a mistake
MIN_SCALE = 2.0**-18  # a kernel of a million pixels


def find_lengths(
    shape: tuple[int, int], scale: Scale | None, size: Size | None
) -> tuple[tuple[float, float], tuple[int, int]]:
    """Scales and output lengths (rows, columns), by MATLAB's rules for either way of asking.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the input, at least 1.
    scale : float or (float, float) or None
        The output has ``ceil(scale * n)`` pixels along an axis, as the product of doubles comes out.
    size : (float, float) or None
        Rows and columns of the output, rounded up where not whole; one of them may be None or NaN: it follows from the
        other one's scale. The scales are those of the size rounded up.

    Returns
    -------
    scales : (float, float)
    lengths : (int, int)

    Raises
    ------
    ValueError
        For both or neither, and for values that are not positive and finite, too small or too large.
    """
    if (scale is None) == (size is None):
        raise ValueError("imresize takes either scale or size, and exactly one of them; got " +
                         ("neither" if scale is None else f"scale={scale!r} and size={size!r}"))  # fmt: skip
    scales, lengths = _apply_scale(shape, scale) if scale is not None else _apply_size(shape, size)
    if min(scales) < MIN_SCALE:
        raise ValueError(f"scale {min(scales):g} is too small; at least {MIN_SCALE:g}")
    if max(lengths) > MAX_LENGTH:
        raise ValueError(
            f"an output of {lengths[0]}x{lengths[1]} is too large; at most {MAX_LENGTH} pixels along an axis"
        )
    return scales, lengths


def _make_plain(value: Any) -> Any:
    """A number of numpy's as Python's: its own arithmetic may overflow at 16 bits, or round to 24."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _apply_scale(shape: tuple[int, int], scale: Scale) -> tuple[tuple[float, float], tuple[int, int]]:
    pair = _spread(_make_plain(scale))
    if len(pair) != 2 or not all(isinstance(s, Real) and math.isfinite(s) and s > 0 for s in pair):
        raise ValueError(f"scale must be one positive number or two (rows, columns); got {scale!r}")
    vertical, horizontal = float(pair[0]), float(pair[1])
    most = MAX_LENGTH + 1
    return (vertical, horizontal), (
        math.ceil(min(vertical * shape[0], most)), math.ceil(min(horizontal * shape[1], most)),
    )  # fmt: skip


def _spread(scale: Scale) -> tuple[float, ...]:
    return tuple(map(_make_plain, scale)) if isinstance(scale, Iterable) else (scale, scale)


def _apply_size(shape: tuple[int, int], size: Size | None) -> tuple[tuple[float, float], tuple[int, int]]:
    size = _make_plain(size)  # of no dimension, it is no pair
    wanted = tuple(None if v is None or v != v else _make_plain(v) for v in size) if isinstance(size, Iterable) else ()
    known = [v for v in wanted if v is not None]
    if len(wanted) != 2 or not known or not all(isinstance(v, Real) and float(v) > 0 for v in known):
        raise ValueError(f"size must be (rows, columns), positive, one of them None or NaN at most; got {size!r}")
    if not all(math.isfinite(v) for v in known):
        raise ValueError(f"size must be finite; got {size!r}")
    if len(known) == 2:
        rows, columns = (math.ceil(v) for v in known)
        return (rows / shape[0], columns / shape[1]), (rows, columns)
    axis = 0 if wanted[1] is None else 1
    # the open length takes the other axis' scale; multiplied first, then divided, as MATLAB does
    other = math.ceil(known[0] * shape[1 - axis] / shape[axis])
    n = math.ceil(known[0])
    return (n / shape[axis],) * 2, (n, other) if axis == 0 else (other, n)
