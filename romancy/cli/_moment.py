"""Times as they are typed in a shell: `2026-03-01T12:30`, or a length of time before now, as in `2h`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import click

from romancy.cli._duration import DURATION

__all__ = ["MOMENT"]


class _Moment(click.ParamType[datetime]):
    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            given = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return given if given.tzinfo is not None else given.replace(tzinfo=UTC)
        try:
            return datetime.now(UTC) - DURATION.convert(text, None, None)
        except (click.BadParameter, OverflowError):
            self.fail(f"{value!r} is no time; give one in UTC, as in 2026-03-01T12:30, or an age, as in 2h", param, ctx)


MOMENT: Final = _Moment()
