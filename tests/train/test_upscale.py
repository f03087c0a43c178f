"""idn_train.upscale: tiles, self-ensemble, methods, colour and photographs."""

import hashlib
import io
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from PIL.Image import Exif
from support.drawing import draw_photo

from idn_data import imresize, rgb2ycbcr, ycbcr2rgb
from idn_data.images.decode import ImageError, list_images, read_image, read_y
from idn_data.images.variants import modcrop
from idn_data.matlab.classes import im2double, im2uint8
from idn_data.scores.benchmark import evaluate
from idn_data.scores.methods import Method, upscale_bicubic
from idn_data.scores.sets import open_set
from idn_data.scores.testset import compose_colour, compose_result, make_test_pair
from idn_train.checkpoint import load_caffemodel, save_weights
from idn_train.enlarge import fill_hidden
from idn_train.network import IDN, SCALES
from idn_train.photos import FORMATS
from idn_train.upscale import TILE, make_method, make_teacher, upscale_photo, upscale_y

ORIENTATION, MAKE, EXIF_FOLDER, COMMENT = 274, 271, 34665, 37510
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def make_network(scale: int, seed: int = 0, std: float = 0.005) -> IDN:
    """Seeded weights whose residual on a picture is some tenths."""
    network = IDN(scale)
    network.reset_parameters(torch.Generator().manual_seed(seed), std)
    return network


def make_bicubic(scale: int, residual: float = 0.0) -> IDN:
    """A network that adds the same residual everywhere."""
    network = IDN(scale)
    with torch.no_grad():
        network.upsample.weight.zero_()
        network.upsample.bias.fill_(residual)
    return network


def draw_y(height: int, width: int, seed: int = 0) -> np.ndarray:
    return draw_photo(height, width, seed)[:, :, 1] / 255.0


def run_whole(network: IDN, y: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(y).float()[None, None])[0, 0].double().numpy()


# ---- one channel


@pytest.mark.parametrize("scale", SCALES)
def test_one_tile_is_the_network_bit_for_bit(scale):
    network, y = make_network(scale), draw_y(37, 50)
    sr = upscale_y(network, y)
    assert sr.shape == (37 * scale, 50 * scale) and sr.dtype == np.float64
    assert (sr == run_whole(network, y)).all()
    assert np.abs(sr - imresize(y, scale)).max() > 0.05  # the residual does take part


@pytest.mark.parametrize(("scale", "tile"), [(2, 24), (2, 41), (3, 30), (4, 1), (4, 25)])
def test_tiles_equal_the_whole(scale, tile):
    shape = (5, 6) if tile == 1 else (83, 70)
    network, y = make_network(scale, seed=scale), draw_y(*shape)
    tiled = upscale_y(network, y, tile=tile)
    assert np.abs(tiled - run_whole(network, y)).max() < 1e-6


@pytest.mark.parametrize(("scale", "corner"), [(2, (0, 2)), (3, (0, 0)), (3, (2, 2)), (4, (2, 2))])
def test_tiles_see_as_far_as_the_network_does(scale, corner):
    """Convolutions that only shift reach as far as any can, with nothing lost on the way."""
    network = IDN(scale)
    far = [slice(0, scale) if c == 2 else slice(17 - scale, 17) for c in corner]  # of the transposed convolution
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.zero_()
            if name == "upsample.weight":
                weight[:, :, far[0], far[1]] = 1 / 64
            elif name.endswith("weight"):
                y, x = corner if weight.shape[-1] == 3 else (0, 0)
                weight[:, :, y, x] = 1 / weight.shape[1]
    y = draw_y(96, 90)
    whole = run_whole(network, y)
    assert np.abs(whole - imresize(y, scale)).max() > 0.5
    assert np.abs(upscale_y(network, y, tile=32) - whole).max() < 1e-6 * np.abs(whole).max()


@pytest.mark.parametrize("scale", SCALES)
def test_without_a_residual_it_is_matlabs_bicubic(scale):
    y = draw_y(40, 61)
    assert np.abs(upscale_y(make_bicubic(scale), y, tile=20) - imresize(y, scale)).max() < 1e-6


