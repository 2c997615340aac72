"""Finds the object that raised an error: a driver's errors do not name their connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["raised_on"]


def raised_on(error: BaseException, *kinds: type[object]) -> object | None:
    """The innermost object of these kinds in whose method the error was raised or passed through; else None.

    The traceback shows it, so that successful calls cost nothing.
    """
    found: object | None = None
    step: TracebackType | None = error.__traceback__
    while step is not None:
        it = step.tb_frame.f_locals.get("self")
        found = it if isinstance(it, kinds) else found
        step = step.tb_next
    return found
