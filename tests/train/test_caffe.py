"""idn_train.caffe: the authors' .caffemodel files, real and made here byte by byte."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.caffefiles import SHAPES, Blobs, draw_blobs, encode_net, field, varint

from idn_train.caffe import MAX_BYTES, read_caffemodel


@pytest.fixture(scope="module")
def blobs() -> Blobs:
    return draw_blobs()


@pytest.fixture
def model(tmp_path, blobs) -> Path:
    path = tmp_path / "idn.caffemodel"
    path.write_bytes(encode_net(blobs))
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4, None])
def test_arrays_and_scale_as_they_were_written(model, blobs, scale, legacy):
    model.write_bytes(encode_net(dict(reversed(blobs.items())), stride=scale, legacy=legacy))
    found, layers = read_caffemodel(model)
    assert found == scale
    assert list(layers) == list(SHAPES)
    for name, arrays in layers.items():
        for array, written in zip(arrays, blobs[name], strict=True):
            assert array.dtype == np.float32 and array.shape == written.shape and (array == written).all()


def test_a_scale_that_idn_has_not(model, blobs):
    model.write_bytes(encode_net(blobs, stride=8))
    with pytest.raises(ValueError, match="made for scale 8, none of 2, 3, 4; name the file of the scale you want"):
        read_caffemodel(model)


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"none\.caffemodel: no such file; the authors' IDN-Caffe repository"):
        read_caffemodel(tmp_path / "none.caffemodel")


def test_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.caffemodel"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # a hole: no disk is used
    with pytest.raises(ValueError, match=r"1,099,511,627,776 bytes, an IDN model has about 2\.2 million; name"):
        read_caffemodel(path)


def test_claimed_lengths_allocate_nothing(tmp_path):
    path = tmp_path / "idn.caffemodel"
    blob = field(7, field(1, varint(1 << 40) * 3))  # a shape of 2**120 values, none of which is there
    path.write_bytes(field(100, field(1, b"conv1") + 2 * field(7, blob)))
    with pytest.raises(
        ValueError, match=r"weight of layer 'conv1' has shape \[1099511627776, .* and 0 values, IDN's is"
    ):
        read_caffemodel(path)
    path.write_bytes(varint(100 << 3 | 2) + varint(1 << 30))  # a layer of 1 GiB that is not there
    with pytest.raises(ValueError, match=r"cut off within a layer; download it again"):
        read_caffemodel(path)


def test_truncated(model):
    content = model.read_bytes()
    assert len(content) < MAX_BYTES
    for size in (len(content) - 1, len(content) // 2, 100, 9):
        model.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"idn\.caffemodel: cut off within a layer; download it again$"):
            read_caffemodel(model)


def test_each_failure_has_its_message(tmp_path, model, monkeypatch):
    content = model.read_bytes()
    for other in (
        b"<!DOCTYPE html>",
        b"\x89HDF\r\n\x1a\n" + bytes(90),
        b"name: 'DPFN'\nlayer {\n",
        b"PK\3\4" + bytes(90),
    ):
        model.write_bytes(other)
        with pytest.raises(ValueError, match=r"not a \.caffemodel; name one of the authors' files$"):
            read_caffemodel(model)
    at = content.index(b"conv1") - 2  # the tag and length of the name in it
    for damage in (content[:at] + b"\xff" * 12 + content[at + 12 :], content + b"\xff" * 20):
        model.write_bytes(damage)
        with pytest.raises(ValueError, match=r"idn\.caffemodel: damaged; download it again$"):
            read_caffemodel(model)
    model.write_bytes(b"")
    with pytest.raises(ValueError, match=r"idn\.caffemodel: the file is empty; copy it or make it again$"):
        read_caffemodel(model)
    with pytest.raises(ValueError, match=rf"^{tmp_path}: a folder; name a file in it$"):
        read_caffemodel(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(ValueError, match=r"idn\.caffemodel: no permission to read it; ask its owner, or copy it$"):
        read_caffemodel(model)


def test_missing_and_foreign_layers(model, blobs):
    model.write_bytes(encode_net({n: b for n, b in blobs.items() if n != "conv5_2"}))
    with pytest.raises(ValueError, match="no layer 'conv5_2' with weight and bias; name one of the authors'"):
        read_caffemodel(model)
    model.write_bytes(encode_net({**blobs, "down3": blobs["down3"][:1]}))
    with pytest.raises(ValueError, match="no layer 'down3' with weight and bias"):
        read_caffemodel(model)
    model.write_bytes(encode_net({"conv2": blobs["conv2"]}))
    with pytest.raises(ValueError, match="no layer 'conv1' with weight and bias"):
        read_caffemodel(model)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros((48, 64, 5, 5)), r"has shape \[48, 64, 5, 5\] and 76800 values, IDN's is \[48, 64, 3, 3\]; name"),
        (np.zeros((64, 48, 3, 3)), r"has shape \[64, 48, 3, 3\] and 27648 values, IDN's is"),  # as many, transposed
        (np.full((48, 64, 3, 3), np.inf), "holds NaN or infinity; download the file again"),
    ],
)
def test_wrong_blobs(model, blobs, weight, message):
    model.write_bytes(encode_net({**blobs, "conv4_1": (weight, blobs["conv4_1"][1])}))
    with pytest.raises(ValueError, match=f"weight of layer 'conv4_1' {message}"):
        read_caffemodel(model)


def test_fewer_values_than_the_shape_says(model, blobs):
    shape = field(7, field(1, varint(64) + varint(1) + varint(3) + varint(3)))
    conv1 = field(100, field(1, b"conv1") + field(7, field(5, bytes(4 * 575)) + shape) + field(7, field(5, bytes(256))))
    model.write_bytes(conv1 + encode_net({n: b for n, b in blobs.items() if n != "conv1"}))
    with pytest.raises(ValueError, match=r"weight of layer 'conv1' has shape \[64, 1, 3, 3\] and 575 values, IDN's is"):
        read_caffemodel(model)


@pytest.fixture(scope="module")
def content(blobs) -> bytes:
    return encode_net(blobs)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_one_line_or_harmless(model, content, data):
    damaged = bytearray(content)
    starts = [content.index(name.encode()) for name in SHAPES]  # the bytes around a layer's head steer the parser
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(starts)) + data.draw(st.integers(-12, 60))
        damaged[place] = data.draw(st.integers(0, 255))
    model.write_bytes(damaged)
    try:
        _, layers = read_caffemodel(model)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 (most damage raises, some is harmless)
    else:
        assert all(np.isfinite(array).all() for arrays in layers.values() for array in arrays)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_authors_files_say_their_scale(authors_weights, scale):
    found, layers = read_caffemodel(authors_weights / f"IDN_x{scale}.caffemodel")
    assert found == scale
    assert sum(array.size for arrays in layers.values() for array in arrays) == 552_769


def test_reading_needs_no_torch(model):
    code = "import sys; sys.modules['torch'] = None; from idn_data import read_caffemodel; read_caffemodel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(model)], check=True)
