"""IDN's layers as plain values, for the network, its weight files, the authors' files and the ONNX model. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from idn_data.matlab.weights import compute_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLOPE = 0.05  # of the leaky ReLU after every convolution but the last, for values below 0
WIDTH = 64  # channels between the blocks
SIDE = 16  # channels that pass by the second half of a block
BLOCKS = 4
WINDOW = 5  # LR pixels along one axis that the bicubic SR pixels of the middle one come from


@dataclass(frozen=True)
class Layer:
    """A convolution of odd kernel k, padded by k // 2, with a bias.

    name : of its weight and bias in the network's state, before ``.weight`` and ``.bias``.
    inputs, outputs : channels.
    kernel : side of the kernel, in pixels.
    groups : parts of the channels that are computed apart.
    transposed : a transposed convolution, whose weight has its axes the other way round.
    """

    name: str
    inputs: int
    outputs: int
    kernel: int = 3
    groups: int = 1
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The weight's: outputs, inputs / groups, k, k; inputs, outputs, k, k where transposed."""
        channels = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs // self.groups)
        return (*channels, self.kernel, self.kernel)


# Names count by two, because a leaky ReLU without weights follows each.
FEATURES = (Layer("features.0", 1, WIDTH), Layer("features.2", WIDTH, WIDTH))
ENHANCE1 = (Layer("enhance1.0", WIDTH, 48), Layer("enhance1.2", 48, 32, groups=4), Layer("enhance1.4", 32, WIDTH))
ENHANCE2 = (
    Layer("enhance2.0", WIDTH - SIDE, 64),
    Layer("enhance2.2", 64, 48, groups=4),
    Layer("enhance2.4", 48, WIDTH + SIDE),
)
COMPRESS = (Layer("compress.0", WIDTH + SIDE, WIDTH, kernel=1),)
UPSAMPLE = Layer("upsample", WIDTH, 1, kernel=17, transposed=True)  # stride: the scale


def list_layers() -> list[Layer]:
    """All layers in the order of the network, with their full names."""
    block = (*ENHANCE1, *ENHANCE2, *COMPRESS)
    blocks = (replace(layer, name=f"blocks.{k}.{layer.name}") for k in range(BLOCKS) for layer in block)
    return [*FEATURES, *blocks, UPSAMPLE]


def list_shapes() -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of the network's state, the same at every scale."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in list_layers():
        shapes[f"{layer.name}.weight"] = layer.shape
        shapes[f"{layer.name}.bias"] = (layer.outputs,)
    return shapes


def list_taps(scale: int, pixels: int = 1) -> NDArray[np.int64]:
    """Which weights of the transposed convolution, along one axis, make which SR pixels from which LR pixels.

    SR pixel ``s·y + a`` gets weight ``k = a + 9 - s - s·d`` from LR pixel ``y + d``, where k lies in 0…16. So the
    transposed convolution, cropped, is a plain one whose outputs are the SR pixels that belong to an LR pixel.

    Parameters
    ----------
    scale : {2, 3, 4}
        s, the stride.
    pixels : int
        m LR pixels at once: a runs over 0…m·s - 1, d over -r…r + m - 1, with r = ⌈8/s⌉.

    Returns
    -------
    (m·s, 2r + m) int64
        k of each a and d; 17, one past the weights, where there is none.
    """
    reach = -(-(UPSAMPLE.kernel // 2) // scale)
    a = np.arange(pixels * scale, dtype=np.int64)[:, None]
    d = np.arange(-reach, reach + pixels, dtype=np.int64)
    k = a + 9 - scale - scale * d
    return np.where((k >= 0) & (k < UPSAMPLE.kernel), k, UPSAMPLE.kernel)


def make_bicubic_kernel(scale: int) -> NDArray[np.float32]:
    """MATLAB's bicubic by a whole scale as a convolution: the weights of a 5×5 window for the s² pixels of its middle.

    (s², 1, 5, 5): output a·s + b is SR pixel (s·y + a, s·x + b). What lies beyond the edge is the caller's to fill in.
    """
    weights, indices = compute_weights(WINDOW, WINDOW * scale, scale)
    middle = slice(WINDOW // 2 * scale, (WINDOW // 2 + 1) * scale)
    axis = np.zeros((scale, WINDOW))
    np.add.at(axis, (np.arange(scale)[:, None], indices[middle]), weights[middle])  # add: an index may come twice
    kernel = np.einsum("ai,bj->abij", axis, axis)
    shape = (scale * scale, 1, WINDOW, WINDOW)
    result: NDArray[np.float32] = kernel.reshape(shape).astype(np.float32)  # the network's own precision
    return result
