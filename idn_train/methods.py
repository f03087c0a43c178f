"""Methods by the names that commands take: bicubic, idn, or a file of weights. Torch is loaded only for a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from idn_data.patches.recipe import SCALES
from idn_data.scores.methods import BICUBIC, Method
from idn_train.weightfile import find_weights, list_shipped, tidy_name

if TYPE_CHECKING:
    from collections.abc import Sequence


class WrongScaleError(ValueError):
    """Weights of another scale than was asked for."""


def open_method(
    name: str, scale: int | None = None, self_ensemble: bool = False, device: str = "auto", networks: Sequence[str] = ()
) -> tuple[Method, int | None]:
    """Open a method, and say which one scale it is for; bicubic is for all: None.

    Parameters
    ----------
    name : str
        "bicubic", "idn" (the weights that come along), or the path of a weight file.
    scale : {2, 3, 4}, optional
        Which of the weights that come along; no other name needs it.
    self_ensemble : bool
        Networks: mean of 8 orientations.
    device : str
        Networks: where to compute, as `idn_train.device.choose_device` takes it.
    networks : sequence of str
        Networks of one's own that weights may be of, see `idn_train.checkpoint.load_weights`.

    Returns
    -------
    method : Method
        Named as its weights call themselves, else as their file, or the folder of their run.
    scale : int or None

    Raises
    ------
    ValueError
        A file that is missing, damaged, or of a network that is not named, or no weights of that scale come along; no
        such device.
    """
    if name == "bicubic":
        return BICUBIC, None
    from idn_train.checkpoint import load_weights
    from idn_train.device import choose_device
    from idn_train.upscale import make_method

    network, metadata = load_weights(path := find_weights(name, scale), networks)
    stem = path.absolute().parent.name if path.stem in ("best", "final", "last") else path.stem  # of a run, its folder
    label = (tidy_name(str(metadata.get("name") or stem)) or "network") + ("+" if self_ensemble else "")
    return make_method(network.to(choose_device(device)), label, self_ensemble), network.scale


def open_methods(
    names: Sequence[str],
    scales: Sequence[int] = (),
    self_ensemble: bool = False,
    device: str = "auto",
    networks: Sequence[str] = (),
) -> list[tuple[Method, tuple[int, ...]]]:
    """Open several methods, each with the scales to score it at; no two of one name at one scale.

    Parameters
    ----------
    names : sequence of str
        As `open_method` takes them. "idn" is one network for each scale.
    scales : sequence of int
        Those that are wanted; none: all of bicubic, and each network's own.
    self_ensemble : bool
        Networks: mean of 8 orientations.
    device : str
    networks : sequence of str
        As `open_method`.

    Raises
    ------
    WrongScaleError
        A file of weights of another scale than those that are wanted.
    ValueError
        As `open_method`.
    """
    wanted = tuple(sorted(set(scales)))
    opened: list[tuple[Method, tuple[int, ...]]] = []
    for name in names:
        each: Sequence[int | None] = (wanted or list_shipped() or SCALES) if name == "idn" else (None,)
        for scale in each:
            method, own = open_method(name, scale, self_ensemble, device, networks)
            if own is None:
                opened.append((method, wanted or SCALES))
                continue
            if scale is None and wanted not in ((), (own,)):
                raise WrongScaleError(f"{method.name} is made for scale {own} alone")
            opened.append((_rename(method, own, name, opened), (own,)))
    return opened


def _rename(method: Method, scale: int, name: str, opened: Sequence[tuple[Method, Sequence[int]]]) -> Method:
    """The method under a name that no other of its scale has: best and final of a run call themselves alike."""
    taken = {other.name for other, scales in opened if scale in scales}
    for more in (Path(name).stem, f"({len(opened) + 1})"):
        method = replace(method, name=f"{method.name} {more}") if method.name in taken else method
    return method
