"""Makes the tasks of attempts. Such a task runs to its first wait at once.

Most activities then end without a turn of the event loop, and without a place in it. A task factory of the program, if
it has set one, makes the tasks instead. From Python 3.12 on, asyncio can begin a task so. Before, `_EarlyTask` does it.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import sys
import types
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context
    from types import FrameType

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
    eager: dict[str, Any] = {"eager_start": True}
    return asyncio.Task(work, loop=loop, name=name, context=context, **eager)


_enter_task: Any = getattr(asyncio.tasks, "_enter_task")  # noqa: B009 - absent from the type stubs
_leave_task: Any = getattr(asyncio.tasks, "_leave_task")  # noqa: B009 - as above
_register_task: Any = getattr(asyncio.tasks, "_register_task")  # noqa: B009 - as above
_TASK: Any = asyncio.Task
_FUTURE: Any = asyncio.Future
_UNSHARED: Final = 3
"""What `sys.getrefcount` finds in the constructor of a task that nobody else has."""


class _EarlyTask(asyncio.Task[None]):
    """A task before asyncio's part of it is made, at its first wait.

    Until then it is current, listed and named as any task is, and a cancellation waits for that first wait.
    """

    __slots__ = ("_called", "_host", "_is_whole", "_name", "_variables", "_work")

    if TYPE_CHECKING:  # what asyncio's tasks have, and its stubs do not name
        _called: list[tuple[Callable[[Any], object], Context | None]] | None
        """The callbacks that were added meanwhile."""
        _must_cancel: bool
        _cancel_message: Any

    def __init__(
        self, work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, name: str, context: Context
    ) -> None:
        """Run the work until it first waits, or to its end. Only then it is clear what of asyncio's part is needed."""
        self._work: Any = work
        self._host, self._name, self._variables = loop, name, context
        self._is_whole = False
        self._called = None
        _register_task(self)
        _enter_task(loop, self)
        try:
            awaited = context.run(work.send, None)
        except StopIteration:
            _leave_task(loop, self)
            if sys.getrefcount(self) > _UNSHARED or self._called:
                self._ends(_FUTURE.cancel) if self._must_cancel else self._ends(_FUTURE.set_result, None)
            return
        except BaseException as error:
            _leave_task(loop, self)
            if isinstance(error, asyncio.CancelledError):
                self._ends(_FUTURE.cancel)
                return
            self._ends(_FUTURE.set_exception, error)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            return
        _leave_task(loop, self)
        self._waits(awaited)

    def _ends(self, settle: Callable[..., object], *outcome: object) -> None:
        """The work has ended, and somebody may ask for that. A future is all that this takes."""
        self._is_whole = True
        _FUTURE.__init__(self, loop=self._host)
        self._add_called()
        settle(self, *outcome)

    def _waits(self, awaited: Any) -> None:
        """Make asyncio's part, which awaits what the work awaits."""
        asked, message = self.cancelling(), self._cancel_message
        if self._must_cancel and not asked:
            asked = -1  # `uncancel` came too late to take the request back
        rest = _rest_of(self, self._work, awaited, asked, message) if asked else _resumed(self._work, awaited)
        loop: Any = self._host
        _TASK.__init__(self, rest, loop=loop, name=self._name, context=self._variables)
        self._is_whole = True
        if self._called:
            self._add_called()
        first = loop._ready.pop()  # noqa: SLF001 - its first step, now: it only awaits what the work awaits
        first._callback()  # noqa: SLF001 - as above

    def _add_called(self) -> None:
        for callback, context in self._called or ():
            super().add_done_callback(callback, context=context)
        self._called = None

    # ── what is asked of a task during its first stretch ────────────────────────────────────────────────────────

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        if self._is_whole:
            super().add_done_callback(fn, context=context)
        else:
            self._called = [*(self._called or ()), (fn, context)]

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        if self._is_whole:
            return super().remove_done_callback(fn)
        kept = [one for one in self._called or () if one[0] != fn]
        removed, self._called = len(self._called or ()) - len(kept), kept
        return removed

    def get_coro(self) -> Any:
        return self._work

    def get_name(self) -> str:
        return self._name

    def set_name(self, value: object, /) -> None:
        self._name = str(value)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._host

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        frame = getattr(self._work, "cr_frame", None)
        return [] if frame is None or limit == 0 else [frame]

    def result(self) -> None:
        return super().result() if self._is_whole else self._is_pending("Result")

    def exception(self) -> BaseException | None:
        return super().exception() if self._is_whole else self._is_pending("Exception")

    def _is_pending(self, what: str) -> NoReturn:
        raise asyncio.InvalidStateError(f"{what} is not set.")

    @property
    def _coro(self) -> Any:
        return self._work

    def __repr__(self) -> str:
        if self._is_whole:
            return super().__repr__()
        return f"<Task pending name={self._name!r} coro={self._work!r}>"


async def _rest_of(task: _EarlyTask, work: Any, awaited: Any, asked: int, message: Any) -> None:
    """Continue work that waits for something already. `asked`: how often it was asked to stop while it ran."""
    for _ in range(abs(asked)):
        _TASK.cancel(task, message)
    if asked < 0:
        task.uncancel()
    del task
    await _resumed(work, awaited)


@types.coroutine
def _resumed(work: Any, awaited: Any) -> Generator[Any, Any, Any]:
    while True:
        thrown: BaseException | None = None
        try:
            yield awaited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the work
            thrown = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)  # without this frame
        if thrown is None:
            return cast("object", (yield from work))
        try:  # outside of the handler above: the work must not find an error handled that it has caught
            awaited = work.throw(thrown)
        except StopIteration as end:
            return cast("object", end.value)
        finally:
            del thrown
