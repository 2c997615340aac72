"""Refuses searches by input, and by headers, when the database has inputs that this dashboard cannot open.

The database searches in a projection that is not sealed. A visitor who searches by a value finds out which instances
have it, and could so guess values that only the codec should show.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from romancy.dashboard._refused import forbidden
from romancy.serialization import is_sealed
from romancy.storage.passing import Passing, changed_by
from romancy.storage.protocol import Store
from romancy.storage.query import build_query
from romancy.storage.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from romancy.dashboard._reader import Reader
    from romancy.dashboard._refused import RefusedError
    from romancy.storage.query import Query
    from romancy.storage.records import InstanceRow, Page
    from romancy.storage.services import Services

__all__ = ["Sealing"]

_LOOKED_AT: Final = 200
_EVERY: Final = 30.0


class Sealing:
    """Refuses all searches by input once this dashboard has met an input that it cannot open."""

    def __init__(self) -> None:
        self._met = False
        self._looks_at = 0.0

    async def admit(self, reader: Reader) -> Reader:
        """A reader for a search by input. Raises RefusedError if there are sealed inputs.

        It looks at the newest instances, and then at all that the search finds.
        """
        if not self._met and time.monotonic() >= self._looks_at:
            self._looks_at = time.monotonic() + _EVERY
            self.check((await reader.store.services.reading.find(build_query(limit=_LOOKED_AT))).rows)
        if self._met:
            raise _refusal()
        return reader._replace(store=self._checking(reader.store), lists=reader.lists.through(self._checking))

    def _checking(self, store: Store) -> Store:
        return changed_by(store, _Checking, self)

    def check(self, rows: Iterable[InstanceRow]) -> None:
        """Raise RefusedError if one of them is sealed: finding it would reveal its value."""
        if any(is_sealed(row.input, "input") for row in rows):
            self._met = True
            raise _refusal()

    def forget(self) -> None:
        """Start again: the database may be another one."""
        self._met, self._looks_at = False, 0.0


class _Checking(Passing[Store], Store):
    def __init__(self, store: Store, sealing: Sealing) -> None:
        super().__init__(store)
        self.services: Services = store.services.wrapped(reading=lambda reading: changed_by(reading, _Checked, sealing))


class _Checked(Passing[Reading], Reading):
    """Searches by input that find no sealed instance."""

    def __init__(self, reading: Reading, sealing: Sealing) -> None:
        super().__init__(reading)
        self._sealing = sealing

    async def find(self, query: Query, /) -> Page:
        page = await self._passed_to.find(query)
        if query.conditions:
            self._sealing.check(page.rows)
        return page


def _refusal() -> RefusedError:
    return forbidden(
        "A codec has sealed inputs here that this dashboard cannot open, so it does not search by input. "
        "Give it an app that has the codec, if only for reading."
    )
