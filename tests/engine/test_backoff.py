"""Pauses that grow with the time since the last success."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.engine.activities.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterator


def clock(times: list[float]) -> Backoff:
    ticks: Iterator[float] = iter(times)
    return Backoff(lambda: next(ticks))


def test_the_longer_nothing_succeeds_the_longer_is_the_pause() -> None:
    patience = clock([100.0, 100.01, 101.0, 104.0, 300.0, 9000.0])

    pauses = [patience.lost() for _ in range(6)]

    longest = [0.05, 0.05, 1.0, 4.0, 5.0, 5.0]
    assert [most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True)] == [True] * 6


def test_a_success_makes_it_short_again() -> None:
    patience = clock([100.0, 200.0, 300.0])
    patience.lost()
    assert patience.lost() >= 2.5

    patience.succeeded()

    assert patience.lost() <= 0.05
