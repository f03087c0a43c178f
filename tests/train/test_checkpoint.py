"""idn_train.checkpoint: weight files, those that come along, and the authors' own."""

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save
from support.caffefiles import draw_blobs, encode_net
from torch import Tensor
from torch.nn import functional

from idn_data import imresize
from idn_data.scores.benchmark import evaluate
from idn_data.scores.sets import open_set
from idn_train import IDN
from idn_train.checkpoint import average_weights, load_caffemodel, load_weights, save_weights
from idn_train.upscale import make_method
from idn_train.weightfile import find_weights, list_shipped

# Of a trial with these weights and replicated edges, as R2013b had them; published 37.83/0.9600, 34.11/0.9253,
# 31.82/0.8903.
SET5 = {2: (37.8296, 0.9600), 3: (34.1144, 0.9253), 4: (31.8105, 0.8902)}


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


def test_the_mean_of_weights(tmp_path, network):
    """Of three files, number by number; and it says what went in."""
    others = [IDN(3), IDN(3)]
    paths = [tmp_path / f"{name}.safetensors" for name in "abc"]
    for path, one in zip(paths, (network, *others), strict=True):
        save_weights(path, one, {"recipe": {"seed": path.stem}})
    mean, metadata = average_weights(paths)
    for name, tensor in mean.state_dict().items():
        three = np.stack([one.state_dict()[name].numpy() for one in (network, *others)])
        assert np.array_equal(tensor.numpy(), three.astype(np.float64).mean(0).astype(np.float32))
    assert [(m["file"], m["recipe"]["seed"]) for m in metadata["mean_of"]] == [(f"{n}.safetensors", n) for n in "abc"]
    assert all(len(m["sha256"]) == 64 for m in metadata["mean_of"])
    save_weights(tmp_path / "mean.safetensors", mean, metadata)
    assert load_weights(tmp_path / "mean.safetensors")[1] == {**metadata, "format": 1, "scale": 3}
    same, _ = average_weights([paths[0], paths[0]])
    assert all(torch.equal(t, network.state_dict()[name]) for name, t in same.state_dict().items())


def test_a_mean_of_what_does_not_fit(tmp_path, network):
    save_weights(tmp_path / "a.safetensors", network)
    save_weights(tmp_path / "b.safetensors", IDN(2))
    with pytest.raises(ValueError, match="takes two weight files or more; got 1; name another"):
        average_weights([tmp_path / "a.safetensors"])
    with pytest.raises(ValueError, match=r"b\.safetensors: made for scale 2, not 3 as .*a\.safetensors; average one"):
        average_weights([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])


OTHER = "not a safetensors file; use one that 'idn train' or 'idn import-caffe' wrote"


def test_missing_file(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"none\.safetensors: no such file; 'idn train' makes weights"):
        load_weights(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match=rf"^{tmp_path}: a folder; name a file in it$"):
        load_weights(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(ValueError, match=r"w\.safetensors: no permission to read it; ask its owner, or copy it$"):
        load_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty; copy it or make it again"),
        (b"hello", OTHER),
        (b"<!DOCTYPE html><html>no such page</html>", OTHER),
        (b"\x80\x02}q\0.", "a pickle of PyTorch, which idn never loads; save its tensors as .safetensors"),
        (b"PK\3\4" + bytes(40), "a pickle of PyTorch, which idn never loads; save its tensors as .safetensors"),
        (b"\x0a\x04DPFN" + bytes(40), OTHER),
        (struct.pack("<Q", 400)[:5], "cut off: 5 of 408 bytes; copy it or make it again"),
        (struct.pack("<Q", 400) + b'{"a":', "cut off: 13 of 408 bytes; copy it or make it again"),
        (struct.pack("<Q", 3) + b"{,}" + bytes(9), "damaged (Expecting property name enclosed in double quotes"),
        (
            struct.pack("<Q", 2) + b"{}",
            "not a weight file of idn; use one that 'idn train' or 'idn import-caffe' wrote",
        ),
    ],
)
def test_each_failure_has_its_message(tmp_path, content, said):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"w\.safetensors: {re.escape(said)}"):
        load_weights(path)


def test_truncated(tmp_path, network):
    path = tmp_path / "w.safetensors"
    save_weights(path, network)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 3000, 100):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"cut off: {size:,} of [0-9,]+ bytes; copy it or make it again$"):
            load_weights(path)


def test_damaged_in_its_head(tmp_path, network):
    path = tmp_path / "w.safetensors"
    save_weights(path, network)
    for old, new in ((b'"F32"', b'"F3\xff"'), (b'"F32"', b'"F33"'), (b"[0,", b"[9,")):
        data = path.read_bytes()
        assert old in data
        (tmp_path / "a.safetensors").write_bytes(data.replace(old, new, 1))
        with pytest.raises(ValueError, match=r"a\.safetensors: damaged \(.*\); copy it or make it again$"):
            load_weights(tmp_path / "a.safetensors")


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
        r"upsample\.bias float16 is not float32": {**good, "upsample.bias": torch.zeros(1).half()},
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


# ---- weights that come along


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """A folder of weights for 2 and 4, and none for 3."""
    folder = tmp_path / "weights"
    for scale in (2, 4):
        network = IDN(scale)
        network.reset_parameters(torch.Generator().manual_seed(scale))
        save_weights(folder / f"idn_x{scale}.safetensors", network, {"name": "IDN (ours)"})
    monkeypatch.setattr("idn_train.weightfile.WEIGHTS", folder)
    return folder


