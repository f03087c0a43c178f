"""When a run validates, saves and ends, by a clock that the test sets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from idn_train.clock import Cadence, Clock, Due
from idn_train.config import Config, loss_at
from idn_train.runstate import ENDLESS

COSINE = Config(4, schedule="cosine")


@dataclass
class Run:
    """As much of a RunState as a clock reads and sets."""

    step: int = 0
    steps: int = 1_000_000
    seconds: float = 0.0
    open_end: bool = True
    most: int = 1_000_000


class Time:
    """A clock that stands still until it is set."""

    now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr("idn_train.clock.time", time)
    return time


def make_clock(run: Run, config: Config = COSINE, minutes: float = 0.0) -> Clock:
    return Clock(run, config, minutes, torch.device("cpu"))  # type: ignore[arg-type]  # Run stands in for RunState


def test_steps_and_minutes_of_validation(time: Time) -> None:
    clock = make_clock(Run())
    by_steps = Cadence(save_minutes=1.0).settle(7)
    assert [by_steps.ask(clock, step, False, False).validate for step in (6, 7, 8, 14)] == [False, True, False, True]
    assert Cadence(validate_steps=3).settle(7).ask(clock, 3, False, False).validate
    by_minutes = Cadence(validate_minutes=2.0).settle(7)
    for seconds, due in ((119.0, False), (121.0, True)):
        clock.now = 1000.0 + seconds
        assert by_minutes.ask(clock, 7, False, False).validate is due


def test_what_ends_or_stops_is_saved(time: Time) -> None:
    clock, cadence = make_clock(Run()), Cadence(validate_steps=100)
    assert cadence.ask(clock, 1, True, False) == Due(validate=True, save=True, look=True, watch=True)
    assert cadence.ask(clock, 1, False, True) == Due(validate=False, save=True, look=True, watch=False)
    assert cadence.ask(clock, 1, False, False) == Due(False, False, False, False)
    assert cadence.ask(clock, 50, False, False) == Due(False, False, True, False)
    clock.now += 301
    assert cadence.ask(clock, 1, False, False) == Due(False, True, True, True)


def test_the_pace_leaves_out_what_is_beside_the_steps(time: Time) -> None:
    run = Run()
    clock = make_clock(run)
    for step in range(1, 5):
        run.step, time.now = step, time.now + 2
        clock.tick()
    assert clock.pace == 2
    time.now += 100  # a validation
    clock.resume(Due(True, True, True, False))
    run.step, time.now = 5, time.now + 2
    clock.tick()
    assert clock.pace == 2
    assert clock.count_spent() == 110
    assert clock.foresee() == 2 * (run.steps - 5)


@pytest.mark.parametrize(("minutes_of_validation", "steps"), [(0.0, 7), (0.25, 0)])
def test_a_cosine_ends_at_its_limit(time: Time, minutes_of_validation: float, steps: int) -> None:
    """Steps of 2 s and validations of 10 s, after a first step of 50 s; the run before took 100 s."""
    run, began = Run(seconds=100.0), time.now
    measured: list[int] = []
    clock = make_clock(run, minutes=60)
    cadence = Cadence(validate_steps=steps, validate_minutes=minutes_of_validation).settle(7)
    while run.step < run.steps:
        run.step, time.now = run.step + 1, time.now + (2 if run.step else 50)
        clock.tick()
        clock.measure(cadence)
        measured = measured or ([run.step] if run.steps < run.most else [])
        due = cadence.ask(clock, run.step, run.step >= run.steps, False)
        if due.validate:
            time.now += 10
        clock.resume(due)
    assert 12 < measured[0] < 30
    assert not run.open_end
    assert 3600 * 0.93 < 100 + time.now - began < 3600 * 1.005


@pytest.mark.parametrize(("slow_from", "slow_until"), [(0.0, 60.0), (0.0, 300.0), (200.0, 400.0)])
def test_other_programs_do_not_set_the_end(time: Time, slow_from: float, slow_until: float) -> None:
    """A quarter of an hour of steps of a second, which take three while another program runs."""
    run, began, steps = Run(), time.now, set[int]()
    clock, cadence = make_clock(run, minutes=15), Cadence(validate_steps=1_000)
    while run.step < run.steps:
        run.step, time.now = run.step + 1, time.now + (3 if slow_from <= time.now - began < slow_until else 1)
        clock.tick()
        clock.measure(cadence)
        steps.add(run.steps)
        clock.resume(cadence.ask(clock, run.step, run.step >= run.steps, False))
    assert len(steps) > 2, "measured again"
    assert 900 * 0.93 < time.now - began < 900 * 1.005


def test_minutes_alone_are_the_length(time: Time) -> None:
    """However many steps fit; and whatever kills it before they are known."""
    run, began = Run(steps=ENDLESS, most=ENDLESS), time.now
    for session_steps in (8, ENDLESS):
        clock, cadence, last = make_clock(run, minutes=60), Cadence(validate_steps=1_000), run.step + session_steps
        while run.step < min(run.steps, last):
            run.step, time.now = run.step + 1, time.now + 0.25
            clock.tick()
            clock.measure(cadence)
            clock.resume(cadence.ask(clock, run.step, run.step >= run.steps, False))
        run.seconds = clock.count_spent()
    assert not run.open_end
    assert 3600 * 0.93 < time.now - began < 3600 * 1.005


@pytest.mark.parametrize("before", [300, 15, 5, -5])
def test_a_last_loss_that_has_begun_is_not_taken_back_by_a_resume(time: Time, before: int) -> None:
    """The second session's steps are quicker: measured in the last quarter, they would make the run longer.

    before : steps before the last quarter at which the first session is killed.
    """
    config = replace(COSINE, last_loss="log-l2")
    run, losses, each = Run(steps=ENDLESS, most=ENDLESS), list[str](), 1.125
    for ends in (lambda: run.steps - run.steps // 4 - before, lambda: run.steps):
        clock, cadence = make_clock(run, minutes=15), Cadence(validate_steps=1_000)
        while run.step < ends():
            losses.append(loss_at(config, run.step, run.steps))
            run.step, time.now = run.step + 1, time.now + each
            clock.tick()
            clock.measure(cadence)
            clock.resume(cadence.ask(clock, run.step, run.step >= run.steps, False))
        run.seconds, each = clock.count_spent(), 0.25
    began = losses.index("log-l2")
    assert set(losses[:began]) == {"l2"} and set(losses[began:]) == {"log-l2"}
    assert began == run.steps - run.steps // 4


def test_no_more_steps_than_were_asked_for(time: Time) -> None:
    run = Run(steps=100, most=100)
    clock, cadence = make_clock(run, minutes=60), Cadence(validate_steps=1_000)
    lengths = set()
    while run.step < run.steps:
        run.step, time.now = run.step + 1, time.now + (60 if run.step < 15 else 1)
        clock.tick()
        clock.measure(cadence)
        lengths.add(run.steps)
        clock.resume(cadence.ask(clock, run.step, run.step >= run.steps, False))
    assert min(lengths) < 100
    assert run.step == 100


def test_other_schedules_are_cut_off(time: Time) -> None:
    run = Run(seconds=50.0)
    clock = make_clock(run, replace(COSINE, schedule="steps"), minutes=1)
    assert clock.count_left() == 10
    clock.measure(Cadence())
    assert run.open_end
    time.now += 10.5
    clock.tick()
    assert clock.is_over()
    assert not make_clock(run, minutes=0.5).is_over()  # a cosine has its length
    assert make_clock(run, replace(COSINE, schedule="steps"), minutes=0.5).is_over()
    assert not make_clock(run, replace(COSINE, schedule="steps")).is_over()


@pytest.mark.parametrize("name", ["validate_steps", "validate_minutes", "save_minutes"])
def test_bad_cadence(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be 0 or more; got -1"):
        Cadence(**{name: -1})
