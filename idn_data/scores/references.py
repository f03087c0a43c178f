"""Reading references: what MATLAB's functions returned, or exact arithmetic by their rules, to compare ours with.

They come as JSON (``fixtures/*.json``), as a .mat written by ``fixtures/make_reference.m``, or as a folder of pictures
in which each input lies beside what MATLAB made of it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.images.sets import find_fixtures
from idn_data.matlab.matfile import MatFileError, read_mat
from idn_data.scores.call import Call, find_output_class
from idn_data.scores.reference import CLASSES, EXACT, MATLAB, Reference, ReferenceFileError
from idn_data.scores.referencepictures import read_pictures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

MAX_JSON = 16 << 20  # bytes

SHIPPED = ("matlab_matrices.json", "matlab_corners.json", "exact.json", "matlab_calls.json", "exact_calls.json")

_FIELDS = ("name", "input", "output", "scale", "size", "method", "antialias", "class", "boundary")


def read_references(path: Path | str) -> Iterator[Reference | Call]:
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
        for reference in read_pictures(path):
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


def read_shipped() -> Iterator[Reference | Call]:
    """The references that come with the package."""
    for name in SHIPPED:
        yield from _read_json(find_fixtures() / name)


def _make_array(value: object, kind: object) -> NDArray[np.generic]:
    """A matrix of MATLAB's class `kind`; without one, of its own class if MATLAB has it, else double."""
    array = np.asarray(value)
    if kind is None:
        return array if array.dtype.name in CLASSES.values() else array.astype(np.float64)
    if not isinstance(kind, str) or kind not in CLASSES:
        raise ValueError(f"unknown class {str(kind)[:40]!r}; one of {', '.join(CLASSES)}")
    dtype = np.dtype(CLASSES[kind])
    wide = array.astype(np.float64)
    if dtype.kind in "uib":
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        with np.errstate(invalid="ignore"):  # the remainder of an infinity
            whole = (wide >= low) & (wide <= high) & (wide % 1 == 0)
        if not whole.all():
            raise ValueError(f"values outside {low}…{high} in a {kind} matrix")
    with np.errstate(over="ignore"):  # a stranger's values
        return wide.astype(dtype)  # safe: checked just above, and single is what it says


def _make_reference(name: str, source: str, fields: dict[str, Any], content: dict[str, Any]) -> Reference:
    """A reference from the fields of a JSON case or a MATLAB struct; content : `inputs` by name, and the `origin`."""
    raw = fields["input"]
    given = content["inputs"][raw] if isinstance(raw, str) else raw
    kind = fields.get("class")
    size, scale = fields.get("size"), fields.get("scale")
    numbers = np.ravel(np.asarray(size if size is not None and np.size(size) else scale, dtype=np.float64))
    if not 1 <= len(numbers) <= 2 or not np.isfinite(numbers).all() or (numbers <= 0).any():
        raise ValueError("needs a scale or a size, one or two positive numbers")
    if size is not None and np.size(size) and (numbers % 1).any():
        raise ValueError(f"size must be whole numbers; got {numbers.tolist()}")
    origin, antialias = content.get("origin", MATLAB), fields.get("antialias")
    boundary = fields.get("boundary") or ("symmetric" if origin == EXACT else None)
    common: dict[str, Any] = {
        "name": name,
        "source": source,
        "input": _make_array(given, kind),
        "output": _make_array(fields["output"], kind),
        "method": str(fields.get("method", "bicubic")),
        "antialias": None if antialias is None or not np.size(antialias) else bool(np.all(antialias)),
        "boundary": boundary if boundary is None else str(boundary),
        "corner": bool(fields.get("corner", False)),
        "function": str(fields.get("function", "imresize")),
        "origin": origin,
    }
    if size is not None and np.size(size):
        return Reference(size=(int(numbers[0]), int(numbers[-1])), **common)
    return Reference(scale=(float(numbers[0]), float(numbers[-1])), **common)


