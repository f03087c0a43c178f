"""Exact MATLAB resizing, IDN patch files, test sets and scores.

    from idn_data import imresize, rgb2ycbcr, psnr, ssim, PatchFile

Nothing is imported before it is asked for, so that ``idn --help`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

_ROOMS = {
    "idn_data.matlab.resize": ("imresize",),
    "idn_data.matlab.weights": ("compute_weights", "METHODS", "BOUNDARIES", "Boundary"),
    "idn_data.matlab.classes": ("im2double", "im2single", "im2uint8", "im2uint16"),
    "idn_data.matlab.color": ("rgb2ycbcr", "rgb2y", "ycbcr2rgb", "rgb2gray"),
    "idn_data.matlab.filters": ("imfilter", "fspecial"),
    "idn_data.matlab.quality": ("psnr", "ssim", "ssim_map"),
    "idn_data.scores.protocols": ("shave", "score"),
    "idn_data.images.decode": ("read_image", "read_y"),
    "idn_data.images.variants": ("modcrop", "make_variants", "make_pair"),
    "idn_data.patches.recipe": ("Recipe",),
    "idn_data.patches.plan": ("Plan",),
    "idn_data.patches.patchfile": ("PatchFile",),
    "idn_train.dataset": ("PatchDataset",),
    "idn_data.patches.trainplan": ("plan_train",),
    "idn_data.patches.trainset": ("make_train",),
    "idn_data.scores.maketest": ("make_test",),
    "idn_data.scores.testset": ("make_test_pair",),
    "idn_data.scores.methods": ("Method",),
    "idn_data.scores.benchmark": ("evaluate",),
    "idn_data.scores.sets": ("open_set",),
    "idn_data.scores.scoring": ("score_pictures",),
    "idn_data.scores.figure": ("draw_figure",),
    "idn_train.photos": ("read_photo",),
    "idn_data.lr.make": ("make_lr",),
    "idn_data.lr.reduction": ("Reduction", "choose_reduction"),
    "idn_train.makers": ("identify",),
    "idn_train.caffe": ("read_caffemodel",),
}
_HOME = {name: module for module, names in _ROOMS.items() for name in names}
_EXTRAS = {"PatchDataset": "torch", "read_caffemodel": "google.protobuf"}  # packages that not everybody installs


def _is_installed(package: str) -> bool:
    """Whether a package is there, without importing it."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # nor is `google`, which it lies in
        return False


# `import *` and `help` import whatever is named here, and end where one cannot be imported
__all__ = sorted(name for name in _HOME if name not in _EXTRAS or _is_installed(_EXTRAS[name]))


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'idn_data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
