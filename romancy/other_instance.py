"""Another instance, as the body of a workflow reaches it: asked, told, cancelled, and waited for.

Each call is an activity of the library's own, which the app that runs the attempt carries out. So its outcome is in the
log of the body, and a repetition has the same id. While it waits, it gives its slot to another attempt.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

from msgspec import Raw
from msgspec.structs import replace

from romancy._outgoing import event_message
from romancy._sizes import fitting
from romancy.activity import Activity
from romancy.core import NULL, Message, Topic, kept
from romancy.depends import Depends
from romancy.errors import (
    InstanceEndedError,
    InstanceNotFoundError,
    RequestFailedError,
    RequestRefusedError,
    RequestTimeoutError,
    RequestUnansweredError,
    UsageError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTimeoutError,
)
from romancy.request import name_of_request, types_of_request
from romancy.retry import RetryPolicy, seconds
from romancy.serialization import dumps, failures_in, loads, record_of
from romancy.status import Status
from romancy.storage.limits import check_id, check_text

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from typing_extensions import TypeForm

    from romancy.core import Commands
    from romancy.event import EventType
    from romancy.request import RequestType
    from romancy.retry import Duration

__all__ = ["Errands", "OtherInstance", "call_entity", "errands_here"]

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class AwaitedWorkflow(Protocol[R_co]):
    """A workflow whose result is awaited."""

    @property
    def name(self) -> str: ...
    def read_result(self, result: Raw, /) -> object: ...
    async def __call__(self, *args: Any, **kwargs: Any) -> R_co: ...


class Errands(Protocol):
    """What an app does for the bodies that it runs, in an attempt at an errand. Each raises what it finds."""

    async def ask(self, to: str, request: Message) -> Raw: ...
    async def call(self, workflow: str, key: str, to: str, request: Message) -> Raw: ...
    async def send(self, to: str, event: Message) -> None: ...
    async def cancel(self, to: str, reason: str) -> bool: ...
    async def result(self, of: str, workflow: str = "") -> Raw: ...
    async def report(self, of: str) -> Raw: ...
    async def status(self, of: str) -> str: ...


def errands_here() -> Errands:
    """Replaced by each app with its own."""
    raise UsageError("no app carries out what bodies ask of other instances here")


_TOLD: Final = (
    InstanceEndedError, InstanceNotFoundError, RequestFailedError, RequestRefusedError, RequestUnansweredError,
    UsageError, WorkflowCancelledError, WorkflowFailedError, WorkflowTimeoutError,
)  # fmt: skip
"""What an errand may find, which its body catches."""
_RETRY: Final = RetryPolicy(0, give_up_on=_TOLD, expected=_TOLD)
"""Tried for ever while the database is away."""


def _errand(fn: Any, name: str) -> Activity[..., Any]:
    return Activity(fn, name=f"romancy.instance.{name}", retry=_RETRY, raises=_TOLD)


async def _request(to: str, request: Message, *, errands: Errands = Depends(errands_here)) -> Raw:
    return await errands.ask(to, request)


async def _call(workflow: str, key: str, to: str, request: Message, *, errands: Errands = Depends(errands_here)) -> Raw:
    return await errands.call(workflow, key, to, request)


async def _send(to: str, event: Message, *, errands: Errands = Depends(errands_here)) -> None:
    await errands.send(to, event)


async def _cancel(to: str, reason: str, *, errands: Errands = Depends(errands_here)) -> bool:
    return await errands.cancel(to, reason)


async def _result(of: str, workflow: str, *, errands: Errands = Depends(errands_here)) -> Raw:
    return await errands.result(of, workflow)


async def _report(of: str, *, errands: Errands = Depends(errands_here)) -> Raw:
    return await errands.report(of)


async def _status(of: str, *, errands: Errands = Depends(errands_here)) -> str:
    return await errands.status(of)


_REQUEST: Final[Activity[[str, Message], Raw]] = _errand(_request, "request")
_CALL: Final[Activity[[str, str, str, Message], Raw]] = _errand(_call, "call")
_SEND: Final[Activity[[str, Message], None]] = _errand(_send, "send")
_CANCEL: Final[Activity[[str, str], bool]] = _errand(_cancel, "cancel")
_RESULT: Final[Activity[[str, str], Raw]] = _errand(_result, "result")
_REPORT: Final[Activity[[str], Raw]] = _errand(_report, "report")
_STATUS: Final[Activity[[str], str]] = _errand(_status, "status")


class OtherInstance:
    """Another instance, by its id: `ctx.instance(id)`. It need not exist. Holds no resources.

    The log of this instance has what it is told of another: a replay gets the same answer, whatever has become of the
    other one since. Each call raises InstanceNotFoundError if there is no such instance. A message is sent once,
    also through crashes and retries of this instance. A retry that finds an error as the answer to a request asks anew.
    """

    __slots__ = ("_commands", "_source", "instance_id")

    def __init__(self, commands: Commands, instance_id: str, source: str) -> None:
        """`source` names the body in the events that it sends."""
        check_id(instance_id)
        self._commands = commands
        self._source = source
        self.instance_id = instance_id

    @overload
    async def request(self, type: RequestType[None, R], data: None = None, *, timeout: Duration | None = None) -> R: ...
    @overload
    async def request(self, type: RequestType[T, R], data: T, *, timeout: Duration | None = None) -> R: ...
    @overload
    async def request(self, type: str, data: object = None, *, timeout: Duration | None = None) -> Any: ...
    @kept("other")
    async def request(
        self, type: RequestType[Any, Any] | str, data: object = None, *, timeout: Duration | None = None
    ) -> Any:
        """Send a request, once, and return the reply of its handler.

        Raises RequestFailedError if the handler raised an error, RequestRefusedError if the body refused the request,
        InstanceEndedError if the instance has ended, or ends, without an answer, and RequestUnansweredError if its run
        does and another follows. Raises RequestTimeoutError if no answer came within `timeout`: the request stays, and
        may be answered later. Cancelling the wait does not take the request back either.
        """
        name, (declared, reply) = name_of_request(type), types_of_request(type)
        self._refuse_itself("waits for its own answer: call the handler's function instead")
        limit = None if timeout is None else seconds(timeout, "the timeout")
        what = f"data of the request {name!r} to instance {self.instance_id}"
        message = Message(topic=Topic(name, kind="request"), data=Raw(fitting(dumps(data, what, declared), what)))
        errand = _REQUEST(self.instance_id, replace(message, sender=self._commands.instance_id))
        answer = await _within(limit, errand, self.instance_id, name)
        return loads(answer, reply, f"reply to the request {name!r}")

    @overload
    async def send(self, event: EventType[None], data: None = None, *, id: str | None = None) -> None: ...
    @overload
    async def send(self, event: EventType[T], data: T, *, id: str | None = None) -> None: ...
    @overload
    async def send(self, event: str, data: object = None, *, id: str | None = None) -> None: ...
    @kept("other")
    async def send(self, event: EventType[Any] | str, data: object = None, *, id: str | None = None) -> None:
        """Send an event to the instance, which is in its inbox when this returns, once.

        Raises InstanceEndedError if the instance has ended. (`ctx.send(…, to=id)` costs less, and tells nobody.)
        """
        message = event_message(event, data, key=None, source=self._source, id=id, subject=None, headers=None)
        await _told(_SEND(self.instance_id, replace(message, sender=self._commands.instance_id)))

    @kept("other")
    async def cancel(self, reason: str = "") -> bool:
        """Ask the instance to stop and to undo its work. False if it had ended already."""
        check_text(reason, "reason")
        return await _told(_CANCEL(self.instance_id, reason))

    @overload
    async def result(self, workflow: AwaitedWorkflow[R], /) -> R: ...
    @overload
    async def result(self, /, *, model: TypeForm[T]) -> T: ...
    @overload
    async def result(self, /) -> Any: ...
    @kept("other")
    async def result(self, workflow: AwaitedWorkflow[Any] | None = None, /, *, model: Any = Any) -> Any:
        """What the instance returned, once it has, of the type that its workflow or `model` says.

        Raises UsageError if the instance is of another workflow.
        Raises WorkflowFailedError or WorkflowCancelledError if it ended otherwise. While it is stuck, the wait goes on.
        Cancelling the wait does not cancel the instance.
        """
        self._refuse_itself("waits for its own end")
        result = await _told(_RESULT(self.instance_id, "" if workflow is None else workflow.name))
        if workflow is not None:
            return workflow.read_result(result)
        return loads(result, model, f"result of instance {self.instance_id}")

    @overload
    async def report(self, *, model: TypeForm[T]) -> T | None: ...
    @overload
    async def report(self) -> Any: ...
    @kept("other")
    async def report(self, *, model: Any = Any) -> Any:
        """The last `ctx.report` of the instance; None if there was none."""
        report = await _told(_REPORT(self.instance_id))
        return None if report == NULL else loads(report, model, f"report of instance {self.instance_id}")

    @kept("other")
    async def status(self) -> Status:
        """The status of the instance."""
        return Status(await _told(_STATUS(self.instance_id)))

    def _refuse_itself(self, what: str) -> None:
        if self.instance_id == self._commands.instance_id:
            raise UsageError(f"instance {self.instance_id} {what}")

    def __repr__(self) -> str:
        return f"<other instance {self.instance_id}>"


async def call_entity(
    workflow: str, key: str, instance_id: str, request: Message, limit: float | None, method: str
) -> Raw:
    """Call an entity from a body, once, and return what its method returned. The first call of a key begins it."""
    return await _within(limit, _CALL(workflow, key, instance_id, request), instance_id, method)


async def _within(limit: float | None, errand: Awaitable[Raw], instance_id: str, request: str) -> Raw:
    """The answer to a request. Raises RequestTimeoutError if none came within `limit`."""
    scope = asyncio.timeout(limit)
    try:
        async with scope:
            return await _told(errand)
    except TimeoutError:
        if not scope.expired():
            raise
        raise RequestTimeoutError(
            f"instance {instance_id} did not answer the request {request!r} within {limit:g} s",
            instance_id=instance_id,
            request=request,
        ) from None


async def _told(errand: Awaitable[T]) -> T:
    """The outcome of an errand. Raises what it has found."""
    try:
        return await errand
    except _TOLD as found:
        error = _made_anew(found)
    raise error from error.__cause__


def _made_anew(found: Exception) -> Exception:
    """The error as a program gets it, without the record that an attempt has failed as expected."""
    told = {name: value for name, value in vars(found).items() if not name.startswith("_")}
    made: Any = type(found)
    error: Exception = made(str(found), **told)
    error.__cause__ = cause = found.__cause__
    record = None if cause is None else record_of(cause)
    if record is not None and isinstance(error, RequestFailedError | WorkflowFailedError):
        error.trace = record.trace
        if isinstance(error, WorkflowFailedError):
            error.chain = failures_in(record)
    return error
