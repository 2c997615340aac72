"""The twelve members of a store, and its rooms: their numbers, and what becomes of a missing room."""

from __future__ import annotations

from typing import Any

import pytest

import romancy.app
from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.errors import StorageConfigurationError
from romancy.storage.backends import create_store
from romancy.storage.figures import Figures
from romancy.storage.lookups import Lookups
from romancy.storage.outbox import Outbox
from romancy.storage.protocol import Store
from romancy.storage.reading import Reading
from romancy.storage.rebuilding import Rebuilding
from romancy.storage.rooms import MissingRoomError, Room, Rooms
from romancy.storage.router import Router
from romancy.storage.sessions import Sessions
from romancy.storage.standby import Standby
from romancy.storage.upkeep import Upkeep
from romancy_conformance.changing import changed

ROOMS = {
    Room.SESSIONS: Sessions, Room.ROUTER: Router, Room.OUTBOX: Outbox, Room.READING: Reading, Room.LOOKUPS: Lookups,
    Room.FIGURES: Figures, Room.UPKEEP: Upkeep, Room.REBUILDING: Rebuilding, Room.STANDBY: Standby,
}  # fmt: skip


def members(protocol: type) -> set[str]:
    return {name for base in protocol.__mro__ for name in vars(base) if not name.startswith("_")}


def test_a_store_has_twelve_members() -> None:
    assert 12 == len(members(Store))


@pytest.mark.parametrize("room", Room)
def test_a_room_has_at_most_ten_members(room: Room) -> None:
    assert 1 <= len(members(ROOMS[room])) <= 10


@pytest.mark.parametrize("room", Room)
def test_a_missing_room_says_what_does_not_work(room: Room) -> None:
    with pytest.raises(MissingRoomError, match=rf"offers no room '{room.value}' .*, so ") as refused:
        getattr(Rooms(), room.value)

    assert room is refused.value.room
    assert isinstance(refused.value, StorageConfigurationError)
    assert frozenset() == Rooms().offered


def test_what_is_offered_is_what_was_given() -> None:
    rooms = create_store("sqlite:///rooms.db").rooms

    assert frozenset(Room) - {Room.STANDBY} == rooms.offered
    assert {Room.READING} == Rooms(reading=rooms.reading).offered
    assert {Room.READING} == Rooms(reading=rooms.reading).wrapped(outbox=lambda box: box).offered


def test_rooms_are_wrapped_one_by_one() -> None:
    rooms, other = create_store("sqlite:///rooms.db").rooms, create_store("sqlite:///other.db").rooms

    wrapped = rooms.wrapped(reading=lambda _: other.reading)

    assert other.reading is wrapped.reading
    assert {"reading"} == {room.value for room in rooms.offered if getattr(wrapped, room) is not getattr(rooms, room)}


@activity
async def rooms_double(number: int) -> int:
    return 2 * number


@workflow
async def rooms_twice(ctx: WorkflowContext, number: int) -> int:
    number = await rooms_double(number)
    await ctx.sleep(0.01)
    return await rooms_double(number)


@pytest.mark.anyio
async def test_workflows_run_on_a_store_without_rooms(monkeypatch: pytest.MonkeyPatch, storage_url: str) -> None:
    def create(url: str, **options: Any) -> Store:
        store: Store = changed(create_store(url, **options), rooms=Rooms())
        return store

    monkeypatch.setattr(romancy.app, "create_store", create)
    async with Romancy(storage_url, workflows=[rooms_twice]) as app:
        assert 20 == await app.run(rooms_twice, 5)
        with pytest.raises(MissingRoomError, match="'reading'"):
            await app.list_instances()
