"""From what a user asked for to a training that runs: patches, first weights, validation, records, signals."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from idn_data.atomic import hold
from idn_data.images.sets import TRAIN_SET
from idn_data.images.sources import BadImagesError
from idn_data.pictures import save_picture
from idn_data.scores.benchmark import evaluate
from idn_data.scores.colour import upscale_pair
from idn_data.scores.methods import BICUBIC
from idn_data.scores.sets import open_set
from idn_train.clock import Cadence
from idn_train.config import PAPER_PATCH, Config, make_config, name_loss
from idn_train.data import Data, PictureRequest, open_data, plan_data
from idn_train.device import choose_compiled, choose_device, choose_precision, choose_threads, explain_full_memory
from idn_train.heap import keep_freed_memory
from idn_train.learner import make_network, try_step
from idn_train.metrics import open_tensorboard
from idn_train.owncode import label_network
from idn_train.report.curves import draw_curve
from idn_train.runstate import TrainingError
from idn_train.setaside import open_set_aside
from idn_train.trainer import Hooks, train
from idn_train.upscale import make_method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from idn_data.patches.recipe import Stage
    from idn_data.scores.protocols import ProtocolName
    from idn_data.scores.sets import TestSet
    from idn_data.workers import Progress
    from idn_train.batches import Feed
    from idn_train.config import Preset
    from idn_train.ownnetwork import Network
    from idn_train.trainer import Status


@dataclass(frozen=True)
class Request:
    """A training as its user asked for it."""

    files: tuple[Path, ...] = ()  # of patches; none: those of scale and stage below the data root
    pictures: PictureRequest | None = None  # instead of files
    scale: int | None = None  # None: of the files
    stage: Stage | None = None  # None: of the files
    preset: Preset = "tensorflow"
    folder: Path | None = None  # of the run; None: runs/<stage>_x<scale>
    init: Path | None = None  # weights to start from; None: to fine-tune, those of the pretrained run
    minutes: float = 0.0  # 0: no limit
    device: str = "auto"
    precision: str = "auto"
    compiled: bool | None = None  # None: on a GPU; on a processor it was slower
    cadence: Cadence = field(default_factory=Cadence)
    validate_set: str | None = None  # or a folder; None: those set aside, else Set5, but nothing under "paper"
    tensorboard: bool = False
    restart: bool = False  # begin anew where a run stands
    given: Mapping[str, object] = field(default_factory=dict)  # fields of `Config`, over those of the preset


@dataclass(frozen=True)
class Job:
    """A training with all decided that its user left open."""

    request: Request
    config: Config
    data: Data
    folder: Path
    init: Path | None
    device: torch.device
    compiled: bool
    test_set: TestSet | None

    @property
    def title(self) -> str:
        """Network, scale and stage."""
        own = self.config.network != "idn"
        name = f"{label_network(self.config.network)}{' RGB' if self.config.channels == 3 else ''}" if own else "IDN"
        return f"{name} x{self.config.scale}, {self.config.stage}"


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    path: Path  # final.safetensors; or last.safetensors, to go on from
    signal: int | None  # that stopped it


def plan_job(request: Request, root: Path) -> Job:
    """Decide what the request leaves open; `root` is the data root.

    Raises
    ------
    ValueError, OSError
        No patches, weights or device as asked for; the message says what to do.
    """
    data = plan_data(request.files, choose_pictures(request), request.scale, request.stage, root)
    device = choose_device(request.device)
    given = {**request.given, "precision": choose_precision(device, request.precision)}
    config = make_config(data.scale, data.stage, request.preset, minutes=request.minutes, **given)
    folder = request.folder or Path("runs") / name_run(config, "paper" if request.preset == "paper" else data.stage)
    init = request.init or find_init(config, folder)
    compiled = choose_compiled(device, request.compiled)
    test_set = choose_validation(request, data, root)
    return Job(request, config, data, folder, init, device, compiled, test_set)


def choose_pictures(request: Request) -> PictureRequest | None:
    """The pictures of a request; under the preset "paper" the 291, and wide patches, unless it says otherwise."""
    if request.preset != "paper" or request.files:
        return request.pictures
    pictures = request.pictures or PictureRequest((Path(TRAIN_SET),))
    return pictures if pictures.lr_patch or pictures.grid else replace(pictures, lr_patch=PAPER_PATCH)


def choose_validation(request: Request, data: Data, root: Path) -> TestSet | None:
    """What a run is validated on. Not on a test set under the preset "paper": nothing is to be chosen by one."""
    if data.set_aside and request.validate_set is None:
        return open_set_aside(data.set_aside, data.pictures is not None and data.pictures.skip_bad)
    if request.validate_set is None and request.preset == "paper":
        return None
    with contextlib.suppress(FileNotFoundError):
        try:
            return open_set(request.validate_set or "Set5", root)
        except BadImagesError as error:  # --skip-bad is for pictures to train from: a score is of the whole set
            remedy = {"validate_set": "; mend them, or name another set or folder with --validate-set"}
            raise BadImagesError(error.lines, error.all_bad, remedy) from None
    return None


def run_job(
    job: Job,
    rank: int,
    say: Callable[[str], None],
    *,
    progress: Progress | None = None,
    watch: Callable[[Status], None] | None = None,
) -> Outcome:
    """Train as planned, until the end or a signal.

    Parameters
    ----------
    job : Job
    rank : int
        Of this process among those that train together, from `idn_train.device.join_processes`.
    say : callable(text)
        Told what is about to be trained, by the first process.
    progress : callable(what, done, total), optional
        Of the reading of patches or pictures.
    watch : callable(Status), optional
        About once a second.

    Returns
    -------
    Outcome

    Raises
    ------
    BusyError
        Another process trains in the folder.
    TrainingError
        As `idn_train.trainer.train`.
    MemoryError
        The device is too small for the batch.
    """
    request, config = job.request, job.config
    job.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if rank == 0:
            stack.enter_context(hold(job.folder))
        patches = open_data(
            job.data, job.device, config.seed, job.folder, channels=config.channels, progress=progress
        )  # fmt: skip
        title = f"{job.title}: PSNR on {job.test_set.name}" if job.test_set else job.title
        record = make_record(job.folder, title, job.test_set, config.scale, request.tensorboard, config.channels)
        stack.enter_context(explain_full_memory(job.device, config.batch))
        threads = cores = torch.get_num_threads()
        if job.device.type == "cpu":
            keep_freed_memory()
        if request.minutes and job.device.type == "cpu":  # without a clock, a run is to be the same on each day
            threads = stack.enter_context(limit_threads(config, patches))
        if rank == 0:
            say(describe_job(job, patches, threads, cores))
        stops = stack.enter_context(catch_stops())
        validate = make_validation(job.test_set, config.scale, config.channels) if job.test_set else None
        digest = job.test_set.digest if job.test_set else ""
        hooks = Hooks(validate, record, watch, lambda: bool(stops), digest)
        path = train(
            config, patches, job.folder, init=job.init, minutes=request.minutes, compiled=job.compiled,
            restart=request.restart, cadence=request.cadence, hooks=hooks,
        )  # fmt: skip
    if path.name == "final.safetensors":
        return Outcome(path, None)
    return Outcome(path, stops[0] if stops else signal.SIGTERM)  # of another process of torchrun's


def describe_job(job: Job, patches: Feed, threads: int, cores: int) -> str:
    """One line on a training that is about to begin.

    Parameters
    ----------
    job : Job
    patches : Feed
    threads, cores : int
        Threads that will compute, of those there are.

    Returns
    -------
    str
    """
    config = job.config
    chosen = [
        patches.describe(), f"{job.device}{' compiled' if job.compiled else ''}",
        config.precision, f"batch {config.batch}", name_loss(config), f"rate {config.rate:g} ({config.schedule})",
    ]  # fmt: skip
    if job.init:
        chosen.append(f"from {job.init}")
    if job.test_set:
        chosen.append(f"validated on {job.test_set.name}")
    elif job.request.preset == "paper" and job.request.validate_set is None:
        chosen.append("no validation; --set-aside or --validate-set for one")
    else:
        chosen.append(f"no validation: no {job.request.validate_set or 'Set5'} here")
    if threads < cores:
        chosen.append(f"{threads} of {cores} threads, quickest beside what else runs")
    return f"{job.title}: {', '.join(chosen)}; results in {job.folder}"


@contextlib.contextmanager
def catch_stops() -> Iterator[list[int]]:
    """The signals that ask this process to stop, as they come, for the time of the block.

    A step is finished first. A second time, a signal does what Python has it do: KeyboardInterrupt.
    """
    stops: list[int] = []

    def note(number: int, _: object) -> None:
        stops.append(number)
        signal.signal(number, signal.default_int_handler)

    with contextlib.ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.getsignal(number) or signal.SIG_DFL)
            signal.signal(number, note)
        yield stops


def name_run(config: Config, kind: str) -> str:
    """The folder of a run where none is named; that of a network of one's own begins with its name."""
    own = f"{config.network.rpartition(':')[2]}_" if config.network != "idn" else ""
    return f"{own}{kind}_x{config.scale}"


