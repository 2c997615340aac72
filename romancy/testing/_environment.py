"""Runs one activity alone, with a context that a test fills and reads."""

from __future__ import annotations

import asyncio
import contextvars
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, ParamSpec, Self, TypeVar

from msgspec import Raw

from romancy.attempt_context import ActivityContext, enter_activity
from romancy.depends import Dependencies
from romancy.engine.activities.plain_context import PlainActivityContext
from romancy.errors import UsageError
from romancy.serialization import dumps, loads
from romancy.session import Session
from romancy.storage.backends import create_store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from romancy.activity import Activity
    from romancy.core import Message
    from romancy.session import Companion
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.sessions import StoreSession
    from romancy.stream import Writing

__all__ = ["ActivityEnvironment", "SentEvent"]

P = ParamSpec("P")
T = TypeVar("T")


class SentEvent(NamedTuple):
    """What an activity published, sent or put on a channel. It counts only if the activity completed."""

    kind: str
    """`publish`, `send` or `channel`."""
    name: str
    """The type of the event, or the name of the channel."""
    data: Any
    """As plain JSON values."""
    to: str | None
    """The instance that it was sent to, or the key that it was published with."""


class ActivityEnvironment:
    """A context for activities that run without a workflow: `async with ActivityEnvironment(…) as env`.

    Its session is a transaction on a new SQLite file, or on the database at `url`. Nothing of it is ever committed.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        setup: Sequence[str] = (),
        attempt: int = 1,
        heartbeat_details: Sequence[object] = (),
        idempotency_key: str = "test",
        instance_id: str = "test",
    ) -> None:
        """`setup` are SQL statements that each session begins with, such as the tables that the activity needs.

        A database at `url` must have the schema of Romancy (`romancy migrate`), because nothing is changed there.
        """
        self._url = url
        self._setup = tuple(setup)
        self.attempt = attempt
        self.heartbeat_details = tuple(heartbeat_details)
        self.idempotency_key = idempotency_key
        self.instance_id = instance_id
        self.heartbeats: list[tuple[Any, ...]] = []
        """The details of each heartbeat, as plain JSON values."""
        self.streams: dict[str, list[Any]] = {}
        """What activities have written to each stream, as plain JSON values, those that failed too."""
        self.sent: list[SentEvent] = []
        """What completed activities have published, sent or put on channels."""
        self.after_commit: list[Callable[[], Any]] = []
        """The callbacks of completed activities. They are not called."""
        self._dependencies = Dependencies()
        self._stack: AsyncExitStack | None = None
        self._session: StoreSession | None = None
        self._opening = asyncio.Lock()
        self._cancelled = False

    async def __aenter__(self) -> Self:
        if self._stack is not None:
            raise UsageError("this environment is open already")
        self._stack = await AsyncExitStack().__aenter__()
        self._stack.push_async_callback(self._dependencies.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        stack, self._stack, self._session = self._stack, None, None
        if stack is not None:
            await stack.aclose()

    def override(self, provider: Callable[[], Any], replacement: Callable[[], Any]) -> AbstractContextManager[None]:
        """Give activities the result of `replacement` wherever they ask for `provider`."""
        return self._dependencies.override(provider, replacement)

    def cancel(self) -> None:
        """Ask the attempts from now on to stop: `activity_context().cancelled` is true, a heartbeat raises."""
        self._cancelled = True

    async def session(self) -> Session:
        """The transaction that activities write in, to prepare rows and to look at what was written."""
        return Session(await self.storage_session(), _NOTHING_QUEUED)

    async def run(self, activity: Activity[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the activity once and return its result. Arguments and result are encoded and decoded as in the log.

        Exceptions pass through. The rows and messages of a failed activity are dropped.
        """
        if self._stack is None:
            raise UsageError("this environment is not open: use it inside `async with`")
        if getattr(activity, "kind", None) != "activity":
            raise UsageError(f"an ActivityEnvironment runs activities, not a {type(activity).__name__}")
        port = _Port(self, cancelled=self._cancelled)
        context = contextvars.copy_context()
        result = await asyncio.get_running_loop().create_task(self._call(activity, port, args, kwargs), context=context)
        self.sent += port.sent
        self.after_commit += port.callbacks
        return result  # type: ignore[no-any-return]

    async def _call(self, activity: Any, port: _Port, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        positional, named = activity.signature.decode_arguments(activity.signature.encode_arguments(args, kwargs))
        named |= await self._dependencies.resolve(activity.dependencies)
        kind = ActivityContext if activity.is_async else PlainActivityContext
        details = Raw(dumps(list(self.heartbeat_details), "heartbeat_details")) if self.heartbeat_details else None
        context = kind(port, self.instance_id, activity.name, self.attempt, "test", details, key=self.idempotency_key)
        if activity.declared.pass_context:
            positional = (context, *positional)
        enter_activity(lambda: context)
        async with port.undone_if_it_fails():
            if activity.is_async:
                result = await activity.fn(*positional, **named)
            else:
                result = await asyncio.to_thread(activity.fn, *positional, **named)
        return activity.signature.decode_result(activity.signature.encode_result(result))

    async def storage_session(self, isolation: IsolationLevel | None = None) -> StoreSession:
        """The open transaction; the first call begins it, with this level."""
        async with self._opening:
            if self._stack is None:
                raise UsageError("this environment is not open: use it inside `async with`")
            if self._session is None:
                self._session = await self._begun(self._stack, isolation)
            return self._session

    async def _begun(self, stack: AsyncExitStack, isolation: IsolationLevel | None) -> StoreSession:
        url = self._url
        if url is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="romancy-"))
            url = f"sqlite:///{Path(folder) / 'activity.db'}"
        store = create_store(url)
        await store.open(migrate=self._url is None)
        stack.push_async_callback(store.close)
        session = await stack.enter_async_context(store.services.sessions.begin(isolation=isolation))
        for statement in self._setup:
            await session.execute(statement)
        return session


