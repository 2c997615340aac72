"""Times that a visitor has written into a form: in UTC, as browsers send them."""

from __future__ import annotations

from datetime import UTC, datetime

from romancy.errors import QueryError

__all__ = ["moment_given"]


def moment_given(text: str, what: str) -> datetime | None:
    """A time in UTC, as forms write it. None: the field is empty."""
    if not text:
        return None
    try:
        given = datetime.fromisoformat(text)
        return given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError):
        raise QueryError(f"{what}: write a time in UTC as 2026-03-01T12:30") from None
