"""Subscribers outside of workflows: names, acknowledgement, outages, and what a second one under a name does."""

from __future__ import annotations

import asyncio
from copy import copy
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Channel,
    ChannelModeConflictError,
    CodecError,
    EventTimeoutError,
    Romancy,
    SerializationError,
    StorageUnavailableError,
    UsageError,
)
from romancy_conformance.behaviour.coded import SECRET, Masking
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy import Message, Subscription
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

Orders = Channel("orders", int)


class Outage:
    """A channel some of whose calls of the router fail, as they do while the database is away."""

    def __init__(self, app: Romancy) -> None:
        self.channel = app.channel(Orders)
        mailer: Any = copy(self.channel._mailer)  # pyright: ignore[reportPrivateUsage]
        self._router = mailer.access.opened().services.router
        mailer.access = copy(mailer.access)
        mailer.access.opened = self._opened
        self.channel._mailer = mailer  # pyright: ignore[reportPrivateUsage]
        self._left: dict[str, int] = {}
        self.failed = 0

    def _opened(self, *_: object) -> SimpleNamespace:
        return SimpleNamespace(services=SimpleNamespace(router=self))

    def of(self, method: str, times: int) -> None:
        """Let the next calls of this method fail."""
        self._left[method] = times

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **options: Any) -> Any:
            if self._left.get(method):
                self._left[method] -= 1
                self.failed += 1
                raise StorageUnavailableError("the database is away")
            return await getattr(self._router, method)(*args, **options)

        return call


@pytest.fixture
async def outage(app: Romancy) -> Outage:
    return Outage(app)


async def data(messages: Subscription[Any], count: int) -> list[Any]:
    """The data of the next messages."""
    return [(await messages.receive(timeout=20)).data for _ in range(count)]


async def nothing_comes(messages: Subscription[Any]) -> None:
    with pytest.raises(EventTimeoutError):
        await messages.receive(timeout=0.05)


async def test_outside_subscribers_acknowledge(app: Romancy, open_app: Open) -> None:
    orders, other = app.channel(Orders), (await open_app(worker=False)).channel("orders", model=int)
    async with orders.subscribe("audit") as first, other.subscribe("copy") as second:
        members = await orders.members()
        assert [(one.id, one.mode, one.outside) for one in members] == [
            ("audit", "broadcast", True),
            ("copy", "broadcast", True),
        ]
        for number in range(3):
            await orders.publish(number)
        assert [(await second.receive(timeout=10)).data for _ in range(3)] == [0, 1, 2]
        assert (await first.receive(timeout=10)).data == 0
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the error leaves the block of the subscription
            async with orders.subscribe("audit") as again:
                assert (await again.receive(timeout=10)).data == 0, "it was not acknowledged"
                assert (await again.receive(timeout=10)).data == 1
                raise ZeroDivisionError
    async with other.subscribe("audit") as later:
        message = await later.receive(timeout=10)
        assert (message.data, message.sender, message.channel) == (1, None, "orders")
        async for message in later:
            assert message.data == 2
            break
    async with other.subscribe("audit") as later:
        with pytest.raises(EventTimeoutError):
            await later.receive(timeout=0.05)
    await orders.unsubscribe("audit")
    await orders.unsubscribe("copy")
    assert [] == await orders.members()


async def test_names_with_slashes_are_kept_apart(app: Romancy) -> None:
    """The channel `a` with the name `b/c` is not the channel `a/b` with the name `c`."""
    short, long = app.channel("a", model=int), app.channel("a/b", model=int)
    async with short.subscribe("b/c") as one, long.subscribe("c") as other:
        await short.publish(1)
        await long.publish(2)
        assert await data(one, 1) == [1]
        assert await data(other, 1) == [2]
        await nothing_comes(one)
        await nothing_comes(other)
    assert [member.id for member in await short.members()] == ["b/c"]
    assert [member.id for member in await long.members()] == ["c"]
    await short.unsubscribe("b/c")
    assert [member.id for member in await long.members()] == ["c"]


