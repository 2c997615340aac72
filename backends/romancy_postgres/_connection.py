"""One connection for the rest of the adapter: named queries, transactions.

The casts that the driver's stubs need are here and nowhere else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import asyncpg
from msgspec import Struct

from romancy.errors import UsageError
from romancy_postgres._array_types import ArrayTypesConnection
from romancy_postgres._columns import Flat
from romancy_postgres._prepared import EngineConnection

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from romancy_postgres._settings import Settings

__all__ = [
    "ANSWER_TIMEOUT",
    "HANDLING",
    "IDLE",
    "PLANNING",
    "PROMISED",
    "Link",
    "SessionConnection",
    "Source",
    "as_connection",
    "connect",
    "connect_for_search",
    "connect_for_session",
    "ended_under_a_call",
    "local_settings",
    "rows_touched",
]

ANSWER_TIMEOUT: Final = 20.0
"""Seconds after which a statement of the engine counts as lost. Its lock waits end much earlier."""

_LOCAL_SETTINGS: Final = (
    "set local lock_timeout = '1s'; set local enable_seqscan = off; set local enable_bitmapscan = off; "
    "set local jit = off"
)
_DURABLE: Final = {"synchronous_commit": "on"}

COMMON_SETTINGS: Final = {
    "application_name": "romancy",
    "default_transaction_isolation": "read committed",
    # A vanished peer is noticed in half a minute, not in two hours.
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
IDLE: Final = "idle_in_transaction_session_timeout"
PLANNING: Final = {
    "jit": "off",
    # Every query of the engine has an index. Statistics of a table that changes all day must not prevent its use.
    "enable_seqscan": "off",
    # The engine nearly always wants the first rows in the order of an index. A bitmap scan would collect and sort all
    # rows.
    "enable_bitmapscan": "off",
    # Most statements take arrays. Planning for the actual arrays costs five times what it saves.
    "plan_cache_mode": "force_generic_plan",
}
ENGINE_SETTINGS: Final = {"lock_timeout": "1000", IDLE: "20000"} | PLANNING
PROMISED: Final = ENGINE_SETTINGS | {"default_transaction_isolation": "read committed"}
"""Settings that a connection of the engine has, unless something on the way to the server has dropped them."""
_CLOSE_TIMEOUT: Final = 2.0
_SHORT: Final = 2
"""To check the elements of so short a list costs the driver no more than a `Flat`."""
SEARCH_SETTINGS: Final = {
    "jit": "off",
    # A page is the first rows in the order of an index. Without statistics the planner would collect and sort them all.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    # The values of a search decide which index is best.
    "plan_cache_mode": "force_custom_plan",
}


class SessionConnection(ArrayTypesConnection):
    """The connection of a session. User code gets another object over the same socket (`_guard`)."""

    opening: str = ""
    """SQL to send along with the next statement, in the same round trip."""

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:
        if self.opening and not args:
            query, self.opening = query + self.opening, ""
        return await super().execute(query, *args, timeout=timeout)


class Handled:
    """The pool's handling of the driver's connections, unaffected by what subclasses forbid to user code."""

    is_dead = staticmethod(asyncpg.Connection.is_closed)

    def drop(self, connection: asyncpg.Connection, /) -> None:
        asyncpg.Connection.terminate(connection)

    async def close(self, connection: asyncpg.Connection, /) -> None:
        try:
            # asyncpg before 0.32 waits without a limit until a request to cancel is sent.
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await asyncpg.Connection.close(connection, timeout=_CLOSE_TIMEOUT)
        except Exception:  # noqa: BLE001 - terminate closes it anyway
            asyncpg.Connection.terminate(connection)


HANDLING: Final = Handled()


async def connect(settings: Settings) -> EngineConnection:
    """A connection for the engine's own statements. The driver's errors reach the caller."""
    return await asyncpg.connect(
        **settings.connect,
        server_settings=_startup(settings, {**ENGINE_SETTINGS, **settings.engine.planning}),
        connection_class=EngineConnection,
    )


async def connect_for_search(settings: Settings) -> EngineConnection:
    """A connection for searches, each of which is planned for its own values."""
    return await asyncpg.connect(
        **settings.connect, server_settings=_startup(settings, SEARCH_SETTINGS), connection_class=EngineConnection
    )


async def connect_for_session(settings: Settings) -> SessionConnection:
    """A connection for user code. The server's settings decide on its lock waits."""
    idle = {IDLE: f"{settings.session_idle * 1000:.0f}"}
    return await asyncpg.connect(
        **settings.connect, server_settings=_startup(settings, idle), connection_class=SessionConnection
    )


