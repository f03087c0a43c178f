"""Weights in files: safetensors, with what made them as metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from idn_data.atomic import write_whole
from idn_data.recipe import SCALES
from idn_train.network import IDN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

FORMAT = 1  # of the weight file; raised when an older reader would misread it
KEY = (
    "idn"  # the only metadata entry, JSON: safetensors writes several in random order, and equal runs give equal bytes
)


def save_weights(
    path: Path | str, network: IDN, metadata: Mapping[str, Any] | None = None, *, force: bool = False
) -> None:
    """Write the weights of a network, whole or not at all.

    Parameters
    ----------
    path : path
        The file, by custom ``*.safetensors``.
    network : IDN
        On any device; stored as float32.
    metadata : mapping, optional
        What made the weights (recipe, digest of the data, scores): names to anything JSON can hold. ``format`` and
        ``scale`` are added. The same weights and metadata give the same bytes.
    force : bool
        Replace an existing file.

    Raises
    ------
    ValueError
        For weights that are not finite, or metadata with a reserved name or that JSON cannot hold.
    FileExistsError
        The file is there and `force` is false.
    """
    given = dict(metadata or {})
    if reserved := sorted({"format", "scale"} & given.keys()):
        raise ValueError(f"metadata must not set {', '.join(reserved)}: the network decides; leave it out")
    try:
        text = json.dumps({**given, "format": FORMAT, "scale": network.scale}, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"metadata is not JSON: {error}; give strings, finite numbers, lists or dicts") from error
    # float32 is what the network computes in; the copies are contiguous, as the format asks
    tensors = {name: t.detach().float().cpu().contiguous() for name, t in network.state_dict().items()}
    _check_finite(tensors, "the network")
    with write_whole(path, force) as temporary:
        temporary.write_bytes(save(tensors, {KEY: text}))


def load_weights(path: Path | str) -> tuple[IDN, dict[str, Any]]:
    """Read a file of `save_weights`.

    Returns
    -------
    network : IDN
        On the CPU, float32, in evaluation mode.
    metadata : dict
        As given to `save_weights`, with ``format`` and ``scale``.

    Raises
    ------
    ValueError
        For a file that is missing, damaged or not a set of finite IDN weights. Nothing in it is ever executed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; 'idn train' makes weights, 'idn import-caffe' converts the authors'")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = _read_metadata(path, (file.metadata() or {}).get(KEY))
            network = IDN(metadata["scale"])
            expected = {name: list(t.shape) for name, t in network.state_dict().items()}
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a dict)
            for name in sorted(expected.keys() | found.keys()):
                if expected.get(name) != found.get(name):
                    raise ValueError(
                        f"{path}: tensor {name!r} has shape {found.get(name, 'none: it is missing')}, IDN's is "
                        f"{expected.get(name, 'none: it has no such tensor')}; use a file that 'idn train' wrote"
                    )
            tensors = {name: file.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a safetensors file, or damaged ({reason}); copy or make it again") from error
    if wrong := [f"{name} {t.dtype}" for name, t in tensors.items() if t.dtype != torch.float32]:
        raise ValueError(f"{path}: tensor {wrong[0]} is not float32; convert it to float32 first")
    _check_finite(tensors, str(path))
    network.load_state_dict(tensors)
    return network.eval(), metadata


def _read_metadata(path: Path, text: str | None) -> dict[str, Any]:
    try:
        metadata = json.loads(text or "")
        version, scale = metadata["format"], metadata["scale"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(
            f"{path}: not a weight file of idn; use one that 'idn train' or 'idn import-caffe' wrote"
        ) from None
    if version != FORMAT:
        raise ValueError(f"{path}: weight format {version!r}, this version reads {FORMAT}; install a newer idn")
    if scale not in SCALES or not isinstance(scale, int):
        raise ValueError(f"{path}: scale {scale!r} is none of {', '.join(map(str, SCALES))}; make the file again")
    return dict(metadata)


def _check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{where}: {name} holds NaN or infinity; go back to an earlier checkpoint or a lower rate")
