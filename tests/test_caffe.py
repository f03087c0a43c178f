"""idn_train.caffe: the authors' .caffemodel files, real and made here byte by byte."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from idn_data import imresize
from idn_data.color import im2double
from idn_data.images import list_images, modcrop, read_y
from idn_data.quality import score
from idn_train.caffe import MAX_BYTES, read_caffemodel

Blobs = dict[str, tuple[Tensor, Tensor]]

# Of a trial with these weights; the paper prints 37.83/0.9600, 34.11/0.9253, 31.82/0.8903.
SET5 = {2: (37.827, 0.9600), 3: (34.113, 0.9253), 4: (31.809, 0.8902)}

# layer -> shape of its weight, as in the authors' files
SHAPES = {"conv1": (64, 1, 3, 3), "conv2": (64, 64, 3, 3), "upsample": (64, 1, 17, 17)}
for _block in range(4):
    for _i, _shape in enumerate([(48, 64), (32, 12), (64, 32), (64, 48), (48, 16), (80, 48)], start=1):
        SHAPES[f"conv{_block + 3}_{_i}"] = (*_shape, 3, 3)
    SHAPES[f"down{_block + 1}"] = (64, 80, 1, 1)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited field of protobuf's wire format."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def encode_blob(values: Tensor, legacy: bool) -> bytes:
    data = struct.pack(f"<{values.numel()}f", *values.flatten().tolist())
    if legacy:  # num, channels, height, width in fields 1 to 4
        shape = (1,) * (4 - values.ndim) + tuple(values.shape)
        return b"".join(varint(i << 3) + varint(n) for i, n in enumerate(shape, start=1)) + field(5, data)
    return field(5, data) + field(7, field(1, b"".join(map(varint, values.shape))))


def encode_layer(name: str, blobs: tuple[Tensor, ...], stride: int | None = None, legacy: bool = False) -> bytes:
    out = field(1, name.encode()) + field(2, b"Convolution")
    out += b"".join(field(7, encode_blob(blob, legacy)) for blob in blobs)
    if stride is not None:
        out += field(106, varint(1 << 3) + varint(1) + varint(6 << 3) + varint(stride))
    return field(100, out)


def encode_net(blobs: Blobs, stride: int | None = 3, legacy: bool = False) -> bytes:
    layers = [encode_layer(n, b, stride if n == "upsample" else 1, legacy) for n, b in blobs.items()]
    return field(1, b"DPFN") + field(100, field(1, b"data") + field(2, b"HDF5Data")) + b"".join(layers)


@pytest.fixture(scope="module")
def blobs() -> Blobs:
    generator = torch.Generator().manual_seed(0)

    def draw(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        weight = torch.randn(shape, generator=generator) / (shape[1] * shape[2] * shape[3]) ** 0.5
        return weight, 0.1 * torch.randn(1 if shape[3] == 17 else shape[0], generator=generator)

    return {name: draw(shape) for name, shape in SHAPES.items()}


@pytest.fixture
def model(tmp_path, blobs) -> Path:
    path = tmp_path / "idn.caffemodel"
    path.write_bytes(encode_net(blobs))
    return path


def weights_folder() -> Path:
    """Where the authors' files are; skips where they are not."""
    given_folder, root = os.environ.get("IDN_WEIGHTS"), os.environ.get("IDN_DATA")
    folder = Path(given_folder) if given_folder else Path(root).resolve().parent / "weights" if root else None
    if folder is None or not (folder / "IDN_x2.caffemodel").is_file():
        pytest.skip(
            "needs the authors' weights: put IDN_x2, IDN_x3 and IDN_x4.caffemodel of their repository IDN-Caffe in a "
            "folder and set IDN_WEIGHTS to it"
        )
    return folder


