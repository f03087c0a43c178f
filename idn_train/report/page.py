"""The HTML of a report: its tables, pictures, curves and frame. Every text is escaped here."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from idn_data.scores.benchmark import find_published
from idn_data.scores.methods import BICUBIC
from idn_data.scores.protocols import FLOAT, PROTOCOLS, UINT8
from idn_train.report.chart import STYLES, Line, draw_chart
from idn_train.weightfile import tidy_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from idn_data.pictures import Panel
    from idn_data.scores.benchmark import Score
    from idn_data.scores.protocols import ProtocolName
    from idn_train.report.runs import Run

    Scores = dict[tuple[str, int, str, ProtocolName], Score]  # by set, scale, method and protocol

LABELS = {  # of what a weight file says, in this order
    "file": "File", "sha256": "SHA-256", "name": "Name", "source": "Converted from", "source_sha256": "SHA-256 of that",
    "network": "Network", "network_sha256": "SHA-256 of its file", "channels": "Channels",
    "scale": "Scale", "parameters": "Parameters", "step": "Steps done", "minutes": "Minutes of training",
    "validation_psnr": "Validation PSNR, dB", "recipe.stage": "Stage", "recipe.data": "SHA-256 of the patches",
    "recipe.patches": "Patches", "recipe.init": "SHA-256 of the first weights", "recipe.steps": "Steps",
    "recipe.epochs": "Epochs", "recipe.minutes": "Time limit, minutes", "recipe.batch": "Patches a step",
    "recipe.loss": "Loss", "recipe.rate": "Rate of Adam", "recipe.muon_rate": "Rate of Muon",
    "recipe.schedule": "Schedule", "recipe.decay_epochs": "Epochs to a tenth of it",
    "recipe.warmup": "Steps of warm-up",
    "recipe.weight_decay": "Weight decay", "recipe.reconstruction_std": "σ of the first reconstruction",
    "recipe.average": "Decay of the mean of weights", "recipe.precision": "Precision", "recipe.seed": "Seed",
    "torch": "torch", "format": "Weight format",
}  # fmt: skip
_NONE = "–"
_MAX_FACTS, _MAX_KEY, _MAX_VALUE = 64, 64, 2048  # lines of a weight file's own words, and characters of them, shown


@dataclass(frozen=True)
class Picture:
    """Views of one image at one scale, GT and bicubic first: the whole's (width, height), the part's (x, y), pixels."""

    name: str
    scale: int
    whole: tuple[int, int]
    corner: tuple[int, int]
    panels: Sequence[Panel]


def format_page(runs: Sequence[Run], scores: Scores, pictures: Sequence[Picture]) -> str:
    """The page: a sentence on each network, scores, pictures, curves, provenance; by scale where there are several."""
    scales = sorted({run.scale for run in runs})
    titles = {"Scores": "", "Pictures": "", "Training": "", "Provenance": _format_facts(runs)}
    for scale in scales:
        names = [run.name for run in runs if run.scale == scale]
        trained = [(k, run) for k, run in enumerate(runs) if run.scale == scale and run.points]
        tables = [_format_scores(scores, scale, names, protocol) for protocol in _list_protocols(scores)]
        for title, text in (
            ("Scores", f'<div class="tables">{"".join(tables)}</div>' if tables else ""),
            ("Pictures", "".join(_format_picture(p) for p in pictures if p.scale == scale)),
            ("Training", _format_curves(trained, scores, scale) if trained else ""),
        ):
            titles[title] += (f"<h3>×{scale}</h3>" if text and len(scales) > 1 else "") + text
    titles["Scores"] += _format_origin(scores) if scores else ""
    title = ", ".join(run.name for run in runs) if len(runs) < 4 else f"{len(runs)} networks"
    links = " ".join(f'<a href="#{name}">{name}</a>' for name, text in titles.items() if text)
    body = [f"<header><h1>{escape(title)}</h1><nav>{links}</nav>{_format_lead(runs, scores)}</header><main>"]
    for name, text in titles.items():
        if text:
            body.append(f'<section aria-labelledby="{name}"><h2 id="{name}">{name}</h2>{text}</section>')
    body.append(f"</main><footer>idn {escape(version('idn'))}</footer>")
    template = Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    script = template.partition("<script>")[2].partition("</script>")[0]
    # no script but the page's own can run in it, and nothing is fetched, whatever the texts in it hold
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parts = {"title": escape(title), "digest": digest, "body": "\n".join(body)}
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)
    return page.encode("utf-8", "replace").decode("utf-8")  # names of files may hold what is no text


def _sign(value: float, digits: int) -> str:
    """With its sign, minus as a minus; none for what rounds to zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def _format_key(style: int) -> str:
    """A piece of the line that stands for a network in the charts."""
    return f'<svg class="key" aria-hidden="true"><line class="s{style % STYLES}" x2="100%" y1="50%" y2="50%"/></svg>'