@pytest.mark.parametrize("scale", SCALES)
def test_self_ensemble_is_the_mean_of_eight(scale):
    network, y = make_network(scale), draw_y(19, 28)
    views = []
    for flip in (False, True):
        for turns in range(4):
            sr = np.rot90(run_whole(network, np.rot90(y[::-1] if flip else y, turns).copy()), -turns)
            views.append(sr[::-1] if flip else sr)
    mean = upscale_y(network, y, self_ensemble=True)
    assert np.abs(mean - np.mean(views, axis=0)).max() < 1e-6
    assert np.abs(mean - views[0]).max() > 1e-3
    assert np.abs(upscale_y(network, y, tile=10, self_ensemble=True) - mean).max() < 1e-6
    turned = upscale_y(network, np.rot90(y).copy(), self_ensemble=True)
    assert np.abs(np.rot90(turned, -1) - mean).max() < 1e-6


def test_computes_in_float32_under_autocast_and_leaves_no_graph():
    network, y = make_network(2), draw_y(20, 20)
    whole = run_whole(network, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (upscale_y(network, y) == whole).all()
        assert (run_whole(network, y) != whole).any()
    assert all(p.requires_grad and p.grad is None for p in network.parameters())


@pytest.mark.parametrize(
    ("y", "tile", "message"),
    [
        (np.zeros((4, 4), np.uint8), 8, r"\(h, w\) floats in \[0, 1\], not empty; got uint8 \(4, 4\); see im2double"),
        (np.zeros((4, 4, 3)), 8, r"got float64 \(4, 4, 3\)"),
        (np.zeros((0, 4)), 8, r"got float64 \(0, 4\)"),
        (np.zeros((4, 4)), 0, "tile must be at least 1 pixel; got 0"),
    ],
)
def test_bad_arguments(y, tile, message):
    with pytest.raises(ValueError, match=message):
        upscale_y(make_bicubic(2), y, tile=tile)


def test_a_teacher_is_the_mean_of_all_orientations_of_its_networks(tmp_path):
    lr = draw_y(9, 14)
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    networks = [make_network(3, seed) for seed in (1, 2)]
    for path, network in zip(paths, networks, strict=True):
        save_weights(path, network)
    teacher = make_teacher(paths, 3, torch.device("cpu"))
    wanted = sum(upscale_y(network, lr, self_ensemble=True) for network in networks) / 2
    assert np.abs(teacher.answer(lr) - wanted).max() < 1e-12
    assert np.abs(teacher.answer(np.rot90(lr)) - np.rot90(wanted)).max() < 1e-5
    assert teacher.digests == tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    with pytest.raises(ValueError, match=r"a\.safetensors: made for scale 3, not 4; name weights of that scale"):
        make_teacher(paths, 4, torch.device("cpu"))


@pytest.mark.parametrize("boundary", ["symmetric", "replicate"])
def test_a_teachers_bicubic_has_the_border_of_the_lr(tmp_path, boundary):
    lr = draw_y(9, 14)
    save_weights(tmp_path / "a.safetensors", make_bicubic(3))
    teacher = make_teacher([tmp_path / "a.safetensors"], 3, torch.device("cpu"), boundary)
    assert np.abs(teacher.answer(lr) - imresize(lr, 3, boundary=boundary)).max() < 1e-6
    other = "symmetric" if boundary == "replicate" else "replicate"
    assert np.abs(teacher.answer(lr) - imresize(lr, 3, boundary=other)).max() > 1e-3


def test_a_teacher_answers_one_at_a_time(tmp_path, monkeypatch):
    """Which kernels of a GPU are exact is chosen for the whole process: an answer's end changed the next one."""
    save_weights(tmp_path / "a.safetensors", make_bicubic(2))
    teacher, spans = make_teacher([tmp_path / "a.safetensors"], 2, torch.device("cpu")), []

    def answer_slowly(network: IDN, lr: np.ndarray, **_: object) -> np.ndarray:
        begun = time.monotonic()
        time.sleep(0.02)
        spans.append((begun, time.monotonic()))
        return np.kron(lr, np.ones((2, 2)))

    monkeypatch.setattr("idn_train.upscale.upscale_y", answer_slowly)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(teacher.answer, [draw_y(4, 5, seed) for seed in range(8)]))
    assert [(a == np.kron(draw_y(4, 5, seed), np.ones((2, 2)))).all() for seed, a in enumerate(answers)] == [True] * 8
    spans.sort()
    assert len(spans) == 8 and all(end <= begun for (_, end), (begun, _) in pairwise(spans))


