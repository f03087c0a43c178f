"""The command line: options, progress, printing, exit codes. The work is done in idn_data and idn_train."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idn_data.access import explain_refusal
from idn_data.terminal import (
    ProgressBar,
    TrainingLine,
    check_apart,
    check_report,
    load_kernels_aloud,
    print_any_text,
    print_result,
    print_then,
    tell,
    write_json,
    write_output,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# Only click is imported here, so that help is quick; each command imports what it needs.

STAGES, SCALES, STORAGES = ("pretrain", "finetune"), ("2", "3", "4"), ("float32", "uint8")
ALL_SCALES = ("2", "3", "4", "5", "6", "7", "8")  # IDN has the first three, a network of one's own any
BOUNDARIES = ("symmetric", "replicate")
PROTOCOLS = ("float", "uint8", "y", "rgb")
SETS = ("Set5", "Set14", "B100", "Urban100")


class NamedPath(click.Path):
    """A path, which has a name: an empty one, as of a variable that is not set, would be the folder one works in."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty name; give a path, or . for this folder", param, ctx)
        return super().convert(value, param, ctx)


class Commands(click.Group):
    """Turns the library's errors into one line and exit code 1; usage errors are click's, exit code 2."""

    def main(self, *args: Any, **extra: Any) -> Any:
        print_any_text()
        return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("IDN_DEBUG"):
                raise
            for line in getattr(error, "lines", ()):
                tell(f"  {line}")
            tell(f"idn: {describe_error(error)}{self._find_remedy(ctx, error)}")
            ctx.exit(1)

    def _find_remedy(self, ctx: click.Context, error: Exception) -> str:
        """What this command offers against bad images or a full memory, of which the library knows the facts alone."""
        command = self.get_command(ctx, ctx.invoked_subcommand or "")
        options = {option.name for option in command.params} if command else set()
        if isinstance(error, MemoryError):  # a network's says itself what helps
            return " or --workers 1" if "workers" in options and "not enough memory" not in str(error) else ""
        for name, text in getattr(error, "remedies", {}).items():
            if name in options:
                return str(text)
        if not hasattr(error, "all_bad"):
            return ""
        if "skip_bad" in options and not error.all_bad:
            return "; nothing was written; mend them, or leave them out with --skip-bad"
        return "; nothing was written; mend them, or take other images"


def describe_error(error: Exception) -> str:
    """One line for the user."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        if not error.filename:
            return error.strerror
        known = error.errno is None or error.strerror != os.strerror(error.errno)  # more than the system's own words
        return f"{error.filename}: {error.strerror if known else explain_refusal(error, error.filename)}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        general = "not enough memory; close other programs, or use smaller images"
        return text if isinstance(error, MemoryError) and "not enough memory" in text else general
    if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "safetensors", "google"):
        return f"networks need {error.name}, which is not installed; pip install 'idn[train]'"
    if isinstance(error, (ValueError, OSError, IndexError, ImportError)):
        return text
    return f"internal error, please report it ({type(error).__name__}: {text}); IDN_DEBUG=1 shows where"


def read_device(_: click.Context, __: click.Parameter, value: str) -> str:
    """The name of a device as torch has them; whether it is here is for `idn_train.device` to say."""
    from re import fullmatch

    if not fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,3})?", value):
        raise click.BadParameter(f"{value!r} is no device; one of auto, cpu, cuda, cuda:1 …, mps")
    return value


data_root_option = click.option(
    "--data-root", type=NamedPath(), help="Data root; else the variable IDN_DATA, else ./data."
)
workers_option = click.option("--workers", type=click.IntRange(min=1), help="Threads.  [default: one per core]")
device_option = click.option(
    "--device", default="auto", show_default=True, callback=read_device, metavar="NAME",
    help="Of networks: auto (a GPU where there is one), cpu, cuda, cuda:1 …, mps.",
)  # fmt: skip
force_option = click.option("--force", is_flag=True, help="Replace existing files.")
skip_bad_option = click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress; print only what matters.")
json_option = click.option(
    "--json", "json_file", metavar="FILE", callback=check_report, help="Write the result as JSON; - is standard output."
)

boundary_option = click.option(
    "--boundary",
    type=click.Choice(("symmetric", "replicate")),
    default="symmetric",
    show_default=True,
    help="Beyond the edge in imresize: symmetric as newer MATLABs, replicate as R2013b, which IDN's authors used.",
)


def check_networks(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """Usage error unless each is FILE.py:NAME or package.module:NAME."""
    for spec in () if value is None else (value,) if isinstance(value, str) else value:
        from idn_train.owncode import NetworkError, parse_spec

        try:
            parse_spec(spec)
        except NetworkError as error:
            raise click.BadParameter(str(error)) from None
    return value


def check_png(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    """Usage error for a picture that is written as PNG under the suffix of another format."""
    if value and value.suffix.lower() not in ("", ".png"):
        raise click.BadParameter(f"{value}: the picture is written as PNG; name a .png")
    return value


networks_option = click.option(
    "--network", "networks", multiple=True, callback=check_networks, metavar="FILE.py:NAME",
    help="Repeatable: the networks that weights are of, where not IDN. Their files are run.",
)  # fmt: skip


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="idn", prog_name="idn")
def main() -> None:
    """Super-resolution research without MATLAB.

    \b
    Exact imresize, IDN patch files, test sets and scores. A first session:
      idn validate                               are the pixels MATLAB's?
      idn fetch 291 Set5                         the authors' images
      idn evaluate bicubic --set Set5            the published baseline
      idn make-train --scale 4 --stage pretrain  LR/GT patches of the 291 images
      idn train --preset express --minutes 15    IDN trained on them
      idn demo                                   all of it, on photographs that come along

    Exit codes: 0 done, 1 failed, 2 wrong usage; a training stopped by a signal N: 128 + N.
    """


@main.command("fetch", short_help="Fetch the authors' image sets.")
@click.argument("sets", nargs=-1, type=click.Choice(("291", *SETS)), metavar="[SET]...")
@click.option("--mirror", metavar="URL", help="Another server with the repository's paths below URL.")
@click.option("--from", "local", type=NamedPath(), metavar="DIR|ZIP", help="Take the files from there.")
@click.option("--timeout", type=click.FloatRange(1, 3600), default=20, show_default=True, help="Seconds of silence.")
@click.option("--workers", type=click.IntRange(1, 32), default=4, show_default=True, help="Files at a time.")
@click.option("--dry-run", is_flag=True, help="Say what is there and what is lacking, and fetch nothing.")
@data_root_option
@json_option
@force_option
@quiet_option
def fetch_command(
    sets: tuple[str, ...], mirror: str | None, local: Path | None, timeout: float, workers: int, dry_run: bool,
    data_root: Path | None, json_file: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Fetch image sets from the authors' repository, each file verified; without a SET, say what is there.

    SET is 291, Set5, Set14, B100 or Urban100. Files that are there and right are kept, so that the same command goes on
    where it was stopped.

    \b
    Examples:
      idn fetch
      idn fetch 291 Set5 Set14 B100 Urban100
      idn fetch Set5 --from IDN-Caffe.zip
    """
    from collections import Counter
    from contextlib import nullcontext
    from dataclasses import asdict

    from idn_data.atomic import format_bytes
    from idn_data.images import download, fetch
    from idn_data.images.sets import find_data_root, locate_set
    from idn_data.scores.tables import format_survey

    if mirror and local:
        raise click.UsageError("--mirror and --from exclude each other")
    if not sets and (mirror or local or force):
        raise click.UsageError(f"name the sets: {', '.join(fetch.ORIGINS)}")
    try:
        base = download.check_mirror(mirror) if mirror else download.REPOSITORY
    except download.FetchError as error:
        raise click.BadParameter(str(error), param_hint="--mirror") from None
    root, chosen = find_data_root(data_root), [name for name in fetch.ORIGINS if name in sets or not sets]
    if not sets or dry_run:
        surveys = [fetch.survey_set(name, root) for name in chosen]
        print_result(f"{format_survey(surveys)}\n\ndata root: {root}", json_file, [asdict(s) for s in surveys])
        return
    if not quiet:
        for name in chosen:
            click.echo(f"{name}: {fetch.ORIGINS[name]}", err=json_file == "-")
        click.echo(fetch.TERMS, err=json_file == "-")
    files = fetch.choose_files(chosen)
    source = download.open_local(local) if local else nullcontext(download.Web(base, timeout))
    with source as read, ProgressBar(quiet) as progress:
        outcomes = fetch.fetch_files(files, root, read, force=force, workers=workers, progress=progress)
    rows = [{**asdict(o.file), "file": str(o.path), "state": o.state, "why": o.why} for o in outcomes]
    lines = []
    for name in chosen:
        states = Counter(o.state for o in outcomes if o.file.set == name)
        size = sum(o.file.bytes for o in outcomes if o.file.set == name and o.state in ("fetched", "replaced"))
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        lines.append(f"{locate_set(name, root)}: {counts}, {format_bytes(size)} written")
    print_result("\n".join(lines), json_file, rows)
    fetch.check_outcomes(outcomes, str(local or base))


