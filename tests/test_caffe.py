"""idn_data.caffe: the authors' .caffemodel files, real and made here byte by byte."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idn_data.caffe import MAX_BYTES, read_caffemodel

Blobs = dict[str, tuple[np.ndarray, ...]]

# layer -> shape of its weight, as in the authors' files
SHAPES = {"conv1": (64, 1, 3, 3), "conv2": (64, 64, 3, 3)}
for _block in range(4):
    for _i, _shape in enumerate([(48, 64), (32, 12), (64, 32), (64, 48), (48, 16), (80, 48)], start=1):
        SHAPES[f"conv{_block + 3}_{_i}"] = (*_shape, 3, 3)
    SHAPES[f"down{_block + 1}"] = (64, 80, 1, 1)
SHAPES["upsample"] = (64, 1, 17, 17)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of protobuf's wire format."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def encode_blob(values: np.ndarray, legacy: bool) -> bytes:
    data = struct.pack(f"<{values.size}f", *values.ravel().tolist())
    if legacy:  # num, channels, height, width in fields 1 to 4
        shape = (1,) * (4 - values.ndim) + tuple(values.shape)
        return b"".join(varint(i << 3) + varint(n) for i, n in enumerate(shape, start=1)) + field(5, data)
    return field(5, data) + field(7, field(1, b"".join(map(varint, values.shape))))


def encode_layer(name: str, blobs: tuple[np.ndarray, ...], stride: int | None = None, legacy: bool = False) -> bytes:
    out = field(1, name.encode()) + field(2, b"Convolution")
    out += b"".join(field(7, encode_blob(blob, legacy)) for blob in blobs)
    if stride is not None:
        out += field(106, varint(1 << 3) + varint(1) + varint(6 << 3) + varint(stride))
    return field(100, out)


def encode_net(blobs: Blobs, stride: int | None = 3, legacy: bool = False) -> bytes:
    layers = [encode_layer(n, b, stride if n == "upsample" else 1, legacy) for n, b in blobs.items()]
    return field(1, b"DPFN") + field(100, field(1, b"data") + field(2, b"HDF5Data")) + b"".join(layers)


def draw_blobs() -> Blobs:
    """Random weights and biases of every layer, float32, of a size that keeps signals as they are."""
    rng = np.random.default_rng(0)

    def draw(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        bias = rng.normal(0, 0.1, 1 if shape[3] == 17 else shape[0])
        return (rng.normal(0, np.prod(shape[1:]) ** -0.5, shape)).astype(np.float32), bias.astype(np.float32)

    return {name: draw(shape) for name, shape in SHAPES.items()}


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
    with pytest.raises(ValueError, match=r"not a \.caffemodel, or damaged; download it again"):
        read_caffemodel(path)


def test_truncated(model):
    content = model.read_bytes()
    assert len(content) < MAX_BYTES
    for size in (len(content) - 1, len(content) // 2, 100, 9):
        model.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"not a \.caffemodel, or damaged; download it again"):
            read_caffemodel(model)


def test_missing_and_foreign_layers(model, blobs):
    model.write_bytes(encode_net({n: b for n, b in blobs.items() if n != "conv5_2"}))
    with pytest.raises(ValueError, match="no layer 'conv5_2' with weight and bias; name one of the authors'"):
        read_caffemodel(model)
    model.write_bytes(encode_net({**blobs, "down3": blobs["down3"][:1]}))
    with pytest.raises(ValueError, match="no layer 'down3' with weight and bias"):
        read_caffemodel(model)
    model.write_bytes(b"")
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
