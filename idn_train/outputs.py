"""Which photographs are enlarged, and what their results are called."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from idn_data.atomic import check_target
from idn_data.images.decode import SUFFIXES, list_images
from idn_data.namesakes import Targets
from idn_train.photos import FORMATS, find_format


def plan_outputs(
    sources: Sequence[Path | str], out: Path | str | None, scale: int, suffix: str = ".png", *, force: bool = False
) -> tuple[list[tuple[Path, Path]], list[Path]]:
    """Which photo becomes which file, all of them checked before the first is enlarged.

    Parameters
    ----------
    sources : sequence of path
        Files, and folders of images. The results of an earlier run are left out where their photo is enlarged too.
    out : path or None
        A folder, or for one photo a file with a suffix of `FORMATS`; None puts each result beside its photo.
    scale : int
    suffix : str
        Results are called ``<stem>_x<scale><suffix>``.
    force : bool
        Replace existing targets.

    Returns
    -------
    plan : list of (photo, target)
    earlier : list of path
        The results that were left out.

    Raises
    ------
    FileNotFoundError, ValueError
        A source is missing or has no image; two photos would become one file, or one is the result of another; several
        photos for one file; a photo for itself; no such format.
    FileExistsError, IsADirectoryError, NotADirectoryError
        A target is there and `force` false, or it is a folder; `out` cannot be a folder.
    """
    found, folder = _list_photos([Path(source) for source in sources]), None if out is None else Path(out)
    photos, earlier = _leave_out_results(found)
    if folder and folder.suffix and not folder.is_dir():
        if len(photos) > 1:
            raise ValueError(f"{folder} is one file, for {len(photos)} photos; name a folder, or make it first")
        find_format(folder)
        if folder.exists() and folder.samefile(photos[0]):  # under any name: not even `force` replaces a photo
            raise ValueError(f"{folder} is the photo itself; name another file")
        return [(photos[0], check_target(folder, force))], earlier
    if folder and (file := next((p for p in (folder, *folder.parents) if p.is_file()), None)):
        raise NotADirectoryError(f"{file} is a file; name a folder, or with one photo a file that ends in .png or .jpg")
    owners: dict[str, tuple[Path, Path]] = {}  # by the file itself, however its folder is spelled
    targets = Targets()
    for photo in photos:
        find_format(target := (folder or photo.parent) / f"{photo.stem}_x{scale}{suffix}")
        if other := targets.take(Path(key := _find_place(target)), photo):
            raise ValueError(f"{other} and {photo} would both become {target}; rename or leave out one")
        owners[key] = (photo, target)
    if both := sorted(owners.keys() & {_find_place(photo) for photo in photos}):
        photo, target = owners[both[0]]
        raise ValueError(f"{target} is a photo to enlarge and the result of {photo}; leave out one")
    return [(photo, check_target(target, force)) for photo, target in owners.values()], earlier


def _list_photos(given: Sequence[Path]) -> list[Path]:
    """The files that were named, and the images of the folders."""
    photos: list[Path] = []
    for path in given:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
        photos += list_images(path) if path.is_dir() else [path]
    return photos


def _leave_out_results(photos: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Those to enlarge, and the results of them: ``a_x2.png`` is one where ``a.png``, ``a.jpg`` … is there as well."""
    stems = {_find_place(photo.with_suffix("")) for photo in photos if photo.suffix.lower() in SUFFIXES}
    kept: list[Path] = []
    earlier: list[Path] = []
    for photo in photos:
        named = re.fullmatch(r"(.+)_x[2-8]", photo.stem)
        is_result = named and photo.suffix.lower() in FORMATS and _find_place(photo.with_name(named[1])) in stems
        (earlier if is_result else kept).append(photo)
    return kept, earlier


def _find_place(path: Path) -> str:
    """Where a file lies or would lie: its folder without links and detours, and its own name."""
    return str(Path(os.path.realpath(path.parent)) / path.name)
