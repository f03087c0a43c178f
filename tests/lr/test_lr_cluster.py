"""LR on a Dask cluster: the bytes and the journal of the way without one, whatever dies."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from support.clusters import ABSENT, start_cluster_of_a_thread

from cli import main
from idn_data.atomic import BusyError, hold
from idn_data.cluster import tasks
from idn_data.cluster.scheduler import ClusterError
from idn_data.lr import cluster
from idn_data.lr.make import LrError, make_lr
from idn_data.lr.making import Computed, store_picture
from idn_data.lr.plan import Job, plan_lr
from idn_data.lr.record import JOURNAL, MARK
from idn_data.patches.header import read_versions

if TYPE_CHECKING:
    from collections.abc import Iterator

distributed = pytest.importorskip("distributed", reason="Dask is not installed; pip install 'idn[dask]'")
psutil = pytest.importorskip(
    "psutil", reason="psutil, which comes with Dask, is not installed; pip install 'idn[dask]'"
)


@pytest.fixture(autouse=True)
def _small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "PICTURES", 2)  # so that five pictures make three tasks


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with start_cluster_of_a_thread() as address:
        yield address


def digest(folder: Path) -> dict[str, str]:
    """Everything in a folder but the journal, and the lines of that, in order and each once."""
    files = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir() if p.name != JOURNAL}
    return {**files, JOURNAL: "".join(sorted(set((folder / JOURNAL).read_text().splitlines(keepends=True))))}


def test_the_command_makes_the_same_pictures_and_keeps_them(
    photos: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").mkdir()
    Path("here", MARK).write_text("of a command that was killed")
    make_lr(photos, "here", 2.0)
    assert not Path("here", MARK).exists()
    for made, kept in ((5, 0), (0, 5), (1, 4)):
        if made == 1:
            Path("there/street.png").unlink()
        command = ["make-lr", photos.name, "--scale", "2", "--out", "there", "--dask", address, "--json", "-"]
        done = CliRunner().invoke(main, command, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
        assert (said["made"], said["kept"]) == (made, kept)
        assert digest(Path("there")) == digest(Path("here"))
    assert "making LR" in done.stderr


def test_a_killed_worker_costs_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_lr(photos, tmp_path / "here", 3)
    killed: list[int] = []

    def kill(what: str, done: int, total: int) -> None:
        client = None if killed or what != "making LR" else distributed.default_client()
        if client and (busy := [worker for worker, keys in client.processing().items() if keys]):
            pids = client.run(os.getpid, on_error="ignore")
            psutil.Process(pids[busy[0]]).kill()
            killed.append(pids[busy[0]])

    made = make_lr(photos, tmp_path / "there", 3, address="local", workers=1, progress=kill)
    assert len(killed) == 1 and len(made.files) == 5
    assert digest(tmp_path / "there") == digest(tmp_path / "here")


def test_a_damaged_picture_and_one_that_stands(photos: Path, tmp_path: Path, address: str) -> None:
    whole = (photos / "stone.bmp").read_bytes()
    (photos / "stone.bmp").write_bytes(whole[: len(whole) // 2])  # its head is sound
    with pytest.raises(LrError, match=r"1 picture\(s\) cannot be used; all others are made; mend them"):
        make_lr(photos, tmp_path / "out", 2, address=address)
    (photos / "stone.bmp").write_bytes(whole)
    (tmp_path / "out" / "stone.png").write_bytes(b"a file of the user's")
    with pytest.raises(FileExistsError, match=r"stone\.png: is there and is not what would be made; --force replaces"):
        make_lr(photos, tmp_path / "out", 2, address=address)
    assert (tmp_path / "out" / "stone.png").read_bytes() == b"a file of the user's"
    made = make_lr(photos, tmp_path / "out", 2, address=address, force=True)
    assert made.made == 5 and not (tmp_path / "out" / MARK).exists()


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (
            {"versions": {**read_versions(), "numpy": "0.1"}},
            r"it has numpy \d.*, not 0\.1: the bytes could differ; install the same",
        ),
        ({"mark": Path("nowhere/.mark")}, rf"it does not see nowhere \({ABSENT}\); --out must lie on"),
        ({"token": "another"}, r"is another folder there; --out must lie on a file system that all machines share"),
        ({"sources": ((Path("a.png"), ""),)}, rf"it does not see a\.png \({ABSENT}\); the pictures must lie on"),
        ({"sources": ((Path(__file__), ""),)}, r"test_lr_cluster\.py is another file there; the pictures must lie on"),
    ],
    ids=["versions", "unseen", "folder", "picture", "other"],
)
def test_faults_of_a_worker(
    photos: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, spoilt: dict[str, object],
    message: str,
) -> None:  # fmt: skip
    lay = cluster.lay_mark

    def spoil(*arguments: object) -> object:
        from contextlib import contextmanager

        @contextmanager
        def spoilt_mark() -> Iterator[cluster.Sight]:
            with lay(*arguments) as sight:  # type: ignore[arg-type]  # the very arguments of `lay_mark`
                yield replace(sight, **spoilt)  # type: ignore[arg-type]  # fields of Sight

        return spoilt_mark()

    monkeypatch.setattr(cluster, "lay_mark", spoil)
    with pytest.raises(ClusterError, match=rf"worker tcp://127\.0\.0\.1:\d+: .*{message}"):
        make_lr(photos, tmp_path / "out", 2, address=address)
    assert not list((tmp_path / "out").glob("*.png"))


def test_a_worker_that_joins_late_is_looked_at_too(photos: Path, tmp_path: Path, address: str) -> None:
    plan = plan_lr(photos, tmp_path / "out", 2)
    plan.out.mkdir()
    sight = cluster.Sight(tmp_path / "nowhere" / "mark", "", read_versions(), ())
    with distributed.Client(address) as client:
        client.subscribe_topic("told", lambda event: None)
        future = client.submit(cluster.make_on_worker, 0, "told", sight, plan.jobs, False, pure=False)
        worker, answer = future.result()
    assert isinstance(answer, ClusterError) and "it does not see" in str(answer)
    assert worker.startswith("tcp://127.0.0.1:")


def test_no_cluster(photos: Path, tmp_path: Path) -> None:
    command = ["make-lr", str(photos), "--scale", "2", "--out", str(tmp_path / "out"), "--dask"]
    done = CliRunner().invoke(main, [*command, str(tmp_path / "none")])
    assert done.exit_code == 1 and done.stderr.count("\n") == 1
    assert "none': no such scheduler file, and no address such as tcp://host:8786" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_task_that_ends_each_worker(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pictures are named, and those of the others stay."""
    monkeypatch.setattr(tasks, "DEATHS", 1)
    seen: list[int] = []

    def kill(what: str, done: int, total: int) -> None:
        client = None if what != "making LR" else distributed.default_client()
        if client and any(client.processing().values()):
            pids = client.run(os.getpid, on_error="ignore")
            for pid in set(pids.values()) - set(seen):
                psutil.Process(pid).kill()
                seen.append(pid)

    with pytest.raises(ClusterError, match=r"pictures \d to \d: 1 workers died while making it; give them more memory"):
        make_lr(photos, tmp_path / "out", 2, address="local", workers=1, progress=kill)
    assert not (tmp_path / "out" / MARK).exists()


