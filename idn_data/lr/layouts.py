"""Names and folders of LR pictures, as the common layouts have them."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.images.decode import list_images
from idn_data.namesakes import Targets, name_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from idn_data.lr.reduction import Reduction

LAYOUTS = ("flat", "div2k", "rcan")


@dataclass(frozen=True)
class Output:
    """One file to make: its path, how it is reduced, and whether it is the HR cut for that (True) or the LR."""

    path: Path
    reduction: Reduction
    cut_hr: bool = False


def list_sources(given: Sequence[Path | str]) -> list[Path]:
    """The pictures of folders and single files, each name once, in the order given.

    Two names are two pictures, even where both are links to one file: stores that keep equal files once have such.

    Raises
    ------
    FileNotFoundError
        No such file or folder, or a folder without pictures.
    """
    found: dict[str, Path] = {}
    for path in map(Path, given):
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}; name HR pictures, or folders of them")
        for image in list_images(path) if path.is_dir() else [path]:
            found.setdefault(os.path.normcase(name_whole(image)), image)
    return list(found.values())


def name_outputs(
    source: Path, out: Path, reductions: Sequence[Reduction], layout: str = "flat", suffix: str = "png"
) -> list[Output]:
    """What is made of one picture.

    Parameters
    ----------
    source : path
    out : path
        The folder of everything.
    reductions : sequence of Reduction
        One for each scale.
    layout : {"flat", "div2k", "rcan"}
        "flat": ``baby.png``, of several scales ``x2/baby.png``. "div2k": ``X2/babyx2.png``. "rcan":
        ``LR/LRBI/Set5/x2/baby_LRBI_x2.png`` and ``HR/Set5/x2/baby_HR_x2.png``, LRBD for "blur", where Set5 is the
        name of the picture's folder, of a link that of the link's, and a ``_GT`` or ``_HR`` at the end of its name is
        dropped.
    suffix : str
        Without the dot.

    Returns
    -------
    list of Output
        LR, and where the layout has it the HR, in the order of the scales.
    """
    outputs = []
    for reduction in reductions:
        scale = f"x{reduction.label}"
        if layout == "flat":
            folder = out if len(reductions) == 1 else out / scale
            outputs.append(Output(folder / f"{source.stem}.{suffix}", reduction))
        elif layout == "div2k":
            outputs.append(Output(out / scale.upper() / f"{source.stem}{scale}.{suffix}", reduction))
        else:
            kind = "LRBD" if reduction.degradation == "blur" else "LRBI"
            stem = re.sub("_(GT|HR)$", "", source.stem) or source.stem
            folder = Path(name_whole(source).parent.name, scale)
            lr = out / "LR" / kind / folder / f"{stem}_{kind}_{scale}.{suffix}"
            hr = out / "HR" / folder / f"{stem}_HR_{scale}.{suffix}"
            outputs += [Output(lr, reduction), Output(hr, reduction, cut_hr=True)]
    return outputs


def check_names(outputs: Sequence[tuple[Path, Output]], layout: str) -> None:
    """Refuse outputs that would become one file, and those that are a source or would lie among the sources.

    Parameters
    ----------
    outputs : sequence of (source, Output)
    layout : str
        Of the outputs.

    Raises
    ------
    ValueError
        Two pictures with one name, or an output that is a source, by whatever name: even ``--force`` replaces no HR.
        Or one in the folder of a source: the next run would take it for HR.
    """
    targets, folders = Targets(), {os.path.realpath(folder) for folder in {source.parent for source, _ in outputs}}
    sources = {place: source for source, _ in outputs for place in _find_places(source)}
    for _, output in outputs:
        if hr := next((sources[place] for place in _find_places(output.path) if place in sources), None):
            raise ValueError(f"{output.path} is the HR picture {hr} itself; name another --out")
    for source, output in outputs:
        if os.path.realpath(output.path.parent) in folders:
            raise ValueError(f"{output.path} would lie among the HR pictures; name another --out")
        if (other := targets.take(output.path, source)) not in (None, source):
            apart = "take --layout rcan, which keeps folders apart"
            if layout == "rcan":
                apart = "give each folder an --out of its own"
            raise ValueError(
                f"{other} and {source} would both become {output.path}; rename or leave out one, or {apart}"
            )


def _find_places(path: Path) -> list[object]:
    """By what a file is known: its path without links, and its number on its disk, which has one for all its names.

    The number tells that ``a.png`` and ``A.PNG`` are one file where the disk sees no case, and so of hard links.
    """
    places: list[object] = [os.path.realpath(path)]
    with contextlib.suppress(OSError):  # not there
        found = path.stat()
        places += [(found.st_dev, found.st_ino)] if found.st_ino else []  # 0 where the disk has no numbers
    return places


def note_older(line: str, outputs: Sequence[Output]) -> str:
    """Why a picture is not made, and which files of an earlier run stay in the place of its own."""
    older = [output.path for output in outputs if output.path.exists()]
    if not older:
        return line
    more = f" and {len(older) - 1} more" if len(older) > 1 else ""
    return f"{line}; an older {older[0]}{more} stays: remove it, or mend the picture"
