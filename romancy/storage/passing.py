"""Stores and sessions that pass each call on to others, for those that change some of the members."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import Capabilities
    from romancy.storage.sessions import StoreSession

__all__ = ["PassingSession", "PassingStore"]


class PassingStore:
    """Each member is the other store's own, so that passing on costs nothing.

    A member is changed by an assignment to it. A method of its name in a subclass would be hidden, so it is refused.
    """

    def __init__(self, store: Store) -> None:
        self._passed_to: Final = store
        self.rooms = store.rooms
        self.open = store.open
        self.close = store.close
        self.commit = store.commit
        self.read = store.read
        self.claim = store.claim
        self.heartbeat = store.heartbeat
        self.leave = store.leave
        self.takeover = store.takeover
        self.deliver = store.deliver
        self.wait_for_work = store.wait_for_work

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _refuse_hidden(cls, _MEMBERS)

    @property
    def capabilities(self) -> Capabilities:
        """The other store's own, which are valid after `open`."""
        return self._passed_to.capabilities


_MEMBERS: Final = frozenset(
    {
        "rooms", "open", "close", "commit", "read", "claim", "heartbeat", "leave", "takeover", "deliver",
        "wait_for_work",
    }
)  # fmt: skip


class PassingSession:
    """The same for a session."""

    def __init__(self, session: StoreSession) -> None:
        self._passed_to: Final = session
        self.execute = session.execute
        self.fetch_all = session.fetch_all
        self.excuse = session.excuse
        self.savepoint = session.savepoint
        self.commit = session.commit

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _refuse_hidden(cls, _MEMBERS_OF_SESSIONS)

    @property
    def native(self) -> Any:
        """The other session's own."""
        return self._passed_to.native

    @property
    def excluding(self) -> bool:
        """As the other session says now."""
        return self._passed_to.excluding

    @property
    def renewed(self) -> bool | None:
        """As the other session says now."""
        return self._passed_to.renewed


_MEMBERS_OF_SESSIONS: Final = frozenset({"execute", "fetch_all", "excuse", "savepoint", "commit"})


def _refuse_hidden(cls: type, members: frozenset[str]) -> None:
    if hidden := members & vars(cls).keys():
        raise TypeError(f"{cls.__name__}: assign to {', '.join(sorted(hidden))} in `__init__`; methods are hidden")