def _make_call(name: str, source: str, fields: dict[str, Any], origin: str, typed: bool) -> Call:
    """A call from the fields of a JSON item or a MATLAB struct; `typed` arrays are of their classes already."""
    function = fields["f"]
    kind = kind if isinstance(kind := fields.get("class"), str) and kind else "double"
    if not isinstance(function, str):
        raise ValueError("'f' must be the name of a function")
    second = kind if function in ("psnr", "ssim") else "double"
    kinds: tuple[str | None, ...] = (kind, second, "double", find_output_class(function, kind))
    if typed:  # but logical, which a .mat is read without
        kinds = ("logical" if kind == "logical" else None, None, None, None)
    given = [fields.get(key) for key in "abc"]
    while given and _is_nothing(given[-1]):
        given.pop()
    if any(value is None for value in given):
        raise ValueError("an argument before the last one is missing, or neither numbers nor text")
    arguments = [v if isinstance(v, str) else _make_matrix(v, kind) for v, kind in zip(given, kinds, strict=False)]
    output = _make_matrix(fields["output"], kinds[3])
    return Call(name, source, function, tuple(arguments), output, bool(fields.get("corner", False)), origin)


def _is_nothing(value: object) -> bool:
    """Whether an argument was not given; in MATLAB it is []."""
    return value is None or (not value if isinstance(value, str) else not np.size(value))  # type: ignore[arg-type]  # an array or a list


def _make_matrix(value: object, kind: str | None) -> NDArray[np.generic]:
    """An array of two dimensions or more: a number is 1×1, as in MATLAB."""
    return np.atleast_2d(_make_array(value, kind))


def _read_json(path: Path) -> Iterator[Reference | Call]:
    try:
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"over {MAX_JSON >> 20} MiB")
        content = json.loads(path.read_text(encoding="utf-8"))
        cases = content.get("cases", []) if "calls" in content else content["cases"]
        calls = content.get("calls", [])
        origin = EXACT if content.get("exact") is True else MATLAB
        if not cases and not calls:
            raise ValueError("it holds no case")
        for case in cases:
            yield _make_reference(
                str(case["name"]), path.name, case, {"inputs": content.get("inputs", {}), "origin": origin}
            )
        for call in calls:
            yield _make_call(str(call["name"]), path.name, call, origin, typed=False)
    except OSError as error:
        raise ReferenceFileError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise ReferenceFileError(f"{path}: not a file of references ({reason}); see fixtures/README.md") from None


def _read_mat(path: Path) -> Iterator[Reference | Call]:
    try:
        content = read_mat(path, ("cases", "calls", *_FIELDS))
    except MatFileError as error:
        raise ReferenceFileError(f"{path}: {error}") from None
    except OSError as error:
        raise ReferenceFileError(f"{path}: {error.strerror or error}") from None
    try:
        calls = content.pop("calls", [])
        if not isinstance(calls, list) or not all("f" in call and "output" in call for call in calls):
            raise ValueError("'calls' must be a struct array with the fields 'f' and 'output'")
        structs = content.get("cases", [] if calls else [content])  # without, one case, its fields as plain variables
        if isinstance(structs, list) and not structs and not calls:
            raise ValueError("it holds no case")
        for number, fields in enumerate(structs if isinstance(structs, list) else [{}], 1):
            if "input" not in fields or "output" not in fields:
                raise ValueError("it holds neither a struct array 'cases' nor the variables 'input' and 'output'")
            texts = {key: value for key in ("method", "class", "boundary") if isinstance(value := fields.get(key), str)}
            plain = {key: np.array(value) if isinstance(value, str) else value for key, value in fields.items()}
            for key in ("class", "boundary"):
                plain.pop(key, None)
            name = fields["name"] if isinstance(fields.get("name"), str) else f"{path.stem} {number}"
            yield _make_reference(name, path.name, {**plain, "method": "bicubic", **texts}, {})
        for number, fields in enumerate(calls, 1):
            name = fields["name"] if isinstance(fields.get("name"), str) else f"{path.stem} call {number}"
            yield _make_call(name, path.name, fields, MATLAB, typed=True)
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ReferenceFileError(
            f"{path}: not a file of references ({reason}); see fixtures/make_reference.m"
        ) from None
