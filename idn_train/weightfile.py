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
from idn_data.reading import read_bounded
from idn_train.architecture import list_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

WEIGHTS = Path(__file__).parent / "weights"  # what comes along: idn_x2, _x3 and _x4.safetensors
KEY = "idn"  # the only metadata entry, JSON: safetensors writes several in random order; equal runs give equal bytes
OWN_SCALES = range(2, 9)  # of a network of the user's own
FORMAT = 1  # of the weight file; raised when an older reader would misread it
MAX_BYTES = 64 << 20  # a state has 9 MB; a bound on the memory that a hostile file can claim
MAX_OWN_BYTES = 4 << 30  # where the user named a network of their own: a state of 250 million parameters
SOURCES = "'idn train' makes weights, 'idn import-caffe' converts the authors'"


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
        there = ", ".join(map(str, shipped)) or "none"
        train = f"idn train --scale {scale} --preset express --minutes 15"
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


def read_tensors(path: Path | str, most: int = MAX_BYTES) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and metadata of a file of `write_tensors` that has at most so many bytes.

    Raises
    ------
    ValueError
        For a file that is missing, a folder, not permitted, empty, too large, of another format, cut off, damaged, from
        elsewhere, or with values that are not finite: a message for each.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    usual = "weights of IDN have about 2.2 million; those of a network of your own need --network"
    if most > MAX_BYTES:
        usual = f"more than the {most:,} that may be here; name a file of 'idn train'"
    data = read_bounded(path, most, SOURCES, usual)
    metadata = _read_metadata(_read_head(path, data))
    if metadata is None:
        raise ValueError(f"{path}: not a weight file of idn; use one that 'idn train' or 'idn import-caffe' wrote")
    try:
        tensors = load(data)
    except (SafetensorError, TypeError, KeyError, ValueError) as error:  # the last three are numpy's
        raise _report_damage(path, error) from error
    _check_finite(tensors, str(path))
    return tensors, metadata


@dataclass(frozen=True)
class Weights:
    """A network's weights as a file holds them.

    scale : of IDN 2, 3 or 4; of another network 2…8.
    tensors : of IDN float32, by the names and of the shapes of `idn_train.architecture.list_shapes`; of another network
        not checked yet, as only its own code knows them.
    metadata : what the file says of itself, "format" and "scale" among it.
    network : "idn", or the label of another, such as "espcn.py:ESPCN".
    channels : 1 for Y, 3 for RGB.
    """

    scale: int
    tensors: dict[str, NDArray[Any]]
    metadata: dict[str, Any]
    network: str = "idn"
    channels: int = 1


def read_weights(path: Path | str) -> Weights:
    """Read the weights of an IDN, from a file of `idn_train.save_weights` or a run's state.

    Of a state these are the mean of its weights, if it has one.

    Raises
    ------
    ValueError
        As `read_any_weights`; and for a file that does not hold the weights of an IDN.
    """
    weights = read_any_weights(path)
    if weights.network != "idn":
        raise ValueError(f"{path}: weights of network {tidy_name(weights.network)}; give --network FILE.py:NAME")
    return weights


