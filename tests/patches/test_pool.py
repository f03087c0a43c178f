"""Whole pictures read for a training: which planes there are, and what is refused."""

from __future__ import annotations

import hashlib
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.drawing import draw_photo

from idn_data import memory
from idn_data.images.decode import read_image, read_y
from idn_data.images.sources import BadImagesError
from idn_data.images.variants import DOWNSCALES, make_variants
from idn_data.patches.plan import count_patches
from idn_data.patches.pool import Pool, read_pool
from idn_data.patches.recipe import Recipe
from idn_data.patches.windows import cut_windows, draw_windows

RECIPE = Recipe(4, "pretrain", 5)


def list_planes(pool: Pool) -> list[np.ndarray]:
    """(C, h, w) of each plane."""
    shapes = zip(pool.starts, pool.heights, pool.widths, strict=True)
    return [pool.pixels[k : k + pool.channels * h * w].reshape(pool.channels, h, w) for k, h, w in shapes]


@pytest.mark.parametrize("boundary", ["symmetric", "replicate"])
def test_planes_are_the_downscales_of_the_variants(photos: Path, boundary: str) -> None:
    recipe = Recipe(4, "pretrain", 5, boundary=boundary)  # type: ignore[arg-type]  # the two there are
    planes = list_planes(read_pool([photos], recipe))
    assert len(planes) == 25
    for number, path in enumerate(sorted(photos.iterdir())):
        wanted = islice(make_variants(read_y(path), boundary), 5)  # type: ignore[arg-type]  # as above
        for plane, image in zip(planes[5 * number : 5 * number + 5], wanted, strict=True):
            assert np.array_equal(plane[0], image)


def test_rgb_is_reduced_channel_by_channel_and_grey_is_all_three(photos: Path) -> None:
    pool = read_pool([photos], RECIPE, channels=3)
    planes, names = list_planes(pool), sorted(path.name for path in photos.iterdir())
    colour, grey = (5 * names.index(name) + 3 for name in ("street.png", "water.png"))
    image = read_image(photos / "street.png")
    for channel in range(3):
        wanted = list(islice(make_variants(np.ascontiguousarray(image[..., channel])), 5))[3]
        assert np.array_equal(planes[colour][channel], wanted)
    assert (planes[grey] == planes[grey][0]).all()
    assert pool.digest.startswith("rgb-at-random-5:")


def test_the_pool_does_not_depend_on_the_workers_or_the_place(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = read_pool([photos], RECIPE, workers=1)
    monkeypatch.setattr(memory, "find_free_memory", lambda: 1000)
    four = read_pool([photos], RECIPE, workers=4, scratch=tmp_path)
    assert four.mapped and not one.mapped
    assert np.array_equal(one.pixels, four.pixels)
    assert one.digest == four.digest
    assert np.array_equal(one.ends, four.ends)
    patches = []
    for pool in (one, four):
        lr, gt = np.empty((9, 1, 5, 5), np.float32), np.empty((9, 1, 20, 20), np.uint8)
        cut_windows(pool, draw_windows(pool, 0, 0, 0, 9), lr, gt)
        patches.append(lr.tobytes() + gt.tobytes())
    assert patches[0] == patches[1]
    assert not [p for p in tmp_path.iterdir() if p != photos]  # nothing is left for a killed process to leave


def test_a_disk_without_room_for_the_pictures_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "find_free_memory", lambda: 1000)
    monkeypatch.setattr("idn_data.atomic.free_bytes", lambda path: 1000)
    with pytest.raises(
        OSError, match=r"the disk is full: .* needed, 1,000 bytes free; take fewer pictures, or another"
    ):
        read_pool([photos], RECIPE, scratch=tmp_path)


def test_an_epoch_has_as_many_patches_as_the_file(photos: Path) -> None:
    pool = read_pool([photos], RECIPE)
    found = count_patches(((s.height, s.width) for s in pool.sources), RECIPE)
    assert pool.patches == found // 64 * 64 > 64
    assert read_pool([photos], Recipe(4, "finetune", 23)).patches == 64  # the file would have none


def test_the_digest_says_what_decides_the_patches(photos: Path, tmp_path: Path) -> None:
    usual = read_pool([photos], RECIPE).digest
    lines = "".join(f"{p.name}\0{hashlib.sha256(p.read_bytes()).hexdigest()}\n" for p in sorted(photos.iterdir()))
    assert usual == f"y-at-random-5:{hashlib.sha256(lines.encode()).hexdigest()}"
    others = {
        read_pool([photos], Recipe(4, "pretrain", 6)).digest,
        read_pool([photos], Recipe(4, "pretrain", 5, boundary="replicate")).digest,
        read_pool([photos], RECIPE, channels=3).digest,
        read_pool([photos], RECIPE, leave_out=[photos / "water.png"]).digest,
        read_pool([photos, photos], RECIPE).digest,
    }
    assert len(others | {usual}) == 6


