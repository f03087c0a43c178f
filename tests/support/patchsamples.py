"""A small patch file with random contents, for the tests of writing and reading."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import h5py
import numpy as np

from idn_data.patches.header import Header, gt_levels
from idn_data.patches.patchwriter import PatchWriter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COUNT, SIDE, SCALE = 192, 5, 3
SOURCES = [("bridge.bmp", "0" * 64), ("Straße 7.png", "f" * 64)]


def make_header(storage: str = "float32", **changes: object) -> Header:
    values: dict[str, object] = {
        "scale": SCALE, "stage": "pretrain", "lr_patch": SIDE, "seed": 5, "storage": storage, "patches_found": 200,
        "source_digest": "abc", "source_count": 2, "source_set": "291", "skipped": ("a.png: the file is empty",),
        "shard": 1, "shards": 4, "versions": {"numpy": "1", "idn": "0"},
    }  # fmt: skip
    return Header(**{**values, **changes})  # type: ignore[arg-type]


def draw_patches() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """LR (N, p, p) with a little overshoot, GT (N, s·p, s·p) as 8-bit values with every k among them."""
    rng = np.random.default_rng(0)
    lr = rng.uniform(-0.05, 1.05, (COUNT, SIDE, SIDE)).astype(np.float32)
    return lr, rng.integers(0, 256, (COUNT, SIDE * SCALE, SIDE * SCALE), dtype=np.uint8)


def write(path: Path, storage: str = "float32") -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    lr, gt = draw_patches()
    with PatchWriter(path, make_header(storage), COUNT, SOURCES) as writer:
        for rows in (slice(64, COUNT), slice(0, 64)):  # in any order
            writer.lr[rows] = lr[rows]
            writer.gt[rows] = gt_levels(writer.gt.dtype)[gt[rows]]
            writer.crc[rows] = [
                [zlib.crc32(a.tobytes()), zlib.crc32(b.tobytes())] for a, b in zip(lr[rows], gt[rows], strict=True)
            ]
            writer.release()
    return lr, gt


def to_single(gt: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (gt.astype(np.float64) / 255).astype(np.float32)


def drop_checksums(path: Path) -> None:
    """Leave a file as an older version would have made it."""
    with h5py.File(path, "r+") as file:
        del file["crc32"], file["digest"], file.attrs["checksums"], file.attrs["digested"]
        file.attrs["format_version"] = 1
