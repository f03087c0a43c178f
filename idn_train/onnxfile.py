"""The network as an ONNX model, written operator by operator from its weights: no torch is needed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from idn_data.atomic import write_whole
from idn_data.matlab.weights import check_boundary
from idn_train import architecture
from idn_train.architecture import SIDE, SLOPE, WIDTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary

    Tensors: TypeAlias = Mapping[str, NDArray[Any]]

OPSET = 13  # of 2020: every engine of today reads it


def make_subpixel_kernel(weight: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """The transposed convolution, (64, 1, 17, 17), as a plain one: (s², 64, n, n), n as in `architecture.list_taps`.

    Output a·s + b holds SR pixels (s·y + a, s·x + b).
    """
    taps = architecture.list_taps(scale)  # (s, n)
    padded = np.pad(weight[:, 0], ((0, 0), (0, 1), (0, 1)))  # the zero of `list_taps` last
    kernel = padded[:, taps[:, None, :, None], taps[None, :, None, :]]  # (64, s, s, n, n)
    return np.moveaxis(kernel, 0, 2).reshape(scale * scale, -1, taps.shape[1], taps.shape[1])


class _Graph:
    """Nodes and constants of an ONNX graph, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def keep(self, name: str, values: NDArray[Any]) -> str:
        """A constant, or the one of that name that is there."""
        self.constants.setdefault(name, np.ascontiguousarray(values))
        return name

    def add(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """An operator; the names of its outputs."""
        from onnx import helper

        names = [f"v{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def convolve(self, x: str, weight: str, bias: str, groups: int = 1) -> str:
        """A convolution with constants of these names, that keeps the sides."""
        pad = self.constants[weight].shape[2] // 2
        return self.add("Conv", [x, weight, bias], pads=[pad] * 4, group=groups)[0]

    def cut(self, x: str, axis: int, first: int, last: int | None) -> str:
        """``x[first:last]`` along an axis."""
        end = np.iinfo(np.int64).max if last is None else last
        values = [self.keep(f"int_{v}", np.array([v], np.int64)) for v in (first, end, axis)]
        return self.add("Slice", [x, *values])[0]

    def join(self, parts: Sequence[str], axis: int) -> str:
        return self.add("Concat", parts, axis=axis)[0]

    def pad_border(self, x: str, axis: int, boundary: Boundary) -> str:
        """Two more pixels at both ends, mirrored with the edge pixel repeated as MATLAB does, or the edge pixel."""
        first, last = self.cut(x, axis, 0, 1), self.cut(x, axis, -1, None)
        if boundary == "replicate":
            return self.join([first, first, x, last, last], axis)
        # the second pixel from either end; of a single pixel, that one again
        second = self.cut(self.join([self.cut(x, axis, 0, 2), last], axis), axis, 1, 2)
        before_last = self.cut(self.join([first, self.cut(x, axis, -2, None)], axis), axis, -2, -1)
        return self.join([second, first, x, last, before_last], axis)

    def add_layers(self, x: str, layers: Sequence[architecture.Layer], tensors: Tensors, block: str = "") -> str:
        """Convolutions of the network, each with its leaky ReLU."""
        for layer in layers:
            weight, bias = (f"{block}{layer.name}.{part}" for part in ("weight", "bias"))
            y = self.convolve(x, self.keep(weight, tensors[weight]), self.keep(bias, tensors[bias]), layer.groups)
            (x,) = self.add("LeakyRelu", [y], alpha=SLOPE)
        return x

    def add_block(self, x: str, tensors: Tensors, name: str) -> str:
        """A distillation block, as `idn_train.network.DistillationBlock`."""
        y = self.add_layers(x, architecture.ENHANCE1, tensors, name)
        side, y = self.add("Split", [y, self.keep("split", np.array([SIDE, WIDTH - SIDE], np.int64))], 2, axis=1)
        y = self.add_layers(y, architecture.ENHANCE2, tensors, name)
        (y,) = self.add("Add", [self.join([x, side], 1), y])
        return self.add_layers(y, architecture.COMPRESS, tensors, name)


def build_model(tensors: Tensors, scale: int, boundary: Boundary = "symmetric") -> Any:
    """An ONNX model of IDN.

    Parameters
    ----------
    tensors : mapping
        The weights by the names of `idn_train.architecture.list_shapes`.
    scale : {2, 3, 4}
    boundary : {"symmetric", "replicate"}
        What the bicubic takes to lie beyond the edge, as in `idn_data.imresize`.

    Returns
    -------
    onnx.ModelProto
        Input ``lr`` (batch, 1, height, width) float32 in [0, 1], of any size; output ``sr`` (batch, 1, s·height,
        s·width), not clipped.

    Raises
    ------
    ValueError
        For an unknown boundary.
    """
    check_boundary(boundary)
    from onnx import TensorProto, helper, numpy_helper

    graph = _Graph()
    x = graph.add_layers("lr", architecture.FEATURES, tensors)
    for k in range(architecture.BLOCKS):
        x = graph.add_block(x, tensors, f"blocks.{k}.")
    kernel = graph.keep("upsample.kernel", make_subpixel_kernel(tensors["upsample.weight"], scale))
    bias = graph.keep("upsample.biases", np.repeat(tensors["upsample.bias"], scale * scale))
    residual = graph.convolve(x, kernel, bias)
    padded = graph.pad_border(graph.pad_border("lr", 2, boundary), 3, boundary)
    (base,) = graph.add("Conv", [padded, graph.keep("bicubic.kernel", architecture.make_bicubic_kernel(scale))])
    parts = [graph.add("DepthToSpace", [y], blocksize=scale, mode="CRD")[0] for y in (base, residual)]
    graph.nodes.append(helper.make_node("Add", parts, ["sr"]))
    model = helper.make_graph(
        graph.nodes,
        f"idn_x{scale}",
        [helper.make_tensor_value_info("lr", TensorProto.FLOAT, ["batch", 1, "height", "width"])],
        [helper.make_tensor_value_info("sr", TensorProto.FLOAT, ["batch", 1, f"{scale}*height", f"{scale}*width"])],
        [numpy_helper.from_array(values, name) for name, values in graph.constants.items()],
    )
    # IR 8 goes with the engines of the opset's time; onnx would write its own newest
    return helper.make_model(model, producer_name="idn", ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)])


def export_onnx(
    tensors: Tensors, scale: int, path: Path | str, *, boundary: Boundary = "symmetric", force: bool = False
) -> None:
    """Write `build_model` to a file, whole or not at all.

    Parameters
    ----------
    tensors, scale, boundary
        As `build_model`.
    path : path
        By custom ``*.onnx``.
    force : bool
        Replace an existing file.

    Raises
    ------
    ModuleNotFoundError
        The package onnx is not installed.
    FileExistsError
        The file is there and `force` is false.
    ValueError
        For an unknown boundary.
    """
    try:
        from onnx import checker
    except ModuleNotFoundError:
        raise ModuleNotFoundError("ONNX files need the package onnx; pip install 'idn[onnx]'") from None
    model = build_model(tensors, scale, boundary)
    checker.check_model(model)
    with write_whole(path, force) as temporary:
        temporary.write_bytes(model.SerializeToString())