@main.command("make-train", short_help="Make the patches of a training.")
@click.option("--scale", type=click.Choice(SCALES), required=True, help="Factor between LR and GT.")
@click.option("--stage", type=click.Choice(STAGES), default="pretrain", show_default=True, help="Sets the patch size.")
@click.option("--images", type=NamedPath(), help="Source images.  [default: <data root>/train_data/291]")
@click.option("--out", type=NamedPath(), help="[default: the scripts' name in <data root>/train_data]")
@click.option(
    "--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, show_default=True, help="Of the patches' order."
)
@click.option(
    "--storage",
    type=click.Choice(STORAGES),
    default="float32",
    show_default=True,
    help="uint8: GT as 8 bits, a quarter of its bytes, without loss.",
)
@click.option(
    "--shards", type=click.IntRange(min=1), default=1, show_default=True, help="Files to deal the images into."
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Make the shards on a Dask cluster: tcp://host:8786, a scheduler file, or local: --workers processes here.",
)
@click.option("--lr-patch", type=click.IntRange(1, 1024), help="Side of an LR patch.  [default: the stage's]")
@click.option(
    "--save-augmented",
    type=NamedPath(),
    metavar="DIR",
    help="Also save the 40 BMPs of each image, as data_aug.m does.",
)
@click.option(
    "--offset",
    type=(click.IntRange(0), click.IntRange(0)),
    metavar="Y X",
    default=(0, 0),
    help="Rows and columns to cut off each image first: below the scale, they give other LR pixels.",
)
@boundary_option
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=NamedPath(),
    help="Repeatable: weights whose answers, mean over 8 orientations, are to be GT.",
)
@click.option(
    "--memory",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    help="MiB of a file made at a time; a larger one needs several passes over the images.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing.")
