from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import idn_data
from idn_data.atomic import check_target, write_text, write_whole


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

    with pytest.raises(FileExistsError, match=r"out\.bin exists already; --force replaces it, --out names another"):
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


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"a file")
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken" / "out.txt", "text")
    assert (tmp_path / "taken").read_bytes() == b"a file"


def test_text_has_the_same_bytes_everywhere(tmp_path: Path) -> None:
    write_text(tmp_path / "out.txt", "Größe ×4\nsecond\n")
    assert (tmp_path / "out.txt").read_bytes() == b"Gr\xc3\xb6\xc3\x9fe \xc3\x974\nsecond\n"


CHILD = """
import sys, time
from idn_data.atomic import write_whole
with write_whole(sys.argv[1], force=True) as temporary:
    with temporary.open("wb") as stream:
        stream.write(b"half of the new file")
        stream.flush()
        print("writing", flush=True)
        time.sleep(60)
"""


def test_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    home = Path(idn_data.__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", CHILD, str(target)], stdout=subprocess.PIPE, cwd=home) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        child.kill()  # SIGKILL: no handler, no finally
    assert child.returncode != 0
    assert target.read_bytes() == b"old"
    (part,) = (name for name in names(tmp_path) if name != "out.bin")
    assert part.startswith(".out.bin.") and part.endswith(".part")  # plainly no result, and hidden
    write_text(target, "new", force=True)  # and it does not stand in the way
    assert target.read_text() == "new"
