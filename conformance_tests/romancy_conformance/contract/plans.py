"""What a store's calls cost the database: the plans of their statements and the number of rows read.

A `Watch` observes the driver, not the adapter. It counts and explains what connections send that were made while it was
on. PostgreSQL logs the plan of every statement (auto_explain, with the actual row counts). MySQL and MariaDB count the
rows that a session reads, and the watch explains the statements afterwards. SQLite counts the steps of its virtual
machine, some twenty for each row.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import warnings
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
from msgspec import Struct

from romancy_conformance.contract.interleaving import leave, listen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    import asyncpg

    from romancy.storage.protocol import Store

__all__ = ["Cost", "Orders", "Watch", "watch_for"]

_DATA = re.compile(r"\s*(?:--[^\n]*\n|\s)*\(?(?:select|with|insert|update|delete)\b", re.IGNORECASE)

_WHOLE = re.compile(r"^start transaction;(.*);commit$", re.DOTALL)
"""A statement alone, as it is sent to TiDB."""
_READS = re.compile("Scan|Point_Get")
"""The operators of TiDB that read rows."""


class Cost(Struct, frozen=True):
    """What one call cost the database."""

    rows: int
    """Rows read in tables and indexes, needed or not."""
    plan: str
    """The plan of every statement, in the database's words."""


class Orders(Struct):
    """How a call reads the instances that fall due, as the plans of the statements that it sends say.

    A plan is that of the statement as it is sent. With few rows, a database may sort although it need not: see
    `sorts_in_need`.
    """

    in_order: list[str] = []
    """Plans of statements that read an index in its order, up to their limit."""
    sorts: list[str] = []
    """Plans of statements that read everything that is due, and sort it, before they take what is asked for."""


class Watch(ABC):
    """Observes everything that is sent over connections made while it is on."""

    ahead: int = 1
    """How many times what it needs a call may read: portions of an index are read before the last one is judged."""

    sorts_in_need: bool = False
    """Whether plans sort only where no index has the order, also those of few rows. Set it before `on`."""

    def __init__(self) -> None:
        self._plans: list[str] = []

    @abstractmethod
    def on(self) -> Any:
        """Return a context; connections made in it are watched."""

    @abstractmethod
    async def cost(self, store: Store, call: Awaitable[object]) -> Cost:
        """Make the call and return its cost."""

    @abstractmethod
    async def orders(self, store: Store, call: Awaitable[object]) -> Orders:
        """Make the call, and return how it reads what is due."""

    async def leave_uncounted(self) -> None:  # noqa: B027 - most databases do not count while a test fills them
        """Keep the database from updating its statistics until `analyze`."""

    @abstractmethod
    async def analyze(self, store: Store) -> None:
        """Update the database's statistics, as the database does by itself from time to time."""


def watch_for(url: str) -> Watch:
    """Return the watch for the database at `url`; skip the test if there is none."""
    kinds: dict[str, type[Watch]] = {
        "sqlite": _Sqlite, "postgresql": _Postgres, "postgres": _Postgres, "mysql": _Mysql, "mariadb": _Mysql,
        "tidb": _Tidb,
    }  # fmt: skip
    scheme = urlsplit(url).scheme
    if scheme not in kinds:
        pytest.skip(f"capability: nothing counts the rows that {scheme}:// looks at")
    return kinds[scheme]()


# --- SQLite -------------------------------------------------------------------------------------------------------

_STEPS_A_ROW = 20
_DUE_IN_SQLITE = re.compile(r"USING (?:COVERING )?INDEX \S+ \(.*wake_at<")
_connect = sqlite3.connect