def run_as_caffe(blobs: Blobs, lr: Tensor, scale: int) -> Tensor:
    """The authors' network layer by layer under their names; its output begins at SR pixel (s - 1, s - 1)."""

    def conv(name: str, x: Tensor, groups: int = 1) -> Tensor:
        weight, bias = blobs[name]
        x = functional.conv2d(x, weight, bias, padding=weight.shape[3] // 2, groups=groups)
        return functional.leaky_relu(x, 0.05)

    x = conv("conv2", conv("conv1", lr))
    for n, down in ((3, "down1"), (4, "down2"), (5, "down3"), (6, "down4")):
        y = conv(f"conv{n}_3", conv(f"conv{n}_2", conv(f"conv{n}_1", x), groups=4))
        z = conv(f"conv{n}_6", conv(f"conv{n}_5", conv(f"conv{n}_4", y[:, 16:]), groups=4))
        x = conv(down, torch.cat((x, y[:, :16]), dim=1) + z)
    return functional.conv_transpose2d(x, *blobs["upsample"], stride=scale, padding=8)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_computes_what_the_caffe_network_does(tmp_path, blobs, scale, legacy):
    path = tmp_path / "idn.caffemodel"
    path.write_bytes(encode_net(blobs, stride=scale, legacy=legacy))
    network = read_caffemodel(path)
    assert network.scale == scale and not network.training
    lr = torch.rand(1, 1, 9, 14, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        sr = network(lr)[:, :, scale - 1 :, scale - 1 :]
        residual = run_as_caffe(blobs, lr, scale)
    bicubic = torch.from_numpy(imresize(lr[0, 0].double().numpy(), scale))[scale - 1 :, scale - 1 :]
    assert residual.std() > 0.1
    torch.testing.assert_close(sr[0, 0], residual[0, 0] + bicubic.float(), rtol=1e-5, atol=1e-5)


def test_scale_can_be_given_where_the_file_has_none(tmp_path, blobs):
    path = tmp_path / "idn.caffemodel"
    path.write_bytes(encode_net(blobs, stride=None))
    assert read_caffemodel(path, scale=4).scale == 4
    with pytest.raises(ValueError, match=r"idn\.caffemodel: does not say its scale; give it, one of 2, 3, 4"):
        read_caffemodel(path)
    with pytest.raises(ValueError, match="scale must be one of 2, 3, 4; got 5"):
        read_caffemodel(path, scale=5)


def test_another_scale_than_the_file_has(tmp_path, model, blobs):
    assert read_caffemodel(model, scale=3).scale == 3
    with pytest.raises(ValueError, match="made for scale 3, not 2; name the file of the scale you want"):
        read_caffemodel(model, scale=2)
    model.write_bytes(encode_net(blobs, stride=8))
    with pytest.raises(ValueError, match="made for scale 8, none of 2, 3, 4; name"):
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
        read_caffemodel(path, scale=2)
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
    model.write_bytes(encode_net({**blobs, "down3": blobs["down3"][:1]}))  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="no layer 'down3' with weight and bias"):
        read_caffemodel(model)
    model.write_bytes(b"")
    with pytest.raises(ValueError, match="does not say its scale"):
        read_caffemodel(model)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.zeros(48, 64, 5, 5), r"has shape \[48, 64, 5, 5\] and 76800 values, IDN's is \[48, 64, 3, 3\]; name"),
        (torch.zeros(64, 48, 3, 3), r"has shape \[64, 48, 3, 3\] and 27648 values, IDN's is"),  # as many, transposed
        (torch.full((48, 64, 3, 3), torch.inf), "holds NaN or infinity; download the file again"),
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
        network = read_caffemodel(model)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 (most damage raises, some is harmless)
    else:
        assert all(p.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_authors_weights_reproduce_the_paper(scale):
    folder = weights_folder()
    network = read_caffemodel(folder / f"IDN_x{scale}.caffemodel")
    assert network.scale == scale
    root = os.environ.get("IDN_DATA")
    if not root:
        pytest.skip("read the weights; the scores need Set5: set IDN_DATA to the folder that holds test_data/Set5")
    scores = []
    for path in list_images(Path(root) / "test_data" / "Set5"):
        gt = im2double(modcrop(read_y(path), scale))
        lr = torch.from_numpy(imresize(gt, 1 / scale)).float()[None, None]
        with torch.inference_mode():
            sr = network(lr)[0, 0].clip(0, 1).double().numpy()
        scores.append(score(sr, gt, scale, "uint8"))
    assert len(scores) == 5
    psnr, ssim = np.mean(scores, axis=0)
    assert psnr == pytest.approx(SET5[scale][0], abs=0.002)
    assert ssim == pytest.approx(SET5[scale][1], abs=0.0001)
