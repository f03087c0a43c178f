"""The contact sheet and the comparison: what is drawn where."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from idn_data.patches.patchfile import PatchFile
from idn_data.pictures import Panel, draw_panels, draw_patches, save_picture


@pytest.fixture
def patch_file(tmp_path: Path) -> Path:
    """70 pairs whose number can be read off their brightness."""
    path = tmp_path / "a.h5"
    levels = np.linspace(0, 1, 70, dtype=np.float32)[:, None, None, None]
    with h5py.File(path, "w") as file:
        file["lr"] = np.broadcast_to(levels, (70, 1, 11, 11))
        file["gt"] = np.broadcast_to(levels, (70, 1, 44, 44))
    return path


def test_sheet_spreads_over_the_file(patch_file: Path) -> None:
    with PatchFile(patch_file) as file:
        sheet = np.asarray(draw_patches(file, columns=3, rows=2))
    cell, pair = 88, 2 * 88 + 2 + 12
    seen = [
        int(sheet[28 + 44 + row * (cell + 12), 6 + 44 + column * pair, 0]) for row in range(2) for column in range(3)
    ]
    numbers = np.linspace(0, 69, 6).astype(int)
    assert seen == [round(255 * n / 69) for n in numbers]
    for row in range(2):  # GT beside LR, of the same brightness
        y = 28 + 44 + row * (cell + 12)
        assert (sheet[y, 50] == sheet[y, 50 + 90]).all()


def test_sheet_of_large_patches_and_of_nan(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["lr"] = np.full((2, 1, 300, 300), np.nan, np.float32)
        file["gt"] = np.ones((2, 1, 600, 600), np.float32)
    with PatchFile(tmp_path / "a.h5") as file:
        sheet = draw_patches(file)
    assert sheet.height < 600 and sheet.width < 4000
    assert np.asarray(sheet)[100, 300].tolist() == [255, 255, 255]


def test_sheet_of_few_patches(patch_file: Path) -> None:
    with PatchFile(patch_file) as file:
        sheet = np.asarray(draw_patches(file, columns=20, rows=20))
    cell, pair = 88, 2 * 88 + 2 + 12
    assert sheet.shape == (28 + 4 * (cell + 12), 6 + 20 * pair, 3)  # 70 pairs take four rows
    places = [(28 + 44 + n // 20 * (cell + 12), 6 + 44 + n % 20 * pair) for n in range(80)]
    assert [int(sheet[y, x, 0]) for y, x in places] == [round(255 * n / 69) for n in range(70)] + [255] * 10


def test_panels_show_the_whole_and_the_box_of_each() -> None:
    first = np.zeros((60, 90, 3), np.uint8)
    second = np.full((60, 90), 200, np.uint8)
    first[20:40, 30:60] = (0, 0, 250)
    page = np.asarray(draw_panels([Panel("a", first, "1 dB"), Panel("b", second)], (30, 20, 60, 40), width=90))
    x, parts = 14 + 90 + 14, slice(14 + 60 + 14, 14 + 60 + 14 + 60)
    assert (page[parts, 14 : 14 + 90] == (0, 0, 250)).all()
    assert (page[parts, x : x + 90] == 200).all()
    for column in (14, x):
        whole = page[14 : 14 + 60, column : column + 90]
        assert (whole[20:40, 30] == (214, 40, 40)).all() and (whole[20, 30:60] == (214, 40, 40)).all()  # the box
        assert (page[parts.stop :, column : column + 90] < 128).any()  # the title


@pytest.mark.parametrize("box", [(-1, 0, 5, 5), (5, 5, 5, 9), (0, 0, 91, 5), (8, 9, 2, 10)])
def test_box_outside(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="does not lie in the image of 90x60"):
        draw_panels([Panel("a", np.zeros((60, 90), np.uint8))], box)


def test_panels_must_fit() -> None:
    with pytest.raises(ValueError, match="nothing to draw: no panels; give at least one"):
        draw_panels([], (0, 0, 1, 1))
    with pytest.raises(ValueError, match="all panels must show images of one size; the first is 4x4"):
        draw_panels([Panel("a", np.zeros((4, 4), np.uint8)), Panel("b", np.zeros((4, 5), np.uint8))], (0, 0, 1, 1))


def test_save_picture_keeps_what_is_there(tmp_path: Path) -> None:
    page = draw_panels([Panel("a", np.zeros((60, 90), np.uint8))], (0, 0, 9, 9))
    save_picture(page, tmp_path / "a.png")
    with pytest.raises(FileExistsError, match="exists already"):
        save_picture(page, tmp_path / "a.png")
