"""Whether a start was skipped: it is known once the lane of its limit was dispatched."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from romancy.core import OwnerChanged, PlaceAsked, PlaceGranted, PlaceRefused, WorkflowStarted
from romancy.errors import StartSkippedError
from romancy.log import follow_log
from romancy.storage.admission import SKIP
from romancy.storage.rooms import Room
from romancy.storage.routing import address_held_at, address_of_lane

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.workflow import Workflow

__all__ = ["refuse_if_skipped"]

_BEFORE_THE_BODY: Final = (WorkflowStarted, PlaceAsked, PlaceGranted, OwnerChanged)
_NAMED: Final = 10
"""How many holders are named."""


async def refuse_if_skipped(store: Store, workflow: Workflow[..., Any], instance_id: str) -> None:
    """Wait until the instance has its places or was refused one. Raises StartSkippedError."""
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
            elif isinstance(event, PlaceGranted) and (given := asked.get(event.id)) is not None:
                left.discard(given.limit)
            if not left or not isinstance(event, _BEFORE_THE_BODY):
                return


async def _skipped(store: Store, instance_id: str, asked: PlaceAsked) -> StartSkippedError:
    holders: list[str] = []
    if Room.LOOKUPS in store.rooms.offered:
        held = address_held_at(address_of_lane(asked.limit, asked.key))
        holders = [one.owner.name for one in await store.rooms.lookups.front(held, _NAMED)]
    key = f" with the key {asked.key!r}" if asked.key else ""
    return StartSkippedError(
        f"instance {instance_id} was skipped: no place was free at limit {asked.limit!r}{key}"
        + (f", held by {', '.join(holders)}" if holders else ""),
        instance_id=instance_id,
        limit=asked.limit,
        key=asked.key,
        holders=holders,
    )
