"""Colour by way of Y, in the numbers that the network's several forms share. No torch.

Of RGB, Y is enlarged by the network, Cb and Cr by bicubic. Both conversions are linear. So that is the bicubic of each
channel, plus the network's residual of Y times one factor, the same for R, G and B.
"""

from __future__ import annotations

import numpy as np

from idn_data.matlab.color import rgb2ycbcr

# Y of black, red, green and blue, all in [0, 1]: what makes Y of any colour
_BLACK, *_PRIMARIES = rgb2ycbcr(np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]]))[0, :, 0].tolist()
LUMA_OFFSET: float = _BLACK
LUMA: tuple[float, ...] = tuple(y - LUMA_OFFSET for y in _PRIMARIES)
LUMA_TO_RGB = 1 / sum(LUMA)  # 255/219: with Cb and Cr as they are, R, G and B follow Y by it
