"""`session()`: SQLAlchemy in an activity, on the transaction that also commits the activity's completion."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.util import await_only

from romancy.attempt_context import activity_port
from romancy.errors import UsageError
from romancy.ext.sqlalchemy._keeper import Keeper
from romancy.ext.sqlalchemy._sessions import Awaiting, InThread
from romancy.session import refuse_loop
from romancy.storage.isolation import check_isolation

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from types import TracebackType

    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from romancy.session import ActivityPort
    from romancy.session import Session as Facade
    from romancy.storage.isolation import IsolationLevel

__all__ = ["Opening", "session"]

T = TypeVar("T")

_AWAIT: Final = "await it: `db = await session()`, or `async with session() as db`"


class Opening:
    """What `session()` returns. Await it or enter it with `async with` in an `async def`, else with `with`.

    A block flushes at its end. An exception that leaves the block dooms the transaction, also if it is caught later.
    """

    def __init__(self, isolation: IsolationLevel | None = None) -> None:
        self._isolation: IsolationLevel | None = isolation
        self._companion: Awaiting | InThread | None = None
        import_module("romancy.ext.sqlalchemy._dialects")  # takes a while, during which nothing should be locked

    def __await__(self) -> Generator[Any, Any, AsyncSession]:
        return self._awaiting().__await__()

    async def __aenter__(self) -> AsyncSession:
        return await self._awaiting()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        companion = self._companion
        if isinstance(companion, Awaiting) and not companion.keeper.over:
            if kind is not None:
                companion.keeper.left()
            else:
                await companion.flush()

    def __enter__(self) -> Session:
        refuse_loop("with session()", _AWAIT)
        companion = self._companion = _in_thread(activity_port()[1], self._isolation)
        return companion.session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        companion = self._companion
        if isinstance(companion, InThread) and not companion.keeper.over:
            if kind is not None:
                companion.keeper.left()
            else:
                companion.flush()

    async def _awaiting(self) -> AsyncSession:
        port = activity_port()[1]
        companion = self._companion = await _awaiting(port, self._isolation)
        return await companion.open(port.place)


def session(*, isolation: IsolationLevel | None = None) -> Opening:
    """SQLAlchemy's session on the transaction that also commits this activity's completion.

    `db = await session()` or `async with session() as db` gives an `AsyncSession`; in a plain function,
    `with session() as db` gives a `Session`. All calls in one attempt give the same session, and the first begins the
    transaction. What is pending is flushed before the activity's result is recorded. Both commit together, or neither:
    `commit()`, `rollback()`, `close()` and `begin()` raise UsageError. `begin_nested()` makes a part that may fail
    alone. `isolation` is that of `ActivityContext.session`.
    """
    check_isolation(isolation)
    return Opening(isolation)


def _in_greenlet(work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
    return await_only(work())


async def _awaiting(port: ActivityPort, isolation: IsolationLevel | None) -> Awaiting:
    facade: Facade = await port.session(None, isolation)
    found = port.companion
    if found is None:
        found = Awaiting(Keeper(facade, _in_greenlet, asyncio.get_running_loop(), blocking=False))
        port.companion = found
    if not isinstance(found, Awaiting):
        raise UsageError("this activity uses a blocking session() on a thread already; use that one alone")
    return found


def _in_thread(port: ActivityPort, isolation: IsolationLevel | None) -> InThread:
    async def opened() -> tuple[Facade, asyncio.AbstractEventLoop]:
        return await port.session(None, isolation), asyncio.get_running_loop()

    facade, loop = port.wait(opened)
    found = port.companion
    if found is None:
        found = InThread(Keeper(facade, port.wait, loop, blocking=True))
        found.open(port.place)
        port.companion = found
    if not isinstance(found, InThread):
        raise UsageError("this activity uses an awaited session() already; use that one alone")
    return found
