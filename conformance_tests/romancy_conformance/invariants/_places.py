"""Checks that an instance has the places under limits, and the demands for them, that its log tells of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.status import TERMINAL_STATUSES
from romancy.storage.routing import InterestKind, limit_of_lane, whole_lane
from romancy.storage.routing import lane_of as lane_of_places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Set as AbstractSet

    from romancy.storage.records import InstanceRow
    from romancy.storage.routing import Interest
    from romancy_conformance.invariants._log import Told
    from romancy_conformance.invariants._tables import Tables

__all__ = ["of_places"]


async def of_places(row: InstanceRow, log: Told, tables: Tables) -> AsyncIterator[str]:
    """Nobody takes a place that its log has not, and whoever waits for one stands in line, or has an answer.

    The log may have a place that nobody takes: an operator gives it back, and the log does not say so.
    """
    if log.state is None:
        return
    ended = row.status in TERMINAL_STATUSES
    waits: AbstractSet[str] = frozenset() if ended else log.state.places.keys()
    held: AbstractSet[str] = frozenset() if ended else log.state.held.keys()
    why = "it has ended with" if ended else "its log does not know"
    standing = await tables.places(row.instance_id)
    for owner, one in standing:
        if owner.life != row.life or one.interest_id not in waits | held:
            yield f"{_words(one)} ({one.interest_id}), which {why}"
    if not waits or not tables.shows_mail or await tables.mail(row.instance_id):
        return
    found = {one.interest_id: one for owner, one in standing if owner.life == row.life}
    for id in sorted(waits):
        if id not in found:
            yield f"it waits for the place {id}, and does not stand in line for it"
        elif found[id].kind is InterestKind.MEMBER:
            yield f"it waits for the place {id}, which was given to it, and no message says so"


def _words(one: Interest) -> str:
    if one.kind is InterestKind.MEMBER:
        return f"it takes a place of limit {limit_of_lane(lane_of_places(one.address) or one.address)}"
    return f"it stands in line at limit {limit_of_lane(whole_lane(one.address))}"
