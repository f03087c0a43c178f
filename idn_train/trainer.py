"""The training: one loop, readable top to bottom."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from idn_data.atomic import write_whole
from idn_data.recipe import SCALES, STAGES, Stage
from idn_train.checkpoint import load_weights, save_weights
from idn_train.network import IDN

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from idn_train.batches import Patches

Loss = Literal["l1", "l2"]
Schedule = Literal["steps", "cosine"]
Precision = Literal["float32", "bf16"]
DIVERGED = 20.0  # times the loss of the first steps


class TrainingError(ValueError):
    """A run that cannot go on; the message says what happened and what to do."""


@dataclass(frozen=True)
class Config:
    """Hyper-parameters of a run. The defaults are those of the README's pre-training; see `stage_config`.

    rate : Adam's, reached after `warmup` steps; schedule "steps": divided by 10 every `decay_epochs` (0: never);
    "cosine": down to zero at the last step. weight_decay : λ of λ/2·‖w‖², on weights only. The loss is ½Σ(y - f)²
    or Σ|y - f| over the pixels of a patch, its mean over the batch. reconstruction_std : 0 for He's rule.
    """

    scale: int
    stage: Stage = "pretrain"
    loss: Loss = "l2"
    epochs: int = 100
    steps: int = 0  # in all, instead of epochs
    batch: int = 64
    rate: float = 1e-4
    schedule: Schedule = "steps"
    decay_epochs: int = 0
    warmup: int = 0
    weight_decay: float = 1e-4
    reconstruction_std: float = 0.0
    precision: Precision = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("scale", SCALES), ("stage", STAGES), ("loss", get_args(Loss)),
            ("schedule", get_args(Schedule)), ("precision", get_args(Precision)),
        ):  # fmt: skip
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}; got {getattr(self, name)!r}")
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("steps", "decay_epochs", "warmup", "weight_decay", "reconstruction_std", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more; got {getattr(self, name)}")
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must lie between 0 and 1; got {self.rate}")


def stage_config(scale: int, stage: Stage) -> Config:
    """The hyper-parameters that IDN-TensorFlow's README gives for a stage."""
    if stage == "finetune":
        return Config(scale, stage, loss="l1", epochs=600, decay_epochs=250)
    return Config(scale, stage)


def rate_at(config: Config, step: int, steps: int, steps_per_epoch: int) -> float:
    """Adam's rate at a step (from 0) of `steps`."""
    if step < config.warmup:
        return config.rate * (step + 1) / config.warmup
    if config.schedule == "cosine":
        done = (step - config.warmup) / max(1, steps - config.warmup)
        return config.rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    drops = step // (steps_per_epoch * config.decay_epochs) if config.decay_epochs else 0
    return float(config.rate * 0.1**drops)


