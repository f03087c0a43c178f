"""Pictures of our own with what photographs have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw_photo(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A picture with what photographs have, smooth light, edges, texture and noise: (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = []
    for _ in range(3):
        light = 110 + 60 * np.sin(2 * np.pi * (rng.uniform(0.3, 1) * x + rng.uniform(0.3, 1) * y))
        edge = 50 * (y > rng.uniform(0.3, 0.6) + 0.2 * x) - 40 * (np.hypot(x - 0.4, y - 0.5) < rng.uniform(0.1, 0.3))
        texture = 15 * np.sin(2 * np.pi * (rng.uniform(10, 30) * x + rng.uniform(10, 30) * y))
        planes.append(light + edge + texture + rng.normal(0, 4, (height, width)))
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)  # safe: clipped
