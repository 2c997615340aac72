"""SQLAlchemy's dialects on connections that are lent to activities. They inspect the server as usual.

They begin and end no transaction, and their savepoints are those of the activity's session. Each stands here twice:
for greenlets, and for the threads of plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

from sqlalchemy import types
from sqlalchemy.dialects.mysql.aiomysql import MySQLDialect_aiomysql
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteExecutionContext_aiosqlite
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from romancy.errors import UsageError
from romancy.ext.sqlalchemy._connections import Blocking, LentAiomysql, LentAsyncpg, LentSqlite
from romancy.ext.sqlalchemy._keeper import Keeper, lending
from romancy.storage.endings import OVER

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["MySQL", "MySQLBlocking", "PostgreSQL", "PostgreSQLBlocking", "SQLite", "SQLiteBlocking"]


def _keeper(connection: Any) -> Keeper:
    return cast("Keeper", getattr(connection, "dbapi_connection", connection).keeper)


class _Lent:
    """The calls that a dialect must not make."""

    adapted: type[Any]
    dbapi: Any

    def connect(self, *_arguments: Any, **_options: Any) -> Any:
        """The connection of the attempt that asks."""
        keeper = lending.get(None)
        if keeper is None:
            raise UsageError(f"{OVER}: an activity's session() has one connection, which was lost")
        made = self.adapted(self.dbapi, keeper)
        return Blocking(made, keeper) if keeper.blocking and self.adapted is not LentSqlite else made

    def do_begin(self, dbapi_connection: Any) -> None: ...

    def do_commit(self, dbapi_connection: Any) -> NoReturn:
        _keeper(dbapi_connection).commit()

    def do_rollback(self, dbapi_connection: Any) -> None:
        _keeper(dbapi_connection).roll_back()

    def do_close(self, dbapi_connection: Any) -> None: ...

    def do_terminate(self, dbapi_connection: Any) -> None: ...

    def do_savepoint(self, connection: Connection, name: str) -> None:
        _keeper(connection.connection).savepoint(name)

    def do_rollback_to_savepoint(self, connection: Connection, name: str) -> None:
        _keeper(connection.connection).undo(name)

    def do_release_savepoint(self, connection: Connection, name: str) -> None:
        _keeper(connection.connection).release(name)


def _decoding(kind: type[Any]) -> type[Any]:
    """A JSON type of SQLAlchemy's for asyncpg that reads the text by itself, as for every other driver."""
    return type(kind.__name__, (kind,), {"result_processor": types.JSON.result_processor})


class PostgreSQL(_Lent, PGDialect_asyncpg):
    """PostgreSQL by asyncpg."""

    adapted = LentAsyncpg
    supports_statement_cache = True
    supports_native_json_deserialization = False  # a decoder would stay on a connection that goes back to Romancy
    colspecs: Any = dict(PGDialect_asyncpg.colspecs) | {
        key: _decoding(kind)
        for key, kind in PGDialect_asyncpg.colspecs.items()
        if issubclass(kind, types.JSON) and issubclass(key, types.JSON)
    }

    def on_connect(self) -> Any:
        """Nothing is set on a connection that goes back to Romancy."""
        return None


class PostgreSQLBlocking(PostgreSQL):
    """The same on a thread."""

    is_async = False
    supports_statement_cache = True


class MySQL(_Lent, MySQLDialect_aiomysql):
    """MySQL and MariaDB by aiomysql."""

    adapted = LentAiomysql
    supports_statement_cache = True


class MySQLBlocking(MySQL):
    """The same on a thread."""

    is_async = False
    supports_statement_cache = True


class SQLite(_Lent, SQLiteDialect_pysqlite):
    """SQLite by the module that Romancy uses."""

    adapted = LentSqlite
    is_async = True
    supports_statement_cache = True
    supports_server_side_cursors = True
    execution_ctx_cls = SQLiteExecutionContext_aiosqlite

    def get_driver_connection(self, connection: Any) -> Any:
        return connection._connection  # noqa: SLF001 - a class of this package


class SQLiteBlocking(SQLite):
    """The same on a thread."""

    is_async = False
    supports_statement_cache = True