@skip_bad_option
@workers_option
@data_root_option
@json_option
@force_option
@quiet_option
def make_train_command(
    scale: str, stage: Any, images: Path | None, out: Path | None, seed: int, storage: Any, shards: int,
    dask: str | None, lr_patch: int | None, save_augmented: Path | None, offset: tuple[int, int],
    boundary: Any, teachers: tuple[Path, ...], memory: int, dry_run: bool, skip_bad: bool, workers: int | None,
    data_root: Path | None, json_file: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Make the LR/GT patches of IDN's training as one HDF5 file.

    Each image gives 40 variants (4 rotations, 2 flips, downscales 1.0 to 0.6), cut into a grid of patches without
    overlap and shuffled once. Same images and seed, same bytes.

    \b
    Examples:
      idn make-train --scale 4 --stage finetune
      idn make-train --scale 2 --images DIV2K --shards 8 --storage uint8 --dry-run
      idn make-train --scale 2 --images DIV2K --shards 100 --dask tcp://host:8786
      idn make-train --scale 4 --offset 1 2 --boundary replicate --out offset12.h5
      idn make-train --scale 4 --teacher best.safetensors --storage uint8 --out taught.h5
    """
    from dataclasses import asdict
    from functools import partial

    from idn_data.atomic import check_target
    from idn_data.images.sets import find_data_root, find_set
    from idn_data.patches import augmented, trainset
    from idn_data.patches.recipe import Recipe
    from idn_data.patches.trainplan import plan_train
    from idn_data.scores.tables import format_estimate, format_made

    if save_augmented and any(offset):
        raise click.UsageError("--save-augmented saves whole images; give it without --offset")
    make: Any = trainset.make_train
    if dask is not None:
        make = partial(find_cluster(dask, shards, teachers), address=dask)
    load_kernels_aloud(quiet)
    root = find_data_root(data_root)
    recipe = Recipe(int(scale), stage, lr_patch, offset, boundary)
    images = images or find_set("291", root)
    out = out or root / "train_data" / recipe.file_name
    if shards == 1 and not dry_run:  # before all the images are read
        check_target(out, force)
    if save_augmented:
        augmented.check_names(images, save_augmented, skip_bad)
    with ProgressBar(quiet) as progress:
        made = plan_train(
            images, out, recipe, seed=seed, storage=storage, shards=shards, skip_bad=skip_bad, workers=workers,
            memory=memory << 20, teacher=open_teacher(teachers, int(scale), boundary), progress=progress,
        )  # fmt: skip
        estimate = made.estimate(workers)
        if dry_run:
            progress.close()
            print_result(format_estimate(estimate), json_file, asdict(estimate))
            return
        left = trainset.choose_shards(made, force)
        if save_augmented:
            augmented.save_augmented(
                made.sources, save_augmented, boundary=boundary, force=force, workers=workers, progress=progress
            )
        make(made, force=force, left=left, workers=workers, progress=progress)
    say_left_out(made.skipped)
    kept = made.shards - len(left)
    print_result(format_made(made, kept), json_file, {**asdict(estimate), "kept": kept})


def say_left_out(lines: Sequence[str]) -> None:
    """Name the images that were left out, each with the reason."""
    for line in lines:
        tell(f"left out: {line}")


def find_cluster(address: str, shards: int, teachers: tuple[Path, ...]) -> Any:
    """The way to make a training set on a Dask cluster, which must answer: before all the images are read."""
    from idn_data.cluster.scheduler import check_cluster
    from idn_data.patches.cluster import make_train_on_cluster

    if teachers:
        raise click.UsageError("--teacher does not go with --dask; make the shards here, without it")
    if shards == 1:
        raise click.UsageError("--dask deals out shards; say with --shards how many, several for each worker")
    check_cluster(address)
    return make_train_on_cluster


def open_teacher(weights: tuple[Path, ...], scale: int, boundary: Any) -> Any:
    """The teacher that these networks make together, its bicubic with that border; None without any."""
    if not weights:
        return None
    from idn_train.device import choose_device
    from idn_train.upscale import make_teacher

    return make_teacher(weights, scale, choose_device(), boundary)


@main.command("make-lr", short_help="Make LR pictures as MATLAB does.")
@click.argument("hr", nargs=-1, required=True, type=NamedPath(), metavar="HR...")
@click.option("--scale", "scales", type=float, multiple=True, required=True, help="Repeatable; whole or not: 4, 2.5.")
@click.option("--out", type=NamedPath(), required=True, help="Folder for everything.")
@click.option(
    "--layout", type=click.Choice(("flat", "div2k", "rcan")), default="flat", show_default=True, help="Names, folders."
)
@click.option(
    "--format", "suffix", type=click.Choice(("png", "bmp", "tif")), default="png", show_default=True, help="No loss."
)
@click.option(
    "--degradation",
    type=click.Choice(("bicubic", "blur")),
    default="bicubic",
    show_default=True,
    help="imresize; or imfilter by a Gaussian, then every s-th pixel.",
)
@click.option("--method", metavar="NAME", help="Kernel of imresize: bicubic, bilinear, lanczos3, ...")
@click.option("--no-antialias", is_flag=True, help="imresize with 'Antialiasing' false.")
@click.option(
    "--boundary",
    type=click.Choice(("symmetric", "replicate", "circular")),
    help="Beyond the edge: symmetric as newer MATLABs, replicate as older.  [default: symmetric; of blur: replicate]",
)
@click.option("--through", type=click.Choice(("uint8", "double")), help="double: im2double first.  [default: uint8]")
@click.option("--channel", type=click.Choice(("rgb", "y")), help="y: LR of Y alone.  [default: rgb]")
@click.option("--sigma", type=float, help="Of blur's Gaussian, in HR pixels.  [default: 1.6]")
@click.option("--kernel", type=int, help="Side of blur's Gaussian, in HR pixels.  [default: 7]")
@click.option("--drop-alpha", is_flag=True, help="Take pictures with transparency, without it.")
@click.option("--dry-run", is_flag=True, help="Say what would be made, and write nothing.")
@click.option(
    "--dask", metavar="ADDRESS",
    help="Make them on a cluster: tcp://host:8786, a scheduler file, or local for --workers processes.",
)  # fmt: skip
@skip_bad_option
@workers_option
@data_root_option
@json_option
@force_option
@quiet_option
def make_lr_command(
    hr: tuple[Path, ...], scales: tuple[float, ...], out: Path, layout: str, suffix: str, degradation: str,
    method: str | None, no_antialias: bool, boundary: str | None, through: str | None, channel: str | None,
    sigma: float | None, kernel: int | None, drop_alpha: bool, dry_run: bool, dask: str | None, skip_bad: bool,
    workers: int | None, data_root: Path | None, json_file: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Make the LR pictures of HR pictures and folders, in every value as MATLAB makes them.

    HR may also be the name of a known set, such as Set5, where no folder of this name is here.
    HR is cut at the bottom and the right to a multiple of a whole scale; with another scale it is not cut, and LR has
    ceil(n / scale) pixels. Pictures that stand already are kept if they are what would be made, so that the same
    command goes on where it was stopped. Transparency is refused unless --drop-alpha is given. 16 bits stay 16 bits.

    \b
    Examples:
      idn make-lr DIV2K/HR --scale 2 --scale 4 --out DIV2K/LR --layout div2k
      idn make-lr Set5 Set14 --scale 4 --out benchmark --layout rcan --boundary replicate
      idn make-lr Set5 --scale 3 --out blurred --degradation blur --sigma 1.6 --kernel 7
      idn make-lr a.png b.png --scale 2.5 --out lr --through double --dry-run
      idn make-lr DIV2K/HR --scale 4 --out DIV2K/LR --dask tcp://host:8786
    """
    from idn_data.atomic import format_bytes
    from idn_data.lr.make import run_plan
    from idn_data.lr.plan import plan_lr
    from idn_data.lr.reduction import choose_reduction
    from idn_data.memory import keep_freed_memory

    antialias = False if no_antialias else None
    try:
        reductions = [
            choose_reduction(
                scale, degradation, method=method, antialias=antialias, boundary=boundary, through=through,
                channel=channel, sigma=sigma, kernel=kernel,
            )
            for scale in scales
        ]  # fmt: skip
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if dask is not None:
        from idn_data.cluster.scheduler import check_cluster

        check_cluster(dask)  # before all the pictures are looked at
    with ProgressBar(quiet) as progress:
        plan = plan_lr(
            find_known(hr, data_root), out, reductions, layout=layout, format=suffix, drop_alpha=drop_alpha,
            skip_bad=skip_bad, workers=workers, progress=progress,
        )  # fmt: skip
        if dry_run:
            progress.close()
            there = sum(path.exists() for path in plan.files)
            lines = [f"{out}: {len(plan.files)} files of {len(plan.jobs)} pictures, {there} of them there already"]
            lines += [f"  {o.path}  of {j.source}" for j in plan.jobs[:3] for o in j.outputs]
            facts = {"files": [str(p) for p in plan.files], "skipped": plan.skipped}
            print_result("\n".join(lines), json_file, facts)
            return
        load_kernels_aloud(quiet, "idn_data.images.kernels")
        keep_freed_memory()
        made = run_plan(plan, force=force, workers=workers, address=dask, progress=progress)
    for line in made.skipped:
        tell(f"left out: {line}")
    size = sum(path.stat().st_size for path in made.files)
    line = f"{out}: {made.made} files made, {made.kept} kept, {format_bytes(size)}"
    print_result(line, json_file, {"files": [str(p) for p in made.files], "made": made.made, "kept": made.kept,
                                   "skipped": made.skipped, "bytes": size})  # fmt: skip


def find_known(paths: Sequence[Path], data_root: Path | None) -> list[Path]:
    """Paths as given; the folder of a known set where it is named and no such path is there."""
    from idn_data.images.sets import TEST_SETS, TRAIN_SET, find_data_root, find_set

    known = (TRAIN_SET, *TEST_SETS)
    root = find_data_root(data_root)
    return [find_set(str(p), root) if str(p) in known and not p.exists() else p for p in paths]


@main.command("identify", short_help="Find out what made LR pictures.")
@click.argument("lr", type=NamedPath())
@click.argument("hr", type=NamedPath())
@click.option("--scale", type=click.FloatRange(1, 16, min_open=True), help="Factor.  [default: by the sizes]")
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Pairs to compare, of all folders hold.",
)
@click.option("--table", type=click.IntRange(min=0), default=5, show_default=True, help="Candidates to list.")
@data_root_option
@json_option
@quiet_option
def identify_command(
    lr: Path, hr: Path, scale: float | None, pictures: int, table: int, data_root: Path | None, json_file: str | None,
    quiet: bool,
) -> None:  # fmt: skip
    """Say what made the LR pictures of a folder, and by which command they are made again.

    LR and HR are two pictures or two folders, whose pictures are paired by name. Tried are MATLAB's imresize (both
    borders, through uint8 and double, each kernel), Gaussian blurs, Pillow, OpenCV, torch and scikit-image where they
    are installed; HR cut otherwise, a shift, exchanged channels, a JPEG. Nothing is named unless all values agree, or
    all but one in a thousand, by 1.

    \b
    Examples:
      idn identify lr Set5
      idn identify baby_LRBI_x4.png baby.png --json verdict.json
    """
    from idn_data.scores.tables import format_candidates
    from idn_train.makers import identify

    load_kernels_aloud(quiet)
    with ProgressBar(quiet) as progress:
        found = identify(lr, find_known([hr], data_root)[0], scale=scale, pictures=pictures, progress=progress)
    command = found.verdict.command
    lines = [found.verdict.text, *([f"made again by: {command}"] if command else [])]
    lines += [format_candidates(found.candidates[:table])] if table else []
    lines += [f"compared: {', '.join(found.pictures)}", *(f"not tried: {line}" for line in found.not_tried)]
    print_result("\n".join(lines), json_file, found.to_dict())


