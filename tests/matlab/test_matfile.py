from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_array
from support.fuzzreferences import nest_cells

from idn_data.matlab.matfile import MAX_BYTES, MAX_PARTS, MatFileError, read_mat

HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"


def element(kind: int, data: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(
    kind: int, shape: tuple[int, ...], *parts: bytes, name: bytes = b"a", flags: int = 0, order: str = "<"
) -> bytes:
    head = element(6, struct.pack(f"{order}II", kind | flags, 0), order)
    sizes = element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, head + sizes + element(1, name, order) + b"".join(parts), order)


def pack(data: bytes) -> bytes:
    packed = zlib.compress(data)
    return struct.pack("<II", 15, len(packed)) + packed


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "?"])
def test_as_scipy_reads_it(tmp_path: Path, kind: str, packed: bool) -> None:
    rng = np.random.default_rng(0)
    for shape in ((3, 4), (1, 1), (0, 3), (2, 3, 4)):
        value = (rng.normal(0, 50, shape) if kind != "u8" else rng.integers(0, 99, shape)).astype(kind[0] + kind[1:])
        savemat(tmp_path / "a.mat", {"b": 1.0, "a": value, "c": "x"}, do_compression=packed)
        found = read_mat(tmp_path / "a.mat", ["a", "gone"])
        assert list(found) == ["a"]
        theirs = loadmat(tmp_path / "a.mat")["a"]
        assert found["a"].dtype == (np.uint8 if kind == "?" else theirs.dtype)
        np.testing.assert_array_equal(found["a"], theirs)


@pytest.mark.parametrize("packed", [False, True])
def test_struct_array_and_text(tmp_path: Path, packed: bool) -> None:
    cases = np.array([[("é1", np.eye(2), 0.5)], [("two", np.zeros((0, 0)), 2.0)]], [(n, "O") for n in ("n", "m", "s")])
    savemat(tmp_path / "a.mat", {"cases": cases, "t": "text"}, do_compression=packed)
    found = read_mat(tmp_path / "a.mat", ["cases", "t"])
    assert found["t"] == "text"
    assert [case["n"] for case in found["cases"]] == ["é1", "two"]
    assert [case["s"].item() for case in found["cases"]] == [0.5, 2.0]
    np.testing.assert_array_equal(found["cases"][0]["m"], np.eye(2))
    assert found["cases"][1]["m"].shape == (0, 0)


@pytest.mark.parametrize("value", [1 + 2j, csc_array(np.eye(3)), np.array([[1, "a"]], object)])
def test_other_classes_are_none(tmp_path: Path, value: Any) -> None:
    savemat(tmp_path / "a.mat", {"a": value, "b": 2.0})
    found = read_mat(tmp_path / "a.mat", ["a", "b"])
    assert found["a"] is None
    assert found["b"].item() == 2


def test_doubles_that_matlab_stores_as_bytes(tmp_path: Path) -> None:
    data = matrix(6, (2, 3), element(2, bytes(range(6))))  # class double, values as uint8: MATLAB saves room so
    (tmp_path / "a.mat").write_bytes(HEAD + data)
    found = read_mat(tmp_path / "a.mat", ["a"])["a"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[0, 2, 4], [1, 3, 5]])


def test_the_other_order_of_bytes(tmp_path: Path) -> None:
    data = matrix(6, (1, 2), element(9, struct.pack(">2d", 1.5, -2), ">"), order=">")
    (tmp_path / "a.mat").write_bytes(HEAD[:124] + struct.pack(">H", 0x0100) + b"MI" + data)
    np.testing.assert_array_equal(read_mat(tmp_path / "a.mat", ["a"])["a"], [[1.5, -2]])


SOUND = matrix(6, (1, 1), element(9, bytes(8)))
BIG = MAX_BYTES // 8 + 1


