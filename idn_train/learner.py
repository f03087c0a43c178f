"""A network with what moves it, and one step of its training."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from idn_train.checkpoint import load_weights
from idn_train.graph import CapturedStep
from idn_train.loss import compute_loss
from idn_train.network import IDN
from idn_train.optimizer import blend_weights, make_optimizers, set_rates
from idn_train.ownnetwork import OwnNetwork, check_sr, load_network

if TYPE_CHECKING:
    from pathlib import Path

    from idn_train.config import Config, Loss, Precision
    from idn_train.ownnetwork import Network

Advance = Callable[[Tensor, Tensor], Tensor]  # LR and GT of a batch to its loss; the weights follow


@dataclass(frozen=True)
class Learner:
    """A network, its optimizers, and the moving mean of its weights."""

    network: Network
    optimizers: list[torch.optim.Optimizer]
    averaged: AveragedModel | None
    share: Tensor  # of the newest weights in their mean, a scalar on the device
    seed: int = 0
    rank: int = 0  # of this process among those that train together

    @property
    def kept(self) -> Network:
        """The network that is validated and saved."""
        return cast("Network", self.averaged.module) if self.averaged else self.network  # a copy of the network

    def set_rate(self, rate: float, average: float, step: int) -> None:
        """Before a step (from 0): the part of the full rates, 0…1, and the decay of the mean of weights.

        The mean is over a ninth of the steps so far, until `average` is longer. What a network of one's own draws in a
        step, such as its dropout, follows from seed, step and process: PyTorch's generators are set anew.
        """
        if isinstance(self.network, OwnNetwork):
            torch.manual_seed((self.seed * 1_000_003 + step) * 1024 + self.rank)
        set_rates(self.optimizers, rate)
        self.share.fill_(1 - min(average, (1 + step) / (10 + step)) if step else 1.0)


def make_learner(config: Config, device: torch.device, init: Path | None = None, captured: bool = False) -> Learner:
    """Make the network, draw or load its first weights, and make what moves them.

    Parameters
    ----------
    config : Config
    device : device
    init : path, optional
        Weights to start from, see `copy_weights`.
    captured : bool
        Whether the step becomes a CUDA graph.

    Returns
    -------
    Learner

    Raises
    ------
    ValueError
        `init` is not a sound file of weights of this network.
    NetworkError
        As `idn_train.ownnetwork.load_network`.
    """
    network = make_network(config)
    if init is not None:
        copy_weights(network, init, config.network)
    network.to(device).train()
    optimizers = make_optimizers(network, config, captured)
    averaged = AveragedModel(network) if config.average else None
    rank = int(os.environ.get("RANK", "0"))
    return Learner(network, optimizers, averaged, torch.ones((), device=device), config.seed, rank)


def make_network(config: Config) -> Network:
    """The network of a run, on the CPU, with its first weights; NetworkError as `load_network`."""
    if config.network != "idn":
        return load_network(config.network, config.scale, config.channels, config.seed)
    network = IDN(config.scale)
    network.reset_parameters(torch.Generator().manual_seed(config.seed), config.reconstruction_std or None)
    return network


def copy_weights(network: Network, path: Path, spec: str = "idn") -> None:
    """Start from a file's weights of the same network, which `spec` names.

    Of another scale, an IDN takes all but the transposed convolution, another network what has its names and shapes.
    """
    source, _ = load_weights(path, () if spec == "idn" else (spec,))
    if type(source) is not type(network):
        raise ValueError(f"{path}: weights of IDN, not of {spec}; name weights of that network by --init")
    weights, own = source.state_dict(), network.state_dict()
    if isinstance(source, OwnNetwork) and isinstance(network, OwnNetwork) and source.channels != network.channels:
        raise ValueError(f"{path}: weights for {source.channels} channels, not {network.channels}; give --channels")
    if source.scale != network.scale:
        weights = {k: v for k, v in weights.items() if k in own and v.shape == own[k].shape}
        weights = {k: v for k, v in weights.items() if not (isinstance(network, IDN) and k.startswith("upsample."))}
    network.load_state_dict(weights, strict=False)


def make_step(
    learner: Learner, config: Config, loss: Loss | None = None, *, world: int = 1, compiled: bool = False
) -> Advance:
    """The function that does one step of a training.

    Parameters
    ----------
    learner : Learner
    config : Config
    loss : str, optional
        Of the step, instead of the configuration's.
    world : int
        Processes that train together, each on its part of a batch.
    compiled : bool
        Through `torch.compile`; on one GPU, with the whole step as one CUDA graph.

    Returns
    -------
    callable(lr, gt) -> loss
        (n, c, p, p) and (n, c, s·p, s·p) float32 to a scalar.
    """
    network, averaged = learner.network, learner.averaged
    device = learner.share.device
    own = isinstance(network, OwnNetwork)
    model: Any = network
    if world > 1:  # a network of one's own may leave weights out of a step
        model = nn.parallel.DistributedDataParallel(network, find_unused_parameters=own)
    if compiled:
        model = torch.compile(model)
    kind = loss or config.loss

    def advance(lr: Tensor, gt: Tensor) -> Tensor:
        places = list_buffers(network) if own else []
        sr = compute_sr(model, network, lr, config.precision)  # (n, c, p, p) to (n, c, s·p, s·p)
        lost = compute_loss(sr, gt, kind)  # a scalar
        lost.backward()  # type: ignore[no-untyped-call]  # torch's own is not annotated
        settle_buffers(places)
        if config.clip:  # one patch that the network answers wildly would else point Muon's momentum for 60 steps
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        for optimizer in learner.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if averaged:
            blend_weights(averaged.module, network, learner.share)
            if own:
                copy_buffers(averaged.module, network)
            averaged.n_averaged.add_(1)
        lost = lost.detach()
        if world > 1:  # of the whole batch, not of this process's part
            torch.distributed.all_reduce(lost)
            lost /= world
        return lost

    return CapturedStep(advance) if is_captured(device, world, compiled, config.network) else advance


def compute_sr(model: Any, network: Network, lr: Tensor, precision: Precision) -> Tensor:
    """SR of a batch by a network, or by what computes it faster.

    Parameters
    ----------
    model : callable
        The network, as it is, compiled, or one of several processes'.
    network : IDN or OwnNetwork
    lr : (n, c, p, p) tensor
    precision : {"float32", "bf16"}

    Returns
    -------
    Tensor
        (n, c, s·p, s·p).

    Raises
    ------
    NetworkError
        A network of one's own fails on this batch, or makes SR of another size.
    """
    with torch.autocast(lr.device.type, torch.bfloat16, enabled=precision == "bf16"):
        if not isinstance(network, OwnNetwork):
            return cast("Tensor", model(lr))
        with network.explain():
            sr = model(lr)
            check_sr(network, lr, sr)
            return cast("Tensor", sr)


def try_step(network: Network, config: Config, lr: Tensor, gt: Tensor) -> None:
    """Compute the gradients of a batch by all losses of a run; its weights stay.

    Raises
    ------
    NetworkError
        As `compute_sr`.
    ValueError
        As `compute_loss`.
    """
    sr = compute_sr(network, network, lr, config.precision)
    losses = [compute_loss(sr, gt, kind) for kind in (config.loss, config.last_loss or config.loss)]
    with network.explain() if isinstance(network, OwnNetwork) else contextlib.nullcontext():
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]  # torch's own is not annotated


def list_buffers(network: nn.Module) -> list[tuple[nn.Module, str, Tensor]]:
    """All buffers of a network: whose, their name, and the tensor where they lie now."""
    return [(module, name, b) for module in network.modules() for name, b in module.named_buffers(recurse=False)]


@torch.no_grad()
def settle_buffers(places: list[tuple[nn.Module, str, Tensor]]) -> None:
    """Bring what `forward` assigned anew (``self.mean = …``) to where the buffer lay before.

    There a CUDA graph reads it in every step, and several processes share it from there. One that has another shape or
    type now stays where it is.
    """
    for module, name, buffer in places:
        newest = getattr(module, name, None)
        if newest is not buffer and _are_alike(newest, buffer):
            buffer.copy_(newest)
            setattr(module, name, buffer)


@torch.no_grad()
def copy_buffers(mean: nn.Module, network: nn.Module) -> None:
    """Give the moving mean of a network its newest buffers: statistics of a BatchNorm are means already."""
    for kept, module in zip(mean.modules(), network.modules(), strict=True):
        for name, newest in module.named_buffers(recurse=False):
            buffer = getattr(kept, name, None)
            if _are_alike(buffer, newest):
                buffer.copy_(newest)
            else:
                setattr(kept, name, newest.clone())


def _are_alike(a: Any, b: Tensor) -> TypeGuard[Tensor]:
    return isinstance(a, Tensor) and (a.shape, a.dtype) == (b.shape, b.dtype)


def is_captured(device: torch.device, world: int, compiled: bool, network: str = "idn") -> bool:
    """Whether the step becomes a CUDA graph: on one GPU, compiled.

    Not that of a network of one's own: what its forward decides in Python, such as which layers to drop, would be
    decided once, and repeated in all steps.
    """
    return compiled and device.type == "cuda" and world == 1 and network == "idn"
