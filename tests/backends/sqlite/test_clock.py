"""The time of a file: it follows the machine's clock, but neither goes back nor stops when that is set back."""

from __future__ import annotations

import time

import pytest

from romancy_sqlite import _connection
from romancy_sqlite._connection import now

HOUR = 3_600_000_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The machine's clocks in microseconds, which a test can set."""
    clocks = {"wall": 5 * HOUR, "ticks": 1000}
    monkeypatch.setattr(_connection, "_lead", 0)
    monkeypatch.setattr(time, "time_ns", lambda: clocks["wall"] * 1000)
    monkeypatch.setattr(time, "perf_counter_ns", lambda: clocks["ticks"] * 1000)
    return clocks


def test_it_is_the_time_of_the_machine(machine: dict[str, int]) -> None:
    assert now() == 5 * HOUR
    machine["wall"] += HOUR  # it slept, and its ticks stopped
    assert now() == 6 * HOUR


def test_a_clock_put_back_does_not_stop_it(machine: dict[str, int]) -> None:
    assert now() == 5 * HOUR
    machine["wall"] -= HOUR
    machine["ticks"] += 7
    assert now() == 5 * HOUR + 7
    machine["ticks"] += 3
    assert now() == 5 * HOUR + 10
