"""Log lines of the user's code, with the ids of what it runs in."""

from __future__ import annotations

import logging
from typing import Any

from opentelemetry import trace

from romancy.attempt_context import entered_activity
from romancy.core import current_commands

__all__ = ["LogIds"]


class LogIds(logging.Filter):
    """A filter for a handler: each record gets `romancy_instance_id`, `romancy_activity_id`, `romancy_attempt`,
    `trace_id` and `span_id`, as far as they are known where it was made, and else None.

    Romancy's own records have the first three by themselves, for the instance that they are about.
    """  # noqa: D205 - one sentence

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is missing, and let every record pass."""
        for name, value in _known().items():
            if getattr(record, name, None) is None:
                setattr(record, name, value)
        return True


def _known() -> dict[str, Any]:
    context = trace.get_current_span().get_span_context()
    known: dict[str, Any] = {
        "romancy_instance_id": None,
        "romancy_activity_id": None,
        "romancy_attempt": None,
        "trace_id": f"{context.trace_id:032x}" if context.is_valid else None,
        "span_id": f"{context.span_id:016x}" if context.is_valid else None,
    }
    entered, commands = entered_activity(), current_commands()
    if commands is not None:
        known["romancy_instance_id"] = commands.instance_id
    elif entered is not None:
        activity = entered()
        known["romancy_instance_id"] = activity.instance_id
        known["romancy_activity_id"] = activity.activity_id
        known["romancy_attempt"] = activity.attempt
    return known
