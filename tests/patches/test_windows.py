"""Patches cut from whole pictures: each is what `imresize` of its phase's whole crop holds there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from idn_data.images.sources import Source
from idn_data.images.variants import modcrop
from idn_data.matlab.classes import im2double
from idn_data.matlab.resize import imresize
from idn_data.matlab.weights import BOUNDARIES, Boundary, compute_weights
from idn_data.patches.pool import Pool
from idn_data.patches.recipe import Recipe
from idn_data.patches.windows import ORIENTATIONS, cut_windows, draw_windows, find_taps


def make_pool(recipe: Recipe, sizes: Sequence[tuple[int, int]], channels: int = 1) -> Pool:
    """Planes of noise: no pixel is like another, so that a wrong one shows."""
    areas = [channels * h * w for h, w in sizes]
    pixels = np.random.default_rng(7).integers(0, 256, sum(areas), dtype=np.uint8)
    starts = np.cumsum([0, *areas])[:-1]
    heights, widths = np.array(sizes, np.int64).T
    sources = (Source(Path("a.png"), *sizes[0], "0" * 64),)
    return Pool(recipe, sources, channels, pixels, starts, heights, widths)


def cut_slowly(pool: Pool, draw: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The patch of a draw by `imresize` of everything there is at its phase."""
    (start, height, width, y, x, orientation), s, p = draw, pool.recipe.scale, pool.recipe.lr_side
    lr, gt = [], []
    for channel in range(pool.channels):
        first = start + channel * height * width
        plane = pool.pixels[first : first + height * width].reshape(height, width)
        crop = np.ascontiguousarray(modcrop(plane[y % s :, x % s :], s))
        small = imresize(im2double(crop), 1 / s, boundary=pool.recipe.boundary)[y // s :, x // s :][:p, :p]
        large = plane[y : y + s * p, x : x + s * p]
        turned = [np.rot90(part, orientation // 2) for part in (small, large)]
        small, large = [part[::-1] if orientation % 2 else part for part in turned]
        lr.append(small.astype(np.float32))
        gt.append(large)
    return np.stack(lr), np.stack(gt)


def cut(pool: Pool, draws: np.ndarray, dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    p, g = pool.recipe.lr_side, pool.recipe.gt_side
    lr = np.full((len(draws), pool.channels, p, p), np.nan, np.float32)
    gt = np.zeros((len(draws), pool.channels, g, g), dtype)
    cut_windows(pool, draws, lr, gt)
    return lr, gt


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_position_is_that_of_the_whole_picture(scale: int, boundary: Boundary) -> None:
    """All positions of small planes, so all phases, edges and corners; some planes are narrower than the taps reach."""
    recipe = Recipe(scale, "pretrain", 3, boundary=boundary)
    g = recipe.gt_side
    pool = make_pool(recipe, [(g + 5, g + 6), (g, g + scale), (5 * g, g + 1)])
    draws = np.array(
        [
            (start, h, w, y, x, (3 * y + x) % ORIENTATIONS)
            for start, h, w in zip(pool.starts, pool.heights, pool.widths, strict=True)
            for y in range(h - g + 1)
            for x in range(w - g + 1)
        ]
    )
    assert len(draws) == pool.positions
    lr, gt = cut(pool, draws)
    for k, draw in enumerate(draws.tolist()):
        small, large = cut_slowly(pool, draw)
        assert np.array_equal(lr[k], small), draw
        assert np.array_equal(gt[k], large), draw


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [1, 7, 8, 19])
def test_orientations_channels_and_sides(side: int, channels: int) -> None:
    pool = make_pool(Recipe(4, "pretrain", side), [(4 * side + 30, 4 * side + 21)], channels)
    draws = np.array([(0, 4 * side + 30, 4 * side + 21, 13, 6, o) for o in range(ORIENTATIONS)])
    lr, gt = cut(pool, draws, np.float32)
    assert len({patch.tobytes() for patch in gt}) == ORIENTATIONS
    for k, draw in enumerate(draws.tolist()):
        small, large = cut_slowly(pool, draw)
        assert np.array_equal(lr[k], small)
        assert np.array_equal(gt[k], (large / 255.0).astype(np.float32))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_all_pixels_of_an_axis_have_the_same_weights(scale: int) -> None:
    """What `find_taps` rests on, for pictures of 65,536 pixels a side."""
    weights, indices = compute_weights(65536 // scale * scale, 65536 // scale, 1 / scale)
    taps = find_taps(scale)
    assert (weights == taps.weights).all()
    first = scale * np.arange(len(indices))[:, None] - taps.lead + taps.offsets
    inside = slice(taps.lead, -taps.lead)
    assert np.array_equal(indices[inside], first[inside])


def test_draws_are_even_over_positions_and_orientations() -> None:
    pool = make_pool(Recipe(2, "pretrain", 3), [(7, 8), (6, 6), (8, 7)])  # 2·3, 1 and 3·2 positions
    draws = draw_windows(pool, 5, 1, 9, 13_000)
    cells, counts = np.unique(draws, axis=0, return_counts=True)
    assert len(cells) == 13 * 8
    assert abs(counts - 125).max() < 5 * 125**0.5  # 5 σ
    start, height, width, y, x = draws.T[:5]
    assert ((y + 6 <= height) & (x + 6 <= width)).all()
    assert set(zip(start.tolist(), height.tolist(), width.tolist(), strict=True)) == {(0, 7, 8), (56, 6, 6), (92, 8, 7)}


def test_draws_follow_from_seed_epoch_and_number_alone() -> None:
    pool = make_pool(Recipe(2, "pretrain", 3), [(70, 80)])
    first = draw_windows(pool, 5, 1, 9, 64)
    assert np.array_equal(draw_windows(pool, 5, 1, 9, 64), first)
    for other in ((6, 1, 9), (5, 2, 9), (5, 1, 10)):
        assert not np.array_equal(draw_windows(pool, *other, 64), first)
    with pytest.raises(ValueError, match="non-negative"):
        draw_windows(pool, -1, 0, 0, 4)


@pytest.mark.parametrize(
    "draw", [(0, 9, 9, 4, 0, 0), (0, 9, 9, 0, -1, 0), (0, 9, 9, 0, 0, 8), (1, 9, 9, 0, 0, 0), (-1, 9, 9, 0, 0, 0)]
)
def test_a_patch_outside_its_plane_is_refused(draw: tuple[int, ...]) -> None:
    pool = make_pool(Recipe(2, "pretrain", 3), [(9, 9)])
    with pytest.raises(ValueError, match=r"draw \[.*\] does not lie in its plane; draw_windows gives those that do"):
        cut(pool, np.array([(0, 9, 9, 0, 0, 0), draw]))


def test_arrays_of_other_shapes_are_refused() -> None:
    pool = make_pool(Recipe(2, "pretrain", 3), [(9, 9)])
    draws = draw_windows(pool, 0, 0, 0, 4)
    with pytest.raises(ValueError, match=r"LR and GT must be \(\(4, 1, 3, 3\), \(4, 1, 6, 6\)\); got \(4, 3, 3\)"):
        cut_windows(pool, draws, np.empty((4, 3, 3), np.float32), np.empty((4, 1, 6, 6), np.uint8))


def test_the_kernel_is_right_without_its_compiler() -> None:
    """The same source run by Python: no result hangs on how numba compiles it."""
    code = (
        "import sys; sys.path.insert(0, 'tests/patches')\n"
        "from test_windows import *\n"
        "pool = make_pool(Recipe(3, 'pretrain', 2), [(13, 11)])\n"
        "draws = draw_windows(pool, 0, 0, 0, 8)\n"
        "for k, (lr, gt) in enumerate(zip(*cut(pool, draws))):\n"
        "    small, large = cut_slowly(pool, draws[k].tolist())\n"
        "    assert np.array_equal(lr, small) and np.array_equal(gt, large)\n"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": "."}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
