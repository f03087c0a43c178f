from __future__ import annotations

import errno
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat
from scipy.sparse import csc_array
from support.mat73 import save_mat73

from idn_data.atomic import BusyError
from idn_data.images.decode import list_images, read_image
from idn_data.images.sources import BadImagesError
from idn_data.matlab.color import rgb2ycbcr
from idn_data.matlab.resize import imresize
from idn_data.matlab.weights import BOUNDARIES
from idn_data.scores.maketest import make_test, save_mat
from idn_data.scores.testset import (
    TestPair,
    change_boundary,
    compose_result,
    list_test_pairs,
    make_test_pair,
    read_test_pair,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

STEMS = {"harbour": True, "meadow": True, "street": True, "stone": False, "water": False}  # name -> colour
TYPES = {"gt": np.float64, "lr": np.float64, "cb": np.uint8, "cr": np.uint8}


def list_names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def expect_names(scales: tuple[int, ...] = (2, 3, 4)) -> list[str]:
    return sorted(
        f"{stem}_{scale}_{part}.mat"
        for stem, colour in STEMS.items()
        for scale in scales
        for part in (("gt", "lr", "cb", "cr") if colour else ("gt", "lr"))
    )


def load(path: Path, name: str) -> NDArray[np.generic]:
    """The one variable of a .mat file, which must hold no other."""
    held = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    assert list(held) == [name]
    return held[name]


def split_ycbcr(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Y, Cb, Cr by the formula of BT.601 in whole thousandths, rounded to the nearest."""
    if image.ndim == 2:
        return [image]
    r, g, b = (image[..., k].astype(np.int64) for k in range(3))
    sums = (
        16 * 255_000 + 65481 * r + 128553 * g + 24966 * b,
        128 * 255_000 - 37797 * r - 74203 * g + 112000 * b,
        128 * 255_000 + 112000 * r - 93786 * g - 18214 * b,
    )
    return [((s + 127_500) // 255_000).astype(np.uint8) for s in sums]


# --- make-test ---


@pytest.mark.parametrize("scales", [(2, 3, 4), (3,)])
def test_files_names_types_and_values(photos: Path, tmp_path: Path, scales: tuple[int, ...]) -> None:
    out = tmp_path / "new" / "mat"
    files, skipped = make_test(photos, out, scales, workers=2)
    assert skipped == []
    assert files == len(expect_names(scales))
    assert list_names(out) == expect_names(scales)
    for path in list_images(photos):
        image = read_image(path)
        for scale in scales:
            h, w = (n - n % scale for n in image.shape[:2])
            planes = split_ycbcr(image[:h, :w])
            gt = planes[0] / 255.0
            wanted = {"gt": gt, "lr": imresize(gt, 1 / scale), **dict(zip(("cb", "cr"), planes[1:], strict=False))}
            assert wanted["lr"].shape == (h // scale, w // scale)
            for part, value in wanted.items():
                held = load(out / f"{path.stem}_{scale}_{part}.mat", part)
                assert held.dtype == TYPES[part]
                np.testing.assert_array_equal(held, value)


def test_replicated_edges(photos: Path, tmp_path: Path) -> None:
    """LR of the older border, which the files say in their first line; GT, Cb and Cr are those of the newer."""
    newer, older = tmp_path / "newer", tmp_path / "older"
    make_test(photos, newer, (2, 8))
    make_test(photos, older, (2, 8), boundary="replicate")
    assert list_names(older) == list_names(newer) == expect_names((2, 8))
    for path in older.iterdir():
        part = path.stem.rpartition("_")[2]
        held, other = load(path, part), load(newer / path.name, part)
        text = b"MATLAB 5.0 MAT-file, written by idn; imresize with the border replicate"
        assert path.read_bytes()[:116].rstrip() == text
        assert (newer / path.name).read_bytes()[:116].rstrip() == text[:35]
        assert np.array_equal(held, other) == (part != "lr")
        if part == "lr":
            scale = int(path.stem.split("_")[1])
            wanted = imresize(load(older / path.name.replace("_lr", "_gt"), "gt"), 1 / scale, boundary="replicate")
            np.testing.assert_array_equal(held, wanted)
    assert {read().boundary for read in list_test_pairs(older, 8)} == {"replicate"}  # found by making them again
    assert {read().boundary for read in list_test_pairs(newer, 2)} == {"symmetric"}


def test_an_lr_that_imresize_did_not_make_stays(photos: Path, tmp_path: Path) -> None:
    make_test(photos, tmp_path, (2,))
    for path in tmp_path.glob("*_lr.mat"):
        save_mat(path, "lr", load(path, "lr").round(2), force=True)
    for read in list_test_pairs(tmp_path, 2):
        pair = read()
        assert pair.boundary is None
        assert change_boundary(pair, "replicate") is pair


def test_colour_of_a_result_takes_the_border_of_its_lr(photos: Path) -> None:
    image = read_image(photos / "meadow.jpg")
    pairs = [make_test_pair(image, 3, boundary=boundary) for boundary in BOUNDARIES]
    newer, older = (rgb2ycbcr(compose_result(pairs[0].gt, pair)) for pair in pairs)
    inside = np.s_[12:-12, 12:-12]
    np.testing.assert_array_equal(newer[inside], older[inside])
    assert (newer != older).any()


def test_a_folder_holds_one_border(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "mat"
    make_test(photos, out, (2,))
    (out / "matlab_2_lr.mat").write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64")  # does not say its border
    before = list_names(out)
    with pytest.raises(
        ValueError, match=r"harbour_2_lr\.mat was made with the border symmetric, now replicate; choose an"
    ):
        make_test(photos, out, (3,), boundary="replicate")
    assert list_names(out) == before
    make_test(photos, out, (2, 3), boundary="replicate", force=True)  # which replaces those of the other border


def test_lr_is_not_clipped(tmp_path: Path) -> None:
    checks = np.kron(np.indices((12, 12)).sum(axis=0) % 2, np.ones((5, 5))).astype(np.uint8) * 255
    pair = make_test_pair(checks, 2)
    assert pair.lr.min() < 0
    assert pair.lr.max() > 1


def test_second_run_writes_the_same_bytes(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, workers in (("a", 1), ("b", 2)):
        monkeypatch.setattr(time, "asctime", lambda *_, name=name: f"at another time, {name}")  # scipy's header has it
        make_test(photos, tmp_path / name, (2,), workers=workers)
    for name in list_names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes().startswith(b"MATLAB 5.0 MAT-file")


def test_name_up_to_the_first_dot(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "mat"
    folder.mkdir()
    Image.new("RGB", (30, 20)).save(folder / "img_001.SRF_2.HR.png")
    make_test(folder, out, (2,))
    assert list_names(out) == [f"img_001_2_{part}.mat" for part in ("cb", "cr", "gt", "lr")]


def test_real_set14(data_root: Path, tmp_path: Path) -> None:
    files, _ = make_test(data_root / "test_data" / "Set14", tmp_path / "mat", (4,), workers=2)
    assert files == len(list_names(tmp_path / "mat")) == 14 * 4 - 2
    assert [n for n in list_names(tmp_path / "mat") if n.startswith("bridge")] == ["bridge_4_gt.mat", "bridge_4_lr.mat"]
    # a palette of greys: the pixels as they are, not turned into studio swing
    with Image.open(data_root / "test_data" / "Set14" / "bridge.bmp") as picture:
        grey = np.asarray(picture.convert("L"))
    np.testing.assert_array_equal(load(tmp_path / "mat" / "bridge_4_gt.mat", "gt"), grey / 255.0)
    assert load(tmp_path / "mat" / "baboon_4_cb.mat", "cb").shape == (480, 500)


def test_existing_file_stops_before_anything_is_written(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "mat"
    out.mkdir()
    (out / "street_3_cr.mat").write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"street_3_cr\.mat exists already; --force replaces it"):
        make_test(photos, out)
    assert list_names(out) == ["street_3_cr.mat"]
    assert (out / "street_3_cr.mat").read_bytes() == b"precious"
    make_test(photos, out, force=True)
    assert load(out / "street_3_cr.mat", "cr").dtype == np.uint8
    assert list_names(out) == expect_names()


@pytest.mark.parametrize("other", ["stone.png", "stone.large.png"])
def test_two_images_of_one_name(photos: Path, tmp_path: Path, other: str) -> None:
    (photos / other).write_bytes(b"")  # not decoded: only the name counts
    with pytest.raises(
        ValueError, match=rf"stone\.bmp and .*{other} would both become .*stone_…mat; rename or leave out one"
    ):
        make_test(photos, tmp_path / "mat")
    assert not (tmp_path / "mat").exists()


def test_too_small_image(photos: Path, tmp_path: Path) -> None:
    Image.new("L", (30, 3)).save(photos / "thin.png")
    with pytest.raises(ValueError, match=r"thin\.png: 3x30 pixels are too few for scale 4"):
        make_test(photos, tmp_path / "mat")
    assert not (tmp_path / "mat").exists()
    assert make_test(photos, tmp_path / "mat", (2, 3))[0] > 0


@pytest.mark.parametrize(("scales", "said"), [((5,), "5"), ((2, 1), "2, 1"), ((), "none"), ((0,), "0")])
def test_bad_scale(photos: Path, tmp_path: Path, scales: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=f"scales must be among 2, 3, 4, 8; got {said}$"):
        make_test(photos, tmp_path / "mat", scales)
    assert not (tmp_path / "mat").exists()


def test_scales_in_any_order_and_twice(photos: Path, tmp_path: Path) -> None:
    files, _ = make_test(photos, tmp_path / "mat", (3, 2, 3))
    assert files == len(expect_names((2, 3)))
    assert list_names(tmp_path / "mat") == expect_names((2, 3))


def test_bad_images(photos: Path, tmp_path: Path) -> None:
    (photos / "empty.png").write_bytes(b"")
    with pytest.raises(BadImagesError, match=r"1 image\(s\) cannot be used") as caught:
        make_test(photos, tmp_path / "mat")
    assert len(caught.value.lines) == 1
    assert "empty.png: the file is empty" in caught.value.lines[0]
    assert not (tmp_path / "mat").exists()
    files, skipped = make_test(photos, tmp_path / "mat", (2,), skip_bad=True)
    assert files == len(expect_names((2,)))
    assert skipped == list(caught.value.lines)


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no images in"):
        make_test(tmp_path, tmp_path / "mat")


# --- room and company ---


def test_a_set_without_room_is_refused_before_anything_is_written(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    with pytest.raises(OSError, match=r"the disk is full: 0\.2 MB needed, 0\.1 MB free; and as much again is usual"):
        make_test(photos, tmp_path / "mat")
    assert not list((tmp_path / "mat").iterdir())


@pytest.mark.parametrize("stood", [False, True])
def test_a_disk_that_fills_up_leaves_no_part_of_a_set(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stood: bool
) -> None:
    out = tmp_path / "mat"
    if stood:
        make_test(photos, out, [2])
    before = {p.name: p.read_bytes() for p in out.glob("*")}
    write_bytes, written = Path.write_bytes, []

    def fill(path: Path, data: bytes) -> int:
        if len(written) == 11:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match=r"the disk is full: [\d,]+ bytes needed, [\d.]+ [GM]B free; make room") as caught:
        make_test(photos, out, force=True, workers=1)
    assert str(caught.value.filename).endswith(".mat")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_the_second_of_two_into_one_folder_says_so(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "mat"

    def start_another(what: str, done: int, total: int) -> None:
        if what == "writing .mat files" and done == 1:
            with pytest.raises(BusyError, match=r"another idn is writing .*mat; wait for it, or name another output"):
                make_test(photos, out, force=True)

    make_test(photos, out, [2], progress=start_another)
    assert len(list(out.iterdir())) == 16


# --- pairs ---


def test_pair_of_a_colour_image(photos: Path) -> None:
    image = read_image(photos / "street.png")
    pair = make_test_pair(image, 4, "street")
    ycbcr = rgb2ycbcr(image)[:128, :120]
    assert (pair.name, pair.scale) == ("street", 4)
    np.testing.assert_array_equal(pair.gt, ycbcr[..., 0] / 255.0)
    np.testing.assert_array_equal(pair.cb, ycbcr[..., 1])
    np.testing.assert_array_equal(pair.cr, ycbcr[..., 2])
    assert pair.lr.shape == (32, 30)


def test_pair_of_a_grey_image(photos: Path) -> None:
    pair = make_test_pair(read_image(photos / "stone.bmp"), 3)
    assert pair.cb is None
    assert pair.cr is None
    assert pair.gt.shape == (99, 96)


def test_unfit_pair_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x: GT \(8, 9\) is not 2 times LR \(4, 4\)"):
        TestPair("x", 2, np.zeros((8, 9)), np.zeros((4, 4)))


def test_round_trip(photos: Path, tmp_path: Path) -> None:
    make_test(photos, tmp_path / "mat")
    for scale in (2, 3, 4):
        loaders = list_test_pairs(tmp_path / "mat", scale)
        pairs = [load_pair() for load_pair in loaders]
        assert [p.name for p in pairs] == sorted(STEMS)
        for pair in pairs:
            path = next(p for p in list_images(photos) if p.stem == pair.name)
            wanted = make_test_pair(read_image(path), scale, pair.name)
            for part in TYPES:
                np.testing.assert_array_equal(getattr(pair, part), getattr(wanted, part))
            assert (pair.cb is not None) == STEMS[pair.name]


def test_matlab_file_of_single_precision_is_read(tmp_path: Path) -> None:
    savemat(tmp_path / "x_2_gt.mat", {"gt": np.full((8, 6), 0.5, np.float32)})
    savemat(tmp_path / "x_2_lr.mat", {"lr": np.full((4, 3), 0.25, np.float32)})
    pair = read_test_pair(tmp_path, "x", 2)
    assert pair.gt.dtype == pair.lr.dtype == np.float64
    assert (pair.gt == 0.5).all()


def test_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \*_3_gt\.mat in .*; idn make-test --scale 3 writes them"):
        list_test_pairs(tmp_path, 3)
    with pytest.raises(FileNotFoundError, match=r"no \*_3_gt\.mat in"):
        list_test_pairs(tmp_path / "nowhere", 3)
    with pytest.raises(FileNotFoundError, match=r"no \*_5_gt\.mat in .*; name a folder of images"):
        list_test_pairs(tmp_path, 5)


# --- broken .mat files ---


def truncate(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def keep_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:128])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fill_with_junk(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(4000))


def spoil_the_middle(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 40] = bytes(40)
    path.write_bytes(whole)


def rename_variable(path: Path) -> None:
    savemat(path, {"image": np.zeros((8, 6))})


def remove(path: Path) -> None:
    path.unlink()


def save_another(value: object) -> Callable[[Path], None]:
    return lambda path: savemat(path, {"gt": value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncate, r"x_2_gt\.mat: cut off within a variable; copy it or save it again"),
        (keep_header, r"x_2_gt\.mat: "),
        (empty, r"x_2_gt\.mat: the file is empty; copy it or save it again"),
        (fill_with_junk, r"x_2_gt\.mat: not a \.mat file; name one that MATLAB's save wrote"),
        (spoil_the_middle, r"x_2_gt\.mat: damaged; copy it or save it again"),
        (rename_variable, r"x_2_gt\.mat: holds no variable 'gt'"),
        (remove, r"x_2_gt\.mat: no such file"),
        (save_another("text"), r"x_2_gt\.mat: 'gt' must be a matrix of class double"),
        (save_another(np.zeros((8, 6, 3))), r"x_2_gt\.mat: 'gt' must be a matrix of class double"),
        (save_another(np.zeros((0, 6))), r"x_2_gt\.mat: 'gt' must be a matrix of class double"),
        (save_another(np.zeros((8, 6), complex)), r"x_2_gt\.mat: 'gt' must be a matrix of class double"),
        (save_another({"field": 1.0}), r"x_2_gt\.mat: 'gt' must be a matrix of class double"),
        (save_another(csc_array(np.eye(8))), r"x_2_gt\.mat: 'gt' must be a matrix of class double"),
        (save_another(np.zeros((8, 8))), r"x: GT \(8, 8\) is not 2 times LR \(4, 3\)"),
        (save_another(np.zeros((4, 3))), r"x: GT \(4, 3\) is not 2 times LR \(4, 3\)"),
    ],
)
def test_broken_gt(tmp_path: Path, change: Callable[[Path], None], message: str) -> None:
    noise = np.random.default_rng(0).random((8, 6))
    save_mat(tmp_path / "x_2_gt.mat", "gt", noise)
    save_mat(tmp_path / "x_2_lr.mat", "lr", noise[:4, :3])
    assert read_test_pair(tmp_path, "x", 2).gt.shape == (8, 6)
    change(tmp_path / "x_2_gt.mat")
    with pytest.raises(ValueError, match=message) as caught:
        read_test_pair(tmp_path, "x", 2)
    assert "\n" not in str(caught.value)


def test_sets_of_version_7_3(photos: Path, tmp_path: Path) -> None:
    """As MATLAB saves them with -v7.3, or where that is its default."""
    make_test(photos, tmp_path, (2,))
    wanted = read_test_pair(tmp_path, "street", 2)
    for part in TYPES:
        path = tmp_path / f"street_2_{part}.mat"
        value = load(path, part)
        path.unlink()
        save_mat73(path, {part: value}, compression="gzip", chunks=True)
    found = read_test_pair(tmp_path, "street", 2)
    for part in TYPES:
        np.testing.assert_array_equal(getattr(found, part), getattr(wanted, part))


@pytest.mark.parametrize("part", [0.02, 0.1, 0.3, 0.7, 0.9, 0.99])
def test_truncated_anywhere(photos: Path, tmp_path: Path, part: float) -> None:
    make_test(photos, tmp_path, (2,))
    path = tmp_path / "stone_2_lr.mat"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(ValueError, match=r"stone_2_lr\.mat: ") as caught:
        read_test_pair(tmp_path, "stone", 2)
    assert "\n" not in str(caught.value)


def test_missing_lr(photos: Path, tmp_path: Path) -> None:
    make_test(photos, tmp_path / "mat", (2,))
    (tmp_path / "mat" / "stone_2_lr.mat").unlink()
    with pytest.raises(ValueError, match=r"stone_2_lr\.mat: no such file"):
        list_test_pairs(tmp_path / "mat", 2)[2]()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((9, 9), np.uint8), r"harbour: Cb and Cr must be uint8 \(120, 96\); got uint8 \(9, 9\)"),
        (np.zeros((60, 48), np.uint8), r"harbour: Cb and Cr must be uint8 \(120, 96\); got uint8 \(60, 48\)"),
        (np.zeros((120, 96), np.uint16), r"harbour: Cb and Cr must be uint8 \(120, 96\); got uint16 \(120, 96\)"),
        (np.zeros((120, 96)), r"harbour_2_cb\.mat: 'cb' must be a matrix of class uint8"),
    ],
)
def test_unfit_chroma(photos: Path, tmp_path: Path, value: NDArray[np.generic], message: str) -> None:
    make_test(photos, tmp_path / "mat", (2,))
    save_mat(tmp_path / "mat" / "harbour_2_cb.mat", "cb", value, force=True)
    with pytest.raises(ValueError, match=message):
        read_test_pair(tmp_path / "mat", "harbour", 2)


def test_gt_of_8_bits_is_refused(tmp_path: Path) -> None:
    """As uint8 it lies in 0…255: taken for doubles in [0, 1] it would be scored without a word."""
    save_mat(tmp_path / "x_2_gt.mat", "gt", np.full((8, 6), 200, np.uint8))
    save_mat(tmp_path / "x_2_lr.mat", "lr", np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"x_2_gt\.mat: 'gt' must be a matrix of class double"):
        read_test_pair(tmp_path, "x", 2)


def test_colour_made_grey_leaves_no_old_chroma(photos: Path, tmp_path: Path) -> None:
    """After --force the set is that of the images as they are now."""
    make_test(photos, tmp_path / "mat", (2,))
    shutil.copy(photos / "water.png", photos / "street.png")  # a grey picture under the old name
    make_test(photos, tmp_path / "mat", (2,), force=True)
    pair = read_test_pair(tmp_path / "mat", "street", 2)
    assert pair.gt.shape == (96, 96)
    assert pair.cb is None


def test_an_image_too_large_to_be_read_back(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idn_data.scores.maketest.MAX_BYTES", 8 * 100 * 100)
    with pytest.raises(ValueError, match=r"pixels are too many for a \.mat of doubles.*takes the images themselves"):
        make_test(photos, tmp_path / "out", [2])
    assert not (tmp_path / "out").exists()
