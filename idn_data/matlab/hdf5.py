"""Reading datasets of a stranger's HDF5 file: only what lies in the file itself, and no more than it may take."""

from __future__ import annotations

import math
import zlib
from itertools import product

import h5py

MAX_CHUNK = 64 << 20  # bytes; HDF5 takes a whole chunk into memory
ELSEWHERE, PACKED, CHUNKS = "values in another place", "packed in another way", "chunks too large"
# how a dataset may be packed, in this order
_PACKING = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32)
# what h5py raises on damaged files
UNREADABLE = (KeyError, OSError, RuntimeError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


def lies_inside(parent: h5py.Group, name: str) -> bool:
    """Whether a member is held by the file itself: links may lead to any file, or to a pipe."""
    return isinstance(parent.get(name, getlink=True), h5py.HardLink)


def find_fault(data: h5py.Dataset) -> str:
    """Why a dataset is not to be read: `ELSEWHERE`, `PACKED` or `CHUNKS`; "" where it may be."""
    layout = data.id.get_create_plist()
    if data.shape is None or layout.get_layout() == h5py.h5d.VIRTUAL or layout.get_external_count():
        return ELSEWHERE
    filters = [layout.get_filter(k)[0] for k in range(layout.get_nfilters())]
    if filters != [code for code in _PACKING if code in filters]:
        return PACKED
    chunked = layout.get_layout() == h5py.h5d.CHUNKED
    return CHUNKS if chunked and math.prod(layout.get_chunk()) * data.dtype.itemsize > MAX_CHUNK else ""


def check_chunks(data: h5py.Dataset, first: int, last: int) -> None:
    """Unpack the chunks of rows first…last-1, none of them beyond its size: HDF5 itself would go on for ever.

    Raises
    ------
    ValueError
        A chunk claims more bytes in the file, or unpacks to more, than it has.
    """
    if data.chunks is None or not (data.compression or data.shuffle or data.fletcher32):
        return
    size, rows = math.prod(data.chunks) * data.dtype.itemsize, data.chunks[0]
    spans = [range(0, n, c) for n, c in zip(data.shape[1:], data.chunks[1:], strict=True)]
    for place in product(range(first // rows * rows, last, rows), *spans):
        info = data.id.get_chunk_info_by_coord(place)
        if info.byte_offset is None:  # never written: all zeros
            continue
        if info.size > 2 * size + 4096:
            raise ValueError(f"a chunk of {size:,} bytes claims {info.size:,} in the file")
        skipped, packed = data.id.read_direct_chunk(place)
        plain = data.compression is None or skipped >> data.shuffle & 1  # a bit for each filter, in their order
        try:
            unpacked = b"" if plain else zlib.decompressobj().decompress(packed, size + 1)
        except zlib.error:
            return  # HDF5 says so as well
        if len(unpacked) > size:
            raise ValueError(f"a chunk unpacks to more than its {size:,} bytes")
