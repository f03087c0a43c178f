"""The HDF5 file of patches: write, open, read.

``/lr`` (N, 1, p, p) and ``/gt`` (N, 1, s·p, s·p), float32 in [0, 1] (LR overshoots a little), or GT as uint8 k for
k/255.
Files made by the MATLAB scripts are read as well: they are chunked and hold each patch transposed.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import h5py
import numpy as np

from idn_data.patches import gt_levels
from idn_data.recipe import BATCH, SCALES

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

Storage = Literal["float32", "uint8"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
FORMAT = "idn-patches"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Header:
    """What a patch file says of itself, as HDF5 attributes of its root (see `attributes`)."""

    scale: int
    stage: str
    lr_patch: int
    seed: int
    storage: Storage
    patches_found: int
    source_digest: str
    source_count: int
    source_set: str
    skipped: tuple[str, ...]
    shard: int
    shards: int
    versions: dict[str, str]

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise ValueError(f"storage must be one of {', '.join(STORAGES)}; got {self.storage!r}")

    def attributes(self) -> dict[str, object]:
        """The attributes as written, the datasets' range and layout among them."""
        integers = ("scale", "lr_patch", "seed", "patches_found", "source_count", "shard", "shards")
        gt = "k/255 as float32, k = 0…255" if self.storage == "float32" else "k as uint8: divide by 255"
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **{name: np.int64(getattr(self, name)) for name in integers},
            "gt_patch": np.int64(self.lr_patch * self.scale),
            "stage": self.stage,
            "storage": self.storage,
            "layout": "rows: patch[y, x] as numpy sees it",
            "range_gt": gt,
            "range_lr": "[0, 1] as float32; bicubic overshoot is not clipped",
            "channel": "Y of BT.601, studio swing",
            "recipe": "40 variants (rotation, flip, downscale 1.0…0.6) of 8 bits, modcrop, LR = imresize(GT, 1/scale)",
            "source_digest": self.source_digest,
            "source_set": self.source_set,
            "skipped": json.dumps(self.skipped[:100]),
            "skipped_count": np.int64(len(self.skipped)),
            "versions": json.dumps(self.versions, sort_keys=True),
        }


