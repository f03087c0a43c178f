"""idn_data.scores.pairs: the four rules, each on names as the common layouts have them, and what is refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from idn_data.scores.pairs import RULES, PairError, group_pictures, pair_pictures


def paths(folder: str, *names: str) -> list[Path]:
    return [Path(folder) / name for name in names]


@pytest.mark.parametrize(
    ("method", "sr", "gt", "scale", "rule"),
    [
        ("out", ["baby.png", "bird.png"], ["bird.bmp", "baby.bmp"], 4, 0),
        ("out", ["baby_x4.png", "bird_x4.png"], ["baby_GT.bmp", "bird_GT.bmp"], 4, 1),  # the authors' Set5
        ("X4", ["0801x4.png", "0802x4.png"], ["0801.png", "0802.png"], 4, 1),  # DIV2K
        ("out", ["0801x4_SR.png", "0802x4_SR.png"], ["0801.png", "0802.png"], 4, 1),
        ("out", ["baby_SR.png", "bird_SR.png"], ["baby_HR_x4.png", "bird_HR_x4.png"], 4, 1),  # RCAN's GT
        ("out", ["a-x1.5.png", "b-x1.5.png"], ["a.png", "b.png"], 1.5, 1),
        ("IDN", ["baby_x4_IDN.png", "bird_x4_IDN.png"], ["baby.png", "bird.png"], 4, 2),
        ("EDSR-baseline", ["baby_EDSR.png", "bird_EDSR.png"], ["baby.png", "bird.png"], 4, 2),
        ("rcan_sr", ["baby_RCAN_x4.png", "bird_RCAN_x4.png"], ["baby_GT.bmp", "bird_GT.bmp"], 4, 2),
        ("mine", ["baby_RCAN_x4.png", "bird_RCAN_x4.png"], ["baby_GT.bmp", "bird_GT.bmp"], 4, 3),
        ("mine", ["img_1_SRF_4_SR.png", "img_2_SRF_4_SR.png"], ["img_1_SRF_4_HR.png", "img_2_SRF_4_HR.png"], 4, 1),
    ],
)  # fmt: skip
def test_each_rule(method: str, sr: list[str], gt: list[str], scale: float, rule: int) -> None:
    found = pair_pictures(method, paths("sr", *sr), paths("gt", *gt), scale)
    assert found.rule == RULES[rule] and not found.alone
    assert [p.gt.name for p in found.pairs] == gt, "in the order of GT"
    for pair in found.pairs:
        assert pair.sr.stem.startswith(pair.name) and pair.gt.stem.startswith(pair.name)


def test_a_picture_has_one_name_whatever_the_rule() -> None:
    """Tables lay methods side by side by it."""
    gt = paths("gt", "baby_GT.bmp", "bird_GT.bmp")
    mine, rcan = paths("mine", "baby_GT.png", "bird_GT.png"), paths("RCAN", "baby_RCAN_x4.png", "bird_RCAN_x4.png")
    for method, sr, rule in (("mine", mine, 0), ("RCAN", rcan, 2)):
        found = pair_pictures(method, sr, gt, 4)
        assert (found.rule, [p.name for p in found.pairs]) == (RULES[rule], ["baby", "bird"])
        assert pair_pictures(method, sr[:1], gt[:1], 4).pairs[0].name == "baby"
    twins = paths("gt", "a.png", "a_GT.png")  # told apart by their whole names alone
    assert [p.name for p in pair_pictures("m", paths("sr", "a.png", "a_GT.png"), twins, 4).pairs] == ["a", "a_GT"]


def test_one_picture_each_is_a_pair() -> None:
    (pair,) = pair_pictures("m", paths("sr", "holiday.png"), paths("gt", "original.bmp"), 2).pairs
    assert (pair.sr.name, pair.gt.name) == ("holiday.png", "original.bmp")


def test_names_that_would_be_nothing_stay() -> None:
    (one, two) = pair_pictures("m", paths("sr", "SR_x4.png", "GT.png"), paths("gt", "SR.png", "GT.png"), 4).pairs
    assert (one.sr.name, two.sr.name) == ("SR_x4.png", "GT.png")


def test_without_a_partner() -> None:
    sr, gt = paths("sr", "a_x4.png", "b_x4.png"), paths("gt", "a.png", "b.png", "c.png")
    with pytest.raises(
        PairError, match=r"m: 2 of 3 pictures pair by names without the scale.*; rename them$"
    ) as caught:
        pair_pictures("m", sr, gt, 4)
    assert caught.value.lines == (f"{gt[2]}: no SR of this name",)
    found = pair_pictures("m", sr, gt, 4, partial=True)
    assert [p.name for p in found.pairs] == ["a", "b"] and found.alone == (gt[2],)


def test_another_scale_is_no_partner() -> None:
    with pytest.raises(PairError, match=r"0 of 2 .* name the folder of their GT, and their scale$"):
        pair_pictures("m", paths("sr", "a_x3.png", "b_x3.png"), paths("gt", "a.png", "b.png"), 4, partial=True)


def test_two_candidates() -> None:
    sr = paths("sr", "a_x4.png", "a_x4_SR.png", "b_x4.png")
    with pytest.raises(PairError, match="rename them, or put them in folders") as caught:
        pair_pictures("m", sr, paths("gt", "a.png", "b.png"), 4, partial=True)
    assert caught.value.lines == ("a: 2 SR pictures, a_x4.png, a_x4_SR.png",)


def test_methods_are_folders(tmp_path: Path) -> None:
    for folder, name in (("RCAN/Set5/x4", "a.png"), ("edsr", "a.png"), ("edsr", "b.png"), ("edsr", "notes.txt")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_bytes(b"")
    found = group_pictures([tmp_path / "RCAN/Set5/x4", tmp_path / "edsr"])
    assert {k: [p.name for p in v] for k, v in found.items()} == {"RCAN": ["a.png"], "edsr": ["a.png", "b.png"]}
    single = group_pictures([tmp_path / "edsr" / "b.png", tmp_path / "edsr" / "a.png"])
    assert [p.name for p in single["edsr"]] == ["a.png", "b.png"]
    with pytest.raises(FileNotFoundError, match=r"no such picture or folder: .*name the folder of the SR"):
        group_pictures([tmp_path / "none"])
    (tmp_path / "b" / "edsr").mkdir(parents=True)
    (tmp_path / "b" / "edsr" / "a.png").write_bytes(b"")
    with pytest.raises(PairError, match="two folders are called 'edsr'"):
        group_pictures([tmp_path / "edsr", tmp_path / "b" / "edsr"])
    named = group_pictures([tmp_path / "edsr", tmp_path / "b" / "edsr"], ["old", "new"])  # as the message advises
    assert {k: [p.parent.parent.name for p in v] for k, v in named.items()} == {
        "old": [tmp_path.name] * 2, "new": ["b"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "folder",
    ["EXP/visualization/Set5", "EXP/visualization/Manga109", "EXP/results-Set5", "EXP/results-B100", "EXP/BI/Set5/x4",
     "EXP/DIV2K/X2", "EXP/SR"],
)  # fmt: skip
def test_folders_that_say_nothing_of_the_method(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "baby_EXP.png").touch()
    assert list(group_pictures([tmp_path / folder])) == ["EXP"]


def test_what_basicsr_writes_pairs_by_the_name_of_the_experiment(tmp_path: Path) -> None:
    """Its files end in the experiment's whole name, of several words and a scale."""
    name = "SwinIR_SRx4_scratch_500k-2"
    results = tmp_path / name / "visualization" / "Set5"
    results.mkdir(parents=True)
    gt = [Path(f"gt/{stem}.png") for stem in ("baby", "bird_2")]
    for path in gt:
        (results / f"{path.stem}_{name}.png").touch()
    ((method, sr),) = group_pictures([results]).items()
    pairing = pair_pictures(method, sr, gt, 4)
    assert (method, pairing.rule) == (name, RULES[2])
    assert [(p.sr.name, p.gt.name) for p in pairing.pairs] == [(f"{g.stem}_{name}.png", g.name) for g in gt]


def test_letters_and_accents_may_lie_apart(tmp_path: Path) -> None:
    """As macOS writes them."""
    names = [unicodedata.normalize(form, "bébé") for form in ("NFD", "NFC")]
    sr, gt = [Path(f"sr/{names[0]}_x4.png"), Path("sr/a_x4.png")], [Path(f"gt/{names[1]}.png"), Path("gt/a.png")]
    pairing = pair_pictures("m", sr, gt, 4)
    assert len(pairing.pairs) == 2
