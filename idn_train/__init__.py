"""IDN in PyTorch: the network, its weights and its training.

The names below are imported on first use, so that ``import idn_train`` does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idn_train.checkpoint import load_caffemodel as load_caffemodel
    from idn_train.checkpoint import load_weights as load_weights
    from idn_train.checkpoint import save_weights as save_weights
    from idn_train.network import IDN as IDN
    from idn_train.tensors import imresize as imresize

_MODULES = {
    "IDN": "network",
    "imresize": "tensors",
    "load_caffemodel": "checkpoint",
    "load_weights": "checkpoint",
    "save_weights": "checkpoint",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'idn_train' has no attribute {name!r}")
    return getattr(import_module(f"idn_train.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
