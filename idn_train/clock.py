"""When a run validates, saves and ends: its clocks, and what is due by them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from idn_train.device import agree

if TYPE_CHECKING:
    import torch

    from idn_train.config import Config
    from idn_train.runstate import RunState

SKIPPED = 10  # steps that are not measured: the first ones compile and allocate
LOOK_STEPS = 50  # between looks at the loss, which make a GPU wait
MARKS = 16  # times in a limit that the speed is measured again


class Due(NamedTuple):
    """What is to be done after a step."""

    validate: bool  # and a row of metrics.csv
    save: bool  # a state to resume from
    look: bool  # at the loss
    watch: bool  # a word to who watches


@dataclass(frozen=True)
class Cadence:
    """How often a run does what it does beside its steps; at its end it does all of it."""

    validate_steps: int = 0  # between validations; 0: an epoch
    validate_minutes: float = 0.0  # between validations, instead of steps; 0: by steps
    save_minutes: float = 5.0  # between states to resume from

    def __post_init__(self) -> None:
        for name in ("validate_steps", "validate_minutes", "save_minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more; got {getattr(self, name)}")

    def settle(self, per_epoch: int) -> Cadence:
        """The cadence of a run with so many steps an epoch."""
        return replace(self, validate_steps=self.validate_steps or per_epoch)

    def count_steps(self, seconds: float) -> float:
        """Steps between validations, where one takes so many seconds."""
        return max(1, self.validate_minutes * 60 / seconds or self.validate_steps)

    def ask(self, clock: Clock, step: int, ends: bool, stopped: bool) -> Due:
        """What is due after a step; `ends`: it was the last; `stopped`: the run is to end with a state."""
        if self.validate_minutes:
            validate = ends or clock.now - clock.validated > self.validate_minutes * 60
        else:
            validate = ends or step % self.validate_steps == 0
        save = validate or stopped or clock.now - clock.saved > self.save_minutes * 60
        return Due(validate, save, save or step % LOOK_STEPS == 0, ends or clock.now - clock.shown > 1)


class Clock:
    """The clocks of one session of a run: how long its steps take, and how much time it has left.

    Where several processes train together, their clocks differ, but their steps must not: the first one's count.

    Parameters
    ----------
    run : RunState
        Its `seconds` were spent by earlier sessions. `measure` sets its `steps`, to `most` at most, and `open_end`.
    config : Config
        A cosine is made to end at the limit; any other schedule is cut off there.
    minutes : float
        For all sessions together; 0: no limit.
    device : device
    """

    def __init__(self, run: RunState, config: Config, minutes: float, device: torch.device) -> None:
        self.now = self.validated = self.saved = self.shown = time.perf_counter()
        self.pace = math.nan  # seconds a step takes, since the last pause
        self._run, self._limit, self._device = run, 60 * minutes if minutes else math.inf, device
        self._cosine = config.schedule == "cosine"
        self._began = self._resumed = self._measured = self.now
        self._first = self._resumed_step = self._measured_step = run.step
        self._aside = self._pause = 0.0  # seconds of validating and saving: since `_measured`, and the last time
        # the sixteenth of the limit after which the speed is measured next; 1 where an earlier session has measured it
        self._mark = int(run.steps < run.most)

    def tick(self) -> None:
        """A step is done."""
        self.now = time.perf_counter()
        self.pace = (self.now - self._resumed) / max(1, self._run.step - self._resumed_step)

    def count_spent(self) -> float:
        """Seconds of the run until now, with those of earlier sessions."""
        return self._run.seconds + time.perf_counter() - self._began

    def count_left(self) -> float:
        """Seconds until the limit, at the last tick; below 0: it is passed."""
        return self._limit - self._run.seconds - (self.now - self._began)

    def is_over(self) -> bool:
        """Whether the limit cuts the run off now."""
        return not self._cosine and self.count_left() <= 0

    def foresee(self) -> float:
        """Seconds until the run ends, by its steps or its limit."""
        return min((self._run.steps - self._run.step) * self.pace, max(0.0, self.count_left()))

    def measure(self, cadence: Cadence) -> None:
        """In a cosine with a limit: see how long steps and validations take, and let it end at the limit.

        It goes down until the last step, so its length must be known early. It is measured after the first steps, and
        again at each of `MARKS`, since other programs may have slowed those. From three quarters of its steps on, where
        the last loss may have begun, it stays and is kept with the run.
        """
        run, measured = self._run, self.now - self._measured
        if not self._cosine or math.isinf(self._limit) or not run.open_end:
            return
        taken = run.step - self._first - SKIPPED
        if taken == 0:
            self._resumed, self._resumed_step = self.now, run.step
            self._measured, self._measured_step, self._aside = self.now, run.step, 0.0
        elif self._mark and run.step >= run.steps - run.steps // 4:
            run.open_end = False
        elif taken > 2 and (not self._mark or run.step % 10 == 0) and agree(self._is_due(measured), self._device):
            each = (measured - self._aside) / (run.step - self._measured_step)
            each += self._pause / cadence.count_steps(each)
            fit = agree(max(0, int(self.count_left() * 0.97 / each)), self._device)
            run.steps = min(run.most, run.step + fit)
            self._mark = agree(1 + self._count_marks(), self._device)
            self._measured, self._measured_step, self._aside = self.now, run.step, 0.0

    def _is_due(self, measured: float) -> int:
        """1 where the next mark is passed, and the steps of long enough were measured for it."""
        return int(measured > min(20, self._limit / 20) and self._count_marks() >= self._mark)

    def _count_marks(self) -> int:
        """Marks that are passed."""
        return int(MARKS * (1 - self.count_left() / self._limit))

    def resume(self, due: Due) -> None:
        """Go on after what was due; what it took is no part of the pace."""
        if due.watch:
            self.shown = self.now
        if due.save:
            self._resumed, self._resumed_step = time.perf_counter(), self._run.step
            self._pause = self._resumed - self.now if due.validate else self._pause
            self._aside += self._resumed - self.now
            self.saved = self._resumed
            self.validated = self._resumed if due.validate else self.validated
