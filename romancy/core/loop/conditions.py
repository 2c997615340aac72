"""What tasks of a run wait for that no future says: conditions on the state of the body.

A condition is asked when a task begins to wait for it, and whenever nothing else of the run is ready. It is asked once
more by the task that it wakes: another task may have changed the state in between. So what a condition says holds at
the moment at which its task goes on.
"""

from __future__ import annotations

import inspect
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from romancy.core.loop.stable import StableFuture
from romancy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

__all__ = ["Conditions", "Host", "Until", "words_of"]

T = TypeVar("T")


class Host(Protocol):
    """The loop of the run, as its conditions know it."""

    budget: int
    spent: int

    @property
    def effects(self) -> tuple[int, ...]:
        """Counts what the code has asked for. It is equal before and after code that has no effect on the run."""
        ...

    async def give_way(self) -> None:
        """Let the others run first."""
        ...


class Until(StableFuture[None]):
    """What the task awaits, until its condition may hold."""

    __slots__ = ()


class _Waiting:
    """A condition that a task waits for."""

    __slots__ = ("condition", "context", "until")

    def __init__(self, condition: Callable[[], object], until: Until, context: Context) -> None:
        self.condition = condition
        self.until = until
        self.context = context


class Conditions:
    """The conditions of one run.

    A task that is woken in vain, because another has changed the state, waits behind the others.
    """

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: Host) -> None:
        self._loop = loop
        self._waiting: dict[_Waiting, None] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    async def wait(self, condition: Callable[[], T]) -> T:
        """Wait until the condition returns something true, and return that."""
        while not (value := self._asked(condition)) or self._loop.spent > self._loop.budget:
            if value:  # a body that asks without end gives the loop a chance to say so
                await self._loop.give_way()
            else:
                await self._woken(condition)
        self._loop.spent += 1
        return value

    async def _woken(self, condition: Callable[[], object]) -> None:
        host: Any = self._loop
        one = _Waiting(condition, Until(loop=host), copy_context())
        self._waiting[one] = None
        try:
            await one.until
        finally:
            del self._waiting[one]

    def told(self) -> list[str]:
        """The conditions that tasks wait for, in words."""
        return [words_of(one.condition) for one in self._waiting]

    def wake(self) -> bool:
        """Wake the tasks whose conditions may hold now. False: there are none."""
        woken = False
        for one in self._waiting:
            if not one.until.done() and one.context.run(self._may_hold, one):
                woken = True
        return woken

    def _may_hold(self, one: _Waiting) -> bool:
        try:
            if not self._asked(one.condition):
                return False
        except StopIteration:  # a future takes none; the task meets it again
            one.until.set_result(None)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            one.until.set_exception(error)
        else:
            one.until.set_result(None)
        return True

    def _asked(self, condition: Callable[[], T]) -> T:
        """What the condition says. Raises UsageError if it does more than that."""
        before = self._loop.effects
        value: Any = condition()
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            raise UsageError(f"{words_of(condition)} awaits something: a condition only looks at what the body knows")
        if self._loop.effects != before:
            raise UsageError(
                f"{words_of(condition)} asks for something or wakes a task: a condition is asked again and again, so "
                "it must only look at what the body knows"
            )
        return value  # type: ignore[no-any-return]


def words_of(condition: Any) -> str:
    """The condition, by the line at which it is written."""
    code = getattr(inspect.unwrap(condition), "__code__", None)
    if code is None:
        return f"the condition {condition!r}"
    file = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"the condition at {file}, line {code.co_firstlineno}"
