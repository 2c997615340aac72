"""Draining a worker while mail comes for its instances: they continue on other workers, and no work is repeated."""

# Only a test that stops the worker of an app at a chosen moment touches it.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Status, WorkflowContext, activity, activity_context, workflow
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

begun: list[str] = []
gates: list[asyncio.Event] = []


@activity
async def drain_step() -> str:
    begun.append(activity_context().instance_id)
    await gates[-1].wait()
    return "done"


calls_drain_step = calling(drain_step)


@pytest.fixture(autouse=True)
def gate() -> asyncio.Event:
    begun.clear()
    gates.append(asyncio.Event())
    return gates[-1]


async def test_mail_comes_while_a_step_is_let_end(open_app: Open, gate: asyncio.Event) -> None:
    app = await open_app()
    handle = await app.start(calls_drain_step)
    await until(lambda: begun)
    worker = app._access.worker
    assert worker is not None
    live = worker.driver.live[handle.instance_id]
    draining = asyncio.create_task(app.drain(20))
    await until(lambda: worker.draining)
    await handle.signal("unexpected", 1)
    await until(lambda: live.signals)  # the worker has read it
    gate.set()
    await asyncio.wait_for(draining, 30)

    other = await open_app()
    assert await other.handle(handle.instance_id, calls_drain_step).result(timeout=10) == "done"
    assert begun == [handle.instance_id]


class Held(WrappedStore):
    """A store whose appends wait while they are held."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.free = asyncio.Event()
        self.free.set()
        self.waiting = asyncio.Event()

    async def commit(self, batch: Any, /, **options: Any) -> Any:
        if any(item.seq > 1 for item in batch):
            self.waiting.set()
            await self.free.wait()
        return await self._store.commit(batch, **options)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[Held]:
    """The stores of the apps opened from here on."""
    return wrap_stores(monkeypatch, Held)


ends: dict[int, asyncio.Event] = {}


@activity
async def drain_one_of(number: int) -> int:
    begun.append(f"{number}")
    await ends[number].wait()
    return number


@workflow
async def drain_gathers(ctx: WorkflowContext) -> int:
    return sum(await asyncio.gather(*(drain_one_of(number) for number in (1, 2, 3))))


async def test_an_end_is_written_after_the_others_were_dropped(open_app: Open, stores: list[Held]) -> None:
    """Nothing of the instance runs any more, but its end is not written yet."""
    ends.update({number: asyncio.Event() for number in (1, 2, 3)})
    app = await open_app()
    store = stores[-1]
    handle = await app.start(drain_gathers)
    await until(lambda: len(begun) == 3)
    assert app._access.worker is not None
    live = app._access.worker.driver.live[handle.instance_id]
    store.waiting.clear()
    store.free.clear()
    ends[1].set()
    await asyncio.wait_for(store.waiting.wait(), 60)
    ends[2].set()
    await until(lambda: bool(live.inputs))
    draining = asyncio.create_task(app.drain(0))
    await until(lambda: not live.attempts)
    store.free.set()
    await asyncio.wait_for(draining, 60)

    row = await app.get_instance(handle.instance_id)
    assert row is not None
    assert (row.status, row.wakes_at is not None) == (Status.RUNNING, True)
    ends[3].set()
    other = await open_app()
    assert await other.handle(handle.instance_id, drain_gathers).result(timeout=60) == 6
    assert sorted(begun) == ["1", "2", "3", "3"]
