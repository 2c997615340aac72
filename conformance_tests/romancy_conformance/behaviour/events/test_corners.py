"""Events in odd places: strange keys and data, sends to itself and without a receiver, many waits in one workflow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from romancy import EventType, Romancy, Status, UsageError, WorkflowContext, activity, activity_context, workflow
from romancy.core import Message, MessagePutAside, Topic
from romancy.engine.messages import encode_message
from romancy.query import contains, gte, is_null, one_of
from romancy.storage.backends import create_store
from romancy.storage.query import MAX_PROJECTION_BYTES
from romancy.storage.records import Delivery
from romancy.storage.routing import address_of_type
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio


class Order(msgspec.Struct):
    id: int
    lines: list[dict[str, Any]] = []


Placed = EventType("placed", Order, key="id")
Deep = EventType("deep", Any, key="order.lines.1.sku")
Paid = EventType("paid", int)
KEYS = [
    "",
    " ",
    "a/b",
    "é",
    "e\u0301",
    "日本",
    "🚲",
    "K",
    "k",
    "k ",
    "nul\0nul",
    "x" * 255,
    "x" * 256,
    "long" * 5000,
    "%_'\"",
]


@activity
async def tells_twice(to: str) -> None:
    for _ in range(2):
        await activity_context().send(Paid, 2, to=to, source="/till", id="7")


@workflow
async def repeats_itself(ctx: WorkflowContext, to: str) -> None:
    """Send the same event twice with one commit, in a later run, and from two activities; then another one."""
    for _ in range(2):
        await ctx.send(Paid, 1, to=to, id="7")
    if ctx.run == 2:
        await tells_twice(to)
        await tells_twice(to)
        await ctx.send(Paid, 3, to=to)
    return repeats_itself.recur(to) if ctx.run == 1 else None


@workflow
async def collects_to_three(ctx: WorkflowContext) -> list[int]:
    got: list[int] = []
    while 3 not in got:
        got.append((await ctx.wait_event(Paid)).data)
    return got


@workflow
async def sends_to_itself(ctx: WorkflowContext) -> list[int]:
    await ctx.send(Paid, 1, to=ctx.instance_id)
    await ctx.send(Paid, 2, key=ctx.instance_id)
    direct = await ctx.wait_event(Paid)
    keyed = await ctx.wait_event(Paid, key=ctx.instance_id)
    return [direct.data, keyed.data]


@workflow
async def sends_to_nobody(ctx: WorkflowContext, ended: str) -> str:
    await ctx.send(Paid, 1, to="nobody-of-this-name")
    await ctx.send(Paid, 1, to=ended)
    return "went on"


@workflow
async def sends_twice(ctx: WorkflowContext, runs: int) -> str:
    await ctx.send(Paid, runs, key="twice", source="/shop", id="7")
    return "sent" if not runs else sends_twice.recur(runs - 1)


@workflow
async def many(ctx: WorkflowContext, count: int) -> int:
    return sum(
        [event.data for event in await asyncio.gather(*(ctx.wait_event(Paid, key=f"m{n}") for n in range(count)))]
    )


@workflow
async def subscribed(ctx: WorkflowContext) -> list[list[int]]:
    await ctx.subscribe(Paid)
    await ctx.wait_event("begin")
    pair = await asyncio.gather(ctx.wait_event(Paid), ctx.wait_event(Paid))
    return [[event.data for event in pair], [(await ctx.wait_event(Paid)).data]]


@workflow
async def wants(ctx: WorkflowContext, which: str) -> object:
    where = {
        "large": {"amount": gte(100)},
        "none": {"amount": is_null()},
        "text": {"amount": contains("9")},
        "some": {"amount": one_of(7, 7.25, "true")},
    }[which]
    return (await ctx.wait_event("order", key="o", where=where)).data["amount"]


async def test_any_text_is_a_key(app: Romancy) -> None:
    handles = [await app.start(waits, "typed", key) for key in KEYS]
    for key in reversed(KEYS):
        await app.send("typed", key, key=key)

    assert [await handle.result(timeout=30) for handle in handles] == KEYS


async def test_a_type_and_its_key_are_not_another_type_and_key(app: Romancy) -> None:
    names = [("a/b", "c"), ("a", "b/c"), ("1/a", "b"), ("a", "*"), ("a/*", "c")]
    handles = [await app.start(waits, type, key) for type, key in names]
    for number, (type, key) in enumerate(names):
        await app.send(type, number, key=key)

    assert [await handle.result(timeout=30) for handle in handles] == list(range(len(names)))


async def test_the_key_is_found_in_the_data(app: Romancy) -> None:
    waiting = [await app.start(waits, "placed", "7"), await app.start(waits, "deep", "a")]
    await app.send(Placed, Order(7))
    await app.send(Deep, {"order": {"lines": [None, {"sku": "a"}]}})

    assert [await handle.result(timeout=30) for handle in waiting] == [
        {"id": 7, "lines": []},
        {"order": {"lines": [None, {"sku": "a"}]}},
    ]


@pytest.mark.parametrize("value", [True, 1.0, None, [], {}], ids=repr)
async def test_what_is_no_key_is_refused_and_nothing_is_sent(app: Romancy, value: object) -> None:
    with pytest.raises(UsageError, match="no text and no whole number"):
        await app.send(EventType("odd", Any, key="id"), {"id": value})
    with pytest.raises(UsageError, match="no text and no whole number"):
        await app.send(EventType("odd", Any, key="id"), value)
    with pytest.raises(UsageError, match="must be a string"):
        await app.send("odd", 1, key=7)  # type: ignore[arg-type]

    await app.send("odd", "the first", key="7")
    assert await app.run(waits, "odd", "7") == "the first"


async def test_conditions_hold_for_values_that_do_not_compare(app: Romancy) -> None:
    waiting = {which: await app.start(wants, which) for which in ("large", "none", "text", "some")}
    amounts = ["many", [1000], {"n": 1000}, False, 7.5, "10", 1000, None, "199", True, 7]
    for amount in amounts:
        await app.send("order", {"amount": amount}, key="o")

    got = {which: await handle.result(timeout=30) for which, handle in waiting.items()}
    assert got == {"large": 1000, "none": None, "text": "199", "some": 7}
    assert await app.run(waits, "order", "o") == {"amount": "many"}, "what fits nobody is kept, in its order"


async def test_data_too_large_to_be_searched_fit_no_conditions(app: Romancy) -> None:
    large = {"amount": 500, "text": ["x"] * MAX_PROJECTION_BYTES}
    handle = await app.start(wants, "large")
    await app.send("order", large, key="o")
    await app.send("order", {"amount": 600}, key="o")

    assert await handle.result(timeout=30) == 600
    assert await app.run(waits, "order", "o") == large


async def test_a_workflow_sends_to_itself(app: Romancy) -> None:
    assert await app.run(sends_to_itself) == [1, 2]


async def test_nothing_comes_of_what_is_sent_to_nobody(app: Romancy) -> None:
    ended = await app.start(sends_to_itself)
    await ended.result(timeout=30)

    assert await app.run(sends_to_nobody, ended.instance_id) == "went on"


async def test_an_id_of_a_workflows_own_is_sent_once(app: Romancy) -> None:
    assert await app.run(sends_twice, 2) == "sent"
    assert (await app.send(Paid, 9, key="twice", source="/shop", id="7")).duplicate
    await app.send(Paid, 3, key="twice")

    assert [await app.run(waits, "paid", "twice") for _ in range(2)] == [2, 3]


async def test_many_waits_in_one_workflow(app: Romancy) -> None:
    handle = await app.start(many, 60)
    await asyncio.gather(*(app.send(Paid, n, key=f"m{n}") for n in range(60)))

    assert await handle.result(timeout=60) == sum(range(60))


async def test_each_wait_of_a_subscriber_gets_another_event(app: Romancy, storage_url: str) -> None:
    handle = await app.start(subscribed)
    await app.signal(handle.instance_id, "begin")
    store = create_store(storage_url)
    await store.open()
    await until(lambda: store.services.router.interests(address_of_type("paid")))
    await store.close()
    for number in (1, 2, 3):
        await app.send(Paid, number)

    assert await handle.result(timeout=30) == [[1, 2], [3]]


async def test_one_that_fits_nowhere_keeps_no_other_waiting(open_app: Open) -> None:
    """A sender of another version: its data are put aside by each receiver, and the next event is received."""
    app = await open_app()
    for number in range(3):
        await app.send("placed", {"id": "no number"}, key="5", id=f"bad{number}")
    await app.send(Placed, Order(5))

    assert await app.run(typed, "5") == 5


@workflow
async def typed(ctx: WorkflowContext, key: str) -> int:
    return (await ctx.wait_event(Placed, key=key)).data.id


async def test_a_time_of_no_year_is_put_aside(app: Romancy, store: Store) -> None:
    """A program of another version let it in. It fits no receiver, and the next event is received."""
    handle = await app.start(waits, "paid", None)
    for number, year in enumerate((-1, 10_000)):
        time = (year - 1970) * 31_556_952_000_000
        signal = Message(topic=Topic("paid"), data=msgspec.Raw(b"1"), id=f"{number}", time=time)
        await store.deliver(
            [Delivery(instance_id=handle.instance_id, delivery_id=f"bad{number}", body=encode_message(signal))]
        )
    await app.signal(handle.instance_id, Paid, 2)

    assert await handle.result(timeout=30) == 2
    put_aside = [event for event in await app.history(handle.instance_id) if isinstance(event, MessagePutAside)]
    assert ["0", "1"] == [event.message_id for event in put_aside]
    assert all("outside of the years 1 to 9999" in event.reason for event in put_aside)


class NoZone(tzinfo):
    """A time zone that does not know how far it is from UTC."""

    def utcoffset(self, dt: datetime | None, /) -> None:
        return None

    def dst(self, dt: datetime | None, /) -> None:
        return None

    def tzname(self, dt: datetime | None, /) -> None:
        return None


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"time": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "outside of the years 1 to 9999"),
        ({"time": datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-1)))}, "outside of the years"),
        ({"time": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001 - that is the mistake
        ({"time": datetime(2026, 1, 1, tzinfo=NoZone())}, "no time zone"),
        ({"time": "2026-01-01T00:00:00Z"}, "must be a datetime"),
        ({"extensions": {"part": 1 << 31}}, "at most 32 bits"),
        ({"extensions": {"part": -(1 << 31) - 1}}, "at most 32 bits"),
    ],
)
async def test_an_attribute_that_nobody_could_read_is_refused(
    app: Romancy, attributes: dict[str, Any], words: str
) -> None:
    receiver = await app.start(waits, "paid", None)
    await status_is(app, receiver.instance_id, Status.WAITING)
    for to in (None, receiver.instance_id):
        with pytest.raises(UsageError, match=words):
            await app.send(Paid, 1, to=to, **attributes)

    await app.send(Paid, 2, time=datetime(1, 1, 1, tzinfo=UTC), extensions={"part": (1 << 31) - 1})
    assert await receiver.result(timeout=30) == 2


async def test_an_id_sent_again_to_an_instance_from_inside_is_dropped(app: Romancy) -> None:
    receiver = await app.start(collects_to_three)
    await app.run(repeats_itself, receiver.instance_id)

    assert await receiver.result(timeout=20) == [1, 2, 3]
