"""Tables as text: for a terminal of 80 columns, and as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from typing import TYPE_CHECKING, Any

from idn_data.atomic import format_bytes
from idn_data.images.sets import read_published
from idn_data.scores.protocols import find_protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idn_data.images.fetch import Survey
    from idn_data.patches.trainplan import Estimate, TrainSet
    from idn_data.scores.benchmark import ImageScore, Score
    from idn_data.scores.pairs import Pairing
    from idn_data.scores.scoring import MethodScore


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, the first to the left, the others to the right."""
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def format_candidates(rows: Sequence[dict[str, Any]]) -> str:
    """What may have made LR pictures, the nearest first: a line for each row of `Identification.candidates`."""
    head = ["", "differ", "of", "at most", "where"]
    cells = [[r["name"], f"{r['differing']:,}", f"{r['values']:,}", str(r["largest"]), r["where"]] for r in rows]
    return format_table(head, cells)


def format_scores(scores: Sequence[Score]) -> str:
    """Scores beside the published ones; the difference at the printed precision, as papers compare."""
    rows = []
    for s in scores:
        published = difference = "-"
        if s.published_psnr is not None and s.published_ssim is not None:
            published = f"{s.published_psnr:.2f}/{s.published_ssim:.4f}"
            psnr, ssim = round(s.psnr, 2) - s.published_psnr, round(s.ssim, 4) - s.published_ssim
            difference = f"{psnr:+.2f}/{ssim:+.4f}"
        values = (f"{s.psnr:.2f}", f"{s.ssim:.4f}", published, difference)
        rows.append([s.set, f"x{s.scale}", s.method, s.protocol, str(s.images), *values])
    return format_table(["set", "scale", "method", "proto", "n", "PSNR", "SSIM", "published", "difference"], rows)


def format_comparison(scores: Sequence[Score], markdown: bool = False) -> str:
    """Bicubic and IDN as published beside the scored methods, a line for each set, scale and protocol.

    As a table for a terminal, or as Markdown. The published figures stand in the protocol they were measured in.
    """
    columns = ("bicubic", "IDN (Original)", "IDN (TensorFlow) finetune")
    published, methods = read_published(), list(dict.fromkeys(s.method for s in scores))
    rows = []
    for key in dict.fromkeys((s.set, s.scale, s.protocol) for s in scores):
        cells = [key[0], f"x{key[1]}", key[2]]
        own = find_protocol(key[2]).published
        cells += [_pair(published.get((key[0], key[1], name)) if name in own else None) for name in columns]
        mine = {s.method: (s.psnr, s.ssim) for s in scores if (s.set, s.scale, s.protocol) == key}
        rows.append(cells + [_pair(mine.get(method)) for method in methods])
    head = ["set", "", "proto", "Bicubic", "IDN (Original)", "IDN (TF)", *methods]
    if not markdown:
        return format_table(head, rows)
    return _format_markdown(head, rows, 3)


def format_protocols(scores: Sequence[Score]) -> str:
    """What each protocol among the scores compares, and how, for a terminal of 80 columns."""
    lines = []
    for name, boundary in dict.fromkeys((s.protocol, s.boundary) for s in scores):
        rule = find_protocol(name)
        shaved = f"scale + {rule.margin}" if rule.margin else "scale"
        said = f"{name:<6}{rule.channel} channel, {shaved} pixels shaved, {boundary} borders of LR; {rule.formula}"
        lines += textwrap.wrap(said, 80, subsequent_indent=" " * 6)
    return "\n".join(lines)


def _pair(values: tuple[float, float] | None) -> str:
    return "-" if values is None else f"{values[0]:.2f}/{values[1]:.4f}"


def format_image_scores(scores: Sequence[ImageScore]) -> str:
    """One line for each image."""
    rows = [[s.image, s.set, f"x{s.scale}", s.method, s.protocol, f"{s.psnr:.2f}", f"{s.ssim:.4f}"] for s in scores]
    return format_table(["image", "set", "scale", "method", "proto", "PSNR", "SSIM"], rows)


