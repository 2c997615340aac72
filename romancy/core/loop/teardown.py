"""Closes what is left of a run: its coroutines and async generators, even if they resist."""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType, ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

from romancy.core.loop.stable import error_of

if TYPE_CHECKING:
    from contextvars import Context

    from romancy.core.loop.generators import Generator, Generators
    from romancy.core.loop.stable import StableTask

__all__ = ["PATIENCE", "close_all", "close_generator", "close_task", "has_failed", "undying"]

PATIENCE: Final = 10
"""How often the teardown closes each task of a run before it leaves the task waiting forever."""
_MOST_HELD: Final = 200_000
"""Upper bound on the objects that are looked at when Python ends."""


class Closed(Protocol):
    """The loop of the run that is closed."""

    patience: int
    """How often what is closed now is still told that it is."""

    @property
    def generators(self) -> Generators | None: ...

    def take_abandoned(self) -> list[tuple[Generator, Context]]:
        """Take over the generators without references that are not finished."""
        ...


undying: list[Any] = []
"""Coroutines and generators that caught every exception and kept waiting.

They are kept, because collecting them would wake them again.
"""


def _hush() -> None:
    """Have Python report none of them at its end. By then the names of modules may be gone; those of a closure stay."""
    if not undying:
        return
    kept, others, same = _suspended_in(undying), sys.unraisablehook, id

    def report(unraisable: Any) -> None:
        if same(unraisable.object) not in kept:
            others(unraisable)

    sys.unraisablehook = report


atexit.register(_hush)


def _suspended_in(things: list[Any]) -> set[int]:
    """Return the ids of the coroutines and generators among these and in what they hold: they end with them."""
    found: set[int] = set()
    seen: set[int] = set()
    todo = [*things]
    while todo and len(seen) < _MOST_HELD:
        one = todo.pop()
        name = id(one)
        if name in seen or isinstance(one, ModuleType | FunctionType | type):
            continue
        seen.add(name)
        if isinstance(one, CoroutineType | GeneratorType | AsyncGeneratorType):
            found.add(name)
        todo += gc.get_referents(one)
    return found


def close_all(loop: Closed, tasks: list[StableTask[Any]]) -> None:
    """Close these tasks and all generators of the loop, each in its own context. The loop is that of this thread."""
    while tasks:
        task = tasks.pop(0)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no other way
        loop.patience = PATIENCE
        close_task(task)
    generators = [] if loop.generators is None else loop.generators.unfinished()
    while generators:
        loop.patience = PATIENCE
        close_generator(*generators.pop(0))
    while abandoned := loop.take_abandoned():
        while abandoned:
            loop.patience = PATIENCE
            close_generator(*abandoned.pop(0))


def close_task(task: StableTask[Any]) -> None:
    """Close the task's coroutine. If its clean-up waits again, close it again, a limited number of times."""
    coro: Any = task.get_coro()
    if not hasattr(coro, "cr_frame"):  # what `anext()` returns: closing it would leave its generator running
        with contextlib.suppress(BaseException):
            task.context.run(coro.throw, GeneratorExit)
    for _ in range(PATIENCE):
        try:
            task.context.run(coro.close)
        except BaseException:  # noqa: BLE001, S110 - the run is gone; errors of its clean-up are ignored
            pass
        if getattr(coro, "cr_frame", None) is None:
            return
    undying.append(coro)
    undying.append(task)  # it may hold another coroutine, which would close this one


def has_failed(task: StableTask[Any] | None) -> bool:
    """Whether the task ended by an exception or a cancellation."""
    return task is not None and task.done() and (task.cancelled() or error_of(task) is not None)


def close_generator(generator: Generator, context: Context) -> None:
    """Run the generator's `finally` at once, in its own context, as far as it awaits nothing that takes a step.

    If its clean-up waits or yields again, close it again, a limited number of times.
    """
    for _ in range(PATIENCE):
        try:
            context.run(_close, generator)
        except BaseException:  # noqa: BLE001, S110 - as above
            pass
        if getattr(generator, "ag_frame", None) is None:
            return
    undying.append(generator)


def _close(generator: Generator) -> None:
    closing: Any = generator.aclose()
    try:
        closing.send(None)
    finally:
        closing.close()
