"""Line charts as inline SVG: they stretch with the page, their text and strokes do not, colours are the page's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from idn_train.report.curves import find_ticks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HEIGHT, STYLES = 240, 6  # of the plotted area, CSS pixels; of lines, in the page's CSS as .s0 … .s5
_LABEL, _DOTS = 15, 60  # between two labels of levels, CSS pixels; points of a line that are all dotted


@dataclass(frozen=True)
class Line:
    """A curve: its name, its (x, y, what a pointer on it reads) in order of x, and the number of its style."""

    name: str
    points: Sequence[tuple[float, float, str]]
    style: int = 0


def find_log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between low and high, both above 0; round values where that gives under three."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0**power for power in powers for m in (1, 2, 5) if low <= m * 10.0**power <= high]
    return ticks if len(ticks) > 2 else find_ticks(low, high, 4)


def draw_chart(
    lines: Sequence[Line], levels: Mapping[str, float] | None = None, *, title: str, x_title: str, log: bool = False
) -> str:
    """An SVG element of the width of its container.

    Parameters
    ----------
    lines : sequence of Line
        At least one point in all; finite; with `log` above 0.
    levels : mapping of str to y, optional
        Drawn as lines across with their names.
    title : str
        What the chart shows, for those who cannot see it; the lines' first and last values are added.
    x_title : str
    log : bool
        Logarithmic y.

    Returns
    -------
    str
        HTML; every text in it is escaped.
    """
    levels = levels or {}
    values = [y for line in lines for _, y, _ in line.points] + list(levels.values())
    if not any(line.points for line in lines):
        raise ValueError(f"{title}: no points to draw; give a line with some")
    if not all(map(math.isfinite, values)) or (log and min(values) <= 0):
        raise ValueError(f"{title}: values must be finite{', and above 0 on a logarithmic axis' if log else ''}")
    bend = math.log10 if log else float
    low, high = bend(min(values)), bend(max(values))
    margin = max(0.06 * (high - low), 0.01 if log else 0.05)
    low, high = low - margin, high + margin
    last = max(x for line in lines for x, _, _ in line.points) or 1.0

    def up(y: float) -> float:
        return HEIGHT * (high - bend(y)) / (high - low)

    parts = []
    for y in find_log_ticks(10**low, 10**high) if log else find_ticks(low, high):
        parts.append(f'<line class="grid" x2="100%" y1="{up(y):.1f}" y2="{up(y):.1f}"/>')
        parts.append(f'<text class="tick" x="-8" y="{up(y):.1f}" dy=".35em" text-anchor="end">{y:.4g}</text>')
    for x in find_ticks(0, last, 4):
        place = f'x="{100 * x / last:.2f}%"'
        parts.append(f'<text class="tick" {place} y="{HEIGHT + 18}" text-anchor="middle">{_format_number(x)}</text>')
    parts.append(f'<line class="axis" x2="100%" y1="{HEIGHT}" y2="{HEIGHT}"/>')
    parts.append(f'<text class="tick" x="100%" y="{HEIGHT + 36}" text-anchor="end">{escape(x_title)}</text>')
    for y in levels.values():
        parts.append(f'<line class="level" x2="100%" y1="{up(y):.1f}" y2="{up(y):.1f}"/>')
    # stretched to the container's width; no more than geometry may stand in here
    curves = []
    for line in lines:
        path = " ".join(f"{1000 * x / last:.1f},{up(y):.1f}" for x, y, _ in line.points)
        curves.append(f'<polyline class="s{line.style % STYLES}" points="{path}"/>')
    view = f'viewBox="0 0 1000 {HEIGHT}" preserveAspectRatio="none" width="100%" height="{HEIGHT}"'
    parts.append(f"<svg {view}>{''.join(curves)}</svg>")
    for line in lines:
        few = line.points if len(line.points) <= _DOTS else line.points[-1:]
        for x, y, text in few:
            at = f'cx="{100 * x / last:.2f}%" cy="{up(y):.1f}"'
            parts.append(f'<circle class="s{line.style % STYLES}" {at} r="2.5"><title>{escape(text)}</title></circle>')
    above = -math.inf
    for name, y in sorted(levels.items(), key=lambda level: -level[1]):  # downwards, each clear of the one above
        above = up(y) - 5 if up(y) - 5 >= above + _LABEL else max(up(y) + 13, above + _LABEL)
        parts.append(f'<text class="name" x="6" y="{above:.1f}">{escape(name)} {y:.2f}</text>')
    told = "; ".join(
        f"{line.name} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in lines if line.points
    )
    told = "; ".join([f"{title}: {told}", *(f"{name} {y:.2f}" for name, y in levels.items())])
    return f'<svg class="chart" role="img" aria-label="{escape(told)}" height="{HEIGHT}">{"".join(parts)}</svg>'


def _format_number(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"
