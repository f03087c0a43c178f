"""A network of the user's own as an ONNX model: PyTorch writes it, and it is run once to compare."""

from __future__ import annotations

import inspect
import io
import warnings
from typing import TYPE_CHECKING, Any

import torch

from idn_data.atomic import check_target, write_whole
from idn_train.owncode import NetworkError, explain_faults

if TYPE_CHECKING:
    from pathlib import Path

    from idn_train.ownnetwork import OwnNetwork

OPSET = 17  # of 2022
TRACED, CHECKED = (1, 48, 36), (2, 23, 29)  # pictures, rows and columns of what is written, and of what is compared
EQUAL = 1e-4  # of [0, 1]


def export_own_onnx(network: OwnNetwork, path: Path | str, *, force: bool = False) -> None:
    """Write a network as an ONNX model, whole or not at all, after a comparison at another size.

    Parameters
    ----------
    network : OwnNetwork
        On the CPU. Input ``lr`` (batch, c, height, width) float32 in [0, 1], output ``sr`` (batch, c, s·height,
        s·width), not clipped.
    path : path
        By custom ``*.onnx``.
    force : bool
        Replace an existing file.

    Raises
    ------
    ModuleNotFoundError
        The package onnx is not installed.
    NetworkError
        PyTorch cannot write an operation of the network; or what it wrote makes something else of another size.
    FileExistsError
        The file is there and `force` is false.
    """
    check_target(path, force)
    try:
        import onnx
    except ModuleNotFoundError:
        raise ModuleNotFoundError("an ONNX file of your own network needs onnx; pip install 'idn[onnx]'") from None
    with explain_faults(network.label, network.file, "it cannot be written as ONNX"):
        data = _trace(network)
        difference = _compare(network, onnx.load_from_string(data))
    if difference > EQUAL:
        raise NetworkError(
            f"{network.label}: its ONNX model is off by {difference:.2g} on pictures of another size; "
            "let its code take sizes from tensors' shapes, not from numbers of the first picture"
        )
    with write_whole(path, force) as temporary:
        temporary.write_bytes(data)


@torch.no_grad()
def _trace(network: OwnNetwork) -> bytes:
    """The model as PyTorch's TorchScript exporter writes it, which needs no further package."""
    s = network.scale
    stream: Any = io.BytesIO()  # the older exporter takes streams, which torch's types do not say
    axes = {"lr": {0: "batch", 2: "height", 3: "width"}, "sr": {0: "batch", 2: f"{s}*height", 3: f"{s}*width"}}
    known = inspect.signature(torch.onnx.export).parameters
    choice: dict[str, Any] = {"dynamo": False} if "dynamo" in known else {}  # torch 2.4 has this exporter alone
    n, h, w = TRACED
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is the older exporter; that a size may be fixed, which is tried below
        torch.onnx.export(
            network.eval(), (torch.rand(n, network.channels, h, w),), stream, opset_version=OPSET,
            input_names=["lr"], output_names=["sr"], dynamic_axes=axes, **choice,
        )  # fmt: skip
    data: bytes = stream.getvalue()
    return data


@torch.no_grad()
def _compare(network: OwnNetwork, model: Any) -> float:
    """The largest difference between the model, run by onnx itself, and the network, at another size."""
    from onnx.reference import ReferenceEvaluator

    n, h, w = CHECKED
    lr = torch.rand(n, network.channels, h, w, generator=torch.Generator().manual_seed(0))
    answer: Any = ReferenceEvaluator(model).run(None, {"lr": lr.numpy()})
    sr = torch.from_numpy(answer[0].copy())
    wanted = network(lr)
    return float((sr - wanted).abs().max()) if sr.shape == wanted.shape else float("inf")