class _Sqlite(Watch):
    def __init__(self) -> None:
        super().__init__()
        self._path = ""
        self._sent: list[str] = []
        self._rows = 0

    @contextmanager
    def on(self) -> Generator[None]:
        def watched(path: str, *arguments: Any, **options: Any) -> sqlite3.Connection:
            self._path = path
            connection: sqlite3.Connection = _connect(path, *arguments, **options)
            connection.set_trace_callback(self._sent.append)
            connection.set_progress_handler(self._count, _STEPS_A_ROW)
            return connection

        with mock.patch.object(sqlite3, "connect", watched):
            yield

    def _count(self) -> None:
        self._rows += 1

    async def cost(self, store: Store, call: Awaitable[object]) -> Cost:
        self._sent.clear()
        self._rows = 0
        await call
        rows, sent = self._rows, [sql for sql in self._sent if _DATA.match(sql)]
        with self._unwatched() as connection:
            plans = [_sqlite_plan(connection, sql) for sql in dict.fromkeys(sent)]
        return Cost(rows, "\n".join(plans))

    async def orders(self, store: Store, call: Awaitable[object]) -> Orders:
        self._sent.clear()
        await call
        found = Orders()
        with self._unwatched() as connection:
            for sql in filter(_DATA.match, dict.fromkeys(self._sent)):
                lines = connection.execute(f"explain query plan {sql}").fetchall()
                due = {parent for _, parent, _, detail in lines if _DUE_IN_SQLITE.search(detail)}
                sorts = any(parent in due and "ORDER BY" in detail for _, parent, _, detail in lines)
                if due and "limit" in sql:
                    (found.sorts if sorts else found.in_order).append(_sqlite_plan(connection, sql))
        return found

    def _unwatched(self) -> closing[sqlite3.Connection]:
        return closing(_connect(self._path, uri=self._path.startswith("file:"), isolation_level=None))

    async def analyze(self, store: Store) -> None:
        with self._unwatched() as connection:
            connection.execute("analyze")


def _sqlite_plan(connection: sqlite3.Connection, sql: str) -> str:
    lines = [f"  {line[3]}" for line in connection.execute(f"explain query plan {sql}")]
    return "\n".join([_short(sql), *lines])


# --- PostgreSQL ---------------------------------------------------------------------------------------------------

_LEFT_UNCOUNTED = """
    do $$
        declare one text;
        begin
            for one in select quote_ident(tablename) from pg_tables where schemaname = current_schema() loop
                execute 'alter table ' || one || ' set (autovacuum_enabled = false)';
            end loop;
        end
    $$
"""
_SCANNED = re.compile(r"Scan.*\(actual rows=(\d+) loops=(\d+)\)")
_REMOVED = re.compile(r"Rows Removed by (?:Filter|Index Recheck): (\d+)")
_IS_CITUS = "select exists (select from pg_extension where extname = 'citus')"
_EXPLAINING = """
load 'auto_explain';
set auto_explain.log_min_duration = 0;
set auto_explain.log_analyze = on;
set auto_explain.log_timing = off;
set auto_explain.log_level = notice;
"""


_ONLY_WITHOUT_INDEX = "set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off"
_DUE_IN_POSTGRES = re.compile(r"Index (?:Only )?Scan using \S+ on romancy_instances\b")
_NODE = re.compile(r"^( *)(?:->  )?(\S.*?)  \(cost=|^( *)(?:CTE|InitPlan|SubPlan)\b")


class _Postgres(Watch):
    def __init__(self) -> None:
        super().__init__()
        self._connect: Callable[[], Awaitable[asyncpg.Connection]]

    @contextmanager
    def on(self) -> Generator[None]:
        import asyncpg  # noqa: PLC0415 - only the suite's own runs have every driver

        connect = asyncpg.connect

        async def watched(*arguments: Any, **options: Any) -> asyncpg.Connection:
            connection: asyncpg.Connection = await connect(*arguments, **options)
            try:
                await connection.execute(_EXPLAINING + (_ONLY_WITHOUT_INDEX if self.sorts_in_need else ""))
            except asyncpg.PostgresError as error:
                pytest.skip(f"capability: this account cannot load auto_explain ({error})")
            if await connection.fetchval(_IS_CITUS):
                await connection.close()
                pytest.skip("capability: Citus explains no INSERT from a SELECT")
            connection.add_log_listener(self._hear)
            self._connect = lambda: connect(*arguments, **options)
            return connection

        with mock.patch.object(asyncpg, "connect", watched):
            yield

    def _hear(self, _: object, message: object) -> None:
        text = str(message)
        if "Query Text:" in text and "romancy" in text:  # without the driver's own queries for types
            self._plans.append(text.partition("Query Text:")[2])

    async def cost(self, store: Store, call: Awaitable[object]) -> Cost:
        self._plans.clear()
        await call
        plans = list(self._plans)
        return Cost(sum(map(_scanned, plans)), "\n".join(_postgres_plan(plan) for plan in plans))

    async def orders(self, store: Store, call: Awaitable[object]) -> Orders:
        self._plans.clear()
        await call
        found = Orders()
        for plan in self._plans:
            bounded = [under for under in _above_reads_of_due(plan) if "Limit" in under]
            sorts = any("Sort" in node for under in bounded for node in under)
            if bounded and "for no key update" in plan:
                (found.sorts if sorts else found.in_order).append(_postgres_plan(plan))
        return found

    async def leave_uncounted(self) -> None:
        connection = await self._connect()
        await connection.execute(_LEFT_UNCOUNTED)
        await connection.close()

    async def analyze(self, store: Store) -> None:
        connection = await self._connect()
        await connection.execute("analyze")
        await connection.close()


