"""The training: one loop, readable top to bottom."""

from __future__ import annotations

import copy
import math
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from idn_train.clock import Cadence, Clock
from idn_train.config import loss_at, schedule_at
from idn_train.device import agree
from idn_train.learner import is_captured, make_learner, make_step, try_step
from idn_train.runstate import ENDLESS, RunState, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from idn_train.batches import Feed
    from idn_train.config import Config, Loss
    from idn_train.ownnetwork import Network

DIVERGED = 20.0  # times the loss of the first patches
ENOUGH = 64  # patches, at least, whose mean losses are compared: of single ones, one is flat and the next textured


@dataclass(frozen=True)
class Status:
    """Where a run stands, for whoever watches it."""

    step: int
    steps: int
    loss: float
    rate: float  # of Adam
    patches_per_second: float
    seconds_left: float
    psnr: float | None  # dB, at the last validation
    best_psnr: float | None


@dataclass(frozen=True)
class Hooks:
    """What a run calls on its way."""

    validate: Callable[[Network], float] | None = None  # PSNR in dB, on what the run is validated
    record: Callable[[list[dict[str, str]], Network], None] | None = None  # after it: the rows of metrics.csv
    watch: Callable[[Status], None] | None = None  # about once a second
    stop: Callable[[], bool] | None = None  # after each step; true: end with a state to resume from
    validated_on: str = ""  # digest of what `validate` scores on: with another one, the best is chosen anew


