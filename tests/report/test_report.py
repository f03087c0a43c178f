"""idn_train.report.make: what goes into a report, its making, and the page in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support.browsing import Browser, open_browser
from support.drawing import draw_photo
from support.htmlpages import HOSTILE, read_page, read_tables, say

from cli import main
from idn_data.scores.benchmark import evaluate
from idn_data.scores.figure import make_panels
from idn_data.scores.methods import Method
from idn_data.scores.sets import open_set
from idn_train.metrics import write_rows
from idn_train.report.make import find_crop, find_images, make_picture, make_report
from idn_train.report.runs import Point, Run, read_runs
from idn_train.weightfile import find_weights, write_tensors

ROWS = [
    {"step": str(k), "epoch": "0", "loss": f"{90 / k:g}", "rate": "0.001", "psnr": f"{25 + k}", "seconds": str(30 * k)}
    for k in range(1, 6)
]
BLACK = Method("black", lambda lr, s: np.zeros((s * lr.shape[0], s * lr.shape[1])))


def make_run_folder(folder: Path, *names: str, **said: Any) -> Path:
    """A run as the trainer leaves it, with two numbers as its weights."""
    for name in names or ("best", "final"):
        write_tensors(folder / f"{name}.safetensors", {"w": np.zeros(2, np.float32)}, {"scale": 4, "of": name, **said})
    write_rows(folder / "metrics.csv", ROWS)
    return folder


def run_command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_a_run_is_read(tmp_path: Path) -> None:
    folder = make_run_folder(tmp_path / "first", recipe={"loss": "l1"})
    (run,) = read_runs([folder])
    assert (run.name, run.path, run.scale) == ("first", folder / "final.safetensors", 4)
    assert run.points[1] == Point(2, 1.0, 45.0, 27.0)
    assert run.facts["of"] == "final" and run.facts["recipe"] == {"loss": "l1"} and run.facts["parameters"] == 2
    assert re.fullmatch("[0-9a-f]{64}", run.facts["sha256"])
    assert read_runs([folder], "best")[0].facts["of"] == "best"
    assert read_runs([make_run_folder(tmp_path / "second", "best")])[0].facts["of"] == "best"  # has no final weights


def test_parameters_are_without_buffers(tmp_path: Path) -> None:
    """Those of IDN are counted; weights of a network of one's own say how many there are, as they hold buffers too."""
    for number, (said, wanted) in enumerate((
        ({"network": "net.py:Net", "parameters": 1}, 1), ({"parameters": 1}, 2),
        ({"network": "net.py:Net", "parameters": "many"}, 2), ({"network": "net.py:Net"}, 2),
    )):  # fmt: skip
        (run,) = read_runs([make_run_folder(tmp_path / str(number), **said)])
        assert run.facts["parameters"] == wanted, said


def test_a_file_says_its_own_name_and_names_are_of_one_run_each(tmp_path: Path) -> None:
    folder = make_run_folder(tmp_path / "a")
    named = tmp_path / "x.safetensors"
    write_tensors(named, {"w": np.zeros(1, np.float32)}, {"scale": 2, "name": "\x1b IDN\n(Original)"})
    plain = tmp_path / "plain.safetensors"
    write_tensors(plain, {"w": np.zeros(1, np.float32)}, {"scale": 2})
    bicubic = make_run_folder(tmp_path / "bicubic")
    runs = read_runs([folder, named, plain, folder, bicubic, folder / "best.safetensors"])
    assert [run.name for run in runs] == ["a", "IDN (Original)", "plain", "a (2)", "bicubic (2)", "a best"]
    assert [len(run.points) for run in runs] == [5, 0, 0, 5, 5, 0]


