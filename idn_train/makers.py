"""`identify` with all makers of LR pictures that are known: those of `idn_data`, and torch where it is installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from idn_data.lr.candidates import Candidate, Make
from idn_data.lr.identify import Identification, identify_maker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from idn_data.workers import Progress

# mode of torch.nn.functional.interpolate, antialias, align_corners, much used
_MODES = (
    ("bicubic", True, False, True),
    ("bicubic", False, False, True),
    ("bilinear", True, False, True),
    ("bilinear", False, False, True),
    ("area", False, None, False),
    ("nearest", False, None, False),
    ("nearest-exact", False, None, False),
    ("bicubic", False, True, False),
    ("bilinear", False, True, False),
)


def identify(
    lr: Sequence[Path | str] | Path | str,
    hr: Sequence[Path | str] | Path | str,
    *,
    scale: float | None = None,
    pictures: int = 3,
    progress: Progress | None = None,
) -> Identification:
    """What made these LR pictures: MATLAB, Pillow, OpenCV, torch, scikit-image, or none of them.

    Parameters
    ----------
    lr, hr : path or sequence of path
        Pictures or folders; pairs are found by their names.
    scale : float, optional
        HR pixels along one LR pixel; found from the sizes unless given.
    pictures : int
        How many pairs to compare, spread over all.
    progress : callable(what, done, total), optional

    Returns
    -------
    Identification
        ``verdict``, ``candidates`` and what was not tried.

    Raises
    ------
    FileNotFoundError, ImageError
        A path that is not there; a picture that cannot be read.
    ValueError
        No pair, or sizes that no scale explains.
    """
    makers, missing = list_torch()
    return identify_maker(lr, hr, scale=scale, pictures=pictures, makers=makers, missing=missing, progress=progress)


def list_torch() -> tuple[list[Candidate], list[str]]:
    """The candidates of ``torch.nn.functional.interpolate``, and a line where torch is not installed."""
    if find_spec("torch") is None:
        return [], ["torch (not installed: pip install torch)"]
    found = []
    for mode, antialias, align, usual in _MODES:
        method = f"{mode}, align_corners" if align else mode
        widened = antialias if mode.startswith("bi") else None
        for through in ("single", "uint8") if antialias else ("single",):
            make = _choose(mode, antialias, align, through == "uint8")
            # of 8 bits torch computes as Pillow does, to the last bit: then Pillow is named
            much = usual and through == "single"
            found.append(Candidate("torch", method, make, None, through, widened, much, local=not align))
    return found, []


def _choose(mode: str, antialias: bool, align: bool | None, whole: bool) -> Make:
    """``interpolate`` of single precision in [0, 1], or of 8 bits as they are (`whole`)."""

    def make(hr: NDArray[Any], size: tuple[int, int], scale: float) -> NDArray[Any]:
        import torch
        from torch.nn.functional import interpolate

        planes = torch.from_numpy(np.array(np.atleast_3d(hr).transpose(2, 0, 1), order="C"))[None]
        with torch.no_grad():
            source = planes if whole else planes.float() / 255
            made = interpolate(source, size, mode=mode, align_corners=align, antialias=antialias)
            made = made if whole else (made * 255).clamp(0, 255).round().to(torch.uint8)
        return np.asarray(made[0].permute(1, 2, 0).numpy()).reshape(*size, *hr.shape[2:])

    return make