def _list_protocols(scores: Scores) -> list[ProtocolName]:
    """The protocols that there are scores in, in the order of their table."""
    return [name for name in PROTOCOLS if any(key[3] == name for key in scores)]


def _format_lead(runs: Sequence[Run], scores: Scores) -> str:
    items = []
    for k, run in enumerate(runs):
        said, aim = [f"{escape(tidy_name(str(run.facts.get('network') or 'IDN')))} ×{run.scale}"], run.validated_in
        mine = [s for s in scores.values() if (s.method, s.scale, s.protocol) == (run.name, run.scale, aim)]
        for s in mine[:1]:
            psnr, base = round(s.psnr, 2), scores[s.set, s.scale, BICUBIC.name, aim]
            said.append(f"<b>{psnr:.2f} dB</b> on {escape(s.set)}")
            said.append(f"{_sign(psnr - round(base.psnr, 2), 2)} against bicubic")
            if s.published_psnr is not None and (row := PROTOCOLS[aim].find_row(s.method)):
                said.append(f"{_sign(psnr - s.published_psnr, 2)} against {row}")
        step, minutes = run.facts.get("step"), run.facts.get("minutes")
        if isinstance(step, int) and isinstance(minutes, (int, float)):
            said.append(f"{step:,} steps in {minutes:,g} minutes")
        items.append(f"<li>{_format_key(k)}<span><b>{escape(run.name)}</b>: {', '.join(said)}</span></li>")
    return f'<ul class="lead">{"".join(items)}</ul>'


def _format_scores(scores: Scores, scale: int, names: Sequence[str], protocol: ProtocolName) -> str:
    """A table of one protocol: under each set bicubic, what was published, and each network against its row of that."""
    rule = PROTOCOLS[protocol]
    title = f"{rule.title}: {rule.formula}"
    mine = [s for s in scores.values() if (s.scale, s.protocol) == (scale, protocol) and s.method in names]
    if not mine:  # all are networks for RGB, and this protocol is not
        return ""
    compared = any(s.published_psnr is not None for s in mine)
    heads = "".join(f'<th scope="col">{h}</th>' for h in ("PSNR", "diff.", "SSIM", "diff.") if compared or h != "diff.")
    groups = []
    for set_name in dict.fromkeys(s.set for s in mine):
        own = sorted((s for s in mine if s.set == set_name), key=lambda s: names.index(s.method))
        base = scores[set_name, scale, BICUBIC.name, protocol]
        lines = [_format_line("other", "Bicubic", (base.psnr, base.ssim), compared)]
        rows = {  # each once, by its own name: methods may have different ones
            rule.find_row(s.method): (s.published_psnr, s.published_ssim)
            for s in own
            if s.published_psnr is not None and s.published_ssim is not None
        }
        lines += [_format_line("other", f"{row}, published", figures, compared) for row, figures in rows.items()]
        for s in own:
            aims = s.published_psnr, s.published_ssim
            lines.append(_format_line("own", s.method, (s.psnr, s.ssim), compared, aims))
        span = 5 if compared else 3
        group = f'<tr><th scope="rowgroup" colspan="{span}">{escape(set_name)}</th></tr>'
        groups.append(f"<tbody>{group}{''.join(lines)}</tbody>")
    head = f"<caption>{escape(title)}</caption><thead><tr><td></td>{heads}</tr></thead>"
    table = f"<table>{head}{''.join(groups)}</table>"
    return f'<div class="wide" role="region" aria-label="{escape(title)}" tabindex="0">{table}</div>'


def _format_line(
    kind: str, name: str, values: tuple[float, float], compared: bool, aims: Sequence[float | None] = (None, None)
) -> str:
    """A row of scores: PSNR and SSIM, each beside its difference to what it aims at where any row has one."""
    cells = [f'<th scope="row">{escape(name)}</th>']
    for value, aim, digits in zip(values, aims, (2, 4), strict=True):
        cells.append(f"<td>{value:.{digits}f}</td>")
        if compared:
            away = 0.0 if aim is None else round(round(value, digits) - aim, digits)
            verdict = "better" if away > 0 else "worse" if away < 0 else "same"
            cells.append("<td></td>" if aim is None else f'<td class="{verdict}">{_sign(away, digits)}</td>')
    return f'<tr class="{kind}">{"".join(cells)}</tr>'