def test_a_picture_that_another_still_writes_is_waited_for(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job, *_) = plan_lr(photos, tmp_path / "out", 2).jobs
    job.outputs[0].path.parent.mkdir()
    monkeypatch.setattr(tasks, "PATIENCE", 0.0)
    with (
        hold(job.outputs[0].path),
        pytest.raises(BusyError, match=r"another idn is writing .*harbour\.png; wait"),
    ):
        cluster._make_patiently(job, force=False)
    monkeypatch.setattr(tasks, "PATIENCE", 60.0)
    release = ExitStack()
    release.enter_context(hold(job.outputs[0].path))
    monkeypatch.setattr(cluster.time, "sleep", lambda _: release.close())
    assert len(cluster._make_patiently(job, force=False).files) == 1


def test_a_picture_that_a_lost_worker_finishes_meanwhile_is_compared(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job, *_) = plan_lr(photos, tmp_path / "out", 2).jobs
    compute = cluster.compute_picture

    def compute_late(job: Job, force: bool) -> Computed:
        computed = compute(job, force)
        store_picture(compute(job, force), force)  # by the other
        return computed

    monkeypatch.setattr(cluster, "compute_picture", compute_late)
    stored = cluster._make_patiently(job, force=False)
    assert (stored.stood, len(stored.files)) == (1, 1)
