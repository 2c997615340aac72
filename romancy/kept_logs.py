"""What an app keeps of the log lines of user code, and how a kept line is stored."""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from romancy._microseconds import moment_of
from romancy.errors import UsageError
from romancy.retry import whole_number

if TYPE_CHECKING:
    from romancy.storage.journal import KeptLine

__all__ = [
    "LEVELS",
    "KeepLogs",
    "LogLine",
    "LogPage",
    "fields_of_line",
    "level_of",
    "line_of",
    "stored_line",
    "what_to_keep",
]

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""The levels that pages and requests choose by."""
MESSAGE: Final = 8_000
"""The most characters of a message. The rest is cut off."""
ERROR: Final = 16_000
"""The most characters of a traceback. Its beginning is cut off."""
_MOST_LINES: Final = 100_000


@dataclass(frozen=True, slots=True)
class KeepLogs:
    """Which log lines of bodies and activities an app keeps for the pages of their instances.

    Lines below `level` are not kept. Of each instance, the newest `lines` stay, at most 100,000.
    """

    level: str | int = "INFO"
    lines: int = 1000

    def __post_init__(self) -> None:
        level_of(self.level)
        whole_number(self.lines, "lines")
        if self.lines > _MOST_LINES:
            raise UsageError(f"lines must be at most {_MOST_LINES:,}, not {self.lines}")


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log line that was kept of an instance."""

    at: datetime
    """When it was logged, by the clock of its worker."""
    level: str
    level_number: int
    message: str
    logger: str
    run: int
    """The run of the instance whose body or activity logged it."""
    activity_id: str | None
    """None: the body logged it."""
    attempt: int | None
    worker_id: str
    error: str | None
    """The traceback of the exception that was logged with it."""
    cursor: str
    """Behind which later lines are: `logs(after=)` takes it."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some log lines of an instance, and where the next ones are."""

    lines: list[LogLine]
    next_cursor: str | None
    """Behind all that was looked at. None: nothing was there."""


class _Stored(Struct, omit_defaults=True):
    level: int
    logger: str
    message: str
    worker: str
    run: int = 1
    activity: str | None = None
    attempt: int | None = None
    error: str | None = None


_SEALED: Final = _Stored(0, "", "(sealed: it takes the codecs of the app to read this line)", "")
_decoder: Final = msgspec.json.Decoder(_Stored)


def level_of(level: Any) -> int:
    """The number of a level that was named or given as a number."""
    number = logging.getLevelNamesMapping().get(level.upper()) if isinstance(level, str) else level
    if isinstance(number, bool) or not isinstance(number, int):
        raise UsageError(f"a level is the name of one, such as 'INFO', or its number, not {level!r}")
    return number


def what_to_keep(given: Any) -> KeepLogs | None:
    """The option `keep_logs` of an app. A level alone keeps as many lines as is usual."""
    if given is None or isinstance(given, KeepLogs):
        return given
    if isinstance(given, str):
        return KeepLogs(given)
    raise UsageError(f"keep_logs must be a level such as 'INFO', or KeepLogs(…), not {given!r}")


def stored_line(
    record: logging.LogRecord, worker: str, run: int, activity_id: str | None = None, attempt: int | None = None
) -> bytes:
    """A record as it is stored. Texts that are too long are cut, and say so."""
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - a handler must not fail, whatever a text's `__str__` raises
        message = f"{record.msg!r} (its arguments do not fit: {type(error).__name__})"
    error_text = _error_of(record)
    return msgspec.json.encode(
        _Stored(
            level=record.levelno,
            logger=_encodable(record.name[:255]),
            message=_encodable(_begins(message)),
            worker=worker,
            run=run,
            activity=activity_id,
            attempt=attempt,
            error=None if error_text is None else _encodable(_ends(error_text)),
        )
    )


def _error_of(record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[1] is not None:
        try:
            return "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
        except Exception as error:  # noqa: BLE001 - as above
            return f"(its traceback cannot be written: {type(error).__name__})"
    return record.exc_text or record.stack_info or None


def line_of(kept: KeptLine) -> LogLine:
    """A line as it was stored. One that cannot be read says that it is sealed."""
    try:
        stored = _decoder.decode(kept.body)
    except msgspec.DecodeError:
        stored = _SEALED
    return LogLine(
        at=moment_of(kept.at),
        level=logging.getLevelName(stored.level),
        level_number=stored.level,
        message=stored.message,
        logger=stored.logger,
        run=stored.run,
        activity_id=stored.activity,
        attempt=stored.attempt,
        worker_id=stored.worker,
        error=stored.error,
        cursor=f"{kept.life:x}-{kept.number}",
    )


def fields_of_line(line: LogLine) -> dict[str, object]:
    """A line as a record of data."""
    return {
        "at": line.at,
        "level": line.level,
        "message": line.message,
        "logger": line.logger,
        "run": line.run,
        "activity_id": line.activity_id,
        "attempt": line.attempt,
        "worker_id": line.worker_id,
        "error": line.error,
        "cursor": line.cursor,
    }


def _begins(text: str) -> str:
    return text if len(text) <= MESSAGE else f"{text[:MESSAGE]}… (cut: it has {len(text):,} characters)"


def _ends(text: str) -> str:
    return text if len(text) <= ERROR else f"(cut: it has {len(text):,} characters) …{text[-ERROR:]}"


def _encodable(text: str) -> str:
    """The text, with escapes in the places of surrogates, which are no characters alone."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
