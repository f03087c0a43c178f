"""How far LR by BasicSR's `imresize` is from MATLAB's, of 8 bits and of doubles, and how long it takes beside idn's.

    IDN_DATA=... python tests/benchmarks/compare_basicsr.py BasicSR/basicsr/utils/matlab_functions.py

The file is of a checkout of XPixelGroup/BasicSR, and is run. idn stands for MATLAB: on Set5 it is equal to it in every
value, see fixtures/README.md.
"""

from __future__ import annotations

import argparse
import runpy
import time
from pathlib import Path

import numpy as np

from idn_data import im2double, im2uint8, imresize, modcrop
from idn_data.images.decode import list_images, read_image
from idn_data.images.sets import find_data_root, find_set


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    theirs = runpy.run_path(str(parser.parse_args().file))["imresize"]
    pictures = [read_image(path) for path in list_images(find_set("Set5", find_data_root()))]
    for call in (imresize, theirs):
        call(np.zeros((16, 16, 3), np.float32), 0.5)  # compiled, loaded
    imresize(np.zeros((16, 16, 3), np.uint8), 0.5)
    for scale in (2, 3, 4):
        values, of_8_bits, of_doubles, widest, seconds = 0, 0, 0, 0, [0.0, 0.0]
        for picture in pictures:
            hr = np.ascontiguousarray(modcrop(picture, scale))
            began = time.perf_counter()
            float_lr = theirs(hr.astype(np.float32) / 255, 1 / scale)
            between = time.perf_counter()
            ours = imresize(hr, 1 / scale)
            seconds = [seconds[0] + between - began, seconds[1] + time.perf_counter() - between]
            lr = np.clip((float_lr * 255).round(), 0, 255).astype(np.uint8)  # as BasicSR's tensor2img; safe: clipped
            apart = np.abs(lr.astype(int) - ours)
            values, of_8_bits, widest = values + lr.size, of_8_bits + np.count_nonzero(apart), max(widest, apart.max())
            of_doubles += np.count_nonzero(lr != im2uint8(imresize(im2double(hr), 1 / scale)))
        ratio = seconds[0] / seconds[1]
        print(
            f"x{scale}: of {values:,} values {of_8_bits:,} ({of_8_bits / values:.1%}) differ from MATLAB's LR of uint8, by "
            f"{widest} at most; {of_doubles} from that of doubles, rounded; {ratio:.0f} times idn's time"
        )


if __name__ == "__main__":
    main()
