"""Networks in files: weights with what made them, and the authors' own."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from idn_data.patches.recipe import SCALES
from idn_train.architecture import list_shapes
from idn_train.network import IDN, build_network
from idn_train.weightfile import FORMAT, read_weights, write_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def save_weights(
    path: Path | str, network: IDN, metadata: Mapping[str, Any] | None = None, *, force: bool = False
) -> None:
    """Write the weights of a network as float32, whole or not at all; errors as `idn_train.weightfile.write_tensors`.

    `metadata` says what made them (recipe, digest of the data, scores); ``format`` and ``scale`` are added.
    """
    given = dict(metadata or {})
    if reserved := sorted({"format", "scale"} & given.keys()):
        raise ValueError(f"metadata must not set {', '.join(reserved)}: the network decides; leave it out")
    # float32 is what the network computes in; the copies are contiguous, as the format asks
    tensors = {name: t.detach().float().cpu().contiguous().numpy() for name, t in network.state_dict().items()}
    write_tensors(path, tensors, {**given, "format": FORMAT, "scale": network.scale}, force=force)


def load_weights(path: Path | str) -> tuple[IDN, dict[str, Any]]:
    """Read a file of `save_weights`, or a run's state: the network, on the CPU, in evaluation mode, and the metadata.

    Raises
    ------
    ValueError
        As `idn_train.weightfile.read_weights`.
    """
    weights = read_weights(path)
    return build_network(weights.scale, weights.tensors), weights.metadata


def average_weights(paths: Sequence[Path | str]) -> tuple[IDN, dict[str, Any]]:
    """The network whose weights are the mean of several networks', as `load_weights`, and metadata that names them.

    Fine-tunings that started from one network end near each other, often around a better one than any of them: their
    mean then scores more than each and computes no more (M. Wortsman et al., "Model soups", 2022). Of networks that
    were trained apart from the start the mean is worth nothing. It is taken in float64 and kept as float32.

    Raises
    ------
    ValueError
        As `load_weights`; and for fewer than two files, or files of different scales.
    """
    if len(paths) < 2:
        raise ValueError(f"a mean takes two weight files or more; got {len(paths)}; name another")
    total: dict[str, torch.Tensor] = {}
    members, scale = [], None
    for path in paths:
        network, metadata = load_weights(path)
        if scale not in (None, network.scale):
            raise ValueError(f"{path}: made for scale {network.scale}, not {scale} as {paths[0]}; average one scale")
        scale = network.scale
        for name, tensor in network.state_dict().items():
            total[name] = total.get(name, 0.0) + tensor.double()
        kept = {k: v for k, v in metadata.items() if k not in ("format", "scale")}
        members.append({**kept, "file": Path(path).name, "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()})
    # float32 is safe: a mean lies between its numbers
    network.load_state_dict({name: (tensor / len(paths)).float() for name, tensor in total.items()})
    return network, {"mean_of": members}


def load_caffemodel(path: Path | str, scale: int | None = None) -> IDN:
    """Build the network of one of the authors' .caffemodel files, as `load_weights`; `scale` where it does not say.

    Raises
    ------
    ValueError
        As `idn_train.caffe.read_caffemodel`, which reads it; and where the scale is unknown, or another than `scale`.
    """
    from idn_train.caffe import read_caffemodel

    said, layers = read_caffemodel(path)
    if (scale := scale or said) is None:
        raise ValueError(f"{path}: does not say its scale; give it, one of {', '.join(map(str, SCALES))}")
    if said not in (None, scale):
        raise ValueError(f"{path}: made for scale {said}, not {scale}; name the file of the scale you want")
    arrays = (array for layer in layers.values() for array in layer)  # in the order of IDN's own
    return build_network(scale, dict(zip(list_shapes(), arrays, strict=True)))
