"""A network of the user's own: what is loaded, what is refused and how, and what its training keeps."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from support.drawing import draw_photo

from cli import main
from idn_data.scores.benchmark import evaluate
from idn_data.scores.sets import open_set
from idn_train.batches import Patches
from idn_train.checkpoint import average_weights, load_own_weights, load_weights, save_weights
from idn_train.clock import Cadence
from idn_train.config import Config, make_config
from idn_train.learner import copy_weights, make_learner
from idn_train.network import IDN
from idn_train.optimizer import Muon
from idn_train.owncode import NetworkError, digest_code
from idn_train.ownnetwork import OwnNetwork, load_network
from idn_train.reach import find_reach, measure_reach
from idn_train.runstate import TrainingError
from idn_train.session import limit_threads
from idn_train.trainer import Hooks, train
from idn_train.upscale import make_method, make_teacher, upscale_photo, upscale_y
from idn_train.weightfile import read_tensors, read_weights, write_tensors

HEAD = "import torch\nfrom torch import nn\n"
# statistics that a step moves, random numbers in a step, a parameter without dimensions, one without a part
NET = """
class Net(nn.Module):
    def __init__(self, scale, channels=1):
        super().__init__()
        wide = channels * scale**2
        self.body = nn.Sequential(
            nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2),
            nn.Conv2d(8, wide, 3, padding=1), nn.PixelShuffle(scale),
        )
        self.gain = nn.Parameter(torch.ones(()))
        self.unused = nn.Linear(3, 3)

    def forward(self, lr):
        return self.gain * self.body(lr)
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(HEAD + NET)
    return f"{tmp_path / 'net.py'}:Net"


def make_patches(channels: int = 1, scale: int = 4) -> Patches:
    """A few patches of 5x5 LR pixels."""
    generator = torch.Generator().manual_seed(1)
    gt = torch.randint(0, 256, (40, channels, 5, 5), generator=generator).to(torch.uint8)
    gt = gt.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    return Patches(gt[:, :, ::scale, ::scale].float() / 255, gt, scale, "test", torch.device("cpu"), False)


def test_it_is_called_with_scale_and_channels(net: str) -> None:
    network = load_network(net, 3, 3)
    assert (network.label, network.scale, network.channels, network.training) == ("net.py:Net", 3, 3, True)
    assert all(p.requires_grad for p in network.parameters())  # also those without a part in the result: they may have
    assert int(network.body.body[1].num_batches_tracked) == 0  # the trial has moved nothing
    assert network(torch.rand(2, 3, 5, 4)).shape == (2, 3, 15, 12)
    espcn = load_network("idn_train.examples.espcn:ESPCN", 8)
    assert espcn.label == "idn_train.examples.espcn:ESPCN" and espcn(torch.rand(1, 1, 2, 3)).shape == (1, 1, 16, 24)


def test_the_seed_decides_the_first_weights_and_nothing_else_is_drawn(net: str) -> None:
    torch.manual_seed(5)
    first = load_network(net, 2, seed=1)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    same, other = load_network(net, 2, seed=1), load_network(net, 2, seed=2)
    assert torch.equal(first.body.body[0].weight, same.body.body[0].weight)
    assert not torch.equal(first.body.body[0].weight, other.body.body[0].weight)


def test_nothing_is_left_beside_the_file_or_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "own_parts_of_test.py").write_text("WIDTH = 8\n")
    code = "from own_parts_of_test import WIDTH\nWIDER = WIDTH\n" + HEAD + NET
    (tmp_path / "net.py").write_text(code)
    before = list(sys.path)
    load_network(f"{tmp_path / 'net.py'}:Net", 2)
    assert sys.path == before
    assert {p.name for p in tmp_path.iterdir()} == {"net.py", "own_parts_of_test.py"}


