"""idn_data.scores.figure: the columns of the figure, their pixels and their scores."""

import re

import numpy as np
import pytest
from PIL import Image
from support.drawing import draw_photo

from idn_data import imresize, score
from idn_data.images.decode import ImageError
from idn_data.scores.figure import draw_figure, make_panels
from idn_data.scores.methods import BICUBIC, Method
from idn_data.scores.testset import compose_result, make_test_pair

ACCENT = (214, 40, 40)
GAP = 14


def sharpen(lr: np.ndarray, scale: int) -> np.ndarray:
    """Bicubic with its contrast raised, beyond [0, 1] in places."""
    return 1.3 * imresize(lr, scale) - 0.15


SHARP = Method("sharp", sharpen)


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(draw_photo(61, 83, 2)).save(tmp_path / "harbour.png")
    return tmp_path / "harbour.png"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_panels_hold_each_methods_picture_and_its_scores(photo, scale):
    panels = make_panels(photo, scale, [BICUBIC, SHARP])
    image = np.asarray(Image.open(photo))
    pair = make_test_pair(image, scale)
    gt = image[: 61 // scale * scale, : 83 // scale * scale]
    assert [p.title for p in panels] == ["GT", "bicubic", "sharp"]
    assert (panels[0].image == gt).all() and panels[0].caption == f"harbour.png, x{scale}"
    for panel, sr in zip(panels[1:], (imresize(pair.lr, scale), np.clip(sharpen(pair.lr, scale), 0, 1)), strict=True):
        decibel, similarity = score(sr, pair.gt, scale, "float")
        assert panel.caption == f"{decibel:.2f} dB / {similarity:.4f}"
        assert (panel.image == compose_result(sr, pair)).all()
    assert panels[1].caption != panels[2].caption and (panels[1].image != panels[2].image).any()


def test_networks_are_clipped_and_bicubic_is_not(photo):
    def overshoot(lr, scale):
        return imresize(lr, scale) * 1.5

    captions = [p.caption for p in make_panels(photo, 2, [Method("a", overshoot, clip=c) for c in (False, True)])]
    free, clipped = (float(re.match(r"[\d.]+", caption)[0]) for caption in captions[1:])
    assert clipped > free


def test_each_column_shows_the_whole_the_box_and_the_part(photo):
    box = (20, 10, 60, 30)
    page = draw_figure(photo, 2, box, [SHARP], width=160)
    panels = make_panels(photo, 2, [BICUBIC, SHARP])
    pixels = np.asarray(page)
    whole_height, part_height = round(160 * 60 / 82), 80
    assert page.mode == "RGB" and page.width == GAP + 3 * (160 + GAP)
    for k, panel in enumerate(panels):
        x = GAP + k * (160 + GAP)
        whole = Image.fromarray(panel.image).resize((160, whole_height), Image.Resampling.LANCZOS)
        drawn = pixels[GAP : GAP + whole_height, x : x + 160]
        framed = (drawn == ACCENT).all(axis=2)
        rows, columns = np.flatnonzero(framed.any(axis=1)), np.flatnonzero(framed.any(axis=0))
        assert np.abs(np.array([columns[0], rows[0], columns[-1], rows[-1]]) - np.array(box) * 160 / 82).max() <= 1
        assert (drawn[~framed] == np.asarray(whole)[~framed]).all()
        part = pixels[2 * GAP + whole_height :][:part_height, x : x + 160]
        assert (part == panel.image[10:30, 20:60].repeat(4, axis=0).repeat(4, axis=1)).all()
        text = pixels[2 * GAP + whole_height + part_height :, x : x + 160]
        assert (text < 128).any()  # title and scores


def test_a_grey_image_and_bicubic_alone(tmp_path):
    Image.fromarray(draw_photo(40, 40, 3)[..., 0]).save(tmp_path / "stone.bmp")
    page = draw_figure(tmp_path / "stone.bmp", 4, (0, 0, 40, 40), [], width=80)
    assert page.width == GAP + 2 * (80 + GAP)
    part = np.asarray(page)[2 * GAP + 80 :][:80, GAP : GAP + 80]
    assert (part == np.asarray(Image.open(tmp_path / "stone.bmp")).repeat(2, 0).repeat(2, 1)[..., None]).all()


def test_a_tall_box_stays_within_its_column(photo):
    page = draw_figure(photo, 2, (5, 0, 8, 60), [], width=100)
    assert page.width == GAP + 2 * (100 + GAP) and page.height < 100 + 200 + 120


@pytest.mark.parametrize("box", [(0, 0, 83, 20), (0, 0, 20, 61), (-1, 0, 9, 9), (9, 0, 9, 9), (0, 9, 9, 2)])
def test_a_box_outside_is_refused_before_the_work(photo, box):
    def work(lr, scale):
        pytest.fail("the method ran")

    with pytest.raises(ValueError, match=r"does not lie in the image of 82x60 pixels; give x0 y0 x1 y1 with 0 <= x0 <"):
        draw_figure(photo, 2, box, [Method("IDN", work)])


def test_unfit_images(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        draw_figure(tmp_path / "none.png", 2, (0, 0, 1, 1), [])
    Image.new("L", (9, 3)).save(tmp_path / "tiny.png")
    with pytest.raises(ValueError, match="3x9 image is too small for scale 4"):
        draw_figure(tmp_path / "tiny.png", 4, (0, 0, 1, 1), [])