@pytest.mark.cuda
def test_cuda_equals_cpu():
    y = draw_y(83, 70)
    cpu = upscale_y(make_network(2), y)
    method = make_method(make_network(2).cuda(), "IDN")
    # float32 sums in another order: 1.3e-5 on an H200; an 8-bit step is 4e-3
    assert np.abs(method.upscale(y, 2) - cpu).max() < 4e-5
    assert np.abs(upscale_y(make_network(2).cuda(), y, tile=24) - cpu).max() < 4e-5


def test_real_weights_in_tiles_on_a_real_image(authors_weights, data_root):
    network = load_caffemodel(authors_weights / "IDN_x2.caffemodel")
    lr = make_test_pair(read_image(list_images(data_root / "test_data" / "Set5")[-1]), 2).lr
    assert np.abs(upscale_y(network, lr, tile=64) - run_whole(network, lr)).max() < 1e-6


# ---- methods and colour


def test_method_scores_like_the_function_it_wraps(photos):
    test_set = open_set(str(photos), Path("none"), workers=1)
    method = make_method(make_bicubic(3), "IDN (zero)")
    assert (method.name, method.clip, method.parallel) == ("IDN (zero)", True, False)
    found = evaluate(method, test_set, 3)[1]
    expected = evaluate(Method("clipped", upscale_bicubic), test_set, 3)[1]
    assert len(found) == 10
    for mine, other in zip(found, expected, strict=True):
        assert mine.psnr == pytest.approx(other.psnr, abs=1e-3) and mine.ssim == pytest.approx(other.ssim, abs=1e-5)


def test_method_refuses_another_scale():
    with pytest.raises(ValueError, match="IDN: made for scale 3, asked for 2; name weights of that scale"):
        make_method(make_bicubic(3), "IDN").upscale(draw_y(9, 9), 2)


def test_method_with_self_ensemble():
    network, y = make_network(2), draw_y(12, 15)
    sr = make_method(network, "IDN+", self_ensemble=True).upscale(y, 2)
    assert (sr == upscale_y(network, y, self_ensemble=True)).all()


def test_compose_colour_is_ycbcr2rgb():
    ycbcr = rgb2ycbcr(draw_photo(30, 40, 1))
    rgb = compose_colour(ycbcr[..., 0] / 255.0, ycbcr[..., 1], ycbcr[..., 2])
    assert rgb.dtype == np.uint8 and (rgb == ycbcr2rgb(ycbcr)).all()
    grey = compose_colour(draw_y(8, 8), *np.full((2, 8, 8), 128, np.uint8))
    assert (grey == grey[..., :1]).all()


@pytest.mark.parametrize("scale", SCALES)
def test_compose_result_takes_y_from_the_method_and_colour_from_lr(scale):
    image = draw_photo(50, 61, 2)
    pair = make_test_pair(image, scale)
    rgb = compose_result(pair.gt, pair)
    ycbcr = rgb2ycbcr(rgb).astype(int)
    gt = rgb2ycbcr(np.ascontiguousarray(modcrop(image, scale)))
    low = imresize(imresize(gt, 1 / scale), scale).astype(int)
    inside = ((rgb > 0) & (rgb < 255)).all(axis=2)  # the others are clamped
    assert inside.mean() > 0.5
    assert np.abs(ycbcr[..., 0] - gt[..., 0].astype(int))[inside].max() <= 2
    assert np.abs(ycbcr[..., 1:] - low[..., 1:])[inside].max() <= 2
    assert np.abs(low[..., 1:] - gt[..., 1:]).max() > 8  # so these are not GT's
    grey = make_test_pair(image[..., 0], scale)
    assert (compose_result(grey.gt, grey) == modcrop(image[..., 0], scale)).all()


# ---- photographs


def enlarge(network: IDN, picture: Image.Image, folder: Path, suffix: str = ".png", **how: object) -> Image.Image:
    """Save a picture as PNG (or as `how` says), enlarge it and open the result."""
    source = folder / f"photo.{str(how.setdefault('format', 'PNG')).lower()}"
    picture.save(source, **how)
    target = folder / f"result{suffix}"
    height, width = upscale_photo(network, source, target, tile=32, force=True)
    with Image.open(target) as result:
        if result.format == "TIFF":  # Pillow would turn it when it decodes it
            return Image.open(io.BytesIO(target.read_bytes()))
        assert result.size == (width, height)
        result.load()
        return result


