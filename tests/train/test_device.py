"""What is chosen where nothing is said."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch

from idn_train.device import choose_device, choose_precision, choose_threads, join_processes

CPU = torch.device("cpu")


def test_devices() -> None:
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="no device 'abacus' here; one of auto, cpu"):
        choose_device("abacus")
    with pytest.raises(ValueError, match="no device 'cuda:99' here"):
        choose_device("cuda:99")


def test_each_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device() == torch.device("cuda:3")


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
def test_fewer_threads_only_where_they_are_quicker(milliseconds: dict[int, int], chosen: int, tried: list[int]) -> None:
    seen = []

    def step() -> None:
        seen.append(torch.get_num_threads())
        time.sleep(milliseconds[seen[-1]] / 1000)

    assert choose_threads(step) == chosen
    assert seen == [threads for threads in tried for _ in range(4)]
    assert torch.get_num_threads() == 8


@pytest.mark.usefixtures("eight_threads")
def test_who_sets_the_threads_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert choose_threads(lambda: pytest.fail("measured")) == 8
