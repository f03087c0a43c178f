"""IDN, the information distillation network of Hui, Wang and Gao (CVPR 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone uses)
from torch import Tensor, nn

from idn_data.patches.recipe import SCALES
from idn_train import architecture
from idn_train.architecture import SIDE, SLOPE, UPSAMPLE, WIDTH
from idn_train.tensors import imresize
from idn_train.weightfile import find_weights, read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary


def _build_layers(layers: Sequence[architecture.Layer]) -> nn.Sequential:
    """Convolutions, each with its leaky ReLU; their places in the Sequential are the ends of the layers' names."""
    modules: list[nn.Module] = []
    for layer in layers:
        kind = nn.Conv2d if layer.groups == 1 else _GroupedConv2d
        pad = layer.kernel // 2
        modules.append(kind(layer.inputs, layer.outputs, layer.kernel, padding=pad, groups=layer.groups))
        modules.append(nn.LeakyReLU(SLOPE, inplace=True))
    return nn.Sequential(*modules)


class _GroupedConv2d(nn.Conv2d):
    """`nn.Conv2d` of several groups; where a GPU trains, as one of a single group, whose step takes a quarter less."""

    def forward(self, x: Tensor) -> Tensor:
        if not (x.is_cuda and torch.is_grad_enabled()):
            return super().forward(x)
        kernel = _spread_groups(self.weight, self.groups).contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, kernel, self.bias, padding=(self.kernel_size[0] // 2, self.kernel_size[1] // 2))


def _spread_groups(weight: Tensor, groups: int) -> Tensor:
    """Weights of a grouped convolution as those of a plain one: (outputs, inputs / groups, k, k) to (…, inputs, …)."""
    own = torch.eye(groups, dtype=weight.dtype, device=weight.device)[:, None, :, None, None, None]  # zero elsewhere
    parts = weight.reshape(groups, -1, *weight.shape[1:])
    return (parts.unsqueeze(2) * own).flatten(2, 3).flatten(0, 1)


class DistillationBlock(nn.Module):
    """Two enhancement units of three convolutions and a compression unit; (N, 64, h, w) in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.enhance1 = _build_layers(architecture.ENHANCE1)
        self.enhance2 = _build_layers(architecture.ENHANCE2)
        self.compress = _build_layers(architecture.COMPRESS)

    def forward(self, x: Tensor) -> Tensor:
        side, onward = self.enhance1(x).split((SIDE, WIDTH - SIDE), dim=1)  # (N, 16, h, w), (N, 48, h, w)
        y = self.enhance2(onward)  # (N, 80, h, w)
        if torch.is_grad_enabled():
            y = torch.cat((x, side), dim=1).add_(y)
        else:  # the same sum in place: no further 80 channels, and 4 % faster
            y[:, :WIDTH] += x
            y[:, WIDTH:] += side
        out: Tensor = self.compress(y)  # (N, 64, h, w)
        return out


class IDN(nn.Module):
    """A residual by the network, added to MATLAB's bicubic of the input.

    Parameters
    ----------
    scale : {2, 3, 4}

    Attributes
    ----------
    boundary : {"symmetric", "replicate"}
        What the bicubic takes to lie beyond the edge, as in `imresize`: set it to "replicate" to compare with figures
        from older MATLABs (R2013b, the authors'). "symmetric" at first; not among the weights.

    Notes
    -----
    552,769 parameters at every scale; weights are He's, see `reset_parameters`. Input: LR (N, 1, h, w), floating
    point in [0, 1], any h and w. Output: SR (N, 1, s·h, s·w), not clipped; float32 under bf16 autocast as well.
    """

    boundary: Boundary
    upsample_taps: Tensor

    def __init__(self, scale: int) -> None:
        if scale not in SCALES or not isinstance(scale, int):
            raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}; got {scale!r}")
        super().__init__()
        self.scale = scale
        self.boundary = "symmetric"
        self.boundary: Boundary = "symmetric"  # of the bicubic image, as imresize takes it; set it at any time
        self.features = _build_layers(architecture.FEATURES)
        self.blocks = nn.Sequential(*(DistillationBlock() for _ in range(architecture.BLOCKS)))
        # Holds the parameters only: `reconstruct` computes the same function several times as fast.
        self.upsample = nn.ConvTranspose2d(WIDTH, 1, UPSAMPLE.kernel, stride=scale, padding=9 - scale)
        # 16 channels for the processor's vectors, not 4: 3 times as fast
        self._pixels = 2 if scale == 2 else 1  # LR pixels along an axis that `reconstruct` does at once
        taps = torch.from_numpy(architecture.list_taps(scale, self._pixels))
        self.register_buffer("upsample_taps", taps, persistent=False)
        self.reset_parameters()
        # The faster layout on CPU and GPU; the input need not have it. Not for `upsample`: its gradient comes in rows,
        # and processes that train together would turn it at each step, which torch warns of.
        for part in (self.features, self.blocks):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]  # until torch 2.14

    @classmethod
    def from_pretrained(cls, source: int | Path | str) -> IDN:
        """Build a network with the weights that come along for a scale (2, 3, 4), or those of a file (.safetensors).

        On the CPU, in evaluation mode; `idn_train.load_weights` gives what the file says of itself as well.

        Raises
        ------
        ValueError
            As `idn_train.weightfile.find_weights` and `idn_train.weightfile.read_weights`.
        """
        weights = read_weights(find_weights("idn", source) if isinstance(source, int) else source)
        return build_network(weights.scale, weights.tensors)

    @torch.no_grad()
    def reset_parameters(
        self, generator: torch.Generator | None = None, reconstruction_std: float | None = None
    ) -> None:
        """Draw weights by He's rule for leaky ReLU (fan in), biases zero.

        `reconstruction_std` draws the transposed convolution with that standard deviation instead: 0.001 starts
        close to the bicubic image and trains faster. He's rule, as Caffe, TensorFlow and PyTorch read it there,
        counts the 17·17 weights of one channel and gives 0.083.
        """
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(module.weight, a=SLOPE, generator=generator)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # a bias it has
        if reconstruction_std is not None:
            nn.init.normal_(self.upsample.weight, std=reconstruction_std, generator=generator)

    def forward(self, lr: Tensor) -> Tensor:
        if lr.ndim != 4 or lr.shape[1] != 1 or lr.numel() == 0:
            raise ValueError(f"IDN takes LR images as (N, 1, h, w), one channel, not empty; got {tuple(lr.shape)}")
        base = self.upscale_bicubic(lr)  # (N, 1, s·h, s·w)
        return base + self.reconstruct(self.blocks(self.features(lr)))

    def reconstruct(self, features: Tensor) -> Tensor:
        """The transposed convolution, cropped: (N, 64, h, w) to (N, 1, s·h, s·w), as a convolution and `pixel_shuffle`.

        `architecture.list_taps` says which weights make which pixels. The convolution makes those of m LR pixels
        at once, with stride m.
        """
        m, taps = self._pixels, self.upsample_taps
        weight = F.pad(self.upsample.weight[:, 0], (0, 1, 0, 1))  # (64, 18, 18), the zero of `list_taps` last
        kernel = weight.index_select(2, taps.flatten()).index_select(1, taps.flatten())
        kernel = kernel.reshape(-1, *taps.shape, *taps.shape)  # (64, m·s, n, m·s, n)
        kernel = kernel.permute(1, 3, 0, 2, 4).flatten(0, 1)  # ((m·s)², 64, n, n)
        bias = self.upsample.bias.expand(len(kernel))  # type: ignore[union-attr]  # a bias it has
        h, w = features.shape[2:]
        if h % m or w % m:
            features = F.pad(features, (0, w % m, 0, h % m))
        sr = F.conv2d(features, kernel, bias, stride=m, padding=(taps.shape[1] - m) // 2)  # (N, (m·s)², ⌈h/m⌉, ⌈w/m⌉)
        return F.pixel_shuffle(sr, m * self.scale)[:, :, : self.scale * h, : self.scale * w]

    def upscale_bicubic(self, lr: Tensor) -> Tensor:
        """MATLAB's ``imresize(lr, s)`` with `boundary`, (N, 1, h, w) to (N, 1, s·h, s·w); never in bf16."""
        return imresize(lr, self.scale, boundary=self.boundary)


def build_network(scale: int, tensors: Mapping[str, NDArray[Any]]) -> IDN:
    """A network with these weights, float32 by the names of `architecture.list_shapes`; in evaluation mode."""
    network = IDN(scale)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    return network.eval()
