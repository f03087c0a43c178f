"""The images of a test set at a scale, as the scripts' ``test_data.m`` makes them; .mat files of them read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idn_data.images.variants import make_pair, modcrop
from idn_data.matlab.classes import check_array, im2double, im2uint8
from idn_data.matlab.color import rgb2y, rgb2ycbcr, ycbcr2rgb
from idn_data.matlab.matfile import MatFileError, read_mat
from idn_data.matlab.resize import imresize
from idn_data.matlab.weights import BOUNDARIES
from idn_data.patches.recipe import SCALES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary


@dataclass(frozen=True)
class TestPair:
    """One image of a test set at one scale.

    gt : (s·h, s·w) float64, k/255; lr : (h, w) float64, not clipped; cb, cr : (s·h, s·w) uint8, None for grey;
    picture : GT as a picture, (s·h, s·w, 3) or grey (s·h, s·w) uint8, None where a .mat held Y alone;
    boundary : the border of the imresize that made lr, None where something else made it;
    lr_picture : the LR picture where there was one, (h, w, 3) or grey (h, w) uint8.
    """

    __test__ = False  # pytest takes the name for a test class

    name: str
    scale: int
    gt: NDArray[np.float64]
    lr: NDArray[np.float64]
    cb: NDArray[np.uint8] | None = None
    cr: NDArray[np.uint8] | None = None
    picture: NDArray[np.uint8] | None = None
    boundary: Boundary | None = None
    lr_picture: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        h, w = self.lr.shape
        if self.gt.shape != (h * self.scale, w * self.scale):
            raise ValueError(f"{self.name}: GT {self.gt.shape} is not {self.scale} times LR {self.lr.shape}")
        for plane in (self.cb, self.cr):
            if plane is not None and (plane.shape != self.gt.shape or plane.dtype != np.uint8):
                raise ValueError(
                    f"{self.name}: Cb and Cr must be uint8 {self.gt.shape}; got {plane.dtype} {plane.shape}"
                )


def make_test_pair(image: NDArray[np.uint8], scale: int, name: str = "", boundary: Boundary = "symmetric") -> TestPair:
    """What ``test_data.m`` makes of an image: modcrop, then Y as gt, its bicubic reduction as lr, and Cb, Cr.

    Parameters
    ----------
    image : (H, W) or (H, W, 3) uint8
    scale : int
    name : str
        Of the image, for messages and tables.
    boundary : {"symmetric", "replicate"}
        Beyond the edge of what is reduced: as newer MATLABs have it, or older ones.

    Returns
    -------
    TestPair

    Raises
    ------
    ValueError
        The image is too small for the scale.
    """
    picture = np.ascontiguousarray(modcrop(check_array(image, "make_test_pair", "uint8"), scale))
    if image.ndim == 2:
        gt, lr = make_pair(picture, scale, boundary)
        return TestPair(name, scale, im2double(gt), lr, None, None, picture, boundary)
    ycbcr = rgb2ycbcr(picture)
    gt, lr = make_pair(np.ascontiguousarray(ycbcr[:, :, 0]), scale, boundary)
    cb, cr = ycbcr[:, :, 1].copy(), ycbcr[:, :, 2].copy()
    return TestPair(name, scale, im2double(gt), lr, cb, cr, picture, boundary)


def replace_lr(pair: TestPair, picture: NDArray[np.uint8]) -> TestPair:
    """The pair with an LR picture, (h, w, 3) or grey (h, w) uint8, in place of an LR made of GT.

    LR is Y of ``rgb2ycbcr(im2double(picture))``, not rounded; of a grey picture, the picture. A grey picture beside a
    colour one counts as colour with equal channels.
    """
    if picture.ndim == 2 and pair.cb is not None:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    if picture.ndim == 3 and pair.cb is None:
        if pair.picture is None:
            raise ValueError(f"{pair.name}: GT is Y alone, LR is colour; name the folder of GT's images")
        grey = np.repeat(pair.picture[:, :, None], 3, axis=2)
        pair = replace(make_test_pair(grey, pair.scale, pair.name), boundary=None)
    double = im2double(picture)
    lr = double if picture.ndim == 2 else rgb2y(double)
    return replace(pair, lr=lr, boundary=None, lr_picture=picture)


def change_boundary(pair: TestPair, boundary: Boundary) -> TestPair:
    """The pair with the LR that imresize makes with a border; an LR that imresize did not make stays as it is."""
    if pair.boundary in (None, boundary):
        return pair
    return replace(pair, lr=imresize(pair.gt, 1 / pair.scale, boundary=boundary), boundary=boundary)


def compose_colour(y: NDArray[np.floating], cb: NDArray[np.uint8], cr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB, (H, W, 3) uint8, of Y in [0, 1], rounded to 8 bits, and 8-bit Cb and Cr, each (H, W)."""
    return ycbcr2rgb(np.stack((im2uint8(np.clip(y, 0.0, 1.0)), cb, cr), axis=2))


