"""Sending events: to a key, to all that listen, to one instance; before the wait and behind it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest

from romancy import (
    EventTimeoutError,
    EventType,
    InstanceEndedError,
    InstanceNotFoundError,
    Romancy,
    SerializationError,
    Status,
    UsageError,
    WorkflowContext,
    workflow,
)
from romancy.query import gt
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


class Payment(msgspec.Struct):
    """What a payment says."""

    order: str
    amount: int = 0


Settled = EventType("payment.settled", Payment, key="order")


@workflow
async def by_key(ctx: WorkflowContext, order: str) -> int:
    event = await ctx.wait_event(Settled, key=order)
    return event.data.amount


@workflow
async def by_type(ctx: WorkflowContext) -> str:
    event = await ctx.wait_event(Settled)
    return event.data.order


@workflow
async def both(ctx: WorkflowContext, order: str) -> list[int]:
    keyed, plain = await asyncio.gather(ctx.wait_event(Settled, key=order), ctx.wait_event(Settled))
    return [keyed.data.amount, plain.data.amount]


@workflow
async def several(ctx: WorkflowContext, order: str) -> list[int]:
    events = await asyncio.gather(*(ctx.wait_event(Settled, key=order) for _ in range(3)))
    return [event.data.amount for event in events]


@workflow
async def large(ctx: WorkflowContext, order: str) -> int:
    event = await ctx.wait_event(Settled, key=order, where={"amount": gt(100)})
    return event.data.amount


@workflow
async def envelope(ctx: WorkflowContext) -> dict[str, object]:
    event = await ctx.wait_event("told", key="k")
    return {
        "id": event.id,
        "source": event.source,
        "subject": event.subject,
        "time": event.time.isoformat(),
        "headers": dict(event.headers),
        "extensions": dict(event.extensions),
        "mine": ctx.headers,
    }


@workflow
async def impatient(ctx: WorkflowContext, order: str) -> str:
    try:
        await ctx.wait_event(Settled, key=order, timeout=0.05)
    except EventTimeoutError:
        return "nothing came"
    return "came"


async def test_an_event_reaches_the_wait_for_its_key(app: Romancy) -> None:
    mine, other = await app.start(by_key, "a"), await app.start(by_key, "b")
    await status_is(app, mine.instance_id, Status.WAITING)

    sent = await app.send(Settled, Payment("a", 5))

    assert not sent.duplicate
    assert await mine.result(timeout=20) == 5
    await app.send(Settled, Payment("b", 7))
    assert await other.result(timeout=20) == 7


async def test_an_event_with_a_key_is_kept_until_it_is_asked_for(open_app: Open) -> None:
    sender = await open_app(worker=False)
    await sender.send(Settled, Payment("a", 5))
    await sender.send(Settled, Payment("a", 6))
    app = await open_app()

    assert await app.run(by_key, "a") == 5
    assert await app.run(by_key, "a") == 6


async def test_one_wait_alone_gets_an_event_with_a_key(app: Romancy) -> None:
    first = await app.start(by_key, "a")
    await status_is(app, first.instance_id, Status.WAITING)
    second = await app.start(by_key, "a")
    await status_is(app, second.instance_id, Status.WAITING)

    await app.send(Settled, Payment("a", 1))
    assert await first.result(timeout=20) == 1
    assert (await app.get_instance(second.instance_id)).status is Status.WAITING  # type: ignore[union-attr]

    await app.send(Settled, Payment("a", 2))
    assert await second.result(timeout=20) == 2


async def test_every_wait_for_the_type_gets_an_event(app: Romancy) -> None:
    listening = [await app.start(by_type) for _ in range(3)]
    for handle in listening:
        await status_is(app, handle.instance_id, Status.WAITING)

    await app.send(Settled, Payment("x"))

    assert [await handle.result(timeout=20) for handle in listening] == ["x", "x", "x"]


async def test_a_wait_with_a_key_and_one_without_get_the_same_event(app: Romancy) -> None:
    handle = await app.start(both, "a")
    await status_is(app, handle.instance_id, Status.WAITING)

    await app.send(Settled, Payment("a", 1))

    assert await handle.result(timeout=20) == [1, 1]


async def test_several_waits_with_one_key_get_an_event_each(app: Romancy) -> None:
    for amount in (1, 2, 3):
        await app.send(Settled, Payment("a", amount))

    assert await app.run(several, "a") == [1, 2, 3]


async def test_a_wait_with_conditions_leaves_other_events_to_others(app: Romancy) -> None:
    await app.send(Settled, Payment("a", 50))
    handle = await app.start(large, "a")
    await status_is(app, handle.instance_id, Status.WAITING)
    await app.send(Settled, Payment("a", 200))

    assert await handle.result(timeout=20) == 200
    assert await app.run(by_key, "a") == 50


async def test_conditions_hold_for_what_is_sent_to_the_instance(app: Romancy) -> None:
    handle = await app.start(large, "a")
    await app.send(Settled, Payment("a", 50), to=handle.instance_id)
    await app.signal(handle.instance_id, Settled, Payment("a", 60), key="a")
    await app.send(Settled, Payment("a", 300), to=handle.instance_id)

    assert await handle.result(timeout=20) == 300


async def test_the_envelope_comes_along(app: Romancy) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    handle = await app.start(envelope.options(headers={"trace": "t-1"}))
    await app.send(
        "told", key="k", source="/shop", id="e-1", subject="s", time=at, headers={"tenant": "x"}, extensions={"n": 3}
    )

    assert await handle.result(timeout=20) == {
        "id": "e-1",
        "source": "/shop",
        "subject": "s",
        "time": at.isoformat(),
        "headers": {"tenant": "x"},
        "extensions": {"n": 3},
        "mine": {"trace": "t-1"},
    }


async def test_the_subject_is_the_key_if_no_other_is_given(app: Romancy) -> None:
    await app.send("told", subject="k")

    assert (await app.run(envelope))["subject"] == "k"


async def test_an_event_sent_again_is_dropped(app: Romancy) -> None:
    first = await app.send(Settled, Payment("a", 1), source="/shop", id="7")
    again = await app.send(Settled, Payment("a", 1), source="/shop", id="7")
    other = await app.send(Settled, Payment("a", 2), source="/bank", id="7")

    assert (first.id, first.duplicate) == ("7", False)
    assert (again.id, again.duplicate) == ("7", True)
    assert not other.duplicate
    assert await app.run(by_key, "a") == 1
    assert await app.run(by_key, "a") == 2
    assert (await app.send(Settled, Payment("a", 1), source="/shop", id="7")).duplicate


async def test_an_event_sent_again_to_an_instance_is_dropped(app: Romancy) -> None:
    handle = await app.start(several, "a")
    for source in ("/shop", "/shop", "/bank"):
        await app.send(Settled, Payment("a", len(source)), to=handle.instance_id, source=source, id="7")
    await app.send(Settled, Payment("a", 9), to=handle.instance_id)

    assert await handle.result(timeout=20) == [5, 5, 9]


async def test_an_event_to_nobody(app: Romancy) -> None:
    ended = await app.start(impatient, "a")
    assert await ended.result(timeout=20) == "nothing came"

    with pytest.raises(InstanceNotFoundError):
        await app.send(Settled, Payment("a"), to="nobody")
    with pytest.raises(InstanceEndedError):
        await app.send(Settled, Payment("a"), to=ended.instance_id)


async def test_a_wait_that_timed_out_takes_no_event(app: Romancy) -> None:
    assert await app.run(impatient, "a") == "nothing came"
    await app.send(Settled, Payment("a", 3))

    assert await app.run(by_key, "a") == 3


async def test_what_cannot_be_sent(app: Romancy) -> None:
    with pytest.raises(SerializationError):
        await app.send(Settled, {"order": 5})
    with pytest.raises(UsageError, match="time zone"):
        await app.send("told", time=datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused
    with pytest.raises(UsageError, match="headers"):
        await app.send("told", headers=["x"])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no text and no whole number"):
        await app.send(EventType("told", dict[str, str], key="nothing"), {})
