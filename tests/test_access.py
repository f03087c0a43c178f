"""Files and folders that the system refuses: a message and a remedy for each, and none is called damaged."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image
from support.patchsamples import write
from support.serving import BYTES, FILES

from cli import describe_error
from idn_data.access import check_writable, explain_refusal, find_obstacle
from idn_data.atomic import BusyError, check_target, free_bytes, hold, write_text
from idn_data.images.decode import ImageError, list_images, read_image
from idn_data.images.download import open_local
from idn_data.patches.patchfile import PatchFile, PatchFileError
from idn_train.weightfile import find_weights, read_tensors

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX's permissions")
NOBODY = 65534


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may enter and write: pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="idn-shared-"))
    folder.chmod(0o777)
    yield folder
    for place in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
        place.chmod(0o777)
    shutil.rmtree(folder)


@contextmanager
def as_a_user() -> Iterator[None]:
    """Root may do anything: in the block the process has another user's rights, and none but those."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


READ = "no permission to read it; ask its owner, or copy it"


@posix
def test_a_file_that_may_not_be_read(shared: Path) -> None:
    write(shared / "a.h5")
    Image.new("L", (4, 4)).save(shared / "a.png")
    shutil.copy(find_weights("idn", 2), shared / "a.safetensors")
    for path in shared.iterdir():
        path.chmod(0)
    with as_a_user():
        with pytest.raises(PatchFileError, match=rf"a\.h5: {READ}$"):
            PatchFile(shared / "a.h5")
        with pytest.raises(ImageError, match=rf"a\.png: {READ}$"):
            read_image(shared / "a.png")
        with pytest.raises(ValueError, match=rf"a\.safetensors: {READ}$"):
            read_tensors(shared / "a.safetensors")


@posix
def test_a_folder_that_may_not_be_entered(shared: Path) -> None:
    (shared / "closed").mkdir()
    write(shared / "closed" / "a.h5")
    (shared / "closed").chmod(0)
    said = rf"no permission to enter {shared / 'closed'}; its owner, \S+, can give it: chmod a\+x$"
    with as_a_user():
        for read in (PatchFile, read_image, read_tensors):
            with pytest.raises(ValueError, match=said):
                read(shared / "closed" / "a.h5")
        with pytest.raises(PermissionError) as caught:
            list_images(shared / "closed")
        assert describe_error(caught.value) == f"{shared / 'closed'}: {READ}"


@posix
def test_a_folder_that_may_not_be_written(shared: Path) -> None:
    (shared / "theirs").mkdir()
    (shared / "theirs").chmod(0o555)
    said = rf"not written: no permission to write {shared / 'theirs'}, which belongs to \S+; choose another folder"
    with as_a_user():
        for name in ("a.txt", "new/a.txt"):
            with pytest.raises(PermissionError, match=said) as caught:
                write_text(shared / "theirs" / name, "x")
            assert describe_error(caught.value).startswith(f"{shared / 'theirs' / name}: not written: no permission")
            with pytest.raises(PermissionError, match=said):
                check_target(shared / "theirs" / name, force=True)


@posix
def test_a_neighbouring_folder_that_may_not_be_entered(shared: Path) -> None:
    """Beside what is looked for, and one behind a link: they keep no file."""
    (shared / "sets").mkdir()
    (shared / "sets" / "a.bmp").write_bytes(BYTES["a.bmp"])
    (shared / "sets" / "closed" / "sub").mkdir(parents=True)
    (shared / "sets" / "link").symlink_to(shared / "sets" / "closed" / "sub")
    (shared / "sets" / "closed").chmod(0)
    with as_a_user(), open_local(shared / "sets") as read:
        data = read(FILES[0], threading.Event())
    (shared / "sets" / "closed").chmod(0o777)
    assert data == BYTES["a.bmp"]


@posix
def test_a_lock_that_another_user_left(shared: Path) -> None:
    """Killed while it wrote, in a folder where each may remove only his own files."""
    shared.chmod(0o1777)
    (shared / ".a.txt.lock").write_bytes(b"")
    (shared / ".a.txt.lock").chmod(0o644)
    with as_a_user():
        write_text(shared / "a.txt", "x")
    assert (shared / "a.txt").read_text() == "x"
    with hold(shared / "b.txt"), as_a_user(), pytest.raises(BusyError, match="another idn is writing"):
        write_text(shared / "b.txt", "x")


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() != 0, reason="needs two users; run it as root")
def test_an_output_that_is_another_users(shared: Path) -> None:
    shared.chmod(0o1777)
    (shared / "a.txt").write_text("theirs")
    with (
        as_a_user(),
        pytest.raises(PermissionError, match=r"no permission to write .*a\.txt, which belongs to \S+"),
    ):
        write_text(shared / "a.txt", "ours", force=True)
    assert (shared / "a.txt").read_text() == "theirs"
    assert [p.name for p in shared.iterdir()] == ["a.txt"]


