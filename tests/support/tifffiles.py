"""TIFF files of kinds that Pillow does not write."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WHITE, PLANES, SIGN = 262, 284, 339  # tags: which value is white, how planes lie, whether values have a sign


def encode_tiff(
    strips: Sequence[bytes],
    sides: tuple[int, int],
    bits: Sequence[int],
    order: str = "<",
    more: Mapping[int, int] | None = None,
) -> bytes:
    """A TIFF, not compressed.

    Parameters
    ----------
    strips : sequence of bytes
        The whole picture, or each of its planes.
    sides : (height, width)
    bits : sequence of int
        Of each value of a pixel: one for grey, three for RGB.
    order : {"<", ">"}
        Of the bytes of a number.
    more : mapping of int to int, optional
        Other tags, or other values of those that are there.
    """
    colour = len(bits) > 1
    tags: dict[int, Sequence[int]] = {
        256: [sides[1]], 257: [sides[0]], 258: bits, 259: [1], WHITE: [2 if colour else 1], 273: [0] * len(strips),
        277: [len(bits)], 278: [sides[0]], 279: [len(strip) for strip in strips],
    }  # fmt: skip
    tags |= {tag: [value] for tag, value in (more or {}).items()}
    at = 8 + 2 + 12 * len(tags) + 4
    body = at + 4 * sum(len(values) for values in tags.values() if len(values) > 1)
    tags[273] = [body + sum(map(len, strips[:k])) for k in range(len(strips))]
    entries, values_behind = b"", b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        entries += struct.pack(f"{order}HHI", tag, 4, len(values))
        entries += packed if len(values) == 1 else struct.pack(f"{order}I", at + len(values_behind))
        values_behind += packed if len(values) > 1 else b""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(tags))
    return head + entries + struct.pack(f"{order}I", 0) + values_behind + b"".join(strips)
