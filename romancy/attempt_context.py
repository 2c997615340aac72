"""The context of an activity: what its code can ask of the attempt that runs it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from msgspec import Raw

from romancy._logs import about
from romancy._outgoing import event_message, name_of_event
from romancy._sizes import written
from romancy.channel import ActivityChannel, Channel, declared
from romancy.core import idempotency_key, is_in_a_workflow
from romancy.declaring.callables import is_async
from romancy.declaring.log import AttemptLog
from romancy.errors import PayloadTooLargeError, UsageError
from romancy.serialization import dumps, loads
from romancy.session import Session, SessionOpening, SyncSession, refuse_awaited
from romancy.storage.isolation import check_isolation
from romancy.storage.limits import check_id, check_key
from romancy.stream import ActivityStream, Stream, declared_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from typing_extensions import TypeForm

    from romancy.event import EventType
    from romancy.session import ActivityPort
    from romancy.storage.isolation import IsolationLevel

__all__ = [
    "ActivityContext",
    "activity_context",
    "activity_port",
    "enter_activity",
    "entered_activity",
    "gives_slot",
    "key_of_this_run",
]

T = TypeVar("T")

_MOST_DETAILS: Final = 64 * 1024
_NOT_IN_AN_ACTIVITY: Final = "activity_context() is only available while an activity runs on a worker"
_IN_A_BODY: Final = (
    "activity_context() was called in the body of a workflow. A body is replayed, and would run the statements of a "
    "session again: move them into an activity, an `@activity` function that the body awaits"
)


class ActivityContext:
    """An activity's access to its attempt."""

    __slots__ = ("_details", "_key", "_nonce", "_port", "activity_id", "attempt", "instance_id")

    def __init__(
        self,
        port: ActivityPort,
        instance_id: str,
        activity_id: str,
        attempt: int,
        nonce: str,
        details: Raw | None = None,
        *,
        key: str = "",
    ) -> None:
        self._port = port
        self._key = key
        self._nonce = nonce
        self._details = details
        self.instance_id = instance_id
        self.activity_id = activity_id
        self.attempt = attempt

    @property
    def log(self) -> AttemptLog:
        """A logger, `romancy.activity`, whose records name the instance, its workflow, the activity and the attempt."""
        fields = about(self, self.activity_id, self.attempt)
        return AttemptLog({**fields, "romancy_workflow": self._port.workflow_name}, lines=self._port.lines)

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and worker. Another in every run and every life of the instance's id.

        A retry of the instance keeps the key of an activity that failed or was cancelled. An activity that was undone
        gets a new key.
        """
        return self._key or idempotency_key(self.instance_id, self._nonce, self.activity_id)

    @property
    def cancelled(self) -> bool:
        """Whether this attempt was asked to stop: its workflow gave it up, a limit is reached, its worker dropped it.

        An `async def` is cancelled as well. A plain function goes on: look at this between two parts of its work, and
        return or raise. What it returns within half a minute counts, and is undone if the workflow fails.
        """
        return self._port.told_to_stop

    @overload
    def session(self, /, *, isolation: IsolationLevel | None = None) -> SessionOpening[Session, SyncSession]: ...
    @overload
    def session(self, native: type[T], /, *, isolation: IsolationLevel | None = None) -> SessionOpening[T, T]: ...
    def session(
        self, native: type[Any] | None = None, /, *, isolation: IsolationLevel | None = None
    ) -> SessionOpening[Any, Any]:
        """The transaction that also commits this activity's completion. The first use begins it.

        An `async def` awaits it: `db = await ctx.session()`. A plain function enters it: `with ctx.session() as db`.

        `isolation` is the level that the transaction needs: "read committed", "repeatable read" or "serializable".
        SQLite always has the strongest, and the other databases begin with "read committed" if none is given. A
        transaction that has to give way to another one is rolled back, and the attempt is repeated; that counts as no
        failure. Raises UsageError if the session has begun with another level.
        """
        check_isolation(isolation)
        return SessionOpening(lambda: self._port.session(native, isolation), lambda: self._entered(native, isolation))

    def _entered(self, native: type[Any] | None, isolation: IsolationLevel | None) -> Any:
        if native is not None:
            refuse_awaited(native)
        session = self._port.wait(lambda: self._port.session(native, isolation))
        return SyncSession(session, self._port.wait) if native is None else session

    def heartbeat(self, *details: object) -> None:
        """Report that the attempt is alive, with optional details for the next attempt. Call it as often as you like.

        The details are written to the log when the attempt fails, and lost if its worker dies. On a thread, this call
        raises asyncio.CancelledError if the attempt was asked to stop (`cancelled`); the details are kept. Raises
        SerializationError or PayloadTooLargeError (64 kB) for details that cannot be written.
        """
        if not details:
            self._port.heartbeat(None)
            return
        where = f"heartbeat of activity {self.activity_id}"
        raw = dumps(list(details), where)
        if len(raw) > _MOST_DETAILS:
            raise PayloadTooLargeError(f"{where}: {len(raw)} bytes of details, at most {_MOST_DETAILS} are allowed")
        self._port.heartbeat(Raw(raw))

    @property
    def heartbeat_details(self) -> tuple[Any, ...]:
        """The details of the last heartbeat before this attempt, as plain JSON values; () if there was none."""
        if self._details is None:
            return ()
        return tuple(loads(self._details, Any, f"heartbeat of activity {self.activity_id}") or ())

    async def publish(self, type: str | EventType[Any], data: object = None, *, key: str | None = None) -> None:
        """Send an event together with this activity's completion. A failed attempt sends nothing.

        Only for an `async def`; a plain function gets UsageError. It can return the data for its workflow to publish.
        """
        name = name_of_event(type)
        check_key(key)
        await self._port.publish(name, written(data, f"event {name!r}"), key)

    async def send(
        self,
        type: str | EventType[Any],
        data: object = None,
        *,
        to: str | None = None,
        key: str | None = None,
        source: str | None = None,
        id: str | None = None,
        subject: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """Send an event to workflows, as `app.send` does, together with this activity's completion.

        Returns the event's id. A failed attempt sends nothing. An event `to` an instance that does not exist or has
        ended is logged, and `romancy undelivered` lists it. Only for an `async def`; a plain function gets UsageError.
        """
        if to is not None:
            check_id(to)
        message = event_message(type, data, key=key, source=source, id=id, subject=subject, headers=headers)
        return await self._port.send(message, to)

    @overload
    def channel(self, channel: Channel[T], /) -> ActivityChannel[T]: ...
    @overload
    def channel(self, channel: str, /) -> ActivityChannel[Any]: ...
    @overload
    def channel(self, channel: str, /, *, model: TypeForm[T]) -> ActivityChannel[T]: ...
    def channel(self, channel: Channel[Any] | str, /, *, model: Any = Any) -> ActivityChannel[Any]:
        """A channel, to publish on together with this activity's completion. A failed attempt publishes nothing.

        Only for an `async def`; a plain function gets UsageError.
        """
        return ActivityChannel(self._port.send, declared(channel, model))

    @overload
    def stream(self, stream: Stream[T], /) -> ActivityStream[T]: ...
    @overload
    def stream(self, stream: str, /) -> ActivityStream[Any]: ...
    @overload
    def stream(self, stream: str, /, *, model: TypeForm[T]) -> ActivityStream[T]: ...
    def stream(self, stream: Stream[Any] | str, /, *, model: Any = Any) -> ActivityStream[Any]:
        """A stream of the instance, to write to while the activity runs. What a failed attempt writes is discarded."""
        return ActivityStream(declared_stream(stream, model), self._port, self.heartbeat)

    def after_commit(self, callback: Callable[[], Any]) -> None:
        """Call `callback` once the completion is durable: at most once, and not if the process dies before that.

        On a thread, this call raises asyncio.CancelledError if the attempt has been given up. Raises UsageError for an
        `async def`, which nothing would await.
        """
        if is_async(callback):
            raise UsageError(
                f"activity {self.activity_id}: after_commit calls a plain function and awaits nothing; give it one "
                "that begins what is to be awaited, or do that in an activity of its own"
            )
        self._port.after_commit(callback)


def activity_port() -> tuple[ActivityContext, ActivityPort]:
    """The context of the activity that runs this code, and its port to the engine. For integrations."""
    context = activity_context()
    return context, context._port  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a class of this module


_current: ContextVar[Callable[[], ActivityContext] | None] = ContextVar("romancy_activity", default=None)


def activity_context() -> ActivityContext:
    """The context of the activity that runs this code. Raises UsageError elsewhere."""
    entered = _current.get()
    if entered is None:
        raise UsageError(_IN_A_BODY if is_in_a_workflow() else _NOT_IN_AN_ACTIVITY)
    return entered()


entered_activity: Final[Callable[[], Callable[[], ActivityContext] | None]] = _current.get
"""The argument of `enter_activity` in the present context. None outside of activities."""
enter_activity: Final[Callable[[Callable[[], ActivityContext]], object]] = _current.set
"""Set what `activity_context()` calls in the present `contextvars` context, which is the attempt's own."""

gives_slot: Final[ContextVar[Callable[[], AbstractContextManager[object]] | None]] = ContextVar(
    "romancy_gives_slot", default=None
)
"""Entered by an attempt of the library's own while it waits for another instance: another attempt may have its slot."""


def key_of_this_run(context: ActivityContext) -> str:
    """The idempotency key that the call would have if no former run had given it one."""
    return idempotency_key(context.instance_id, context._nonce, context.activity_id)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a class of this module
