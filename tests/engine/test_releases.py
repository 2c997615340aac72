"""The two ways in which a worker lets go of an instance: it releases it in the log, or drops it without a word."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec import Raw

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.core import ActivityCompleted, OwnerChanged, encode_commit
from romancy.engine.slot import FREE, GONE, TAKEN, Slot
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy import Handle
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live

pytestmark = pytest.mark.anyio

begun: list[int] = []


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@activity
async def hangs_at_first() -> str:
    begun.append(len(begun) + 1)
    if len(begun) == 1:
        await asyncio.Event().wait()
    return "done"


@workflow
async def works(ctx: WorkflowContext) -> str:
    return await hangs_at_first()


@pytest.fixture
async def app() -> AsyncIterator[Romancy]:
    begun.clear()
    async with Romancy("memory://", workflows=[works]) as app:
        yield app


def slot_of(live: Live) -> Slot:
    return live.slot


async def at_work(app: Romancy) -> tuple[Handle[str], Driver, Live]:
    """An instance whose attempt has begun and hangs, with its driver."""
    handle = await app.start(works)
    await until(lambda: bool(begun))
    worker = app._access.worker
    assert worker is not None
    live = worker.driver.live[handle.instance_id]
    await until(lambda: live.slot is FREE)
    return handle, worker.driver, live


async def test_an_instance_with_something_to_do_is_released_only_unfinished(app: Romancy) -> None:
    handle, driver, live = await at_work(app)

    driver.release(live)
    assert slot_of(live) is FREE
    assert live.attempts

    driver.release(live, unfinished=True)
    assert slot_of(live) is TAKEN
    assert not live.attempts
    assert await handle.result(timeout=20) == "done"
    assert [event.interrupted for event in await app.history(handle.instance_id) if isinstance(event, OwnerChanged)]
    assert slot_of(live) is GONE


async def test_an_end_that_waits_to_be_fed_is_written_before_a_release(app: Romancy) -> None:
    """It is nowhere else: the next owner would make the attempt again."""
    handle, driver, live = await at_work(app)
    driver.attempts.stop_all(live)
    live.give(ActivityCompleted(at=live.run.last_time, id="hangs_at_first:1", result=Raw(b'"done before"')))

    driver.release(live, unfinished=True)

    assert await handle.result(timeout=20) == "done before"
    assert begun == [1]


async def test_an_instance_whose_slot_is_taken_is_not_released(app: Romancy) -> None:
    _, driver, live = await at_work(app)

    live.take_slot()
    driver.release(live, unfinished=True)
    assert live.attempts
    live.free_slot()


async def test_a_drop_leaves_the_log_as_it_is(app: Romancy) -> None:
    handle, driver, live = await at_work(app)
    before = await app.history(handle.instance_id)

    driver.drop(live)
    await driver.writer.flushed()
    assert live.slot is GONE
    assert await app.history(handle.instance_id) == before


def end_of(live: Live) -> ActivityCompleted:
    return ActivityCompleted(at=live.run.last_time, id="hangs_at_first:1", result=Raw(b'"done"'))


async def test_an_end_that_waits_when_an_instance_is_dropped_may_have_had_an_effect(app: Romancy) -> None:
    _, driver, live = await at_work(app)
    attempt = live.attempts.pop("hangs_at_first:1")
    live.give(end_of(live))

    driver.drop(live)

    assert driver.attempts.interrupted.has(live, "hangs_at_first:1")
    assert attempt.task is not None
    attempt.task.cancel()


@pytest.mark.parametrize("where", ["writer", "session"])
async def test_an_end_under_way_when_the_lease_is_lost_may_have_had_an_effect(app: Romancy, where: str) -> None:
    """The append is in no queue of the driver any more, and the database may still refuse it."""
    _, driver, live = await at_work(app)
    worker = app._access.worker
    assert worker is not None
    attempt = live.attempts.pop("hangs_at_first:1")
    item = live.step("nonce", encode_commit([end_of(live)]))
    if where == "writer":
        driver.writer.submit(item, lambda _: None)
    else:
        worker._in_sessions[live.instance_id] = item

    worker.declared_dead()

    assert driver.attempts.interrupted.has(live, "hangs_at_first:1")
    assert attempt.task is not None
    attempt.task.cancel()
    worker._in_sessions.clear()
