from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest

from idn_data.patches import gt_levels
from idn_data.patchfile import Header, PatchFile, PatchFileError, PatchWriter

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

COUNT, SIDE, SCALE = 192, 5, 3
SOURCES = [("bridge.bmp", "0" * 64), ("Straße 7.png", "f" * 64)]

both_storages = pytest.mark.parametrize("storage", ["float32", "uint8"])


def make_header(storage: str = "float32", **changes: object) -> Header:
    values: dict[str, object] = {
        "scale": SCALE, "stage": "pretrain", "lr_patch": SIDE, "seed": 5, "storage": storage, "patches_found": 200,
        "source_digest": "abc", "source_count": 2, "source_set": "291", "skipped": ("a.png: the file is empty",),
        "shard": 1, "shards": 4, "versions": {"numpy": "1", "idn": "0"},
    }  # fmt: skip
    return Header(**{**values, **changes})  # type: ignore[arg-type]


def draw_patches() -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """LR (N, p, p) with a little overshoot, GT (N, s·p, s·p) as 8-bit values with every k among them."""
    rng = np.random.default_rng(0)
    lr = rng.uniform(-0.05, 1.05, (COUNT, SIDE, SIDE)).astype(np.float32)
    return lr, rng.integers(0, 256, (COUNT, SIDE * SCALE, SIDE * SCALE), dtype=np.uint8)


def write(path: Path, storage: str = "float32") -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    lr, gt = draw_patches()
    with PatchWriter(path, make_header(storage), COUNT, SOURCES) as writer:
        for rows in (slice(64, COUNT), slice(0, 64)):  # in any order
            writer.lr[rows] = lr[rows]
            writer.gt[rows] = gt_levels(writer.gt.dtype)[gt[rows]]
            writer.release()
    return lr, gt


def to_single(gt: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (gt.astype(np.float64) / 255).astype(np.float32)


def write_raw(path: Path, lr: object, gt: object, **attributes: object) -> Path:
    with h5py.File(path, "w") as file:
        file["lr"], file["gt"] = lr, gt
        file.attrs.update(attributes)
    return path


# --- written and read again ---


@both_storages
def test_round_trip(tmp_path: Path, storage: str) -> None:
    lr, gt = write(tmp_path / "a.h5", storage)
    with PatchFile(tmp_path / "a.h5") as file:
        assert (file.count, len(file), file.scale, file.lr_side, file.gt_side) == (COUNT, COUNT, 3, 5, 15)
        assert (file.storage, file.transposed) == (storage, False)
        got_lr, got_gt = file.read(0, COUNT)
        assert file.sources() == SOURCES
    assert got_lr.dtype == got_gt.dtype == np.float32
    assert got_lr.shape == (COUNT, 1, 5, 5)
    assert got_gt.shape == (COUNT, 1, 15, 15)
    assert got_lr.flags.c_contiguous
    assert got_gt.flags.c_contiguous
    assert got_lr.tobytes() == lr.tobytes()
    assert got_gt.tobytes() == to_single(gt).tobytes()


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
        "format": "idn-patches", "format_version": 1, "scale": 3, "lr_patch": 5, "gt_patch": 15, "seed": 5,
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


def test_levels_are_single_of_k_over_255(tmp_path: Path) -> None:
    wanted = np.array([np.float32(np.float64(k) / np.float64(255)) for k in range(256)])
    assert gt_levels(np.dtype(np.float32)).tobytes() == wanted.tobytes()
    np.testing.assert_array_equal(gt_levels(np.dtype(np.uint8)), np.arange(256))
    # and so a file of uint8 reads
    k = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    path = write_raw(tmp_path / "a.h5", np.zeros((1, 1, 8, 8), np.float32), k, format="idn-patches", format_version=1)
    with PatchFile(path) as file:
        assert file.read(0, 1)[1].tobytes() == wanted.tobytes()


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 192), (191, 192), (60, 70), (192, 192), (0, 0)])
@both_storages
def test_read_ranges(tmp_path: Path, storage: str, first: int, last: int) -> None:
    lr, gt = write(tmp_path / "a.h5", storage)
    with PatchFile(tmp_path / "a.h5") as file:
        got_lr, got_gt = file.read(first, last)
    assert got_lr.shape == (last - first, 1, 5, 5)
    np.testing.assert_array_equal(got_lr[:, 0], lr[first:last])
    np.testing.assert_array_equal(got_gt[:, 0], to_single(gt[first:last]))


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (3, 2), (0, 193), (193, 193)])
def test_read_refuses_rows_outside(tmp_path: Path, first: int, last: int) -> None:
    write(tmp_path / "a.h5")
    with (
        PatchFile(tmp_path / "a.h5") as file,
        pytest.raises(IndexError, match=f"rows {first}…{last} are outside 0…192"),
    ):
        file.read(first, last)


