"""`result()` asks the database at most once for an instance that this process holds, loaded or at rest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, Status
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy.storage.records import ClaimRequest, History, Work

pytestmark = pytest.mark.anyio

TRIES = 5


class CountedStore(WrappedStore):
    """Counts the reads of instances."""

    reads = 0

    async def read(self, instance_id: str, /, **which: Any) -> History | None:
        self.reads += 1
        return await self._store.read(instance_id, **which)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[CountedStore]:
    """Return the stores of the apps that are opened."""
    return wrap_stores(monkeypatch, CountedStore)


LOOKS = ("tidb", "vitess")
"""They look for changes at intervals, and tell nobody of those of this process."""


async def test_a_result_after_a_signal_reads_once(backend: str, storage_url: str, stores: list[CountedStore]) -> None:
    reads: list[int] = []
    async with Romancy(storage_url, workflows=[waits]) as app:
        for number in range(TRIES):
            handle = await app.start(waits.options(instance_id=f"after-{number}"))
            await status_is(app, handle.instance_id, Status.WAITING)
            before = stores[0].reads
            await handle.signal("go", 1)
            assert await handle.result() == 1
            reads.append(stores[0].reads - before)

    assert max(reads) <= (2 if backend in LOOKS else 1), reads


async def test_a_result_that_is_awaited_before_the_signal_reads_once(
    backend: str, storage_url: str, stores: list[CountedStore]
) -> None:
    reads: list[int] = []
    async with Romancy(storage_url, workflows=[waits]) as app:
        for number in range(TRIES):
            handle = await app.start(waits.options(instance_id=f"before-{number}"))
            await status_is(app, handle.instance_id, Status.WAITING)
            before = stores[0].reads
            awaited = asyncio.create_task(handle.result())
            await until(lambda one=f"before-{number}": app.watch(one).waiting)  # type: ignore[misc]
            await handle.signal("go", 1)
            assert await awaited == 1
            reads.append(stores[0].reads - before)

    # A store that looks for changes at intervals also finds those of this process, as the one with which it began to
    # wait, and cannot tell them from those of others.
    assert max(reads) <= (2 if backend in ("mysql", "mariadb", *LOOKS) else 1), reads


class SlowStore(WrappedStore):
    """Answers no claim while `held`."""

    held: asyncio.Event | None = None

    async def claim(self, request: ClaimRequest, /) -> Work:
        if self.held is not None:
            await self.held.wait()
        return await self._store.claim(request)


async def test_a_result_does_not_wait_for_a_claim_that_takes_long(
    storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instance rests in this process, and ends in another one, while this one's claim is not answered."""
    stores = wrap_stores(monkeypatch, SlowStore)
    async with Romancy(storage_url, workflows=[waits]) as here:
        handle = await here.start(waits.options(instance_id="elsewhere"))
        await status_is(here, "elsewhere", Status.WAITING)
        awaited = asyncio.create_task(handle.result())
        await until(lambda: here.watch("elsewhere").waiting)
        stores[0].held = asyncio.Event()
        try:
            async with Romancy(storage_url, workflows=[waits]) as there:
                await there.signal("elsewhere", "go", 1)
                await status_is(there, "elsewhere", Status.COMPLETED)
                assert await asyncio.wait_for(awaited, 10) == 1
        finally:
            stores[0].held.set()
