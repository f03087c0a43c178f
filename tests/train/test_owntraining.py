"""What networks of the user's own may do in a step, and in a picture, that IDN does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from idn_train.batches import Patches
from idn_train.clock import Cadence
from idn_train.config import Config
from idn_train.learner import Learner, copy_buffers, list_buffers, make_learner, make_step, settle_buffers
from idn_train.owncode import NetworkError
from idn_train.ownnetwork import load_network
from idn_train.reach import measure_reach
from idn_train.trainer import Hooks, train
from idn_train.upscale import make_method, upscale_y
from idn_train.weightfile import read_tensors

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, scale, channels=1):
        super().__init__()
        self.first = nn.Conv2d(channels, 8, 3, padding=1)
        self.late = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Sequential(nn.Conv2d(8, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self.register_buffer("calls", torch.zeros(()))
        {make}

    def forward(self, x):
        {compute}
"""
PLAIN = "return self.last(self.first(x))"


def write_net(folder: Path, compute: str = PLAIN, make: str = "pass", name: str = "net") -> str:
    indent = "\n        "
    code = NET.format(make=make.replace("\n", indent), compute=compute.replace("\n", indent))
    (folder / f"{name}.py").write_text(code)
    return f"{folder / f'{name}.py'}:Net"


def make_patches(scale: int = 2) -> Patches:
    """A few patches of 5x5 LR pixels."""
    gt = torch.randint(0, 256, (40, 1, 5, 5), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    gt = gt.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return Patches(gt[:, :, ::scale, ::scale].float() / 255, gt, scale, "test", torch.device("cpu"), False)


def test_a_network_may_change_its_input_in_place(tmp_path: Path) -> None:
    """`x -= 0.5` is what others write as `x = x - 0.5`: the same pictures, the same reach."""
    makers = (("kind", "x = x - 0.5\n"), ("rough", "x -= 0.5\n"))
    kind, rough = (load_network(write_net(tmp_path, change + PLAIN, name=name), 2) for name, change in makers)
    y = np.random.default_rng(1).random((13, 11))
    for more in (False, True):
        assert np.array_equal(upscale_y(kind, y, self_ensemble=more), upscale_y(rough, y, self_ensemble=more))
    assert measure_reach(kind) == measure_reach(rough) == 8
    lr = torch.rand(1, 1, 6, 5)
    before = lr.clone()
    rough(lr)
    assert torch.equal(lr, before)


LATE = "x = self.first(x)\nif self.training:\n    self.calls += 1\n"


@pytest.mark.parametrize("muon_rate", [0.0, 0.01])
def test_what_a_training_skips_at_first_is_trained_and_kept(tmp_path: Path, muon_rate: float) -> None:
    """A layer that the first steps skip, as those that drop layers at random do: a killed run ends with its weights."""
    spec = write_net(
        tmp_path, LATE + "if not self.training or self.calls > 4:\n    x = x + self.late(x)\nreturn self.last(x)"
    )
    network = load_network(spec, 2)
    assert all(p.requires_grad for p in network.parameters())
    config = Config(2, network=spec, steps=7, batch=4, rate=1e-2, loss="l1", average=0.9, muon_rate=muon_rate)
    seen: list[int] = []
    stop = Hooks(validate=lambda n: seen.append(1) or 30.0, stop=lambda: len(seen) == 2)
    train(config, make_patches(), tmp_path / "whole")
    last = train(config, make_patches(), tmp_path / "cut", hooks=stop, cadence=Cadence(validate_steps=1))
    state, _ = read_tensors(last)
    assert {n.rsplit(".", 1)[1] for n in state if n.startswith("a.")} >= {"exp_avg", "exp_avg_sq", "step"}
    assert any(n.endswith(".step") and array == 0 for n, array in state.items())  # of what had no gradient yet
    train(config, make_patches(), tmp_path / "cut")
    whole, cut = (read_tensors(tmp_path / name / "final.safetensors")[0] for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(np.array_equal(whole[k], cut[k]) for k in whole)
    assert not np.array_equal(whole["late.weight"], load_network(spec, 2).body.late.weight.detach().numpy())


@pytest.mark.parametrize("muon_rate", [0.0, 0.01])
def test_what_has_no_part_in_any_step_stays(tmp_path: Path, muon_rate: float) -> None:
    """No decay either; also of a network that computes without gradients in evaluation mode."""
    spec = write_net(tmp_path, "with torch.set_grad_enabled(self.training):\n    return self.last(self.first(x))")
    config = Config(
        2, network=spec, steps=3, batch=4, rate=1e-2, muon_rate=muon_rate, weight_decay=0.3, schedule="cosine"
    )
    trained, _ = read_tensors(train(config, make_patches(), tmp_path / "run"))
    first = load_network(spec, 2).body.state_dict()
    assert np.array_equal(trained["late.weight"], first["late.weight"].numpy())
    assert not np.array_equal(trained["first.weight"], first["first.weight"].numpy())


def test_a_network_whose_weights_have_no_part_at_all_is_refused(tmp_path: Path) -> None:
    code = "return x.repeat_interleave(2, 2).repeat_interleave(2, 3) + 0 * self.calls.clone().requires_grad_()"
    with pytest.raises(NetworkError, match="no weight has a part in its result; look at its forward"):
        load_network(write_net(tmp_path, code), 2)


ROUTED = """
x = self.first(x)
chosen = int(x.detach().mean() * 1e6) % 6
return self.last(x + self.experts[chosen](x))
"""


def test_weights_that_other_pictures_reach_are_trained(tmp_path: Path) -> None:
    """A network that chooses one of its layers by the picture: the try-out reaches one of them."""
    spec = write_net(tmp_path, ROUTED.strip(), "self.experts = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(6))")
    config = Config(2, network=spec, steps=30, batch=4, rate=1e-2, loss="l1")
    trained, _ = read_tensors(train(config, make_patches(), tmp_path / "run"))
    first = load_network(spec, 2).body.state_dict()
    moved = [k for k in range(6) if not np.array_equal(trained[f"experts.{k}.weight"], first[f"experts.{k}.weight"])]
    assert len(moved) > 2


@pytest.fixture
def lone_group() -> Iterator[None]:
    """A group of one process: enough for DistributedDataParallel, which watches what a step leaves out."""
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("lone_group")
def test_several_processes_take_networks_that_skip_weights(tmp_path: Path) -> None:
    spec = write_net(
        tmp_path, LATE + "if not self.training or self.calls > 2:\n    x = x + self.late(x)\nreturn self.last(x)"
    )
    config = Config(2, network=spec, steps=4, batch=2, rate=1e-2)
    learner = make_learner(config, torch.device("cpu"))
    step = make_step(learner, config, world=2)
    for number in range(4):
        learner.set_rate(1.0, config.average, number)
        assert torch.isfinite(step(torch.rand(2, 1, 5, 5), torch.rand(2, 1, 10, 10)))


VALIDATED = {
    "a buffer assigned anew": (
        "self.seen = x.detach().mean()\n" + PLAIN,
        'self.register_buffer("seen", torch.zeros(()))',
    ),
    "a table that grows": (
        "if self.table is None or self.table.shape[-1] < x.shape[-1]:\n"
        "    self.table = self.scale.new_ones(1, 1, 64, x.shape[-1]).cumsum(3)\n"
        "x = self.first(x)\n"
        "return self.last(x + self.scale * self.table[..., :x.shape[2], :x.shape[3]])",
        "self.table = None\nself.scale = nn.Parameter(torch.zeros(1))",
    ),
}


@pytest.mark.parametrize("kind", VALIDATED)
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_what_a_validation_leaves_in_a_network_can_be_trained_on(tmp_path: Path, kind: str, average: float) -> None:
    config = Config(2, network=write_net(tmp_path, *VALIDATED[kind]), steps=4, batch=4, rate=1e-2, average=average)
    y = np.random.default_rng(0).random((12, 20), np.float32)
    hooks = Hooks(validate=lambda network: float(upscale_y(network, y).mean()))
    assert train(config, make_patches(), tmp_path / "run", cadence=Cadence(validate_steps=1), hooks=hooks).is_file()


def test_a_network_that_takes_no_small_tile_has_a_reach(tmp_path: Path) -> None:
    """It fills up to a multiple of 64 by reflection, so it takes 33 pixels and more; here all tiles are larger."""
    fill = "h, w = x.shape[2:]\nx = nn.functional.pad(x, (0, -w % 64, 0, -h % 64), 'reflect')\n"
    network = load_network(
        write_net(tmp_path, fill + PLAIN.replace("self.last(", "self.last(") + "[..., :2 * h, :2 * w]"), 2
    )
    assert (measure_reach(network) or 0) >= 16
    y = np.random.default_rng(0).random((100, 90), np.float32)
    whole = upscale_y(network, y, tile=100)
    np.testing.assert_allclose(upscale_y(network, y, tile=48), whole, atol=1e-5)


def test_a_memory_too_small_to_measure_the_reach(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full = "if x.shape[-1] > 170:\n    raise RuntimeError('CUDA out of memory')\n"
    network = load_network(write_net(tmp_path, full + PLAIN), 2)
    y = np.random.default_rng(0).random((200, 40), np.float32)
    plain = upscale_y(load_network(write_net(tmp_path, PLAIN, name="plain"), 2), y)
    np.testing.assert_allclose(upscale_y(network, y, tile=32), plain, atol=1e-5)
    assert (
        network.reach == 64 and "not enough memory to tell how far it looks; 64 pixels around each tile" in caplog.text
    )


def take_steps(learner: Learner, config: Config, count: int) -> None:
    step = make_step(learner, config)
    for number in range(count):
        learner.set_rate(1.0, config.average, number)
        step(torch.full((2, 1, 5, 5), (1 + number) / 8), torch.rand(2, 1, 10, 10))


def test_buffers_that_forward_assigns_anew(tmp_path: Path) -> None:
    """They reach the moving mean, and stay where they lay: there a CUDA graph reads them."""
    code = "if self.training:\n    self.calls = self.calls + x.mean()\n    self.sizes = x.new_tensor(x.shape)\n"
    spec = write_net(tmp_path, code + PLAIN, 'self.register_buffer("sizes", torch.zeros(1))')
    config = Config(2, network=spec, steps=3, batch=2, rate=1e-2, average=0.9)
    learner = make_learner(config, torch.device("cpu"))
    before = learner.network.body.calls
    take_steps(learner, config, 3)
    assert learner.network.body.calls is before and float(before) == (1 + 2 + 3) / 8
    assert torch.equal(learner.kept.body.calls, before) and learner.kept.body.calls is not before
    assert learner.kept.body.sizes.tolist() == [2, 1, 5, 5]  # of another shape than at first
    assert learner.kept.body.sizes is not learner.network.body.sizes


def test_buffers_without_a_first_value(tmp_path: Path) -> None:
    spec = write_net(tmp_path, "self.mean = x.mean()\n" + PLAIN, 'self.register_buffer("mean", None, persistent=False)')
    network = load_network(spec, 2).body
    network.mean = None
    mean = load_network(spec, 2).body
    places = list_buffers(network)
    network(torch.full((1, 1, 5, 5), 0.5))
    settle_buffers(places)
    copy_buffers(mean, network)
    assert float(network.mean) == float(mean.mean) == 0.5 and mean.mean is not network.mean


@pytest.mark.parametrize(
    ("make", "match"),
    [
        ('self.register_buffer("best", torch.tensor(float("inf")))',
         r"net\.py:Net: best holds NaN or infinity, and could not be saved; .* or register it with persistent=False"),
        ('self.register_buffer("best", torch.zeros(()))', "best holds NaN or infinity, and could not be saved; give"),
        ("self.last[0].bias = nn.Parameter(torch.full([4], float('nan')))", r"last\.0\.bias holds NaN or inf.*; look"),
    ],
)  # fmt: skip
def test_what_could_not_be_saved_is_refused_before_a_step(tmp_path: Path, make: str, match: str) -> None:
    """Also what becomes so only in a step."""
    with pytest.raises(NetworkError, match=match):
        load_network(write_net(tmp_path, "self.best = self.best / 0\n" + PLAIN, make), 2)


def test_infinity_that_is_not_kept_is_no_fault(tmp_path: Path) -> None:
    make = 'self.register_buffer("mask", torch.tensor([0.0, -float("inf")]), persistent=False)'
    assert float(load_network(write_net(tmp_path, PLAIN, make), 2).body.mask[1]) == -float("inf")


@pytest.mark.parametrize(
    "compute",
    [
        "n = x.shape[0]\nx = x + x.view(n, -1).mean(1).view(n, 1, 1, 1)\n" + PLAIN,
        "x = self.first(x)\nx = x + x.view(len(x), -1).mean(1).view(-1, 1, 1, 1)\nreturn self.last(x)",
    ],
)
def test_a_network_for_one_memory_format(tmp_path: Path, compute: str) -> None:
    """`view` on what lies channels last is an error: pictures are given to it as patches were."""
    network = load_network(write_net(tmp_path, compute), 2, 3)
    rgb = np.random.default_rng(1).random((12, 9, 3))
    assert make_method(network, "own").upscale(rgb, 2).shape == (24, 18, 3)
    assert make_method(network, "own", self_ensemble=True).upscale(rgb, 2).shape == (24, 18, 3)
    assert measure_reach(network) is None  # it looks at the whole