def test_the_files_beside_it_count(tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    for name, code in (
        ("net.py", "import os, kit.parts\nfrom more import WIDTH\n" + HEAD + NET),
        ("more.py", "WIDTH = 8\nimport net\n"), ("other.py", ""), ("kit/__init__.py", ""), ("kit/parts.py", "A = 1"),
    ):  # fmt: skip
        (tmp_path / name).write_text(code)
    whole = digest_code(tmp_path / "net.py")
    for name in ("other.py", "more.py", "kit/parts.py", "net.py"):
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(before + "# changed\n")
        assert (digest_code(tmp_path / "net.py") == whole) == (name == "other.py"), name
        (tmp_path / name).write_text(before)
    assert digest_code(tmp_path / "other.py") == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("code", "match"),
    [
        (None, r"net\.py: no such file; --network names the file of a network: FILE\.py:NAME"),
        ("class Other(nn.Module): ...", r"net\.py: has no Net; it has Other"),
        ("Net = 3", r"net\.py: Net is of type int; name a class or a function of the scale"),
        ("Net = None\n1 / 0", r"net\.py:Net: its file cannot be run: line 4: ZeroDivisionError: division by zero"),
        ("Net = (", r"net\.py:Net: its file cannot be run: line 3: SyntaxError: '\(' was never closed"),
        ("raise SystemExit(2)", r"net\.py:Net: its file cannot be run: line 3: SystemExit: 2"),
        ("import no_such_module_of_test", r"line 3: ModuleNotFoundError: No module named 'no_such_module_of_test'"),
        ("def Net(scale):\n    return nn.Conv2d(1, 'a', 3)", "cannot be called with the scale 2: line 4: TypeError"),
        ("def Net():\n    return nn.Conv2d(1, 1, 3)", "cannot be called with the scale 2: TypeError: Net.. takes 0"),
        ("def Net(scale):\n    return 3", r"net\.py:Net: returns int, not a torch\.nn\.Module; return the network"),
        ("def Net(scale):\n    return nn.Upsample(scale_factor=2)", "has no weights to train"),
        ("def Net(scale):\n    return nn.Conv2d(1, 1, 3).half()", "weight weight is torch.float16; only float32"),
        ("def Net(scale):\n    return nn.Conv2d(1, 4, 3, padding=1)",
         r"makes \(1, 4, 12, 9\) of \(1, 1, 12, 9\), not \(1, 1, 24, 18\): \(N, c, s·h, s·w\)"),
        ("class Net(nn.Conv2d):\n    def __init__(self, s):\n        super().__init__(1, 1, 1)\n"
         "    def forward(self, x):\n        return x + torch.zeros(3, 3)",
         r"net\.py:Net: it cannot compute: line 7: RuntimeError: The size of tensor a"),
        ("class Net(nn.Conv2d):\n    def __init__(self, s):\n        super().__init__(1, 1, 1)\n"
         "    def forward(self, x):\n        return [x]", "forward returns list, not a tensor; return SR alone"),
        ("class Net(nn.Conv2d):\n    def __init__(self, s):\n        super().__init__(1, 4, 1)\n"
         "    def forward(self, x):\n        return nn.functional.pixel_shuffle(super().forward(x) / 0, 2)",
         "makes NaN or infinity of values in "),
        ("class Net(nn.Conv2d):\n    def __init__(self, s):\n        super().__init__(1, 4, 1)\n"
         "    def get_extra_state(self):\n        return 3\n    def set_extra_state(self, s): ...",
         "state _extra_state is a int; only tensors are kept, so drop it"),
        ("def Net(scale):\n    net = nn.Conv2d(1, 4, 1)\n    x = torch.zeros(1).bfloat16()\n"
         "    net.register_buffer('b', x)\n    return net", r"buffer b is torch\.bfloat16, torch\.strided; keep it"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, code: str | None, match: str) -> None:
    if code is not None:
        (tmp_path / "net.py").write_text(HEAD + code)
    with pytest.raises(NetworkError, match=match) as caught:
        load_network(f"{tmp_path / 'net.py'}:Net", 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("net.py", r"network 'net\.py' is not FILE\.py:NAME or package\.module:NAME; such as espcn\.py:ESPCN"),
        ("a b:Net", "network 'a b:Net' is not"),
        ("net.py:3", "network 'net.py:3' is not"),
        ("no_such_package.net:Net", "no module no_such_package; install it, or name its file"),
        ("idn_train.examples:Net", "has no Net; it has nothing that can be called"),
    ],
)
def test_bad_names(spec: str, match: str) -> None:
    with pytest.raises(NetworkError, match=match):
        load_network(spec, 2)
    with pytest.raises(NetworkError, match="scale must be one of 2…8 and channels 1 or 3; got 9 and 1"):
        load_network("a.py:Net", 9)


def test_a_network_that_needs_larger_pictures_is_tried_on_one(tmp_path: Path) -> None:
    code = "    def forward(self, lr):\n        assert min(lr.shape[2:]) > 20, 'too small'\n"
    (tmp_path / "net.py").write_text(HEAD + NET.replace("    def forward(self, lr):\n", code))
    network = load_network(f"{tmp_path / 'net.py'}:Net", 2)
    with pytest.raises(NetworkError, match=r"net\.py:Net: it cannot compute: line 16: AssertionError: too small"):
        upscale_y(network, np.zeros((8, 8)))


def test_configurations() -> None:
    assert Config(8, network="a.py:A", channels=3).channels == 3
    assert make_config(8, "pretrain", "express", network="a.py:A").reconstruction_std == 0.0
    for change, match in (
        ({"scale": 9}, "scale must be one of 2, 3, 4, 5, 6, 7, 8; got 9"),
        ({"channels": 2}, "channels must be one of 1, 3; got 2"),
        ({"reconstruction_std": 0.1}, "reconstruction_std is of IDN's last layer; a.py:A draws its own; leave it out"),
    ):
        with pytest.raises(ValueError, match=match):
            replace(Config(4, network="a.py:A"), **change)
    with pytest.raises(ValueError, match="channels must be one of 1; got 3 for IDN"):
        Config(4, channels=3)


def test_muon_takes_the_convolutions_that_it_can(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        HEAD + "def Net(scale):\n    deep = nn.Conv2d(8, 8, 3, padding=1)\n"
        "    wide = nn.Conv2d(8, 8, 3, padding=1, groups=8)\n"
        "    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 4, 3, padding=1))\n"
        "    return nn.Sequential(nn.Conv2d(1, 8, 1), deep, deep, wide, normed, nn.PixelShuffle(2))"
    )
    config = Config(2, network=f"{tmp_path / 'net.py'}:Net", muon_rate=0.01, steps=2, batch=4)
    learner = make_learner(config, torch.device("cpu"))
    adam, muon = learner.optimizers
    assert isinstance(muon, Muon)
    assert [tuple(p.shape) for g in muon.param_groups for p in g["params"]] == [(8, 8, 3, 3)]  # once, though used twice
    moved = {id(p) for o in (adam, muon) for g in o.param_groups for p in g["params"]}
    assert moved == {id(p) for p in learner.network.parameters()}
    assert train(config, make_patches(1, 2), tmp_path / "run").name == "final.safetensors"


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_killed_run_ends_with_the_same_weights(net: str, tmp_path: Path, average: float) -> None:
    config = Config(4, network=net, steps=6, batch=4, rate=1e-2, loss="l1+ssim", average=average, muon_rate=0.01)
    seen: list[bool] = []
    stop = Hooks(validate=lambda n: seen.append(n.training) or 30.0, stop=lambda: len(seen) == 3)
    every = Cadence(validate_steps=1)
    train(config, make_patches(), tmp_path / "whole")
    assert train(config, make_patches(), tmp_path / "cut", hooks=stop, cadence=every).name == "last.safetensors"
    train(config, make_patches(), tmp_path / "cut")
    whole, cut = (read_tensors(tmp_path / name / "final.safetensors")[0] for name in ("whole", "cut"))
    assert whole.keys() == cut.keys() and all(np.array_equal(whole[k], cut[k]) for k in whole)
    assert int(whole["body.1.num_batches_tracked"]) == 6  # of the moving mean too, and as a whole number
    assert np.abs(whole["body.1.running_mean"]).max() > 0


def test_a_changed_file_ends_no_run_of_before(net: str, tmp_path: Path) -> None:
    config = Config(4, network=net, steps=2, batch=4)
    train(config, make_patches(), tmp_path / "run")
    with Path(net.rpartition(":")[0]).open("a") as stream:
        stream.write("# changed\n")
    with pytest.raises(TrainingError, match=r"holds a run of net\.py:Net as it was before its file changed; undo the"):
        train(config, make_patches(), tmp_path / "run")
    with pytest.raises(TrainingError, match=r"holds a run with network='net\.py:Net', not 'idn'; name another"):
        train(replace(config, network="idn"), make_patches(), tmp_path / "run")


def test_an_error_in_a_step_is_one_line(tmp_path: Path) -> None:
    code = HEAD + NET.replace("return self.gain", "assert lr.shape[0] < 4, 'too many'\n        return self.gain")
    (tmp_path / "net.py").write_text(code)
    config = Config(4, network=f"{tmp_path / 'net.py'}:Net", steps=2, batch=4)
    with pytest.raises(NetworkError, match=r"net\.py:Net: it cannot compute: line 16: AssertionError: too many"):
        train(config, make_patches(), tmp_path / "run")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("self.body(lr)[..., (lr.shape[3] == 5):]", r"makes \(4, 1, 20, 19\) of \(4, 1, 5, 5\), not \(4, 1, 20, 20\)"),
        ("self.body(lr) if lr.shape[3] > 5 else [lr]", "forward returns list, not a tensor; return SR alone"),
        ("self.body(lr) if lr.shape[3] > 5 else self.body(lr).detach()", "it cannot compute: RuntimeError: element 0"),
    ],
)
def test_what_fails_at_the_size_of_the_patches_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, said: str
) -> None:
    """What is tried when it is loaded is larger. Nothing of an older run is lost."""
    (tmp_path / "net.py").write_text(HEAD + NET.replace("self.gain * self.body(lr)", answer))
    config = Config(4, network=f"{tmp_path / 'net.py'}:Net", steps=2, batch=4)
    old = tmp_path / "run" / "last.safetensors"
    old.parent.mkdir()
    old.write_bytes(b"of an older run")
    with pytest.raises(NetworkError, match=rf"^net\.py:Net: {said}"):
        train(config, make_patches(), tmp_path / "run", restart=True)
    assert old.read_bytes() == b"of an older run"
    monkeypatch.setattr("idn_train.session.choose_threads", lambda step: step() or 1)
    with pytest.raises(NetworkError, match=rf"^net\.py:Net: {said}"), limit_threads(config, make_patches()):
        pass


