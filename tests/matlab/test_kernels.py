"""The compiled code: its arithmetic, its agreement with plain Python, several processes that start at once."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import llvmlite.binding
import numba
import numpy as np
import pytest

import idn_data
from idn_data.matlab.compiled import load_kernels
from idn_data.matlab.resize import imresize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

HOME = Path(idn_data.__file__).parents[1]
FUSED = re.compile(r"\bvfn?m(?:add|sub)\w*|\bfn?m(?:add|sub)\b|\bfml[as]\b")  # x86; aarch64
ON_X86 = platform.machine().lower() in ("x86_64", "amd64")
VECTOR, MATRIX = numba.float64[::1], numba.float64[:, ::1]
RESIZERS = ("resize_rows_then_columns", "resize_columns_then_rows")

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="NUMBA_DISABLE_JIT is set: nothing is compiled")


def compile_anew(
    function: Callable[..., object], signatures: Sequence[object], slp: int = 1, **changed: object
) -> numba.core.dispatcher.Dispatcher:
    """Compile with the kernels' own options: numba shows no machine code of what came out of its cache."""
    before = numba.config.SLP_VECTORIZE
    numba.config.SLP_VECTORIZE = slp
    try:
        return numba.njit(list(signatures), **{**load_kernels().OPTIONS, **changed})(function)
    finally:
        numba.config.SLP_VECTORIZE = before


def read_assembly(compiled: numba.core.dispatcher.Dispatcher) -> str:
    return "\n".join(compiled.inspect_asm().values())


