"""Reads the parameters of a request strictly. Pure."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Final

from romancy.http._refusal import not_an_event
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request

__all__ = ["Asked"]

_DIGITS: Final = 9


class Asked:
    """The query parameters of a request. Unknown ones are refused, and repeated ones that are not among `several`."""

    def __init__(self, request: Request, known: Collection[str], several: Collection[str] = ()) -> None:
        self._given: dict[str, str] = {}
        self._several: dict[str, list[str]] = {name: [] for name in several}
        for name, value in request.query_params.multi_items():
            if name in self._several:
                self._several[name].append(value)
                continue
            if name not in known:
                raise not_an_event(f"unknown parameter {name[:40]!r}; this route knows {_listed(known, several)}")
            if name in self._given:
                raise not_an_event(f"the parameter {name} occurs twice; send it once")
            self._given[name] = value

    def text(self, name: str) -> str | None:
        """The parameter, None without it."""
        return self._given.get(name)

    def texts(self, name: str) -> list[str] | None:
        """All values of a parameter that may be repeated, None without any."""
        return self._several[name] or None

    def statuses(self, name: str) -> list[Status] | None:
        """One status or several, separated by commas; None without any."""
        given = self._given.get(name)
        try:
            return [Status(each) for each in given.split(",")] if given else None
        except ValueError:
            raise not_an_event(f"{name}: give one or several of {','.join(Status)}, with commas") from None

    def flag(self, name: str) -> bool:
        """Whether it is `true`. False without it."""
        given = self._given.get(name, "false")
        if given not in ("true", "false"):
            raise not_an_event(f"{name}: true or false is expected")
        return given == "true"

    def number(self, name: str, default: int, most: int | None = None) -> int:
        """A whole number, at most `most`."""
        given = self._given.get(name)
        if given is None:
            return default
        if not (given.isascii() and given.isdigit() and len(given) <= _DIGITS):
            raise not_an_event(f"{name}: a whole number is expected, such as {default}")
        if most is not None and int(given) > most:
            raise not_an_event(f"{name}: at most {most} are allowed with these parameters; read further pages")
        return int(given)

    def integer(self, name: str) -> int | None:
        """A whole number, which may be negative. None without it."""
        given = self._given.get(name)
        if given is None:
            return None
        if not (given.isascii() and given.removeprefix("-").isdigit() and len(given) <= _DIGITS):
            raise not_an_event(f"{name}: a whole number is expected")
        return int(given)

    def moment(self, name: str) -> datetime | None:
        """A time with its offset, None without it."""
        given = self._given.get(name)
        if given is None:
            return None
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            moment = None
        if moment is None or moment.utcoffset() is None:
            raise not_an_event(
                f"{name}: a time with its offset is expected, such as 2026-03-01T12:30:00Z; write + as %2B"
            )
        return moment

    def seconds(self, name: str, most: float = math.inf) -> float | None:
        """A number of seconds, None without it. More than `most` counts as `most`."""
        given = self._given.get(name)
        if given is None:
            return None
        try:
            value = float(given)
        except ValueError:
            value = -1.0
        if not math.isfinite(value) or value < 0:
            raise not_an_event(f"{name}: a number of seconds is expected, such as 30")
        return min(value, most)


def _listed(known: Collection[str], several: Collection[str]) -> str:
    return ", ".join((*known, *several)) or "none"
