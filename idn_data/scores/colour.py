"""Methods that take colour: the LR pictures that they get, and what they make of a test image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from idn_data.matlab.classes import im2double
from idn_data.matlab.resize import imresize
from idn_data.scores.protocols import DEFAULT_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from idn_data.matlab.weights import Boundary
    from idn_data.scores.methods import Method
    from idn_data.scores.protocols import ProtocolName
    from idn_data.scores.testset import TestPair

COLOUR_PROTOCOLS: tuple[ProtocolName, ...] = ("y", "rgb")  # whose LR may be a picture


def choose_protocols(methods: Sequence[Method]) -> tuple[ProtocolName, ...]:
    """The protocols that methods are scored in where none is named: those that all of them have a score in."""
    return COLOUR_PROTOCOLS if any(method.colour for method in methods) else DEFAULT_PROTOCOLS


def keep_protocols(method: Method, protocols: Sequence[ProtocolName]) -> list[ProtocolName]:
    """Those of the protocols that a method has a score in."""
    return [name for name in protocols if name in COLOUR_PROTOCOLS or not method.colour]


def check_protocols(method: Method, protocols: Sequence[ProtocolName]) -> None:
    """Refuse protocols that a method in colour has no score in: "float" and "uint8", whose LR is Y alone."""
    if method.colour and (wrong := [name for name in protocols if name not in COLOUR_PROTOCOLS]):
        raise ValueError(f"{method.name} takes RGB, and LR is Y alone in the protocol {wrong[0]}; score it in y or rgb")


def make_lr_picture(pair: TestPair, boundary: Boundary = "symmetric") -> NDArray[np.uint8]:
    """LR in 8 bits, (h, w, 3) or grey (h, w): the picture that was given, else GT reduced by MATLAB's imresize.

    This is the LR of RCAN, EDSR and most papers in colour.

    Raises
    ------
    ValueError
        The pair is of .mat files, which hold no picture.
    """
    if pair.lr_picture is not None:
        return pair.lr_picture
    if pair.picture is None:
        raise ValueError(f"{pair.name}: a .mat holds Y, and a network for RGB takes pictures; name their images")
    return imresize(pair.picture, 1 / pair.scale, boundary=boundary)


def upscale_pair(method: Method, pair: TestPair, boundary: Boundary = "symmetric") -> NDArray[np.float64]:
    """SR of a test image, clipped where the method is: Y, (s·h, s·w); of a method in colour RGB, (s·h, s·w, 3).

    A method in colour gets a grey picture as three equal channels, and the mean of its answer's channels counts.
    """
    if not method.colour:
        return method.enlarge(pair.lr, pair.scale, boundary)
    lr = im2double(make_lr_picture(pair, boundary))
    sr = method.enlarge(lr if lr.ndim == 3 else np.repeat(lr[:, :, None], 3, axis=2), pair.scale, boundary)
    return sr if lr.ndim == 3 else np.asarray(sr.mean(2))
