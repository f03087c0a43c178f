"""PNG files of kinds that Pillow does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path


def write_png(path: Path, width: int, height: int, depth: int, kind: int, rows: bytes) -> Path:
    """A PNG chunk by chunk; kind: 0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha; rows without filter bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    size = len(rows) // height
    raw = b"".join(b"\0" + rows[k * size : (k + 1) * size] for k in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )
    return path
