"""Checks whether an end is right. A kill takes time and restarts running activities, so some ends may differ.

If the end of a workflow depends on how long an activity takes compared with a clock, every such end is accepted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from romancy.status import Status

if TYPE_CHECKING:
    from romancy_conformance.workflows import Scenario

__all__ = ["fits"]

_ALSO: dict[str, tuple[Any, ...]] = {
    "a_race_of_timer_and_activity": ("work", "nap 1"),
    "first_completed": (9, 12, 14, 21, 26, 5, 16),
    "refuses_to_stop": ("not now 2", "undisturbed"),
    "listens_while_it_works": (0, 1, 11, 111),
    "approval": ("yes", "no"),
}
_MAY_TIME_OUT = frozenset({"timed_in", "waited_for"})
_MAY_END_BEFORE_IT_IS_CANCELLED = frozenset({"grandparent", "cancelled_at_work", "sleeps_side_by_side"})


def fits(scenario: Scenario, status: Status, value: Any, error: str) -> bool:
    """Whether the workflow may end like this."""
    name = scenario.name
    if name in _MAY_TIME_OUT and (status, error) == (Status.FAILED, "TimeoutError"):
        return True
    if scenario.cancel_at is not None and name in _MAY_END_BEFORE_IT_IS_CANCELLED and status is Status.COMPLETED:
        return True
    if status is not scenario.status:
        return False
    if status is Status.FAILED:
        return error == scenario.error
    if status is Status.CANCELLED:
        return True
    if name == "tells_the_time":
        return bool(value > 0)  # it reads real time, of which its sleeps take little here
    if name in {"anyio_group", "gathered"}:
        return sorted(value) == sorted(scenario.result)
    return value in _ALSO[name] if name in _ALSO else value == scenario.result