@posix
def test_a_folder_that_may_be_written_and_not_listed(shared: Path) -> None:
    """The name cannot be brought to the disk there; the file is whole all the same."""
    (shared / "drop").mkdir()
    (shared / "drop").chmod(0o333)
    with as_a_user():
        write_text(shared / "drop" / "a.txt", "x")
    assert (shared / "drop" / "a.txt").read_text() == "x"


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("file/a.txt", "file/b/a.txt"):
        with pytest.raises(OSError, match="not written: a part of its path is a file, not a folder; look at the path"):
            write_text(tmp_path / name, "x")
    for read in (PatchFile, read_image):
        with pytest.raises(ValueError, match=r"a part of its path is a file|no such file"):
            read(tmp_path / "file" / "a.h5")


def test_a_name_too_long(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="its name is too long for the file system; choose a shorter one"):
        write_text(tmp_path / ("a" * 300), "x")
    with pytest.raises(PatchFileError, match="its name is too long"):
        PatchFile(tmp_path / ("a" * 300))


@posix
def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # to open it would take for ever
    (tmp_path / "loop").symlink_to("loop")
    assert (
        find_obstacle(tmp_path / "pipe", "none") == "neither a file nor a folder, but a pipe or a device; name a file"
    )
    assert find_obstacle(tmp_path / "loop", "none") == "a link that leads back to itself; remove it"
    assert find_obstacle(tmp_path, "none") == "a folder; name a file in it"
    assert find_obstacle(tmp_path / "none", "none; make one") == "none; make one"
    assert find_obstacle(Path(__file__), "none") is None


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EMFILE, "too many files are open; raise ulimit -n"),
        (errno.EROFS, "its file system may only be read; choose another folder"),
        (errno.EIO, "the disk reports an error; look at the disk"),
        (errno.EBUSY, "another program uses it; close it there"),
        (errno.ETIMEDOUT, "the network file system does not answer"),
        (errno.EXDEV, os.strerror(errno.EXDEV)),  # what is not known here, in the system's own words
    ],
)
def test_other_answers_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str) -> None:
    write(tmp_path / "a.h5")
    error = OSError(number, os.strerror(number), str(tmp_path / "a.h5"))
    assert said in explain_refusal(error, tmp_path / "a.h5")
    assert describe_error(error).startswith(f"{tmp_path / 'a.h5'}: {said}")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(PatchFileError, match=rf"a\.h5: {said}"):
        PatchFile(tmp_path / "a.h5")


# HDF5's locks

WRITER = """
import sys, time, h5py
file = h5py.File(sys.argv[1], "r+", libver="latest" if len(sys.argv) > 2 else None)
print("open", flush=True)
time.sleep(600)
"""


@contextmanager
def another_writer(path: Path, *more: str) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", WRITER, path, *more], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield
        finally:
            process.kill()


def test_a_patch_file_that_another_program_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.h5")
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    with another_writer(tmp_path / "a.h5"):
        said = r"a\.h5: another program is writing it; wait until that has closed it$"
        with pytest.raises(PatchFileError, match=said):
            PatchFile(tmp_path / "a.h5")
    with PatchFile(tmp_path / "a.h5") as patches:  # it was whole all the time
        assert patches.count


def test_a_patch_file_whose_writer_was_killed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["lr"], file["gt"] = np.zeros((4, 1, 5, 5), np.float32), np.zeros((4, 1, 10, 10), np.float32)
    with another_writer(tmp_path / "a.h5", "latest"):
        pass
    with pytest.raises(PatchFileError, match=r"or was killed in that; wait for it, or else run h5clear -s on it$"):
        PatchFile(tmp_path / "a.h5")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As some network file systems answer, in HDF5's words."""
    write(tmp_path / "a.h5")
    text = "Unable to synchronously open file (unable to lock file, errno = 37, error message = 'No locks available')"

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, text)

    monkeypatch.setattr(h5py, "File", fail)
    with pytest.raises(PatchFileError, match="its file system has no locks; HDF5_USE_FILE_LOCKING=FALSE reads it"):
        PatchFile(tmp_path / "a.h5")


@pytest.mark.parametrize("keep", [0, 1000])
def test_a_patch_file_that_is_damaged(tmp_path: Path, keep: int) -> None:
    write(tmp_path / "a.h5")
    (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:keep])
    with pytest.raises(PatchFileError, match=r"a\.h5: not an HDF5 file, or a damaged one$"):
        PatchFile(tmp_path / "a.h5")


def test_a_drive_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On Windows even the root of a path may be missing."""
    monkeypatch.setattr("os.path.lexists", lambda path: False)
    with pytest.raises(FileNotFoundError, match="not written: no such drive or share; look at the path"):
        check_writable(tmp_path / "a.json")
    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    with pytest.raises(FileNotFoundError, match="no such drive or share; look at the path"):
        free_bytes(tmp_path / "a.json")


def test_windows_denies_what_is_open_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    error = PermissionError(13, "Access is denied")
    error.winerror = 5  # type: ignore[attr-defined]
    assert explain_refusal(error, tmp_path / "a.csv", writing=True) == "another program uses it; close it there"
    assert "permission" in explain_refusal(error, tmp_path / "none.csv", writing=True)
