"""The whole way on photographs that scikit-image carries: patches, test set, scores, parity, a network, pictures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from idn_data.images.decode import read_image
from idn_data.images.variants import modcrop
from idn_data.matlab.classes import im2double, im2uint8
from idn_data.matlab.color import rgb2y
from idn_data.matlab.resize import imresize
from idn_data.pictures import Panel, draw_panels
from idn_data.scores.protocols import score
from idn_data.scores.testset import make_test_pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# public domain or CC0, as scikit-image's own list says
TRAIN_PHOTOS = ("astronaut.png", "camera.png", "chelsea.png", "rocket.jpg", "gravel.png", "brick.png")
TEST_PHOTOS = ("coffee.png",)
BOX = (316, 246, 436, 336)  # of coffee.png: the spoon and the handle of the cup
MINUTES = 1.5  # of training


def copy_photos(folder: Path) -> tuple[Path, Path]:
    """Copy scikit-image's photographs to ``<folder>/train_data/photos`` and ``<folder>/test_data/photos``.

    Raises
    ------
    ModuleNotFoundError
        scikit-image is not installed.
    """
    try:
        from skimage import data
    except ModuleNotFoundError:
        raise ModuleNotFoundError("the demo's photographs come with scikit-image; pip install 'idn[demo]'") from None
    home = Path(data.__file__).parent
    folders = []
    for part, names in (("train_data", TRAIN_PHOTOS), ("test_data", TEST_PHOTOS)):
        target = folder / part / "photos"
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(home / name, target / name)
        folders.append(target)
    return folders[0], folders[1]


def compare_bicubics(path: Path, scale: int = 4, box: tuple[int, int, int, int] = BOX) -> Image.Image:
    """GT, LR, Pillow's bicubic way and MATLAB's, side by side with their scores.

    Pillow's is what a script gets that reduces and enlarges with ``Image.resize``: its 8-bit rounding, its a = -1/2
    kernel and its borders, against imresize on doubles.
    """
    image = read_image(path)
    pair = make_test_pair(image, scale, path.stem)
    gt = np.ascontiguousarray(modcrop(image, scale))
    h, w = gt.shape[:2]
    pillow = Image.fromarray(gt).resize((w // scale, h // scale), Image.Resampling.BICUBIC)
    pillow_up = np.asarray(pillow.resize((w, h), Image.Resampling.BICUBIC))
    matlab = im2uint8(imresize(imresize(im2double(gt), 1 / scale), scale))
    lr_rgb = np.asarray(pillow.resize((w, h), Image.Resampling.NEAREST))

    def caption(y: NDArray[Any]) -> str:
        decibel, similarity = score(y, pair.gt, scale, "float")
        return f"{decibel:.2f} dB / {similarity:.4f}"

    return draw_panels(
        [
            Panel("GT", gt, f"{path.name}, x{scale}"),
            Panel("LR", lr_rgb, f"{w // scale} x {h // scale} pixels"),
            Panel("Pillow bicubic", pillow_up, caption(im2double(rgb2y(pillow_up)))),
            Panel("idn = MATLAB bicubic", matlab, caption(imresize(pair.lr, scale))),
        ],
        box,
    )


def list_steps(folder: Path, minutes: float = MINUTES) -> list[tuple[str, list[str]]]:
    """The demo as the commands a user would type: (what it shows, arguments of idn)."""
    train, test = str(folder / "train_data" / "photos"), str(folder / "test_data" / "photos")
    patches, sheet = str(folder / "train_data" / "idn_train_x4.h5"), str(folder / "patches.png")
    mats, run = str(folder / "test_data" / "mat" / "photos"), folder / "IDN"
    weights, picture = str(run / "final.safetensors"), str(folder / "networks.png")
    return [
        (
            f"Patches of {len(TRAIN_PHOTOS)} photographs, 40 variants each",
            ["make-train", "--scale", "4", "--images", train, "--out", patches, "--force"],
        ),
        ("What the file holds, and a contact sheet", ["inspect", patches, "--sheet", sheet, "--force"]),
        ("Every patch made again and compared", ["inspect", patches, "--verify", "--images", train, "--quiet"]),
        ("A test set as .mat files", ["make-test", test, "--out", mats, "--force"]),
        ("The bicubic baseline", ["evaluate", "bicubic", "--set", test]),
        ("Parity with MATLAB", ["validate", "--quiet", "--data-root", str(folder)]),
        (
            f"IDN trained on the patches for {minutes:g} min",
            ["train", "--data", patches, "--preset", "express", "--minutes", f"{minutes:g}", "--validate-set", test,
             "--validate-every", "0.25min", "--batch", "16", "--out", str(run), "--restart"],
        ),
        ("The network beside bicubic", ["evaluate", "bicubic", weights, "--set", test, "--scale", "4"]),
        (
            "GT, bicubic and the network side by side",
            ["compare", str(Path(test) / TEST_PHOTOS[0]), "--scale", "4", "--box", *map(str, BOX), "--weights", weights,
             "--out", picture, "--force"],
        ),
    ]  # fmt: skip


def run_demo(folder: Path, run: Callable[[str, list[str]], None], minutes: float = MINUTES) -> Image.Image:
    """Copy the photographs, let `run` perform each step, and draw the picture of the bicubics.

    Parameters
    ----------
    folder : Path
        Where everything goes.
    run : callable(title, arguments)
        Performs one idn command.
    minutes : float
        Of training.
    """
    _, test = copy_photos(folder)
    for title, arguments in list_steps(folder, minutes):
        run(title, arguments)
    return compare_bicubics(test / TEST_PHOTOS[0])
