"""The rooms of a store: what it offers beside the twelve members that every store has.

A room is an object with a protocol of its own. A store names its rooms once, and may lack any of them. A caller that
can do without a room asks `offered`; any other caller takes the room, and gets an error that names it if it is missing.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypedDict, Unpack, dataclass_transform

from romancy.errors import StorageConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.storage.figures import Figures
    from romancy.storage.lookups import Lookups
    from romancy.storage.outbox import Outbox
    from romancy.storage.reading import Reading
    from romancy.storage.rebuilding import Rebuilding
    from romancy.storage.router import Router
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


class MissingRoomError(StorageConfigurationError):
    """A room was entered that this store does not offer."""

    def __init__(self, room: Room, message: str) -> None:
        super().__init__(message)
        self.room = room


class _Missing:
    """Stands on the class for a room. A room that a store has is an attribute of the object, and goes before it."""

    def __init__(self, without: str) -> None:
        self._without = without

    def __set_name__(self, owner: type, name: str) -> None:
        self._room = Room(name)

    def __get__(self, rooms: object, owner: type) -> NoReturn:
        raise MissingRoomError(
            self._room,
            f"the adapter of this database offers no room {self._room.value!r} (romancy/storage/rooms.py), so "
            f"{self._without}; use an adapter that has it",
        )


def _room(*, without: str, default: None) -> Any:  # noqa: ARG001 - says to type checkers that a room may be left out
    return _Missing(without)


@dataclass_transform(kw_only_default=True, field_specifiers=(_room,))
class _Offering:
    """Takes the rooms that the subclass declares, by their names."""

    def __init__(self, **rooms: Any) -> None:
        given = {name: room for name, room in rooms.items() if room is not None}
        vars(self).update(given)
        self.offered: Final = frozenset(map(Room, given))


class Wrappers(TypedDict, total=False):
    """What `Rooms.wrapped` takes. A standby is not wrapped: it is asked for what it is."""

    sessions: Callable[[Sessions], Sessions]
    router: Callable[[Router], Router]
    outbox: Callable[[Outbox], Outbox]
    reading: Callable[[Reading], Reading]
    lookups: Callable[[Lookups], Lookups]
    figures: Callable[[Figures], Figures]
    upkeep: Callable[[Upkeep], Upkeep]
    rebuilding: Callable[[Rebuilding], Rebuilding]


class Rooms(_Offering):
    """The rooms of one store, each given by its name. `offered` says which it has."""

    sessions: Sessions = _room(default=None, without="transactions of activities, and `session=`, do not work")
    """Transactions for user code, and transactions of callers."""
    router: Router = _room(default=None, without="channels, events, and messages to addresses do not work")
    """The routing of messages that are not addressed to one instance."""
    outbox: Outbox = _room(default=None, without="messages for the outside cannot be sent")
    """The relay's side of the outbox."""
    reading: Reading = _room(
        default=None, without="instances cannot be searched or counted, and the workers cannot be listed"
    )
    """Searches, and the list of workers."""
    lookups: Lookups = _room(default=None, without="rows are read one by one, and what lies in inboxes cannot be read")
    """Single statements that answer for many ids, or look at a part of a table."""
    figures: Figures = _room(default=None, without="there are no bounded counts for displays")
    """Bounded counts for displays."""
    upkeep: Upkeep = _room(
        default=None, without="nothing can be removed, and `romancy doctor` cannot look at the database"
    )
    """What an operator does: remove old instances, look at settings, plan migrations."""
    rebuilding: Rebuilding = _room(default=None, without="`romancy rebuild` does not work")
    """Making again what a database holds beside its logs."""
    standby: Standby = _room(default=None, without="`read_url=` does not work")
    """Whether this server is a copy of another one."""

    def wrapped(self, **wrappers: Unpack[Wrappers]) -> Rooms:
        """The same rooms, some of them replaced. A room that this store lacks stays missing."""
        given: dict[str, Any] = {room.value: getattr(self, room) for room in self.offered}
        by: dict[str, Any] = {**wrappers}
        return Rooms(**given | {name: wrap(given[name]) for name, wrap in by.items() if name in given})
