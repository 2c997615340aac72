"""Says once that an activity calls another one: the inner call is a plain one, which people may not expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.attempt_context import ActivityContext

__all__ = ["say_called_by_an_activity"]

logger = get_logger("romancy")

_said: Final[set[str]] = set()
"""The activities that this process has named."""


def say_called_by_an_activity(inner: str, outer: Callable[[], ActivityContext]) -> None:
    """Log at the first call of this process that `inner` runs as a part of the attempt that calls it."""
    if inner in _said:
        return
    _said.add(inner)
    context = outer()
    logger.warning(
        "instance %s: activity %s calls activity %s, which runs as a plain function there: the log has no step of it, "
        "and its retries, timeout and compensation do not apply. Await it in the workflow to make a step of it, or "
        "call %s.fn(...) if a plain call is meant",
        context.instance_id, context.activity_id, inner, inner,
    )  # fmt: skip
