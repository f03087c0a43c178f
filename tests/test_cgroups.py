"""Limits of control groups: a container's at the root, a job's in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from idn_data import cgroups, memory
from idn_data.workers import count_workers


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine's groups; the process is in /job/step of version 2, and in /slurm of version 1's memory and cpu."""
    own = tmp_path / "own"
    own.write_text("12:cpu,cpuacct:/slurm\n4:memory:/slurm\n0::/job/step\n")
    monkeypatch.setattr(cgroups, "_OWN", own)
    monkeypatch.setattr(cgroups, "ROOT", tmp_path / "cgroup")
    for folder in ("job/step", "memory/slurm", "cpu/slurm"):
        (tmp_path / "cgroup" / folder).mkdir(parents=True)
    return tmp_path / "cgroup"


def test_the_groups_of_a_process(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {str(path.relative_to(groups)) for path in cgroups.list_groups("memory")}
    assert found == {".", "job", "job/step", "memory", "memory/slurm"}
    monkeypatch.setattr(cgroups, "_OWN", groups / "none")
    assert cgroups.list_groups("cpu") == [groups, groups / "cpu"]
    assert memory.find_free_memory() is None or memory.find_free_memory() > 1 << 20
    assert cgroups.count_cores() is None


@pytest.mark.parametrize("folder", [".", "job", "job/step"])
def test_memory_of_version_2(groups: Path, folder: str) -> None:
    (groups / folder / "memory.max").write_text("5000\n")
    (groups / folder / "memory.current").write_text("3000\n")
    (groups / folder / "memory.stat").write_text("anon 7\ninactive_file 500\n")
    assert memory.find_free_memory() == 2500
    (groups / folder / "memory.max").write_text("max\n")
    assert memory.find_free_memory() != 2500


@pytest.mark.parametrize("folder", ["memory", "memory/slurm"])
def test_memory_of_version_1(groups: Path, folder: str) -> None:
    (groups / folder / "memory.limit_in_bytes").write_text("900\n")
    (groups / folder / "memory.usage_in_bytes").write_text("950\n")
    (groups / folder / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 90\n")
    assert memory.find_free_memory() == 40


@pytest.mark.parametrize(("text", "cores"), [("150000 100000", 1.5), ("max 100000", None), ("nonsense", None)])
def test_cores_of_version_2(groups: Path, monkeypatch: pytest.MonkeyPatch, text: str, cores: float | None) -> None:
    (groups / "job" / "cpu.max").write_text(f"{text}\n")
    assert cgroups.count_cores() == cores
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(64)), raising=False)
    assert count_workers() == (2 if cores else 64) and count_workers(7) == 7


def test_cores_of_version_1(groups: Path) -> None:
    (groups / "cpu" / "slurm" / "cpu.cfs_quota_us").write_text("-1\n")
    (groups / "cpu" / "slurm" / "cpu.cfs_period_us").write_text("100000\n")
    assert cgroups.count_cores() is None
    (groups / "cpu" / "slurm" / "cpu.cfs_quota_us").write_text("400000\n")
    assert cgroups.count_cores() == 4
