"""The patch files to train on, one or the shards of one: which there are, and what they hold."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idn_data.images.sets import say_root
from idn_data.patches.patchfile import PatchFile, PatchFileError
from idn_data.patches.recipe import SCALES, STAGES, Recipe, Stage, name_shard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_data.workers import Progress


def find_patch_files(
    files: Sequence[Path], scale: int | None, stage: Stage | None, root: Path
) -> tuple[list[Path], int, Stage]:
    """The patch files to train on, with scale and stage: as given, else the one file, or the shards, below a data root.

    With a scale and no stage, pretrain comes before finetune.

    Parameters
    ----------
    files : sequence of path
        As the user named them; empty to look below the data root.
    scale : {2, 3, 4}, optional
    stage : {"pretrain", "finetune"}, optional
    root : Path
        The data root.

    Returns
    -------
    files : list of Path
        One, or all the shards of one.
    scale : int
    stage : str

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
        files = [folder / name] if (folder / name).is_file() else _list_shards(folder, name)
        if files and scale in (None, s) and stage in (None, t):
            _check_shards(files, name)
            present.append((files, s, t))
    if len(present) == 1 or (present and scale):  # of one scale's stages the first, as the work goes
        return present[0]
    if not present and scale and scale not in SCALES:
        raise FileNotFoundError(f"no patch file is of scale {scale}; train from pictures: --images DIR")
    if not present:
        wanted = f"--scale {scale or 4} --stage {stage or 'pretrain'}"
        raise FileNotFoundError(f"no patch file in {folder}; make one with: idn make-train {wanted}{say_root(root)}")
    choices = "; ".join(f"--scale {s} --stage {t}" for _, s, t in present)
    raise ValueError(f"several patch files in {folder}; choose one with {choices}, or name it with --data")


def _list_shards(folder: Path, name: str) -> list[Path]:
    shard = re.compile(rf"{re.escape(Path(name).stem)}\.\d+-of-\d+\.h5")
    return sorted(path for path in folder.glob("*.h5") if shard.fullmatch(path.name))


def _check_shards(files: Sequence[Path], name: str) -> None:
    """Raise unless the files are all the shards of one set, or the one file itself."""
    count = len(files) if files[0].name == name else int(files[0].stem.rpartition("-of-")[2])
    wanted = [name_shard(name, k, count) for k in range(count)]
    if missing := sorted(set(wanted) - {file.name for file in files}):
        raise FileNotFoundError(f"{files[0].parent / missing[0]}: no such shard; make it, or use --data")
    if extra := [file for file in files if file.name not in wanted]:
        raise ValueError(f"{extra[0]} belongs to another set of shards than {files[0].name}; remove one, or use --data")


def find_boundary(paths: Sequence[Path | str]) -> Boundary | None:
    """The border that the LR patches of some files were made with; None where none of them says it, as MATLAB's.

    Raises
    ------
    PatchFileError
        A file is missing or unsound, or two were made with different borders.
    """
    found: dict[Boundary, Path] = {}
    for path in paths:
        with PatchFile(path) as file:
            if file.boundary:
                found.setdefault(file.boundary, file.path)
    if len(found) > 1:
        (one, first), (other, second) = found.items()
        raise PatchFileError(
            f"{first} was made with the border {one}, {second} with {other}; train on files of one border"
        )
    return next(iter(found), None)


def name_origin(attributes: Mapping[str, object]) -> str:
    """What decides the patches of a file and their order, by its attributes.

    The digest of its sources; after one +SEED where the order of the patches is not that of seed 0, @Y,X where an
    offset was cut off, =replicate where LR was made with that border, and ~ the first twelve digits of each of its
    teachers'.
    """
    name = str(attributes.get("source_digest", "unknown"))
    if seed := attributes.get("seed"):
        name += f"+{seed}"
    if offset := attributes.get("offset"):
        name += "@" + str(offset).strip("[]").replace(" ", "")
    if boundary := attributes.get("boundary"):
        name += f"={boundary}"
    if teacher := attributes.get("teacher"):
        name += "".join(f"~{digest[:12]}" for digest in str(teacher).split(", "))
    return name


def read_patches(
    paths: Sequence[Path | str], progress: Progress | None = None
) -> tuple[tuple[NDArray[np.float32], NDArray[np.uint8]], int, str]:
    """Read patch files whole, ours or those of the MATLAB scripts, several as one.

    Parameters
    ----------
    paths : sequence of path
        Files of one scale and patch size.
    progress : callable(what, done, total), optional

    Returns
    -------
    (lr, gt), scale, digest
        (N, 1, p, p) float32; (N, 1, s·p, s·p) uint8, k for k/255; what
        `name_origin` calls each file, separated by spaces.

    Raises
    ------
    PatchFileError
        A file is missing or unsound, or files of different sizes or borders are mixed.
    """
    find_boundary(paths)
    shapes, digests = [], []
    for path in paths:
        with PatchFile(path) as file:
            shapes.append((file.count, file.scale, file.lr_side, file.gt_side))
            digests.append(name_origin(file.attributes))
    if not shapes:
        raise PatchFileError("no patch file was named; idn make-train makes one")
    if len({shape[1:] for shape in shapes}) > 1:
        raise PatchFileError("the patch files differ in scale or patch size; train on files of one recipe")
    total, (_, scale, lr_side, gt_side), done = sum(shape[0] for shape in shapes), shapes[0], 0
    lr = np.empty((total, 1, lr_side, lr_side), np.float32)
    gt = np.empty((total, 1, gt_side, gt_side), np.uint8)
    for path, shape in zip(paths, shapes, strict=True):
        with PatchFile(path) as file:
            if (file.count, file.scale, file.lr_side, file.gt_side) != shape:
                raise PatchFileError(f"{path} changed while it was read; start again")
            for first in range(0, file.count, file.step):
                last = min(first + file.step, file.count)
                lr[done + first : done + last], gt[done + first : done + last] = file.read_levels(first, last)
                if progress:
                    progress("reading patches", done + last, total)
            done += file.count
    return (lr, gt), scale, " ".join(digests)