class _NothingQueued:
    """The session of the test itself completes no activity."""

    def mark(self) -> None: ...

    def go_back(self, mark: None, /) -> None: ...


_NOTHING_QUEUED: Final = _NothingQueued()


class _Port:
    """The port behind the context of one run."""

    def __init__(self, environment: ActivityEnvironment, *, cancelled: bool) -> None:
        self._environment = environment
        self._cancelled = cancelled
        self._parts = AsyncExitStack()
        self._written = False
        self._loop = asyncio.get_running_loop()
        self.companion: Companion | None = None
        self.sent: list[SentEvent] = []
        self.callbacks: list[Callable[[], Any]] = []

    @asynccontextmanager
    async def undone_if_it_fails(self) -> AsyncGenerator[None]:
        """A block whose rows are undone if it raises."""
        async with self._parts:
            try:
                yield
                if self.companion is not None:
                    await self.companion.finish()
            finally:
                if self.companion is not None:
                    await self.companion.leave()

    @property
    def place(self) -> object:
        return self._environment

    @property
    def workflow_name(self) -> None:
        return None

    @property
    def lines(self) -> None:
        return None

    def resting(self) -> AbstractContextManager[object]:
        return nullcontext()

    @property
    def told_to_stop(self) -> bool:
        return self._cancelled

    def wait(self, work: Callable[[], Coroutine[Any, Any, T]], /) -> T:
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    async def session(self, native: type[Any] | None, isolation: IsolationLevel | None = None, /) -> Any:
        session = await self._environment.storage_session(isolation)
        if not self._written:
            self._written = True
            await self._parts.enter_async_context(session.savepoint())
        if native is None:
            return Session(session, self)
        if not isinstance(session.native, native):
            raise UsageError(f"this database's session is a {type(session.native).__name__}, not a {native.__name__}")
        return session.native

    def mark(self) -> tuple[int, int]:
        return len(self.sent), len(self.callbacks)

    def go_back(self, mark: tuple[int, int], /) -> None:
        del self.sent[mark[0] :], self.callbacks[mark[1] :]

    def heartbeat(self, details: Raw | None, /) -> None:
        if self._cancelled:
            raise asyncio.CancelledError("this attempt was given up by the test")
        self._environment.heartbeats.append(() if details is None else tuple(_plain(details)))

    def stream(self, name: str, /) -> Writing:
        return _Written(self._environment.streams.setdefault(name, []))

    async def publish(self, type: str, data: Raw, key: str | None, /) -> None:
        self.sent.append(SentEvent("publish", type, _plain(data), key))

    async def send(self, message: Message, to: str | None, /) -> str:
        topic = message.topic
        kind = "send" if topic.kind == "event" else "channel"
        self.sent.append(SentEvent(kind, topic.name, _plain(message.data), topic.key if to is None else to))
        return message.id or f"test-{len(self.sent)}"

    def after_commit(self, callback: Callable[[], Any], /) -> None:
        self.callbacks.append(callback)


class _Written:
    """A stream in a test: its items are in a list at once."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def write(self, data: bytes, /) -> None:
        self._items.append(loads(data, Any, "what the activity wrote"))

    async def flushed(self) -> None: ...


def _plain(data: Raw) -> Any:
    return loads(data, Any, "what the activity sent")
