"""What a training is made of: patch files, or pictures; planned, then opened as a `Feed`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from idn_data.images.sets import find_set
from idn_data.patches.grid import cut_grid
from idn_data.patches.pool import read_pool
from idn_data.patches.recipe import Recipe
from idn_data.patches.shards import find_patch_files
from idn_train.batches import load_patches, place_patches
from idn_train.pictures import Pictures
from idn_train.setaside import list_set_aside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from idn_data.matlab.weights import Boundary
    from idn_data.patches.recipe import Stage
    from idn_data.workers import Progress
    from idn_train.batches import Feed


@dataclass(frozen=True)
class PictureRequest:
    """Pictures to train from, as the user asked for them."""

    folders: tuple[Path, ...]  # or names of sets
    grid: bool = False  # the patches of `make_train`, instead of random positions
    boundary: Boundary = "symmetric"  # beyond the edge of all that is reduced
    lr_patch: int | None = None  # side of an LR patch; None: the stage's
    set_aside: bool = False  # every tenth picture is left out, to validate on
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if not self.folders:
            raise ValueError("no folder of pictures was named; give one or several")
        if self.grid and self.set_aside:
            raise ValueError("the grid takes all pictures of a folder; give --grid or --set-aside")


@dataclass(frozen=True)
class Data:
    """Where the patches of a training come from, decided: files, or pictures and what to cut from them."""

    scale: int
    stage: Stage
    files: tuple[Path, ...] = ()
    pictures: PictureRequest | None = None
    folders: tuple[Path, ...] = ()  # of pictures
    set_aside: tuple[Path, ...] = ()  # pictures among them that are left out


def plan_data(
    files: Sequence[Path], pictures: PictureRequest | None, scale: int | None, stage: Stage | None, root: Path
) -> Data:
    """Find what a training is to be made of; nothing is read yet but the head of a patch file.

    Parameters
    ----------
    files : sequence of path
        Patch files; empty: those of scale and stage below the data root.
    pictures : PictureRequest, optional
        Pictures instead of files.
    scale : int, optional
        None: of the files.
    stage : {"pretrain", "finetune"}, optional
        None: of the files; with pictures, pretrain.
    root : path
        The data root.

    Returns
    -------
    Data

    Raises
    ------
    FileNotFoundError, ValueError
        As `find_patch_files`; pictures and files, or pictures without a scale; a folder that is not there.
    """
    if pictures is None:
        found, scale, stage = find_patch_files(files, scale, stage, root)
        return Data(scale, stage, tuple(found))
    if files:
        raise ValueError(f"pictures and the patch file {files[0]} were named; train from one of both")
    if scale is None:
        raise ValueError("pictures have no scale; name it, one of 2, 3, 4")
    folders = tuple(find_set(str(folder), root) for folder in pictures.folders)
    aside = tuple(list_set_aside(folders)) if pictures.set_aside else ()
    return Data(scale, stage or "pretrain", pictures=pictures, folders=folders, set_aside=aside)


def open_data(
    data: Data, device: torch.device, seed: int, scratch: Path, *, channels: int = 1, progress: Progress | None = None
) -> Feed:
    """Read the patches, or the pictures, and bring them to the device where there is room.

    Parameters
    ----------
    data : Data
    device : device
    seed : int
        Of the run: the order of a grid is that of `make_train` with this seed.
    scratch : path
        A folder for pictures that do not fit in memory.
    channels : {1, 3}
        Y, or RGB, of pictures at random positions.
    progress : callable(what, done, total), optional

    Returns
    -------
    Feed

    Raises
    ------
    PatchFileError, BadImagesError, FileNotFoundError, ValueError, OSError
        As `load_patches`, `read_pool` and `cut_grid`.
    """
    wanted = data.pictures
    if wanted is None:
        return load_patches(data.files, device, progress)
    recipe = Recipe(data.scale, data.stage, wanted.lr_patch, boundary=wanted.boundary)
    if wanted.grid:
        arrays, digest = cut_grid(data.folders, recipe, seed=seed, skip_bad=wanted.skip_bad, progress=progress)
        return place_patches(arrays, data.scale, digest, device)
    pool = read_pool(
        data.folders, recipe, channels=channels, leave_out=data.set_aside, skip_bad=wanted.skip_bad,
        scratch=scratch, progress=progress,
    )  # fmt: skip
    return Pictures.place(pool, device)
