"""The command line: options, progress, printing, exit codes. The work is done in idn_data and idn_train."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

# Only click is imported here, so that help is quick; each command imports what it needs.

STAGES, SCALES, STORAGES = ("pretrain", "finetune"), ("2", "3", "4"), ("float32", "uint8")
SETS = ("Set5", "Set14", "B100", "Urban100")


class Commands(click.Group):
    """Turns the library's errors into one line and exit code 1; usage errors are click's, exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("IDN_DEBUG"):
                raise
            for line in getattr(error, "lines", ()):
                click.echo(f"  {line}", err=True)
            known = isinstance(error, (ValueError, OSError, IndexError, ImportError, MemoryError))
            text = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, OSError) and error.strerror:
                text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            elif isinstance(error, MemoryError):
                text = "not enough memory; close other programs, or use smaller images or --workers 1"
            elif isinstance(error, ModuleNotFoundError) and error.name in ("torch", "safetensors", "google"):
                text = f"networks need {error.name}, which is not installed; pip install 'idn[train]'"
            if not known:
                text = f"internal error, please report it ({type(error).__name__}: {text}); IDN_DEBUG=1 shows where"
            click.echo(f"idn: {text}", err=True)
            ctx.exit(1)


class Progress:
    """A bar on standard error for each stretch of work; a plain line where that is no terminal."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.what, self.bar = quiet, "", None

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.quiet:
            return
        if what != self.what:
            self.close()
            self.what = what
            self.bar = click.progressbar(length=total, label=f"{what:<22}", file=sys.stderr, width=30, show_pos=True)
            self.bar.__enter__()
        if self.bar is not None:
            self.bar.update(max(0, done - self.bar.pos))

    def close(self) -> None:
        if self.bar is not None:
            self.bar.__exit__(None, None, None)
        self.bar, self.what = None, ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TrainingLine:
    """One line on standard error, rewritten each second; a line each minute where that is no terminal."""

    def __init__(self, quiet: bool) -> None:
        self.quiet, self.live, self.shown = quiet, sys.stderr.isatty(), 0.0

    def __call__(self, at: Any) -> None:
        now = time.monotonic()
        if self.quiet or not (self.live or now - self.shown > 60 or at.step >= at.steps):
            return
        self.shown = now
        psnr = "" if at.psnr is None else f"  PSNR {at.psnr:.2f} (best {at.best_psnr:.2f})"
        left = f"{at.seconds_left / 60:.0f} min" if at.seconds_left >= 90 else f"{at.seconds_left:.0f} s"
        text = f"{at.step:,}/{at.steps:,}  loss {at.loss:.4g}  rate {at.rate:.2g}  {at.patches_per_second:.0f}/s{psnr}"
        click.echo(f"\r{text}  {left} left\x1b[K" if self.live else text, nl=not self.live, err=True)

    def close(self) -> None:
        if self.live and not self.quiet:
            click.echo(err=True)


def load_kernels_aloud(quiet: bool) -> None:
    """Load the kernels; the first time on a machine they are compiled, which takes seconds and is said."""
    from threading import Timer

    from idn_data.resize import load_kernels

    said = "compiling the resize kernels, once on this machine"
    timer = Timer(1.5, lambda: None if quiet else click.echo(said, err=True))
    timer.start()
    try:
        load_kernels()
    finally:
        timer.cancel()


def write_output(target: str | None, text: str) -> bool:
    """Write a report to the file its user named, or to standard output for ``-``; true if standard output is taken."""
    if target == "-":
        click.echo(text, nl=False)
    elif target is not None:
        from idn_data.atomic import write_text

        write_text(target, text, force=True)
    return target == "-"


def write_json(target: str | None, value: object) -> bool:
    """`write_output` of a value as JSON; what is not finite (the PSNR of equal images) becomes null."""

    def tidy(item: Any) -> Any:
        if isinstance(item, dict):
            return {k: tidy(v) for k, v in item.items()}
        if isinstance(item, (list, tuple)):
            return [tidy(v) for v in item]
        return None if isinstance(item, float) and not math.isfinite(item) else item

    value = tidy(value)
    return write_output(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


data_root_option = click.option(
    "--data-root", type=click.Path(path_type=Path), help="Data root; else the variable IDN_DATA, else ./data."
)
workers_option = click.option("--workers", type=click.IntRange(min=1), help="Threads.  [default: one per core]")
force_option = click.option("--force", is_flag=True, help="Replace existing files.")
skip_bad_option = click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read.")
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress; print only what matters.")
json_option = click.option(
    "--json", "json_file", metavar="FILE", help="Write the result as JSON; - is standard output."
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="idn", prog_name="idn")
def main() -> None:
    """Super-resolution research without MATLAB.

    \b
    Exact imresize, IDN patch files, test sets and scores. A first session:
      idn validate                               are the pixels MATLAB's?
      idn evaluate bicubic --set Set5            the published baseline
      idn make-train --scale 4 --stage pretrain  LR/GT patches of the 291 images
      idn train --scale 4 --recipe express       IDN trained on them
      idn demo                                   all of it, on photographs that come along

    Exit codes: 0 done, 1 failed, 2 wrong usage.
    """


@main.command("make-train")
@click.option("--scale", type=click.Choice(SCALES), required=True, help="Factor between LR and GT.")
@click.option("--stage", type=click.Choice(STAGES), default="pretrain", show_default=True, help="Sets the patch size.")
@click.option("--images", type=click.Path(path_type=Path), help="Source images.  [default: <data root>/train_data/291]")
@click.option("--out", type=click.Path(path_type=Path), help="[default: the scripts' name in <data root>/train_data]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the order of patches.")
@click.option(
    "--storage",
    type=click.Choice(STORAGES),
    default="float32",
    show_default=True,
    help="uint8: GT as k/255's k; lossless, a quarter.",
)
@click.option(
    "--shards", type=click.IntRange(min=1), default=1, show_default=True, help="Files to deal the images into."
)
@click.option("--lr-patch", type=click.IntRange(1, 1024), help="Side of an LR patch.  [default: the stage's]")
@click.option(
    "--save-augmented",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Also save the 40 BMPs of each image, as data_aug.m does.",
)
@click.option(
    "--memory", type=click.IntRange(min=1), default=4096, show_default=True, help="MiB of a file filled per pass."
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
    lr_patch: int | None, save_augmented: Path | None, memory: int, dry_run: bool, skip_bad: bool,
    workers: int | None, data_root: Path | None, json_file: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Make the LR/GT patches of IDN's training as one HDF5 file.

    Each image gives 40 variants (4 rotations, 2 flips, downscales 1.0 to 0.6), cut into a grid of patches without
    overlap and shuffled once. Same images and seed, same bytes.

    \b
    Examples:
      idn make-train --scale 4 --stage finetune
      idn make-train --scale 2 --images DIV2K --shards 8 --storage uint8 --dry-run
    """
    from dataclasses import asdict

    from idn_data import trainset
    from idn_data.recipe import Recipe
    from idn_data.sources import find_data_root, find_set
    from idn_data.tables import format_bytes, format_estimate

    load_kernels_aloud(quiet)
    root = find_data_root(data_root)
    recipe = Recipe(int(scale), stage, lr_patch)
    images = images or find_set("291", root)
    out = out or root / "train_data" / recipe.file_name
    with Progress(quiet) as progress:
        made = trainset.plan_train(
            images, out, recipe, seed=seed, storage=storage, shards=shards, skip_bad=skip_bad, workers=workers,
            memory=memory << 20, progress=progress,
        )  # fmt: skip
        estimate = made.estimate()
        if dry_run:
            progress.close()
            if not write_json(json_file, asdict(estimate)):
                click.echo(format_estimate(estimate))
            return
        if save_augmented:
            trainset.save_augmented(made.sources, save_augmented, force=force, workers=workers, progress=progress)
        paths = trainset.make_train(made, force=force, workers=workers, progress=progress)
    for line in made.skipped:
        click.echo(f"left out: {line}", err=True)
    if not write_json(json_file, {**asdict(estimate), "files": [str(p) for p in paths]}):
        size = sum(p.stat().st_size for p in paths)
        sides = f"LR {recipe.lr_side}x{recipe.lr_side}, GT {recipe.gt_side}x{recipe.gt_side}"
        where = str(paths[0]) if len(paths) == 1 else f"{paths[0]} … {paths[-1].name}"
        click.echo(f"{where}: {estimate.patches:,} patches ({sides}) of {estimate.images} images, {format_bytes(size)}")


