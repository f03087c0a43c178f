"""Shards on a Dask cluster: the bytes of the serial way, whatever dies."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from support.clusters import ABSENT, start_cluster_of_a_thread
from support.running import COMMAND

from cli import main
from idn_data.atomic import BusyError, hold
from idn_data.cluster import scheduler, tasks
from idn_data.cluster.scheduler import ClusterError, check_cluster, find_scheduler
from idn_data.images.decode import ImageError
from idn_data.patches import order
from idn_data.patches.cluster import make_train_on_cluster
from idn_data.patches.header import read_versions
from idn_data.patches.order import Order
from idn_data.patches.recipe import Recipe
from idn_data.patches.trainplan import TrainSet, plan_train
from idn_data.patches.trainset import make_train

if TYPE_CHECKING:
    from collections.abc import Iterator

distributed = pytest.importorskip("distributed", reason="Dask is not installed; pip install 'idn[dask]'")
psutil = pytest.importorskip(
    "psutil", reason="psutil, which comes with Dask, is not installed; pip install 'idn[dask]'"
)

SMALL = Recipe(3, "pretrain", lr_patch=5)


def plan(photos: Path, out: Path, shards: int = 3) -> TrainSet:
    return plan_train(photos, out, SMALL, shards=shards, storage="uint8")


def digest(folder: Path) -> dict[str, str]:
    """Everything in a folder, hidden files as well."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def stamp(folder: Path) -> dict[str, tuple[int, int]]:
    """Which files these are, whatever they hold."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.iterdir()}


@pytest.fixture
def serial(photos: Path, tmp_path: Path) -> dict[str, str]:
    """What the serial way makes."""
    made = plan(photos, tmp_path / "serial" / "set.h5")
    make_train(made)
    return digest(made.out.parent)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with start_cluster_of_a_thread() as address:
        yield address


def find_processing(shard: int) -> list[int]:
    """Process ids of the workers that make a shard, asked from within the command's progress."""
    client = distributed.default_client()
    busy = [worker for worker, keys in client.processing().items() if any(shard in key for key in keys)]
    return [pid for worker, pid in client.run(os.getpid, on_error="ignore").items() if worker in busy]


# --- the same bytes ---


