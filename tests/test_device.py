"""What is chosen where nothing is said."""

from __future__ import annotations

import pytest
import torch

from idn_train.device import choose_device, choose_precision, join_processes

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
