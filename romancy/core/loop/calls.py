"""Tracks calls of activities, child workflows and the context that were made and not awaited. A run must lose none.

A call is a coroutine: until it is awaited, nothing has happened. The run keeps each call from the moment it is made
until it begins. Once the body has ended, no code awaits a call that is still kept: the tasks that hold calls are
cancelled. The time of a garbage collection has no influence on this (decision 0030).
"""

from __future__ import annotations

import functools
import gc
import inspect
import sys
from contextvars import Context
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from romancy.core.words.shared_empty import NO_DICT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

__all__ = ["RULES", "Call", "Calls", "begun", "kept", "rules_after"]

F = TypeVar("F", bound="Callable[..., Coroutine[Any, Any, Any]]")

RULES: Final = 3
"""The rules for runs that begin now; the start records them.

From 1 on, a call of an activity or a workflow that is never awaited fails the run, unless a task holds it. From 2 on,
every call that has not begun when the body returns does so, also one of the context, and so does what a task waits for
that the body has left behind. From 3 on, a task that only waits, or sleeps, is no reason: it is dropped.
"""
_ALL_CALLS: Final = 2
_ONLY_WORK: Final = 3

_frame_of_caller: Final[Callable[[int], FrameType]] = getattr(sys, "_getframe")  # noqa: B009 - private to checkers
_FARTHEST: Final = 100_000
"""How many objects the search visits before it assumes that a call is held."""
_LEAVES: Final = (str, bytes, int, float, type, ModuleType, CodeType, BuiltinFunctionType, Context)


def rules_after(rules: int) -> int:
    """The rules for a run that continues or retries one under these. A later rule may let pass what they refused."""
    return RULES if rules >= _ALL_CALLS else rules


class Call(NamedTuple):
    """A call that has not begun, and where it was made."""

    coroutine: Coroutine[Any, Any, Any]
    name: str
    code: CodeType
    line: int

    def __str__(self) -> str:
        file = self.code.co_filename.replace("\\", "/").rpartition("/")[2]
        return f"{self.name} in {self.code.co_qualname} ({file}, line {self.line})"


class Calls:
    """The calls of one run, in the order in which they were made."""

    __slots__ = ("all", "kept", "made", "number", "only_work")

    def __init__(self) -> None:
        self.kept = False
        """Whether calls are kept until they begin. Runs under older rules keep none."""
        self.all = False
        """Whether those of the context are kept as well, and count although a task holds them."""
        self.only_work = False
        """Whether of a task that is left behind only an activity or a child counts, and no wait."""
        self.made: dict[int, tuple[Coroutine[Any, Any, Any], str, CodeType, int]] = NO_DICT
        """By its number, each call that has not begun: its name, and the instruction that made it.

        A call that begins takes itself out.
        """
        self.number = 0
        """That of the call that was made last. Each call gets the next one, before its arguments."""

    def begins(self, rules: int) -> None:
        """The run begins under these rules."""
        self.kept, self.all, self.only_work = bool(rules), rules >= _ALL_CALLS, rules >= _ONLY_WORK

    def keep(self, call: Coroutine[Any, Any, Any], name: str) -> None:
        """Keep the call that has the last number. The caller's caller makes it."""
        if self.made is NO_DICT:
            self.made = {}
        frame = _frame_of_caller(2)  # no other way to find the caller is as cheap
        self.made[self.number] = call, name, frame.f_code, frame.f_lasti

    def waiting(self) -> list[Call]:
        """The calls that have not begun."""
        if not self.made:
            return []
        return [
            Call(coroutine, name, code, _line(code, at))
            for coroutine, name, code, at in self.made.values()
            if inspect.getcoroutinestate(coroutine) == "CORO_CREATED"
        ]

    def dropped(self, roots: Iterable[object], beyond: tuple[type, ...]) -> list[Call]:
        """The calls that no code can await any more: they have not begun, and no root holds them.

        Objects of a type in `beyond` are not searched.
        """
        left = self.waiting()
        if not left:
            return []
        held = _held(roots, {id(call.coroutine) for call in left}, (*_LEAVES, *beyond))
        return [call for call in left if id(call.coroutine) not in held]

    def close(self) -> None:
        """Close the calls. They are reported as lost, so the interpreter need not warn of them."""
        if self.made:
            made, self.made = self.made, NO_DICT
            for coroutine, *_ in made.values():
                coroutine.close()


def _line(code: CodeType, at: int) -> int:
    """The line of the instruction at this offset, which is looked up only for a call that is told."""
    return next((line for first, end, line in code.co_lines() if first <= at < end and line), code.co_firstlineno)


def kept(prefix: str) -> Callable[[F], F]:
    """Keep each call of a method until it is awaited. The error for a forgotten one names it with this prefix."""

    def keep(method: F) -> F:
        name = f"{prefix}.{method.__name__}"

        @functools.wraps(method)
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            calls: Calls = self._commands.calls
            if not calls.all:
                return method(self, *args, **kwargs)
            calls.number += 1
            made: Any = begun(calls.number, calls, method, self, args, kwargs)
            calls.keep(made, name)
            made.__qualname__ = method.__qualname__
            return made

        return cast("F", call)

    return keep


async def begun(
    number: int, calls: Calls, method: Any, owner: object, args: tuple[Any, ...], kwargs: dict[str, Any], /
) -> Any:
    """What a kept call of a method becomes once it is awaited."""
    calls.made.pop(number, None)
    return await method(owner, *args, **kwargs)


def _held(roots: Iterable[object], wanted: set[int], leaves: tuple[type, ...]) -> set[int]:
    """The wanted objects that can be reached from the roots; all of them if the search takes too long."""
    found: set[int] = set()
    waiting = list(roots)
    seen = {id(thing): thing for thing in waiting}
    while waiting:
        thing = waiting.pop()
        if id(thing) in wanted:
            found.add(id(thing))
        for part in _parts(thing):
            if id(part) not in seen and not isinstance(part, leaves):
                seen[id(part)] = part
                waiting.append(part)
        if found == wanted or len(seen) > _FARTHEST:
            return set(wanted)
    return found


def _parts(thing: object) -> Iterable[object]:
    """The objects that `thing` refers to; for a function its closure and defaults, not the module it stands in."""
    if isinstance(thing, FunctionType):
        return (*(thing.__closure__ or ()), *(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).values())
    return gc.get_referents(thing)
