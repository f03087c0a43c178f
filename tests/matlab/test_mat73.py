"""idn_data.matlab.mat73: .mat files of version 7.3, written by h5py in MATLAB's layout."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io.matlab
from support.mat73 import HEAD, close_mat73, open_mat73, put, save_mat73

from idn_data.matlab import mat73
from idn_data.matlab.matfile import MatFileError, read_mat

PACKED = {"compression": "gzip", "compression_opts": 3, "chunks": True}


@pytest.mark.parametrize("how", [{}, PACKED, {**PACKED, "shuffle": True, "fletcher32": True}])
@pytest.mark.parametrize("kind", ["f8", "f4", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "?"])
def test_matrices_of_each_class(tmp_path: Path, kind: str, how: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    for shape in ((3, 4), (1, 1), (0, 3), (2, 3, 4), (0, 0)):
        value = (rng.normal(0, 50, shape) if kind != "u8" else rng.integers(0, 99, shape)).astype(kind)
        save_mat73(tmp_path / "a.mat", {"b": np.ones((1, 1)), "a": value, "c": "x"}, **how)
        found = read_mat(tmp_path / "a.mat", ["a", "gone"])
        assert list(found) == ["a"]
        assert found["a"].dtype == (np.uint8 if kind == "?" else value.dtype) and found["a"].shape == shape
        np.testing.assert_array_equal(found["a"], value)


def test_a_file_that_matlab_wrote() -> None:
    folder = Path(scipy.io.matlab.__file__).parent / "tests" / "data"
    if not folder.is_dir():
        pytest.skip("this scipy comes without its test files, one of which is MATLAB's")
    found = read_mat(folder / "testhdf5_7.4_GLNX86.mat", ["testdouble"])["testdouble"]
    np.testing.assert_allclose(found, np.arange(9)[None] * np.pi / 4, rtol=1e-15)


def test_struct_array_and_text(tmp_path: Path) -> None:
    cases = [
        {"n": "é1", "m": np.eye(2), "s": np.array([[0.5]])},
        {"n": "two", "m": np.zeros((0, 0)), "s": np.ones((1, 2))},
    ]
    save_mat73(tmp_path / "a.mat", {"cases": cases, "one": cases[0], "none": [], "t": "text", "e": ""})
    found = read_mat(tmp_path / "a.mat", ["cases", "one", "none", "t", "e"])
    assert (found["t"], found["e"], found["none"]) == ("text", "", [])
    assert [case["n"] for case in found["cases"]] == ["é1", "two"]
    np.testing.assert_array_equal(found["cases"][0]["m"], np.eye(2))
    assert found["cases"][1]["m"].shape == (0, 0)
    assert len(found["one"]) == 1 and found["one"][0]["n"] == "é1"
    np.testing.assert_array_equal(found["one"][0]["s"], [[0.5]])


def test_a_field_that_was_never_set(tmp_path: Path) -> None:
    file = open_mat73(tmp_path / "a.mat")
    group = put(file, "cases", [{"n": "a"}, {"n": "b"}])
    group["n"][1, 0] = h5py.Reference()
    close_mat73(file)
    found = read_mat(tmp_path / "a.mat", ["cases"])["cases"]
    assert found[0]["n"] == "a" and found[1]["n"].shape == (0, 0)


def test_rows_of_text_come_column_by_column(tmp_path: Path) -> None:
    file = open_mat73(tmp_path / "a.mat")
    data = file.create_dataset("a", data=np.array([[ord(c) for c in row] for row in ("ab", "cd")], np.uint16).T)
    data.attrs["MATLAB_class"] = np.bytes_("char")
    close_mat73(file)
    assert read_mat(tmp_path / "a.mat", ["a"])["a"] == "acbd"


def add(kind: str, **attributes: object) -> Callable[[h5py.File], object]:
    """A dataset or a group of a class, which carries no values that count."""

    def make(file: h5py.File) -> None:
        item = file.create_group("a") if kind == "sparse" else file.create_dataset("a", data=np.ones((2, 2)))
        item.attrs["MATLAB_class"] = np.bytes_("struct" if kind == "sparse" else kind)
        for name, value in attributes.items():
            item.attrs[name] = value

    return make


@pytest.mark.parametrize(
    "make",
    [
        add("function_handle"),
        add("string", MATLAB_object_decode=np.int32(3)),
        add("sparse", MATLAB_sparse=np.uint64(3)),
        lambda file: put(file, "a", np.array([[1 + 2j, 3]])),
        lambda file: put(file, "a", (np.eye(2), "x")),
        lambda file: file.create_dataset("a", data=np.eye(2)),  # not MATLAB's
        lambda file: file.create_group("a"),
        lambda file: file.__setitem__("a", np.dtype("f8")),
        lambda file: add("double")(file) or file["a"].attrs.__setitem__("MATLAB_class", np.arange(5)),
        lambda file: add("double")(file) or file["a"].attrs.__setitem__("MATLAB_class", "double " * 4000),
    ],
)
def test_other_classes_are_none(tmp_path: Path, make: Callable[[h5py.File], object]) -> None:
    file = open_mat73(tmp_path / "a.mat")
    make(file)
    put(file, "b", np.array([[2.0]]))
    close_mat73(file)
    found = read_mat(tmp_path / "a.mat", ["a", "b"])
    assert found["a"] is None
    assert found["b"].item() == 2


def test_structs_within_structs_are_none(tmp_path: Path) -> None:
    save_mat73(
        tmp_path / "a.mat", {"a": {"x": {"y": np.ones((1, 1))}, "z": "z"}, "b": [{"x": {"y": "y"}, "z": ("c",)}] * 2}
    )
    found = read_mat(tmp_path / "a.mat", ["a", "b"])
    assert found["a"] == [{"x": None, "z": "z"}]
    assert found["b"] == [{"x": None, "z": None}] * 2


# ---- hostile files


def use_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 2), np.float64)
    layout[:] = h5py.VirtualSource("pipe", "a", (2, 2))
    file.create_virtual_dataset("a", layout).attrs["MATLAB_class"] = np.bytes_("double")


def use_external(file: h5py.File) -> None:
    data = file.create_dataset("a", (2, 2), "f8", external=[("pipe", 0, h5py.h5f.UNLIMITED)])
    data.attrs["MATLAB_class"] = np.bytes_("double")


def claim(file: h5py.File, **how: Any) -> None:
    file.create_dataset("a", **{"shape": (10**6, 10**6), "dtype": "f8", **how}).attrs["MATLAB_class"] = np.bytes_(
        "double"
    )


def tear_struct(file: h5py.File) -> None:
    group = put(file, "a", [{"n": "a"}] * 2)
    put(group, "m", np.eye(2))


def uneven_struct(file: h5py.File) -> None:
    group = put(file, "a", [{"n": "a"}] * 2)
    group.create_dataset("m", (3, 1), h5py.ref_dtype)


def long_struct(file: h5py.File) -> None:
    group = put(file, "a", [{"n": "a"}] * 2)
    del group["n"]
    group.create_dataset("n", (mat73.MAX_PARTS + 1, 1), h5py.ref_dtype)


def lying_empty(file: h5py.File) -> None:
    data = put(file, "a", np.zeros((0, 3)))
    data[:] = (2, 3)


def huge_empty(file: h5py.File) -> None:
    data = file.create_dataset("a", data=np.array([0, *[1 << 31] * 4], np.uint64))
    data.attrs["MATLAB_class"], data.attrs["MATLAB_empty"] = np.bytes_("double"), np.uint8(1)


def bloated_chunk(file: h5py.File) -> None:
    data = put(file, "a", np.ones((8, 8)), chunks=(8, 8), compression="gzip")
    data.id.write_direct_chunk((0, 0), zlib.compress(bytes(6 << 20)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda file: file.__setitem__("a", h5py.ExternalLink("pipe", "/a")),
            "'a' is a link to another place; save it",
        ),
        (
            lambda file: file.__setitem__("a", h5py.SoftLink("/b")),
            "'a' is a link to another place; save it again without",
        ),
        (
            lambda file: put(file, "a", {"x": "x"}).__setitem__("y", h5py.ExternalLink("pipe", "/a")),
            "'y' is a link to another place; save it again without links",
        ),
        (use_virtual, "a variable's values lie in another file; save it again"),
        (use_external, "a variable's values lie in another file; save it again"),
        (claim, "holds more than 256 MiB of values; save it with fewer variables"),
        (
            lambda file: claim(file, chunks=(10**4, 10**4)),
            "packed in a way that idn does not read; save it again with -v7",
        ),
        (lambda file: claim(file, chunks=(8, 8), compression="lzf"), "packed in a way that idn does not read"),
        (tear_struct, "damaged; copy it or save it again"),
        (uneven_struct, "damaged; copy it or save it again"),
        (long_struct, rf"a struct array of more than {mat73.MAX_PARTS:,} parts; save it in several files"),
        (lying_empty, "damaged; copy it or save it again"),
        (huge_empty, "damaged: a matrix is not of its size; copy it or save it again"),
        (bloated_chunk, "damaged; copy it or save it again"),
    ],
)
def test_damage_and_claims(tmp_path: Path, make: Callable[[h5py.File], object], said: str) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # to open it would take for ever
    file = open_mat73(tmp_path / "a.mat")
    put(file, "b", np.eye(2))
    make(file)
    close_mat73(file)
    with pytest.raises(MatFileError, match=f"^{said}"):
        read_mat(tmp_path / "a.mat", ["a"])
    assert read_mat(tmp_path / "a.mat", ["b"])["b"].shape == (2, 2)


def test_values_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix counts once, not as it lies in the file and as it is read."""
    file = open_mat73(tmp_path / "a.mat")
    put(file, "a", np.zeros((100, 90)), compression="gzip", chunks=(45, 50))
    close_mat73(file)
    monkeypatch.setattr("idn_data.matlab.matlimits.MAX_BYTES", 90_000)
    assert read_mat(tmp_path / "a.mat", ["a"])["a"].size == 9000
    monkeypatch.setattr("idn_data.matlab.matlimits.MAX_BYTES", 71_000)
    with pytest.raises(MatFileError, match="holds more than 0 MiB of values"):
        read_mat(tmp_path / "a.mat", ["a"])


def test_chunks_that_were_never_written_are_zeros(tmp_path: Path) -> None:
    file = open_mat73(tmp_path / "a.mat")
    claim(file, shape=(30, 20), chunks=(8, 8), compression="gzip")
    close_mat73(file)
    found = read_mat(tmp_path / "a.mat", ["a"])["a"]
    assert found.shape == (20, 30) and not found.any()


def test_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    save_mat73(path, {"a": np.ones((40, 40))})
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(
        MatFileError, match=r"^of version 7\.3, but its HDF5 part is cut off; copy it or save it again$"
    ):
        read_mat(path, ["a"])
    path.write_bytes(data[:512] + data[512:520] + bytes(900))
    with pytest.raises(
        MatFileError, match=r"^of version 7\.3, but its HDF5 part is damaged; copy it or save it again$"
    ):
        read_mat(path, ["a"])
    path.write_bytes(HEAD)
    with pytest.raises(MatFileError, match=r"^of version 7\.3, but its HDF5 part is damaged or cut off; copy it"):
        read_mat(path, ["a"])
