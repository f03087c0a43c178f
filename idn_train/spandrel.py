"""IDN for spandrel, which finds out what a file of weights holds and runs it: ``pip install 'idn[spandrel]'``.

    import spandrel
    from idn_train.spandrel import install

    install(scale=4)
    model = spandrel.ModelLoader().load_from_file("best.safetensors")
    sr = model(rgb)  # (1, 3, h, w) in [0, 1] to (1, 3, 4·h, 4·w)

spandrel hands on the tensors of a file alone, and IDN's are of the same shapes at every scale. So the scale is named to
`install`; or the file carries it, as one more tensor: see `convert_weights`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F  # noqa: N812 (the name everyone uses)
from spandrel import MAIN_REGISTRY, Architecture, ArchRegistry, ArchSupport, ImageModelDescriptor
from torch import Tensor

from idn_data.atomic import check_target, write_whole
from idn_data.patches.recipe import SCALES
from idn_train.architecture import list_shapes
from idn_train.colour import LUMA, LUMA_OFFSET, LUMA_TO_RGB
from idn_train.network import IDN
from idn_train.weightfile import read_weights

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCALE_KEY = "idn.scale"  # of the tensor that carries the scale, an int64 without axes


class ColourIDN(IDN):
    """IDN from RGB to RGB: Y by the network, Cb and Cr by MATLAB's bicubic. Weights and attributes are IDN's.

    Input (N, 3, h, w) in [0, 1], any h and w; output (N, 3, s·h, s·w) of its dtype, not clipped. In half precision Y,
    the first convolution, bicubic and the sum are float32 all the same: a rounded Y costs more than all that follows.
    """

    def forward(self, rgb: Tensor) -> Tensor:
        if rgb.ndim != 4 or rgb.shape[1] != 3 or rgb.numel() == 0:
            raise ValueError(f"ColourIDN takes RGB as (N, 3, h, w), not empty; got {tuple(rgb.shape)}")
        red, green, blue = (plane.float() for plane in rgb.split(1, 1))  # type: ignore[no-untyped-call]  # torch's own
        y = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue + LUMA_OFFSET
        first: Any = self.features[0]
        x = F.conv2d(y, first.weight.float(), first.bias.float(), padding=1)
        x = self.features[1](x).to(rgb.dtype)
        residual = self.reconstruct(self.blocks(self.features[2:](x)))
        return (self.upscale_bicubic(rgb.float()) + LUMA_TO_RGB * residual.float()).to(rgb.dtype)


class IDNArch(Architecture):  # type: ignore[misc]  # spandrel may not be installed where types are checked
    """What spandrel needs to know of IDN.

    Attributes
    ----------
    scale : {2, 3, 4} or None
        Of weights that do not carry their own.
    """

    def __init__(self, scale: int | None = None) -> None:
        super().__init__(id="IDN", detect=is_idn)
        self.scale = scale

    def load(self, state_dict: Mapping[str, Any]) -> Any:
        """An `ImageModelDescriptor` of `ColourIDN` with these weights.

        Raises
        ------
        ValueError
            The weights do not carry their scale, and none was named; or it is none of IDN's.
        """
        weights = dict(state_dict)
        carried = weights.pop(SCALE_KEY, None)
        scale = self.scale if carried is None else int(carried)
        if scale is None:
            raise ValueError(
                "IDN's weights have the same shapes at every scale: name it, install(scale=4), or write the file anew "
                "with idn_train.spandrel.convert_weights"
            )
        return ImageModelDescriptor(
            ColourIDN(scale), weights, architecture=self, purpose="SR", tags=[], supports_half=True,
            supports_bfloat16=False, scale=scale, input_channels=3, output_channels=3,
        )  # fmt: skip


def is_idn(state_dict: Mapping[str, Any]) -> bool:
    """Whether these are all of IDN's tensors by their names and shapes, and no others but the scale."""
    found = {name: tuple(getattr(values, "shape", ())) for name, values in state_dict.items() if name != SCALE_KEY}
    return found == list_shapes()


def install(scale: int | None = None, registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Let spandrel know IDN. Where it does already, the scale alone is set.

    Parameters
    ----------
    scale : {2, 3, 4}, optional
        Of weights that do not carry their own, as all files of `idn train` do not.
    registry : spandrel.ArchRegistry
        By default the one that `spandrel.ModelLoader` uses.

    Raises
    ------
    ValueError
        Another scale.
    """
    if scale is not None and scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(map(str, SCALES))}; got {scale!r}")
    there = registry.get("IDN")
    if there is not None and isinstance(there.architecture, IDNArch):
        there.architecture.scale = scale
        return
    registry.add(ArchSupport.from_architecture(IDNArch(scale)))


def convert_weights(source: Path | str, target: Path | str, *, force: bool = False) -> None:
    """Write weights with their scale as one more tensor, so that `install` need not be told it.

    `idn` itself reads the source, not the target.

    Parameters
    ----------
    source : path
        A file of `idn train`, or a run's state.
    target : path
        A .safetensors.
    force : bool
        Replace an existing file.

    Raises
    ------
    ValueError
        As `idn_train.weightfile.read_weights`.
    FileExistsError
        The target is there and `force` is false.
    """
    from safetensors.numpy import save

    check_target(target, force)
    weights = read_weights(source)
    with write_whole(target, force) as temporary:
        temporary.write_bytes(save({**weights.tensors, SCALE_KEY: np.array(weights.scale, np.int64)}))
