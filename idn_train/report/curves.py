"""The curve of a training: PSNR over its time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from idn_data.pictures import FAINT, INK, PAPER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_GRID, _LINE = (228, 228, 228), (22, 96, 180)


def find_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About `count` round values that span low to high."""
    rough = max(high - low, 1e-9) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough * 0.999)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def draw_curve(
    rows: Sequence[Mapping[str, str]],
    title: str,
    levels: Mapping[str, float] | None = None,
    size: tuple[int, int] = (760, 420),
) -> Image.Image | None:
    """PSNR over the time of a training.

    Parameters
    ----------
    rows : sequence of mapping
        Of ``metrics.csv``: ``seconds``, ``psnr`` (dB, may be empty), ``step``.
    title : str
    levels : mapping of str to dB, optional
        Drawn as lines across, such as bicubic's PSNR.
    size : (int, int)
        Width and height, pixels.

    Returns
    -------
    Image or None
        None where no row has a PSNR.
    """
    points = [(float(row["seconds"]) / 60, float(row["psnr"])) for row in rows if row["psnr"]]
    if not points:
        return None
    levels = levels or {}
    width, height = size
    left, right, top, bottom = 64, width - 20, 44, height - 48
    values = [*(v for _, v in points), *levels.values()]
    margin = max(0.05, 0.06 * (max(values) - min(values)))
    low, high, last = min(values) - margin, max(values) + margin, max(points[-1][0], 1e-6)
    page = Image.new("RGB", size, PAPER)
    draw, bold, plain = ImageDraw.Draw(page), ImageFont.load_default(16), ImageFont.load_default(13)

    def place(minute: float, decibel: float) -> tuple[float, float]:
        return left + (right - left) * minute / last, bottom - (bottom - top) * (decibel - low) / (high - low)

    for value in find_ticks(low, high):
        y = place(0, value)[1]
        draw.line([(left, y), (right, y)], _GRID)
        draw.text((left - 8, y), f"{value:.4g}", FAINT, plain, anchor="rm")
    for value in find_ticks(0, last):
        x = place(value, low)[0]
        draw.line([(x, bottom), (x, bottom + 4)], FAINT)
        draw.text((x, bottom + 7), f"{value:.4g}", FAINT, plain, anchor="ma")
    for name, value in levels.items():
        y = place(0, value)[1]
        draw.line([(left, y), (right, y)], FAINT)
        draw.text((right - 4, y - 3), f"{name} {value:.2f}", FAINT, plain, anchor="rb")
    draw.line([place(*point) for point in points], _LINE, 2, "curve")
    for point in points[-1:]:
        x, y = place(*point)
        draw.ellipse([x - 3, y - 3, x + 3, y + 3], _LINE)
    draw.text((left, 12), title, INK, bold)
    text = f"{points[-1][1]:.2f} dB now, {max(v for _, v in points):.2f} dB best"
    draw.text((right, 14), text, INK, plain, anchor="ra")
    draw.text(((left + right) / 2, height - 6), "minutes of training", FAINT, plain, anchor="ms")
    draw.text((8, 12), "dB", FAINT, plain)
    return page
