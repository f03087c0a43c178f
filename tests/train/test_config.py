"""Hyper-parameters: IDN-TensorFlow's, the presets, the schedules, and what is refused."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest

from cli import main
from idn_data.patches.recipe import Stage
from idn_train.config import Config, Preset, loss_at, make_config, name_loss, schedule_at

PLAIN = Config(4)


def test_stages_are_those_of_idn_tensorflow() -> None:
    pre, fine = make_config(4, "pretrain"), make_config(3, "finetune")
    assert (pre.loss, pre.epochs, pre.decay_epochs, pre.muon_rate, pre.average) == ("l2", 100, 0, 0.0, 0.0)
    assert (pre.rate, pre.batch, pre.weight_decay) == (1e-4, 64, 1e-4)
    assert (fine.loss, fine.epochs, fine.decay_epochs, fine.scale) == ("l1", 600, 250, 3)


def test_what_was_given_goes_over_the_preset() -> None:
    config = make_config(2, "pretrain", "express", batch=16, loss=None)
    assert (config.batch, config.loss, config.schedule) == (16, "l1", "cosine")


def test_express_halves_its_rates_to_finetune() -> None:
    express, fine = make_config(4, "pretrain", "express"), make_config(4, "finetune", "express")
    assert (express.rate, express.muon_rate, express.weight_decay) == (1e-3, 6e-3, 0.3)
    assert (fine.rate, fine.muon_rate, fine.weight_decay) == (5e-4, 3e-3, 0.3)
    assert make_config(4, "pretrain", "express", muon_rate=0.0).weight_decay == 0.0  # Adam's would be another decay


def test_help_says_what_the_presets_hold() -> None:
    said = 0
    for option in main.commands["train"].params:
        text = getattr(option, "help", None) or ""
        for word, number in re.findall(r"\b(default|express|paper):? (\d[\d.e-]*)", text):
            preset: Preset = "tensorflow" if word == "default" else word
            assert getattr(make_config(4, "pretrain", preset), str(option.name)) == float(number), (option.name, text)
            said += 1
    assert said >= 17


def test_schedules() -> None:
    fine = make_config(4, "finetune")
    parts = [schedule_at(fine, epoch * 10, 6000, 10) for epoch in (0, 249, 250, 500)]
    assert parts == pytest.approx([1, 1, 0.1, 0.01])
    cosine = replace(PLAIN, schedule="cosine", warmup=10)
    assert [schedule_at(cosine, k, 110, 10) for k in (0, 9, 10, 60)] == pytest.approx([0.1, 1, 1, 0.5])
    assert schedule_at(cosine, 110, 110, 10) == pytest.approx(0)
    floored = replace(cosine, floor=0.2)
    assert [schedule_at(floored, k, 110, 10) for k in (0, 9, 10, 60, 110)] == pytest.approx([0.1, 1, 1, 0.6, 0.2])
    assert [schedule_at(cosine, k, 20, 10) for k in (0, 1, 2, 11)] == pytest.approx([0.5, 1, 1, 0.5])  # a tenth of all


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"scale": 5}, "scale must be one of 2, 3, 4; got 5"),
        ({"stage": "test"}, "stage must be one of pretrain, finetune"),
        ({"loss": "l3"}, r"loss must be one of l1, l2, l1\+ssim, log-l1, log-l2, log-l1\+ssim; got 'l3'"),
        ({"last_loss": "l3"}, r"last_loss must be one of l1, l2, .*ssim; got 'l3'"),
        ({"last_loss": "l1"}, "last_loss goes with a cosine, whose end is known; got schedule='steps'"),
        ({"floor": 1.0}, "floor must be at least 0 and below 1; got 1.0"),
        ({"schedule": "linear"}, "schedule must be one of steps, cosine"),
        ({"precision": "fp8"}, "precision must be one of float32, bf16"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"epochs": -1}, "epochs must be 0 or more"),
        ({"rate": 0.0}, "rate must lie between 0 and 1; got 0.0"),
        ({"rate": math.nan}, "rate must lie between 0 and 1; got nan"),
        ({"muon_rate": 1.0}, "muon_rate must be at least 0 and below 1"),
        ({"average": 1.0}, "average must be at least 0 and below 1"),
        ({"warmup": -1}, "warmup must be 0 or more"),
        ({"seed": 1 << 32}, "seed must be 0 or more, and below 4294967296"),
        ({"clip": -1.0}, "clip must be 0 or more, and below 4294967296; got -1.0"),
        ({"weight_decay": math.nan}, "weight_decay must be 0 or more, and below 4294967296; got nan"),
    ],
)
def test_bad_config(change: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        replace(PLAIN, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "preset", "given", "match"),
    [
        (
            "pretrain",
            "tensorflow",
            {"floor": 0.2},
            r"floor=0\.2 has no effect in the schedule steps; leave it out, or give",
        ),
        ("pretrain", "paper", {"floor": 0.3, "schedule": "steps"}, r"floor=0\.3 .* or give the schedule cosine"),
        ("pretrain", "express", {"decay_epochs": 50}, "decay_epochs=50 has no effect in the schedule cosine; leave it"),
        ("finetune", "tensorflow", {"decay_epochs": 50, "schedule": "cosine"}, "or give the schedule steps"),
        ("pretrain", "express", {"epochs": 5, "steps": 9}, "steps=9 go instead of epochs=5; give one of both"),
    ],
)
def test_what_would_have_no_effect_is_refused(stage: Stage, preset: Preset, given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make_config(4, stage, preset, **given)


def test_what_a_preset_brings_is_no_cause_to_refuse() -> None:
    assert make_config(4, "pretrain", "paper", schedule="steps").floor == 0.2
    assert make_config(4, "finetune", schedule="cosine").decay_epochs == 250
    assert make_config(4, "finetune", "express", schedule="steps", decay_epochs=50).decay_epochs == 50


def test_epochs_go_over_the_steps_of_a_preset() -> None:
    paper = make_config(4, "pretrain", "paper", epochs=50)
    assert (paper.epochs, paper.steps) == (50, 0)
    assert make_config(4, "pretrain", "paper").steps == 16_000


@pytest.mark.parametrize(
    ("preset", "given", "length"),
    [
        ("express", {}, (0, 0)),
        ("paper", {}, (0, 0)),
        ("express", {"epochs": 100}, (100, 0)),
        ("express", {"steps": 9}, (100, 9)),
        ("tensorflow", {}, (100, 0)),  # whose rates do not follow the length
        ("tensorflow", {"schedule": "cosine"}, (0, 0)),
    ],
)
def test_minutes_alone_are_the_length_of_a_cosine(
    preset: Preset, given: dict[str, Any], length: tuple[int, int]
) -> None:
    """Epochs and steps; 0 and 0: as many as fit."""
    config = make_config(4, "pretrain", preset, minutes=10, **given)
    assert (config.epochs, config.steps) == length
    assert make_config(4, "pretrain", preset, **given).epochs == 100


def test_the_last_quarter_may_have_a_loss_of_its_own() -> None:
    paper = make_config(4, "pretrain", "paper")
    assert [loss_at(paper, k, 100) for k in (0, 74, 75, 99)] == ["l1", "l1", "log-l2", "log-l2"]
    assert name_loss(paper) == "l1, then log-l2"
    assert name_loss(replace(paper, last_loss="l1")) == "l1"
    plain = make_config(4, "pretrain", "paper", loss="l2")  # who names a loss means all steps
    assert loss_at(plain, 99, 100) == "l2" and name_loss(plain) == "l2"
    assert make_config(4, "pretrain", "paper", schedule="steps").last_loss == ""
