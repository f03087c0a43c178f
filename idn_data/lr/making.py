"""One picture of `make_lr`: computed, and stored, in two steps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from idn_data.atomic import write_whole
from idn_data.images.decode import ImageError
from idn_data.images.exact import encode_exact, read_exact
from idn_data.lr.degrade import cut_picture, reduce_picture
from idn_data.lr.record import digest_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from idn_data.lr.plan import Job


@dataclass(frozen=True)
class Computed:
    """What is to become of one picture: its digest, and the bytes of each file; None where it stands already."""

    job: Job
    digest: str = ""
    files: tuple[bytes | None, ...] = ()
    bad: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stored:
    """What became of one picture: its digest and those of its files, how many stood already, and what is wrong."""

    digest: str = ""
    files: tuple[str, ...] = ()
    stood: int = 0
    bad: tuple[str, ...] = ()


def compute_picture(job: Job, force: bool) -> Computed:
    """Decode a picture once, and encode all its outputs; FileExistsError for one that is there and is another."""
    try:
        digest = digest_file(job.source)
        hr = read_exact(job.source, compiled=True)
    except ImageError as error:
        return Computed(job, bad=(str(error),))
    except OSError as error:
        return Computed(job, bad=(f"{job.source}: {error.strerror or error}",))
    files: list[bytes | None] = []
    for output in job.outputs:
        cut = cut_picture(hr, output.reduction)
        pixels = cut if output.cut_hr else reduce_picture(cut, output.reduction)
        if output.path.exists() and not force:
            _compare(output.path, pixels)
            files.append(None)
        else:
            files.append(encode_exact(pixels, output.path.suffix[1:]))
    return Computed(job, digest, tuple(files))


def store_picture(computed: Computed, force: bool) -> Stored:
    """Write the files of a picture, each whole or not at all; FileExistsError for one that is there and is another."""
    if computed.bad:
        return Stored(bad=computed.bad)
    try:
        return _write_files(computed, force)
    except FileExistsError:  # a worker that was thought lost wrote it meanwhile: once more, and what stands is compared
        again = compute_picture(computed.job, force)
        return Stored(bad=again.bad) if again.bad else _write_files(again, force)


def _write_files(computed: Computed, force: bool) -> Stored:
    digests = []
    for output, data in zip(computed.job.outputs, computed.files, strict=True):
        if data is None:
            digests.append(digest_file(output.path))
        else:
            if output.path.is_symlink() and (force or not output.path.exists()):
                output.path.unlink()  # the link, not what it leads to: in a store that is the file of equal pictures
            with write_whole(output.path, force, len(data)) as temporary:
                temporary.write_bytes(data)
            digests.append(hashlib.sha256(data).hexdigest())
    return Stored(computed.digest, tuple(digests), computed.files.count(None))


def _compare(path: Path, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """FileExistsError unless the picture that stands there has these pixels."""
    try:
        same = np.array_equal(read_exact(path), pixels)
    except ImageError:
        same = False
    if not same:
        raise FileExistsError(f"{path}: is there and is not what would be made; --force replaces it, "
                              "or name another --out")  # fmt: skip
