"""References in a folder of pictures: each input lies beside what MATLAB made of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.images.decode import ImageError, list_images, read_image
from idn_data.images.variants import modcrop
from idn_data.scores.reference import Reference, ReferenceFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def read_pictures(folder: Path) -> Iterator[Reference]:
    """Pair each picture with the input it was made from.

    The input of ``baboon_down_x2_matlab.png`` is ``baboon.png``; of ``lena_123x234_uint8.png`` it is
    ``lena_512x512.png``, whose name ends in its own size. The scale comes from the name (x2, and down or a smaller
    picture for 1/2), else from the sizes.
    """
    try:
        images = {path.stem: (path.name, read_image(path)) for path in list_images(folder)}
    except FileNotFoundError:
        return
    except ImageError as error:
        raise ReferenceFileError(str(error)) from None
    bases: dict[str, str] = {}  # what an input's children begin with -> its stem
    for stem, (_, image) in sorted(images.items(), key=lambda item: item[1][1].size):
        own_size = f"_{image.shape[0]}x{image.shape[1]}"
        bases[stem.removesuffix(own_size)] = stem  # the largest picture of a base wins
    bases.update({stem: stem for stem in images})
    for stem, (file_name, output) in sorted(images.items()):
        parents = [b for b, parent in bases.items() if parent != stem and re.match(re.escape(b) + r"[_\-x]", stem)]
        if parents:
            yield _pair_pictures(images[bases[max(parents, key=len)]], (file_name, output), folder)


def _pair_pictures(
    parent: tuple[str, NDArray[np.uint8]], child: tuple[str, NDArray[np.uint8]], folder: Path
) -> Reference:
    (parent_name, image), (name, output) = parent, child
    if image.ndim != output.ndim:
        raise ReferenceFileError(f"{folder}: {parent_name} and {name} must both be grey or both RGB")
    factor = re.search(r"x(\d+(?:\.\d+)?)(?![\dx])", Path(name).stem.removeprefix(Path(parent_name).stem))
    if factor and 0 < float(factor[1]) <= min(image.shape[:2]):
        down = output.shape[0] < image.shape[0]
        scale = 1 / float(factor[1]) if down else float(factor[1])
        whole = float(factor[1]).is_integer()
        for source in (image, modcrop(image, int(float(factor[1]))) if down and whole else image):
            if tuple(math.ceil(scale * n) for n in source.shape[:2]) == output.shape[:2]:
                return Reference(name, folder.name, source, output, scale=scale)
    return Reference(name, folder.name, image, output, size=(output.shape[0], output.shape[1]))
