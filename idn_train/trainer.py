"""The training: one loop, readable top to bottom."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from idn_train.checkpoint import load_weights
from idn_train.config import schedule_at
from idn_train.graph import CapturedStep
from idn_train.loss import compute_loss
from idn_train.network import IDN
from idn_train.optimizer import blend_weights, make_optimizers, set_rates
from idn_train.runstate import RunState, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from idn_train.batches import Patches
    from idn_train.config import Config, Loss

DIVERGED = 20.0  # times the loss of the first steps


@dataclass(frozen=True)
class Step:
    """Where a run stands, for whoever watches it."""

    step: int
    steps: int
    loss: float
    rate: float
    patches_per_second: float
    seconds_left: float
    psnr: float | None
    best_psnr: float | None


def train(
    config: Config,
    patches: Patches,
    folder: Path,
    *,
    validate: Callable[[IDN], float] | None = None,
    validate_steps: int = 0,
    validate_minutes: float = 0.0,
    init: Path | None = None,
    minutes: float = 0.0,
    save_minutes: float = 5.0,
    compiled: bool = False,
    stop: Callable[[], bool] | None = None,
    watch: Callable[[Step], None] | None = None,
    record: Callable[[list[dict[str, str]], IDN], None] | None = None,
) -> Path:
    """Train a network, from scratch or from where a killed run with the same configuration stopped.

    Parameters
    ----------
    config, patches : Config, Patches
        What to do, and with what: the patches lie on the device that is to compute.
    folder : Path
        The run: ``last.safetensors`` (state to resume from), ``best`` and ``final.safetensors``, ``metrics.csv``.
    validate : callable(network) -> PSNR in dB, optional
        Called every `validate_steps` steps, or `validate_minutes` minutes, or (both 0) epoch, and at the end.
    init : Path, optional
        Weights to start from; of another scale, all but the transposed convolution are taken.
    minutes : float
        Stop after so long, counting earlier sessions of the run; 0 for no limit. The cosine schedule then ends about
        there: its length is measured once, in the first steps, and kept with the run.
    save_minutes : float
        Between states saved to resume from.
    compiled : bool
        Through `torch.compile`; on one GPU, with the whole step as one CUDA graph.
    stop : callable() -> bool, optional
        Asked after each step; true ends the run with a state to resume from.
    watch, record : callable(Step), callable(rows of metrics.csv, network), optional
        Called about once a second; called after each validation.

    Returns
    -------
    Path
        ``final.safetensors``, or ``last.safetensors`` if it was stopped.

    Raises
    ------
    TrainingError
        NaN, a diverging loss, or a state that belongs to another configuration.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device, per_epoch = patches.device, len(patches) // config.batch
    every = validate_steps or per_epoch
    if patches.scale != config.scale:
        raise TrainingError(f"the patches are of scale {patches.scale}, the run of scale {config.scale}")
    if config.batch % world or not per_epoch:
        raise TrainingError(
            f"a batch of {config.batch} must be a multiple of {world} and fit in {len(patches)} patches; give --batch"
        )

    network = IDN(config.scale)
    network.reset_parameters(torch.Generator().manual_seed(config.seed), config.reconstruction_std or None)
    if init is not None:
        copy_weights(network, init)
    network.to(device).train()
    captured = compiled and device.type == "cuda" and world == 1
    optimizers = make_optimizers(network, config, captured)
    averaged = AveragedModel(network) if config.average else None
    share = torch.ones((), device=device)  # of the newest weights in their mean
    kept: IDN = averaged.module if averaged else network  # what is validated and saved
    run = RunState(folder, config, patches, init, minutes, network, averaged, optimizers)
    run.resume()

    model: Any = nn.parallel.DistributedDataParallel(network) if world > 1 else network
    if compiled:
        model = torch.compile(model)
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")

    def advance(lr: Tensor, gt: Tensor) -> Tensor:
        with autocast:
            sr = model(lr)  # (N, 1, p, p) to (N, 1, s·p, s·p)
        loss = compute_loss(sr, gt, config.loss)
        loss.backward()
        if config.clip:  # one patch that the network answers wildly would else point Muon's momentum for 60 steps
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if averaged:
            blend_weights(averaged.module, network, share)
            averaged.n_averaged.add_(1)
        return loss.detach()

    step = CapturedStep(advance) if captured else advance
    own = slice(rank * config.batch // world, (rank + 1) * config.batch // world)  # this process's part of a batch

    began = saved = validated = shown = paced = measured = time.monotonic()
    start_step = paced_step = run.step
    aside = spell = 0.0  # seconds of validating and saving: since `measured`, and the last time
    psnr, losses, first_loss, interrupted = run.last_psnr(), [], None, False
    if minutes and config.schedule != "cosine" and run.seconds >= minutes * 60:
        run.steps = run.step  # over already
    while run.step < run.steps and not interrupted:
        epoch, start = divmod(run.step, per_epoch)
        for lr, gt in patches.batches(config.batch, config.seed, epoch, start):
            rate = schedule_at(config, run.step, run.steps, per_epoch)
            set_rates(optimizers, rate)
            # over a ninth of the steps so far, until `average` is longer
            share.fill_(1 - min(config.average, (1 + run.step) / (10 + run.step)) if run.step else 1.0)
            loss = step(lr[own], gt[own])
            run.step += 1

            now = time.monotonic()
            pace = (now - paced) / max(1, run.step - paced_step)  # seconds a step takes, without validation
            left = minutes * 60 - run.seconds - (now - began)
            if minutes and config.schedule == "cosine" and run.open_end:
                if run.step == start_step + 10:
                    paced, paced_step, measured, aside = now, run.step, now, 0.0  # the first steps compile and allocate
                elif run.step > start_step + 12 and agree(int(now - measured > min(20, 3 * minutes)), device):
                    each = (now - measured - aside) / (run.step - start_step - 10)
                    each += spell / max(1, validate_minutes * 60 / each or every)
                    run.steps = min(run.steps, run.step + agree(max(0, int(left * 0.97 / each)), device))
                    run.open_end = False
            if world == 1 or run.step % 10 == 0:
                interrupted = bool(agree(int(stop is not None and stop()), device))
                if agree(int(minutes > 0 and config.schedule != "cosine" and left < 0), device):
                    run.steps = run.step
            at_end = run.step >= run.steps
            due = at_end or (now - validated > validate_minutes * 60 if validate_minutes else run.step % every == 0)
            keep = due or interrupted or now - saved > save_minutes * 60
            if keep or run.step % 50 == 0:  # before anything is saved: a state with NaN is worth nothing
                losses.append(check_loss(float(loss), first_loss, run.step, folder, config.loss))
                first_loss = first_loss or losses[0]
            if watch and rank == 0 and (now - shown > 1 or at_end):
                shown = now
                remaining = min((run.steps - run.step) * pace, max(0.0, left) if minutes else math.inf)
                watch(Step(run.step, run.steps, float(loss), rate * config.rate, config.batch / pace,
                           remaining, psnr, run.best))  # fmt: skip
            if due and rank == 0:
                psnr = validate(kept) if validate else None
                seconds = run.seconds + time.monotonic() - began
                run.log(epoch, sum(losses) / len(losses), rate * config.rate, psnr, seconds)
                if psnr is not None and (run.best is None or psnr > run.best):
                    run.best = psnr
                    run.save_weights("best.safetensors", kept, psnr, seconds)
                if record:
                    record(run.rows, kept)
                losses = []
            if keep and rank == 0:
                run.save(run.seconds + time.monotonic() - began)
            if keep:
                paced = time.monotonic()
                paced_step, saved, validated = run.step, paced, paced if due else validated
                aside, spell = aside + paced - now, paced - now if due else spell
            if at_end or interrupted:
                break
    seconds = run.seconds + time.monotonic() - began
    if rank == 0 and not interrupted and not (run.step == start_step and run.is_final()):
        run.save_weights("final.safetensors", kept, psnr, seconds)
    return folder / ("last.safetensors" if interrupted else "final.safetensors")


def agree(value: int, device: torch.device) -> int:
    """The value of the first process in all: their clocks differ, their steps must not."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return value
    tensor = torch.tensor(value, device=device)
    torch.distributed.broadcast(tensor, 0)
    return int(tensor)


def check_loss(loss: float, first: float | None, step: int, folder: Path, kind: Loss) -> float:
    """The loss, if the run may go on."""
    limit = math.inf
    if first is not None:  # in dB, so many times is so much more
        limit = first + 20 * math.log10(DIVERGED) if kind.startswith("log-") else DIVERGED * first
    if math.isfinite(loss) and loss < limit:
        return loss
    what = "is not finite" if not math.isfinite(loss) else f"grew to {loss:.3g} from {first:.3g}"
    good = [str(path) for name in ("best", "last") if (path := folder / f"{name}.safetensors").is_file()]
    advice = (
        f"--init {good[0]} --out FOLDER goes back to the last good state" if good else "no checkpoint was saved yet"
    )
    raise TrainingError(f"step {step}: the loss {what}; lower --rate or raise --warmup; {advice}")


def copy_weights(network: IDN, path: Path) -> None:
    """Start from a file's weights; those of another scale lack only the transposed convolution."""
    source, _ = load_weights(path)
    weights = source.state_dict()
    if source.scale != network.scale:
        weights = {k: v for k, v in weights.items() if not k.startswith("upsample.")}
    network.load_state_dict(weights, strict=False)