def make_optimizer(network: nn.Module, config: Config) -> torch.optim.Adam:
    """Adam with λ on weights, none on biases; fused, which every device here offers."""
    weights = [p for p in network.parameters() if p.ndim > 1]
    biases = [p for p in network.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.Adam(groups, lr=config.rate, fused=True)


def compute_loss(sr: Tensor, gt: Tensor, kind: Loss) -> Tensor:
    """½Σ(gt - sr)² or Σ|gt - sr| over the pixels of a patch, mean over the batch; (N, 1, H, W) both, float32."""
    difference = sr.float() - gt
    total = difference.abs().sum() if kind == "l1" else 0.5 * difference.square().sum()
    return total / len(gt)


@dataclass(frozen=True)
class Step:
    """Where a run stands, for whoever watches it."""

    step: int
    steps: int
    epoch: int
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
    validate_every: int = 0,
    init: Path | None = None,
    minutes: float = 0.0,
    save_minutes: float = 5.0,
    watch: Callable[[Step], None] | None = None,
) -> Path:
    """Train a network, from scratch or from where a killed run with the same configuration stopped.

    Parameters
    ----------
    config : Config
    patches : Patches
        On the device that is to compute.
    folder : Path
        The run: ``last.safetensors`` (state to resume from), ``best.safetensors``, ``final.safetensors``,
        ``metrics.csv``, ``config.json``.
    validate : callable(network) -> PSNR in dB, optional
        Called every `validate_every` steps (0: each epoch) and at the end.
    init : Path, optional
        Weights to start from; of another scale, all but the transposed convolution are taken.
    minutes : float
        Stop after so long, counting earlier sessions of the run; 0 for no limit. The cosine schedule then ends there:
        its length is measured once, in the first steps, and kept with the run.
    save_minutes : float
        Between states saved to resume from.
    watch : callable(Step), optional
        Called about once a second.

    Returns
    -------
    Path
        ``final.safetensors``, or ``last.safetensors`` after an interrupt.

    Raises
    ------
    TrainingError
        NaN, a diverging loss, or a state that belongs to another configuration.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = patches.device
    if patches.scale != config.scale:
        raise TrainingError(f"the patches are of scale {patches.scale}, the run of scale {config.scale}")
    if config.batch % world or len(patches) < config.batch:
        raise TrainingError(
            f"a batch of {config.batch} must be a multiple of {world} and fit in {len(patches)} patches"
        )
    per_epoch = len(patches) // config.batch
    steps = config.steps or config.epochs * per_epoch
    folder.mkdir(parents=True, exist_ok=True)

    network = IDN(config.scale)
    network.reset_parameters(torch.Generator().manual_seed(config.seed), config.reconstruction_std or None)
    if init is not None:
        copy_weights(network, init)
    network.to(device).train()
    optimizer = make_optimizer(network, config)
    state = RunState(folder, identify_run(config, patches, init, minutes))
    step, seconds, best, steps = state.resume(network, optimizer, steps)
    model: nn.Module = nn.parallel.DistributedDataParallel(network) if world > 1 else network
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")

    began, saved, shown, psnr, recent, first_loss = time.monotonic(), time.monotonic(), 0.0, None, [], None
    start_step, measured_from, mine = step, 0.0, slice(rank * config.batch // world, (rank + 1) * config.batch // world)
    interrupted = False
    try:
        while step < steps:
            epoch, start = divmod(step, per_epoch)
            for lr, gt in patches.batches(config.batch, config.seed, epoch, start):
                for group in optimizer.param_groups:
                    group["lr"] = rate_at(config, step, steps, per_epoch)
                with autocast:
                    sr = model(lr[mine])  # (N, 1, p, p) to (N, 1, s·p, s·p)
                loss = compute_loss(sr, gt[mine], config.loss)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                step += 1

                now = time.monotonic()
                elapsed = seconds + now - began
                if minutes and config.schedule == "cosine" and state.open_end:
                    if step == start_step + 10:
                        measured_from = now  # the first steps compile and allocate
                    elif step == start_step + 60:
                        pace = (now - measured_from) / 50
                        steps = min(steps, step + int((minutes * 60 - elapsed) * 0.97 / pace))
                        state.open_end = False
                at_end = step >= steps or bool(minutes and elapsed > minutes * 60 and config.schedule != "cosine")
                due = step % (validate_every or per_epoch) == 0 or at_end
                keep = due or now - saved > save_minutes * 60
                if keep or step % 50 == 0:  # before anything is saved: a state with NaN is worth nothing
                    recent.append(check_loss(float(loss.detach()), first_loss, step, folder))
                    first_loss = first_loss or recent[0]
                if due and rank == 0:
                    if validate is not None:
                        network.eval()
                        psnr = validate(network)
                        network.train()
                    rate, mean = optimizer.param_groups[0]["lr"], sum(recent) / max(1, len(recent))
                    state.log(step, epoch, mean, rate, psnr, seconds + time.monotonic() - began)
                    recent = []
                    if psnr is not None and (best is None or psnr > best):
                        best = psnr
                        save_weights(folder / "best.safetensors", network, state.describe(step, psnr), force=True)
                if keep and rank == 0:
                    saved = time.monotonic()
                    state.save(network, optimizer, step, seconds + saved - began, best, steps)
                if watch is not None and rank == 0 and (now - shown > 1 or at_end):
                    shown, pace = now, (now - began) / max(1, step - start_step)
                    watch(Step(step, steps, epoch, float(loss.detach()), optimizer.param_groups[0]["lr"],
                               config.batch / pace, (steps - step) * pace, psnr, best))  # fmt: skip
                if at_end:
                    steps = step
                    break
    except KeyboardInterrupt:
        interrupted = True
    if rank == 0 and interrupted:
        state.save(network, optimizer, step, seconds + time.monotonic() - began, best, steps)
        return folder / "last.safetensors"
    if rank == 0:
        save_weights(folder / "final.safetensors", network, state.describe(step, psnr), force=True)
    return folder / "final.safetensors"


def check_loss(loss: float, first: float | None, step: int, folder: Path) -> float:
    """The loss, if the run may go on."""
    if math.isfinite(loss) and (first is None or loss < DIVERGED * first):
        return loss
    what = "is not finite" if not math.isfinite(loss) else f"grew to {loss:.3g} from {first:.3g}"
    good = folder / "best.safetensors"
    advice = f"the best weights so far are {good}" if good.is_file() else "no good weights were saved yet"
    raise TrainingError(f"step {step}: the loss {what}; lower --rate or raise --warmup; {advice}")


def copy_weights(network: IDN, path: Path) -> None:
    """Start from a file's weights; those of another scale lack only the transposed convolution."""
    source, _ = load_weights(path)
    weights = source.state_dict()
    if source.scale != network.scale:
        weights = {k: v for k, v in weights.items() if not k.startswith("upsample.")}
    network.load_state_dict(weights, strict=False)