@pytest.mark.parametrize("method", ["register", "dispatch", "letters"])
async def test_a_competing_subscriber_asks_again_after_an_outage(outage: Outage, method: str) -> None:
    async with outage.channel.subscribe("one", mode="competing") as one:
        outage.of(method, 1)
        receiving = asyncio.create_task(one.receive(timeout=20))
        await until(lambda: outage.failed)
        await outage.channel.publish(1)
        assert (await receiving).data == 1


@pytest.mark.parametrize("mode", ["broadcast", "competing"])
async def test_an_acknowledgement_outlasts_an_outage(outage: Outage, mode: Any) -> None:
    orders = outage.channel
    async with orders.subscribe("one", mode=mode) as one:
        await orders.publish(1)
        await orders.publish(2)
        outage.of("acknowledge", 2)
        assert await data(one, 2) == [1, 2]
        outage.of("acknowledge", 1)
        await one.acknowledge()
        await orders.publish(3)
        assert await data(one, 1) == [3]
        outage.of("acknowledge", 1)
    assert outage.failed == 4
    async with orders.subscribe("one", mode=mode) as again:
        await nothing_comes(again)


async def test_a_time_limit_holds_during_an_outage(outage: Outage) -> None:
    """A message that was not acknowledged for so long is acknowledged by the next call."""
    orders = outage.channel
    async with orders.subscribe("one") as one:
        await orders.publish(1)
        assert await data(one, 1) == [1]
        outage.of("acknowledge", 1000)
        with pytest.raises(EventTimeoutError):
            await one.receive(timeout=0.05)
        outage.of("acknowledge", 0)


async def test_a_subscription_is_opened_again_from_the_beginning(app: Romancy) -> None:
    """What the block before had read and not acknowledged comes once, and not to two."""
    orders = app.channel(Orders)
    mine, other = orders.subscribe("one", mode="competing"), orders.subscribe("two", mode="competing")
    for number in range(3):
        await orders.publish(number)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the error leaves the block of the subscription
        async with mine:
            assert await data(mine, 1) == [0]
            raise ZeroDivisionError
    async with other:
        assert await data(other, 1) == [0], "it was not acknowledged"
    async with mine:
        assert await data(mine, 2) == [1, 2]
    listening = orders.subscribe("three", mode="competing")
    async with listening:
        await nothing_comes(listening)


async def test_a_broadcast_block_begins_with_what_was_not_acknowledged(app: Romancy) -> None:
    orders = app.channel(Orders)
    mine = orders.subscribe("one")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the error leaves the block of the subscription
        async with mine:
            await orders.publish(1)
            await orders.publish(2)
            assert await data(mine, 1) == [1]
            raise ZeroDivisionError
    async with mine:
        assert await data(mine, 2) == [1, 2]
        with pytest.raises(UsageError, match="open"):
            await mine.__aenter__()


async def test_one_task_receives_at_a_time(app: Romancy) -> None:
    orders = app.channel(Orders)
    async with orders.subscribe("one") as one:
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="another task"):
            await one.receive()
        await orders.publish(1)
        assert (await receiving).data == 1
        receiving = asyncio.create_task(one.receive())
        await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await orders.publish(2)
        assert await data(one, 1) == [2], "a cancelled call leaves the way free, and loses nothing"


async def test_a_message_is_not_lost_because_nobody_could_open_it(app: Romancy, open_app: Open) -> None:
    keeper = await open_app(worker=False, codecs=[Masking()])
    async with keeper.channel("secrets", model=str).subscribe("one") as one:
        await keeper.channel("secrets").publish(SECRET, metadata={"for": SECRET}, headers={"trace": "t"})
        await keeper.channel("secrets").publish("two")
        async with app.channel("secrets", model=str).subscribe("one") as blind:
            for _ in range(2):
                with pytest.raises(CodecError):
                    await blind.receive(timeout=20)
        message = await one.receive(timeout=20)
        assert (message.data, message.metadata, message.headers) == (SECRET, {"for": SECRET}, {"trace": "t"})
        assert await data(one, 1) == ["two"]