def _format_origin(scores: Scores) -> str:
    """What the scores were measured on, and whether bicubic is what was published."""
    sets = {s.set: s for s in scores.values()}
    items = []
    for name, s in sets.items():
        files = "the authors’ files" if s.registered else "not the authors’ files"
        items.append(f"<li>{escape(name)}: {s.images} images, {files}, SHA-256 <code>{s.digest}</code></li>")
    wrong = [
        f"{escape(s.set)} ×{s.scale}"
        for s in scores.values()
        if s.method == BICUBIC.name and s.published_psnr is not None
        and (round(s.psnr, 2), round(s.ssim, 4)) != (s.published_psnr, s.published_ssim)
    ]  # fmt: skip
    known = any(s.method == BICUBIC.name and s.published_psnr is not None for s in scores.values())
    same = f"differs from the published one on {', '.join(wrong)}: do not compare there"
    verdict = f", and {same if wrong else 'equals the published one (float protocol)'}" if known else ""
    rgb = (
        "; in the RGB protocol all channels, and 6 pixels more"
        if any(s.channel == "RGB" for s in scores.values())
        else ""
    )
    note = (
        f"Y channel, as many pixels shaved off each side as the scale{rgb}. Differences are to the figures published "
        f"under that name, else to IDN's, at the printed precision. Bicubic was computed here{verdict}."
    )
    return f'<p class="note">{note}</p><ul class="note">{"".join(items)}</ul>'


def _format_picture(picture: Picture) -> str:
    """All views of an image, each once; the page's script lets one look at two of them at a time."""
    name = escape(picture.name)
    height, width = picture.panels[0].image.shape[:2]
    said = f"×{picture.scale}, {width}×{height} pixels"
    if (width, height) != picture.whole:
        x, y = picture.corner
        said += f" of {picture.whole[0]}×{picture.whole[1]}, from ({x}, {y}), where bicubic errs the most"
        said += "; the scores are of the whole"
    views = []
    for panel in picture.panels:
        title, score = escape(panel.title), "" if panel.title == "GT" else escape(panel.caption)
        views.append(
            f'<figure><div class="view"><img src="{_encode_image(panel.image)}" width="{width}" height="{height}" '
            f'alt="{name}: {title}"></div><figcaption><b>{title}</b> <span>{score}</span></figcaption></figure>'
        )
    return (
        f'<article class="viewer" style="--w:{width};--h:{height}" aria-label="{name}">'
        f'<p class="title"><b>{name}</b> {said}</p><div class="views">{"".join(views)}</div></article>'
    )


def _encode_image(image: NDArray[Any]) -> str:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _format_curves(trained: Sequence[tuple[int, Run]], scores: Scores, scale: int) -> str:
    """PSNR and loss of all runs of a scale, over minutes and over steps."""
    sets = {_find_validation_set(run, scores) for _, run in trained}
    name = sets.pop() if len(sets) == 1 else None
    levels, notes = {}, []
    kinds = {run.validated_in for _, run in trained}
    if len(kinds) > 1:
        name = None
        notes.append("The runs were validated in different protocols: float, and y of networks for RGB.")
    if name is not None:
        (kind,) = kinds
        bicubic = scores[name, scale, BICUBIC.name, kind]
        levels["bicubic"] = bicubic.psnr
        for protocol in (FLOAT, UINT8) if kind == "float" else ():
            network = protocol.network
            if network and (published := find_published(name, scale, network, protocol.name, bicubic.images)):
                levels[network] = published[0]
    elif scores:
        notes.append("No lines of reference: the runs were not validated on one and the same of the sets above.")
    if UINT8.network in levels:
        notes.append("Validation is in the float protocol; IDN (Original) was published in the other one.")
    recipes = [run.facts["recipe"] if isinstance(run.facts.get("recipe"), dict) else {} for _, run in trained]
    if len({tuple(str(recipe.get(name) or "") for name in ("loss", "last_loss", "data")) for recipe in recipes}) > 1:
        notes.append("The losses are of different kinds or patches, and do not compare.")
    if any(recipe.get("last_loss") not in (None, "", recipe.get("loss")) for recipe in recipes):
        notes.append("A loss changes its kind where the last quarter of a run begins.")
    keys = []
    for k, run in trained:
        psnrs = [p.psnr for p in run.points if p.psnr is not None]
        text = f"{psnrs[-1]:.2f} dB at the end, {max(psnrs):.2f} dB at best" if psnrs else "no validation"
        keys.append(f"<li>{_format_key(k)}<span><b>{escape(run.name)}</b> {text}</span></li>")
    psnr_title = f"Validation PSNR{f' on {name}' if name else ''}, dB"
    groups: list[str] = []
    choice: list[str] = []
    for axis, x_title in (("minutes", "minutes of training"), ("step", "steps")):
        figures = []
        for field, title in (("psnr", psnr_title), ("loss", "Training loss, logarithmic")):
            lines = [_trace(run, k, axis, field) for k, run in trained]
            if any(line.points for line in lines):
                drawn = levels if field == "psnr" else {}
                chart = draw_chart(lines, drawn, title=title, x_title=x_title, log=field == "loss")
                figures.append(f"<figure><figcaption>{escape(title)}</figcaption>{chart}</figure>")
        groups.append(f'<div class="charts by-{axis}">{"".join(figures)}</div>')
        number, checked = f"{axis}{scale}", "" if choice else " checked"
        choice.append(f'<input type="radio" name="axis{scale}" id="{number}"{checked}>')
        choice.append(f'<label for="{number}">over {x_title.split()[0]}</label>')
    note = f'<p class="note">{" ".join(notes)}</p>' if notes else ""
    return f'<div class="curves"><ul class="keys">{"".join(keys)}</ul>{"".join(choice + groups)}{note}</div>'


