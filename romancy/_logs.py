"""Loggers whose every line says, as fields, whom it concerns: for those who read logs by machine.

The text of a line names ids, kinds and times, and says what failed with its message and traceback. It never holds a
payload by itself, or more of a storage URL than may be read aloud. What exceptions say may quote payloads: an app
with `log_error_text=False` keeps that out of its lines, whoever writes them, and leaves the exception's type.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from romancy.errors import InternalError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["FIELDS", "Said", "Speaker", "about", "get_logger", "hush", "speaking", "unhush", "working"]

FIELDS: Final = (
    "romancy_instance_id",
    "romancy_workflow",
    "romancy_activity_id",
    "romancy_attempt",
    "romancy_worker",
)
"""Attributes of every record; None where a line is not about such a thing."""


class Speaker(str):
    """The id of a worker, and whether its lines may hold what exceptions say."""

    __slots__ = ("error_text",)

    error_text: bool

    def __new__(cls, worker_id: str, *, error_text: bool) -> Self:
        made = super().__new__(cls, worker_id)
        made.error_text = error_text
        return made


working: ContextVar[str | None] = ContextVar("romancy_worker", default=None)
"""The id of the worker whose tasks run here."""

_HARMLESS: Final = (StorageError, UsageError, InternalError)
"""Errors of this library that carry no payload."""
_hushed: Final[dict[int, Speaker]] = {}


def hush(speaker: Speaker) -> None:
    """Until it is unhushed, a line of nobody known says as little as this worker wants its own to."""
    if not speaker.error_text:
        _hushed[id(speaker)] = speaker


def unhush(speaker: Speaker) -> None:
    _hushed.pop(id(speaker), None)


@contextmanager
def speaking(speaker: Speaker) -> Generator[None]:
    """The lines in here are the worker's, and so are those of the tasks that begin here."""
    token = working.set(speaker)
    try:
        yield
    finally:
        working.reset(token)


class Said:
    """What an exception says, as an argument of a line; where that is kept out of the lines, `brief` stands there."""

    __slots__ = ("_text", "brief")

    def __init__(self, text: str, brief: str = "") -> None:
        self._text = text
        self.brief = brief

    def __str__(self) -> str:
        return self._text


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
        worker = working.get()
        if getattr(record, "romancy_worker", None) is None:
            record.romancy_worker = worker
        if _hushed and not getattr(worker, "error_text", False):
            _keep_to_types(record)
        return True


def _keep_to_types(record: logging.LogRecord) -> None:
    """Take out what exceptions say, and leave what they are."""
    if isinstance(record.args, tuple):
        record.args = tuple(map(_brief, record.args))
    error = record.exc_info[1] if record.exc_info else None
    record.exc_info = record.exc_text = None
    if error is not None and type(error).__name__ not in record.getMessage():
        record.msg, record.args = f"{record.getMessage()} ({type(error).__name__})", ()


def _brief(value: object) -> object:
    if isinstance(value, Said):
        return value.brief
    if isinstance(value, BaseException) and not isinstance(value, _HARMLESS):
        return type(value).__name__
    return value


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