def test_weights_name_their_network_and_refuse_another(
    net: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network, path = load_network(net, 4), tmp_path / "a.safetensors"
    network.body.body[1].num_batches_tracked += 7
    save_weights(path, network, {"name": "mine"})
    loaded, said = load_weights(path, [net])
    assert (said["network"], said["scale"], said["channels"], said["parameters"]) == ("net.py:Net", 4, 1, 1277)
    assert not loaded.training and isinstance(loaded, OwnNetwork)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    assert loaded.body.body[1].num_batches_tracked.dtype == torch.int64
    with pytest.raises(ValueError, match=r"weights of network net\.py:Net; give --network FILE\.py:NAME"):
        load_weights(path)
    espcn = "idn_train.examples.espcn:ESPCN"
    with pytest.raises(
        ValueError, match=r"of network net\.py:Net, not of idn_train\.examples\.espcn:ESPCN; give --net"
    ):
        load_weights(path, [espcn])
    with pytest.raises(ValueError, match=r"weights of network net\.py:Net; give --network FILE\.py:NAME"):
        read_weights(path)
    with pytest.raises(ValueError, match="metadata must not set channels, network"):
        save_weights(tmp_path / "b.safetensors", network, {"network": "x", "channels": 3})
    save_weights(tmp_path / "idn.safetensors", IDN(4))
    assert isinstance(load_weights(tmp_path / "idn.safetensors", [net])[0], IDN)
    with pytest.raises(ValueError, match=r"weights of IDN, not of net\.py:Net; leave out --network"):
        load_own_weights(tmp_path / "idn.safetensors", [net])
    with pytest.raises(
        ValueError, match=r"idn\.safetensors: weights of IDN, not of .*net\.py:Net; name weights of that"
    ):
        copy_weights(network, tmp_path / "idn.safetensors", net)
    file = Path(net.rpartition(":")[0])
    file.write_text(file.read_text() + "# changed\n")
    with caplog.at_level(logging.WARNING):
        load_weights(path, [net])
    assert "net.py:Net was another when these weights were made" in caplog.text
    file.write_text(file.read_text().replace("nn.Conv2d(channels, 8", "nn.Conv2d(channels, 9").replace("d(8", "d(9"))
    with pytest.raises(
        ValueError, match=r"a\.safetensors: tensor 'body\.0\.bias' has shape \[8\], net\.py:Net's is \[9\]"
    ):
        load_weights(path, [net])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"network": 3}, "network 3 of 1 channels is none that idn makes"),
        ({"channels": 2}, "network 'net.py:Net' of 2 channels is none that idn makes"),
        ({"scale": 9}, "scale 9 is none of 2, 3, 4, 5, 6, 7, 8"),
    ],
)
def test_weights_that_say_nonsense(net: str, tmp_path: Path, change: dict[str, object], match: str) -> None:
    save_weights(tmp_path / "a.safetensors", load_network(net, 4))
    tensors, said = read_tensors(tmp_path / "a.safetensors")
    write_tensors(tmp_path / "a.safetensors", tensors, said | change, force=True)
    with pytest.raises(ValueError, match=match):
        load_weights(tmp_path / "a.safetensors", [net])


