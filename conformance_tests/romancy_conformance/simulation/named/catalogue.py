"""All named cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy_conformance.simulation.named import dbos, ends, lanes, leases, mends, timers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy import Workflow
    from romancy_conformance.simulation.named.scene import Part

__all__ = ["CASES", "Case"]


class Case(NamedTuple):
    """A case, and the workflows of its workers."""

    part: Part
    workflows: Sequence[Workflow[..., Any]]


CASES: Final = {
    "dbos-716": Case(dbos.database_restarts_amid_a_takeover, dbos.WORKFLOWS),
    "dbos-742": Case(dbos.stale_list, dbos.WORKFLOWS),
    "dbos-804": Case(dbos.old_and_new_have_one_name, dbos.WORKFLOWS),
    "dbos-805": Case(dbos.stuck_in_front, dbos.WORKFLOWS),
    "death-before-a-dispatch": Case(lanes.death_before_a_dispatch, lanes.WORKFLOWS),
    "full-lanes": Case(lanes.full_lanes, lanes.WORKFLOWS),
    "late-answer": Case(leases.late_answer, leases.WORKFLOWS),
    "late-heartbeat": Case(leases.late_heartbeat, leases.WORKFLOWS),
    "late-question": Case(leases.late_question, leases.WORKFLOWS),
    "cancelled-after-a-death": Case(mends.cancelled_after_a_death, mends.WORKFLOWS),
    "lapse-amid-an-append": Case(mends.lapse_amid_an_append, mends.WORKFLOWS),
    "message-amid-an-end": Case(ends.message_amid_an_end, ends.WORKFLOWS),
    "request-behind-an-end": Case(ends.request_behind_an_end, ends.WORKFLOWS),
    "long-timer": Case(timers.long_timer, timers.WORKFLOWS),
}
"""By the names that stand in place of seeds."""