def identify_run(config: Config, patches: Patches, init: Path | None, minutes: float) -> dict[str, Any]:
    """What must be equal for a run to be resumed."""
    start = hashlib.sha256(init.read_bytes()).hexdigest() if init else ""
    return {
        **asdict(config),
        "data": patches.digest,
        "patches": len(patches),
        "init": start,
        "minutes": minutes,
    }


class RunState:
    """What a run keeps on disk: the state to resume from, and the rows of metrics.csv.

    The state is one safetensors file: weights, Adam's moments, and JSON with the step. The order of patches follows
    from seed and epoch, so nothing else is random.
    """

    COLUMNS = ("step", "epoch", "loss", "rate", "psnr", "seconds")

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder, self.identity = folder, identity
        self.open_end = True  # the length of a cosine schedule under --minutes is still to be measured
        self.rows: list[dict[str, str]] = []

    def resume(
        self, network: IDN, optimizer: torch.optim.Optimizer, steps: int
    ) -> tuple[int, float, float | None, int]:
        """Step, seconds and best PSNR so far, and the length of the run; (0, 0, None, steps) for a new run."""
        path = self.folder / "last.safetensors"
        if not path.is_file():
            return 0, 0.0, None, steps
        try:
            with safe_open(path, framework="pt") as file:
                said = json.loads((file.metadata() or {})["run"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            differing = [k for k in self.identity if said["identity"].get(k) != self.identity[k]]
            if differing:
                name = differing[0]
                raise TrainingError(
                    f"{self.folder} holds a run with {name}={said['identity'].get(name)!r}, "
                    f"not {self.identity[name]!r}; name another folder with --run, or start it anew with --restart"
                )
            network.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("w.")})
            for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
                optimizer.state[parameter] = {
                    "step": tensors[f"a.{number}.step"].to(parameter.device),
                    "exp_avg": tensors[f"a.{number}.exp_avg"].to(parameter).contiguous(
                        memory_format=_layout(parameter)
                    ),
                    "exp_avg_sq": tensors[f"a.{number}.exp_avg_sq"].to(parameter).contiguous(
                        memory_format=_layout(parameter)
                    ),
                }  # fmt: skip
        except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
            if isinstance(error, TrainingError):
                raise
            reason = " ".join(str(error).split())[:160]
            raise TrainingError(f"{path}: not a state to resume from ({reason}); --restart begins anew") from None
        self.open_end = said["open_end"]
        metrics = self.folder / "metrics.csv"
        if metrics.is_file():
            with metrics.open(newline="", encoding="utf-8") as stream:
                self.rows = [row for row in csv.DictReader(stream) if int(row["step"]) <= said["step"]]
        return said["step"], said["seconds"], said["best"], said["steps"]

    def save(
        self, network: IDN, optimizer: torch.optim.Optimizer, step: int, seconds: float, best: float | None, steps: int
    ) -> None:
        """Write the state, whole or not at all."""
        tensors = {f"w.{name}": t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
        for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
            for name, value in optimizer.state[parameter].items():
                tensors[f"a.{number}.{name}"] = value.detach().cpu().contiguous()
        said = {"identity": self.identity, "step": step, "seconds": seconds, "best": best, "steps": steps}
        content = save(tensors, {"run": json.dumps({**said, "open_end": self.open_end})})
        with write_whole(self.folder / "last.safetensors", force=True) as temporary:
            temporary.write_bytes(content)

    def log(self, step: int, epoch: int, loss: float, rate: float, psnr: float | None, seconds: float) -> None:
        """Add a row to metrics.csv."""
        values = (step, epoch, f"{loss:.6g}", f"{rate:.6g}", "" if psnr is None else f"{psnr:.4f}", f"{seconds:.1f}")
        self.rows.append(dict(zip(self.COLUMNS, map(str, values), strict=True)))
        text = io.StringIO()
        writer = csv.DictWriter(text, self.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        with write_whole(self.folder / "metrics.csv", force=True) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")

    def describe(self, step: int, psnr: float | None) -> dict[str, Any]:
        """Metadata of weights saved by the run."""
        recipe = {k: v for k, v in self.identity.items() if k != "scale"}
        return {"recipe": recipe, "step": step, "validation_psnr": psnr, "torch": torch.__version__}


def _layout(parameter: Tensor) -> torch.memory_format:
    if parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def choose_device(name: str = "auto") -> torch.device:
    """The device to compute on: as named, else the first GPU, else the processor."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    with contextlib.suppress(RuntimeError):
        device = torch.device(name)
        if device.type != "cuda" or torch.cuda.is_available():
            return device
    raise ValueError(f"no device {name!r} here; one of auto, cpu" + (", cuda" if torch.cuda.is_available() else ""))