class PatchWriter:
    """A patch file open for writing in any order of rows, from any number of threads: contiguous and mapped.

    The whole file is allocated first, so that a full disk is found before any work. Patches then go straight to their
    place, without a copy in memory.

    Parameters
    ----------
    path : path
        Where to write; making it atomic is the caller's (`idn_data.atomic.write_whole`).
    header : Header
    count : int
        Patches, N.
    sources : list of (str, str)
        Name and SHA-256 of each source image, kept as the dataset ``/sources``.

    Attributes
    ----------
    lr : (N, p, p) float32
    gt : (N, s·p, s·p) float32 or uint8
        Views of the file; no longer valid after `close`.
    """

    def __init__(self, path: Path | str, header: Header, count: int, sources: list[tuple[str, str]]) -> None:
        p, g = header.lr_patch, header.lr_patch * header.scale
        gt_type = np.dtype(np.uint8 if header.storage == "uint8" else np.float32)
        shapes = {"lr": ((count, 1, p, p), np.dtype(np.float32)), "gt": ((count, 1, g, g), gt_type)}
        with h5py.File(path, "w") as file:
            file.attrs.update(header.attributes())
            width = max((len(name.encode()) for name, _ in sources), default=1)
            kind = [("name", f"S{width}"), ("sha256", "S64")]
            file.create_dataset("sources", data=np.array([(n.encode(), d.encode()) for n, d in sources], dtype=kind))
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # so that the place in the file is known now
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            layout.set_obj_track_times(False)  # the time of day would change the bytes
            offsets = {}
            for name, (shape, dtype) in shapes.items():
                space, stored = h5py.h5s.create_simple(shape), h5py.h5t.py_create(dtype)
                offsets[name] = h5py.h5d.create(file.id, name.encode(), stored, space, layout).get_offset()
        with Path(path).open("rb+") as stream:
            size = os.fstat(stream.fileno()).st_size
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, size)
            self._map = mmap.mmap(stream.fileno(), size)
        views = {
            name: np.frombuffer(self._map, dtype, int(np.prod(shape)), offsets[name]).reshape(count, *shape[2:])
            for name, (shape, dtype) in shapes.items()
        }
        self.lr, self.gt = views["lr"], views["gt"]

    def release(self) -> None:
        """Give the pages written so far to the system's cache; they no longer count as this process' memory."""
        if hasattr(mmap, "MADV_DONTNEED") and sys.platform == "linux":  # elsewhere it may drop what was written
            self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Write everything to the disk and close."""
        del self.lr, self.gt
        self._map.flush()
        self._map.close()

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            del self.lr, self.gt


class PatchFileError(ValueError):
    """A file that is no sound patch file; the message names it and says why."""


class PatchFile:
    """A patch file open for reading, ours or one made by the MATLAB scripts.

    Attributes
    ----------
    count, scale, lr_side, gt_side : int
        Number of patches, GT side over LR side, sides in pixels.
    storage : {"float32", "uint8"}
        How GT is stored.
    transposed : bool
        Whether patches are stored column by column, as MATLAB's h5write leaves them; `read` turns them.
    attributes : dict
        What the file says of itself; empty for MATLAB's.

    Raises
    ------
    PatchFileError
        Missing, not HDF5, or without fitting ``/lr`` and ``/gt``.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise PatchFileError(f"{self.path}: no such file; idn make-train makes one")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError:
            raise PatchFileError(f"{self.path}: not an HDF5 file, or a damaged one") from None
        try:
            self._check()
        except BaseException:
            self._file.close()
            raise

    def _check(self) -> None:
        try:
            self.lr, self.gt = (self._file[name] for name in ("lr", "gt"))
            self.attributes = {k: v.item() if isinstance(v, np.generic) else v for k, v in self._file.attrs.items()}
        except (KeyError, OSError, RuntimeError, TypeError, ValueError):
            raise PatchFileError(f"{self.path}: holds no readable datasets /lr and /gt") from None
        for name, data in (("lr", self.lr), ("gt", self.gt)):
            if (
                not isinstance(data, h5py.Dataset)
                or data.ndim != 4
                or data.shape[1] != 1
                or data.shape[2] != data.shape[3]
            ):
                raise PatchFileError(
                    f"{self.path}: /{name} must be (N, 1, p, p); got {getattr(data, 'shape', 'a group')}"
                )
        if self.lr.dtype not in (np.float32, np.float64) or self.gt.dtype not in (np.uint8, np.float32, np.float64):
            raise PatchFileError(
                f"{self.path}: /lr must be float32, /gt float32 or uint8; got {self.lr.dtype}, {self.gt.dtype}"
            )
        self.count, self.lr_side, self.gt_side = len(self.lr), self.lr.shape[2], self.gt.shape[2]
        if self.count != len(self.gt) or self.count == 0:
            raise PatchFileError(
                f"{self.path}: /lr and /gt must hold as many patches, at least one; got {self.count}, {len(self.gt)}"
            )
        self.scale, rest = divmod(self.gt_side, self.lr_side) if self.lr_side else (0, 1)
        if rest or self.scale not in SCALES:
            raise PatchFileError(
                f"{self.path}: GT patches must be 2, 3 or 4 times as large as LR; got {self.gt_side} and {self.lr_side}"
            )
        self.storage: Storage = "uint8" if self.gt.dtype == np.uint8 else "float32"
        self.transposed = self.attributes.get("format") != FORMAT
        version = self.attributes.get("format_version", FORMAT_VERSION)
        if version != FORMAT_VERSION:
            raise PatchFileError(f"{self.path}: format version {version}; this idn reads {FORMAT_VERSION}. Update idn")

    def read(self, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """LR (n, 1, p, p) and GT (n, 1, s·p, s·p) of rows first…last-1, float32 in [0, 1], upright."""
        if not 0 <= first <= last <= self.count:
            raise IndexError(f"rows {first}…{last} are outside 0…{self.count}")
        lr, gt = self.lr[first:last], self.gt[first:last]
        if gt.dtype == np.uint8:
            gt = gt_levels(np.dtype(np.float32))[gt]
        if self.transposed:
            lr, gt = lr.swapaxes(2, 3), gt.swapaxes(2, 3)
        # float64 files hold what the scripts would have narrowed to single
        return np.ascontiguousarray(lr, np.float32), np.ascontiguousarray(gt, np.float32)

    def sources(self) -> list[tuple[str, str]]:
        """Name and SHA-256 of each source image; empty for MATLAB's files."""
        if "sources" not in self._file:
            return []
        return [(name.decode(), digest.decode()) for name, digest in self._file["sources"][:]]

    def describe(self) -> dict[str, object]:
        """Everything `idn inspect` prints: sizes, ranges over the whole file, storage and provenance."""
        low, high = {"lr": np.inf, "gt": np.inf}, {"lr": -np.inf, "gt": -np.inf}
        step = max(BATCH, (64 << 20) // (4 * self.gt_side**2))
        for first in range(0, self.count, step):
            for name, data in zip(("lr", "gt"), self.read(first, min(first + step, self.count)), strict=True):
                # numpy's minimum keeps a NaN, Python's does not
                low[name], high[name] = np.minimum(low[name], data.min()), np.maximum(high[name], data.max())
        return {
            "file": str(self.path),
            "bytes": self.path.stat().st_size,
            "patches": self.count,
            "scale": self.scale,
            "lr_patch": self.lr_side,
            "gt_patch": self.gt_side,
            "storage": self.storage,
            "made_by": "idn" if not self.transposed else "MATLAB scripts, or another program (patches transposed)",
            "chunks": self.gt.chunks,
            "lr_range": [float(low["lr"]), float(high["lr"])],
            "gt_range": [float(low["gt"]), float(high["gt"])],
            "attributes": self.attributes,
        }

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return self.count

    def __enter__(self) -> PatchFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
