"""imresize against whole pictures and double matrices that MATLAB made, where they are at hand."""

from __future__ import annotations

import csv
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from idn_data.images.decode import read_image
from idn_data.images.sets import find_fixtures
from idn_data.images.variants import modcrop
from idn_data.matlab.color import rgb2ycbcr
from idn_data.matlab.matfile import read_mat
from idn_data.matlab.resize import imresize
from idn_data.matlab.weights import BOUNDARIES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary


def shrink(data_root: Path, name: str, scale: int, boundary: Boundary) -> NDArray[np.uint8]:
    image = read_image(data_root / "test_data" / "Set5" / name)
    small: NDArray[np.uint8] = imresize(modcrop(image, scale), 1 / scale, "bicubic", boundary=boundary)
    return small


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_pictures_of_newer_and_older_matlabs(matlab_folder: Path, data_root: Path, boundary: Boundary) -> None:
    """Every value of every picture."""
    paths = sorted((matlab_folder / boundary).glob("*_LRBI_x?.png"))
    if not paths:
        pytest.skip(f"{matlab_folder} has no pictures in {boundary}")
    for path in paths:
        wanted = read_image(path)
        got = shrink(data_root, f"{path.name.split('_')[0]}_GT.bmp", int(path.stem[-1]), boundary)
        assert (got == wanted).all(), path.name
        other = shrink(data_root, f"{path.name.split('_')[0]}_GT.bmp", int(path.stem[-1]),
                       "replicate" if boundary == "symmetric" else "symmetric")  # fmt: skip
        assert (other != wanted).any()  # the border shows


def test_pictures_by_their_hashes(data_root: Path) -> None:
    """The same without the pictures: what ships is the SHA-256 of their pixels."""
    with (find_fixtures() / "matlab_pictures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["boundary"] for row in rows} == set(BOUNDARIES)
    for row in rows:
        got = shrink(data_root, row["input"], int(row["scale"]), row["boundary"])  # type: ignore[arg-type]  # checked above
        assert hashlib.sha256(np.ascontiguousarray(got).tobytes()).hexdigest() == row["sha256"], row["file"]


@pytest.mark.parametrize("scale", [3, 4])
def test_doubles_to_the_last_bit(matlab_folder: Path, scale: int) -> None:
    """Real colour doubles down, and up again: every bit, but for the first row and column of ×3."""
    path = matlab_folder / "doubles" / f"butterfly_GT_x{scale}.mat"
    if not path.is_file():
        pytest.skip(f"{matlab_folder} has no doubles/{path.name}")
    mat = read_mat(path, ("im_gt", "im_gt_y", "im_l_ycbcr", "im_b_y"))
    ycbcr = rgb2ycbcr(mat["im_gt"] / 255.0)
    small = imresize(ycbcr, 1 / scale)
    assert (small == mat["im_l_ycbcr"]).all()
    large = 255.0 * imresize(mat["im_l_ycbcr"], scale)[:, :, 0]
    wanted = mat["im_b_y"]
    assert (large[1:, 1:] == wanted[1:, 1:]).all()
    if scale == 4:
        assert (large == wanted).all()
    else:  # MATLAB's power is a unit below the rounded cube for two distances of the first pixel
        assert 0 < np.abs(large - wanted).max() < 2e-13