def test_the_command_makes_the_bytes_of_the_serial_way(
    photos: Path, tmp_path: Path, serial: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["make-train", "--scale", "3", "--lr-patch", "5", "--storage", "uint8", "--shards", "3",
               "--images", photos.name, "--out", "new/set.h5", "--dask", address]  # fmt: skip
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "new/set.1-of-3.h5 … set.3-of-3.h5: " in done.stdout
    assert "making shards" in done.stderr
    assert digest(tmp_path / "new") == serial


def test_finished_shards_are_kept(photos: Path, tmp_path: Path, serial: dict[str, str], address: str) -> None:
    made = plan(photos, tmp_path / "out" / "set.h5")
    calls: list[tuple[str, int, int]] = []
    paths = make_train_on_cluster(made, address, progress=lambda *call: calls.append(call))
    assert calls[-1] == ("making shards", 5, 5)
    paths[1].unlink()
    before = stamp(made.out.parent)
    calls.clear()
    assert make_train_on_cluster(made, address, progress=lambda *call: calls.append(call)) == paths
    assert calls[-1][1] == calls[-1][2] < 5
    assert digest(made.out.parent) == serial
    assert before.items() <= stamp(made.out.parent).items()
    assert make_train_on_cluster(made, "tcp://127.0.0.1:1") == paths  # nothing left to do: no cluster is needed
    assert make_train_on_cluster(made, address, force=True) == paths
    assert not set(before.values()) & set(stamp(made.out.parent).values())
    assert digest(made.out.parent) == serial


def test_a_task_that_runs_again_leaves_its_finished_shard(photos: Path, tmp_path: Path) -> None:
    """As after a worker that died between the file's name and its answer."""
    made = plan(photos, tmp_path / "set.h5")
    order._make_whole(made, 1, False, 1, lambda *_: None)
    before = made.paths[1].stat()
    order._make_whole(made, 1, False, 1, lambda *_: pytest.fail("made again"))
    assert made.paths[1].stat().st_ino == before.st_ino


# --- workers that die ---


def test_a_killed_worker_costs_its_shard_alone(photos: Path, tmp_path: Path, serial: dict[str, str]) -> None:
    made, killed = plan(photos, tmp_path / "out" / "set.h5"), []
    made.out.parent.mkdir()
    with ExitStack() as stack:
        stack.enter_context(hold(made.paths[1]))  # its worker waits for it, and is killed there

        def kill(what: str, done: int, total: int) -> None:
            if not killed and done == total - 2 and (found := find_processing(1)):  # the two other shards stand
                psutil.Process(found[0]).kill()
                (made.out.parent / ".set.2-of-3.h5.part").write_bytes(b"what it left")
                killed.extend(found)
                stack.close()

        make_train_on_cluster(made, "local", workers=2, progress=kill)
    assert len(killed) == 1
    assert digest(made.out.parent) == serial
    assert not [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]


def test_a_shard_that_ends_each_worker_ends_the_run(
    photos: Path, tmp_path: Path, serial: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, killed = plan(photos, tmp_path / "out" / "set.h5"), set()
    monkeypatch.setattr(tasks, "DEATHS", 2)
    made.out.parent.mkdir()

    def kill(what: str, done: int, total: int) -> None:
        for process in set(find_processing(1)) - killed:
            psutil.Process(process).kill()
            killed.add(process)

    with (
        hold(made.paths[1]),
        pytest.raises(ClusterError, match=r"shard 2 of 3: 2 workers died while making it; give them more memory"),
    ):
        make_train_on_cluster(made, "local", workers=2, progress=kill)
    assert len(killed) == 2
    assert digest(made.out.parent).items() <= serial.items()


def test_a_cluster_that_gives_up_sooner_is_asked_again() -> None:
    retried: list[int] = []
    error = distributed.KilledWorker("task", None, 0)  # allowed-failures 0: each death is reported
    future = SimpleNamespace(status="error", exception=lambda: error, retry=lambda: retried.append(1))
    deaths: Counter[str] = Counter()
    for _ in range(tasks.DEATHS - 1):
        assert not tasks._finish(future, "shard 1 of 2", deaths)
    assert len(retried) == 3
    with pytest.raises(ClusterError, match=r"shard 1 of 2: 4 workers died while making it; .* keeps what is finished"):
        tasks._finish(future, "shard 1 of 2", deaths)


def test_what_dask_itself_reports() -> None:
    future = SimpleNamespace(status="error", exception=lambda: TypeError("two\nlines"))
    with pytest.raises(ClusterError, match="shard 1 of 2: TypeError: two lines"):
        tasks._finish(future, "shard 1 of 2", Counter())


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent as POSIX does it")
def test_an_interrupt_keeps_what_is_finished_and_ends_all_processes(
    photos: Path, tmp_path: Path, serial: dict[str, str]
) -> None:
    made = plan(photos, tmp_path / "out" / "set.h5")
    made.out.parent.mkdir()
    command = [*COMMAND, "make-train", "--scale", "3", "--lr-patch", "5", "--storage", "uint8",
               "--shards", "3", "--images", str(photos), "--out", str(made.out), "--dask", "local"]  # fmt: skip
    with (
        hold(made.paths[1]),
        subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        ) as process,
    ):  # fmt: skip
        while process.poll() is None and not (made.paths[0].exists() and made.paths[2].exists()):
            time.sleep(0.05)
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "Aborted!" in said and "Traceback" not in said, said
    assert not psutil.wait_procs(children, timeout=60)[1]
    assert digest(made.out.parent) == {name: d for name, d in serial.items() if "2-of" not in name}


def is_whole(file: Path) -> bool:
    """Whether a scheduler's file is there, and its text whole."""
    try:
        return bool(json.loads(file.read_text()))
    except (FileNotFoundError, ValueError):
        return False


def test_a_scheduler_that_dies(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "CONNECT", 4.0)
    made = plan(photos, tmp_path / "out" / "set.h5")
    made.out.parent.mkdir()
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
               "--no-dashboard", "--scheduler-file", str(file)]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not is_whole(file):
            time.sleep(0.05)
        with pytest.raises(ClusterError, match="the scheduler is gone"):
            make_train_on_cluster(made, str(file), progress=lambda *_: process.kill())
    assert digest(made.out.parent) == {}


# --- workers that cannot ---


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ({"versions": {"numpy": "0.1"}}, r"it has numpy \d.*, not 0\.1: the bytes could differ; install the same"),
        ({"sha256": "0"}, r"is another folder there; --out must lie on a file system that all machines share"),
        ({"plan": Path("nowhere/.plan")}, rf"it does not see nowhere \({ABSENT}\); --out must lie"),
    ],
    ids=str,
)
def test_faults_of_a_worker(photos: Path, tmp_path: Path, spoilt: dict[str, object], message: str) -> None:
    with order.lay_plan(plan(photos, tmp_path / "set.h5")) as told:
        assert told.find_fault() == ""
        with pytest.raises(ClusterError, match=message):
            replace(told, **spoilt).read()  # type: ignore[arg-type]
        (photos / "harbour.bmp").write_bytes(b"other")
        with pytest.raises(ClusterError, match=r"harbour\.bmp is another file there; the images must lie on a file"):
            told.read()
        (photos / "harbour.bmp").unlink()
        with pytest.raises(ClusterError, match=rf"it does not see .*harbour\.bmp \({ABSENT}\); the images must"):
            told.read()
    assert not list(tmp_path.glob(".*"))