def multiply_and_add(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> None:
    for k in range(a.shape[0]):
        c[k] = a[k] * b[k] + c[k]


def test_the_search_finds_fused_instructions() -> None:
    """Control: with fastmath this processor fuses, and the pattern sees it."""
    if ON_X86 and not llvmlite.binding.get_host_cpu_features().get("fma"):
        pytest.skip("this processor has no fused multiply-add")
    signature = numba.void(VECTOR, VECTOR, VECTOR)
    assert FUSED.search(read_assembly(compile_anew(multiply_and_add, [signature], fastmath=True)))
    assert not FUSED.search(read_assembly(compile_anew(multiply_and_add, [signature])))


def test_no_fused_multiply_add_and_vectors_all_over() -> None:
    """Of one order of the passes in doubles; the other calls the same, and floats and uint8 have the same options."""
    kernels = [load_kernels(f"idn_data.matlab.{name}").resize_rows_then_columns for name in ("kernels", "kernels8")]
    assert [len(kernel.signatures) for kernel in kernels] == [2, 1]  # float32 and float64; uint8
    double = next(s for s in kernels[0].signatures if "float64" in str(s[0]))
    (text,) = compile_anew(kernels[0].py_func, [double]).inspect_asm().values()
    assert len(text) > 10_000  # the machine code itself, not the placeholder for cached code
    assert not FUSED.findall(text)
    if ON_X86:
        assert re.search(r"\bv?mulpd\b", text)


SINGLES, INDICES = numba.float32[::1], numba.uintp[::1]
SIZES = [numba.intp] * 4
HORIZONTAL = {
    "kernels": ("mulpd", numba.void(MATRIX, MATRIX, numba.uintp[:, ::1], numba.intp, MATRIX)),
    "kernels8": ("mulps", numba.void(SINGLES, SINGLES, INDICES, *SIZES, SINGLES, numba.intp)),
}


@pytest.mark.skipif(not ON_X86, reason="the names of vector instructions are those of x86")
@pytest.mark.parametrize("module", HORIZONTAL)
def test_horizontal_pass_is_vectorised(module: str) -> None:
    """The eight sums of `sum_columns` share a register only because `load_kernels` turns numba's SLP vectoriser on."""
    packed, signature = HORIZONTAL[module]
    function = load_kernels(f"idn_data.matlab.{module}").sum_columns.py_func
    assembly = read_assembly(compile_anew(function, [signature]))
    assert re.search(rf"\bv?{packed}\b", assembly) and not FUSED.findall(assembly)
    assert not re.search(rf"\bv?{packed}\b", read_assembly(compile_anew(function, [signature], slp=0)))


def test_loading_leaves_numbas_settings_alone() -> None:
    before = numba.config.SLP_VECTORIZE
    load_kernels.cache_clear()
    load_kernels()
    assert before == numba.config.SLP_VECTORIZE


def resize_many() -> dict[str, NDArray[np.generic]]:
    """Small images through every path of the kernels."""
    rng = np.random.default_rng(8)
    results = {}
    for shape in ((9, 11), (17, 7), (8, 10, 3), (1, 1), (2, 190, 3)):
        double = rng.normal(0.5, 0.4, shape)
        images = (double, double.astype(np.float32), rng.integers(0, 256, shape, dtype=np.uint8))
        for image in images:
            for scale in (0.5, (0.8, 0.3), 1.7, (0.6, 0.9)) if shape[1] < 100 else ((1.5, 0.9), (0.5, 0.3)):
                for method in ("bicubic", "bilinear", "lanczos3", "nearest"):
                    key = f"{shape} {image.dtype} {scale} {method}"
                    results[key] = imresize(image, scale, method=method)
    return results


def test_compiled_and_plain_python_agree_bit_for_bit(tmp_path: Path) -> None:
    file = tmp_path / "plain.npz"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(HOME)}
    subprocess.run([sys.executable, "-W", "error", __file__, str(file)], env=environment, check=True, timeout=600)
    compiled = resize_many()
    with np.load(file) as plain:
        assert set(plain.files) == set(compiled)
        for key, wanted in compiled.items():
            assert plain[key].dtype == wanted.dtype
            assert plain[key].tobytes() == wanted.tobytes(), key


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("scale", "side"), [(2, 5), (3, 4), (4, 1)])
def test_cut_patches_is_slicing(scale: int, side: int, dtype: type[np.uint8] | type[np.float32]) -> None:
    rng = np.random.default_rng(scale)
    height, width = 2 * side + 1, 3 * side + (side > 1)  # a remainder that no patch covers
    gt = rng.integers(0, 256, (scale * height, scale * width), dtype=np.uint8)
    lr = rng.random((height, width))
    levels = rng.permutation(256).astype(dtype)  # what each 8-bit value of GT is stored as
    grid = [(y, x) for y in range(height // side) for x in range(width // side)]
    places = np.arange(len(grid), dtype=np.intp) + 1
    places[3] = -1
    rng.shuffle(places)
    first, last = 2, len(grid)  # a place before the window and one after it
    s = scale * side
    gt_room, lr_room = np.full((last, s, s), 77, dtype), np.full((last, side, side), -7, np.float32)
    wanted_gt, wanted_lr = gt_room.copy(), lr_room.copy()
    for (y, x), place in zip(grid, places.tolist(), strict=True):
        if first <= place < last:
            wanted_gt[place - first + 1] = levels[gt[y * s : (y + 1) * s, x * s : (x + 1) * s]]
            wanted_lr[place - first + 1] = lr[y * side : (y + 1) * side, x * side : (x + 1) * side]
    gt_out, lr_out = gt_room[1:-1], lr_room[1:-1]  # what lies around the window must stay as it is
    lr_bytes, crc = lr_out.reshape(len(lr_out), -1).view(np.uint8), np.full((last - first, 2), 7, np.uint32)
    wanted_crc = crc.copy()
    for (y, x), place in zip(grid, places.tolist(), strict=True):
        if first <= place < last:
            wanted_crc[place - first] = (
                zlib.crc32(wanted_lr[place - first + 1].tobytes()),
                zlib.crc32(gt[y * s : (y + 1) * s, x * s : (x + 1) * s].tobytes()),
            )
    load_kernels("idn_data.patches.kernels").cut_patches(
        gt, lr, places, width // side, scale, first, last, levels, gt_out, lr_out, lr_bytes, crc
    )
    assert (gt_room == wanted_gt).all()
    assert (lr_room == wanted_lr).all()
    assert (wanted_lr[1:-1, 0, 0] != -7).sum() == len(grid) - 3
    assert (crc == wanted_crc).all()


@pytest.mark.parametrize("length", [*range(1, 34), 225, 484, 7744])
def test_crc_is_that_of_zlib(length: int) -> None:
    rows = np.random.default_rng(length).integers(0, 256, (5, length), dtype=np.uint8)
    rows[3:] = [[0], [255]]
    out = np.empty((5, 2), np.uint32)
    load_kernels("idn_data.patches.kernels").checksum_rows(rows, rows[::-1].copy(), out)
    wanted = [zlib.crc32(row.tobytes()) for row in rows]
    assert out.tolist() == list(map(list, zip(wanted, wanted[::-1], strict=True)))


def test_levels_are_found_and_nothing_else_is_taken_for_one() -> None:
    k = np.arange(256, dtype=np.uint8)
    levels = (k / 255.0).astype(np.float32)
    up, down = np.nextafter(levels, np.float32(2)), np.nextafter(levels, np.float32(-2))
    other = np.resize(np.float32([-0.0, np.nan, np.inf, -np.inf, 1.004, -0.002, 1e30]), 256)
    values = np.stack(
        [levels, *(np.where(np.arange(256) == n, w, levels) for w in (up, down, other) for n in (0, 200))]
    )
    out, exact = np.empty(values.shape, np.uint8), np.empty(len(values), bool)
    load_kernels("idn_data.patches.kernels").find_levels(values, values.view(np.int32), out, exact)
    assert (out[:5] == k).all()
    assert exact.tolist() == [True] + [False] * 6


STARTER = """
import hashlib, json, threading
import numpy as np
from idn_data.matlab.compiled import load_kernels
pixels = np.random.default_rng(3).integers(0, 256, 4 * 600, dtype=np.uint8)
digests = []
def work():
    packed = np.empty(3 * 600, np.uint8)
    load_kernels("idn_data.images.kernels").drop_fourth(pixels, packed)
    digests.append(hashlib.sha256(packed.tobytes()).hexdigest())
threads = [threading.Thread(target=work) for _ in range(4)]  # the first use of the kernels, from four threads
for thread in threads: thread.start()
for thread in threads: thread.join()
function = load_kernels("idn_data.images.kernels").drop_fourth  # the quickest to compile
compiled = sum(function.stats.cache_misses.values())
print(json.dumps({"digests": digests, "compiled": compiled}))
"""


def test_four_processes_start_at_once(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),  # a lock of their own
        "PYTHONPATH": str(HOME),
    }
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", STARTER],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    answers = []
    try:
        for child in children:
            out, err = child.communicate(timeout=600)
            assert child.returncode == 0, err.decode()
            answers.append(json.loads(out))
    finally:
        for child in children:
            child.kill()
            child.wait()
    digests = [digest for answer in answers for digest in answer["digests"]]
    assert len(digests) == 16
    assert len(set(digests)) == 1
    assert sorted(answer["compiled"] for answer in answers) == [0, 0, 0, 1]  # by one of them, for all
    assert list((tmp_path / "cache").rglob("*.nbc"))


if __name__ == "__main__":
    assert not hasattr(load_kernels().resize_rows_then_columns, "py_func"), "this is compiled code"
    np.savez(sys.argv[1], **resize_many())  # type: ignore[arg-type]
