"""The .mat test sets of the scripts' ``test_data.m``, as they are written."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scipy.io import savemat

from idn_data.atomic import check_room, check_target, hold, write_whole
from idn_data.images.decode import list_images, read_image
from idn_data.images.sources import Source, check_outputs, read_folder
from idn_data.matlab.matfile import MAX_BYTES
from idn_data.matlab.weights import check_boundary
from idn_data.patches.recipe import SCALES
from idn_data.scores.testset import make_test_pair
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_data.scores.testset import TestPair
    from idn_data.workers import Progress

TEST_SCALES = (*SCALES, 8)
_HEADER = "MATLAB 5.0 MAT-file, written by idn"  # scipy's holds the time of day
_REPLICATED = "; imresize with the border replicate"


def save_mat(path: Path | str, name: str, value: NDArray[np.generic], force: bool = False, note: str = "") -> None:
    """Save one 2-D array as MATLAB 5 .mat, compressed, the same bytes each time.

    Parameters
    ----------
    path : path
    name : str
        Of the variable.
    value : 2-D array
    force : bool
        Replace an existing file.
    note : str
        ASCII, at most 80 characters, for the text that the file begins with.

    Raises
    ------
    FileExistsError, BusyError, OSError
        As `idn_data.atomic.write_whole`.
    """
    head = f"{_HEADER}{note}".ljust(116).encode("ascii")
    buffer = io.BytesIO()
    savemat(buffer, {name: value}, do_compression=True)
    data = head + buffer.getvalue()[len(head) :]
    with write_whole(path, force, len(data)) as temporary:
        temporary.write_bytes(data)


def _name_stem(path: Path) -> str:
    return path.name.split(".")[0]  # the scripts take the name up to its first dot


def _list_names(path: Path, scale: int, colour: bool) -> list[str]:
    return [f"{_name_stem(path)}_{scale}_{part}.mat" for part in (("gt", "lr", "cb", "cr") if colour else ("gt", "lr"))]


def make_test(
    images: Path | str,
    out: Path | str,
    scales: Sequence[int] = SCALES,
    *,
    boundary: Boundary = "symmetric",
    force: bool = False,
    skip_bad: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[int, list[str]]:
    """Write the test set of a folder of images.

    The files are ``<name>_<scale>_gt.mat``, ``_lr.mat`` and, for colour, ``_cb.mat``, ``_cr.mat``. The variables are
    ``gt``, ``lr`` (double) and ``cb``, ``cr`` (uint8), as ``test_data.m`` saves them.

    Parameters
    ----------
    images, out : path
        Folder of images; folder of .mat files, made if missing.
    scales : sequence of int
        Among 2, 3, 4 and 8.
    boundary : {"symmetric", "replicate"}
        Beyond the edge of what is reduced: as newer MATLABs have it, or older ones. The files say it in their first
        line if it is replicate.
    force : bool
        Replace existing files.
    skip_bad : bool
        Leave out images that cannot be read rather than refuse.
    workers : int, optional
        Threads.
    progress : callable(what, done, total), optional

    Returns
    -------
    files : int
        Number of files written.
    skipped : list of str
        One line for each image left out.

    Raises
    ------
    FileNotFoundError, FileExistsError, BadImagesError, BusyError
        Before anything is written.
    OSError
        No room on the disk: nothing is left of what this call wrote.
    ValueError
        Two images share a name, an image is smaller than a scale, a scale is not 2, 3, 4 or 8, or the folder holds
        files of another border.
    """
    out = Path(out)
    if not scales or any(s not in TEST_SCALES for s in scales):
        raise ValueError(
            f"scales must be among {', '.join(map(str, TEST_SCALES))}; got {', '.join(map(str, scales)) or 'none'}"
        )
    check_boundary(boundary)
    scales = sorted(set(scales))
    if not skip_bad:  # else one that is in the way may be left out
        _check_names(list_images(images), out, scales, force)
    sources, skipped = read_folder(images, skip_bad=skip_bad, workers=workers, progress=progress)
    for source in sources:
        _check_size(source, max(scales))
    out.mkdir(parents=True, exist_ok=True)
    with hold(out):
        _check_names([s.path for s in sources], out, scales, force)
        _check_border(out, boundary, {n for s in sources for k in scales for n in _list_names(s.path, k, True)})
        pixels = sum(s.height * s.width for s in sources) * len(scales)  # a byte of each is the least; two are usual
        check_room(out, pixels, "and as much again is usual; make room, or choose another folder with --out")
        made = partial(make_test_pair, boundary=boundary)
        return _write_set(sources, out, scales, made, force, count_workers(workers), progress), skipped


def _check_names(images: Sequence[Path], out: Path, scales: Sequence[int], force: bool) -> None:
    """Refuse two images of one name, and files that stand already."""
    check_outputs(images, lambda path: out / f"{_name_stem(path)}_…mat")
    for path in images:
        for scale in scales:
            for name in _list_names(path, scale, True):
                check_target(out / name, force)


def _check_border(out: Path, boundary: Boundary, replaced: set[str]) -> None:
    """Refuse a folder that would hold LR of both borders."""
    for path in sorted(out.glob("*_lr.mat")):
        if path.name not in replaced and (other := _read_border(path)) not in (None, boundary):
            raise ValueError(
                f"{path} was made with the border {other}, now {boundary}; choose another folder with --out"
            )


def _read_border(path: Path) -> Boundary | None:
    """The border that LR was made with, by the text that a .mat begins with; None for files of others."""
    with path.open("rb") as stream:
        text = stream.read(116).decode("ascii", "replace").rstrip()
    if not text.startswith(_HEADER):
        return None
    return "replicate" if text.endswith(_REPLICATED) else "symmetric"


def _check_size(source: Source, scale: int) -> None:
    """Refuse an image that is too small for a scale, or too large for a file that is read again."""
    size = f"{source.path}: {source.height}x{source.width} pixels are too"
    if min(source.height, source.width) < scale:
        raise ValueError(f"{size} few for scale {scale}")
    if source.height * source.width * 8 > MAX_BYTES:
        raise ValueError(
            f"{size} many for a .mat of doubles, which idn reads up to {MAX_BYTES >> 20} MiB; "
            "idn evaluate takes the images themselves"
        )


def _write_set(
    sources: Sequence[Source],
    out: Path,
    scales: Sequence[int],
    make: Callable[..., TestPair],
    force: bool,
    workers: int,
    progress: Progress | None,
) -> int:
    new: list[Path] = []  # those that stood before are whole, and stay

    def save(path: Path) -> int:
        image = read_image(path)
        for scale in scales:
            pair = make(image, scale)
            for name, part in zip(_list_names(path, scale, image.ndim == 3), ("gt", "lr", "cb", "cr"), strict=False):
                note = _REPLICATED if pair.boundary == "replicate" else ""
                stood = (out / name).exists()
                save_mat(out / name, part, getattr(pair, part), force, note)
                new.extend([] if stood else [out / name])
            if image.ndim == 2:  # Cb and Cr of a colour image that had this name before
                for name in _list_names(path, scale, True)[2:]:
                    (out / name).unlink(missing_ok=True)
        return len(scales) * (4 if image.ndim == 3 else 2)

    files = 0
    try:
        for done, count in enumerate(map_in_order(save, [s.path for s in sources], workers), 1):
            files += count
            if progress:
                progress("writing .mat files", done, len(sources))
    except BaseException:  # a part of a set would pass for a whole one
        for path in new:
            path.unlink(missing_ok=True)
        raise
    return files
