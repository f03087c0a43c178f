from __future__ import annotations

import math
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from support.patchsamples import COUNT, SOURCES, draw_patches, drop_checksums, to_single, write

from idn_data.patches.header import gt_levels
from idn_data.patches.patchfile import PatchFile, PatchFileError

if TYPE_CHECKING:
    from pathlib import Path

both_storages = pytest.mark.parametrize("storage", ["float32", "uint8"])


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
    refuse(tmp_path, "a folder; name a file in it")


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
    left, missing = {"lr": ("/gt", "lr"), "gt": ("/lr", "gt"), "both": ("nothing", "lr")}[name]
    refuse(path, rf"a\.h5: holds {left}, but no /{missing}; expected /lr \(N, 1, p, p\) and /gt \(N, 1, s·p, s·p\)")


def test_other_dataset_names(tmp_path: Path) -> None:
    """As the Caffe scripts name them; the remedy works."""
    path = tmp_path / "train.h5"
    with h5py.File(path, "w") as file:
        file["data"], file["label"] = LR, GT
    refuse(path, r"holds /data, /label, but no /lr; expected /lr .* and /gt .*; h5py renames a dataset: file\.move")
    with h5py.File(path, "r+") as file:
        file.move("data", "lr")
    refuse(path, "holds /label, /lr, but no /gt; expected")
    with h5py.File(path, "r+") as file:
        file.move("label", "gt")
    with PatchFile(path) as patches:
        assert (patches.count, patches.scale, patches.boundary) == (64, 3, None)


