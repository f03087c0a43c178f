"""Shared fixtures: real data where the environment names it, small pictures of our own everywhere."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from support.drawing import draw_photo

from idn_data.images.sets import find_fixtures

if TYPE_CHECKING:
    from types import ModuleType


NO_DATA = 'IDN_DATA does not name a folder with train_data/291 and test_data/Set5; see README, "Data"'
NO_WEIGHTS = (
    "needs the authors' weights: put IDN_x2, IDN_x3 and IDN_x4.caffemodel of their repository IDN-Caffe in a folder "
    "and set IDN_WEIGHTS to it"
)
NO_MATLAB = 'neither IDN_MATLAB nor a folder matlab beside IDN_DATA holds pictures made by MATLAB; see README, "Data"'

# (name, rows, columns, grey)
PHOTOS = (
    ("harbour.bmp", 120, 97, False),
    ("meadow.jpg", 97, 130, False),
    ("street.png", 131, 122, False),
    ("stone.bmp", 101, 96, True),
    ("water.png", 97, 97, True),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Types first: in a new checkout mypy takes a minute, while the other process compiles the kernels."""
    items.sort(key=lambda item: not item.nodeid.endswith("[mypy]"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU of CUDA, and torch finds none")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The data root with the real sets."""
    root = Path(os.environ.get("IDN_DATA") or "there is none")
    if not ((root / "train_data" / "291").is_dir() and (root / "test_data" / "Set5").is_dir()):
        pytest.skip(NO_DATA)
    return root


@pytest.fixture(scope="session")
def matlab_folder() -> Path:
    """Pictures made by MATLAB beside their inputs."""
    beside = Path(os.environ.get("IDN_DATA") or "there is none") / ".." / "matlab"
    folder = Path(os.environ.get("IDN_MATLAB") or beside)
    if not folder.is_dir():
        pytest.skip(NO_MATLAB)
    return folder


@pytest.fixture(scope="session")
def authors_weights() -> Path:
    """The authors' .caffemodel files: in IDN_WEIGHTS, or in a folder weights beside IDN_DATA."""
    root = os.environ.get("IDN_DATA")
    beside = Path(root).resolve().parent / "weights" if root else Path("there is none")
    folder = Path(os.environ.get("IDN_WEIGHTS") or beside)
    if not (folder / "IDN_x2.caffemodel").is_file():
        pytest.skip(NO_WEIGHTS)
    return folder


@pytest.fixture(scope="session")
def exact() -> ModuleType:
    """``fixtures/make_exact.py``, the oracle in rational arithmetic."""
    spec = importlib.util.spec_from_file_location("make_exact", find_fixtures() / "make_exact.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of five small pictures: BMP, JPEG and PNG, three in colour and two grey; always the same pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, (name, height, width, grey) in enumerate(PHOTOS):
        pixels = draw_photo(height, width, seed)
        Image.fromarray(pixels[:, :, 1] if grey else pixels).save(folder / name)
    return folder
