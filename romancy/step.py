"""Steps: an activity that a body makes on the spot, of a function without arguments, as `ctx.step` calls it.

Nothing declares a step, and no app knows it by its name. The log has its call and its result like those of an activity.
Where a run continues, its replay makes the function again, and the next attempt calls that one.
"""

from __future__ import annotations

import inspect
from functools import partial, update_wrapper
from types import CoroutineType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Raw

from romancy.core import running_loop
from romancy.declaring.callables import is_async
from romancy.declaring.reaching import kind_of
from romancy.depends import dependencies_in
from romancy.errors import UsageError
from romancy.serialization import Signature, dumps
from romancy.storage.limits import check_event, check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from inspect import Parameter

    from romancy._call_options import ActivityOptions
    from romancy.core import Commands
    from romancy.core.words.definitions import CompensationDefinition

__all__ = ["Step", "Stepping"]

_NO_ARGUMENTS: Final = Raw(b"{}")
_MAX_ABOUT_BYTES: Final = 16 * 1024


class Stepping(Protocol):
    """A workflow whose body makes steps."""

    @property
    def name(self) -> str: ...

    @property
    def activities(self) -> frozenset[str]:
        """The names of the activities that its code names."""
        ...


class Step:
    """What one call of `ctx.step` runs: an activity as the run and the engine see it."""

    kind = "activity"
    undo = None

    def __init__(
        self, name: str, fn: Callable[[], Any], model: Any, given: ActivityOptions, about: object = None
    ) -> None:
        """Raises UsageError for a name or a function that cannot be a step's, RegistrationError for such a type.

        Raises SerializationError for an `about` that is no JSON, PayloadTooLargeError for a large one.
        """
        check_id(name, "name of a step")
        self.name = name
        where = f"ctx.step({name!r})"
        parameters = _parameters(fn)
        self.fn = _checked(fn, parameters, where)
        """What an attempt calls."""
        self.dependencies = dependencies_in(parameters)
        self.is_async = is_async(self.fn)
        self.given = given
        self.signature = _signature(self.fn, model, f"step {name!r}")
        self.about = None if about is None else _shown(about, f"about of step {name!r}")
        self._read = self.signature.decode_result  # finds the type before the work is done

    def check_place(self, commands: Commands, workflow: Stepping) -> None:
        """Raise UsageError unless the body makes the call, and calls no activity by this name."""
        if running_loop() is not commands.loop and not commands.loop.dead:
            raise UsageError(
                f"ctx.step({self.name!r}) was called outside of the body of workflow {workflow.name}, as in another "
                "step or in an activity, where nothing is recorded: call it in the body, with what that step returns"
            )
        if self.name in workflow.activities:
            raise UsageError(
                f"ctx.step({self.name!r}): workflow {workflow.name} has an activity of this name, and the log would "
                "not tell them apart; give the step another name"
            )

    async def durably(self, number: int, commands: Commands) -> Any:
        """The result, once it is in the log. `number` is that of the call among those of the run."""
        commands.calls.made.pop(number, None)
        return await commands.activity(self, _NO_ARGUMENTS, self.about)

    @property
    def as_undo(self) -> CompensationDefinition:
        raise UsageError(f"step {self.name!r} is no activity that could undo something: declare one with @activity")

    def read_result(self, result: Any, /) -> object:
        return self._read(result)

    def read_default(self, default: Raw, /) -> object:
        """What a former run has returned in the place of an error, when an activity was called by this name."""
        return self.read_result(default)

    def is_same_call(self, recorded: Raw, asked: Raw, /) -> bool:
        return bytes(recorded) == bytes(asked)

    def __repr__(self) -> str:
        return f"<step {self.name}>"


def _shown(about: object, what: str) -> Raw:
    """What the step is shown with, as JSON."""
    return check_event(Raw(dumps(about, what)), what, at_most=_MAX_ABOUT_BYTES)


def _signature(fn: Callable[[], Any], model: Any, subject: str) -> Signature:
    """The result of the step, as `model` or the function declares it. Without either it is plain JSON."""
    if model is not None:
        fn = FunctionType(_declared.__code__, globals())
        fn.__annotations__ = {"return": model}
    return Signature(inspect.unwrap(fn), subject, (), {})


def _declared() -> None:
    """Stands for the function of a step whose type is given beside it."""


def _checked(given: Any, parameters: Collection[Parameter], where: str) -> Callable[[], Any]:
    """The function itself, or one that calls the object. Raises UsageError unless it can be called as a step."""
    if (kind := kind_of(given)) in ("activity", "workflow"):
        raise UsageError(f"{where}: {given.name!r} is declared as {kind} already; await it in the body as it is")
    if isinstance(given, CoroutineType):
        given.close()
        raise UsageError(f"{where} takes a function, and was given a call of one; leave the parentheses out")
    if not callable(given):
        raise UsageError(f"{where} takes a function without arguments, not {type(given).__name__}")
    if inspect.isgeneratorfunction(given) or inspect.isasyncgenfunction(given):
        raise UsageError(f"{where}: a generator has no single result; return a value instead of yielding")
    if needed := _needed(parameters):
        raise UsageError(
            f"{where}: its function needs the argument(s) {', '.join(needed)}, and a step has none: take them from the "
            "code around it, or bind them with functools.partial"
        )
    return given if type(given) is FunctionType and is_async(given) else _called(given, where)


def _called(given: Callable[[], Any], where: str) -> Callable[[], Any]:
    """A function that calls the given one, or an object such as a `partial`."""
    named: Any = given
    while isinstance(named, partial):
        named = named.func
    if not isinstance(named, (FunctionType, MethodType)):
        named = type(named).__call__

    async def awaits(**dependencies: Any) -> Any:
        return await given(**dependencies)

    def calls(**dependencies: Any) -> Any:
        value = given(**dependencies)
        if isinstance(value, CoroutineType):
            value.close()
            raise UsageError(
                f"{where}: its function is a plain one, and has returned a coroutine, which nothing awaits: give an "
                "`async def`, or functools.partial with the `async def` and its arguments instead of a lambda"
            )
        return value

    return update_wrapper(awaits if is_async(named) else calls, named)


def _parameters(fn: Any) -> Collection[Parameter]:
    try:
        return inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return ()  # a function written in C may have no signature


def _needed(parameters: Collection[Parameter]) -> list[str]:
    """The names of the parameters without defaults."""
    return [
        its.name
        for its in parameters
        if its.default is its.empty and its.kind not in (its.VAR_POSITIONAL, its.VAR_KEYWORD)
    ]
