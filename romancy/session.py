"""The transaction that an activity writes in. User code can use it but not end it."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from msgspec import Raw

    from romancy.core import Message
    from romancy.declaring.log import Lines
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.sessions import StoreSession
    from romancy.stream import Writing

__all__ = [
    "ActivityPort",
    "Companion",
    "Queued",
    "Session",
    "SessionOpening",
    "SyncSession",
    "Wait",
    "refuse_awaited",
    "refuse_loop",
    "undo",
]

T = TypeVar("T")
Awaited_co = TypeVar("Awaited_co", covariant=True)
Entered_co = TypeVar("Entered_co", covariant=True)

_BINDING: Final = frozenset({"TypeError", "ProgrammingError", "InterfaceError", "DataError"})
"""The drivers' errors for parameters that do not fit the SQL. A single list can be right: it may be an array."""


class Session:
    """A transaction that commits together with the activity's completion, or not at all.

    The SQL is the database's own, with the driver's placeholders (SQLite `?`, PostgreSQL `$1`, MySQL and MariaDB `%s`).
    The parameters follow it one by one. Errors are the driver's own. A statement that fails dooms the whole session,
    unless it failed inside `savepoint()`.
    """

    __slots__ = ("_queued", "_session")

    def __init__(self, session: StoreSession, queued: Queued) -> None:
        self._session = session
        self._queued = queued

    @property
    def native(self) -> Any:
        """The driver's own object inside the transaction. It refuses to commit, roll back or close."""
        return self._session.native

    async def execute(self, sql: str, *parameters: object) -> int:
        """Run one statement and return how many rows it touched."""
        try:
            return await self._session.execute(sql, *parameters)
        except Exception as error:
            _explain(error, parameters)
            raise

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Run one query and return all its rows, by column name."""
        try:
            return await self._session.fetch_all(sql, *parameters)
        except Exception as error:
            _explain(error, parameters)
            raise

    async def fetch_one(self, sql: str, *parameters: object) -> dict[str, Any] | None:
        """Run one query and return its first row, or None."""
        rows = await self.fetch_all(sql, *parameters)
        return rows[0] if rows else None

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A part that can fail alone: an exception inside undoes the part and reaches the caller.

        What the activity published, sent and registered with `after_commit` in the part is undone as well.
        """
        return _with_queued(self._session.savepoint(), self._queued)


class SyncSession:
    """The `Session` of a plain function: the same calls, which block the function's thread."""

    __slots__ = ("_session", "_wait")

    def __init__(self, session: Session, wait: Wait) -> None:
        self._session = session
        self._wait = wait

    @property
    def awaiting(self) -> Session:
        """The same session as the event loop uses it."""
        return self._session

    def execute(self, sql: str, *parameters: object) -> int:
        """Run one statement and return how many rows it touched."""
        return self._wait(lambda: self._session.execute(sql, *parameters))

    def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Run one query and return all its rows, by column name."""
        return self._wait(lambda: self._session.fetch_all(sql, *parameters))

    def fetch_one(self, sql: str, *parameters: object) -> dict[str, Any] | None:
        """Run one query and return its first row, or None."""
        return self._wait(lambda: self._session.fetch_one(sql, *parameters))

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """A part that can fail alone: an exception inside undoes the part and reaches the caller."""
        part = self._session.savepoint()
        self._wait(lambda: _enter(part))
        try:
            yield
        except BaseException:
            self._wait(lambda: undo(part))
            raise
        self._wait(lambda: _leave(part))


class Queued(Protocol):
    """What an activity has queued for its completion besides the writes in its session."""

    def mark(self) -> Any:
        """How much is queued now."""
        ...

    def go_back(self, mark: Any, /) -> None:
        """Drop what was queued since the mark."""
        ...


@asynccontextmanager
async def _with_queued(part: AbstractAsyncContextManager[None], queued: Queued) -> AsyncGenerator[None]:
    """A savepoint that undoes what was queued in it, too."""
    mark = queued.mark()
    try:
        async with part:
            yield
    except BaseException:  # also one of the part's own end
        queued.go_back(mark)
        raise


class _UndoneError(Exception):
    """Raised to end a savepoint without its writes."""


async def _enter(part: AbstractAsyncContextManager[None]) -> None:
    await part.__aenter__()


async def _leave(part: AbstractAsyncContextManager[None]) -> None:
    await part.__aexit__(None, None, None)


async def undo(part: AbstractAsyncContextManager[None]) -> None:
    """Leave a savepoint, and undo its writes."""
    undone = _UndoneError()
    try:
        await part.__aexit__(_UndoneError, undone, None)
    except _UndoneError:
        pass


class Wait(Protocol):
    """Runs work on the event loop while the thread of a plain function waits."""

    def __call__(self, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Return what the work returns. Raises asyncio.CancelledError if the attempt has been given up."""
        ...


