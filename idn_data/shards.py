"""Which patch files there are to train on: one, or the shards of one."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.patchfile import PatchFile
from idn_data.recipe import SCALES, STAGES, Recipe, Stage, name_shard

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_patch_files(
    files: Sequence[Path], scale: int | None, stage: Stage | None, root: Path
) -> tuple[list[Path], int, Stage]:
    """The patch files to train on, with scale and stage: as given, else the one file, or the shards, below a data root.

    Raises
    ------
    FileNotFoundError, ValueError
        None is there; or several.
    """
    if files:
        with PatchFile(files[0]) as file:
            found = file.attributes.get("stage")
            if scale not in (None, file.scale):
                raise ValueError(f"{files[0]} holds patches of scale {file.scale}, not {scale}; leave out --scale")
            return list(files), file.scale, stage or (found if found in STAGES else "pretrain")
    folder = root / "train_data"
    present: list[tuple[list[Path], int, Stage]] = []
    for s, t in product(SCALES, STAGES):
        name = Recipe(s, t).file_name
        files = [folder / name] if (folder / name).is_file() else sorted(folder.glob(f"{Path(name).stem}.*-of-*.h5"))
        if files and scale in (None, s) and stage in (None, t):
            _check_shards(files, name)
            present.append((files, s, t))
    if len(present) == 1:
        return present[0]
    if not present:
        wanted = f"--scale {scale or 4} --stage {stage or 'pretrain'}"
        raise FileNotFoundError(f"no patch file in {folder}; make one with: idn make-train {wanted}")
    choices = "; ".join(f"--scale {s} --stage {t}" for _, s, t in present)
    raise ValueError(f"several patch files in {folder}; choose one with {choices}, or name it with --data")


def _check_shards(files: Sequence[Path], name: str) -> None:
    """Raise unless the files are all the shards of one set, or the one file itself."""
    count = len(files) if files[0].name == name else int(files[0].stem.rpartition("-of-")[2])
    wanted = [name_shard(name, k, count) for k in range(count)]
    if missing := sorted(set(wanted) - {file.name for file in files}):
        raise FileNotFoundError(f"{files[0].parent / missing[0]}: no such shard; make it, or use --data")
    if extra := [file for file in files if file.name not in wanted]:
        raise ValueError(f"{extra[0]} belongs to another set of shards than {files[0].name}; remove one, or use --data")
