"""Requests, which are messages to one instance that are answered: their types, and how a body answers them."""

from __future__ import annotations

import inspect
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, cast, overload

from msgspec import Raw

from romancy._sizes import fitting
from romancy.core import kept, words_of
from romancy.declaring.callables import is_async
from romancy.errors import NonDeterminismError, SerializationError, UsageError
from romancy.handler import Handler
from romancy.serialization import describe_exception, dumps, loads
from romancy.storage.limits import check_id

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping
    from contextvars import Context

    from typing_extensions import TypeForm, TypeVar

    from romancy.core import Commands, Message
    from romancy.serialization import ErrorInfo

    In = TypeVar("In", default=Any)
    Out = TypeVar("Out", default=Any)
    Errors = type[Exception] | tuple[type[Exception], ...]
else:
    from typing import TypeVar

    In = TypeVar("In")
    Out = TypeVar("Out")
D = TypeVar("D")
R = TypeVar("R")

__all__ = [
    "Request",
    "RequestHandler",
    "RequestType",
    "misfit_answered",
    "name_of_request",
    "types_of_request",
    "written_reply",
]

CANCELLED: Final = "it was stopped before it had answered"


class RequestType(Generic[In, Out]):
    """The name of a request and the types of its data and of its reply, shared by sender and receiver.

    `Change = RequestType("change", ChangeIn, ChangeOut)`. With `None` for a type there is no data, or no reply to read.
    """

    __slots__ = ("data", "name", "reply")

    def __init__(self, name: str, data: TypeForm[In], reply: TypeForm[Out]) -> None:
        if not name:
            raise UsageError("a request type needs a name")
        self.name = name
        self.data = data
        self.reply = reply

    @overload
    def by(
        self: RequestType[None, R],
        function: Callable[[], Coroutine[Any, Any, R]],
        /,
        *,
        validate: Callable[[], object] | None = None,
        fatal: Errors = (),
    ) -> Handler[None]: ...
    @overload
    def by(
        self: RequestType[D, R],
        function: Callable[[D], Coroutine[Any, Any, R]],
        /,
        *,
        validate: Callable[[D], object] | None = None,
        fatal: Errors = (),
    ) -> Handler[D]: ...
    def by(
        self: RequestType[Any, Any],
        function: Callable[..., Coroutine[Any, Any, Any]],
        /,
        *,
        validate: Callable[..., object] | None = None,
        fatal: Errors = (),
    ) -> Handler[Any]:
        """A handler of such requests, for `ctx.handling`: an `async def` that gets the data and returns the reply.

        An exception of it is the sender's answer, and the body goes on. Errors of the classes in `fatal` also end the
        block, as an error of a handler of events does. `validate` is a plain function of the data that looks at the
        body's state before anything of the request is recorded: if it raises, the request is refused.
        """
        return RequestHandler(self, function, validate, fatal)

    def __repr__(self) -> str:
        return f"RequestType({self.name!r})"