def _trace(run: Run, style: int, axis: str, field: str) -> Line:
    """PSNR, or the loss where it is above 0, of a run over its minutes or steps."""
    points = []
    for p in run.points:
        y = p.psnr if field == "psnr" else p.loss or None
        if y is not None:
            psnr = "" if p.psnr is None else f", {p.psnr:.2f} dB"
            told = f"{run.name}: step {p.step:,}, {p.minutes:.1f} min, loss {p.loss:.4g}{psnr}"
            points.append((float(p.step) if axis == "step" else p.minutes, y, told))
    return Line(run.name, points, style)


def _find_validation_set(run: Run, scores: Scores) -> str | None:
    """The set on which a run was validated, by its PSNR: the file holds the value, not the name."""
    said = run.facts.get("validation_psnr")
    for s in scores.values():
        own = (s.method, s.scale, s.protocol) == (run.name, run.scale, run.validated_in)
        if own and isinstance(said, (int, float)) and abs(s.psnr - said) < 0.005:
            return s.set
    return None


def _format_facts(runs: Sequence[Run]) -> str:
    """What the weight files say of themselves, a column for each; in bold where they differ."""
    columns = [_flatten(run.facts) for run in runs]
    known = [key for key in LABELS if any(key in column for column in columns)]
    others = sorted({key for column in columns for key in column} - set(known))
    heads = "".join(f'<th scope="col">{escape(run.name)}</th>' for run in runs)
    rows = []
    for key in [*known, *others][:_MAX_FACTS]:
        values = [column.get(key, _NONE) for column in columns]
        cells = []
        for value in values:
            text = escape(value[:_MAX_VALUE])
            cells.append(f"<td>{f'<code>{text}</code>' if re.fullmatch('[0-9a-f]{64}', value) else text}</td>")
        differs = len(set(values) - {_NONE}) > 1 and key not in ("file", "sha256")  # these always do
        kind = ' class="differs"' if differs else ""
        rows.append(f'<tr{kind}><th scope="row">{escape(LABELS.get(key, key)[:_MAX_KEY])}</th>{"".join(cells)}</tr>')
    bold = any('class="differs"' in row for row in rows)
    note = '<p class="note">In bold: where they differ.</p>' if bold else ""
    table = f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="wide facts" role="region" aria-label="Provenance" tabindex="0">{table}</div>{note}'


def _flatten(facts: Mapping[str, Any]) -> dict[str, str]:
    """Names, of a recipe's fields with "recipe." before, and values as text; without what does not apply."""
    recipe = facts.get("recipe")
    recipe = recipe if isinstance(recipe, dict) else {}
    if recipe.get("steps"):  # instead of epochs
        recipe = {key: value for key, value in recipe.items() if key != "epochs"}
    flat = {key: value for key, value in facts.items() if key != "recipe" or not recipe}
    flat |= {
        f"recipe.{key}": value
        for key, value in recipe.items()
        if value != "" and (value or key not in ("minutes", "steps"))
    }
    return {key: _format_value(value) for key, value in flat.items() if value is not None}


def _format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        return "\n".join(value)  # commands, one a line
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
