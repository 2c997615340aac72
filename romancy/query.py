"""Filters of instances: what may restrict a search, and comparisons beside plain values.

`{"amount": gte(100), "status": one_of("new", "paid")}` is about the input; an `InstanceFilter` holds it with all else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypedDict, cast

from romancy._microseconds import at_of
from romancy.errors import QueryError, UsageError
from romancy.status import Status, StatusName
from romancy.storage.query import (
    DEFAULT_LIMIT,
    FilterValue,
    Query,
    contains,
    gt,
    gte,
    is_null,
    lt,
    lte,
    missing,
    ne,
    one_of,
    page_of,
    restrict,
    startswith,
    with_whole_name,
)

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = [
    "FilterValue",
    "Filters",
    "FiltersToAct",
    "InstanceFilter",
    "contains",
    "gt",
    "gte",
    "is_null",
    "lt",
    "lte",
    "missing",
    "ne",
    "one_of",
    "startswith",
]

_EVERYTHING: Final = restrict()
_ABOUT: Final = {"filter": "where", "path": "where", "header": "headers"}
"""The first words of errors that name a path or a header, and the argument that has it."""
Statuses: TypeAlias = Status | StatusName | Iterable[Status | StatusName]
"""One status or several."""


class FiltersToAct(TypedDict, total=False):
    """The keywords of a call that acts on many instances. All that are given must hold; None restricts nothing."""

    workflow_name: str | None
    """The whole name of the workflow for a call that acts on many, or `check`. Elsewhere a part of it, without case."""
    status: Statuses | None
    """One status or several, by their names or as `Status`."""
    started_after: datetime | None
    """Started then or later, by the clock of the database. This and the other times need a time zone."""
    started_before: datetime | None
    ended_after: datetime | None
    """Ended then or later. An instance has ended when it is completed, failed or cancelled, at its `updated_at`."""
    ended_before: datetime | None
    parent: str | None
    """The whole id of the parent."""
    top_level: bool
    """True: only instances without a parent."""
    ids: Collection[str] | None
    """Up to 1,000 whole ids. No ids find nothing."""
    error: str | None
    """A part of the error text (`Instance.error`), whose case counts; or a group of `app.failures` (`f-3f9a1c22b0d4`),
    which finds failed instances.
    """
    headers: Mapping[str, FilterValue] | None
    """Headers of the start, by their names."""


class Filters(FiltersToAct, total=False):
    """The keywords of a call that finds instances: also a part of the id."""

    instance_id: str | None
    """A part of the id, without case. Only for calls that find: a call that acts takes whole ids, as `ids`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFilter:
    """Which instances: a filter of the input and the keywords of `Filters`, as one value.

    `failed = InstanceFilter({"amount": gte(100)}, status="failed")` is checked at once, and raises QueryError if it is
    malformed. All calls that take a filter take it: `app.count(failed)`, `app.retry_many(failed)`. Keywords beside it
    restrict further, and `dataclasses.replace(failed, status="stuck")` makes another one.
    """

    where: Mapping[str, FilterValue] = field(default_factory=dict[str, FilterValue], kw_only=False)
    """Paths in the input, and what must be there."""
    workflow_name: str | None = None
    status: Statuses | None = None
    instance_id: str | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    ended_after: datetime | None = None
    ended_before: datetime | None = None
    parent: str | None = None
    top_level: bool = False
    ids: Collection[str] | None = None
    error: str | None = None
    headers: Mapping[str, FilterValue] | None = None
    _query: Query = field(init=False, repr=False, compare=False)
    _since: int | None = field(init=False, repr=False, compare=False)
    _until: int | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        since = _microseconds(self.started_after, "started_after")
        until = _microseconds(self.started_before, "started_before")
        query = restrict(
            self.where,
            workflow_name=self.workflow_name,
            status=self.status,
            instance_id=self.instance_id,
            ended_since=_microseconds(self.ended_after, "ended_after"),
            ended_until=_microseconds(self.ended_before, "ended_before"),
            parent=self.parent,
            top_level=self.top_level,
            ids=self.ids,
            error=self.error,
            headers=self.headers,
        )
        # What was checked is kept: the caller may change a mapping or a list, and an iterator gives its items once.
        own: dict[str, Any] = {
            "where": dict(self.where),
            "status": query.statuses or None,
            "ids": query.ids,
            "headers": None if self.headers is None else dict(self.headers),
        }
        for name, value in {**own, "_query": query, "_since": since, "_until": until}.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        where: Mapping[str, FilterValue] | InstanceFilter | None,
        keywords: Filters | FiltersToAct,
    ) -> InstanceFilter:
        """The filter of a call: its first argument with its keywords.

        QueryError: it is malformed, or a keyword is given beside a filter that has it already.
        """
        given = cast("Filters", dict(keywords))
        if unknown := given.keys() - Filters.__optional_keys__:
            known = ", ".join(sorted(Filters.__optional_keys__))
            raise TypeError(f"unexpected keyword argument {min(unknown)!r}; the filters are {known}")
        if not isinstance(where, InstanceFilter):
            return cls({} if where is None else where, **given)
        further: dict[str, Any] = {name: value for name, value in given.items() if value not in (None, False)}
        for name in further:
            if getattr(where, name) not in (None, False):
                raise QueryError(f"{name}: the InstanceFilter has it already; give it once")
        return replace(where, **further) if further else where

    @property
    def is_empty(self) -> bool:
        """Whether it restricts nothing."""
        return self._query == _EVERYTHING and self._since is None and self._until is None

    @property
    def statuses(self) -> tuple[Status, ...]:
        """Any of these; empty for all."""
        return self._query.statuses

    def or_status(self, status: Statuses) -> InstanceFilter:
        """The same, with this status if it has none."""
        return self if self.statuses else replace(self, status=status)

    def among(self, allowed: Collection[Status], what: str, further: str = "") -> InstanceFilter:
        """The same, without a status for all that are allowed. UsageError: it has another, and `what` says why."""
        if others := sorted(one.value for one in self.statuses if one not in allowed):
            raise UsageError(f"{what}, not {', '.join(others)} ones{further and '; '}{further}")
        return self if self.statuses else replace(self, status=tuple(allowed))

    def query(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        page_token: str | None = None,
        oldest_first: bool = False,
        to_act: bool = False,
    ) -> Query:
        """The query of a page, as a store takes it. QueryError names what is wrong.

        With `to_act`, `workflow_name` is the whole name, and a part of an id is refused: `o-1` is also in `o-10`.
        """
        query = self._query
        if to_act and self.instance_id is not None:
            raise QueryError("instance_id: is a part of an id; a call that acts takes whole ids: give ids")
        if to_act and self.workflow_name is not None:
            query = with_whole_name(query, self.workflow_name)
        return page_of(
            query,
            since=self._since,
            until=self._until,
            oldest_first=oldest_first,
            limit=limit,
            page_token=page_token,
        )


@contextmanager
def told_as(names: Mapping[str, str]) -> Generator[None]:
    """Name the argument that a QueryError is about as its reader wrote it: `--exact-id` for `ids`, for example."""
    try:
        yield
    except QueryError as error:
        told = str(error)
        argument, _, fault = told.partition(": ")
        if argument not in names:
            argument, fault = _ABOUT.get(told.partition(" ")[0], ""), told
        if argument not in names:
            raise
        raise QueryError(f"{names[argument]}: {fault}") from None


def _microseconds(moment: datetime | None, what: str) -> int | None:
    """A time in the form of the database. Raises QueryError for one that could be any."""
    if moment is None:
        return None
    if not isinstance(moment, datetime):  # pyright: ignore[reportUnnecessaryIsInstance] - users are not all typed
        raise QueryError(f"{what}: must be a datetime, not {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise QueryError(f"{what}: it has no time zone; write datetime.now(UTC), for example")
    return at_of(moment)
