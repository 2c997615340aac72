"""Entities: classes whose objects have a key, live in the database, and do one thing at a time.

Each class is a workflow, and each key an instance of it. A call is a request. It is answered by the commit that begins
the next run, whose input is the state: so an entity without calls replays nothing. How programs call entities is in
`romancy.starting.entities`.
"""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, NoReturn, TypeVar, cast

import msgspec
from msgspec import Raw

from romancy._sizes import fitting
from romancy.context import WorkflowContext
from romancy.core import ContinueAsNew, Topic, current_commands, mode_of_wait
from romancy.entity_calls import CALLERS, entity_of
from romancy.errors import EventTimeoutError, NonDeterminismError, RegistrationError, UsageError
from romancy.registry import ENTITY, declare
from romancy.serialization import Signature, describe_exception
from romancy.storage.limits import check_id
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from romancy.core import Commands, Message, MessageReceived, WaitAnswer
    from romancy.serialization import ErrorInfo

__all__ = ["DESTROY", "LINGERS", "Entity", "EntityContext", "entity", "entity_context", "method_in"]

E = TypeVar("E")

DESTROY: Final = ""
"""Stands for a method, in a call that ends the entity."""
LINGERS: Final[ContextVar[float]] = ContextVar("romancy_entity_lingers", default=300.0)
"""For how many seconds an entity goes on that is destroyed by a call from here. So long its log has the answers to its
last calls, also if the next call begins it anew. Tests destroy entities that end soon.
"""


class Called(msgspec.Struct, frozen=True, omit_defaults=True):
    """The data of a call."""

    method: str
    args: Raw
    lingers: float = 0.0
    """For how many seconds an entity that this call destroys goes on."""
    callers: tuple[str, ...] = ()
    """The entities that wait for this call, the outermost first."""


_read_call: Final = msgspec.json.Decoder(Called).decode
_current: Final[ContextVar[EntityContext | None]] = ContextVar("romancy_entity", default=None)


class Method(NamedTuple):
    """A method that is called from outside."""

    fn: Callable[..., Any]
    signature: Signature


class EntityContext(WorkflowContext):
    """What a method of an entity can ask for: all that a body can, its key, and its end."""

    __slots__ = ("ends", "key")

    def __init__(self, commands: Commands, workflow: Workflow[..., None], key: str) -> None:
        super().__init__(commands, workflow.name, workflow)
        self.key = key
        """The key of the entity."""
        self.ends = False
        """Whether this call destroys it."""

    def destroy(self) -> None:
        """End the entity after this call, and forget its state. An error of the method leaves it as it was.

        A later call begins it anew.
        """
        self.ends = True


def entity_context() -> EntityContext:
    """The context of the method that runs. Raises UsageError outside of the methods of entities."""
    context = _current.get()
    if context is None or current_commands() is not context._commands:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of a base class
        raise UsageError("entity_context() is only available in a method of an entity that was called")
    return context


class Entity(Generic[E]):
    """A class of entities: its calls, and the workflow that answers them."""

    def __init__(self, cls: type[E], name: str) -> None:
        self.cls = cls
        self.name = name
        self.methods: Mapping[str, Method] = _methods_of(cls)
        self.workflow: Workflow[..., None] = _workflow_of(self)
        self.workflow.mail_first = True  # so it ends only if no call has come
        self.workflow.beside = tuple(method.fn for method in self.methods.values())
        self.topic = Topic(name, kind="request")

    def id_of(self, key: str) -> str:
        """The instance id of the entity with this key."""
        given = cast("object", key)
        if not isinstance(given, str) or not given:
            raise UsageError(f"the key of an entity is a text, not {key!r:.100}")
        instance_id = f"{self.name}:{key}"
        check_id(instance_id)
        return instance_id

    def method(self, name: str) -> Method:
        """The method of that name. Raises UsageError, with what can be called."""
        if (method := self.methods.get(name)) is None:
            helper = isinstance(inspect.getattr_static(self.cls, name, None), FunctionType)
            why = "is no `async def`: call it on the `state()` of a handle" if helper else "does not exist"
            raise UsageError(f"{self.cls.__qualname__}.{name} {why}; calls of it are {', '.join(self.methods)}")
        return method

    def check_call(self, name: str) -> None:
        """Raise UsageError if nothing of that name can be called."""
        self.method(name)

    def name_of(self, method: Callable[..., Any]) -> str:
        """The name of a method that was given as `Cart.add`."""
        name: str = getattr(method, "__name__", "")
        if (known := self.methods.get(name)) is None or known.fn is not method:
            raise UsageError(
                f"{method!r:.100} is no call of {self.cls.__qualname__}, such as {next(iter(self.methods))}"
            )
        return name

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], stored: Callable[[bytes], int]) -> Raw:
        """The data of a call. Raises UsageError and SerializationError for arguments that do not fit."""
        given = b"{}" if name == DESTROY else self.method(name).signature.encode_arguments(args, kwargs)
        what = f"arguments of {self.cls.__qualname__}.{name}"
        called = Called(name, Raw(given), LINGERS.get(), CALLERS.get())
        return Raw(fitting(msgspec.json.encode(called), what, stored))

    def reply_of(self, name: str) -> Any:
        """The type of what a method returns."""
        return None if name == DESTROY else self.method(name).signature.declared().get("return", Any)

    def state_in(self, input: Raw | bytes) -> E | None:
        """The state that an input of its workflow has."""
        args, _ = self.workflow.signature.decode_arguments(input)
        state: E | None = args[1]
        return state

    # ── in the body ─────────────────────────────────────────────────────────────────────────────────────────────

    def judge(self, request: Message) -> ErrorInfo | None:
        """Why a call cannot be carried out, before it is recorded."""
        try:
            called = _read_call(request.data)
            if called.method != DESTROY:
                self.method(called.method).signature.decode_arguments(called.args)
        except Exception as error:  # noqa: BLE001 - it is the answer
            return describe_exception(error)
        return None

    async def serve(self, commands: Commands, key: str, state: E | None, lingers: float) -> None:
        """Answer one call, and begin the next run. End instead if the entity only `lingers` and no call has come."""
        wait = commands.wait(
            self.topic, mode_of_wait(self.topic), timeout=lingers or None, in_turn=True, judge=self.judge
        )
        if (received := await _received(wait)) is not None:
            await self._answer(commands, received.message, key, self.cls() if state is None else state)

    async def _answer(self, commands: Commands, request: Message, key: str, state: E) -> NoReturn:
        called = _read_call(request.data)
        context = EntityContext(commands, self.workflow, key)
        context.ends = called.method == DESTROY
        _current.set(context)
        CALLERS.set((*called.callers, commands.instance_id))
        following = commands.started.input  # what an error leaves
        try:
            reply = await self._reply(called, state)
            given = (key, None, called.lingers) if context.ends else (key, state, 0.0)
            following = self.workflow.encode(given, {})
        except NonDeterminismError:
            raise
        except Exception as error:  # noqa: BLE001 - it is the answer
            commands.answer(request, error=describe_exception(error))
        else:
            commands.answer(request, reply)
        raise ContinueAsNew(following)

    async def _reply(self, called: Called, state: E) -> Raw:
        if called.method == DESTROY:
            return Raw(b"null")
        method = self.methods[called.method]
        args, kwargs = method.signature.decode_arguments(called.args)
        result = await method.fn(state, *args, **kwargs)
        what = f"result of {self.cls.__qualname__}.{called.method}"
        return Raw(fitting(method.signature.encode_result(result), what))


