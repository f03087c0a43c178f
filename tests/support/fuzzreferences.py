"""Mutated references and test sets, .mat and JSON, for `fuzzing`."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat
from support.fuzzing import Rng, mutate, pick
from support.mat73 import save_mat73

from idn_data.matlab.compiled import load_kernels
from idn_data.scores import parity, reference, references, testset
from idn_data.scores.call import BLUR, FUNCTIONS, SHRINK_YCBCR


def _cases(rng: Rng) -> dict[str, Any]:
    fields = {"name": "a", "input": rng.random((4, 5)), "output": rng.random((2, 3)), "scale": 0.5,
    "size": np.zeros((0, 0)),
              "method": "bicubic", "antialias": True}  # fmt: skip
    for name in list(fields):
        if rng.random() < 0.15:
            fields[name] = pick(rng, (
                0.0, -1.0, np.nan, np.inf, 1e-300, 1e300, 1e9, 2.0**-20, 1e15, "x", "", np.zeros((0, 3)),
                np.array([[2, 3]]), np.ones((3, 3, 3, 3)),
                np.array([["a", 1.0]], object), {"a": {"b": 1.0}}, np.ones((2, 2), bool), 1 + 2j, np.int64(-5),
                np.array([1e12, 1e12]),
                np.uint8(3), np.ones((4, 5), np.float32), np.full((4, 5), np.nan), np.ones((4, 5, 3)),
                np.array([7.0, 9]),
            ))  # fmt: skip
    return fields


def _calls(rng: Rng) -> list[dict[str, Any]]:
    """Elements of a struct array `calls`, sound but for a field here and there."""
    image, plane = rng.integers(0, 256, (4, 5, 3), np.uint8), rng.random((4, 5))
    scale, sides = np.array([[0.5]]), np.array([[3.0, 0.5]])
    arguments: dict[str, tuple[Any, ...]] = dict.fromkeys(FUNCTIONS, (image,))
    arguments |= {
        "imfilter": (image, np.ones((2, 3)), pick(rng, ("replicate", 7.0, ""))),
        "fspecial": (pick(rng, ("gaussian", "average", "motion")), 5.0, 2.0),
        "psnr": (plane, plane[::-1]), "ssim": (plane, plane[::-1], 1.0),
        BLUR: (image, sides, scale), SHRINK_YCBCR: (image, scale, "symmetric"),
    }  # fmt: skip
    calls = []
    for _ in range(3):
        name = pick(rng, FUNCTIONS)
        given = dict(zip("abc", (*arguments[name], np.zeros((0, 0)), np.zeros((0, 0))), strict=False))
        call = {"name": "k", "f": name, **given, "class": "uint8", "output": rng.random((4, 5))}
        for field in call:
            if rng.random() < 0.1:
                call[field] = pick(rng, (
                    0.0, -1.0, np.nan, np.inf, 1e-300, 1e300, 1e9, 2.0**-20, "x", "", np.zeros((0, 3)), plane, image,
                    np.ones((3, 3, 3, 3)), np.array([["a", 1.0]], object), {"a": {"b": 1.0}}, np.ones((2, 2), bool),
                    1 + 2j, np.int64(-5), np.array([1e12, 1e12]), np.full((4, 5), np.nan), np.full((4, 5), 1e308),
                    plane.astype(np.float32), np.array([[1024.0, 1024.0]]), "logical", "disk", "psnr", "imfilter",
                ))  # fmt: skip
        calls.append(call)
    return calls


def nest_cells(depth: int) -> bytes:
    """A .mat with one variable ``cases``: cells within cells."""
    parts: list[bytes] = []
    length = 0
    for level in range(depth):
        name = b"cases".ljust(8, b"\0") if level == depth - 1 else b""
        head = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1 if level else 0)
        head += struct.pack("<II", 1, 5 if name else 0) + name
        length += len(head)
        parts.append(struct.pack("<II", 14, length) + head)
        length += 8
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + b"".join(reversed(parts))


def _save(name: str, value: object, packed: bool) -> bytes:
    stream = io.BytesIO()
    savemat(stream, {name: value}, do_compression=packed)
    return stream.getvalue()


def _repack(data: bytes, rng: Rng) -> bytes:
    """The first variable changed below its packing."""
    if data[:4] != b"\x0f\0\0\0":
        return mutate(data[:200], rng) + data[200:]
    size = int.from_bytes(data[4:8], "little")
    plain = zlib.decompress(data[8 : 8 + size])
    inside = zlib.compress(mutate(plain[:150], rng) + plain[150:])
    return struct.pack("<II", 15, len(inside)) + inside + data[8 + size :]


def make_mat(rng: Rng, folder: Path) -> bytes:
    """A .mat in one of its versions, bytes changed most of the time."""
    if rng.random() < 0.3:
        return _make_mat73(rng, folder / "sound.mat")
    fields, stream = _cases(rng), io.BytesIO()
    variables = (
        {"cases": np.array([[tuple(fields.values())] * 2], [(n, "O") for n in fields])}
        if rng.random() < 0.6
        else fields
    )
    if rng.random() < 0.4:
        calls = _calls(rng)
        held = {"calls": np.array([[tuple(call.values()) for call in calls]], [(n, "O") for n in calls[0]])}
        variables = held if rng.random() < 0.7 else variables | held
    packed = rng.random() < 0.5
    try:
        savemat(stream, variables, do_compression=packed, format=pick(rng, "5554"))
    except (ValueError, TypeError):
        stream = io.BytesIO()
        savemat(stream, variables, do_compression=packed)
    data = stream.getvalue()
    if rng.random() < 1 / 200:
        return pick(rng, (
            lambda: nest_cells(60000),
            lambda: data[:128] + (lambda z: struct.pack("<II", 15, len(z)) + z)(zlib.compress(nest_cells(30000)[128:])),
            lambda: data[:128] + (lambda z: struct.pack("<II", 15, len(z)) + z)(zlib.compress(
                struct.pack("<IIIIIIIIiiHH4sII", 14, 0x7F000000, 6, 8, 6, 0, 5, 8, 1, 0x0FE00000, 1, 5,
                b"input"[:4], 9, 0x7F000000) + bytes(100 << 20))),
            lambda: b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H",
            0x0200) + b"IM" + bytes(384) + b"\x89HDF\r\n\x1a\n" + rng.bytes(2000),
        ))()  # fmt: skip
    if rng.random() < 0.2:
        return data
    if rng.random() < 0.4 and data[:6] == b"MATLAB":
        return data[:128] + _repack(data[128:], rng)
    return mutate(data[:128], rng) + data[128:] if rng.random() < 0.1 else data[:128] + mutate(data[128:], rng)


def _make_mat73(rng: Rng, path: Path) -> bytes:
    """Of version 7.3, which is HDF5."""
    fields = _cases(rng)
    how = pick(rng, ({}, {"compression": "gzip", "chunks": True}))
    variables: dict[str, Any] = {"cases": [fields] * 2} if rng.random() < 0.6 else fields
    if rng.random() < 0.4:
        variables = {"calls": _calls(rng)}
    save_mat73(path, variables, **how)
    data = path.read_bytes()
    path.unlink()
    if rng.random() < 0.2:
        return data
    at = int(rng.integers(512, len(data)))  # heads and heaps lie everywhere, values are few
    return (
        data[:512] + mutate(data[512:], rng)
        if rng.random() < 0.3
        else data[:at] + mutate(data[at : at + 400], rng) + data[at + 400 :]
    )


class Mat:
    """`read_references` of a .mat, and the comparison, as validate --reference does."""

    allowed: tuple[type, ...] = (reference.ReferenceFileError, ValueError)

    def __init__(self, folder: Path) -> None:
        load_kernels()  # where they must be compiled, that takes longer than any input may
        load_kernels("idn_data.matlab.kernels8")
        self.path = folder / "a.mat"

    def write(self, rng: Rng) -> None:
        """One .mat."""
        self.path.write_bytes(make_mat(rng, self.path.parent))

    def read(self) -> None:
        """Every case, compared."""
        for case in references.read_references(self.path):
            parity.format_verdict(parity.compare(case))


class Json(Mat):
    """The same of a .json."""

    def __init__(self, folder: Path) -> None:
        load_kernels()
        load_kernels("idn_data.matlab.kernels8")
        self.path = folder / "a.json"
        case = {
            "name": "a",
            "input": "i",
            "output": [[1, 2], [3, 4.5]],
            "class": "double",
            "scale": 0.5,
            "method": "cubic",
        }
        more = {
            "name": "b",
            "input": [[1, 2], [3, 4]],
            "output": [[1]],
            "class": "uint8",
            "size": [1, 1],
            "antialias": False,
        }
        colour = [[[1, 2, 3], [200, 100, 50]]]
        calls = [
            {"name": "k", "f": "rgb2ycbcr", "class": "uint8", "a": colour, "output": colour, "corner": False},
            {
                "name": "k",
                "f": "imfilter",
                "class": "single",
                "a": [[1.5, 2]],
                "b": [[1]],
                "c": 0,
                "output": [[1.5, 2]],
            },
            {"name": "k", "f": "fspecial", "a": "gaussian", "b": [3, 4], "c": 1.5, "output": [[1]]},
            {"name": "k", "f": "psnr", "class": "uint16", "a": [[9]], "b": [[8]], "c": 255, "output": 48.1},
            {"name": "k", "f": BLUR, "class": "uint8", "a": colour, "b": [7, 1.6], "c": 0.5, "output": [[[1, 2, 3]]]},
        ]
        self.seed = json.dumps({"inputs": {"i": [[1.5] * 4] * 4}, "cases": [case, more], "calls": calls})

    def write(self, rng: Rng) -> None:
        """Letters changed, or values."""
        if rng.random() < 1 / 500:
            self.path.write_text("[" * 200_000)
        elif rng.random() < 0.5:
            self.path.write_bytes(mutate(self.seed.encode(), rng, text=True))
        else:
            content = json.loads(self.seed)
            for _ in range(int(rng.integers(1, 4))):
                case = pick(rng, content["cases"] + content["calls"])
                case[pick(rng, list(case))] = pick(rng, (
                    None, 0, -1, 1e-300, 1e300, 1e9, 10**400, [], [[]], [[[]]], {}, "", "x", True, [1e9, 1e9], [2,
                    3], [[1, [2]]], 2**-18, 2**-20,
                    [1, 2, 3], [[float("nan")]], "i", [["a"]], [[1, 2]] * 3, "lanczos3", "nearest", 16777216, [1,
                    16777216], [[1e308, -1e308]] * 2,
                ))  # fmt: skip
            self.path.write_text(json.dumps(content))


class TestSets:
    """`read_test_pair`, as evaluate does on .mat files."""

    __test__ = False
    allowed: tuple[type, ...] = (ValueError,)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        self.sound = {
            "gt": rng.random((8, 6)),
            "lr": rng.random((4, 3)),
            **{n: rng.integers(0, 256, (8, 6), np.uint8) for n in ("cb", "cr")},
        }

    def write(self, rng: Rng) -> None:
        """One of four files changed."""
        bad = pick(rng, list(self.sound))
        for name, value in self.sound.items():
            data = _save(name, value, bool(rng.integers(2)))
            if name == bad:
                odd = (np.zeros((0, 0)), np.ones((2, 2, 2)), "text", 1 + 2j, np.array([[1, "a"]], object), np.nan)
                other = pick(rng, (*odd, np.ones((8, 6), np.float32), np.ones((8, 6), bool), value[:, ::2]))
                match int(rng.integers(10)):
                    case 0:
                        data = _save(pick(rng, (name, "gt", "x")), other, bool(rng.integers(2)))
                    case 1:
                        data = make_mat(rng, self.folder)
                    case 2 | 3 | 4:
                        data = data[:128] + _repack(data[128:], rng)
                    case _:
                        data = data[:128] + mutate(data[128:], rng) if rng.random() < 0.9 else mutate(data, rng)
            (self.folder / f"x_2_{name}.mat").write_bytes(data)

    def read(self) -> None:
        """The pair."""
        pair = testset.read_test_pair(self.folder, "x", 2)
        assert pair.gt.dtype == np.float64 and pair.lr.dtype == np.float64