def read_any_weights(path: Path | str, most: int = MAX_BYTES) -> Weights:
    """Read the weights of an IDN as `read_weights`, or those of another network, whose tensors are not checked.

    Raises
    ------
    ValueError
        As `read_tensors`; and for a file that holds no weights of idn.
    """
    tensors, metadata = read_tensors(path, most)
    if isinstance(identity := metadata.get("identity"), dict):  # a state
        network = identity.get("network", "idn")
        prefix = ("m.module." if "m.n_averaged" in tensors else "w.") + ("" if network == "idn" else "body.")
        tensors = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        kept = {name: identity[name] for name in ("network", "network_sha256", "channels") if name in identity}
        metadata = {
            "format": FORMAT, "scale": identity.get("scale"), "recipe": identity, "step": metadata.get("step"), **kept
        }  # fmt: skip
    version, scale = metadata.get("format"), metadata.get("scale")
    network, channels = metadata.get("network", "idn"), metadata.get("channels", 1)
    if version is None or scale is None:
        raise ValueError(f"{path}: not a weight file of idn; use one that 'idn train' or 'idn import-caffe' wrote")
    if version != FORMAT:
        raise ValueError(f"{path}: weight format {version!r}, this version reads {FORMAT}; install a newer idn")
    if (
        not isinstance(network, str)
        or type(channels) is not int
        or channels not in ((1,) if network == "idn" else (1, 3))
    ):
        said = f"network {repr(network)[:60]} of {repr(channels)[:20]} channels"
        raise ValueError(f"{path}: {said} is none that idn makes; make the file again")
    allowed = SCALES if network == "idn" else OWN_SCALES
    if scale not in allowed or not isinstance(scale, int):
        raise ValueError(f"{path}: scale {scale!r} is none of {', '.join(map(str, allowed))}; make the file again")
    if network != "idn":
        return Weights(scale, tensors, metadata, network, channels)
    try:
        check_tensors(tensors, {name: (shape, "float32") for name, shape in list_shapes().items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Weights(scale, tensors, metadata)


def _read_head(path: Path | str, data: bytes) -> dict[str, Any]:
    """What a safetensors file says of its tensors; ValueError unless all of them are there."""
    if data[:4] == b"PK\3\4" or data[:2] == b"\x80\2":
        raise ValueError(f"{path}: a pickle of PyTorch, which idn never loads; save its tensors as .safetensors")
    length = int.from_bytes(data[:8], "little")  # then comes JSON of so many bytes, then the tensors
    if data[8:9] not in (b"{", b"") or (len(data) <= 8 and length > MAX_BYTES):
        raise ValueError(f"{path}: not a safetensors file; use one that 'idn train' or 'idn import-caffe' wrote")
    if len(data) < 8 + length:
        raise _report_cut(path, len(data), 8 + length)
    try:
        head = json.loads(data[8 : 8 + length])
        ends = [entry["data_offsets"][1] for name, entry in head.items() if name != "__metadata__"]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _report_damage(path, error) from None
    if any(type(end) is not int for end in ends):
        raise _report_damage(path, ValueError("its tensors lie nowhere"))
    if len(data) < (whole := 8 + length + max(ends, default=0)):
        raise _report_cut(path, len(data), whole)
    return head  # type: ignore[no-any-return]  # JSON; it has items, so it is a dict


def _read_metadata(head: Mapping[str, Any]) -> dict[str, Any] | None:
    """What idn wrote into the head; None where it did not."""
    try:
        metadata = json.loads(head["__metadata__"][KEY])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return metadata if isinstance(metadata, dict) else None


def _report_cut(path: Path | str, size: int, whole: int) -> ValueError:
    return ValueError(f"{path}: cut off: {size:,} of {whole:,} bytes; copy it or make it again")


def _report_damage(path: Path | str, error: Exception) -> ValueError:
    reason = (str(error).splitlines() or ["unreadable"])[0][:200]
    return ValueError(f"{path}: damaged ({reason}); copy it or make it again")


def tidy_name(text: str) -> str:
    """What a file calls itself as one line for a terminal or a page: printable, of at most 60 characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:60]


def check_tensors(
    found: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[Sequence[int], str]], network: str = "IDN"
) -> None:
    """Raise ValueError unless the arrays have these names, shapes and types, those of the network."""
    for name in sorted(expected.keys() | found.keys()):
        shape = list(found[name].shape) if name in found else "none: it is missing"
        wanted = list(expected[name][0]) if name in expected else "none: it has no such tensor"
        if shape != wanted:
            raise ValueError(
                f"tensor {name[:60]!r} has shape {shape}, {network}'s is {wanted}; use a file that 'idn train' wrote"
            )
        if (kind := str(found[name].dtype)) != expected[name][1]:
            raise ValueError(f"tensor {name[:60]} {kind} is not {expected[name][1]}; convert it first")


def check_facts(facts: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]) -> None:
    """Raise ValueError unless each fact is there and of one of its types; numbers below 10^15, int from 0, no NaN."""
    for name, allowed in kinds.items():
        value: Any = facts.get(name)
        number = isinstance(value, (int, float))
        if type(value) not in allowed or (number and not abs(value) < 1e15) or (type(value) is int and value < 0):
            raise ValueError(f"{name} is {repr(value)[:40]}")


def _check_finite(tensors: Mapping[str, NDArray[Any]], where: str) -> None:
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{where}: {name} holds NaN or infinity; go back to an earlier checkpoint or a lower rate")
