from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.signal import fftconvolve

from idn_data.images.decode import read_image, read_y
from idn_data.images.variants import modcrop
from idn_data.matlab.classes import im2double, im2uint8, im2uint16
from idn_data.matlab.quality import psnr, ssim, ssim_map
from idn_data.matlab.resize import imresize
from idn_data.scores.protocols import PROTOCOLS, score, shave

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RNG = np.random.default_rng(2004)
REFERENCE = RNG.random((16, 19))
NOISY = np.clip(REFERENCE + RNG.normal(0, 0.1, REFERENCE.shape), -0.05, 1.05)


def measure_ssim(a: NDArray[np.float64], b: NDArray[np.float64], peak: float, valid: bool) -> float:
    """Equations 13 to 16 of the paper, window by window: weighted sums over 11×11 pixels written out."""
    window = [[math.exp(-(u * u + v * v) / (2 * 1.5**2)) for v in range(-5, 6)] for u in range(-5, 6)]
    total = sum(map(sum, window))
    height, width = a.shape
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    values = []
    for y in range(5, height - 5) if valid else range(height):
        for x in range(5, width - 5) if valid else range(width):
            sums = [0.0] * 5
            for u in range(-5, 6):
                for v in range(-5, 6):
                    i, j = min(max(y + u, 0), height - 1), min(max(x + v, 0), width - 1)  # the border replicated
                    w, p, q = window[u + 5][v + 5] / total, float(a[i, j]), float(b[i, j])
                    for k, term in enumerate((p, q, p * p, q * q, p * q)):
                        sums[k] += w * term
            ma, mb, aa, bb, ab = sums
            values.append(
                (2 * ma * mb + c1)
                * (2 * (ab - ma * mb) + c2)
                / ((ma * ma + mb * mb + c1) * (aa - ma * ma + bb - mb * mb + c2))
            )
    return sum(values) / len(values)


def test_psnr_by_hand() -> None:
    a = np.zeros((2, 2))
    b = np.array([[0.1, 0.1], [0.1, -0.1]])
    assert psnr(a, b) == pytest.approx(20.0, abs=1e-12)
    assert psnr(a + 3, np.array([[3.0, 3.0], [3.0, 4.0]]), 1) == pytest.approx(10 * math.log10(4))
    eight = np.array([[0, 255], [7, 9]], dtype=np.uint8)
    assert psnr(eight, np.array([[255, 0], [7, 9]], dtype=np.uint8), 255.0) == pytest.approx(10 * math.log10(2))


def test_psnr_of_uint8_does_not_wrap() -> None:
    a, b = np.full((3, 3), 1, np.uint8), np.full((3, 3), 2, np.uint8)
    assert psnr(a, b, 255.0) == psnr(b, a, 255.0) == pytest.approx(20 * math.log10(255))


def test_psnr_of_equal_images() -> None:
    assert psnr(REFERENCE, REFERENCE) == math.inf


@pytest.mark.parametrize("valid", [False, True])
def test_ssim_is_the_papers_formula(valid: bool) -> None:
    wanted = measure_ssim(NOISY, REFERENCE, 1.0, valid)
    assert 0.3 < wanted < 0.99
    assert ssim(NOISY, REFERENCE, valid=valid) == pytest.approx(wanted, abs=1e-12)


def test_ssim_modes_differ() -> None:
    assert abs(ssim(NOISY, REFERENCE) - ssim(NOISY, REFERENCE, valid=True)) > 1e-4


@pytest.mark.parametrize("valid", [False, True])
def test_ssim_of_8_bits(valid: bool) -> None:
    a, b = im2uint8(NOISY), im2uint8(REFERENCE)
    wanted = measure_ssim(a.astype(float), b.astype(float), 255.0, valid)
    assert ssim(a, b, 255.0, valid=valid) == pytest.approx(wanted, abs=1e-10)


def test_ssim_of_a_small_image() -> None:
    a, b = NOISY[:4, :3], REFERENCE[:4, :3]  # smaller than the window
    assert ssim(a, b) == pytest.approx(measure_ssim(a, b, 1.0, False), abs=1e-12)
    with pytest.raises(ValueError, match="valid windows needs at least 11x11 pixels; got 4x3"):
        ssim(a, b, valid=True)


def test_ssim_of_the_smallest_valid_image() -> None:
    a, b = NOISY[:11, :11], REFERENCE[:11, :11]
    assert ssim(a, b, valid=True) == pytest.approx(measure_ssim(a, b, 1.0, True), abs=1e-12)


