"""Ways from LR to SR that can be scored, and bicubic, the first of them. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary

Upscale = Callable[..., "NDArray[np.float64]"]


@dataclass(frozen=True)
class Method:
    """A way from LR to SR.

    Parameters
    ----------
    name : str
        As the tables name it.
    upscale : callable(lr, scale) -> sr
        (h, w) float64 in [0, 1] to (s·h, s·w) float64. Called from several threads where `parallel`.
    clip : bool
        Clip SR to [0, 1] before scoring: networks are, the published bicubic is not.
    parallel : bool
        Whether several images may be upscaled at once.
    colour : bool
        Whether `upscale` takes colour: (h, w, 3) to (s·h, s·w, 3), both RGB. Such a method is scored on 8-bit pictures,
        in the protocols "y" and "rgb".
    bordered : bool
        Whether `upscale` takes a third argument, the border of the bicubic image in it: "symmetric" or "replicate".
    """

    name: str
    upscale: Upscale
    clip: bool = True
    parallel: bool = False
    bordered: bool = False
    colour: bool = False

    def enlarge(self, lr: NDArray[np.float64], scale: int, boundary: Boundary = "symmetric") -> NDArray[np.float64]:
        """SR of an LR for a border, clipped to [0, 1] where the method is."""
        sr = self.upscale(lr, scale, boundary) if self.bordered else self.upscale(lr, scale)
        return np.clip(sr, 0.0, 1.0) if self.clip else sr


def upscale_bicubic(lr: NDArray[np.float64], scale: int, boundary: Boundary = "symmetric") -> NDArray[np.float64]:
    """MATLAB's bicubic interpolation, the baseline of every paper: (h, w) to (s·h, s·w)."""
    return np.asarray(imresize(lr, scale, boundary=boundary), dtype=np.float64)


BICUBIC = Method("bicubic", upscale_bicubic, clip=False, parallel=True, bordered=True)
