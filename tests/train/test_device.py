"""What is chosen where nothing is said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from idn_train.device import (
    choose_compiled,
    choose_device,
    choose_precision,
    choose_threads,
    explain_full_memory,
    free_memory,
    is_memory_full,
    join_processes,
    supports_float64,
)
from idn_train.graph import EAGER, CapturedStep
from idn_train.learner import is_captured

CPU = torch.device("cpu")


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="no device 'abacus' here; one of auto, cpu"):
        choose_device("abacus")
    with pytest.raises(ValueError, match="no device 'cuda:99' here"):
        choose_device("cuda:99")


class Gpus:
    """Four GPUs that compute nothing: they note which one is PyTorch's current one when they are asked."""

    def __init__(self) -> None:
        self.current = 0
        self.seen: list[tuple[str, int]] = []

    @contextmanager
    def make_current(self, device: torch.device) -> Iterator[None]:
        before, self.current = self.current, self.current if device.index is None else device.index
        yield
        self.current = before

    def note(self, what: str) -> MagicMock:
        self.seen.append((what, self.current))
        return MagicMock()


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Gpus:
    gpus = Gpus()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr("idn_train.device._computes", lambda device: True)
    monkeypatch.setattr(torch.cuda, "device", gpus.make_current)
    for name in ("CUDAGraph", "Stream", "current_stream", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda *_, name=name, **__: gpus.note(name))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: gpus.current == 2)
    return gpus


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert choose_device(name) == torch.device("cuda:0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device(name) == torch.device("cuda:3")


@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_this_torch_cannot_use_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def refuse(*given: object, **options: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore of it")

    monkeypatch.setattr(torch, "ones", refuse)
    assert choose_device("auto") == torch.device("cpu")
    assert "cuda:0 cannot be used by this torch (CUDA error: no kernel image is available" in caplog.text


def test_a_compiler_that_does_not_work(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(function: object) -> None:
        raise RuntimeError("\n  Cannot find a working triton installation.\nMore information")

    monkeypatch.setattr(torch, "compile", refuse)
    cpu, gpu = torch.device("cpu"), torch.device("cuda:0")
    monkeypatch.setattr(torch, "ones", lambda *given, device: torch.zeros(2))
    fault = r"torch\.compile does not work here \(RuntimeError: Cannot find a working triton installation\.\); "
    with pytest.raises(ValueError, match=fault + "leave out --compile$"):
        choose_compiled(cpu, True)
    assert not choose_compiled(gpu, None) and re.search(fault + "going on without it", caplog.text)
    assert not choose_compiled(cpu, None) and not choose_compiled(gpu, False)
    monkeypatch.setattr(torch, "compile", lambda function: function)
    assert choose_compiled(gpu, None) and choose_compiled(cpu, True)


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize("name", ["cuda:0", "cuda:2", "mps"])
def test_several_processes_do_not_share_a_gpu(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=f"'{name}' is one GPU for 2 processes; give --device auto, which gives each"):
        choose_device(name)
    assert choose_device("cpu") == CPU


def test_a_named_gpu_is_the_current_one(gpus: Gpus) -> None:
    assert [choose_precision(choose_device(f"cuda:{k}")) for k in (1, 2)] == ["float32", "bf16"]
    with join_processes(choose_device("cuda:2")) as rank:
        assert (rank, gpus.current) == (0, 2)
    assert gpus.current == 0


def test_only_idns_step_becomes_a_graph() -> None:
    """What a network of one's own decides in Python would be decided once for all steps."""
    cuda = torch.device("cuda")
    assert is_captured(cuda, 1, True) and not is_captured(cuda, 2, True) and not is_captured(cuda, 1, False)
    assert not is_captured(cuda, 1, True, "net.py:Net") and not is_captured(torch.device("cpu"), 1, True)


def test_a_step_is_captured_on_the_gpu_of_its_tensors(gpus: Gpus) -> None:
    tensor = MagicMock(device=torch.device("cuda:1"))  # as much of one as the captured step touches
    step = CapturedStep(lambda lr, gt: gpus.note("step"))
    gpus.seen.clear()
    for _ in range(EAGER + 2):
        step(tensor, tensor)
    assert {"Stream", "current_stream", "stream", "graph", "step"} == {what for what, _ in gpus.seen}
    assert {current for _, current in gpus.seen} == {1}
    assert gpus.current == 0


def test_apples_gpu_is_taken_by_its_name_where_torch_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"no device 'mps' here; one of auto, cpu$"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps") == torch.device("mps") and choose_device() == CPU
    with pytest.raises(ValueError, match=r"no device 'cuda' here; one of auto, cpu, mps$"):
        choose_device("cuda")
    assert choose_precision(torch.device("mps")) == "float32"
    assert (
        not supports_float64(torch.device("mps")) and supports_float64(CPU) and supports_float64(torch.device("cuda"))
    )


FULL = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
]


def end_capture(error: RuntimeError) -> None:
    """Fail as the capture of a CUDA graph does in which something failed."""
    try:
        raise error
    finally:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


@pytest.mark.parametrize("error", FULL)
def test_a_full_memory_is_told_by_class_or_text(error: RuntimeError) -> None:
    assert is_memory_full(error)
    with pytest.raises(RuntimeError, match="during capture") as caught:
        end_capture(error)
    assert is_memory_full(caught.value)


def test_processors_say_so_in_these_words() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 55)
    assert is_memory_full(caught.value)
    assert not is_memory_full(RuntimeError("shape mismatch")) and not is_memory_full(ValueError("out of memory"))


def test_what_torch_keeps_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append("cuda"))
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: freed.append("mps"))
    for name in ("cuda:0", "cpu", "mps"):
        free_memory(torch.device(name))
    assert freed == ["cuda", "mps"]


