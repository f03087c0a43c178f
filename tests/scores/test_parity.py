from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from support.mat73 import save_mat73

from idn_data.images.decode import list_images, read_image
from idn_data.images.sets import find_fixtures
from idn_data.images.variants import modcrop
from idn_data.matlab.classes import im2double, im2uint8
from idn_data.matlab.resize import imresize
from idn_data.matlab.weights import METHODS
from idn_data.scores import reference as reference_module
from idn_data.scores.parity import (
    TOLERANCE,
    Verdict,
    check_baseline,
    compare,
    describe_borders,
    format_verdict,
    group_by_function,
    summarize,
)
from idn_data.scores.reference import EXACT, MATLAB, Reference, ReferenceFileError
from idn_data.scores.references import read_references, read_shipped
from idn_data.scores.sets import open_set

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(2018)
GREY = RNG.integers(0, 256, (48, 65), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (48, 65, 3), dtype=np.uint8)


def matlab(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """imwrite(imresize(im2double(image), scale)), the usual way in the scripts of papers."""
    return im2uint8(imresize(im2double(image), scale))


def save(folder: Path, **pictures: NDArray[np.uint8]) -> Path:
    folder.mkdir(exist_ok=True)
    for stem, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{stem}.png")
    return folder


def judge(path: Path) -> dict[str, Verdict]:
    return {reference.name: compare(reference) for reference in read_references(path)}


# MATLAB's own values


def test_matlabs_pictures_and_matrices(matlab_folder: Path) -> None:
    references = list(read_references(matlab_folder))
    assert references
    for reference in references:
        verdict = compare(reference)
        assert verdict.passed, format_verdict(verdict)
        if reference.output.dtype == np.uint8:
            assert (verdict.differ, verdict.difference) == (0, 0), format_verdict(verdict)
        else:
            assert verdict.relative <= 1e-13, format_verdict(verdict)
        assert verdict.differ_single == 0, format_verdict(verdict)


def test_baboon_and_lena_of_matlab(matlab_folder: Path) -> None:
    names = {p.name for p in list_images(matlab_folder)}
    if not {"baboon.png", "lena_512x512.png"} <= names:
        pytest.skip(f"{matlab_folder} has no baboon.png and lena_512x512.png")
    references = {r.name: r for r in read_references(matlab_folder) if r.name in names}
    baboon, lena = (read_image(matlab_folder / name) for name in ("baboon.png", "lena_512x512.png"))
    assert set(references) == names - {"baboon.png", "lena_512x512.png"}
    asked = {name: (r.scale, r.size) for name, r in references.items()}
    assert asked["baboon_down_x2_matlab.png"] == (1 / 2, None)
    assert asked["baboon_down_x3_matlab.png"] == (1 / 3, None)
    assert asked["baboon_up_x2_matlab.png"] == (2, None)
    assert asked["lena_123x234_uint8.png"] == (None, (123, 234))
    for name, reference in references.items():
        assert (reference.input == (baboon if name.startswith("baboon") else lena)).all()
        verdict = compare(reference)
        assert (verdict.differ, verdict.values) == (0, read_image(matlab_folder / name).size)
        assert verdict.arithmetic == ("im2uint8(double)" if name.startswith("baboon") else "uint8")


# what the package ships


def test_shipped_references_pass() -> None:
    references = list(read_shipped())
    matrices = [r for r in references if r.source == "matlab_matrices.json"]
    exact = [r for r in references if r.source == "exact.json"]
    assert len(matrices) >= 4
    assert len(exact) >= 100
    assert {r.method for r in exact} == set(METHODS)
    assert {(r.output.dtype.name, r.antialias) for r in exact} >= {("uint8", True), ("uint8", False), ("float64", True)}
    for reference in references:
        verdict = compare(reference)
        assert verdict.passed, format_verdict(verdict)
        assert verdict.differ_single == 0 or reference.source == "exact.json", format_verdict(verdict)
        if reference.output.dtype == np.uint8:
            assert verdict.arithmetic == "uint8"
            assert verdict.differ == 0


def test_shipped_folder_reads_like_a_users() -> None:
    assert len(list(read_references(find_fixtures()))) == len(list(read_shipped()))


def test_exact_values_are_reproduced_byte_for_byte(tmp_path: Path) -> None:
    script = shutil.copy(find_fixtures() / "make_exact.py", tmp_path)
    subprocess.run([sys.executable, "-W", "error", script], check=True, timeout=300)
    assert (tmp_path / "exact.json").read_bytes() == (find_fixtures() / "exact.json").read_bytes()


def test_every_shipped_reference_can_fail() -> None:
    """One value changed in each, the smallest change that matters."""
    for reference in read_shipped():
        output = reference.output.copy()
        whole = output.dtype.kind in "iu"
        if whole:
            output.flat[-1] ^= 1
        else:
            output.flat[-1] += 3e-13 * np.abs(output).max()
        wrong = compare(dataclasses.replace(reference, output=output))
        assert not wrong.passed, reference.name
        if whole:
            assert wrong.differ >= 1
        else:
            assert TOLERANCE < wrong.relative < 5e-13


def test_corners_of_both_matlabs() -> None:
    corners = [r for r in read_shipped() if r.source == "matlab_corners.json"]
    assert {(r.output.dtype.name, r.boundary) for r in corners} == {
        ("uint8", "symmetric"), ("uint8", "replicate"), ("float64", "symmetric"),
    }  # fmt: skip
    for reference in corners:
        assert reference.corner and reference.origin == MATLAB
        verdict = compare(reference)
        assert (verdict.passed, verdict.differ, verdict.boundary) == (True, 0, reference.boundary)
        other = "replicate" if reference.boundary == "symmetric" else "symmetric"
        assert not compare(dataclasses.replace(reference, boundary=other)).passed  # the border shows
        assert compare(dataclasses.replace(reference, boundary=None)).boundary == reference.boundary  # and is found


# borders, classes, groups


def test_the_border_of_a_matlab_is_found(tmp_path: Path) -> None:
    cases = [
        {"name": f"{border} {scale}", "input": GREY.tolist(), "class": "uint8", "scale": scale, "method": method,
         "output": imresize(GREY, scale, method, boundary=border).tolist()}
        for border in ("replicate",) for scale in (0.5, 3) for method in ("bicubic", "nearest")
    ]  # fmt: skip
    path = write_json(tmp_path / "old.json", {"cases": cases})
    verdicts = [compare(r) for r in read_references(path)]
    assert [(v.passed, v.boundary) for v in verdicts] == [(True, "replicate"), (True, "")] * 2
    assert describe_borders(verdicts) == ["old.json: made by a MATLAB with replicate borders (2)"]
    assert "[uint8, replicate]" in format_verdict(verdicts[0])
    mixed = [*verdicts, dataclasses.replace(verdicts[0], boundary="symmetric")]
    assert describe_borders(mixed) == [
        "old.json: made by a MATLAB with replicate borders (2) and with symmetric borders (1)"
    ]
    assert describe_borders([dataclasses.replace(v, passed=False) for v in verdicts]) == []
    assert describe_borders([dataclasses.replace(v, origin=EXACT) for v in verdicts]) == []
    told = [compare(dataclasses.replace(r, boundary="symmetric")) for r in read_references(path)]
    assert [v.passed for v in told] == [False, True] * 2  # who names the wrong border hears so


@pytest.mark.parametrize("name", ["single", "logical", "uint16", "uint32", "int8", "int16", "int32"])
def test_every_class(tmp_path: Path, name: str) -> None:
    dtype = np.dtype({"single": "float32", "logical": "bool"}.get(name, name))
    low, high = (0, 1) if dtype.kind in "fb" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    given = (RNG.uniform(low, high, (9, 8)) if dtype.kind == "f" else RNG.integers(low, high + 1, (9, 8))).astype(dtype)
    output = imresize(given, 1.6)
    case = {"name": "a", "input": given.tolist(), "output": output.tolist(), "scale": 1.6, "class": name}
    (reference,) = read_references(write_json(tmp_path / "a.json", {"cases": [case]}))
    assert reference.input.dtype == reference.output.dtype == dtype
    verdict = compare(reference)
    assert (verdict.passed, verdict.differ, verdict.arithmetic) == (True, 0, name)
    wrong = output.copy()
    wrong[3, 3] = wrong[3, 3] + 1e-5 if dtype.kind == "f" else wrong[3, 3] ^ True
    assert not compare(dataclasses.replace(reference, output=wrong)).passed
    mat = {"input": given, "output": output, "scale": 1.6, "class": name}  # read_mat gives a logical as uint8
    savemat(tmp_path / "a.mat", {k: v.astype(np.uint8) if k != "scale" and name == "logical" and k != "class" else v
                                 for k, v in mat.items()})  # fmt: skip
    (reference,) = read_references(tmp_path / "a.mat")
    assert reference.output.dtype == dtype
    assert compare(reference).differ == 0


def test_unknown_class_boundary_and_function(tmp_path: Path) -> None:
    for field, value, said in (
        ("class", "int64", "unknown class 'int64'; one of double, single"),
        ("boundary", "circular", "unknown boundary 'circular'; one of symmetric, replicate"),
    ):
        with pytest.raises(ReferenceFileError, match=said):
            list(read_references(write_json(tmp_path / "a.json", {"cases": [{**CASE, field: value}]})))
    (reference,) = read_references(
        write_json(tmp_path / "a.json", {"cases": [{**CASE, "function": "imrotate"}]})
    )  # fmt: skip
    with pytest.raises(ValueError, match="no function 'imrotate' to compare with; only imresize"):
        compare(reference)


def test_groups_and_summary() -> None:
    verdicts = [compare(r) for r in read_shipped()]
    own = sum(v.origin == MATLAB for v in verdicts)
    exact = sum(v.origin == EXACT for v in verdicts)
    assert own >= 14 and exact >= 100 and own + exact == len(verdicts)
    assert summarize(verdicts) == f"{len(verdicts)} of {len(verdicts)} references agree: {own} MATLAB's own, " + (
        f"{exact} exact arithmetic"
    )
    other = dataclasses.replace(verdicts[0], function="rgb2ycbcr", passed=False)
    groups = group_by_function([verdicts[0], other, verdicts[1]])
    assert groups == {"imresize": verdicts[:2], "rgb2ycbcr": [other]}
    assert summarize([verdicts[0], other]) == "1 of 2 references agree: 2 MATLAB's own"


# comparing


def make_reference(output: NDArray[np.generic], given: NDArray[np.generic], **how: Any) -> Reference:
    return Reference("case", "here", given, output, **({"scale": 0.5} | how))


def test_compare_doubles() -> None:
    given = RNG.random((9, 8))
    output = imresize(given, 0.5)
    peak = float(output.max())
    assert compare(make_reference(output, given)) == Verdict(
        "case", "here", "double", 0.0, 0.0, 0, 0, 20, True, boundary="symmetric"
    )
    output[1, 2] += 0.5
    wrong = compare(make_reference(output, given))
    assert (wrong.passed, wrong.differ, wrong.differ_single, wrong.values) == (False, 1, 1, 20)
    assert wrong.difference == pytest.approx(0.5)
    assert wrong.relative == pytest.approx(0.5 / max(peak, float(output.max())))
    output[1, 2] = np.nextafter(imresize(given, 0.5)[1, 2], 1)
    last_bit = compare(make_reference(output, given))
    assert last_bit.passed
    assert last_bit.differ == 1


def test_compare_finds_the_arithmetic() -> None:
    twice, once = imresize(GREY, 1.5), matlab(GREY, 1.5)
    assert (twice != once).any()
    how = {"scale": 1.5}
    assert compare(make_reference(twice, GREY, **how)).arithmetic == "uint8"
    assert compare(make_reference(once, GREY, **how)).arithmetic == "im2uint8(double)"
    assert compare(make_reference(once, GREY, **how)).passed
    assert compare(make_reference(once, im2double(GREY), **how)).passed
    assert not compare(make_reference(twice, im2double(GREY), **how)).passed  # doubles are rounded once
    from_double = compare(make_reference(imresize(im2double(GREY), 1.5), GREY, **how))
    assert (from_double.arithmetic, from_double.differ) == ("double", 0)


def test_compare_uint8_does_not_wrap() -> None:
    output = imresize(np.zeros((8, 8), np.uint8), 0.5)
    output[0, 0] = 255
    wrong = compare(make_reference(output, np.zeros((8, 8), np.uint8)))
    assert (wrong.passed, wrong.difference, wrong.differ) == (False, 255.0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_do_not_pass(value: float) -> None:
    given = RNG.random((8, 8))
    output = imresize(given, 0.5)
    output[1, 1] = value
    verdict = compare(make_reference(output, given))
    assert not verdict.passed
    assert verdict.differ == 1


def test_compare_another_size() -> None:
    verdict = compare(make_reference(np.zeros((5, 4)), RNG.random((8, 8))))
    assert not verdict.passed
    assert verdict.note == "size 4x4, the reference has 5x4"
    assert (verdict.difference, verdict.differ, verdict.values) == (math.inf, 20, 20)


def test_compare_colour_method_and_antialias() -> None:
    for method in METHODS:
        for antialias in (True, False):
            how = {"size": (20, 31), "method": method, "antialias": antialias}
            output = imresize(COLOUR, **how)  # type: ignore[arg-type]
            assert compare(make_reference(output, COLOUR, scale=None, **how)).passed
    assert not compare(make_reference(output, COLOUR, scale=None, size=(20, 31), method="bicubic")).passed


def test_format_verdict() -> None:
    good = Verdict("a.png", "folder", "uint8", 0.0, 0.0, 0, 0, 12, True)
    assert format_verdict(good).startswith("ok ")
    bad = dataclasses.replace(good, passed=False, differ=3, differ_single=2, difference=1.0)
    line = format_verdict(bad)
    assert line.startswith("FAIL")
    for part in ("folder", "a.png", "uint8", "3 of 12", "2 as float32"):
        assert part in line
    assert "\n" not in line
    assert "size 1x1, the reference has 2x2" in format_verdict(
        dataclasses.replace(bad, note="size 1x1, the reference has 2x2")
    )


@pytest.mark.parametrize(
    ("given", "output", "said"),
    [
        (
            np.zeros((4, 4), np.float16),
            np.zeros((2, 2)),
            r"must be of double, single, logical, uint8, .*, and not empty; got float16 \(4, 4\)",
        ),
        (
            np.zeros((4, 4)),
            np.zeros((2, 0)),
            r"must be of double, single, logical, uint8, .*, and not empty; got float64 \(2, 0\)",
        ),
        (
            np.zeros(4),
            np.zeros((2, 2)),
            r"must be of double, single, logical, uint8, .*, and not empty; got float64 \(4,\)",
        ),
        (
            np.zeros((4, 4)),
            np.zeros((2, 2), np.int64),
            "must be of double, single, logical, uint8, .*, and not empty; got int64",
        ),
    ],
)
def test_unfit_matrices(given: NDArray[np.generic], output: NDArray[np.generic], said: str) -> None:
    with pytest.raises(ValueError, match=rf"case: matrices {said}"):
        make_reference(output, given)


def test_unfit_method_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="case: unknown method 'spline'; one of bicubic, bilinear"):
        make_reference(np.zeros((2, 2)), np.zeros((4, 4)), method="spline")
    monkeypatch.setattr(reference_module, "MAX_VALUES", 15)
    with pytest.raises(ValueError, match="case: 16 values; at most 15"):
        make_reference(np.zeros((2, 2)), np.zeros((4, 4)))


# .mat files


def write_cases(path: Path, cases: Sequence[dict[str, Any]]) -> Path:
    """A struct array `cases` and a variable `release`, as make_reference.m saves them."""
    struct = np.empty((1, len(cases)), dtype=[(key, object) for key in cases[0]])
    for k, case in enumerate(cases):
        for key, value in case.items():
            struct[0, k][key] = value
    savemat(path, {"cases": struct, "release": "9.14.0 (R2023a)"}, do_compression=True)
    return path


def make_cases() -> list[dict[str, Any]]:
    """What make_reference.m loops over, with fewer images; fields in its order."""
    small = RNG.random((23, 31))
    images = (small, im2uint8(small), RNG.random((12, 17, 3)), RNG.integers(0, 256, (16, 20, 3), dtype=np.uint8))
    nothing = np.zeros((0, 0))
    cases = []
    for image in images:
        for method, antialias in (("bicubic", True), ("lanczos3", False), ("nearest", True)):
            common = {"method": method, "antialias": antialias}
            for scale in (1 / 3, 0.7, 2.0):
                output = imresize(image, scale, **common)  # type: ignore[arg-type]
                name = f"{image.dtype} {method} {scale}"
                cases.append({"name": name, "input": image, "output": output, "scale": scale, "size": nothing} | common)
            output = imresize(image, size=(15, 44), **common)  # type: ignore[arg-type]
            name = f"{image.dtype} {method} to 15x44"
            size = np.array([[15.0, 44.0]])
            cases.append({"name": name, "input": image, "output": output, "scale": nothing, "size": size} | common)
    return cases


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


# .json files

CASE = {"name": "one", "input": [[1, 2], [3, 4]], "output": [[2.5]], "size": [1, 1]}


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


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


# folders of pictures


@pytest.mark.parametrize("image", [GREY, COLOUR], ids=["grey", "colour"])
def test_pictures_beside_their_input(tmp_path: Path, image: NDArray[np.uint8]) -> None:
    folder = save(
        tmp_path / "set",
        a=image,
        a_down_x2=matlab(image, 1 / 2),
        a_down_x3_matlab=matlab(image, 1 / 3),
        a_up_x2=matlab(image, 2),
        a_x4=imresize(image, 1 / 4),
        a_20x40=imresize(image, size=(20, 40)),
        unrelated=image[:9, :9],
    )
    references = {r.name: r for r in read_references(folder)}
    assert {name: (r.scale, r.size) for name, r in references.items()} == {
        "a_down_x2.png": (1 / 2, None),
        "a_down_x3_matlab.png": (1 / 3, None),
        "a_up_x2.png": (2, None),
        "a_x4.png": (1 / 4, None),
        "a_20x40.png": (None, (20, 40)),
    }
    for name, verdict in judge(folder).items():
        assert verdict.passed, name
        assert verdict.source == "set"
        assert verdict.arithmetic == ("uint8" if name in ("a_x4.png", "a_20x40.png") else "im2uint8(double)")


def test_one_wrong_pixel_fails(tmp_path: Path) -> None:
    small = matlab(GREY, 1 / 2)
    small[3, 4] ^= 1
    verdict = judge(save(tmp_path / "set", a=GREY, a_down_x2=small, a_up_x2=matlab(GREY, 2)))
    assert (verdict["a_down_x2.png"].passed, verdict["a_up_x2.png"].passed) == (False, True)
    assert verdict["a_down_x2.png"].differ == 1


def test_an_input_whose_name_ends_in_its_size(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", b_48x65=GREY, b_20x31_uint8=imresize(GREY, size=(20, 31)))
    (reference,) = read_references(folder)
    assert (reference.name, reference.size) == ("b_20x31_uint8.png", (20, 31))
    assert (reference.input == GREY).all()
    assert compare(reference).arithmetic == "uint8"


def test_a_size_longer_than_the_input(tmp_path: Path) -> None:
    """Lower and much wider: 700 is a size, though it follows an x and the picture is a smaller one."""
    folder = save(tmp_path / "set", b=GREY, b_20x700=imresize(GREY, size=(20, 700)))
    (reference,) = read_references(folder)
    assert reference.size == (20, 700)
    assert compare(reference).passed


def test_names_of_div2k(tmp_path: Path) -> None:
    folder = save(
        tmp_path / "set",
        **{"0001": GREY, "0001x2": matlab(GREY, 1 / 2), "0002": COLOUR, "0002x3": matlab(COLOUR, 1 / 3)},
    )
    references = {r.name: r.scale for r in read_references(folder)}
    assert references == {"0001x2.png": 1 / 2, "0002x3.png": 1 / 3}
    assert all(v.passed for v in judge(folder).values())


def test_input_that_was_cropped_first(tmp_path: Path) -> None:
    small = matlab(modcrop(GREY, 4), 1 / 4)  # of 48x64 pixels, where the file holds 48x65
    assert small.shape == (12, 16)
    (reference,) = read_references(save(tmp_path / "set", a=GREY, a_x4=small))
    assert (reference.input.shape, reference.scale) == ((48, 64), 1 / 4)
    assert compare(reference).differ == 0


def test_the_longest_name_is_the_input(tmp_path: Path) -> None:
    other = GREY[::-1].copy()
    folder = save(tmp_path / "set", a=GREY, a_b=other, a_b_x2=matlab(other, 1 / 2))
    references = {r.name: r for r in read_references(folder)}
    assert (references["a_b_x2.png"].input == other).all()


def test_folder_of_everything(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", a=GREY, a_x2=matlab(GREY, 1 / 2))
    write_json(folder / "mine.json", {"cases": [CASE]})
    write_cases(folder / "reference.mat", make_cases()[:3])
    (folder / "notes.txt").write_text("passed over")
    assert [r.source for r in read_references(folder)] == ["set", "mine.json", *["reference.mat"] * 3]


def test_folder_with_nothing_to_compare(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(
            ReferenceFileError, match=r"nothing to compare; it needs pictures such as a\.png beside a_down"
        ):
            list(read_references(tmp_path))
        save(tmp_path, one=GREY, two=COLOUR)  # pictures, but none made from another


def test_folder_with_a_broken_picture(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", a=GREY, a_x2=matlab(GREY, 1 / 2))
    (folder / "b.png").write_bytes(b"")
    with pytest.raises(ReferenceFileError, match=r"b\.png: the file is empty"):
        list(read_references(folder))


def test_grey_beside_colour(tmp_path: Path) -> None:
    folder = save(tmp_path / "set", a=COLOUR, a_x2=matlab(GREY, 1 / 2))
    with pytest.raises(ReferenceFileError, match=r"a\.png and a_x2\.png must both be grey or both RGB"):
        list(read_references(folder))


def test_a_picture_of_another_scale_fails(tmp_path: Path) -> None:
    (verdict,) = judge(save(tmp_path / "set", a=GREY, a_x2=matlab(GREY, 1 / 3))).values()
    assert not verdict.passed  # 16x22 pixels are neither half of it nor imresize to that size


# the baseline


def test_baseline_of_the_real_set5(data_root: Path) -> None:
    verdicts = check_baseline(open_set("Set5", data_root))
    assert [v.name for v in verdicts] == ["bicubic on Set5 x2", "bicubic on Set5 x3", "bicubic on Set5 x4"]
    for verdict in verdicts:
        assert verdict.passed, format_verdict(verdict)
        assert verdict.difference < 0.005
        assert "not the authors' files" not in verdict.note


def test_baseline_of_changed_images_fails(data_root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "test_data" / "Set5"
    shutil.copytree(data_root / "test_data" / "Set5", folder)
    folder.chmod(0o755)
    path = list_images(folder)[0]
    path.chmod(0o644)
    pixels = read_image(path)
    pixels[100:130] = 0
    Image.fromarray(pixels).save(path)
    verdicts = check_baseline(open_set("Set5", tmp_path))
    assert [v.passed for v in verdicts] == [False, False, False]
    assert "not the authors' files" in format_verdict(verdicts[0])


def test_baseline_of_other_pictures(photos: Path, tmp_path: Path) -> None:
    assert check_baseline(open_set(str(photos), tmp_path)) == []  # nothing was published of them
    folder = tmp_path / "test_data" / "Set5"
    folder.parent.mkdir()
    photos.rename(folder)
    verdicts = check_baseline(open_set("Set5", tmp_path))
    assert [v.passed for v in verdicts] == [False, False, False]
    assert all("published 33.68 / 0.9304; these are not the authors' files" in v.note for v in verdicts[:1])
