"""The ONNX model beside the network, in onnxruntime."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.drawing import draw_photo

from idn_data.atomic import write_text
from idn_data.matlab.weights import Boundary
from idn_train import onnxfile, onnxproto
from idn_train.network import IDN
from idn_train.onnxfile import build_model, export_onnx, make_subpixel_kernel
from idn_train.onnxproto import Value
from idn_train.upscale import upscale_photo

SHAPES = [(1, 1, 24, 31), (2, 1, 17, 40), (1, 1, 2, 2), (1, 1, 3, 65), (3, 1, 33, 8)]
THIN = [(1, 1, 1, 7), (2, 1, 5, 1), (1, 1, 1, 1)]


def make_network(scale: int) -> IDN:
    network = IDN(scale)
    generator = torch.Generator().manual_seed(scale)
    network.reset_parameters(generator, 0.02)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.normal_(std=0.05, generator=generator)
    return network.eval()


def run_model(model: bytes, lr: np.ndarray) -> np.ndarray:
    """What onnxruntime makes of a batch."""
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e '.[test]'")
    sr: np.ndarray = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"lr": lr})[0]
    return sr


def collect(network: IDN) -> dict[str, np.ndarray]:
    return {name: t.numpy() for name, t in network.state_dict().items()}


@pytest.mark.parametrize(
    ("scale", "boundary"), [(2, "symmetric"), (3, "symmetric"), (4, "symmetric"), (2, "replicate"), (3, "replicate")]
)
def test_outputs_are_those_of_torch_for_any_size(tmp_path: Path, scale: int, boundary: Boundary) -> None:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e '.[test]'")
    network = make_network(scale)
    network.boundary = boundary
    export_onnx(collect(network), scale, tmp_path / "idn.onnx", boundary=boundary)
    session = ort.InferenceSession(tmp_path / "idn.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for shape in SHAPES + THIN:
        lr = rng.random(shape, np.float32)
        (sr,) = session.run(None, {"lr": lr})
        with torch.no_grad():
            expected = network(torch.from_numpy(lr)).numpy()
        assert sr.shape == expected.shape == (shape[0], 1, scale * shape[2], scale * shape[3])
        assert shape in THIN or np.abs(expected - lr.mean()).max() > 0.2  # the residual is no trifle
        assert np.abs(sr - expected).max() < 1e-4  # of values up to 4


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_kernel_is_the_transposed_convolution(scale: int) -> None:
    weight = torch.randn(64, 1, 17, 17, generator=torch.Generator().manual_seed(0))
    features = torch.randn(1, 64, 6, 9, generator=torch.Generator().manual_seed(1))
    kernel = torch.from_numpy(make_subpixel_kernel(weight.numpy(), scale))
    sr = torch.pixel_shuffle(torch.conv2d(features, kernel, padding=kernel.shape[2] // 2), scale)
    whole = torch.conv_transpose2d(features, weight, stride=scale)  # SR pixel 0 is number 9 - s of it
    first = 9 - scale
    expected = whole[:, :, first : first + 6 * scale, first : first + 9 * scale]
    assert torch.allclose(sr[:, :, : expected.shape[2], : expected.shape[3]], expected, atol=1e-4)


# height, width: borders that mirror more than once, odd sizes, and rows longer than high
SIDES = [(1, 7), (7, 1), (1, 1), (2, 3), (3, 2), (19, 30)]
FORMS = [
    {}, {"half": True}, {"uint8": True}, {"half": True, "uint8": True},
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(("scale", "boundary"), [(2, "symmetric"), (3, "replicate"), (4, "symmetric")])
def test_colour_is_that_of_upscale_within_one_step(
    tmp_path: Path, scale: int, boundary: Boundary, form: dict[str, bool]
) -> None:
    network = IDN.from_pretrained(scale)
    network.boundary = boundary
    model = build_model(collect(network), scale, boundary, rgb=True, **form)
    for height, width in SIDES:
        rgb = draw_photo(height, width, width)
        Image.fromarray(rgb).save(tmp_path / "a.png")
        upscale_photo(network, tmp_path / "a.png", tmp_path / "b.png", force=True)
        wanted = np.asarray(Image.open(tmp_path / "b.png")).astype(int)
        lr = np.ascontiguousarray(rgb.transpose(2, 0, 1))[None]
        if "uint8" not in form:
            lr = (lr / np.float32(255)).astype(np.float16 if form else np.float32)
        sr = run_model(model, lr)
        assert sr.dtype == lr.dtype and sr.shape == (1, 3, scale * height, scale * width)
        if sr.dtype != np.uint8:
            sr = np.floor(sr.astype(np.float64).clip(0, 1) * 255 + 0.5)
        difference = np.abs(sr[0].transpose(1, 2, 0).astype(int) - wanted)
        assert difference.max() <= 1
        if min(height, width) > 3:  # of few values, one is a large share
            assert (difference > 0).mean() < (0.08 if "half" in form else 1e-3)
        assert height < 3 or width < 3 or wanted.std() > 10  # a picture it is


def test_bytes_are_rounded_half_away_and_clipped() -> None:
    graph = onnxfile._Graph()
    graph.round_to_bytes("x")
    graph.nodes[-1] = replace(graph.nodes[-1], outputs=("y",))
    ends = Value("x", "float32", ("n",)), Value("y", "uint8", ("n",))
    model = onnxproto.encode_model("bytes", graph.nodes, graph.constants, *ends, opset=onnxfile.OPSET, facts={})
    halves = (np.arange(-2, 260) + 0.5) / 255
    x = np.concatenate([np.nextafter(halves.astype(np.float32), np.float32(side)) for side in (-9, 9)])
    x = np.concatenate([x, halves.astype(np.float32), np.linspace(-0.5, 1.5, 5000, dtype=np.float32)])
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e '.[test]'")
    (y,) = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    levels = np.float64(np.float32(255) * x)  # the product as it is rounded there; what follows is exact
    assert (levels % 1 == 0.5).sum() > 100
    assert (y == np.floor(levels + 0.5).clip(0, 255)).all()


@pytest.mark.parametrize("form", [{"rgb": True, **form} for form in FORMS] + FORMS, ids=str)
def test_the_bytes_are_those_of_the_onnx_package(form: dict[str, bool]) -> None:
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed: pip install -e '.[onnx]'")
    data = build_model(collect(make_network(3)), 3, **form)
    model = onnx.load_model_from_string(data)
    onnx.checker.check_model(model, full_check=True)
    assert model.SerializeToString() == data
    constants = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    inside = onnx.TensorProto.FLOAT16 if "half" in form else onnx.TensorProto.FLOAT
    assert constants["features.0.weight"] == constants["bicubic.kernel"] == onnx.TensorProto.FLOAT
    assert constants["features.2.weight"] == constants["upsample.kernel"] == inside
    kind = "UINT8" if "uint8" in form else "FLOAT16" if "half" in form else "FLOAT"
    channels = 3 if "rgb" in form else 1
    for value, axes in ((model.graph.input[0], ["height", "width"]), (model.graph.output[0], ["3*height", "3*width"])):
        shape = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert shape == ["batch", channels, *axes]
        assert value.type.tensor_type.elem_type == onnx.TensorProto.DataType.Value(kind)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"scale": "3", "boundary": "symmetric"}


def test_half_is_half_as_large_and_refuses_what_it_cannot_hold() -> None:
    tensors = collect(make_network(2))
    whole, half = (len(build_model(tensors, 2, rgb=True, half=half)) for half in (False, True))
    assert 0.49 < half / whole < 0.52
    tensors["features.2.bias"] = np.full(64, 7e4, np.float32)
    with pytest.raises(ValueError, match=r"features\.2\.bias holds 7e\+04, too large for float16; leave out --half"):
        build_model(tensors, 2, half=True)


def test_nothing_is_overwritten_and_no_package_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "a.onnx", "mine")
    with pytest.raises(FileExistsError, match=r"a\.onnx"):
        export_onnx({}, 2, tmp_path / "a.onnx")  # before the work
    assert (tmp_path / "a.onnx").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "onnx", None)
    tensors = collect(make_network(2))
    export_onnx(tensors, 2, tmp_path / "a.onnx", force=True)
    assert (tmp_path / "a.onnx").read_bytes() == build_model(tensors, 2)


def test_an_unknown_boundary(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown boundary 'circular'; one of symmetric, replicate"):
        export_onnx(collect(make_network(2)), 2, tmp_path / "a.onnx", boundary="circular")  # type: ignore[arg-type]
    assert not (tmp_path / "a.onnx").exists()
