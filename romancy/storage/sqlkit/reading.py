"""The service for reading in every SQL database: what a search and a count ask, in which order, and what is made of it.

The statements are composed by each dialect (`Searches`): their access paths are those that its planner needs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.records import Census, InstanceRow, Page
from romancy.storage.sqlkit.leases import peers_of
from romancy.storage.sqlkit.lookups import place
from romancy.storage.sqlkit.searches import ended, stretches
from romancy.storage.sqlkit.statements import Ask, Composed, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.query import Query
    from romancy.storage.sqlkit.searches import Stretch
    from romancy.storage.sqlkit.statements import Interpreter, Operation

__all__ = ["Searches", "SqlReading", "instance_of", "to_count", "to_find"]

K = TypeVar("K")

_FOUND: Final = InstanceRow.__struct_fields__
_COUNTED: Final = ("workflow_name", "status", "number")


class Searches(Protocol[K]):
    """What a dialect composes. `K` is what it must know of the workflows and their declared paths to do so."""

    def known(self, query: Query, /) -> Operation[K | None]:
        """None: no workflow has a name that the query allows."""
        ...

    def page(self, query: Query, known: K, /, *, by_end: bool) -> Operation[Sequence[Sequence[Any]]]:
        """The first rows in the order of pages, up to one more than the limit of the query.

        With `by_end`, they are found by the time of their end.
        """
        ...

    def count(self, query: Query, known: K, /) -> Operation[Sequence[Sequence[Any]]]:
        """The workflow, the status and the number of all instances that match."""
        ...


class SqlReading(Generic[K]):
    """As `Reading` promises. `search` carries out what may be slow, where that has connections of its own."""

    def __init__(self, interpreter: Interpreter, search: Interpreter, searches: Searches[K]) -> None:
        self._interpreter = interpreter
        self._search = search
        self._searches = searches

    async def find(self, query: Query, /) -> Page:
        return await self._search.read(partial(_find, self._searches, query))

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        return await self._search.read(partial(_count, self._searches, query))

    async def census(self) -> Census:
        peers = (await self._interpreter.read(partial(ask, "peers", token=""))).rows
        return Census(now=peers[0][0], workers=peers_of(peers))


def to_find(text: object, values: Sequence[object] = ()) -> Ask:
    """A composed statement that returns the columns of `InstanceRow`, in its order."""
    return Ask("find", {}, composed=Composed(_FOUND, text, values))


def to_count(text: object, values: Sequence[object] = ()) -> Ask:
    """A composed statement that returns the workflow, the status and the number of its rows."""
    return Ask("count", {}, composed=Composed(_COUNTED, text, values))


def instance_of(row: Sequence[Any]) -> InstanceRow:
    """An instance from the columns of `InstanceRow`, in its order."""
    fields: dict[str, Any] = dict(zip(_FOUND, row, strict=True))
    fields["status"] = Status(fields["status"])
    return InstanceRow(**fields)


def _find(searches: Searches[K], query: Query) -> Operation[Page]:
    """Read the parts of the search until there is one row more than the page has."""
    parts = [] if query.ids == () else stretches(query)
    known = (yield from searches.known(query)) if parts else None
    if known is None:
        return Page(rows=[])
    found: list[Sequence[Any]] = []
    for stretch in parts:
        if len(found) <= query.limit:
            part = replace(stretch.query, limit=query.limit - len(found))
            by_end = yield from _are_many(stretch)
            found += yield from searches.page(part, known, by_end=by_end)
    rows = [instance_of(row) for row in found[: query.limit]]
    token = query.token_after(rows[-1].created_at, rows[-1].instance_id) if len(found) > query.limit else None
    return Page(rows=rows, next_token=token)


def _are_many(stretch: Stretch) -> Operation[bool]:
    """Whether more than `few` instances were started before the border of this part, if that matters."""
    if stretch.few is None or (border := stretch.border) is None:
        return False
    return bool((yield from ask("place_behind", **place(border), behind=stretch.few)).rows)


def _count(searches: Searches[K], query: Query) -> Operation[dict[tuple[str, Status], int]]:
    restricted = None if query.ids == () else ended(query)
    known = (yield from searches.known(restricted)) if restricted is not None else None
    if restricted is None or known is None:
        return {}
    rows = yield from searches.count(restricted, known)
    return {(name, Status(status)): number for name, status, number in rows}