@pytest.mark.parametrize("scale", SCALES)
def test_colour_is_y_by_the_network_and_chroma_by_bicubic(tmp_path, scale):
    network, rgb = make_network(scale, std=0.001), draw_photo(45, 52, 3)
    result = np.asarray(enlarge(network, Image.fromarray(rgb), tmp_path)).astype(int)
    ycbcr = rgb2ycbcr(rgb)
    sr = im2uint8(upscale_y(network, im2double(np.ascontiguousarray(ycbcr[..., 0]))))
    enlarged = imresize(ycbcr, scale)
    expected = ycbcr2rgb(np.dstack((sr, enlarged[..., 1:]))).astype(int)  # in 8 bits all the way
    difference = np.abs(result - expected)[(sr > 0) & (sr < 255)]
    assert difference.max() <= 4 and difference.mean() < 0.8
    bicubic = im2uint8(imresize(im2double(rgb), scale)).astype(int)
    assert np.abs(result - bicubic).mean() > 2  # the network does take part


@pytest.mark.parametrize("scale", SCALES)
def test_without_a_residual_colours_are_matlabs_bicubic(tmp_path, scale):
    rgb = draw_photo(45, 52, 3)
    result = np.asarray(enlarge(make_bicubic(scale), Image.fromarray(rgb), tmp_path)).astype(int)
    difference = np.abs(result - im2uint8(imresize(im2double(rgb), scale)))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3  # halves, rounded the other way


def test_y_moves_red_green_and_blue_alike(tmp_path):
    flat = np.broadcast_to(np.array([200, 90, 31], np.uint8), (12, 9, 3)).copy()
    assert (np.asarray(enlarge(make_bicubic(2), Image.fromarray(flat), tmp_path)) == flat[0, 0]).all()
    brighter = np.asarray(enlarge(make_bicubic(2, residual=22 / 255), Image.fromarray(flat), tmp_path))
    assert (brighter == flat[0, 0] + 26).all()  # 22 · 255/219 = 25.6
    assert (rgb2ycbcr(brighter)[0, 0].astype(int) - rgb2ycbcr(flat)[0, 0] == (22, 0, 0)).all()


def test_grey_stays_grey(tmp_path):
    grey = draw_photo(50, 41, 4)[..., 0]
    network = make_network(2)
    result = np.asarray(enlarge(network, Image.fromarray(np.dstack([grey] * 3)), tmp_path))
    assert result.shape == (100, 82, 3) and (result == result[..., :1]).all()
    single = enlarge(network, Image.fromarray(grey), tmp_path)
    assert single.mode == "L"
    assert (np.asarray(single) == im2uint8(upscale_y(network, im2double(grey), tile=32).clip(0, 1))).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_stays_16_bit(tmp_path, suffix):
    values = (draw_y(40, 33) * 65535).astype(np.uint16)
    network = make_network(2)
    result = enlarge(network, Image.fromarray(values), tmp_path, suffix)
    assert result.mode == "I;16"
    expected = np.clip(upscale_y(network, values / 65535.0, tile=32), 0, 1) * 65535
    assert np.abs(np.asarray(result) - expected).max() < 0.51
    assert len(np.unique(np.asarray(result) % 257)) > 200  # not 8 bits, widened
    result = enlarge(network, Image.fromarray(values), tmp_path, suffix, format="TIFF")
    assert result.mode == "I;16" and np.abs(np.asarray(result) - expected).max() < 0.51


def merge(rgb: np.ndarray, alpha: np.ndarray, mode: str = "RGBA") -> Image.Image:
    return Image.merge(mode, (*Image.fromarray(rgb).convert(mode[:-1]).split(), Image.fromarray(alpha)))


