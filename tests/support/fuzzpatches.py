"""Mutated patch files, for `fuzzing`."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from support.fuzzing import NUMBERS, Rng, is_own, mutate, pick
from support.patchsamples import COUNT, SCALE, SIDE, SOURCES, drop_checksums, make_header, write

from idn_data.matlab.compiled import load_kernels
from idn_data.patches.patchfile import PatchFile, PatchFileError
from idn_data.patches.patchwriter import PatchWriter
from idn_data.patches.verify import verify_patches
from idn_data.pictures import draw_patches

KINDS = (np.float32, np.float64, np.uint8, np.int64, np.float16, ">f4", "S5", h5py.string_dtype(), h5py.ref_dtype,
         h5py.regionref_dtype, np.dtype([("a", "f4")]), h5py.vlen_dtype(np.float32), np.dtype("(3,)f4"), np.bool_,
         h5py.enum_dtype({"a": 1}), np.complex64, np.dtype("V7"))  # fmt: skip
HUGE = (*(n for n in NUMBERS if n < 1 << 40), 1 << 33, 10**12)
NAMES = ("lr", "gt", "crc32", "digest", "sources")


class Patches:
    """`PatchFile` with everything that inspect, train and --against-images do."""

    allowed: tuple[type, ...] = (PatchFileError, ValueError)

    def __init__(self, folder: Path) -> None:
        load_kernels()  # where they must be compiled, that takes longer than any input may
        load_kernels("idn_data.patches.kernels")
        self.path, self.images, self.seeds = folder / "a.h5", folder / "images", []
        self.images.mkdir(exist_ok=True)
        Image.new("L", (40, 40)).save(self.images / "bridge.bmp")
        os.mkfifo(folder / "pipe")
        for storage in ("float32", "uint8"):
            write(self.path, storage)
            self.seeds.append(self.path.read_bytes())
            with PatchWriter(self.path, make_header(storage, lr_patch=1), 2, SOURCES) as writer:  # little but structure
                writer.lr[:], writer.gt[:], writer.crc[:] = 0, 0, [[zlib.crc32(bytes(4)), zlib.crc32(bytes(9))]] * 2
            self.seeds += [self.path.read_bytes()] * 3
        write(self.path)
        drop_checksums(self.path)
        self.seeds.append(self.path.read_bytes())
        lr, gt = np.random.default_rng(0).random((2, 64, 1, 15, 15), np.float32)
        for count, how in (
            (64, {"chunks": True, "maxshape": (None, 1, None, None)}), (64, {"chunks": (16, 1, 5, 5),
            "compression": "gzip"}),
            (64, {"chunks": (64, 1, 5, 5), "shuffle": True, "compression": "gzip", "fletcher32": True}), (64, {}),
            (7, {"chunks": (7, 1, 2, 3), "compression": "lzf"}), (3, {}), (3, {"chunks": (1, 1, 2, 2),
            "maxshape": (None,) * 4}),
            (3, {"chunks": (2, 1, 2, 2), "compression": "gzip"}),
        ):  # fmt: skip
            for version in ("earliest", "latest"):
                with h5py.File(self.path, "w", libver=version) as file:
                    p = 2 if count == 3 else 5
                    file.create_dataset("lr", data=lr[:count, :, :p, :p], **how)
                    levels = np.rint(gt[:count, :, : 3 * p, : 3 * p] * 255).astype("f4")
                    file.create_dataset("gt", data=levels / np.float32(255), **how)
                    file.attrs["note"] = "of variable length"
                self.seeds.append(self.path.read_bytes())

    def write(self, rng: Rng) -> None:
        """Bytes changed, or what HDF5 itself can express: types, shapes, links, filters, attributes."""
        data = pick(rng, self.seeds)
        if rng.random() < 0.5:
            self.path.write_bytes(mutate(data, rng))
            return
        self.path.write_bytes(data)
        kinds = (self._replace, self._replace, self._link, self._attribute, self._attribute, self._edit)
        with contextlib.suppress(RuntimeError), h5py.File(self.path, "r+") as file:
            for _ in range(int(rng.integers(1, 4))):
                with contextlib.suppress(Exception):  # what HDF5 refuses to write
                    pick(rng, kinds)(file, rng)
        if self.path.stat().st_size > 1 << 24:  # it would be no small file
            self.path.write_bytes(mutate(data, rng))

    @staticmethod
    def _replace(file: h5py.File, rng: Rng) -> None:
        name = pick(rng, NAMES)
        kind, p = pick(rng, KINDS if rng.random() < 0.5 else KINDS[:3]), SIDE * (SCALE if name == "gt" else 1)
        shape = [pick(rng, (COUNT, 64, *HUGE)), 1, p, p] if name in ("lr", "gt") else [COUNT, 2][: int(rng.integers(3))]
        for _ in range(int(rng.integers(3))):
            if shape:
                shape[int(rng.integers(len(shape)))] = pick(rng, HUGE)
        how: dict[str, Any] = {}
        if shape and (rng.random() < 0.7 or np.prod(shape, dtype=float) > 1e6):
            how["chunks"] = tuple(max(1, min(n, int(pick(rng, (1, 5, 64, 4096, 1 << 20))))) for n in shape)
            how |= pick(
                rng, ({}, {}, {"compression": "gzip"}, {"compression": "lzf"}, {"scaleoffset": 2}, {"shuffle": True})
            )
        if rng.random() < 0.2:
            how["external"] = [(pick(rng, ("/dev/zero", "/etc/passwd", "pipe", "a.h5")), 0, h5py.h5f.UNLIMITED)]
        if name in file:
            del file[name]
        file.create_dataset(name, tuple(shape), kind, **how)

    @staticmethod
    def _link(file: h5py.File, rng: Rng) -> None:
        name = pick(rng, NAMES)
        if name in file:
            file.move(name, pick(rng, ("other", "x/y")))
        match int(rng.integers(6)):
            case 0:
                file[name] = h5py.SoftLink(pick(rng, ("/lr", "/gt", "/other", f"/{name}", "/x/y", "/nowhere")))
            case 1:
                file[name] = h5py.ExternalLink(
                    pick(rng, ("a.h5", "pipe", "/dev/zero", "gone.h5")), pick(rng, ("/lr", "/other"))
                )
            case 2:
                layout = h5py.VirtualLayout((pick(rng, (64, COUNT, *HUGE[:8])), 1, SIDE, SIDE), np.float32)
                layout[:1] = h5py.VirtualSource(
                    pick(rng, (".", "a.h5", "pipe", "gone%b.h5")), "other", (1, 1, SIDE, SIDE)
                )
                file.create_virtual_dataset(name, layout)
            case 3:
                file.create_group(name)
            case 4:
                file[name] = np.dtype("f4")
            case _:
                file[name] = file["other"]

    @staticmethod
    def _attribute(file: h5py.File, rng: Rng) -> None:
        name = pick(
            rng, [*file.attrs, *file.attrs, "format", "format_version", "digested", "checksums", "scale", "seed"]
        )
        values = (
            0, -1, 1.5, np.nan, 10**9, np.arange(3), np.zeros((0, 2)), "", "idn-patches", "[" * 20000, b"\xff\xfe",
            "a\0b",
            h5py.Empty("f4"), file.ref, np.array(["a", "b"], object), np.void(b"xyz"), True, np.zeros(8000), "9" * 5000,
            '["a", 1]', "[[1]]", "5", np.uint64((1 << 64) - 1), np.zeros(3, [("a", "i4")]), "\x1b[2J\n", np.float16(1),
            "null", '["format"]', 1 + 2j,
        )  # fmt: skip
        if name in file.attrs and rng.random() < 0.2:
            del file.attrs[name]
        else:
            file.attrs[name] = values[int(rng.integers(len(values)))]

    @staticmethod
    def _edit(file: h5py.File, rng: Rng) -> None:
        data = file[pick(rng, NAMES)]
        place = tuple(int(rng.integers(n)) for n in data.shape)
        if data.dtype.kind in "iuf":  # h5py ends in a segmentation fault where it is given text for numbers
            with np.errstate(all="ignore"):
                data[place] = (
                    pick(rng, (0, -1, np.nan, np.inf, 1e30, 255)) if data.dtype.kind == "f" else pick(rng, (0, 1, 77))
                )
        elif data.dtype.kind == "S":
            data[place] = pick(rng, (b"\xff", b"a/../b", b""))
        elif data.dtype.names == ("name", "sha256"):
            data[place] = pick(rng, ((b"\xff", b"0"), (b"../x", b""), (b"a\nb", b"\xfe")))

    def read(self) -> None:
        """All of it."""
        with PatchFile(self.path) as file:
            said = file.describe()
            json.dumps(said)
            file.sources()
            if np.isfinite([*said["lr_range"], *said["gt_range"]]).all() and file.gt_side < 200:  # type: ignore[misc]
                draw_patches(file)
            if file.checked:
                file.find_damage(1)
            for first in range(0, file.count, file.step):
                file.read_levels(first, min(first + file.step, file.count))
            try:
                verify_patches(file, self.images, workers=1)
            except ValueError as error:
                if not is_own(error, self.allowed):
                    raise
