"""Joined sessions: a part in a transaction of the caller's, on the caller's connection.

The caller alone ends it. A refused item leaves it as it was; when it is committed, whom it concerns is told.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from romancy.errors import RomancyError, UsageError
from romancy.storage.records import Outcome
from romancy_postgres._connection import as_connection
from romancy_postgres._errors import DRIVER_ERRORS, refuses_values
from romancy_postgres._sessions import PostgresSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.records import Item
    from romancy_postgres._commit import Commits
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["JoinedSession", "join_session"]

_ITEM = "romancy_item"


class JoinedSession(PostgresSession):
    """A part in a transaction of the caller's, which the caller alone ends."""

    _watching = False

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        await self._prepare(item, worker)
        try:
            await self._link.control("savepoint", f"savepoint {_ITEM}")
            try:
                outcome, written = await self._write(item, worker)
            except (asyncpg.PostgresError, RomancyError):
                await self._undo()
                raise
            if written:
                await self._link.control("release", f"release savepoint {_ITEM}")
                self._announce_after_commit()
            else:
                await self._undo()
        except DRIVER_ERRORS as error:
            if refuses_values(error):
                return Outcome.INVALID
            raise self._database.explained(error) from None
        return outcome

    def _announce_after_commit(self) -> None:
        """The end of the caller's transaction is seen on the caller's own connection, without a query."""
        if self._watching or not (self._stirred or self._posted):
            return
        self._watching = True
        connection = self._connection

        async def look(_: object) -> None:
            if not connection.is_in_transaction():
                connection.remove_query_logger(look)
                await self.announce()

        connection.add_query_logger(look)

    async def _undo(self) -> None:
        await self._link.control("undo", f"rollback to savepoint {_ITEM}; release savepoint {_ITEM}")


@asynccontextmanager
async def join_session(
    database: Database, signals: Signals, commits: Commits, join: object
) -> AsyncGenerator[PostgresSession]:
    """A part in the transaction that is open on the caller's connection."""
    connection = as_connection(join)
    if not connection.is_in_transaction():
        raise UsageError("join= was given a connection without a transaction; begin one: `async with c.transaction():`")
    yield JoinedSession(connection, database, commits, signals)
