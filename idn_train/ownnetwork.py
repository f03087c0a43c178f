"""A network of the user's own as idn trains, saves and applies it."""

from __future__ import annotations

import contextlib
import copy
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from idn_train.owncode import NetworkError, explain_faults, label_network, open_maker
from idn_train.tensors import imresize
from idn_train.weightfile import OWN_SCALES

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from idn_data.matlab.weights import Boundary
    from idn_train.network import IDN

    Network: TypeAlias = "IDN | OwnNetwork"

CHANNELS = (1, 3)  # Y, RGB
PROBES = ((12, 9), (48, 36))  # rows and columns of the LR that a network is tried on; the second where it needs more


class OwnNetwork(nn.Module):
    """A network of the user's own, as idn trains, saves and applies it.

    Parameters
    ----------
    body : Module
        The network itself: (N, c, h, w) to (N, c, s·h, s·w).
    label : str
        Its name in weight files, "espcn.py:ESPCN".
    file : path
        Where its code lies.
    digest : str
        Of that file, see `idn_train.owncode.open_maker`.
    scale : int
        s, 2…8.
    channels : {1, 3}
        c: Y or RGB, each in [0, 1].

    Attributes
    ----------
    boundary : {"symmetric", "replicate"}
        Border of the bicubic image of Cb, Cr and alpha, as in `imresize`. The network does not see it.
    """

    boundary: Boundary

    def __init__(self, body: nn.Module, label: str, file: Path, digest: str, scale: int, channels: int) -> None:
        super().__init__()
        self.body, self.label, self.file, self.digest = body, label, file, digest
        self.scale, self.channels = scale, channels
        self.boundary = "symmetric"
        self.reach: int | None = None  # LR pixels, see `idn_train.reach`; None: not measured yet

    def forward(self, lr: Tensor) -> Tensor:
        sr: Tensor = self.body(lr.clone())  # it may change its input in place, and the caller still needs that
        return sr

    def upscale_bicubic(self, lr: Tensor) -> Tensor:
        """MATLAB's ``imresize(lr, s)`` with `boundary`, (N, 1, h, w) to (N, 1, s·h, s·w)."""
        return imresize(lr, self.scale, boundary=self.boundary)

    def predict_residual(self, lr: Tensor) -> Tensor:
        """SR less the bicubic image of each channel, (1, c, h, w) to (1, c, s·h, s·w), in evaluation mode.

        Raises
        ------
        NetworkError
            The network cannot compute on a picture of this size, or makes another size of it.
        """
        training = self.training
        self.eval()
        try:
            with self.explain():
                sr = self(lr)
        finally:
            self.train(training)
        check_sr(self, lr, sr)
        base = self.upscale_bicubic(lr.transpose(0, 1)).transpose(0, 1)
        residual: Tensor = sr.float() - base
        return residual

    def explain(self) -> contextlib.AbstractContextManager[None]:
        """A block in which the network computes; see `explain_faults`."""
        return explain_faults(self.label, self.file, "it cannot compute")


def load_network(spec: str, scale: int, channels: int = 1, seed: int = 0) -> OwnNetwork:
    """Run the file of a network, call it by its name, and try the network on a small random picture.

    Parameters
    ----------
    spec : str
        ``FILE.py:NAME`` or ``package.module:NAME``. NAME is called with the scale, and by ``channels=`` with the
        channels if it has a parameter of that name.
    scale : int
        2…8.
    channels : {1, 3}
        Y or RGB.
    seed : int
        Of the weights that the network draws by PyTorch on the CPU.

    Returns
    -------
    OwnNetwork
        On the CPU, in training mode, channels last where the network can compute so.

    Raises
    ------
    NetworkError
        No such file, module or name; it is not callable; its code fails; the result is no module, has no float32
        weights to train, or does not make (N, c, s·h, s·w) of finite values of (N, c, h, w).
    """
    if scale not in OWN_SCALES or channels not in CHANNELS:
        raise NetworkError(f"{spec}: scale must be one of 2…8 and channels 1 or 3; got {scale!r} and {channels!r}")
    label = label_network(spec)
    with torch.random.fork_rng(devices=[]):  # what the caller draws afterwards is as if nothing had been drawn here
        with open_maker(spec) as (make, file, digest):
            torch.default_generator.manual_seed(seed)
            body = _call(make, label, file, scale, channels)
        check_state(body, label)
        network = OwnNetwork(body.cpu(), label, file, digest, scale, channels)
        with network.explain():
            _try_out(network)
    return network.train()


