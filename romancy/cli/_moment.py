"""Times as they are typed in a shell: `2026-03-01T12:30`, or a length of time before now, as in `2h`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from romancy.cli._duration import duration

__all__ = ["moment"]


def moment(value: str) -> datetime:
    """Read a time, as the `type=` of an option. Raises click.BadParameter."""
    text = value.strip()
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        return given if given.tzinfo is not None else given.replace(tzinfo=UTC)
    try:
        return datetime.now(UTC) - duration(text)
    except (click.BadParameter, OverflowError):
        told = f"{value!r} is no time; give one in UTC, as in 2026-03-01T12:30, or an age, as in 2h"
        raise click.BadParameter(told) from None
