"""The references that the package ships, and whole pictures of MATLAB where they are at hand."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from idn_data.images.decode import list_images, read_image
from idn_data.images.sets import find_fixtures
from idn_data.matlab.weights import METHODS
from idn_data.scores.parity import (
    SINGLE_TOLERANCE,
    TOLERANCE,
    compare,
    format_verdict,
)
from idn_data.scores.reference import MATLAB
from idn_data.scores.references import read_references, read_shipped

if TYPE_CHECKING:
    from pathlib import Path


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
        assert verdict.function == reference.function
        if reference.output.dtype == np.uint8:
            assert verdict.arithmetic == "uint8" or reference.function == "im2uint8"
            assert verdict.differ == 0


def test_shipped_folder_reads_like_a_users() -> None:
    assert len(list(read_references(find_fixtures()))) == len(list(read_shipped()))


@pytest.mark.parametrize("name", ["exact", "exact_calls"])
def test_exact_values_are_reproduced_byte_for_byte(tmp_path: Path, name: str) -> None:
    for script in find_fixtures().glob("make_exact*.py"):
        shutil.copy(script, tmp_path)
    subprocess.run([sys.executable, "-W", "error", tmp_path / f"make_{name}.py"], check=True, timeout=300)
    assert (tmp_path / f"{name}.json").read_bytes() == (find_fixtures() / f"{name}.json").read_bytes()


def test_every_shipped_reference_can_fail() -> None:
    """One value changed in each, the smallest change that matters."""
    for reference in read_shipped():
        output = reference.output.copy()
        allowed = {"psnr": 1e-10, "ssim": 1e-12}.get(reference.function)
        if output.dtype.kind in "iu":
            output.flat[-1] ^= 1
        elif allowed:
            output.flat[-1] += 3 * allowed
        else:
            allowed = TOLERANCE if output.dtype == np.float64 else SINGLE_TOLERANCE
            output.flat[-1] += 3 * allowed * np.abs(output).max()
        wrong = compare(dataclasses.replace(reference, output=output))
        assert not wrong.passed and wrong.differ >= 1, reference.name
        if allowed:
            difference = wrong.difference if reference.function in ("psnr", "ssim") else wrong.relative
            assert allowed < difference < 5 * allowed


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
