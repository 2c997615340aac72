"""How long ended instances are kept: a value of an app, and of a workflow."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from romancy._time_text import length_of
from romancy.errors import UsageError
from romancy.retry import seconds
from romancy.status import Status

__all__ = ["Period", "Retention", "retention_of"]

Period: TypeAlias = str | float | timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long instances stay after they have ended, by how they ended. A status without a period stays for ever.

    A period is a text such as `"30d"` or `"12h"`, a timedelta, or a number of seconds. With `archive=`, a folder, each
    instance is written there before it is removed.
    """

    completed: Period | None = None
    failed: Period | None = None
    cancelled: Period | None = None
    archive: str | Path | None = None

    def __post_init__(self) -> None:
        for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
            self.kept_for(status)
        given: Any = self.archive
        if given is None:
            return
        if not isinstance(given, str | Path) or not str(given):
            raise UsageError(f"archive= takes the path of a folder, not {given!r}")
        if "://" in str(given):
            raise UsageError("archive= takes the path of a folder on this machine; URLs cannot be written to")

    def kept_for(self, status: Status) -> int | None:
        """The microseconds that an instance of this status is kept after its end. None: for ever."""
        given: Any = getattr(self, status.value)
        if given is None:
            return None
        try:
            period = length_of(given) if isinstance(given, str) else given
        except OverflowError:
            raise UsageError(f"{status.value}={given!r} is too long") from None
        if period is None:
            raise UsageError(
                f"{status.value}={given!r} is no length of time; give a number and s, min, h, d or w, as in '30d'"
            )
        return round(seconds(period, status.value) * 1_000_000)


def retention_of(given: Any, what: str) -> Retention | None:
    """The option `retention=` of an app or a workflow."""
    if given is None or isinstance(given, Retention):
        return given
    names = ", ".join(field.name for field in fields(Retention))
    raise UsageError(f"{what} takes Retention(…) with {names}, or None, not {given!r}")
