"""Adam's groups, and Muon: orthogonal steps, the right size, one matrix for each group of a convolution."""

from __future__ import annotations

import torch
from torch import nn

from idn_train.config import Config
from idn_train.network import IDN
from idn_train.optimizer import (
    MOMENTUM,
    Muon,
    blend_weights,
    make_optimizers,
    orthogonalize,
    orthogonalize_together,
    set_rates,
)


def test_weight_decay_is_that_of_the_readme_on_weights_only() -> None:
    """λ/2·‖w‖² adds λ·w to the gradient of each weight, and nothing to a bias."""
    network = IDN(4)
    (optimizer,) = make_optimizers(network, Config(4, weight_decay=0.1))
    decayed = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decayed) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        assert decayed[id(parameter)] == (0.1 if name.endswith("weight") else 0.0)


def test_beside_muon_a_step_takes_rate_times_decay_off_every_weight() -> None:
    """With gradients of zero nothing else moves them; biases stay."""
    network = IDN(4)
    torch.nn.init.ones_(network.features[0].bias)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    for optimizer in make_optimizers(network, Config(4, rate=1e-3, muon_rate=0.01, weight_decay=0.5)):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    for name, parameter in network.named_parameters():
        rate = 1e-3 if name.startswith(("features.0.", "upsample.")) else 0.01
        kept = 1 - 0.5 * rate if name.endswith("weight") else 1.0
        assert torch.allclose(parameter, kept * before[name], rtol=1e-6, atol=0), name


def test_the_decay_is_decoupled_where_muon_finds_no_convolution() -> None:
    """With gradients of zero, Adam's decay would step by the whole rate."""
    network = nn.Sequential(nn.Conv2d(1, 8, 1), nn.Linear(8, 8))  # the first one reads the picture
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    (adam,) = make_optimizers(network, Config(4, rate=1e-3, muon_rate=0.01, weight_decay=0.5))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    adam.step()
    for name, parameter in network.named_parameters():
        kept = 1 - 0.5e-3 if name.endswith("weight") else 1.0
        assert torch.allclose(parameter, kept * before[name], rtol=1e-6, atol=0), name


def test_muon_takes_the_convolutions_and_adam_the_rest() -> None:
    network = IDN(4)
    adam, muon = make_optimizers(network, Config(4, muon_rate=0.01))
    groups = {id(p): (o, g) for o in (adam, muon) for g in o.param_groups for p in g["params"]}
    assert len(groups) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        optimizer, group = groups[id(parameter)]
        conv = name.endswith("weight") and not name.startswith(("features.0.", "upsample."))
        assert optimizer is (muon if conv else adam), name
        assert group["full_rate"] == (0.01 if conv else 1e-4)


def test_rates_follow_the_schedule_as_numbers_and_as_tensors() -> None:
    """As tensors they stay the same objects: a CUDA graph reads them where they were when it was captured."""
    for captured in (False, True):
        config = Config(4, rate=2e-3, muon_rate=0.01)
        if captured and not torch.cuda.is_available():  # a fused Adam takes rates as tensors on a GPU alone
            optimizers: list[torch.optim.Optimizer] = [Muon([(nn.Conv2d(4, 4, 3).weight, 1)], torch.tensor(0.01))]
        else:
            optimizers = make_optimizers(IDN(4).to("cuda" if captured else "cpu"), config, captured)
        before = [group["lr"] for o in optimizers for group in o.param_groups]
        set_rates(optimizers, 0.25)
        groups = [group for o in optimizers for group in o.param_groups]
        assert all(abs(float(g["lr"]) - 0.25 * g["full_rate"]) < 1e-9 for g in groups)
        assert {round(g["full_rate"], 6) for g in groups} <= {2e-3, 0.01}
        assert all(isinstance(g["lr"], torch.Tensor) == captured for g in groups)
        assert not captured or all(a is g["lr"] for a, g in zip(before, groups, strict=True))


