"""data_aug.m's pictures: the 40 variants of each image as files, for those who want to see or use them."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from idn_data.atomic import check_room, check_target, hold, write_whole
from idn_data.images.decode import list_images, read_y
from idn_data.images.sources import Source, check_outputs
from idn_data.images.variants import VARIANTS, make_variants, variant_shapes
from idn_data.workers import count_workers, map_in_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_data.workers import Progress


def check_names(images: Path | str, folder: Path, skip_bad: bool = False) -> None:
    """Raise ValueError if two images would have augmented files of one name in a folder, before any is decoded.

    With `skip_bad`, one of the two may be left out: then `save_augmented` knows more. ValueError also for the folder
    of the images itself, where the next run would take the variants for images.
    """
    if folder.exists() and folder.samefile(images):
        raise ValueError(f"{folder} is the folder of the images; save their variants to another")
    if not skip_bad:
        check_outputs(list_images(images), partial(_name_variants, folder))


def save_augmented(
    sources: tuple[Source, ...],
    folder: Path | str,
    *,
    boundary: Boundary = "symmetric",
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Save the 40 variants of each image as 8-bit grey BMP, named as ``data_aug.m`` names them: ``<image>_<0…39>.bmp``.

    Parameters
    ----------
    sources : sequence of Source
    folder : path
        Made if missing.
    boundary : {"symmetric", "replicate"}
        Beyond the edge of what is reduced.
    force : bool
        Replace existing files.
    workers : int, optional
        Threads; all cores by default.
    progress : callable(what, done, total), optional

    Returns
    -------
    int
        Files that are there now.

    Raises
    ------
    ValueError
        Two images would have files of one name; nothing was written.
    FileExistsError
        A name stands already, and holds another picture than this very variant; nothing was written. A stopped command
        can be given again.
    BusyError, OSError
        Another process writes there; too little disk space.
    """
    folder = Path(folder)
    check_outputs([s.path for s in sources], partial(_name_variants, folder))
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder):
        for source in sources:
            stem = source.path.stem
            variants = make_variants(read_y(source.path), boundary) if _any_stands(folder, stem) else ()
            for number, variant in enumerate(variants):
                path = folder / f"{stem}_{number}.bmp"
                if force or not path.is_file() or path.read_bytes() != _encode_bmp(variant):
                    check_target(path, force)
        check_room(folder, sum(_count_missing(source, folder, force) for source in sources))
        return _save_variants(sources, folder, boundary, force, count_workers(workers), progress)


def _name_variants(folder: Path, image: Path) -> Path:
    return folder / f"{image.stem}_<0…{VARIANTS - 1}>.bmp"


def _count_missing(source: Source, folder: Path, force: bool) -> int:
    """Pixels of the variants that are still to be saved."""
    sizes = enumerate(variant_shapes(source.height, source.width))
    return sum(h * w for k, (h, w) in sizes if force or not (folder / f"{source.path.stem}_{k}.bmp").exists())


def _any_stands(folder: Path, stem: str) -> bool:
    return any((folder / f"{stem}_{number}.bmp").exists() for number in range(VARIANTS))


def _encode_bmp(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="BMP")
    return buffer.getvalue()


def _save_variants(
    sources: tuple[Source, ...], folder: Path, boundary: Boundary, force: bool, workers: int, progress: Progress | None
) -> int:
    def save(source: Source) -> int:
        number = 0
        for number, variant in enumerate(make_variants(read_y(source.path), boundary), 1):
            path = folder / f"{source.path.stem}_{number - 1}.bmp"
            if force or not path.exists():  # else it is this variant already
                with write_whole(path, force) as temporary:
                    temporary.write_bytes(_encode_bmp(variant))
        return number

    total = 0
    for done, count in enumerate(map_in_order(save, sources, workers), 1):
        total += count
        if progress:
            progress("saving augmented images", done, len(sources))
    return total
