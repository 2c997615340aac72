"""A store that notes which calls of its rooms are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from romancy.storage.passing import Passing
from romancy.storage.protocol import Store

if TYPE_CHECKING:
    from romancy.storage.rooms import Rooms

__all__ = ["CountingStore"]


class CountingStore(Passing[Store], Store):
    """Passes all calls on."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.calls: list[str] = []
        self.rooms: Rooms = store.rooms.wrapped(
            router=self._counting, outbox=self._counting, reading=self._counting, lookups=self._counting,
            figures=self._counting,
        )  # fmt: skip

    def _counting(self, room: Any) -> Any:
        return cast("Any", _Room(room, self.calls))


class _Room:
    def __init__(self, room: Any, calls: list[str]) -> None:
        self._room = room
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        self._calls.append(name)
        return getattr(self._room, name)
