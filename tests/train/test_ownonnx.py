"""A network of the user's own as an ONNX model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from idn_train.owncode import NetworkError
from idn_train.ownnetwork import load_network
from idn_train.ownonnx import export_own_onnx

pytest.importorskip("onnx", reason="the extra onnx is not installed")


@pytest.mark.parametrize("size", [(2, 31, 17), (1, 1, 7)])
def test_another_engine_makes_the_same(tmp_path: Path, size: tuple[int, int, int]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime, which runs the file, is not installed")
    network = load_network("idn_train.examples.rlfn:RLFN", 3, 3)
    export_own_onnx(network, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape) == ("lr", ["batch", 3, "height", "width"])
    assert (made.name, made.shape) == ("sr", ["batch", 3, "3*height", "3*width"])
    n, h, w = size
    lr = torch.rand(n, 3, h, w)
    (sr,) = session.run(None, {"lr": lr.numpy()})
    assert np.abs(sr - network(lr).detach().numpy()).max() < 1e-5
    with pytest.raises(FileExistsError):
        export_own_onnx(network, tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("x * float(x.shape[2])", "its ONNX model is off by .* on pictures of another size; let its code take sizes"),
        ("torch.linalg.svd(x)[1].sum() + x", "it cannot be written as ONNX: UnsupportedOperatorError"),
    ],
)
def test_what_cannot_be_written(tmp_path: Path, body: str, match: str) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n    def __init__(self, scale):\n"
        "        super().__init__()\n        self.net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.PixelShuffle(2))\n"
        f"    def forward(self, lr):\n        x = self.net(lr)\n        return {body}\n"
    )
    with pytest.raises(NetworkError, match=match):
        export_own_onnx(load_network(f"{tmp_path / 'net.py'}:Net", 2), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()
