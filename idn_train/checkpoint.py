"""Networks in files: weights with what made them, IDN's, the user's own, and the authors'."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from idn_data.patches.recipe import SCALES
from idn_train.architecture import list_shapes
from idn_train.network import IDN, build_network
from idn_train.owncode import digest_spec, label_network
from idn_train.ownnetwork import OwnNetwork, load_network
from idn_train.weightfile import (
    FORMAT,
    MAX_BYTES,
    MAX_OWN_BYTES,
    check_tensors,
    read_any_weights,
    tidy_name,
    write_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from idn_train.ownnetwork import Network
    from idn_train.weightfile import Weights

_LOG = logging.getLogger(__name__)  # without a handler, warnings go to standard error
_RESERVED = {"format", "scale", "network", "network_sha256", "channels", "parameters"}


def save_weights(
    path: Path | str, network: Network, metadata: Mapping[str, Any] | None = None, *, force: bool = False
) -> None:
    """Write the weights of a network, whole or not at all; errors as `idn_train.weightfile.write_tensors`.

    IDN's are written as float32, those of a network of one's own in the types of its state, with its buffers.
    `metadata` says what made them (recipe, digest of the data, scores). ``format`` and ``scale`` are added; for a
    network of one's own also ``network``, ``network_sha256`` (of its file), ``channels`` and ``parameters``.
    """
    given = dict(metadata or {})
    if reserved := sorted(_RESERVED & given.keys()):
        raise ValueError(f"metadata must not set {', '.join(reserved)}: the network decides; leave it out")
    facts: dict[str, Any] = {"format": FORMAT, "scale": network.scale}
    if isinstance(network, OwnNetwork):
        count = sum(p.numel() for p in network.parameters())
        facts |= {"network": network.label, "network_sha256": network.digest, "channels": network.channels}
        facts["parameters"] = count
        state = network.body.state_dict()
    else:  # float32 is what IDN computes in
        state = {name: t.float() for name, t in network.state_dict().items()}
    tensors = {name: t.detach().cpu().contiguous().numpy() for name, t in state.items()}  # as the format asks
    write_tensors(path, tensors, {**given, **facts}, force=force)


def load_weights(path: Path | str, networks: Sequence[str] = ()) -> tuple[Network, dict[str, Any]]:
    """Read a file of `save_weights`, or a run's state: the network, on the CPU, in evaluation mode, and the metadata.

    Parameters
    ----------
    path : path
    networks : sequence of str
        Networks of one's own that weights may be of, each ``FILE.py:NAME`` or ``package.module:NAME``. The code of one
        is run only where the file holds weights of its name; of several of one name, see `choose_spec`. Weights of IDN
        need none.

    Returns
    -------
    network : IDN or OwnNetwork
    metadata : dict

    Raises
    ------
    ValueError
        As `idn_train.weightfile.read_any_weights`; and for weights of a network that is not named, or whose tensors
        are others than its code makes.
    NetworkError
        As `idn_train.ownnetwork.load_network`.
    """
    weights = read_any_weights(path, MAX_OWN_BYTES if networks else MAX_BYTES)
    if weights.network == "idn":
        return build_network(weights.scale, weights.tensors), weights.metadata
    return build_own_network(path, weights, choose_spec(path, weights, networks)), weights.metadata


def choose_spec(path: Path | str, weights: Weights, networks: Sequence[str]) -> str:
    """Which of the networks some weights are of: that of their name; of several of it, that whose code made them.

    Raises
    ------
    ValueError
        None of the name; or several, and none of them made the weights.
    NetworkError
        The file of one of several cannot be read.
    """
    labels = {spec: label_network(spec) for spec in networks}
    fits = [spec for spec, label in labels.items() if label == weights.network]
    if not fits:
        given = f", not of {', '.join(dict.fromkeys(labels.values()))}" if labels else ""
        raise ValueError(f"{path}: weights of network {tidy_name(weights.network)}{given}; give --network FILE.py:NAME")
    if len(fits) == 1:
        return fits[0]
    codes = {digest_spec(spec): spec for spec in fits}  # files of several folders: modules of one label are one
    made = codes.get(str(weights.metadata.get("network_sha256")), fits[0] if len(codes) == 1 else None)
    if made is None:
        raise ValueError(f"{path}: none of {', '.join(fits)} is the code that made these weights; give one --network")
    return made


def load_own_weights(path: Path | str, networks: Sequence[str]) -> OwnNetwork:
    """As `load_weights`, of a network of one's own alone; ValueError for weights of IDN."""
    network, _ = load_weights(path, networks)
    if not isinstance(network, OwnNetwork):
        raise ValueError(
            f"{path}: weights of IDN, not of {', '.join(map(label_network, networks))}; leave out --network"
        )
    return network


def build_own_network(path: Path | str, weights: Weights, spec: str) -> OwnNetwork:
    """The network that a spec names with weights from a file; errors as `load_weights`."""
    network = load_network(spec, weights.scale, weights.channels)
    wanted = {n: (t.shape, str(t.dtype).removeprefix("torch.")) for n, t in network.body.state_dict().items()}
    try:
        check_tensors(weights.tensors, wanted, network.label)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if weights.metadata.get("network_sha256") != network.digest:
        _LOG.warning("%s: %s was another when these weights were made; scores may differ", path, network.label)
    network.body.load_state_dict({name: torch.from_numpy(array) for name, array in weights.tensors.items()})
    return network.eval()


def average_weights(paths: Sequence[Path | str], networks: Sequence[str] = ()) -> tuple[Network, dict[str, Any]]:
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
    members, scale, kind, digest = [], None, "", None
    for path in paths:
        network, metadata = load_weights(path, networks)
        if scale not in (None, network.scale):
            raise ValueError(f"{path}: made for scale {network.scale}, not {scale} as {paths[0]}; average one scale")
        mine = _describe(network)
        if kind not in ("", mine):
            raise ValueError(f"{path}: weights of {mine}, not of {kind} as {paths[0]}; average those of one network")
        if digest not in (None, getattr(network, "digest", None)):
            raise ValueError(f"{path}: weights of another {mine} than {paths[0]}; average those of one network")
        scale, kind, digest = network.scale, mine, getattr(network, "digest", None)
        for name, tensor in network.state_dict().items():
            total[name] = total.get(name, 0.0) + tensor.double()
        kept = {k: v for k, v in metadata.items() if k not in _RESERVED}
        members.append({**kept, "file": Path(path).name, "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()})
    # each type is safe: a mean lies between its numbers
    state = network.state_dict()
    network.load_state_dict({name: (tensor / len(paths)).to(state[name].dtype) for name, tensor in total.items()})
    return network, {"mean_of": members}


def _describe(network: Network) -> str:
    return f"{network.label}, {network.channels} channels" if isinstance(network, OwnNetwork) else "IDN"


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
