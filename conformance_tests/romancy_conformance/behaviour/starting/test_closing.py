"""Starts that the database does not answer, and apps that close then: bounded, and no caller waits forever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import romancy.starting.submissions
from romancy import Romancy, Status, UsageError
from romancy.engine.worker import worker
from romancy.errors import StorageUnavailableError
from romancy_conformance.behaviour.cast import returns, waits
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

ROOM = 20


class Away(WrappedStore):
    """A store that writes no starts while it is away."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.away = False
        self.refused: set[str] = set()
        """The instances whose starts it has refused."""

    async def commit(self, batch: Any, /, **options: Any) -> Any:
        if self.away and any(item.seq == 1 for item in batch):
            self.refused.update(item.instance_id for item in batch if item.seq == 1)
            raise StorageUnavailableError("nobody answers")
        return await self._store.commit(batch, **options)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[Away]:
    """The stores of the apps opened from here on; such an app has room for twenty starts."""
    made = wrap_stores(monkeypatch, Away)
    monkeypatch.setattr(romancy.starting.submissions, "_MOST_UNANSWERED", ROOM * 1024)
    monkeypatch.setattr(worker, "_LONGEST_GOODBYE", 0.2)
    return made


@pytest.mark.parametrize("what", ["worker", "client"])
async def test_a_caller_that_waits_for_a_result_learns_that_the_app_is_closed(
    storage_url: str, open_app: Open, what: str
) -> None:
    other = await open_app()
    async with Romancy(storage_url, workflows=[waits, returns], worker=what == "worker") as app:
        handle = await app.start(waits)
        await status_is(app, handle.instance_id, Status.WAITING)
        waiting = [asyncio.create_task(handle.result()) for _ in range(2)]
        await asyncio.sleep(0)

    for task in waiting:
        with pytest.raises(UsageError, match="not open"):
            await asyncio.wait_for(task, 60)
    await other.signal(handle.instance_id, "go", 7)
    assert await other.handle(handle.instance_id).result(timeout=60) == 7


@pytest.mark.parametrize("what", ["worker", "client"])
async def test_a_caller_that_waits_for_a_start_learns_that_the_app_is_closed(
    storage_url: str, stores: list[Away], open_app: Open, what: str
) -> None:
    async with Romancy(storage_url, workflows=[waits, returns], worker=what == "worker", drain_timeout=0.0) as app:
        stores[-1].away = True
        mine = returns.options(instance_id="mine")
        submitted = asyncio.create_task(app.start(mine, 1))
        await until(lambda: "mine" in stores[-1].refused)
        many = asyncio.create_task(app.start_many([returns.bind(number) for number in range(2 * ROOM)]))
        for _ in range(10):  # it waits for its turn then
            await asyncio.sleep(0)

    with pytest.raises(StorageUnavailableError, match="closed before the database had answered"):
        await asyncio.wait_for(submitted, 60)
    with pytest.raises(UsageError, match="closed before the instance could be started"):
        await asyncio.wait_for(many, 60)
    again = await open_app()
    assert await again.run(mine, 1) == 1
    assert len((await again.list_instances(instance_id="mine")).instances) == 1


async def test_starts_that_nobody_answers_are_bounded_whatever_callers_do(open_app: Open, stores: list[Away]) -> None:
    """Callers that give up leave their starts behind, and the patient ones wait for their turn."""
    app = await open_app()
    stores[-1].away = True

    async def hasty(number: int) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await app.start(returns.options(instance_id=f"hasty-{number}"), number)

    await asyncio.gather(*map(hasty, range(100)))
    patient = [asyncio.create_task(app.run(returns, number)) for number in range(50)]
    for _ in range(10):  # they wait for their turns then
        await asyncio.sleep(0)
    stores[-1].away = False

    assert list(range(50)) == [await asyncio.wait_for(task, 60) for task in patient]
    left_behind = [instance.instance_id async for instance in app.iter_instances(instance_id="hasty")]
    assert len(left_behind) <= ROOM


async def test_more_starts_than_there_is_room_for(open_app: Open, stores: list[Away]) -> None:
    app = await open_app()

    handles = await app.start_many([returns.bind(number) for number in range(10 * ROOM)])

    assert list(range(10 * ROOM)) == [await handle.result(timeout=60) for handle in handles]
    assert not stores[-1].away
