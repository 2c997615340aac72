"""Where lists, searches and counts are read: on the primary, or on a standby that is a copy of it (`read_url=`).

Nothing that anybody decides by is read there: no engine, no call that acts, no single instance. A standby that is away
is left alone for a while, and meanwhile the primary is read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from romancy._logs import get_logger
from romancy.engine import coded, uncoded
from romancy.errors import SchemaVersionError, StorageConfigurationError, StorageUnavailableError
from romancy.storage.backends import create_store
from romancy.storage.passing import Passing, changed_by
from romancy.storage.protocol import Store
from romancy.storage.services import Service, Services
from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.serialization import Codecs
    from romancy.storage.passwords import PasswordSource
    from romancy.storage.standby import Standing

__all__ = ["Lists", "ReadLag", "Standby", "lists_of"]

logger = get_logger("romancy")

_LEFT_ALONE: Final = 10.0
"""Seconds for which a standby that is away is not asked again: each time may cost `connect_timeout`."""
_OF_NOW: Final = frozenset({"census"})
"""Calls of these services that stay on the primary: a worker that was alive a while ago may be dead."""


class ReadLag(Struct, frozen=True, kw_only=True):
    """How far the standby of `read_url=` is behind the primary."""

    seconds: float | None
    """0 if it has everything; else the age of the last transaction that it has. None: unknown, or it is away."""
    bytes: int | None
    """How much of the primary's log it has not applied. None: the server does not tell, or it is away."""
    transactions: int | None = None
    """How many transactions of the primary it has not applied. None: the server does not tell, or it is away."""
    away: str = ""
    """Why it is not read now, and the primary in its place."""

    def __str__(self) -> str:
        if self.away:
            return "read from the primary, because the standby is away"
        sizes = {"byte": self.bytes, "transaction": self.transactions}
        size = "".join(f"{size:,} {unit}{'s'[size == 1 :]}" for unit, size in sizes.items() if size)
        if self.seconds is None:
            return f"read from a standby, {size or 'by an unknown time'} behind"
        return f"read from a standby, {self.seconds:.1f} s{size and f' ({size})'} behind"


class Standby:
    """The standby: opened when it is first needed."""

    def __init__(self, make: Callable[[], Store], where: str, primary: Store) -> None:
        self._make = make
        self._where = where
        self._primary = primary
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._again = 0.0
        self.away = ""
        """Why it is not asked now."""

    async def store(self) -> Store | None:
        """The open store, or None while the standby is left alone.

        Raises StorageConfigurationError if it is no copy of the primary.
        """
        if asyncio.get_running_loop().time() < self._again:
            return None
        if self._store is None:
            async with self._opening:
                if self._store is None:
                    await self._open()
        return self._store

    async def _open(self) -> None:
        store = self._make()
        try:
            await store.open(migrate=False)
            theirs, ours = await store.services.standby.standing(), await self._primary.services.standby.standing()
            if theirs.database != ours.database:
                raise StorageConfigurationError(
                    f"read_url={self._where}: this is no copy of the database of the app; name a standby of it"
                )
        except (StorageUnavailableError, SchemaVersionError) as error:  # its tables are still to come
            await store.close()
            self.lost(error)
        except BaseException:
            await store.close()
            raise
        else:
            self._store = store

    def lost(self, error: StorageUnavailableError | SchemaVersionError) -> None:
        """Leave it alone for a while. The first time is logged."""
        self._again = asyncio.get_running_loop().time() + _LEFT_ALONE
        if not self.away:
            logger.warning("read_url=%s is away, so lists are read from the primary: %s", self._where, error)
        self.away = str(error)

    def answered(self) -> None:
        """It is there."""
        if self.away:
            logger.info("read_url=%s is back", self._where)
            self.away = ""

    async def close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            await store.close()


class Lists:
    """Lists of an open store, which a standby answers if there is one."""

    def __init__(
        self, primary: Store, standby: Standby | None = None, view: Callable[[Store], Store] | None = None
    ) -> None:
        self._primary = primary
        self._standby = standby
        self.store: Store = primary if standby is None else changed_by(primary, _Listing, standby, view)
        """The store whose searches and counts are read there. All else of it is the primary's."""

    def sealed(self) -> Lists:
        """The same for readers who may not see sealed payloads."""
        return Lists(uncoded(self._primary), self._standby, uncoded)

    @property
    def elsewhere(self) -> bool:
        """Whether there is a standby."""
        return self._standby is not None

    def through(self, view: Callable[[Store], Store]) -> Lists:
        """The same, with this view of the store."""
        seen = Lists(self._primary, self._standby)
        seen.store = view(self.store)
        return seen

    async def lag(self) -> ReadLag | None:
        """How far the standby is behind. None: there is none."""
        if self._standby is None:
            return None
        store = await self._standby.store()
        theirs: Standing | None = None
        if store is not None:
            try:
                theirs = await store.services.standby.standing()
                self._standby.answered()
            except StorageUnavailableError as error:
                self._standby.lost(error)
        if theirs is None:
            return ReadLag(seconds=None, bytes=None, away=self._standby.away)
        ours = await self._primary.services.standby.standing()
        lacks = size, transactions = theirs.lacks(ours)
        return ReadLag(seconds=0.0 if 0 in lacks else theirs.age, bytes=size, transactions=transactions)

    async def close(self) -> None:
        if self._standby is not None:
            await self._standby.close()


class _Listing(Passing[Store], Store):
    """The primary's store with the services of lists of a standby."""

    def __init__(self, primary: Store, standby: Standby, view: Callable[[Store], Store] | None) -> None:
        super().__init__(primary)

        def of(service: Service) -> Callable[[Any], Any]:
            return lambda own: _Either(own, service, standby, view)

        self.services: Services = primary.services.wrapped(
            reading=of(Service.READING), lookups=of(Service.LOOKUPS), figures=of(Service.FIGURES)
        )


class _Either:
    """A service of the standby; that of the primary while the standby is away."""

    def __init__(self, own: Any, service: Service, standby: Standby, view: Callable[[Store], Store] | None) -> None:
        self._own = own
        self._service = service
        self._standby = standby
        self._view = view

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._own, name)
        return own if name in _OF_NOW else self._elsewhere(name, own)

    def _elsewhere(self, name: str, own: Any) -> Any:
        async def call(*arguments: Any, **named: Any) -> Any:
            store = await self._standby.store()
            if store is not None:
                seen = store if self._view is None else self._view(store)
                try:
                    found = await getattr(getattr(seen.services, self._service), name)(*arguments, **named)
                except StorageUnavailableError as error:
                    self._standby.lost(error)
                else:
                    self._standby.answered()
                    return found
            return await own(*arguments, **named)

        return call


async def lists_of(store: Store, read_url: str | None, password: PasswordSource | None, codecs: Codecs) -> Lists:
    """The lists of an open store. Raises StorageConfigurationError if there is no copy of it at `read_url`."""
    if read_url is None:
        return Lists(store)
    url = parse_url(read_url)
    asked = password if url.password is None else None
    standby = Standby(lambda: coded(create_store(_quiet(read_url), password=asked), codecs), str(url), store)
    await standby.store()
    return Lists(store, standby)


def _quiet(url: str) -> str:
    """The URL without the wish to hear notifications, which a standby does not send."""
    parsed = parse_url(url)
    if "listen" in parsed.options or not parsed.hosts:
        return url
    return f"{url}{'&' if '?' in url else '?'}listen=off"
