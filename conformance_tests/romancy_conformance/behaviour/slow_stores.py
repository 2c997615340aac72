"""Stores whose appends wait, are refused or are lost when a test says so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import StorageUnavailableError
from romancy.storage.records import Outcome
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.changing import changed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Work

__all__ = ["SOON", "Losing", "Slow", "stores"]


SOON = 25.0
"""Seconds; a statement that waits for an open session waits for thirty."""


class Slow(WrappedStore):
    """A store whose appends wait while held; a waiting one can be refused, as if another worker had written."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.free = asyncio.Event()
        self.free.set()
        self.waits = asyncio.Event()
        self.brought = asyncio.Event()
        """Set when a claim has brought mail."""
        self.refuses = False

        self.loses = False
        """The next session's commit is lost, once it may be."""
        self.losing, self.lost = asyncio.Event(), asyncio.Event()
        self.services = store.services.wrapped(sessions=lambda sessions: changed(sessions, begin=self._begin))

    @asynccontextmanager
    async def _begin(self, **options: Any) -> AsyncGenerator[Any]:
        async with self._store.services.sessions.begin(**options) as session:
            yield Losing(session, self)

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._store.claim(request)
        if work.mail:
            self.brought.set()
        return work

    async def commit(self, batch: Any, /, **options: Any) -> Any:
        if not self.free.is_set() and any(item.seq > 1 for item in batch):
            self.waits.set()
            await self.free.wait()
            if self.refuses:
                self.refuses = False
                return [Outcome.TAKEN for _ in batch]
        return await self._store.commit(batch, **options)


class Losing:
    """A session whose connection can be lost right before its commit."""

    def __init__(self, session: Any, store: Slow) -> None:
        self._session = session
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def commit(self, item: Any, /, **options: Any) -> Any:
        if self._store.loses:
            self._store.loses = False
            self._store.losing.set()
            await self._store.lost.wait()
            raise StorageUnavailableError("the connection is gone")
        return await self._session.commit(item, **options)


@pytest.fixture(autouse=True)
def stores(monkeypatch: pytest.MonkeyPatch) -> list[Slow]:
    """The stores of the apps opened from here on."""
    return wrap_stores(monkeypatch, Slow)
