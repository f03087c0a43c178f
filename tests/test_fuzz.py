"""What fuzzing found, one test for each; and a few mutated inputs for every reader.

Thousands of them: ``python tests/faults/fuzz_readers.py``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from support.fuzzimages import chunk, encode_mpo, repeat_scans
from support.fuzzweights import State
from support.patchsamples import drop_checksums, write

from idn_data.images import decode as images
from idn_data.images import download, sets
from idn_data.images.decode import ImageError, read_image, read_y
from idn_data.images.download import FetchError, open_local
from idn_data.images.opening import MAX_BYTES
from idn_data.images.sets import Registered
from idn_data.patches.hdf5 import MAX_CHUNK
from idn_data.patches.patchfile import PatchFile, PatchFileError
from idn_data.patches.verify import verify_patches
from idn_data.scores.parity import compare
from idn_data.scores.reference import MAX_SIDE, MIN_SCALE, ReferenceFileError
from idn_data.scores.references import MAX_JSON, read_references
from idn_train import metrics
from idn_train.photos import read_photo, save_photo
from idn_train.weightfile import read_tensors

HARNESS = Path(__file__).parent / "faults" / "fuzz_readers.py"
LR, GT = np.zeros((64, 1, 5, 5), np.float32), np.zeros((64, 1, 15, 15), np.float32)


@pytest.mark.skipif(sys.platform != "linux", reason="limits and peaks of memory are Linux's; run it there")
def test_a_few_inputs_for_some_readers(tmp_path: Path) -> None:
    """The harness works; thousands of inputs for all twelve readers are for the script itself."""
    readers = ["images", "json", "state"]
    done = subprocess.run(
        [sys.executable, HARNESS, "--inputs", "4", "--seconds", "120", "--keep", tmp_path, *readers],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 4


# Images


def test_strips_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (23, 17, 4), np.uint8)
    colour = Image.fromarray(rgba)
    wide = Image.fromarray(rgba[..., 0].astype(np.uint16) * 257)
    pictures = [colour, colour.convert("RGB"), colour.convert("L"), colour.convert("LA"), colour.convert("1"), wide,
                colour.convert("RGB").quantize(9)]  # fmt: skip
    for picture in pictures:
        picture.save(tmp_path / "a.png")
        monkeypatch.setattr(images, "BAND", 1 << 22)
        whole = (read_image(tmp_path / "a.png"), read_y(tmp_path / "a.png"), read_photo(tmp_path / "a.png"))
        monkeypatch.setattr(images, "BAND", 40)
        strips = (read_image(tmp_path / "a.png"), read_y(tmp_path / "a.png"), read_photo(tmp_path / "a.png"))
        for one, other in zip(whole[:2], strips[:2], strict=True):
            np.testing.assert_array_equal(one, other)
        assert (whole[2][2], whole[2][3]) == (strips[2][2], strips[2][3])
        for one, other in zip(whole[2][:2], strips[2][:2], strict=True):
            assert (one is None) == (other is None)
            np.testing.assert_array_equal(one, other)  # type: ignore[arg-type]


def test_a_webp_of_34_bytes_that_takes_a_gigabyte(tmp_path: Path) -> None:
    Image.new("RGB", (6000, 6000)).save(tmp_path / "a.webp", lossless=True, quality=0, method=0)
    assert (tmp_path / "a.webp").stat().st_size < 100
    with pytest.raises(ImageError, match="6000x6000 pixels; at most 33554432"):
        read_image(tmp_path / "a.webp")


def test_a_file_larger_than_any_image(tmp_path: Path) -> None:
    with (tmp_path / "a.bmp").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageError, match=r"a\.bmp: 536,870,913 bytes; at most 536,870,912"):
        read_image(tmp_path / "a.bmp")


def test_a_jpeg_of_many_scans(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG", progressive=True)
    (tmp_path / "a.jpg").write_bytes(repeat_scans(stream.getvalue(), 30))
    assert read_image(tmp_path / "a.jpg").shape == (64, 64, 3)
    (tmp_path / "a.jpg").write_bytes(repeat_scans(stream.getvalue(), 400, (8000, 8000)))
    with pytest.raises(ImageError, match=r"a\.jpg: a JPEG of \d+ scans, which would take long; save it anew"):
        read_image(tmp_path / "a.jpg")


def test_a_jpeg_of_many_scans_with_another_picture_behind_it(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encode_mpo(5))
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "MPO"
    assert read_image(tmp_path / "a.jpg").shape == (64, 64, 3)
    (tmp_path / "a.jpg").write_bytes(encode_mpo(400, (8000, 8000)))
    with pytest.raises(ImageError, match=r"a\.jpg: a JPEG of \d+ scans, which would take long; save it anew"):
        read_image(tmp_path / "a.jpg")


def break_tag(data: bytes, tag: int, count: int) -> bytes:
    """A TIFF whose tag claims so many values."""
    start = int.from_bytes(data[4:8], "little") + 2
    at = next(k for k in range(start, len(data), 12) if data[k : k + 2] == tag.to_bytes(2, "little"))
    return data[: at + 4] + struct.pack("<I", count) + data[at + 8 :]


@pytest.mark.parametrize("read", [read_image, read_photo])
def test_nobody_but_us_speaks_of_a_broken_tiff(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder, read: Callable[[Path], Any]
) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20)).save(stream, "TIFF", compression="tiff_lzw")
    sound = stream.getvalue()
    for tag, count in ((279, 1 << 30), (273, 0), (278, 9), (284, 7), (258, 1 << 20), (277, 40)):
        (tmp_path / "a.tif").write_bytes(break_tag(sound, tag, count))
        with contextlib.suppress(ImageError):
            read(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes(sound[:8] + bytes(12) + sound[20:])
    with pytest.raises(ImageError, match=r"a\.tif: "):
        read(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_a_palette_that_is_not_there(tmp_path: Path) -> None:
    head = struct.pack(">IIBBBBB", 4, 4, 8, 3, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(20))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(ImageError, match=r"a\.png: damaged$"):
        read_photo(tmp_path / "a.png")


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0XX\0*\0\0\0\x08", b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x1a\0\2\0\0\0\3abc\0\0\0\0\0"]
)
def test_exif_that_cannot_be_written(tmp_path: Path, exif: bytes) -> None:
    for name in ("TIFF", "JPEG", "PNG", "WEBP"):
        save_photo(Image.new("RGB", (8, 8), (1, 2, 3)), tmp_path / "a", name, {"exif": exif})
        with Image.open(tmp_path / "a") as picture:
            assert picture.size == (8, 8)


def test_exif_longer_than_jpeg_takes(tmp_path: Path) -> None:
    save_photo(Image.new("RGB", (8, 8)), tmp_path / "a", "JPEG", {"exif": b"Exif\0\0" + bytes(70_000)})
    with Image.open(tmp_path / "a") as picture:
        assert not picture.getexif()


# Patch files


def replace(path: Path, name: str, make: Callable[[h5py.File], object]) -> Path:
    """A file of MATLAB's kind, with one of its datasets made otherwise."""
    with h5py.File(path, "w") as file:
        file["lr"], file["gt"] = LR, GT
        file.move(name, "other")
        make(file)
    return path