def _call(make: Callable[..., Any], label: str, file: Path, scale: int, channels: int) -> nn.Module:
    """What the maker returns for a scale, and for channels where it takes them; a Module."""
    with explain_faults(label, file, f"it cannot be called with the scale {scale}"):
        try:
            takes_channels = "channels" in inspect.signature(make).parameters
        except ValueError:  # of a class in C
            takes_channels = False
        body = make(scale, channels=channels) if takes_channels else make(scale)
    if not isinstance(body, nn.Module):
        raise NetworkError(f"{label}: returns {type(body).__name__}, not a torch.nn.Module; return the network")
    return body


def check_state(body: nn.Module, label: str) -> None:
    """Raise NetworkError unless a network's state can be trained, and kept as named arrays."""
    if not any(p.requires_grad for p in body.parameters()):
        raise NetworkError(f"{label}: has no weights to train; register them as parameters or submodules")
    for name, parameter in body.named_parameters():
        if parameter.dtype != torch.float32:
            raise NetworkError(
                f"{label}: weight {name} is {parameter.dtype}; only float32 is trained, so call .float()"
            )
    for name, value in body.state_dict().items():
        if not isinstance(value, Tensor):
            raise NetworkError(f"{label}: state {name} is a {type(value).__name__}; only tensors are kept, so drop it")
        if value.dtype == torch.bfloat16 or value.is_complex() or value.is_sparse:
            raise NetworkError(f"{label}: buffer {name} is {value.dtype}, {value.layout}; keep it as plain float32")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):  # no weight file takes them
            advice = "look at its first value"
            if name in dict(body.named_buffers()):
                advice = "give it finite values, or register it with persistent=False"
            raise NetworkError(f"{label}: {name} holds NaN or infinity, and could not be saved; {advice}")


def _try_out(network: OwnNetwork) -> None:
    """Compute in each mode: what cannot be used is refused here, before anything is trained."""
    size = PROBES[0]
    try:
        _check_answer(network, size)
    except NetworkError:
        raise
    except Exception:  # some take no picture so small; what they say about the larger one is what counts
        size = PROBES[1]
        _check_answer(network, size)
    trial = copy.deepcopy(network)  # a training step moves the statistics of a BatchNorm
    lr = torch.rand(2, network.channels, *size)
    try:
        trial.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]  # until torch 2.14
        _backpropagate(trial, lr)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]  # until torch 2.14
    except Exception:  # such as view() on what lies otherwise
        trial = copy.deepcopy(network)
        _backpropagate(trial, lr)
    check_state(trial.body, network.label)  # what it computes only now, such as a mask, is kept as well
    if all(parameter.grad is None for parameter in trial.parameters()):
        raise NetworkError(f"{network.label}: no weight has a part in its result; look at its forward")


@torch.no_grad()
def _check_answer(network: OwnNetwork, size: tuple[int, int]) -> None:
    lr = torch.rand(1, network.channels, *size)
    sr = network.eval()(lr)
    check_sr(network, lr, sr)
    if not torch.isfinite(sr).all():
        raise NetworkError(f"{network.label}: makes NaN or infinity of values in [0, 1]; look at its first weights")


def check_sr(network: OwnNetwork, lr: Tensor, sr: Any) -> None:
    """Raise NetworkError unless SR is (N, c, s·h, s·w), made of LR (N, c, h, w)."""
    if not isinstance(sr, Tensor):
        raise NetworkError(f"{network.label}: forward returns {type(sr).__name__}, not a tensor; return SR alone")
    n, c, h, w = lr.shape
    wanted = (n, c, network.scale * h, network.scale * w)
    if sr.shape != wanted:
        given, made = tuple(lr.shape), tuple(sr.shape)
        raise NetworkError(f"{network.label}: makes {made} of {given}, not {wanted}: (N, c, s·h, s·w)")


def _backpropagate(network: OwnNetwork, lr: Tensor) -> None:
    """Gradients of all weights with a part in the result; in evaluation mode also where a training skips at random."""
    for training in (True, False):
        sr: Tensor = network.train(training)(lr)
        if training or sr.requires_grad:  # some do without gradients in evaluation mode
            (sr * torch.rand(())).mean().backward()  # type: ignore[no-untyped-call]  # torch's own is not annotated
