"""The open sessions of the activities of this process, on databases where an open session blocks all other writers.

Apps and workers of one process may share such a database, each with a store of its own. So the sessions are found by
the place of the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.engine.surroundings import here

if TYPE_CHECKING:
    from romancy.storage.protocol import Store

__all__ = ["OpenSession", "session_begins", "session_ends", "what_blocks"]

_open: Final[dict[tuple[str, object], OpenSession]] = {}
_ADVICE: Final = "An open session blocks all other writers of this database: open it last, after the slow work"


class OpenSession(NamedTuple):
    """A session, and the attempt that has it."""

    what: str
    since: float

    @property
    def told(self) -> str:
        """Who holds it and for how long, and what to do."""
        return f"{self.what} has had its session open for {here().seconds() - self.since:.1f} s. {_ADVICE}"


def session_begins(place: str, holder: object, what: str) -> OpenSession:
    """Record that an attempt has begun its session."""
    session = _open[place, holder] = OpenSession(what, here().seconds())
    return session


def session_ends(place: str, holder: object) -> None:
    """Record that the session has ended, if it had begun."""
    _open.pop((place, holder), None)


def what_blocks(store: Store) -> str:
    """Which session may block the writers of this database, in words; empty where sessions block nobody."""
    capabilities = store.capabilities
    if not capabilities.sessions_exclude:
        return ""
    here = [session for (place, _), session in list(_open.items()) if place == capabilities.place]
    if here:
        return min(here, key=lambda session: session.since).told
    return (
        "no activity of this process has a session open; if one of another process has, or another program writes to "
        "the file, it holds the write lock. A worker logs which activity that is; `romancy workers` lists the workers"
    )
