"""The hyper-parameters of a run, and the presets of the stages."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from idn_data.patches.recipe import SCALES, STAGES, Stage
from idn_train.weightfile import OWN_SCALES

Loss = Literal["l1", "l2", "l1+ssim", "log-l1", "log-l2", "log-l1+ssim"]
Schedule = Literal["steps", "cosine"]
Precision = Literal["float32", "bf16"]
Preset = Literal["tensorflow", "express", "paper"]

PAPER_PATCH = 24  # side of an LR patch under "paper": a wide one shows the network what it sees within a picture


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of a run. The defaults are those of IDN-TensorFlow for pre-training; see `make_config`."""

    scale: int  # 2, 3 or 4; 2…8 of a network of one's own
    stage: Stage = "pretrain"
    loss: Loss = "l2"  # see `idn_train.loss.compute_loss`
    last_loss: Loss | Literal[""] = ""  # of the last quarter of a cosine's steps; "": the same as before
    epochs: int = 100  # passes over the patches; 0: as many as fit in the minutes
    steps: int = 0  # in all, instead of epochs; 0: by epochs
    batch: int = 64  # patches a step
    rate: float = 1e-4  # of Adam, once the warm-up is over
    muon_rate: float = 0.0  # of Muon, which then moves the convolutions; 0: Adam on all
    clip: float = 0.0  # the gradient of all weights together is shortened to this norm; 0: never
    schedule: Schedule = "steps"  # steps: a tenth of the rate every decay_epochs; cosine: down to the floor at the end
    floor: float = 0.0  # the part of the full rates that a cosine ends at
    decay_epochs: int = 0  # 0: the rate stays
    warmup: int = 0  # steps in which the rate rises
    weight_decay: float = 1e-4  # λ of λ/2·‖w‖², biases apart; with Muon, rate·λ of the weights off each step
    reconstruction_std: float = 0.0  # of the first weights of the transposed convolution; 0: He's rule
    average: float = 0.0  # decay of the mean of the weights that is validated and kept; 0: the weights themselves
    precision: Precision = "float32"
    seed: int = 0  # of the first weights and the order of patches
    network: str = "idn"  # or one's own: FILE.py:NAME or package.module:NAME, see `idn_train.ownnetwork`
    channels: int = 1  # 1: Y; 3: RGB, of a network of one's own

    def __post_init__(self) -> None:
        own = self.network != "idn"
        for name, allowed in (
            ("scale", OWN_SCALES if own else SCALES), ("channels", (1, 3) if own else (1,)), ("stage", STAGES),
            ("loss", get_args(Loss)), ("last_loss", (*get_args(Loss), "")),
            ("schedule", get_args(Schedule)), ("precision", get_args(Precision)),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                of_idn = " for IDN" if not own and name in ("scale", "channels") else ""
                values = ", ".join(str(value) for value in allowed if value != "")
                raise ValueError(f"{name} must be one of {values}; got {getattr(self, name)!r}{of_idn}")
        if self.last_loss and self.schedule != "cosine":
            raise ValueError(f"last_loss goes with a cosine, whose end is known; got schedule={self.schedule!r}")
        if own and self.reconstruction_std:
            raise ValueError(f"reconstruction_std is of IDN's last layer; {self.network} draws its own; leave it out")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1; got {self.batch}")
        for name in ("epochs", "steps", "decay_epochs", "warmup", "clip", "weight_decay", "reconstruction_std", "seed"):
            if not 0 <= getattr(self, name) < 1 << 32:  # the order of an epoch is drawn by 64 bits made of the seed
                raise ValueError(f"{name} must be 0 or more, and below {1 << 32}; got {getattr(self, name)}")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must lie between 0 and 1; got {self.rate}")
        for name in ("muon_rate", "average", "floor"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1; got {getattr(self, name)}")


def make_config(
    scale: int, stage: Stage, preset: Preset = "tensorflow", *, minutes: float = 0.0, **given: object
) -> Config:
    """Choose the hyper-parameters of a stage under a preset; what is given goes over them.

    Parameters
    ----------
    scale : int
        2, 3 or 4; 2…8 of a network of one's own.
    stage : {"pretrain", "finetune"}
    preset : {"tensorflow", "express", "paper"}
        "tensorflow": as the README of IDN-TensorFlow has it. "express": good weights soon, by L1, Muon at 6e-3 on the
        convolutions and Adam at 1e-3 on the rest (half of both to fine-tune) after a short warm-up, a cosine to zero,
        a decoupled weight decay of 0.3, a reconstruction that starts close to zero, and the mean of the last weights.
        "paper": the same for long, from pictures: more steps, of more patches, a cosine to a fifth, and the last
        quarter in dB of each patch. At lower rates it learns the pictures by heart, where they are few.
    minutes : float
        The limit of the run; 0: none. A cosine then has this length, unless epochs or steps are given.
    **given
        Fields of `Config`; None: not given.

    Returns
    -------
    Config

    Raises
    ------
    ValueError
        A value that is not allowed; the message names those that are. Or one that would have no effect.
    """
    config = Config(scale, stage, network=str(given.get("network") or "idn"))
    if stage == "finetune":
        config = replace(config, loss="l1", epochs=600, decay_epochs=250)
    if preset == "paper" and stage == "finetune":
        raise ValueError("the preset paper is one training from the start; leave out the stage, or take another preset")
    if preset != "tensorflow":
        rate = 0.5e-3 if stage == "finetune" else 1e-3
        config = replace(
            config, loss="l1", rate=rate, muon_rate=6 * rate, schedule="cosine", warmup=100, decay_epochs=0,
            weight_decay=0.0 if given.get("muon_rate") == 0 else 0.3,  # Adam's alone would lie in the gradient
            reconstruction_std=0.001 if config.network == "idn" else 0.0, average=0.998,
        )  # fmt: skip
    if preset == "paper":
        changed = given.get("loss") or given.get("schedule") == "steps"  # then one loss for all steps
        config = replace(
            config, batch=256, steps=16_000, warmup=500, clip=1.0, average=0.999, floor=0.2,
            last_loss="" if changed else "log-l2", weight_decay=0.0 if given.get("muon_rate") == 0 else 0.1,
        )  # fmt: skip
    known = {name: value for name, value in given.items() if value is not None}
    length = {"epochs", "steps"} & known.keys()
    if len(length) == 2:
        raise ValueError(f"steps={known['steps']} go instead of epochs={known['epochs']}; give one of both")
    if length == {"epochs"}:  # they go over the steps of the preset
        config = replace(config, steps=0)
    config = replace(config, **known)  # type: ignore[arg-type]  # Config checks what the command line gave
    for name, schedule in (("floor", "cosine"), ("decay_epochs", "steps")):
        if known.get(name) and config.schedule != schedule:
            raise ValueError(
                f"{name}={known[name]} has no effect in the schedule {config.schedule}; "
                f"leave it out, or give the schedule {schedule}"
            )
    return replace(config, epochs=0, steps=0) if minutes and config.schedule == "cosine" and not length else config


def schedule_at(config: Config, step: int, steps: int, steps_per_epoch: int) -> float:
    """The part of the full rates, 0…1, at a step (from 0) of `steps`."""
    warmup = min(config.warmup, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "cosine":
        done = (step - warmup) / max(1, steps - warmup)
        return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    drops = step // (steps_per_epoch * config.decay_epochs) if config.decay_epochs else 0
    return float(0.1**drops)


def loss_at(config: Config, step: int, steps: int) -> Loss:
    """The loss of a step (from 0) of `steps`."""
    return config.last_loss if config.last_loss and step >= steps - steps // 4 else config.loss


def name_loss(config: Config) -> str:
    """The loss of a run, for people; both, where there is a last one."""
    return f"{config.loss}, then {config.last_loss}" if config.last_loss not in ("", config.loss) else config.loss