def use_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((64, 1, 5, 5), np.float32)
    layout[:] = h5py.VirtualSource("pipe", "lr", (64, 1, 5, 5))
    file.create_virtual_dataset("lr", layout)


@pytest.mark.parametrize(
    "make",
    [
        lambda file: file.__setitem__("lr", h5py.ExternalLink("pipe", "/lr")),
        lambda file: file.__setitem__("lr", h5py.SoftLink("/other")),
        lambda file: file.__setitem__("lr", np.dtype("f4")),
        lambda file: file.create_dataset("lr", LR.shape, "f4", external=[("pipe", 0, h5py.h5f.UNLIMITED)]),
        use_virtual,
    ],
)
def test_datasets_in_other_places(tmp_path: Path, make: Callable[[h5py.File], object]) -> None:
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # to open it would take for ever
    with pytest.raises(PatchFileError, match=r"a\.h5: /lr is a link, or lies in another file"):
        PatchFile(replace(tmp_path / "a.h5", "lr", make))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"chunks": (1, 1, 5, 5)}, r"damaged: /lr claims 100,000,000,000,000 bytes, more than the file can hold"),
        ({"chunks": (1 << 20, 1, 5, 5)}, f"chunks of /lr are over {MAX_CHUNK >> 20} MiB; h5repack -l CHUNK=…"),
        ({"chunks": (1, 1, 5, 5), "compression": "lzf"}, "packed in a way that idn does not read; h5repack -f GZIP=4"),
        ({"chunks": (1, 1, 5, 5), "compression": "gzip"}, "/lr was not written to its end"),  # no chunk was written
    ],
)
def test_shapes_that_claim_more_than_there_is(tmp_path: Path, how: dict[str, Any], said: str) -> None:
    path = replace(tmp_path / "a.h5", "lr", lambda file: file.create_dataset("lr", (10**12, 1, 5, 5), "f4", **how))
    with pytest.raises(PatchFileError, match=said):
        PatchFile(path)