def test_an_error_while_writing_leaves_the_file_closed(tmp_path: Path) -> None:
    def fail() -> None:
        with PatchWriter(tmp_path / "a.h5", make_header(), COUNT, SOURCES) as writer:
            writer.lr[0] = 1
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    write(tmp_path / "a.h5")  # nothing holds it open


# --- MATLAB's files ---


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matlab_file_is_read_upright(tmp_path: Path, dtype: type) -> None:
    """As h5write leaves it: chunks of 64 patches, open length, each patch transposed as h5py sees it."""
    lr, gt = draw_patches()
    wide = {"lr": lr.astype(dtype), "gt": (gt / 255.0).astype(dtype)}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for name, patches in wide.items():
            turned = patches.transpose(0, 2, 1)[:, None]
            file.create_dataset(name, data=turned, chunks=(64, *turned.shape[1:]), maxshape=(None, *turned.shape[1:]))
    with PatchFile(tmp_path / "m.h5") as file:
        assert file.transposed
        assert (file.count, file.scale, file.lr_side, file.storage) == (COUNT, 3, 5, "float32")
        assert file.attributes == {}
        assert file.sources() == []
        for first, last in ((0, COUNT), (100, 131)):
            got_lr, got_gt = file.read(first, last)
            assert got_lr.dtype == got_gt.dtype == np.float32
            assert got_lr.flags.c_contiguous
            assert got_gt.flags.c_contiguous
            np.testing.assert_array_equal(got_lr[:, 0], lr[first:last])
            np.testing.assert_array_equal(got_gt[:, 0], to_single(gt[first:last]))
        said = file.describe()
    assert said["chunks"] == (64, 1, 15, 15)
    assert "MATLAB" in str(said["made_by"])


# --- broken files: one line that names the file and says why ---


LR, GT = np.zeros((64, 1, 5, 5), np.float32), np.zeros((64, 1, 15, 15), np.float32)


def refuse(path: Path, message: str) -> None:
    with pytest.raises(PatchFileError, match=message) as caught:
        PatchFile(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    refuse(tmp_path / "none.h5", "no such file; idn make-train makes one")
    refuse(tmp_path, "no such file")


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(5000)])
def test_not_hdf5(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.h5").write_bytes(content)
    refuse(tmp_path / "a.h5", "not an HDF5 file, or a damaged one")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
@both_storages
def test_truncated_copy(tmp_path: Path, storage: str, part: float) -> None:
    write(tmp_path / "a.h5", storage)
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "b.h5").write_bytes(whole[: int(part * len(whole))])
    refuse(tmp_path / "b.h5", "not an HDF5 file, or a damaged one")


@pytest.mark.parametrize("name", ["lr", "gt", "both"])
def test_missing_datasets(tmp_path: Path, name: str) -> None:
    path = write_raw(tmp_path / "a.h5", LR, GT)
    with h5py.File(path, "r+") as file:
        for key in ("lr", "gt") if name == "both" else (name,):
            del file[key]
    refuse(path, "holds no readable datasets /lr and /gt")


