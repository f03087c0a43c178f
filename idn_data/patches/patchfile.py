"""The HDF5 file of patches as it is read.

``/lr`` (N, 1, p, p) and ``/gt`` (N, 1, s·p, s·p), float32 in [0, 1] (LR overshoots a little), or GT as uint8 k for
k/255; ``/sources``; and the checksums of `idn_data.patches.checksums`, which older readers pass over.
Files made by the MATLAB scripts are read as well: they are chunked and hold each patch transposed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from idn_data.matlab.weights import BOUNDARIES
from idn_data.patches.checksums import PARTS, check_rows, compute_digests, format_rows
from idn_data.patches.hdf5 import UNREADABLE, find_dataset, open_file, read_attributes, read_rows
from idn_data.patches.hdf5 import PatchFileError as PatchFileError
from idn_data.patches.header import FORMAT, FORMAT_VERSION, Storage, gt_levels
from idn_data.patches.recipe import SCALES
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from idn_data.workers import Progress


MAX_SIDE = 1024 * max(SCALES)  # of a GT patch, as `idn_data.patches.recipe.Recipe` has it


class PatchFile:
    """A patch file open for reading, ours or one made by the MATLAB scripts.

    Attributes
    ----------
    count, scale, lr_side, gt_side : int
        Number of patches, GT side over LR side, sides in pixels.
    storage : {"float32", "uint8"}
        How GT is stored.
    checked : bool
        Whether the file holds checksums; those of its attributes and of the checksums themselves are right then.
    step : int
        Rows to be read at a time.
    transposed : bool
        Whether patches are stored column by column, as MATLAB's h5write leaves them; `read` turns them.
    boundary : {"symmetric", "replicate"}, optional
        What lay beyond the edges when LR was made; None where the file does not say it, as MATLAB's.
    attributes : dict
        What the file says of itself; empty for MATLAB's.

    Raises
    ------
    PatchFileError
        Missing, not HDF5, or without fitting ``/lr`` and ``/gt``; or one that points to other files, or claims more
        than it can hold.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = open_file(self.path)
        try:
            self._check()
        except BaseException:
            self._file.close()
            raise

    def _check(self) -> None:
        try:
            self.lr, self.gt = (find_dataset(self._file, name) for name in ("lr", "gt"))
            self.attributes = read_attributes(self._file)
        except PatchFileError:
            raise
        except UNREADABLE:
            raise PatchFileError(
                f"{self.path}: damaged: its datasets or attributes cannot be read; copy or make the file again"
            ) from None
        self._check_shapes()
        self._check_words()
        if self.checked:
            self._check_digests()

    def _check_shapes(self) -> None:
        """Sizes and types of LR and GT, and what follows from them."""
        for name, data in (("lr", self.lr), ("gt", self.gt)):
            if data.ndim != 4 or data.shape[1] != 1 or data.shape[2] != data.shape[3]:
                raise PatchFileError(f"{self.path}: /{name} must be (N, 1, p, p); got {data.shape}")
        if self.lr.dtype not in (np.float32, np.float64) or self.gt.dtype not in (np.uint8, np.float32, np.float64):
            raise PatchFileError(
                f"{self.path}: /lr must be float32, /gt float32 or uint8; got {self.lr.dtype}, {self.gt.dtype}"
            )
        self.count, self.lr_side, self.gt_side = len(self.lr), int(self.lr.shape[2]), int(self.gt.shape[2])
        if self.count != len(self.gt) or self.count == 0:
            raise PatchFileError(
                f"{self.path}: /lr and /gt must hold as many patches, at least one; got {self.count}, {len(self.gt)}"
            )
        self.scale = self.gt_side // max(self.lr_side, 1)
        if self.gt_side != self.scale * self.lr_side or self.scale not in SCALES or self.gt_side > MAX_SIDE:
            raise PatchFileError(
                f"{self.path}: GT patches must be 2, 3 or 4 times as large as LR; got {self.gt_side} and {self.lr_side}"
                + (f"; at most {MAX_SIDE}" if self.gt_side > MAX_SIDE else "")
            )
        self.step = max(1, (64 << 20) // (4 * self.gt_side**2))  # patches of 64 MiB: as many as to read at a time
        self.storage: Storage = "uint8" if self.gt.dtype == np.uint8 else "float32"

    def _check_words(self) -> None:
        """The attributes that say how to read the rest."""
        self.transposed = self.attributes.get("format") != FORMAT
        version = self.attributes.get("format_version", FORMAT_VERSION)
        if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
            raise PatchFileError(
                f"{self.path}: format version {repr(version)[:20]}; this idn reads 1…{FORMAT_VERSION}. Update idn"
            )
        said = self.attributes.get("boundary", "symmetric")
        if said not in BOUNDARIES:
            raise PatchFileError(
                f"{self.path}: the attribute 'boundary' is {repr(said)[:20]}; this idn reads {', '.join(BOUNDARIES)}"
            )
        self.boundary = None if self.transposed else said
        self.checked = bool({"crc32", "digest"} & set(self._file) or {"checksums", "digested"} & set(self.attributes))

    def _check_digests(self) -> None:
        shapes = {"lr": self.lr.shape, "gt": self.gt.shape}
        try:
            self._crc, sources, kept = (
                find_dataset(self._file, "crc32"),
                find_dataset(self._file, "sources")[:].tobytes(),
                find_dataset(self._file, "digest")[:],
            )
            if self._crc.shape != (self.count, 2) or self._crc.dtype != np.uint32:
                bad = ["/crc32"]
            else:
                pieces = (self._crc[k : k + (1 << 20)] for k in range(0, self.count, 1 << 20))
                found = compute_digests(self.attributes, shapes, sources, pieces)
                bad = [part for part, digest, other in zip(PARTS, kept, found, strict=True) if digest != other]
        except (*UNREADABLE, PatchFileError):
            bad = ["checksums, which are missing or unreadable"]
        if bad:
            raise PatchFileError(f"{self.path}: damaged in its {' and '.join(bad)}; copy or make the file again")

    def read(self, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """LR (n, 1, p, p) and GT (n, 1, s·p, s·p) of rows first…last-1, float32 in [0, 1], upright; not verified."""
        lr, gt = self._read_stored(first, last)
        if gt.dtype == np.uint8:
            return lr, gt_levels(np.dtype(np.float32))[gt]
        return lr, cast("NDArray[np.float32]", gt)  # the other type that `_check_shapes` lets through

    def read_sound(self, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """As `read`; PatchFileError where the file has checksums, and some patches are not those that were written."""
        if not self.checked:
            return self.read(first, last)
        lr, levels = self.read_levels(first, last)
        return lr, gt_levels(np.dtype(np.float32))[levels]

    def _read_stored(
        self, first: int, last: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | NDArray[np.uint8]]:
        if not 0 <= first <= last <= self.count:
            raise IndexError(f"rows {first}…{last} are outside 0…{self.count}")
        lr, gt = (read_rows(data, first, last) for data in (self.lr, self.gt))
        if self.transposed:
            lr, gt = lr.swapaxes(2, 3), gt.swapaxes(2, 3)
        with np.errstate(over="ignore"):  # float64 files hold what the scripts would have narrowed to single
            gt = np.ascontiguousarray(gt, None if gt.dtype == np.uint8 else np.float32)
            return np.ascontiguousarray(lr, np.float32), gt

    def read_levels(self, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """LR (n, 1, p, p) float32 and GT (n, 1, s·p, s·p) uint8, k for k/255, of rows first…last-1, upright, verified.

        Raises
        ------
        PatchFileError
            Some patches are not those that were written; or, without checksums, GT is no k/255, LR far outside [0, 1].
        """
        lr, gt, bad = self._examine(first, last)
        if bad.any():
            raise PatchFileError(
                self.describe_damage({"lr": first + bad[:, 0].nonzero()[0], "gt": first + bad[:, 1].nonzero()[0]})
            )
        return lr, gt

    def _examine(self, first: int, last: int) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]]:
        lr, gt = self._read_stored(first, last)
        levels, bad = check_rows(lr, gt, read_rows(self._crc, first, last) if self.checked else None)
        return lr, levels, bad

    def find_damage(self, workers: int | None = None, progress: Progress | None = None) -> dict[str, NDArray[np.intp]]:
        """The rows of ``lr`` and of ``gt`` that are not what was written, by their checksums; none in a sound file.

        Raises
        ------
        PatchFileError
            The file holds no checksums.
        """
        if not self.checked:
            advice = "; --against-images compares with the images" if "seed" in self.attributes else ""
            raise PatchFileError(f"{self.path}: holds no checksums: made by an older idn, or another program{advice}")
        starts = range(0, self.count, self.step)

        def examine(first: int) -> NDArray[np.bool_]:
            return self._examine(first, min(first + self.step, self.count))[2]

        bad = []
        for done, found in enumerate(map_in_order(examine, starts, count_workers(workers)), 1):
            bad.append(found)
            if progress:
                progress("verifying", done, len(starts))
        lr, gt = np.concatenate(bad).T
        return {"lr": lr.nonzero()[0], "gt": gt.nonzero()[0]}

    def describe_damage(self, rows: dict[str, NDArray[np.intp]]) -> str:
        """One line that names the file and the rows of `find_damage`."""
        where = " and ".join(f"/{name} row(s) {format_rows(r)}" for name, r in rows.items() if len(r))
        if self.checked:
            return f"{self.path}: damaged in {where}; copy or make the file again"
        return f"{self.path}: {where}: GT must be k/255, LR near [0, 1]; make the file with idn make-train"

    def sources(self) -> list[tuple[str, str]]:
        """Name and SHA-256 of each source image; empty for MATLAB's files."""
        if "sources" not in self._file:
            return []
        try:
            return [(name.decode(), digest.decode()) for name, digest in find_dataset(self._file, "sources")[:]]
        except UNREADABLE:
            raise PatchFileError(f"{self.path}: /sources cannot be read; copy or make the file again") from None

    def describe(self) -> dict[str, object]:
        """Everything `idn inspect` prints: sizes, ranges over the whole file, storage and provenance."""
        low, high = {"lr": np.inf, "gt": np.inf}, {"lr": -np.inf, "gt": -np.inf}
        for first in range(0, self.count, self.step):
            for name, data in zip(("lr", "gt"), self.read(first, min(first + self.step, self.count)), strict=True):
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
            "checksums": self.checked,
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
