"""What to compute on and how: chosen by what the machine offers, unless told."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from idn_train.config import Precision

_LOG = logging.getLogger(__name__)  # without a handler, warnings go to standard error
# Of Windows, Linux, and GPUs
_FULL = ("not enough memory", "can't allocate memory", "out of memory")


def choose_device(name: str = "auto") -> torch.device:
    """The device to compute on: as named, else this process's GPU, else the processor.

    "cuda" is this process's GPU too: each that torchrun started has its own. "auto" takes a GPU of CUDA alone; Apple's
    is taken by its name, "mps".

    Raises
    ------
    ValueError
        No such device here; or one GPU was named, and torchrun started several processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1 and (name == "mps" or name.startswith("cuda:")):
        raise ValueError(f"{name!r} is one GPU for {world} processes; give --device auto, which gives each its own")
    if name in ("auto", "cuda") and torch.cuda.is_available():
        own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        name = own if name == "cuda" or _computes(torch.device(own)) else "cpu"
    elif name == "auto":
        name = "cpu"
    with contextlib.suppress(RuntimeError):
        device = torch.device(name)
        if device.type == "cpu" or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count()):
            return device
        # without autocast for it, torch is older than 2.5
        if device.type == "mps" and torch.backends.mps.is_available() and torch.amp.is_autocast_available("mps"):
            return device
    raise ValueError(f"no device {name!r} here; one of auto, cpu{_list_gpus()}")


def _computes(device: torch.device) -> bool:
    """Whether this torch computes on a GPU: it may be too old for it, or too new. A word in the log if not."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2
    except RuntimeError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        _LOG.warning("%s cannot be used by this torch (%s); going on with the CPU", device, reason)
        return False


def choose_compiled(device: torch.device, asked: bool | None) -> bool:
    """Whether a training is compiled: as asked, else on a GPU where that works. A word in the log where it does not.

    Raises
    ------
    ValueError
        It was asked for, and does not work here.
    """
    wanted = device.type == "cuda" if asked is None else asked
    fault = find_compile_fault(device) if wanted else None
    if fault and asked:
        raise ValueError(f"torch.compile does not work here ({fault}); leave out --compile")
    if fault:
        _LOG.warning("torch.compile does not work here (%s); going on without it", fault)
    return wanted and not fault


def find_compile_fault(device: torch.device) -> str | None:
    """Why `torch.compile` does not work here, in one line: no Triton, no C++ compiler, an old GPU; None if it does."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(2, device=device))
    except Exception as error:  # of any kind: from Triton, the C++ compiler, or torch's own
        lines = [line for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {lines[0].strip()[:200]}" if lines else type(error).__name__
    return None


def _list_gpus() -> str:
    """What an error names beside the processor."""
    return (", cuda" if torch.cuda.is_available() else "") + (", mps" if torch.backends.mps.is_available() else "")


def supports_float64(device: torch.device) -> bool:
    """Whether a device has doubles: Apple's GPUs have none."""
    return device.type != "mps"


def is_memory_full(error: BaseException) -> bool:
    """Whether torch ran out of memory, on any device; also where another error came of it.

    Only CUDA's error has a class of its own. The others are told by their text.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, torch.cuda.OutOfMemoryError):
            return True
        if isinstance(link, RuntimeError) and any(words in str(link) for words in _FULL):
            return True
        link = link.__cause__ or link.__context__
    return False


def free_memory(device: torch.device) -> None:
    """Give back what torch keeps of a GPU's memory for its next tensors."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


@contextlib.contextmanager
def explain_full_memory(device: torch.device, batch: int) -> Iterator[None]:
    """Within the block, a full memory is a MemoryError that names a smaller batch than this one."""
    try:
        yield
        return
    except Exception as error:
        if not is_memory_full(error):
            raise
    advice = f"give a smaller one, --batch {batch // 2} say" if batch > 1 else "close other programs"
    raise MemoryError(f"{device}: not enough memory for steps of batch {batch}; {advice}")


def choose_precision(device: torch.device, name: str = "auto") -> Precision:
    """bf16 where the device multiplies in it; else float32: a processor that only emulates bf16 is 3 times slower."""
    if name == "auto":
        if device.type == "cuda":
            with torch.cuda.device(device):  # asked of the current GPU
                native = torch.cuda.is_bf16_supported(including_emulation=False)
        elif device.type != "cpu":
            native = False
        else:
            probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # torch has no public ones
            native = any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
        return "bf16" if native else "float32"
    if name not in ("float32", "bf16"):
        raise ValueError(f"precision must be one of auto, float32, bf16; got {name!r}")
    return "bf16" if name == "bf16" else "float32"


def choose_threads(step: Callable[[], object]) -> int:
    """Threads by which a step is quickest now: all, or half of them for as long as that is quicker.

    Where another program computes on one of the cores, the threads of the others wait for the one there in each
    operation, and two may take many times as long as one. Who has set `OMP_NUM_THREADS` has chosen.
    """
    before = threads = chosen = torch.get_num_threads()
    quickest = math.inf
    try:
        while threads and before > 1 and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(threads)
            step()  # allocates
            began = time.perf_counter()
            for _ in range(3):
                step()
            seconds = time.perf_counter() - began
            if seconds > 0.9 * quickest:
                break
            chosen, quickest, threads = threads, seconds, threads // 2
    finally:
        torch.set_num_threads(before)
    return chosen


def agree(value: int, device: torch.device) -> int:
    """The value of the first process in all: their clocks differ, their steps must not."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return value
    tensor = torch.tensor(value, device=device)
    torch.distributed.broadcast(tensor, 0)
    return int(tensor)


@contextlib.contextmanager
def join_processes(device: torch.device) -> Iterator[int]:
    """Rank of this process among those that torchrun started together, joined for the time of the block; 0 if alone.

    A GPU is PyTorch's current one for as long.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    with torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext():
        if world == 1:
            yield 0
            return
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield rank
        finally:
            torch.distributed.destroy_process_group()
