"""A database server as a client sees it: its URL, its databases, its version. Knows nothing of processes.

The calls block, for fixtures and scripts. PostgreSQL's driver is asynchronous, so it runs in its own event loop in its
own thread: the calls work whether or not the caller has a running loop. What is done for every test goes over a
connection that stays open until `hang_up`. Each driver is imported where it is used,
because the suites also run on machines that have only the driver of one database.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
import secrets
import threading
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from .kinds import Kind, ServerUnavailableError
from .schemas import (
    MOST_PAGES,
    MOST_ROWS,
    MYSQL_MARK,
    MYSQL_SCHEMA,
    MYSQL_TABLES,
    MYSQL_VERSIONS,
    POSTGRES_MARK,
    POSTGRES_SCHEMA,
    POSTGRES_TABLES,
    SESSIONS_POSTGRES,
    TIDB_MARK,
    WIPE_POSTGRES,
    Schema,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence

    _Run = Callable[..., Sequence[Sequence[Any]]]

T = TypeVar("T")

_TIMEOUT = 30
_LOOKS, _BETWEEN_LOOKS = 50, 0.01
_kept: dict[tuple[Access, str], Any] = {}
"""The administrator's connections that stay open, by server and database; on MySQL one for all databases."""
_marks: dict[tuple[Access, str], str] = {}
"""What `POSTGRES_MARK` or `MYSQL_MARK` returned for a database whose tables were as they should be."""
_loops: dict[int, asyncio.AbstractEventLoop] = {}
"""The event loop for PostgreSQL, by process: a forked one has not its parent's threads."""


class AccessError(Exception):
    """The server is away, still starting, or refuses the statement."""


