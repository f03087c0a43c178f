"""idn_train.network: shape, reconstruction, bicubic, initialisation."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from idn_data import BOUNDARIES, imresize
from idn_train.network import IDN, SCALES, _spread_groups

scales = pytest.mark.parametrize("scale", SCALES)


def make_network(scale: int, seed: int = 0) -> IDN:
    network = IDN(scale)
    network.reset_parameters(torch.Generator().manual_seed(seed))
    return network


def test_spread_groups_is_the_grouped_convolution():
    """What a GPU trains with; gradients reach the same weights, and no others."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(32, 12, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    x, upstream = (torch.randn(2, n, 7, 5, dtype=torch.float64, generator=generator) for n in (48, 32))
    grouped = F.conv2d(x, weight, padding=1, groups=4)
    plain = F.conv2d(x, _spread_groups(weight, 4), padding=1)
    torch.testing.assert_close(plain, grouped, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(y, weight, upstream)[0] for y in (plain, grouped)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@scales
def test_parameter_count(scale):
    assert sum(p.numel() for p in IDN(scale).parameters()) == 552_769


@scales
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("size", [(11, 11), (1, 1), (1, 7), (13, 6)])
def test_subpixel_is_the_transposed_convolution(scale, dtype, tolerance, size):
    network = make_network(scale).to(dtype)
    with torch.no_grad():
        network.upsample.bias.fill_(0.3)
        features = torch.randn(2, 64, *size, dtype=dtype, generator=torch.Generator().manual_seed(1))
        network.upsample.weight.div_(8)  # values of about 1, so that the tolerance is relative as well
        expected = network.upsample(features)[:, :, : scale * size[0], : scale * size[1]]
        got = network.reconstruct(features)
    assert got.shape == (2, 1, scale * size[0], scale * size[1])
    assert size == (1, 1) or expected.std() > 0.1
    torch.testing.assert_close(got, expected, rtol=0, atol=tolerance)


@scales
def test_gradients_reach_the_parameter_as_through_the_transposed_convolution(scale):
    network = make_network(scale).double()
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 64, 6, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    upstream = torch.randn(2, 1, 6 * scale, 7 * scale, dtype=torch.float64, generator=generator)
    sources = (features, network.upsample.weight, network.upsample.bias)
    got = torch.autograd.grad(network.reconstruct(features), sources, upstream)
    whole = network.upsample(features)[:, :, : 6 * scale, : 7 * scale]
    for mine, expected in zip(got, torch.autograd.grad(whole, sources, upstream), strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(mine, expected, rtol=1e-12, atol=1e-10)


@scales
def test_numerical_gradient_of_the_whole_network(scale):
    """The loss changes along a random direction of all parameters and the input as the gradient says."""
    network = make_network(scale, seed=2).double()
    generator = torch.Generator().manual_seed(3)
    lr = torch.rand(1, 1, 5, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    leaves = [lr, *network.parameters()]
    directions = [torch.randn(t.shape, dtype=torch.float64, generator=generator) for t in leaves]

    def loss() -> torch.Tensor:
        return network(lr).square().sum()

    slope = sum((g * d).sum() for g, d in zip(torch.autograd.grad(loss(), leaves), directions, strict=True))
    values = []
    step = 1e-7
    with torch.no_grad():
        for sign in (1, -2):
            for leaf, direction in zip(leaves, directions, strict=True):
                leaf += sign * step * direction
            values.append(loss())
    assert float((values[0] - values[1]) / (2 * step)) == pytest.approx(float(slope), rel=1e-5)


@scales
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", [(240, 321), (64, 64), (1, 1), (1, 5), (2, 3), (7, 2)])
def test_bicubic_inside_is_imresize(scale, size, boundary):
    lr = np.random.default_rng(0).random((2, *size))
    expected = np.stack([imresize(image, scale, boundary=boundary) for image in lr])
    network = IDN(scale)
    network.boundary = boundary
    got = network.upscale_bicubic(torch.from_numpy(lr).float()[:, None])
    assert np.abs(got[:, 0].numpy() - expected).max() < 1e-6


@scales
def test_bicubic_inside_is_imresize_on_a_photograph(scale):
    root = os.environ.get("IDN_DATA")
    if not root:
        pytest.skip("needs Set5: set IDN_DATA to the folder that holds test_data/Set5")
    with Image.open(Path(root) / "test_data" / "Set5" / "baby_GT.bmp") as picture:
        lr = np.asarray(picture.convert("L"), dtype=np.float64) / 255
    got = IDN(scale).upscale_bicubic(torch.from_numpy(lr).float()[None, None])
    assert np.abs(got[0, 0].numpy() - imresize(lr, scale)).max() < 1e-6


@scales
def test_untrained_reconstruction_of_zero_gives_bicubic_even_under_bf16(scale):
    network = make_network(scale)
    torch.nn.init.zeros_(network.upsample.weight)
    lr = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        sr = network(lr)
    assert sr.dtype == torch.float32
    assert np.abs(sr[0, 0].detach().numpy() - imresize(lr[0, 0].double().numpy(), scale)).max() < 1e-6


@scales
@pytest.mark.parametrize("size", [(1, 1), (3, 1), (17, 29), (40, 8)])
def test_any_size_gives_exactly_scale_times_it(scale, size):
    network = make_network(scale)
    with torch.inference_mode():
        lr = torch.rand(3, 1, *size, generator=torch.Generator().manual_seed(0))
        sr = network(lr)
        assert sr.shape == (3, 1, scale * size[0], scale * size[1])
        torch.testing.assert_close(sr[1:2], network(lr[1:2]), rtol=1e-5, atol=1e-4)  # an image at a time, or a batch


def test_inference_computes_what_training_does_and_leaves_its_input_alone():
    network = make_network(3)
    lr = torch.rand(2, 1, 21, 33, generator=torch.Generator().manual_seed(0))
    before = lr.clone()
    trained = network(lr)
    with torch.inference_mode():
        inferred = network(lr)
    assert trained.requires_grad
    torch.testing.assert_close(inferred, trained.detach(), rtol=1e-6, atol=1e-5)
    assert torch.equal(lr, before)


def test_bf16_stays_near_float32():
    network = make_network(4)
    network.reset_parameters(torch.Generator().manual_seed(0), reconstruction_std=0.001)
    lr = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = network(lr)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(lr)
    residual = exact - network.upscale_bicubic(lr)
    assert 0 < (rounded - exact).abs().max() < 0.03 * residual.abs().max()


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (8, 8), (1, 1, 0, 8)])
def test_wrong_input(shape):
    with pytest.raises(ValueError, match=r"LR images as \(N, 1, h, w\), one channel, not empty; got"):
        IDN(2)(torch.zeros(shape))


@pytest.mark.parametrize("scale", [1, 5, 2.0, "2"])
def test_wrong_scale(scale):
    with pytest.raises(ValueError, match=r"scale must be one of 2, 3, 4; got"):
        IDN(scale)


def test_he_initialisation():
    network = make_network(4)
    for name, parameter in network.state_dict().items():
        if name.endswith("bias"):
            assert not parameter.any()
        else:
            expected = math.sqrt(2 / (1 + 0.05**2) / parameter[0].numel())
            assert float(parameter.std()) == pytest.approx(expected, rel=0.1), name
            assert abs(float(parameter.mean())) < 0.1 * expected + 0.01, name


def test_initialisation_follows_its_generator_alone():
    first = make_network(2, seed=7).state_dict()
    torch.rand(5)  # the global generator moves on
    assert all(torch.equal(t, first[name]) for name, t in make_network(2, seed=7).state_dict().items())
    assert not torch.equal(make_network(2, seed=8).upsample.weight, first["upsample.weight"])


def test_small_reconstruction_starts_near_bicubic():
    network, he = IDN(4), make_network(4)
    network.reset_parameters(torch.Generator().manual_seed(0), reconstruction_std=0.001)
    assert float(network.upsample.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
    for (name, mine), (_, other) in zip(network.named_parameters(), he.named_parameters(), strict=True):
        assert torch.equal(mine, other) or name == "upsample.weight"


def test_importing_the_package_does_not_load_torch():
    """Nor do evaluate and upscale load torch's compiler."""
    code = (
        "import sys, idn_train; assert 'torch' not in sys.modules; assert 'IDN' in dir(idn_train); "
        "from idn_train import IDN; assert IDN(2).scale == 2; "
        "import idn_train.methods, idn_train.upscale; assert 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_name_of_the_package():
    import idn_train

    with pytest.raises(AttributeError, match="no attribute 'VDSR'"):
        idn_train.VDSR  # noqa: B018