@pytest.mark.parametrize("valid", [False, True])
def test_ssim_of_equal_images(valid: bool) -> None:
    assert ssim(REFERENCE, REFERENCE, valid=valid) == pytest.approx(1.0, abs=1e-12)
    flat = np.full((12, 12), 0.5)
    assert ssim(flat, flat, valid=valid) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("measure", [psnr, ssim])
@pytest.mark.parametrize(("a", "b"), [(REFERENCE, REFERENCE[:-1]), (REFERENCE, REFERENCE.T), (REFERENCE[:0],) * 2])
def test_measures_want_two_images_of_one_shape(measure: object, a: NDArray[np.float64], b: NDArray[np.float64]) -> None:
    with pytest.raises(
        ValueError, match=r"must be of one shape; got \(\d+, \d+|an image that is not empty; got shape \(0, 19\)"
    ):
        measure(a, b)  # type: ignore[operator]


def test_peak_is_that_of_the_type() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 256, (2, 20, 21), dtype=np.uint8)
    assert psnr(a, b) == psnr(a, b, 255.0) == pytest.approx(psnr(a / 255, b / 255), abs=1e-10)
    assert ssim(a, b) == ssim(a, b, 255.0) == pytest.approx(ssim(a / 255, b / 255), abs=1e-10)
    deep = a.astype(np.uint16) * 257, b.astype(np.uint16) * 257
    assert psnr(*deep) == pytest.approx(psnr(a, b), abs=1e-10)
    with pytest.raises(ValueError, match="are uint8 and float64; bring them to one type, or give peak"):
        psnr(a, b / 255)


def test_colour() -> None:
    a, b = np.random.default_rng(4).random((2, 9, 8, 3))
    assert psnr(a, b) == pytest.approx(10 * math.log10(1 / np.mean((a - b) ** 2)), abs=1e-12)
    with pytest.raises(ValueError, match=r"ssim compares one channel, \(H, W\); got \(9, 8, 3\); take Y by rgb2y"):
        ssim(a, b)


def test_shave() -> None:
    image = np.arange(35).reshape(5, 7)
    assert (shave(image, 0) == image).all()
    assert shave(image, 2).tolist() == [[16, 17, 18]]
    assert shave(np.zeros((6, 7, 3)), 1).shape == (4, 5, 3)
    for border in (-1, 3):
        with pytest.raises(ValueError, match=rf"cannot shave {border} pixels off each side of a 5x7 image"):
            shave(image, border)


def test_score_float() -> None:
    sr, gt = NOISY, REFERENCE
    inner = np.s_[2:-2, 2:-2]
    wanted = 10 * math.log10(1 / np.mean((sr[inner] - gt[inner]) ** 2)), measure_ssim(sr[inner], gt[inner], 1.0, False)
    assert score(sr, gt, 2, "float") == pytest.approx(wanted, abs=1e-12)


def test_score_uint8() -> None:
    sr, gt = NOISY, REFERENCE
    a, b = (np.floor(np.clip(v[2:-2, 2:-2], 0, 1) * 255 + 0.5) for v in (sr, gt))
    wanted = 10 * math.log10(255**2 / np.mean((a - b) ** 2)), measure_ssim(a, b, 255.0, True)
    assert score(sr, gt, 2, "uint8") == pytest.approx(wanted, abs=1e-10)


def test_score_does_not_see_the_border() -> None:
    changed = NOISY.copy()
    changed[:3], changed[-3:], changed[:, :3], changed[:, -3:] = 2, 2, 2, 2
    assert score(changed, REFERENCE, 3, "float") == score(NOISY, REFERENCE, 3, "float")
    changed[3, 3] = 2
    assert score(changed, REFERENCE, 3, "float") != score(NOISY, REFERENCE, 3, "float")


def test_score_float_does_not_clip() -> None:
    gt = np.full((12, 12), 0.99)
    assert score(gt + 0.1, gt, 2, "float")[0] == pytest.approx(20.0, abs=1e-9)


def test_score_errors() -> None:
    with pytest.raises(ValueError, match="unknown protocol 'single'; one of float, uint8, y, rgb"):
        score(NOISY, REFERENCE, 2, "single")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot shave 8 pixels off each side of a 16x19 image"):
        score(NOISY, REFERENCE, 8, "float")
    with pytest.raises(ValueError, match="of one shape"):
        score(NOISY[:-1], REFERENCE, 2, "float")


