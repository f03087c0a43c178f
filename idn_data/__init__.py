"""Exact MATLAB resizing, IDN patch files, test sets and scores.

    from idn_data import imresize, rgb2ycbcr, psnr, ssim, PatchFile

Nothing is imported before it is asked for, so that ``idn --help`` is quick.
"""

from __future__ import annotations

from importlib import import_module

_HOME = {
    "imresize": "resize",
    "METHODS": "resize",
    "rgb2ycbcr": "color",
    "rgb2y": "color",
    "ycbcr2rgb": "color",
    "im2double": "color",
    "im2uint8": "color",
    "psnr": "quality",
    "ssim": "quality",
    "shave": "quality",
    "score": "quality",
    "read_image": "images",
    "read_y": "images",
    "modcrop": "images",
    "make_variants": "images",
    "make_pair": "images",
    "Recipe": "recipe",
    "Plan": "patches",
    "PatchFile": "patchfile",
    "PatchDataset": "dataset",
    "plan_train": "trainset",
    "make_train": "trainset",
    "make_test": "testset",
    "make_test_pair": "testset",
    "Method": "benchmark",
    "evaluate": "benchmark",
    "open_set": "benchmark",
    "draw_figure": "figure",
    "read_photo": "photos",
    "read_caffemodel": "caffe",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(f"idn_data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'idn_data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