def test_dangling_link(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.h5", LR, GT)
    with h5py.File(path, "r+") as file:
        del file["lr"]
        file["lr"] = h5py.ExternalLink("gone.h5", "/lr")
    refuse(path, "holds no readable datasets /lr and /gt")


def test_group_named_lr(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("lr")
        file["gt"] = GT
    refuse(tmp_path / "a.h5", r"/lr must be \(N, 1, p, p\); got a group")


@pytest.mark.parametrize(
    ("lr", "gt", "message"),
    [
        (LR[:, 0], GT, r"/lr must be \(N, 1, p, p\); got \(64, 5, 5\)"),
        (LR, GT[:, 0], r"/gt must be \(N, 1, p, p\); got \(64, 15, 15\)"),
        (LR, np.float32(3), r"/gt must be \(N, 1, p, p\); got \(\)"),
        (LR.repeat(3, axis=1), GT, r"/lr must be \(N, 1, p, p\); got \(64, 3, 5, 5\)"),
        (LR, GT[:, :, :12], r"/gt must be \(N, 1, p, p\); got \(64, 1, 12, 15\)"),
        (h5py.Empty("f"), GT, r"/lr must be \(N, 1, p, p\); got None"),
        (LR[:60], GT, "must hold as many patches, at least one; got 60, 64"),
        (LR[:0], GT[:0], "must hold as many patches, at least one; got 0, 0"),
        (LR[:, :, :3, :3], GT, "GT patches must be 2, 3 or 4 times as large as LR; got 15 and 3"),
        (LR, GT[:, :, :5, :5], "GT patches must be 2, 3 or 4 times as large as LR; got 5 and 5"),
        (LR, GT[:, :, :14, :14], "GT patches must be 2, 3 or 4 times as large as LR; got 14 and 5"),
        (LR[:, :, :0, :0], GT, "GT patches must be 2, 3 or 4 times as large as LR; got 15 and 0"),
        (LR.astype(np.int32), GT, "/lr must be float32, /gt float32 or uint8; got int32, float32"),
        (LR.astype(np.uint8), GT, "/lr must be float32, /gt float32 or uint8; got uint8, float32"),
        (LR, GT.astype(np.float16), "/lr must be float32, /gt float32 or uint8; got float32, float16"),
        (LR, GT.astype("S1"), "/lr must be float32, /gt float32 or uint8; got float32"),
    ],
)
def test_unfit_datasets(tmp_path: Path, lr: object, gt: object, message: str) -> None:
    refuse(write_raw(tmp_path / "a.h5", lr, gt), message)


def test_other_format_version(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.h5", LR, GT, format="idn-patches", format_version=2)
    refuse(path, "format version 2; this idn reads 1. Update idn")


def test_a_refused_file_is_closed(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.h5", LR, GT[:60])
    refuse(path, "as many patches")
    with h5py.File(path, "r+") as file:  # h5py refuses to write a file that is still open for reading
        file.attrs["free"] = 1


# --- describe ---


def test_describe(tmp_path: Path) -> None:
    lr, gt = write(tmp_path / "a.h5", "uint8")
    with PatchFile(tmp_path / "a.h5") as file:
        said = file.describe()
    assert said.pop("attributes") == {**file.attributes}
    assert "idn" in str(said.pop("made_by"))
    assert said == {
        "file": str(tmp_path / "a.h5"),
        "bytes": (tmp_path / "a.h5").stat().st_size,
        "patches": COUNT,
        "scale": 3,
        "lr_patch": 5,
        "gt_patch": 15,
        "storage": "uint8",
        "chunks": None,
        "lr_range": [float(lr.min()), float(lr.max())],
        "gt_range": [float(to_single(gt.min())), float(to_single(gt.max()))],
    }


@pytest.mark.parametrize("row", [0, 64, 129])
def test_describe_ranges_cover_the_whole_file(tmp_path: Path, row: int) -> None:
    """Patches so large that a block of reading holds 64 of them: extremes are found in every block."""
    lr, gt = np.full((130, 1, 256, 256), 0.5, np.float32), np.full((130, 1, 512, 512), 7, np.uint8)
    lr[row, 0, 3, 4], lr[row, 0, 200, 9] = -0.25, 1.25
    gt[row, 0, 511, 511], gt[row, 0, 0, 0] = 255, 0
    with PatchFile(write_raw(tmp_path / "a.h5", lr, gt)) as file:
        said = file.describe()
    assert said["lr_range"] == [-0.25, 1.25]
    assert said["gt_range"] == [0.0, 1.0]
    (tmp_path / "a.h5").unlink()  # 67 MB


@pytest.mark.parametrize("row", [0, 7, 63])
def test_describe_does_not_hide_a_nan(tmp_path: Path, row: int) -> None:
    """A NaN ruins a training; the range must show it."""
    lr = LR.copy()
    lr[row, 0, 1, 1], lr[8, 0, 1, 1] = math.nan, 0.5
    with PatchFile(write_raw(tmp_path / "a.h5", lr, GT)) as file:
        said = file.describe()
    assert str(said["lr_range"]) == "[nan, nan]"
    assert said["gt_range"] == [0.0, 0.0]
