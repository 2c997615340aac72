"""The service for reading: searches for instances, and the list of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from romancy.status import Status
    from romancy.storage.query import Query
    from romancy.storage.records import Census, Page

__all__ = ["Reading"]


class Reading(Protocol):
    """No call writes anything."""

    async def find(self, query: Query, /) -> Page:
        """A page of instances, exactly as section "Finding instances" of the manual defines it.

        The newest come first, or the oldest if the query says so. A page continues behind a place in this order.

        Over all pages, an instance that exists and matches throughout comes exactly once, whatever is inserted, changed
        and removed in the meantime, and also if it moves between two statuses asked for. An instance that begins or
        ceases to match during the search comes once or not at all.
        """
        ...

    async def count(self, query: Query, /) -> dict[tuple[str, Status], int]:
        """How many instances `find` would return on all its pages together, by workflow and status; no zeros.

        One statement counts them in the database, as of one moment. The limit, the order and the place of the query
        are those of a first page.
        """
        ...

    async def census(self) -> Census:
        """The workers as they are now. Registers no worker and writes nothing."""
        ...