def lay_over(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """A picture over a background, (h, w, 3) in 0…255."""
    pixels = np.asarray(picture.convert("RGBA")).astype(np.float64)
    return pixels[..., :3] * pixels[..., 3:] / 255 + np.array(colour) * (1 - pixels[..., 3:] / 255)


BACKGROUNDS = [(0, 0, 0), (255, 255, 255), (255, 0, 255)]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_matlabs_bicubic(tmp_path, mode):
    rgb, network = draw_photo(40, 33, 5), make_network(2)
    alpha = draw_photo(40, 33, 6)[..., 0]
    result = enlarge(network, merge(rgb, alpha, mode), tmp_path)
    assert result.mode == mode
    assert (np.asarray(result.getchannel("A")) == imresize(alpha, 2)).all()
    opaque = enlarge(network, Image.fromarray(rgb).convert(mode[:-1]), tmp_path)
    for level in (255, 128):  # where alpha is even, it does not touch the colours
        result = np.asarray(enlarge(network, merge(rgb, np.full_like(alpha, level), mode), tmp_path))[..., :-1]
        assert np.abs(result.squeeze().astype(int) - np.asarray(opaque)).max() <= (level != 255)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_over_a_background_it_is_the_bicubic_of_the_picture_over_it(tmp_path, background):
    rgb, alpha = draw_photo(40, 33, 5), np.clip(draw_photo(40, 33, 6)[..., 0], 60, 195)
    rgb = rgb // 4 + 96  # away from 0 and 255: nothing is clipped
    picture = merge(rgb, alpha)
    result = enlarge(make_bicubic(2), picture, tmp_path)
    wanted = imresize(lay_over(picture, background) / 255, 2) * 255
    assert np.abs(lay_over(result, background) - wanted).max() < 2  # of roundings to 8 bits


@pytest.mark.parametrize(
    ("hidden", "mode"),
    [((0, 0, 0), "RGBA"), ((255, 255, 255), "LA"), ((0, 255, 0), "RGBA"), ("noise", "RGBA"), ("noise", "LA")],
)
def test_what_lies_under_transparent_pixels_does_not_show(tmp_path, hidden, mode):
    """A disc of one colour, its edge smooth: over any background the same as if that colour lay everywhere."""
    y, x = np.mgrid[:48, :48]
    alpha = (np.clip(18.5 - np.hypot(y - 23.5, x - 23.5), 0, 1) * 255).astype(np.uint8)
    clean = np.broadcast_to(np.array([200, 90, 31], np.uint8), (48, 48, 3)).copy()
    below = draw_photo(48, 48, 9) if hidden == "noise" else np.broadcast_to(np.array(hidden, np.uint8), (48, 48, 3))
    dirty = np.where(alpha[..., None] == 0, below, clean)
    for network in (make_network(2), make_bicubic(2)):
        wanted = enlarge(network, merge(clean, alpha, mode), tmp_path)
        found = enlarge(network, merge(dirty, alpha, mode), tmp_path)
        for background in BACKGROUNDS:
            assert (lay_over(found, background) == lay_over(wanted, background)).all()
    # and no fringe: bicubic of one colour is that colour
    own = np.asarray(merge(clean, np.full_like(alpha, 255), mode).convert("RGBA"))[0, 0, :3].astype(int)
    seen = np.asarray(enlarge(make_bicubic(2), merge(dirty, alpha, mode), tmp_path).convert("RGBA"))
    assert np.abs(seen[seen[..., 3] > 0][:, :3].astype(int) - own).max() <= 1


def test_nearly_transparent_pixels_count_as_little_as_they_show(tmp_path):
    """Alpha of 1 of 255 beside an opaque colour: no fringe of theirs."""
    rgb = np.full((20, 40, 3), 230, np.uint8)
    rgb[:, 20:] = (0, 255, 0)
    alpha = np.full((20, 40), 255, np.uint8)
    alpha[:, 20:] = 1
    result = lay_over(enlarge(make_bicubic(2), merge(rgb, alpha), tmp_path), (255, 255, 255))
    assert np.abs(result[:, :, 0] - result[:, :, 1]).max() < 3  # no green


@pytest.mark.parametrize("band", [8, 40 * 30, 1 << 22])
def test_hidden_pixels_take_the_nearest_colour_in_bands_as_in_the_whole(monkeypatch, band):
    monkeypatch.setattr("idn_train.enlarge.BAND", band)
    alpha = (np.random.default_rng(1).random((90, 40)) > 0.98).astype(np.uint8)
    rows, columns = np.mgrid[:90, :40]
    pixels = np.dstack((rows, columns, rows)).astype(np.uint8)
    fill_hidden(pixels, alpha)
    seen = np.argwhere(alpha)
    distance = np.hypot(rows[..., None] - seen[:, 0], columns[..., None] - seen[:, 1])
    taken = np.hypot(rows - pixels[..., 0].astype(int), columns - pixels[..., 1].astype(int))
    assert np.allclose(taken, distance.min(-1))
    whole = np.full((5, 6), 7, np.uint8)
    fill_hidden(whole, np.zeros((5, 6), np.uint8))
    assert not whole.any()  # nothing is seen at all


def test_tiles_of_a_transparent_photo_equal_the_whole(tmp_path):
    alpha = np.clip(draw_photo(90, 77, 8)[..., 0].astype(int) * 3 - 300, 0, 255).astype(np.uint8)
    assert 0.1 < (alpha == 0).mean() < 0.9
    merge(draw_photo(90, 77, 7), alpha).save(tmp_path / "a.png")
    network, results = make_network(2, std=0.001), []
    for tile in (384, 30):
        upscale_photo(network, tmp_path / "a.png", tmp_path / "b.png", tile=tile, force=True)
        with Image.open(tmp_path / "b.png") as result:
            results.append(np.asarray(result).astype(int))
    shown = results[0][..., 3:] > 0
    assert np.abs((results[0] - results[1]) * shown).max() <= 1


# ---- memory


FULL = [
    torch.cuda.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you …"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you …"),
    RuntimeError("MPS backend out of memory (MPS allocated: …"),
]


