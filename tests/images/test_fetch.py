"""Sets brought below a data root, from a server in this process; and `idn fetch` as a user meets it."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from support.serving import BYTES, FILES, Server, send, serve, tell

from cli import main
from idn_data.images import fetch
from idn_data.images.download import REPOSITORY, FetchError, Web, open_local
from idn_data.images.fetch import (
    MissingFilesError,
    Outcome,
    check_outcomes,
    choose_files,
    fetch_files,
    survey_set,
)
from idn_data.images.sets import list_registered, recognise_set
from idn_data.images.sources import read_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

A, B = FILES[:2]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with serve() as served:
        yield served


@pytest.fixture
def five(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry holds the five files that the server has, as Set5."""
    monkeypatch.setattr(fetch, "list_registered", lambda: tuple(FILES))


def run_fetch(server: Server, root: Path, force: bool = False, workers: int = 4, timeout: float = 5.0) -> list[Outcome]:
    return fetch_files(FILES, root, Web(server.url, timeout, 2, 0.01), force=force, workers=workers)


def read_all(root: Path) -> dict[str, bytes]:
    """All that lies in Set5, under any name."""
    folder = root / "test_data" / "Set5"
    return {p.name: p.read_bytes() for p in folder.iterdir()} if folder.is_dir() else {}


