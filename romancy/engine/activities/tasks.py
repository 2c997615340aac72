"""Makes the tasks of attempts. Such a task runs to its first wait at once.

Most activities then end without a turn of the event loop, and without a place in it. A task factory of the program, if
it has set one, makes the tasks instead. From Python 3.12 on, asyncio can begin a task so. Before, `_EarlyTask` does it.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import sys
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from romancy.core import FUTURE, BegunByHand, enter_task, leave_task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context

    Maker = Callable[[Coroutine[Any, Any, None], asyncio.AbstractEventLoop, str, Context], asyncio.Task[None]]

__all__ = ["maker_of_tasks"]


def maker_of_tasks(loop: asyncio.AbstractEventLoop) -> Maker:
    """What makes the task of an attempt. The task may have ended when it is returned."""
    if loop.get_task_factory() is not None:
        return _by_the_loop
    if sys.version_info >= (3, 12):
        return _eager
    return _EarlyTask if isinstance(loop, asyncio.BaseEventLoop) and not loop.get_debug() else _by_the_loop


def _by_the_loop(
    work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, context: Context
) -> asyncio.Task[None]:
    return loop.create_task(work, name=name, context=context)


def _eager(
    work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, context: Context
) -> asyncio.Task[None]:
    return _TASK(work, loop=loop, name=name, context=context, eager_start=True)  # type: ignore[no-any-return]


_TASK: Final[Any] = asyncio.Task
"""Its stubs for Python 3.11 do not know eager tasks."""
_LISTED: Final[set[Any]] = getattr(getattr(asyncio.tasks, "_all_tasks", None), "data", set())
"""What `asyncio.all_tasks` lists, in Python 3.11: weak references to tasks. asyncio adds them by two functions."""
_UNSHARED: Final = 3
"""What `sys.getrefcount` finds in the constructor of a task that nobody else has."""


class _EarlyTask(BegunByHand, asyncio.Task[None]):
    """A task before asyncio's part of it is made, at its first wait.

    Until then it is current, listed and named as any task is, and a cancellation waits for that first wait.
    """

    __slots__ = ("_called", "_host", "_is_whole", "_name", "_work")

    def __init__(
        self, work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, context: Context
    ) -> None:
        """Run the work until it first waits, or to its end. Only then it is clear what of asyncio's part is needed."""
        self._work, self._host, self._name = work, loop, name
        self._is_whole = False
        self._called = ()
        listed = ref(self)
        _LISTED.add(listed)
        enter_task(loop, self)
        try:
            awaited = context.run(work.send, None)
        except StopIteration:
            leave_task(loop, self)
            _LISTED.discard(listed)
            if sys.getrefcount(self) > _UNSHARED or self._called:
                self._ends(FUTURE.cancel) if self._must_cancel else self._ends(FUTURE.set_result, None)
            return
        except BaseException as error:
            leave_task(loop, self)
            _LISTED.discard(listed)
            if isinstance(error, asyncio.CancelledError):
                self._ends(FUTURE.cancel)
                return
            self._ends(FUTURE.set_exception, error)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            return
        leave_task(loop, self)
        _LISTED.discard(listed)
        ready = self._host._ready  # noqa: SLF001 - asyncio has no other way to take a handle out
        place = len(ready)
        self._becomes_whole(awaited, context)
        while getattr(ready[place]._callback, "__self__", None) is not self:  # noqa: SLF001 - as in asyncio
            place += 1  # a call from another thread
        first = ready[place]
        del ready[place]
        first._callback()  # noqa: SLF001 - its first step, now: it only awaits what the work awaits

    def get_name(self) -> str:
        return self._name

    def set_name(self, value: object, /) -> None:
        self._name = str(value)

    def __repr__(self) -> str:
        if self._is_whole:
            return super().__repr__()
        return f"<Task pending name={self._name!r} coro={self._work!r}>"
