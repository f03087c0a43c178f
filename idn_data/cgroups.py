"""Limits of the control groups that a process is in: a container's, a cluster job's, a systemd unit's."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")  # lines as "0::/job" of version 2, "4:memory:/job" of version 1


def list_groups(controller: str) -> list[Path]:
    """The folders of this process's group and of those above it, the root last; of version 2, and 1."""
    found: list[Path] = []
    lines: list[str] = []
    with contextlib.suppress(OSError, UnicodeDecodeError):
        lines = _OWN.read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, names, place = [*line.split(":", 2), "", ""][:3]
        if names and controller not in names.split(","):
            continue
        base = ROOT / controller if names else ROOT
        path = PurePosixPath("/") / place
        found += [base / part.relative_to("/") for part in (path, *path.parents) if ".." not in part.parts]
    return list(dict.fromkeys([*found, ROOT, ROOT / controller]))  # within a container, the root is its own


def count_cores() -> float | None:
    """Cores' worth of time that the groups leave a process; None where they set no limit."""
    limits: list[float] = []
    for group in list_groups("cpu"):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # "max" is no number: no limit
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
            limits.append(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
            limits += [int(quota) / int(period)] if int(quota) > 0 else []  # -1: no limit
    return min((limit for limit in limits if limit > 0), default=None)
