"""Events and messages of channels are one thing: what is promised of the one holds of the other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import pytest

from romancy import (
    Channel,
    EventTimeoutError,
    EventType,
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy.core import MessageAwaited, MessageSent
from romancy.query import gte
from romancy.storage.any_store import lying_in
from romancy.storage.backends import create_store
from romancy.storage.query import encode_where
from romancy.storage.routing import OUTSIDE, Interest, InterestKind, Owner, Spread
from romancy_conformance.behaviour.coded import SECRET, Masking
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy import Subscription
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Family: TypeAlias = Literal["event", "channel"]
FAMILIES: tuple[Family, ...] = ("event", "channel")
Reading = EventType("reading", int)
Readings = Channel("reading", int)
Order = EventType("order", dict[str, int])
Orders = Channel("order", dict[str, int])

broken: list[bool] = []


@pytest.fixture(autouse=True)
def mended() -> None:
    broken.clear()


async def publish(app: Romancy, family: Family, data: Any) -> None:
    """Send to all that have subscribed to the topic `reading`, of whatever type the data are."""
    if family == "event":
        await app.send("reading", data)
    else:
        await app.channel("reading").publish(data)


async def joined(app: Romancy, instance_id: str) -> None:
    await status_is(app, instance_id, Status.WAITING)


@workflow
async def takes_the_first(ctx: WorkflowContext, family: Family, more: int) -> list[int]:
    """Subscribe, receive one, unsubscribe, subscribe again, and receive what comes then."""
    if family == "event":
        await ctx.subscribe(Reading)
        await ctx.wait_event("begin")
        got = [(await ctx.wait_event(Reading)).data]
        await ctx.unsubscribe(Reading)
        await ctx.subscribe(Reading)
        await ctx.wait_event("go on")
        return [*got, *[(await ctx.wait_event(Reading)).data for _ in range(more)]]
    channel = ctx.channel(Readings)
    await channel.subscribe()
    await ctx.wait_event("begin")
    got = [(await channel.receive()).data]
    await channel.unsubscribe()
    await channel.subscribe()
    await ctx.wait_event("go on")
    return [*got, *[(await channel.receive()).data for _ in range(more)]]


@pytest.mark.parametrize("family", FAMILIES)
async def test_what_is_unread_when_a_subscription_ends_is_dropped(app: Romancy, store: Store, family: Family) -> None:
    handle = await app.start(takes_the_first, family, 1)
    await joined(app, handle.instance_id)
    for number in (1, 2, 3):
        await publish(app, family, number)

    async def all_are_there() -> bool:
        return len([one async for one in lying_in(store, handle.instance_id, most=10)]) == 3

    await until(all_are_there)
    await handle.signal("begin")

    async def waits_again() -> bool:
        history = await app.history(handle.instance_id)
        return any(isinstance(one, MessageAwaited) and one.topic.name == "go on" for one in history)

    await until(waits_again)
    await publish(app, family, 4)
    await handle.signal("go on")

    assert await handle.result(timeout=30) == [1, 4]


@workflow
async def wants_a_number(ctx: WorkflowContext, family: Family) -> int:
    if family == "event":
        await ctx.subscribe(Reading)
        await ctx.wait_event("begin")
        return (await ctx.wait_event(Reading)).data
    channel = ctx.channel(Readings)
    await channel.subscribe()
    await ctx.wait_event("begin")
    return (await channel.receive()).data


@pytest.mark.parametrize("family", FAMILIES)
async def test_data_that_does_not_fit_is_put_aside_and_said(
    app: Romancy, caplog: pytest.LogCaptureFixture, family: Family
) -> None:
    handle = await app.start(wants_a_number, family)
    await joined(app, handle.instance_id)
    await publish(app, family, "much")
    await publish(app, family, 5)
    with caplog.at_level(logging.WARNING, "romancy"):
        await handle.signal("begin")
        assert await handle.result(timeout=30) == 5

    (line,) = [record.getMessage() for record in caplog.records if "put aside" in record.getMessage()]
    assert handle.instance_id in line
    assert ("event 'reading'" if family == "event" else "message of channel 'reading'") in line


@workflow
async def is_choosy(ctx: WorkflowContext, way: str) -> list[int]:
    """Take those of at least 10 first, then the others."""
    large = {"amount": gte(10)}
    if way == "event":
        await ctx.subscribe(Order)
        await ctx.wait_event("begin")
        got = [(await ctx.wait_event(Order, where=large)).data["amount"] for _ in range(2)]
        return [*got, *[(await ctx.wait_event(Order)).data["amount"] for _ in range(2)]]
    channel = ctx.channel(Orders)
    await channel.subscribe("competing" if way == "competing" else "broadcast")
    await ctx.wait_event("begin")
    got = [(await channel.receive(where=large)).data["amount"] for _ in range(2)]
    return [*got, *[(await channel.receive()).data["amount"] for _ in range(2)]]


@pytest.mark.parametrize("way", ["event", "broadcast", "competing"])
async def test_conditions_choose_among_what_is_kept(app: Romancy, way: str) -> None:
    handle = await app.start(is_choosy, way)
    await joined(app, handle.instance_id)
    for amount in (1, 20, 2, 30):
        if way == "event":
            await app.send(Order, {"amount": amount})
        else:
            await app.channel(Orders).publish({"amount": amount})
    await handle.signal("begin")

    assert await handle.result(timeout=30) == [20, 30, 1, 2]


@activity(retry=RetryPolicy.none())
async def breaks() -> None:
    if broken:
        raise ValueError("not yet")


@workflow
async def tells(ctx: WorkflowContext, family: Family) -> str:
    """Send the same message with other headers in each run."""
    headers = {"try": str(ctx.run)}
    if family == "event":
        id = await ctx.send(Reading, 7, headers=headers)
    else:
        id = await ctx.channel(Readings).publish(7, headers=headers)
    await breaks()
    return id


async def numbers(messages: Subscription[Any], count: int) -> list[Any]:
    return [await messages.receive(timeout=30) for _ in range(count)]


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_retry_sends_nothing_again_whatever_the_headers(app: Romancy, family: Family) -> None:
    broken.append(True)
    subscription: Subscription[Any] = (
        app.subscribe(Reading, "audit") if family == "event" else app.channel(Readings).subscribe("audit")
    )
    async with subscription as messages:
        handle = await app.start(tells.options(instance_id="teller"), family)
        await status_is(app, handle.instance_id, Status.FAILED)
        broken.clear()
        await app.retry(handle.instance_id)
        id = await handle.result(timeout=30)
        await publish(app, family, 8)
        first, second = await numbers(messages, 2)

    assert (first.id, first.data, second.data) == (id, 7, 8)
    assert first.headers == {"try": "1"}
    assert [first.sender, second.sender] == ["teller", None]
    sent = [one for one in await app.history(handle.instance_id) if isinstance(one, MessageSent)]
    assert [one.again for one in sent] == [False, True]


async def test_an_outside_subscriber_of_events(app: Romancy) -> None:
    async with app.subscribe(Reading, "audit") as readings:
        await app.send(Reading, 1, key="k", source="/meter", subject="one", extensions={"part": 3})
        await app.send(Reading, 2)
        event = await readings.receive(timeout=30)
        assert (event.type, event.data, event.source, event.subject) == ("reading", 1, "/meter", "one")
        assert event.extensions == {"part": 3}
        await app.send("another", 3)
    async with app.subscribe(Reading, "audit") as again:
        assert (await again.receive(timeout=30)).data == 2, "the first was acknowledged at the end of the block"
        with pytest.raises(EventTimeoutError, match="no message of event 'reading' came in time"):
            await again.receive(timeout=0.05)
    await app.unsubscribe(Reading, "audit")
    await app.send(Reading, 4)

    async with app.subscribe(Reading, "audit") as anew:
        await app.send(Reading, 5)
        assert (await anew.receive(timeout=30)).data == 5


async def test_outside_subscribers_of_an_event_and_a_channel_of_one_name(app: Romancy) -> None:
    async with app.subscribe(Reading, "audit") as events, app.channel(Readings).subscribe("audit") as messages:
        await app.send(Reading, 1)
        await app.channel(Readings).publish(2)

        assert ((await events.receive(timeout=30)).data, (await messages.receive(timeout=30)).data) == (1, 2)
    await app.unsubscribe(Reading, "audit")
    await app.channel(Readings).unsubscribe("audit")


@pytest.mark.parametrize("way", ["event", "broadcast", "competing"])
async def test_an_outside_subscriber_with_conditions(app: Romancy, way: str) -> None:
    large = {"amount": gte(10)}
    subscription: Subscription[Any]
    if way == "event":
        subscription = app.subscribe(Order, "audit", where=large)
    else:
        mode: Any = way
        subscription = app.channel(Orders).subscribe("audit", mode=mode, where=large)
    async with subscription as messages:
        for amount in (1, 20, 2, 30):
            if way == "event":
                await app.send(Order, {"amount": amount})
            else:
                await app.channel(Orders).publish({"amount": amount})

        assert [one.data["amount"] for one in await numbers(messages, 2)] == [20, 30]


@workflow
async def hears_the_secret(ctx: WorkflowContext, family: Family, *, choosy: bool) -> str:
    where = {"text": "x"} if choosy else None
    try:
        if family == "event":
            return str((await ctx.wait_event("secret", key="k", where=where)).data)
        await ctx.channel("secret").subscribe("competing")
        return str((await ctx.channel("secret").receive(where=where)).data)
    except UsageError as error:
        return str(error)


@pytest.mark.parametrize("family", FAMILIES)
async def test_data_that_a_codec_hides_is_not_told_to_the_database(
    open_app: Open, storage_url: str, family: Family
) -> None:
    """Conditions need a readable copy of the data, so they are refused."""
    app = await open_app(codecs=[Masking()])
    store = create_store(storage_url)
    await store.open()
    try:
        if family == "event":
            await app.send("secret", {"text": SECRET}, key="k")
        else:
            await app.channel("secret").publish({"text": SECRET})
        (kept,) = [one for one in await store.services.router.kept() if one.spread is not Spread.EVERY]
        assert SECRET.encode() not in kept.body
        owner, address = Owner("reader", OUTSIDE), kept.address
        readable = Interest(
            interest_id="all", address=address, kind=InterestKind.TAKE, where=encode_where({"text": SECRET})
        )
        await store.services.router.register(owner, readable)
        await store.services.router.dispatch([address])
        assert await store.services.router.letters("reader") == []
        await store.services.router.unregister(owner, ["all"])
    finally:
        await store.close()

    assert "a codec of this app hides it" in await app.run(hears_the_secret, family, choosy=True)
    assert SECRET in await app.run(hears_the_secret, family, choosy=False)
    with pytest.raises(UsageError, match="a codec of this app hides it"):
        app.channel("secret").subscribe("audit", where={"text": SECRET})
    with pytest.raises(UsageError, match="a codec of this app hides it"):
        app.subscribe("secret", "audit", where={"text": SECRET})