def test_muon_steps_as_far_by_a_tensor_rate() -> None:
    weights = []
    for rate in (0.1, torch.tensor(0.1)):
        layer = nn.Conv2d(8, 8, 3)
        nn.init.orthogonal_(layer.weight, generator=torch.Generator().manual_seed(0))
        layer.weight.grad = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(1))
        Muon([(layer.weight, 1)], rate, weight_decay=0.5).step()
        weights.append(layer.weight.detach())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-6, atol=1e-7)


def test_blended_weights_go_a_share_of_the_way() -> None:
    one, other = IDN(2), IDN(2)
    for network, value in ((one, 1.0), (other, 5.0)):
        for parameter in network.parameters():
            nn.init.constant_(parameter, value)
    blend_weights(one, other, torch.tensor(0.25))
    assert all((p == 2.0).all() for p in one.parameters())
    assert all((p == 5.0).all() for p in other.parameters())
    blend_weights(one, other, torch.tensor(1.0))
    assert all((p == 5.0).all() for p in one.parameters())


def test_orthogonalized_singular_values_are_near_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 2, 8, 108), (1, 1, 64, 16)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=generator)))
        assert values.min() > 0.6
        assert values.max() < 1.25


def test_orthogonalized_keeps_the_singular_vectors() -> None:
    matrix = torch.randn(6, 20, generator=torch.Generator().manual_seed(1))
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalize(matrix) @ vt.T  # diagonal, if only the singular values changed
    assert (inner - torch.diag(inner.diagonal())).abs().max() < 1e-4


def test_orthogonalized_together_is_the_same_but_for_rounding() -> None:
    generator = torch.Generator().manual_seed(2)
    shapes = ((4, 1, 48, 576), (4, 4, 8, 108), (2, 1, 80, 64), (3, 4, 12, 144), (1, 1, 17, 9))
    stacks = [torch.randn(shape, generator=generator) for shape in shapes]
    for stack, got in zip(stacks, orthogonalize_together(stacks), strict=True):
        assert got.shape == stack.shape
        assert (got - orthogonalize(stack)).abs().max() < 1e-5


def test_a_step_of_a_grouped_convolution() -> None:
    """Against the definition: each group's own matrix, Nesterov's momentum, rate·0.2·√(longer side)."""
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 4, 3, groups=2)
    before = layer.weight.detach().clone()
    gradients = [torch.randn_like(layer.weight) for _ in range(2)]
    muon = Muon([(layer.weight, 2)], 0.1, weight_decay=0.5)
    expected, momentum = before, torch.zeros_like(before)
    for gradient in gradients:
        layer.weight.grad = gradient.clone()
        muon.step()
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        update = (1 - MOMENTUM) * gradient + MOMENTUM * momentum
        steps = [orthogonalize(part.flatten(1)).view(part.shape) for part in update.split(2)]
        expected = (1 - 0.1 * 0.5) * expected - 0.1 * 0.2 * 27**0.5 * torch.cat(steps)
    assert torch.allclose(layer.weight, expected, atol=1e-6)


def test_a_layer_not_in_use_stays() -> None:
    """As with Adam: it does not decay either."""
    used, idle = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
    before = idle.weight.detach().clone()
    muon = Muon([(used.weight, 1), (idle.weight, 1)], 0.1, weight_decay=0.5)
    used(torch.ones(1, 4, 5, 5)).sum().backward()
    muon.step()
    assert torch.equal(idle.weight, before)
    assert float(used.weight.detach().norm()) > 0


def test_it_minimises() -> None:
    torch.manual_seed(0)
    layer, target = nn.Conv2d(4, 4, 3, bias=False), torch.randn(4, 4, 3, 3)
    muon = Muon([(layer.weight, 1)], 0.3)
    losses = []
    for step in range(100):
        muon.param_groups[0]["lr"] = 0.3 * (1 - step / 100)
        loss = (layer.weight - target).square().mean()
        muon.zero_grad()
        loss.backward()
        muon.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.01 * losses[0]