def entity(name: str, /) -> Callable[[type[E]], type[E]]:
    """Declare a class as a class of entities. Its fields are the state, and its `async def` methods the calls.

    It is a dataclass, a `msgspec.Struct` or another class that can be stored; put this above its decorator. Every field
    has a default, since the first call of a key finds a new object. Names with an underscore are no calls.

    Raises RegistrationError for a class that cannot be one.
    """
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise RegistrationError('@entity takes a name, as in @entity("cart")')

    def decorate(cls: type[E]) -> type[E]:
        if not isinstance(cls, type):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise RegistrationError(f"@entity({name!r}) goes above a class, not {cls!r:.100}")
        if not name or ":" in name:
            raise RegistrationError(f"@entity on {cls.__qualname__}: {name!r} is not a name, or has a colon")
        declared = Entity(cls, name)
        setattr(cls, ENTITY, declared)
        declare(declared.workflow)
        return cls

    return decorate


def method_in(call: Message) -> str:
    """The name of the method that a call asks for."""
    return _read_call(call.data).method


def _methods_of(cls: type) -> dict[str, Method]:
    where, found = f"@entity on {cls.__qualname__}", dict[str, Method]()
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise RegistrationError(f"{where}: every field needs a default, to begin with: {error}") from None
    for name in dir(cls):
        fn = inspect.getattr_static(cls, name)
        if name.startswith("_") or not isinstance(fn, FunctionType):
            continue
        if inspect.isasyncgenfunction(fn):
            raise RegistrationError(f"{where}: {name} is a generator, which has no single result")
        if inspect.iscoroutinefunction(fn):
            signature = Signature.of(fn, 1, subject=f"method {fn.__qualname__!r}")
            signature.check_known()
            found[name] = Method(fn, signature)
    if not found:
        raise RegistrationError(f"{where}: it has no `async def`, so nothing of it can be called")
    return found


def _workflow_of(declared: Entity[Any]) -> Workflow[..., None]:
    try:
        made: Workflow[..., None] = Workflow(_body_of(declared), name=declared.name)
    except RegistrationError as error:  # for its state: all else has been looked at
        where = f"@entity on {declared.cls.__qualname__}"
        raise RegistrationError(
            f"{where}: its fields are the state, so it goes above @dataclass or the like: {error}"
        ) from None
    made.keeps_state = True
    return made


def _body_of(declared: Entity[Any]) -> Callable[..., Any]:
    """The body of the workflow, which stands where the class does."""
    cls = declared.cls

    async def body(ctx: WorkflowContext, key: str, state: Any = None, lingers: float = 0.0) -> None:
        await entity_of(cls).serve(ctx._commands, key, state, lingers)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as the context itself asks

    body.__annotations__ = {"ctx": WorkflowContext, "key": str, "state": cls | None, "lingers": float, "return": None}
    body.__module__, body.__name__, body.__qualname__ = cls.__module__, cls.__name__, cls.__qualname__
    body.__doc__ = cls.__doc__
    return body


async def _received(wait: WaitAnswer) -> MessageReceived | None:
    """The next call; None if none came in time."""
    try:
        received: MessageReceived = await wait
    except EventTimeoutError:
        return None
    return received
