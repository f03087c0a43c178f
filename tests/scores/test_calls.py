"""References of functions other than imresize: reading, comparing, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.io import savemat
from support.mat73 import save_mat73
from support.referencefiles import write_json, write_structs

from idn_data.images.sets import find_fixtures
from idn_data.matlab.classes import im2double, im2single, im2uint8, im2uint16
from idn_data.matlab.color import rgb2gray, rgb2ycbcr, ycbcr2rgb
from idn_data.matlab.filters import fspecial, imfilter
from idn_data.matlab.quality import psnr, ssim
from idn_data.matlab.resize import imresize
from idn_data.scores import call as call_module
from idn_data.scores.call import BLUR, FUNCTIONS, SHRINK_YCBCR, Call
from idn_data.scores.parity import compare, format_verdict
from idn_data.scores.reference import EXACT, MATLAB, ReferenceFileError
from idn_data.scores.references import read_references, read_shipped

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(29)
EIGHT = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
NOTHING = np.zeros((0, 0))
PLANE, OTHER = RNG.integers(0, 256, (2, 12, 13), dtype=np.uint8)


def make_calls() -> list[dict[str, Any]]:
    """What make_reference.m asks for, with fewer images; fields in its order."""
    calls: list[dict[str, Any]] = []

    def ask(f: str, output: object, a: object, b: object = NOTHING, c: object = NOTHING) -> None:
        kind = {"float64": "double", "float32": "single", "bool": "logical"}
        name = "char" if isinstance(a, str) else kind.get(a.dtype.name, a.dtype.name)  # type: ignore[attr-defined]
        calls.append({"name": f"{f} {len(calls)}", "f": f, "a": a, "b": b, "c": c, "class": name, "output": output})

    for image in (EIGHT, im2uint16(EIGHT), im2single(EIGHT), im2double(EIGHT)):
        for function in (rgb2ycbcr, ycbcr2rgb, rgb2gray, im2double, im2single, im2uint8, im2uint16):
            ask(function.__name__, function(image), image)
        for border in ("replicate", 0.0):
            ask("imfilter", imfilter(image, np.array([[-1.0, 0, 1]]), border), image, np.array([[-1.0, 0, 1]]), border)
    truth = EIGHT[:, :, 0] > 128
    for function in (im2double, im2single, im2uint8, im2uint16):
        ask(function.__name__, function(truth), truth)
    ask("fspecial", fspecial("gaussian", (4, 6), 1), "gaussian", np.array([[4.0, 6]]), 1.0)
    ask("fspecial", fspecial("motion", 9, 20), "motion", 9.0, 20.0)
    ask("fspecial", fspecial("average"), "average")
    for a, b in ((PLANE, OTHER), (im2double(PLANE), im2double(OTHER))):
        ask("psnr", psnr(a, b), a, b)
        ask("ssim", ssim(a, b), a, b)
    ask("psnr", psnr(PLANE, OTHER, 300.0), PLANE, OTHER, 300.0)
    return calls


def find_calls(path: Path) -> list[Call]:
    calls = [item for item in read_references(path) if isinstance(item, Call)]
    assert calls
    return calls


def write_call(path: Path, **fields: object) -> Path:
    return write_json(path, {"calls": [{"name": "one", **fields}]})


# what ships


def test_every_function_has_a_reference() -> None:
    calls = [item for item in read_shipped() if isinstance(item, Call)]
    assert {call.function for call in calls} == set(FUNCTIONS)
    own = [call for call in calls if call.origin == MATLAB]
    assert {call.function for call in own} == {"rgb2ycbcr", "ycbcr2rgb", "imfilter", BLUR, SHRINK_YCBCR}
    for call in own:
        assert compare(call).differ == 0, call.name  # to the last bit
    exact = [call for call in calls if call.origin == EXACT]
    assert {call.function for call in exact} == set(FUNCTIONS) - {BLUR, SHRINK_YCBCR}
    for function in set(FUNCTIONS) - {"fspecial", BLUR, SHRINK_YCBCR}:
        kinds = {call.arguments[0].dtype.name for call in exact if call.function == function}  # type: ignore[union-attr]
        assert kinds >= {"uint8", "uint16", "float32", "float64"}, function
    assert len({call.name for call in calls}) == len(calls)


def test_halves_are_among_the_exact_values() -> None:
    """Rounding them to even, or down, would show."""
    calls = [item for item in read_shipped() if isinstance(item, Call) and item.source == "exact_calls.json"]
    floats = [c for c in calls if c.function == "im2uint8" and c.arguments[0].dtype.kind == "f"]  # type: ignore[union-attr]
    assert all((c.arguments[0] == 0.5).any() and (c.output == 128).any() for c in floats)  # type: ignore[union-attr]
    (filtered,) = (c for c in calls if c.name == "imfilter 2x2, replicate, uint8 with halves")
    image, kernel = filtered.arguments[:2]
    whole = imfilter(im2double(image) * 255, kernel, "replicate")  # type: ignore[arg-type]
    halves = whole % 1 == 0.5
    assert halves.any()
    assert (filtered.output[halves] == np.floor(whole[halves]) + 1).all()
    assert (np.round(whole) != filtered.output).any()


def test_doubles_of_matlab_are_the_published_products(matlab_folder: Path) -> None:
    """255 times a value, and of no neighbour of it, lies in pytorch-vdsr's matrices."""
    from idn_data.matlab.matfile import read_mat

    published: list[float] = []
    for path in (matlab_folder / "doubles").glob("*.mat"):
        held = read_mat(path, ("im_gt_y", "im_l"))
        published += [v for matrix in held.values() for v in matrix.ravel().tolist()]
    if not published:
        pytest.skip(f"{matlab_folder} has no doubles")
    known = set(published)
    for call in read_shipped():
        if call.source == "matlab_calls.json" and call.function in ("rgb2ycbcr", "ycbcr2rgb"):
            assert {255 * v for v in call.output.ravel().tolist()} <= known
            for away in (-np.inf, np.inf):
                assert not (255 * np.nextafter(call.output, away) == 255 * call.output).any()