def compose_result(sr: NDArray[np.floating], pair: TestPair) -> NDArray[np.uint8]:
    """A method's picture of a test image, RGB or grey: Y is its SR; Cb and Cr by bicubic, of LR or of GT reduced.

    An SR in colour, (s·h, s·w, 3), is the picture but for rounding.
    """
    if sr.ndim == 3 or pair.cb is None or pair.cr is None:
        return im2uint8(np.clip(sr, 0.0, 1.0))
    s, border = pair.scale, pair.boundary or "symmetric"
    if pair.lr_picture is not None:
        small = rgb2ycbcr(pair.lr_picture)
        cb, cr = (imresize(np.ascontiguousarray(small[:, :, k]), s, boundary=border) for k in (1, 2))
        return compose_colour(sr, cb, cr)
    cb, cr = (imresize(imresize(p, 1 / s, boundary=border), s, boundary=border) for p in (pair.cb, pair.cr))
    return compose_colour(sr, cb, cr)


def _load_variable(path: Path, name: str, kind: str) -> NDArray[np.generic]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        value = read_mat(path, [name])[name]
    except KeyError:
        raise ValueError(f"{path}: holds no variable {name!r}") from None
    except MatFileError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(value, np.ndarray) or value.ndim != 2 or 0 in value.shape or value.dtype.kind != kind:
        raise ValueError(f"{path}: {name!r} must be a matrix of class {'double' if kind == 'f' else 'uint8'}")
    return value


def list_test_pairs(folder: Path | str, scale: int) -> list[Callable[[], TestPair]]:
    """One function for each image of a folder of .mat files, ours or MATLAB's, in the order of names."""
    return [partial(read_test_pair, Path(folder), name, scale) for name in list_test_names(folder, scale)]


def list_test_names(folder: Path | str, scale: int) -> list[str]:
    """The names of the images in a folder of .mat files, in order; FileNotFoundError where there are none."""
    end = f"_{scale}_gt.mat"
    names = sorted(path.name[: -len(end)] for path in Path(folder).glob(f"*{end}"))
    if not names:
        advice = f"idn make-test --scale {scale} writes them" if scale in (*SCALES, 8) else "name a folder of images"
        raise FileNotFoundError(f"no *{end} in {folder}; {advice}")
    return names


def read_test_pair(folder: Path, name: str, scale: int) -> TestPair:
    """Read ``<name>_<scale>_gt.mat`` and its companions; ValueError where one is missing, broken or unfit."""
    paths = {part: folder / f"{name}_{scale}_{part}.mat" for part in ("gt", "lr", "cb", "cr")}
    held = {
        p: _load_variable(path, p, "u" if p in ("cb", "cr") else "f")
        for p, path in paths.items()
        if p in ("gt", "lr") or path.is_file()
    }
    gt, lr = (held[part].astype(np.float64) for part in ("gt", "lr"))
    pair = TestPair(name, scale, gt, lr, held.get("cb"), held.get("cr"))  # type: ignore[arg-type]  # u checked
    return replace(pair, boundary=_find_boundary(pair))


def _find_boundary(pair: TestPair) -> Boundary | None:
    """The border of the imresize that made an LR, a newer MATLAB's or an older one's; None if neither did."""
    for boundary in BOUNDARIES:
        made = imresize(pair.gt, 1 / pair.scale, boundary=boundary)
        if np.abs(made - pair.lr).max() < 1e-9:  # MATLAB's own doubles are within 1e-13
            return boundary
    return None
