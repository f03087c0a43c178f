from __future__ import annotations

import hashlib
import json
import zlib

import numpy as np
import pytest

from idn_data.patches.checksums import check_rows, compute_digests, format_rows
from idn_data.patches.header import gt_levels

RNG = np.random.default_rng(0)
LR = RNG.uniform(-0.05, 1.05, (7, 1, 5, 5)).astype(np.float32)
GT = RNG.integers(0, 256, (7, 1, 15, 15), dtype=np.uint8)
CRC = np.array([[zlib.crc32(a.tobytes()), zlib.crc32(b.tobytes())] for a, b in zip(LR, GT, strict=True)], np.uint32)
SINGLE = gt_levels(np.dtype(np.float32))

both_storages = pytest.mark.parametrize("gt", [GT, SINGLE[GT]], ids=["uint8", "float32"])


@both_storages
@pytest.mark.parametrize("crc", [CRC, None], ids=["checksums", "none"])
def test_sound_rows(gt: np.ndarray, crc: np.ndarray | None) -> None:
    levels, bad = check_rows(LR, gt, crc)
    assert levels.dtype == np.uint8
    np.testing.assert_array_equal(levels, GT)
    assert not bad.any()


@both_storages
def test_every_flipped_bit_of_a_row_is_found(gt: np.ndarray) -> None:
    lr, gt, wanted = LR.copy(), gt.copy(), np.zeros((7, 2), bool)
    for column, data in ((0, lr), (1, gt)):
        wanted[:], wanted[4, column] = False, True
        raw = data[4].view(np.uint8).reshape(-1)
        for place in range(raw.size):
            raw[place] ^= 1 << place % 8
            np.testing.assert_array_equal(check_rows(lr, gt, CRC)[1], wanted)
            raw[place] ^= 1 << place % 8


@both_storages
def test_zeros_and_swapped_rows_are_found(gt: np.ndarray) -> None:
    assert check_rows(np.zeros_like(LR), np.zeros_like(gt), CRC)[1].all()
    order = [0, 2, 1, 3, 4, 5, 6]
    np.testing.assert_array_equal(check_rows(LR[order], gt[order], CRC)[1].all(axis=1), [0, 1, 1, 0, 0, 0, 0])


@pytest.mark.parametrize("value", [0.5001, np.nan, 1.5, -0.1, np.inf, -np.inf, 1e30])
def test_without_checksums_values_are_judged(value: float) -> None:
    gt = SINGLE[GT]
    gt[2, 0, 14, 14] = value
    bad = check_rows(LR, gt, None)[1]
    assert bad.sum() == 1 and bad[2, 1]


def test_without_checksums_single_division_by_255_is_tolerated() -> None:
    gt = np.nextafter(SINGLE[GT], np.float32(2))
    levels, bad = check_rows(LR, gt, None)
    np.testing.assert_array_equal(levels, GT)
    assert not bad.any()
    assert check_rows(LR, gt, CRC)[1][:, 1].all()  # but idn itself wrote other bits


def test_a_negative_zero_is_another_bit() -> None:
    gt = SINGLE[GT]
    row = int(np.flatnonzero((gt == 0).any(axis=(1, 2, 3)))[0])
    gt[row][gt[row] == 0] = -0.0
    assert check_rows(LR, gt, CRC)[1][row, 1]


@pytest.mark.parametrize("value", [np.nan, 2.1, -2.1, np.inf])
@pytest.mark.parametrize("crc", [CRC, None], ids=["checksums", "none"])
def test_lr_far_out_of_range(value: float, crc: np.ndarray | None) -> None:
    lr = LR.copy()
    lr[6, 0, 0, 0] = value
    bad = check_rows(lr, GT, crc)[1]
    assert bad.sum() == 1 and bad[6, 0]


def test_digests_are_plain_sha256() -> None:
    """So that others can compute them."""
    attributes: dict[str, object] = {"scale": 4, "stage": "pretrain", "digested": '["scale", "stage"]', "note": "mine"}
    shapes = {"lr": (7, 1, 5, 5), "gt": (7, 1, 15, 15)}
    said = {"scale": 4, "stage": "pretrain", "digested": '["scale", "stage"]'}
    text = json.dumps([said, {"lr": [7, 1, 5, 5], "gt": [7, 1, 15, 15]}], sort_keys=True)
    wanted = [hashlib.sha256(part).hexdigest().encode() for part in (text.encode(), b"sources", CRC.tobytes())]
    assert compute_digests(attributes, shapes, b"sources", [CRC]) == wanted
    assert compute_digests(attributes, shapes, b"sources", [CRC[:3], CRC[3:]]) == wanted


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([], "none"),
        ([3], "3"),
        ([0, 1, 2], "0…2"),
        ([3, 17, 18, 19, 40], "3, 17…19, 40"),
        (range(0, 20000, 2), "0, 2, 4, 6, 8, 10 … (10,000 in all)"),
    ],
)
def test_format_rows(rows: list[int], text: str) -> None:
    assert format_rows(np.array(rows, np.intp)) == text
