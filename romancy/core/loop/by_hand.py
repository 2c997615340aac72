"""What two kinds of task share that run their code by hand at first: of workflows' bodies, and of attempts.

Each is a task from the beginning: it can be watched, named and asked for its state. asyncio's part of it is made when
the code awaits something that asyncio has to deal with.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import sys
import types
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context
    from types import FrameType

    _Base = asyncio.Task[Any]
else:
    _Base = object

__all__ = ["FUTURE", "BegunByHand", "enter_task", "leave_task"]

enter_task: Any = getattr(asyncio.tasks, "_enter_task")  # noqa: B009 - absent from the type stubs
leave_task: Any = getattr(asyncio.tasks, "_leave_task")  # noqa: B009 - as above
FUTURE: Any = asyncio.Future
_TASK: Any = asyncio.Task
_TAKES_GENERATORS: Final = sys.version_info < (3, 12)
"""Whether a task may run a generator."""


class BegunByHand(_Base):
    """A task whose code is stepped by hand until asyncio's part is made. It comes before the task's class."""

    __slots__ = ()

    if TYPE_CHECKING:
        _work: Coroutine[Any, Any, Any]
        _host: Any
        """The event loop."""
        _is_whole: bool
        """Whether asyncio's part exists: asyncio steps the code, or the code has ended."""
        _called: tuple[tuple[Callable[[Any], object], Context], ...]
        """The callbacks that were added before."""
        # What asyncio's tasks have, and its stubs do not name:
        _must_cancel: bool
        _cancel_message: Any

    def _ends(self, settle: Callable[..., object], *outcome: object) -> None:
        """The code has ended. Of asyncio's part, it needs no more than what any future has."""
        self._is_whole = True
        FUTURE.__init__(self, loop=self._host)
        if self._called:
            self._add_called()
        settle(self, *outcome)

    def _becomes_whole(self, awaited: Any, context: Context) -> None:
        """Make asyncio's part, whose first step only awaits what the code awaits."""
        name, asked = self.get_name(), self.cancelling()
        if self._must_cancel and not asked:
            asked = -1  # `uncancel` came too late to take the request back
        if _TAKES_GENERATORS and not asked:
            rest: Any = _resumed(self._work, awaited)
        else:
            rest = _rest_of(self, self._work, awaited, asked, self._cancel_message)
        self._is_whole = True
        _TASK.__init__(self, rest, loop=self._host, name=name, context=context)
        if self._called:
            self._add_called()

    def _add_called(self) -> None:
        called, self._called = self._called, ()
        for callback, context in called:
            super().add_done_callback(callback, context=context)

    # ── what asyncio asks of a task ─────────────────────────────────────────────────────────────────────────────

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        if self._is_whole:
            super().add_done_callback(fn, context=context)
        else:
            self._called += ((fn, copy_context() if context is None else context),)

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        if self._is_whole:
            return super().remove_done_callback(fn)
        before = len(self._called)
        self._called = tuple([one for one in self._called if one[0] != fn])
        return before - len(self._called)

    def get_coro(self) -> Any:
        return self._work

    def get_loop(self) -> Any:
        return self._host

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        frame = getattr(self._work, "cr_frame", None)
        return [] if frame is None or limit == 0 else [frame]

    def result(self) -> Any:
        return super().result() if self._is_whole else _is_pending("Result")

    def exception(self) -> BaseException | None:
        return super().exception() if self._is_whole else _is_pending("Exception")

    @property
    def _exception(self) -> Any:
        return super()._exception if self._is_whole else None

    @property
    def _coro(self) -> Any:
        return self._work


def _is_pending(what: str) -> NoReturn:
    raise asyncio.InvalidStateError(f"{what} is not set.")


async def _rest_of(task: asyncio.Task[Any], work: Any, awaited: Any, asked: int, message: Any) -> Any:
    """Continue code that awaits something already. `asked`: how often it was asked to stop while it ran."""
    for _ in range(abs(asked)):
        _TASK.cancel(task, message)
    if asked < 0:
        task.uncancel()
    del task
    return await _resumed(work, awaited)


@types.coroutine
def _resumed(work: Any, awaited: Any) -> Generator[Any, Any, Any]:
    while True:
        thrown: BaseException | None = None
        try:
            yield awaited
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the code
            thrown = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)  # without this frame
        if thrown is None:
            return cast("object", (yield from work))
        try:  # outside of the handler above: the code must not find an error handled that it has caught
            awaited = work.throw(thrown)
        except StopIteration as end:
            return cast("object", end.value)
        finally:
            del thrown