def test_patches_too_large(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["lr"], file["gt"] = np.zeros((1, 1, 1100, 1100), np.float32), np.zeros((1, 1, 4400, 4400), np.uint8)
    with pytest.raises(PatchFileError, match="2, 3 or 4 times as large as LR; got 4400 and 1100; at most 4096"):
        PatchFile(tmp_path / "a.h5")


@pytest.mark.parametrize("mask", [0, 1])  # with 1, only the shuffling is said to be left out
@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (zlib.compress(bytes(6 << 20)), "a chunk unpacks to more than its 3,200 bytes"),
        (bytes(20_000), "a chunk of 3,200 bytes claims 20,000 in the file"),
    ],
)
def test_a_chunk_that_is_more_than_a_chunk(tmp_path: Path, stored: bytes, said: str, mask: int) -> None:
    def make(file: h5py.File) -> None:
        data = file.create_dataset("lr", data=LR, chunks=(32, 1, 5, 5), compression="gzip", shuffle=True)
        data.id.write_direct_chunk((32, 0, 0, 0), stored, mask)

    with PatchFile(replace(tmp_path / "a.h5", "lr", make)) as file:
        assert not file.read(0, 32)[0].any()
        with pytest.raises(PatchFileError, match=rf"/lr row\(s\) 30…39 cannot be read \({said}\)"):
            file.read(30, 40)


def test_chunks_that_were_not_packed(tmp_path: Path) -> None:
    def make(file: h5py.File) -> None:
        data = file.create_dataset("lr", data=LR, chunks=(32, 1, 5, 5), compression="gzip", shuffle=True)
        data.id.write_direct_chunk((32, 0, 0, 0), np.ones(800, np.float32).tobytes(), 3)

    with PatchFile(replace(tmp_path / "a.h5", "lr", make)) as file:
        assert file.read(30, 40)[0].sum() == 8 * 25