@main.command("inspect", short_help="Describe, draw or verify a patch file.")
@click.argument("file", type=NamedPath())
@click.option(
    "--sheet", type=NamedPath(), metavar="PNG", callback=check_png,
    help="Draw a contact sheet of patch pairs.",
)  # fmt: skip
@click.option("--verify", is_flag=True, help="Check every patch by the file's checksums.")
@click.option("--against-images", is_flag=True, help="Make every patch again from the images and compare.")
@click.option(
    "--images",
    type=NamedPath(),
    help="Source images; implies --against-images.  [default: <data root>/train_data/291]",
)
@workers_option
@data_root_option
@json_option
@force_option
@quiet_option
def inspect_command(
    file: Path, sheet: Path | None, verify: bool, against_images: bool, images: Path | None, workers: int | None,
    data_root: Path | None, json_file: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Say what a patch file holds; draw it; verify it.

    Reads files of idn and of the MATLAB scripts; only idn's own say enough of themselves to be verified.

    \b
    Examples:
      idn inspect data/train_data/idn_train_x4.h5 --sheet patches.png
      idn inspect data/train_data/idn_train_x4.h5 --verify
      idn inspect data/train_data/idn_train_x4.h5 --against-images
    """
    from idn_data.atomic import check_target
    from idn_data.images.sets import find_data_root, find_set
    from idn_data.patches.patchfile import PatchFile, PatchFileError
    from idn_data.patches.verify import verify_patches
    from idn_data.pictures import draw_patches, save_picture

    against_images = against_images or images is not None
    if sheet:
        check_target(sheet, force)  # before the whole file is read
    with PatchFile(file) as patches, ProgressBar(quiet) as progress:
        facts = patches.describe()
        if sheet:
            save_picture(draw_patches(patches), sheet, force)
            facts["sheet"] = str(sheet)
        damage, checked = {}, verify and (patches.checked or not against_images)
        if checked:
            damage = patches.find_damage(workers, progress)
            facts["damaged_rows"] = {name: rows.tolist() for name, rows in damage.items()}
        if against_images:
            source = images or find_set("291", find_data_root(data_root))
            facts["differing_patches"] = verify_patches(patches, source, workers=workers, progress=progress)
        progress.close()
    shown = {**facts["attributes"], **facts}  # type: ignore[dict-item]  # it is a dict
    lines = [f"{name:<18}{value}" for name, value in shown.items() if name not in ("attributes", "damaged_rows")]
    print_then(None if json_file == "-" or quiet else "\n".join(lines), lambda: write_json(json_file, facts))
    if any(len(rows) for rows in damage.values()):
        raise PatchFileError(patches.describe_damage(damage))
    differ = facts.get("differing_patches")
    if differ:
        raise ValueError(
            f"{file}: {differ} of {facts['patches']} patches differ from what the images yield; make it again"
        )
    if checked:
        click.echo(f"all {facts['patches']:,} patches and the attributes are as written", err=json_file == "-")
    if against_images:
        click.echo(f"all {facts['patches']:,} patches are what the images yield", err=json_file == "-")


@main.command("make-test", short_help="Make test sets as .mat files.")
@click.argument("sets", nargs=-1, required=True, metavar="SET...")
@click.option(
    "--scale", "scales", type=click.Choice((*SCALES, "8")), multiple=True, help="Repeatable.  [default: 2, 3 and 4]"
)
@click.option(
    "--out",
    type=NamedPath(),
    help="[default: <data root>/test_data/mat/<SET>; several sets: a folder each below it]",
)
@boundary_option
@skip_bad_option
@workers_option
@data_root_option
@force_option
@quiet_option
def make_test_command(
    sets: tuple[str, ...], scales: tuple[str, ...], out: Path | None, boundary: Any, skip_bad: bool,
    workers: int | None, data_root: Path | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Make test sets as .mat files: GT and LR of Y, and Cb, Cr of colour images.

    SET is Set5, Set14, B100, Urban100, or the path of a folder of images.

    \b
    Examples:
      idn make-test Set5
      idn make-test Set14 B100 --scale 4 --out /tmp/mat
      idn make-test Set5 --scale 8 --boundary replicate --out /tmp/older
    """
    from idn_data.images.sets import find_data_root, find_set
    from idn_data.images.sources import check_outputs
    from idn_data.scores.maketest import make_test

    root = find_data_root(data_root)
    folders = [find_set(name, root) for name in sets]

    def name_target(folder: Path) -> Path:
        below = root / "test_data" / "mat" if out is None else out
        return below / Path(os.path.normpath(folder.absolute())).name if out is None or len(sets) > 1 else below

    check_outputs(folders, name_target)
    load_kernels_aloud(quiet)
    for folder in folders:
        target = name_target(folder)
        with ProgressBar(quiet) as progress:
            count, skipped = make_test(
                folder, target, [int(s) for s in scales or SCALES], boundary=boundary, force=force, skip_bad=skip_bad,
                workers=workers, progress=progress,
            )  # fmt: skip
        say_left_out(skipped)
        click.echo(f"{target}: {count} files")


@main.command("evaluate", short_help="Score methods beside the published ones.")
@click.argument("methods", nargs=-1, required=True, metavar="METHOD...")
@click.option(
    "--set", "sets", multiple=True, help="Repeatable: a test set or a folder.  [default: those that are there]"
)
@click.option(
    "--scale",
    "scales",
    type=click.Choice(ALL_SCALES),
    multiple=True,
    help="Repeatable.  [default: 2, 3 and 4; a network's own]",
)
@click.option(
    "--protocol",
    "protocols",
    type=click.Choice(PROTOCOLS),
    multiple=True,
    help="Repeatable.  [default: float and uint8; with a network for RGB y and rgb]",
)
@click.option(
    "--boundary",
    type=click.Choice(BOUNDARIES),
    help="Border of the imresize that makes LR and of a network's bicubic.  [default: the protocol's]",
)
@click.option("--lr", type=NamedPath(), metavar="DIR", help="LR pictures to take, instead of made ones.")
@click.option("--self-ensemble", is_flag=True, help="Networks: mean of 8 orientations.")
@click.option(
    "--save-images",
    type=NamedPath(),
    metavar="DIR",
    help="Also save the SR images, in colour. Their border is the protocols'; of unlike ones, symmetric.",
)
@click.option(
    "--csv", "csv_file", metavar="FILE", callback=check_report, help="Write the scores as CSV; - is standard output."
)
@click.option(
    "--markdown", "markdown_file", metavar="FILE", callback=check_report,
    help="Write the published and these side by side.",
)  # fmt: skip
@click.option("--per-image", is_flag=True, help="Also print the score of each image.")
@device_option
@networks_option
@workers_option
@data_root_option
@json_option
@force_option
@quiet_option
def evaluate_command(
    methods: tuple[str, ...], sets: tuple[str, ...], scales: tuple[str, ...], protocols: tuple[Any, ...],
    boundary: Any, lr: Path | None, self_ensemble: bool, save_images: Path | None, csv_file: str | None,
    markdown_file: str | None, per_image: bool, device: str, networks: tuple[str, ...], workers: int | None,
    data_root: Path | None, json_file: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Score METHODs on the test sets, beside the published numbers.

    A METHOD is bicubic; idn, the networks that come along; or a .safetensors of weights.

    \b
    Four protocols; as many pixels are shaved off each side as the scale:
      float  Y in doubles, MATLAB's psnr and ssim (IDN-TensorFlow's tables)
      uint8  Y rounded to 8 bits, SSIM of valid windows (the authors' script)
      y      Y of the 8-bit colour pictures, not rounded (RCAN, EDSR, BasicSR)
      rgb    all channels of these, 6 pixels more shaved (EDSR on DIV2K)

    \b
    Examples:
      idn evaluate bicubic --set Set5 --scale 2
      idn evaluate bicubic idn --set Set5 --set Set14 --scale 4 --json scores.json
      idn evaluate runs/pretrain_x4/best.safetensors --set Set5
      idn evaluate idn --set Set5 --scale 4 --lr LR/x4 --protocol y
      idn evaluate runs/ESPCN_pretrain_x4/best.safetensors --network espcn.py:ESPCN
    """
    check_apart(csv=csv_file, markdown=markdown_file, json=json_file)
    from idn_data.images.sets import find_data_root, find_present_sets
    from idn_data.scores.benchmark import evaluate_sets
    from idn_data.scores.colour import choose_protocols
    from idn_data.scores.sets import attach_lr, open_set
    from idn_data.scores.tables import (
        format_comparison,
        format_csv,
        format_image_scores,
        format_protocols,
        format_scores,
    )  # fmt: skip
    from idn_train.methods import WrongScaleError, open_methods

    for name in methods:
        if name not in ("bicubic", "idn") and not name.endswith(".safetensors"):
            raise click.BadParameter(
                f"{name!r} is no method; bicubic, idn, or a .safetensors of weights", param_hint="METHOD"
            )
    if lr and (len(sets) != 1 or len(set(scales)) != 1):
        raise click.UsageError("--lr takes the pictures of one --set at one --scale; give one of each")
    try:
        opened = open_methods(methods, [int(s) for s in scales], self_ensemble, device, networks)
    except WrongScaleError as error:
        raise click.BadParameter(str(error), param_hint="--scale") from None
    load_kernels_aloud(quiet)
    root = find_data_root(data_root)
    with ProgressBar(quiet) as progress:
        test_sets = [open_set(name, root, workers) for name in sets or find_present_sets(root)]
        if lr:
            test_sets = [attach_lr(test_set, lr, int(scales[0])) for test_set in test_sets]
        scores, images = evaluate_sets(
            opened, test_sets, protocols or choose_protocols([m for m, _ in opened]), boundary=boundary,
            save_to=save_images, force=force, workers=workers, progress=progress,
        )  # fmt: skip
    table = [score.row() for score in scores]
    text = [format_scores(scores) if set(methods) == {"bicubic"} else format_comparison(scores)]
    text += ["\n" + format_image_scores(images)] if per_image else []
    text += [f"\n{format_protocols(scores)}\n\nSHA-256 of the images:", *(f"  {s.describe()}" for s in test_sets)]
    print_then(
        None if "-" in (csv_file, markdown_file, json_file) else "\n".join(text),
        lambda: write_output(csv_file, format_csv(table)),
        lambda: write_output(markdown_file, format_comparison(scores, markdown=True) + "\n"),
        lambda: write_json(json_file, table),
    )


@main.command("score", short_help="Score anybody's SR pictures.")
@click.argument("sr", nargs=-1, required=True, type=NamedPath(), metavar="SR...")
@click.option(
    "--gt", multiple=True, required=True, metavar="SET|PATH",
    help="Repeatable: the GT: a known set, a folder or a file.",
)  # fmt: skip
@click.option("--scale", type=click.FloatRange(0, min_open=True), required=True, help="Of the SR, such as 4.")
@click.option(
    "--protocol", "protocols", type=click.Choice(("float", "uint8", "y", "rgb")), multiple=True,
    default=("y",), show_default=True, help="Repeatable.",
)  # fmt: skip
@click.option("--border", type=click.IntRange(0), help="Pixels shaved off each side.  [default: the protocol's]")
@click.option("--method", "methods", multiple=True, help="Names of the methods, in order.  [default: the folders']")
@click.option("--crop-gt", is_flag=True, help="Cut GT that is larger by less than the scale.")
@click.option("--partial", is_flag=True, help="Leave out pictures without a partner.")
@click.option("--published", is_flag=True, help="Show published figures too, beside a whole known set.")
@click.option("--per-image", is_flag=True, help="Also print the score of each picture.")
@click.option("--dry-run", is_flag=True, help="Show which pictures pair, and compute nothing.")
@click.option(
    "--csv", "csv_file", metavar="FILE", callback=check_report, help="Write all scores as CSV; - is standard output."
)
@click.option("--markdown", "markdown_file", metavar="FILE", callback=check_report, help="Write the table as Markdown.")
@workers_option
@data_root_option
@json_option
@quiet_option
def score_command(
    sr: tuple[Path, ...], gt: tuple[str, ...], scale: float, protocols: tuple[Any, ...], border: int | None,
    methods: tuple[str, ...], crop_gt: bool, partial: bool, published: bool, per_image: bool, dry_run: bool,
    csv_file: str | None, markdown_file: str | None, workers: int | None, data_root: Path | None,
    json_file: str | None, quiet: bool,
) -> None:  # fmt: skip
    """Score SR pictures from anywhere against their GT. Each folder of SR is a method, and a column.

    Pictures pair by name. First equal names are tried, then names without the scale and words such as GT, HR, LR and
    SR at their end (baby_SR and baby_HR_x4), then without the method's name, then without a last word that all share.

    \b
    Protocols:
      y      Y of 8-bit colour, not rounded; border = scale (RCAN, EDSR, SAN, BasicSR)
      rgb    all channels; border = scale + 6 (EDSR on DIV2K)
      float  8-bit Y as doubles, MATLAB's psnr and ssim (IDN-TensorFlow)
      uint8  8-bit Y, SSIM of valid windows (IDN-Caffe)
    A grey picture is taken as it is; beside a colour one, as colour with equal channels.

    \b
    Examples:
      idn score results/RCAN --gt Set5 --scale 4
      idn score results/RCAN results/EDSR --gt Set5 --scale 4 --protocol y --protocol rgb --per-image
      idn score sr/ --gt DIV2K_valid_HR --scale 2 --protocol rgb --dry-run
    """
    check_apart(csv=csv_file, markdown=markdown_file, json=json_file)
    from idn_data.images.sets import TEST_SETS, find_data_root, find_set
    from idn_data.scores import scoring
    from idn_data.scores.tables import format_method_rows, format_methods, format_pairs

    root = find_data_root(data_root)
    truth = [find_set(name, root) if name in TEST_SETS or not Path(name).exists() else Path(name) for name in gt]
    plan = scoring.plan_scores(sr, truth, scale, methods=methods, crop_gt=crop_gt, partial=partial)
    if not quiet:
        for note in plan.notes:
            tell(note)
    if dry_run:
        print_result(format_pairs(plan.pairings), json_file, [pairing.row() for pairing in plan.pairings])
        return
    with ProgressBar(quiet) as progress:
        scores = scoring.score_plan(plan, protocols, border=border, workers=workers, progress=progress)
    rows = scores + (scoring.find_published_rows(scores) if published else [])
    if published and len(rows) == len(scores) and not quiet:
        tell("nothing published stands beside: that is of a whole known set, at its scales, protocols and borders")
    print_then(
        None if "-" in (csv_file, markdown_file, json_file) else format_methods(rows, per_image),
        lambda: write_json(json_file, [score.row() for score in scores]),
        lambda: write_output(csv_file, format_method_rows(scores)),
        lambda: write_output(markdown_file, format_methods(rows, per_image, markdown=True) + "\n"),
    )


@main.command("validate", short_help="Compare with MATLAB's values.")
@click.option(
    "--reference",
    "references",
    multiple=True,
    type=NamedPath(),
    help="Repeatable: a .mat, a .json, or a folder of pictures that MATLAB made beside their inputs.",
)
@data_root_option
@json_option
@quiet_option
def validate_command(references: tuple[Path, ...], data_root: Path | None, json_file: str | None, quiet: bool) -> None:
    """Compare MATLAB's functions here with MATLAB's own values, number by number.

    imresize, the conversions of colour and class, imfilter, fspecial, psnr, ssim. Checks the references that come
    along (MATLAB's own values, exact arithmetic), any that you bring, and the bicubic baseline if Set5 is there, as its
    authors ship it.

    Integers must be identical, doubles within 1e-13 and singles within 2^-23 of the largest, PSNR within 1e-10 dB,
    SSIM within 1e-12. The script fixtures/make_reference.m makes a .mat with your own MATLAB; what comes out says
    which border that MATLAB has.

    \b
    Examples:
      idn validate
      idn validate --reference reference.mat --reference pictures/
    """
    from dataclasses import asdict

    from idn_data.images.sets import find_data_root
    from idn_data.scores import parity
    from idn_data.scores.references import read_references, read_shipped

    load_kernels_aloud(quiet)
    given = [reference for path in references for reference in read_references(path)]
    verdicts = []
    to_stdout = json_file == "-"
    with ProgressBar(quiet or len(given) < 50) as progress:
        shipped = list(read_shipped())
        for done, reference in enumerate([*shipped, *given], 1):
            verdicts.append(parity.compare(reference))
            progress("comparing", done, len(shipped) + len(given))
    baseline, left_out = parity.find_baseline(find_data_root(data_root))
    verdicts += baseline
    say_left_out(left_out)
    failed = [v for v in verdicts if not v.passed]
    lines: list[str] = []
    if not to_stdout:
        for function, group in parity.group_by_function(failed if quiet else verdicts).items():
            lines += [f"{function}: {parity.count_origins(group)}", *map(parity.format_verdict, group)]
    lines += [*parity.describe_borders(verdicts[len(shipped) :]), parity.summarize(verdicts)]
    print_then("\n".join(lines), lambda: write_json(json_file, [asdict(v) for v in verdicts]), err=to_stdout)
    if failed:
        raise ValueError(
            f"{len(failed)} reference(s) disagree, {failed[0].name} first; nothing that idn makes can be trusted"
        )


def read_interval(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, float]:
    """``500`` is steps, ``2min`` minutes; (steps, minutes), one of them 0."""
    from re import fullmatch

    found = fullmatch(r"([1-9][0-9]{0,8}|[0-9]{1,6}[.][0-9]{1,6})(min)?", value) if value else None
    if value and (found is None or ("." in value and not found[2]) or float(found[1]) == 0):
        raise click.BadParameter(f"{value!r} is neither steps, such as 500, nor minutes, such as 2min")
    if found is None:
        return 0, 0.0
    return (0, float(found[1])) if found[2] else (int(found[1]), 0.0)


@main.command("train", short_help="Train a network, or go on with a training.")
@click.option(
    "--scale",
    type=click.Choice(ALL_SCALES),
    help="Factor between LR and SR.  [default: of the one patch file]",
)
@click.option("--stage", type=click.Choice(STAGES), help="Pre-training or fine-tuning.  [default: pretrain]")
@click.option(
    "--preset",
    type=click.Choice(("tensorflow", "express", "paper")),
    default="tensorflow",
    show_default=True,
    help="Hyper-parameters: those of IDN-TensorFlow; good weights soon; the best in hours (the bundled weights).",
)
@click.option(
    "--data",
    "files",
    multiple=True,
    type=NamedPath(),
    help="Repeatable: patch files.  [default: of scale and stage]",
)
@click.option(
    "--images",
    "folders",
    multiple=True,
    type=NamedPath(),
    metavar="DIR",
    help="Repeatable: train from these pictures, without patch files; needs --scale.",
)
@click.option("--grid", is_flag=True, help="The patches of make-train, instead of random positions in --images.")
@click.option(
    "--lr-patch", type=click.IntRange(1, 1024), help="Side of an LR patch of --images.  [default: the stage's]"
)
@click.option("--boundary", type=click.Choice(BOUNDARIES), help="Of --images, as in make-train.  [default: symmetric]")
@click.option("--set-aside", is_flag=True, help="Leave out every tenth picture of --images, and validate on these.")
@click.option("--out", "folder", type=NamedPath(), help="Where all results go.  [default: a folder in runs]")
@click.option("--init", type=NamedPath(), help="Weights to start from.  [finetune: the pretrained run's]")
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Passes over the patches.  [default: pretrain 100, finetune 600]"
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps in all, instead of epochs.  [paper 16000]")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True),
    help="Stop after so long; a cosine without --epochs and --steps has this length.",
)  # fmt: skip
@click.option("--batch", type=click.IntRange(min=1), help="Patches a step.  [default: 64; paper 256]")
@click.option(
    "--loss",
    type=click.Choice(("l1", "l2", "l1+ssim", "log-l1", "log-l2", "log-l1+ssim")),
    help="log-…: as scores, in dB of each patch.  [default: pretrain l2, finetune and express l1]",
)
@click.option(
    "--last-loss", type=click.Choice(("l1", "l2", "l1+ssim", "log-l1", "log-l2", "log-l1+ssim")),
    help="Of the last quarter of a cosine's steps.  [default: --loss; paper log-l2]",
)  # fmt: skip
@click.option(
    "--rate", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="[default: 1e-4; express 1e-3, 5e-4]"
)
@click.option("--muon-rate", type=click.FloatRange(0, 1, max_open=True), help="0: Adam on all.  [express 6e-3, 3e-3]")
@click.option(
    "--clip", type=click.FloatRange(min=0), help="Longest gradient, by its norm; 0: any.  [default: 0; paper 1]"
)
@click.option("--schedule", type=click.Choice(("steps", "cosine")), help="steps: a tenth every --decay-epochs.")
@click.option(
    "--floor",
    type=click.FloatRange(0, 1, max_open=True),
    help="Part of the rates a cosine ends at.  [default: 0; paper 0.2]",
)
@click.option("--decay-epochs", type=click.IntRange(min=0), help="Of --schedule steps.  [default: finetune 250]")
@click.option(
    "--warmup", type=click.IntRange(min=0),
    help="Steps until the full rate, at most a tenth of all.  [default: 0; express 100; paper 500]",
)  # fmt: skip
@click.option(
    "--weight-decay",
    type=click.FloatRange(min=0),
    help="λ of λ/2·‖w‖²; with Muon, rate·λ of w off each step.  [default: 1e-4; express 0.3, paper 0.1; no Muon: 0]",
)
@click.option(
    "--reconstruction-std", type=click.FloatRange(min=0),
    help="σ of the last layer's first weights, unless --init has them; 0: He's rule.  [default: 0; express 0.001]",
)  # fmt: skip
@click.option(
    "--average",
    type=click.FloatRange(0, 1, max_open=True),
    help="Decay of the weights' mean.  [express 0.998; paper 0.999]",
)
@click.option(
    "--precision",
    type=click.Choice(("auto", "float32", "bf16")),
    default="auto",
    show_default=True,
    help="auto: bf16 where the device has it.",
)
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=None,
    help="torch.compile, and a GPU's step as one graph.  [default: on a GPU]",
)
@device_option
@click.option("--seed", type=click.IntRange(0, (1 << 32) - 1), help="[default: 0]")
@click.option(
    "--validate-set", help="A test set or a folder; none if it is not there.  [default: set aside; Set5; paper: none]"
)
@click.option(
    "--validate-every", callback=read_interval, metavar="N|Nmin", help="Steps or minutes.  [default: an epoch]"
)
@click.option("--tensorboard", is_flag=True, help="Also write scalars and an image for TensorBoard.")
@click.option("--restart", is_flag=True, help="Begin anew where a run stands already.")
@skip_bad_option
@click.option(
    "--network", callback=check_networks, metavar="FILE.py:NAME",
    help="A network of your own, or package.module:NAME: called with the scale. Its file is run.  [default: IDN]",
)  # fmt: skip
@click.option("--channels", type=click.Choice(("1", "3")), help="Of your own network: Y or RGB.  [default: 1]")
@data_root_option
@quiet_option
def train_command(
    folder: Path | None, files: tuple[Path, ...], preset: Any, device: str, validate_set: str | None, precision: str,
    compiled: bool | None, validate_every: tuple[int, float], tensorboard: bool, restart: bool, init: Path | None,
    minutes: float | None, data_root: Path | None, quiet: bool, scale: str | None, stage: Any,
    folders: tuple[Path, ...], grid: bool, lr_patch: int | None, boundary: Any, set_aside: bool, skip_bad: bool,
    channels: str | None,
    **given: Any,
) -> None:  # fmt: skip
    """Train IDN, or a network of your own.

    A run that was stopped or killed goes on where it was when started again with the same command, without --restart.

    On several GPUs: torchrun --nproc-per-node=K -m idn_train, with the same options.

    \b
    Examples:
      idn train --scale 4 --stage pretrain
      idn train --scale 4 --preset express --minutes 10
      idn train --scale 4 --images 291 --images DIV2K
      idn train --scale 4 --preset paper
      idn train --scale 4 --preset express --minutes 10 --network espcn.py:ESPCN
    """
    given["channels"] = int(channels) if channels else None
    if channels == "3" and not given["network"]:
        raise click.UsageError("IDN takes Y alone; --channels 3 is for a network of your own: give --network")
    if preset == "paper" and not (folders or files):
        folders = (Path("291"),)
    if channels == "3" and (grid or not folders):
        raise click.UsageError(
            "patch files and --grid hold Y alone; with --channels 3 give --images DIR without --grid"
        )
    if given["network"] and given["reconstruction_std"] is not None:
        raise click.UsageError("--reconstruction-std is of IDN's last layer; a --network draws its own first weights")
    from idn_data.images.sets import find_data_root
    from idn_train import session
    from idn_train.clock import Cadence
    from idn_train.device import join_processes

    pictures = request_pictures(folders, files, scale, (grid, lr_patch, boundary, set_aside, skip_bad), quiet)
    request = session.Request(
        files, pictures, int(scale) if scale else None, stage, preset, folder, init, minutes or 0.0, device, precision,
        compiled, Cadence(*validate_every), validate_set, tensorboard, restart, given,
    )  # fmt: skip
    job, line = session.plan_job(request, find_data_root(data_root)), TrainingLine(quiet)
    with join_processes(job.device) as rank, ProgressBar(quiet or rank > 0) as progress:

        def say(text: str) -> None:
            progress.close()
            click.echo(text)

        outcome = session.run_job(job, rank, say, progress=progress, watch=line)
        line.close()
    if rank == 0:
        again = f"the same command{' without --restart' if restart else ''}"
        try:
            click.echo(f"stopped; {again} goes on from {outcome.path}" if outcome.signal else outcome.path)
        except BrokenPipeError:
            if outcome.signal is None:  # Ctrl-C ends the reader as well
                raise
    if outcome.signal is not None:
        sys.exit(128 + outcome.signal)


def request_pictures(
    folders: tuple[Path, ...], files: tuple[Path, ...], scale: str | None, how: tuple[Any, ...], quiet: bool
) -> Any:
    """The pictures to train from, or None; UsageError for options that do not fit together."""
    if not folders:
        names = ("--grid", "--lr-patch", "--boundary", "--set-aside", "--skip-bad")
        if lost := [name for name, given in zip(names, how, strict=True) if given]:
            raise click.UsageError(f"{lost[0]} says how patches are cut from pictures; give it with --images DIR")
        return None
    if files:
        raise click.UsageError("--images trains from pictures, --data from patch files; give one of both")
    if scale is None:
        raise click.UsageError("--images needs --scale, such as 4")
    from idn_train.data import PictureRequest

    grid, lr_patch, boundary, set_aside, skip_bad = how
    load_kernels_aloud(quiet, "idn_data.patches.windowkernels")
    return PictureRequest(folders, grid, boundary or "symmetric", lr_patch, set_aside, skip_bad)


@main.command("import-caffe", short_help="Convert the authors' .caffemodel.")
@click.argument("file", type=NamedPath())
@click.option("--out", type=NamedPath(), required=True, help="The .safetensors to write.")
@click.option("--scale", type=click.Choice(SCALES), help="Of the network.  [default: as the file says]")
@force_option
def import_caffe_command(file: Path, out: Path, scale: str | None, force: bool) -> None:
    """Convert the authors' FILE.caffemodel to weights that idn reads.

    \b
    Example:
      idn import-caffe IDN_x4.caffemodel --out idn_original_x4.safetensors
    """
    from hashlib import sha256

    from idn_train.checkpoint import load_caffemodel, save_weights

    network = load_caffemodel(file, int(scale) if scale else None)
    metadata = {"name": "IDN (Original)", "source": file.name, "source_sha256": sha256(file.read_bytes()).hexdigest()}
    save_weights(out, network, metadata, force=force)
    click.echo(f"{out}: IDN x{network.scale}, {sum(p.numel() for p in network.parameters()):,} parameters")


@main.command("average", short_help="Average the weights of several trainings.")
@click.argument("files", nargs=-1, required=True, type=NamedPath())
@click.option("--out", type=NamedPath(), required=True, help="The .safetensors to write.")
@networks_option
@force_option
def average_command(files: tuple[Path, ...], out: Path, networks: tuple[str, ...], force: bool) -> None:
    """Write the mean of the weights in FILES: one network, often better than each; idn evaluate tells.

    They must come from one network: fine-tunings of it that differ in seed, loss or length, or that network itself.

    \b
    Example:
      idn average runs/a/final.safetensors runs/b/final.safetensors --out mean_x4.safetensors
    """
    from idn_train.checkpoint import average_weights, save_weights

    if len(files) < 2:
        raise click.UsageError(f"a mean takes two weight files or more; got only {files[0]}; name another")
    network, metadata = average_weights(files, networks)
    if networks and not hasattr(network, "label"):
        raise click.UsageError(f"{files[0]} is IDN, not {networks[0]}; leave out --network")
    save_weights(out, network, metadata, force=force)
    click.echo(f"{out}: {getattr(network, 'label', 'IDN')} x{network.scale}, the mean of {len(files)}")


def check_scale(weights: str, own: int, wanted: str | None) -> None:
    """Usage error where --scale names another scale than that of the weights."""
    if wanted and int(wanted) != own:
        raise click.BadParameter(f"{weights} is made for scale {own}, not {wanted}", param_hint="--scale")


@main.command("export-onnx", short_help="Write a network for other engines.")
@click.argument("weights")
@click.option("--scale", type=click.Choice(ALL_SCALES), help="For idn, the networks that come along.")
@click.option("--out", type=NamedPath(), required=True, help="The .onnx to write.")
@click.option(
    "--boundary", type=click.Choice(BOUNDARIES), default="symmetric", show_default=True,
    help="Beyond the edge, for the bicubic: as newer MATLABs, or replicate as older.",
)  # fmt: skip
@click.option("--rgb", is_flag=True, help="Take and give colour: Y by the network, Cb and Cr by bicubic.")
@click.option("--half", is_flag=True, help="The network in float16: half the size, and quicker on GPUs.")
@click.option("--uint8", is_flag=True, help="Take and give 8 bits, rounded and clipped as MATLAB does.")
@networks_option
@force_option
def export_onnx_command(
    weights: str, scale: str | None, out: Path, boundary: Any, rgb: bool, half: bool, uint8: bool,
    networks: tuple[str, ...], force: bool,
) -> None:  # fmt: skip
    """Write WEIGHTS (idn, or a .safetensors) as an ONNX model for other engines.

    Input lr (N, 1, h, w), Y in [0, 1], of any size; with --rgb (N, 3, h, w), RGB. Output sr (N, 1 or 3, s·h, s·w).
    Both are float32, not clipped; float16 with --half; 0…255 with --uint8.

    A network of your own (--network) has the channels that it was trained with, in float32.

    \b
    Examples:
      idn export-onnx idn --scale 2 --out idn_x2.onnx
      idn export-onnx idn --scale 4 --rgb --half --out idn_x4_rgb.onnx
    """
    from idn_train.onnxfile import export_onnx
    from idn_train.weightfile import find_weights, read_weights

    if networks:
        replicated = ("--boundary replicate", boundary == "replicate")
        wanted = (("--rgb", rgb), ("--half", half), ("--uint8", uint8), replicated)
        if lost := [name for name, given in wanted if given]:
            raise click.UsageError(f"{lost[0]} is for IDN; a network of your own is written as it is")
        from idn_train.checkpoint import load_own_weights
        from idn_train.ownonnx import export_own_onnx

        own = load_own_weights(weights, networks)
        check_scale(weights, own.scale, scale)
        export_own_onnx(own, out, force=force)
        click.echo(f"{out}: {own.label} x{own.scale}, {'RGB' if own.channels == 3 else 'Y'} in float32, any input size")
        return
    network = read_weights(find_weights(weights, int(scale) if scale else None))
    check_scale(weights, network.scale, scale)
    export_onnx(
        network.tensors, network.scale, out, boundary=boundary, rgb=rgb, half=half, uint8=uint8, force=force
    )  # fmt: skip
    precision = "float16" if half else "float32"
    kind = f"{'RGB' if rgb else 'Y'} in {'8 bits' if uint8 else precision}, network in {precision}"
    click.echo(f"{out}: IDN x{network.scale}, {kind}, any input size")


def check_format(suffix: str | None, out: Path | None) -> str:
    """The suffix of results, .png unless one is given; usage error where --out names one file of another format."""
    from idn_train.photos import FORMATS

    named = FORMATS.get(out.suffix.lower()) if out and not out.is_dir() else None
    if suffix and named not in (None, FORMATS[suffix]):
        raise click.UsageError(f"--format {suffix} is not what --out {out} says; leave out one of them")
    return suffix or ".png"


@main.command("upscale", short_help="Enlarge photos.")
@click.argument("photos", nargs=-1, required=True, type=NamedPath())
@click.option(
    "--scale", type=click.Choice(ALL_SCALES), help="How many times as high and wide.  [default: the weights']"
)
@click.option("--weights", default="idn", show_default=True, help="idn, or a .safetensors, which sets the scale.")
@click.option(
    "--out",
    type=NamedPath(),
    help="Folder for the results; of one photo, a file; - is standard output.  [default: beside each photo]",
)
@click.option(
    "--format", "suffix", type=click.Choice((".png", ".jpg", ".tif", ".webp")),
    help="Of the results, unless --out names a file.  [default: .png]",
)  # fmt: skip
@click.option(
    "--boundary",
    type=click.Choice(("symmetric", "replicate")),
    default="symmetric",
    show_default=True,
    help="How bicubic goes on at the border: as today's MATLAB, or as R2013b's.",
)
@click.option("--tile", type=click.IntRange(min=16), help="LR pixels along a tile's side.  [default: 384]")
@click.option("--self-ensemble", is_flag=True, help="Mean of 8 orientations: better, 8 times slower.")
@networks_option
@device_option
@force_option
@quiet_option
def upscale_command(
    photos: tuple[Path, ...], scale: str | None, weights: str, out: Path | None, suffix: str | None, boundary: Any,
    tile: int | None, self_ensemble: bool, networks: tuple[str, ...], device: str, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Enlarge photos, or all those of folders. Colour, alpha, 16 bits of grey, EXIF and colour profile are kept.

    A photo that cannot be used is reported, and the others are enlarged all the same. The results of an earlier run are
    left out where their photo is there. With - for the photo, standard input is enlarged to standard output.

    \b
    Examples:
      idn upscale holiday.jpg --scale 4
      idn upscale photos/ --out large --weights runs/finetune_x2/best.safetensors
      idn upscale - --scale 2 < small.png > large.png
    """
    if weights == "idn" and scale is None:
        raise click.UsageError("which scale? give --scale 2, 3 or 4, or --weights with a file of weights")
    if len(photos) > 1 and Path("-") in (*photos, out):
        raise click.UsageError("- stands for one picture; give it without other photos")
    suffix = check_format(suffix, out)
    from idn_train.checkpoint import load_weights
    from idn_train.device import choose_device
    from idn_train.outputs import plan_outputs
    from idn_train.streams import stand_in
    from idn_train.upscale import TILE, upscale_photo
    from idn_train.weightfile import find_weights

    network, _ = load_weights(find_weights(weights, int(scale) if scale else None), networks)
    check_scale(weights, network.scale, scale)
    if networks and not hasattr(network, "label"):
        raise click.UsageError(f"{weights} is IDN, not {networks[0]}; leave out --network, or name its --weights")
    network.to(choose_device(device)).boundary = boundary
    failed = 0
    given, taken = (getattr(stream, "buffer", None) for stream in (sys.stdin, sys.stdout))  # None: closed
    with stand_in(photos, out, suffix, given, taken) as (sources, place, piped):
        plan, earlier = plan_outputs(sources, place, network.scale, suffix, force=force)
        if earlier:
            tell(f"left out: {len(earlier)} results of an earlier run, {earlier[0]} first")
        load_kernels_aloud(quiet)
        for source, target in plan:
            try:
                with ProgressBar(quiet) as progress:
                    upscale_photo(
                        network, source, target, tile=tile or TILE, self_ensemble=self_ensemble, force=force,
                        progress=progress,
                    )  # fmt: skip
                if not piped:
                    click.echo(target)
            except (ValueError, MemoryError) as error:  # of this photo; where nothing can be written, nothing goes on
                if len(plan) == 1:
                    raise
                tell(f"idn: {describe_error(error)}")
                failed += 1
    if failed:
        raise ValueError(f"{failed} of {len(plan)} photos could not be enlarged; see above")


@main.command("compare", short_help="Draw methods side by side on one image.")
@click.argument("image", type=NamedPath())
@click.option("--scale", type=click.Choice(ALL_SCALES), required=True)
@click.option("--box", nargs=4, type=int, required=True, metavar="X0 Y0 X1 Y1", help="The part to enlarge, in pixels.")
@click.option("--weights", multiple=True, help="Repeatable: idn, bicubic or a .safetensors.  [default: idn]")
@click.option("--out", type=NamedPath(), default=Path("comparison.png"), show_default=True, callback=check_png)
@device_option
@networks_option
@force_option
def compare_command(
    image: Path, scale: str, box: tuple[int, int, int, int], weights: tuple[str, ...], out: Path, device: str,
    networks: tuple[str, ...], force: bool,
) -> None:  # fmt: skip
    """Draw GT, bicubic and networks on one IMAGE, whole and zoomed, with PSNR and SSIM.

    \b
    Examples:
      idn compare butterfly.bmp --scale 4 --box 100 60 160 110
      idn compare butterfly.bmp --scale 4 --box 100 60 160 110 --weights idn --weights a.safetensors
    """
    from idn_data.atomic import check_target
    from idn_data.pictures import save_picture
    from idn_data.scores.figure import draw_figure
    from idn_train.methods import open_method
    from idn_train.weightfile import list_shipped

    check_target(out, force)
    names = weights or (["idn"] if int(scale) in list_shipped() else [])  # bicubic is always there
    methods = [open_method(name, int(scale), False, device, networks)[0] for name in names if name != "bicubic"]
    save_picture(draw_figure(image, int(scale), box, methods), out, force)
    click.echo(out)


@main.command("report", short_help="Write one HTML page about networks, or anybody's pictures.")
@click.argument("runs", nargs=-1, required=True, type=NamedPath(), metavar="RUN...")
@click.option("--out", type=NamedPath(), default=Path("report.html"), show_default=True)
@click.option("--weights", type=click.Choice(("best", "final")), help="Of folders.  [default: final, else best]")
@click.option(
    "--set", "sets", multiple=True, help="Repeatable: a test set or a folder.  [default: those that are there]"
)
@click.option(
    "--image", "images", multiple=True, metavar="SET/NAME|FILE", help="Repeatable: to show.  [default: three of Set5]"
)
@click.option("--gt", metavar="SET|DIR", help="The GT of SR pictures: then a RUN may be a folder of these as well.")
@click.option("--scale", type=click.IntRange(1), help="With --gt: of the SR pictures.")
@device_option
@networks_option
@workers_option
@data_root_option
@force_option
@quiet_option
def report_command(
    runs: tuple[Path, ...], out: Path, weights: Any, sets: tuple[str, ...], images: tuple[str, ...], gt: str | None,
    scale: int | None, device: str, networks: tuple[str, ...], workers: int | None, data_root: Path | None,
    force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write one HTML page about networks: scores, pictures to compare, learning curves, provenance.

    A RUN is a folder of idn train, or a .safetensors; with --gt also a folder of anybody's SR pictures, which
    pair with GT as by idn score. The page is a single file and needs no connection.

    \b
    Examples:
      idn report runs/pretrain_x4
      idn report runs/a runs/b original_x4.safetensors --set Set5 --image Set5/head --image a.png
      idn report results/RCAN results/EDSR --gt Set5 --scale 4 --image butterfly
    """
    from idn_data.atomic import check_target, write_text
    from idn_data.images.sets import find_data_root, find_present_sets
    from idn_data.scores.sets import open_set
    from idn_train.methods import open_method
    from idn_train.report.make import find_images, make_report
    from idn_train.report.outside import report_pictures, split_paths
    from idn_train.report.runs import read_runs

    if (gt is None) != (scale is None) or (gt and sets):
        raise click.UsageError("--gt and --scale go together, and stand in place of --set")
    check_target(out, force, text=True)
    paths, pictures = split_paths(runs) if gt else (list(runs), [])
    found = read_runs(paths, weights, own=bool(networks))
    opened = [(run, open_method(str(run.path.resolve()), None, False, device, networks)[0]) for run in found]
    root = find_data_root(data_root)
    load_kernels_aloud(quiet)
    with ProgressBar(quiet) as progress:
        if gt and scale:
            test_set = open_set(gt, root, workers, progress)
            page = report_pictures(pictures, test_set, scale, opened, images, workers=workers, progress=progress)
        else:
            try:
                names = sets or find_present_sets(root)
            except FileNotFoundError as error:  # the page still has curves and provenance
                tell(f"no scores: {error}")
                names = []
            test_sets = [open_set(name, root, workers, progress) for name in names]
            shown = find_images(images, test_sets, root)
            page = make_report(opened, test_sets, shown, workers=workers, progress=progress)
    write_text(out, page, force)
    click.echo(out)


@main.command("demo", short_help="The whole way on photographs of its own.")
@click.option("--out", type=NamedPath(), default=Path("demo"), show_default=True, help="Folder for everything.")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=1.5, show_default=True, help="Of training."
)
@quiet_option
def demo_command(out: Path, minutes: float, quiet: bool) -> None:
    """The whole way on a few public-domain photographs: patches, test set, scores, parity, a network, pictures.

    \b
    Example:
      idn demo --out /tmp/demo
    """
    from idn_data.demo import run_demo
    from idn_data.pictures import save_picture

    def run(title: str, arguments: list[str]) -> None:
        click.echo(f"\n# {title}\n$ idn {' '.join(arguments)}")
        if quiet and arguments[0] not in ("evaluate", "compare") and "--quiet" not in arguments:
            arguments = [*arguments, "--quiet"]
        if code := main.main(arguments, standalone_mode=False):
            sys.exit(code)  # it has said why

    picture = run_demo(out, run, minutes)
    save_picture(picture, out / "comparison.png", force=True)
    click.echo(f"\nLook at {out / 'patches.png'}, {out / 'comparison.png'} and {out / 'networks.png'}")


if __name__ == "__main__":
    main(prog_name="idn")
