"""Refuses a server that is behind the newest one that this process has seen.

A lost primary may come back as if nothing had happened, beside the standby that has taken its place. A promotion begins
a new timeline, so the lost one is recognised by its older timeline. A copy that was made earlier is recognised by its
position in the log. Only the cluster can prevent that other processes write there: it has to fence the lost primary.
"""

from __future__ import annotations

import logging
from typing import Final, NamedTuple
from weakref import WeakSet

import asyncpg

from romancy.errors import StorageUnavailableError

__all__ = ["Lineage"]

_log = logging.getLogger("romancy.postgres")

_ASK: Final = """
select system_identifier, pg_walfile_name(pg_current_wal_flush_lsn()), (pg_current_wal_flush_lsn() - '0/0')::bigint
from pg_control_system()
"""
_PATIENCE: Final = 20.0
_SILENT: Final = (asyncpg.SyntaxOrAccessError, asyncpg.FeatureNotSupportedError)
"""The errors of a server that has no such function, or does not let this role call it."""
_TIMELINE_DIGITS: Final = 8


class _Position(NamedTuple):
    """How far a cluster is. A later one is larger."""

    timeline: int
    written: int
    """The bytes of the log that are on the disk."""


class Lineage:
    """The newest position that this process has seen, and the connections to the server that had it."""

    def __init__(self) -> None:
        self._cluster: int | None = None
        self._newest = _Position(0, 0)
        self._current: WeakSet[asyncpg.Connection] = WeakSet()
        self._told = False

    async def admit(self, connection: asyncpg.Connection, where: str) -> None:
        """Accept a new connection, or raise StorageUnavailableError if its server is behind.

        If it shows a newer timeline, all connections to the older server are ended.
        """
        known = self._newest  # a later answer of another connection may come in before this one's
        try:
            ((cluster, file, written),) = await connection.fetch(_ASK, timeout=_PATIENCE)
        except asyncpg.ObjectNotInPrerequisiteStateError:
            raise StorageUnavailableError(f"{where}: it is a standby now") from None
        except _SILENT as error:
            self._tell_once(where, error)
            return
        position = _Position(int(file[:_TIMELINE_DIGITS], 16), written)
        if self._cluster not in (None, cluster):
            raise StorageUnavailableError(
                f"{where}: it belongs to another cluster (system identifier {cluster}) than the server before it "
                f"({self._cluster}); if that is meant, start this process again"
            )
        newest = known if known.timeline == self._newest.timeline else self._newest
        if position < newest:
            raise StorageUnavailableError(
                f"{where}: it is behind the newest server that was seen here, at {_words(position)} after "
                f"{_words(newest)}; is it a lost primary that came back?"
            )
        if position.timeline > newest.timeline:
            self._end_all()
        self._cluster, self._newest = cluster, max(position, self._newest)
        self._current.add(connection)

    def _end_all(self) -> None:
        outdated, self._current = self._current, WeakSet()
        for connection in outdated:
            asyncpg.Connection.terminate(connection)

    def _tell_once(self, where: str, error: asyncpg.PostgresError) -> None:
        if not self._told:
            self._told = True
            text = "%s: it does not tell its timeline, so an older one is not noticed [%s]"
            _log.warning(text, where, error.sqlstate)


def _words(position: _Position) -> str:
    return f"position {position.written:,} of timeline {position.timeline}"