@pytest.mark.parametrize(
    "value",
    [np.arange(3), np.zeros((0, 2)), h5py.Empty("f4"), np.array(["a", "b"], object), np.void(b"xy"), 1 + 2j,
     np.zeros(3, [("a", "i4")]), np.nan, "a"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["format", "note", "digested", "checksums"])
def test_attributes_of_any_kind(tmp_path: Path, name: str, value: object) -> None:
    write(tmp_path / "a.h5")
    if name == "note":
        drop_checksums(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs[name] = value
    if name == "note":
        with PatchFile(tmp_path / "a.h5") as patches:
            json.dumps(patches.describe(), ensure_ascii=False).encode()
    else:
        with pytest.raises(PatchFileError, match=r"a\.h5: damaged"):
            PatchFile(tmp_path / "a.h5")


@pytest.mark.parametrize("version", [np.arange(3), 1.5, "1", "9" * 5000, "\x1b[2J", 0, 99])
def test_format_versions_of_any_kind(tmp_path: Path, version: object) -> None:
    write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["format_version"] = version
    with pytest.raises(PatchFileError, match=r"a\.h5: format version .{1,20}; this idn reads 1…2") as error:
        PatchFile(tmp_path / "a.h5")
    assert str(error.value).isprintable()


def test_attributes_that_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "a.h5", "w", libver="latest") as file:
        file["lr"], file["gt"] = LR, GT
        file.attrs["large"] = np.zeros(200_000)
    with PatchFile(tmp_path / "a.h5") as patches:
        assert len(patches.attributes["large"]) == 200_000  # type: ignore[arg-type]
    monkeypatch.setattr("idn_data.patches.hdf5.MAX_ATTRIBUTES", 1 << 20)
    with pytest.raises(PatchFileError, match="its attributes take over 1 MiB; remove some"):
        PatchFile(tmp_path / "a.h5")


@pytest.mark.parametrize("rows", [np.zeros((3, 3)), np.array([(b"\xff", b"0")], [("n", "S9"), ("s", "S9")]), 5])
def test_sources_of_any_kind(tmp_path: Path, rows: object) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["lr"], file["gt"], file["sources"] = LR, GT, rows
    with PatchFile(tmp_path / "a.h5") as patches, pytest.raises(PatchFileError, match="/sources cannot be read"):
        patches.sources()


@pytest.mark.parametrize("name", ["crc32", "digest"])
@pytest.mark.parametrize("value", [np.zeros((10**6, 2), np.uint32), np.zeros((192, 2)), 7, np.zeros((192, 2), "S3")])
def test_checksums_of_any_kind(tmp_path: Path, name: str, value: object) -> None:
    write(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        del file[name]
        file[name] = value
    with pytest.raises(PatchFileError, match=r"damaged in its .*; copy or make the file again"):
        PatchFile(tmp_path / "a.h5")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, -1e300])
def test_doubles_beyond_float32(tmp_path: Path, recwarn: pytest.WarningsRecorder, value: float) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["lr"], file["gt"] = LR.astype(float), GT.astype(float)
        file["gt"][3, 0, 2, 2] = value
    with PatchFile(tmp_path / "a.h5") as patches:
        patches.describe()
        with pytest.raises(PatchFileError, match=r"/gt row\(s\) 3: GT must be k/255"):
            patches.read_levels(0, 64)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["scale", "stage", "lr_patch", "seed", "shard", "source_digest"])
@pytest.mark.parametrize("value", [np.arange(3), np.nan, h5py.Empty("f4")])
def test_verify_takes_no_other_kinds(photos: Path, tmp_path: Path, name: str, value: object) -> None:
    write(tmp_path / "a.h5")
    drop_checksums(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs[name] = value
    with (
        PatchFile(tmp_path / "a.h5") as patches,
        pytest.raises(ValueError, match=f"the attribute '{name}' is .*; make the file again"),
    ):
        verify_patches(patches, photos)


def test_verify_takes_no_other_sizes(photos: Path, tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    drop_checksums(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["lr_patch"] = 7
    with PatchFile(tmp_path / "a.h5") as patches, pytest.raises(ValueError, match="not of the sizes and types that it"):
        verify_patches(patches, photos)


# References; for .mat see test_matfile.py


def write_reference(path: Path, **case: object) -> Path:
    whole = {"name": "a", "input": [[1, 2], [3, 4]], "output": [[1]], **case}
    path.write_text(json.dumps({"cases": [whole]}))
    return path


@pytest.mark.parametrize(
    "how", [{"size": [1 << 24, 1 << 24]}, {"scale": [8e6, 8e6]}, {"scale": 1e300}, {"size": [9e18, 2]}]
)
def test_a_reference_that_asks_for_a_giant(tmp_path: Path, how: dict[str, Any]) -> None:
    (reference,) = read_references(write_reference(tmp_path / "a.json", **how))
    verdict = compare(reference)
    assert not verdict.passed
    assert verdict.note.endswith("the reference has 1x1")


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"scale": MIN_SCALE / 2}, "is too small; at least"),
        ({"input": [[0]] * (MAX_SIDE + 1), "scale": 0.5}, f"{MAX_SIDE} along a side"),
        ({"scale": 1, "method": "x" * 3000}, "unknown method 'x{40}'"),
    ],
)
def test_a_reference_beyond_what_is_meant(tmp_path: Path, case: dict[str, Any], said: str) -> None:
    with pytest.raises(ReferenceFileError, match=rf"a\.json: not a file of references \(.*{said}"):
        list(read_references(write_reference(tmp_path / "a.json", **case)))


