"""The "visual quality" figure: one image by several methods, whole and in part, with their scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from idn_data.images.decode import read_image
from idn_data.images.variants import modcrop
from idn_data.pictures import Panel
from idn_data.scores.methods import BICUBIC
from idn_data.scores.protocols import score
from idn_data.scores.testset import compose_result, make_test_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idn_data.scores.methods import Method

_PAPER, _INK, _FAINT, _ACCENT = (255, 255, 255), (24, 24, 24), (110, 110, 110), (214, 40, 40)
_GAP, _TEXT = 14, 46


def make_panels(path: Path | str, scale: int, methods: Sequence[Method]) -> list[Panel]:
    """GT and what each method makes of its LR, in colour, with PSNR and SSIM of Y in the float protocol.

    Raises
    ------
    ImageError, ValueError
        The image cannot be used, or is too small for the scale.
    """
    path = Path(path)
    image = read_image(path)
    pair = make_test_pair(image, scale, path.stem)
    panels = [Panel("GT", np.ascontiguousarray(modcrop(image, scale)), f"{path.name}, x{scale}")]
    for method in methods:
        sr = method.enlarge(pair.lr, scale)
        psnr, ssim = score(sr, pair.gt, scale, "float")
        panels.append(Panel(method.name, compose_result(sr, pair), f"{psnr:.2f} dB / {ssim:.4f}"))
    return panels


def draw_figure(
    path: Path | str, scale: int, box: tuple[int, int, int, int], methods: Sequence[Method], width: int = 320
) -> Image.Image:
    """GT, bicubic and each method in a column of its own: whole with the box drawn, the boxed part below, the scores.

    Parameters
    ----------
    path : path
        The GT image; its LR is its bicubic reduction.
    scale : int
    box : (x0, y0, x1, y1)
        The part to enlarge, pixels of GT, x1 and y1 exclusive.
    methods : sequence of Method
        Beside bicubic, which is always there.
    width : int
        Of a column, pixels.

    Raises
    ------
    ImageError, ValueError
        The image cannot be used, or the box does not lie in it.
    """
    height, image_width = modcrop(read_image(path), scale).shape[:2]
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= image_width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"the box {x0} {y0} {x1} {y1} does not lie in the image of {image_width}x{height} pixels; "
            f"give x0 y0 x1 y1 with 0 <= x0 < x1 <= {image_width} and 0 <= y0 < y1 <= {height}"
        )
    panels = make_panels(path, scale, [BICUBIC, *methods])

    def fit(w: int, h: int) -> tuple[int, int]:
        factor = min(width / w, 2 * width / h)
        return max(1, round(w * factor)), max(1, round(h * factor))

    whole_size, part_size = fit(image_width, height), fit(x1 - x0, y1 - y0)
    top = 2 * _GAP + whole_size[1]
    page = Image.new("RGB", (_GAP + len(panels) * (width + _GAP), top + part_size[1] + _TEXT + _GAP), _PAPER)
    draw = ImageDraw.Draw(page)
    bold, plain = ImageFont.load_default(16), ImageFont.load_default(13)
    for k, panel in enumerate(panels):
        x = _GAP + k * (width + _GAP)
        picture = Image.fromarray(panel.image).convert("RGB")
        whole = picture.resize(whole_size, Image.Resampling.LANCZOS)
        frame = [round(v * whole_size[0] / image_width) for v in box]
        ImageDraw.Draw(whole).rectangle(frame, outline=_ACCENT, width=3)
        page.paste(whole, (x, _GAP))
        page.paste(picture.crop(box).resize(part_size, Image.Resampling.NEAREST), (x, top))
        draw.text((x, top + part_size[1] + 6), panel.title, _INK, bold)
        draw.text((x, top + part_size[1] + 26), panel.caption, _FAINT, plain)
    return page
