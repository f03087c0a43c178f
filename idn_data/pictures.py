"""Pictures for people: the contact sheet of a patch file, and views of one image side by side."""

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

PAPER, INK, FAINT, ACCENT = (255, 255, 255), (24, 24, 24), (110, 110, 110), (214, 40, 40)  # of all that idn draws
_GAP, _TEXT = 14, 46  # pixels between columns, and of the two lines below one


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
    sheet = Image.new("RGB", (width, top + -(-len(numbers) // columns) * (cell + 2 * gap)), PAPER)
    draw = ImageDraw.Draw(sheet)
    title = (
        f"{file.path.name}: {file.count:,} pairs, x{file.scale}, LR {file.lr_side} (enlarged) beside GT {file.gt_side}"
    )
    draw.text((gap, 7), title, INK, ImageFont.load_default(13))
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


def check_box(box: tuple[int, int, int, int], width: int, height: int) -> None:
    """Raise ValueError unless a box (x0, y0, x1, y1), x1 and y1 exclusive, lies in an image of these sides."""
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"the box {x0} {y0} {x1} {y1} does not lie in the image of {width}x{height} pixels; "
            f"give x0 y0 x1 y1 with 0 <= x0 < x1 <= {width} and 0 <= y0 < y1 <= {height}"
        )


def draw_panels(panels: Sequence[Panel], box: tuple[int, int, int, int], width: int = 320) -> Image.Image:
    """A column for each panel: whole with the box drawn, the boxed part enlarged below, title and caption.

    Parameters
    ----------
    panels : sequence of Panel
        Images of one height and width.
    box : (x0, y0, x1, y1)
        The part to enlarge, pixels, x1 and y1 exclusive.
    width : int
        Of a column, pixels.

    Raises
    ------
    ValueError
        No panels, unequal sizes, or a box outside the image.
    """
    if not panels:
        raise ValueError("nothing to draw: no panels; give at least one")
    h, w = panels[0].image.shape[:2]
    if any(p.image.shape[:2] != (h, w) for p in panels):
        raise ValueError(f"all panels must show images of one size; the first is {w}x{h}")
    check_box(box, w, h)

    def fit(w: int, h: int) -> tuple[int, int]:
        factor = min(width / w, 2 * width / h)
        return max(1, round(w * factor)), max(1, round(h * factor))

    whole_size, part_size = fit(w, h), fit(box[2] - box[0], box[3] - box[1])
    top = 2 * _GAP + whole_size[1]
    page = Image.new("RGB", (_GAP + len(panels) * (width + _GAP), top + part_size[1] + _TEXT + _GAP), PAPER)
    draw = ImageDraw.Draw(page)
    bold, plain = ImageFont.load_default(16), ImageFont.load_default(13)
    for k, panel in enumerate(panels):
        x = _GAP + k * (width + _GAP)
        picture = Image.fromarray(panel.image).convert("RGB")
        whole = picture.resize(whole_size, Image.Resampling.LANCZOS)
        frame = [round(v * whole_size[0] / w) for v in box]
        ImageDraw.Draw(whole).rectangle(frame, outline=ACCENT, width=3)
        page.paste(whole, (x, _GAP))
        page.paste(picture.crop(box).resize(part_size, Image.Resampling.NEAREST), (x, top))
        draw.text((x, top + part_size[1] + 6), panel.title, INK, bold)
        draw.text((x, top + part_size[1] + 26), panel.caption, FAINT, plain)
    return page