@pytest.mark.parametrize("error", FULL)
def test_a_full_memory_gets_smaller_tiles_and_a_word(tmp_path, monkeypatch, caplog, error):
    Image.fromarray(draw_photo(150, 24, 7)).save(tmp_path / "a.png")
    network, calls, freed = make_network(2, std=0.001), [], []
    upscale_photo(network, tmp_path / "a.png", tmp_path / "whole.png")
    monkeypatch.setattr("idn_train.upscale.free_memory", freed.append)
    blocks = network.blocks.forward

    def run_out(x: torch.Tensor) -> torch.Tensor:
        if x.shape[2] > 100:
            raise error
        return blocks(x)

    monkeypatch.setattr(network.blocks, "forward", run_out)
    upscale_photo(network, tmp_path / "a.png", tmp_path / "b.png", progress=lambda *call: calls.append(call))
    assert [record.message for record in caplog.records] == [
        f"cpu: not enough memory; going on with tiles of {tile} pixels" for tile in (75, 37)
    ]
    assert freed == [torch.device("cpu")] * 2
    assert calls[-1] == ("a.png", 5, 5)
    whole, tiled = (read_image(tmp_path / name).astype(int) for name in ("whole.png", "b.png"))
    assert np.abs(whole - tiled).max() <= 1


def test_scores_come_of_smaller_tiles_where_the_memory_is_full(tmp_path, monkeypatch, caplog):
    Image.fromarray(draw_photo(80, 70, 3)).save(tmp_path / "a.png")
    network, test_set = make_network(2, std=0.001), open_set(str(tmp_path), Path("none"), workers=1)
    wanted = evaluate(make_method(network, "IDN"), test_set, 2, ["float"])[0][0]
    blocks, sides = network.blocks.forward, []

    def run_out(x: torch.Tensor) -> torch.Tensor:
        sides.append(x.shape[2])
        if len(sides) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return blocks(x)

    monkeypatch.setattr(network.blocks, "forward", run_out)
    found = evaluate(make_method(network, "IDN"), test_set, 2, ["float"])[0][0]
    assert [record.message for record in caplog.records] == ["cpu: not enough memory; going on with tiles of 20 pixels"]
    assert len(sides) == 1 + 4  # of 40x35 LR pixels
    assert found.psnr == pytest.approx(wanted.psnr, abs=1e-4) and found.ssim == pytest.approx(wanted.ssim, abs=1e-5)


