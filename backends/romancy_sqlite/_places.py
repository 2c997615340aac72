"""Gives places to new instances, and leaves out marks at lanes where nobody waits.

A transaction that writes excludes every other one, so what it reads of a lane stays true until its COMMIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.admission import places_taken_by
from romancy.storage.records import Append
from romancy.storage.routing import Spread, is_lane, lines_of_lane
from romancy.storage.sqlkit.rooms import Room, asked_rooms, question_about, without_room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Item
    from romancy.storage.routing import Place
    from romancy_sqlite._connection import Tx

__all__ = ["full_for", "is_needless"]


def full_for(tx: Tx, batch: Sequence[Item]) -> frozenset[str]:
    """The new instances of a batch for which there is no place. One whose append is in the log has its place."""
    taking = [item for item in batch if type(item) is Append and item.create is not None and places_taken_by(item)]
    if not taking:
        return frozenset()
    rooms = {one: Room(*tx.rows("lane_room", question_about(one))[0]) for one in asked_rooms(taking)}
    refused = without_room(taking, rooms)
    return frozenset([one.instance_id for one in refused if not _is_there(tx, one)])


def _is_there(tx: Tx, item: Append) -> bool:
    """Whether an earlier copy of a first append is in the log."""
    return bool(tx.rows("first_writer", (item.instance_id, item.life, item.writer)))


def is_needless(tx: Tx, place: Place) -> bool:
    """Whether this is the mark of a lane where nobody waits. Who asks there later finds what is free."""
    address = place.address
    if place.spread is not Spread.EVERY or not is_lane(address):
        return False
    low, high = lines_of_lane(address)
    return not tx.rows("lane_waits", {"address": address, "low": low, "high": high})
