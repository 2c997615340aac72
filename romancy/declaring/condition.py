"""Checks what a body waits for: a function of its own state."""

from __future__ import annotations

from romancy.core import words_of
from romancy.declaring.callables import is_async
from romancy.errors import UsageError

__all__ = ["checked_condition"]


def checked_condition(condition: object) -> None:
    """Raise UsageError for what cannot be asked again and again."""
    if not callable(condition):
        raise UsageError(
            "ctx.until takes a function that is asked again and again, as in `ctx.until(lambda: state.ready)`, not the "
            f"value {condition!r:.100}"
        )
    if is_async(condition):
        raise UsageError(f"{words_of(condition)} is an `async def`: ctx.until takes a plain function that only looks")
