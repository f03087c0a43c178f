"""idn_data.matlab.mat4: .mat files of version 4, by scipy and byte by byte."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_array

from idn_data.matlab.matfile import MatFileError, read_mat


def variable(kind: int, rows: int, columns: int, values: bytes, name: str = "a", order: str = "<") -> bytes:
    """One variable, as MATLAB's description of the format has it."""
    text = name.encode() + b"\0"
    return struct.pack(f"{order}5i", kind, rows, columns, 0, len(text)) + text + values


@pytest.mark.parametrize("kind", ["f8", "f4", "i4", "i2", "u2", "u1"])
def test_numbers_are_double_whatever_they_are_stored_in(tmp_path: Path, kind: str) -> None:
    for shape in ((3, 4), (1, 1), (0, 3)):
        value = np.random.default_rng(0).integers(0, 99, shape).astype(kind)
        savemat(tmp_path / "a.mat", {"b": 1.0, "a": value, "c": "x"}, format="4")
        found = read_mat(tmp_path / "a.mat", ["a", "gone"])
        assert list(found) == ["a"]
        assert found["a"].dtype == np.float64 and found["a"].shape == shape
        np.testing.assert_array_equal(found["a"], value)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_order_of_bytes(tmp_path: Path, order: str) -> None:
    machine = 1000 if order == ">" else 0
    data = variable(machine, 2, 3, struct.pack(f"{order}6d", *range(6)), order=order)
    data += variable(machine + 1, 1, 3, struct.pack(f"{order}3d", *b"abc"), "text", order)  # MATLAB 4 had only doubles
    data += variable(machine + 51, 2, 2, b"acbd", "rows", order)
    (tmp_path / "a.mat").write_bytes(data)
    found = read_mat(tmp_path / "a.mat", ["a", "text", "rows"])
    np.testing.assert_array_equal(found["a"], [[0, 2, 4], [1, 3, 5]])
    assert (found["text"], found["rows"]) == ("abc", "acbd")


def test_other_kinds_are_none(tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"a": np.array([[1 + 2j, 3]]), "s": csc_array(np.eye(3)), "b": 2.0}, format="4")
    found = read_mat(tmp_path / "a.mat", ["a", "b", "s"])
    assert (found["a"], found["s"]) == (None, None)
    assert found["b"].item() == 2


SOUND = variable(0, 1, 2, bytes(16))
CUT_OFF, DAMAGED = "cut off within a variable; copy it or save it again", "damaged; copy it or save it again"
FOREIGN = "not a .mat file; name one that MATLAB's save wrote"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (SOUND[:-1], CUT_OFF),
        (SOUND[:10], CUT_OFF),
        (SOUND + SOUND[:5], CUT_OFF),
        (variable(0, 1 << 30, 1 << 30, bytes(8)), CUT_OFF),
        (variable(60, 1, 1, bytes(8)), FOREIGN),
        (variable(3, 1, 1, bytes(8)), FOREIGN),
        (variable(2000, 1, 1, bytes(8), order=">"), FOREIGN),
        (variable(0, -1, 1, bytes(8)), FOREIGN),
        (struct.pack("<5i", 0, 1, 1, 0, 0) + bytes(8), FOREIGN),
        (struct.pack("<5i", 0, 1, 1, 7, 2) + bytes(10), FOREIGN),
        (SOUND + variable(60, 1, 1, bytes(8)), DAMAGED),
    ],
)
def test_damage_and_claims(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(MatFileError, match=f"^{re.escape(said)}$"):
        read_mat(tmp_path / "a.mat", ["a"])


def test_values_that_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mat").write_bytes(variable(50, 1, 9000, bytes(9000)))  # doubles once they are read
    monkeypatch.setattr("idn_data.matlab.matlimits.MAX_BYTES", 10_000)
    with pytest.raises(MatFileError, match=r"^holds more than 0 MiB of values; save it with fewer variables$"):
        read_mat(tmp_path / "a.mat", ["a"])
