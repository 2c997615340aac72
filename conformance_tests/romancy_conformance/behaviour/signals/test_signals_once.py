"""Signals with an id are delivered once, and signals to ended instances are refused with their status."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import (
    EventType,
    InstanceEndedError,
    InstanceNotFoundError,
    Romancy,
    Status,
    StorageUnavailableError,
    UsageError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Paid = EventType("paid", int)
apps: list[Romancy] = []


@workflow
async def once_adds(ctx: WorkflowContext, count: int) -> list[tuple[str, int]]:
    events = [await ctx.wait_event(Paid) for _ in range(count)]
    return [(event.id, event.data) for event in events]


@activity
async def once_remits(amount: int, fails: int) -> str:
    session = await activity_context().session()
    for _ in range(2):
        await apps[0].signal("till", Paid, amount, id="remittance", session=session)
    if activity_context().attempt <= fails:
        raise ConnectionError("the attempt leaves nothing, not even the id")
    await apps[0].start(once_adds.options(instance_id="new"), 1, session=session)
    for _ in range(2):
        await apps[0].signal("new", Paid, amount, id="remittance", session=session)
    try:
        await apps[0].signal("nobody", Paid, amount, id="remittance", session=session)
    except InstanceNotFoundError as error:
        return str(error)
    return "sent"


@workflow
async def once_customer(ctx: WorkflowContext, amount: int) -> str:
    return await once_remits(amount, 1)


async def test_the_second_of_an_id_is_dropped(app: Romancy, open_app: Open) -> None:
    other = await open_app(worker=False)
    handle = await app.start(once_adds.options(instance_id="till"), 3)
    first, second = (one.handle("till") for one in (app, other))
    await asyncio.gather(*(one.signal(Paid, 1, id="a") for one in (first, second, first, second)))
    await second.signal(Paid, 7, id="a")
    await first.signal(Paid, 2, id="b")
    await second.signal(Paid, 3)

    received = await handle.result()

    assert [("a", 1), ("b", 2)] == received[:2]
    assert 3 == received[2][1]
    await handle.signal(Paid, 2, id="b")  # sent again after the end: it was received


async def test_it_is_dropped_after_the_first_was_received(app: Romancy) -> None:
    handle = await app.start(once_adds, 2)
    await handle.signal(Paid, 1, id="a")
    async for entry in handle.entries(follow=True):
        if type(entry.event).__name__ == "MessageReceived":
            break
    await handle.signal(Paid, 1, id="a")
    await handle.signal(Paid, 2, id="b")

    assert [("a", 1), ("b", 2)] == await handle.result()


async def test_an_id_is_remembered_for_each_instance_and_each_life_of_it(app: Romancy) -> None:
    for _ in range(2):
        handles = [await app.start(once_adds.options(instance_id=id), 1) for id in ("one", "two")]
        for handle in handles:
            await handle.signal(Paid, 1, id="a")
            assert [("a", 1)] == await handle.result()
        assert 2 == await app.purge("one", "two")


async def test_purging_forgets_only_old_ids(app: Romancy, open_app: Open) -> None:
    handle = await app.start(once_adds, 2)
    await handle.signal(Paid, 1, id="a")
    ended = await app.start(once_adds, 0)
    assert [] == await ended.result()

    assert 1 == await (await open_app(worker=False)).purge(ended.instance_id)

    await handle.signal(Paid, 1, id="a")
    await handle.signal(Paid, 2, id="b")
    assert [("a", 1), ("b", 2)] == await handle.result()


async def test_purging_many_forgets_old_ids_too(app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await app.start(once_adds, 2)
    await handle.signal(Paid, 1, id="a")
    assert [] == await (await app.start(once_adds, 0)).result()
    monkeypatch.setattr("romancy.engine.outside.management.REMEMBERED", -3_600_000_000)  # every remembered id is old

    assert 1 == len(await (await open_app(worker=False)).purge_many(workflow_name=once_adds.name))

    await handle.signal(Paid, 1, id="a")
    assert [("a", 1), ("a", 1)] == await handle.result()


async def test_a_purge_that_fails_leaves_the_forgetting_to_the_next(
    app: Romancy, open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await app.start(once_adds, 2)
    await handle.signal(Paid, 1, id="a")
    monkeypatch.setattr("romancy.engine.outside.management.REMEMBERED", -3_600_000_000)  # every remembered id is old
    front = await open_app(worker=False)
    store = front._access.opened()  # pyright: ignore[reportPrivateUsage]

    async def fail(_: object) -> int:
        raise StorageUnavailableError("the connection is gone")

    with monkeypatch.context() as patch:
        patch.setattr(store.services.upkeep, "prune", fail)
        with pytest.raises(StorageUnavailableError):
            await front.purge("nobody")
    await front.purge("nobody")

    await handle.signal(Paid, 1, id="a")
    assert [("a", 1), ("a", 1)] == await handle.result(timeout=60)


async def test_an_id_sent_in_a_session_goes_with_its_commit(app: Romancy) -> None:
    apps[:] = [app]
    till = await app.start(once_adds.options(instance_id="till"), 2)

    said = await app.run(once_customer, 5)
    await till.signal(Paid, 5, id="remittance")
    await till.signal(Paid, 6)

    assert "there is no instance 'nobody'" == said
    received = await till.result()
    assert [("remittance", 5), 6] == [received[0], received[1][1]]
    assert [["remittance", 5]] == await app.handle("new").result()


async def test_bad_ids_are_refused(app: Romancy) -> None:
    handle = await app.start(once_adds.options(instance_id="till"), 1)
    for bad in ("", "a" * 256):
        with pytest.raises(UsageError, match="id of the signal"):
            await handle.signal(Paid, 1, id=bad)
    with pytest.raises(InstanceNotFoundError):
        await app.signal("nobody", Paid, 1, id="a")
    await app.terminate("till")


async def test_what_is_sent_to_the_ended_is_refused_by_its_status(app: Romancy, open_app: Open) -> None:
    done = await app.start(once_adds, 0)
    await done.result()
    cancelled = await app.start(once_adds, 1)
    await status_is(app, cancelled.instance_id, Status.WAITING)
    await cancelled.cancel()
    await status_is(app, cancelled.instance_id, Status.CANCELLED)
    front = await open_app(worker=False)

    for handle, status in ((done, "completed"), (cancelled, "cancelled")):
        for id in (None, "a"):
            with pytest.raises(InstanceEndedError, match=rf"has ended \({status}\)") as told:
                await front.signal(handle.instance_id, Paid, 1, id=id)
            assert (handle.instance_id, status) == (told.value.instance_id, told.value.status)
            assert isinstance(told.value, UsageError)
    assert not await done.cancel()