def test_first_weights_of_another_scale_or_kind(net: str, tmp_path: Path) -> None:
    source, target = load_network(net, 2, seed=1), load_network(net, 4, seed=2)
    save_weights(tmp_path / "a.safetensors", source)
    copy_weights(target, tmp_path / "a.safetensors", net)
    assert torch.equal(source.body.body[0].weight, target.body.body[0].weight)
    with pytest.raises(ValueError, match="weights for 1 channels, not 3; give --channels"):
        copy_weights(load_network(net, 2, 3), tmp_path / "a.safetensors", net)


def test_the_mean_of_weights(net: str, tmp_path: Path) -> None:
    networks = [load_network(net, 4, seed=k) for k in (1, 2)]
    for k, network in enumerate(networks):
        save_weights(tmp_path / f"{k}.safetensors", network)
    paths = [tmp_path / "0.safetensors", tmp_path / "1.safetensors"]
    mean, said = average_weights(paths, [net])
    assert torch.allclose(mean.body.gain, networks[0].body.gain) and len(said["mean_of"]) == 2
    weights = [n.body.body[0].weight for n in (*networks, mean)]
    assert torch.allclose(weights[0] + weights[1], 2 * weights[2])
    save_weights(tmp_path / "idn.safetensors", IDN(4))
    with pytest.raises(
        ValueError, match=r"weights of IDN, not of net\.py:Net, 1 channels as .*0\.safetensors; average"
    ):
        average_weights([paths[0], tmp_path / "idn.safetensors"], [net])


