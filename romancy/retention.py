"""How long ended instances are kept: a value of an app, and of a workflow."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from romancy._time_text import length_of
from romancy.errors import UsageError
from romancy.retry import seconds
from romancy.status import Status

__all__ = [
    "BY_DEFAULT",
    "Period",
    "Retention",
    "check_archive",
    "retention_of",
    "retention_of_app",
    "shown_archive",
]

_LOCAL: Final = ("file", "local")
_URL_AS_PATH: Final = re.compile(r"[a-z][a-z0-9+.-]+:[/\\]")
_EXTRA: Final = "an archive at a URL needs fsspec, here and where workers run: pip install 'romancy[archive]'"

Period: TypeAlias = str | float | timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long instances stay after they have ended, by how they ended. A status without a period stays for ever.

    A period is a text such as `"30d"` or `"12h"`, a timedelta, or a number of seconds. With `archive=`, a folder or a
    URL that fsspec knows, each instance is written there before it is removed.
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
            raise UsageError(f"archive= takes the path of a folder or a URL, not {given!r}")
        check_archive(given)

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


BY_DEFAULT: Final = Retention(completed="30d", failed="90d", cancelled="90d")
"""What holds for apps that say nothing, in databases where `romancy/managing/retained.py` finds that it does."""


def retention_of_app(given: Any) -> Retention | Literal["default"] | None:
    """The option `retention=` of an app."""
    return given if given == "default" else retention_of(given, "retention=")


def retention_of(given: Any, what: str) -> Retention | None:
    """The option `retention=` of a workflow."""
    if given is None or isinstance(given, Retention):
        return given
    names = ", ".join(field.name for field in fields(Retention))
    raise UsageError(f"{what} takes Retention(…) with {names}, or None, not {given!r}")


def check_archive(name: str | Path) -> None:
    """Raises UsageError if nothing can be archived under this name."""
    text = str(name)
    if isinstance(name, Path) and _URL_AS_PATH.match(text):
        raise UsageError(f"give the URL of an archive as a text, not as a path, which it is not: {text!r}")
    scheme, is_url, rest = text.partition("://")
    if not is_url:
        return
    shown = shown_archive(text)
    if scheme in _LOCAL:
        raise UsageError(f"an archive on this machine is named by its path: {rest or '/path'}, not {shown}")
    if find_spec("fsspec") is None:
        raise UsageError(_EXTRA)
    from fsspec import get_filesystem_class  # noqa: PLC0415 - the extra `archive`

    try:
        get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        raise UsageError(f"nothing can be archived at {shown}: {error}") from None


def shown_archive(url: str) -> str:
    """A URL for people, without a user and a password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
