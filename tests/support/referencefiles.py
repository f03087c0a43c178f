"""Files of references as users bring them: pictures, .mat as make_reference.m saves them, .json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from idn_data.matlab.classes import im2double, im2uint8
from idn_data.matlab.resize import imresize
from idn_data.scores.parity import Verdict, compare
from idn_data.scores.references import read_references

RNG = np.random.default_rng(2018)
GREY = RNG.integers(0, 256, (48, 65), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (48, 65, 3), dtype=np.uint8)
CASE = {"name": "one", "input": [[1, 2], [3, 4]], "output": [[2.5]], "size": [1, 1]}


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


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def write_structs(path: Path, **arrays: Sequence[dict[str, Any]]) -> Path:
    """Struct arrays and a variable `release`, as make_reference.m saves them."""
    variables: dict[str, Any] = {"release": "9.14.0 (R2023a)"}
    for name, elements in arrays.items():
        variables[name] = np.empty((1, len(elements)), dtype=[(key, object) for key in elements[0]])
        for k, element in enumerate(elements):
            for key, value in element.items():
                variables[name][0, k][key] = value
    savemat(path, variables, do_compression=True)
    return path


def write_cases(path: Path, cases: Sequence[dict[str, Any]]) -> Path:
    """A struct array `cases` alone."""
    return write_structs(path, cases=cases)


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
