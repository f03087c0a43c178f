"""idn_train.report.page: what the page says, where, and that no text in it is ever more than text."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from support.htmlpages import HOSTILE, read_page, read_tables, say

from idn_data.pictures import Panel
from idn_data.scores.benchmark import Score
from idn_train.report.page import Picture, format_page
from idn_train.report.runs import Point, Run

if TYPE_CHECKING:
    from idn_train.report.page import Scores


def make_run(name: str = "a", scale: int = 4, points: tuple[Point, ...] = (), **facts: Any) -> Run:
    return Run(name, Path("a.safetensors"), scale, {"file": "a.safetensors", "scale": scale, **facts}, points)


def make_scores(*rows: tuple[str, str, float, float], **given: Any) -> Scores:
    """Of (method, protocol, PSNR, SSIM) on Set5 x4, beside made-up published figures."""
    facts = {"set": "Set5", "scale": 4, "images": 5, "published_psnr": 31.39, "published_ssim": 0.8846, "channel": "Y",
             "border": 4, "digest": "d" * 64, "registered": True, **given}  # fmt: skip
    scores = [Score(method=m, protocol=p, psnr=psnr, ssim=ssim, **facts) for m, p, psnr, ssim in rows]  # type: ignore[arg-type]
    return {(s.set, s.scale, s.method, s.protocol): s for s in scores}


BASE = [("bicubic", p, 28.43, 0.8104) for p in ("float", "uint8")]
SCORES = make_scores(*BASE, ("a", "float", 31.6151, 0.88462), ("a", "uint8", 31.3, 0.88), ("b", "float", 31.3949, 0.88),
                     ("b", "uint8", 31.5, 0.89))  # fmt: skip
POINTS = (Point(10, 1.0, 90.0, 30.0), Point(20, 2.5, 70.0, 31.0), Point(30, 4.0, 60.0, 30.9))


def test_the_tables() -> None:
    root = read_page(format_page([make_run("a"), make_run("b")], SCORES, []))
    first, second = read_tables(root)[:2]
    assert first == [
        ["", "PSNR", "diff.", "SSIM", "diff."],
        ["Set5"],
        ["Bicubic", "28.43", "", "0.8104", ""],
        ["IDN (TensorFlow) finetune, published", "31.39", "", "0.8846", ""],
        ["a", "31.62", "+0.23", "0.8846", "0.0000"],
        ["b", "31.39", "0.00", "0.8800", "−0.0046"],
    ]
    assert second[3][0] == "IDN (Original), published"
    assert second[4] == ["a", "31.30", "−0.09", "0.8800", "−0.0046"]
    kinds = {say(cell): cell.get("class") for cell in root.iter("td")}
    assert (kinds["+0.23"], kinds["−0.09"], kinds["0.00"]) == ("better", "worse", "same")
    assert next(say(c) for c in root.iter("caption")).startswith("Float protocol")
    assert f"Set5: 5 images, the authors’ files, SHA-256 {'d' * 64}" in say(root)


def test_each_method_is_compared_with_its_own_row() -> None:
    """Of RCAN and EDSR, figures of RCAN alone are at hand, whichever is named first; of IDN, two rows."""
    base, rcan = make_scores(("bicubic", "y", 28.43, 0.81), ("RCAN", "y", 32.63, 0.9002)).values()
    mine = [base, replace(rcan, published_psnr=32.63, published_ssim=0.9002)]
    mine.append(replace(rcan, method="EDSR", psnr=32.46, ssim=0.8968, published_psnr=None, published_ssim=None))
    scores = {(s.set, s.scale, s.method, s.protocol): s for s in mine}
    rows = [["RCAN", "32.63", "0.00", "0.9002", "0.0000"], ["EDSR", "32.46", "", "0.8968", ""]]
    head = [["", "PSNR", "diff.", "SSIM", "diff."], ["Set5"], ["Bicubic", "28.43", "", "0.8100", ""]]
    published = ["RCAN, published", "32.63", "", "0.9002", ""]
    for names in (["RCAN", "EDSR"], ["EDSR", "RCAN"]):
        table = read_tables(read_page(format_page([make_run(n) for n in names], scores, [])))[0]
        assert table == [*head, published, *(rows if names[0] == "RCAN" else rows[::-1])]

    first, second = (f"IDN (TensorFlow) {stage}" for stage in ("pretrain", "finetune"))
    base, old, new = make_scores(BASE[0], (first, "float", 31.24, 0.8797), ("mine", "float", 31.5, 0.89)).values()
    mine = [base, replace(old, published_psnr=31.24, published_ssim=0.8797), new]
    scores = {(s.set, s.scale, s.method, s.protocol): s for s in mine}
    root = read_page(format_page([make_run(first), make_run("mine")], scores, []))
    assert read_tables(root)[0][3:] == [
        [f"{first}, published", "31.24", "", "0.8797", ""],
        [f"{second}, published", "31.39", "", "0.8846", ""],
        [first, "31.24", "0.00", "0.8797", "0.0000"],
        ["mine", "31.50", "+0.11", "0.8900", "+0.0054"],
    ]
    assert f"{first}: IDN ×4, 31.24 dB on Set5, +2.81 against bicubic, 0.00 against {first}" in say(root)
    assert "Differences are to the figures published under that name, else to IDN's, at the printed" in say(root)


def test_nothing_is_compared_where_nothing_was_published() -> None:
    unknown = {"set": "mine", "published_psnr": None, "published_ssim": None, "registered": False}
    scores = make_scores(*BASE, ("a", "float", 30.0, 0.8), ("a", "uint8", 30.0, 0.8), **unknown)
    root = read_page(format_page([make_run()], scores, []))
    assert read_tables(root)[0] == [
        ["", "PSNR", "SSIM"], ["mine"], ["Bicubic", "28.43", "0.8104"], ["a", "30.00", "0.8000"]
    ]  # fmt: skip
    assert "mine: 5 images, not the authors’ files" in say(root)
    assert "Bicubic was computed here." in say(root)
    assert "30.00 dB on mine, +1.57 against bicubic" in say(root)


@pytest.mark.parametrize(
    ("psnr", "verdict"), [(31.39, "and equals the published one"), (31.4, "differs from the published one on Set5 ×4")]
)
def test_whether_bicubic_is_what_was_published_is_said(psnr: float, verdict: str) -> None:
    rows = [("bicubic", p, psnr, 0.8846) for p in ("float", "uint8")]
    scores = make_scores(*rows, ("a", "float", 31.0, 0.8), ("a", "uint8", 31.0, 0.8))
    assert verdict in say(read_page(format_page([make_run()], scores, [])))


def test_the_sentence_on_a_network() -> None:
    page = format_page([make_run("a", step=6000, minutes=12.5)], SCORES, [])
    lead = next(e for e in read_page(page).iter("ul") if e.get("class") == "lead")
    assert say(lead) == (
        "a: IDN ×4, 31.62 dB on Set5, +3.19 against bicubic, +0.23 against IDN (TensorFlow) finetune, "
        "6,000 steps in 12.5 minutes"
    )


def test_provenance_of_several() -> None:
    recipe = {"steps": 60, "epochs": 100, "loss": "l1", "data": "f" * 64, "init": "", "minutes": 0.0, "batch": 64}
    runs = [
        make_run("a", recipe=recipe, odd={"x": [1]}, parameters=552769, commands=["idn train", "idn average"], no=[]),
        make_run("b", recipe={**recipe, "batch": 16}),
    ]
    root = read_page(format_page(runs, {}, []))
    table = {row[0]: row[1:] for row in read_tables(root)[-1]}
    assert table[""] == ["a", "b"]
    assert table["Patches a step"] == ["64", "16"]
    assert table["SHA-256 of the patches"] == ["f" * 64] * 2
    assert table["Parameters"] == ["552,769", "–"]
    assert table["odd"] == ['{"x": [1]}', "–"]  # what is not known is shown as it is
    commands = next(row for row in root.iter("tr") if say(row[0]) == "commands")
    assert commands[1].text == "idn train\nidn average"  # one a line
    assert table["no"] == ["[]", "–"]
    assert not {"Epochs", "Time limit, minutes", "SHA-256 of the first weights"} & table.keys()  # do not apply
    by_time = read_page(format_page([make_run("a", recipe={"steps": 0, "minutes": 15.0, "batch": 64})], {}, []))
    assert {"Time limit, minutes"} == {"Time limit, minutes", "Steps", "Epochs"} & {
        row[0] for row in read_tables(by_time)[-1]
    }
    differ = [say(row[0]) for row in root.iter("tr") if row.get("class") == "differs"]
    assert differ == ["Patches a step"]
    assert [e.text for e in root.iter("code")] == ["f" * 64] * 2


def test_curves_have_the_lines_of_the_set_they_were_validated_on() -> None:
    page = format_page([make_run("a", points=POINTS, validation_psnr=31.6151)], SCORES, [])
    labels = [svg.get("aria-label", "") for svg in read_page(page).iter("svg") if svg.get("class") == "chart"]
    assert len(labels) == 4  # PSNR and loss, over minutes and over steps
    assert labels[0].startswith("Validation PSNR on Set5, dB: a from 30 to 30.9; bicubic 28.43; ")
    assert "IDN (TensorFlow) finetune 31.39" in labels[0] and "IDN (Original) 31.82" in labels[0]
    assert labels[1] == "Training loss, logarithmic: a from 90 to 60"
    root = read_page(page)
    assert "a 30.90 dB at the end, 31.00 dB at best" in say(root)
    assert "a: step 20, 2.5 min, loss 70, 31.00 dB" in [say(t) for t in root.iter("title")]

    other = read_page(format_page([make_run("a", points=POINTS, validation_psnr=30.9)], SCORES, []))
    assert "No lines of reference" in say(other)
    assert "Validation PSNR, dB: a from 30 to 30.9" in [svg.get("aria-label") for svg in other.iter("svg")]


def test_losses_that_do_not_compare_are_named() -> None:
    runs = [make_run(name, points=POINTS, recipe={"loss": loss}) for name, loss in (("a", "l1"), ("b", "l2"))]
    assert "The losses are of different kinds" in say(read_page(format_page(runs, {}, [])))
    runs = [make_run(name, points=POINTS, recipe="none") for name in "ab"]
    assert "The losses are of different kinds" not in say(read_page(format_page(runs, {}, [])))
    recipes = [{"loss": "l1", "last_loss": "log-l2"}, {"loss": "l1"}]
    runs = [make_run(name, points=POINTS, recipe=recipe) for name, recipe in zip("ab", recipes, strict=True)]
    text = say(read_page(format_page(runs, {}, [])))
    assert "The losses are of different kinds" in text
    assert "changes its kind where the last quarter of a run begins" in text


def test_a_run_without_validation_has_a_curve_of_its_loss() -> None:
    points = (Point(1, 0.1, 5.0, None), Point(2, 0.2, 0.0, None), Point(3, 0.3, 4.0, None))
    root = read_page(format_page([make_run(points=points)], {}, []))
    assert {svg.get("aria-label") for svg in root.iter("svg") if svg.get("class") == "chart"} == {
        "Training loss, logarithmic: a from 5 to 4"
    }
    assert "no validation" in say(root)


def test_scales_have_headings_where_there_are_several() -> None:
    runs = [make_run("a", 4, POINTS), make_run("b", 2, POINTS)]
    root = read_page(format_page(runs, {}, []))
    assert [say(h) for h in root.iter("h3")] == ["×2", "×4"]
    assert [say(h) for h in read_page(format_page(runs[:1], {}, [])).iter("h3")] == []
    assert len({e.get("id") for e in root.iter("input") if e.get("name")}) == 4


def make_picture(name: str = "bird", title: str = "a") -> Picture:
    rng = np.random.default_rng(5)
    colour, grey = rng.integers(0, 256, (6, 8, 3), np.uint8), rng.integers(0, 256, (6, 8), np.uint8)
    panels = [Panel("GT", colour, "bird.png, x4"), Panel("bicubic", grey, "20.00 dB / 0.5000"), Panel(title, colour)]
    return Picture(name, 4, (80, 60), (10, 20), panels)


def test_pictures_hold_every_pixel() -> None:
    picture = make_picture()
    root = read_page(format_page([make_run()], {}, [picture]))
    images = list(root.iter("img"))[:3]
    for image, panel in zip(images, picture.panels, strict=True):
        kind, _, data = image.get("src", "").partition(",")
        assert kind == "data:image/png;base64"
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), panel.image)
        assert image.get("alt") == f"bird: {panel.title}"
        assert (image.get("width"), image.get("height")) == ("8", "6")
    captions = [say(c) for c in root.iter("figcaption")]
    assert captions == ["GT", "bicubic 20.00 dB / 0.5000", "a"]
    assert "bird ×4, 8×6 pixels of 80×60, from (10, 20), where bicubic errs the most" in say(root)


def test_hostile_texts_stay_texts() -> None:
    facts = {
        "recipe": {HOSTILE: HOSTILE, "loss": HOSTILE},
        HOSTILE: [HOSTILE],
        "name": HOSTILE,
        "validation_psnr": 31.0,
    }
    scores = make_scores(*BASE, *((HOSTILE, p, 31.0, 0.8) for p in ("float", "uint8")), set=HOSTILE)
    run = Run(HOSTILE, Path(HOSTILE), 4, facts, POINTS)
    plain = read_page(format_page([make_run(points=POINTS)], SCORES, [make_picture()]))
    root = read_page(format_page([run], scores, [make_picture(HOSTILE, HOSTILE)]))
    for tag in ("script", "img", "style", "template"):
        assert len(list(root.iter(tag))) == len(list(plain.iter(tag)))
    for element in root.iter():
        assert not any(name.startswith("on") for name in element.attrib)
    assert say(next(root.iter("h1"))) == HOSTILE
    assert [say(b) for b in root.iter("b")].count(HOSTILE) >= 3  # sentence, key, picture, view
    assert f"{HOSTILE}: {HOSTILE}" in [image.get("alt") for image in root.iter("img")]
    row = next(row for row in read_tables(root)[-1] if row[0].startswith("recipe."))
    assert row[1] == HOSTILE


def test_only_the_script_of_the_page_may_run_and_nothing_is_fetched() -> None:
    page = format_page([make_run("{{body}}")], SCORES, [make_picture()])
    root = read_page(page)
    policy = next(e.get("content", "") for e in root.iter("meta") if e.get("http-equiv"))
    script = next(e.text or "" for e in root.iter("script"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'")
    for element in root.iter():
        assert element.get("src", "data:").startswith("data:")
        assert element.get("href", "#").startswith(("#", "data:"))
    assert not re.search(r"https?:|url\(|@import|@font-face", page)
    assert [say(h) for h in root.iter("h1")] == ["{{body}}"]


def test_what_is_no_text_in_a_name_is_replaced() -> None:
    page = format_page([make_run("caf\udce9")], {}, [])
    assert "caf?" in page
    page.encode("utf-8")


def test_long_words_of_a_file_are_cut() -> None:
    words: dict[str, Any] = {f"key{k}": "x" * 5000 for k in range(200)}
    page = format_page([make_run(**words)], {}, [])
    assert len(page) < 200_000