# reading


def test_mat_as_make_reference_writes_it(tmp_path: Path) -> None:
    asked = make_calls()
    write_structs(tmp_path / "a.mat", calls=asked)
    save_mat73(tmp_path / "b.mat", {"calls": asked})
    for path in (tmp_path / "a.mat", tmp_path / "b.mat"):
        calls = find_calls(path)
        assert [(c.name, c.function, c.source, c.origin) for c in calls] == [
            (wanted["name"], wanted["f"], path.name, MATLAB) for wanted in asked
        ]
        for call, wanted in zip(calls, asked, strict=True):
            assert call.output.dtype == np.asarray(wanted["output"]).dtype
            first = call.arguments[0]
            assert isinstance(first, str) or first.dtype == wanted["a"].dtype
            verdict = compare(call)
            assert (verdict.passed, verdict.differ) == (True, 0), format_verdict(verdict)


def test_cases_and_calls_in_one_file(tmp_path: Path) -> None:
    given = RNG.random((4, 6))
    case = {"name": "resized", "input": given, "output": imresize(given, 0.5), "scale": 0.5}
    write_structs(tmp_path / "a.mat", cases=[case], calls=make_calls()[:2])
    assert [r.function for r in read_references(tmp_path / "a.mat")] == ["imresize", "rgb2ycbcr", "ycbcr2rgb"]
    plain = {key: v.tolist() if isinstance(v, np.ndarray) else v for key, v in case.items()}
    call = {"name": "k", "f": "im2uint8", "class": "logical", "a": [[1, 0]], "output": [[255, 0]]}
    write_json(tmp_path / "a.json", {"cases": [plain], "calls": [call], "exact": True})
    assert [(r.function, r.origin) for r in read_references(tmp_path / "a.json")] == [
        ("imresize", EXACT), ("im2uint8", EXACT),
    ]  # fmt: skip


def test_json_has_the_classes_of_matlab(tmp_path: Path) -> None:
    """`class` is that of a, and of b where that is an image; what comes out follows from the function."""
    for asked in make_calls():
        fields = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asked.items()}
        (call,) = find_calls(write_json(tmp_path / "a.json", {"calls": [fields]}))
        for part, key in zip(call.arguments, "abc", strict=False):
            assert isinstance(part, str) or part.dtype == np.asarray(asked[key]).dtype
        assert call.output.dtype == np.asarray(asked["output"]).dtype
        assert compare(call).differ == 0, call.name