def test_score_takes_pictures_of_8_and_16_bits() -> None:
    """Values in 0…255 were taken for intensities in [0, 1]: any two pictures scored (inf, 1.0)."""
    sr, gt = im2uint8(NOISY), im2uint8(REFERENCE)
    for protocol in ("float", "uint8"):
        wanted = score(sr / 255, gt / 255, 2, protocol)
        assert score(sr, gt, 2, protocol) == wanted
        assert score(sr, gt / 255, 2, protocol) == wanted
        assert score(im2uint16(sr), im2uint16(gt), 2, protocol) == pytest.approx(wanted, abs=1e-12)
        assert wanted[0] < 30
        with pytest.raises(ValueError, match=r"takes floats in \[0, 1\]; these go from 0 to 25\d; divide"):
            score(sr.astype(float), gt / 255, 2, protocol)


@pytest.mark.parametrize("protocol", ["float", "uint8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.5, -1.5])
def test_score_refuses_what_is_no_intensity(protocol: str, bad: float) -> None:
    changed = NOISY.copy()
    changed[8, 8] = bad
    with pytest.raises(ValueError, match=r"holds NaN; look|takes floats in \[0, 1\]; these go from"):
        score(changed, REFERENCE, 2, protocol)


def weigh_exactly(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Y of 8-bit colour in 0…255 by BT.601, not rounded."""
    weights = (Fraction(65481, 255000), Fraction(128553, 255000), Fraction(24966, 255000))
    rows = [
        [float(16 + sum(w * v for w, v in zip(weights, pixel, strict=True))) for pixel in row]
        for row in picture.tolist()
    ]
    return np.array(rows)


def test_score_y() -> None:
    a, b = (np.random.default_rng(k).integers(0, 256, (18, 17, 3), dtype=np.uint8) for k in (1, 2))
    y, z = (weigh_exactly(v)[2:-2, 2:-2] for v in (a, b))
    wanted = 10 * math.log10(255**2 / np.mean((y - z) ** 2)), measure_ssim(y, z, 255.0, True)
    assert score(a, b, 2, "y") == pytest.approx(wanted, abs=1e-10)
    grey = a[:, :, 0], b[:, :, 0]
    assert score(*grey, 2, "y") == pytest.approx(score(*grey, 2, "uint8"), abs=1e-12)


def test_score_rgb() -> None:
    a, b = (np.random.default_rng(k).integers(0, 256, (30, 29, 3), dtype=np.uint8) for k in (1, 2))
    y, z = (v[8:-8, 8:-8].astype(float) for v in (a, b))
    ssims = [measure_ssim(y[:, :, k], z[:, :, k], 255.0, True) for k in range(3)]
    wanted = 10 * math.log10(255**2 / np.mean((y - z) ** 2)), np.mean(ssims)
    assert score(a, b, 2, "rgb") == pytest.approx(wanted, abs=1e-10)
    assert score(a, b, 2, "rgb", border=3) == score(a[1:-1, 1:-1], b[1:-1, 1:-1], 2, "rgb", border=2)


def test_scores_of_pictures_refuse_the_rest() -> None:
    a = np.zeros((40, 40, 3), np.uint8)
    for protocol in ("y", "rgb"):
        with pytest.raises(TypeError, match=f"protocol {protocol} takes uint8; got float64"):
            score(a / 255, a / 255, 2, protocol)
        with pytest.raises(ValueError, match=r"must be of one shape; SR is \(40, 40, 3\), GT \(40, 40\)"):
            score(a, a[:, :, 0], 2, protocol)
        with pytest.raises(ValueError, match=r"compares pictures, \(H, W, 3\) or \(H, W\); got \(40, 40, 4\)"):
            score(np.zeros((40, 40, 4), np.uint8), a, 2, protocol)
    for protocol in ("y", "uint8"):
        small = a[:13, :, 0]
        with pytest.raises(ValueError, match="at least 11x11 pixels within the border; got 9x36"):
            score(small, small, 2, protocol)


def test_the_table_of_protocols() -> None:
    assert list(PROTOCOLS) == ["float", "uint8", "y", "rgb"]
    assert [p.border(4) for p in PROTOCOLS.values()] == [4, 4, 4, 10]
    assert [p.boundary for p in PROTOCOLS.values()] == ["symmetric", "replicate", "symmetric", "symmetric"]
    assert [p.find_row("bicubic") for p in PROTOCOLS.values()] == ["bicubic", None, None, None]
    rows = [p.find_row("mine") for p in PROTOCOLS.values()]
    assert rows == ["IDN (TensorFlow) finetune", "IDN (Original)", None, None]


def test_rcan_scores_what_its_paper_says(data_root: Path, matlab_folder: Path) -> None:
    """RCAN's own pictures (yulunzhang/RCAN), ×4 on Set5: 32.63 dB / 0.9002 in table 2 of the paper (ECCV 2018)."""
    scores = []
    for path in sorted((matlab_folder / "rcan_sr").glob("*_RCAN_x4.png")):
        name = path.name.split("_")[0]
        sr = read_image(path)
        gt = modcrop(read_image(data_root / "test_data" / "Set5" / f"{name}_GT.bmp"), 4)
        scores.append(score(sr, gt, 4, "y"))
    assert len(scores) == 5
    psnr_db, similarity = np.mean(scores, axis=0)
    assert (f"{psnr_db:.2f}", f"{similarity:.4f}") == ("32.63", "0.9002")


def test_butterfly_as_8_bits(data_root: Path) -> None:
    gt = modcrop(read_y(data_root / "test_data" / "Set5" / "butterfly_GT.bmp"), 4)
    sr = im2uint8(imresize(imresize(im2double(gt), 1 / 4), 4).clip(0, 1))
    psnr_db, similarity = score(sr, gt, 4, "uint8")
    assert (f"{psnr_db:.4f}", f"{similarity:.4f}") == ("22.0975", "0.7369")


def measure_terms(
    a: NDArray[np.float64], b: NDArray[np.float64], radius: float, exponents: tuple[float, ...], c: tuple[float, ...]
) -> NDArray[np.float64]:
    """Equations 6, 9, 10 and 12 of the paper at each pixel, window by window."""
    reach = math.ceil(3 * radius)
    steps = np.arange(-reach, reach + 1)
    window = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * radius**2))
    window /= window.sum()
    p, q = (np.pad(v, reach, mode="edge") for v in (a, b))
    out = np.zeros(a.shape)
    for y in range(a.shape[0]):
        for x in range(a.shape[1]):
            u, v = (image[y : y + 2 * reach + 1, x : x + 2 * reach + 1] for image in (p, q))
            mu, mv = (window * u).sum(), (window * v).sum()
            su, sv = math.sqrt((window * (u - mu) ** 2).sum()), math.sqrt((window * (v - mv) ** 2).sum())
            cov = (window * (u - mu) * (v - mv)).sum()
            terms = (
                (2 * mu * mv + c[0]) / (mu**2 + mv**2 + c[0]),
                (2 * su * sv + c[1]) / (su**2 + sv**2 + c[1]),
                (cov + c[2]) / (su * sv + c[2]),
            )
            out[y, x] = math.prod(max(t, 0) ** e if e % 1 else t**e for t, e in zip(terms, exponents, strict=True))
    return out


@pytest.mark.parametrize("radius", [0.4, 1.5, 2.2])
@pytest.mark.parametrize("exponents", [(1, 1, 1), (0, 1, 2), (0.5, 1, 1.5)])
@pytest.mark.parametrize("constants", [None, (1e-3, 2e-3, 5e-3)])
def test_options_of_ssim(
    radius: float, exponents: tuple[float, ...], constants: tuple[float, float, float] | None
) -> None:
    c = constants or (0.01**2, 0.03**2, 0.03**2 / 2)
    wanted = measure_terms(NOISY, REFERENCE, radius, exponents, c)
    got = ssim_map(NOISY, REFERENCE, radius=radius, exponents=exponents, constants=constants)
    np.testing.assert_allclose(got, wanted, atol=1e-9)
    assert ssim(NOISY, REFERENCE, radius=radius, exponents=exponents, constants=constants) == pytest.approx(
        wanted.mean()
    )


def test_the_map() -> None:
    whole, inner = ssim_map(NOISY, REFERENCE), ssim_map(NOISY, REFERENCE, valid=True)
    assert (whole[5:-5, 5:-5] == inner).all()
    assert ssim(NOISY, REFERENCE) == whole.mean()
    black = np.zeros((12, 12))
    assert ssim(black, black, constants=(0, 0, 0)) == 1  # 0/0


def test_int16_is_measured_from_its_lowest_value() -> None:
    a, b = (im2uint16(v.clip(0, 1)) for v in (NOISY, REFERENCE))
    shifted = [(v.astype(np.int32) - 32768).astype(np.int16) for v in (a, b)]
    assert psnr(*shifted) == psnr(a, b)
    assert ssim(*shifted) == ssim(a, b)
    one, other = shifted
    mixed = ssim(one, other.astype(float), 65535)
    assert mixed == pytest.approx(ssim(one, other)) and ssim(one.astype(float), other, 65535) == pytest.approx(mixed)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"radius": 0}, "radius must be a positive number, at most 100; got 0"),
        ({"radius": math.nan}, "radius must be a positive number, at most 100; got nan"),
        ({"exponents": (1, 1)}, r"exponents must be three numbers, 0 or more; got \(1, 1\)"),
        ({"constants": (1, 1, -1)}, r"constants must be three numbers, 0 or more; got \(1, 1, -1\)"),
        ({"peak": 0}, "peak must be a positive number; got 0"),
        ({"radius": 3, "valid": True}, "ssim of valid windows needs at least 19x19 pixels; got 16x19"),
    ],
)
def test_options_that_are_not_possible(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ssim(NOISY, REFERENCE, **options)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("where", ["one", "the other", "both"])
def test_infinities_are_named(bad: float, where: str) -> None:
    """With a peak the range is not looked at, and 10·log10 of 0 said "math domain error"."""
    images = [NOISY.copy(), REFERENCE.copy()]
    for image in images[: 1 if where == "one" else 2][where == "the other" :]:
        image[3, 4] = bad
    for measure in (psnr, ssim):
        with pytest.raises(ValueError, match=f"{measure.__name__}: an image holds NaN or infinities; look for what"):
            measure(images[0], images[1], 255.0)


def test_values_beyond_the_class_without_peak() -> None:
    """Floats in 0…255 scored as if their peak were 1: a PSNR 48 dB too low, and an SSIM that means nothing."""
    a, b = NOISY * 255, REFERENCE * 255
    for measure in (psnr, ssim):
        with pytest.raises(ValueError, match=r"without peak takes floats in \[0, 1\]; these go from"):
            measure(a, b)
        assert measure(a, b, 255.0) == pytest.approx(measure(NOISY, REFERENCE), abs=1e-9)


def score_like_basicsr(sr: NDArray[np.uint8], gt: NDArray[np.uint8], border: int) -> tuple[float, float]:
    """What BasicSR's calculate_psnr and calculate_ssim with test_y_channel, and pyiqa's psnry, compute, in single.

    Y = (65.481 R + 128.553 G + 24.966 B + 16) of R, G, B in [0, 1], not rounded; PSNR with 255; SSIM of the windows
    inside: 11×11, σ 1.5, variances as means of squares less squares of means, C1 = (0.01·255)², C2 = (0.03·255)².
    """
    y, z = (
        (v.astype(np.float32) / 255 @ np.array([65.481, 128.553, 24.966], np.float32) + np.float32(16)).astype(float)
        for v in (sr[border:-border, border:-border], gt[border:-border, border:-border])
    )
    psnr_db = 10 * math.log10(255**2 / np.mean((y - z) ** 2))
    steps = np.arange(11) - 5
    window = np.exp(-(steps[:, None] ** 2 + steps**2) / 4.5)
    window /= window.sum()

    def blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return fftconvolve(values, window, mode="valid")

    my, mz = blur(y), blur(z)
    vy, vz, cov = blur(y * y) - my**2, blur(z * z) - mz**2, blur(y * z) - my * mz
    c1, c2 = 6.5025, 58.5225
    quotients = (2 * my * mz + c1) * (2 * cov + c2) / ((my**2 + mz**2 + c1) * (vy + vz + c2))
    return psnr_db, float(np.mean(quotients))


def test_the_y_protocol_is_basicsrs(data_root: Path, matlab_folder: Path) -> None:
    for path in sorted((matlab_folder / "rcan_sr").glob("*_RCAN_x4.png")):
        gt = modcrop(read_image(data_root / "test_data" / "Set5" / f"{path.name.split('_')[0]}_GT.bmp"), 4)
        sr = read_image(path)
        wanted, got = score_like_basicsr(sr, gt, 4), score(sr, gt, 4, "y")
        assert abs(got[0] - wanted[0]) < 1e-4
        assert abs(got[1] - wanted[1]) < 1e-5