def find_init(config: Config, folder: Path) -> Path | None:
    """The weights a fine-tuning in `folder` starts from: those of the pretrained run of its scale, beside it."""
    if config.stage != "finetune":
        return None
    path = folder.parent / name_run(config, "pretrain") / "final.safetensors"
    if not path.is_file():
        raise TrainingError(
            f"fine-tuning starts from {path}, which is not there; pretrain it, or name weights by --init"
        )
    return path


def make_validation(test_set: TestSet, scale: int, channels: int = 1) -> Callable[[Network], float]:
    """PSNR in dB of a network on a test set: mean over its images, protocol `float`; `y` of a network for RGB."""
    return lambda network: (
        evaluate(make_method(network, "network"), test_set, scale, choose_protocols(channels))[0][0].psnr
    )


def choose_protocols(channels: int) -> list[ProtocolName]:
    """The protocol that a training is validated in."""
    return ["float"] if channels == 1 else ["y"]


@contextlib.contextmanager
def limit_threads(config: Config, patches: Feed) -> Iterator[int]:
    """As many threads as train quickest beside what else the machine computes now, for the time of the block."""
    before = torch.get_num_threads()
    lr, gt = patches.sample(min(16, config.batch))
    network = make_network(config)
    torch.set_num_threads(threads := choose_threads(lambda: try_step(network, config, lr, gt)))
    try:
        yield threads
    finally:
        torch.set_num_threads(before)