def test_make_reference_script_saves_these_fields() -> None:
    script = (find_fixtures() / "make_reference.m").read_text(encoding="utf-8")
    line = next(line for line in script.splitlines() if line.startswith("calls = struct("))
    assert re.findall(r"'(\w+)', \{\}", line) == list(make_calls()[0])
    for function in set(FUNCTIONS) - {BLUR, SHRINK_YCBCR}:
        assert f"ask('{function}', " in script
    assert "'cases', 'calls'" in script


def test_only_the_corner(tmp_path: Path) -> None:
    y = rgb2ycbcr(EIGHT)[:4, :5, :1]
    fields = {"f": "rgb2ycbcr", "class": "uint8", "a": EIGHT.tolist(), "output": y.tolist()}
    assert compare(*find_calls(write_call(tmp_path / "a.json", corner=True, **fields))).passed
    verdict = compare(*find_calls(write_call(tmp_path / "a.json", **fields)))
    assert (verdict.passed, verdict.note) == (False, "size 6x7x3, the reference has 4x5x1")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"a": 1.0, "output": [[1]]}, "'f' is missing"),
        ({"f": 7, "a": 1.0, "output": [[1]]}, "'f' must be the name of a function"),
        ({"f": "imrotate", "a": 1.0, "output": [[1]]}, "one: unknown function 'imrotate'; one of rgb2ycbcr; ycbcr2r"),
        ({"f": "x" * 3000, "a": 1.0, "output": [[1]]}, "unknown function 'x{40}'"),
        ({"f": "im2double", "output": [[1]]}, r"im2double takes 1 argument\(s\); got 0"),
        ({"f": "im2double", "a": 1.0, "b": [[1]], "output": [[1]]}, r"im2double takes 1 argument\(s\); got 2"),
        ({"f": "imfilter", "a": 1.0, "b": [], "output": [[1]]}, r"imfilter takes 2 to 3 argument\(s\); got 1"),
        ({"f": "im2double", "a": [[1]]}, "'output' is missing"),
        ({"f": "im2double", "a": 1.0, "output": []}, "not empty"),
        (
            {"f": "imfilter", "a": 1.0, "c": 1, "output": [[1]]},
            "an argument before the last one is missing, or neither numbers",
        ),
        ({"f": "im2double", "class": "uint8", "a": [[256]], "output": [[1]]}, "values outside 0…255 in a uint8 matrix"),
        (
            {"f": "im2double", "class": "int64", "a": 1.0, "output": [[1]]},
            "unknown class 'int64'; one of double, sin",
        ),
        ({"f": "im2double", "a": [[0]] * 8193, "output": [[1]]}, "8193 values; at most 2097152, and 8192 along a side"),
        (
            {"f": "imfilter", "a": [[1] * 600] * 600, "b": [[1] * 40] * 40, "output": [[1]]},
            "one: 360000 pixels and a kernel of 1600; at most 16384, and 268435456 products",
        ),
        ({"f": "imfilter", "a": [[1]], "b": [[1] * 129] * 128, "output": [[1]]}, "1 pixels and a kernel of 16512; at"),
        ({"f": BLUR, "a": [[1] * 9] * 9, "b": [1e9, 1], "c": 0.5, "output": [[1]]}, r"a kernel of 1e\+18; at most"),
        ({"f": BLUR, "a": [[1]], "b": [1e300, 1], "c": 0.5, "output": [[1]]}, "a kernel of inf; at most 16384"),
        ({"f": BLUR, "a": [[1]], "b": [math.nan, 1], "c": 0.5, "output": [[1]]}, "a kernel of nan; at most 16384"),
    ],
)
def test_json_without_a_call(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ReferenceFileError, match=rf"a\.json: not a file of references \(.*{said}") as error:
        list(read_references(write_call(tmp_path / "a.json", **fields)))
    assert "\n" not in str(error.value)


