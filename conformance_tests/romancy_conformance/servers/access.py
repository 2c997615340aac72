"""A database server as a client sees it: its URL, its databases, its version. Knows nothing of processes.

The calls block, for fixtures and scripts. PostgreSQL's driver is asynchronous, so it runs on a loop of its own in
a thread of its own: the calls work whether or not the caller has a loop running. A driver is imported where it
is used, because the suites also run on machines that have only the driver of the database at hand.
"""

from __future__ import annotations

import asyncio
import importlib
import secrets
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from .kinds import Kind, ServerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

_TIMEOUT = 30


class AccessError(Exception):
    """The server is away, still starting, or refuses the statement."""


@dataclass(frozen=True, slots=True)
class Access(ABC):
    """How to reach one server; `socket` is its Unix socket, if the server is ours."""

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
        """Drop the database though it be in use; one that does not exist is no error."""

    def recycle(self, name: str) -> str | None:
        """End whatever uses the database; None if it is gone, or the name of the empty one made of it."""
        self.drop_database(name)
        return None

    @abstractmethod
    def version(self) -> str:
        """What the server says it is, such as `PostgreSQL 15.18`."""

    @abstractmethod
    def fetch(self, statement: str, *, database: str = "") -> Any:
        """Run one statement as the administrator: the first column of the first row, or None."""

    @abstractmethod
    def _quoted(self, name: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """A server used by many: how to reach it, what it says it is, and where it came from."""

    access: Access
    version: str
    origin: str

    def __str__(self) -> str:
        return f"{self.version}, {self.origin}"


class PostgresAccess(Access):
    def drop_database(self, name: str) -> None:
        self.fetch(f"DROP DATABASE IF EXISTS {self._quoted(name)} WITH (FORCE)")

    def recycle(self, name: str) -> str | None:
        # Making a database takes PostgreSQL a tenth of a second, emptying one a hundredth. The new name keeps out
        # a process that an earlier test forgot and that connects again.
        new_name = _new_name()
        try:
            self._run(_EMPTY_POSTGRES.format(name=self._quoted(name)), database=name, method="execute")
            self.fetch(f"ALTER DATABASE {self._quoted(name)} RENAME TO {self._quoted(new_name)}")
        except AccessError:  # that process was quicker
            self.drop_database(name)
            return None
        return new_name

    def version(self) -> str:
        return f"PostgreSQL {self.fetch('SHOW server_version')}"

    def fetch(self, statement: str, *, database: str = "") -> Any:
        return self._run(statement, database=database, method="fetchval")

    def _run(self, statement: str, *, database: str, method: str) -> Any:
        asyncpg = _driver("asyncpg", "postgres")

        async def run() -> Any:
            connection = await asyncpg.connect(
                host=str(Path(self.socket).parent) if self.socket else self.host,
                port=self.port,
                user=self.user,
                password=self.password,
                database=database or self.database or self.kind.first_database,
                timeout=_TIMEOUT,
                server_settings={"default_transaction_read_only": "off"},  # whatever a test did to the database
            )
            try:
                return await getattr(connection, method)(statement)
            finally:
                await connection.close()

        with ThreadPoolExecutor(1) as thread:
            try:
                return thread.submit(asyncio.run, run()).result()
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


_SESSIONS_IN = {
    Kind.MARIADB: "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> connection_id()",
    # MySQL's information_schema shows every statement of the server for this, and fails where one holds odd bytes.
    Kind.MYSQL: "SELECT processlist_id FROM performance_schema.threads"
    " WHERE processlist_db = %s AND processlist_id <> connection_id()",
}


class MySQLAccess(Access):
    """MySQL and MariaDB."""

    def drop_database(self, name: str) -> None:
        with self._session() as run:
            # A transaction somebody left open would block the drop for a year.
            for (connection,) in run(_SESSIONS_IN[self.kind], name):
                with suppress(AccessError):  # it has ended by itself
                    run("KILL %s", connection)
            run(f"DROP DATABASE IF EXISTS {self._quoted(name)}")

    def version(self) -> str:
        product = "MySQL" if self.kind is Kind.MYSQL else "MariaDB"
        return f"{product} {self.fetch('SELECT version()')}"

    def fetch(self, statement: str, *, database: str = "") -> Any:
        with self._session(database) as run:
            rows = run(statement)
            return rows[0][0] if rows else None

    @contextmanager
    def _session(self, database: str = "") -> Generator[Callable[..., Sequence[Sequence[Any]]]]:
        """A connection, as a function that runs a statement with parameters and returns its rows."""
        pymysql = _driver("pymysql", "mysql")

        def run(statement: str, *parameters: object) -> Sequence[Sequence[Any]]:
            with self._told_apart(pymysql), connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return tuple(cursor.fetchall())

        with self._told_apart(pymysql):
            connection = pymysql.connect(
                host=self.host,
                port=self.port,
                unix_socket=self.socket,
                user=self.user,
                password=self.password,
                database=database or self.database or None,
                connect_timeout=_TIMEOUT,
                autocommit=True,
            )
        with connection:
            yield run

    @contextmanager
    def _told_apart(self, pymysql: Any) -> Generator[None]:
        try:
            yield
        except (OSError, RuntimeError, pymysql.MySQLError) as error:  # RuntimeError: it cannot encrypt a password
            raise AccessError(f"{self.kind} on port {self.port}: {error}") from error

    def _quoted(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"


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