AGAIN = "copy it or save it again"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", f"the file is empty; {AGAIN}"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "not a .mat file; name one that MATLAB's save wrote"),
        (b"MATLAB? no, a text about it", f"cut off within its head; {AGAIN}"),
        (b"# Created by Octave 9.2\n" * 20, "not a .mat file; name one that MATLAB's save wrote"),
        (bytes(200), "not a .mat file; name one that MATLAB's save wrote"),
        (HEAD[:100], f"cut off within its head; {AGAIN}"),
        (HEAD + SOUND[:-3], f"cut off within a variable; {AGAIN}"),
        (HEAD + b"\x0e\0\0\0", f"cut off within a variable; {AGAIN}"),
        (HEAD + struct.pack("<II", 14, 0xFFFFFFF0), f"cut off within a variable; {AGAIN}"),
        (HEAD + struct.pack("<II", 15, 4) + b"abcd", f"damaged; {AGAIN}"),
        (HEAD + matrix(6, (2, 2), element(9, bytes(8))), f"damaged: a matrix is not of its size; {AGAIN}"),
        (HEAD + matrix(6, (1 << 30, 1 << 30), element(9, bytes(8))), f"damaged: a matrix is not of its size; {AGAIN}"),
        (
            HEAD + matrix(6, (0, *[(1 << 31) - 1] * 4), element(9, b"")),
            f"damaged: a matrix is not of its size; {AGAIN}",
        ),
        (HEAD + matrix(6, (1, 1), element(77, bytes(8))), f"damaged; {AGAIN}"),
        (HEAD + matrix(6, (1, 1), element(9, bytes(8))[:-8]), f"damaged; {AGAIN}"),
        (HEAD + matrix(4, (1, 1), element(77, bytes(8))), f"damaged; {AGAIN}"),
        (HEAD + matrix(2, (1, 1), element(5, bytes(4)), element(1, b"")), f"damaged; {AGAIN}"),
        (
            HEAD + matrix(2, (1 << 20, 2), element(5, b"\1\0\0\0"), element(1, b"x")),
            f"a struct array of more than {MAX_PARTS:,} parts; save it in several files",
        ),
        (HEAD + matrix(2, (1, 1), element(5, b"\2\0\0\0"), element(1, b"x\0"), element(9, b"")), f"damaged; {AGAIN}"),
        (
            HEAD + pack(matrix(6, (1, BIG), element(2, bytes(BIG)))),
            "holds more than 256 MiB of values; save it with fewer variables",
        ),
        (
            b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x0200) + b"IM" + bytes(99),
            f"of version 7.3, but its HDF5 part is damaged or cut off; {AGAIN}",
        ),
    ],
)
def test_each_failure_has_its_message(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    with pytest.raises(MatFileError, match=f"^{re.escape(said)}$"):
        read_mat(path, ["a"])


def test_what_is_no_readable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MatFileError, match=r"^no such file; look for its name$"):
        read_mat(tmp_path / "a.mat", ["a"])
    with pytest.raises(MatFileError, match=r"^a folder; name a \.mat file in it$"):
        read_mat(tmp_path, ["a"])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(MatFileError, match=r"^no permission to read it; ask its owner, or copy it$"):
        read_mat(tmp_path / "a.mat", ["a"])


@pytest.mark.parametrize("packed", [False, True])
def test_values_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """A matrix counts once, not for its bytes and its values."""
    monkeypatch.setattr("idn_data.matlab.matlimits.MAX_BYTES", 80_000)
    whole = matrix(6, (1, 9000), element(9, bytes(72000)))
    (tmp_path / "a.mat").write_bytes(HEAD + (pack(whole) if packed else whole))
    assert read_mat(tmp_path / "a.mat", ["a"])["a"].shape == (1, 9000)
    whole = matrix(6, (1, 9000), element(2, bytes(9000)))  # stored as bytes, read as doubles
    (tmp_path / "a.mat").write_bytes(HEAD + whole)
    monkeypatch.setattr("idn_data.matlab.matlimits.MAX_BYTES", 71_000)
    with pytest.raises(MatFileError, match="holds more than 0 MiB of values"):
        read_mat(tmp_path / "a.mat", ["a"])


def test_what_unpacks_to_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idn_data.matlab.matlimits.MAX_BYTES", 10_000)
    path = tmp_path / "a.mat"
    path.write_bytes(HEAD + pack(matrix(6, (1, 9000), element(9, bytes(72000)), name=b"other")) + SOUND)
    assert list(read_mat(path, ["a"])) == ["a"]  # the other one is not even unpacked
    path.write_bytes(HEAD + pack(matrix(6, (1, 9000), element(9, bytes(72000)))))
    with pytest.raises(MatFileError, match=r"^unpacks to more than 0 MiB; save it with fewer variables$"):
        read_mat(path, ["a"])
    path.write_bytes(HEAD + bytes(10_000))
    with pytest.raises(MatFileError, match=r"^larger than 0 MiB; save it with fewer variables$"):
        read_mat(path, ["a"])


@pytest.mark.parametrize("packed", [False, True])
def test_cells_within_cells(tmp_path: Path, packed: bool) -> None:
    """scipy's reader ends the process there, its stack full."""
    data = nest_cells(60_000)
    (tmp_path / "a.mat").write_bytes(HEAD + pack(data[128:]) if packed else data)
    assert read_mat(tmp_path / "a.mat", ["cases"]) == {"cases": None}
