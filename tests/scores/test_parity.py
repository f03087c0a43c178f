"""Comparing our functions with a reference: borders, classes, verdicts, the baseline."""

from __future__ import annotations

import dataclasses
import math
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from support.referencefiles import CASE, COLOUR, GREY, RNG, matlab, write_json

from idn_data.images.decode import list_images, read_image
from idn_data.matlab.classes import im2double
from idn_data.matlab.resize import imresize
from idn_data.matlab.weights import METHODS
from idn_data.scores import reference as reference_module
from idn_data.scores.parity import (
    Verdict,
    check_baseline,
    compare,
    describe_borders,
    find_baseline,
    format_verdict,
    group_by_function,
    summarize,
)
from idn_data.scores.reference import EXACT, MATLAB, Reference, ReferenceFileError
from idn_data.scores.references import read_references, read_shipped
from idn_data.scores.sets import open_set

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


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


def test_baseline_of_the_real_set5(data_root: Path) -> None:
    verdicts = check_baseline(open_set("Set5", data_root))
    assert [v.name for v in verdicts] == ["bicubic on Set5 x2", "bicubic on Set5 x3", "bicubic on Set5 x4"]
    for verdict in verdicts:
        assert verdict.passed, format_verdict(verdict)
        assert verdict.difference < 0.005
        assert "not the authors' files" not in verdict.note


def test_the_baseline_is_found_in_the_authors_set5_alone(data_root: Path) -> None:
    verdicts, left_out = find_baseline(data_root)
    assert [v.passed for v in verdicts] == [True, True, True] and left_out == []


@pytest.mark.parametrize("kind", ["another", "a part", "empty", "damaged"])
def test_the_baseline_of_another_set5_is_left_out(photos: Path, tmp_path: Path, kind: str) -> None:
    """That is no failure of the functions."""
    assert find_baseline(tmp_path) == ([], [])
    folder = tmp_path / "test_data" / "Set5"
    folder.parent.mkdir()
    photos.rename(folder)
    for path in list(folder.iterdir())[{"a part": 2, "empty": 0}.get(kind, 5) :]:
        path.unlink()
    if kind == "damaged":
        (folder / "stone.bmp").write_bytes(b"BM")
    verdicts, (line,) = find_baseline(tmp_path)
    assert verdicts == []
    assert line == (
        f"the published scores: {folder} is not the authors' Set5, file for file; idn fetch Set5 gets that, with "
        "another --data-root if these files are to stay"
    )


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
