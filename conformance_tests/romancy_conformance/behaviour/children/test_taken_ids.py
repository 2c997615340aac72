"""Children whose ids are taken, while the database is out of reach now and then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, StorageUnavailableError, WorkflowContext, WorkflowFailedError, workflow
from romancy_conformance.behaviour.cast import returns
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import History
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOON = 20.0
MANY = 30
SEVERAL = 5


@workflow
async def opens_tills(ctx: WorkflowContext) -> int:
    """Start all of them, and count the ids that another has."""
    tills = [returns.options(instance_id=f"till-{number}")(number) for number in range(MANY)]
    ends = await asyncio.gather(*tills, return_exceptions=True)
    return sum(isinstance(end, WorkflowFailedError) for end in ends)


class Shaky(WrappedStore):
    """A store on which each tenth read of a till fails."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.reads = 0

    async def read(self, instance_id: str, /, **options: Any) -> History | None:
        if instance_id.startswith("till-"):
            self.reads += 1
            if self.reads % 10 == 0:
                raise StorageUnavailableError("each tenth read fails")
        return await self._store.read(instance_id, **options)


class Waiting(WrappedStore):
    """A store on which a till is read when others are being read too."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.reads, self.several = 0, asyncio.Event()

    async def read(self, instance_id: str, /, **options: Any) -> History | None:
        if instance_id.startswith("till-"):
            self.reads += 1
            if self.reads == SEVERAL:
                self.several.set()
            await self.several.wait()
        return await self._store.read(instance_id, **options)


async def test_several_ids_are_looked_for_at_once(
    open_app: Open, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has to look for many ids may lose the instance before it has seen all of them one by one."""
    front = await open_app(worker=False, workflows=[returns, opens_tills])
    await front.start_many([returns.options(instance_id=f"till-{number}").bind(number) for number in range(MANY)])
    wrap_stores(monkeypatch, Waiting)

    async with Romancy(storage_url, workflows=[opens_tills]) as app:
        assert MANY == await (await app.start(opens_tills)).result(timeout=SOON)


async def test_many_ids_that_are_taken_are_found_although_some_reads_fail(
    open_app: Open, storage_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found before a failure is not asked for again."""
    front = await open_app(worker=False, workflows=[returns, opens_tills])
    await front.start_many([returns.options(instance_id=f"till-{number}").bind(number) for number in range(MANY)])
    wrap_stores(monkeypatch, Shaky)

    async with Romancy(storage_url, workflows=[opens_tills]) as app:
        assert MANY == await (await app.start(opens_tills)).result(timeout=SOON)
