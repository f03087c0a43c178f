"""Pixels where Pillow keeps them, and packed from there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.drawing import draw_photo

from idn_data.images.exact import read_exact
from idn_data.images.views import pack_pixels, view_pixels


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (33, 21), (64, 48)])
def test_colour_in_place(size: tuple[int, int]) -> None:
    if not hasattr(Image.Image, "__arrow_c_array__"):
        pytest.skip("Pillow shows its memory from 11.2 on")
    pixels = draw_photo(*size, 3)
    view = view_pixels(Image.fromarray(pixels).copy())  # the picture itself is gone, its memory is held
    assert view is not None and view.shape == (*size, 4) and not view.flags.writeable
    np.testing.assert_array_equal(view[..., :3], pixels)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "LA", "RGBA", "CMYK", "I;16", "F"])
def test_packed_as_numpy_does(mode: str) -> None:
    picture = Image.fromarray(draw_photo(33, 21, 3)).convert("L" if mode == "I;16" else mode).convert(mode)
    packed = pack_pixels(picture)
    np.testing.assert_array_equal(packed, np.array(picture))
    assert packed.dtype == np.array(picture).dtype and packed.flags.writeable and packed.flags.c_contiguous


def test_pillow_that_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(draw_photo(33, 21, 3))
    monkeypatch.delattr(Image.Image, "__arrow_c_array__", raising=False)
    assert view_pixels(picture) is None
    np.testing.assert_array_equal(pack_pixels(picture), np.array(picture))


def test_memory_in_pieces() -> None:
    picture = Image.linear_gradient("L").resize((3000, 1600)).convert("RGB")  # more than Pillow keeps in one piece
    assert view_pixels(picture) is None
    np.testing.assert_array_equal(pack_pixels(picture), np.array(picture))


FILES = [(mode, kind) for kind in ("png", "tif", "webp") for mode in ("RGB", "L", "P", "RGBA")]


@pytest.mark.parametrize(("mode", "kind"), [*FILES, ("RGB", "jpg"), ("L", "jpg"), ("RGB", "bmp")])
def test_read_exact_both_ways(tmp_path: Path, mode: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    Image.fromarray(draw_photo(33, 21, 3)).convert(mode).save(path)
    np.testing.assert_array_equal(read_exact(path, compiled=True), read_exact(path))
