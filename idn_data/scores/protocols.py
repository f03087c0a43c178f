"""The protocols in which super-resolution papers report PSNR and SSIM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from idn_data.matlab.color import im2uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

from idn_data.matlab.quality import psnr, ssim

Protocol = Literal["float", "uint8"]


PROTOCOLS: tuple[Protocol, ...] = ("float", "uint8")


def shave(image: NDArray[np.generic], border: int) -> NDArray[np.generic]:
    """Cut `border` pixels off each of the four sides; a view."""
    if border < 0 or 2 * border >= min(image.shape[:2]):
        raise ValueError(f"cannot shave {border} pixels off each side of a {image.shape[0]}x{image.shape[1]} image")
    return image[border : image.shape[0] - border, border : image.shape[1] - border]


def score(sr: NDArray[np.float64], gt: NDArray[np.float64], scale: int, protocol: Protocol) -> tuple[float, float]:
    """PSNR (dB) and SSIM of an SR image against its GT in one of the two protocols.

    Parameters
    ----------
    sr, gt : (H, W) float64 in [0, 1]
        Y channel. Clipping a network's output to [0, 1] is the caller's: the published bicubic is not clipped.
    scale : int
        Pixels shaved off each side.
    protocol : {"float", "uint8"}
        "float": doubles, peak 1, MATLAB's psnr and ssim (IDN-TensorFlow). "uint8": both rounded to 8 bits, peak 255,
        SSIM of valid windows (IDN's authors).
    """
    sr, gt = shave(sr, scale), shave(gt, scale)
    if protocol == "float":
        return psnr(sr, gt), ssim(sr, gt)
    if protocol != "uint8":
        raise ValueError(f"unknown protocol {protocol!r}; one of {', '.join(PROTOCOLS)}")
    sr8, gt8 = im2uint8(sr), im2uint8(gt)
    return psnr(sr8, gt8, 255.0), ssim(sr8, gt8, 255.0, valid=True)
