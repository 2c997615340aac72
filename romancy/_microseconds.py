"""Moments as programs give and get them, and as the log holds them: microseconds since the epoch, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from romancy.errors import SerializationError, UsageError

__all__ = ["at_of", "microseconds_of", "moment_of", "sent_at"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def moment_of(microseconds: int) -> datetime:
    """The moment that the database or the log holds."""
    return _EPOCH + timedelta(microseconds=microseconds)


def at_of(moment: datetime) -> int:
    """A moment with a time zone, as the database and the log hold it."""
    return (moment - _EPOCH) // _MICROSECOND


def microseconds_of(moment: Any, what: str) -> int:
    """A moment for the log. Raises UsageError unless it is a datetime with a time zone, in a year that UTC knows."""
    if not isinstance(moment, datetime):
        raise UsageError(f"{what}: must be a datetime with a time zone, not {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise UsageError(f"{what}: it has no time zone; write datetime.now(UTC), for example")
    try:
        return at_of(moment.astimezone(UTC))
    except OverflowError:
        raise UsageError(f"{what}: in UTC it is outside of the years 1 to 9999; give another one") from None


def sent_at(at: int, sent: int | None, what: str) -> datetime:
    """When a message that was received `at` was sent, as far as it tells. Raises SerializationError for no moment."""
    try:
        return moment_of(at if sent is None else sent)
    except OverflowError:
        raise SerializationError(f"{what}: its time is outside of the years 1 to 9999") from None