def format_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows of equal keys as CSV with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def format_estimate(estimate: Estimate) -> str:
    """What make-train would write."""
    left_out = f" ({estimate.skipped} left out)" if estimate.skipped else ""
    lines = [f"images      {estimate.images}{left_out}", f"patches     {estimate.patches:,}"]
    lines += [f"  {f}  {n:,}" for f, n in zip(estimate.files, estimate.patches_per_file, strict=True)]
    lines.append(f"on disk     {format_bytes(estimate.bytes)}; free {format_bytes(estimate.disk_free)}")
    lines.append(f"in memory   {format_bytes(estimate.memory)}, in {estimate.passes} pass(es)")
    if estimate.bytes_left > estimate.disk_free:
        lines.append("not enough disk space: choose another folder with --out, or --storage uint8")
    return "\n".join(lines)


def format_made(made: TrainSet, kept: int) -> str:
    """What make-train wrote, and how many shards it kept."""
    recipe, estimate, first, last = made.recipe, made.estimate(), made.paths[0], made.paths[-1]
    where = str(first) if made.shards == 1 else f"{first} … {last.name}"
    sides = f"LR {recipe.lr_side}x{recipe.lr_side}, GT {recipe.gt_side}x{recipe.gt_side}"
    size = format_bytes(sum(path.stat().st_size for path in made.paths))
    lines = [f"{where}: {estimate.patches:,} patches ({sides}) of {estimate.images} images, {size}"]
    if kept:
        lines.append(f"{kept} of {made.shards} shards stood already and were kept; --force makes them anew")
    return "\n".join(lines)


def format_survey(surveys: Sequence[Survey]) -> str:
    """What is there of each image set, and what is lacking."""
    rows = []
    for s in surveys:
        lacking = format_bytes(s.bytes_lacking) if s.bytes_lacking else "-"
        rows.append([s.set, str(s.files), format_bytes(s.bytes), str(s.whole), str(s.wrong), lacking])
    return format_table(["set", "files", "size", "whole", "wrong", "lacking"], rows)


def format_pairs(pairings: Sequence[Pairing]) -> str:
    """Which SR picture pairs with which GT, and by which rule."""
    blocks = []
    for pairing in pairings:
        rows = [[pair.name, str(pair.sr), str(pair.gt)] for pair in pairing.pairs]
        rows += [["-", str(path), "no partner"] for path in pairing.alone]
        blocks.append(f"{pairing.method}: paired by {pairing.rule}\n{format_table(['picture', 'SR', 'GT'], rows)}")
    return "\n\n".join(blocks)


def format_methods(scores: Sequence[MethodScore], per_picture: bool = False, *, markdown: bool = False) -> str:
    """A table for each protocol, methods as columns: the mean, and each picture where `per_picture`."""
    blocks = []
    for name in dict.fromkeys(s.protocol for s in scores):
        mine = [s for s in scores if s.protocol == name]
        first, formula = mine[0], find_protocol(name).formula
        pictures = list(dict.fromkeys(p.picture for s in mine for p in s.pictures)) if per_picture else []
        rows = []
        for picture in pictures:
            held = [next((p for p in s.pictures if p.picture == picture), None) for s in mine]
            rows.append([picture, *(_pair((p.psnr, p.ssim) if p else None) for p in held)])
        counts = [str(s.images) for s in mine if s.pictures]  # unlike where pictures without a partner were left out
        label = f"mean of {counts[0] if len(set(counts)) == 1 else ', '.join(counts)}"
        rows.append([label, *(_pair((s.psnr, s.ssim)) for s in mine)])
        head = [f"{first.set} x{first.scale:g}", *(s.method for s in mine)]
        title = f"protocol {name}: {formula}; {first.border} pixels shaved off each side"
        blocks.append(f"{title}\n\n{_format_markdown(head, rows, 1) if markdown else format_table(head, rows)}")
    return "\n\n".join(blocks)


def format_method_rows(scores: Sequence[MethodScore]) -> str:
    """CSV: a row for each picture, and one for the mean of each method."""
    rows: list[dict[str, Any]] = []
    for s in scores:
        facts = {"set": s.set, "scale": f"{s.scale:g}", "method": s.method, "protocol": s.protocol, "border": s.border}
        rows += [facts | {"picture": p.picture, "psnr": p.psnr, "ssim": p.ssim} for p in s.pictures]
        rows.append(facts | {"picture": f"mean of {s.images}", "psnr": s.psnr, "ssim": s.ssim})
    return format_csv(rows)


def _format_markdown(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table whose first `left` columns are set to the left, the others to the right."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