def test_a_reference_of_giant_values(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    (reference,) = read_references(write_reference(tmp_path / "a.json", output=[[1e308]], size=[1, 1]))
    assert not compare(reference).passed
    assert not recwarn.list


def test_a_json_larger_than_any_reference(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b" " * (MAX_JSON + 1))
    with pytest.raises(ReferenceFileError, match=r"a\.json: not a file of references \(over 16 MiB\)"):
        list(read_references(tmp_path / "a.json"))


# Weights and states


def test_weights_of_a_hundred_dimensions(tmp_path: Path) -> None:
    head = json.dumps({
        "a": {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]}, "__metadata__": {"idn": "{}"},
    }).encode()  # fmt: skip
    (tmp_path / "a.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    with pytest.raises(ValueError, match=r"a\.safetensors: damaged \(maximum supported dim"):
        read_tensors(tmp_path / "a.safetensors")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    return State(tmp_path_factory.mktemp("state"))


def change_state(state: State, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> None:
    """Write the sound state with its tensors' heads, and what it says, changed."""
    size = int.from_bytes(state.seed[:8], "little")
    head = json.loads(state.seed[8 : 8 + size])
    said = json.loads(head["__metadata__"]["idn"])
    change(head, said)
    head["__metadata__"]["idn"] = json.dumps(said)
    text = json.dumps(head).encode()
    (state.folder / "last.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + state.seed[8 + size :])
    (state.folder / "metrics.csv").write_bytes(state.rows)


def test_a_sound_state(state: State) -> None:
    change_state(state, lambda head, said: None)
    state.read()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda head, said: head.update(x=head.pop("a.0.exp_avg")), "tensor 'a.0.exp_avg' has shape none"),
        (lambda head, said: head["a.0.exp_avg"].update(dtype="I32"), "tensor a.0.exp_avg int32 is not float32"),
        (lambda head, said: head["a.0.exp_avg"].update(shape=[27]), r"tensor 'a.0.exp_avg' has shape \[27\]"),
        (lambda head, said: head["w.0.bias"].update(shape=[1, 3]), r"tensor 'w.0.bias' has shape \[1, 3\]"),
        (lambda head, said: head["m.n_averaged"].update(dtype="F64"), "tensor m.n_averaged float64 is not int64"),
        *((lambda head, said, v=v: said.update(step=v), "step is ") for v in ("5", -1, 2.0, True, None, 10**30)),
        *((lambda head, said, v=v: said.update(steps=v), "steps is ") for v in ("5", -1, [1])),
        *((lambda head, said, v=v: said.update(seconds=v), "seconds is ") for v in ("5", float("nan"), 1e308)),
        *((lambda head, said, v=v: said.update(best=v), "best is ") for v in ("5", float("inf"), 10**400)),
        (lambda head, said: said.update(open_end=1), "open_end is 1"),
        *((lambda head, said, v=v: said.update(validated_on=v), "validated_on is ") for v in (None, 5, [])),
        (lambda head, said: said.update(identity=[]), "no attribute"),
    ],
)
def test_states_that_pytorch_would_take(
    state: State, change: Callable[[dict[str, Any], dict[str, Any]], object], said: str
) -> None:
    change_state(state, change)
    with pytest.raises(state.allowed[0], match=rf"not a state to resume from \(.*{said}.*\); --restart begins anew"):
        state.read()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"30.0000", b"thirty", "psnr of row 1 is 'thirty'"),
        (b"30.0000", b"nan", "psnr of row 1 is 'nan'"),
        (b"30.0000", b"1e308", "psnr of row 1 is '1e308'"),
        (b"30.0000,", b"", "row 1 has not as many fields"),
        (b"30.0000", b"30.0000,1", "row 1 has not as many fields"),
        (b"psnr", b"pnsr", "its columns are not step, epoch, loss, rate, psnr, seconds"),
        (b"30.0000", b"\xff", "not a sound CSV file"),
    ],
)
def test_metrics_that_a_run_cannot_go_on_with(state: State, old: bytes, new: bytes, said: str) -> None:
    change_state(state, lambda head, said: None)
    path = state.folder / "metrics.csv"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(state.allowed[0], match=said):
        state.read()


