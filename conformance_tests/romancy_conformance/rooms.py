"""Leaves out the tests of rooms that a store does not offer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.storage.rooms import Room

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.rooms import Rooms

__all__ = ["rooms_with"]


def rooms_with(room: Room, store: Store) -> Rooms:
    """The rooms of the store. Skip the test if this one is not among them."""
    if store.capabilities.name == "memory" and room in {Room.UPKEEP, Room.LOOKUPS}:
        pytest.skip("capability: memory has no statements, no index and no schema")
    if room not in store.rooms.offered:
        pytest.skip(f"capability: the store offers no room {room.value!r}")
    return store.rooms
