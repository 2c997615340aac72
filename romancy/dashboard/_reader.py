"""The database that the pages show: the app's own while the app is open, else one that the dashboard opens itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from romancy._access import check_place
from romancy._lists import lists_of
from romancy._operating import Operator
from romancy.app import Romancy
from romancy.engine import coded, opened, uncoded
from romancy.errors import UsageError
from romancy.serialization import NO_CODECS
from romancy.storage.backends import create_store
from romancy.storage.url import parse_url

if TYPE_CHECKING:
    from romancy._lists import Lists
    from romancy.serialization import Codecs
    from romancy.storage.protocol import Store

__all__ = ["Actor", "Reader", "Source"]

Actor: TypeAlias = Romancy | Operator
"""What acts on instances, and signals them."""


class Reader(NamedTuple):
    """An open database, as pages read it."""

    instances: Actor
    """Acts on instances. For visitors who may not see payloads, read from the store."""
    store: Store
    lists: Lists
    """Where lists, searches and counts are read."""
    codecs: Codecs
    app: Romancy | None
    """The app that the dashboard was given, with its code. It may not be open."""

    def sealed(self) -> Reader:
        """The same database for visitors who may not see sealed payloads."""
        return self._replace(store=uncoded(self.store), lists=self.lists.sealed(), codecs=NO_CODECS)


class Source:
    """Makes readers. It opens the database at the first request, and never migrates."""

    def __init__(self, app_or_url: Romancy | str) -> None:
        if not isinstance(app_or_url, Romancy | str):  # pyright: ignore[reportUnnecessaryIsInstance] - untyped code
            raise UsageError(f"asgi() takes an app or the URL of a database, not {type(app_or_url).__name__}")
        self.app = app_or_url if isinstance(app_or_url, Romancy) else None
        self.url = app_or_url if isinstance(app_or_url, str) else app_or_url.url
        self.place = str(parse_url(self.url))
        self.codecs = NO_CODECS if self.app is None else self.app.codecs
        self._operator: Operator | None = None
        self._client: Romancy | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()

    @property
    def is_shared(self) -> bool:
        """Whether a second store finds the same instances: always, except for a `memory://` without a name."""
        place = parse_url(self.url)
        return place.scheme != "memory" or bool(f"{place.host or ''}{place.path}")

    async def reader(self) -> Reader:
        """The database, opened if necessary. Raises StorageError if it cannot be opened."""
        if self.app is not None and self.app.is_open:
            return Reader(self.app, *_opened_by(self.app), self.codecs, self.app)
        async with self._opening:
            if self._operator is None:
                self._loop = asyncio.get_running_loop()
                password = None if self.app is None else self.app.password
                made = coded(create_store(self.url, password=password), self.codecs)
                store = await opened(lambda: made, str(parse_url(self.url)), patient=False, migrate=False)
                read_url = None if self.app is None else self.app.read_url
                self._operator = Operator(store, await lists_of(store, read_url, password, self.codecs))
        check_place(self._loop)
        return Reader(self._operator, self._operator.store, self._operator.lists, self.codecs, self.app)

    async def starter(self) -> Romancy | None:
        """An open app that starts workflows: the one that was given, or a client of it. None without an app."""
        if self.app is None or self.app.is_open:
            return self.app
        async with self._opening:
            if self._client is None:
                client = self.app.as_client()
                await client.__aenter__()  # `close` exits it
                self._client = client
        return self._client

    async def close(self) -> None:
        """Close the stores and clients that were opened here."""
        operator, self._operator = self._operator, None
        client, self._client = self._client, None
        if client is not None:
            await client.__aexit__(None, None, None)
        if operator is not None:
            await operator.leave()
            await operator.store.close()


def _opened_by(app: Romancy) -> tuple[Store, Lists]:
    access = app._access  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - a page reads what the app has open
    return access.opened(), access.lists()
