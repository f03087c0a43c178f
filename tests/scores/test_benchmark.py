from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from support.drawing import draw_photo

from idn_data.images.decode import list_images, read_image
from idn_data.images.sources import BadImagesError
from idn_data.matlab.classes import im2double, im2uint8
from idn_data.matlab.color import rgb2y, rgb2ycbcr, ycbcr2rgb
from idn_data.matlab.quality import psnr, ssim
from idn_data.matlab.resize import imresize
from idn_data.matlab.weights import BOUNDARIES
from idn_data.patches.recipe import SCALES
from idn_data.scores import protocols
from idn_data.scores.benchmark import evaluate, evaluate_sets, find_published
from idn_data.scores.maketest import make_test
from idn_data.scores.methods import BICUBIC, Method, upscale_bicubic
from idn_data.scores.pairs import PairError
from idn_data.scores.sets import TestSet, attach_lr, open_set
from idn_data.scores.testset import make_test_pair

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_data.scores.protocols import ProtocolName

# bicubic as the README of IDN-TensorFlow prints it: PSNR in dB, SSIM
PUBLISHED = {
    ("Set5", 2): ("33.68", "0.9304"), ("Set5", 3): ("30.40", "0.8682"), ("Set5", 4): ("28.43", "0.8104"),
    ("Set14", 2): ("30.24", "0.8693"), ("Set14", 3): ("27.54", "0.7746"), ("Set14", 4): ("26.00", "0.7029"),
    ("B100", 2): ("29.56", "0.8442"), ("B100", 3): ("27.21", "0.7401"), ("B100", 4): ("25.96", "0.6697"),
}  # fmt: skip
COUNTS = {"Set5": 5, "Set14": 14, "B100": 100}


def find_images(data_root: Path, name: str) -> Path:
    folder = data_root / "test_data" / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; the data root lacks {name}")
    return folder


def work_out(folder: Path, scale: int, protocol: str) -> tuple[float, float]:
    """The bicubic baseline of a folder, in the words of the protocol; uint8 repeats the edge pixel at the border."""
    boundary: Boundary = "replicate" if protocol == "uint8" else "symmetric"
    scores = []
    for path in list_images(folder):
        pair = make_test_pair(read_image(path), scale)
        h, w = pair.gt.shape
        sr = imresize(imresize(pair.gt, 1 / scale, boundary=boundary), scale, boundary=boundary)
        sr, gt = (a[scale : h - scale, scale : w - scale] for a in (sr, pair.gt))
        if protocol == "uint8":
            sr, gt = (np.floor(np.clip(a * 255, 0, 255) + 0.5) for a in (sr, gt))
            error = np.mean((sr - gt) ** 2)
            scores.append((10 * np.log10(255**2 / error), ssim(sr, gt, 255, valid=True)))
        else:
            scores.append((10 * np.log10(1 / np.mean((sr - gt) ** 2)), ssim(sr, gt)))
    return tuple(np.mean(scores, axis=0).tolist())


# --- the published numbers ---


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", list(COUNTS))
def test_bicubic_is_the_published_one(data_root: Path, name: str, scale: int) -> None:
    find_images(data_root, name)
    test_set = open_set(name, data_root, workers=2)
    (score,), images = evaluate(BICUBIC, test_set, scale, ("float",), workers=2)
    assert (f"{score.psnr:.2f}", f"{score.ssim:.4f}") == PUBLISHED[name, scale]
    assert (f"{score.published_psnr:.2f}", f"{score.published_ssim:.4f}") == PUBLISHED[name, scale]
    assert (score.set, score.registered, score.border, score.channel) == (name, True, scale, "Y")
    assert score.images == len(images) == COUNTS[name]


def test_mat_files_of_a_real_set_alone(data_root: Path, tmp_path: Path) -> None:
    make_test(find_images(data_root, "Set5"), tmp_path / "test_data" / "mat" / "Set5", (3,), workers=2)
    test_set = open_set("Set5", tmp_path)
    assert (test_set.mat, test_set.registered) == (True, False)
    (score,), _ = evaluate(BICUBIC, test_set, 3, ("float",))
    assert (f"{score.psnr:.2f}", f"{score.ssim:.4f}") == PUBLISHED["Set5", 3]
    assert score.published_psnr == 30.40


