"""Names and folders of LR pictures, as the common layouts have them."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.images.decode import list_images

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
    """The pictures of folders and single files, each once, in the order given.

    Raises
    ------
    FileNotFoundError
        No such file or folder, or a folder without pictures.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, given):
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}; name HR pictures, or folders of them")
        for image in list_images(path) if path.is_dir() else [path]:
            found.setdefault(image.resolve(), image)
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
        name of the picture's folder, and a ``_GT`` or ``_HR`` at the end of its name is dropped.
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
            folder = Path(source.resolve().parent.name, scale)
            lr = out / "LR" / kind / folder / f"{stem}_{kind}_{scale}.{suffix}"
            hr = out / "HR" / folder / f"{stem}_HR_{scale}.{suffix}"
            outputs += [Output(lr, reduction), Output(hr, reduction, cut_hr=True)]
    return outputs


def check_names(outputs: Sequence[tuple[Path, Output]]) -> None:
    """Refuse outputs that would become one file, and those that are a source.

    Parameters
    ----------
    outputs : sequence of (source, Output)

    Raises
    ------
    ValueError
        Two pictures with one name, or an output in the place of a source: even ``--force`` replaces no HR.
    """
    owners: dict[str, Path] = {}
    sources = {source.resolve() for source, _ in outputs}
    for source, output in outputs:
        if output.path.resolve() in sources:
            raise ValueError(f"{output.path} is an HR picture itself; name another --out")
        name = str(output.path)
        other = owners.setdefault(name.casefold() if sys.platform in ("win32", "darwin") else name, source)
        if other != source:
            raise ValueError(
                f"{other} and {source} would both become {output.path}; rename or leave out one, "
                "or take --layout rcan, which keeps folders apart"
            )
