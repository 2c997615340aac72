"""The task of a workflow's body. As long as the body awaits one answer at a time, it is stepped without asyncio's help.

It is a task from the beginning: code finds it with `current_task`, and can name, watch and cancel it. asyncio's part of
it is made when the body first awaits anything else than the answer to a request, when it is cancelled while it waits,
or when something else becomes ready beside it. From then on, asyncio steps it. The order of all steps is that of
asyncio: only a body that has the loop to itself is stepped by hand.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import types
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, NoReturn, cast

from romancy.core._answers import Answer
from romancy.core._shared_empty import NO_LIST
from romancy.core._stable import StableTask, strike_off

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context
    from types import FrameType

    from romancy.core._loop import DeterministicLoop

__all__ = ["BodyTask"]

_enter_task: Any = getattr(asyncio.tasks, "_enter_task")  # noqa: B009 - absent from the type stubs
_leave_task: Any = getattr(asyncio.tasks, "_leave_task")  # noqa: B009 - as above
_FUTURE: Any = asyncio.Future
_TASK: Any = asyncio.Task
_waiter_of: Any = vars(asyncio.Task)["_fut_waiter"].__get__
"""asyncio's field, which the property of the same name hides."""


class BodyTask(StableTask[Any]):
    """The task of the workflow's body. Its number is the first of its run, and is computed when it is asked for."""

    __slots__ = ("_body", "_early", "_host", "_is_whole", "due", "waits_on")

    if TYPE_CHECKING:  # what asyncio's tasks have, and its stubs do not name
        _asyncio_future_blocking: bool
        _must_cancel: bool
        _cancel_message: Any

    def __init__(self, coro: Coroutine[Any, Any, Any], loop: DeterministicLoop, context: Context) -> None:
        self.context = context
        self._body = coro
        self._host = loop
        self._is_whole = False
        """Whether asyncio's part exists: asyncio steps the body, or the body has ended."""
        self._early: list[tuple[Callable[[Any], object], Context]] = NO_LIST
        """The callbacks that were added before."""
        self.due = True
        """Whether it has not begun."""
        self.waits_on: Answer | None = None
        """The answer that the next step by hand waits for."""

    def step(self) -> None:
        """Run the body until it awaits something. It is due, or what it waits for is there."""
        loop = self._host
        loop.spent += 1
        self.due, self.waits_on = False, None
        _enter_task(loop, self)
        try:
            awaited = self.context.run(self._body.send, None)
        except StopIteration as end:
            _leave_task(loop, self)
            if self._must_cancel:
                self._ends(_FUTURE.cancel)
            else:
                self._ends(_FUTURE.set_result, end.value)
            return
        except BaseException as error:
            _leave_task(loop, self)
            self._ends_by(error)
            del self  # from Python 3.12 on the traceback of its error holds this frame
            if isinstance(error, KeyboardInterrupt):
                raise
            return
        _leave_task(loop, self)
        if isinstance(awaited, Answer) and not (loop.ready or loop.tasks or self._must_cancel):
            awaited._asyncio_future_blocking = False  # noqa: SLF001 - as asyncio's tasks do
            self.waits_on = awaited
        else:
            self._hand_over(awaited)

    def _ends_by(self, error: BaseException) -> None:
        """The body has raised this."""
        if isinstance(error, asyncio.CancelledError):
            self._ends(_FUTURE.cancel)
            return
        trace = error.__traceback__
        if trace is not None and trace.tb_next is not None:
            error.__traceback__ = trace.tb_next  # as asyncio has it: without the frame of the step
        self._ends(_FUTURE.set_exception, error)

    def _ends(self, settle: Callable[..., object], *outcome: object) -> None:
        """The body has ended. Of asyncio's part, it needs no more than what any future has."""
        self._is_whole = True
        _FUTURE.__init__(self, loop=self._host)
        if self._early:
            self._add_early()
        settle(self, *outcome)

    def hand_over(self) -> None:
        """Have asyncio step it from now on, if it waits for a step by hand."""
        awaited, self.waits_on = self.waits_on, None
        if awaited is not None:
            awaited._asyncio_future_blocking = True  # noqa: SLF001 - as above
            self._hand_over(awaited)

    def _hand_over(self, awaited: Any) -> None:
        """Make asyncio's part of the task, which awaits what the body awaits."""
        loop, name = self._host, self.get_name()
        asked, message = self.cancelling(), self._cancel_message
        if self._must_cancel and not asked:
            asked = -1  # `uncancel` came too late to take the request back
        resumed = _rest_of(self, self._body, awaited, asked, message)
        self._is_whole = True
        _TASK.__init__(self, resumed, loop=loop, name=name, context=self.context)
        strike_off(self)
        self._add_early()
        first: Any = loop.take_last()
        current = asyncio.current_task(loop)
        if current is not None:
            _leave_task(loop, current)
        try:
            first._callback()  # noqa: SLF001 - its first step, now: it only awaits what the body awaits
        finally:
            if current is not None:
                _enter_task(loop, current)

    def _add_early(self) -> None:
        early, self._early = self._early, NO_LIST
        for callback, context in early:
            super().add_done_callback(callback, context=context)

    # ── what asyncio asks of a task ─────────────────────────────────────────────────────────────────────────────

    def cancel(self, msg: Any = None) -> bool:
        self.hand_over()
        return super().cancel(msg)

    def add_done_callback(self, fn: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        if self._is_whole:
            super().add_done_callback(fn, context=context)
        else:
            self._early = [*self._early, (fn, copy_context() if context is None else context)]

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        if self._is_whole:
            return super().remove_done_callback(fn)
        kept = [one for one in self._early if one[0] != fn]
        removed, self._early = len(self._early) - len(kept), kept
        return removed

    def get_coro(self) -> Any:
        return self._body

    def get_name(self) -> str:
        return super().get_name() or "workflow"

    def get_loop(self) -> Any:
        return self._host

    def get_context(self) -> Context:
        return self.context

    def get_stack(self, *, limit: int | None = None) -> list[FrameType]:
        frame = getattr(self._body, "cr_frame", None)
        return [] if frame is None or limit == 0 else [frame]

    def result(self) -> Any:
        return super().result() if self._is_whole else self._is_pending("Result")

    def exception(self) -> BaseException | None:
        return super().exception() if self._is_whole else self._is_pending("Exception")

    def _is_pending(self, what: str) -> NoReturn:
        raise asyncio.InvalidStateError(f"{what} is not set.")

    @property
    def _exception(self) -> Any:
        return super()._exception if self._is_whole else None

    @property
    def _coro(self) -> Any:
        return self._body

    @property
    def _fut_waiter(self) -> Any:
        return _waiter_of(self) if self._is_whole else self.waits_on

    def __repr__(self) -> str:
        if self._is_whole:
            return super().__repr__()
        return (
            f"<{type(self).__name__} pending name={self.get_name()!r} coro={self._body!r} wait_for={self.waits_on!r}>"
        )

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            self._number = number = self._host.first_number()
            return number


async def _rest_of(task: BodyTask, body: Any, awaited: Any, asked: int, message: Any) -> Any:
    """Continue a body that awaits something already. `asked`: how often it was asked to stop while it ran."""
    for _ in range(abs(asked)):
        _TASK.cancel(task, message)
    if asked < 0:
        task.uncancel()
    del task
    return await _resumed(body, awaited)


@types.coroutine
def _resumed(body: Any, awaited: Any) -> Generator[Any, Any, Any]:
    while True:
        thrown: BaseException | None = None
        try:
            yield awaited
        except GeneratorExit:
            body.close()
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the body
            thrown = error
        if thrown is None:
            return cast("object", (yield from body))
        try:  # outside of the handler above: the body must not find an error handled that it has caught
            awaited = body.throw(thrown)
        except StopIteration as end:
            return cast("object", end.value)
        finally:
            del thrown
