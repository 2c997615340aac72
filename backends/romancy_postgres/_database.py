"""The server as the adapter uses it: five pools, statements and transactions with retries, translated errors.

Pools: `work` for the engine's statements and `sessions` for user code have together `pool_size` connections. `search`
has two, for searches, which may be slow; `heartbeats` has one, for heartbeats and notifications, which nothing may
delay; `listening` has the one that listens.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from romancy.errors import RomancyError, StorageUnavailableError
from romancy.storage.sqlkit.pauses import pause
from romancy.storage.sqlkit.pool import Pool
from romancy.storage.sqlkit.primary import Primary
from romancy_postgres._connection import (
    ANSWER_TIMEOUT,
    HANDLING,
    PLANNING,
    SEARCH_SETTINGS,
    Link,
    connect,
    connect_for_search,
    connect_for_session,
    ended_under_a_call,
    local_settings,
    rows_touched,
)
from romancy_postgres._errors import (
    DRIVER_ERRORS,
    contended,
    forgotten,
    overtaken,
    read_only,
    refuses_values,
    translated,
    waited_in_vain,
)
from romancy_postgres._lineage import Lineage
from romancy_postgres._pooling import KEYED, Kept, carrying, look
from romancy_postgres._scripts import heads, texts

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine

    from romancy_postgres._connection import SessionConnection, Source
    from romancy_postgres._prepared import EngineConnection
    from romancy_postgres._settings import Settings
    from romancy_postgres.engines import Engine

__all__ = ["Database"]

_log = logging.getLogger("romancy.postgres")

C = TypeVar("C", bound=asyncpg.Connection)
T = TypeVar("T")

_TRIES = 12
_LOCK_WAITS = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.25
_ENGINE_POOL = 4
_SEARCH_POOL = 2


class _Servers:
    """Where connections go: a server, or several of which one is the primary."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.primary = Primary(settings.where, settings.hosts)


