"""What stands in an output folder, and what made it: a journal beside the pictures, a line for each finished one.

The journal is only added to, after a picture has its name, so that a killed run leaves at most a torn last line, and a
picture that is not in it. Without the journal nothing is lost but time: pictures are then made again and compared.
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idn_data.atomic import write_text

if TYPE_CHECKING:
    from types import TracebackType

    from idn_data.lr.layouts import Output

JOURNAL = ".idn-lr.jsonl"
MARK = ".idn-lr.mark"  # by which the workers of a cluster know the folder, for the time of a run


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream)


def _digest(stream: Any) -> str:  # Python 3.10
    whole = hashlib.sha256()
    while block := stream.read(1 << 18):
        whole.update(block)
    return whole.hexdigest()


class Journal:
    """The journal of an output folder; one process at a time writes it (`idn_data.atomic.hold` of the folder)."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / JOURNAL
        self._lock = threading.Lock()
        self._lines = _read_lines(self.path)

    def __enter__(self) -> Journal:
        """Open for adding, after a journal with torn or outdated lines is written anew."""
        text = "".join(map(_format, self._lines.values()))
        if self.path.exists() and self.path.read_bytes() != text.encode():
            write_text(self.path, text, force=True)
        self._stream = self.path.open("a", encoding="utf-8", newline="\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()

    def find(self, output: Output) -> dict[str, Any] | None:
        """The line of an output; None where there is none."""
        return self._lines.get(self._name(output))

    def same_settings(self, output: Output) -> bool:
        """Whether the output's line says that it was made in this way."""
        line = self.find(output)
        return line is not None and all(line.get(k) == v for k, v in _say_how(output).items())

    def add(self, output: Output, sha256: str, source: Path, source_sha256: str) -> None:
        """Add the line of a finished output, with the digests of its file and of its source."""
        line = {
            "file": self._name(output),
            "sha256": sha256,
            "source": source.name,
            "source_sha256": source_sha256,
            **_say_how(output),
        }
        with self._lock:
            self._lines[line["file"]] = line
            self._stream.write(_format(line))
            self._stream.flush()

    def _name(self, output: Output) -> str:
        return output.path.relative_to(self.folder).as_posix()


def _say_how(output: Output) -> dict[str, Any]:
    """The settings that decide an output's pixels: of an HR that is cut, the scale alone."""
    if output.cut_hr:
        return {"kind": "HR", "scale": output.reduction.scale}
    return {"kind": "LR", **output.reduction.settings()}


def _format(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False) + "\n"


def _read_lines(path: Path) -> dict[str, dict[str, Any]]:
    """The lines by file, later ones first to be believed; lines that are torn or no such lines are passed over."""
    lines: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return lines
    for text in path.read_bytes().split(b"\n"):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("file"), str):
            lines[line["file"]] = line
    return lines
