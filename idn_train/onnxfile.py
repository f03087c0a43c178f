"""The network as an ONNX model, written operator by operator from its weights: no torch is needed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.atomic import write_whole
from idn_data.matlab.weights import compute_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

OPSET = 13  # of 2020: every engine of today reads it
SLOPE, SIDE, WINDOW = 0.05, 16, 5  # as in idn_train.network


def make_subpixel_kernel(weight: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """The transposed convolution, (64, 1, 17, 17), as a convolution: (s², 64, 2r + 1, 2r + 1), r = ⌈8/s⌉.

    Output a·s + b holds SR pixels (s·y + a, s·x + b). Along an axis, a takes weight ``k = a + 9 - s - s·d`` from LR
    pixel ``y + d``, none where k lies outside of 0…16.
    """
    r = -(-8 // scale)
    kernel = np.zeros((scale, scale, weight.shape[0], 2 * r + 1, 2 * r + 1), np.float32)
    taps = [
        (a, d + r, a + 9 - scale - scale * d)
        for a in range(scale)
        for d in range(-r, r + 1)
        if 0 <= a + 9 - scale - scale * d <= 16
    ]
    for a, i, k in taps:
        for b, j, l_ in taps:
            kernel[a, b, :, i, j] = weight[:, 0, k, l_]
    return kernel.reshape(scale * scale, *kernel.shape[2:])


def make_bicubic_kernel(scale: int) -> NDArray[np.float32]:
    """MATLAB's bicubic weights of a 5×5 window for the s² SR pixels of its middle: (s², 1, 5, 5)."""
    weights, indices = compute_weights(WINDOW, WINDOW * scale, scale)
    middle = slice(WINDOW // 2 * scale, (WINDOW // 2 + 1) * scale)
    axis = np.zeros((scale, WINDOW))
    np.add.at(axis, (np.arange(scale)[:, None], indices[middle]), weights[middle])
    kernel = np.einsum("ai,bj->abij", axis, axis)
    return kernel.reshape(scale * scale, 1, WINDOW, WINDOW).astype(np.float32)  # the network's own precision


def build_model(tensors: Mapping[str, NDArray[Any]], scale: int) -> Any:
    """An ONNX model of IDN.

    Parameters
    ----------
    tensors : mapping
        The weights by the names that `idn_train.weightfile.read_tensors` gives them.
    scale : {2, 3, 4}

    Returns
    -------
    onnx.ModelProto
        Input ``lr`` (N, 1, h, w) float32 in [0, 1], any N, any h and w of at least 2; output ``sr`` (N, 1, s·h, s·w),
        not clipped.
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: dict[str, NDArray[Any]] = {}

    def keep(name: str, values: NDArray[Any]) -> str:
        constants[name] = np.ascontiguousarray(values)
        return name

    def add(kind: str, inputs: list[str], count: int = 1, **attributes: Any) -> list[str]:
        outputs = [f"v{len(nodes)}_{k}" for k in range(count)]
        nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs

    def convolve(x: str, name: str, groups: int = 1) -> str:
        weight, bias = (keep(f"{name}.{part}", tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
        pad = constants[weight].shape[2] // 2
        (y,) = add("Conv", [x, weight, bias], pads=[pad] * 4, group=groups)
        return add("LeakyRelu", [y], alpha=SLOPE)[0]

    def cut(x: str, axis: int, first: int, last: int) -> str:
        values = [keep(f"int_{v}", np.array([v], np.int64)) for v in (first, last, axis)]
        return add("Slice", [x, *values])[0]

    def mirror(x: str, axis: int) -> str:
        """Two more pixels at both ends, the edge pixel repeated as MATLAB does."""
        far = np.iinfo(np.int64).max
        ends = [cut(x, axis, 1, 2), cut(x, axis, 0, 1), x, cut(x, axis, -1, far), cut(x, axis, -2, -1)]
        return add("Concat", ends, axis=axis)[0]

    def shuffle(x: str) -> str:
        return add("DepthToSpace", [x], blocksize=scale, mode="CRD")[0]

    x = convolve(convolve("lr", "features.0"), "features.2")
    for block in (f"blocks.{k}" for k in range(4)):
        y = x
        for k, groups in ((0, 1), (2, 4), (4, 1)):
            y = convolve(y, f"{block}.enhance1.{k}", groups)
        side, y = add("Split", [y, keep("split", np.array([SIDE, 64 - SIDE], np.int64))], 2, axis=1)
        for k, groups in ((0, 1), (2, 4), (4, 1)):
            y = convolve(y, f"{block}.enhance2.{k}", groups)
        (beside,) = add("Concat", [x, side], axis=1)
        (y,) = add("Add", [beside, y])
        x = convolve(y, f"{block}.compress.0")
    kernel = keep("upsample.kernel", make_subpixel_kernel(tensors["upsample.weight"], scale))
    bias = keep("upsample.biases", np.repeat(tensors["upsample.bias"], scale * scale))
    (residual,) = add("Conv", [x, kernel, bias], pads=[constants[kernel].shape[2] // 2] * 4)
    (base,) = add("Conv", [mirror(mirror("lr", 2), 3), keep("bicubic.kernel", make_bicubic_kernel(scale))])
    nodes.append(helper.make_node("Add", [shuffle(base), shuffle(residual)], ["sr"]))
    graph = helper.make_graph(
        nodes,
        f"idn_x{scale}",
        [helper.make_tensor_value_info("lr", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [helper.make_tensor_value_info("sr", TensorProto.FLOAT, ["n", 1, f"{scale}h", f"{scale}w"])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    # IR 8 goes with the engines of the opset's time; onnx would write its own newest
    return helper.make_model(graph, producer_name="idn", ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)])


def export_onnx(tensors: Mapping[str, NDArray[Any]], scale: int, path: Path | str, *, force: bool = False) -> None:
    """Write `build_model` to a file, whole or not at all.

    Raises
    ------
    ModuleNotFoundError
        The package onnx is not installed.
    FileExistsError
        The file is there and `force` is false.
    """
    try:
        from onnx import checker
    except ModuleNotFoundError:
        raise ModuleNotFoundError("ONNX files need the package onnx; pip install 'idn[onnx]'") from None
    model = build_model(tensors, scale)
    checker.check_model(model)
    with write_whole(path, force) as temporary:
        temporary.write_bytes(model.SerializeToString())