def make_plain(tmp_path: Path, channels: int, extra: str = "") -> OwnNetwork:
    """Two convolutions with untrained weights, which look at 2 + 1 pixels."""
    code = (
        "class Plain(nn.Module):\n    def __init__(self, scale, channels=1):\n        super().__init__()\n"
        "        self.net = nn.Sequential(nn.Conv2d(channels, 8, 5, padding=2), nn.ReLU(),\n"
        "            nn.Conv2d(8, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))\n"
        f"    def forward(self, x):\n        return self.net(x){extra}\n"
    )
    (tmp_path / "plain.py").write_text(HEAD + code)
    return load_network(f"{tmp_path / 'plain.py'}:Plain", 2, channels)


def test_reach(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert measure_reach(make_plain(tmp_path, 1)) == 8
    network = make_plain(tmp_path, 1, " + x.mean()")
    with caplog.at_level(logging.WARNING):
        assert find_reach(network) == find_reach(network) == 64
    assert caplog.text.count("plain.py:Plain looks at more than 64 pixels around: tiles come near the whole") == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_photos_in_tiles_are_those_of_the_whole(tmp_path: Path, channels: int) -> None:
    network = make_plain(tmp_path, channels)
    Image.fromarray(draw_photo(50, 41, 3)).save(tmp_path / "a.png")
    upscale_photo(network, tmp_path / "a.png", tmp_path / "whole.png")
    upscale_photo(network, tmp_path / "a.png", tmp_path / "tiles.png", tile=16)
    whole, tiles = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("whole.png", "tiles.png"))
    assert whole.shape == (100, 82, 3) and np.abs(whole - tiles).max() <= 1
    if channels == 3:  # the colours are the network's own
        lr = torch.from_numpy(np.asarray(Image.open(tmp_path / "a.png")).copy()).permute(2, 0, 1)[None] / 255
        sr = network.eval()(lr)[0].permute(1, 2, 0).detach().clamp(0, 1).numpy()
        assert np.abs(whole - np.round(sr * 255)).max() <= 1