@pytest.mark.parametrize(("name", "scale"), list(PUBLISHED))
def test_published_numbers_are_at_hand(name: str, scale: int) -> None:
    found = find_published(name, scale, "bicubic", "float", COUNTS[name])
    assert found is not None
    assert (f"{found[0]:.2f}", f"{found[1]:.4f}") == PUBLISHED[name, scale]


@pytest.mark.parametrize(
    ("name", "scale", "method", "protocol"),
    [("Set5", 2, "bicubic", "uint8"), ("Set5", 5, "bicubic", "float"), ("holiday", 2, "bicubic", "float")],
)
def test_nothing_is_compared_with_another_protocol_or_set(name: str, scale: int, method: str, protocol: str) -> None:
    assert find_published(name, scale, method, protocol, 5) is None  # type: ignore[arg-type]


def test_nothing_published_stands_beside_a_part_of_a_set(tmp_path: Path) -> None:
    assert find_published("Set5", 3, "bicubic", "float", 4) is None
    (tmp_path / "Set5").mkdir()
    for count, name in enumerate("abcde", 1):
        Image.fromarray(draw_photo(24, 24, 0)).save(tmp_path / "Set5" / f"{name}.png")
        (score,), _ = evaluate(BICUBIC, open_set(str(tmp_path / "Set5"), tmp_path), 3, ("float", "float"))
        assert (score.images, score.published_psnr) == (count, 30.40 if count == 5 else None)
    with pytest.raises(ValueError, match=r"Set5 holds the images of Set5; save SR to another folder"):
        evaluate_sets([(BICUBIC, (3,))], [open_set(str(tmp_path / "Set5"), tmp_path)], save_to=tmp_path / "Set5")


