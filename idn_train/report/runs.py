"""What run folders and weight files say of themselves."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idn_data.namesakes import name_whole
from idn_data.patches.recipe import SCALES
from idn_data.scores.methods import BICUBIC
from idn_train.metrics import read_rows
from idn_train.weightfile import MAX_BYTES, MAX_OWN_BYTES, OWN_SCALES, read_tensors, tidy_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from idn_data.scores.protocols import ProtocolName


@dataclass(frozen=True)
class Point:
    """A row of metrics.csv; PSNR in dB."""

    step: int
    minutes: float
    loss: float
    psnr: float | None


@dataclass(frozen=True)
class Run:
    """One network of a report: a name of its own, its weight file, what that says of itself, and how it learned."""

    name: str
    path: Path
    scale: int
    facts: Mapping[str, Any]
    points: tuple[Point, ...] = ()

    @property
    def validated_in(self) -> ProtocolName:
        """The protocol of its validation PSNR."""
        return "y" if self.facts.get("channels") == 3 else "float"


def read_runs(
    paths: Sequence[Path], weights: Literal["final", "best"] | None = None, *, own: bool = False
) -> list[Run]:
    """What run folders, or weight files, say of themselves.

    Parameters
    ----------
    paths : sequence of path
        Folders of ``idn train``, with their ``metrics.csv``; or single .safetensors.
    weights : {"final", "best"}, optional
        Which weights of a folder; by default the final ones if they are there, else the best.
    own : bool
        Weights may be of a network of one's own: of its sizes and scales.

    Raises
    ------
    ValueError
        A folder that is no run, or a file that is damaged or from elsewhere.
    """
    found: list[tuple[str, int, Path, dict[str, Any], tuple[Point, ...]]] = []
    taken = {"GT", BICUBIC.name}
    for path in paths:
        file: Path = path
        points: tuple[Point, ...] = ()
        if path.is_dir():
            there = [path / f"{name}.safetensors" for name in ([weights] if weights else ("final", "best"))]
            if not any(f.is_file() for f in there):
                wanted = " or ".join(f.name for f in there)
                raise ValueError(f"{path}: no {wanted} here; name the folder of an 'idn train' that got so far")
            file, points = next(f for f in there if f.is_file()), _read_points(path / "metrics.csv")
        arrays, said = read_tensors(file, MAX_OWN_BYTES if own else MAX_BYTES)
        scale = said.get("scale")
        allowed = SCALES if said.get("network", "idn") == "idn" else OWN_SCALES
        if type(scale) is not int or scale not in allowed:
            known = ", ".join(map(str, allowed))
            raise ValueError(f"{file}: scale {repr(scale)[:40]} is none of {known}; name weights, not a state")
        facts = {**said, "file": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        if said.get("network", "idn") == "idn" or type(said.get("parameters")) is not int:  # else buffers would count
            facts["parameters"] = sum(array.size for array in arrays.values() if array.dtype.kind == "f")
        found.append((_name_run(path, said), scale, file, facts, points))
    runs: list[Run] = []
    for plain, scale, file, facts, points in found:
        if len({f[1] for f in found if f[0] == plain}) > 1:
            plain = f"{plain} ×{scale}"
        name = plain
        count = 1
        while name in taken:
            count += 1
            name = f"{plain} ({count})"
        taken.add(name)
        runs.append(Run(name, file, scale, facts, points))
    return runs


def _name_run(path: Path, said: Mapping[str, Any]) -> str:
    """A folder's name; or what the file calls itself, else its own name."""
    if path.is_dir():
        name = name_whole(path).name
    else:
        name = str(said.get("name") or path.stem)
        if name in ("best", "final"):
            name = f"{name_whole(path).parent.name} {name}"
    return tidy_name(name) or "network"


def _read_points(path: Path) -> tuple[Point, ...]:
    try:
        points = [
            Point(int(r["step"]), float(r["seconds"]) / 60, float(r["loss"]), float(r["psnr"]) if r["psnr"] else None)
            for r in read_rows(path)
        ]
        for p in points:
            if not all(map(math.isfinite, (p.minutes, p.loss, p.psnr or 0.0))) or min(p.step, p.minutes, p.loss) < 0:
                raise ValueError(f"step {p.step} holds a value below 0 or not finite")
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{path}: not the metrics of a run ({reason}); name its .safetensors to do without") from None
    return tuple(points)