def test_fetch_then_resume(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    outcomes = fetch_files(FILES, tmp_path, Web(server.url), progress=lambda *step: seen.append(step))
    assert [(o.file, o.state, o.why) for o in outcomes] == [(file, "fetched", "") for file in FILES]
    assert [o.path for o in outcomes] == [tmp_path / "test_data" / "Set5" / file.name for file in FILES]
    assert read_all(tmp_path) == BYTES
    assert seen == [("fetching files", k, 5) for k in range(1, 6)]
    assert sorted(server.asked) == sorted(f"/{file.path}" for file in FILES)
    check_outcomes(outcomes, server.url)

    outcomes[1].path.unlink()
    stamps = [o.path.stat().st_mtime_ns for o in outcomes[2:]]
    server.asked.clear()
    assert [o.state for o in run_fetch(server, tmp_path)] == ["kept", "fetched", "kept", "kept", "kept"]
    assert server.asked == [f"/{B.path}"]
    assert [o.path.stat().st_mtime_ns for o in outcomes[2:]] == stamps
    assert read_all(tmp_path) == BYTES


def test_several_at_a_time(server: Server, tmp_path: Path) -> None:
    barrier = threading.Barrier(4, timeout=20)  # passed only by four at once

    def answer(handler: BaseHTTPRequestHandler) -> None:
        barrier.wait()
        send(server.files[handler.path])(handler)

    for file in FILES[:4]:
        tell(server, file, answer)
    assert all(o.state == "fetched" for o in fetch_files(FILES[:4], tmp_path, Web(server.url, 30, 1)))


def test_one_failure_does_not_keep_the_others(server: Server, tmp_path: Path) -> None:
    a, b, c, d, _ = FILES
    tell(server, a, send(b"", 404))
    tell(server, b, send(b"x" * b.bytes))
    tell(server, c, send(b"short"))
    tell(server, d, send(BYTES[d.name] + b"!", length=None))
    outcomes = run_fetch(server, tmp_path, workers=1)
    assert [o.state for o in outcomes] == ["failed"] * 4 + ["fetched"]
    assert outcomes[0].why == "HTTP 404 Not Found"
    assert outcomes[1].why.startswith("wrong bytes, SHA-256 ")
    assert outcomes[1].why.endswith(f" instead of {b.sha256[:12]}")
    assert outcomes[2].why == f"5 bytes instead of {c.bytes:,}"
    assert outcomes[3].why == f"more than {d.bytes:,} bytes instead of {d.bytes:,}"
    assert read_all(tmp_path) == {"e.bmp": BYTES["e.bmp"]}
    assert len(server.asked) == 5
    with pytest.raises(
        MissingFilesError, match=r"^4 of 5 file\(s\) could not be had from http.*: Set5/a.bmp, "
    ) as error:
        check_outcomes(outcomes, server.url)
    assert "Set5/c.jpg …; the same command goes on with the missing ones" in str(error.value)
    assert error.value.lines[:1] == ("Set5/a.bmp: HTTP 404 Not Found",)

    server.answers.clear()
    assert [o.state for o in run_fetch(server, tmp_path)] == ["fetched"] * 4 + ["kept"]
    assert read_all(tmp_path) == BYTES


def test_slow_and_cut_answers_keep_no_one(server: Server, tmp_path: Path) -> None:
    tell(server, A, lambda handler: server.released.wait(30))
    tell(server, B, send(BYTES[B.name][:99], length=B.bytes))
    outcomes = run_fetch(server, tmp_path, timeout=2.0)  # the sound ones must come within it on any machine
    assert [o.state for o in outcomes] == ["failed", "failed", "fetched", "fetched", "fetched"]
    assert outcomes[0].why == "no answer within 2 s, attempt 2 of 2"
    assert outcomes[1].why == f"the connection was cut after 99 of {B.bytes:,} bytes, attempt 2 of 2"
    assert sorted(read_all(tmp_path)) == ["c.jpg", "d.png", "e.bmp"]


def test_many_failures_are_cut_short() -> None:
    outcomes = [Outcome(file, Path("x"), "failed", "HTTP 404") for file in FILES * 5]
    with pytest.raises(MissingFilesError, match=r"25 of 25 file\(s\)") as error:
        check_outcomes(outcomes, REPOSITORY)
    assert error.value.lines[9:] == ("Set5/e.bmp: HTTP 404", "… and 15 more; --json FILE lists them all")
    assert "; or bring https://github.com/Zheng222/IDN-Caffe/archive/482c" in str(error.value)
    assert str(error.value).endswith(".zip by other means, and name it with --from")


def test_wrong_files_are_kept_unless_forced(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "test_data" / "Set5"
    folder.mkdir(parents=True)
    own = {"a.bmp": b"mine".ljust(A.bytes), "b.bmp": b"mine".ljust(2 * B.bytes), "c.jpg": b"mine"}
    for name, data in own.items():
        (folder / name).write_bytes(data)
    outcomes = run_fetch(server, tmp_path)
    assert [o.state for o in outcomes] == ["wrong", "wrong", "wrong", "fetched", "fetched"]
    assert outcomes[0].why == f"{folder / 'a.bmp'} holds other bytes than registered; --force replaces it"
    assert read_all(tmp_path) == {**BYTES, **own}
    assert f"/{A.path}" not in server.asked  # its size says enough
    with pytest.raises(MissingFilesError, match=r"^3 of 5 file\(s\) could not be had"):
        check_outcomes(outcomes, server.url)
    assert [o.state for o in run_fetch(server, tmp_path, force=True)] == ["replaced"] * 3 + ["kept"] * 2
    assert read_all(tmp_path) == BYTES


def test_forcing_keeps_what_is_there_where_the_new_one_fails(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "test_data" / "Set5"
    folder.mkdir(parents=True)
    (folder / "a.bmp").write_bytes(b"mine")
    tell(server, A, send(b"x" * A.bytes))
    assert run_fetch(server, tmp_path, force=True)[0].state == "failed"
    assert (folder / "a.bmp").read_bytes() == b"mine"


@pytest.mark.parametrize("length", [0, 1, 5000])
def test_leftovers_of_a_cut_copy_are_replaced(server: Server, tmp_path: Path, length: int) -> None:
    folder = tmp_path / "test_data" / "Set5"
    folder.mkdir(parents=True)
    (folder / "a.bmp").write_bytes(BYTES["a.bmp"][:length])
    assert run_fetch(server, tmp_path)[0].state == "replaced"
    assert read_all(tmp_path) == BYTES


def test_another_process_was_quicker(tmp_path: Path) -> None:
    folder = tmp_path / "test_data" / "Set5"
    folder.mkdir(parents=True)

    def read(file: object, stop: object) -> bytes:
        (folder / "a.bmp").write_bytes(theirs)
        return BYTES["a.bmp"]

    for theirs, state in ((BYTES["a.bmp"], "kept"), (b"other", "wrong")):
        assert fetch_files([A], tmp_path, read)[0].state == state
        assert read_all(tmp_path) == {"a.bmp": theirs}
        (folder / "a.bmp").unlink()


def test_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def fill(path: Path, data: bytes) -> int:
        write(path, data[:100])
        if "a.bmp" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill)
    outcomes = run_fetch(server, tmp_path)
    assert [o.state for o in outcomes] == ["failed"] + ["fetched"] * 4
    assert outcomes[0].why.startswith(f"{outcomes[0].path}: not written, the disk is full: more than 100 bytes needed")
    assert sorted(read_all(tmp_path)) == ["b.bmp", "c.jpg", "d.png", "e.bmp"]


THROUGH_A_FILE = "not written: a part of its path is a file, not a folder; look at the path"


def test_a_file_that_comes_where_a_folder_is_to_be_made(tmp_path: Path) -> None:
    """The system says that something exists: not the file."""

    def read(file: object, stop: object) -> bytes:
        (tmp_path / "test_data").mkdir()
        (tmp_path / "test_data" / "Set5").write_text("a file")
        return BYTES["a.bmp"]

    outcome = fetch_files([A], tmp_path, read)[0]
    assert (outcome.state, outcome.why) == ("failed", f"{outcome.path}: {THROUGH_A_FILE}")


def test_places_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "test_data").write_text("a file")
    outcomes = run_fetch(server, tmp_path)
    if sys.platform == "win32":  # there a path through a file is merely a missing one, until it is made
        assert {o.why for o in outcomes} == {f"{o.path}: {THROUGH_A_FILE}" for o in outcomes}
    else:
        assert {o.why for o in outcomes} == {f"{o.path}: Not a directory" for o in outcomes}
        assert server.asked == []
    assert {o.state for o in outcomes} == {"failed"}
    root = tmp_path / "other"
    (root / "test_data" / "Set5" / "a.bmp" / "b").mkdir(parents=True)
    assert run_fetch(server, root)[0].state in ("wrong", "failed")  # as the size of a folder happens to be
    assert run_fetch(server, root, force=True)[0].why.endswith("a.bmp is a folder; name a file")


def test_an_interrupt_ends_the_pauses(server: Server, tmp_path: Path) -> None:
    tell(server, A, send(b"", 503))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    start, threads = time.monotonic(), set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        fetch_files(FILES, tmp_path, Web(server.url, pause=50), progress=interrupt)
    assert time.monotonic() - start < 45
    for thread in set(threading.enumerate()) - threads:  # the server's last answers may be ending
        thread.join(20)
        assert not thread.is_alive()
    assert set(read_all(tmp_path)) <= set(BYTES)


def test_from_a_folder_and_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in FILES[:3]:
            archive.writestr(f"IDN-Caffe-482c/{file.path}", BYTES[file.name])
        archive.writestr(FILES[3].path, b"x" * FILES[3].bytes)
    with open_local(tmp_path / "all.zip") as read:
        outcomes = fetch_files(FILES, tmp_path / "root", read)
    assert [o.state for o in outcomes] == ["fetched"] * 3 + ["failed"] * 2
    assert outcomes[3].why.startswith("wrong bytes, SHA-256 ")
    assert outcomes[4].why.startswith(f"not in {tmp_path / 'all.zip'} as ")
    with open_local(tmp_path / "root") as read:  # another data root
        outcomes = fetch_files(FILES, tmp_path / "second", read)
    assert [o.state for o in outcomes] == ["fetched"] * 3 + ["failed"] * 2
    assert sorted(read_all(tmp_path / "second")) == ["a.bmp", "b.bmp", "c.jpg"]


def test_choose_files() -> None:
    assert choose_files(["Set5", "291"]) == [f for f in list_registered() if f.set in ("291", "Set5")]
    assert len(choose_files(list(fetch.ORIGINS))) == len(list_registered()) == 510
    with pytest.raises(FetchError, match="no set 'Set6'; one of 291, Set5, Set14, B100, Urban100"):
        choose_files(["Set5", "Set6"])


@pytest.mark.usefixtures("five")
def test_survey(server: Server, tmp_path: Path) -> None:
    size = sum(file.bytes for file in FILES)
    nothing = survey_set("Set5", tmp_path)
    assert (nothing.files, nothing.bytes, nothing.whole, nothing.wrong, nothing.bytes_lacking) == (5, size, 0, 0, size)
    run_fetch(server, tmp_path)
    assert survey_set("Set5", tmp_path).whole == 5
    folder = tmp_path / "test_data" / "Set5"
    (folder / "a.bmp").write_bytes(bytes(A.bytes))
    (folder / "b.bmp").unlink()
    partly = survey_set("Set5", tmp_path)
    assert (partly.whole, partly.wrong, partly.bytes_lacking) == (3, 1, A.bytes + B.bytes)
    assert partly.folder == str(folder)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def check_failure(result: Result, code: int, text: str) -> None:
    assert result.exit_code == code, result.output
    assert text in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("five")
def test_command(server: Server, tmp_path: Path) -> None:
    common = ["fetch", "Set5", "--data-root", tmp_path, "--mirror", server.url + "/"]
    report, whole = tmp_path / "report.json", sum(map(len, BYTES.values()))
    tell(server, B, send(b"", 404))
    result = run(*common, "--json", report)
    check_failure(result, 1, f"idn: 1 of 5 file(s) could not be had from {server.url}: Set5/b.bmp; the same command")
    assert "Set5/b.bmp: HTTP 404 Not Found" in result.stderr
    assert result.stdout.splitlines() == [
        "Set5: Bevilacqua et al. 2012",
        "IDN's authors distribute these images for research; no licence file comes with them.",
        f"{tmp_path / 'test_data' / 'Set5'}: 4 fetched, 1 failed, {whole - B.bytes:,} bytes written",
    ]
    rows = json.loads(report.read_text())
    assert [row["state"] for row in rows] == ["fetched", "failed", "fetched", "fetched", "fetched"]
    assert rows[1]["why"] == "HTTP 404 Not Found"
    assert rows[0]["file"] == str(tmp_path / "test_data" / "Set5" / "a.bmp")

    server.answers.clear()
    again = run(*common, "--quiet")
    assert again.exit_code == 0, again.output
    assert again.output.splitlines() == [
        f"{tmp_path / 'test_data' / 'Set5'}: 4 kept, 1 fetched, {B.bytes:,} bytes written"
    ]
    assert read_all(tmp_path) == BYTES
    (tmp_path / "test_data" / "Set5" / "a.bmp").write_bytes(bytes(A.bytes))
    check_failure(run(*common), 1, "a.bmp holds other bytes than registered; --force replaces it")
    assert run(*common, "--force").exit_code == 0
    assert read_all(tmp_path) == BYTES


@pytest.mark.usefixtures("five")
def test_command_from_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in FILES:
            archive.writestr(file.name, BYTES[file.name])
    root = tmp_path / "root"
    result = run("fetch", "Set5", "--from", tmp_path / "all.zip", "--data-root", root, "--json", "-")
    assert result.exit_code == 0, result.output
    assert [row["state"] for row in json.loads(result.stdout)] == ["fetched"] * 5
    assert "no licence file" in result.stderr
    assert read_all(root) == BYTES
    failed = run("fetch", "Set5", "--from", tmp_path / "none.zip", "--data-root", root)
    check_failure(failed, 1, "none.zip is neither a folder nor a ZIP; take https://github.com/")


@pytest.mark.usefixtures("five")
def test_command_says_what_is_there(server: Server, tmp_path: Path) -> None:
    nothing = run("fetch", "--data-root", tmp_path)
    assert nothing.exit_code == 0, nothing.output
    lines = nothing.stdout.splitlines()
    assert lines[0].split() == ["set", "files", "size", "whole", "wrong", "lacking"]
    assert [line.split()[0] for line in lines[1:6]] == list(fetch.ORIGINS)
    assert lines[-1] == f"data root: {tmp_path}"
    dry = run("fetch", "Set5", "--dry-run", "--mirror", server.url, "--data-root", tmp_path, "--json", "-")
    assert [(row["set"], row["whole"]) for row in json.loads(dry.stdout)] == [("Set5", 0)]
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage(tmp_path: Path) -> None:
    root = ["--data-root", tmp_path]
    check_failure(run("fetch", "Set6", *root), 2, "'Set6' is not one of '291', 'Set5', 'Set14', 'B100', 'Urban100'")
    both = run("fetch", "Set5", "--mirror", "http://host", "--from", tmp_path, *root)
    check_failure(both, 2, "--mirror and --from exclude each other")
    check_failure(run("fetch", "Set5", "--mirror", "file:///data", *root), 2, "'file:///data' is no mirror; give http")
    check_failure(run("fetch", "--from", tmp_path, *root), 2, "name the sets: 291, Set5, Set14, B100, Urban100")
    assert run("fetch", "Set5", "--workers", "0", *root).exit_code == 2


def test_missing_sets_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IDN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    for arguments, wanted in (
        (["make-train", "--scale", "2"], "get it with: idn fetch 291"),
        (["make-test", "Set14"], "get it with: idn fetch Set14"),
        (["evaluate", "bicubic", "--set", "Urban100"], "get it with: idn fetch Urban100"),
        (["evaluate", "bicubic"], "get one with: idn fetch Set5"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert result.stderr.rstrip().endswith(wanted)
        elsewhere = run(*arguments, "--data-root", "my data")
        assert elsewhere.stderr.rstrip().endswith(f"{wanted} --data-root 'my data'")


def test_fetch_make_test_evaluate_on_the_real_set(
    data_root: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = choose_files(["Set5"])
    server.files = {f"/mirror/{f.path}": (data_root / "test_data" / "Set5" / f.name).read_bytes() for f in files}
    monkeypatch.delenv("IDN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    got = run("fetch", "Set5", "--mirror", f"{server.url}/mirror")
    assert got.exit_code == 0, got.output
    assert "5 fetched, 1.7 MB written" in got.stdout
    assert recognise_set(read_folder(tmp_path / "data" / "test_data" / "Set5")[0]) == "Set5"
    made = run("make-test", "Set5", "--scale", "4")
    assert made.exit_code == 0, made.output
    scores = run("evaluate", "bicubic", "--set", "Set5", "--scale", "4")
    assert "28.43  0.8104  28.43/0.8104  +0.00/+0.0000" in scores.stdout
    assert "the authors' files" in scores.stdout
