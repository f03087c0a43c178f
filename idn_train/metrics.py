"""The rows of a training's metrics.csv, and TensorBoard's."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from idn_data.atomic import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


MAX_BYTES = 64 << 20  # a row of metrics.csv has 40


METRICS = ("step", "epoch", "loss", "rate", "psnr", "seconds")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file by the names of its columns; none where there is no file.

    Raises
    ------
    ValueError
        The file is no CSV in UTF-8, too large, or a row has not as many fields as there are columns.
    """
    if not path.is_file():
        return []
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: over {MAX_BYTES >> 20} MiB, too large for such a table")
    rows = []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                rows.append(row)
                if None in row or None in row.values():
                    raise csv.Error(f"row {len(rows)} has not as many fields as there are columns")
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a sound CSV file ({' '.join(str(error).split())})") from None
    return rows


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Rows of a ``metrics.csv``, as `read_rows`; ValueError also where they are not those of a run."""
    rows = read_rows(path)
    for number, row in enumerate(rows, 1):
        if set(row) != set(METRICS):
            raise ValueError(f"{path}: its columns are not {', '.join(METRICS)}")
        for name, value in row.items():
            if not _is_number(name, value) and (name != "psnr" or value):
                raise ValueError(f"{path}: {name} of row {number} is {value[:20]!r}")
    return rows


def _is_number(name: str, text: str) -> bool:
    """Whether this is what `name` may be in a training: finite, and neither giant nor, but for a PSNR, below zero."""
    try:
        number = int(text) if name in ("step", "epoch") else float(text)
    except ValueError:
        return False
    return abs(number) < 1e15 and (number >= 0 or name == "psnr")


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write rows of equal columns as CSV, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with write_whole(path, force=True) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def open_tensorboard(folder: Path) -> Callable[[Mapping[str, str], str, NDArray[Any] | None], None]:
    """A function that adds a row of ``metrics.csv`` and an image by a name for TensorBoard.

    The image is (H, W) or (H, W, 3) in [0, 1], or None.

    Raises
    ------
    ModuleNotFoundError
        TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ModuleNotFoundError:
        raise ModuleNotFoundError("TensorBoard is not installed; pip install 'idn[tensorboard]'") from None
    writer: Any = SummaryWriter(str(folder))

    def add(row: Mapping[str, str], name: str, image: NDArray[Any] | None) -> None:
        for value in ("loss", "rate", "psnr"):
            if row[value]:
                writer.add_scalar(value, float(row[value]), int(row["step"]))
        if image is not None:
            writer.add_image(name, image.clip(0, 1), int(row["step"]), dataformats="HW" if image.ndim == 2 else "HWC")
        writer.flush()

    return add
