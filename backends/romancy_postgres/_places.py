"""Gives places to new instances, in a transaction that keeps dispatches off their lanes until it ends.

It waits for no lock, since whoever holds a lane may be frozen: it looks a few times. Then the instances ask for places.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from romancy.storage.admission import places_taken_by
from romancy.storage.routing import lane_of
from romancy.storage.sqlkit.rooms import Room, asked_rooms, question_about, without_room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Append
    from romancy_postgres._connection import Link

__all__ = ["full_for"]

_PAUSES: Final = (0.002, 0.005, 0.01, 0.02)
"""Seconds between the looks. A dispatch holds a lane for about as long."""
_COLUMNS: Final = ("lane", "held", "low", "below", "terms")


async def _locked(link: Link, lanes: list[str]) -> list[str]:
    """Those of the lanes that are locked now."""
    locked = [lane for (lane,) in await link.fetch("lanes_lock_now", lanes)]
    for pause in _PAUSES:
        left = [one for one in lanes if one not in locked]
        if not left:
            break
        await asyncio.sleep(pause)
        locked += [lane for (lane,) in await link.fetch("lanes_lock_now", left)]
    return locked


async def full_for(link: Link, appends: Sequence[Append]) -> set[str]:
    """The new instances for which there is no place. One whose append is in the log already has its place."""
    taking = [one for one in appends if places_taken_by(one)]
    held = {lane_of(one) or "": one for one in asked_rooms(taking)}
    # What is read behind the lock is what all have committed who have held it.
    locked = await _locked(link, list(held)) if held else []
    asked = [question_about(held[lane]) for lane in locked]
    rooms = dict.fromkeys(held.values(), Room(0, 0, 1, None))
    if asked:
        columns = [[one[name] for one in asked] for name in _COLUMNS]
        rows = await link.fetch("lane_rooms", *columns, asked[0]["limits"], asked[0]["most"])
        rooms |= {address: Room(*room) for address, *room in rows}
    refused = without_room(taking, rooms)
    if not refused:
        return set()
    known = ([one.instance_id for one in refused], [one.life for one in refused], [one.writer for one in refused])
    there = {instance_id for (instance_id,) in await link.fetch("first_writers", *known)}
    return {one.instance_id for one in refused} - there