def make_record(
    folder: Path, title: str, test_set: TestSet | None, scale: int, tensorboard: bool = False, channels: int = 1
) -> Callable[[list[dict[str, str]], Network], None]:
    """Make the function that draws psnr.png after each validation, and writes for TensorBoard.

    Parameters
    ----------
    folder : path
        Of the run.
    title : str
        Of the picture.
    test_set : TestSet or None
        What the run is validated on: bicubic's PSNR is drawn beside, and TensorBoard shows its first image.
    scale : int
    tensorboard : bool
        Also write scalars and one SR image for TensorBoard.
    channels : {1, 3}
        Of the network.

    Returns
    -------
    callable(rows of metrics.csv, network)

    Raises
    ------
    ModuleNotFoundError
        TensorBoard is wanted and not installed.
    """
    levels = {}
    if test_set is not None:
        levels["bicubic"] = evaluate(BICUBIC, test_set, scale, choose_protocols(channels))[0][0].psnr
    add = open_tensorboard(folder / "tensorboard") if tensorboard else None

    def record(rows: list[dict[str, str]], network: Network) -> None:
        picture = draw_curve(rows, title, levels)
        if picture is not None:
            save_picture(picture, folder / "psnr.png", force=True)
        if add is not None:
            pair = test_set.list_pairs(scale)[0]() if test_set is not None else None
            sr = upscale_pair(make_method(network, "network"), pair) if pair else None
            add(rows[-1], pair.name if pair else "", sr)

    return record
