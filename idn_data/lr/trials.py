"""A candidate tried on pictures: HR prepared in one way or another, the result compared with the LR that is there."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from idn_data.lr.candidates import Candidate, Difference, measure
from idn_data.lr.pictures import Jpeg, Picture, fits_cut
from idn_data.matlab.color import rgb2y

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CORNER, MARGIN = 128, 16  # LR pixels along a side of the part that is tried first, and what is made beyond it


@dataclass(frozen=True)
class Preparation:
    """What is done with HR before it is reduced.

    Parameters
    ----------
    crop : str
        "none": cut at the bottom and the right to a multiple of the scale, where that has an effect; "not cut";
        "by size": not cut, and reduced to LR's very size, which may be another scale for each axis;
        "cut at the top and the left"; "cut around the centre"; "LR is a part": reduced whole, then cut;
        "HR is a part": cut, then reduced.
    channel : str
        "rgb": as it is; "y": MATLAB's Y; "grey": Y of full range, as Pillow and OpenCV have it.
    shift : (int, int)
        HR pixels by which HR is moved up and left.
    """

    crop: str = "none"
    channel: str = "rgb"
    shift: tuple[int, int] = (0, 0)

    def apply(self, picture: Picture, scale: float) -> NDArray[Any]:
        """HR as it is reduced."""
        hr = convert_channel(picture.hr, self.channel)
        if self.shift != (0, 0):
            hr = move(hr, self.shift)
        if self.crop in ("not cut", "by size") or scale != int(scale):
            return hr
        step = int(scale)
        if self.crop == "LR is a part":
            return hr[: hr.shape[0] // step * step, : hr.shape[1] // step * step]
        height, width = step * picture.size[0], step * picture.size[1]
        spare = hr.shape[0] - height, hr.shape[1] - width
        places = {
            "cut at the top and the left": spare,
            "cut around the centre": (spare[0] // 2, spare[1] // 2),
            "HR is a part": (step * picture.offset[0], step * picture.offset[1]),
        }
        top, left = places.get(self.crop, (0, 0))
        return hr[top : top + height, left : left + width]


@dataclass(frozen=True)
class Trial:
    """A candidate on HR prepared so, and perhaps a JPEG afterwards."""

    candidate: Candidate
    preparation: Preparation
    jpeg: Jpeg | None = None

    def __str__(self) -> str:
        parts = [str(self.candidate)]
        if self.preparation.channel != "rgb":
            parts.append(f"of {self.preparation.channel.upper() if self.preparation.channel == 'y' else 'grey'}")
        if self.preparation.crop != "none":
            crop = self.preparation.crop
            parts.append(crop if "part" in crop or crop == "by size" else f"HR {crop}")
        return ", ".join(parts + ([f"then a JPEG ({self.jpeg})"] if self.jpeg else []))


def convert_channel(hr: NDArray[Any], channel: str) -> NDArray[Any]:
    """HR as it is, its Y, or its grey."""
    if channel == "rgb" or hr.ndim == 2:
        return hr
    return rgb2y(hr) if channel == "y" else np.asarray(Image.fromarray(hr).convert("L"))


def move(image: NDArray[Any], shift: tuple[int, int]) -> NDArray[Any]:
    """The image moved up and left by whole pixels, the edge repeated."""
    rows = np.clip(np.arange(image.shape[0]) + shift[0], 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) + shift[1], 0, image.shape[1] - 1)
    return image[rows][:, columns]


def list_preparations(pictures: Sequence[Picture], scale: float, channels: Sequence[str]) -> list[list[Preparation]]:
    """The usual preparations, one for each channel; then the unusual ones."""
    if all(fits_cut(p, scale) for p in pictures):
        usual, others = "none", ["not cut", "cut at the top and the left", "cut around the centre"]
        if all(p.hr_size == (int(scale) * p.size[0], int(scale) * p.size[1]) for p in pictures):
            others = []
    else:
        usual, others = "not cut", ["by size"]
    return [[Preparation(usual, c) for c in channels], [Preparation(o, c) for o in others for c in channels]]


class Bench:
    """The pictures of a search, and what was made of them before."""

    def __init__(self, pictures: Sequence[Picture], scale: float) -> None:
        self.pictures, self.scale = list(pictures), scale
        self._prepared: dict[tuple[int, Preparation], NDArray[Any]] = {}

    def exchange_channels(self) -> None:
        """Go on with LR whose first and third channel are exchanged; grey LR has none."""
        self.pictures = [
            p if p.lr.ndim == 2 else replace(p, lr=np.ascontiguousarray(p.lr[..., ::-1])) for p in self.pictures
        ]

    def prepare(self, number: int, preparation: Preparation) -> NDArray[Any]:
        """HR of a picture, prepared."""
        key = number, preparation
        if key not in self._prepared:
            prepared = preparation.apply(self.pictures[number], self.scale)
            self._prepared[key] = np.ascontiguousarray(prepared)
        return self._prepared[key]

    def make(self, trial: Trial, number: int, corner: bool) -> tuple[NDArray[Any], NDArray[Any], tuple[slice, slice]]:
        """LR as a trial makes it, the LR that is there, and the part of both that can be compared."""
        picture, hr = self.pictures[number], self.prepare(number, trial.preparation)
        lr, step = picture.lr, int(self.scale)
        crop = trial.preparation.crop
        size = (hr.shape[0] // step, hr.shape[1] // step) if crop == "LR is a part" else picture.size
        whole = self.scale == step and hr.shape[:2] == (step * size[0], step * size[1])
        part = _bound_part(picture.size, trial.preparation.shift, self.scale)
        if corner and whole and trial.candidate.local and crop != "LR is a part":
            rows, columns = (min(n, CORNER + MARGIN) for n in size)
            hr, lr, size = hr[: step * rows, : step * columns], lr[:rows, :columns], (rows, columns)
            stops = [n if n <= CORNER else CORNER for n in size]
            part = slice(part[0].start, min(part[0].stop, stops[0])), slice(part[1].start, min(part[1].stop, stops[1]))
        made = trial.candidate.make(hr, size, math.inf if crop == "by size" else self.scale)  # no scale has that size
        if crop == "LR is a part":
            (top, left), (height, width) = picture.offset, picture.size
            made = made[top : top + height, left : left + width]
        if trial.jpeg:
            made = compress(made, picture.jpeg or trial.jpeg)
        return made, lr, part

    def compare(self, trial: Trial, number: int, corner: bool = False) -> Difference:
        """The difference of a trial on one picture, or its upper left corner."""
        return measure(*self.make(trial, number, corner))

    def compare_all(self, trial: Trial) -> Difference:
        """The difference of a trial on all pictures."""
        differences = [self.compare(trial, number) for number in range(len(self.pictures))]
        return sum(differences[1:], differences[0])


def _bound_part(size: tuple[int, int], shift: tuple[int, int], scale: float) -> tuple[slice, slice]:
    """The part of LR that does not depend on what was beyond the edge of an HR that was moved."""
    bounds = []
    for n, moved in zip(size, shift, strict=True):
        margin = 0 if not moved else min(n // 4, 4 + math.ceil(abs(moved) / scale))
        bounds.append(slice(margin, n - margin))
    return bounds[0], bounds[1]


def compress(image: NDArray[Any], jpeg: Jpeg) -> NDArray[np.uint8]:
    """The picture after a JPEG."""
    how: dict[str, Any] = {"qtables": jpeg.tables} if jpeg.tables else {"quality": jpeg.quality}
    if image.ndim == 3:
        how["subsampling"] = jpeg.subsampling
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "JPEG", **how)
    return np.asarray(Image.open(stream))