# CSV


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a,b\n1,\xff\n", r"not a sound CSV file \('utf-8' codec"),
        (b'a,b\n1,"' + b"x" * 200_000, r"not a sound CSV file \(field larger than field limit"),
        (b"a,b\n1\n", r"not a sound CSV file \(row 1 has not as many fields as there are columns"),
        (b"a,b\n1,2\n1,2,3\n", r"not a sound CSV file \(row 2 has not as many fields as there are columns"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.csv: {said}") as error:
        metrics.read_rows(tmp_path / "a.csv")
    assert type(error.value) is ValueError


def test_a_table_too_large(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb") as stream:
        stream.truncate(metrics.MAX_BYTES + 1)
    with pytest.raises(ValueError, match=r"a\.csv: over 64 MiB, too large for such a table"):
        metrics.read_rows(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Set5,", b"Set6,"), (b"baby_GT.bmp,", b"../baby_GT.bmp,"), (b"baby_GT.bmp,", b"/etc/passwd,"),
        (b"test/", b"../test/"), (b"\n", b"\n1\n"), (b"sha256", b"sha"), (b"Set5", b"\xff"), (b"baby_GT.bmp", b".."),
        (b"test/", b'"' + b"x" * 200_000),
    ],
)  # fmt: skip
def test_a_damaged_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bytes, new: bytes) -> None:
    lines = (sets.find_fixtures() / "registry.csv").read_bytes().splitlines(keepends=True)
    sound = lines[0] + next(line for line in lines if b"Set5" in line and b"baby" in line)
    monkeypatch.setattr(sets, "find_fixtures", lambda: tmp_path)
    (tmp_path / "registry.csv").write_bytes(sound)
    assert [file.name for file in sets.list_registered.__wrapped__()] == ["baby_GT.bmp"]
    assert old in sound
    (tmp_path / "registry.csv").write_bytes(sound.replace(old, new, 1))
    with pytest.raises(ValueError, match=r"registry\.csv: damaged; install the package again"):
        sets.list_registered.__wrapped__()


# ZIP

WANTED = Registered("Set5", "a.bmp", 5, "0" * 64, "test/test_data/Set5/a.bmp")


def test_a_zip_whose_names_are_no_text(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("é.bmp", b"12345")
    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace("é".encode(), b"\xff\xff"))
    with pytest.raises(FetchError, match=r"a\.zip: not a sound ZIP \('utf-8' codec"), open_local(tmp_path / "a.zip"):
        pass


def test_a_zip_that_lies_about_an_entry(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("Set5/é/a.bmp", b"12345")
        archive.writestr("a.bmp", b"12345")
    data = (tmp_path / "a.zip").read_bytes()
    at = data.index(b"a.bmp", data.index(b"PK\3\4", 4))
    (tmp_path / "a.zip").write_bytes(data[: at - 26] + b"\0\x08" + data[at - 24 : at] + b"\xff.bmp" + data[at + 5 :])
    with (
        open_local(tmp_path / "a.zip") as read,
        pytest.raises(FetchError, match=r"its entry in .*a\.zip cannot be read"),
    ):
        read(WANTED, None)  # type: ignore[arg-type]


def test_a_zip_with_many_entries_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for k in range(50):
            archive.writestr(f"{k}/a.bmp", b"12345")
    opened: list[object] = []
    original = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *given: opened.append(given) or original(*given))
    with open_local(tmp_path / "a.zip") as read:
        assert read(WANTED, None) == b"12345"  # type: ignore[arg-type]
    assert len(opened) == download.MOST_ALIKE


def test_a_zip_with_a_giant_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for k in range(300):
            archive.writestr(f"{k}.bmp", b"")
    with open_local(tmp_path / "a.zip"):
        pass
    monkeypatch.setattr(download, "MAX_DIRECTORY", 10_000)
    with (
        pytest.raises(FetchError, match=r"not a sound ZIP \(its directory is too large\)"),
        open_local(tmp_path / "a.zip"),
    ):
        pass
