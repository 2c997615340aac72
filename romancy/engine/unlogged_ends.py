"""The ends of attempts that an instance has, and that its log may not have."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from romancy.core import ActivityCancelled, ActivityCompleted, ActivityFailed, decode_commit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from romancy.engine.instance import Live
    from romancy.storage.records import Item

__all__ = ["ends_without_log"]


def ends_without_log(live: Live, in_flight: Item | None) -> Iterator[str]:
    """The activities that had an effect, or may have had one, by an end that is not known to be in the log.

    It waits to be fed, is held back, or is in the append `in_flight`, which the database may still refuse.
    """
    waiting = (event for event, _ in live.inputs)
    held = () if live.held is None else (event for event, _ in live.held.inputs)
    written = () if in_flight is None else decode_commit(in_flight.body)
    for event in chain(waiting, held, written):
        if isinstance(event, ActivityCompleted) or (
            isinstance(event, ActivityFailed | ActivityCancelled) and event.unknown
        ):
            yield event.id
    yield from live.lazy
