"""Pictures for people: the contact sheet of a patch file, and a comparison of methods on one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from idn_data.atomic import write_whole
from idn_data.matlab.classes import im2uint8

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from idn_data.patches.patchfile import PatchFile

_PAPER, _INK, _FAINT, _ACCENT = (255, 255, 255), (24, 24, 24), (110, 110, 110), (214, 40, 40)


def save_picture(picture: Image.Image, path: Path | str, force: bool = False) -> None:
    """Save as PNG, whole or not at all."""
    with write_whole(path, force) as temporary:
        picture.save(temporary, format="PNG")


def draw_patches(file: PatchFile, columns: int = 6, rows: int = 8) -> Image.Image:
    """A contact sheet: pairs of patches spread over the file, LR (pixels enlarged) beside its GT.

    Parameters
    ----------
    file : PatchFile
    columns, rows : int
        Pairs across and down; fewer where the file has fewer.
    """
    numbers = np.unique(np.linspace(0, file.count - 1, columns * rows).astype(np.int64))
    side, zoom, gap, top = file.gt_side, 2 if file.gt_side < 64 else 1, 6, 28
    cell = min(side * zoom, 256)  # patches of thousands of pixels are shown reduced
    width, pair = gap + columns * (2 * cell + 2 + 2 * gap), 2 * cell + 2 + 2 * gap
    sheet = Image.new("RGB", (width, top + -(-len(numbers) // columns) * (cell + 2 * gap)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    title = (
        f"{file.path.name}: {file.count:,} pairs, x{file.scale}, LR {file.lr_side} (enlarged) beside GT {file.gt_side}"
    )
    draw.text((gap, 7), title, _INK, ImageFont.load_default(13))
    for k, number in enumerate(numbers):
        lr, gt = file.read(int(number), int(number) + 1)
        x, y = gap + k % columns * pair, top + k // columns * (cell + 2 * gap)
        for patch in (lr[0, 0], gt[0, 0]):
            picture = Image.fromarray(im2uint8(np.nan_to_num(patch).clip(0, 1))).resize(
                (cell, cell), Image.Resampling.NEAREST
            )
            sheet.paste(picture, (x, y))
            x += cell + 2
    return sheet


@dataclass(frozen=True)
class Panel:
    """One method's picture of the same scene: (H, W) or (H, W, 3) uint8, a title and a line below it."""

    title: str
    image: NDArray[np.uint8]
    caption: str = ""


def draw_comparison(panels: Sequence[Panel], box: tuple[int, int, int, int], height: int = 520) -> Image.Image:
    """The first panel whole with the box drawn, and the boxed part of every panel enlarged beside it.

    Parameters
    ----------
    panels : sequence of Panel
        Images of one height and width; the first is shown whole.
    box : (x0, y0, x1, y1)
        The part to enlarge, pixels, x1 and y1 exclusive.
    height : int
        Of the whole picture on the page, pixels.

    Raises
    ------
    ValueError
        No panels, unequal sizes, or a box outside the image.
    """
    if not panels:
        raise ValueError("a comparison needs at least one panel")
    h, w = panels[0].image.shape[:2]
    if any(p.image.shape[:2] != (h, w) for p in panels):
        raise ValueError("all panels must show images of one size")
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= w and 0 <= y0 < y1 <= h):
        raise ValueError(f"the box {box} does not lie in the image of {w}x{h} pixels (x0 y0 x1 y1)")
    gap, text = 14, 46
    per_row = -(-len(panels) // 2) if len(panels) > 2 else len(panels)
    rows = -(-len(panels) // per_row)
    zoom_h = (height - (rows - 1) * (gap + text)) // rows
    zoom_w = max(1, round(zoom_h * (x1 - x0) / (y1 - y0)))
    whole_w = max(1, round(height * w / h))
    page = Image.new("RGB", (3 * gap + whole_w + per_row * (zoom_w + gap) - gap, 2 * gap + height + text), _PAPER)
    draw = ImageDraw.Draw(page)
    bold, plain = ImageFont.load_default(16), ImageFont.load_default(13)

    whole = Image.fromarray(panels[0].image).convert("RGB").resize((whole_w, height), Image.Resampling.LANCZOS)
    factor = height / h
    ImageDraw.Draw(whole).rectangle([round(v * factor) for v in box], outline=_ACCENT, width=3)
    page.paste(whole, (gap, gap))
    draw.text((gap, gap + height + 6), panels[0].title, _INK, bold)
    draw.text((gap, gap + height + 26), f"{w} x {h} pixels", _FAINT, plain)
    for k, panel in enumerate(panels):
        x = 2 * gap + whole_w + k % per_row * (zoom_w + gap)
        y = gap + k // per_row * (zoom_h + gap + text)
        part = Image.fromarray(np.ascontiguousarray(panel.image[y0:y1, x0:x1])).convert("RGB")
        page.paste(part.resize((zoom_w, zoom_h), Image.Resampling.NEAREST), (x, y))
        draw.text((x, y + zoom_h + 6), panel.title, _INK, bold)
        draw.text((x, y + zoom_h + 26), panel.caption, _FAINT, plain)
    return page
