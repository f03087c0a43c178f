"""What a patch file says of itself, as HDF5 attributes, and how it stores GT."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal, get_args, overload

import h5py
import numpy as np

from idn_data.patches.checksums import PARTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary

Storage = Literal["float32", "uint8"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
FORMAT = "idn-patches"
FORMAT_VERSION = 2  # 1: no checksums, and strings of variable length, in a heap that HDF5 does not guard


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
    teacher: tuple[str, ...] = ()  # SHA-256 of the weights that answered for GT
    offset: tuple[int, int] = (0, 0)  # rows and columns cut off each image before all else
    boundary: Boundary = "symmetric"  # beyond the edge of all that was reduced

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise ValueError(f"storage must be one of {', '.join(STORAGES)}; got {self.storage!r}")

    def attributes(self) -> dict[str, object]:
        """The attributes as written, the datasets' range and layout among them."""
        integers = ("scale", "lr_patch", "seed", "patches_found", "source_count", "shard", "shards")
        gt = "k/255 as float32, k = 0…255" if self.storage == "float32" else "k as uint8: divide by 255"
        said: dict[str, object] = {
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
            "checksums": "crc32: zlib's CRC-32 of each LR, its bytes, and GT, as bytes k; digest: SHA-256 of "
            + ", ".join(PARTS),
        }
        if any(self.offset):
            said["offset"] = list(self.offset)
            said["recipe"] = f"of each image the offset's rows and columns cut off first; {said['recipe']}"
        if self.boundary != "symmetric":
            said["boundary"] = self.boundary
            said["recipe"] = f"{said['recipe']}; every imresize with the border {self.boundary}"
        if self.teacher:
            said["teacher"] = ", ".join(self.teacher)
            border = "" if self.boundary == "symmetric" else ", with that border"
            said["recipe"] = (
                f"{said['recipe']}; GT then by the teacher: weights of that SHA-256, self-ensemble, mean{border}"
            )
        return {**said, "digested": json.dumps(sorted(said))}


@overload
def gt_levels(dtype: np.dtype[np.uint8]) -> NDArray[np.uint8]: ...
@overload
def gt_levels(dtype: np.dtype[np.float32]) -> NDArray[np.float32]: ...
def gt_levels(dtype: np.dtype[np.uint8] | np.dtype[np.float32]) -> NDArray[np.uint8] | NDArray[np.float32]:
    """What the 8-bit values k = 0…255 of GT are stored as: themselves in uint8, MATLAB's single(k/255) in float32."""
    k = np.arange(256, dtype=np.uint8)
    return k if dtype == np.uint8 else (k / 255.0).astype(np.float32)


def read_versions() -> dict[str, str]:
    """Versions of what shapes the bytes of a file."""
    versions = {"hdf5": h5py.version.hdf5_version}
    for package in ("idn", "numpy", "numba", "pillow", "h5py"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that was never installed
            versions[package] = "unknown"
    return versions


def to_plain(value: object) -> object:
    """An attribute's value as Python and JSON know it; UnicodeDecodeError for bytes that are no text."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # HDF5's may hold what cannot be printed
    if isinstance(value, h5py.Empty):
        return None
    return value if isinstance(value, (int, float)) else str(value)
