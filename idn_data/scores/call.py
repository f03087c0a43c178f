"""A reference of a function other than imresize: what MATLAB returned for its arguments, or exact arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from idn_data.matlab.classes import im2double, im2single, im2uint8, im2uint16
from idn_data.matlab.color import rgb2gray, rgb2ycbcr, ycbcr2rgb
from idn_data.matlab.filters import fspecial, imfilter
from idn_data.matlab.quality import psnr, ssim
from idn_data.matlab.resize import imresize
from idn_data.scores.reference import MATLAB, MIN_SCALE, check_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary

    Argument = NDArray[np.generic] | str

BLUR = "imfilter, imresize"  # f(a, [side sigma], scale): a Gaussian, replicated edges, then "nearest"
SHRINK_YCBCR = "im2double, rgb2ycbcr, imresize"  # f(a, scale, boundary)
_OF_ONE = {
    "rgb2ycbcr": rgb2ycbcr, "ycbcr2rgb": ycbcr2rgb, "rgb2gray": rgb2gray,
    "im2double": im2double, "im2single": im2single, "im2uint8": im2uint8, "im2uint16": im2uint16,
}  # fmt: skip
_COUNTS = {  # arguments, at least and at most; of the others one
    "imfilter": (2, 3), "fspecial": (1, 3), "psnr": (2, 3), "ssim": (2, 3), BLUR: (3, 3), SHRINK_YCBCR: (3, 3),
}  # fmt: skip
FUNCTIONS = (*_OF_ONE, *_COUNTS)

MAX_CALL_VALUES = 1 << 21  # of an argument, and of the output
MAX_KERNEL, MAX_WORK = 1 << 14, 1 << 28  # values of a kernel, and products of pixels and kernel


@dataclass(frozen=True)
class Call:
    """What a function of MATLAB returns for its arguments: ``output = f(a, b, c)``.

    function : one of `FUNCTIONS`; several names are applied from left to right.
    arguments : arrays of two dimensions or more (a number is 1×1), or text. imfilter takes image, kernel and boundary,
    fspecial the kind and its parameters, psnr and ssim two images and the peak.
    corner : output is only the first rows, columns and channels of the result. origin : `MATLAB` or `EXACT`.
    """

    name: str
    source: str
    function: str
    arguments: tuple[Argument, ...]
    output: NDArray[np.generic]
    corner: bool = False
    origin: str = MATLAB

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise ValueError(f"{self.name}: unknown function {self.function[:40]!r}; one of {'; '.join(FUNCTIONS)}")
        low, high = _COUNTS.get(self.function, (1, 1))
        if not low <= len(self.arguments) <= high:
            count = f"{low} to {high}" if low < high else str(low)
            raise ValueError(f"{self.name}: {self.function} takes {count} argument(s); got {len(self.arguments)}")
        for part in (*self.arguments, self.output):
            if not isinstance(part, str):
                check_matrix(self.name, part, MAX_CALL_VALUES)
        if self.function in ("imfilter", BLUR):
            self._check_work()

    def _check_work(self) -> None:
        image, kernel = self.arguments[:2]
        if isinstance(image, str) or isinstance(kernel, str):
            return  # refused when it is run
        side = float(kernel.astype(np.float64).flat[0])
        size = float(kernel.size) if self.function == "imfilter" else side * side
        if not size <= MAX_KERNEL or image.size * size > MAX_WORK:
            raise ValueError(
                f"{self.name}: {image.size} pixels and a kernel of {size:g}; at most {MAX_KERNEL}, "
                f"and {MAX_WORK} products"
            )

    def run(self) -> NDArray[np.generic]:
        """Our result for the same arguments, an array of two dimensions or more.

        Raises
        ------
        TypeError, ValueError, ArithmeticError
            Our function refuses the arguments.
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a stranger's values
            return self._run()

    def _run(self) -> NDArray[np.generic]:
        if self.function in _OF_ONE:
            result: NDArray[np.generic] = _OF_ONE[self.function](self._take_array(0))
            return result
        if self.function == "fspecial":
            numbers = [self._take_numbers(k) for k in range(1, len(self.arguments))]
            return fspecial(self._take_text(0), *(n[0] if len(n) == 1 else cast("Any", n) for n in numbers))
        if self.function == "imfilter":
            return imfilter(self._take_array(0), self._take_array(1), self._take_boundary())
        if self.function == BLUR:
            side, sigma = self._take_numbers(1, 2)
            blurred = imfilter(self._take_array(0), fspecial("gaussian", side, sigma), "replicate")
            return imresize(blurred, self._take_scale(2), "nearest")
        if self.function == SHRINK_YCBCR:
            boundary = cast("Boundary", self._take_text(2))  # imresize checks it
            return imresize(rgb2ycbcr(im2double(self._take_array(0))), self._take_scale(1), boundary=boundary)
        peak = self._take_numbers(2, 1)[0] if len(self.arguments) > 2 else None
        measure = psnr if self.function == "psnr" else ssim
        return np.array([[measure(self._take_array(0), self._take_array(1), peak)]])

    def _take_array(self, place: int) -> NDArray[Any]:
        part = self.arguments[place]
        if isinstance(part, str):
            raise ValueError(f"argument {place + 1} must be an array; got {part[:40]!r}")
        return part

    def _take_text(self, place: int) -> str:
        part = self.arguments[place]
        if not isinstance(part, str):
            raise ValueError(f"argument {place + 1} must be text; got {part.dtype} {part.shape}")
        return part

    def _take_numbers(self, place: int, count: int | None = None) -> list[float]:
        part = self._take_array(place)
        if part.size > 3 or count not in (None, part.size):
            raise ValueError(f"argument {place + 1} must be {count or '1 or 2'} number(s); got {part.size}")
        return [float(v) for v in part.ravel().tolist()]

    def _take_scale(self, place: int) -> float:
        scale = self._take_numbers(place, 1)[0]
        if not MIN_SCALE <= scale <= 1:
            raise ValueError(f"argument {place + 1} must be a scale of {MIN_SCALE} to 1; got {scale:g}")
        return scale

    def _take_boundary(self) -> Any:
        if len(self.arguments) < 3:
            return 0.0
        return self.arguments[2] if isinstance(self.arguments[2], str) else self._take_numbers(2, 1)[0]


def find_output_class(function: str, kind: str) -> str:
    """MATLAB's class of what a function returns for a first argument of the class `kind`."""
    if function in ("fspecial", "psnr", "ssim", SHRINK_YCBCR):
        return "double"
    return function.removeprefix("im2") if function.startswith("im2") else kind
