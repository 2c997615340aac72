"""Finds the work of tasks that a body leaves behind when it returns: it is lost, as a call without `await` is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.core._answers import ActivityAnswer, ChildAnswer, SleepAnswer, WaitAnswer
from romancy.core._loop import DeterministicLoop

if TYPE_CHECKING:
    from types import CodeType

    from romancy.core._commands import Commands
    from romancy.core._stable import StableTask

__all__ = ["left_behind"]

_OWN_FOLDER: Final = __file__.rpartition("core")[0]
_CLOSES: Final = DeterministicLoop.closing.__code__


def left_behind(commands: Commands) -> list[str]:
    """For each task that was not cancelled and waits for something durable: what it waits for, and where."""
    found: list[str] = []
    for task in commands.loop.unfinished():
        if not task.cancelling() and getattr(task.get_coro(), "cr_code", None) is not _CLOSES:
            awaited = _awaited(commands, getattr(task, "_fut_waiter", None))
            if awaited:
                found.append(f"{awaited} in {_name(task)}")
    return found


def _awaited(commands: Commands, waiter: object) -> str:
    """What an answer is for, in words; empty for anything that is not durable."""
    if isinstance(waiter, (ActivityAnswer, ChildAnswer)):
        return waiter.definition.name
    if isinstance(waiter, WaitAnswer):
        return f"a wait for {getattr(waiter.awaited, 'name', '') or getattr(waiter.awaited, 'channel', '')!r}"
    return "a sleep" if isinstance(waiter, SleepAnswer) or commands.sleeps(waiter) else ""


def _name(task: StableTask[Any]) -> str:
    """The task: its name if it was given one, its coroutine, and the line of the user's code at which it waits."""
    coro: Any = task.get_coro()
    place, named = _place(coro), "" if task.get_name().startswith("task-") else f" {task.get_name()!r}"
    where = "" if place is None else f" ({place})"
    return f"task{named} {getattr(coro, '__qualname__', type(coro).__name__)}{where}"


def _place(coro: Any) -> str | None:
    """The innermost line of code that is not Romancy's."""
    place = None
    while coro is not None:
        frame = getattr(coro, "cr_frame", None)
        if frame is not None:
            code: CodeType = frame.f_code
            if not code.co_filename.startswith(_OWN_FOLDER):
                file = code.co_filename.replace("\\", "/").rpartition("/")[2]
                place = f"{file}, line {frame.f_lineno}"
        coro = getattr(coro, "cr_await", None)
    return place