@dataclass(frozen=True, slots=True)
class Access(ABC):
    """How to reach one server; `socket` is the Unix socket of a server that this suite started."""

    kind: Kind
    user: str
    password: str
    host: str
    port: int
    database: str = ""
    socket: str | None = None

    def url(self, database: str = "") -> str:
        """The connection string of one database on this server."""
        name = database or self.database or self.kind.first_database
        account = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"{self.kind.scheme}://{account}@{self.host}:{self.port}/{quote(name, safe='')}"

    def fresh_database(self) -> str:
        """Create an empty database and return its URL."""
        name = _new_name()
        self.create_database(name)
        return self.url(name)

    def create_database(self, name: str) -> None:
        self.fetch(f"CREATE DATABASE {self._quoted(name)}")

    @abstractmethod
    def drop_database(self, name: str) -> None:
        """Drop the database even if it is in use; one that does not exist is no error."""

    def recycle(self, name: str) -> str | None:
        """End all sessions in the database; return None if it is gone, or the name of the empty one made of it."""
        self.drop_database(name)
        return None

    @abstractmethod
    def schema(self, name: str) -> Schema:
        """Return the schema of the database, without its rows."""

    @abstractmethod
    def wipe(self, name: str, schema: Schema) -> bool:
        """End all sessions in the database and remove its rows; return whether it has the tables of the schema."""

    @abstractmethod
    def is_unused(self, name: str) -> bool:
        """Whether no client is connected to the database; a process that an earlier test forgot may be."""

    @abstractmethod
    def hang_up(self) -> None:
        """Close what this process keeps open for `wipe` and `is_unused`."""

    @abstractmethod
    def version(self) -> str:
        """Return the server's version as it reports it, such as `PostgreSQL 15.18`."""

    @abstractmethod
    def fetch(self, statement: str, *, database: str = "") -> Any:
        """Run one statement as the administrator; return the first column of the first row, or None.

        PostgreSQL carries out a query up to that row only.
        """

    @abstractmethod
    def _quoted(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """A server shared by many: how to reach it, the version it reports, and where it came from."""

    access: Access
    version: str
    origin: str

    def __str__(self) -> str:
        return f"{self.version}, {self.origin}"


class PostgresAccess(Access):
    def drop_database(self, name: str) -> None:
        self._leave(name)
        self.fetch(f"DROP DATABASE IF EXISTS {self._quoted(name)} WITH (FORCE)")

    def _leave(self, name: str) -> None:
        """Close the connection that is kept in a database."""
        connection = _kept.pop((self, name), None)
        if connection is not None:
            _loop().call_soon_threadsafe(connection.terminate)

    def recycle(self, name: str) -> str | None:
        # PostgreSQL takes a tenth of a second to create a database, a hundredth to empty one. The new name keeps out
        # a process that an earlier test forgot and that connects again.
        new_name = _new_name()
        self._leave(name)
        try:
            self._run(("execute", _EMPTY_POSTGRES.format(name=self._quoted(name))), database=name)
            self.fetch(f"ALTER DATABASE {self._quoted(name)} RENAME TO {self._quoted(new_name)}")
        except AccessError:  # that process was faster
            self.drop_database(name)
            return None
        return new_name

    def version(self) -> str:
        return f"PostgreSQL {self.fetch('SHOW server_version')}"

    def fetch(self, statement: str, *, database: str = "") -> Any:
        return self._run(("fetchval", statement), database=database)[0]

    def schema(self, name: str) -> Schema:
        tables, digest = self._run(("fetchval", POSTGRES_TABLES), ("fetchval", POSTGRES_SCHEMA), database=name)
        return Schema(frozenset(tables.split(",")), digest)

    def wipe(self, name: str, schema: Schema) -> bool:
        wipe = WIPE_POSTGRES.format(
            name=self._quoted(name), tables=",".join(schema.tables), pages=MOST_PAGES, most=MOST_ROWS
        )
        try:
            return self._told_apart(self._wiped(name, wipe, schema))
        except AccessError:
            return False

    async def _wiped(self, name: str, wipe: str, schema: Schema) -> bool:
        """Remove the rows; return whether the tables are those of the schema."""
        async with self._kept_connection(name) as connection:
            await connection.execute(wipe)
            mark = str(await connection.fetchval(POSTGRES_MARK))
            if mark == _marks.get((self, name)):  # to compare all definitions takes ten times as long
                return True
            if await connection.fetchval(POSTGRES_SCHEMA) != schema.digest:
                return False
            _marks[self, name] = mark
            return True

    def is_unused(self, name: str) -> bool:
        try:
            return self._told_apart(self._others(name)) == 0
        except AccessError:
            return False

    async def _others(self, name: str) -> int:
        """The number of sessions in the database besides this one. One that was ended may take a moment to leave."""
        async with self._kept_connection(name) as connection:
            looks = 1
            while (count := int(await connection.fetchval(SESSIONS_POSTGRES))) and looks < _LOOKS:
                await asyncio.sleep(_BETWEEN_LOOKS)
                looks += 1
            return count

    @asynccontextmanager
    async def _kept_connection(self, name: str) -> AsyncGenerator[Any]:
        """Yield a connection to the database that stays open: a new one costs more than what is done over it."""
        connection = _kept.pop((self, name), None)
        if connection is None or connection.is_closed():  # a test may have ended it
            connection = await self._connected(name)
        try:
            yield connection
        except BaseException:
            connection.terminate()
            raise
        _kept[self, name] = connection

    def hang_up(self) -> None:
        for key in [key for key in _kept if key[0] == self]:
            with suppress(AccessError):
                self._told_apart(_kept.pop(key).close(timeout=_TIMEOUT))

    def _run(self, *steps: tuple[str, str], database: str) -> list[Any]:
        """Run methods of the driver's connection, each with its statement; return their results."""

        async def run() -> list[Any]:
            connection = await self._connected(database)
            try:
                return [await getattr(connection, method)(statement) for method, statement in steps]
            finally:
                await connection.close()

        return self._told_apart(run())

    async def _connected(self, database: str) -> Any:
        return await _driver("asyncpg", "postgres").connect(
            host=str(Path(self.socket).parent) if self.socket else self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database or self.database or self.kind.first_database,
            timeout=_TIMEOUT,
            server_settings={"default_transaction_read_only": "off"},  # whatever a test set for the database
        )

    def _told_apart(self, work: Coroutine[Any, Any, T]) -> T:
        asyncpg = _driver("asyncpg", "postgres")
        try:
            return asyncio.run_coroutine_threadsafe(work, _loop()).result()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise AccessError(f"PostgreSQL on port {self.port}: {error}") from error

    def _quoted(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'


_EMPTY_POSTGRES = """
    ALTER DATABASE {name} RESET ALL;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid();
    DO $$
        DECLARE one text;
        BEGIN
            FOR one IN SELECT quote_ident(nspname) FROM pg_namespace
                WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
            LOOP
                EXECUTE 'DROP SCHEMA ' || one || ' CASCADE';
            END LOOP;
            CREATE SCHEMA public;
        END
    $$
"""
_IN_A_ROW = 6


@functools.cache
def _is_cluster(access: Access) -> bool:
    """Whether this server is a node of a Galera cluster."""
    if access.kind is not Kind.MARIADB:
        return False
    asked = "SELECT count(*) FROM information_schema.global_variables WHERE variable_name = 'wsrep_on'"
    return bool(access.fetch(f"{asked} AND variable_value = 'ON'"))


_SESSIONS_IN = {
    Kind.TIDB: "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> connection_id()",
    Kind.MARIADB: "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> connection_id()",
    # Here, MySQL's information_schema shows every statement of the server, and fails where one has odd bytes.
    Kind.MYSQL: "SELECT processlist_id FROM performance_schema.threads"
    " WHERE processlist_db = %s AND processlist_id <> connection_id()",
    # Those with a transaction: the others are idle connections of its tablets.
    Kind.VITESS: "SELECT processlist_id FROM performance_schema.threads JOIN information_schema.innodb_trx"
    " ON trx_mysql_thread_id = processlist_id WHERE processlist_db = %s AND processlist_id <> connection_id()",
}


_PRODUCTS = {Kind.MYSQL: "MySQL", Kind.MARIADB: "MariaDB", Kind.TIDB: "TiDB", Kind.VITESS: "Vitess over MySQL"}


class MySQLAccess(Access):
    """MySQL, MariaDB, TiDB, and Vitess, whose administration is that of the MySQL below, at its socket."""

    def create_database(self, name: str) -> None:
        """On nodes of a cluster behind a proxy, wait until some connections in a row lead to one that has it."""
        Access.create_database(self._gate, name)
        if not _is_cluster(self):
            return
        found = 0
        while found < _IN_A_ROW:
            try:
                self.fetch("SELECT 1", database=name)
                found += 1
            except AccessError:
                found = 0

    def drop_database(self, name: str) -> None:
        with self._session() as run:
            self._end_sessions(run, name)
        with suppress(AccessError) if self._gate is not self else nullcontext():  # vtcombo may break off, with it done
            self._gate.fetch(f"DROP DATABASE IF EXISTS {self._quoted(name)}")

    @property
    def _gate(self) -> Access:  # databases are made there
        return replace(self, socket=None) if self.kind is Kind.VITESS else self

    def _stored_as(self, name: str) -> str:
        """The name of a database at the socket."""
        return f"vt_{name}_0" if self._gate is not self and self.socket and name not in ("", "mysql") else name

    def schema(self, name: str) -> Schema:
        with self._session(name) as run:
            return self._schema(run)

    def wipe(self, name: str, schema: Schema) -> bool:
        try:
            with self._kept_session(name) as run:
                self._end_sessions(run, name)
                return self._has_tables(run, name, schema) and self._without_rows(run, schema)
        except AccessError:
            return False

    def _has_tables(self, run: _Run, name: str, schema: Schema) -> bool:
        """Drop what a test added; return whether the tables are those of the schema."""
        # Both queries together take a tenth of the time that a comparison of all definitions takes.
        mark = repr([run(TIDB_MARK if self.kind is Kind.TIDB else MYSQL_MARK), run(MYSQL_VERSIONS)])
        if mark == _marks.get((self, name)):
            return True
        tables = {str(table) for (table,) in run(MYSQL_TABLES)}
        for table in sorted(tables - schema.tables):
            run(f"DROP TABLE {self._quoted(table)}")
        if self._schema(run) != schema:
            return False
        _marks[self, name] = mark
        return True

    def _without_rows(self, run: _Run, schema: Schema) -> bool:
        """Remove the rows; return False if they are too many."""
        if self.kind is not Kind.TIDB:  # it has no such level
            run("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE")  # reads wait for a commit under way
        run("BEGIN")
        first_rows = " UNION ALL ".join(
            f"(SELECT '{table}' FROM {self._quoted(table)} LIMIT 1)"  # noqa: S608 - names of ours
            for table in sorted(schema.tables - {"romancy_schema"})
        )
        for table in sorted(str(table) for (table,) in run(first_rows)):
            run(f"DELETE FROM {self._quoted(table)} LIMIT {MOST_ROWS + 1}")  # noqa: S608 - a name of ours
            ((removed,),) = run("SELECT row_count()")
            if removed > MOST_ROWS:
                return False
        run("COMMIT")
        return True

    def is_unused(self, name: str) -> bool:
        # A name stays in use, and a process that a test forgot may have reconnected.
        with self._kept_session("mysql") as run:
            return not run(_SESSIONS_IN[self.kind], self._stored_as(name))

    def _schema(self, run: _Run) -> Schema:
        answers = [run(statement) for statement in MYSQL_SCHEMA]
        tables = frozenset(str(name) for name, kind, *_ in answers[1] if kind == "BASE TABLE")
        return Schema(tables, repr(answers))

    def _end_sessions(self, run: _Run, name: str) -> None:
        """An open transaction that a test left behind would block later statements for a year."""
        for (connection,) in run(_SESSIONS_IN[self.kind], self._stored_as(name)):
            with suppress(AccessError):  # it has ended by itself
                run("KILL %s", connection)

    def version(self) -> str:
        return f"{_PRODUCTS[self.kind]} {self.fetch('SELECT version()')}"

    def fetch(self, statement: str, *, database: str = "") -> Any:
        with self._session(database) as run:
            rows = run(statement)
            return rows[0][0] if rows else None

    @contextmanager
    def _session(self, database: str = "") -> Generator[_Run]:
        """Open a connection; yield a function that runs a statement with parameters and returns its rows."""
        with self._connected(database) as connection:
            yield partial(self._run, connection)

    @contextmanager
    def _kept_session(self, database: str) -> Generator[_Run]:
        """As `_session`, on a connection that stays open; it is in no test's database while nobody uses it."""
        connection = _kept.pop((self, ""), None) or self._connected()
        try:
            with self._told_apart():
                connection.select_db(self._stored_as(database))
            yield partial(self._run, connection)
            with self._told_apart():
                connection.rollback()
                connection.select_db("mysql")
        except BaseException:
            connection.close()
            raise
        _kept[self, ""] = connection

    def hang_up(self) -> None:
        connection = _kept.pop((self, ""), None)
        if connection is not None:
            with suppress(AccessError), self._told_apart():
                connection.close()

    def _run(self, connection: Any, statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
        with self._told_apart(), connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return tuple(cursor.fetchall())

    def _connected(self, database: str = "") -> Any:
        with self._told_apart():
            return _driver("pymysql", "mysql").connect(
                host=self.host,
                port=self.port,
                unix_socket=self.socket,
                user=self.user,
                password=self.password,
                database=self._stored_as(database or self.database) or None,
                connect_timeout=_TIMEOUT,
                autocommit=True,
            )

    @contextmanager
    def _told_apart(self) -> Generator[None]:
        pymysql = _driver("pymysql", "mysql")
        try:
            yield
        except (OSError, RuntimeError, pymysql.MySQLError) as error:  # RuntimeError: it cannot encrypt a password
            raise AccessError(f"{self.kind} on port {self.port}: {error}") from error

    def _quoted(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"


def _loop() -> asyncio.AbstractEventLoop:
    loop = _loops.get(os.getpid())
    if loop is None:
        loop = _loops[os.getpid()] = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, name="romancy-access", daemon=True).start()
    return loop


def _new_name() -> str:
    return f"romancy_{secrets.token_hex(6)}"


def _driver(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ServerUnavailableError(f"the driver {name} is not installed: pip install 'romancy[{extra}]'") from None


def access_to(
    kind: Kind, *, user: str, password: str, host: str, port: int, database: str = "", socket: str | None = None
) -> Access:
    make = PostgresAccess if kind is Kind.POSTGRES else MySQLAccess
    return make(kind, user, password, host, port, database, socket)


def access_by_url(kind: Kind, url: str, socket: str | None = None) -> Access:
    """The access that a connection string describes; its database is the one administration connects to."""
    parts = urlsplit(url)
    return access_to(
        kind,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        host=parts.hostname or "127.0.0.1",
        port=parts.port or (5432 if kind is Kind.POSTGRES else 3306),
        database=unquote(parts.path.removeprefix("/")),
        socket=socket,
    )
