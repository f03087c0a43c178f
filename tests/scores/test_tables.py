"""Tables as text."""

from __future__ import annotations

from dataclasses import replace

from idn_data.images.fetch import Survey
from idn_data.scores.benchmark import ImageScore, Score
from idn_data.scores.tables import (
    format_comparison,
    format_csv,
    format_image_scores,
    format_protocols,
    format_scores,
    format_survey,
    format_table,
)

SCORE = Score("Set5", 2, "bicubic", "float", 5, 33.676, 0.93044, 33.68, 0.9304, "Y", 2, "ab", True)


def test_columns_line_up() -> None:
    assert format_table(["a", "bb"], [["xyz", "1"], ["x", "22"]]) == "a    bb\nxyz   1\nx    22"


def test_differences_are_those_of_printed_numbers() -> None:
    line = format_scores([SCORE]).splitlines()[1]
    assert line.split() == ["Set5", "x2", "bicubic", "float", "5", "33.68", "0.9304", "33.68/0.9304", "+0.00/+0.0000"]
    worse = replace(SCORE, psnr=33.661, ssim=0.9298)
    assert format_scores([worse]).splitlines()[1].split()[-1] == "-0.02/-0.0006"
    unknown = replace(SCORE, published_psnr=None, published_ssim=None)
    assert format_scores([unknown]).splitlines()[1].split()[-2:] == ["-", "-"]


def test_published_columns_stand_beside_the_methods() -> None:
    """Figures from published_scores.csv: MATLAB's bicubic, IDN-Caffe (uint8) and IDN-TensorFlow (float)."""
    network = replace(SCORE, method="mine", psnr=37.9, ssim=0.96049)
    scores = [SCORE, network, replace(network, protocol="uint8"), replace(network, set="photos")]
    head, *rows = [line.split("  ") for line in format_comparison(scores).splitlines()]
    assert [cell.strip() for cell in head if cell.strip()][-4:] == ["IDN (Original)", "IDN (TF)", "bicubic", "mine"]
    assert [row.split() for row in format_comparison(scores).splitlines()[1:]] == [
        ["Set5", "x2", "float", "33.68/0.9304", "-", "37.72/0.9600", "33.68/0.9304", "37.90/0.9605"],
        ["Set5", "x2", "uint8", "-", "37.83/0.9600", "-", "-", "37.90/0.9605"],
        ["photos", "x2", "float", "-", "-", "-", "-", "37.90/0.9605"],
    ]
    assert len(rows) == 3
    markdown = format_comparison(scores, markdown=True).splitlines()
    assert len({line.count("|") for line in markdown}) == 1
    assert markdown[2] == "| Set5 | x2 | float | 33.68/0.9304 | - | 37.72/0.9600 | 33.68/0.9304 | 37.90/0.9605 |"
    assert max(map(len, format_comparison([replace(network, method="IDN (ours)")]).splitlines())) <= 80


def test_scores_fit_a_terminal() -> None:
    assert max(map(len, format_scores([replace(SCORE, set="Urban100", images=100)]).splitlines())) <= 80


def test_image_scores_and_csv() -> None:
    rows = [ImageScore("Set5", 2, "bicubic", "float", "baby", 37.07, 0.9518)]
    assert format_image_scores(rows).splitlines()[1].split() == [
        "baby",
        "Set5",
        "x2",
        "bicubic",
        "float",
        "37.07",
        "0.9518",
    ]
    assert format_csv([{"a": 1, "b": None}, {"a": 'x,"y', "b": 2}]) == 'a,b\n1,\n"x,""y",2\n'


def test_survey() -> None:
    surveys = [Survey("Set5", 5, 1_702_706, 5, 0, 0, "a"), Survey("Urban100", 100, 48_714_846, 0, 2, 48_714_846, "b")]
    head, *rows = format_survey(surveys).splitlines()
    assert head.split() == ["set", "files", "size", "whole", "wrong", "lacking"]
    assert [row.split() for row in rows] == [
        ["Set5", "5", "1.7", "MB", "5", "0", "-"],
        ["Urban100", "100", "48.7", "MB", "0", "2", "48.7", "MB"],
    ]


def test_protocols_say_what_they_compare() -> None:
    scores = [replace(SCORE, protocol=p, boundary=b) for p, b in (("float", "symmetric"), ("rgb", "replicate"))]  # type: ignore[arg-type]
    text = format_protocols([*scores, SCORE])
    assert max(map(len, text.splitlines())) <= 80
    first, second = " ".join(text.split()).split(" rgb ")
    assert first.startswith("float Y channel, scale pixels shaved, symmetric borders of LR; doubles in [0, 1], PSNR")
    assert second.startswith("RGB channel, scale + 6 pixels shaved, replicate borders of LR; 8-bit colour pictures")
