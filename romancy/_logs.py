"""Loggers whose every line says, as fields, whom it concerns: for those who read logs by machine.

The text of a line names ids, kinds and times. It never holds a payload, what an exception of the user's says, or more
of a storage URL than may be read aloud.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any, Final, Protocol

__all__ = ["FIELDS", "about", "get_logger", "working"]

FIELDS: Final = (
    "romancy_instance_id",
    "romancy_workflow",
    "romancy_activity_id",
    "romancy_attempt",
    "romancy_worker",
)
"""Attributes of every record; None where a line is not about such a thing."""

working: ContextVar[str | None] = ContextVar("romancy_worker", default=None)
"""The id of the worker whose tasks run here."""


class Concerned(Protocol):
    """Whatever is about an instance."""

    @property
    def instance_id(self) -> str: ...


class _Fields(logging.Filter):
    """Gives each record all fields, so that a format may name any of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name in FIELDS:
            if not hasattr(record, name):
                setattr(record, name, None)
        if getattr(record, "romancy_worker", None) is None:
            record.romancy_worker = working.get()
        return True


_fields: Final = _Fields()


def get_logger(name: str) -> logging.Logger:
    """The logger of this name, with the fields on its lines."""
    logger = logging.getLogger(name)
    logger.addFilter(_fields)
    return logger


def about(thing: Concerned, activity_id: str | None = None, attempt: int | None = None) -> dict[str, Any]:
    """The `extra` of a line about an instance, or about an attempt at one of its activities."""
    workflow = getattr(thing, "workflow_name", None)
    if workflow is None:
        workflow = getattr(getattr(thing, "definition", None), "name", None)
    return {
        "romancy_instance_id": thing.instance_id,
        "romancy_workflow": workflow,
        "romancy_activity_id": activity_id,
        "romancy_attempt": attempt,
    }
