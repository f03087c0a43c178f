"""The image sets brought below the data root: what is there, what is missing, each file verified."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from idn_data.atomic import write_whole
from idn_data.images.download import ARCHIVE, REPOSITORY, FetchError
from idn_data.images.sets import Registered, list_registered, locate_set

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from idn_data.images.download import Read
    from idn_data.workers import Progress

ORIGINS = {
    "291": "91 images of Yang et al. 2010, 200 of the BSD, Martin et al. 2001",
    "Set5": "Bevilacqua et al. 2012",
    "Set14": "Zeyde et al. 2010",
    "B100": "100 images of the BSD, Martin et al. 2001",
    "Urban100": "Huang et al. 2015",
}
TERMS = "IDN's authors distribute these images for research; no licence file comes with them."


@dataclass(frozen=True)
class Survey:
    """What is there of a set: files in all, whole and wrong (the others are missing); bytes in all and lacking."""

    set: str
    files: int
    bytes: int
    whole: int
    wrong: int
    bytes_lacking: int
    folder: str


@dataclass(frozen=True)
class Outcome:
    """What became of a file; `why` is empty unless it is wrong or failed."""

    file: Registered
    path: Path
    state: Literal["kept", "fetched", "replaced", "wrong", "failed"]
    why: str = ""


class MissingFilesError(ValueError):
    """Some files could not be had; `lines` holds one line for each of the first."""

    def __init__(self, message: str, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__(message)


def choose_files(sets: Sequence[str]) -> list[Registered]:
    """The registered files of some sets; FetchError for an unknown one."""
    unknown = [name for name in sets if name not in ORIGINS]
    if unknown:
        raise FetchError(f"no set {unknown[0]!r}; one of {', '.join(ORIGINS)}")
    return [file for name in ORIGINS for file in list_registered() if file.set == name and name in sets]


def survey_set(name: str, root: Path) -> Survey:
    """Compare what lies below a data root with the registry, by size and SHA-256."""
    folder, files = locate_set(name, root), choose_files([name])
    states = [_examine(folder / file.name, file) for file in files]
    lacking = sum(file.bytes for file, state in zip(files, states, strict=True) if state != "whole")
    size = sum(file.bytes for file in files)
    return Survey(name, len(files), size, states.count("whole"), states.count("wrong"), lacking, str(folder))


def _examine(path: Path, file: Registered) -> Literal["whole", "missing", "wrong"]:
    try:
        right_size = path.stat().st_size == file.bytes
    except FileNotFoundError:
        return "missing"
    return "whole" if right_size and hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256 else "wrong"


def fetch_files(
    files: Sequence[Registered],
    root: Path,
    read: Read,
    *,
    force: bool = False,
    workers: int = 4,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Put files where they belong below a data root; those that are there and right are kept.

    A file appears under its name only when its size and SHA-256 are right. Other bytes under that name are left and
    reported, unless `force`, or unless they are merely the beginning of the right ones: the leftover of a cut copy.

    Parameters
    ----------
    files : sequence of Registered
    root : Path
        The data root.
    read : callable(file, stop)
        Where the bytes come from: a `download.Web`, or what `download.open_local` gives.

    Returns
    -------
    list of Outcome
        One for each file, in order. The failure of one does not keep the others.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(_obtain, file, root, read, force, stop) for file in files]
        try:
            for done, _ in enumerate(as_completed(running), 1):
                if progress:
                    progress("fetching files", done, len(files))
        except BaseException:  # an interrupt must also end the pauses between attempts
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in running]


def _obtain(file: Registered, root: Path, read: Read, force: bool, stop: threading.Event) -> Outcome:
    path = locate_set(file.set, root) / file.name
    other = Outcome(file, path, "wrong", f"{path} holds other bytes than registered; --force replaces it")
    try:
        state = _examine(path, file)
        if state == "whole":
            return Outcome(file, path, "kept")
        if state == "wrong" and not force and path.stat().st_size >= file.bytes:
            return other
        data = read(file, stop)
        if len(data) != file.bytes:
            size = f"more than {file.bytes:,}" if len(data) > file.bytes else f"{len(data):,}"
            raise FetchError(f"{size} bytes instead of {file.bytes:,}")
        if (found := hashlib.sha256(data).hexdigest()) != file.sha256:
            raise FetchError(f"wrong bytes, SHA-256 {found[:12]} instead of {file.sha256[:12]}")
        if state == "wrong" and not force and not data.startswith(path.read_bytes()):
            return other
        with write_whole(path, force=state == "wrong") as temporary:
            temporary.write_bytes(data)
        return Outcome(file, path, "replaced" if state == "wrong" else "fetched")
    except OSError as error:
        if isinstance(error, FileExistsError) and path.is_file():  # another process was quicker
            return Outcome(file, path, "kept") if _examine(path, file) == "whole" else other
        return Outcome(file, path, "failed", f"{path}: {error.strerror}" if error.strerror else str(error))
    except ValueError as error:  # FetchError; an address that a redirect made impossible
        return Outcome(file, path, "failed", str(error))


def check_outcomes(outcomes: Sequence[Outcome], source: str) -> None:
    """Raise MissingFilesError, with the count, the first names and the next step, unless every file is there."""
    bad = [o for o in outcomes if o.state in ("wrong", "failed")]
    if not bad:
        return
    names = [f"{o.file.set}/{o.file.name}" for o in bad]
    lines = [f"{name}: {o.why}" for name, o in zip(names[:10], bad, strict=False)]
    if len(bad) > 10:
        lines.append(f"… and {len(bad) - 10} more; --json FILE lists them all")
    advice = f"; or bring {ARCHIVE} by other means, and name it with --from" if source == REPOSITORY else ""
    raise MissingFilesError(
        f"{len(bad)} of {len(outcomes)} file(s) could not be had from {source}: {', '.join(names[:3])}"
        f"{' …' if len(bad) > 3 else ''}; the same command goes on with the missing ones{advice}",
        lines,
    )
