"""What a claim takes while starts with fair keys wait, on an SQL database: it reads some lines at a time."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from romancy.storage.sqlkit.statements import Ask, ask, look
from romancy.storage.turns import Chosen, InLine, Look, choose

if TYPE_CHECKING:
    from romancy.storage.records import ClaimRequest
    from romancy.storage.sqlkit.statements import Operation

__all__ = ["choose_in_turn", "earlier"]

_SECOND: Final = 1_000_000


def choose_in_turn(request: ClaimRequest) -> Operation[Chosen]:
    """What the claim is to take."""
    priorities = [priority for (priority,) in (yield from ask("turn_priorities")).rows]
    with closing(choose(priorities, request.limit, request.turns)) as choosing:
        try:
            wanted = next(choosing)
            while True:
                (answer,) = yield from look(_reading(request, wanted))
                wanted = choosing.send([InLine(*row) for row in answer.rows])
        except StopIteration as end:
            chosen: Chosen = end.value
            return chosen


def earlier(now: int, next_due: int | None) -> int | None:
    """When to look again while starts wait in lines. When those fall due that are not taken now is not read."""
    return now + _SECOND if next_due is None else min(next_due, now + _SECOND)


def _reading(request: ClaimRequest, wanted: Look) -> Ask:
    about = {
        "known": [*request.codes.items()],
        "leave": list(request.leave),
        "grace": request.grace,
        "priority": wanted.priority,
        "limit": wanted.limit,
    }
    if not wanted.low:
        return Ask("turn_of_none", about)
    return Ask("turn_of_keys", {**about, "low": wanted.low, "below": wanted.below})
