"""Standard input and output in the place of files: stand-ins on the disk, because picture formats are read in jumps."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from idn_data.images.opening import MAX_BYTES

DASH = Path("-")


@contextlib.contextmanager
def stand_in(
    photos: Sequence[Path], out: Path | None, suffix: str, stdin: BinaryIO | None, stdout: BinaryIO | None
) -> Iterator[tuple[Sequence[Path], Path | None, bool]]:
    """For the time of a block, files for what is called ``-``.

    Parameters
    ----------
    photos : sequence of Path
        ``-`` alone is standard input.
    out : Path or None
        ``-`` is standard output, and so is None with standard input.
    suffix : str
        Of standard output: the format to write.
    stdin, stdout : binary streams, or None
        None: closed. `stdout` gets its picture when the block has ended well.

    Yields
    ------
    photos, out
        Files, or what was given.
    piped : bool
        Whether the picture goes to `stdout`: nothing else may.

    Raises
    ------
    ValueError
        Nothing on standard input, or too much; and the block's own, which then says "standard input" for the file.
    """
    reads, writes = DASH in photos, out == DASH or (out is None and DASH in photos)
    if not (reads or writes):
        yield photos, out, False
        return
    if (reads and stdin is None) or (writes and stdout is None):
        raise ValueError(f"standard {'input' if reads and stdin is None else 'output'} is closed; name a file")
    with tempfile.TemporaryDirectory(prefix="idn-") as folder:
        source, target = Path(folder, "standard input"), Path(folder, f"standard output{suffix}")
        try:
            if reads and stdin:
                data = stdin.read(MAX_BYTES + 1)
                if not 0 < len(data) <= MAX_BYTES:
                    raise ValueError(f"standard input: {len(data):,} bytes, of 1 to {MAX_BYTES:,}; pipe a picture in")
                source.write_bytes(data)
            yield [source] if reads else photos, target if writes else out, writes
        except ValueError as error:
            raise ValueError(str(error).replace(folder + os.sep, "")) from None
        if writes and stdout:
            with target.open("rb") as picture:
                shutil.copyfileobj(picture, stdout)
            stdout.flush()