def test_a_set_is_called_by_the_link_that_names_it(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(photos)
    assert open_set(str(tmp_path / "mine"), tmp_path).name == "mine"


# --- rows ---


def test_rows(photos: Path, tmp_path: Path) -> None:
    scores, images = evaluate(BICUBIC, open_set(str(photos), tmp_path), 3)
    rows = [score.row() for score in scores]
    assert [list(row)[:9] for row in rows] == 2 * [
        ["set", "scale", "method", "protocol", "images", "psnr", "ssim", "published_psnr", "published_ssim"]
    ]
    names = sorted(p.name for p in photos.iterdir())
    lines = "".join(f"{n}\0{hashlib.sha256((photos / n).read_bytes()).hexdigest()}\n" for n in names)
    for row, protocol in zip(rows, ("float", "uint8"), strict=True):
        psnr_db, similarity = work_out(photos, 3, protocol)
        assert row.pop("psnr") == pytest.approx(psnr_db, rel=1e-12)
        assert row.pop("ssim") == pytest.approx(similarity, rel=1e-12)
        assert row == {
            "set": "photos", "scale": 3, "method": "bicubic", "protocol": protocol, "images": 5,
            "published_psnr": None, "published_ssim": None, "channel": "Y", "border": 3,
            "digest": hashlib.sha256(lines.encode()).hexdigest(), "registered": False,
            "boundary": "replicate" if protocol == "uint8" else "symmetric",
        }  # fmt: skip
    assert [(i.image, i.protocol) for i in images] == [(n.split(".")[0], p) for n in names for p in ("float", "uint8")]
    for protocol, score in zip(("float", "uint8"), scores, strict=True):
        assert score.psnr == pytest.approx(np.mean([i.psnr for i in images if i.protocol == protocol]))


def test_mean_is_over_images_not_pixels(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k, side in enumerate((20, 200)):
        Image.fromarray(rng.integers(0, 50 * (k + 1), (side, side), dtype=np.uint8)).save(folder / f"{k}.png")
    (score,), images = evaluate(BICUBIC, open_set(str(folder), tmp_path), 2, ("float",))
    assert abs(images[0].psnr - images[1].psnr) > 3
    assert score.psnr == pytest.approx((images[0].psnr + images[1].psnr) / 2, rel=1e-14)


@pytest.mark.parametrize("scale", SCALES)
def test_scores_do_not_depend_on_workers(photos: Path, tmp_path: Path, scale: int) -> None:
    test_set = open_set(str(photos), tmp_path)
    assert BICUBIC.parallel
    assert evaluate(BICUBIC, test_set, scale, workers=1) == evaluate(BICUBIC, test_set, scale, workers=3)


def test_progress(photos: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    test_set = open_set(str(photos), tmp_path)
    evaluate(BICUBIC, test_set, 2, progress=lambda *call: calls.append(call))
    assert calls == [("photos x2", k, 5) for k in range(1, 6)]


# --- sets ---


@pytest.mark.parametrize("scale", SCALES)
def test_mat_files_score_as_their_images(photos: Path, tmp_path: Path, scale: int) -> None:
    make_test(photos, tmp_path / "mat", workers=2)
    of_images, of_mats = (open_set(str(folder), tmp_path) for folder in (photos, tmp_path / "mat"))
    assert (of_images.mat, of_mats.mat) == (False, True)
    scores = [evaluate(BICUBIC, s, scale) for s in (of_images, of_mats)]
    for one, other in zip(scores[0][1], scores[1][1], strict=True):
        assert replace(other, set="photos") == one
    for one, other in zip(scores[0][0], scores[1][0], strict=True):
        assert replace(other, set="photos", digest=one.digest) == one
        assert other.digest != one.digest


def test_mat_files_below_the_data_root(photos: Path, tmp_path: Path) -> None:
    make_test(photos, tmp_path / "test_data" / "mat" / "Set5", (2,))
    test_set = open_set("Set5", tmp_path)
    assert (test_set.name, test_set.mat, test_set.registered) == ("Set5", True, False)
    assert len(test_set.list_pairs(2)) == 5
    with pytest.raises(FileNotFoundError, match=r"no \*_4_gt\.mat in"):
        evaluate(BICUBIC, test_set, 4)


def test_images_go_before_mat_files(photos: Path, tmp_path: Path) -> None:
    make_test(photos, tmp_path / "test_data" / "mat" / "Set5", (2,))
    shutil.copytree(photos, tmp_path / "test_data" / "Set5")
    test_set = open_set("Set5", tmp_path)
    assert not test_set.mat
    assert test_set.folder == tmp_path / "test_data" / "Set5"
    assert not test_set.registered  # the name alone does not make it the authors' set


def test_digest_follows_the_content(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "elsewhere")
    first, second = open_set(str(photos), tmp_path), open_set(str(tmp_path / "elsewhere"), tmp_path)
    assert first.digest == second.digest
    with (photos / "water.png").open("ab") as stream:
        stream.write(b"\0")
    assert open_set(str(photos), tmp_path).digest != first.digest
    for scale in (2, 3):
        make_test(tmp_path / "elsewhere", tmp_path / "mat", (scale,))
        digests = {open_set(str(tmp_path / "mat"), tmp_path).digest for _ in range(2)}
        assert len(digests) == 1


def test_unknown_set(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Set5 is not in .*, or get it with: idn fetch Set5"):
        open_set("Set5", tmp_path)
    with pytest.raises(FileNotFoundError, match="no set or folder 'Set6'; one of 291, Set5"):
        open_set("Set6", tmp_path)
    with pytest.raises(FileNotFoundError, match="no images in"):
        open_set(str(tmp_path), tmp_path)


def test_set_with_a_broken_image(photos: Path, tmp_path: Path) -> None:
    (photos / "empty.png").write_bytes(b"")
    with pytest.raises(BadImagesError) as caught:
        open_set(str(photos), tmp_path)
    assert len(caught.value.lines) == 1
    assert "empty.png: the file is empty" in caught.value.lines[0]


def test_image_too_small_for_the_border(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    Image.new("L", (8, 8)).save(folder / "tiny.png")
    with pytest.raises(ValueError, match="cannot shave 4 pixels off each side of a 8x8 image"):
        evaluate(BICUBIC, open_set(str(folder), tmp_path), 4)


@pytest.mark.parametrize("protocol", ["y", "rgb"])
def test_pictures_are_composed_and_compared(photos: Path, tmp_path: Path, protocol: ProtocolName) -> None:
    (mean,), images = evaluate(BICUBIC, open_set(str(photos), tmp_path), 2, (protocol,))
    assert (mean.channel, mean.border) == (("Y", 2) if protocol == "y" else ("RGB", 8))
    for path, found in zip(list_images(photos), images, strict=True):
        gt = read_image(path)[: read_image(path).shape[0] // 2 * 2, : read_image(path).shape[1] // 2 * 2]
        if gt.ndim == 2:
            sr = im2uint8(imresize(imresize(im2double(gt), 0.5), 2).clip(0, 1))
        else:
            ycbcr = rgb2ycbcr(gt)
            y = im2uint8(imresize(imresize(im2double(ycbcr[:, :, 0]), 0.5), 2).clip(0, 1))
            colour = [imresize(imresize(np.ascontiguousarray(ycbcr[:, :, k]), 0.5), 2) for k in (1, 2)]
            sr = ycbcr2rgb(np.dstack([y, *colour]))
        assert (found.psnr, found.ssim) == protocols.score(sr, gt, 2, protocol)


def test_pictures_of_mat_files_are_not_there(photos: Path, tmp_path: Path) -> None:
    make_test(photos, tmp_path / "mat", (2,))
    with pytest.raises(ValueError, match="harbour: the protocol y compares pictures"):
        evaluate(BICUBIC, open_set(str(tmp_path / "mat"), tmp_path), 2, ("y",))


@pytest.mark.parametrize("mat", [False, True])
def test_images_too_small_are_named_before_anything_is_computed(tmp_path: Path, mat: bool) -> None:
    """SSIM's window needs 11 pixels: the error had the size alone, after all other images were scored."""
    folder = tmp_path / "set"
    folder.mkdir()
    for name, size in (("large", (40, 40)), ("tiny", (17, 40)), ("wee", (40, 17))):
        Image.new("L", size).save(folder / f"{name}.png")
    if mat:
        make_test(folder, tmp_path / "mat", (4,))
        folder = tmp_path / "mat"
    calls = []
    method = Method("net", lambda lr, scale: calls.append(lr))  # type: ignore[func-returns-value]
    said = rf"{folder.name} x4: too small for the protocol uint8: tiny \(40x16\), wee \(16x40\); .* at least 11x11"
    with pytest.raises(ValueError, match=said):
        evaluate(method, open_set(str(folder), tmp_path), 4)
    assert not calls


# --- methods ---


def overshoot(lr: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
    """Stands for a network: whole images, values beyond [0, 1]."""
    return np.kron(lr, np.ones((scale, scale))) * 1.6 - 0.3


@pytest.mark.parametrize("clip", [True, False])
def test_a_method_of_ones_own(photos: Path, tmp_path: Path, clip: bool) -> None:
    method = Method("net", overshoot, clip=clip)
    scores, images = evaluate(method, open_set(str(photos), tmp_path), 2, ("float",), workers=2)
    wanted = []
    for path in list_images(photos):
        pair = make_test_pair(read_image(path), 2)
        sr = overshoot(pair.lr, 2)
        assert sr.max() > 1 or sr.min() < 0
        if clip:
            sr = sr.clip(0, 1)
        wanted.append((psnr(sr[2:-2, 2:-2], pair.gt[2:-2, 2:-2]), ssim(sr[2:-2, 2:-2], pair.gt[2:-2, 2:-2])))
    assert [(i.psnr, i.ssim) for i in images] == wanted
    assert (scores[0].method, scores[0].published_psnr) == ("net", None)


def test_clipping_is_what_networks_get() -> None:
    assert Method("net", overshoot).clip
    assert not Method("net", overshoot).parallel
    assert not BICUBIC.clip


def test_a_perfect_method(photos: Path, tmp_path: Path) -> None:
    truth = {}
    for path in list_images(photos):
        pair = make_test_pair(read_image(path), 2)
        truth[pair.lr.tobytes()] = pair.gt
    method = Method("oracle", lambda lr, _: truth[lr.tobytes()])
    scores, _ = evaluate(method, open_set(str(photos), tmp_path), 2, boundary="symmetric")
    assert [(s.psnr, s.ssim) for s in scores] == [(np.inf, 1.0)] * 2


@pytest.mark.parametrize("wrong", [(1, 0), (0, -1), None])
def test_a_method_that_returns_a_wrong_size(photos: Path, tmp_path: Path, wrong: tuple[int, int] | None) -> None:
    def upscale(lr: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
        h, w = lr.shape
        return np.zeros((1, 1, h * scale, w * scale) if wrong is None else (h * scale + wrong[0], w * scale + wrong[1]))

    with pytest.raises(ValueError, match=r"net: SR of harbour is \(.*\), GT \(120, 96\)"):
        evaluate(Method("net", upscale), open_set(str(photos), tmp_path), 2)


def test_the_error_of_a_method_comes_through(photos: Path, tmp_path: Path) -> None:
    def fail(lr: NDArray[np.float64], scale: int) -> NDArray[np.float64]:
        raise MemoryError("too large")

    with pytest.raises(MemoryError, match="too large"):
        evaluate(Method("net", fail), open_set(str(photos), tmp_path), 2)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_upscale_bicubic_is_imresize(boundary: Boundary) -> None:
    lr = np.random.default_rng(0).random((7, 9))
    np.testing.assert_array_equal(upscale_bicubic(lr, 3, boundary), imresize(lr, 3, boundary=boundary))


def test_each_protocol_has_its_border(photos: Path, tmp_path: Path) -> None:
    """Each LR is asked for with the border of its protocol, and once for all protocols of a border."""
    seen: list[tuple[bytes, str]] = []

    def upscale(lr: NDArray[np.float64], scale: int, boundary: Boundary) -> NDArray[np.float64]:
        seen.append((lr.tobytes(), boundary))
        return upscale_bicubic(lr, scale, boundary)

    method, test_set = Method("mine", upscale, bordered=True), open_set(str(photos), tmp_path)
    scores, _ = evaluate(method, test_set, 2, ("float", "uint8", "y"))
    assert [s.boundary for s in scores] == ["symmetric", "replicate", "symmetric"]
    wanted = []
    for path in list_images(photos):
        gt = make_test_pair(read_image(path), 2).gt
        wanted += [(imresize(gt, 0.5, boundary=b).tobytes(), b) for b in BOUNDARIES]
    assert seen == wanted
    seen.clear()
    scores, _ = evaluate(method, test_set, 2, ("float", "uint8"), boundary="replicate")
    assert [s.boundary for s in scores] == ["replicate"] * 2
    assert seen == wanted[1::2]
    with pytest.raises(ValueError, match="unknown boundary 'circular'; one of symmetric, replicate"):
        evaluate(method, test_set, 2, boundary="circular")  # type: ignore[arg-type]


# --- LR pictures that exist ---


@pytest.fixture
def lr_set(tmp_path: Path) -> TestSet:
    """Two GT pictures, in colour and grey, not cut, and their LR as 8-bit pictures of another name."""
    for name, grey in (("a", False), ("b", True)):
        pixels = draw_photo(47, 53, ord(name))
        pixels = pixels[:, :, 0] if grey else pixels
        (tmp_path / "gt").mkdir(exist_ok=True)
        (tmp_path / "lr").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "gt" / f"{name}.png")
        Image.fromarray(imresize(pixels[:44, :52], 0.25)).save(tmp_path / "lr" / f"{name}_LRBI_x4.png")
    return open_set(str(tmp_path / "gt"), tmp_path)


def test_lr_pictures_are_taken_as_they_are(lr_set: TestSet, tmp_path: Path) -> None:
    taken = attach_lr(lr_set, tmp_path / "lr", 4)
    assert "LR from" in taken.describe() and "LR from" not in lr_set.describe()
    colour, grey = (load() for load in taken.list_pairs(4))
    small = np.array(Image.open(tmp_path / "lr" / "a_LRBI_x4.png"))
    assert np.array_equal(colour.lr, rgb2y(im2double(small))) and colour.gt.shape == (44, 52)
    assert np.array_equal(grey.lr, im2double(np.array(Image.open(tmp_path / "lr" / "b_LRBI_x4.png"))))
    (y,), _ = evaluate(BICUBIC, taken, 4, ["y"])
    wanted = []
    for pair in (colour, grey):
        sr = imresize(pair.lr, 4)
        if pair.lr_picture is not None and pair.lr_picture.ndim == 3:
            ycbcr = rgb2ycbcr(small)
            planes = [im2uint8(np.clip(sr, 0, 1)), *(imresize(ycbcr[:, :, k].copy(), 4) for k in (1, 2))]
            picture = ycbcr2rgb(np.stack(planes, axis=2))
        else:
            picture = im2uint8(np.clip(sr, 0, 1))
        wanted.append(protocols.score(picture, pair.picture, 4, "y")[0])
    assert y.psnr == pytest.approx(np.mean(wanted), abs=1e-12)


def test_lr_pictures_that_do_not_fit(lr_set: TestSet, tmp_path: Path) -> None:
    Image.fromarray(draw_photo(10, 13, 0)).save(tmp_path / "lr" / "a_LRBI_x4.png")
    with pytest.raises(PairError, match="1 LR pictures do not fit their GT; name those of scale 4") as caught:
        attach_lr(lr_set, tmp_path / "lr", 4)
    assert "times 4 it is 40x52, a.png is 47x53" in caught.value.lines[0]
    (tmp_path / "lr" / "a_LRBI_x4.png").unlink()
    with pytest.raises(PairError, match="1 of 2 pictures pair"):
        attach_lr(lr_set, tmp_path / "lr", 4)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        attach_lr(lr_set, tmp_path / "none", 4)


def test_two_sets_of_one_name_are_refused(tmp_path: Path) -> None:
    """Their scores would stand in one row: ``benchmark/Set5/HR`` and ``benchmark/Set14/HR``."""
    for folder in ("one", "two"):
        (tmp_path / folder / "HR").mkdir(parents=True)
        Image.fromarray(draw_photo(32, 32, 1)).save(tmp_path / folder / "HR" / "a.png")
    sets = [open_set(str(tmp_path / folder / "HR"), tmp_path) for folder in ("one", "two")]
    with pytest.raises(ValueError, match="two sets are called HR; name each set once, or rename a folder"):
        evaluate_sets([(BICUBIC, (2,))], sets)


@pytest.mark.parametrize(
    ("chosen", "boundary", "saved"),
    [(["uint8"], None, "replicate"), (["float"], None, "symmetric"), (["float", "uint8"], None, "symmetric"),
     (["float", "uint8"], "replicate", "replicate")],
)  # fmt: skip
def test_saved_pictures_have_the_border_that_was_scored(
    tmp_path: Path, chosen: list[ProtocolName], boundary: Boundary | None, saved: Boundary
) -> None:
    image = draw_photo(32, 40, 1)[:, :, 0]
    (tmp_path / "gt").mkdir()
    Image.fromarray(image).save(tmp_path / "gt" / "a.png")
    test_set = open_set(str(tmp_path / "gt"), tmp_path)
    evaluate_sets([(BICUBIC, (2,))], [test_set], chosen, boundary=boundary, save_to=tmp_path / "sr")
    gt = im2double(image)
    sr = imresize(imresize(gt, 1 / 2, boundary=saved), 2, boundary=saved)
    np.testing.assert_array_equal(read_image(tmp_path / "sr" / "a_x2_bicubic.png"), im2uint8(sr))
