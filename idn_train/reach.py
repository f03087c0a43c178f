"""How far a network looks: the LR pixels around a tile that its SR depends on."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from idn_train.device import free_memory, is_memory_full
from idn_train.owncode import NetworkError

if TYPE_CHECKING:
    from idn_train.ownnetwork import OwnNetwork

_LOG = logging.getLogger(__name__)  # without a handler, warnings go to standard error

TRIED = (8, 16, 24, 32, 48, 64)  # LR pixels
CORE = 24  # side of the tiles that are compared; even, as tiles begin at even pixels
EQUAL = 1e-5  # of [0, 1]: below a hundredth of an 8-bit step


@torch.no_grad()  # not inference_mode: a network may keep what it makes here, and train on with it
def measure_reach(network: OwnNetwork) -> int | None:
    """The least surroundings, in LR pixels, with which a tile equals that part of the whole picture.

    This is tried on a random picture, with its tiles at two places and at its corner. None: not even 64 pixels do. Such
    networks pool over large parts of the picture, or resize by factors that depend on its size.
    """
    device = next(network.parameters()).device
    side = 2 * TRIED[-1] + 3 * CORE
    generator = torch.Generator().manual_seed(0)
    squares = [torch.rand(1, network.channels, side // n + 1, side // n + 1, generator=generator) for n in (1, 8, 64)]
    spread = [s.repeat_interleave(n, 2).repeat_interleave(n, 3) for s, n in zip(squares, (1, 8, 64), strict=True)]
    image = torch.stack([s[..., :side, :side] for s in spread]).mean(0).to(device)  # fine and coarse, as pictures are
    whole = network.predict_residual(image)
    for reach in TRIED:
        if all(_equals(network, image, whole, at, reach) for at in (TRIED[-1], TRIED[-1] + CORE + 2, 0)):
            return reach
    return None


def _equals(network: OwnNetwork, image: torch.Tensor, whole: torch.Tensor, at: int, reach: int) -> bool:
    """Whether the tile at row and column `at`, with its surroundings, gives that part of the whole."""
    first, s = max(0, at - reach), network.scale
    around = slice(first, at + CORE + reach)
    try:
        tile = network.predict_residual(image[..., around, around])
    except NetworkError:  # some take no tile so small
        return False
    own, there = slice(s * (at - first), s * (at - first + CORE)), slice(s * at, s * (at + CORE))
    return bool((tile[..., own, own] - whole[..., there, there]).abs().max() < EQUAL)


def find_reach(network: OwnNetwork) -> int:
    """`measure_reach`, once for a network; 64 with a word in the log where tiles can only come near the whole."""
    if network.reach is None:
        try:
            network.reach = measure_reach(network)
        except RuntimeError as error:
            if not is_memory_full(error):
                raise
            free_memory(next(network.parameters()).device)
            network.reach = TRIED[-1]
            _LOG.warning(
                "%s: not enough memory to tell how far it looks; %d pixels around each tile", network.label, TRIED[-1]
            )
        if network.reach is None:
            network.reach = TRIED[-1]
            _LOG.warning(
                "%s looks at more than %d pixels around: tiles come near the whole picture, but do not equal it; "
                "a --tile of the picture's side computes it whole",
                network.label,
                TRIED[-1],
            )
    return network.reach
