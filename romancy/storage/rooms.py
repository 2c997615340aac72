"""The rooms of a store: what it offers beside the twelve members that every store has.

A room is an object with a protocol of its own. A store names its rooms once, and may lack any of them. A caller that
can do without a room asks `offered`; any other caller takes the room, and gets an error that names it if it is missing.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeVar

from romancy.errors import StorageConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.figures import Figures
    from romancy.storage.lookups import Lookups
    from romancy.storage.outbox import Outbox
    from romancy.storage.reading import Reading
    from romancy.storage.rebuilding import Rebuilding
    from romancy.storage.routing import Router
    from romancy.storage.sessions import Sessions
    from romancy.storage.standby import Standby
    from romancy.storage.upkeep import Upkeep

__all__ = ["MissingRoomError", "Room", "Rooms"]


class Room(StrEnum):
    """The names of the rooms."""

    SESSIONS = "sessions"
    ROUTER = "router"
    OUTBOX = "outbox"
    READING = "reading"
    LOOKUPS = "lookups"
    FIGURES = "figures"
    UPKEEP = "upkeep"
    REBUILDING = "rebuilding"
    STANDBY = "standby"


_WITHOUT: Final = {
    Room.SESSIONS: "transactions of activities, and `session=`, do not work",
    Room.ROUTER: "channels, events, and messages to addresses do not work",
    Room.OUTBOX: "messages for the outside cannot be sent",
    Room.READING: "instances cannot be searched or counted, and the workers cannot be listed",
    Room.LOOKUPS: "rows are read one by one, and what lies in inboxes cannot be read",
    Room.FIGURES: "there are no bounded counts for displays",
    Room.UPKEEP: "nothing can be removed, and `romancy doctor` cannot look at the database",
    Room.REBUILDING: "`romancy rebuild` does not work",
    Room.STANDBY: "`read_url=` does not work",
}


class MissingRoomError(StorageConfigurationError):
    """A room was entered that this store does not offer."""

    def __init__(self, room: Room, message: str) -> None:
        super().__init__(message)
        self.room = room


class Rooms:
    """The rooms of one store."""

    def __init__(
        self,
        *,
        sessions: Sessions | None = None,
        router: Router | None = None,
        outbox: Outbox | None = None,
        reading: Reading | None = None,
        lookups: Lookups | None = None,
        figures: Figures | None = None,
        upkeep: Upkeep | None = None,
        rebuilding: Rebuilding | None = None,
        standby: Standby | None = None,
    ) -> None:
        self._sessions = sessions
        self._router = router
        self._outbox = outbox
        self._reading = reading
        self._lookups = lookups
        self._figures = figures
        self._upkeep = upkeep
        self._rebuilding = rebuilding
        self._standby = standby
        given = {
            Room.SESSIONS: sessions, Room.ROUTER: router, Room.OUTBOX: outbox, Room.READING: reading,
            Room.LOOKUPS: lookups, Room.FIGURES: figures, Room.UPKEEP: upkeep, Room.REBUILDING: rebuilding,
            Room.STANDBY: standby,
        }  # fmt: skip
        self.offered: Final = frozenset(room for room, one in given.items() if one is not None)
        """The rooms that this store has."""

    def wrapped(
        self,
        *,
        sessions: Callable[[Sessions], Sessions] | None = None,
        router: Callable[[Router], Router] | None = None,
        outbox: Callable[[Outbox], Outbox] | None = None,
        reading: Callable[[Reading], Reading] | None = None,
        lookups: Callable[[Lookups], Lookups] | None = None,
        figures: Callable[[Figures], Figures] | None = None,
        upkeep: Callable[[Upkeep], Upkeep] | None = None,
        rebuilding: Callable[[Rebuilding], Rebuilding] | None = None,
    ) -> Rooms:
        """The same rooms, some of them replaced. A room that this store lacks stays missing."""
        return Rooms(
            sessions=_replaced(self._sessions, sessions),
            router=_replaced(self._router, router),
            outbox=_replaced(self._outbox, outbox),
            reading=_replaced(self._reading, reading),
            lookups=_replaced(self._lookups, lookups),
            figures=_replaced(self._figures, figures),
            upkeep=_replaced(self._upkeep, upkeep),
            rebuilding=_replaced(self._rebuilding, rebuilding),
            standby=self._standby,
        )

    @cached_property
    def sessions(self) -> Sessions:
        """Transactions for user code, and transactions of callers."""
        return _offered(Room.SESSIONS, self._sessions)

    @cached_property
    def router(self) -> Router:
        """The routing of messages that are not addressed to one instance."""
        return _offered(Room.ROUTER, self._router)

    @cached_property
    def outbox(self) -> Outbox:
        """The relay's side of the outbox."""
        return _offered(Room.OUTBOX, self._outbox)

    @cached_property
    def reading(self) -> Reading:
        """Searches, and the list of workers."""
        return _offered(Room.READING, self._reading)

    @cached_property
    def lookups(self) -> Lookups:
        """Single statements that answer for many ids, or look at a part of a table."""
        return _offered(Room.LOOKUPS, self._lookups)

    @cached_property
    def figures(self) -> Figures:
        """Bounded counts for displays."""
        return _offered(Room.FIGURES, self._figures)

    @cached_property
    def upkeep(self) -> Upkeep:
        """What an operator does: remove old instances, look at settings, plan migrations."""
        return _offered(Room.UPKEEP, self._upkeep)

    @cached_property
    def rebuilding(self) -> Rebuilding:
        """Making again what a database holds beside its logs."""
        return _offered(Room.REBUILDING, self._rebuilding)

    @cached_property
    def standby(self) -> Standby:
        """Whether this server is a copy of another one."""
        return _offered(Room.STANDBY, self._standby)


_T = TypeVar("_T")


def _replaced(given: _T | None, by: Callable[[_T], _T] | None) -> _T | None:
    return given if given is None or by is None else by(given)


def _offered(room: Room, given: _T | None) -> _T:
    if given is None:
        raise MissingRoomError(
            room,
            f"the adapter of this database offers no room {room.value!r} (romancy/storage/rooms.py), so "
            f"{_WITHOUT[room]}; use an adapter that has it",
        )
    return given
