"""What a run keeps on disk: the state to resume from, its weights, and the rows of metrics.csv."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from idn_train.checkpoint import save_weights
from idn_train.config import Config
from idn_train.device import agree
from idn_train.metrics import read_metrics, write_rows
from idn_train.optimizer import Muon
from idn_train.ownnetwork import OwnNetwork
from idn_train.weightfile import MAX_BYTES, check_facts, check_tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from idn_train.batches import Feed
    from idn_train.learner import Learner
    from idn_train.ownnetwork import Network


_LOG = logging.getLogger(__name__)  # without a handler, warnings go to standard error
_NUMBER = (int, float)
FACTS = {
    "step": (int,), "steps": (int,), "seconds": _NUMBER, "best": (*_NUMBER, type(None)), "open_end": (bool,),
    "validated_on": (str,),
}  # fmt: skip
RESULTS = ("last.safetensors", "best.safetensors", "final.safetensors", "metrics.csv", "psnr.png")


ENDLESS = 10**12  # steps, of a run whose minutes alone end it, until its length is measured
DEFAULTS = {f.name: f.default for f in fields(Config) if f.default is not MISSING}


class TrainingError(ValueError):
    """A run that cannot go on; the message says what happened and what to do."""


class RunState:
    """The files of a run, and where it stands.

    The state is one safetensors file: weights, their moving average, the optimizers' moments, and JSON with the step.
    The order of patches follows from seed and epoch, so nothing else is random.

    `step` of `steps` are done, `most` were asked for, `seconds` were spent by earlier sessions, `best` is a PSNR in dB,
    or None; `validated_on` is the digest of the pictures that it was measured on, "" where none is known.
    `open_end`: the length of a cosine schedule under ``--minutes`` is not settled yet. Where minutes alone were given,
    `most` is `ENDLESS`, as is `steps` until it is measured.

    Raises
    ------
    TrainingError
        `init` is a file that the run would replace; no length is given.
    """

    def __init__(
        self, folder: Path, config: Config, patches: Feed, init: Path | None, minutes: float, learner: Learner
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if init and any((folder / name).is_file() and init.samefile(folder / name) for name in RESULTS):
            raise TrainingError(f"{init} would be replaced by this very run; name another folder with --out")
        self.folder, self.kept, self.rank = folder, learner.kept, learner.rank
        self.network, self.averaged = learner.network, learner.averaged
        self.moving = [
            (optimizer, parameter)
            for optimizer in learner.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        ]
        self.identity: dict[str, Any] = {  # what must be equal for a run to be resumed
            **asdict(config),
            **name_network(self.network),
            "data": patches.digest,
            "patches": len(patches),
            "init": hashlib.sha256(init.read_bytes()).hexdigest() if init else "",
            "minutes": minutes,
        }
        if patches.left_out:  # set aside, to choose by
            self.identity["left_out"] = list(patches.left_out)
        if config.schedule == "steps":  # its rates do not depend on the end, so a run may be prolonged
            for name in ("epochs", "steps", "minutes"):
                del self.identity[name]
        elif not config.epochs:  # minutes decide
            del self.identity["epochs"]
        self.step, self.seconds, self.open_end = 0, 0.0, True
        self.best: float | None = None
        self.validated_on = ""
        if not (config.steps or config.epochs or minutes):
            raise TrainingError(
                "epochs=0 are as many as the minutes allow, and they are 0; give minutes, epochs or steps"
            )
        self.steps = self.most = config.steps or config.epochs * (len(patches) // config.batch) or ENDLESS
        self.rows: list[dict[str, str]] = []

    def begin(self, device: torch.device, restart: bool, validated_on: str) -> None:
        """Go on with the run in the folder; or begin anew: all that this takes is open, so an older run may go.

        Parameters
        ----------
        device : device
            On which several processes agree.
        restart : bool
            Delete the files of an older run.
        validated_on : str
            As in `choose_by`.

        Raises
        ------
        TrainingError
            As `resume`.
        """
        for name in RESULTS if restart and self.rank == 0 else ():
            (self.folder / name).unlink(missing_ok=True)
        agree(0, device)  # the others look for a state only when the first has deleted it
        self.resume()
        self.choose_by(validated_on)

    def resume(self) -> None:
        """Go on from ``last.safetensors``, if it is there."""
        path = self.folder / "last.safetensors"
        if not path.is_file():
            return
        try:
            arrays, said = read_tensors(path, self._count_most())
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            for name, value in self.identity.items():
                stands = said["identity"].get(name, DEFAULTS.get(name))  # older states lack what Config learned since
                if stands != value and name == "network_sha256":
                    raise TrainingError(
                        f"{self.folder} holds a run of {self.identity['network']} as it was before its file changed; "
                        "undo the change, name another folder with --out, or start it anew with --restart"
                    )
                if stands != value:
                    other = repr(stands)[:80]
                    raise TrainingError(
                        f"{self.folder} holds a run with {name}={other}, not {value!r}; "
                        "name another folder with --out, or start it anew with --restart"
                    )
            said = {"validated_on": "", **said}  # older states lack it
            self._check(arrays, said)
            self.network.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("w.")})
            if self.averaged is not None:
                self.averaged.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("m.")})
            for number, (optimizer, parameter) in enumerate(self.moving):
                moments = {k.rsplit(".", 1)[1]: v for k, v in tensors.items() if k.startswith(f"a.{number}.")}
                optimizer.state[parameter] = {
                    name: value.to(parameter.device) if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
                    for name, value in moments.items()  # empty_like: the moments need the parameter's memory format
                }
            self.step, self.seconds = said["step"], said["seconds"]
            self.best, self.open_end, self.validated_on = said["best"], said["open_end"], said["validated_on"]
            if "steps" in self.identity:
                self.steps = said["steps"]
            self.rows = [row for row in read_metrics(self.folder / "metrics.csv") if int(row["step"]) <= self.step]
        except TrainingError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise TrainingError(f"{path}: not a state to resume from ({reason}); --restart begins anew") from None

    def _list_tensors(self) -> dict[str, Tensor]:
        """Tensors of the shapes and types that a state of this run holds, by their names there."""
        wanted = {f"w.{name}": t for name, t in self.network.state_dict().items()}
        if self.averaged is not None:
            wanted |= {f"m.{name}": t for name, t in self.averaged.state_dict().items()}
        for number, (optimizer, parameter) in enumerate(self.moving):
            wanted |= {f"a.{number}.{name}": t for name, t in _list_moments(optimizer, parameter).items()}
        return wanted

    def _count_most(self) -> int:
        """Bytes that a file of this run has at most: those of its tensors, and room for what it says of itself."""
        return MAX_BYTES + sum(tensor.nbytes for tensor in self._list_tensors().values())

    def _check(self, arrays: dict[str, NDArray[Any]], said: dict[str, Any]) -> None:
        """Raise ValueError unless these are the arrays and facts of this run's state: PyTorch would take much else."""
        kinds = {name: (t.shape, str(t.dtype).removeprefix("torch.")) for name, t in self._list_tensors().items()}
        check_tensors(arrays, kinds, getattr(self.network, "label", "IDN"))
        if bad := [n for n, array in arrays.items() if n.endswith((".exp_avg_sq", ".step")) and (array < 0).any()]:
            raise ValueError(f"tensor {bad[0]} holds values below 0")
        check_facts(said, FACTS)

    def save(self, seconds: float) -> None:
        """Write the state, whole or not at all."""
        tensors: dict[str, Tensor] = {f"w.{name}": t for name, t in self.network.state_dict().items()}
        if self.averaged is not None:
            tensors |= {f"m.{name}": t for name, t in self.averaged.state_dict().items()}
        for number, (optimizer, parameter) in enumerate(self.moving):
            tensors |= {f"a.{number}.{name}": t for name, t in _list_moments(optimizer, parameter).items()}
        said = {"identity": self.identity, "step": self.step, "steps": self.steps, "seconds": seconds,
                "best": self.best, "open_end": self.open_end, "validated_on": self.validated_on}  # fmt: skip
        arrays = {name: t.detach().cpu().contiguous().numpy() for name, t in tensors.items()}
        write_tensors(self.folder / "last.safetensors", arrays, said, force=True)

    def is_final(self) -> bool:
        """Whether this step's weights stand as the final ones: written again, they would differ in what they say."""
        with contextlib.suppress(OSError, ValueError):
            return bool(read_tensors(self.folder / "final.safetensors", self._count_most())[1].get("step") == self.step)
        return False

    def last_psnr(self) -> float | None:
        """PSNR in dB at the last validation, on the pictures that `best` was measured on."""
        if self.best is None or not self.rows or not self.rows[-1]["psnr"]:
            return None
        return float(self.rows[-1]["psnr"])

    def choose_by(self, digest: str) -> None:
        """From now on validate on the pictures of this digest, "" for none. A `best` of others is no measure then."""
        if self.step >= self.steps or digest in ("", self.validated_on):
            return
        if self.validated_on and self.best is not None:
            self.best = None
            if self.rank == 0:
                _LOG.warning(
                    "%s: validated on other pictures than before; best.safetensors is chosen anew, and PSNR after step "
                    "%d of metrics.csv is of these",
                    self.folder, self.step,
                )  # fmt: skip
        self.validated_on = digest

    def log(self, epoch: int, loss: float, rate: float, psnr: float | None, seconds: float) -> None:
        """Add a row to metrics.csv, and keep the weights as ``best.safetensors`` if they are.

        Parameters
        ----------
        epoch : int
        loss : float
            Mean over those that were looked at since the last row.
        rate : float
            Of Adam.
        psnr : float or None
            dB; None: there is no validation.
        seconds : float
            Of the run so far.

        Raises
        ------
        OSError
            The disk is full; what was there stays.
        """
        shown = {"loss": f"{loss:.6g}", "rate": f"{rate:.6g}", "psnr": "" if psnr is None else f"{psnr:.4f}"}
        self.rows.append({"step": str(self.step), "epoch": str(epoch), **shown, "seconds": f"{seconds:.1f}"})
        write_rows(self.folder / "metrics.csv", self.rows)
        if psnr is not None and (self.best is None or psnr > self.best):
            self.best = psnr
            self.save_weights("best.safetensors", psnr, seconds)

    def save_weights(self, name: str, psnr: float | None, seconds: float) -> None:
        """Write the weights of the run under a name, with what made them."""
        recipe = {k: v for k, v in self.identity.items() if k not in ("scale", "network", "network_sha256", "channels")}
        facts = {"recipe": recipe, "step": self.step, "minutes": round(seconds / 60, 1), "validation_psnr": psnr,
                 "torch": torch.__version__}  # fmt: skip
        save_weights(self.folder / name, self.kept, facts, force=True)


def _list_moments(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """What an optimizer keeps of a parameter; zeros, as it begins, of one that had no gradient in any step yet."""
    names = ("momentum",) if isinstance(optimizer, Muon) else ("exp_avg", "exp_avg_sq", "step")
    fresh = {name: torch.zeros(()) if name == "step" else torch.zeros_like(parameter) for name in names}
    return {**fresh, **optimizer.state.get(parameter, {})}


def name_network(network: Network) -> dict[str, str]:
    """What tells the network of a run from others: its name, and the SHA-256 of its file where it is one's own."""
    if isinstance(network, OwnNetwork):
        return {"network": network.label, "network_sha256": network.digest}
    return {"network": "idn"}
