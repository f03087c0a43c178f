"""The network as an ONNX model, written operator by operator from its weights: neither torch nor onnx is needed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from idn_data.atomic import check_target, write_whole
from idn_data.matlab.weights import check_boundary
from idn_train import architecture
from idn_train.architecture import SIDE, SLOPE, WIDTH
from idn_train.colour import LUMA, LUMA_OFFSET, LUMA_TO_RGB
from idn_train.onnxproto import TYPES, Node, Value, encode_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_train.onnxproto import Attribute

    Tensors: TypeAlias = Mapping[str, NDArray[Any]]

OPSET = 13  # of 2020: every engine of today reads it
BELOW_HALF = 0.49999997  # the float32 before a half: 0.49999997 is not carried up to 1 by it


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

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype = dtype  # of the network's weights
        self.nodes: list[Node] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def keep(self, name: str, values: NDArray[Any]) -> str:
        """A constant, or the one of that name that is there."""
        self.constants.setdefault(name, values)
        return name

    def keep_weight(self, name: str, values: NDArray[np.float32]) -> str:
        """A constant of the network in its type; ValueError where that cannot hold it."""
        if np.abs(values).max() > np.finfo(self.dtype).max:
            raise ValueError(f"{name} holds {np.abs(values).max():.3g}, too large for {self.dtype}; leave out --half")
        # float16 rounds to 11 bits: what --half asks for; the smallest values become 0
        return self.keep(name, values.astype(self.dtype))

    def add(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Attribute) -> list[str]:
        """An operator; the names of its outputs."""
        names = tuple(f"v{len(self.nodes)}_{k}" for k in range(outputs))
        self.nodes.append(Node(kind, tuple(inputs), names, tuple(attributes.items())))
        return list(names)

    def cast(self, x: str, dtype: str) -> str:
        return self.add("Cast", [x], to=TYPES[dtype])[0]

    def combine(self, kind: str, x: str, number: float) -> str:
        """``x`` and a number in float32, by an operator of two inputs."""
        return self.add(kind, [x, self.keep(f"number_{number!r}", np.array(number, np.float32))])[0]

    def convolve(self, x: str, weight: str, bias: str, groups: int = 1) -> str:
        """A convolution with constants of these names, that keeps the sides."""
        pad = self.constants[weight].shape[2] // 2
        return self.add("Conv", [x, weight, bias], pads=(pad,) * 4, group=groups)[0]

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
            constants = self.keep_weight(weight, tensors[weight]), self.keep_weight(bias, tensors[bias])
            y = self.convolve(x, *constants, layer.groups)
            (x,) = self.add("LeakyRelu", [y], alpha=SLOPE)
        return x

    def add_block(self, x: str, tensors: Tensors, name: str) -> str:
        """A distillation block, as `idn_train.network.DistillationBlock`."""
        y = self.add_layers(x, architecture.ENHANCE1, tensors, name)
        side, y = self.add("Split", [y, self.keep("split", np.array([SIDE, WIDTH - SIDE], np.int64))], 2, axis=1)
        y = self.add_layers(y, architecture.ENHANCE2, tensors, name)
        (y,) = self.add("Add", [self.join([x, side], 1), y])
        return self.add_layers(y, architecture.COMPRESS, tensors, name)

    def add_residual(self, y: str, tensors: Tensors, scale: int) -> str:
        """What the network adds to the bicubic image of Y, (N, 1, h, w) to (N, 1, s·h, s·w), in float32."""
        # the first convolution in float32: to round Y itself to float16 costs five times as much as all that follows
        first, *others = architecture.FEATURES
        weight, bias = (self.keep(name, tensors[name]) for name in (f"{first.name}.weight", f"{first.name}.bias"))
        (x,) = self.add("LeakyRelu", [self.convolve(y, weight, bias)], alpha=SLOPE)
        x = self.add_layers(self.cast(x, self.dtype) if self.dtype != "float32" else x, others, tensors)
        for k in range(architecture.BLOCKS):
            x = self.add_block(x, tensors, f"blocks.{k}.")
        kernel = self.keep_weight("upsample.kernel", make_subpixel_kernel(tensors["upsample.weight"], scale))
        bias = self.keep_weight("upsample.biases", np.repeat(tensors["upsample.bias"], scale * scale))
        residual = self.convolve(x, kernel, bias)
        residual = self.cast(residual, "float32") if self.dtype != "float32" else residual
        return self.add("DepthToSpace", [residual], blocksize=scale, mode="CRD")[0]

    def add_bicubic(self, x: str, channels: int, scale: int, boundary: Boundary) -> str:
        """MATLAB's bicubic of each channel, (N, C, h, w) to (N, C, s·h, s·w), in float32."""
        padded = self.pad_border(self.pad_border(x, 2, boundary), 3, boundary)
        kernel = np.tile(architecture.make_bicubic_kernel(scale), (channels, 1, 1, 1))  # (C·s², 1, 5, 5)
        (base,) = self.add("Conv", [padded, self.keep("bicubic.kernel", kernel)], group=channels)
        return self.add("DepthToSpace", [base], blocksize=scale, mode="CRD")[0]

    def add_luma(self, rgb: str) -> str:
        """Y of RGB, (N, 3, h, w) to (N, 1, h, w), by MATLAB's coefficients."""
        weights = self.keep("luma.weight", np.array(LUMA, np.float32).reshape(1, 3, 1, 1))
        return self.add("Conv", [rgb, weights, self.keep("luma.offset", np.array([LUMA_OFFSET], np.float32))])[0]

    def round_to_bytes(self, x: str) -> str:
        """[0, 1] to 8 bits: clipped, and rounded half away from zero as `idn_data.matlab.classes.im2uint8` does."""
        levels = self.combine("Min", self.combine("Max", self.combine("Mul", x, 255.0), 0.0), 255.0)
        return self.cast(self.add("Floor", [self.combine("Add", levels, BELOW_HALF)])[0], "uint8")


