"""Runs searches that no index answers in slices: each statement looks at a bounded number of instances.

A slice is a part of the order of pages, newest first. Its end is found in the index of that order, and the search is
then asked for within it. A caller that stops waiting stops the search at the statement that runs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from romancy.storage.query import Position
from romancy.storage.services import Service
from romancy.storage.sqlkit.searches import indexed_values

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.query import Query
    from romancy.storage.records import InstanceRow

__all__ = ["Found", "find_in_slices"]

_LOWEST: Final = "\x01"
"""No id sorts below it. (A page token cannot hold an empty id.)"""
_FIRST: Final = 2_000
_LARGEST: Final = 64_000
_LEAST: Final = 250
_QUICK: Final = 0.02
_SLOW: Final = 0.08
_WITHIN: Final = 0.2


class Found(NamedTuple):
    """The result of a search so far."""

    rows: list[InstanceRow]
    next_token: str | None
    """The token that continues it: after the last row, or after the instances looked at. None: there are no more."""
    back_to: int | None
    """If the search is not over: it has looked at all instances that were started since then."""
    undeclared: list[str]
    """Why it needs slices: workflows in which the path of its first comparison is not declared."""
    sliced: bool


async def find_in_slices(
    store: Store, query: Query, *, within: float = _WITHIN, first: int = _FIRST, largest: int = _LARGEST
) -> Found:
    """A page of the search, or the part of it that is found in about `within` seconds.

    A search that an index answers is one statement, and so is one for the oldest first. Slices begin with `first`
    instances and grow to `largest` while they are quick. At least one slice is looked at.
    """
    lookups = store.services.lookups if Service.LOOKUPS in store.services.offered else None
    undeclared: list[str] = []
    if lookups is not None and (indexed := indexed_values(query)) is not None:
        names = await lookups.undeclared(indexed[0])
        undeclared = [name for name in names if query.fits_name(name)]
    if lookups is None or not _needs_slices(query, undeclared):
        page = await store.services.reading.find(query)
        return Found(page.rows, page.next_token, None, [], sliced=False)
    rows: list[InstanceRow] = []
    clock = asyncio.get_running_loop().time
    deadline, size, part = clock() + within, first, query
    while True:
        began = clock()
        end = await lookups.place_behind(part.after, size)
        if end is not None and query.since is not None and end.created_at <= query.since:
            end = None
        page = await store.services.reading.find(part if end is None else replace(part, since=end.created_at))
        rows += page.rows
        if end is None or page.next_token is not None:
            return Found(rows, page.next_token, None, undeclared, sliced=True)
        token = query.token_after(end.created_at, _LOWEST)
        if len(rows) == query.limit:
            return Found(rows, token, None, undeclared, sliced=True)
        if clock() >= deadline:
            return Found(rows, token, end.created_at, undeclared, sliced=True)
        size = _next_size(size, clock() - began, largest)
        part = replace(query, after=Position(end.created_at, _LOWEST), limit=query.limit - len(rows))


def _needs_slices(query: Query, undeclared: list[str]) -> bool:
    if query.oldest_first or query.parent is not None or query.ids is not None:
        return False
    if query.top_level or query.error is not None or query.group is not None:
        return True
    if query.instance_id is not None or (query.statuses and query.workflow_name is not None):
        return True
    return bool(query.conditions) and (bool(undeclared) or indexed_values(query) is None)


def _next_size(size: int, took: float, largest: int) -> int:
    if took < _QUICK:
        return min(2 * size, largest)
    return max(size // 2, _LEAST) if took > _SLOW else size
