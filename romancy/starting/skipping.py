"""Whether a start was skipped: it is known once the lane of its limit was dispatched."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from romancy.core import (
    Input,
    InputDeferred,
    OwnerChanged,
    PlaceAsked,
    PlaceGranted,
    PlaceNotWanted,
    PlaceRefused,
    TimerCancelled,
    TimerStarted,
    WorkflowCaughtUp,
)
from romancy.errors import StartSkippedError
from romancy.log import follow_log
from romancy.storage.admission import SKIP
from romancy.storage.routing import address_held_at, address_of_lane
from romancy.storage.services import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.core import LogEvent
    from romancy.storage.protocol import Store
    from romancy.workflow import Workflow

__all__ = ["refuse_if_skipped"]

_BEFORE_THE_BODY: Final = (Input, InputDeferred, WorkflowCaughtUp, PlaceAsked)
"""What comes from outside, or is there because a worker has taken the instance up, says nothing about its body."""
_OF_A_WAIT: Final = (TimerStarted, TimerCancelled, PlaceNotWanted)
"""What a wait for a place records that expires."""
_NAMED: Final = 10
"""How many holders are named."""


async def refuse_if_skipped(store: Store, workflow: Workflow[..., Any], instance_id: str) -> None:
    """Wait until the instance has its places or was refused one, if its start may be skipped.

    Raises StartSkippedError. What becomes of a start that is due later or paused, also as its workflow is, nobody waits
    for.
    """
    given = workflow.given
    if not workflow.skips or given.delay or given.at is not None or given.paused:
        return
    left = {limit.name for limit in workflow.limits if limit.full == SKIP}
    asked: dict[str, PlaceAsked] = {}
    async with aclosing(follow_log(store, instance_id)) as entries:
        async for entry in entries:
            event = entry.event
            if isinstance(event, PlaceAsked):
                asked[event.id] = event
            elif isinstance(event, PlaceRefused) and (refused := asked.get(event.id)) is not None:
                if refused.full == SKIP:
                    raise await _skipped(store, instance_id, refused)
                return
            elif isinstance(event, PlaceGranted) and (granted := asked.get(event.id)) is not None:
                left.discard(granted.limit)
            if not left or _is_of_a_body(event, asked) or (isinstance(event, OwnerChanged) and event.pause):
                return


def _is_of_a_body(event: LogEvent, asked: Mapping[str, PlaceAsked]) -> bool:
    """Whether this says that the body has begun: the instance is older than the limits."""
    if isinstance(event, _OF_A_WAIT):
        return not any(one.expires for one in asked.values())
    return not isinstance(event, _BEFORE_THE_BODY)


async def _skipped(store: Store, instance_id: str, asked: PlaceAsked) -> StartSkippedError:
    holders: list[str] = []
    if Service.LOOKUPS in store.services.offered:
        held = address_held_at(address_of_lane(asked.limit, asked.key))
        holders = [one.owner.name for one in await store.services.lookups.front(held, _NAMED)]
    key = f" with the key {asked.key!r}" if asked.key else ""
    return StartSkippedError(
        f"instance {instance_id} was skipped: no place was free at limit {asked.limit!r}{key}"
        + (f", held by {', '.join(holders)}" if holders else ""),
        instance_id=instance_id,
        limit=asked.limit,
        key=asked.key,
        holders=holders,
    )
