"""The ONNX model beside the network, in onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from idn_data.atomic import write_text
from idn_data.matlab.weights import Boundary
from idn_train.network import IDN
from idn_train.onnxfile import export_onnx, make_subpixel_kernel

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


def collect(network: IDN) -> dict[str, np.ndarray]:
    return {name: t.numpy() for name, t in network.state_dict().items()}


@pytest.mark.parametrize(
    ("scale", "boundary"), [(2, "symmetric"), (3, "symmetric"), (4, "symmetric"), (2, "replicate"), (3, "replicate")]
)
def test_outputs_are_those_of_torch_for_any_size(tmp_path: Path, scale: int, boundary: Boundary) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed: pip install -e '.[onnx]'")
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


def test_nothing_is_overwritten_and_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed: pip install -e '.[onnx]'")
    write_text(tmp_path / "a.onnx", "mine")
    with pytest.raises(FileExistsError, match=r"a\.onnx"):
        export_onnx(collect(make_network(2)), 2, tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").read_text() == "mine"
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"ONNX files need the package onnx; pip install 'idn\[onnx\]'"):
        export_onnx({}, 2, tmp_path / "b.onnx")


def test_an_unknown_boundary(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed: pip install -e '.[onnx]'")
    with pytest.raises(ValueError, match="unknown boundary 'circular'; one of symmetric, replicate"):
        export_onnx(collect(make_network(2)), 2, tmp_path / "a.onnx", boundary="circular")  # type: ignore[arg-type]
    assert not (tmp_path / "a.onnx").exists()
