"""Replaces activities by fakes, and makes the attempts of a test app."""

from __future__ import annotations

import asyncio
import copy
import inspect
from typing import TYPE_CHECKING, Any, cast

from msgspec.structs import replace

from romancy.core import StartCompensation
from romancy.errors import UsageError
from romancy.testing._calls import ActivityCall, Calls
from romancy.testing._mortal import Death

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from romancy.core import Input
    from romancy.engine.activities.attempt import Attempt, Made

__all__ = ["Fault", "Stage", "fake_of", "fake_of_step"]


class Fault:
    """A fault of some attempts of one activity."""

    def __init__(self, times: int, error: Callable[[], BaseException], *, after: bool) -> None:
        """`after`: the function is called first, and its answer is lost."""
        self.left = times
        self.error = error
        self.after = after


class Stage:
    """Makes attempts: with a fake if there is one, with a fault while one is left. Records every attempt."""

    def __init__(self, now: Callable[[], datetime], is_declared: Callable[[str], bool] | None = None) -> None:
        """`is_declared`: whether an activity has this name. Without it, none has."""
        self._now = now
        self.is_declared = is_declared or _is_a_step
        self.fakes: dict[str, Callable[..., Any]] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.calls = Calls()
        self.death = Death()

    async def make(self, attempt: Attempt, made: Made) -> Input:
        """Make an attempt. Exceptions pass through."""
        return await self.death.around(attempt, lambda: self._make(attempt, made))

    async def _make(self, attempt: Attempt, made: Made) -> Input:
        definition: Any = attempt.effect.definition
        fake = self.fakes.get(definition.name)
        call = self.calls.note(_call_of(attempt, self._now(), mocked=fake is not None))
        fault = self._fault(definition.name)
        try:
            if fault is not None and not fault.after:
                raise fault.error()
            event = await made(attempt, definition if fake is None else _stand_in(definition, fake))
            if fault is not None:
                attempt.returned = False  # its answer was lost
                raise fault.error()
        except asyncio.CancelledError as error:
            call.outcome, call.error = "cancelled", error
            raise
        except BaseException as error:
            call.outcome, call.error = "failed", error
            raise
        call.outcome = "completed"
        result = getattr(event, "result", None)
        if result is not None:
            call.result = definition.signature.decode_result(result)
        return event

    def _fault(self, name: str) -> Fault | None:
        faults = self.faults.get(name)
        if not faults:
            return None
        fault = faults[0]
        fault.left -= 1
        if not fault.left:
            del faults[0]
        return fault


def _is_a_step(_name: str) -> bool:
    return False


def _call_of(attempt: Attempt, at: datetime, *, mocked: bool) -> ActivityCall:
    effect = attempt.effect
    definition: Any = effect.definition
    undoes = effect if isinstance(effect, StartCompensation) else None
    signature = definition.signature
    if undoes is None:
        positional, named = signature.decode_arguments(effect.args)
    else:
        positional, named = definition.arguments(undoes.activity, undoes.args, undoes.result)
    names = [parameter.name for parameter in signature.parameters if not parameter.keyword_only]
    return ActivityCall(
        activity=definition.name,
        arguments={**dict(zip(names, positional, strict=False)), **named},
        attempt=effect.attempt,
        instance_id=attempt.live.instance_id,
        activity_id=attempt.id,
        at=at,
        mocked=mocked,
        compensates=None if undoes is None else undoes.activity_id,
    )


def _stand_in(definition: Any, fake: Callable[..., Any]) -> Any:
    """The definition with the fake as its function: its name, types, timeouts and policies stay."""
    stand_in = copy.copy(definition)
    stand_in.fn = _awaiting(fake)
    stand_in.is_async, stand_in.dependencies = True, {}
    stand_in.given = replace(definition.given, executor="thread", pass_context=False)
    return stand_in


def _awaiting(fake: Callable[..., Any]) -> Callable[..., Any]:
    async def called(*args: Any, **kwargs: Any) -> Any:
        answer = fake(*args, **kwargs)
        return await answer if inspect.isawaitable(answer) else answer

    return called


def fake_of(definition: Any, given: Any) -> Callable[..., Any]:
    """The function that is called in the place of an activity: `given` itself, or one that returns or raises it.

    Raises UsageError for a function that does not take the arguments of the activity, and SerializationError for a
    value that the activity could not return.
    """
    if _is_error(given):
        return _raising(given)
    if callable(given):
        _check_takes(definition, given)
        return cast("Callable[..., Any]", given)
    if definition.kind == "activity":
        definition.signature.decode_result(definition.signature.encode_result(given))
    return _returning(given)


def fake_of_step(name: str, given: Any) -> Callable[..., Any]:
    """The function that is called in the place of a step. Raises UsageError for one that needs arguments."""
    if _is_error(given):
        return _raising(given)
    if not callable(given):
        return _returning(given)
    try:
        inspect.signature(given).bind()
    except TypeError as error:
        raise UsageError(f"the fake of step {name!r} is called without arguments: {error}") from None
    return cast("Callable[..., Any]", given)


def _is_error(given: object) -> bool:
    return isinstance(given, BaseException) or (isinstance(given, type) and issubclass(given, BaseException))


def _raising(error: BaseException | type[BaseException]) -> Callable[..., Any]:
    def fake(*_: Any, **__: Any) -> Any:
        raise error

    return fake


def _returning(value: Any) -> Callable[..., Any]:
    def fake(*_: Any, **__: Any) -> Any:
        return value

    return fake


def _check_takes(definition: Any, fake: Callable[..., Any]) -> None:
    """Refuse a fake that cannot be called as the activity is, or that takes a parameter in the place of another."""
    try:
        signature = inspect.signature(fake)
    except (TypeError, ValueError):
        return  # a function written in C may have no signature
    parameters = definition.signature.parameters
    by_place = [parameter.name for parameter in parameters if not parameter.keyword_only]
    by_name = [parameter.name for parameter in parameters if parameter.keyword_only]
    try:
        signature.bind(*by_place, **dict.fromkeys(by_name))
    except TypeError as error:
        raise _misfit(definition, fake, signature, str(error)) from None
    for taken, name in zip(signature.parameters.values(), by_place, strict=False):
        if taken.kind is not taken.VAR_POSITIONAL and taken.name != name and taken.name in by_place:
            raise _misfit(definition, fake, signature, f"it takes {taken.name!r} in the place of {name!r}")


def _misfit(definition: Any, fake: Any, signature: inspect.Signature, reason: str) -> UsageError:
    name = getattr(fake, "__qualname__", type(fake).__qualname__)
    takes = ", ".join(parameter.name for parameter in definition.signature.parameters)
    return UsageError(
        f"the fake {name}{signature} does not take the arguments of {definition.kind} {definition.name!r} ({takes}): "
        f"{reason}. Give it the parameters of the {definition.kind}, without its context and dependencies"
    )
