"""Mutated files for every reader, and what a reader may do with them: succeed, or raise its own error in one line.

Everything follows from a seed and a number, so that a finding can be made again. `tests/faults/fuzz_readers.py`
runs thousands of them in child processes with limits, `tests/test_fuzz.py` a few.
"""

from __future__ import annotations

import linecache
import os
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Rng = np.random.Generator
MOST_MEMORY = 1_000_000_000  # bytes, beyond what the process holds after its imports
NUMBERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 1000, 32767, 32768, 65535, 65536, 1 << 24, (1 << 31) - 1, 1 << 31,
           (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip
TOKENS = ("", "0", "-1", "1", "nan", "inf", "-inf", "1e999", "-1e308", "1e308", "9" * 5000, "null", "true", "[]", "{}",
          '"', "\x00", "\ufeff", "é", ",", "\n", "\r", "0x10", "1_000", "٣", "1e-320", "[[[[", "../../x")  # fmt: skip


def mutate(data: bytes, rng: Rng, text: bool = False) -> bytes:
    """Change some bytes: flips, cuts, zeros, blocks that are copied, moved or lost, lengths that grow."""
    out = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 8]))):
        n = max(1, len(out))
        at, size = int(rng.integers(n)), int(min(n, 1 + rng.exponential(n / 8)))
        if rng.random() < 0.4:  # headers are where the danger is
            at = int(min(n - 1, rng.exponential(60)))
        kind = int(rng.integers(11 if text else 10))
        if kind == 0:
            for place in rng.integers(n, size=int(rng.integers(1, 9))):
                out[place : place + 1] = bytes([(out[place] if out else 0) ^ (1 << int(rng.integers(8)))])
        elif kind == 1:
            out[at : at + 1] = rng.bytes(1)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            out[at : at + size] = bytes([int(rng.choice([0, 255]))]) * min(size, n - at)
        elif kind == 4:  # splice
            other = int(rng.integers(n))
            out[at : at + size] = out[other : other + size]
        elif kind == 5:  # a block twice
            out[at:at] = out[at : at + size] * int(rng.choice([1, 1, 2, 20]))
        elif kind == 6:
            del out[at : at + min(size, 64)]
        elif kind == 7:
            out[at:at] = rng.bytes(int(rng.integers(1, 40)))
        elif kind in (8, 9):  # a number or a length
            width, order = int(rng.choice([1, 2, 4, 8])), ("little", "big")[int(rng.integers(2))]
            value = NUMBERS[int(rng.integers(len(NUMBERS)))]
            if rng.random() < 0.5:
                value = int.from_bytes(out[at : at + width], order) + int(rng.integers(-3, 4)) * 2 ** int(
                    rng.integers(width * 8)
                )  # type: ignore[arg-type]
            out[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, order)  # type: ignore[arg-type]
        else:  # a word of the text
            out[at : at + int(rng.integers(6))] = TOKENS[int(rng.integers(len(TOKENS)))].encode()
    return bytes(out)


def pick(rng: Rng, items: Sequence[Any]) -> Any:
    """One of some items."""
    return items[int(rng.integers(len(items)))]


def is_own(error: BaseException, allowed: tuple[type, ...]) -> bool:
    """Whether an error is a reader's own: of its very class, raised by this package, in one line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or type(error) not in allowed:
        return False
    place = trace.tb_frame.f_code.co_filename
    said = linecache.getline(place, trace.tb_lineno).strip()
    text = str(error)
    ours = bool({"idn_data", "idn_train"} & set(Path(place).parts[-4:-1])) or Path(place).name == "fuzzcommands.py"
    return ours and said.startswith("raise") and bool(text) and len(text.splitlines()) == 1 and len(text) < 2000


class Reader(Protocol):
    """One reader: writes the input of a number into its folder, and reads it as `idn` would."""

    allowed: tuple[type, ...]  # its own error classes

    def __init__(self, folder: Path) -> None: ...

    def write(self, rng: Rng) -> None:
        """Make the input."""

    def read(self) -> None:
        """Read it."""


def try_input(
    reader: Reader, name: str, seed: int, number: int, limit: float, held: int = 0
) -> tuple[str, float, int, str]:
    """Make an input and read it, in `limit` seconds; `held` are the bytes that the process had in memory before.

    Returns
    -------
    (str, float, int, str)
        "accepted", "refused" or "finding"; seconds of reading; the most bytes in memory beyond `held`; what was said.
    """
    reader.write(np.random.default_rng([seed, number, *name.encode()]))
    _forget_peak()
    began, state, said = time.monotonic(), "accepted", ""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            reader.read()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a panic of Rust is no Exception
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            state = "refused" if is_own(error, reader.allowed) and "not enough memory" not in said else "finding"
            if state == "finding":
                said += " | " + " < ".join(
                    f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[:-5:-1]
                )
    seconds, peak = time.monotonic() - began, max(0, read_memory("VmHWM") - held)
    problems = [f"warning: {w.message}" for w in caught]
    problems += [f"{seconds:.1f} s"] if seconds > limit else []
    problems += [f"{peak / 1e6:.0f} MB"] if peak > MOST_MEMORY else []
    return ("finding", seconds, peak, "; ".join([*problems, said])) if problems else (state, seconds, peak, said)


def _forget_peak() -> None:
    """Let the system count this process' highest use of memory from now on (Linux)."""
    if os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def read_memory(kind: str) -> int:
    """Bytes of this process as Linux counts them: VmSize, VmRSS (in memory) or VmHWM (the most in memory); else 0."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{kind}:")), 0)