def build_model(
    tensors: Tensors, scale: int, boundary: Boundary = "symmetric", *, rgb: bool = False, half: bool = False,
    uint8: bool = False,
) -> bytes:  # fmt: skip
    """An ONNX model of IDN.

    Parameters
    ----------
    tensors : mapping
        The weights by the names of `idn_train.architecture.list_shapes`.
    scale : {2, 3, 4}
    boundary : {"symmetric", "replicate"}
        What the bicubic takes to lie beyond the edge, as in `idn_data.imresize`.
    rgb : bool
        Take and give RGB: Y by the network, Cb and Cr by bicubic. Otherwise one channel, Y or grey.
    half : bool
        The network in float16; Y, the first convolution, bicubic and the sum stay in float32.
    uint8 : bool
        Take and give 0…255; the result is clipped and rounded as MATLAB's.

    Returns
    -------
    bytes
        The model's file. Input ``lr`` (batch, C, height, width), C = 1 or 3, of any size: float32 in [0, 1]; float16
        with `half`; uint8 with `uint8`. Output ``sr`` (batch, C, s·height, s·width) of the same type; floats are not
        clipped.

    Raises
    ------
    ValueError
        For an unknown boundary; for weights that float16 cannot hold.
    """
    check_boundary(boundary)
    graph, channels = _Graph("float16" if half else "float32"), 3 if rgb else 1
    outside = "uint8" if uint8 else graph.dtype
    lr = "lr" if outside == "float32" else graph.cast("lr", "float32")
    if uint8:
        lr = graph.combine("Div", lr, 255.0)
    residual = graph.add_residual(graph.add_luma(lr) if rgb else lr, tensors, scale)
    if rgb:
        residual = graph.combine("Mul", residual, LUMA_TO_RGB)
    (sr,) = graph.add("Add", [graph.add_bicubic(lr, channels, scale, boundary), residual])
    if uint8:
        sr = graph.round_to_bytes(sr)
    elif half:
        sr = graph.cast(sr, "float16")
    last = graph.nodes[-1]
    graph.nodes[-1] = replace(last, outputs=("sr",))
    return encode_model(
        f"idn_x{scale}",
        graph.nodes,
        graph.constants,
        Value("lr", outside, ("batch", channels, "height", "width")),
        Value("sr", outside, ("batch", channels, f"{scale}*height", f"{scale}*width")),
        opset=OPSET,
        facts={"scale": str(scale), "boundary": boundary},
    )


def export_onnx(
    tensors: Tensors, scale: int, path: Path | str, *, boundary: Boundary = "symmetric", rgb: bool = False,
    half: bool = False, uint8: bool = False, force: bool = False,
) -> None:  # fmt: skip
    """Write `build_model` to a file, whole or not at all; checked first, where the package onnx is installed.

    Parameters
    ----------
    tensors, scale, boundary, rgb, half, uint8
        As `build_model`.
    path : path
        By custom ``*.onnx``.
    force : bool
        Replace an existing file.

    Raises
    ------
    FileExistsError
        The file is there and `force` is false.
    ValueError
        As `build_model`.
    """
    check_target(path, force)
    model = build_model(tensors, scale, boundary, rgb=rgb, half=half, uint8=uint8)
    with suppress(ModuleNotFoundError):
        from onnx import checker

        checker.check_model(model)
    with write_whole(path, force) as temporary:
        temporary.write_bytes(model)