def test_smaller_tiles_of_a_full_memory_show_no_seams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first try was one tile, which needs nothing around it; the smaller ones do."""
    network = make_plain(tmp_path, 1)
    lr = draw_photo(50, 41, 3)[..., 1] / 255
    whole, predict = upscale_y(network, lr), network.predict_residual

    def run_out(image: torch.Tensor) -> torch.Tensor:
        if image.shape[2:] == lr.shape:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return predict(image)

    monkeypatch.setattr(network, "predict_residual", run_out)
    tiled = upscale_y(network, lr)
    assert [r.message for r in caplog.records] == ["cpu: not enough memory; going on with tiles of 25 pixels"]
    assert np.abs(tiled - whole).max() < 1e-5


def test_grey_through_a_network_for_colour(tmp_path: Path) -> None:
    network = make_plain(tmp_path, 3)
    grey = draw_photo(20, 21, 4).mean(2) / 255
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    method = make_method(network, "colour")
    assert np.abs(upscale_y(network, grey) - method.upscale(rgb, 2).mean(2)).max() < 1e-5


def test_a_network_for_colour_is_scored_in_y_and_rgb(tmp_path: Path, photos: Path) -> None:
    method = make_method(make_plain(tmp_path, 3), "colour")
    test_set = open_set(str(photos), tmp_path)
    scores, images = evaluate(method, test_set, 2, ["y", "rgb"])
    assert [s.protocol for s in scores] == ["y", "rgb"] and len(images) == 10
    with pytest.raises(
        ValueError, match="colour takes RGB, and LR is Y alone in the protocol float; score it in y or rgb"
    ):
        evaluate(method, test_set, 2, ["float"])


def test_colour_scores_are_those_of_the_picture_itself(tmp_path: Path, photos: Path) -> None:
    """Bicubic as a network for RGB: the SR is imresize of imresize, both of the picture, in 8 bits between."""
    code = (
        "from idn_train.tensors import imresize\n"
        "class Bicubic(nn.Module):\n    def __init__(self, scale, channels=1):\n"
        "        super().__init__()\n        self.scale, self.zero = scale, nn.Parameter(torch.zeros(()))\n"
        "    def forward(self, x):\n"
        "        return torch.cat([imresize(p, self.scale) for p in x.split(1, 1)], 1) + self.zero\n"
    )
    (tmp_path / "bicubic.py").write_text(HEAD + code)
    from idn_data import imresize, score
    from idn_data.images.decode import read_image
    from idn_data.images.variants import modcrop

    method = make_method(load_network(f"{tmp_path / 'bicubic.py'}:Bicubic", 3, 3), "bicubic in colour")
    _, images = evaluate(method, open_set(str(photos), tmp_path), 3, ["y", "rgb"])
    for row in images:
        (path,) = photos.glob(f"{row.image}.*")
        gt = np.ascontiguousarray(modcrop(read_image(path), 3))
        lr = imresize(gt, 1 / 3).astype(np.float64) / 255
        sr = np.round(np.clip(imresize(lr, 3), 0, 1) * 255).astype(np.uint8)
        wanted = score(sr, gt, 3, row.protocol)
        assert abs(row.psnr - wanted[0]) < 2e-3, row


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(w) for w in words])
    return done.exit_code, done.output


def test_from_the_command_line(net: str, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained, gone on with, scored, enlarged, compared, averaged, reported."""
    monkeypatch.chdir(tmp_path)
    assert run("make-train", "--scale", 4, "--images", photos, "--out", "a.h5", "--quiet")[0] == 0
    words = ["train", "--data", "a.h5", "--network", "net.py:Net", "--preset", "express", "--batch", 4, "--quiet",
             "--precision", "float32", "--validate-set", photos, "--steps", 6]  # fmt: skip
    code, printed = run(*words)
    assert code == 0, printed
    assert "net.py:Net x4, pretrain: " in printed
    weights = Path("runs/Net_pretrain_x4/final.safetensors")
    assert printed.strip().endswith(str(weights)) and weights.is_file()
    assert run(*words) == (0, printed)
    for command in (
        ["evaluate", weights, "bicubic", "--scale", 4, "--set", photos],
        ["upscale", photos / "street.png", "--weights", weights, "--out", "sr.png"],
        ["compare", photos / "street.png", "--scale", 4, "--box", 10, 10, 60, 60, "--weights", weights],
        ["average", weights, weights.with_name("last.safetensors"), "--out", "mean.safetensors"],
        ["report", weights.parent, "--set", photos],
        ["export-onnx", weights, "--out", "net.onnx"],
    ):
        code, printed = run(*command)
        assert code == 1 and "weights of network net.py:Net; give --network FILE.py:NAME" in printed, printed
        code, printed = run(*command, "--network", "net.py:Net")
        assert code == 0, printed
    with Image.open("sr.png") as picture:
        assert picture.size == (4 * 122, 4 * 131)