def test_weights_of_one_name_are_told_apart_by_their_scale() -> None:
    shipped = [find_weights("idn", scale) for scale in (4, 3, 2, 3)]
    names = [run.name for run in read_runs(shipped)]
    assert names == ["IDN (ours) ×4", "IDN (ours) ×3", "IDN (ours) ×2", "IDN (ours) ×3 (2)"]
    assert [run.name for run in read_runs([shipped[0], shipped[0]])] == ["IDN (ours)", "IDN (ours) (2)"]


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere: no such file; 'idn train' makes weights"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(
        ValueError, match=r"no final\.safetensors or best\.safetensors here; name the folder of an 'idn"
    ):
        read_runs([tmp_path])
    make_run_folder(tmp_path, "best")
    with pytest.raises(ValueError, match=r"no final\.safetensors here"):
        read_runs([tmp_path], "final")
    state = tmp_path / "last.safetensors"
    write_tensors(state, {"w.a": np.zeros(1, np.float32)}, {"step": 5})
    with pytest.raises(ValueError, match=r"scale None is none of 2, 3, 4; name weights, not a state"):
        read_runs([state])
    write_tensors(state, {"w.a": np.zeros(1, np.float32)}, {"scale": "\x1b[2J\n4"}, force=True)
    with pytest.raises(ValueError, match=r"scale '\\x1b\[2J\\n4' is none of"):  # nothing that a terminal obeys
        read_runs([state])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("step,epoch\n1,2\n", "'seconds'"),
        ("step,seconds,loss,psnr\n1,2,three,\n", "could not convert string to float: 'three'"),
        ("step,seconds,loss,psnr\n1,2,nan,\n", "step 1 holds a value below 0 or not finite"),
        ("step,seconds,loss,psnr\n1,-2,3,\n", "step 1 holds a value below 0 or not finite"),
        ("step,seconds,loss,psnr\n1\n", ""),
    ],
)
def test_metrics_of_something_else(tmp_path: Path, text: str, reason: str) -> None:
    make_run_folder(tmp_path)
    (tmp_path / "metrics.csv").write_text(text)
    wanted = rf"metrics\.csv: not the metrics of a run \(.*{reason}.*\); name its \.safetensors to do without"
    with pytest.raises(ValueError, match=wanted):
        read_runs([tmp_path])
    assert read_runs([tmp_path / "best.safetensors"])[0].points == ()
    (tmp_path / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not the metrics of a run"):
        read_runs([tmp_path])


def test_images_by_name_path_or_default(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "root" / "test_data" / "Set5"
    folder.mkdir(parents=True)
    for name in ("baby_GT.bmp", "bird_GT.bmp", "butterfly_GT.bmp", "head_GT.bmp"):
        Image.fromarray(draw_photo(16, 16, len(name))).save(folder / name)
    root = tmp_path / "root"
    sets = [open_set("Set5", root)]
    assert [p.name for p in find_images([], sets, root)] == ["butterfly_GT.bmp", "bird_GT.bmp", "baby_GT.bmp"]
    assert find_images([], [open_set(str(photos), root)], root) == sorted(photos.iterdir())[:3]
    assert find_images([], [], root) == []
    street = photos / "street.png"
    for name in ("Set5/head", "Set5/head_GT", "Set5/head_GT.bmp"):
        assert find_images([str(street), name], [], root) == [street, folder / "head_GT.bmp"]
    with pytest.raises(ValueError, match=r"no image 'hat' in Set5; it has baby, bird, butterfly, head$"):
        find_images(["Set5/hat"], sets, root)
    with pytest.raises(ValueError, match=r"none\.png: no such image; give SET/NAME, such as Set5/butterfly"):
        find_images(["none.png"], sets, root)
    with pytest.raises(FileNotFoundError, match="Set14 is not in"):
        find_images(["Set14/baboon"], sets, root)


@pytest.mark.parametrize("shape", [(50, 70), (50, 70, 3)])
def test_the_crop_is_where_two_images_differ_the_most(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    gt = rng.integers(0, 256, shape).astype(np.uint8)
    other = rng.integers(0, 256, shape).astype(np.uint8)
    rows, columns = find_crop(gt, other, 20)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (20, 20)
    error = (gt.astype(float) - other) ** 2
    sums = {(y, x): error[y : y + 20, x : x + 20].sum() for y in range(31) for x in range(51)}
    assert (rows.start, columns.start) == max(sums, key=lambda place: sums[place])
    assert find_crop(gt, other, 60) == (slice(0, 50), slice(0, 60)) or find_crop(gt, other, 60)[0] == slice(0, 50)
    assert find_crop(gt, gt, 100) == (slice(0, 50), slice(0, 70))


def test_a_picture_is_cropped_alike_in_all_views_and_scored_whole(photos: Path) -> None:
    from idn_data.scores.methods import BICUBIC

    path = photos / "harbour.bmp"
    picture, whole = make_picture(path, 4, [BICUBIC, BLACK], 40), make_panels(path, 4, [BICUBIC, BLACK])
    x, y = picture.corner
    assert picture.whole == (96, 120) and (picture.name, picture.scale) == ("harbour", 4)
    for panel, all_of_it in zip(picture.panels, whole, strict=True):
        np.testing.assert_array_equal(panel.image, all_of_it.image[y : y + 40, x : x + 40])
        assert panel.caption == all_of_it.caption


def make_page(photos: Path, tmp_path: Path, runs: list[Run], **given: Any) -> str:
    networks = [(run, replace(BLACK, name="not shown")) for run in runs]
    return make_report(networks, [open_set(str(photos), tmp_path)], [photos / "street.png"], **given)


def test_a_report_has_the_scores_of_evaluate(photos: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    folder = make_run_folder(tmp_path / "dark")
    page = make_page(photos, tmp_path, read_runs([folder]), progress=lambda *now: told.append(now), workers=1)
    assert page == make_page(photos, tmp_path, read_runs([folder]), workers=2)
    (score, _), _ = evaluate(BLACK, open_set(str(photos), tmp_path), 4)
    root = read_page(page)
    assert read_tables(root)[0][-1] == ["dark", f"{score.psnr:.2f}", f"{score.ssim:.4f}"]
    assert [i.get("alt") for i in root.iter("img")][:3] == ["street: GT", "street: bicubic", "street: dark"]
    assert [say(h) for h in root.iter("h2")] == ["Scores", "Pictures", "Training", "Provenance"]
    assert told[0] == ("photos x4 bicubic", 1, 5) and told[-1] == ("pictures x4", 1, 1)
    assert ("photos x4 dark", 5, 5) in told


def test_a_report_without_sets_and_images(tmp_path: Path) -> None:
    root = read_page(make_report([(run, BLACK) for run in read_runs([make_run_folder(tmp_path / "a")])], [], []))
    assert [say(h) for h in root.iter("h2")] == ["Training", "Provenance"]


def test_what_makes_no_report(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a report needs a network; name the folder of a run or a weight file"):
        make_report([], [], [])
    test_set = open_set(str(photos), tmp_path)
    with pytest.raises(ValueError, match="two sets are called photos; name each set once, or rename a folder"):
        make_report([(Run("a", photos, 4, {}), BLACK)], [test_set, test_set], [])


def test_the_command(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a trained network, of a few steps."""
    monkeypatch.delenv("IDN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    root, folder, out = tmp_path / "root", tmp_path / "runs" / "tiny", tmp_path / "pages" / "report.html"
    common = ["--scale", "4", "--data-root", str(root), "--quiet"]
    cut = CliRunner().invoke(main, ["make-train", *common, "--images", str(photos), "--lr-patch", "6"])
    assert cut.exit_code == 0, cut.output
    options = ["--preset", "express", "--steps", "4", "--batch", "4", "--validate-every", "2"]
    trained = CliRunner().invoke(
        main, ["train", *common, *options, "--validate-set", str(photos), "--out", str(folder)]
    )
    assert trained.exit_code == 0, trained.output

    done = run_command(folder, "--set", photos, "--image", photos / "stone.bmp", "--out", out)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{out}\n"
    page = read_page(out.read_text(encoding="utf-8"))
    table = read_tables(page)[0]
    assert [row[0] for row in table] == ["", "photos", "Bicubic", "tiny"]
    facts = dict(read_tables(page)[-1][1:])
    assert (facts["Steps done"], facts["Patches a step"], facts["Loss"]) == ("4", "4", "l1")
    assert float(facts["Validation PSNR, dB"]) == pytest.approx(float(table[-1][1]), abs=0.01)
    labels = [svg.get("aria-label", "") for svg in page.iter("svg") if svg.get("class") == "chart"]
    assert re.match(r"Validation PSNR on photos, dB: tiny from \S+ to \S+; bicubic", labels[0])

    again = run_command(folder, "--set", photos, "--out", out)
    assert again.exit_code == 1 and "exists already; --force replaces it" in again.stderr
    forced = run_command(folder, "--out", out, "--force", "--weights", "best", "--quiet")  # no set is there
    assert forced.exit_code == 0, forced.output
    assert "no scores: no test set below" in forced.stderr
    assert [say(h) for h in read_page(out.read_text(encoding="utf-8")).iter("h2")] == ["Training", "Provenance"]


def test_the_command_refuses(photos: Path, tmp_path: Path) -> None:
    for arguments, text in (
        ([tmp_path], "no final.safetensors or best.safetensors here"),
        ([photos / "street.png"], "not a safetensors file; use one"),
        ([make_run_folder(tmp_path / "run")], "not a weight file of idn"),  # lacks format: not of a network
    ):
        result = run_command(*arguments, "--out", tmp_path / "out.html")
        assert result.exit_code == 1 and "Traceback" not in result.output
        assert text in result.stderr.strip().splitlines()[-1]
    assert run_command().exit_code == 2
    assert not (tmp_path / "out.html").exists()


def test_the_default_page_on_the_real_set(data_root: Path, tmp_path: Path) -> None:
    (run,) = read_runs([make_run_folder(tmp_path / "run", validation_psnr=0.0)])
    test_set = open_set("Set5", data_root)
    page = make_report([(run, BLACK)], [test_set], find_images([], [test_set], data_root))
    root = read_page(page)
    assert read_tables(root)[0][2:4] == [
        ["Bicubic", "28.43", "", "0.8104", ""], ["IDN (TensorFlow) finetune, published", "31.39", "", "0.8846", ""]
    ]  # fmt: skip
    assert "equals the published one (float protocol)" in say(root)
    assert len(page) < 4e6
    assert next(say(p) for p in root.iter("p") if p.get("class") == "title") == "butterfly ×4, 256×256 pixels"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, one that turns every picture black and one that turns it white, under hostile names."""
    folder = tmp_path_factory.mktemp("page")
    photos = folder / "photos"
    photos.mkdir()
    for k, name in enumerate(("a.png", "<b onclick=alert(1)>.png")):
        Image.fromarray(draw_photo(96, 120, k)[:, :, 1]).save(photos / name)
    dark, light = read_runs([make_run_folder(folder / "dark"), make_run_folder(folder / "light", name="x" * 300)])
    white = replace(BLACK, upscale=lambda lr, s: np.ones((s * lr.shape[0], s * lr.shape[1])))
    networks = [(dark, BLACK), (light, white), (replace(dark, name=HOSTILE + "w" * 90), BLACK)]
    path = folder / "report.html"
    path.write_text(make_report(networks, [open_set(str(photos), folder)], sorted(photos.iterdir())[::-1]))
    return path


def choose(browser: Browser, left: int, right: int) -> None:
    """The views on both sides of the first wipe: 0 GT, 1 bicubic, 2 black, 3 white."""
    browser.run(
        "for (const [name, value] of [['left', arguments[0]], ['right', arguments[1]]]) {"
        "const s = document.querySelector('.viewer select.' + name);"
        "s.value = value; s.dispatchEvent(new Event('change')) }",
        left, right,
    )  # fmt: skip


def test_the_wipe_shows_the_left_view_up_to_where_it_stands(browser: Browser, page: Path) -> None:
    browser.open(page, 1600)
    choose(browser, 2, 3)

    def find_edge() -> float:
        """Where black ends and white begins, in parts of the width."""
        row = browser.look(".stage")[-8, :, 0]  # below the grip and its line's shadow, beside the names
        assert set(row[:10]) == {0} and set(row[-10:]) == {255}
        return float((row < 128).mean())

    assert find_edge() == pytest.approx(0.5, abs=0.02)
    browser.run("document.querySelector('.stage').scrollIntoView({block: 'center'})")
    before = browser.look(".stage")
    browser.press(".wipe input", "\ue014" * 40)  # the right arrow key, half a per cent each
    assert find_edge() == pytest.approx(0.7, abs=0.02)
    after = browser.look(".stage")
    columns = np.flatnonzero((before != after).any(axis=(0, 2))) / before.shape[1]
    assert 0.4 < columns.min() < 0.51 and 0.69 < columns.max() < 0.8  # and nothing changes elsewhere

    x, y, width, height = measure(browser, ".stage")
    browser.drag([(x + int(0.7 * width), y + height // 2), (x + width // 2, y + height // 2), (x + width // 4, y + 9)])
    assert find_edge() == pytest.approx(0.25, abs=0.02)
    choose(browser, 3, 2)
    assert browser.look(".stage")[-8, 5, 0] == 255
    assert browser.complaints() == []


def measure(browser: Browser, selector: str) -> tuple[int, int, int, int]:
    """Where an element lies in the viewport: x, y, width, height."""
    script = (
        "const r = document.querySelector(arguments[0]).getBoundingClientRect(); return [r.x, r.y, r.width, r.height]"
    )
    x, y, width, height = (int(v) for v in browser.run(script, selector))
    return x, y, width, height


def list_parts(browser: Browser) -> list[list[float]]:
    """Of each view of the first image: the corner and side of the part shown, in parts of the image."""
    parts: list[list[float]] = browser.run(
        "return [...document.querySelector('.viewer').querySelectorAll('.view img')].map(img => {"
        "const i = img.getBoundingClientRect(), v = img.closest('.view').getBoundingClientRect();"
        "return [(v.x - i.x) / i.width, (v.y - i.y) / i.height, v.width / i.width]})"
    )
    return parts


def check_parts(browser: Browser, x: float, y: float, side: float) -> None:
    parts = np.array(list_parts(browser))
    assert len(parts) == 7  # five views, and two of them in the wipe
    np.testing.assert_allclose(parts, np.broadcast_to([x, y, side], parts.shape), atol=0.01)


def test_zoom_follows_in_all_views(browser: Browser, page: Path) -> None:
    browser.open(page, 1600)
    browser.run("document.querySelector('.stage').scrollIntoView({block: 'center'})")
    check_parts(browser, 0, 0, 1)
    smooth = browser.look(".views figure .view")
    browser.click(".tool.in")
    check_parts(browser, 0.25, 0.25, 0.5)
    browser.press(".stage", "+")
    check_parts(browser, 0.375, 0.375, 0.25)
    browser.press(".stage", "\ue014\ue015")  # arrows to the right and down: a tenth of the view
    check_parts(browser, 0.4, 0.4, 0.25)
    style = "return [...document.querySelectorAll('.viewer')[0].querySelectorAll('img')]"
    drawn = browser.run(f"{style}.map(img => getComputedStyle(img).imageRendering)")
    assert set(drawn) == {"pixelated"}
    shown = browser.look(".views figure .view")
    assert shown.shape == smooth.shape and (shown != smooth).mean() > 0.5
    x, y, width, height = measure(browser, ".views figure:nth-child(2) .view")
    browser.drag(
        [(x + width // 2, y + height // 2), (x + width // 2 + width // 5, y + height // 2)]
    )  # the picture follows
    check_parts(browser, 0.35, 0.4, 0.25)
    browser.press(".stage", "0")
    check_parts(browser, 0, 0, 1)

    script = (
        "const v = document.querySelectorAll('.views .view')[arguments[0]], r = v.getBoundingClientRect();"
        "const at = {clientX: r.x + r.width, clientY: r.y, deltaY: -200, ctrlKey: arguments[1]};"
        "return v.dispatchEvent(new WheelEvent('wheel', {...at, bubbles: true, cancelable: true}))"
    )
    assert browser.run(script, 1, False) is True  # left to the page, which scrolls
    check_parts(browser, 0, 0, 1)
    assert browser.run(script, 1, True) is False
    side = np.exp(-0.8)
    check_parts(browser, 1 - side, 0, side)  # the corner that the pointer was on stays
    assert browser.run("return document.querySelectorAll('.viewer')[1].classList.contains('zoomed')") is False
    assert browser.complaints() == []


def test_two_fingers_zoom(browser: Browser, page: Path) -> None:
    browser.open(page, 390, touch=True)
    browser.run("document.querySelector('.stage').scrollIntoView({block: 'center'})")
    x, y, width, height = measure(browser, ".stage")
    middle, fingers = (x + width // 2, y + height // 4), []
    for name, sign in (("left", -1), ("right", 1)):
        places = [(middle[0] + sign * width // part, middle[1]) for part in (10, 5)]
        moves = [{"type": "pointerMove", "duration": 60, "x": px, "y": py} for px, py in places]
        steps = [moves[0], {"type": "pointerDown", "button": 0}, moves[1], {"type": "pointerUp", "button": 0}]
        fingers.append({"type": "pointer", "id": name, "parameters": {"pointerType": "touch"}, "actions": steps})
    browser.call("POST", "/actions", {"actions": fingers})
    check_parts(browser, 0.25, 0.125, 0.5)


@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, scheme=scheme, touch=width < 500)
    assert browser.run("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
    beyond = (
        "return [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide, svg, .view, .wipe')"
        "&& e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80))"
    )
    assert browser.run(beyond) == []
    assert (browser.look()[2, 2].mean() > 128) == (scheme == "light")
    unnamed = (
        "return [...document.querySelectorAll('button, select, input')].filter(e =>"
        "!(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).length"
    )
    assert browser.run(unnamed) == 0
    assert (
        browser.run("return performance.getEntriesByType('resource').filter(e => !/^data:/.test(e.name)).length") == 0
    )
    assert browser.run("return typeof pwned") == "undefined"
    assert browser.complaints() == []


def test_curves_over_steps_replace_those_over_minutes(browser: Browser, page: Path) -> None:
    browser.open(page, 1600)
    script = "return [...document.querySelectorAll('.charts')].map(e => e.getBoundingClientRect().height > 100)"
    assert browser.run(script) == [True, False]
    browser.click("label[for=step4]")
    assert browser.run(script) == [False, True]


def test_without_its_script_the_page_shows_every_view(browser: Browser, page: Path) -> None:
    browser.tell("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(page, 1600)
        sizes = [browser.call("GET", f"/element/{browser.find(f'.viewer figure:nth-child({k})')}/rect") for k in (1, 5)]
    finally:
        browser.tell("Emulation.setScriptExecutionDisabled", {"value": False})
    assert all(size["width"] > 100 and size["height"] > 80 for size in sizes)