def _scanned(plan: str) -> int:
    """Rows that the scans of a plan returned, and rows that they read and discarded."""
    rows, loops = 0, 1
    for line in plan.splitlines():
        if found := _SCANNED.search(line):
            loops = int(found[2])
            rows += int(found[1]) * loops
        elif found := _REMOVED.search(line):
            rows += int(found[1]) * loops
    return rows


def _above_reads_of_due(plan: str) -> list[list[str]]:
    """For each read of what is due by an index, the operators above it, up to a limit or the end of its query."""
    found: list[list[str]] = []
    above: list[tuple[int, str]] = []
    lines = plan.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if (node := _NODE.match(line)) is None:
            continue
        depth, name = len(node[1] or node[3] or ""), node[2] or ""
        above = [each for each in above if each[0] < depth]
        if _DUE_IN_POSTGRES.match(name) and "wake_at <=" in following:
            path: list[str] = []
            for _, other in reversed(above):
                path.append(other)
                if other in ("", "Limit"):
                    break
            found.append(path)
        above.append((depth, name))
    return found


def _postgres_plan(text: str) -> str:
    """Return the plan without the query text that precedes it."""
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines) if "(cost=" in line), 0)
    return "\n".join([_short("\n".join(lines[:first])), *(f"  {line}" for line in lines[first:])])


# --- MySQL and MariaDB --------------------------------------------------------------------------------------------


class _Mysql(Watch):
    def __init__(self) -> None:
        super().__init__()
        self._sent: list[tuple[Any, bytes]] = []
        self._connections: list[Any] = []
        self._own: Any = None
        self._off = False

    @contextmanager
    def on(self) -> Generator[None]:
        import aiomysql  # noqa: PLC0415 - only the suite's own runs have every driver
        from pymysql.constants import COMMAND  # noqa: PLC0415 - the same

        send = aiomysql.Connection._execute_command  # every request passes here; answers may be read elsewhere

        async def watched(connection: Any, command: int, sql: str | bytes) -> None:
            if command == COMMAND.COM_QUERY and not self._off:
                if connection not in self._connections:
                    self._connections.append(connection)
                self._sent.append((connection, sql.encode() if isinstance(sql, str) else sql))
            await send(connection, command, sql)

        with mock.patch.object(aiomysql.Connection, "_execute_command", watched):
            yield
        if self._own is not None:
            self._own.close()

    async def cost(self, store: Store, call: Awaitable[object]) -> Cost:
        _only_of_sessions(store, call)
        await self._read()
        before = await self._read()
        own = await self._read() - before  # the cost of the counting query itself
        self._sent.clear()
        listen(store, _one_by_one)
        try:
            # What is prepared has no text to explain.
            with mock.patch("romancy_mysql._connection.Wire.prepares", new=False):
                await call
        finally:
            leave(store)
        sent = list(self._sent)
        rows = await self._read() - before - 2 * own
        plans = [await self._explained(connection, sql) for connection, sql in sent if _DATA.match(_text(sql))]
        return Cost(max(rows, 0), "\n".join(plans))

    async def orders(self, store: Store, call: Awaitable[object]) -> Orders:
        _only_of_sessions(store, call)
        self._sent.clear()
        listen(store, _one_by_one)
        try:
            with mock.patch("romancy_mysql._connection.Wire.prepares", new=False):
                await call
        finally:
            leave(store)
        found = Orders()
        for connection, sql in [each for each in self._sent if _DATA.match(_text(each[1]))]:
            lines = await self._ask(connection, f"explain format=traditional {_text(sql)}")
            due = [line for line in lines if "claim" in line and b"limit" in sql]
            sorts = any("filesort" in str(line[-1]) for line in lines)
            if due:
                shown = "\n".join(" ".join(map(str, line)) for line in lines)
                (found.sorts if sorts else found.in_order).append(f"{_short(_text(sql))}\n{shown}")
        return found

    async def _read(self) -> int:
        """Return the number of rows that the open sessions have read so far."""
        from pymysql.err import OperationalError  # noqa: PLC0415 - only the suite's own runs have every driver

        total = 0
        for connection in [one for one in self._connections if not one.closed]:
            try:
                lines = await self._ask(connection, "show session status like 'Handler_read%'")
            except OperationalError:  # the server has ended it, since it was silent for `idle_timeout`
                self._connections.remove(connection)
                continue
            total += sum(int(line[1]) for line in lines)
        return total

    async def _explained(self, connection: Any, sql: bytes) -> str:
        lines = await self._ask(connection, f"explain {_text(sql)}")
        shown = ["  " + " ".join(str(value) for value in line if value is not None) for line in lines]
        return "\n".join([_short(_text(sql)), *shown])

    async def _ask(self, connection: Any, sql: str) -> list[tuple[Any, ...]]:
        self._off = True
        try:
            cursor = await connection.cursor()
            with warnings.catch_warnings():  # the driver warns about notes on rewritten queries
                warnings.simplefilter("ignore")
                await cursor.execute(sql)
            return list(await cursor.fetchall())
        finally:
            self._off = False

    async def analyze(self, store: Store) -> None:
        _only_of_sessions(store)
        tables = "romancy_instances, romancy_index, romancy_log, romancy_inbox"
        await self._ask(await self._connection(), f"analyze table {tables}")

    async def _connection(self) -> Any:
        """A connection of the watch alone: the server ends one of the store that is silent for `idle_timeout`."""
        import aiomysql  # noqa: PLC0415 - only the suite's own runs have every driver

        if self._own is None:
            first = self._connections[0]
            self._off = True
            self._own = await aiomysql.connect(
                host=first.host, port=first.port, user=first.user, password=first._password, db=first.db
            )
            self._off = False
        return self._own