@pytest.mark.parametrize(
    ("batch", "advice"), [(64, "64; give a smaller one, --batch 32 say"), (1, "1; close other programs")]
)
def test_a_full_memory_names_a_smaller_batch(batch: int, advice: str) -> None:
    said = f"cpu: not enough memory for steps of batch {advice}"
    with pytest.raises(MemoryError, match=said), explain_full_memory(CPU, batch):
        raise FULL[0]
    with pytest.raises(RuntimeError, match="shape"), explain_full_memory(CPU, batch):
        raise RuntimeError("shape mismatch")


@pytest.mark.parametrize(("bf16", "amx", "chosen"), [(1, 0, "bf16"), (0, 1, "bf16"), (0, 0, "float32")])
def test_bf16_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, bf16: int, amx: int, chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(bf16), raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bool(amx), raising=False)
    assert choose_precision(CPU) == chosen
    assert choose_precision(CPU, "bf16") == "bf16"
    assert choose_precision(CPU, "float32") == "float32"


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match="precision must be one of auto, float32, bf16; got 'fp8'"):
        choose_precision(CPU, "fp8")


def test_alone_is_rank_0() -> None:
    with join_processes(CPU) as rank:
        assert rank == 0
        assert not torch.distributed.is_initialized()


@pytest.fixture
def eight_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("eight_threads")
@pytest.mark.parametrize(
    ("milliseconds", "chosen", "tried"),
    [
        ({8: 10, 4: 20}, 8, [8, 4]),  # idle
        ({8: 80, 4: 10, 2: 20}, 4, [8, 4, 2]),  # one core is taken
        ({8: 80, 4: 40, 2: 20, 1: 5}, 1, [8, 4, 2, 1]),
        ({8: 20, 4: 20}, 8, [8, 4]),  # no gain
    ],
)
def test_fewer_threads_only_where_they_are_quicker(
    monkeypatch: pytest.MonkeyPatch, milliseconds: dict[int, int], chosen: int, tried: list[int]
) -> None:
    """By a clock that a step sets forward."""
    seen: list[int] = []

    def step() -> None:
        seen.append(torch.get_num_threads())

    clock = SimpleNamespace(perf_counter=lambda: sum(milliseconds[threads] for threads in seen) / 1000)
    monkeypatch.setattr("idn_train.device.time", clock)
    assert choose_threads(step) == chosen
    assert seen == [threads for threads in tried for _ in range(4)]
    assert torch.get_num_threads() == 8


@pytest.mark.usefixtures("eight_threads")
def test_who_sets_the_threads_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert choose_threads(lambda: pytest.fail("measured")) == 8
