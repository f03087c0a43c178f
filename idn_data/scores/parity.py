"""Parity of imresize with references: MATLAB's own values, exact rational values, and whatever a user brings.

References come as JSON (``fixtures/*.json``), as a .mat written by ``fixtures/make_reference.m``, or as a folder of
pictures in which each input lies beside what MATLAB made of it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.images.decode import ImageError, list_images, read_image
from idn_data.images.sets import find_fixtures
from idn_data.images.variants import modcrop
from idn_data.matlab.classes import im2double, im2uint8
from idn_data.matlab.matfile import MatFileError, read_mat
from idn_data.matlab.resize import imresize
from idn_data.matlab.weights import METHODS
from idn_data.patches.recipe import SCALES
from idn_data.scores.benchmark import evaluate
from idn_data.scores.methods import BICUBIC
from idn_data.scores.sets import TestSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


TOLERANCE = 1e-13  # of doubles, relative to the reference's largest magnitude
MAX_VALUES, MAX_SIDE, MIN_SCALE = 1 << 23, 1 << 13, 2.0**-11  # of a reference; beyond, it is taken for a mistake
MAX_JSON = 16 << 20  # bytes

_FIELDS = ("name", "input", "output", "scale", "size", "method", "antialias", "class")
# MATLAB's other names for the same kernels
_ALIASES = {"cubic": "bicubic", "triangle": "bilinear", "linear": "bilinear"}


class ReferenceFileError(ValueError):
    """A reference that cannot be used; the message names the file and says why."""


@dataclass(frozen=True)
class Reference:
    """What imresize should return for an input.

    input, output : (H, W) or (H, W, C) arrays of one class, uint8 or float64.
    Exactly one of scale (one number, or rows and columns) and size (rows, columns) is given.
    """

    name: str
    source: str
    input: NDArray[np.generic]
    output: NDArray[np.generic]
    scale: float | tuple[float, float] | None = None
    size: tuple[int, int] | None = None
    method: str = "bicubic"
    antialias: bool = True

    def __post_init__(self) -> None:
        for array in (self.input, self.output):
            if array.dtype not in (np.uint8, np.float64) or array.ndim not in (2, 3) or 0 in array.shape:
                raise ValueError(
                    f"{self.name}: matrices must be uint8 or double, and not empty; got {array.dtype} {array.shape}"
                )
            if array.size > MAX_VALUES or max(array.shape) > MAX_SIDE:
                raise ValueError(f"{self.name}: {array.size} values; at most {MAX_VALUES}, and {MAX_SIDE} along a side")
        if self.method not in METHODS:
            raise ValueError(f"{self.name}: unknown method {self.method[:40]!r}; one of {', '.join(METHODS)}")
        if self.scale is not None and not min(np.ravel(self.scale)) >= MIN_SCALE:
            raise ValueError(f"{self.name}: the scale {min(np.ravel(self.scale)):g} is too small; at least {MIN_SCALE}")

    def shape(self) -> tuple[int, ...]:
        """What imresize should return has this shape, by its rules."""
        rows, columns = self.input.shape[:2]
        vertical, horizontal = np.broadcast_to(1.0 if self.scale is None else self.scale, 2).tolist()
        asked = self.size or (math.ceil(vertical * rows), math.ceil(horizontal * columns))
        return (*asked, *self.input.shape[2:])


@dataclass(frozen=True)
class Verdict:
    """How imresize compares with a reference.

    difference : largest absolute difference, in the reference's units; relative : the same over its largest magnitude;
    differ, differ_single, values : values that differ as stored, that differ as float32, and all of them.
    """

    name: str
    source: str
    arithmetic: str
    difference: float
    relative: float
    differ: int
    differ_single: int
    values: int
    passed: bool
    note: str = ""


def compare(reference: Reference) -> Verdict:
    """Run imresize on a reference's input and compare: uint8 must be identical, doubles within `TOLERANCE`.

    An 8-bit output of an 8-bit input may have come about in two ways: imresize of uint8, which rounds twice, or
    im2uint8(imresize(im2double(...))). The one that fits better is reported.
    """
    how: dict[str, Any] = {name: getattr(reference, name) for name in ("scale", "size", "method", "antialias")}
    results: dict[str, NDArray[np.generic]] = {}
    if reference.shape() != reference.output.shape:  # before a stranger's scale makes a giant
        return _say_size(reference, reference.shape())
    if reference.input.dtype == np.uint8 and reference.output.dtype == np.uint8:
        results["uint8"] = imresize(reference.input, **how)
        results["im2uint8(double)"] = im2uint8(np.clip(imresize(im2double(reference.input), **how), 0, 1))
    elif reference.output.dtype == np.uint8:
        results["im2uint8(double)"] = im2uint8(np.clip(imresize(reference.input, **how), 0, 1))
    else:
        image = reference.input if reference.input.dtype == np.float64 else im2double(reference.input)
        results["double"] = imresize(image, **how)
    verdicts = [_judge(reference, arithmetic, result) for arithmetic, result in results.items()]
    return min(verdicts, key=lambda v: (not v.passed, v.differ))


def _judge(reference: Reference, arithmetic: str, result: NDArray[np.generic]) -> Verdict:
    wanted = reference.output
    with np.errstate(over="ignore", invalid="ignore"):  # a stranger's values
        error = np.abs(result.astype(np.float64) - wanted.astype(np.float64))
    difference = float(error.max())
    relative = difference / max(float(np.abs(wanted.astype(np.float64)).max()), np.finfo(np.float64).tiny)
    differ = int((result != wanted).sum())
    # float32 is what patch files hold
    with np.errstate(over="ignore"):
        single = int((result.astype(np.float32) != wanted.astype(np.float32)).sum())
    passed = differ == 0 if wanted.dtype == np.uint8 else bool(relative <= TOLERANCE)
    return Verdict(
        reference.name, reference.source, arithmetic, difference, relative, differ, single, wanted.size, passed
    )


def _say_size(reference: Reference, shape: tuple[int, ...]) -> Verdict:
    arithmetic, count = "uint8" if reference.output.dtype == np.uint8 else "double", reference.output.size
    note = f"size {_format_shape(shape)}, the reference has {_format_shape(reference.output.shape)}"
    return Verdict(
        reference.name, reference.source, arithmetic, math.inf, math.inf, count, count, count, False, note
    )  # fmt: skip


def _format_shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def read_references(path: Path | str) -> Iterator[Reference]:
    """References of a .json or .mat file, or of a folder: its pictures, and the .json and .mat files in it.

    Raises
    ------
    ReferenceFileError
        Nothing to compare, or something unreadable.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".json", ".mat"))
        found = 0
        for reference in _read_pictures(path):
            found += 1
            yield reference
        for file in files:
            found += 1
            yield from read_references(file)
        if not found:
            raise ReferenceFileError(
                f"{path}: nothing to compare; it needs pictures such as a.png beside a_down_x2.png, or a .mat or .json"
            )
    elif not path.exists():
        raise ReferenceFileError(f"{path}: no such file or folder")
    elif path.suffix.lower() == ".json":
        yield from _read_json(path)
    elif path.suffix.lower() == ".mat":
        yield from _read_mat(path)
    else:
        raise ReferenceFileError(f"{path}: a reference is a folder of pictures, a .mat or a .json")


