"""How much of what a limit allows was used, from demands that are written down by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.core import NULL, OwnerChanged, PlaceAsked, PlaceFreed, PlaceGranted, WorkflowCompleted, WorkflowStarted
from romancy_conformance.lane_use import Demand, Use, demands_in, use_of

if TYPE_CHECKING:
    from romancy.core import LogEvent


@pytest.mark.parametrize(
    ("demands", "allowed", "use"),
    [
        ([Demand(0, 0, 10)], 1, Use(10, 0)),
        ([Demand(0, 2, 10)], 1, Use(8, 2)),
        ([Demand(0, 0, 10), Demand(0, 15, 20)], 1, Use(15, 5)),  # the place was free for five
        ([Demand(0, 0, 10), Demand(0, 15, 20)], 2, Use(15, 15)),  # and so was the second one
        ([Demand(0, 0, 10), Demand(12, 15, 20)], 1, Use(15, 3)),  # nobody waited before
        ([Demand(0, 0, 10, [(4, 8)])], 1, Use(6, 0)),  # its owner was dead
        ([Demand(0, 6, 10, [(2, 5)])], 1, Use(4, 3)),  # that of the next one was
        ([Demand(0, 6, 10, [(0, 6)]), Demand(1, 10, 12)], 1, Use(6, 0)),  # who is dead stands first
        ([Demand(0, 6, 10, [(0, 6)]), Demand(1, 10, 12)], 2, Use(6, 9)),  # the second place is for the second one
        ([], 1, Use(0, 0)),
    ],
)
def test_what_was_used_and_idle(demands: list[Demand], allowed: int, use: Use) -> None:
    assert use_of(demands, allowed) == use


def test_the_share_of_nothing_is_nothing() -> None:
    assert Use().share == 0
    assert (Use(3, 1) + Use(6, 0)).share == 0.9


def test_demands_are_read_from_a_log() -> None:
    def asked(id: str) -> PlaceAsked:
        return PlaceAsked(id=id, limit="l", concurrency=1)

    rows: list[tuple[int, list[LogEvent]]] = [
        (10, [WorkflowStarted(at=10, nonce="n", workflow="w", input=NULL)]),
        (20, [asked("a")]),
        (30, [OwnerChanged(at=30, owner="other")]),
        (40, [PlaceGranted(at=35, id="a")]),
        (60, [PlaceFreed("a"), asked("b")]),
        (70, [OwnerChanged(at=70)]),  # it was given back
        (80, [PlaceGranted(at=80, id="b")]),
        (90, [WorkflowCompleted(result=NULL)]),
    ]
    away = [(25, 30)]
    assert demands_in(rows, [85, 41, 25]) == [Demand(10, 41, 60, away), Demand(60, 85, 90, away)]
    assert demands_in(rows, []) == [Demand(10, 60, 60, [(20, 30)]), Demand(60, 90, 90, [(20, 30)])]
