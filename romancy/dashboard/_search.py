"""The search of a list of instances, as in its URL: by id, parent, workflow, status, start, input and headers.

Or it names each instance: those that somebody has chosen in a list.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from romancy._microseconds import moment_of
from romancy.dashboard._times import moment_given
from romancy.errors import QueryError
from romancy.managing.typed_conditions import read_conditions, read_headers
from romancy.query import InstanceFilter, told_as
from romancy.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from romancy.storage.query import Query

__all__ = ["WITHIN", "Search"]

_SECOND: Final = 1_000_000
WITHIN: Final = {
    "15m": ("last 15 minutes", 900),
    "1h": ("last hour", 3600),
    "24h": ("last 24 hours", 86_400),
    "7d": ("last 7 days", 604_800),
    "30d": ("last 30 days", 2_592_000),
}
"""Ranges of time that end now, by their names in the URL, in seconds."""
_SEVERAL: Final = ("status", "where", "header", "chosen")
_SINGLE: Final = ("id", "parent", "workflow", "error", "within", "since", "until", "page")
_MOST_CONDITIONS: Final = 20
_FIELDS: Final = {
    "where": "input",
    "headers": "header",
    "workflow_name": "workflow",
    "instance_id": "id",
    "ids": "chosen",
    "page_token": "page",
    "started_after": "since",
    "started_before": "until",
}
"""Arguments of a filter by the names that they have on the page."""
_COMPARED: Final = re.compile(r"[^=!<>^*]+[=!<>^*]+")
_EQUALS: Final = re.compile(r"[^=!<>^*]+=[^=]")


class Search(NamedTuple):
    """The parts of the URL, as they were given."""

    id: str = ""
    parent: str = ""
    """The whole id."""
    workflow: str = ""
    error: str = ""
    """A part of the error, or a group of failures."""
    status: tuple[str, ...] = ()
    within: str = ""
    since: str = ""
    until: str = ""
    where: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    """Whole ids: only these. Empty: any."""
    page: str = ""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Search:
        """The search of these parameters. Unknown ones are ignored; of a repeated single one, the last counts."""
        given: dict[str, Any] = {name: dict[str, None]() for name in _SEVERAL}
        for name, value in pairs:
            text = value if name == "chosen" else value.strip()
            if name in _SINGLE:
                given[name] = text
            elif name in _SEVERAL and text:
                given[name][text] = None
        given |= {name: tuple(given[name]) for name in _SEVERAL}
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
        """The same for a log: the values of conditions on inputs and headers are left out."""
        return self.encoded(
            where=tuple(_without_value(one) for one in self.where),
            header=tuple(f"{one.partition('=')[0]}=…" if "=" in one else "…" for one in self.header),
        )

    def as_of(self, now: int) -> Search:
        """The same search at that time, in microseconds: a range that ends now no longer moves."""
        if not self.within:
            return self
        begins, since = self._begins(now), moment_given(self.since, "since")
        return self._replace(within="", since=(begins if since is None else max(since, begins)).isoformat())

    @property
    def path_to_declare(self) -> str:
        """The path of the first comparison that a declared path would answer, as it was typed."""
        return next((text.partition("=")[0].strip() for text in self.where if _EQUALS.match(text)), "")

    def query(self, limit: int) -> Query:
        """The query for the store. Raises QueryError for an invalid part, with its name on the page."""
        with told_as(_FIELDS):
            return self._filter().query(limit=limit, page_token=self.page or None)

    def _filter(self) -> InstanceFilter:
        if len(self.where) + len(self.header) > _MOST_CONDITIONS:
            raise QueryError(f"at most {_MOST_CONDITIONS} conditions on the input and headers")
        unknown = [one for one in self.status if one not in tuple(Status)]
        if unknown:
            raise QueryError(f"status: there is none of the name {unknown[0][:40]!r}")
        return InstanceFilter(
            read_conditions(self.where),
            workflow_name=self.workflow or None,
            status=[Status(one) for one in self.status] or None,
            instance_id=self.id or None,
            parent=self.parent or None,
            error=self.error or None,
            started_after=self._since(),
            started_before=moment_given(self.until, "until"),
            headers=read_headers(self.header),
            ids=self.chosen or None,
        )

    def _since(self) -> datetime | None:
        since = moment_given(self.since, "since")
        if not self.within:
            return since
        begins = self._begins(int(time.time() * _SECOND))
        return begins if since is None else max(since, begins)

    def _begins(self, now: int) -> datetime:
        if self.within not in WITHIN:
            raise QueryError(f"within: one of {', '.join(WITHIN)}")
        return moment_of(now - WITHIN[self.within][1] * _SECOND)


def _without_value(condition: str) -> str:
    form = _COMPARED.match(condition)
    return "…" if form is None else f"{form[0].strip()}…"
