from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import idn_data
from idn_data import atomic
from idn_data.atomic import BusyError, check_room, check_target, format_bytes, hold, write_text, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_file_appears_whole_and_alone(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "out.bin"
    with write_whole(target) as temporary:
        assert temporary.parent == target.parent  # one file system, so that the rename is atomic
        temporary.write_bytes(b"first half")
        assert not target.exists()
        with temporary.open("ab") as stream:
            stream.write(b", second half")
    assert target.read_bytes() == b"first half, second half"
    assert names(target.parent) == ["out.bin"]


def test_force_replaces(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    write_text(target, "old")
    write_text(target, "new", force=True)
    assert target.read_text() == "new"
    assert names(tmp_path) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(3)])
def test_failure_leaves_the_old_file_and_no_temporary(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")

    def write_half() -> None:
        with write_whole(target, force=True) as temporary:
            temporary.write_bytes(b"half of the n")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


def test_failure_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    def write_half() -> None:
        with write_whole(tmp_path / "out.bin") as temporary:
            temporary.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert names(tmp_path) == []


def test_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    def write_nothing() -> None:
        with write_whole(tmp_path / "out.bin"):
            pass

    with pytest.raises(FileNotFoundError):
        write_nothing()
    assert names(tmp_path) == []


def test_existing_file_is_refused_before_the_block_runs(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    ran = []

    def write() -> None:
        with write_whole(target) as temporary:
            ran.append(temporary)

    with pytest.raises(FileExistsError, match=r"out\.bin exists already; --force replaces it, or name another"):
        write()
    assert ran == []
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


def test_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"

    def write_slowly() -> None:
        with write_whole(target) as temporary:
            temporary.write_bytes(b"mine")
            target.write_bytes(b"theirs")

    with pytest.raises(FileExistsError, match=r"out\.bin exists already"):
        write_slowly()
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["out.bin"]


@pytest.mark.parametrize("force", [False, True])
def test_folder_as_target_is_refused(tmp_path: Path, force: bool) -> None:
    (tmp_path / "out").mkdir()

    def write() -> None:
        with write_whole(tmp_path / "out", force=force) as temporary:
            temporary.write_bytes(b"x")

    with pytest.raises(IsADirectoryError, match="out is a folder; name a file"):
        write()
    with pytest.raises(IsADirectoryError, match="out is a folder; name a file"):
        check_target(tmp_path / "out", force)
    assert names(tmp_path) == ["out"]


def test_check_target(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    assert check_target(str(target)) == target
    target.write_bytes(b"")
    assert check_target(target, force=True) == target
    with pytest.raises(FileExistsError, match="--force"):
        check_target(target)


def test_a_folder_that_is_to_be_made(tmp_path: Path) -> None:
    check_target(tmp_path / "new" / "below" / "out.txt")
    assert names(tmp_path) == []


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"a file")
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken" / "out.txt", "text")
    for name in ("out.txt", "new/out.txt"):
        with pytest.raises(NotADirectoryError, match=r"not written: a part of its path is a file, not a folder"):
            check_target(tmp_path / "taken" / name, force=True)
    assert (tmp_path / "taken").read_bytes() == b"a file"


def test_text_has_the_same_bytes_everywhere(tmp_path: Path) -> None:
    write_text(tmp_path / "out.txt", "Größe ×4\nsecond\n")
    assert (tmp_path / "out.txt").read_bytes() == b"Gr\xc3\xb6\xc3\x9fe \xc3\x974\nsecond\n"


# --- killed ---

WRITER = """
import sys, time
from idn_data.atomic import write_whole
with write_whole(sys.argv[1], force=True) as temporary:
    with temporary.open("wb") as stream:
        stream.write(b"half of the new file")
        stream.flush()
        print("writing", flush=True)
        time.sleep(600)
"""

HOLDER = """
import sys, time
from idn_data.atomic import hold
with hold(sys.argv[1]):
    print("writing", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def start(code: str, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that is in the middle of it; killed at the end."""
    home = Path(idn_data.__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, cwd=home) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        try:
            yield child
        finally:
            child.kill()  # SIGKILL: no handler, no finally


def leave_killed(target: Path) -> None:
    with start(WRITER, target):
        pass


def test_killed_process_leaves_the_old_file_and_the_next_one_tidies_up(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    leave_killed(target)
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == [".out.bin.lock", ".out.bin.part", "out.bin"]  # plainly no results, and hidden
    write_text(target, "new", force=True)
    assert target.read_text() == "new"
    assert names(tmp_path) == ["out.bin"]


def test_check_target_tidies_up_as_well(tmp_path: Path) -> None:
    """So that what a killed process left does not count as used when the free space is looked at."""
    target = tmp_path / "out.bin"
    leave_killed(target)
    check_target(target)
    assert names(tmp_path) == []


def test_leftovers_of_other_names_stay(tmp_path: Path) -> None:
    others = [".out.bin.part.part", ".out.bin2.part", ".2out.bin.part", "out.bin.part"]
    for name in others:
        (tmp_path / name).write_bytes(b"theirs")
    write_text(tmp_path / "out.bin", "new")
    assert names(tmp_path) == sorted([*others, "out.bin"])


# --- two at once ---


def test_the_second_of_two_says_so(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    message = r"another idn is writing .*out\.bin; wait for it, or name another output"
    with start(WRITER, target):
        for force in (False, True):
            with pytest.raises(BusyError, match=message):
                write_text(target, "mine", force)
            with pytest.raises(BusyError, match=message):
                check_target(target, force)
        assert (tmp_path / ".out.bin.part").read_bytes() == b"half of the new file"  # still whole for the first
    write_text(target, "mine")
    assert names(tmp_path) == ["out.bin"]


def test_two_threads_count_as_two(tmp_path: Path) -> None:
    with write_whole(tmp_path / "a") as temporary:
        temporary.write_bytes(b"first")
        with pytest.raises(BusyError, match="another idn is writing"):
            write_text(tmp_path / "a", "second")
        write_text(tmp_path / "b", "of another name")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_hold(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run"
    if kind == "folder":
        path.mkdir()
    with start(HOLDER, path), pytest.raises(BusyError, match=r"another idn is writing .*run; wait for it"), hold(path):
        pass
    with hold(path):  # the lock of a killed process is none
        write_text((path if kind == "folder" else tmp_path) / "state", "of the run")
    assert not [p for p in tmp_path.rglob(".*") if p.name.startswith(".")]


def test_hold_many_times_at_once(tmp_path: Path) -> None:
    """The hidden file comes and goes; at no moment do two hold the same name."""
    inside: list[int] = []
    counts = {"held": 0, "busy": 0}

    def work(number: int) -> None:
        for _ in range(200):
            try:
                with hold(tmp_path / "out"):
                    inside.append(number)
                    assert inside == [number]
                    inside.remove(number)
                    counts["held"] += 1
            except BusyError:
                counts["busy"] += 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert counts["held"] > 200
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="flock is POSIX's")
@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    import fcntl

    locked, flock = [], fcntl.flock

    def refuse(descriptor: int, operation: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink() if sys.platform == "linux" else Path("/")
        locked.append(name)
        if name.parent == tmp_path:
            raise OSError(error, os.strerror(error))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", refuse)
    with write_whole(tmp_path / "out.bin") as temporary:
        temporary.write_bytes(b"x")
        with pytest.raises(BusyError, match="another idn"):
            write_text(tmp_path / "out.bin", "y")
    assert names(tmp_path) == ["out.bin"]
    assert not locked[-1].exists()


# --- no room ---


@pytest.mark.parametrize(
    ("number", "text", "advice"),
    [
        (errno.ENOSPC, "the disk is full", "make room, or choose another folder"),
        (errno.EFBIG, "larger than the file system or a limit allows", "raise ulimit -f, or choose another folder"),
        (errno.EIO, "the disk reports an error", "look at the disk, or choose another folder"),
        (errno.EDQUOT, "the quota is used up", "make room, or choose another folder"),
    ],
)
def test_disk_errors_say_how_much_is_needed_and_free(tmp_path: Path, number: int, text: str, advice: str) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")

    def write_some(need: int) -> None:
        with write_whole(target, force=True, need=need) as temporary:
            temporary.write_bytes(bytes(2_000_000))
            raise OSError(number, os.strerror(number))

    for need, said in ((0, "more than 2.0 MB"), (5_000_000, "5.0 MB")):
        with pytest.raises(
            OSError, match=rf"not written, {text}: {said} needed, [\d.]+ [GM]B free; {advice}"
        ) as caught:
            write_some(need)
        assert (caught.value.errno, caught.value.filename) == (number, str(target))
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


def test_other_errors_of_the_system_stay_as_they_are(tmp_path: Path) -> None:
    def fail() -> None:
        with write_whole(tmp_path / "out.bin") as temporary:
            temporary.with_name("none").read_bytes()

    with pytest.raises(FileNotFoundError, match="none"):
        fail()


def test_too_little_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    ran = []

    def write() -> None:
        with write_whole(tmp_path / "new" / "out.bin", need=1 << 60) as temporary:
            ran.append(temporary)

    with pytest.raises(OSError, match=r"the disk is full: 1152921504\.61 GB needed, [\d.]+ [GM]B free; make room"):
        write()
    assert ran == []
    assert names(tmp_path / "new") == []
    check_room(tmp_path / "a" / "b", 1000)
    with pytest.raises(OSError, match="free; buy one"):
        check_room(tmp_path / "a" / "b", 1 << 60, "buy one")


def test_a_link_to_itself(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    check_room(loop, 1)
    write_text(loop, "whole", force=True)
    assert loop.read_text() == "whole" and not loop.is_symlink()


# --- links, pipes and devices ---


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (away := tmp_path / "away").mkdir()
    (here := tmp_path / "here").mkdir()
    (away / "file").write_text("old")
    (here / "link").symlink_to(away / "file")
    with pytest.raises(FileExistsError, match=r"link exists already; --force replaces it"):
        write_text(here / "link", "new")
    with write_whole(here / "link", force=True) as temporary:
        assert temporary.parent == away  # one file system, so that the rename is atomic
        temporary.write_text("new")
        with pytest.raises(BusyError, match="another idn is writing"):
            write_text(away / "file", "of another", force=True)
    assert (here / "link").is_symlink() and (away / "file").read_text() == "new"
    assert (names(here), names(away)) == (["link"], ["file"])


def test_a_link_to_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(Path("deep") / "file")
    assert check_target(tmp_path / "link") == tmp_path / "link"
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "deep" / "file").read_text() == "new"


def test_a_link_to_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Its own folder may be written, that of its file not: said before the work."""
    (tmp_path / "taken").touch()
    (tmp_path / "link").symlink_to(tmp_path / "taken" / "deep" / "file")
    with pytest.raises(NotADirectoryError, match=r"not written: .* is a file, not a folder"):
        check_target(tmp_path / "link")


def test_what_a_killed_process_left_is_found_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    leave_killed(tmp_path / "link")
    assert names(tmp_path) == [".file.lock", ".file.part", "link"]
    check_target(tmp_path / "link")
    assert names(tmp_path) == ["link"]


@contextlib.contextmanager
def open_pipe(path: Path) -> Iterator[int]:
    """A named pipe and its reader, which does not wait: what was not written to it is missed, not waited for."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield reader
    finally:
        os.close(reader)


needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on Windows")


@needs_pipes
@pytest.mark.parametrize("force", [False, True])
def test_text_goes_to_a_pipe(tmp_path: Path, force: bool) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with open_pipe(tmp_path / "pipe") as reader:
        for name in ("pipe", "link"):
            assert check_target(tmp_path / name, force, text=True) == tmp_path / name
            write_text(tmp_path / name, "Größe ×4\n", force)
            assert os.read(reader, 100).decode() == "Größe ×4\n"
    assert names(tmp_path) == ["link", "pipe"]
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()


@needs_pipes
def test_text_goes_to_a_device() -> None:
    controller, device = os.openpty()
    try:
        write_text(os.ttyname(device), "a line\n", force=True)
        assert os.read(controller, 100) == b"a line\r\n"
    finally:
        os.close(device)
        os.close(controller)


@needs_pipes
def test_a_reader_that_goes_early(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    def read_a_little() -> bytes:
        with (tmp_path / "pipe").open("rb") as stream:
            return stream.read(10)

    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(read_a_little)
        with pytest.raises(OSError, match=r"pipe: its reader has gone; not all was written"):
            write_text(tmp_path / "pipe", "0123456789" * 100_000)  # more than a pipe holds
        assert read.result() == b"0123456789"


@needs_pipes
@pytest.mark.parametrize("force", [False, True])
def test_other_outputs_do_not_replace_a_pipe(tmp_path: Path, force: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    ran: list[Path] = []

    def write() -> None:
        with write_whole(tmp_path / "pipe", force) as temporary:
            ran.append(temporary)

    said = r"pipe is a pipe or a device, which is not to be replaced; name a file"
    with pytest.raises(FileExistsError, match=said):
        write()
    with pytest.raises(FileExistsError, match=said):
        check_target(tmp_path / "pipe", force)
    assert ran == [] and (tmp_path / "pipe").is_fifo()


# --- Windows ---


def test_a_temporary_file_that_cannot_be_removed_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows refuses while it is mapped. The next that writes the name removes it."""

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "used by another process", str(path))

    def write_half() -> None:
        with write_whole(tmp_path / "out.bin") as temporary:
            temporary.write_bytes(b"half")
            monkeypatch.setattr(Path, "unlink", refuse)
            raise ValueError("the true error")

    with pytest.raises(ValueError, match="the true error"):
        write_half()
    monkeypatch.undo()
    write_text(tmp_path / "out.bin", "whole")
    assert (tmp_path / "out.bin").read_text() == "whole" and not (tmp_path / ".out.bin.part").exists()


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (3_417_000_000, "3.42 GB"),
        (100_000_000, "0.10 GB"),
        (12_340_000, "12.3 MB"),
        (99_999, "99,999 bytes"),
        (0, "0 bytes"),
    ],
)
def test_bytes_for_people(count: int, said: str) -> None:
    assert format_bytes(count) == said


@pytest.mark.parametrize("platform", ["win32", "linux"])
def test_a_file_that_is_open_elsewhere_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    """Windows replaces no file that another program has open, such as a virus scanner."""
    refused = [PermissionError(13, "Access is denied")] * 3
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: _raise(refused.pop()) if refused else replace(path, to))
    monkeypatch.setattr("idn_data.atomic.sys.platform", platform)
    monkeypatch.setattr("idn_data.atomic.time.sleep", lambda seconds: None)
    (tmp_path / "new").write_text("whole")
    if platform == "linux":
        with pytest.raises(PermissionError):
            atomic._replace(tmp_path / "new", tmp_path / "a")
        return
    atomic._replace(tmp_path / "new", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "whole" and not refused


def _raise(error: Exception) -> None:
    raise error
