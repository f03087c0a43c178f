"""Networks in files: weights with what made them, and the authors' own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from idn_data.recipe import SCALES
from idn_data.weightfile import read_tensors, write_tensors
from idn_train.network import IDN

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1  # of the weight file; raised when an older reader would misread it


def save_weights(
    path: Path | str, network: IDN, metadata: Mapping[str, Any] | None = None, *, force: bool = False
) -> None:
    """Write the weights of a network as float32, whole or not at all; errors as `idn_data.weightfile.write_tensors`.

    `metadata` says what made them (recipe, digest of the data, scores); ``format`` and ``scale`` are added.
    """
    given = dict(metadata or {})
    if reserved := sorted({"format", "scale"} & given.keys()):
        raise ValueError(f"metadata must not set {', '.join(reserved)}: the network decides; leave it out")
    # float32 is what the network computes in; the copies are contiguous, as the format asks
    tensors = {name: t.detach().float().cpu().contiguous().numpy() for name, t in network.state_dict().items()}
    write_tensors(path, tensors, {**given, "format": FORMAT, "scale": network.scale}, force=force)


def load_weights(path: Path | str) -> tuple[IDN, dict[str, Any]]:
    """Read a file of `save_weights`: the network, on the CPU, float32, in evaluation mode, and the metadata.

    Raises
    ------
    ValueError
        As `idn_data.weightfile.read_tensors`; and for a file that does not hold the weights of an IDN.
    """
    tensors, metadata = read_tensors(path)
    version, scale = metadata.get("format"), metadata.get("scale")
    if version is None or scale is None:
        raise ValueError(f"{path}: not a weight file of idn; use one that 'idn train' or 'idn import-caffe' wrote")
    if version != FORMAT:
        raise ValueError(f"{path}: weight format {version!r}, this version reads {FORMAT}; install a newer idn")
    if scale not in SCALES or not isinstance(scale, int):
        raise ValueError(f"{path}: scale {scale!r} is none of {', '.join(map(str, SCALES))}; make the file again")
    network = IDN(scale)
    expected = {name: list(t.shape) for name, t in network.state_dict().items()}
    found = {name: list(array.shape) for name, array in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"{path}: tensor {name!r} has shape {found.get(name, 'none: it is missing')}, IDN's is "
                f"{expected.get(name, 'none: it has no such tensor')}; use a file that 'idn train' wrote"
            )
    if wrong := [f"{name} {array.dtype}" for name, array in tensors.items() if array.dtype != "float32"]:
        raise ValueError(f"{path}: tensor {wrong[0]} is not float32; convert it to float32 first")
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    return network.eval(), metadata


def load_caffemodel(path: Path | str, scale: int | None = None) -> IDN:
    """Build the network of one of the authors' .caffemodel files: on the CPU, float32, in evaluation mode.

    `scale`, one of 2, 3, 4, is for a file that does not say its own.

    Raises
    ------
    ValueError
        As `idn_data.caffe.read_caffemodel`, which reads it; and where the scale is unknown, or another than `scale`.
    """
    from idn_data.caffe import read_caffemodel

    said, layers = read_caffemodel(path)
    if (scale := scale or said) is None:
        raise ValueError(f"{path}: does not say its scale; give it, one of {', '.join(map(str, SCALES))}")
    if said not in (None, scale):
        raise ValueError(f"{path}: made for scale {said}, not {scale}; name the file of the scale you want")
    network = IDN(scale)
    arrays = (torch.from_numpy(array) for layer in layers.values() for array in layer)  # in the order of IDN's own
    network.load_state_dict(dict(zip(network.state_dict(), arrays, strict=True)))
    return network.eval()
