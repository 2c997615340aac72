"""Events that are kept before anybody waits for them: a loop that receives them all, and what comparing them costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import EventTimeoutError, RetryPolicy, Romancy, Status, WorkflowContext, activity, workflow
from romancy._microseconds import moment_of
from romancy.core import MessageAwaited
from romancy.query import gte
from romancy.storage.query import Searched
from romancy.storage.routing import Spread
from romancy_conformance.behaviour.waiting import joined, status_is, until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

KEPT = 200
LIMIT = 2.0
"""Much more than reading one kept message takes, on a busy machine too."""

broken: list[bool] = []


@workflow
async def backlog_events(ctx: WorkflowContext, limit: float) -> int:
    received = 0
    while True:
        try:
            await ctx.wait_event("item", key="k", timeout=limit)
        except EventTimeoutError:
            return received
        received += 1


@workflow
async def backlog_messages(ctx: WorkflowContext, limit: float) -> int:
    jobs, received = ctx.channel("jobs"), 0
    await jobs.subscribe("competing")
    while True:
        try:
            await jobs.receive(timeout=limit)
        except EventTimeoutError:
            return received
        received += 1


@activity(retry=RetryPolicy.none())
async def backlog_shaky() -> None:
    if broken:
        raise ValueError("not yet")


@workflow
async def backlog_sends(ctx: WorkflowContext) -> list[str]:
    ids = [
        await ctx.send("item", 1, key="k"),
        await ctx.channel("c").publish(1),
        await ctx.channel("d").send_to("receiver", 1),
    ]
    await backlog_shaky()
    return ids


@workflow
async def backlog_receives(ctx: WorkflowContext) -> list[str]:
    await ctx.channel("c").subscribe()
    event = await ctx.wait_event("item", key="k")
    message = await ctx.channel("c").receive()
    direct = await ctx.channel("d").receive(direct=True)
    return [event.id, message.id, direct.id]


@workflow
async def backlog_picky(ctx: WorkflowContext, at_least: int) -> int:
    event = await ctx.wait_event("order", key="shop", where={"amount": gte(at_least)})
    return int(event.data["amount"])


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a message was compared with conditions until now."""
    counted = [0]
    fits = Searched.fits

    def counting(self: Searched, where: bytes | None) -> bool:
        counted[0] += where is not None
        return fits(self, where)

    monkeypatch.setattr(Searched, "fits", counting)
    return lambda: counted[0]


async def limits(app: Romancy, instance_id: str) -> list[int]:
    """When the waits of an instance were due, by the times of its log."""
    waits = [one for one in await app.history(instance_id) if isinstance(one, MessageAwaited)]
    return [one.due for one in waits if one.due is not None]


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")
async def test_a_loop_with_a_time_limit_receives_all_kept_events(app: Romancy) -> None:
    await asyncio.gather(*(app.send("item", number, key="k") for number in range(KEPT)))

    handle = await app.start(backlog_events, LIMIT)
    assert KEPT == await handle.result(timeout=60)
    due = await limits(app, handle.instance_id)
    assert due == sorted(set(due))
    assert KEPT + 1 == len(due)


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")
async def test_a_loop_with_a_time_limit_receives_all_kept_messages(app: Romancy) -> None:
    await asyncio.gather(*(app.channel("jobs").publish(number) for number in range(KEPT)))

    handle = await app.start(backlog_messages, LIMIT)
    assert KEPT == await handle.result(timeout=60)
    due = await limits(app, handle.instance_id)
    assert due == sorted(set(due))
    assert KEPT + 1 == len(due)


@workflow
async def backlog_times(ctx: WorkflowContext) -> list[str]:
    event = await ctx.wait_event("item", key="k")
    jobs = ctx.channel("jobs")
    await jobs.subscribe("competing")
    return [event.time.isoformat(), (await jobs.receive()).time.isoformat()]


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")
async def test_what_was_kept_has_the_time_at_which_it_was_sent(app: Romancy) -> None:
    await app.send("item", 1, key="k")
    await app.channel("jobs").publish(1)
    kept = sorted(one.at for one in await app._access.opened().services.router.kept() if one.spread is not Spread.EVERY)  # pyright: ignore[reportPrivateUsage]

    handle = await app.start(backlog_times)

    assert await handle.result(timeout=60) == [moment_of(at).isoformat() for at in kept]


async def test_a_retry_returns_the_ids_that_receivers_have_seen(app: Romancy) -> None:
    receiver = await app.start(backlog_receives.options(instance_id="receiver"))
    await joined(app, 1, "c")
    broken[:] = [True]
    sender = await app.start(backlog_sends)
    seen = await receiver.result(timeout=60)
    await status_is(app, sender.instance_id, Status.FAILED)
    broken.clear()

    await app.retry(sender.instance_id)

    assert seen == await sender.result(timeout=60)


async def test_kept_events_are_compared_once_with_each_wait(app: Romancy, compared: Callable[[], int]) -> None:
    waits, kept = 10, 40
    await asyncio.gather(*(app.send("order", {"amount": 1}, key="shop") for _ in range(kept)))
    handles = await app.start_many([backlog_picky.bind(1000 + number) for number in range(waits)])
    for handle in handles:
        await status_is(app, handle.instance_id, Status.WAITING)
    await until(lambda: compared() >= waits * kept)
    assert compared() <= waits * (kept + 1)

    await app.send("order", {"amount": 1000}, key="shop")

    assert 1000 == await handles[0].result(timeout=60)
    assert compared() <= waits * (kept + 3)


async def test_events_that_nobody_wants_are_compared_once(app: Romancy, compared: Callable[[], int]) -> None:
    further = 30
    handle = await app.start(backlog_picky, 1000)
    await status_is(app, handle.instance_id, Status.WAITING)
    for number in range(further):
        await app.send("order", {"amount": number}, key="shop")
    await app.send("order", {"amount": 1000}, key="shop")

    assert 1000 == await handle.result(timeout=60)
    assert compared() <= 3 * (further + 1)
