"""Pairs of LR and HR pictures: found by their names, read, and their scale by their sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import JpegImagePlugin

from idn_data.images.exact import read_exact
from idn_data.images.opening import open_picture
from idn_data.images.pairs import group_by_name, strip_name
from idn_data.lr.layouts import list_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_STEPS = (1.0, 2.0, 4.0, 10.0, 20.0)  # a scale is a multiple of one of these parts, simple ones first
MOST_SCALE = 16


@dataclass(frozen=True)
class Jpeg:
    """How a JPEG was compressed: Pillow's tables and subsampling (0: 4:4:4, 1: 4:2:2, 2: 4:2:0), or a quality."""

    subsampling: int
    quality: int | None = None
    tables: dict[int, list[int]] | None = field(default=None, hash=False)

    def __str__(self) -> str:
        ratio = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(self.subsampling, "grey")
        return f"quality {self.quality}, {ratio}" if self.quality else f"the file's own tables, {ratio}"


@dataclass(frozen=True)
class Picture:
    """A pair: LR and HR as they are stored, the part of the whole LR that this one is, and what JPEG says of LR."""

    name: str
    lr: NDArray[Any]
    hr: NDArray[Any]
    jpeg: Jpeg | None = None
    offset: tuple[int, int] = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of LR."""
        return self.lr.shape[0], self.lr.shape[1]

    @property
    def hr_size(self) -> tuple[int, int]:
        """Rows and columns of HR."""
        return self.hr.shape[0], self.hr.shape[1]


def find_pairs(lr: Sequence[Path | str] | Path | str, hr: Sequence[Path | str] | Path | str) -> list[tuple[Path, Path]]:
    """LR and HR files of one name, without suffix.

    Equal names are tried first: the ``x01`` of ``tex01.png`` is no scale. If no names are equal, they are taken without
    what layouts add (``x4``, ``_LRBI``, ``_HR``, ``_GT``). A single LR and a single HR are a pair whatever their names.
    Pictures without a partner are passed over.

    Raises
    ------
    FileNotFoundError
        No such path, or a folder without pictures.
    ValueError
        No pair at all, or several pictures with one name.
    """
    lrs, hrs = (list_sources([paths] if isinstance(paths, (str, Path)) else paths) for paths in (lr, hr))
    if len(lrs) == len(hrs) == 1:
        return [(lrs[0], hrs[0])]
    rules: tuple[Callable[[str], str], ...] = (str, strip_name)
    for clean in rules:
        groups = group_by_name(lrs, hrs, clean, clean)
        pairs = [(p, partner) for p in lrs for partner in groups[clean(p.stem)][1]]
        if pairs:
            break
    taken: dict[Path, Path] = {}
    for low, high in pairs:
        other = taken.setdefault(low, high)
        if other != high:
            raise ValueError(f"{low} may belong to {other} and to {high}; name one of them alone")
    if not pairs:
        raise ValueError(f"no LR has the name of an HR, such as {lrs[0].name} and {hrs[0].name}; name two files")
    return pairs


def read_pictures(pairs: Sequence[tuple[Path, Path]]) -> list[Picture]:
    """Read the pairs; LR and HR are brought to the same number of channels.

    Grey LR of colour HR stays grey where all LR is grey. Beside LR in colour it is colour without saturation.

    Raises
    ------
    ImageError
        A picture that cannot be read.
    ValueError
        LR and HR of unlike bits, or LR that is not smaller.
    """
    pictures = []
    for low, high in pairs:
        lr: NDArray[Any] = read_exact(low)
        hr: NDArray[Any] = read_exact(high)
        if lr.dtype != hr.dtype:
            raise ValueError(f"{low}: {8 * lr.itemsize} bits, its HR {high} {8 * hr.itemsize}; give both the same")
        if lr.shape[0] >= hr.shape[0] or lr.shape[1] >= hr.shape[1]:
            raise ValueError(
                f"{low}: {lr.shape[1]}x{lr.shape[0]} pixels are not fewer than those of its HR {high}, "
                f"{hr.shape[1]}x{hr.shape[0]}; give LR first, then HR"
            )
        if lr.ndim == 3 and (lr == lr[..., :1]).all():
            lr = np.ascontiguousarray(lr[..., 0])
        if lr.ndim == 2 and hr.ndim == 3 and (hr == hr[..., :1]).all():
            hr = np.ascontiguousarray(hr[..., 0])
        if lr.ndim == 3 and hr.ndim == 2:
            hr = np.repeat(hr[..., None], 3, axis=2)
        pictures.append(Picture(low.name, lr, hr, _read_jpeg(low)))
    if any(p.lr.ndim == 3 for p in pictures):
        pictures = [replace(p, lr=np.repeat(p.lr[..., None], 3, axis=2)) if p.lr.ndim < p.hr.ndim else p
                    for p in pictures]  # fmt: skip
    return pictures


def _read_jpeg(path: Path) -> Jpeg | None:
    with open_picture(path) as picture:
        if not isinstance(picture, JpegImagePlugin.JpegImageFile):
            return None
        tables = {key: list(values) for key, values in picture.quantization.items()}
        return Jpeg(JpegImagePlugin.get_sampling(picture), None, tables)


def find_scale(pictures: Sequence[Picture]) -> float | None:
    """The simplest scale that explains all sizes, HR cut to a multiple of it or LR rounded up; None if none does."""
    longest = max(p.hr_size[0] / p.size[0] for p in pictures)
    for parts in _STEPS:
        near = round(longest * parts)
        for k in sorted(range(max(1, near - 2), near + 3), key=lambda k: abs(k / parts - longest)):
            scale = k / parts
            if 1 < scale <= MOST_SCALE and all(fits(p, scale) for p in pictures):
                return scale
    return None


def fits(picture: Picture, scale: float) -> bool:
    """Whether the sizes are those of a whole scale and a cut HR, or of LR rounded up."""
    return fits_cut(picture, scale) or picture.size == tuple(math.ceil(n / scale) for n in picture.hr_size)


def fits_cut(picture: Picture, scale: float) -> bool:
    """Whether LR has the size of an HR that is cut to a multiple of a whole scale."""
    return scale == int(scale) and picture.size == tuple(n // int(scale) for n in picture.hr_size)
