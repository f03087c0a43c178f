"""idn_train.owncode: which code a network is, where files of one name lie in several folders, and what they import."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import sys
from pathlib import Path

import pytest
import torch

from idn_train.checkpoint import average_weights, load_weights, save_weights
from idn_train.owncode import NetworkError, digest_code, digest_spec
from idn_train.ownnetwork import OwnNetwork, load_network

NET = """
import torch
from torch import nn
{imports}

class Net(nn.Module):
    def __init__(self, scale):
        super().__init__()
        {late}
        self.block = Block(scale)
        self.up = nn.PixelShuffle(scale)

    def forward(self, lr):
        {later}
        return self.up(self.block(lr))
"""
BLOCK = """
from torch import nn

class Block(nn.Conv2d):
    def __init__(self, scale):
        super().__init__(1, scale**2, {kernel}, padding={kernel} // 2)

    def forward(self, x):
        return {sign} * super().forward(x)
"""


def write_net(folder: Path, kernel: int = 3, place: str = "blocks.py", **given: str) -> str:
    """A network of which a part lies in a file beside it; its spec."""
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).write_text(BLOCK.format(kernel=kernel, sign=kernel))
    dotted = place.removesuffix(".py").replace("/", ".")
    parts = {"imports": f"from {dotted} import Block", "late": "", "later": "", **given}
    (folder / "net.py").write_text(NET.format(**parts))
    return f"{folder / 'net.py'}:Net"


def get_kernel(network: object) -> int:
    assert isinstance(network, OwnNetwork)
    return int(network.body.block.weight.shape[-1])


@pytest.mark.parametrize("place", ["blocks.py", "models/blocks.py"])
def test_each_file_has_the_modules_beside_it(tmp_path: Path, place: str) -> None:
    specs = [write_net(tmp_path / f"v{k}", k, place) for k in (1, 3, 5)]
    before = set(sys.modules)
    assert [get_kernel(load_network(spec, 2)) for spec in (*specs, *specs)] == [1, 3, 5, 1, 3, 5]
    assert not {"blocks", "models", "models.blocks"} & sys.modules.keys()
    assert all(name.startswith("idn_own_net_") for name in set(sys.modules) - before)


def test_a_module_from_elsewhere_gives_way_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blocks.py").write_text("raise AssertionError\n")
    other = type(sys)("blocks")
    monkeypatch.setitem(sys.modules, "blocks", other)
    assert get_kernel(load_network(write_net(tmp_path / "v1", 5), 2)) == 5
    assert sys.modules["blocks"] is other


def test_what_is_imported_already_from_the_same_folder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as idn's own modules, for a network in the root of its repository."""
    spec = write_net(tmp_path, 3)
    monkeypatch.syspath_prepend(str(tmp_path))
    there = importlib.import_module("blocks")
    try:
        network = load_network(spec, 2)
        assert sys.modules["blocks"] is there and type(network.body.block) is there.Block
    finally:
        del sys.modules["blocks"]


def test_a_changed_module_beside_is_run_anew(tmp_path: Path) -> None:
    assert get_kernel(load_network(write_net(tmp_path, 3), 2)) == 3
    assert get_kernel(load_network(write_net(tmp_path, 5, late="pass  # so that sizes differ"), 2)) == 5
    (tmp_path / "blocks.py").write_text("# as another size\n" + BLOCK.format(kernel=1, sign=1))
    assert get_kernel(load_network(f"{tmp_path / 'net.py'}:Net", 2)) == 1


def test_imports_at_the_start_and_in_the_constructor_but_not_in_forward(tmp_path: Path) -> None:
    late = {"imports": "", "late": "from blocks import Block"}
    specs = [write_net(tmp_path / f"v{k}", k, **late) for k in (1, 3)]
    assert [get_kernel(load_network(spec, 2)) for spec in (*specs, *specs)] == [1, 3, 1, 3]
    spec = write_net(tmp_path / "v5", 5, later="from blocks import Block")
    with pytest.raises(
        NetworkError, match=r"net\.py:Net: it cannot compute: line 14: ModuleNotFoundError: No module n"
    ):
        load_network(spec, 2)


def test_modules_beside_are_found_by_their_new_names(tmp_path: Path) -> None:
    """By torch.compile, which imports the modules of what it inlines; by pickle; and by relative imports later on."""
    folder = tmp_path / "v1"
    spec = write_net(folder, 3, "kit/blocks.py")
    (folder / "kit" / "__init__.py").write_text("")
    (folder / "kit" / "more.py").write_text("WIDTH = 7\n")
    with (folder / "kit" / "blocks.py").open("a") as stream:
        stream.write("\n\ndef read():\n    from .more import WIDTH\n    return WIDTH\n")
    network = load_network(spec, 2)
    block = type(network.body.block)
    module = sys.modules[block.__module__]
    assert module.__name__.endswith(".kit.blocks") and module.Block is block and module.read() == 7
    assert isinstance(pickle.loads(pickle.dumps(network.body.block)), block)
    other = load_network(write_net(tmp_path / "v2", 5, "kit/blocks.py"), 2)
    lr = torch.rand(1, 1, 6, 7)
    for each in (network, other):
        compiled = torch.compile(each, backend="eager", fullgraph=True)
        assert torch.equal(compiled(lr), each(lr))


def test_weights_are_of_the_code_that_made_them(tmp_path: Path) -> None:
    first, second = (write_net(tmp_path / name, 3, late=late) for name, late in (("v1", ""), ("v2", "pass")))
    paths = [tmp_path / f"{k}.safetensors" for k in range(2)]
    for path, spec in zip(paths, (first, second), strict=True):
        save_weights(path, load_network(spec, 2))
    for networks in ([first, second], [second, first]):
        for path, folder in zip(paths, ("v1", "v2"), strict=True):
            network, _ = load_weights(path, networks)
            assert isinstance(network, OwnNetwork) and network.file.parent.name == folder
    with pytest.raises(
        ValueError, match=r"1\.safetensors: weights of another net\.py:Net, 1 channels than .*0\.safete"
    ):
        average_weights(paths, [first, second])
    (tmp_path / "v1" / "blocks.py").write_text(BLOCK.format(kernel=3, sign=4))
    with pytest.raises(
        ValueError, match=r"none of .*v1/net\.py:Net, .*v2/net\.py:Net is the code that made .*; give one"
    ):
        load_weights(paths[0], [first, second])
    assert load_weights(paths[0], [first, first])[1]["network"] == "net.py:Net"  # one, though named twice
    with pytest.raises(NetworkError, match=r"v3/net\.py: no such file; --network names the file of a network"):
        load_weights(paths[0], [first, str(tmp_path / "v3" / "net.py:Net")])


@pytest.mark.parametrize(
    ("imports", "counts"),
    [
        ("from models.blocks import Block", {"models/blocks.py", "helper.py"}),
        ("import models.blocks", {"models/blocks.py", "helper.py"}),
        ("from models import blocks", {"models/blocks.py", "helper.py"}),
        ("from models import deep\nfrom models.deep import layers", {"models/deep/layers.py", "helper.py"}),
        ("import kit", {"kit/__init__.py", "kit/part.py", "kit/broken.py", "helper.py"}),
        ("from kit.part import *", {"kit/__init__.py", "kit/part.py", "kit/broken.py", "helper.py"}),
        ("import torch, models, os.path", set()),
    ],
)
def test_all_that_is_imported_from_beside_counts(tmp_path: Path, imports: str, counts: set[str]) -> None:
    """Also of a folder without __init__.py; what is no Python and never imported counts by its bytes alone."""
    for name, code in (
        ("net.py", imports), ("models/blocks.py", "import helper"), ("models/deep/layers.py", "from ...net import a\n"
         "from .beside import a\nimport helper"), ("helper.py", "import net"), ("kit/__init__.py", ""),
        ("kit/part.py", "from helper import WIDTH\nfrom . import part\n"), ("kit/broken.py", "print 'Python 2'\n"),
        ("unused.py", ""),
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
    whole = digest_code(tmp_path / "net.py")
    for path in sorted(tmp_path.rglob("*.py")):
        before = path.read_bytes()
        path.write_bytes(before + b"\n# changed\n")
        name = path.relative_to(tmp_path).as_posix()
        assert (digest_code(tmp_path / "net.py") != whole) == (name in {"net.py", *counts}), name
        path.write_bytes(before)


def test_the_digest_of_a_file_alone(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_bytes(b"import os\n")
    assert digest_code(tmp_path / "net.py") == hashlib.sha256(b"import os\n").hexdigest()
    assert digest_spec(f"{tmp_path / 'net.py'}:Net") == digest_code(tmp_path / "net.py")
    (tmp_path / "net.py").write_bytes(b"'\\d'\0")
    assert digest_code(tmp_path / "net.py") == hashlib.sha256(b"'\\d'\0").hexdigest()