def test_many_names_and_strange_ones(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("a\nb", "long" * 30, *"cdefg"):
            file[name] = 1
    refuse(tmp_path / "a.h5", r"holds 'a\\nb', /c, /d, /e, /f, /g …, but no /lr; expected")


def test_dangling_link(tmp_path: Path) -> None:
    path = write_raw(tmp_path / "a.h5", LR, GT)
    with h5py.File(path, "r+") as file:
        del file["lr"]
        file["lr"] = h5py.ExternalLink("gone.h5", "/lr")
    refuse(path, "/lr is a link, or lies in another file, which idn does not follow; write its values into this file")


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
    path = write_raw(tmp_path / "a.h5", LR, GT, format="idn-patches", format_version=3)
    refuse(path, "format version 3; this idn reads 1…2. Update idn")


@pytest.mark.parametrize("boundary", ["circular", 3, "x" * 5000])
def test_an_unknown_border_is_refused(tmp_path: Path, boundary: object) -> None:
    path = write_raw(tmp_path / "a.h5", LR, GT, format="idn-patches", boundary=boundary)
    refuse(path, r"the attribute 'boundary' is .{1,20}; this idn reads symmetric, replicate")


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
        "checksums": True,
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


# --- damage ---


def find_places(path: Path) -> dict[str, tuple[int, int]]:
    """Where in the file the bytes of each dataset stand."""
    with h5py.File(path) as file:
        return {name: (d.id.get_offset(), d.id.get_offset() + d.id.get_storage_size()) for name, d in file.items()}


def examine(path: Path) -> str:
    """What verification says of a file: "" for nothing."""
    try:
        with PatchFile(path) as file:
            damage = file.find_damage(workers=1)
            return file.describe_damage(damage) if any(len(rows) for rows in damage.values()) else ""
    except PatchFileError as error:
        return str(error)


@both_storages
def test_a_sound_file_verifies(tmp_path: Path, storage: str) -> None:
    _, gt = write(tmp_path / "a.h5", storage)
    assert examine(tmp_path / "a.h5") == ""
    seen: list[tuple[str, int, int]] = []
    with PatchFile(tmp_path / "a.h5") as file:
        file.step = 50  # several steps, the last one short
        assert {k: v.tolist() for k, v in file.find_damage(2, lambda *c: seen.append(c)).items()} == {
            "lr": [],
            "gt": [],
        }
        got_lr, got_gt = file.read_levels(30, 101)
        np.testing.assert_array_equal(got_lr, file.read(30, 101)[0])
    assert seen == [("verifying", k, 4) for k in (1, 2, 3, 4)]
    assert got_gt.dtype == np.uint8
    np.testing.assert_array_equal(got_gt[:, 0], gt[30:101])


@both_storages
@pytest.mark.parametrize("name", ["lr", "gt"])
def test_a_flipped_bit_names_dataset_and_rows(tmp_path: Path, storage: str, name: str) -> None:
    path = tmp_path / "a.h5"
    write(path, storage)
    first, last = find_places(path)[name]
    size, data = (last - first) // COUNT, bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for row in (0, 5, 6, 191):
        data[first + row * size + int(rng.integers(size))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)
    assert examine(path) == f"{path}: damaged in /{name} row(s) 0, 5…6, 191; copy or make the file again"
    with PatchFile(path) as file:
        assert file.read_levels(7, 191)[0].shape == (184, 1, 5, 5)
        for first in (0, 5, 6, 191):
            with pytest.raises(PatchFileError, match=rf"damaged in /{name} row\(s\) {first}; copy or make"):
                file.read_levels(first, first + 1)


@pytest.mark.parametrize("name", ["crc32", "digest", "sources"])
def test_a_flipped_bit_of_what_guards_the_data_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.h5"
    write(path, "uint8")
    whole, (first, last) = path.read_bytes(), find_places(path)[name]
    part = {"crc32": "/crc32", "sources": "/sources", "digest": "(attributes and shapes|/sources|/crc32)"}[name]
    for place in range(first, last, 13):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        with pytest.raises(PatchFileError, match=f"damaged in its {part}; copy or make the file again"):
            PatchFile(path)


def test_a_flipped_bit_anywhere_else_is_found_or_without_effect(tmp_path: Path) -> None:
    """The attributes, and what HDF5 says of the datasets; between them stand unused bytes."""
    path = tmp_path / "a.h5"
    write(path, "uint8")
    with PatchFile(path) as file:
        wanted = (*file.read(0, COUNT), file.attributes, file.sources())
    whole, free = path.read_bytes(), 0
    inside = np.zeros(len(whole), bool)
    for first, last in find_places(path).values():
        inside[first:last] = True
    outside = np.flatnonzero(~inside)
    for place in outside[:: 1 + len(outside) // 400].tolist():
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        if not examine(path):
            free += 1
            with PatchFile(path) as file:
                assert all(map(np.array_equal, file.read(0, COUNT), wanted[:2])), place
                assert (file.attributes, file.sources()) == wanted[2:], place
    assert free < 150


@pytest.mark.parametrize(("name", "text"), [("seed", "attributes and shapes"), ("stage", "attributes and shapes")])
def test_a_changed_attribute_is_found_and_one_of_your_own_is_not(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / "a.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        file.attrs["note"], file["mine"] = "for the second paper", [1, 2, 3]
    assert examine(path) == ""
    with h5py.File(path, "r+") as file:
        file.attrs[name] = 6
    assert examine(path) == f"{path}: damaged in its {text}; copy or make the file again"


@pytest.mark.parametrize("name", ["crc32", "digest", "sources", "checksums", "digested"])
def test_missing_checksums_are_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.h5"
    write(path)
    with h5py.File(path, "r+") as file:
        del (file if name in file else file.attrs)[name]
    assert "a.h5: damaged in its " in examine(path)


@both_storages
@pytest.mark.parametrize(("first", "last"), [(0.0, 1.0), (0.5, 1.0), (0.2, 0.3), (0.0, 0.01), (0.9, 1.0)])
def test_zeros_in_place_of_data_are_found(tmp_path: Path, storage: str, first: float, last: float) -> None:
    path = tmp_path / "a.h5"
    write(path, storage)
    data = bytearray(path.read_bytes())
    here = slice(int(first * len(data)), int(last * len(data)))
    data[here] = bytes(len(data[here]))
    path.write_bytes(data)
    assert "damaged" in examine(path)


@both_storages
def test_rows_of_zeros_are_named(tmp_path: Path, storage: str) -> None:
    """What a copy leaves that stopped half way, or a file system after a crash."""
    path = tmp_path / "a.h5"
    write(path, storage)
    with h5py.File(path, "r+") as file:
        file["lr"][100:], file["gt"][50:60] = 0, 0
    assert "damaged in /lr row(s) 100…191 and /gt row(s) 50…59; copy" in examine(path)


def test_a_file_without_checksums_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write(path)
    drop_checksums(path)
    with PatchFile(path) as file:
        assert not file.checked
        assert file.read_levels(0, 5)[1].dtype == np.uint8
    assert "a.h5: holds no checksums: made by an older idn, or another program; --against-images" in examine(path)


def test_unreadable_rows_are_named(tmp_path: Path) -> None:
    """A compressed file of another program, with a broken block."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("lr", data=LR, chunks=(32, 1, 5, 5))
        data = file.create_dataset("gt", data=draw_patches()[1][:64, None], chunks=(32, 1, 15, 15), compression="gzip")
        place = data.id.get_chunk_info(1).byte_offset
    broken = bytearray(path.read_bytes())
    broken[place : place + 40] = b"\xff" * 40
    path.write_bytes(broken)
    with PatchFile(path) as file:
        assert len(file.read_levels(0, 32)[0]) == 32
        with pytest.raises(PatchFileError, match=r"a\.h5: /gt row\(s\) 30…39 cannot be read \(.+\); copy or make"):
            file.read_levels(30, 40)