def test_a_memory_that_is_full_for_any_tile(tmp_path, monkeypatch):
    Image.fromarray(draw_photo(40, 44, 7)).save(tmp_path / "a.png")
    network = make_network(2)

    def run_out(_: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(network.blocks, "forward", run_out)
    with pytest.raises(ImageError, match=r"a\.png: cannot be enlarged to 88x80 pixels \(cpu: not enough memory, even"):
        upscale_photo(network, tmp_path / "a.png", tmp_path / "b.png")
    monkeypatch.setattr(network.blocks, "forward", lambda _: 1 / 0)  # other errors are not taken for it
    with pytest.raises(ZeroDivisionError):
        upscale_photo(network, tmp_path / "a.png", tmp_path / "b.png")
    monkeypatch.setattr("idn_train.enlarge.Image.new", fail)
    with pytest.raises(ImageError, match=r"to 88x80 pixels \(not enough memory; close other programs, or crop"):
        upscale_photo(network, tmp_path / "a.png", tmp_path / "b.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_and_profile_are_kept(tmp_path, kind, suffix):
    rgb = draw_photo(20, 31, 5)
    exif = Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Maker"
    exif.get_ifd(EXIF_FOLDER)[COMMENT] = b"ASCII\0\0\0Hello"
    picture = Image.fromarray(rgb)
    result = enlarge(make_bicubic(2), picture, tmp_path, suffix, format=kind, exif=exif.tobytes(), icc_profile=PROFILE)
    assert result.info["icc_profile"] == PROFILE
    found = result.getexif()
    assert (found[ORIENTATION], found[MAKE]) == (6, "Maker")
    assert found.get_ifd(EXIF_FOLDER)[COMMENT] == b"ASCII\0\0\0Hello"
    stored = read_image(tmp_path / f"result{suffix}").astype(int)
    expected = im2uint8(imresize(im2double(read_image(tmp_path / f"photo.{kind.lower()}")), 2)).astype(int)
    assert stored.shape == (40, 62, 3)  # not turned
    assert np.abs(stored - expected).mean() < (6 if suffix in (".jpg", ".webp") else 0.01)


def test_a_compressed_tiff_leaves_its_layout_behind(tmp_path):
    rgb = draw_photo(20, 31, 5)
    how = {"format": "TIFF", "compression": "tiff_lzw", "tiffinfo": {MAKE: "Maker", 317: 2}}
    for suffix in (".tif", ".png"):
        result = enlarge(make_bicubic(2), Image.fromarray(rgb), tmp_path, suffix, **how)
        assert result.getexif()[MAKE] == "Maker" and 317 not in result.getexif()
        expected = im2uint8(imresize(im2double(rgb), 2)).astype(int)
        assert np.abs(np.asarray(result).astype(int) - expected).max() <= 1


def test_a_photo_without_extras_gets_none(tmp_path):
    result = enlarge(make_bicubic(2), Image.fromarray(draw_photo(9, 9, 5)), tmp_path)
    assert not {"exif", "icc_profile", "transparency"} & set(result.info)


def test_tiles_of_a_photo_equal_the_whole(tmp_path):
    Image.fromarray(draw_photo(90, 77, 7)).save(tmp_path / "a.png")
    network, calls = make_network(2, std=0.001), []
    report = lambda *call: calls.append(call)  # noqa: E731 (three words)
    upscale_photo(network, tmp_path / "a.png", tmp_path / "whole.png", progress=report)
    upscale_photo(network, tmp_path / "a.png", tmp_path / "tiled.png", tile=30, progress=report)
    whole, tiled = (read_image(tmp_path / f"{name}.png").astype(int) for name in ("whole", "tiled"))
    assert np.abs(whole - tiled).max() <= 1 and (whole != tiled).mean() < 1e-4  # 1e-7 may cross a half
    assert calls == [("a.png", 1, 1)] + [("a.png", k, 9) for k in range(1, 10)]


def test_self_ensemble_of_a_photo(tmp_path):
    grey, network = draw_photo(20, 17, 7)[..., 0], make_network(2)
    Image.fromarray(grey).save(tmp_path / "a.png")
    upscale_photo(network, tmp_path / "a.png", tmp_path / "b.png", self_ensemble=True)
    expected = im2uint8(upscale_y(network, im2double(grey), self_ensemble=True))
    assert (read_y(tmp_path / "b.png") == expected).all()


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from PIL import Image
from idn_train.network import IDN
from idn_train.upscale import upscale_photo

torch.set_num_threads(1)
network = IDN(2)
network.features, network.blocks = torch.nn.Conv2d(1, 64, 1), torch.nn.Identity()  # a thin one: quick
for height, width in ((250, 750), (750, 1000)):
    pixels = np.random.default_rng(0).integers(0, 256, (height // 50, width // 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height)).save(sys.argv[1] + "/a.jpg")
    upscale_photo(network, Path(sys.argv[1], "a.jpg"), Path(sys.argv[1], "b.jpg"), force=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory in Linux's unit, KiB")
def test_memory_grows_by_source_and_result_alone(tmp_path):
    """No copy in floating point of anything as large as the photo; tiles are of one size in both."""
    run = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    small, large = (int(line) * 1024 for line in run.stdout.split())
    more = 750 * 1000 - 250 * 750
    # 4 bytes as Pillow decodes it, 3 as an array and 4·4 of the result; one double for each SR value would be 96
    assert (large - small) / more < 40


def test_palettes_transparency_and_single_bits_as_what_they_show(tmp_path):
    network, rgb = make_network(2), draw_photo(30, 33, 5)
    palette, bits = Image.fromarray(rgb).quantize(32), Image.fromarray(rgb[..., 0]).convert("1")
    for picture, shown in ((palette, palette.convert("RGB")), (bits, bits.convert("L"))):
        result = enlarge(network, picture, tmp_path)
        assert result.mode == shown.mode
        assert (np.asarray(result) == np.asarray(enlarge(network, shown, tmp_path))).all()
    see_through = enlarge(network, palette, tmp_path, transparency=bytes([0, 128, *[255] * 30]))
    alpha = np.choose(np.minimum(np.asarray(palette), 2), [0, 128, 255]).astype(np.uint8)
    assert see_through.mode == "RGBA" and (np.asarray(see_through.getchannel("A")) == imresize(alpha, 2)).all()


# ---- what goes wrong


def test_a_photo_that_cannot_be_used_leaves_nothing(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"a\.png: not an image in one of the formats"):
        upscale_photo(make_bicubic(2), tmp_path / "a.png", tmp_path / "b.png")
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("mode", "size", "suffix", "message"),
    [
        ("RGBA", (4, 4), ".jpg", r"b\.jpg: JPEG cannot hold an alpha channel"),
        ("I;16", (4, 4), ".webp", r"b\.webp: WEBP cannot hold 16-bit pixels"),
        ("L", (8192, 1), ".webp", "WEBP cannot hold 16384 pixels along a side"),
        ("L", (4, 4), ".gif", r"b\.gif: cannot write \.gif; one of"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_the_work(tmp_path, mode, size, suffix, message):
    Image.new(mode, size).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        upscale_photo(IDN(2), tmp_path / "a.png", tmp_path / f"b{suffix}", progress=pytest.fail)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_suffix_in_either_case(tmp_path, suffix):
    rgb = np.full((6, 7, 3), (90, 120, 150), np.uint8)
    result = enlarge(make_bicubic(2), Image.fromarray(rgb), tmp_path, suffix.upper())
    assert result.format == FORMATS[suffix] and result.size == (14, 12)
    assert np.abs(np.asarray(result).astype(int) - rgb[0, 0]).max() <= 3


def test_existing_targets(tmp_path):
    Image.fromarray(draw_photo(9, 9, 1)).save(tmp_path / "a.png")
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    target.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match=r"b\.png exists already; --force replaces it"):
        upscale_photo(make_bicubic(2), source, target, progress=pytest.fail)
    assert target.read_bytes() == b"precious"
    before = source.read_bytes()
    with pytest.raises(ValueError, match=r"a\.png: would replace the photo itself; name another file"):
        upscale_photo(make_bicubic(2), source, tmp_path / "." / "a.png", force=True)
    assert source.read_bytes() == before
    upscale_photo(make_bicubic(2), source, target, force=True)
    assert read_image(target).shape == (18, 18, 3)


def test_an_interrupt_leaves_nothing(tmp_path):
    Image.fromarray(draw_photo(9, 9, 1)).save(tmp_path / "a.png")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale_photo(make_bicubic(2), tmp_path / "a.png", tmp_path / "out" / "b.png", progress=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_default_tile_is_even_and_bounds_memory():
    """2 KB for each LR pixel of a tile and the 30 around it, as measured: well under half a gigabyte."""
    assert TILE % 2 == 0 and (TILE + 60) ** 2 * 2048 < 0.5e9