async def test_what_does_not_fit_can_be_passed_over(app: Romancy) -> None:
    async with app.channel("mixed", model=int).subscribe("one") as one:
        await app.channel("mixed").publish("text")
        await app.channel("mixed").publish(5)
        with pytest.raises(SerializationError, match="mixed"):
            await one.receive(timeout=20)
        assert await data(one, 1) == [5]


async def test_two_under_one_name_lose_nothing(app: Romancy, open_app: Open) -> None:
    """The database hands a message to both until one of them has acknowledged it."""
    orders, other = app.channel(Orders), (await open_app(worker=False)).channel(Orders)
    async with orders.subscribe("one") as first, other.subscribe("one") as second:
        assert len(await orders.members()) == 1
        for number in range(4):
            await orders.publish(number)
        got = await asyncio.gather(*(_until_last(messages, 3) for messages in (first, second)))
    assert {*got[0], *got[1]} == {0, 1, 2, 3}
    async with orders.subscribe("one") as again:
        await nothing_comes(again)


async def _until_last(messages: Subscription[Message[int]], last: int) -> list[int]:
    got: list[int] = []
    try:
        while last not in got:
            got.append((await messages.receive(timeout=1)).data)
    except EventTimeoutError:
        pass  # the other one has acknowledged the rest
    return got


async def test_unsubscribing_drops_copies_and_returns_what_was_taken(app: Romancy) -> None:
    orders, news = app.channel(Orders), app.channel("news")
    for number in range(250):
        await news.publish(number)  # gone: nobody listens
    async with news.subscribe("one") as one:
        await asyncio.gather(*(news.publish(number) for number in range(250)))
        assert await data(one, 1)
        await news.unsubscribe("one")
        assert [] == await news.members()
    async with news.subscribe("one") as one:
        await nothing_comes(one)
        await news.publish("new")
        assert await data(one, 1) == ["new"]

    await orders.publish(1)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the process dies with the message
        async with orders.subscribe("killed", mode="competing") as killed:
            assert await data(killed, 1) == [1]
            killed._mode = "broadcast"  # pyright: ignore[reportPrivateUsage]  # so that nothing is given back
            raise ZeroDivisionError
    async with orders.subscribe("two", mode="competing") as two:
        await nothing_comes(two)
        await orders.unsubscribe("killed")
        assert await data(two, 1) == [1]


async def test_a_subscriber_is_told_that_its_subscription_was_ended(app: Romancy, open_app: Open) -> None:
    """Otherwise it would wait for ever."""
    other = (await open_app(worker=False)).channel(Orders)
    for mode in ("broadcast", "competing"):
        async with app.channel(Orders).subscribe("one", mode=mode) as one:
            receiving = asyncio.create_task(one.receive())
            await asyncio.sleep(0)
            await other.unsubscribe("one")
            with pytest.raises(UsageError, match="unsubscribe"):
                await receiving
        assert [] == await other.members()


async def test_another_mode_under_the_same_name_needs_an_end_first(app: Romancy) -> None:
    orders = app.channel(Orders)
    async with orders.subscribe("one"):
        await orders.publish(1)
        with pytest.raises(ChannelModeConflictError, match="unsubscribe"):
            await orders.subscribe("one", mode="competing").__aenter__()
    async with orders.subscribe("one") as one:
        assert await data(one, 1) == [1], "a refusal changes nothing"
    await orders.unsubscribe("one")
    async with orders.subscribe("one", mode="competing") as one:
        await orders.publish(2)
        assert await data(one, 1) == [2]


@pytest.mark.parametrize("type", ["e" * 255, "ü" * 127], ids=["ascii", "others"])
async def test_events_of_the_longest_names_have_subscribers_outside(app: Romancy, type: str) -> None:
    async with app.subscribe(type, "audit") as first, app.subscribe(type, "copy") as second:
        await app.send(type, 1)
        assert await data(first, 1) == await data(second, 1) == [1]
        await app.unsubscribe(type, "audit")
        await app.send(type, 2)
        assert await data(second, 1) == [2]
        await nothing_comes(first)