class Database:
    """Sends statements. Everything here raises the errors of the storage protocol, never the driver's."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.heads = heads()
        self.queries = texts(settings.prefix, settings.schema)
        self.alone: Source | None = self if settings.engine.keeps_session else None
        """Where a statement that is sent alone is found; None if each needs a transaction around it."""
        self._only: frozenset[str] | None = None
        """The statements that are sent alone; None: all."""
        self._kept: Kept | None = None
        """What is kept where no session is; None until that is asked."""
        self._opened = False
        self._servers = _Servers(settings)
        self._listened = self._servers if settings.listener is None else _Servers(settings.listener)
        self._lineage = Lineage()
        self._make_pools()

    def open(self) -> None:
        """Allow calls. Connections are made on demand."""
        self._make_pools()
        self._opened = True

    def _make_pools(self) -> None:
        size = self.settings.pool_size
        engine = max(1, min(_ENGINE_POOL, size // 2))
        self.work = self._pool(connect, engine)
        self.heartbeats = self._pool(connect, 1)
        self.listening = self._pool(connect, 1, self._listened)
        self.search = self._pool(connect_for_search, _SEARCH_POOL)
        self.sessions = self._pool(connect_for_session, size - engine)

    def _pool(self, make: Callable[[Settings], Awaitable[C]], size: int, servers: _Servers | None = None) -> Pool[C]:
        found = servers or self._servers
        return Pool(found.settings.where, partial(self._connected, found, make), HANDLING, size)

    def speak_to(self, engine: Engine) -> None:
        """Send what this engine takes, over connections with its settings."""
        self.settings = self.settings.speaking_to(engine)
        for servers in (self._servers, self._listened):
            servers.settings = servers.settings.speaking_to(engine)
        self.queries = texts(self.settings.prefix, self.settings.schema, engine)
        if not (self.settings.engine.keeps_session or engine.carries_settings):
            self.alone = None
        self.work.drop_idle()

    async def close(self) -> None:
        """Close every connection. Calls in flight fail."""
        self._opened = False
        pools = (self.work, self.heartbeats, self.listening, self.search, self.sessions)
        await asyncio.gather(*(pool.close() for pool in pools))

    async def fetch(
        self,
        name: str,
        *arguments: object,
        pool: Pool[EngineConnection] | None = None,
        lock_waits: int | None = None,
    ) -> list[asyncpg.Record]:
        """Run one statement, alone in its transaction, and return its rows. As `single` does.

        Nearly always a connection is free, and nothing is in the way: it is sent at once.
        """
        chosen, failed, source, only = pool or self.work, None, self.alone, self._only
        if (
            source is not None
            and (only is None or name in only)
            and self._opened
            and (connection := chosen.grab()) is not None
        ):
            try:
                try:
                    rows = await Link(connection, source).fetch(name, *arguments)
                except BaseException as error:
                    self._part(connection, chosen, error)
                    raise
                chosen.give_back(connection)
                return rows
            except RomancyError:
                raise
            except DRIVER_ERRORS as error:
                failed = error
        return await self.single(
            methodcaller("fetch", name, *arguments), name=name, pool=pool, lock_waits=lock_waits, failed=failed
        )

    def run(self, name: str, *arguments: object) -> Coroutine[Any, Any, int]:
        """Run one statement, alone in its transaction, and return how many rows it touched."""
        return self.single(lambda link: link.run(name, *arguments), name=name)

    def single(
        self,
        statement: Callable[[Link], Awaitable[T]],
        *,
        name: str = "",
        pool: Pool[EngineConnection] | None = None,
        lock_waits: int | None = None,
        failed: BaseException | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Run one statement in a transaction of its own, and retry while other transactions are in the way.

        `name` is that of its script, if it is one.

        `LockedError` after more than `lock_waits` lock waits of a second each. `failed`: how a first attempt has ended.
        """
        return self._insist(partial(self._once, statement, pool or self.work, name), lock_waits, failed)

    async def run_at_once(self, name: str, *arguments: object) -> int:
        """Run one statement, prepared once per connection and sent once, and return how many rows it touched.

        For a statement that is sent so often that its overhead counts. The driver's errors that a retry could solve,
        and those about values, are raised unchanged: `single` handles them.
        """
        if not self._opened:
            self.check_open()
        try:
            connection = self.work.grab() or await self.work.take()
            try:
                tag = await connection.run_prepared((self.alone or self).queries[name], arguments, ANSWER_TIMEOUT)
            except BaseException as error:
                self._part(connection, self.work, error)
                raise
            self.work.give_back(connection)
            return rows_touched(tag)
        except RomancyError:
            raise
        except DRIVER_ERRORS as error:
            if contended(error) or refuses_values(error) or forgotten(error):
                raise
            raise self.explained(error) from None

    def transaction(
        self,
        body: Callable[[Link], Awaitable[T]],
        *,
        pool: Pool[EngineConnection] | None = None,
        lock_waits: int | None = None,
        lasting: bool = True,
        first: str = "",
    ) -> Coroutine[Any, Any, T]:
        """Run statements in one transaction. If the transaction must be repeated, the body runs again.

        A crash of the server may undo a transaction that is not `lasting`, but never without all later commits.
        `first` is SQL without parameters that goes with the beginning, in the same round trip.
        """
        begin = "; ".join(
            filter(None, (self._begin(pool), "" if lasting else "set local synchronous_commit = off", first))
        )
        return self._insist(partial(self._all_or_nothing, body, pool or self.work, begin), lock_waits)

    def hurried(self, body: Callable[[Link], Awaitable[T]], wait: float) -> Coroutine[Any, Any, T]:
        """A transaction that waits at most that many seconds for a row, and then raises `LockedError`."""
        begin = f"{self._begin()}; set local lock_timeout = '{wait * 1000:.0f}ms'"
        return self._insist(partial(self._all_or_nothing, body, self.work, begin), 0)

    @asynccontextmanager
    async def understood(self) -> AsyncGenerator[None]:
        """Turn the driver's errors into those of the protocol."""
        try:
            yield
        except RomancyError:
            raise
        except DRIVER_ERRORS as error:
            raise self.explained(error) from None

    def explained(self, error: BaseException) -> BaseException:
        """The protocol's error for an error of the driver; an unknown error itself."""
        return translated(error, self.settings.where) or error

    async def _insist(
        self, attempt: Callable[[], Awaitable[T]], lock_waits: int | None, failed: BaseException | None = None
    ) -> T:
        if not self._opened:
            self.check_open()
        allowed = _LOCK_WAITS if lock_waits is None else lock_waits
        tries = waits = 0
        while True:
            if failed is None:
                try:
                    return await attempt()
                except RomancyError:
                    raise
                except DRIVER_ERRORS as error:
                    failed = error
            tries += 1
            waits += waited_in_vain(failed)
            again = contended(failed) or overtaken(failed) or (forgotten(failed) and self._stop_keeping())
            if not again or tries == _TRIES or waits > allowed:
                # Not `from failed`: the driver repeats values in its messages.
                raise self.explained(failed) from None
            failed = None
            await pause(tries, _FIRST_PAUSE, _LONGEST_PAUSE)

    async def _once(self, statement: Callable[[Link], Awaitable[T]], pool: Pool[EngineConnection], name: str) -> T:
        connection = pool.grab() or await pool.take()
        source, only = self.alone, self._only
        if (
            source is None
            or (only is not None and name not in only)
            or (pool is self.search and not self.settings.engine.keeps_session)
        ):
            return await self._all_or_nothing(statement, pool, self._begin(pool), connection)
        try:
            answer = await statement(Link(connection, source))
        except BaseException as error:
            self._part(connection, pool, error)
            raise
        pool.give_back(connection)
        return answer

    def _part(self, connection: EngineConnection, pool: Pool[EngineConnection], error: BaseException) -> None:
        """Discard the connection of a lone statement that raised this error, or return it to the pool if it is usable.

        Raises the error that the driver should have raised if it raised another one.
        """
        if isinstance(error, asyncpg.PostgresError) and not read_only(error):
            if connection.is_closed():
                pool.drop_idle()
            pool.give_back(connection)
            return
        lost = ended_under_a_call(connection, error)
        pool.discard(connection)
        if isinstance(error, TimeoutError):
            pool.drop_idle()
        if lost is not None:
            raise lost from None

    async def _all_or_nothing(
        self,
        body: Callable[[Link], Awaitable[T]],
        pool: Pool[EngineConnection],
        begin: str,
        connection: EngineConnection | None = None,
    ) -> T:
        connection = connection or pool.grab() or await pool.take()
        link = Link(connection, self)
        try:
            await link.control(begin)
            answer = await body(link)
            await link.control("commit")
        except (asyncpg.PostgresError, RomancyError) as error:
            if read_only(error):
                pool.discard(connection)
            else:
                await self._roll_back(connection, pool)
            raise
        except BaseException as error:
            lost = ended_under_a_call(connection, error)
            pool.discard(connection)
            if isinstance(error, TimeoutError):
                pool.drop_idle()
            if lost is not None:
                raise lost from None
            raise
        pool.give_back(connection)
        return answer

    async def _roll_back(self, connection: EngineConnection, pool: Pool[EngineConnection]) -> None:
        try:
            await connection.execute("rollback", timeout=ANSWER_TIMEOUT)
        except DRIVER_ERRORS:
            pool.discard(connection)
        except BaseException:
            pool.discard(connection)
            raise
        else:
            pool.give_back(connection)

    async def borrow_for_session(self) -> SessionConnection:
        """A connection for user code."""
        self.check_open()
        return await self.sessions.take()

    async def forget_session(self, connection: SessionConnection) -> None:
        """Undo what user code may have set on the connection: settings, locks, cursors, LISTEN."""
        if self.settings.engine.keeps_session:
            await connection.reset(timeout=ANSWER_TIMEOUT)

    def check_open(self) -> None:
        """`StorageUnavailableError` before `open` and after `close`."""
        if not self._opened:
            raise StorageUnavailableError(
                f"{self.settings.where}: not open; call `open()` first, and nothing after `close()`"
            )

    def _begin(self, pool: Pool[EngineConnection] | None = None) -> str:
        """The beginning of a transaction: its isolation and, where no connection can keep them, its settings."""
        plain = "begin isolation level read committed"
        if self.settings.engine.keeps_session:
            return plain
        planned = SEARCH_SETTINGS if pool is self.search else {**PLANNING, **self.settings.engine.planning}
        return f"{plain}; {local_settings(self.settings)}; set local plan_cache_mode = {planned['plan_cache_mode']}"

    async def _connected(self, servers: _Servers, make: Callable[[Settings], Awaitable[C]]) -> C:
        settings = servers.settings
        if not settings.hosts:
            return await self._connected_to(settings, make)
        return await servers.primary.connect(lambda host: self._connected_to(settings.at(host), make))

    async def _connected_to(self, server: Settings, make: Callable[[Settings], Awaitable[C]]) -> C:
        """A connection to this server. Raises the errors of the protocol."""
        try:
            if not server.engine.keeps_session:
                server = await self._as_kept(server)
            connection = await make(server)
            if server.watched:
                try:
                    await self._lineage.admit(connection, server.where)
                except BaseException:
                    HANDLING.drop(connection)
                    raise
        except DRIVER_ERRORS as error:
            raise translated(error, server.where) or error from None
        return connection

    async def _as_kept(self, server: Settings) -> Settings:
        """The settings of a connection that keeps no session. The first one asks what it keeps."""
        if self._kept is None:
            self._kept = await look(server)
            if self._kept.statements:
                self.alone = carrying(self, durable=server.durable)
                self._only = None if self._kept.planning else KEYED
            else:
                _log.warning(server.engine.forgets_statements, server.where)
        return server if self._kept.statements else server.without_statements()

    def _stop_keeping(self) -> bool:
        """Rely on no prepared statement any more: one was lost. False if none was relied on."""
        if self._kept is None or not self._kept.statements:
            return False
        self._kept, self.alone = Kept(statements=False, planning=False), None
        _log.warning(self.settings.engine.forgets_statements, self.settings.where)
        for pool in (self.work, self.heartbeats, self.search, self.sessions):
            pool.drop_idle()
        return True
