"""idn_train.checkpoint: weight files."""

import json
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save

from idn_train import IDN
from idn_train.checkpoint import load_weights, save_weights


@pytest.fixture
def network() -> IDN:
    network = IDN(3)
    network.reset_parameters(torch.Generator().manual_seed(0))
    return network


def write(path, tensors, **metadata):
    text = json.dumps({"format": 1, "scale": 3, **metadata})
    path.write_bytes(save({n: t.contiguous() for n, t in tensors.items()}, {"idn": text}))


def test_round_trip(tmp_path, network):
    path = tmp_path / "runs" / "idn_x3.safetensors"
    metadata = {"recipe": "pretrain", "data": "sha256:0123", "scores": {"Set5": [34.1, 0.9253]}}
    save_weights(path, network, metadata)
    loaded, found = load_weights(path)
    assert found == {**metadata, "format": 1, "scale": 3}
    assert loaded.scale == 3 and not loaded.training
    expected = network.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(t, expected[name]) for name, t in loaded.state_dict().items())
    assert all(p.requires_grad for p in loaded.parameters())
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    lr = torch.rand(1, 1, 8, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(IDN.from_pretrained(path)(lr), network(lr))


def test_a_file_holds_the_parameters_and_nothing_else(tmp_path, network):
    path = tmp_path / "w.safetensors"
    save_weights(path, network)
    with safe_open(path, framework="pt") as file:
        assert sorted(file.keys()) == sorted(name for name, _ in network.named_parameters())
        assert list(file.metadata()) == ["idn"]


def test_same_weights_same_bytes(tmp_path, network):
    for name, order in (("a", range(12)), ("b", reversed(range(12)))):
        save_weights(tmp_path / name, network, {f"key {i}": i for i in order})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_existing_file_is_replaced_only_by_force(tmp_path, network):
    path = tmp_path / "w.safetensors"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"w\.safetensors exists already"):
        save_weights(path, network)
    assert path.read_text() == "mine"
    save_weights(path, network, force=True)
    assert load_weights(path)[0].scale == 3


def test_weights_that_are_not_finite_are_not_saved(tmp_path, network):
    path = tmp_path / "w.safetensors"
    save_weights(path, network)
    before = path.read_bytes()
    with torch.no_grad():
        network.blocks[1].enhance2[0].weight[3, 2, 1, 0] = float("nan")
    with pytest.raises(ValueError, match=r"blocks\.1\.enhance2\.0\.weight holds NaN or infinity"):
        save_weights(path, network, force=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("metadata", "message"),
    [({"scale": 2}, "must not set scale"), ({"score": float("nan")}, "is not JSON"), ({"x": {1, 2}}, "is not JSON")],
)
def test_bad_metadata(tmp_path, network, metadata, message):
    with pytest.raises(ValueError, match=f"metadata {message}.*; "):
        save_weights(tmp_path / "w", network, metadata)
    assert not list(tmp_path.iterdir())


def test_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors: no such file; 'idn train' makes weights"):
        load_weights(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="no such file"):
        load_weights(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x80\x04.", struct.pack("<Q", 1 << 60) + b"{}", struct.pack("<Q", 2) + b"{}" + bytes(9)],
)
def test_not_safetensors(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"w\.safetensors: not a (safetensors file, or damaged|weight file of idn).*; "
    ):
        load_weights(path)


def test_truncated(tmp_path, network):
    path = tmp_path / "w.safetensors"
    save_weights(path, network)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"not a safetensors file, or damaged .*; copy or make it again"):
        load_weights(path)


def test_wrong_tensors(tmp_path, network):
    path = tmp_path / "w.safetensors"
    good = network.state_dict()
    cases = {
        "'upsample.bias' has shape none: it is missing": {n: t for n, t in good.items() if n != "upsample.bias"},
        "'extra' has shape \\[2\\], IDN's is none": {**good, "extra": torch.zeros(2)},
        r"'upsample\.weight' has shape \[64, 1, 9, 9\], IDN's is \[64, 1, 17, 17\]": {
            **good,
            "upsample.weight": torch.zeros(64, 1, 9, 9),
        },
        r"upsample\.bias torch\.float16 is not float32": {**good, "upsample.bias": torch.zeros(1).half()},
        r"features\.0\.bias holds NaN": {**good, "features.0.bias": torch.full((64,), torch.nan)},
    }
    for message, tensors in cases.items():
        write(path, tensors)
        with pytest.raises(ValueError, match=f"{message}.*; "):
            load_weights(path)


def test_wrong_metadata_in_a_file(tmp_path, network):
    path = tmp_path / "w.safetensors"
    for message, metadata in {
        "weight format 2, this version reads 1; install": {"format": 2},
        "scale 8 is none of 2, 3, 4; make": {"scale": 8},
        "scale 3.0 is none of": {"scale": 3.0},
    }.items():
        write(path, network.state_dict(), **metadata)
        with pytest.raises(ValueError, match=message):
            load_weights(path)
    for text in ("", "[]", "3", "{}", "[" * 100_000):
        path.write_bytes(save({"a": torch.zeros(1)}, {"idn": text}))
        with pytest.raises(ValueError, match="not a weight file of idn; use one"):
            load_weights(path)
    path.write_bytes(save({"a": torch.zeros(1)}))
    with pytest.raises(ValueError, match="not a weight file of idn; use one"):
        load_weights(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 6000), value=st.binary(min_size=1, max_size=6))
def test_damage_anywhere_in_the_header_is_one_line_or_harmless(tmp_path, network, place, value):
    path, whole = tmp_path / "w.safetensors", tmp_path / "whole.safetensors"
    if not whole.exists():
        save_weights(whole, network)
    content = bytearray(whole.read_bytes())
    content[place : place + len(value)] = value
    path.write_bytes(content)
    try:
        loaded, _ = load_weights(path)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 (most damage raises, some is harmless)
    else:
        assert all(t.isfinite().all() for t in loaded.state_dict().values())
