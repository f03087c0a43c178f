"""What tells a sound patch file from a damaged one, without the images: a CRC-32 of each patch, and three digests.

``/crc32`` (N, 2) uint32 holds zlib's CRC-32 of each row's patch in ``/lr``, the bytes of float32, and of its patch in
``/gt``, the values k = 0…255 as bytes, so that it is the same for either storage. ``/digest`` holds the SHA-256 of the
attributes and shapes, of ``/sources`` and of ``/crc32``. Together they find every change of one bit, of up to 32 bits
in a row, zeros, and whatever else with a chance of 1 - 2⁻³².
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, cast

import numpy as np

from idn_data.matlab.compiled import load_kernels

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

PARTS = ("attributes and shapes", "/sources", "/crc32")  # in the order of their digests


def compute_digests(
    attributes: Mapping[str, object],
    shapes: Mapping[str, tuple[int, ...]],
    sources: bytes,
    crc: Iterable[NDArray[np.uint32]],
) -> list[bytes]:
    """SHA-256, hexadecimal, of each of `PARTS`.

    Parameters
    ----------
    attributes : mapping
        Plain Python values. Those that ``digested`` names as JSON count: a user may add others.
    shapes : mapping
        Of the datasets ``lr`` and ``gt``.
    sources : bytes
        ``/sources`` as stored.
    crc : iterable of (n, 2) uint32
        ``/crc32`` in pieces.
    """
    named = json.loads(str(attributes.get("digested", "[]")))
    said = {name: attributes.get(name) for name in [*named, "digested"]}
    text = json.dumps([said, {name: list(shape) for name, shape in shapes.items()}], sort_keys=True, default=repr)
    whole = hashlib.sha256()
    for piece in crc:
        whole.update(np.ascontiguousarray(piece, "<u4").tobytes())
    return [
        digest.hexdigest().encode()
        for digest in (hashlib.sha256(text.encode("utf-8", "surrogatepass")), hashlib.sha256(sources), whole)
    ]


def check_rows(
    lr: NDArray[np.float32], gt: NDArray[np.uint8] | NDArray[np.float32], crc: NDArray[np.uint32] | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The 8-bit values of some GT patches, and which of LR and GT are unsound.

    Parameters
    ----------
    lr : (n, 1, p, p) float32
    gt : (n, 1, s·p, s·p) uint8 or float32
    crc : (n, 2) uint32, optional
        As written. Where there is none, values are judged alone: GT must be k/255 within 1e-6, LR lie in -2…2.

    Returns
    -------
    levels : (n, 1, s·p, s·p) uint8
    bad : (n, 2) bool
        LR, GT.
    """
    n = len(lr)
    bad = np.zeros((n, 2), bool)
    bad[:, 0] = ~(np.abs(lr.reshape(n, -1)) <= 2).all(axis=1)  # so that a NaN is unsound
    stored = gt.dtype == np.uint8
    levels = cast("NDArray[np.uint8]", gt) if stored else np.empty(gt.shape, np.uint8)
    flat = levels.reshape(n, -1)
    if crc is None and gt.dtype != np.uint8:
        values = gt.reshape(n, -1)
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are found here
            np.clip(np.rint(values * np.float32(255)), 0, 255, out=flat, casting="unsafe")
            bad[:, 1] = ~(np.abs(flat / np.float32(255) - values) <= 1e-6).all(axis=1)
    elif crc is not None:
        kernels, exact, found = load_kernels("idn_data.patches.kernels"), np.ones(n, bool), np.empty((n, 2), np.uint32)
        if gt.dtype != np.uint8:
            values = gt.reshape(n, -1)
            kernels.find_levels(values, values.view(np.int32), flat, exact)
        kernels.checksum_rows(lr.reshape(n, -1).view(np.uint8), flat, found)
        bad |= found != crc
        bad[:, 1] |= ~exact
    return levels, bad


def format_rows(rows: NDArray[np.intp], limit: int = 6) -> str:
    """Row numbers in ascending order for people: ``3, 17…19``, and how many there are beyond `limit` ranges."""
    if not len(rows):
        return "none"
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    text = ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}…{run[-1]}" for run in runs[:limit])
    return text + (f" … ({len(rows):,} in all)" if len(runs) > limit else "")
