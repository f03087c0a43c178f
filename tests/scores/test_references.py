"""References from .mat and .json files."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat
from support.mat73 import save_mat73
from support.referencefiles import CASE, RNG, make_cases, write_cases, write_json

from idn_data.images.sets import find_fixtures
from idn_data.matlab.resize import imresize
from idn_data.scores.parity import (
    compare,
)
from idn_data.scores.reference import ReferenceFileError
from idn_data.scores.references import read_references

if TYPE_CHECKING:
    from pathlib import Path


def test_mat_as_make_reference_writes_it(tmp_path: Path) -> None:
    cases = make_cases()
    path = write_cases(tmp_path / "reference.mat", cases)
    references = list(read_references(path))
    assert [r.name for r in references] == [case["name"] for case in cases]
    for case, reference in zip(cases, references, strict=True):
        assert reference.source == "reference.mat"
        assert reference.input.dtype == case["input"].dtype
        assert (reference.input == case["input"]).all() and (reference.output == case["output"]).all()
        assert (reference.method, reference.antialias) == (case["method"], case["antialias"])
        if np.size(case["size"]):
            assert (reference.size, reference.scale) == ((15, 44), None)
        else:
            assert (reference.size, reference.scale) == (None, (case["scale"],) * 2)
        verdict = compare(reference)
        assert verdict.passed
        assert verdict.differ == 0
    assert len(list(read_references(tmp_path))) == len(cases)  # found in a folder as well


def test_make_reference_script_saves_these_fields() -> None:
    script = (find_fixtures() / "make_reference.m").read_text(encoding="utf-8")
    line = next(line for line in script.splitlines() if line.startswith("cases = struct("))
    for field in make_cases()[0]:
        assert f"'{field}', {{}}" in line
    assert "-v7'" in script  # a version that scipy reads


def test_mat_with_one_wrong_value(tmp_path: Path) -> None:
    cases = make_cases()
    cases[5]["output"] = cases[5]["output"].copy()
    cases[5]["output"].flat[3] += 1 if cases[5]["output"].dtype == np.uint8 else 1e-9
    verdicts = [compare(r) for r in read_references(write_cases(tmp_path / "reference.mat", cases))]
    assert [k for k, v in enumerate(verdicts) if not v.passed] == [5]


@pytest.mark.parametrize("name", ["reference.mat", "REFERENCE.MAT"])
def test_mat_with_one_case_in_plain_variables(tmp_path: Path, name: str) -> None:
    given = RNG.random((9, 7))
    path = tmp_path / name
    savemat(path, {"input": given, "output": imresize(given, (0.5, 0.8)), "scale": [0.5, 0.8]}, appendmat=False)
    (reference,) = read_references(path)
    assert (reference.scale, reference.size, reference.method, reference.antialias) == (
        (0.5, 0.8),
        None,
        "bicubic",
        None,
    )
    assert reference.name == f"{path.stem} 1"
    assert compare(reference).differ == 0
    output = imresize(given, size=(4, 11), method="bilinear", antialias=False)
    more = {"size": [4, 11], "method": "triangle", "antialias": False, "name": "mine"}  # MATLAB's other name for it
    savemat(path, {"input": given, "output": output, **more}, appendmat=False)
    (reference,) = read_references(path)
    assert (reference.name, reference.method, reference.size, reference.antialias) == (
        "mine",
        "triangle",
        (4, 11),
        False,
    )
    assert compare(reference).differ == 0


def test_mat_of_version_7_3(tmp_path: Path) -> None:
    cases = make_cases()
    path = tmp_path / "reference.mat"
    save_mat73(path, {"cases": cases, "release": "24.1.0 (R2024a)"}, compression="gzip", chunks=True)
    references = list(read_references(path))
    for reference, other in zip(
        references, read_references(write_cases(tmp_path / "reference.mat", cases)), strict=True
    ):
        assert (reference.name, reference.method, reference.scale, reference.size, reference.antialias) == (
            other.name, other.method, other.scale, other.size, other.antialias,
        )  # fmt: skip
        assert reference.input.dtype == other.input.dtype
        assert (reference.input == other.input).all() and (reference.output == other.output).all()
    save_mat73(path, cases[0])
    (alone,) = read_references(path)
    assert compare(alone).differ == 0


def test_mat_of_version_4(tmp_path: Path) -> None:
    path, given = tmp_path / "reference.mat", RNG.random((9, 7))
    savemat(path, {"input": given, "output": imresize(given, 0.5), "scale": 0.5, "method": "cubic"}, format="4")
    (reference,) = read_references(path)
    assert (reference.scale, reference.method) == ((0.5, 0.5), "cubic")
    assert compare(reference).differ == 0


def test_hdf5_without_matlabs_header(tmp_path: Path) -> None:
    path = tmp_path / "reference.mat"
    with h5py.File(path, "w") as file:
        file["input"] = np.zeros((4, 4))
    with pytest.raises(
        ReferenceFileError, match=r"reference\.mat: not a file of references \(it holds neither"
    ) as error:
        list(read_references(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty; copy it or save it again"),
        (b"text, no matrices", "not a .mat file; name one that MATLAB's save wrote"),
        (b"MATLAB 5.0".ljust(128), "not a .mat file; name one that MATLAB's save wrote"),
        (b"\0" * 400, "not a .mat file; name one that MATLAB's save wrote"),
        (b"\xff" * 400, "not a .mat file; name one that MATLAB's save wrote"),
    ],
)
def test_mat_full_of_junk(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "reference.mat"
    path.write_bytes(content)
    with pytest.raises(ReferenceFileError, match=rf"reference\.mat: {re.escape(said)}$") as error:
        list(read_references(path))
    assert "\n" not in str(error.value)


def test_truncated_mat(tmp_path: Path) -> None:
    path = write_cases(tmp_path / "reference.mat", make_cases())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(
        ReferenceFileError, match=r"reference\.mat: cut off within a variable; copy it or save it again$"
    ):
        list(read_references(path))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"other": 1}, "neither a struct array 'cases' nor the variables 'input' and 'output'"),
        ({"cases": np.eye(2)}, "neither a struct array 'cases'"),
        ({"cases": "text"}, "neither a struct array 'cases'"),
        ({"cases": np.empty((1, 0), dtype=[("input", object), ("output", object)])}, "case"),
        ({"input": np.eye(4), "output": np.eye(2)}, "needs a scale or a size, one or two positive numbers"),
        ({"input": np.eye(4), "output": np.eye(2), "scale": -0.5}, "needs a scale or a size"),
        ({"input": np.eye(4), "output": np.eye(2), "scale": [1, 2, 3]}, "needs a scale or a size"),
        ({"input": np.eye(4), "output": np.eye(2), "size": [2, np.nan]}, "needs a scale or a size"),
        ({"input": np.eye(4), "output": np.eye(2), "scale": 0.5, "method": "spline"}, "unknown method 'spline'"),
        ({"input": "text", "output": np.eye(2), "scale": 0.5}, "could not convert"),
        ({"input": np.zeros((0, 0)), "output": np.eye(2), "scale": 0.5}, "not empty"),
    ],
)
def test_mat_without_a_reference(tmp_path: Path, variables: dict[str, Any], said: str) -> None:
    savemat(tmp_path / "reference.mat", variables)
    with pytest.raises(
        ReferenceFileError, match=rf"not a file of references \(.*{said}.*\); see fixtures/make_ref"
    ) as e:
        list(read_references(tmp_path / "reference.mat"))
    assert "\n" not in str(e.value)


def test_json(tmp_path: Path) -> None:
    given = RNG.random((4, 6))
    inputs = {"shared": given.tolist()}
    eight = RNG.integers(0, 256, (4, 4), dtype=np.uint8)
    cases = [
        {"name": "by name", "input": "shared", "output": imresize(given, 0.5).tolist(), "scale": 0.5},
        {"name": "two scales", "input": "shared", "output": imresize(given, (2, 0.3)).tolist(), "scale": [2, 0.3]},
        {"name": "8 bits", "input": eight.tolist(), "output": imresize(eight, 1.5, method="bilinear").tolist(),
         "scale": 1.5, "class": "uint8", "method": "Triangle"},
    ]  # fmt: skip
    references = list(read_references(write_json(tmp_path / "mine.json", {"cases": cases, "inputs": inputs})))
    assert [r.name for r in references] == ["by name", "two scales", "8 bits"]
    assert [r.output.dtype.name for r in references] == ["float64", "float64", "uint8"]
    assert all(compare(r).differ == 0 for r in references)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "list indices"),
        ({}, "'cases' is missing"),
        ({"cases": {"a": 1}}, "indices"),
        ({"cases": [{**CASE, "input": "unknown"}]}, "'unknown' is missing"),
        ({"cases": [{k: v for k, v in CASE.items() if k != "output"}]}, "'output' is missing"),
        ({"cases": [{k: v for k, v in CASE.items() if k != "size"}]}, "needs a scale or a size"),
        ({"cases": [{**CASE, "size": [0, 1]}]}, "needs a scale or a size"),
        ({"cases": [{**CASE, "size": [1.5, 1]}]}, "size"),
        ({"cases": [{**CASE, "size": "big"}]}, "could not convert"),
        ({"cases": [{**CASE, "input": [[1, 2], [3]]}]}, "inhomogeneous"),
        ({"cases": [{**CASE, "input": [[10**400]]}]}, "too large"),
        ({"cases": [{**CASE, "class": "uint8"}]}, "values outside 0…255 in a uint8 matrix"),
        ({"cases": [{**CASE, "class": "uint8", "output": [[math.inf]]}]}, "values outside 0…255 in a uint8 matrix"),
        ({"cases": [{**CASE, "class": "uint8", "output": [[256]]}]}, "values outside 0…255 in a uint8 matrix"),
        ({"cases": [{**CASE, "method": "spline"}]}, "unknown method 'spline'"),
        ({"cases": [{**CASE, "input": []}]}, "not empty"),
        ({"cases": []}, "case"),
    ],
)
def test_json_without_a_reference(tmp_path: Path, content: object, said: str) -> None:
    path = write_json(tmp_path / "mine.json", content)
    with pytest.raises(ReferenceFileError, match=rf"mine\.json: .*{said}") as error:
        list(read_references(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"null", b"7"])
def test_json_full_of_junk(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.json").write_bytes(content)
    with pytest.raises(
        ReferenceFileError, match=r"mine\.json: not a file of references \(.+\); see fixtures/README"
    ) as e:
        list(read_references(tmp_path / "mine.json"))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["none.json", "none.mat", "none", "none.png"])
def test_missing_reference(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReferenceFileError, match=rf"{name}: no such file or folder"):
        list(read_references(tmp_path / name))


def test_other_files_are_no_references(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ReferenceFileError, match=r"a\.txt: a reference is a folder of pictures, a \.mat or a \.json"):
        list(read_references(tmp_path / "a.txt"))