def test_no_calls_at_all(tmp_path: Path) -> None:
    with pytest.raises(ReferenceFileError, match="it holds no case"):
        list(read_references(write_json(tmp_path / "a.json", {"calls": []})))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"calls": np.eye(2)}, "'calls' must be a struct array with the fields 'f' and 'output'"),
        ({"calls": "text"}, "'calls' must be a struct array with the fields 'f' and 'output'"),
        ({"calls": {"a": 1.0, "output": 1.0}}, "'calls' must be a struct array with the fields 'f' and 'output'"),
        ({"calls": {"f": 1.0, "output": 1.0}}, "'f' must be the name of a function"),
        ({"calls": {"f": "imrotate", "a": 1.0, "output": 1.0}}, "unknown function 'imrotate'"),
        ({"calls": {"f": "im2double", "a": 1j, "output": 1.0}}, r"im2double takes 1 argument\(s\); got 0"),
        ({"calls": {"f": "im2double", "a": np.array([["x", 1.0]], object), "output": 1.0}}, r"1 argument\(s\); got 0"),
        ({"calls": {"f": "im2double", "a": 1.0, "output": "text"}}, "could not convert"),
    ],
)
def test_mat_without_a_call(tmp_path: Path, variables: dict[str, Any], said: str) -> None:
    savemat(tmp_path / "a.mat", variables)
    with pytest.raises(ReferenceFileError, match=rf"a\.mat: not a file of references \(.*{said}.*\); see fixtures/mak"):
        list(read_references(tmp_path / "a.mat"))


# comparing


def make_call(function: str, output: object, *arguments: NDArray[Any] | str) -> Call:
    return Call("one", "here", function, arguments, np.atleast_2d(np.asarray(output)))


def test_one_wrong_value() -> None:
    output = rgb2ycbcr(EIGHT)
    assert compare(make_call("rgb2ycbcr", output, EIGHT)).passed
    output[3, 4, 1] ^= 1
    verdict = compare(make_call("rgb2ycbcr", output, EIGHT))
    assert (verdict.passed, verdict.differ, verdict.values) == (False, 1, 126)
    line = format_verdict(verdict)
    assert line.startswith("FAIL  here: one [uint8]  largest difference 1 ") and "1 of 126 values differ" in line


def test_doubles_may_differ_in_the_last_bit_and_it_is_said() -> None:
    output = rgb2ycbcr(im2double(EIGHT))
    output[0, 0, 0] = np.nextafter(output[0, 0, 0], 1)
    verdict = compare(make_call("rgb2ycbcr", output, im2double(EIGHT)))
    assert (verdict.passed, verdict.differ) == (True, 1)
    assert "1 of 126 values differ" in format_verdict(verdict)
    output[0, 0, 0] += 2e-13
    assert not compare(make_call("rgb2ycbcr", output, im2double(EIGHT))).passed


@pytest.mark.parametrize(("function", "allowed"), [(psnr, 1e-10), (ssim, 1e-12)])
def test_how_near_a_score_must_be(function: Any, allowed: float) -> None:
    value = function(PLANE, OTHER)
    for off, passed in ((0.8, True), (-0.8, True), (1.3, False), (-1.3, False)):
        assert compare(make_call(function.__name__, value + off * allowed, PLANE, OTHER)).passed is passed
    single = compare(make_call(function.__name__, np.float32(value), PLANE, OTHER))  # as MATLAB answers singles
    assert single.passed and single.differ_single == 0


def test_psnr_of_equal_images() -> None:
    verdict = compare(make_call("psnr", math.inf, PLANE, PLANE))
    assert (verdict.passed, verdict.differ, verdict.difference) == (True, 0, 0.0)
    assert not compare(make_call("psnr", math.inf, PLANE, OTHER)).passed
    assert not compare(make_call("psnr", math.nan, PLANE, OTHER)).passed


def test_another_class_is_no_match() -> None:
    verdict = compare(make_call("im2double", im2double(EIGHT).astype(np.float32), EIGHT))
    assert (verdict.passed, verdict.note) == (False, "double, the reference is single")


