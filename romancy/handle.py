"""Handles of instances, usable in the process that started the instance and in any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast, overload

from romancy.core import failure_of
from romancy.declaring.expected_names import OF_HANDLES, answer_names
from romancy.errors import InstanceNotFoundError, InternalError, WorkflowCancelledError, WorkflowFailedError
from romancy.retry import seconds
from romancy.serialization import loads, with_frames
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping

    from msgspec import Raw

    from romancy._followed import Followed
    from romancy.core import LogEvent, RunEnd
    from romancy.event import EventType
    from romancy.going_back import ForkChildren, ForkPlan, RewindUndo
    from romancy.kept_logs import LogLine
    from romancy.log import LogEntry
    from romancy.messages.requests import Asked
    from romancy.request import RequestType
    from romancy.results.watch import Watch
    from romancy.retry import Duration
    from romancy.stream import Stream, StreamItem
    from romancy.workflow import Workflow

__all__ = ["Handle", "result_in"]

T = TypeVar("T")
A = TypeVar("A")
R_co = TypeVar("R_co", covariant=True)
_COMPLETED: Final = Status.COMPLETED
"""Python 3.11 calls a function for each `Status.COMPLETED`."""


class Handle(Generic[R_co]):
    """An instance by its id, with the calls about it. A handle holds no resources."""

    def __init__(
        self, app: Followed, instance_id: str, workflow: Workflow[..., R_co] | None, watch: Watch | None = None
    ) -> None:
        self._app = app
        self._instance_id = instance_id
        self._workflow = workflow
        self._watch = watch = app.watch(instance_id) if watch is None else watch
        self._recorded = watch.recorded

    @property
    def instance_id(self) -> str:
        """The id of the instance."""
        return self._instance_id

    @property
    def workflow(self) -> Workflow[..., R_co] | None:
        """The workflow, if this handle knows it. Without it, results are plain JSON values."""
        return self._workflow

    async def result(self, timeout: Duration | None = None) -> R_co:
        """What the workflow returned, once it has.

        Raises WorkflowFailedError or WorkflowCancelledError if it ended otherwise. Raises TimeoutError if it has not
        ended within `timeout`: the workflow continues, and the error says what it waits for. Raises
        InstanceNotFoundError if there is no such instance. Raises WorkflowStuckError if the instance does not continue
        by itself: it is stuck, or no live worker has known its workflow for two leases. Once the cause is fixed, call
        `result()` again.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        outcome = await self._app.outcome(self._instance_id, self._watch, self._recorded, limit)
        raw = outcome.result
        if raw is None or outcome.status is not _COMPLETED:
            fn: Any = self.result if self._workflow is None else self._workflow.fn
            raw = result_in(outcome, self._instance_id, self._app.error_names, fn)
        value: Any = (
            loads(raw, Any, f"result of instance {self._instance_id}")
            if self._workflow is None
            else self._workflow.read_result(raw)
        )
        return value  # type: ignore[no-any-return]

    async def status(self) -> Status:
        """The status of the instance."""
        found = await self._app._access.opened().read(self._instance_id, limit=0)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as the app itself reads
        if found is None:
            raise InstanceNotFoundError(f"there is no instance {self._instance_id!r}")
        return found.instance.status

    async def cancel(self, reason: str = "") -> bool:
        """Ask the workflow to stop and to undo its work. False if it had ended already."""
        return await self._app.cancel(self._instance_id, reason=reason)

    @overload
    async def signal(
        self,
        event: EventType[None],
        data: None = None,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None: ...
    @overload
    async def signal(
        self, event: EventType[T], data: T, *, key: str | None = None, id: str | None = None, session: object = None
    ) -> None: ...
    @overload
    async def signal(
        self, event: str, data: object = None, *, key: str | None = None, id: str | None = None, session: object = None
    ) -> None: ...
    async def signal(
        self,
        event: EventType[Any] | str,
        data: object = None,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None:
        """Send an event, which is kept until the workflow waits for it. With `session=`, your own commit sends it.

        A second signal with the same `id` is dropped: see `Romancy.signal`.
        """
        sent: Any = event  # with the data that belongs to it, as the overloads say
        await self._app.signal(self._instance_id, sent, data, key=key, id=id, session=session)

    @overload
    async def request(
        self,
        type: RequestType[None, A],
        data: None = None,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> A: ...
    @overload
    async def request(
        self, type: RequestType[T, A], data: T, *, timeout: Duration | None = None, id: str | None = None
    ) -> A: ...
    @overload
    async def request(
        self, type: str, data: object = None, *, timeout: Duration | None = None, id: str | None = None
    ) -> Any: ...
    async def request(
        self,
        type: RequestType[Any, Any] | str,
        data: object = None,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> Any:
        """Send a request, and return the reply of its handler.

        Raises RequestFailedError, RequestRefusedError, RequestTimeoutError and InstanceEndedError. A request with the
        same `id` is handled once, and has one answer: see `Romancy.request`.
        """
        given: Any = type  # with the data that belongs to it, as the overloads say
        return await self._app.request(self._instance_id, given, data, timeout=timeout, id=id)

    @overload
    async def ask(self, type: RequestType[None, A], data: None = None, *, id: str | None = None) -> Asked[A]: ...
    @overload
    async def ask(self, type: RequestType[T, A], data: T, *, id: str | None = None) -> Asked[A]: ...
    @overload
    async def ask(self, type: str, data: object = None, *, id: str | None = None) -> Asked[Any]: ...
    async def ask(self, type: RequestType[Any, Any] | str, data: object = None, *, id: str | None = None) -> Asked[Any]:
        """Send a request without waiting for its answer: `reply()` of what this returns does. See `Romancy.ask`."""
        given: Any = type  # with the data that belongs to it, as the overloads say
        asked: Asked[Any] = await self._app.ask(self._instance_id, given, data, id=id)
        return asked

    async def pause(self, reason: str = "", *, freeze_time: bool = False) -> bool:
        """Stop the instance where it is, until `unpause`: see `Romancy.pause`. False: once its attempts have ended."""
        return await self._app.pause(self._instance_id, reason=reason, freeze_time=freeze_time)

    async def unpause(self) -> None:
        """Let the paused instance go on: see `Romancy.unpause`."""
        await self._app.unpause(self._instance_id)

    async def fork(
        self,
        *,
        before: str | None = None,
        at: int | None = None,
        input: Mapping[str, Any] | None = None,
        id: str | None = None,
        children: ForkChildren = "keep",
    ) -> Handle[R_co]:
        """Begin another instance that has this one's log up to a point, and goes on from there: see `Romancy.fork`."""
        made = await self._app.fork(self._instance_id, before=before, at=at, input=input, id=id, children=children)
        return Handle(self._app, made, self._workflow)

    async def plan_fork(
        self, *, before: str | None = None, at: int | None = None, children: ForkChildren = "keep"
    ) -> ForkPlan:
        """What `fork` would keep of the instance, do again and leave out: see `Romancy.plan_fork`."""
        return await self._app.plan_fork(self._instance_id, before=before, at=at, children=children)

    async def rewind(
        self,
        *,
        before: str | None = None,
        at: int | None = None,
        undo: RewindUndo = "refuse",
        children: ForkChildren = "keep",
    ) -> None:
        """Take the instance back to a point of its log, from which it goes on: see `Romancy.rewind`."""
        await self._app.rewind(self._instance_id, before=before, at=at, undo=undo, children=children)

    async def plan_rewind(
        self,
        *,
        before: str | None = None,
        at: int | None = None,
        undo: RewindUndo = "refuse",
        children: ForkChildren = "keep",
    ) -> ForkPlan:
        """What `rewind` would keep of the instance, do again and cut off: see `Romancy.plan_rewind`."""
        return await self._app.plan_rewind(self._instance_id, before=before, at=at, undo=undo, children=children)

    async def resume(self) -> None:
        """Let workers try the stuck instance again: see `Romancy.resume`."""
        await self._app.resume(self._instance_id)

    async def report(self, *, wait: Callable[[Any], object] | None = None, timeout: Duration | None = None) -> Any:
        """The workflow's last `ctx.report`; None if there was none. With `wait`, one that will do: see `app.report`."""
        return await self._app.report(self._instance_id, wait=wait, timeout=timeout)

    async def explain(self) -> list[str]:
        """Why the instance does not move, in sentences: see `Romancy.explain`."""
        return await self._app.explain(self._instance_id)

    async def history(self) -> list[LogEvent]:
        """Every event of the instance's log, oldest first."""
        return await self._app.history(self._instance_id)

    def entries(self, *, after: str | None = None, follow: bool = False) -> AsyncIterator[LogEntry]:
        """The entries of the instance's log behind a cursor, with `follow` also future ones: see `app.entries_of`."""
        return self._app.entries_of(self._instance_id, after=after, follow=follow)

    def logs(
        self, *, after: str | None = None, follow: bool = False, level: str | int | None = None
    ) -> AsyncIterator[LogLine]:
        """The log lines that were kept of the instance, with `follow` also future ones: see `app.logs_of`."""
        return self._app.logs_of(self._instance_id, after=after, follow=follow, level=level)

    @overload
    def stream(
        self, stream: Stream[T], *, after: str | None = None, follow: bool = True, settled: bool = False
    ) -> AsyncIterator[StreamItem[T]]: ...
    @overload
    def stream(
        self, stream: str, *, after: str | None = None, follow: bool = True, settled: bool = False
    ) -> AsyncIterator[StreamItem[Any]]: ...
    def stream(
        self, stream: Stream[Any] | str, *, after: str | None = None, follow: bool = True, settled: bool = False
    ) -> AsyncIterator[StreamItem[Any]]:
        """What a stream of the instance holds, with `follow` also future items: see `app.stream_of`."""
        return self._app.stream_of(self._instance_id, stream, after=after, follow=follow, settled=settled)

    def __repr__(self) -> str:
        return f"<handle of {self._instance_id}>"


answer_names(Handle, OF_HANDLES, "instance_id")


def result_in(outcome: RunEnd, instance_id: str, names: Collection[str], fn: Callable[..., Any]) -> Raw:
    """What the instance returned, as stored. Raises WorkflowFailedError and WorkflowCancelledError.

    `names` are those of the exception classes that the code here can reach, and `fn` is of its workflow.
    """
    if outcome.status is _COMPLETED:
        if outcome.result is None:
            raise InternalError(f"instance {instance_id} completed without a result in its log")
        return outcome.result
    if outcome.status is Status.CANCELLED:
        reason = f": {outcome.reason}" if outcome.reason else ""
        raise WorkflowCancelledError(
            f"instance {instance_id} was cancelled{reason}{_left(outcome)}", instance_id=instance_id
        )
    told, left = f"instance {instance_id} failed with", _left(outcome)
    if (error := outcome.error) is None:
        raise WorkflowFailedError(f"{told} no error that was recorded{left}", instance_id=instance_id)
    failed = failure_of(error, f"{told} {error.summary}{left}", names, fn, instance_id)
    raise failed from with_frames(cast("Exception", failed.__cause__))


def _left(outcome: RunEnd) -> str:
    """What an error names of effects that may stand."""
    undone = f"; not compensated: {', '.join(outcome.uncompensated)}" if outcome.uncompensated else ""
    unknown = f"; outcome unknown: {', '.join(outcome.unknown)}" if outcome.unknown else ""
    return undone + unknown