def test_in_colour_from_pictures(net: str, tmp_path: Path, photos: Path) -> None:
    """At ×5, for which there are no patch files; validated in the protocol y."""
    words = ["--network", net, "--channels", 3, "--scale", 5, "--images", photos, "--lr-patch", 5, "--steps", 3]
    more = ["--batch", 4, "--precision", "float32", "--validate-set", photos, "--quiet", "--out", tmp_path / "run"]
    code, printed = run("train", *words, *more)
    assert code == 0 and "net.py:Net RGB x5, pretrain: " in printed, printed
    weights = tmp_path / "run" / "final.safetensors"
    tensors, said = read_tensors(weights)
    assert (said["channels"], said["scale"], tensors["body.0.weight"].shape) == (3, 5, (8, 3, 3, 3))
    code, printed = run("evaluate", weights, "--network", net, "--set", photos, "--json", "-")
    assert code == 0, printed
    (y,) = [row for row in json.loads(printed[printed.index("[") :]) if row["protocol"] == "y"]
    assert abs(y["psnr"] - said["validation_psnr"]) < 1e-3


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["train", "--network", "net.py"], "is not FILE.py:NAME or package.module:NAME"),
        (
            ["train", "--network", "a.py:A", "--reconstruction-std", "0.1"],
            "--reconstruction-std is of IDN's last layer",
        ),
        (["train", "--channels", "3"], "IDN takes Y alone; --channels 3 is for a network of your own: give --network"),
        (["train", "--network", "a.py:A", "--channels", "3"], "patch files and --grid hold Y alone; with --channels 3"),
        (
            ["export-onnx", "a.safetensors", "--out", "b", "--network", "a.py:A", "--half"],
            "--half is for IDN; a network",
        ),
        (
            ["export-onnx", "a.safetensors", "--out", "b", "--network", "a.py:A", "--boundary", "replicate"],
            "--boundary replicate is for IDN; a network",
        ),
        (
            ["upscale", "a.png", "--scale", "4", "--network", "a.py:A"],
            "idn is IDN, not a.py:A; leave out --network, or name its --weights",
        ),
        (["evaluate", "idn", "--network", "espcn"], "is not FILE.py:NAME or package.module:NAME"),
    ],
)
def test_wrong_usage(words: list[str], match: str) -> None:
    code, printed = run(*words)
    assert code == 2 and match in printed


def test_a_scale_that_is_not_the_networks(net: str, tmp_path: Path) -> None:
    """export-onnx wrote a model of the weights' scale all the same."""
    weights, model = tmp_path / "a.safetensors", tmp_path / "a.onnx"
    save_weights(weights, load_network(net, 2))
    (tmp_path / "a.png").touch()
    for words in (["export-onnx", weights, "--out", model], ["upscale", tmp_path / "a.png", "--weights", weights]):
        code, printed = run(*words, "--network", net, "--scale", 4)
        assert code == 2 and f"{weights} is made for scale 2, not 4" in " ".join(printed.split()), printed
    assert not model.exists()


def test_a_mean_of_idns_needs_no_network(net: str, tmp_path: Path) -> None:
    paths, out = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"], tmp_path / "mean.safetensors"
    for path in paths:
        save_weights(path, IDN(4))
    code, printed = run("average", *paths, "--out", out, "--network", net)
    assert code == 2 and "is IDN, not" in printed and "leave out --network" in printed, printed
    assert not out.exists()


def test_a_teacher_is_an_idn(net: str, tmp_path: Path) -> None:
    save_weights(tmp_path / "a.safetensors", load_network(net, 4))
    with pytest.raises(ValueError, match=r"a\.safetensors: weights of network net\.py:Net; a teacher is an IDN$"):
        make_teacher([tmp_path / "a.safetensors"], 4, torch.device("cpu"))