def train(
    config: Config,
    patches: Feed,
    folder: Path,
    *,
    init: Path | None = None,
    minutes: float = 0.0,
    compiled: bool = False,
    restart: bool = False,
    cadence: Cadence = Cadence(),  # noqa: B008 (it is frozen)
    hooks: Hooks = Hooks(),
) -> Path:
    """Train a network, from scratch or from where a killed run with the same configuration stopped.

    Parameters
    ----------
    config, patches : Config, Feed
        What to do, and with what: the batches lie on the device that is to compute.
    folder : Path
        The run: ``last.safetensors`` (state to resume from), ``best`` and ``final.safetensors``, ``metrics.csv``.
    init : Path, optional
        Weights to start from; of another scale, all but the transposed convolution are taken.
    minutes : float
        Stop after so long, counting earlier sessions of the run; 0 for no limit. The cosine schedule then ends about
        there: its length is measured in the first steps, again on the way, and kept with the run.
    compiled : bool
        Through `torch.compile`; on one GPU, with the whole step as one CUDA graph.
    restart : bool
        Delete an older run in the folder, once all that the new one needs is there.
    cadence : Cadence
        How often to validate and to save.
    hooks : Hooks
        What to call on the way.

    Returns
    -------
    Path
        ``final.safetensors``, or ``last.safetensors`` if it was stopped.

    Raises
    ------
    TrainingError
        NaN, a diverging loss, a state that belongs to another configuration, or an `init` that the run would replace.
    NetworkError
        A network of one's own fails, see `idn_train.learner.compute_sr`.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device, per_epoch = patches.device, len(patches) // config.batch

    learner = make_learner(config, device, init, is_captured(device, world, compiled, config.network))
    check_fit(config, patches, world, learner.network)
    run = RunState(folder, config, patches, init, minutes, learner)
    run.begin(device, restart, hooks.validated_on)
    losses = Losses(loss_at(config, run.step, run.steps))
    step = make_step(learner, config, losses.kind, world=world, compiled=compiled)
    clock, cadence = Clock(run, config, minutes, device), cadence.settle(per_epoch)
    own = slice(rank * config.batch // world, (rank + 1) * config.batch // world)  # this process's part of a batch
    run.steps = run.step if clock.is_over() else run.steps  # an earlier session may have used up the time
    start_step, stopped, psnr = run.step, False, run.last_psnr()

    while run.step < run.steps and not stopped:
        epoch, start = divmod(run.step, per_epoch)
        for lr, gt in patches.batches(config.batch, config.seed, epoch, start, own):  # (n, C, p, p), (n, C, s·p, s·p)
            rate = schedule_at(config, run.step, run.steps, per_epoch)  # 0…1
            learner.set_rate(rate, config.average, run.step)
            if losses.kind != (kind := loss_at(config, run.step, run.steps)):  # the last loss begins
                losses, step = Losses(kind), make_step(learner, config, kind, world=world, compiled=compiled)
            loss = losses.add(step(lr, gt), len(lr))  # a scalar, of this process's n = batch / world patches
            run.step += 1

            clock.tick()
            clock.measure(cadence)  # of a cosine under a limit: how many steps it is to have
            if world == 1 or run.step % 10 == 0:
                stopped = bool(agree(int(hooks.stop is not None and hooks.stop()), device))
                if agree(int(clock.is_over()), device):
                    run.steps = run.step
            due = cadence.ask(clock, run.step, run.step >= run.steps, stopped)
            if due.look:  # before anything is saved: a state with NaN is worth nothing
                losses.look(float(loss), run.step, folder)
            if due.watch and hooks.watch and rank == 0:
                hooks.watch(take_status(run, clock, config, float(loss), rate, psnr))
            if due.validate and rank == 0:
                psnr = hooks.validate(learner.kept) if hooks.validate else None
                run.log(epoch, losses.take_mean(), rate * config.rate, psnr, clock.count_spent())
                if hooks.record:
                    hooks.record(run.rows, learner.kept)
            if due.save and rank == 0:
                run.save(clock.count_spent())
            clock.resume(due)
            if stopped or run.step >= run.steps:
                break
    if rank == 0 and not stopped and not (run.step == start_step and run.is_final()):
        run.save_weights("final.safetensors", psnr, clock.count_spent())
    return folder / ("last.safetensors" if stopped else "final.safetensors")


@dataclass
class Losses:
    """What a run loses, by one kind of loss."""

    kind: Loss
    since: list[float] = field(default_factory=list)  # those looked at, since the last row of the metrics
    first: float | None = None  # mean over the first patches, of `ENOUGH` or more
    total: Tensor | float = 0.0  # of the steps since the last comparison
    steps: int = 0
    patches: int = 0

    def add(self, loss: Tensor, patches: int) -> Tensor:
        """Count in the loss of a step, of so many patches, and give it back; nothing waits for a GPU."""
        self.total, self.steps, self.patches = self.total + loss, self.steps + 1, self.patches + patches
        return loss

    def look(self, loss: float, step: int, folder: Path) -> None:
        """Look at the loss of a step, and at the mean of those since; TrainingError as `check_loss`."""
        self.since.append(check_loss(loss, None, step, folder, self.kind))
        if self.patches >= ENOUGH:
            mean = check_loss(float(self.total) / self.steps, self.first, step, folder, self.kind)
            self.first = self.first or mean
            self.total, self.steps, self.patches = 0.0, 0, 0

    def take_mean(self) -> float:
        """The mean since it was last taken."""
        mean, self.since = sum(self.since) / len(self.since), []
        return mean


def take_status(run: RunState, clock: Clock, config: Config, loss: float, rate: float, psnr: float | None) -> Status:
    """Say where a run stands after a step.

    Parameters
    ----------
    run, clock, config : RunState, Clock, Config
    loss : float
        Of the step.
    rate : float
        The part of the full rates, 0…1.
    psnr : float or None
        dB, at the last validation.

    Returns
    -------
    Status
    """
    pace = max(clock.pace, 1e-9)  # a clock may not have moved on
    speed, left = config.batch / pace, clock.foresee()
    steps = run.steps if run.steps < ENDLESS else run.step + int(left / pace)  # until they are measured
    return Status(run.step, steps, loss, rate * config.rate, speed, left, psnr, run.best)


def check_fit(config: Config, patches: Feed, world: int, network: Network) -> None:
    """See that a network can train on these patches, and try a step on some.

    Parameters
    ----------
    config : Config
    patches : Feed
    world : int
        Processes that train together.
    network : IDN or OwnNetwork
        On the device of the patches; it stays as it is.

    Raises
    ------
    TrainingError
        The patches are of another scale or other channels, or too few for a batch, which must be a multiple of `world`.
    NetworkError, ValueError
        As `idn_train.learner.try_step`.
    """
    if patches.scale != config.scale:
        raise TrainingError(f"the patches are of scale {patches.scale}, the run of scale {config.scale}")
    if (channels := patches.sample(1)[0].shape[1]) != config.channels:
        raise TrainingError(f"the patches have {channels} channels, the network takes {config.channels}")
    if config.batch % world or len(patches) < config.batch:
        raise TrainingError(
            f"a batch of {config.batch} must be a multiple of {world} and fit in {len(patches)} patches; give --batch"
        )
    try_step(copy.deepcopy(network), config, *patches.sample(min(16, config.batch)))


def check_loss(loss: float, first: float | None, step: int, folder: Path, kind: Loss) -> float:
    """The loss, if the run may go on.

    Parameters
    ----------
    loss, first : float
        The mean of the last patches, and of the first ones; None, or 0: nothing to compare with.
    step : int
    folder : path
        Of the run: its checkpoints are named in the error.
    kind : str
        As in `idn_train.loss.compute_loss`; one in dB may grow by 26 dB, any other to 20 times the first.

    Returns
    -------
    float
        `loss`.

    Raises
    ------
    TrainingError
        It is not finite, or grew too much.
    """
    limit = math.inf
    if first:  # in dB, so many times is so much more
        limit = first + 20 * math.log10(DIVERGED) if kind.startswith("log-") else DIVERGED * first
    if math.isfinite(loss) and loss < limit:
        return loss
    what = "is not finite" if not math.isfinite(loss) else f"grew to {loss:.3g} from {first:.3g}"
    good = [str(path) for name in ("best", "last") if (path := folder / f"{name}.safetensors").is_file()]
    advice = "no checkpoint was saved yet"
    if good:
        advice = f"--init {good[0]} with another --out goes back to the last good state"
    raise TrainingError(f"step {step}: the loss {what}; lower --rate or raise --warmup; {advice}")
