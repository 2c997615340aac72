"""Finds the work of tasks that a body leaves behind when it returns: it is lost, as a call without `await` is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from romancy.core.fold.answers import ActivityCall, ChildAnswer, SleepAnswer, WaitAnswer
from romancy.core.loop.calls import Call, begun
from romancy.core.loop.deterministic_loop import DeterministicLoop
from romancy.core.loop.handles import SLEEP
from romancy.core.loop.places import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.core.loop.stable import StableTask
    from romancy.core.run.commands import Commands

__all__ = ["left_behind", "without_waits"]

_CLOSES: Final = DeterministicLoop.closing.__code__
_ALONE: Final = (begun.__code__, SLEEP)
"""The code of tasks that are one call of the context, or a sleep of asyncio's."""
_WAITS: Final = frozenset({"ctx.sleep", "ctx.sleep_until", "ctx.until", "ctx.wait_event", "channel.receive"})


def left_behind(commands: Commands) -> list[str]:
    """For each task that was not cancelled and has work to do: what it waits for, and where.

    Work is an activity or a child. A task that only waits, for a message, a time, a condition or another task, has
    none: it is dropped as a daemon thread is. Under older rules, whatever follows a wait or a sleep is work too; a task
    that is nothing but a wait or a sleep has none: it has lost a race, for example.
    """
    found: list[str] = []
    for task in commands.loop.unfinished():
        code = getattr(task.get_coro(), "cr_code", None)
        if task.cancelling() or code is _CLOSES:
            continue
        awaited = _awaited(commands, getattr(task, "_fut_waiter", None), alone=code in _ALONE)
        if awaited:
            found.append(f"{awaited} in {_name(task)}")
    return found


def without_waits(commands: Commands, calls: Iterable[Call]) -> list[Call]:
    """The calls that have not begun, without those that are tasks which would only wait."""
    if not commands.calls.only_work:
        return list(calls)
    tasks = {id(task.get_coro()) for task in commands.loop.unfinished()}
    return [call for call in calls if call.name not in _WAITS or id(call.coroutine) not in tasks]


def _awaited(commands: Commands, waiter: object, *, alone: bool) -> str:
    """What an answer is for, in words; empty for one that is not durable, and for a wait with nothing behind it."""
    if isinstance(waiter, ActivityCall):
        return waiter.scheduled.name
    if isinstance(waiter, ChildAnswer):
        return waiter.definition.name
    if alone or commands.calls.only_work:
        return ""
    if isinstance(waiter, WaitAnswer):
        return f"a wait for {waiter.awaited.topic.name!r}"
    return "a sleep" if isinstance(waiter, SleepAnswer) or commands.sleeps(waiter) else ""


def _name(task: StableTask[Any]) -> str:
    """The task: its name if it was given one, its coroutine, and the line of the user's code at which it waits."""
    coro: Any = task.get_coro()
    place, named = place_of(coro), "" if task.get_name().startswith("task-") else f" {task.get_name()!r}"
    where = "" if place is None else f" ({place})"
    return f"task{named} {getattr(coro, '__qualname__', type(coro).__name__)}{where}"
