"""From what a user asked for to what the trainer needs: files, hyper-parameters, validation, methods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idn_data.benchmark import BICUBIC, Method, TestSet, evaluate, open_set
from idn_data.patchfile import PatchFile
from idn_data.recipe import SCALES, STAGES, Recipe, Stage
from idn_train.trainer import Config, TrainingError, stage_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from idn_train.network import IDN


def make_config(scale: int, stage: Stage, recipe: str, given: Mapping[str, Any]) -> Config:
    """The hyper-parameters of a stage, of a recipe, and what was given (None: not given), each over the one before.

    recipe "readme": IDN-TensorFlow's. "express": L1, Adam at 1e-3 after a short warm-up, cosine to zero, bf16, a
    reconstruction that starts close to zero, no weight decay: the quickest way that we know.
    """
    config = stage_config(scale, stage)
    if recipe == "express":
        config = replace(
            config, loss="l1", rate=1e-3, schedule="cosine", warmup=100, weight_decay=0.0, reconstruction_std=0.001,
            precision="bf16", decay_epochs=0,
        )  # fmt: skip
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def choose_files(
    files: Sequence[Path], scale: int | None, stage: Stage | None, root: Path
) -> tuple[list[Path], int, Stage]:
    """The patch files to train on, with scale and stage: as given, else what lies under the data root.

    Raises
    ------
    TrainingError
        None is there, or several and nothing says which.
    """
    folder = root / "train_data"
    if files:
        with PatchFile(files[0]) as file:
            found_stage = file.attributes.get("stage", "pretrain")
            if scale is not None and scale != file.scale:
                raise TrainingError(f"{files[0]} holds patches of scale {file.scale}, not {scale}")
            return list(files), file.scale, stage or (found_stage if found_stage in STAGES else "pretrain")
    present = [
        (found, s, t)
        for s in SCALES
        for t in STAGES
        if scale in (None, s) and stage in (None, t) and (found := _find_shards(folder, Recipe(s, t).file_name))
    ]
    if len(present) == 1:
        return present[0]
    if not present:
        wanted = f" --scale {scale or 4} --stage {stage or 'pretrain'}"
        raise TrainingError(f"no patch file in {folder}; make one with: idn make-train{wanted}")
    choices = "; ".join(f"--scale {s} --stage {t}" for _, s, t in present)
    raise TrainingError(f"several patch files in {folder}; choose one with {choices}, or name it with --data")


def _find_shards(folder: Path, name: str) -> list[Path]:
    if (folder / name).is_file():
        return [folder / name]
    stem = name.removesuffix(".h5")
    return sorted(folder.glob(f"{stem}.*-of-*.h5"))


def find_init(config: Config, runs: Path) -> Path | None:
    """The weights a fine-tuning starts from: those of the pretrained run of its scale, beside it."""
    if config.stage != "finetune":
        return None
    path = runs / f"pretrain_x{config.scale}" / "final.safetensors"
    if not path.is_file():
        raise TrainingError(
            f"fine-tuning starts from {path}, which is not there; pretrain first, or name weights by --init"
        )
    return path


def make_validation(name: str, root: Path, scale: int) -> Callable[[IDN], float] | None:
    """PSNR in dB of a network on a test set (float protocol); None where the set is not there."""
    try:
        test_set = open_set(name, root)
    except FileNotFoundError:
        return None
    return lambda network: measure_psnr(network, test_set, scale)


def measure_psnr(network: IDN, test_set: TestSet, scale: int) -> float:
    """Mean PSNR in dB of a network on a test set, float protocol."""
    from idn_train.upscale import make_method

    return evaluate(make_method(network, "IDN"), test_set, scale, ["float"])[0][0].psnr


def open_method(name: str, self_ensemble: bool = False) -> tuple[Method, int | None]:
    """A method by its name: ``bicubic``, or a weight file; with the one scale it is for, None for any."""
    if name == "bicubic":
        return BICUBIC, None
    from idn_train.checkpoint import load_weights
    from idn_train.upscale import make_method

    network, metadata = load_weights(name)
    label = str(metadata.get("name") or Path(name).stem) + ("+" if self_ensemble else "")
    return make_method(network, label, self_ensemble), network.scale
