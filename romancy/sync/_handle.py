"""Handles of instances, for code without `await`.

Written by `python -m tools.make_sync`: do not change it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from romancy.sync._asked import SyncAsked
from romancy.sync._calling import Caller, Keeper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from romancy.core import LogEvent
    from romancy.event import EventType
    from romancy.going_back import ForkChildren, ForkPlan, RewindUndo
    from romancy.handle import Handle
    from romancy.kept_logs import LogLine
    from romancy.log import LogEntry
    from romancy.request import RequestType
    from romancy.retry import Duration
    from romancy.status import Status
    from romancy.stream import Stream, StreamItem
    from romancy.workflow import Workflow


__all__ = ["SyncHandle"]

T = TypeVar("T")
A = TypeVar("A")
R_co = TypeVar("R_co", covariant=True)


class SyncHandle(Caller, Generic[R_co]):
    """An instance by its id, with the calls about it. A handle holds no resources."""

    def __init__(self, keeper: Keeper, target: Handle[R_co]) -> None:
        self._its_keeper = keeper
        self._inner = target

    @property
    def _keeper(self) -> Keeper:
        return self._its_keeper

    @property
    def _target(self) -> Handle[R_co]:
        return self._inner

    @property
    def instance_id(self) -> str:
        """The id of the instance."""
        result: str = self._target.instance_id
        return result

    @property
    def workflow(self) -> Workflow[..., R_co] | None:
        """The workflow, if this handle knows it. Without it, results are plain JSON values."""
        result: Workflow[..., R_co] | None = self._target.workflow
        return result

    def result(self, timeout: Duration | None = None) -> R_co:
        """What the workflow returned, once it has.

        Raises WorkflowFailedError or WorkflowCancelledError if it ended otherwise. Raises TimeoutError if it has not
        ended within `timeout`: the workflow continues, and the error says what it waits for. Raises
        InstanceNotFoundError if there is no such instance. Raises WorkflowStuckError if the instance does not continue
        by itself: it is stuck, or no live worker has known its workflow for two leases. Once the cause is fixed, call
        `result()` again.
        """
        result: R_co = self._call("result", timeout)
        return result

    def status(self) -> Status:
        """The status of the instance."""
        result: Status = self._call("status")
        return result

    def cancel(self, reason: str = "") -> bool:
        """Ask the workflow to stop and to undo its work. False if it had ended already."""
        result: bool = self._call("cancel", reason)
        return result

    @overload
    def signal(
        self,
        event: EventType[None],
        data: None = None,
        *,
        key: str | None = None,
        id: str | None = None,
        session: object = None,
    ) -> None: ...

    @overload
    def signal(
        self, event: EventType[T], data: T, *, key: str | None = None, id: str | None = None, session: object = None
    ) -> None: ...

    @overload
    def signal(
        self, event: str, data: object = None, *, key: str | None = None, id: str | None = None, session: object = None
    ) -> None: ...

    def signal(
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
        self._call("signal", event, data, key=key, id=id, session=session)

    @overload
    def request(
        self, type: RequestType[None, A], data: None = None, *, timeout: Duration | None = None, id: str | None = None
    ) -> A: ...

    @overload
    def request(
        self, type: RequestType[T, A], data: T, *, timeout: Duration | None = None, id: str | None = None
    ) -> A: ...

    @overload
    def request(
        self, type: str, data: object = None, *, timeout: Duration | None = None, id: str | None = None
    ) -> Any: ...

    def request(
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
        return self._call("request", type, data, timeout=timeout, id=id)

    @overload
    def ask(self, type: RequestType[None, A], data: None = None, *, id: str | None = None) -> SyncAsked[A]: ...

    @overload
    def ask(self, type: RequestType[T, A], data: T, *, id: str | None = None) -> SyncAsked[A]: ...

    @overload
    def ask(self, type: str, data: object = None, *, id: str | None = None) -> SyncAsked[Any]: ...

    def ask(self, type: RequestType[Any, Any] | str, data: object = None, *, id: str | None = None) -> SyncAsked[Any]:
        """Send a request without waiting for its answer: `reply()` of what this returns does. See `Romancy.ask`."""
        return SyncAsked(self._keeper, self._call("ask", type, data, id=id))

    def pause(self, reason: str = "", *, freeze_time: bool = False) -> bool:
        """Stop the instance where it is, until `unpause`: see `Romancy.pause`. False: once its attempts have ended."""
        result: bool = self._call("pause", reason, freeze_time=freeze_time)
        return result

    def unpause(self) -> None:
        """Let the paused instance go on: see `Romancy.unpause`."""
        self._call("unpause")

    def fork(
        self,
        *,
        before: str | None = None,
        at: int | None = None,
        input: Mapping[str, Any] | None = None,
        id: str | None = None,
        children: ForkChildren = "keep",
    ) -> SyncHandle[R_co]:
        """Begin another instance that has this one's log up to a point, and goes on from there: see `Romancy.fork`."""
        return SyncHandle(self._keeper, self._call("fork", before=before, at=at, input=input, id=id, children=children))

    def plan_fork(
        self, *, before: str | None = None, at: int | None = None, children: ForkChildren = "keep"
    ) -> ForkPlan:
        """What `fork` would keep of the instance, do again and leave out: see `Romancy.plan_fork`."""
        result: ForkPlan = self._call("plan_fork", before=before, at=at, children=children)
        return result

    def rewind(
        self,
        *,
        before: str | None = None,
        at: int | None = None,
        undo: RewindUndo = "refuse",
        children: ForkChildren = "keep",
    ) -> None:
        """Take the instance back to a point of its log, from which it goes on: see `Romancy.rewind`."""
        self._call("rewind", before=before, at=at, undo=undo, children=children)

    def plan_rewind(
        self,
        *,
        before: str | None = None,
        at: int | None = None,
        undo: RewindUndo = "refuse",
        children: ForkChildren = "keep",
    ) -> ForkPlan:
        """What `rewind` would keep of the instance, do again and cut off: see `Romancy.plan_rewind`."""
        result: ForkPlan = self._call("plan_rewind", before=before, at=at, undo=undo, children=children)
        return result

    def resume(self) -> None:
        """Let workers try the stuck instance again: see `Romancy.resume`."""
        self._call("resume")

    def report(self, *, wait: Callable[[Any], object] | None = None, timeout: Duration | None = None) -> Any:
        """The workflow's last `ctx.report`; None if there was none. With `wait`, one that will do: see `app.report`."""
        return self._call("report", wait=wait, timeout=timeout)

    def explain(self) -> list[str]:
        """Why the instance does not move, in sentences: see `Romancy.explain`."""
        result: list[str] = self._call("explain")
        return result

    def history(self) -> list[LogEvent]:
        """Every event of the instance's log, oldest first."""
        result: list[LogEvent] = self._call("history")
        return result

    def entries(self, *, after: str | None = None, follow: bool = False) -> Iterator[LogEntry]:
        """The entries of the instance's log behind a cursor, with `follow` also future ones: see `app.entries_of`."""
        return self._each("entries", after=after, follow=follow)

    def logs(
        self, *, after: str | None = None, follow: bool = False, level: str | int | None = None
    ) -> Iterator[LogLine]:
        """The log lines that were kept of the instance, with `follow` also future ones: see `app.logs_of`."""
        return self._each("logs", after=after, follow=follow, level=level)

    @overload
    def stream(
        self, stream: Stream[T], *, after: str | None = None, follow: bool = True, settled: bool = False
    ) -> Iterator[StreamItem[T]]: ...

    @overload
    def stream(
        self, stream: str, *, after: str | None = None, follow: bool = True, settled: bool = False
    ) -> Iterator[StreamItem[Any]]: ...

    def stream(
        self, stream: Stream[Any] | str, *, after: str | None = None, follow: bool = True, settled: bool = False
    ) -> Iterator[StreamItem[Any]]:
        """What a stream of the instance holds, with `follow` also future items: see `app.stream_of`."""
        return self._each("stream", stream, after=after, follow=follow, settled=settled)