def _startup(settings: Settings, more: dict[str, str]) -> dict[str, str] | None:
    # What keeps no session refuses settings at the start.
    if not settings.engine.keeps_session:
        return None
    return COMMON_SETTINGS | more | _of_each(settings)


def local_settings(settings: Settings) -> str:
    """Settings for every transaction of the engine where the connection cannot keep them."""
    return _LOCAL_SETTINGS + "".join(f"; set local {name} = {value}" for name, value in _of_each(settings).items())


def _of_each(settings: Settings) -> dict[str, str]:
    return {**(_DURABLE if settings.durable else {}), **settings.engine.settings}


def as_connection(value: object) -> asyncpg.Connection:
    """A connection of the caller's, also one from a pool of the driver's."""
    if not isinstance(value, asyncpg.Connection):
        raise UsageError(f"session= takes an asyncpg.Connection inside a transaction, not {type(value).__name__}")
    return cast("asyncpg.Connection", value)


class Source(Protocol):
    """Where a link finds its queries."""

    queries: dict[str, str]


class Link(Struct, frozen=True, eq=False, gc=False):
    """A borrowed connection with the queries by name. The driver's errors reach the caller unchanged."""

    connection: asyncpg.Connection
    source: Source

    def fetch(self, name: str, *arguments: object) -> Coroutine[Any, Any, list[asyncpg.Record]]:
        """Run a query and return its rows."""
        for one in arguments:
            if type(one) is list and len(one) > _SHORT:  # pyright: ignore[reportUnknownArgumentType] - of anything
                arguments = _flat(arguments)
                break
        return self.connection.fetch(self.source.queries[name], *arguments, timeout=ANSWER_TIMEOUT)

    async def fetch_text(self, text: str, *arguments: object) -> list[asyncpg.Record]:
        """Run a query composed for this occasion."""
        return await self.connection.fetch(text, *arguments, timeout=ANSWER_TIMEOUT)

    async def run(self, name: str, *arguments: object) -> int:
        """Run a statement and return how many rows it touched."""
        flat = _flat(arguments)
        status = await self.connection.execute(self.source.queries[name], *flat, timeout=ANSWER_TIMEOUT)
        return rows_touched(status)

    def control(self, text: str, timeout: float = ANSWER_TIMEOUT) -> Coroutine[Any, Any, object]:
        """Run statements without parameters in one round trip."""
        return self.connection.execute(text, timeout=timeout)


def _flat(arguments: tuple[object, ...]) -> tuple[object, ...]:
    """The arguments of a query, with lists in the driver's fastest form. No query takes an array of arrays."""
    return tuple([Flat(cast("list[object]", each)) if type(each) is list else each for each in arguments])


def ended_under_a_call(connection: asyncpg.Connection, error: BaseException) -> asyncpg.InterfaceError | None:
    """The error that the driver should have raised for a terminated connection, whose protocol it has dropped."""
    if isinstance(error, AttributeError) and connection.is_closed():
        return asyncpg.InterfaceError("the connection was ended while it was in use")
    return None


def rows_touched(status: str) -> int:
    """The number at the end of a command tag, 0 if there is none."""
    tail = status.rpartition(" ")[2]
    return int(tail) if tail.isdigit() else 0
