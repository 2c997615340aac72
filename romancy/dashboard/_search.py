"""The search of a list of instances, as in its URL: by id, parent, workflow, status, time of the start and input."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from romancy._conditions import read_conditions
from romancy.errors import QueryError
from romancy.status import Status
from romancy.storage.query import build_query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.storage.query import Query

__all__ = ["WITHIN", "Search"]

_SECOND: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
WITHIN: Final = {
    "15m": ("last 15 minutes", 900),
    "1h": ("last hour", 3600),
    "24h": ("last 24 hours", 86_400),
    "7d": ("last 7 days", 604_800),
    "30d": ("last 30 days", 2_592_000),
}
"""Ranges of time that end now, by their names in the URL, in seconds."""
_SINGLE: Final = ("id", "parent", "workflow", "within", "since", "until", "page")
_MOST_CONDITIONS: Final = 20
_COMPARED: Final = re.compile(r"[^=!<>^*]+[=!<>^*]+")
_EQUALS: Final = re.compile(r"[^=!<>^*]+=[^=]")


class Search(NamedTuple):
    """The parts of the URL, as they were given."""

    id: str = ""
    parent: str = ""
    """The whole id."""
    workflow: str = ""
    status: tuple[str, ...] = ()
    within: str = ""
    since: str = ""
    until: str = ""
    where: tuple[str, ...] = ()
    page: str = ""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Search:
        """The search of these parameters. Unknown ones are ignored; of a repeated single one, the last counts."""
        given: dict[str, Any] = {"status": [], "where": []}
        for name, value in pairs:
            text = value.strip()
            if name in _SINGLE:
                given[name] = text
            elif name in given and text and text not in given[name]:
                given[name].append(text)
        given |= {name: tuple(given[name]) for name in ("status", "where")}
        return cls(**given)

    @property
    def is_empty(self) -> bool:
        """Whether it asks for all instances."""
        return self._replace(page="") == Search()

    def encoded(self, **changes: Any) -> str:
        """The query of a URL that asks for the same, with these changes."""
        wanted = self._replace(**changes)._asdict()
        return urlencode({name: value for name, value in wanted.items() if value}, doseq=True)

    def without_values(self) -> str:
        """The same for a log: the values of conditions on inputs are left out."""
        return self.encoded(where=tuple(_without_value(one) for one in self.where))

    def as_of(self, now: int) -> Search:
        """The same search at that time, in microseconds: a range that ends now no longer moves."""
        if not self.within:
            return self
        since = max(_moment(self.since, "since") or 0, self._begins(now))
        return self._replace(within="", since=(_EPOCH + timedelta(microseconds=since)).isoformat())

    @property
    def path_to_declare(self) -> str:
        """The path of the first comparison that a declared path would answer, as it was typed."""
        return next((text.partition("=")[0].strip() for text in self.where if _EQUALS.match(text)), "")

    def query(self, limit: int) -> Query:
        """The query for the store. Raises QueryError for an invalid part."""
        if len(self.where) > _MOST_CONDITIONS:
            raise QueryError(f"at most {_MOST_CONDITIONS} conditions on the input")
        unknown = [one for one in self.status if one not in tuple(Status)]
        if unknown:
            raise QueryError(f"status: there is none of the name {unknown[0][:40]!r}")
        return build_query(
            read_conditions(self.where),
            workflow_name=self.workflow or None,
            status=self.status or None,
            instance_id=self.id or None,
            parent=self.parent or None,
            since=self._since(),
            until=_moment(self.until, "until"),
            limit=limit,
            page_token=self.page or None,
        )

    def _since(self) -> int | None:
        since = _moment(self.since, "since")
        if not self.within:
            return since
        return max(since or 0, self._begins(int(time.time() * _SECOND)))

    def _begins(self, now: int) -> int:
        if self.within not in WITHIN:
            raise QueryError(f"within: one of {', '.join(WITHIN)}")
        return now - WITHIN[self.within][1] * _SECOND


def _without_value(condition: str) -> str:
    form = _COMPARED.match(condition)
    return "…" if form is None else f"{form[0].strip()}…"


def _moment(text: str, what: str) -> int | None:
    """A time in UTC, as forms write it, in microseconds."""
    if not text:
        return None
    try:
        given = datetime.fromisoformat(text)
        at = given.replace(tzinfo=UTC) if given.tzinfo is None else given
        return int(at.timestamp() * _SECOND)
    except (ValueError, OverflowError):
        raise QueryError(f"{what}: write a time in UTC as 2026-03-01T12:30") from None