class RequestHandler(Handler[Any]):
    """A kind of requests and the function that answers one."""

    __slots__ = ("_fatal", "reply", "validate")

    kind = "request"

    def __init__(
        self,
        type: RequestType[Any, Any],
        function: Callable[..., Coroutine[Any, Any, Any]],
        validate: Callable[..., object] | None,
        fatal: Errors,
    ) -> None:
        super().__init__(type.name, type.data, function, None)
        self.reply = type.reply
        self.validate = validate
        self._fatal = _classes(fatal)
        if validate is not None:
            if not callable(cast("Any", validate)) or is_async(validate):
                raise UsageError(f"validate= of {self!r} must be a plain function of the data, not {validate!r:.100}")
            self.refuse_other_parameters(validate, "validate= of ")

    # ── before a request is recorded ────────────────────────────────────────────────────────────────────────────

    def judge(self) -> Callable[[Message], ErrorInfo | None] | None:
        """What is to be asked about a request before it is recorded, in the context of whoever calls this."""
        return None if self.validate is None else partial(self._refusal_of, self.validate, copy_context())

    def _refusal_of(self, validate: Callable[..., object], context: Context, request: Message) -> ErrorInfo | None:
        try:
            data = loads(request.data, self.data, f"data of {request.words}")
            said = context.run(validate, *(() if self.needs_no_data else (data,)))
        except Exception as error:  # noqa: BLE001 - it is the answer
            return describe_exception(error)
        if inspect.isawaitable(said):
            if inspect.iscoroutine(said):
                said.close()
            raise UsageError(f"{words_of(validate)} awaits something: validate= only looks at what the body knows")
        return None

    # ── its answer ──────────────────────────────────────────────────────────────────────────────────────────────

    def answer(self, commands: Commands, request: Message, task: asyncio.Task[Any]) -> BaseException | None:
        """Answer a request by what became of the handler's task. Returns what ends the block."""
        if task.cancelled():
            commands.answer(request, error=describe_exception(RuntimeError(f"the handler: {CANCELLED}")))
            return None
        error = task.exception()
        if error is None:
            try:
                reply = written_reply(task.result(), self.name, self.reply)
            except UsageError as misfit:
                error = misfit
            else:
                commands.answer(request, reply)
                return None
        if not isinstance(error, Exception) or isinstance(error, NonDeterminismError):
            return error
        commands.answer(request, error=describe_exception(error))
        return error if isinstance(error, self._fatal) else None


class Request(Generic[In, Out]):
    """A request that `ctx.wait_request` returns. It is answered by `reply`, or by `fail`, once.

    If the run ends before that, its sender gets an error that says so.
    """

    __slots__ = ("_commands", "_message", "_reply", "data", "is_answered")

    def __init__(self, commands: Commands, message: Message, data: In, reply: TypeForm[Out]) -> None:
        self._commands = commands
        self._message = message
        self._reply = reply
        self.data = data
        self.is_answered = False
        """Whether the body has answered it."""

    @property
    def id(self) -> str:
        """The id of the request: the sender's, or the one that Romancy gave it."""
        return self._message.id

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that the sender gave."""
        return self._message.headers

    @kept("request")
    async def reply(self, value: Out, /) -> None:
        """Answer the request. Raises SerializationError for a value that does not fit the type of the reply."""
        self._answered()
        self._commands.answer(self._message, written_reply(value, self._message.topic.name, self._reply))
        self.is_answered = True

    @kept("request")
    async def fail(self, error: Exception, /) -> None:
        """Answer the request with an error, which the sender gets as the cause of a RequestFailedError."""
        self._answered()
        self._commands.answer(self._message, error=describe_exception(error))
        self.is_answered = True

    def _answered(self) -> None:
        if self.is_answered:
            raise UsageError(f"{self!r} is answered already: a request has one answer")

    def __repr__(self) -> str:
        return f"<{self._message.words} with the id {self.id!r}>"


def name_of_request(type: object) -> str:
    """The name of a request type, or a name given as text. Raises UsageError for what is neither."""
    name = type.name if isinstance(type, RequestType) else type
    if not isinstance(name, str):
        raise UsageError(f"a request is sent by its RequestType, or by its name, not {name!r:.100}")
    check_id(name, "name of the request")
    return name


def types_of_request(type: RequestType[Any, Any] | str) -> tuple[Any, Any]:
    """The types of the data and of the reply. Of a request known by its name alone, they are plain JSON."""
    return (type.data, type.reply) if isinstance(type, RequestType) else (Any, Any)


def written_reply(value: object, name: str, declared: Any) -> Raw:
    """A reply as JSON. Raises SerializationError and PayloadTooLargeError."""
    what = f"reply to the request {name!r}"
    return Raw(fitting(dumps(value, what, declared), what))


def misfit_answered(commands: Commands, request: Message, misfit: SerializationError) -> None:
    """Refuse a request whose data does not fit the declared type."""
    commands.answer(request, error=describe_exception(misfit), refused=True)


def _classes(fatal: Errors) -> tuple[type[Exception], ...]:
    classes = fatal if isinstance(fatal, tuple) else (fatal,)
    for one in cast("tuple[Any, ...]", classes):
        if not (isinstance(one, type) and issubclass(one, Exception)):
            raise UsageError(f"fatal= takes classes of exceptions, not {one!r:.100}")
    return classes
