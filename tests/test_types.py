"""What every public function that takes an image does with each type and range: the right thing, or a clear refusal.

The table says it for one scene in twelve forms. ``right``: the values of the formula in `expect`, at that type's
precision. ``type``: TypeError that names the type. ``range``: ValueError, floats cannot lie in [0, 1]. ``nan``,
``empty``: ValueError that says so. ``size``: ValueError, too few pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import idn_data
import idn_train
from idn_data.matlab.quality import psnr, ssim

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

TABLE = """
function           uint8 uint16 int16 bool  float32 float64 0…255 NaN   empty one   tensor list
im2double          right right  type  right right   right   right right empty right type   type
im2single          right right  type  right right   right   right right empty right type   type
im2uint8           right right  type  right right   right   range nan   empty right type   type
im2uint16          right right  type  right right   right   range nan   empty right type   type
rgb2ycbcr          right right  type  type  right   right   range nan   empty right type   type
ycbcr2rgb          right right  type  type  right   right   range nan   empty right type   type
rgb2gray           right right  type  type  right   right   range nan   empty right type   type
rgb2y              right right  type  type  right   right   range nan   empty right type   type
rgb2y_of_grey      right right  type  type  right   right   range nan   empty right type   type
imresize           right right  right right right   right   right right empty right type   right
imfilter           right right  type  type  right   right   right right empty right type   type
psnr               right right  right type  right   right   range nan   empty right type   type
psnr_peak_255      right right  right type  right   right   right nan   empty right type   type
ssim               right right  right type  right   right   range nan   empty right type   type
ssim_map           right right  right type  right   right   range nan   empty right type   type
ssim_valid         right right  right type  right   right   range nan   empty size  type   type
score_float        right right  type  type  right   right   range nan   empty size  type   type
score_uint8        right right  type  type  right   right   range nan   empty size  type   type
score_y            right type   type  type  type    type    type  type  type  size  type   type
score_rgb          right type   type  type  type    type    type  type  type  size  type   type
modcrop            right right  right right right   right   right right size  size  type   type
shave              right right  right right right   right   right right size  size  type   type
make_pair          right type   type  type  type    type    type  type  type  size  type   type
make_test_pair     right type   type  type  type    type    type  type  type  size  type   type
make_variants      right type   type  type  type    type    type  type  type  right type   type
"""

NO_IMAGES = {  # public names that take no image as an array
    "BOUNDARIES", "Boundary", "METHODS", "Method", "PatchDataset", "PatchFile", "Plan", "Recipe", "Reduction",
    "choose_reduction", "compute_weights", "draw_figure", "evaluate", "fspecial", "identify", "make_lr", "make_test",
    "make_train", "open_set", "plan_train", "read_caffemodel", "read_image", "read_photo", "read_y", "score_pictures",
}  # fmt: skip
# files, and tensors, whose types are tests/train/test_tensors.py's
NO_IMAGES_IN_TRAIN = {"IDN", "imresize", "load_caffemodel", "load_weights", "save_weights"}

SAID = {
    "type": (TypeError, r"takes (a numpy array|numpy arrays|uint8|uint8, .*); got (\w+\.)?\w+"),
    "range": (
        ValueError,
        r"takes floats in \[0, 1\]; these go from \S+ to \S+; divide values in 0…255",
    ),
    "nan": (ValueError, "holds NaN"),
    "empty": (ValueError, r"not empty; got shape \(0, |non-empty array of two dimensions"),
    "size": (ValueError, r"cannot shave|is too small for scale|needs at least 11x11"),
}
HEAD, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
CASES = [(row[0], form, outcome) for row in ROWS for form, outcome in zip(HEAD[1:], row[1:], strict=True)]
COLOUR = ("rgb2ycbcr", "ycbcr2rgb", "rgb2gray", "rgb2y", "score_y", "score_rgb", "make_test_pair")
KERNEL = np.array([[0, 0, 0], [0, 0.5, 0.5], [0, 0, 0]])


def draw_scene(colour: bool) -> NDArray[np.uint8]:
    y, x = np.mgrid[:40, :40]
    grey = 128 + 100 * np.sin(x / 5) * np.cos(y / 7) + 20 * ((x // 8 + y // 8) % 2)
    return np.dstack([grey, grey[::-1], grey.T]).astype(np.uint8) if colour else grey.astype(np.uint8)


def make_form(scene: NDArray[np.uint8], form: str) -> Any:
    double = scene / 255
    holed = double.copy()
    holed[20, 20] = np.nan
    forms: dict[str, Callable[[], Any]] = {
        "uint8": lambda: scene,
        "uint16": lambda: scene.astype(np.uint16) * np.uint16(257),
        "int16": lambda: (scene.astype(np.int32) * 257 - 32768).astype(np.int16),
        "bool": lambda: scene > 127,
        "float32": lambda: double.astype(np.float32),
        "float64": lambda: double,
        "0…255": lambda: scene.astype(np.float64),
        "NaN": lambda: holed,
        "empty": lambda: double[:0],
        "one": lambda: scene[:1, :1],
        "tensor": lambda: torch.from_numpy(double),
        "list": double.tolist,
    }
    return forms[form]()


def read_values(array: Any) -> NDArray[np.float64]:
    """What an array means, as doubles: an integer class spans [0, 1], floats are what they are."""
    array = np.asarray(array)
    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        return (array.astype(np.float64) - limits.min) / (float(limits.max) - limits.min)
    return array.astype(np.float64)


def call(name: str, image: Any) -> Any:
    """The function of a row, of one image, or of it and its mirror image."""
    own = getattr(idn_data, name, None)
    turned = image.flip(0) if isinstance(image, torch.Tensor) else image[::-1]
    calls: dict[str, Callable[[], Any]] = {
        "rgb2y_of_grey": lambda: idn_data.rgb2y(image),
        "imresize": lambda: idn_data.imresize(image, 0.5),
        "imfilter": lambda: idn_data.imfilter(image, KERNEL, "replicate"),
        "psnr": lambda: psnr(image, turned),
        "psnr_peak_255": lambda: psnr(image, turned, 255.0),
        "ssim": lambda: ssim(image, turned),
        "ssim_map": lambda: idn_data.ssim_map(image, turned),
        "ssim_valid": lambda: ssim(image, turned, valid=True),
        "modcrop": lambda: idn_data.modcrop(image, 3),
        "shave": lambda: idn_data.shave(image, 2),
        "make_pair": lambda: idn_data.make_pair(image, 2)[0],
        "make_test_pair": lambda: idn_data.make_test_pair(image, 2).gt,
        "make_variants": lambda: next(iter(idn_data.make_variants(image))),
    }
    if name.startswith("score_"):
        return idn_data.score(image, turned, 2, name.removeprefix("score_"))
    return calls[name]() if name in calls else own(image)  # type: ignore[misc]  # each name is in __all__


def weigh(v: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    return v @ rows.T + np.array([16, 128, 128]) / 255


def unweigh(v: NDArray[np.float64]) -> NDArray[np.float64]:
    rows = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
    return np.clip((v - np.array([16, 128, 128]) / 255) @ np.linalg.inv(rows).T, 0, 1)


def expect(name: str, image: Any) -> Any:
    """The right answer, worked out from the values that the image means."""
    v = read_values(image)
    w = v[::-1]
    inner = np.s_[2:-2, 2:-2]

    def y(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return 255 * weigh(values)[..., 0][inner]

    answers: dict[str, Callable[[], Any]] = {
        "rgb2ycbcr": lambda: weigh(v),
        "ycbcr2rgb": lambda: unweigh(v),
        "rgb2gray": lambda: v @ np.array([0.298936021, 0.587043074, 0.114020904]),
        "rgb2y": lambda: weigh(v)[..., 0],
        "imresize": lambda: idn_data.imresize(v, 0.5),
        "imfilter": lambda: (v + np.c_[v[:, 1:], v[:, -1:]]) / 2,
        "psnr": lambda: psnr(v, w),
        "psnr_peak_255": lambda: psnr(np.asarray(image, float), np.asarray(image, float)[::-1], 255.0),
        "ssim": lambda: ssim(v, w),
        "ssim_map": lambda: idn_data.ssim_map(v, w),
        "ssim_valid": lambda: ssim(v, w, valid=True),
        "score_float": lambda: (psnr(v[inner], w[inner]), ssim(v[inner], w[inner])),
        "score_uint8": lambda: (psnr(v[inner], w[inner]), ssim(v[inner], w[inner], valid=True)),
        "score_y": lambda: (psnr(y(v), y(w), 255.0), ssim(y(v), y(w), 255.0, valid=True)),
        "score_rgb": lambda: (
            psnr(v[8:-8, 8:-8], w[8:-8, 8:-8]),
            np.mean([ssim(v[8:-8, 8:-8, k], w[8:-8, 8:-8, k], valid=True) for k in range(3)]),
        ),
        "modcrop": lambda: v[:39, :39],
        "shave": lambda: v[inner],
        "make_test_pair": lambda: np.round(255 * weigh(v)[..., 0]) / 255,
    }
    return answers[name]() if name in answers else v  # the others keep the values


@pytest.mark.parametrize(("name", "form", "outcome"), CASES, ids=[f"{n}-{f}" for n, f, _ in CASES])
def test_every_function_with_every_type(name: str, form: str, outcome: str) -> None:
    image = make_form(draw_scene(name in COLOUR), form)
    if outcome != "right":
        error, said = SAID[outcome]
        with pytest.raises(error, match=said):
            call(name, image)
        return
    got = call(name, image)
    if isinstance(got, np.ndarray) and got.dtype == bool:
        wanted = expect(name, image)
        clear = np.abs(wanted - 0.5) > 0.01
        assert clear.mean() > 0.9 and (got == (wanted > 0.5))[clear].all()
        return
    if isinstance(got, np.ndarray) and got.dtype.kind in "iu":
        values, precision = read_values(got), 0.51 / np.iinfo(got.dtype).max
        precision = 2 * precision if name == "imresize" else precision  # each of two passes is rounded
    else:
        values, precision = np.asarray(got, float), 1e-5 if form == "float32" or name == "im2single" else 1e-9
        precision = 2e-3 if name == "make_test_pair" else precision * max(1.0, float(np.nanmax(np.abs(values))))
        precision = 1e-6 if name == "rgb2gray" else precision
    np.testing.assert_allclose(values, expect(name, image), rtol=0, atol=precision, equal_nan=True)


def test_every_public_name_is_in_the_table() -> None:
    bases = {name: name for name, *_ in ROWS} | dict.fromkeys(("psnr_peak_255",), "psnr")
    bases |= {"ssim_valid": "ssim", "rgb2y_of_grey": "rgb2y"}
    bases |= {name: "score" for name in bases if name.startswith("score_")}
    for name in idn_data.__all__:
        covered = name in bases.values()
        assert covered != (name in NO_IMAGES), f"{name}: add a row to the table, or say that it takes no images"
    assert set(idn_train.__all__) - NO_IMAGES_IN_TRAIN == set()
