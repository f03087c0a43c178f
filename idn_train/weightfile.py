"""Weights as safetensors: named arrays with JSON that says what made them, and those that come along.

No torch here, and nothing in a file is ever executed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.atomic import write_whole
from idn_data.patches.recipe import SCALES
from idn_train.architecture import list_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

WEIGHTS = Path(__file__).parent / "weights"  # what comes along: idn_x2, _x3 and _x4.safetensors
KEY = "idn"  # the only metadata entry, JSON: safetensors writes several in random order; equal runs give equal bytes
FORMAT = 1  # of the weight file; raised when an older reader would misread it
MAX_BYTES = 64 << 20  # a state has 9 MB; a bound on the memory that a hostile file can claim


def list_shipped() -> list[int]:
    """The scales whose weights come along."""
    return [scale for scale in SCALES if (WEIGHTS / f"idn_x{scale}.safetensors").is_file()]


def find_weights(name: Path | str, scale: int | None = None) -> Path:
    """The file of some weights: "idn" is the one that comes along for `scale`, anything else is a path.

    Raises
    ------
    ValueError
        For "idn" without a scale, or at one whose weights do not come along.
    """
    if str(name) != "idn":
        return Path(name)
    if scale not in SCALES:
        raise ValueError(f"idn is a network for each scale: give --scale, one of {', '.join(map(str, SCALES))}")
    if scale not in (shipped := list_shipped()):
        there, train = ", ".join(map(str, shipped)) or "none", f"idn train --scale {scale} --preset express"
        raise ValueError(f"no weights of scale {scale} come along (there are: {there}); make them with: {train}")
    return WEIGHTS / f"idn_x{scale}.safetensors"


def write_tensors(
    path: Path | str, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any], *, force: bool = False
) -> None:
    """Write arrays and metadata, whole or not at all; the same content gives the same bytes.

    Parameters
    ----------
    path : path
        By custom ``*.safetensors``.
    tensors : mapping of str to array
        Finite, contiguous.
    metadata : mapping
        Names to anything JSON can hold.
    force : bool
        Replace an existing file.

    Raises
    ------
    ValueError
        For values that are not finite, or metadata that JSON cannot hold.
    FileExistsError
        The file is there and `force` is false.
    """
    from safetensors.numpy import save

    try:
        text = json.dumps(dict(metadata), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"metadata is not JSON: {error}; give strings, finite numbers, lists or dicts") from error
    _check_finite(tensors, "the network")
    with write_whole(path, force) as temporary:
        temporary.write_bytes(save(dict(tensors), {KEY: text}))


def read_tensors(path: Path | str) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and metadata of a file of `write_tensors`.

    Raises
    ------
    ValueError
        For a file that is missing, too large, damaged, from elsewhere, or with values that are not finite.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; 'idn train' makes weights, 'idn import-caffe' converts the authors'")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path}: {size:,} bytes, weights of IDN have about 2.2 million; name a file of 'idn train'")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(KEY, "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:  # the last three are numpy's
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise ValueError(f"{path}: not a safetensors file, or damaged ({reason}); copy or make it again") from error
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise ValueError(f"{path}: not a weight file of idn; use one that 'idn train' or 'idn import-caffe' wrote")
    _check_finite(tensors, str(path))
    return tensors, metadata


@dataclass(frozen=True)
class Weights:
    """An IDN's weights as a file holds them.

    scale : 2, 3 or 4.
    tensors : float32, by the names and of the shapes of `idn_train.architecture.list_shapes`.
    metadata : what the file says of itself, "format" and "scale" among it.
    """

    scale: int
    tensors: dict[str, NDArray[np.float32]]
    metadata: dict[str, Any]


def read_weights(path: Path | str) -> Weights:
    """Read the weights of an IDN, from a file of `idn_train.save_weights` or a run's state.

    Of a state these are the mean of its weights, if it has one.

    Raises
    ------
    ValueError
        As `read_tensors`; and for a file that does not hold the weights of an IDN.
    """
    tensors, metadata = read_tensors(path)
    if isinstance(identity := metadata.get("identity"), dict):  # a state
        prefix = "m.module." if "m.n_averaged" in tensors else "w."
        tensors = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        metadata = {"format": FORMAT, "scale": identity.get("scale"), "recipe": identity, "step": metadata.get("step")}
    version, scale = metadata.get("format"), metadata.get("scale")
    if version is None or scale is None:
        raise ValueError(f"{path}: not a weight file of idn; use one that 'idn train' or 'idn import-caffe' wrote")
    if version != FORMAT:
        raise ValueError(f"{path}: weight format {version!r}, this version reads {FORMAT}; install a newer idn")
    if scale not in SCALES or not isinstance(scale, int):
        raise ValueError(f"{path}: scale {scale!r} is none of {', '.join(map(str, SCALES))}; make the file again")
    try:
        check_tensors(tensors, {name: (shape, "float32") for name, shape in list_shapes().items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Weights(scale, tensors, metadata)


def tidy_name(text: str) -> str:
    """What a file calls itself as one line for a terminal or a page: printable, of at most 60 characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:60]


def check_tensors(found: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[Sequence[int], str]]) -> None:
    """Raise ValueError unless the arrays have these names, shapes and types."""
    for name in sorted(expected.keys() | found.keys()):
        shape = list(found[name].shape) if name in found else "none: it is missing"
        wanted = list(expected[name][0]) if name in expected else "none: it has no such tensor"
        if shape != wanted:
            raise ValueError(
                f"tensor {name[:60]!r} has shape {shape}, IDN's is {wanted}; use a file that 'idn train' wrote"
            )
        if (kind := str(found[name].dtype)) != expected[name][1]:
            raise ValueError(f"tensor {name[:60]} {kind} is not {expected[name][1]}; convert it first")


def check_facts(facts: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> None:
    """Raise ValueError unless each fact is there and of one of its types; numbers below 10^15, int from 0, no NaN."""
    for name, allowed in kinds.items():
        value = facts.get(name)
        number = isinstance(value, (int, float))
        if type(value) not in allowed or (number and not abs(value) < 1e15) or (type(value) is int and value < 0):
            raise ValueError(f"{name} is {repr(value)[:40]}")


def _check_finite(tensors: Mapping[str, NDArray[Any]], where: str) -> None:
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{where}: {name} holds NaN or infinity; go back to an earlier checkpoint or a lower rate")
