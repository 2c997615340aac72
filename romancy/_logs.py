"""Loggers that put the instance, workflow, activity, attempt and worker into fields of every log record.

A message names ids, kinds and times, and reports a failure with its message and traceback. By itself it never holds a
payload, or the secret parts of a storage URL. The texts of exceptions may quote payloads: an app with
`log_error_text=False` keeps those texts out of every line and leaves the exception's type.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from romancy.errors import InternalError, StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FIELDS", "Said", "Speaker", "about", "get_logger", "hush", "speaking", "unhush", "working"]

FIELDS: Final = (
    "romancy_instance_id",
    "romancy_workflow",
    "romancy_run",
    "romancy_activity_id",
    "romancy_attempt",
    "romancy_worker",
)
"""Attributes of every record. None if they do not apply to the record."""


class Speaker(str):
    """The id of a worker, whether its lines may hold the texts of exceptions, and what its codecs do."""

    __slots__ = ("around", "error_text", "hides", "keeper", "stored")

    error_text: bool
    stored: Callable[[bytes], int]
    """How many bytes its codecs make of a value."""
    hides: bool
    """Whether its codecs hide what they write."""
    keeper: Any
    """What keeps the log lines of bodies and activities. None: nothing does."""
    around: Any
    """What puts the blocks of hooks around a body. None: no hook has one."""

    def __new__(
        cls, worker_id: str, *, error_text: bool, stored: Callable[[bytes], int] = len, hides: bool = False
    ) -> Self:
        made = super().__new__(cls, worker_id)
        made.error_text, made.stored, made.hides, made.keeper = error_text, stored, hides, None
        made.around = None
        return made


working: ContextVar[str | None] = ContextVar("romancy_worker", default=None)
"""The id of the worker whose tasks run in this context."""

_HARMLESS: Final = (StorageError, UsageError, InternalError)
"""Errors of this library whose texts hold no payload."""
_hushed: Final[dict[int, Speaker]] = {}


def hush(speaker: Speaker) -> None:
    """Until `unhush`, also keep texts of exceptions out of lines of unknown origin, if this worker keeps them out."""
    if not speaker.error_text:
        _hushed[id(speaker)] = speaker


def unhush(speaker: Speaker) -> None:
    _hushed.pop(id(speaker), None)


class speaking:  # noqa: N801 - read as a verb: `with speaking(worker):`
    """Attribute the log lines in this block, and those of tasks started in it, to the worker."""

    __slots__ = ("_speaker", "_token")

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    def __enter__(self) -> None:
        self._token = working.set(self._speaker)

    def __exit__(self, *_: object) -> None:
        working.reset(self._token)


class Said:
    """An exception's text as an argument of a log line. Where such texts are kept out, `brief` replaces it."""

    __slots__ = ("_text", "brief")

    def __init__(self, text: str, brief: str = "") -> None:
        self._text = text
        self.brief = brief

    def __str__(self) -> str:
        return self._text


class Concerned(Protocol):
    """An object with the ids of an instance."""

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
    """Replace the texts of exceptions in a record by their types."""
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
    """The logger of this name, with the fields on its records."""
    logger = logging.getLogger(name)
    logger.addFilter(_fields)
    return logger


def about(thing: Concerned, activity_id: str | None = None, attempt: int | None = None) -> dict[str, Any]:
    """The `extra` of a log line about an instance, or about an attempt at one of its activities."""
    workflow = getattr(thing, "workflow_name", None)
    if workflow is None:
        workflow = getattr(getattr(thing, "definition", None), "name", None)
    return {
        "romancy_instance_id": thing.instance_id,
        "romancy_workflow": workflow,
        "romancy_activity_id": activity_id,
        "romancy_attempt": attempt,
    }