def test_a_plan_comes_back_as_it_was(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = replace(plan(photos, tmp_path / "set.h5"), skipped=("a.png: is no image",))
    monkeypatch.chdir(tmp_path)
    relative = replace(
        made, out=Path("set.h5"), sources=tuple(replace(s, path=s.path.relative_to(tmp_path)) for s in made.sources)
    )
    with order.lay_plan(relative) as told:
        assert told.read() == made


@pytest.mark.parametrize("joins_late", [False, True])
def test_a_worker_of_another_version(
    photos: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, joins_late: bool
) -> None:
    made = plan(photos, tmp_path / "out" / "set.h5")
    here = read_versions()
    answers = [here] * (2 if joins_late else 1)  # the command's, then the worker's
    monkeypatch.setattr(order, "read_versions", lambda: answers.pop(0) if answers else {**here, "idn": "0.0.9"})
    with pytest.raises(ClusterError, match=r"worker tcp://127\.0\.0\.1:\d+: it has idn 0\.0\.9, not .*; install the"):
        make_train_on_cluster(made, address)
    assert digest(made.out.parent) == {}


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'idn_data'"), AttributeError("no such thing")])
def test_a_worker_without_idn(
    photos: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def find_fault(_: object) -> str:
        raise error

    monkeypatch.setattr(Order, "find_fault", find_fault)
    with pytest.raises(ClusterError, match=r"worker tcp://.*: it has another idn, or none \([Nn]o .*\); install idn"):
        make_train_on_cluster(plan(photos, tmp_path / "out" / "set.h5"), address)


def test_what_a_task_raises_is_what_the_serial_way_raises(photos: Path, tmp_path: Path, address: str) -> None:
    made = plan(photos, tmp_path / "out" / "set.h5")
    made.sources[1].path.unlink()
    with pytest.raises(ImageError, match=r"meadow\.jpg: no such file"):
        make_train_on_cluster(made, address)
    assert not [name for name in digest(made.out.parent) if name.startswith(".")]


def test_a_shard_that_another_process_makes(
    photos: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "PATIENCE", 0.1)
    made = plan(photos, tmp_path / "set.h5")
    with hold(made.out), pytest.raises(BusyError, match=r"another idn is writing .*set\.h5; wait for it"):
        make_train_on_cluster(made, address)
    with hold(made.paths[1]), pytest.raises(BusyError, match=r"another idn is writing .*set\.2-of-3\.h5; wait for it"):
        make_train_on_cluster(made, address)


def test_a_file_that_never_appears_here(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PATIENCE", 0.1)
    with pytest.raises(
        ClusterError, match=r"set\.h5: a worker made it, but it is not here; --out must lie on a shared"
    ):
        tasks.await_names([tmp_path / "set.h5"])


# --- no cluster ---


def test_no_scheduler_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "CONNECT", 0.3)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 \(Timed out"):
        check_cluster("tcp://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"no Dask scheduler answers at tcp://127\.0\.0\.1:{port}"):
            check_cluster(f"tcp://127.0.0.1:{port}")
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at foo://a \(unknown address scheme 'foo'"):
        check_cluster("foo://a")


def test_scheduler_files(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"type": "Scheduler", "address": "tcp://10.0.0.1:8786"}))
    assert find_scheduler(str(file)) == "tcp://10.0.0.1:8786"
    for text in ("", "[]", '{"address": 5}', "\x00", '{"id": "a"}'):
        file.write_text(text)
        with pytest.raises(ClusterError, match=r"scheduler\.json: not a scheduler file of Dask; dask scheduler"):
            find_scheduler(str(file))
    with pytest.raises(ClusterError, match=r"'host:8786': no such scheduler file, and no address such as tcp://host"):
        find_scheduler("host:8786")


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r"Dask is not installed; pip install 'idn\[dask\]'"):
        find_scheduler("local")


def test_one_shard_is_no_work_for_a_cluster(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a cluster makes shards, at least 2; got 1; give --shards"):
        make_train_on_cluster(plan(photos, tmp_path / "set.h5", 1), "local")
    done = CliRunner().invoke(main, ["make-train", "--scale", "3", "--dask", "local"])
    assert done.exit_code == 2
    assert "--dask deals out shards; say with --shards how many" in done.stderr


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["make-train", "--scale", "3", "--shards", "2", "--dask", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "none': no such scheduler file" in done.stderr
