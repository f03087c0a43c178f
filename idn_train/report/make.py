"""What goes into a report about networks, and its making: runs and weight files, images, scores. No torch here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from idn_data.images.decode import list_images
from idn_data.images.sets import TEST_SETS, find_set
from idn_data.scores.benchmark import evaluate
from idn_data.scores.colour import COLOUR_PROTOCOLS, keep_protocols
from idn_data.scores.figure import make_panels
from idn_data.scores.methods import BICUBIC
from idn_data.scores.protocols import DEFAULT_PROTOCOLS
from idn_data.scores.sets import check_set_names
from idn_train.report.page import Picture, format_page
from idn_train.report.runs import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idn_data.pictures import Panel
    from idn_data.scores.methods import Method
    from idn_data.scores.sets import TestSet
    from idn_data.workers import Progress
    from idn_train.report.page import Scores

VIEW_SIDE = 384  # pixels of an image that are shown, along a side: PNG of a view takes 200 to 300 KB
SHOWN = ("butterfly", "bird", "baby")  # of Set5, where no image is named


def find_images(names: Sequence[str], test_sets: Sequence[TestSet], root: Path) -> list[Path]:
    """The files of images by ``SET/NAME`` or path; without names, three of the first set that is there as images.

    Raises
    ------
    FileNotFoundError, ValueError
        The set or the image is not there.
    """
    if not names:
        paths = next((s.paths for s in test_sets if not s.mat), ())
        liked = [path for name in SHOWN for path in paths if _strip(path) == name]
        return liked or list(paths[: len(SHOWN)])
    found = []
    for name in names:
        folder, _, image = name.replace("\\", "/").rpartition("/")
        if not Path(name).is_file() and folder in TEST_SETS:
            there = list_images(find_set(folder, root))
            fits = [path for path in there if image in (path.name, path.stem, _strip(path))]
            if not fits:
                held = ", ".join(map(_strip, there[:8]))
                raise ValueError(f"no image {image!r} in {folder}; it has {held}{' …' if len(there) > 8 else ''}")
            found.append(fits[0])
        elif Path(name).is_file():
            found.append(Path(name))
        else:
            raise ValueError(f"{name}: no such image; give SET/NAME, such as Set5/butterfly, or the path of a file")
    return found


def _strip(path: Path) -> str:
    return path.stem.removesuffix("_GT")  # as the authors name GT images


def find_crop(gt: NDArray[np.uint8], other: NDArray[np.uint8], side: int = VIEW_SIDE) -> tuple[slice, slice]:
    """Rows and columns of the window, at most `side` pixels high and wide, where two images differ the most."""
    height, width = (min(side, n) for n in gt.shape[:2])
    error = np.square(gt.astype(np.float64) - other).reshape(*gt.shape[:2], -1).sum(2)
    total = np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    y, x = (int(n) for n in np.unravel_index(sums.argmax(), sums.shape))
    return slice(y, y + height), slice(x, x + width)


def make_report(
    networks: Sequence[tuple[Run, Method]],
    test_sets: Sequence[TestSet],
    images: Sequence[Path],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> str:
    """Score networks, enlarge images with them, and write all of it as one HTML page.

    Networks for RGB are scored in "y" and "rgb", and the others of their scale in these as well. The page needs no
    other file and no connection. Equal inputs give equal pages.

    Parameters
    ----------
    networks : sequence of (Run, Method)
        From `read_runs`, each with what enlarges by its weights.
    test_sets : sequence of TestSet
        To score them on; may be empty.
    images : sequence of path
        To show, with bicubic and every network of a scale; may be empty.
    workers : int, optional
        Threads.
    progress : callable(what, done, total), optional

    Returns
    -------
    str
        The page. Every text in it is escaped.

    Raises
    ------
    ImageError, ValueError
        No network, or two sets of one name; an image that cannot be used; a network of another scale than its file
        says.
    """
    if not networks:
        raise ValueError("a report needs a network; name the folder of a run or a weight file")
    check_set_names(test_sets)
    scores: Scores = {}
    pictures = []
    for scale in sorted({run.scale for run, _ in networks}):
        methods = [BICUBIC, *(replace(m, name=run.name) for run, m in networks if run.scale == scale)]
        colour = COLOUR_PROTOCOLS if any(m.colour for m in methods) else ()
        for test_set in test_sets:
            for method in methods:
                what = f"{test_set.name} x{scale} {method.name}"[:22]
                protocols = keep_protocols(method, (*DEFAULT_PROTOCOLS, *colour))
                found, _ = evaluate(
                    method, test_set, scale, protocols, workers=workers, progress=_relabel(progress, what)
                )  # fmt: skip
                scores |= {(s.set, s.scale, s.method, s.protocol): s for s in found}
        for done, path in enumerate(images, 1):
            pictures.append(make_picture(path, scale, methods))
            if progress:
                progress(f"pictures x{scale}", done, len(images))
    return format_page([run for run, _ in networks], scores, pictures)


def _relabel(progress: Progress | None, what: str) -> Progress | None:
    return (lambda _, done, total: progress(what, done, total)) if progress else None


def make_picture(path: Path, scale: int, methods: Sequence[Method], side: int = VIEW_SIDE) -> Picture:
    """GT of an image and what each method, bicubic first, makes of its LR: the part where bicubic errs the most."""
    return cut_panels(_strip(path), scale, make_panels(path, scale, methods), side)


def cut_panels(name: str, scale: int, panels: Sequence[Panel], side: int = VIEW_SIDE) -> Picture:
    """The part of all panels, GT and bicubic first, where bicubic errs the most."""
    height, width = panels[0].image.shape[:2]
    rows, columns = find_crop(panels[0].image, panels[1].image, side)
    shown = [replace(panel, image=np.ascontiguousarray(panel.image[rows, columns])) for panel in panels]
    return Picture(name, scale, (width, height), (columns.start, rows.start), shown)
