from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import zlib
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from support.patchsamples import COUNT, SOURCES, make_header, to_single, write

from idn_data.patches import patchwriter as writing
from idn_data.patches.patchfile import PatchFile
from idn_data.patches.patchwriter import PatchWriter, allocate

if TYPE_CHECKING:
    from pathlib import Path

both_storages = pytest.mark.parametrize("storage", ["float32", "uint8"])


@both_storages
def test_layout_is_contiguous_and_may_be_mapped(tmp_path: Path, storage: str) -> None:
    lr, gt = write(tmp_path / "a.h5", storage)
    with h5py.File(tmp_path / "a.h5") as file:
        for name, wanted in (("lr", lr), ("gt", gt if storage == "uint8" else to_single(gt))):
            data = file[name]
            assert (data.chunks, data.compression, data.dtype) == (None, None, wanted.dtype)
            assert data.shape == (COUNT, 1, *wanted.shape[1:])
            mapped = np.memmap(tmp_path / "a.h5", data.dtype, "r", data.id.get_offset(), data.shape)
            np.testing.assert_array_equal(mapped[:, 0], wanted)
            np.testing.assert_array_equal(data[:, 0], wanted)


def test_uint8_is_about_a_quarter(tmp_path: Path) -> None:
    for storage in ("float32", "uint8"):
        write(tmp_path / storage, storage)
    wide, narrow = ((tmp_path / storage).stat().st_size for storage in ("float32", "uint8"))
    assert wide - narrow == 3 * COUNT * 15 * 15


