"""The tap of PostgreSQL: between the adapter and asyncpg."""

# pyright: reportPrivateUsage=false
# A tap reaches into the adapter, which knows nothing of it.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from unittest import mock

from romancy_conformance.taps.tap import Tap
from romancy_postgres._connection import Link
from romancy_postgres._database import Database
from romancy_postgres._pooling import Lone
from romancy_postgres._sessions import PostgresSession

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_postgres._store import PostgresStore

    Method = Callable[..., Awaitable[Any]]

__all__ = ["PostgresTap"]

_BRACKETS: Final = frozenset({"begin", "commit", "rollback"})


class PostgresTap(Tap):
    """Hears each call of the driver. What is sent is what users send."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("fetch", "fetch_text", "run", "control"):
            self._patch(Link, name, self._of_link)
        self._patch(Database, "run_at_once", self._at_once)
        self._patch(PostgresSession, "begin", self._of_session("begin"))
        self._patch(PostgresSession, "_commit", self._of_session("commit"))

    def sender(self, store: Store) -> object:
        return cast("PostgresStore", store).database

    @staticmethod
    def _patch(owner: type, name: str, wrap: Callable[[Method], Method]) -> None:
        mock.patch.object(owner, name, wrap(getattr(owner, name))).start()

    def _of_link(self, method: Method) -> Method:
        async def heard(link: Link, statement: str, *arguments: Any, **options: Any) -> Any:
            """The statement is given by the name of its query, or by its text."""
            await self.heard(_sender(link), _name(statement))
            return await method(link, statement, *arguments, **options)

        return heard

    def _at_once(self, method: Method) -> Method:
        async def heard(database: Database, name: str, *arguments: Any) -> Any:
            await self.heard(database, name)
            return await method(database, name, *arguments)

        return heard

    def _of_session(self, name: str) -> Callable[[Method], Method]:
        def wrap(method: Method) -> Method:
            async def heard(session: PostgresSession, *arguments: Any) -> Any:
                await self.heard(_sender(session._link), name)
                return await method(session, *arguments)

            return heard

        return wrap


def _sender(link: Link) -> object:
    """The database whose statements the link sends."""
    return link.source.source if isinstance(link.source, Lone) else link.source


def _name(statement: str) -> str:
    """The name by which the suite knows a statement: its first word if it begins or ends a transaction."""
    word = statement.split(None, 1)[0]
    return word if word in _BRACKETS else statement
