"""Threads over pictures in two steps: what is computed next does not wait for the disk."""

from __future__ import annotations

import threading

import pytest

from idn_data.workers import map_in_two_steps


def test_results_come_in_order() -> None:
    assert list(map_in_two_steps(lambda n: n + 1, lambda n: 10 * n, range(20), 3)) == [10 * n for n in range(1, 21)]


def test_the_next_is_computed_while_one_is_stored() -> None:
    begun = threading.Event()

    def compute(number: int) -> int:
        if number == 1:
            begun.set()
        return number

    def store(number: int) -> bool:
        return begun.wait(20)

    assert list(map_in_two_steps(compute, store, range(2), 1)) == [True, True]


def test_a_slow_disk_holds_the_computing_back() -> None:
    """What is computed and not stored yet takes memory: there is little of it, whatever the number of items."""
    computed: list[int] = []
    free = threading.Event()

    def compute(number: int) -> int:
        computed.append(number)
        return number

    def store(number: int) -> int:
        free.wait(0.5 if number == 0 else 20)
        most.append(len(computed))
        free.set()
        return number

    most: list[int] = []
    assert list(map_in_two_steps(compute, store, range(30), 2)) == list(range(30))
    assert most[0] <= 5


@pytest.mark.parametrize("step", ["compute", "store"])
def test_an_error_stops_it_and_what_was_computed_is_stored(step: str) -> None:
    stored: list[int] = []
    computed: list[int] = []

    def compute(number: int) -> int:
        if step == "compute" and number == 5:
            raise ValueError("five")
        computed.append(number)
        return number

    def store(number: int) -> None:
        if step == "store" and number == 5:
            raise ValueError("five")
        stored.append(number)

    with pytest.raises(ValueError, match="five"):
        list(map_in_two_steps(compute, store, range(40), 2))
    assert sorted({*stored, 5}) == sorted({*computed, 5}) and len(computed) < 12
