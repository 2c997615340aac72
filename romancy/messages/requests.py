"""Requests from outside: sent as a message to one instance, and answered by its log.

The log is the only place of an answer. So it is there as long as the log is, for every process, and whoever sends a
request again with its id finds the same one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from msgspec import Raw

from romancy._sizes import fitting
from romancy.attempt_context import gives_slot
from romancy.core import (
    Message,
    RequestAnswered,
    RequestRefused,
    Topic,
    raised_again,
)
from romancy.engine import refuse_to_wait
from romancy.errors import (
    InstanceNotFoundError,
    RequestFailedError,
    RequestRefusedError,
    RequestTimeoutError,
)
from romancy.log import LogCursor
from romancy.messages.replies import Place, Search, answer_to
from romancy.request import RequestType, name_of_request, types_of_request
from romancy.retry import seconds
from romancy.serialization import dumps, loads, with_frames
from romancy.status import TERMINAL_STATUSES
from romancy.storage.limits import check_id
from romancy.storage.records import Delivered

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy._access import Access
    from romancy.messages.mailer import Mailer
    from romancy.retry import Duration
    from romancy.serialization import ErrorInfo
    from romancy.storage.records import History, InstanceRow

__all__ = ["Asked", "Requests", "asked", "asked_before", "asked_now", "is_new", "of_method", "request_message"]

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Asked(Generic[R_co]):
    """A request that is accepted: it is durable, and kept until the body answers it. Holds no resources."""

    __slots__ = ("_access", "_after", "_declared", "_place")

    def __init__(self, access: Access, place: Place, declared: Any, after: LogCursor | None) -> None:
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
        search = Search(place, self._after, gives_slot.get() or self._access.answers.idle)
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                answer = await answer_to(self._access, search)
        except TimeoutError:
            if not scope.expired():
                raise
            raise RequestTimeoutError(_in_vain(search, limit), **place.told) from None
        if isinstance(answer, RequestAnswered) and answer.error is None:
            value: Any = loads(answer.reply, self._declared, f"reply to {place.words}")
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
        return await asked(self._mailer, instance_id, message, types_of_request(type)[1])

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
        made: Asked[Any] = await self.ask(instance_id, given, data, id=id)
        return await made.reply(limit)


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


async def asked(mailer: Mailer, instance_id: str, message: Message, declared: Any) -> Asked[Any]:
    """Send a request to an instance, or find the one with its id. Raises InstanceNotFoundError if there is none."""
    found = await mailer.access.opened("request").read(instance_id, limit=0)
    if found is None:
        raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
    return await asked_now(mailer, message, declared, found.instance)


async def asked_now(mailer: Mailer, message: Message, declared: Any, row: InstanceRow) -> Asked[Any]:
    """Send a request to the instance that has this row, or find the one with its id.

    A request that is new stands in the log behind where the log ended, by the instance's row, before it was sent.
    """
    sent_id, new = message.id, False
    if not (sent_id and row.status in TERMINAL_STATUSES):
        sent_id, answer = await mailer.send(message, row.instance_id, what="request")
        new = answer is Delivered.ACCEPTED
    place = Place(row.instance_id, row.life, message.topic.name, sent_id)
    return Asked(mailer.access, place, declared, LogCursor(row.life, row.last_seq) if new else None)


def is_new(request: Asked[Any]) -> bool:
    """Whether the call has sent this request. False: one with this id was sent before."""
    return request._after is not None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a class of this module


def of_method(request: Asked[R], method: str) -> Asked[R]:
    """The same, as the call of an entity's method: errors name it."""
    place = request._place._replace(method=method)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # a class of this module
    return Asked(request._access, place, request._declared, request._after)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # likewise


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
    return Asked(access, Place(instance_id, life, message.topic.name, message.id), declared, after)


def _error_of(
    answer: RequestAnswered | RequestRefused, place: Place, fn: Callable[..., Any]
) -> RequestFailedError | RequestRefusedError:
    """The answer as the error that its sender gets."""
    error: ErrorInfo | None = answer.error
    assert error is not None  # noqa: S101 - an answer without a reply is an error
    refused = isinstance(answer, RequestRefused) or answer.refused
    kind = RequestRefusedError if refused else RequestFailedError
    how = "refused" if refused else "failed at"
    raised = error.raised
    told = f"instance {place.instance_id} {how} {place.words}: {error.summary}"
    failed = kind(told, **place.told, error_type=raised.type, trace=raised.trace or error.trace)
    failed.__cause__ = with_frames(raised_again(error, (), fn))
    return failed


def _in_vain(search: Search, limit: float | None) -> str:
    place = search.place
    why = (
        "its handler is at work"
        if search.taken
        else "no body has taken it yet; it is kept until one handles or awaits such requests"
    )
    return f"instance {place.instance_id} did not answer {place.words} within {limit:g} s: {why}"
