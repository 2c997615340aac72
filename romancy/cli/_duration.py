"""Times as they are typed in a shell: `2026-03-01T12:30`, and lengths of time: `90s`, `12h`, `30d`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from romancy._time_text import length_of

__all__ = ["duration", "moment", "time"]


def duration(value: str) -> timedelta:
    """Read a length of time, as the `type=` of an option: click takes a function, and names its value as the function.

    Raises click.BadParameter. A subclass of click.ParamType would have to name its parameter for the type checkers, and
    takes none at run time before click 8.4.
    """
    try:
        given = length_of(value)
    except OverflowError:
        raise click.BadParameter(f"{value!r} is too long") from None
    if given is None:
        raise click.BadParameter(f"{value!r} is no length of time; give a number and s, min, h, d or w, as in 30d")
    return given


def moment(value: str) -> datetime:
    """Read a time, or an age as a length of time before now, as the `type=` of an option. Raises click.BadParameter."""
    if (given := _time(value)) is not None:
        return given
    try:
        return datetime.now(UTC) - duration(value)
    except (click.BadParameter, OverflowError):
        told = f"{value!r} is no time; give one in UTC, as in 2026-03-01T12:30, or an age, as in 2h"
        raise click.BadParameter(told) from None


def time(value: str) -> datetime:
    """Read a time, as the `type=` of an option. Raises click.BadParameter."""
    if (given := _time(value)) is None:
        raise click.BadParameter(f"{value!r} is no time; give one in UTC, as in 2026-03-01T12:30")
    return given


def _time(value: str) -> datetime | None:
    try:
        given = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return given if given.tzinfo is not None else given.replace(tzinfo=UTC)
