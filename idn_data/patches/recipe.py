"""The recipe of the training files: the table of the IDN-TensorFlow README as data."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

from idn_data.matlab.weights import BOUNDARIES, Boundary

Stage = Literal["pretrain", "finetune"]
STAGES: tuple[Stage, ...] = get_args(Stage)
SCALES = (2, 3, 4)
PICTURE_SCALES = range(2, 9)  # of patches that are cut from pictures while a network trains
BATCH = 64  # the number of patches is cut down to a multiple of it

# LR patch side by (stage, scale), from the README of IDN-TensorFlow
_LR_PATCH = {
    ("pretrain", 2): 29, ("pretrain", 3): 15, ("pretrain", 4): 11,
    ("finetune", 2): 39, ("finetune", 3): 26, ("finetune", 4): 19,
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """What the patches of a training file are: scale, stage, the side of an LR patch, what is cut off, and the border.

    ``lr_patch=None`` takes the README's value, above ×4 that of ×4. GT patches are ``scale`` times as large, and the
    grid has no overlap.
    ``offset``: rows and columns cut off the top and left of an image before all else. One pixel moves the grid of the
    patches, and that of the LR pixels as well: at ×4 an image has 16 different LR images, one for each offset in 0…3.
    ``boundary``: what lies beyond the edge of all that is reduced: symmetric as newer MATLABs have it, or replicate as
    older ones, the authors' R2013b among them.
    """

    scale: int
    stage: Stage
    lr_patch: int | None = None
    offset: tuple[int, int] = (0, 0)
    boundary: Boundary = "symmetric"

    def __post_init__(self) -> None:
        for name in ("scale", "lr_patch"):
            if isinstance(value := getattr(self, name), Integral):  # numpy's small ones would overflow
                object.__setattr__(self, name, int(value))
        offset = tuple(int(k) if isinstance(k, Integral) else k for k in self.offset)  # JSON keeps a list
        object.__setattr__(self, "offset", offset)
        if self.scale not in PICTURE_SCALES or not isinstance(self.scale, int):
            raise ValueError(f"scale must be one of {', '.join(map(str, PICTURE_SCALES))}; got {self.scale}")
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {', '.join(STAGES)}; got {self.stage!r}")
        if self.lr_patch is None:
            object.__setattr__(self, "lr_patch", _LR_PATCH[self.stage, min(self.scale, 4)])
        if not isinstance(self.lr_side, int) or not 1 <= self.lr_side <= 1024:
            raise ValueError(f"the LR patch side must be a whole number in 1…1024; got {self.lr_patch}")
        if len(self.offset) != 2 or not all(isinstance(k, int) and 0 <= k < self.gt_side for k in self.offset):
            raise ValueError(
                f"the offset must be two whole numbers in 0…{self.gt_side - 1}, below a GT patch; "
                f"got {list(self.offset)}"
            )
        if self.boundary not in BOUNDARIES:
            raise ValueError(f"the boundary must be one of {', '.join(BOUNDARIES)}; got {self.boundary!r}")

    @property
    def lr_side(self) -> int:
        """Side of an LR patch, pixels."""
        assert self.lr_patch is not None
        return self.lr_patch

    @property
    def gt_side(self) -> int:
        """Side of a GT patch, pixels."""
        return self.lr_side * self.scale

    def crop(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what the offset leaves of an image."""
        return max(height - self.offset[0], 0), max(width - self.offset[1], 0)

    @property
    def file_name(self) -> str:
        """The name that IDN-TensorFlow gives the file."""
        return f"{'idn_train' if self.stage == 'pretrain' else 'idn_fine_tuning'}_x{self.scale}.h5"


def name_shard(path_name: str, index: int, count: int) -> str:
    """Name of shard `index` (from 0) of `count`: ``idn_train_x4.h5`` gives ``idn_train_x4.1-of-8.h5`` for the first."""
    if count == 1:
        return path_name
    stem, dot, suffix = path_name.rpartition(".")
    stem, suffix = (stem, dot + suffix) if dot else (suffix, "")
    return f"{stem}.{index + 1:0{len(str(count))}d}-of-{count}{suffix}"
