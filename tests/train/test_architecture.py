"""idn_train.architecture: the description against the network, the ONNX model and a transposed convolution."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from idn_data import imresize
from idn_train import architecture
from idn_train.caffe import SHAPES
from idn_train.network import IDN
from idn_train.onnxfile import make_subpixel_kernel

scales = pytest.mark.parametrize("scale", [2, 3, 4])


@scales
def test_shapes_are_those_of_the_network_in_its_order(scale: int) -> None:
    state = {name: tuple(tensor.shape) for name, tensor in IDN(scale).state_dict().items()}
    assert list(state.items()) == list(architecture.list_shapes().items())
    assert sum(np.prod(shape) for shape in state.values()) == 552_769


def test_the_authors_layers_have_the_same_shapes_in_the_same_order() -> None:
    assert list(SHAPES.values()) == [shape for shape in architecture.list_shapes().values() if len(shape) == 4]
    assert list(SHAPES)[:3] + list(SHAPES)[-2:] == ["conv1", "conv2", "conv3_1", "down4", "upsample"]


@scales
@pytest.mark.parametrize("pixels", [1, 2])
def test_taps_are_those_of_a_transposed_convolution(scale: int, pixels: int) -> None:
    """Along one axis, of 12 LR pixels: those in the middle, `pixels` at a time."""
    weight = torch.arange(1, 18, dtype=torch.float64)
    taps = architecture.list_taps(scale, pixels)
    reach = -(-8 // scale)
    assert taps.shape == (pixels * scale, 2 * reach + pixels)
    assert taps.min() == 0 and taps.max() == 17
    lr = torch.rand(12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = torch.conv_transpose1d(lr[None, None], weight[None, None], stride=scale)[0, 0]
    padded = np.append(weight.numpy(), 0.0)
    y = 5
    window = lr[y - reach : y + reach + pixels].numpy()
    first = 9 - scale + y * scale  # SR pixel 0 is number 9 - s of the uncropped output
    np.testing.assert_allclose(padded[taps] @ window, whole[first : first + pixels * scale].numpy(), rtol=1e-12)


@scales
def test_the_network_and_the_onnx_model_reconstruct_with_the_same_kernel(scale: int) -> None:
    """A network with one feature at one pixel shows its kernel, which equals the model's in every bit."""
    network = IDN(scale).eval()
    kernel = make_subpixel_kernel(network.upsample.weight.detach().numpy(), scale)  # (s², 64, n, n)
    n = kernel.shape[2]
    features = torch.zeros(64, 64, n, n).index_put_(
        (torch.arange(64),) * 2 + (torch.tensor(n // 2),) * 2, torch.ones(())
    )
    with torch.no_grad():
        shown = torch.pixel_unshuffle(network.reconstruct(features), scale).transpose(0, 1).flip(2, 3)
    np.testing.assert_array_equal(shown.numpy(), kernel)


@scales
def test_the_bicubic_kernel_is_imresize_away_from_the_border(scale: int) -> None:
    lr = np.random.default_rng(0).random((9, 12))
    kernel = torch.from_numpy(architecture.make_bicubic_kernel(scale)).double()
    sr = torch.pixel_shuffle(torch.conv2d(torch.from_numpy(lr)[None, None], kernel), scale)[0, 0].numpy()
    assert np.abs(sr - imresize(lr, scale)[2 * scale : -2 * scale, 2 * scale : -2 * scale]).max() < 1e-6


def test_a_layer_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError, match="outputs"):
        architecture.FEATURES[0].outputs = 3  # type: ignore[misc]  # what is tested


def test_no_torch_is_loaded() -> None:
    code = (
        "import sys, idn_train.architecture, idn_train.caffe, idn_train.onnxfile, idn_train.weightfile; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