def read_shipped() -> Iterator[Reference]:
    """The references that come with the package."""
    for name in ("matlab_matrices.json", "exact.json"):
        yield from _read_json(find_fixtures() / name)


def _make_reference(name: str, source: str, fields: dict[str, object], inputs: dict[str, object]) -> Reference:
    """A reference from the fields of a JSON case or a MATLAB struct."""
    raw = fields["input"]
    given = inputs[raw] if isinstance(raw, str) else raw
    kind = fields.get("class")
    arrays = []
    for value in (given, fields["output"]):
        array = np.asarray(value)
        if kind is None and array.dtype == np.uint8:
            arrays.append(array)
        else:
            wide = array.astype(np.float64)
            if kind == "uint8" and not ((wide >= 0) & (wide <= 255) & (wide % 1 == 0)).all():
                raise ValueError("values outside 0…255 in a uint8 matrix")
            arrays.append(wide.astype(np.uint8) if kind == "uint8" else wide)  # safe: checked just above
    size, scale = fields.get("size"), fields.get("scale")
    numbers = np.ravel(np.asarray(size if size is not None and np.size(size) else scale, dtype=np.float64))
    if not 1 <= len(numbers) <= 2 or not np.isfinite(numbers).all() or (numbers <= 0).any():
        raise ValueError("needs a scale or a size, one or two positive numbers")
    if size is not None and np.size(size) and (numbers % 1).any():
        raise ValueError(f"size must be whole numbers; got {numbers.tolist()}")
    method = str(fields.get("method", "bicubic"))
    common = {
        "name": name,
        "source": source,
        "input": arrays[0],
        "output": arrays[1],
        "method": _ALIASES.get(method, method),
        "antialias": bool(np.all(fields.get("antialias", True))),
    }
    if size is not None and np.size(size):
        return Reference(size=(int(numbers[0]), int(numbers[-1])), **common)  # type: ignore[arg-type]
    return Reference(scale=(float(numbers[0]), float(numbers[-1])), **common)  # type: ignore[arg-type]


def _read_json(path: Path) -> Iterator[Reference]:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"over {MAX_JSON >> 20} MiB")
        content = json.loads(path.read_text(encoding="utf-8"))
        cases, inputs = content["cases"], content.get("inputs", {})
        if not cases:
            raise ValueError("it holds no case")
        for case in cases:
            yield _make_reference(str(case["name"]), path.name, case, inputs)
    except OSError as error:
        raise ReferenceFileError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise ReferenceFileError(f"{path}: not a file of references ({reason}); see fixtures/README.md") from None


