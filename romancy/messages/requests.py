"""Requests from outside: sent as a message to one instance, and answered by its log.

The log is the only place of an answer. So it is there as long as the log is, for every process, and whoever sends a
request again with its id finds the same one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar, overload

from msgspec import Raw

from romancy._sizes import fitting
from romancy.core import (
    Message,
    MessageReceived,
    RequestAnswered,
    RequestRefused,
    Topic,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinued,
    WorkflowFailed,
    WorkflowStarted,
    raised_again,
)
from romancy.engine import refuse_to_wait
from romancy.errors import (
    InstanceEndedError,
    InstanceNotFoundError,
    RequestFailedError,
    RequestRefusedError,
    RequestTimeoutError,
    RequestUnansweredError,
    StorageUnavailableError,
    UsageError,
)
from romancy.log import LogCursor, read_log
from romancy.messages.lying import lies_there
from romancy.request import RequestType, name_of_request, types_of_request
from romancy.retry import seconds
from romancy.serialization import dumps, loads, with_frames
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.limits import check_id
from romancy.storage.records import Delivered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy._access import Access
    from romancy.core import LogEvent
    from romancy.messages.mailer import Mailer
    from romancy.retry import Duration
    from romancy.serialization import ErrorInfo
    from romancy.storage.records import History

__all__ = ["Asked", "Requests", "asked_before", "request_message"]

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_QUICKEST, _SLOWEST, _SLOWER = 0.02, 1.0, 1.5
_AT_LEAST: Final = 10.0
"""Seconds after which each looks at the log by itself, whoever else does."""
_ENDS: Final[Mapping[type[LogEvent], Status]] = {
    WorkflowCompleted: Status.COMPLETED,
    WorkflowFailed: Status.FAILED,
    WorkflowCancelled: Status.CANCELLED,
}


class _Place(NamedTuple):
    """Which request is asked about."""

    instance_id: str
    life: int
    name: str
    id: str


class Asked(Generic[R_co]):
    """A request that is accepted: it is durable, and kept until the body answers it. Holds no resources."""

    __slots__ = ("_access", "_after", "_declared", "_place")

    def __init__(self, access: Access, place: _Place, declared: Any, after: LogCursor | None) -> None:
        self._access = access
        self._place = place
        self._declared = declared
        self._after = after
        """Behind what nothing in the log is about the request. None: that is not known."""

    @property
    def id(self) -> str:
        """The id of the request: yours, or the one that Romancy gave it. With it, anyone can ask again."""
        return self._place.id

    @property
    def instance_id(self) -> str:
        """The instance that was asked."""
        return self._place.instance_id

    async def reply(self, timeout: Duration | None = None) -> R_co:
        """What the handler returned, once it has.

        Raises RequestFailedError if the handler raised an error, RequestRefusedError if the body refused the request,
        InstanceEndedError if the instance ended without an answer, and RequestUnansweredError if its run did and
        another followed. Raises RequestTimeoutError if no answer came within `timeout`: the request stays, and may be
        answered later.
        """
        place, limit = self._place, None if timeout is None else seconds(timeout, "timeout")
        refuse_to_wait(self._access.opened("request"), "request", [place.instance_id])
        search = _Search(place, self._after)
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                answer = await _answer(self._access, search)
        except TimeoutError:
            if not scope.expired():
                raise
            raise RequestTimeoutError(_in_vain(search, limit), **_of(place)) from None
        if isinstance(answer, RequestAnswered) and answer.error is None:
            value: Any = loads(answer.reply, self._declared, f"reply to the request {place.name!r}")
            return value  # type: ignore[no-any-return]
        raise _error_of(answer, place, self.reply)

    def __repr__(self) -> str:
        return f"<request {self._place.name!r} to {self.instance_id} with the id {self.id!r}>"


class Requests:
    """Asks instances, wherever they run."""

    _access: Access
    _mailer: Mailer

    @overload
    async def ask(
        self, instance_id: str, type: RequestType[None, R], data: None = None, *, id: str | None = None
    ) -> Asked[R]: ...
    @overload
    async def ask(self, instance_id: str, type: RequestType[T, R], data: T, *, id: str | None = None) -> Asked[R]: ...
    @overload
    async def ask(self, instance_id: str, type: str, data: object = None, *, id: str | None = None) -> Asked[Any]: ...
    async def ask(
        self, instance_id: str, type: RequestType[Any, Any] | str, data: object = None, *, id: str | None = None
    ) -> Asked[Any]:
        """Send a request to an instance without waiting for its answer. The request is durable when this returns.

        Raises SerializationError for data that do not fit the type, InstanceNotFoundError and InstanceEndedError.

        With an `id` of yours, a request of this name and id is sent to the instance once, whatever its data, and this
        finds its answer: from any process, also after the instance has ended, as long as its log is kept.
        """
        message = request_message(instance_id, type, data, id, self._access.stored_size)
        return await _asked(self._mailer, instance_id, message, types_of_request(type)[1])

    @overload
    async def request(
        self,
        instance_id: str,
        type: RequestType[None, R],
        data: None = None,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> R: ...
    @overload
    async def request(
        self,
        instance_id: str,
        type: RequestType[T, R],
        data: T,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> R: ...
    @overload
    async def request(
        self,
        instance_id: str,
        type: str,
        data: object = None,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> Any: ...
    async def request(
        self,
        instance_id: str,
        type: RequestType[Any, Any] | str,
        data: object = None,
        *,
        timeout: Duration | None = None,
        id: str | None = None,
    ) -> Any:
        """Send a request to an instance, and return the reply of its handler. Raises what `ask` and `reply` raise."""
        limit = None if timeout is None else seconds(timeout, "timeout")
        given: Any = type  # with the data that belongs to it, as the overloads say
        asked: Asked[Any] = await self.ask(instance_id, given, data, id=id)
        return await asked.reply(limit)


def request_message(
    instance_id: str,
    type: RequestType[Any, Any] | str,
    data: object,
    id: str | None,
    stored: Callable[[bytes], int] | None = None,
) -> Message:
    """A request to this instance. Raises UsageError for what cannot be asked."""
    check_id(instance_id)
    name, (declared, _) = name_of_request(type), types_of_request(type)
    if id is not None:
        check_id(id, "id of the request")
    what = f"data of the request {name!r} to instance {instance_id}"
    return Message(
        topic=Topic(name, kind="request"), data=Raw(fitting(dumps(data, what, declared), what, stored)), id=id or ""
    )


async def _asked(mailer: Mailer, instance_id: str, message: Message, declared: Any) -> Asked[Any]:
    """Send a request, or find the one with its id.

    A request that is new stands in the log behind where the log ended, by the instance's row, before it was sent.
    """
    access, chosen = mailer.access, bool(message.id)
    found = await access.opened("request").read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    row, sent_id, new = found.instance, message.id, False
    if not (chosen and row.status in TERMINAL_STATUSES):
        sent_id, answer = await mailer.send(message, instance_id, what="request")
        new = answer is Delivered.ACCEPTED
    place = _Place(instance_id, row.life, message.topic.name, sent_id)
    return Asked(access, place, declared, LogCursor(row.life, row.last_seq) if new else None)


async def asked_before(
    access: Access, message: Message, instance_id: str, declared: Any, before: History | None
) -> Asked[Any]:
    """A request that was sent to an instance, or has started it. `before`: the instance as it was before a new one."""
    found = await access.opened("request").read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError(f"the instance {instance_id!r} was asked, and has just been removed")
    life, after = found.instance.life, None
    if before is not None and before.instance.life == life:
        after = LogCursor(life, before.instance.last_seq)
    return Asked(access, _Place(instance_id, life, message.topic.name, message.id), declared, after)


# ── the answer ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _Search:
    """What was read of the log so far."""

    def __init__(self, place: _Place, after: LogCursor | None) -> None:
        self.place = place
        self.after = after
        self.taken = False
        """Whether the present run has received the request."""
        self.ended: Status | None = None
        self.is_unsure = after is None
        """Whether the log may have lost it: it was sent before, and what followed may have been pruned."""

    @property
    def has_no_trace(self) -> bool:
        """Whether nothing that was read says what became of it."""
        return not self.taken and self.ended is None

    def look_at(self, event: LogEvent) -> RequestAnswered | RequestRefused | None:
        """The answer, if this is it. Raises RequestUnansweredError if none will come and the instance goes on."""
        place = self.place
        if isinstance(event, RequestAnswered | RequestRefused):
            again = isinstance(event, RequestAnswered) and event.again
            return event if (event.name, event.id) == (place.name, place.id) and not again else None
        if isinstance(event, MessageReceived):
            topic = event.message.topic
            self.taken |= (topic.kind, topic.name, event.message.id) == ("request", place.name, place.id)
        elif isinstance(event, WorkflowContinued):
            if self.taken:
                raise RequestUnansweredError(
                    f"instance {place.instance_id} went on with run {event.run} and had not answered the request "
                    f"{place.name!r}: its handler was stopped, or nobody replied. Ask again with another id",
                    **_of(place),
                )
        elif isinstance(event, WorkflowStarted):
            self.ended, self.taken = None, False
        elif (ended := _ENDS.get(type(event))) is not None:
            self.ended = ended
        return None


async def _answer(access: Access, search: _Search) -> RequestAnswered | RequestRefused:
    """Follow the log up to the answer. Waits while the database is away."""
    pause, awaiting = _QUICKEST, access.answers.enter(search.place.instance_id)
    try:
        while True:
            news = awaiting.news()
            try:
                answer, moved = await _look(access, search)
                if answer is not None:
                    return answer
                if moved:
                    awaiting.tell_others()
                pause = _QUICKEST if moved else min(pause * _SLOWER, _SLOWEST)
            except StorageUnavailableError:
                pause = _SLOWEST
            if not news.done():
                with access.answers.idle():
                    await asyncio.wait([news], timeout=pause if awaiting.leads else _AT_LEAST)
    finally:
        access.answers.leave(awaiting)


async def _look(access: Access, search: _Search) -> tuple[RequestAnswered | RequestRefused | None, bool]:
    """The answer, if it is there; and whether the log has moved. Raises the error that says that there will be none."""
    place = search.place
    answer, moved = await _read_on(access, search)
    if answer is None and search.ended is not None:
        raise InstanceEndedError(
            f"instance {place.instance_id} has ended ({search.ended}) without an answer to the request {place.name!r}",
            instance_id=place.instance_id,
            status=search.ended,
        )
    if answer is None and search.is_unsure and search.has_no_trace and not await _lies_there(access, place):
        answer, moved = await _read_on(access, search)  # it may have been received since
        if answer is None and search.has_no_trace:
            raise RequestUnansweredError(
                f"the request {place.name!r} with the id {place.id!r} was sent to instance {place.instance_id} before, "
                "and its log holds it no more: the run that received it was pruned",
                **_of(place),
            )
    search.is_unsure = False
    return answer, moved


async def _lies_there(access: Access, place: _Place) -> bool:
    """Whether the request lies in the inbox of the instance. True if that cannot be known."""
    sought = "request", place.name, place.id

    def is_it(message: Message) -> bool:
        return (message.topic.kind, message.topic.name, message.id) == sought

    return await lies_there(access.opened("request"), place.instance_id, is_it)


async def _read_on(access: Access, search: _Search) -> tuple[RequestAnswered | RequestRefused | None, bool]:
    """The answer, if it stands in what the log has got since; and whether it has got anything."""
    place, moved = search.place, False
    try:
        async for entry in read_log(access.opened("request"), place.instance_id, search.after):
            cursor = LogCursor.parse(entry.cursor)
            if cursor.life != place.life:
                raise InstanceNotFoundError(
                    f"the instance {place.instance_id!r} that was asked was removed, and its id is used again"
                )
            moved, search.after = True, cursor
            if (answer := search.look_at(entry.event)) is not None:
                return answer, True
    except InstanceNotFoundError:
        raise
    except UsageError:  # a new run has pruned what followed: all that is left is later
        search.after, search.taken, search.is_unsure = None, False, True
        return await _read_on(access, search)
    return None, moved


def _error_of(
    answer: RequestAnswered | RequestRefused, place: _Place, fn: Callable[..., Any]
) -> RequestFailedError | RequestRefusedError:
    """The answer as the error that its sender gets."""
    error: ErrorInfo | None = answer.error
    assert error is not None  # noqa: S101 - an answer without a reply is an error
    refused = isinstance(answer, RequestRefused) or answer.refused
    kind = RequestRefusedError if refused else RequestFailedError
    how = "refused" if refused else "failed at"
    raised = error.raised
    told = f"instance {place.instance_id} {how} the request {place.name!r}: {error.summary}"
    failed = kind(told, **_of(place), error_type=raised.type, trace=raised.trace or error.trace)
    failed.__cause__ = with_frames(raised_again(error, (), fn))
    return failed


def _in_vain(search: _Search, limit: float | None) -> str:
    place = search.place
    why = (
        "its handler is at work"
        if search.taken
        else "no body has taken it yet; it is kept until one handles or awaits such requests"
    )
    return f"instance {place.instance_id} did not answer the request {place.name!r} within {limit:g} s: {why}"


def _of(place: _Place) -> dict[str, str]:
    return {"instance_id": place.instance_id, "request": place.name, "request_id": place.id}
