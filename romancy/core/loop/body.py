"""The task of a workflow's body. As long as the body awaits one answer at a time, it is stepped without asyncio's help.

It is a task from the beginning: code finds it with `current_task`, and can name, watch and cancel it. asyncio's part of
it is made when the body first awaits anything else than the answer to a request, when it is cancelled while it waits,
or when something else becomes ready beside it. From then on, asyncio steps it. The order of all steps is that of
asyncio: only a body that has the loop to itself is stepped by hand.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from romancy.core.loop.answer import Answer
from romancy.core.loop.by_hand import FUTURE, BegunByHand, enter_task, leave_task
from romancy.core.loop.stable import StableTask, strike_off

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from contextvars import Context

__all__ = ["BodyTask", "Host"]

_waiter_of: Any = vars(asyncio.Task)["_fut_waiter"].__get__
"""asyncio's field, which the property of the same name hides."""


class Host(Protocol):
    """The loop of the run, as the task of its body knows it."""

    spent: int
    """How many callbacks have run since the last command."""

    @property
    def ready(self) -> list[asyncio.Handle]: ...

    @property
    def tasks(self) -> dict[StableTask[Any], None]:
        """The other tasks."""
        ...

    def take_last(self) -> asyncio.Handle:
        """Take back the callback that was made ready last."""
        ...

    def first_number(self) -> int:
        """The number of the body's task."""
        ...


class BodyTask(BegunByHand, StableTask[Any]):
    """The task of the workflow's body. Its number is the first of its run, and is computed when it is asked for."""

    __slots__ = ("_called", "_host", "_is_whole", "_work", "due", "waits_on")

    if TYPE_CHECKING:  # what asyncio's tasks have, and its stubs do not name
        _asyncio_future_blocking: bool

    def __init__(self, coro: Coroutine[Any, Any, Any], loop: Host, context: Context) -> None:
        self.context = context
        self._work = coro
        self._host: Host = loop
        self._is_whole = False
        self._called = ()
        self.due = True
        """Whether it has not begun."""
        self.waits_on: Answer | None = None
        """The answer that the next step by hand waits for."""

    def step(self) -> None:
        """Run the body until it awaits something. It is due, or what it waits for is there."""
        loop = self._host
        loop.spent += 1
        self.due, self.waits_on = False, None
        enter_task(loop, self)
        try:
            awaited = self.context.run(self._work.send, None)
        except StopIteration as end:
            leave_task(loop, self)
            if self._must_cancel:
                self._ends(FUTURE.cancel)
            else:
                self._ends(FUTURE.set_result, end.value)
            return
        except BaseException as error:
            leave_task(loop, self)
            self._ends_by(error)
            del self  # from Python 3.12 on the traceback of its error holds this frame
            if isinstance(error, KeyboardInterrupt):
                raise
            return
        leave_task(loop, self)
        if isinstance(awaited, Answer) and not (loop.ready or loop.tasks or self._must_cancel):
            awaited._asyncio_future_blocking = False  # noqa: SLF001 - as asyncio's tasks do
            self.waits_on = awaited
        else:
            self._hand_over(awaited)

    def _ends_by(self, error: BaseException) -> None:
        """The body has raised this."""
        if isinstance(error, asyncio.CancelledError):
            self._ends(FUTURE.cancel)
            return
        trace = error.__traceback__
        if trace is not None and trace.tb_next is not None:
            error.__traceback__ = trace.tb_next  # as asyncio has it: without the frame of the step
        self._ends(FUTURE.set_exception, error)

    def hand_over(self) -> None:
        """Have asyncio step it from now on, if it waits for a step by hand."""
        awaited, self.waits_on = self.waits_on, None
        if awaited is not None:
            awaited._asyncio_future_blocking = True  # noqa: SLF001 - as above
            self._hand_over(awaited)

    def _hand_over(self, awaited: Any) -> None:
        loop: Any = self._host
        self._becomes_whole(awaited, self.context)
        strike_off(self)
        first = loop.take_last()
        current = asyncio.current_task(loop)
        if current is not None:
            leave_task(loop, current)
        try:
            first._callback()  # noqa: SLF001 - its first step, now: it only awaits what the body awaits
        finally:
            if current is not None:
                enter_task(loop, current)

    # ── what asyncio asks of a task ─────────────────────────────────────────────────────────────────────────────

    def cancel(self, msg: Any = None) -> bool:
        self.hand_over()
        return super().cancel(msg)

    def get_name(self) -> str:
        return super().get_name() or "workflow"

    def get_context(self) -> Context:
        return self.context

    @property
    def _fut_waiter(self) -> Any:
        return _waiter_of(self) if self._is_whole else self.waits_on

    def __repr__(self) -> str:
        if self._is_whole:
            return super().__repr__()
        return (
            f"<{type(self).__name__} pending name={self.get_name()!r} coro={self._work!r} wait_for={self.waits_on!r}>"
        )

    def __hash__(self) -> int:
        try:
            return self._number
        except AttributeError:
            self._number = number = self._host.first_number()
            return number