def _read_mat(path: Path) -> Iterator[Reference]:
    try:
        content = read_mat(path, ("cases", *_FIELDS))
    except MatFileError as error:
        raise ReferenceFileError(f"{path}: {error}") from None
    except OSError as error:
        raise ReferenceFileError(f"{path}: {error.strerror or error}") from None
    try:
        structs = content.get("cases", [content])  # without, one case, its fields as plain variables
        if isinstance(structs, list) and not structs:
            raise ValueError("it holds no case")
        for number, fields in enumerate(structs if isinstance(structs, list) else [{}], 1):
            if "input" not in fields or "output" not in fields:
                raise ValueError("it holds neither a struct array 'cases' nor the variables 'input' and 'output'")
            texts = {key: fields[key] for key in ("name", "method") if isinstance(fields.get(key), str)}
            plain = {key: np.array(value) if isinstance(value, str) else value for key, value in fields.items()}
            name = texts.get("name") or f"{path.stem} {number}"
            yield _make_reference(name, path.name, {**plain, "method": texts.get("method") or "bicubic"}, {})
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ReferenceFileError(
            f"{path}: not a file of references ({reason}); see fixtures/make_reference.m"
        ) from None


def _read_pictures(folder: Path) -> Iterator[Reference]:
    """Pair each picture with the input it was made from.

    The input of ``baboon_down_x2_matlab.png`` is ``baboon.png``; of ``lena_123x234_uint8.png`` it is
    ``lena_512x512.png``, whose name ends in its own size. The scale comes from the name (x2, and down or a smaller
    picture for 1/2), else from the sizes.
    """
    try:
        images = {path.stem: (path.name, read_image(path)) for path in list_images(folder)}
    except FileNotFoundError:
        return
    except ImageError as error:
        raise ReferenceFileError(str(error)) from None
    bases: dict[str, str] = {}  # what an input's children begin with -> its stem
    for stem, (_, image) in sorted(images.items(), key=lambda item: item[1][1].size):
        own_size = f"_{image.shape[0]}x{image.shape[1]}"
        bases[stem.removesuffix(own_size)] = stem  # the largest picture of a base wins
    bases.update({stem: stem for stem in images})
    for stem, (file_name, output) in sorted(images.items()):
        parents = [b for b, parent in bases.items() if parent != stem and re.match(re.escape(b) + r"[_\-x]", stem)]
        if parents:
            yield _pair_pictures(images[bases[max(parents, key=len)]], (file_name, output), folder)


def _pair_pictures(
    parent: tuple[str, NDArray[np.uint8]], child: tuple[str, NDArray[np.uint8]], folder: Path
) -> Reference:
    (parent_name, image), (name, output) = parent, child
    if image.ndim != output.ndim:
        raise ReferenceFileError(f"{folder}: {parent_name} and {name} must both be grey or both RGB")
    factor = re.search(r"x(\d+(?:\.\d+)?)(?![\dx])", Path(name).stem.removeprefix(Path(parent_name).stem))
    if factor and 0 < float(factor[1]) <= min(image.shape[:2]):
        down = output.shape[0] < image.shape[0]
        scale = 1 / float(factor[1]) if down else float(factor[1])
        whole = float(factor[1]).is_integer()
        for source in (image, modcrop(image, int(float(factor[1]))) if down and whole else image):
            if tuple(math.ceil(scale * n) for n in source.shape[:2]) == output.shape[:2]:
                return Reference(name, folder.name, source, output, scale=scale)
    return Reference(name, folder.name, image, output, size=(output.shape[0], output.shape[1]))


def check_baseline(test_set: TestSet) -> list[Verdict]:
    """The bicubic scores of a test set against the published ones, at their printed precision."""
    verdicts = []
    for scale in SCALES:
        score = evaluate(BICUBIC, test_set, scale, ["float"])[0][0]
        if score.published_psnr is None or score.published_ssim is None:
            continue
        wrong = (
            f"{score.psnr:.2f}" != f"{score.published_psnr:.2f}",
            f"{score.ssim:.4f}" != f"{score.published_ssim:.4f}",
        )
        verdicts.append(
            Verdict(
                name=f"bicubic on {score.set} x{scale}",
                source="published_scores.csv",
                arithmetic="double",
                difference=abs(score.psnr - score.published_psnr),
                relative=abs(score.psnr - score.published_psnr) / score.published_psnr,
                differ=sum(wrong),
                differ_single=sum(wrong),
                values=2,
                passed=not any(wrong),
                note=f"{score.psnr:.2f} dB / {score.ssim:.4f}, "
                f"published {score.published_psnr:.2f} / {score.published_ssim:.4f}"
                + ("" if score.registered else "; these are not the authors' files"),
            )
        )
    return verdicts


def format_verdict(verdict: Verdict) -> str:
    """One line: verdict, name, largest difference, values that differ."""
    facts = verdict.note or (
        f"largest difference {verdict.difference:.2g} ({verdict.relative:.1g} relative), "
        f"{verdict.differ} of {verdict.values} values differ, {verdict.differ_single} as float32"
    )
    return f"{'ok  ' if verdict.passed else 'FAIL'}  {verdict.source}: {verdict.name} [{verdict.arithmetic}]  {facts}"