def test_idn_is_the_file_of_its_scale_and_all_else_a_path(shipped):
    assert list_shipped() == [2, 4]
    assert find_weights("idn", 2) == shipped / "idn_x2.safetensors"
    assert find_weights("idn", 4) == shipped / "idn_x4.safetensors"
    for path in ("idn.safetensors", "a/idn", Path("b")):
        assert find_weights(path) == find_weights(path, 4) == Path(path)


def test_from_pretrained_takes_a_scale(shipped):
    for scale in (2, 4):
        expected = load_weights(shipped / f"idn_x{scale}.safetensors")[0].state_dict()
        network = IDN.from_pretrained(scale)
        assert network.scale == scale and not network.training
        assert all(torch.equal(t, expected[name]) for name, t in network.state_dict().items())
    with pytest.raises(ValueError, match="no weights of scale 3 come along"):
        IDN.from_pretrained(3)


def test_weights_that_do_not_come_along(shipped):
    with pytest.raises(ValueError, match="idn is a network for each scale: give --scale, one of 2, 3, 4"):
        find_weights("idn")
    with pytest.raises(ValueError, match="give --scale, one of 2, 3, 4"):
        find_weights("idn", 5)
    train = "make them with: idn train --scale 3 --preset express"
    with pytest.raises(ValueError, match=rf"no weights of scale 3 come along \(there are: 2, 4\); {train}"):
        find_weights("idn", 3)
    for path in shipped.iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=rf"no weights of scale 3 come along \(there are: none\); {train}"):
        find_weights("idn", 3)


def test_what_comes_along_can_be_loaded():
    """Whichever of the files are in this installation."""
    for scale in list_shipped():
        network, metadata = load_weights(find_weights("idn", scale))
        assert network.scale == metadata["scale"] == scale
        assert metadata["name"] == "IDN (ours)"


# ---- the authors' weights


def run_as_caffe(layers: dict[str, tuple[np.ndarray, ...]], lr: Tensor, scale: int) -> Tensor:
    """The authors' network layer by layer under their names; its output begins at SR pixel (s - 1, s - 1)."""
    blobs = {name: [torch.from_numpy(array) for array in arrays] for name, arrays in layers.items()}

    def conv(name: str, x: Tensor, groups: int = 1) -> Tensor:
        weight, bias = blobs[name]
        x = functional.conv2d(x, weight, bias, padding=weight.shape[3] // 2, groups=groups)
        return functional.leaky_relu(x, 0.05)

    x = conv("conv2", conv("conv1", lr))
    for n, down in ((3, "down1"), (4, "down2"), (5, "down3"), (6, "down4")):
        y = conv(f"conv{n}_3", conv(f"conv{n}_2", conv(f"conv{n}_1", x), groups=4))
        z = conv(f"conv{n}_6", conv(f"conv{n}_5", conv(f"conv{n}_4", y[:, 16:]), groups=4))
        x = conv(down, torch.cat((x, y[:, :16]), dim=1) + z)
    return functional.conv_transpose2d(x, *blobs["upsample"], stride=scale, padding=8)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_computes_what_the_caffe_network_does(tmp_path, scale, legacy):
    path, blobs = tmp_path / "idn.caffemodel", draw_blobs()
    path.write_bytes(encode_net(blobs, stride=scale, legacy=legacy))
    network = load_caffemodel(path)
    assert network.scale == scale and not network.training
    lr = torch.rand(1, 1, 9, 14, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        sr = network(lr)[:, :, scale - 1 :, scale - 1 :]
        residual = run_as_caffe(blobs, lr, scale)
    bicubic = torch.from_numpy(imresize(lr[0, 0].double().numpy(), scale))[scale - 1 :, scale - 1 :]
    assert residual.std() > 0.1
    torch.testing.assert_close(sr[0, 0], residual[0, 0] + bicubic.float(), rtol=1e-5, atol=1e-5)


def test_scale_can_be_given_where_the_caffemodel_has_none(tmp_path):
    path = tmp_path / "idn.caffemodel"
    path.write_bytes(encode_net(draw_blobs(), stride=None))
    assert load_caffemodel(path, scale=4).scale == 4
    with pytest.raises(ValueError, match=r"idn\.caffemodel: does not say its scale; give it, one of 2, 3, 4"):
        load_caffemodel(path)
    with pytest.raises(ValueError, match="scale must be one of 2, 3, 4; got 5"):
        load_caffemodel(path, scale=5)


def test_another_scale_than_the_caffemodel_has(tmp_path):
    path = tmp_path / "idn.caffemodel"
    path.write_bytes(encode_net(draw_blobs(), stride=3))
    assert load_caffemodel(path, scale=3).scale == 3
    with pytest.raises(ValueError, match="made for scale 3, not 2; name the file of the scale you want"):
        load_caffemodel(path, scale=2)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_authors_weights_reproduce_the_paper(authors_weights, data_root, scale):
    network = load_caffemodel(authors_weights / f"IDN_x{scale}.caffemodel")
    assert network.scale == scale
    scores, images = evaluate(make_method(network, "IDN"), open_set("Set5", data_root), scale, ["uint8"])
    assert len(images) == 5
    assert scores[0].psnr == pytest.approx(SET5[scale][0], abs=0.0002)
    assert scores[0].ssim == pytest.approx(SET5[scale][1], abs=0.0001)