@main.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sheet", type=click.Path(path_type=Path), metavar="PNG", help="Draw a contact sheet of patch pairs.")
@click.option("--verify", is_flag=True, help="Make every patch again from the images and compare.")
@click.option("--images", type=click.Path(path_type=Path), help="Source images.  [default: <data root>/train_data/291]")
@workers_option
@data_root_option
@json_option
@force_option
@quiet_option
def inspect_command(
    file: Path, sheet: Path | None, verify: bool, images: Path | None, workers: int | None,
    data_root: Path | None, json_file: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Say what a patch file holds; draw it; verify it.

    Reads files of idn and of the MATLAB scripts; only idn's own say enough of themselves to be verified.

    \b
    Examples:
      idn inspect data/train_data/idn_train_x4.h5 --sheet patches.png
      idn inspect data/train_data/idn_train_x4.h5 --verify
    """
    from idn_data.patchfile import PatchFile
    from idn_data.pictures import draw_patches, save_picture
    from idn_data.sources import find_data_root, find_set
    from idn_data.trainset import verify_patches

    with PatchFile(file) as patches, Progress(quiet) as progress:
        facts = patches.describe()
        if sheet:
            save_picture(draw_patches(patches), sheet, force)
            facts["sheet"] = str(sheet)
        if verify:
            source = images or find_set("291", find_data_root(data_root))
            facts["differing_patches"] = verify_patches(patches, source, workers=workers, progress=progress)
        progress.close()
    if not write_json(json_file, facts) and not quiet:
        attributes = facts.pop("attributes")
        for name, value in {**attributes, **facts}.items():  # type: ignore[dict-item]
            click.echo(f"{name:<18}{value}")
    differ = facts.get("differing_patches")
    if differ:
        raise ValueError(
            f"{file}: {differ} of {facts['patches']} patches differ from what the images yield; make it again"
        )
    if verify:
        click.echo(f"all {facts['patches']:,} patches are what the images yield", err=json_file == "-")


@main.command("make-test")
@click.argument("sets", nargs=-1, required=True, metavar="SET...")
@click.option("--scale", "scales", type=click.Choice(SCALES), multiple=True, help="Repeatable.  [default: 2, 3 and 4]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="[default: <data root>/test_data/mat/<SET>; several sets: a folder each below it]",
)
@skip_bad_option
@workers_option
@data_root_option
@force_option
@quiet_option
def make_test_command(
    sets: tuple[str, ...], scales: tuple[str, ...], out: Path | None, skip_bad: bool, workers: int | None,
    data_root: Path | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Make test sets as .mat files: GT and LR of Y, and Cb, Cr of colour images.

    SET is Set5, Set14, B100, Urban100, or the path of a folder of images.

    \b
    Examples:
      idn make-test Set5
      idn make-test Set14 B100 --scale 4 --out /tmp/mat
    """
    from idn_data.sources import find_data_root, find_set
    from idn_data.testset import make_test

    load_kernels_aloud(quiet)
    root = find_data_root(data_root)
    folders = [find_set(name, root) for name in sets]
    for folder in folders:
        target = (out / folder.name if len(sets) > 1 else out) if out else root / "test_data" / "mat" / folder.name
        with Progress(quiet) as progress:
            chosen = sorted({int(s) for s in scales or SCALES})
            count, skipped = make_test(
                folder, target, chosen, force=force, skip_bad=skip_bad, workers=workers, progress=progress
            )
        for line in skipped:
            click.echo(f"left out: {line}", err=True)
        click.echo(f"{target}: {count} files")


@main.command("evaluate")
@click.argument("methods", nargs=-1, required=True, metavar="METHOD...")
@click.option(
    "--set", "sets", multiple=True, help="Repeatable: a test set or a folder.  [default: those that are there]"
)
@click.option(
    "--scale",
    "scales",
    type=click.Choice(SCALES),
    multiple=True,
    help="Repeatable.  [default: 2, 3 and 4; a network's own]",
)
@click.option(
    "--protocol", "protocols", type=click.Choice(("float", "uint8")), multiple=True, help="Repeatable.  [default: both]"
)
@click.option("--self-ensemble", is_flag=True, help="Networks: mean of 8 orientations.")
@click.option(
    "--save-images", type=click.Path(path_type=Path), metavar="DIR", help="Also save the SR images, in colour."
)
@click.option("--csv", "csv_file", metavar="FILE", help="Write the scores as CSV; - is standard output.")
@click.option("--per-image", is_flag=True, help="Also print the score of each image.")
@workers_option
@data_root_option
@json_option
@force_option
@quiet_option
def evaluate_command(
    methods: tuple[str, ...], sets: tuple[str, ...], scales: tuple[str, ...], protocols: tuple[Any, ...],
    self_ensemble: bool, save_images: Path | None, csv_file: str | None, per_image: bool, workers: int | None,
    data_root: Path | None, json_file: str | None, force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Score METHODs on the test sets, beside the published numbers. A METHOD is bicubic or a .safetensors of weights.

    \b
    Two protocols, Y channel, as many pixels shaved off each side as the scale:
      float  doubles, MATLAB's psnr and ssim (IDN-TensorFlow's tables)
      uint8  rounded to 8 bits, SSIM of valid windows (the authors' script)

    \b
    Examples:
      idn evaluate bicubic --set Set5 --scale 2
      idn evaluate bicubic idn_x4.safetensors --set Set5 --set Set14 --json scores.json
    """
    from idn_data import benchmark
    from idn_data.sources import find_data_root, find_present_sets
    from idn_data.tables import format_csv, format_image_scores, format_scores

    for name in methods:
        if name != "bicubic" and not name.endswith(".safetensors"):
            raise click.BadParameter(
                f"{name!r} is no method; bicubic, or a .safetensors of weights", param_hint="METHOD"
            )
    if any(name != "bicubic" for name in methods):
        from idn_train.session import open_method

        opened = [open_method(name, self_ensemble) for name in methods]
    else:
        opened = [(benchmark.BICUBIC, None) for _ in methods]
    load_kernels_aloud(quiet)
    root = find_data_root(data_root)
    scores, rows, notes = [], [], []
    with Progress(quiet) as progress:
        for set_name in sets or find_present_sets(root):
            test_set = benchmark.open_set(set_name, root, workers)
            for method, own_scale in opened:
                wanted = sorted({int(s) for s in scales or ([own_scale] if own_scale else SCALES)})
                if own_scale is not None and wanted != [own_scale]:
                    raise click.BadParameter(f"{method.name} is made for scale {own_scale} alone", param_hint="--scale")
                for scale in wanted:
                    found, images = benchmark.evaluate(
                        method, test_set, scale, protocols or ("float", "uint8"), workers=workers, progress=progress
                    )
                    scores += found
                    rows += images
                    if save_images:
                        benchmark.save_results(method, test_set, scale, save_images, force=force, progress=progress)
            origin = (
                "the authors' files"
                if test_set.registered
                else ".mat files"
                if test_set.mat
                else "not the authors' files"
            )
            notes.append(f"{test_set.name} {test_set.digest[:12]} ({origin})")
    table = [score.row() for score in scores]
    taken = write_output(csv_file, format_csv(table))
    if write_json(json_file, table) or taken:
        return
    click.echo(format_scores(scores))
    if per_image:
        click.echo("\n" + format_image_scores(rows))
    click.echo("\nY channel, scale pixels shaved; SHA-256 of the images:")
    for note in notes:
        click.echo(f"  {note}")


@main.command("validate")
@click.option(
    "--reference",
    "references",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Repeatable: a .mat, a .json, or a folder of pictures that MATLAB made beside their inputs.",
)
@data_root_option
@json_option
@quiet_option
def validate_command(references: tuple[Path, ...], data_root: Path | None, json_file: str | None, quiet: bool) -> None:
    """Compare imresize with MATLAB's own values, number by number.

    Checks the references that come along (MATLAB's matrices, exact rational values), any that you bring, and the
    bicubic baseline if Set5 is there. 8-bit values must be identical, doubles within 1e-13 of the largest. The script
    fixtures/make_reference.m makes a .mat with your own MATLAB.

    \b
    Examples:
      idn validate
      idn validate --reference reference.mat --reference pictures/
    """
    from dataclasses import asdict

    from idn_data import benchmark, parity
    from idn_data.sources import find_data_root

    load_kernels_aloud(quiet)
    given = [reference for path in references for reference in parity.read_references(path)]
    verdicts = []
    to_stdout = json_file == "-"
    with Progress(quiet or len(given) < 50) as progress:
        shipped = list(parity.read_shipped())
        for done, reference in enumerate([*shipped, *given], 1):
            verdicts.append(parity.compare(reference))
            progress("comparing", done, len(shipped) + len(given))
    root = find_data_root(data_root)
    if (root / "test_data" / "Set5").is_dir():
        verdicts += parity.check_baseline(benchmark.open_set("Set5", root))
    failed = [v for v in verdicts if not v.passed]
    if not write_json(json_file, [asdict(v) for v in verdicts]):
        for verdict in failed if quiet else verdicts:
            click.echo(parity.format_verdict(verdict))
    click.echo(f"{len(verdicts) - len(failed)} of {len(verdicts)} references agree", err=to_stdout)
    if failed:
        raise ValueError(
            f"{len(failed)} reference(s) disagree, {failed[0].name} first; nothing that idn makes can be trusted"
        )


@main.command("train")
@click.option(
    "--scale", type=click.Choice(SCALES), help="Factor between LR and SR.  [default: of the one patch file there is]"
)
@click.option("--stage", type=click.Choice(STAGES), help="README's hyper-parameters for it.  [default: pretrain]")
@click.option(
    "--recipe",
    type=click.Choice(("readme", "express")),
    default="readme",
    show_default=True,
    help="express: L1, 1e-3, cosine, bf16.",
)
@click.option(
    "--data",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Repeatable: patch files.  [default: of scale and stage]",
)
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), help="Where all results go.  [default: runs/<stage>_x<scale>]"
)
@click.option(
    "--init", type=click.Path(path_type=Path), help="Weights to start from.  [finetune: the pretrained run's]"
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the patches.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps in all, instead of epochs.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@click.option("--batch", type=click.IntRange(min=1), help="Patches a step.  [default: 64]")
@click.option("--loss", type=click.Choice(("l1", "l2")), help="[default: pretrain l2, finetune l1]")
@click.option("--rate", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Adam's.  [default: 1e-4]")
@click.option("--schedule", type=click.Choice(("steps", "cosine")), help="steps: a tenth every --decay-epochs.")
@click.option("--decay-epochs", type=click.IntRange(min=0), help="[default: finetune 250]")
@click.option("--warmup", type=click.IntRange(min=0), help="Steps until the full rate.  [default: 0]")
@click.option("--weight-decay", type=click.FloatRange(min=0), help="λ of λ/2·‖w‖².  [default: 1e-4]")
@click.option("--reconstruction-std", type=click.FloatRange(min=0), help="σ of its first weights; 0: He's rule.")
@click.option("--precision", type=click.Choice(("float32", "bf16")), help="[default: float32; bf16 with express]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 …")
@click.option("--seed", type=click.IntRange(min=0), help="[default: 0]")
@click.option(
    "--validate-set", default="Set5", show_default=True, help="A test set or a folder; none if it is not there."
)
@click.option("--validate-every", type=click.IntRange(min=1), help="Steps.  [default: an epoch]")
@click.option("--restart", is_flag=True, help="Begin anew where a run stands already.")
@data_root_option
@quiet_option
def train_command(
    folder: Path | None, files: tuple[Path, ...], recipe: str, device: str, validate_set: str,
    validate_every: int | None, restart: bool, init: Path | None, minutes: float | None, data_root: Path | None,
    quiet: bool, scale: str | None, stage: Any, **given: Any,
) -> None:  # fmt: skip
    """Train IDN; a run that was stopped or killed goes on where it was when started again with the same command.

    \b
    Examples:
      idn train --scale 4 --stage pretrain
      idn train --scale 4 --recipe express --minutes 10
    """
    from idn_data.sources import find_data_root
    from idn_train import trainer
    from idn_train.batches import load_patches
    from idn_train.session import choose_files, find_init, make_config, make_validation

    root = find_data_root(data_root)
    files, scale_number, stage = choose_files(files, int(scale) if scale else None, stage, root)
    config = make_config(scale_number, stage, recipe, given)
    folder = folder or Path("runs") / f"{stage}_x{scale_number}"
    init = init or find_init(config, folder)
    if restart:
        (folder / "last.safetensors").unlink(missing_ok=True)
    where = trainer.choose_device(device)
    with Progress(quiet) as progress:
        patches = load_patches(files, where, progress)
    validate = make_validation(validate_set, root, config.scale)
    click.echo(
        f"IDN x{config.scale}, {config.stage}: {len(patches):,} patches ({patches.bytes / 1e9:.2f} GB) on {where}, "
        f"{config.precision}, batch {config.batch}, {config.loss}, rate {config.rate:g} ({config.schedule})"
        + (f", from {init}" if init else "") + ("" if validate else f"; no validation: {validate_set} is not there")
    )  # fmt: skip
    line = TrainingLine(quiet)
    result = trainer.train(
        config, patches, folder, validate=validate, validate_every=validate_every or 0, init=init,
        minutes=minutes or 0.0, watch=line,
    )  # fmt: skip
    line.close()
    stopped = result.name == "last.safetensors"
    click.echo(f"stopped; the same command goes on from {result}" if stopped else f"{result}")


@main.command("import-caffe")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The .safetensors to write.")
@click.option("--scale", type=click.Choice(SCALES), help="Of the network.  [default: as the file says]")
@force_option
def import_caffe_command(file: Path, out: Path, scale: str | None, force: bool) -> None:
    """Convert the authors' FILE.caffemodel to weights that idn reads.

    \b
    Example:
      idn import-caffe IDN_x4.caffemodel --out idn_original_x4.safetensors
    """
    from hashlib import sha256

    from idn_train.caffe import read_caffemodel
    from idn_train.checkpoint import save_weights

    network = read_caffemodel(file, int(scale) if scale else None)
    metadata = {"name": "IDN (Original)", "source": file.name, "source_sha256": sha256(file.read_bytes()).hexdigest()}
    save_weights(out, network, metadata, force=force)
    click.echo(f"{out}: IDN x{network.scale}, {sum(p.numel() for p in network.parameters()):,} parameters")


@main.command("upscale")
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--weights", required=True, type=click.Path(path_type=Path), help="A .safetensors; it sets the scale.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.  [default: beside each photo]")
@click.option(
    "--format", "suffix", type=click.Choice((".png", ".jpg", ".tif", ".webp")), default=".png", show_default=True
)
@click.option("--tile", type=click.IntRange(min=16), help="LR pixels along a tile's side.  [default: 384]")
@click.option("--self-ensemble", is_flag=True, help="Mean of 8 orientations: better, 8 times slower.")
@force_option
@quiet_option
def upscale_command(
    photos: tuple[Path, ...], weights: Path, out: Path | None, suffix: str, tile: int | None, self_ensemble: bool,
    force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Enlarge photos, or all those of folders. Colour, alpha, 16 bits of grey, EXIF and colour profile are kept.

    \b
    Example:
      idn upscale holiday.jpg --weights idn_x2.safetensors
    """
    from idn_train.checkpoint import load_weights
    from idn_train.upscale import TILE, plan_outputs, upscale_photo

    network, _ = load_weights(weights)
    for source, target in plan_outputs(photos, out, network.scale, suffix):
        with Progress(quiet) as progress:
            upscale_photo(
                network, source, target, tile=tile or TILE, self_ensemble=self_ensemble, force=force, progress=progress
            )
        click.echo(target)


@main.command("compare")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--scale", type=click.Choice(SCALES), required=True)
@click.option("--box", nargs=4, type=int, required=True, metavar="X0 Y0 X1 Y1", help="The part to enlarge, in pixels.")
@click.option("--weights", multiple=True, help="Repeatable: networks to show beside bicubic.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("comparison.png"), show_default=True)
@force_option
def compare_command(
    image: Path, scale: str, box: tuple[int, int, int, int], weights: tuple[str, ...], out: Path, force: bool
) -> None:
    """Draw GT, bicubic and networks on one IMAGE, whole and zoomed, with PSNR and SSIM.

    \b
    Example:
      idn compare butterfly.bmp --scale 4 --box 100 60 160 110 --weights idn_x4.safetensors
    """
    from idn_data.pictures import save_picture
    from idn_train.figure import draw_figure
    from idn_train.session import open_method

    save_picture(draw_figure(image, int(scale), box, [open_method(name)[0] for name in weights]), out, force)
    click.echo(out)


@main.command("demo")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder for everything."
)
@quiet_option
def demo_command(out: Path, quiet: bool) -> None:
    """The whole way on a few public-domain photographs: patches, test set, scores, parity, a picture.

    \b
    Example:
      idn demo --out /tmp/demo
    """
    from idn_data.demo import run_demo
    from idn_data.pictures import save_picture

    def run(title: str, arguments: list[str]) -> None:
        click.echo(f"\n# {title}\n$ idn {' '.join(arguments)}")
        if quiet and arguments[0] != "evaluate":
            arguments = [*arguments, "--quiet"] if "--quiet" not in arguments else arguments
        main.main(arguments, standalone_mode=False)

    picture = run_demo(out, run)
    save_picture(picture, out / "comparison.png", force=True)
    click.echo(f"\nLook at {out / 'patches.png'} and {out / 'comparison.png'}")


if __name__ == "__main__":
    main()