def _only_of_sessions(store: Store, call: Any = None) -> None:
    """Skip the test behind the gate of a Vitess, whose sessions have any connection of a tablet."""
    if (name := store.capabilities.name).startswith("Vitess"):
        if call is not None:
            call.close()
        pytest.skip(f"capability: nothing counts the rows that a session of {name} looks at")


class _Tidb(_Mysql):
    """TiDB counts nothing for a session. `explain analyze` counts, and runs the statement: again, and to be undone.

    So rows that a call has removed are not counted. A scan of many others is. It has a connection of its own, because
    the adapter's poll on theirs at any time.
    """

    ahead = 6

    async def cost(self, store: Store, call: Awaitable[object]) -> Cost:
        self._sent.clear()
        listen(store, _one_by_one)
        try:
            await call
        finally:
            leave(store)
        sent = [_WHOLE.sub(r"\1", _text(sql)) for _, sql in self._sent]
        connection = await self._connection()
        plans: list[str] = []
        rows = 0
        for sql in filter(_DATA.match, sent):
            lines = await self._analyzed(connection, sql)
            rows += sum(int(actual) for name, _, actual, *_ in lines if _READS.search(name))
            plans.append("\n".join([_short(sql), *("  " + " ".join(map(str, line[:6])) for line in lines)]))
        return Cost(rows, "\n".join(plans))

    async def orders(self, store: Store, call: Awaitable[object]) -> Orders:
        asyncio.ensure_future(call).cancel()  # it will not be awaited
        pytest.skip("capability: TiDB reads parts of an index on several nodes, and merges them")

    async def _analyzed(self, connection: Any, sql: str) -> list[tuple[Any, ...]]:
        from pymysql.err import MySQLError  # noqa: PLC0415 - only the suite's own runs have every driver

        await self._ask(connection, "start transaction")
        try:
            return await self._ask(connection, f"explain analyze {sql}")
        except MySQLError:  # what it inserts is there now
            return []
        finally:
            await self._ask(connection, "rollback")

    async def analyze(self, store: Store) -> None:
        connection = await self._connection()
        for table in ("instances", "index", "log", "inbox"):
            await self._ask(connection, f"analyze table romancy_{table}")


async def _one_by_one(statement: str, /) -> None:
    """A gate that never stops a statement. While a tap listens, each statement is sent by itself."""


def _text(sql: bytes) -> str:
    return sql.decode("utf-8", "surrogateescape")


def _short(sql: str) -> str:
    return " ".join(sql.split())[:160]