class Companion(Protocol):
    """A session of another library on the transaction of an attempt."""

    async def finish(self) -> None:
        """Write what is pending. Called when the activity has returned and before its result is recorded.

        An exception is the attempt's own.
        """
        ...

    def cause(self, error: Exception, /) -> Exception:
        """The driver's error behind an error of the library; any other error unchanged."""
        ...

    async def leave(self) -> None:
        """Refuse all further use, and write nothing: the attempt has ended."""
        ...


class ActivityPort(Protocol):
    """The engine's services for a running activity."""

    @property
    def place(self) -> object:
        """The same object for all sessions of one store."""
        ...

    @property
    def workflow_name(self) -> str | None:
        """The workflow of the instance. None: the activity runs without one."""
        ...

    @property
    def lines(self) -> Lines | None:
        """What keeps the log lines of the activity. None: nothing does."""
        ...

    @property
    def told_to_stop(self) -> bool:
        """Whether the attempt was asked to stop."""
        ...

    @property
    def companion(self) -> Companion | None:
        """The session of another library on the attempt's transaction."""
        ...

    @companion.setter
    def companion(self, companion: Companion | None) -> None: ...

    async def session(self, native: type[Any] | None, isolation: IsolationLevel | None = None, /) -> Any: ...

    def wait(self, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        """Run this on the event loop while the thread of a plain function waits."""
        ...

    def resting(self) -> AbstractContextManager[object]:
        """In this block the attempt only waits, and another one may have its slot."""
        ...

    def heartbeat(self, details: Raw | None, /) -> None: ...

    def stream(self, name: str, /) -> Writing:
        """What the attempt writes to the stream of this name."""
        ...

    async def publish(self, type: str, data: Raw, key: str | None, /) -> None: ...

    async def send(self, message: Message, to: str | None, /) -> str: ...

    def after_commit(self, callback: Callable[[], Any], /) -> None: ...


class SessionOpening(Generic[Awaited_co, Entered_co]):
    """The result of `session()`: await it in an `async def`, or enter it with `with` in a plain function.

    Neither the end of the `with` block nor anything else in the activity ends the transaction.
    """

    __slots__ = ("_awaited", "_entered")

    def __init__(self, awaited: Callable[[], Coroutine[Any, Any, Any]], entered: Callable[[], Any]) -> None:
        self._awaited = awaited
        self._entered = entered

    def __await__(self) -> Generator[Any, Any, Awaited_co]:
        return self._awaited().__await__()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(
                f"session() is neither awaited nor entered, so it has no {name!r}: `db = await session()` in an "
                "`async def`, `with session() as db` in a plain function"
            )

    def __enter__(self) -> Entered_co:
        refuse_loop("with session()", "await it: `db = await session()`")
        entered: Entered_co = self._entered()
        return entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


def refuse_loop(what: str, instead: str) -> None:
    """Raise UsageError in code that an event loop runs, which would stand still while it waits for itself."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    refusal = getattr(loop, "refuses_to_wait", None)
    if refusal is not None:
        raise refusal(what)  # a simulation, where the loop itself runs plain functions
    raise UsageError(
        f"{what} is for activities that are plain functions, and this code runs on an event loop; {instead}"
    )


def refuse_awaited(native: type[Any]) -> None:
    """Raise UsageError for a class of connections that a plain function cannot use, because its methods await."""
    if any(inspect.iscoroutinefunction(getattr(native, name, None)) for name in ("execute", "commit")):
        raise UsageError(
            f"a plain function cannot use a {native.__name__}, whose methods are awaited; "
            "leave the class out: `with activity_context().session() as db`"
        )


def _explain(error: Exception, parameters: tuple[object, ...]) -> None:
    """Add a note on how parameters are given if they were given as for a DB-API cursor."""
    if len(parameters) == 1 and isinstance(parameters[0], (tuple, list, dict)) and type(error).__name__ in _BINDING:
        error.add_note("a session takes parameters one by one: execute(sql, a, b), not execute(sql, (a, b))")