def test_same_content_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    write(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_attributes(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", "uint8")
    with PatchFile(tmp_path / "a.h5") as file:
        said = file.attributes
    assert {k: said[k] for k in ("format", "format_version", "scale", "lr_patch", "gt_patch", "seed", "stage")} == {
        "format": "idn-patches", "format_version": 2, "scale": 3, "lr_patch": 5, "gt_patch": 15, "seed": 5,
        "stage": "pretrain",
    }  # fmt: skip
    assert {k: said[k] for k in ("storage", "patches_found", "shard", "shards", "source_count", "source_set")} == {
        "storage": "uint8", "patches_found": 200, "shard": 1, "shards": 4, "source_count": 2, "source_set": "291",
    }  # fmt: skip
    assert json.loads(str(said["skipped"])) == ["a.png: the file is empty"]
    assert json.loads(str(said["versions"])) == {"numpy": "1", "idn": "0"}
    assert "255" in str(said["range_gt"])
    assert "uint8" in str(said["range_gt"])
    json.dumps(said)  # plain Python values


def test_range_attribute_follows_the_storage() -> None:
    ranges = {storage: make_header(storage).attributes()["range_gt"] for storage in ("float32", "uint8")}
    assert "float32" in str(ranges["float32"])
    assert "divide by 255" in str(ranges["uint8"])


def test_many_skipped_images_fit_the_attributes(tmp_path: Path) -> None:
    """HDF5 holds at most 64 KiB in the attributes of an object: the first hundred are named, all are counted."""
    skipped = tuple(f"/a/long/folder/of/images/{k:05d}.png: the file is empty" for k in range(5000))
    with PatchWriter(tmp_path / "a.h5", make_header(skipped=skipped), 64, SOURCES) as writer:
        writer.lr[:], writer.gt[:] = 0, 0
    with PatchFile(tmp_path / "a.h5") as file:
        assert file.attributes["skipped_count"] == 5000
        assert json.loads(str(file.attributes["skipped"])) == list(skipped[:100])


def test_unknown_storage_is_refused() -> None:
    with pytest.raises(ValueError, match="storage must be one of float32, uint8; got 'float64'"):
        make_header("float64")


def test_an_error_while_writing_leaves_the_file_closed(tmp_path: Path) -> None:
    def fail() -> None:
        with PatchWriter(tmp_path / "a.h5", make_header(), COUNT, SOURCES) as writer:
            writer.lr[0] = 1
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    write(tmp_path / "a.h5")  # nothing holds it open


@pytest.mark.parametrize("seconds", [0.05, 60])
def test_a_view_that_a_profiler_still_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Dask's samples the frames of its workers, and keeps them, with what they know, a little longer than they run."""
    write(tmp_path / "a.h5")
    held: list[object] = []
    timer = threading.Timer(seconds, held.clear)

    def hold_a_view(writer: PatchWriter) -> None:
        if timer.ident is None:  # time counts from the first view that is held
            held.append(writer.gt[:1])
            timer.start()

    monkeypatch.setattr(PatchWriter, "release", hold_a_view)
    monkeypatch.setattr(writing, "PATIENCE", 20.0 if seconds < 1 else 0.2)
    write(tmp_path / "b.h5")
    assert bool(held) == (seconds > 1)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    timer.cancel()


@both_storages
def test_checksums_are_those_of_zlib(tmp_path: Path, storage: str) -> None:
    """As the attribute ``checksums`` explains them to others."""
    lr, gt = write(tmp_path / "a.h5", storage)
    with h5py.File(tmp_path / "a.h5") as file:
        wanted = [[zlib.crc32(a.tobytes()), zlib.crc32(b.tobytes())] for a, b in zip(lr, gt, strict=True)]
        np.testing.assert_array_equal(file["crc32"][:], wanted)
        assert file["digest"].shape == (3,)
        assert file["digest"][1].decode() == hashlib.sha256(file["sources"][:].tobytes()).hexdigest()
        assert file["digest"][2].decode() == hashlib.sha256(file["crc32"][:].tobytes()).hexdigest()


@both_storages
def test_views_are_aligned(tmp_path: Path, storage: str) -> None:
    for count, width in ((64, 1), (64, 333), (128, 7)):
        with PatchWriter(tmp_path / "a.h5", make_header(storage), count, [("x" * width, "0" * 64)] * 5) as writer:
            assert all(view.flags.aligned and view.flags.writeable for view in (writer.lr, writer.gt, writer.crc))
            writer.lr[:], writer.gt[:], writer.crc[:] = 0, 0, 0


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EINVAL, None])
def test_allocate_where_the_system_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None) -> None:
    """Then zeros are written: sparse bytes would end the process when the disk fills up under the map."""
    if error is None:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", lambda *_: raise_error(error), raising=False)
    path = tmp_path / "a"
    path.write_bytes(b"here")
    os.truncate(path, 3 << 20)
    with path.open("rb+") as stream:
        allocate(stream, 3 << 20)
    assert path.read_bytes() == b"here" + bytes((3 << 20) - 4)
    assert path.stat().st_blocks * 512 >= 3 << 20


def raise_error(number: int) -> None:
    raise OSError(number, os.strerror(number))


def test_allocate_does_not_hide_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", lambda *_: raise_error(errno.ENOSPC), raising=False)
    with (tmp_path / "a").open("wb+") as stream, pytest.raises(OSError, match="No space left on device"):
        allocate(stream, 1000)


@pytest.mark.parametrize(
    ("text", "number"), [("flush failed (errno = 28, error message = 'No', x)", errno.ENOSPC), ("?", 0)]
)
def test_what_hdf5_makes_of_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(h5py, "File", fail)
    with pytest.raises(OSError if number else RuntimeError, match="No space left" if number else r"\?") as caught:
        PatchWriter(tmp_path / "a.h5", make_header(), COUNT, SOURCES)
    assert getattr(caught.value, "errno", 0) == number


def test_long_lines_of_skipped_images_fit_the_attributes(tmp_path: Path) -> None:
    skipped = tuple(f"{'/very long folder é' * 100}/{k}.png: the file is empty" for k in range(100))
    with PatchWriter(tmp_path / "a.h5", make_header(skipped=skipped), 64, SOURCES) as writer:
        writer.lr[:], writer.gt[:], writer.crc[:] = 0, 0, 0
    with PatchFile(tmp_path / "a.h5") as file:
        assert json.loads(str(file.attributes["skipped"])) == list(skipped)