def test_compositions() -> None:
    image = RNG.integers(0, 256, (30, 33, 3), dtype=np.uint8)
    blurred = imfilter(image, fspecial("gaussian", 7, 1.6), "replicate")[1::3, 1::3]
    assert compare(make_call(BLUR, blurred, image, np.array([[7.0, 1.6]]), np.array([[1 / 3]]))).differ == 0
    for boundary in ("symmetric", "replicate"):
        small = imresize(rgb2ycbcr(im2double(image)), 1 / 3, boundary=boundary)
        verdicts = [compare(make_call(SHRINK_YCBCR, small, image, np.array([[1 / 3]]), b)) for b in
                    ("symmetric", "replicate")]  # fmt: skip
        assert [v.passed for v in verdicts] == [boundary == "symmetric", boundary == "replicate"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (make_call("im2uint8", 1.0, np.array([[200.0]])), r"im2uint8 takes floats in \[0, 1\]; these go from 200"),
        (make_call("rgb2gray", 1.0, PLANE), r"rgb2gray takes an H×W×3 image; got uint8 \(12, 13\)"),
        (make_call("rgb2ycbcr", 1.0, "text"), "argument 1 must be an array; got 'text'"),
        (make_call("fspecial", 1.0, PLANE), r"argument 1 must be text; got uint8 \(12, 13\)"),
        (make_call("fspecial", 1.0, "disk"), "unknown kernel 'disk'"),
        (make_call("fspecial", 1.0, "gaussian", PLANE), r"argument 2 must be 1 or 2 number\(s\); got 156"),
        (make_call("fspecial", 1.0, "gaussian", np.array([[3.0]]), "x"), "argument 3 must be an array; got 'x'"),
        (make_call("psnr", 1.0, PLANE, OTHER[1:]), "psnr: the two images must be of one shape"),
        (make_call("psnr", 1.0, PLANE, OTHER, np.array([[1.0, 2]])), r"argument 3 must be 1 number\(s\); got 2"),
        (make_call("psnr", 1.0, PLANE, OTHER, np.array([[1e300]])), "out of range"),
        (make_call("ssim", 1.0, EIGHT, EIGHT), r"ssim compares one channel, \(H, W\)"),
        (make_call("imfilter", 1.0, PLANE, PLANE / 1.0, "reflect"), "unknown boundary 'reflect'"),
        (make_call("imfilter", 1.0, EIGHT[..., None], PLANE), "imfilter takes an"),
        (
            make_call(BLUR, 1.0, PLANE, np.array([[7.0, 1.6]]), np.array([[1e-9]])),
            "a scale of 0.00048828125 to 1; got 1e-09",
        ),
        (make_call(BLUR, 1.0, PLANE, np.array([[7.0, 1.6]]), np.array([[1e9]])), r"a scale of .* to 1; got 1e\+09"),
        (make_call(BLUR, 1.0, PLANE, np.array([[7.0]]), np.array([[0.5]])), r"must be 2 number\(s\); got 1"),
        (make_call(SHRINK_YCBCR, 1.0, EIGHT, np.array([[0.5]]), "mirror"), "'mirror'"),
    ],
)
def test_what_our_function_refuses(call: Call, said: str) -> None:
    verdict = compare(call)
    assert not verdict.passed and verdict.differ == verdict.values
    assert re.match(rf"refused here: .*{said}", verdict.note), verdict.note
    assert "\n" not in format_verdict(verdict)


def test_a_call_of_giant_values(recwarn: pytest.WarningsRecorder) -> None:
    huge = np.full((4, 4), 1e308)
    for call in (
        make_call("imfilter", huge, huge, huge),
        make_call("imfilter", PLANE, PLANE, np.array([[1e308, -1e308]])),
        make_call("im2single", np.ones((4, 4), np.float32), huge),
        make_call("im2double", np.full((4, 4), 1e-308), huge),
        make_call("psnr", [[1e308]], huge, -huge, np.array([[1.0]])),
    ):
        assert not compare(call).passed
    assert not recwarn.list


def test_more_values_than_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_module, "MAX_CALL_VALUES", 15)
    with pytest.raises(ValueError, match="one: 16 values; at most 15, and 8192 along a side"):
        make_call("im2double", 1.0, np.eye(4))
    with pytest.raises(ValueError, match="one: 16 values; at most 15, and 8192 along a side"):
        make_call("im2double", np.eye(4), np.eye(1))
    with pytest.raises(ValueError, match=r"one: matrices must be of double, .*; got float16"):
        make_call("im2double", 1.0, np.eye(1, dtype=np.float16))
    with pytest.raises(ValueError, match=r"rgb2gray takes 1 argument\(s\); got 0"):
        dataclasses.replace(make_call("rgb2gray", 1.0, np.eye(1)), arguments=())


def test_shipped_json_keeps_every_bit() -> None:
    """What JSON says of a double is read as that double."""
    for name in ("matlab_calls.json", "exact_calls.json"):
        text = (find_fixtures() / name).read_text(encoding="utf-8")
        for call in json.loads(text)["calls"]:
            assert json.dumps(call) in text
