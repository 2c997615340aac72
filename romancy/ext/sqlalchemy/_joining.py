"""SQLAlchemy: its sessions and connections as `session=`.

Romancy writes on the driver's connection below them. SQLAlchemy keeps the transaction, and its owner ends it.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event
from sqlalchemy.exc import InvalidRequestError, UnboundExecutionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from romancy.errors import UsageError
from romancy.ext.sqlalchemy._sessions import keeper_of
from romancy.storage.joining import Joined, here

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect
    from sqlalchemy.orm import SessionTransaction

    from romancy.ext.sqlalchemy._keeper import Keeper
    from romancy.storage.joining import Run

__all__ = ["join"]

_SCOPED: Final = (scoped_session, async_scoped_session)
_waiting: Final[WeakKeyDictionary[Session, dict[Callable[[], None], None]]] = WeakKeyDictionary()
"""The callbacks after the end of the outermost transaction of each session."""


async def join(session: object, run: Run, /) -> Joined:
    """The driver's connection in the transaction of this session or connection, which is begun if it was not."""
    given = _unscoped(session)
    keeper = keeper_of(given)
    if keeper is not None:
        return await _of_activity(given, keeper, run)
    try:
        if isinstance(given, AsyncSession | AsyncConnection):
            if run is not here:
                raise UsageError(
                    f"session= of a call without await takes a Session or a Connection, not {type(given).__name__}: "
                    "that belongs to an event loop"
                )
            return await _join_async(given)
        if isinstance(given, Session):
            return Joined(await run(partial(_of_session, given)), run, partial(_at_end, given))
        if isinstance(given, Connection):
            return Joined(await run(partial(_of_connection, given)), run)
    except UnboundExecutionError:
        raise UsageError(
            "session= was given a session without an engine of its own; give one of its connections: "
            "session.connection(bind_arguments=…)"
        ) from None
    except InvalidRequestError as error:
        raise UsageError(f"session= was given a {type(given).__name__} that cannot be used: {error}") from None
    raise UsageError(
        "session= takes an AsyncSession, AsyncConnection, Session or Connection of SQLAlchemy, "
        f"not {type(given).__name__}"
    )


async def _of_activity(given: object, keeper: Keeper, run: Run) -> Joined:
    """The connection of the activity's own transaction, with everything flushed and begun that comes before."""
    keeper.check()
    keeper.check_loop()
    if isinstance(given, AsyncSession):
        await given.flush()
        _ = await given.connection()
    elif isinstance(given, Session):
        reach = partial(_reach, given)
        await run(reach) if run is not here else await asyncio.to_thread(reach)
    return Joined(keeper.native)


def _reach(session: Session) -> None:
    """Flush what is pending, and set the savepoints that SQLAlchemy sets with the next statement."""
    session.flush()
    session.connection()


def _unscoped(session: object) -> object:
    return cast("Callable[[], object]", session)() if isinstance(session, _SCOPED) else session


async def _join_async(given: AsyncSession | AsyncConnection) -> Joined:
    if isinstance(given, AsyncConnection):
        return Joined(await _of_async(given))
    sync = given.sync_session
    _check_active(sync)
    if sync.autoflush:
        await given.flush()
    return Joined(await _of_async(await given.connection()), at_end=partial(_at_end, sync))


async def _of_async(connection: AsyncConnection) -> object:
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not connection.in_transaction() or (connection.dialect.driver == "asyncpg" and not driver.is_in_transaction()):
        await connection.exec_driver_sql("select 1")  # what begins it, in SQLAlchemy and in what it makes of asyncpg
    return driver


def _of_session(session: Session) -> object:
    _check_active(session)
    _check_blocking(session, session.get_bind().dialect)
    if session.autoflush:
        session.flush()
    return _of_connection(session.connection())


def _of_connection(connection: Connection) -> object:
    _check_blocking(connection, connection.dialect)
    if not connection.in_transaction():
        connection.exec_driver_sql("select 1")  # what begins it in SQLAlchemy
    return connection.connection.driver_connection


def _check_active(session: Session) -> None:
    if not session.is_active and session.in_transaction():
        raise UsageError("session= was given a session in which something has failed; roll it back and begin again")


def _check_blocking(given: Session | Connection, dialect: Dialect) -> None:
    if dialect.is_async:
        raise UsageError(
            f"session= was given the {type(given).__name__} inside an asynchronous one; give the asynchronous one"
        )


def _at_end(session: Session, call: Callable[[], None]) -> None:
    """Call this once after the end of the session's outermost transaction."""
    calls = _waiting.get(session)
    if calls is None:
        calls = _waiting[session] = {}
        event.listen(session, "after_transaction_end", _ended)
    calls[call] = None


def _ended(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is not None:
        return
    calls = _waiting.get(session)
    if calls:
        ended, _waiting[session] = calls, {}
        for call in ended:
            call()
