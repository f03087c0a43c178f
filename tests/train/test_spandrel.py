"""IDN in spandrel: found by its keys, and the same pictures as `idn upscale`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.drawing import draw_photo

from idn_train.network import IDN
from idn_train.upscale import upscale_photo
from idn_train.weightfile import find_weights, read_weights

spandrel = pytest.importorskip("spandrel", reason="spandrel is not installed: pip install -e '.[spandrel]'")

from idn_train.spandrel import SCALE_KEY, ColourIDN, convert_weights, install  # noqa: E402 (it imports spandrel)


@pytest.fixture
def registry() -> object:
    """All of spandrel's architectures, in a registry of our own."""
    return spandrel.MAIN_REGISTRY.copy()


def upscale(network: IDN, rgb: np.ndarray, folder: Path) -> np.ndarray:
    Image.fromarray(rgb).save(folder / "a.png")
    upscale_photo(network, folder / "a.png", folder / "b.png", force=True)
    return np.asarray(Image.open(folder / "b.png")).astype(int)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("carried", [False, True])
def test_weights_are_found_by_their_keys(registry: object, tmp_path: Path, scale: int, carried: bool) -> None:
    path = find_weights("idn", scale)
    if carried:
        convert_weights(path, tmp_path / "carried.safetensors")
        path = tmp_path / "carried.safetensors"
    install(None if carried else scale, registry)
    model = spandrel.ModelLoader(registry=registry).load_from_file(path)
    assert isinstance(model, spandrel.ImageModelDescriptor) and isinstance(model.model, ColourIDN)
    assert (model.architecture.id, model.scale, model.purpose) == ("IDN", scale, "SR")
    assert (model.input_channels, model.output_channels) == (3, 3)
    for height, width in ((17, 24), (1, 7), (2, 1)):
        rgb = draw_photo(height, width, scale)
        wanted = upscale(IDN.from_pretrained(scale), rgb, tmp_path)
        sr = model(torch.from_numpy(rgb / np.float32(255)).permute(2, 0, 1)[None])
        assert sr.shape == (1, 3, scale * height, scale * width)
        found = np.floor(sr[0].permute(1, 2, 0).double().numpy() * 255 + 0.5)
        assert np.abs(found - wanted).max() <= 1 and (found != wanted).mean() < 1e-3


def test_half_precision_is_within_one_step(tmp_path: Path) -> None:
    install(2)  # where every loader looks
    model = spandrel.ModelLoader().load_from_file(find_weights("idn", 2)).half()
    rgb = draw_photo(15, 20, 1)
    sr = model(torch.from_numpy(rgb / np.float32(255)).permute(2, 0, 1)[None].half())
    assert sr.dtype == torch.float16
    found = np.floor(sr[0].permute(1, 2, 0).double().numpy() * 255 + 0.5)
    assert np.abs(found - upscale(IDN.from_pretrained(2), rgb, tmp_path)).max() <= 1
    with pytest.raises(spandrel.UnsupportedDtypeError):
        model.bfloat16()


def test_the_scale_must_come_from_somewhere(registry: object, tmp_path: Path) -> None:
    install(registry=registry)
    with pytest.raises(ValueError, match=r"the same shapes at every scale: name it, install\(scale=4\), or write"):
        spandrel.ModelLoader(registry=registry).load_from_file(find_weights("idn", 4))
    for scale in (3, 4):  # the last one holds
        install(scale, registry)
        assert spandrel.ModelLoader(registry=registry).load_from_file(find_weights("idn", 4)).scale == scale
    with pytest.raises(ValueError, match="scale must be one of 2, 3, 4; got 8"):
        install(8, registry)
    convert_weights(find_weights("idn", 2), tmp_path / "a.safetensors")
    assert spandrel.ModelLoader(registry=registry).load_from_file(tmp_path / "a.safetensors").scale == 2  # its own
    with pytest.raises(FileExistsError, match=r"a\.safetensors exists already"):
        convert_weights(find_weights("idn", 2), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="not a weight file of idn"):
        read_weights(tmp_path / "a.safetensors")


def test_other_weights_are_not_taken_for_ours(registry: object) -> None:
    install(4, registry)
    state = IDN(4).state_dict()
    for spoilt in (
        {**state, "more": torch.zeros(1)},
        {**state, "upsample.bias": torch.zeros(3)},
        {name: values for name, values in state.items() if name != "features.0.bias"},
    ):
        assert not registry.get("IDN").detect(spoilt)  # type: ignore[attr-defined]  # a registry it is
    assert registry.get("IDN").detect({**state, SCALE_KEY: torch.tensor(4)})  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"ColourIDN takes RGB as \(N, 3, h, w\), not empty; got \(1, 1, 4, 4\)"):
        ColourIDN(2)(torch.zeros(1, 1, 4, 4))
