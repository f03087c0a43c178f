"""The "visual quality" figure: one image by several methods, whole and in part, with their scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idn_data.images.decode import read_image
from idn_data.images.variants import modcrop
from idn_data.pictures import Panel, check_box, draw_panels
from idn_data.scores.colour import upscale_pair
from idn_data.scores.methods import BICUBIC
from idn_data.scores.protocols import score
from idn_data.scores.testset import compose_result, make_test_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from idn_data.scores.methods import Method


def make_panels(path: Path | str, scale: int, methods: Sequence[Method]) -> list[Panel]:
    """GT and what each method makes of its LR, in colour, with PSNR and SSIM of Y in the float protocol.

    Methods in colour have theirs in the protocol "y".

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
        sr = upscale_pair(method, pair)
        picture = compose_result(sr, pair)
        if method.colour:
            psnr, ssim = score(picture, panels[0].image, scale, "y")
        else:
            psnr, ssim = score(sr, pair.gt, scale, "float")
        caption = f"{psnr:.2f} dB / {ssim:.4f}{' (protocol y)' if method.colour else ''}"
        panels.append(Panel(method.name, picture, caption))
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
    check_box(box, image_width, height)
    return draw_panels(make_panels(path, scale, [BICUBIC, *methods]), box, width)
