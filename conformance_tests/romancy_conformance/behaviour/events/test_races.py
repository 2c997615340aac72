"""An event that meets the end of its wait is received there or by the next wait, exactly once."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from romancy import (
    Event,
    EventTimeoutError,
    EventType,
    InstanceEndedError,
    Romancy,
    Status,
    TerminalError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    workflow,
)
from romancy.core import MessageAwaited, MessageReceived
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Paid = EventType("paid", int)
COUNT = 12
LIMIT = 5.0
"""Seconds of the wait that has a limit: enough to send something meanwhile."""
BY_SIGNAL = ("stops", "fails", "recurs", "limits")


@workflow
async def first_in_line(ctx: WorkflowContext, key: str, end: str) -> int | None:
    """Wait for a payment or for the end, whichever comes first."""
    payment = asyncio.ensure_future(ctx.wait_event(Paid, key=key))
    over = asyncio.ensure_future(ctx.wait_event("over"))
    if end == "limits":
        return await _limited(payment, over)
    await asyncio.wait({payment, over}, return_when=asyncio.FIRST_COMPLETED)
    if payment.done():
        return payment.result().data
    if end == "fails":
        raise TerminalError("it is over")
    if end == "recurs":
        return first_in_line.recur(key, "returns")
    return None


async def _limited(payment: asyncio.Future[Event[int]], over: asyncio.Future[Event[object]]) -> int | None:
    """The same with a scope that cancels the wait."""

    async def cancel() -> None:
        await over
        payment.cancel()

    ending = asyncio.ensure_future(cancel())
    try:
        event = await asyncio.wait_for(payment, None)
    except asyncio.CancelledError:
        return None
    finally:
        ending.cancel()
    return event.data


async def meets(app: Romancy, other: Romancy, end: str, number: int) -> tuple[str, str]:
    """Let the event and the end of its wait meet; return the two that may have got it."""
    key = f"k{number}"
    first = await app.start(first_in_line, key, "stops" if end not in BY_SIGNAL else end)
    await status_is(app, first.instance_id, Status.WAITING)
    if end == "cancel":
        ending: Awaitable[object] = other.cancel(first.instance_id)
    elif end == "terminate":
        ending = other.terminate(first.instance_id)
    else:
        ending = other.signal(first.instance_id, "over")
    second = await other.start(waits, "paid", key)
    calls = [other.send(Paid, number, key=key), ending]
    await asyncio.gather(*(calls if number % 2 else reversed(calls)))
    return first.instance_id, second.instance_id


@pytest.mark.long
@pytest.mark.parametrize("end", ["cancel", "terminate", *BY_SIGNAL])
async def test_an_event_meets_the_end_of_its_wait(open_app: Open, end: str) -> None:
    app, other = await open_app(), await open_app()
    met = await asyncio.gather(*(meets(app, other, end, number) for number in range(COUNT)))

    for number, (first, second) in enumerate(met):
        if end == "recurs":
            with contextlib.suppress(InstanceEndedError):
                await app.signal(first, "over")
        try:
            got = await app.handle(first).result(timeout=30)
        except (WorkflowCancelledError, WorkflowFailedError):
            got = None
        assert got in (None, number)
        if got is not None:
            await other.send(Paid, number, key=f"k{number}")
        assert await app.handle(second).result(timeout=30) == number
        received = [
            event
            for instance_id in (first, second)
            for event in await app.history(instance_id)
            if isinstance(event, MessageReceived) and event.message.topic.name == "paid"
        ]
        assert len(received) == (1 if got is None else 2)


@workflow
async def limited(ctx: WorkflowContext, key: str) -> int | None:
    try:
        return (await ctx.wait_event(Paid, key=key, timeout=LIMIT)).data
    except EventTimeoutError:
        return None


@pytest.mark.long
@pytest.mark.parametrize("late", [False, True], ids=["in time", "too late"])
async def test_while_no_worker_was_there_the_earlier_of_event_and_limit_counts(open_app: Open, *, late: bool) -> None:
    """B7: by the database's clock, whenever a worker comes to it."""
    sender = await open_app(worker=False)
    async with sender.as_client().with_worker() as worker:
        handle = await worker.start(limited, "k")
        await status_is(worker, handle.instance_id, Status.WAITING)
    store = sender._access.opened()
    (wait,) = [one for one in await sender.history(handle.instance_id) if isinstance(one, MessageAwaited)]
    assert wait.due is not None

    async def is_over() -> bool:
        return (await store.services.reading.census()).now > (wait.due or 0)

    if late:
        await until(is_over)
    await sender.send(Paid, 1, key="k")
    await until(is_over)
    await open_app()

    assert await sender.handle(handle.instance_id).result(timeout=30) == (None if late else 1)
    await sender.send(Paid, 2, key="k")
    assert await sender.run(waits, "paid", "k") == (1 if late else 2)


async def test_one_id_sent_at_once_from_two_processes_is_one_event(open_app: Open) -> None:
    one, two = await open_app(), await open_app(worker=False)
    handle = await one.start(waits, "paid", "k")
    sent = await asyncio.gather(*(app.send(Paid, 1, key="k", source="/shop", id="7") for app in (one, two) * 5))

    assert sorted(one.duplicate for one in sent) == [False, *[True] * 9]
    assert await handle.result(timeout=30) == 1
    await two.send(Paid, 2, key="k", source="/shop", id="8")
    assert await one.run(waits, "paid", "k") == 2, "nothing of the other was kept"