def test_downscales_too_small_for_a_patch_are_left_out(photos: Path) -> None:
    pool = read_pool([photos], Recipe(4, "pretrain", 24))  # GT 96x96; the pictures are 96 to 131 pixels high
    assert len(pool.starts) == 7  # all five as they are; only the street is large enough for 0.9 and 0.8
    assert min(pool.heights.min(), pool.widths.min()) >= 96
    with pytest.raises(
        ValueError, match=r"no picture holds a patch of 160x160 pixels \(the largest is 131x122\); take"
    ):
        read_pool([photos], Recipe(4, "pretrain", 40))


def test_several_folders_follow_each_other_and_some_pictures_are_left_out(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.fromarray(draw_photo(60, 70, 9)).save(other / "a.png")
    both = read_pool([photos, other], RECIPE)
    assert [s.name for s in both.sources] == [*sorted(p.name for p in photos.iterdir()), "a.png"]
    Image.fromarray(draw_photo(60, 70, 8)).save(other / "water.png")
    less = read_pool([photos, other], RECIPE, leave_out=[photos / "water.png", photos / "meadow.jpg"])
    assert [str(s.path.relative_to(tmp_path)) for s in less.sources] == [
        "photos/harbour.bmp", "photos/stone.bmp", "photos/street.png", "other/a.png", "other/water.png"
    ]  # fmt: skip
    assert less.left_out == ("meadow.jpg", "water.png")
    assert less.describe() == f"5 pictures in 25 planes, {len(less.pixels) / 1e6:.1f} MB of 8-bit Y"
    with pytest.raises(
        ValueError, match=r"sky\.png is to be left out, but is no picture of .*photos, .*other; name one"
    ):
        read_pool([photos, other], RECIPE, leave_out=[photos / "sky.png"])
    with pytest.raises(ValueError, match=r"no picture of .*other is left; name folders with others"):
        read_pool([other], RECIPE, leave_out=list(other.iterdir()))


def test_pictures_that_cannot_be_read_are_named_or_left_out(photos: Path, tmp_path: Path) -> None:
    usual = read_pool([photos], RECIPE)
    data = (photos / "street.png").read_bytes()
    (photos / "broken.png").write_bytes(data[: len(data) // 2])  # a sound head
    (photos / "empty.png").write_bytes(b"")
    with pytest.raises(BadImagesError, match=r"2 image\(s\) cannot be used") as caught:
        read_pool([photos], RECIPE)
    assert [line.partition(": ")[0] for line in caught.value.lines] == [
        str(photos / "broken.png"),
        str(photos / "empty.png"),
    ]
    pool = read_pool([photos], RECIPE, skip_bad=True)
    assert len(pool.skipped) == 2
    assert pool.digest == usual.digest
    for one, other in zip(list_planes(pool), list_planes(usual), strict=True):
        assert np.array_equal(one, other)
    only = tmp_path / "only"
    only.mkdir()
    (only / "empty.png").write_bytes(b"")
    with pytest.raises(BadImagesError, match="and there are no others"):
        read_pool([only], RECIPE, skip_bad=True)


def test_what_makes_no_pool_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_pool([tmp_path / "none"], RECIPE)
    with pytest.raises(ValueError, match=r"a pool has 1 or 3 channels and no offset; got 2 and \[0, 0\]"):
        read_pool([photos], RECIPE, channels=2)
    with pytest.raises(ValueError, match=r"no offset; got 1 and \[1, 0\]"):
        read_pool([photos], Recipe(4, "pretrain", 5, (1, 0)))
    with pytest.raises(ValueError, match="no folder named"):
        read_pool([], RECIPE)
    pool = read_pool([photos], RECIPE)
    with pytest.raises(ValueError, match="a pool needs planes, each of 20x20 pixels or more"):
        Pool(RECIPE, pool.sources, 1, pool.pixels, pool.starts[:1], np.array([19]), np.array([40]))


def test_progress_counts_the_pictures(photos: Path) -> None:
    said: list[tuple[str, int, int]] = []
    read_pool([photos], RECIPE, progress=lambda *what: said.append(what))
    assert said == [("reading pictures", k, 5) for k in range(1, 6)]
    assert len(DOWNSCALES) == 5
