"""Methods by the names that commands take, and several of them scored on several sets."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from idn_data.scores.benchmark import evaluate, evaluate_sets
from idn_data.scores.methods import BICUBIC, Method
from idn_data.scores.sets import open_set
from idn_train.checkpoint import save_weights
from idn_train.methods import WrongScaleError, open_method, open_methods
from idn_train.network import IDN


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights that come along, for 2 and 4."""
    for scale in (2, 4):
        save_weights(tmp_path / "weights" / f"idn_x{scale}.safetensors", IDN(scale), {"name": "IDN (ours)"})
    monkeypatch.setattr("idn_train.weightfile.WEIGHTS", tmp_path / "weights")
    return tmp_path / "weights"


def test_bicubic_needs_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("idn_train.checkpoint", "idn_train.upscale", "idn_train.network"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert open_method("bicubic") == (BICUBIC, None)
    assert open_methods(["bicubic"]) == [(BICUBIC, (2, 3, 4))]
    assert open_methods(["bicubic"], [4, 2, 4]) == [(BICUBIC, (2, 4))]


def test_a_network_is_called_as_its_file_says_or_as_its_file(shipped: Path, tmp_path: Path) -> None:
    run = tmp_path / "my run"
    save_weights(run / "best.safetensors", IDN(4))
    assert [(m.name, s) for m, s in (open_method("idn", 2), open_method(str(run / "best.safetensors")))] == [
        ("IDN (ours)", 2), ("my run", 4),
    ]  # fmt: skip
    assert open_method("idn", 4, self_ensemble=True)[0].name == "IDN (ours)+"


def test_each_network_has_its_own_scale_and_name(shipped: Path, tmp_path: Path) -> None:
    for name in ("best", "final"):
        save_weights(tmp_path / "run" / f"{name}.safetensors", IDN(4))
    best, final = (str(tmp_path / "run" / f"{name}.safetensors") for name in ("best", "final"))
    opened = [(m.name, scales) for m, scales in open_methods(["idn", best, final, final])]
    assert opened == [("IDN (ours)", (2,)), ("IDN (ours)", (4,)), ("run", (4,)), ("run final", (4,)),
                      ("run final (5)", (4,))]  # fmt: skip
    assert [s for _, s in open_methods(["idn", best], [4])] == [(4,), (4,)]
    with pytest.raises(WrongScaleError, match=r"^run is made for scale 4 alone$"):
        open_methods([best], [2, 4])


def test_sets_are_scored_one_after_the_other_and_their_pictures_saved(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(photos / "stone.bmp", other / "pebble.bmp")
    sets = [open_set(str(folder), tmp_path) for folder in (photos, other)]
    black = Method("black", lambda lr, s: np.zeros((s * lr.shape[0], s * lr.shape[1])))
    methods = [(BICUBIC, (2, 3)), (black, (3,))]
    scores, images = evaluate_sets(methods, sets, ["float"], save_to=tmp_path / "sr")
    each = [("bicubic", 2), ("bicubic", 3), ("black", 3)]
    assert [(s.set, s.method, s.scale) for s in scores] == [
        (name, *one) for name in ("photos", "other") for one in each
    ]
    assert scores[1] == evaluate(BICUBIC, sets[0], 3, ["float"])[0][0]
    assert len(images) == 3 * 6
    assert len(list((tmp_path / "sr").iterdir())) == 3 * 6
    shutil.copy(photos / "stone.bmp", other / "stone.bmp")
    sets[1] = open_set(str(other), tmp_path)
    with pytest.raises(ValueError, match=r"two pictures would be called .*x2_bicubic\.png; save those of each set to"):
        evaluate_sets(methods, sets, ["float"], save_to=tmp_path / "sr2", force=True)
    assert not (tmp_path / "sr2").exists()


def test_a_picture_that_is_there_is_found_before_the_work(photos: Path, tmp_path: Path) -> None:
    def work(lr: object, scale: int) -> None:
        pytest.fail("the method ran")

    test_set = open_set(str(photos), tmp_path)
    (tmp_path / "water_x3_slow.png").touch()  # of the last picture
    with pytest.raises(FileExistsError, match=r"water_x3_slow\.png exists already"):
        evaluate_sets([(Method("slow", work), (3,))], [test_set], save_to=tmp_path)  # type: ignore[arg-type]  # never runs


@pytest.mark.parametrize(
    ("registered", "mat", "origin"),
    [(True, False, "the authors' files"), (False, True, ".mat files"), (False, False, "not the authors' files")],
)
def test_a_set_says_where_it_is_from(photos: Path, registered: bool, mat: bool, origin: str) -> None:
    from idn_data.scores.sets import TestSet

    assert TestSet("a", photos, "0123456789abcdef", registered, mat, ()).describe() == f"a 0123456789ab ({origin})"
