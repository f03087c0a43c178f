"""How a picture is reduced: the settings of an LR picture, checked once."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from idn_data.matlab.weights import METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping

DEGRADATIONS = ("bicubic", "blur")
BOUNDARIES = {"bicubic": ("symmetric", "replicate"), "blur": ("replicate", "symmetric", "circular")}  # default first
THROUGH = ("uint8", "double")
CHANNELS = ("rgb", "y")
MOST_SCALE = 64.0


@dataclass(frozen=True)
class Reduction:
    """The settings of an LR picture.

    Parameters
    ----------
    scale : float
        How many HR pixels lie along one LR pixel: above 1, at most `MOST_SCALE`, whole or not.
    degradation : {"bicubic", "blur"}
        "bicubic": ``imresize(HR, 1/scale, method)``. "blur": ``imfilter(HR, fspecial('gaussian', kernel, sigma),
        boundary)``, then ``imresize(…, 1/scale, 'nearest')``: the "BD" of the papers, there at ×3.
    method : str
        Kernel of imresize, one of `idn_data.METHODS`; "bicubic" but for other LR. Of "blur": "nearest".
    boundary : str
        What lies beyond the edge: "symmetric" (newer MATLABs) or "replicate" (older ones) for imresize;
        "replicate", "symmetric" or "circular" for imfilter.
    antialias : bool
        Widen the kernel, as MATLAB does unless told otherwise.
    through : {"uint8", "double"}
        "uint8": in the picture's own integers. "double": ``im2double`` first, the result rounded once, at the end.
    channel : {"rgb", "y"}
        "y": LR of the Y of colour pictures.
    sigma, kernel : float, int
        Of the Gaussian, in HR pixels; of "blur" alone.

    Raises
    ------
    ValueError
        A setting out of its range, or one that does not go with the degradation.
    """

    scale: float
    degradation: str = "bicubic"
    method: str = "bicubic"
    boundary: str = "symmetric"
    antialias: bool = True
    through: str = "uint8"
    channel: str = "rgb"
    sigma: float = 1.6
    kernel: int = 7

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and 1 < self.scale <= MOST_SCALE):
            raise ValueError(f"scale must be above 1 and at most {MOST_SCALE:g}; got {self.scale:g}")
        _check_one("degradation", self.degradation, DEGRADATIONS)
        _check_one("boundary", self.boundary, BOUNDARIES[self.degradation], f" with --degradation {self.degradation}")
        _check_one("method", self.method, METHODS)
        _check_one("through", self.through, THROUGH)
        _check_one("channel", self.channel, CHANNELS)
        if not (math.isfinite(self.sigma) and 0 < self.sigma <= 100):
            raise ValueError(f"sigma must be above 0 and at most 100 pixels; got {self.sigma:g}")
        if not 1 <= self.kernel <= 255:
            raise ValueError(f"kernel must have 1 to 255 pixels along a side; got {self.kernel}")

    @property
    def whole(self) -> bool:
        """Whether HR is cut to a multiple of the scale first: where the scale is a whole number."""
        return self.scale == int(self.scale)

    @property
    def label(self) -> str:
        """The scale as names say it, ``4``, ``2.5``; with all its digits where it has more than six."""
        return short if float(short := f"{self.scale:g}") == self.scale else repr(self.scale)

    def settings(self) -> dict[str, Any]:
        """The settings that have an effect."""
        facts = asdict(self)
        dropped = ("method", "antialias") if self.degradation == "blur" else ("sigma", "kernel")
        return {name: value for name, value in facts.items() if name not in dropped}


def _check_one(name: str, value: str, allowed: tuple[str, ...], where: str = "") -> None:
    if value not in allowed:
        raise ValueError(f"unknown {name} {value!r}{where}; one of {', '.join(allowed)}")


def choose_reduction(scale: float, degradation: str = "bicubic", **given: Any) -> Reduction:
    """A `Reduction` from options that may be None, each replaced by what the degradation usually has.

    Raises
    ------
    ValueError
        As `Reduction`; also for a setting that the degradation does not have.
    """
    _check_one("degradation", degradation, DEGRADATIONS)
    blur = degradation == "blur"
    named = {name: value for name, value in given.items() if value is not None}
    for name in ("method", "antialias") if blur else ("sigma", "kernel"):
        if name in named:
            other = "bicubic" if blur else "blur"
            raise ValueError(f"{name} has no effect with degradation {degradation!r}; leave it out, or take {other!r}")
    defaults: Mapping[str, Any] = {"boundary": BOUNDARIES[degradation][0], "method": "nearest" if blur else "bicubic"}
    return Reduction(scale, degradation, **{**defaults, **named})
