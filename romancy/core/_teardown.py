"""Closes what is left of a run: its coroutines and async generators, even if they resist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from romancy.core._generators import Generator
    from romancy.core._stable import StableTask

__all__ = ["PATIENCE", "close_generator", "close_task", "undying"]

PATIENCE: Final = 10
"""How often the teardown closes each task of a run before it leaves the task waiting forever."""

undying: list[Any] = []
"""Coroutines that caught every exception and kept waiting.

They are kept, because collecting them would wake them again.
"""


def close_task(task: StableTask[Any]) -> None:
    """Close the task's coroutine. If its clean-up waits again, close it again, a limited number of times."""
    coro: Any = task.get_coro()
    for _ in range(PATIENCE):
        try:
            task.context.run(coro.close)
        except BaseException:  # noqa: BLE001, S110 - the run is gone; errors of its clean-up are ignored
            pass
        if coro.cr_frame is None:
            return
    undying.append(coro)


def close_generator(generator: Generator) -> None:
    """Run the generator's `finally` at once, as far as it awaits nothing that takes a step."""
    closing: Any = generator.aclose()
    try:
        closing.send(None)
        closing.close()
    except BaseException:  # noqa: BLE001, S110 - as above
        pass
