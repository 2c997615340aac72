"""The sessions that activities use, and the engine's steps before and after the activity's result."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, NullPool, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from romancy.errors import UsageError
from romancy.ext.sqlalchemy._keeper import Keeper, lending, refused

if TYPE_CHECKING:
    from sqlalchemy import ExceptionContext
    from sqlalchemy.orm import SessionTransaction

__all__ = ["ActivitySession", "Awaiting", "InThread", "keeper_of"]

_KINDS: Final = {"asyncpg": "PostgreSQL", "aiomysql": "MySQL", "sqlite_utils": "SQLite"}
"""The dialect for a session's native object, by the package of its class."""
_engines: Final[WeakKeyDictionary[Any, dict[str, Any]]] = WeakKeyDictionary()
"""The engines of each store. An engine knows its server, and holds no connection."""

for _name in _KINDS.values():
    for _mode in ("", "Blocking"):
        registry.register(f"romancy.{_name}{_mode}".lower(), "romancy.ext.sqlalchemy._dialects", f"{_name}{_mode}")


class ActivitySession(Session):
    """A session whose transaction Romancy ends."""

    def __init__(self, *arguments: Any, keeper: Keeper, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.keeper = keeper

    def commit(self) -> NoReturn:
        raise refused("commit()")

    def rollback(self) -> NoReturn:
        raise refused("rollback()")

    def close(self) -> NoReturn:
        raise refused("close()")

    def reset(self) -> NoReturn:
        raise refused("reset()")

    def invalidate(self) -> NoReturn:
        raise refused("invalidate()")

    def prepare(self) -> NoReturn:
        raise refused("prepare()")

    def begin(self, nested: bool = False) -> SessionTransaction:  # noqa: FBT001, FBT002 - SQLAlchemy's signature
        """Begin a savepoint. The transaction itself has begun already."""
        if not nested:
            raise refused("begin()")
        return super().begin(nested=True)

    def get_bind(self, *arguments: Any, **options: Any) -> Any:
        """The attempt's connection, until the attempt has ended. Every statement asks for it."""
        self.keeper.check()
        return super().get_bind(*arguments, **options)


def keeper_of(session: object) -> Keeper | None:
    """The keeper of this session's transaction, if the session is one of an activity."""
    sync = session.sync_session if isinstance(session, AsyncSession) else session
    return sync.keeper if isinstance(sync, ActivitySession) else None


class _Companion:
    """The session of one attempt."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper

    def cause(self, error: Exception, /) -> Exception:
        """The driver's error."""
        original = error.orig if isinstance(error, DBAPIError) else None
        if not isinstance(original, Exception):
            return error
        # For asyncpg, SQLAlchemy makes an exception of its own from the driver's.
        behind = original.__cause__
        emulated = type(original).__module__.startswith("sqlalchemy.")
        return behind if emulated and isinstance(behind, Exception) else original


class Awaiting(_Companion):
    """The `AsyncSession` of an `async def`."""

    def __init__(self, keeper: Keeper) -> None:
        super().__init__(keeper)
        self._session: AsyncSession | None = None
        self._connection: AsyncConnection | None = None
        self._opening = asyncio.Lock()

    async def open(self, place: object) -> AsyncSession:
        """SQLAlchemy on the attempt's connection, for all tasks of the activity the same."""
        async with self._opening:
            if self._session is None:
                self._connection = await self._connected(AsyncEngine(_engine(place, self.keeper)))
                self._session = AsyncSession(self._connection, sync_session_class=ActivitySession, keeper=self.keeper)
            return self._session

    async def _connected(self, engine: AsyncEngine) -> AsyncConnection:
        token = lending.set(self.keeper)
        try:
            connection = await engine.connect()
        finally:
            lending.reset(token)
        self.keeper.lent = True
        return connection

    async def flush(self) -> None:
        """Write what is pending."""
        if self._session is not None:
            await self._session.flush()

    async def finish(self) -> None:
        """Flush, and raise if a statement has failed unnoticed."""
        self.keeper.check_whole()
        await self.flush()
        self.keeper.check_whole()

    async def leave(self) -> None:
        """Give the connection back to SQLAlchemy, which does not use it."""
        self.keeper.end()
        if self._connection is not None:
            await self._connection.close()


class InThread(_Companion):
    """The `Session` of a plain function."""

    session: ActivitySession

    def open(self, place: object) -> None:
        """Put SQLAlchemy onto the attempt's connection. Runs on the thread."""
        token = lending.set(self.keeper)
        try:
            connection = _engine(place, self.keeper).connect()
        finally:
            lending.reset(token)
        self.keeper.lent = True
        self.session = ActivitySession(connection, keeper=self.keeper)

    def flush(self) -> None:
        """Write what is pending. Runs on a thread."""
        self.session.flush()

    async def finish(self) -> None:
        """Raise if a statement has failed unnoticed, or if changes were made after the block and are still pending."""
        self.keeper.check_whole()
        if self.session.new or self.session.dirty or self.session.deleted:
            await asyncio.to_thread(self.flush)
            self.keeper.check_whole()

    async def leave(self) -> None:
        """Refuse further use: a thread that still runs gets errors from now on."""
        self.keeper.end()


def _engine(place: object, keeper: Keeper) -> Engine:
    mode = "Blocking" if keeper.blocking else ""
    name = f"{_kind(keeper.native)}{mode}"
    engines = _engines.setdefault(place, {})
    engine: Engine | None = engines.get(name)
    if engine is None:
        engine = engines[name] = _made(name, keeper)
    return engine


def _kind(native: object) -> str:
    for base in type(native).__mro__:
        kind = _KINDS.get(base.__module__.partition(".")[0])
        if kind is not None:
            return kind
    raise UsageError(
        "session() of romancy.ext.sqlalchemy needs a database of SQL; this app's database is "
        f"{type(native).__module__}.{type(native).__qualname__}"
    )


def _made(name: str, keeper: Keeper) -> Engine:
    options: dict[str, Any] = {"poolclass": NullPool, "pool_reset_on_return": None}
    if name.startswith("SQLite"):
        options["module"] = _module_of(keeper.native.conn)
    url = f"romancy+{name.lower()}://"
    engine = create_engine(url, **options) if keeper.blocking else create_async_engine(url, **options).sync_engine
    event.listen(engine, "handle_error", _failed)
    return engine


def _module_of(connection: object) -> Any:
    """The SQLite module of the connection: there are others besides Python's."""
    names = [base.__module__ for base in type(connection).__mro__ if base.__name__ == "Connection"]
    name = names[-1].partition(".")[0]
    return sys.modules.get(name) or importlib.import_module(name)


def _failed(context: ExceptionContext) -> None:
    connection: Any = context.connection
    only_refused = isinstance(context.original_exception, UsageError)  # before anything was done
    if connection is not None and not connection.invalidated and not only_refused:
        keeper: Keeper = connection.connection.dbapi_connection.keeper
        keeper.failed()
