"""What a workflow or an activity sends to an instance that has ended is logged with its sender and kept for a list."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Channel,
    InstanceEndedError,
    Romancy,
    Status,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.core import Message, Topic
from romancy.engine.messages import decode_message
from romancy.storage.routing import address_of_instance
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import returns, waits
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.routing import KeptMessage
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOON = 20.0
Notes = Channel("notes", int)


@workflow
async def sends(ctx: WorkflowContext, to: str) -> str:
    return await ctx.send("note", 7, to=to)


@workflow
async def sends_a_message(ctx: WorkflowContext, to: str) -> None:
    await ctx.channel(Notes).send_to(to, 7)


@workflow
async def repeats(ctx: WorkflowContext, to: str, source: str) -> None:
    await ctx.send("note", 7, to=to, source=source, id="mine")


@activity
async def tells(to: str) -> str:
    return await activity_context().send("note", 7, to=to)


@activity
async def tells_in_a_session(to: str) -> str:
    context = activity_context()
    await context.session()
    return await context.send("note", 7, to=to)


calls_tells = calling(tells)
calls_tells_in_a_session = calling(tells_in_a_session)


@workflow
async def sends_many(ctx: WorkflowContext, ids: list[str]) -> None:
    for id in ids:
        await ctx.send("note", id, to=id)
    await ctx.sleep(0.001)
    for id in ids:
        await ctx.send("note", id, to=id, id="mine")


@workflow
async def pool(ctx: WorkflowContext, waiter: str) -> str:
    """Gives a resource to a waiter that has been terminated."""
    await ctx.wait_event("release")
    return await ctx.send("assigned", "resource_a", to=waiter)


async def kept(store: Store, instance_id: str) -> list[KeptMessage]:
    return await store.services.router.kept(address=address_of_instance(instance_id))


async def is_kept(store: Store, instance_id: str, count: int = 1) -> bool:
    return len(await kept(store, instance_id)) >= count


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "was not delivered" in record.getMessage()]


@pytest.mark.parametrize("sender", [sends, calls_tells, calls_tells_in_a_session], ids=lambda sender: sender.name)
async def test_an_event_to_an_instance_that_has_ended(
    app: Romancy, store: Store, caplog: pytest.LogCaptureFixture, sender: Any
) -> None:
    caplog.set_level(logging.WARNING, "romancy")
    await app.run(returns.options(instance_id="over"))

    event_id = await app.run(sender.options(instance_id="sender"), "over")
    await until(lambda: is_kept(store, "over"))

    (message,) = await kept(store, "over")
    read = decode_message(message.body)
    assert isinstance(read, Message)
    assert event_id
    assert (read.topic, read.id, read.sender) == (Topic("note"), event_id, "sender")
    assert "sender" in read.source
    await until(lambda: lines(caplog))
    (line,) = lines(caplog)
    assert line.startswith("instance sender: the event 'note' that it has sent to instance over was not delivered: ")
    assert line.endswith("that instance has ended (completed); `romancy undelivered` lists it")


async def test_an_event_to_an_instance_that_is_not_there(
    app: Romancy, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "romancy")

    assert await app.run(sends.options(instance_id="sender"), "nobody")
    await until(lambda: is_kept(store, "nobody"))

    await until(lambda: lines(caplog))
    assert "instance sender: " in lines(caplog)[0]
    assert "to instance nobody was not delivered: that instance does not exist" in lines(caplog)[0]


async def test_a_message_of_a_channel(app: Romancy, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "romancy")
    await app.run(returns.options(instance_id="over"))

    await app.run(sends_a_message.options(instance_id="sender"), "over")
    await until(lambda: is_kept(store, "over"))

    (message,) = await kept(store, "over")
    read = decode_message(message.body)
    assert isinstance(read, Message)
    assert (read.topic, read.sender) == (Topic("notes", kind="channel"), "sender")
    await until(lambda: lines(caplog))
    assert "the message of channel 'notes' that it has sent to instance over" in lines(caplog)[0]


async def test_a_waiter_that_was_terminated(app: Romancy, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """The shape in which it was found: a pool gives a resource away, and nobody has it."""
    caplog.set_level(logging.WARNING, "romancy")
    await app.start(waits.options(instance_id="waiter"), "note")
    handle = await app.start(pool.options(instance_id="pool"), "waiter")
    await status_is(app, "waiter", Status.WAITING)
    await app.terminate("waiter")
    await app.signal("pool", "release")

    assert await handle.result(timeout=SOON)
    await until(lambda: is_kept(store, "waiter"))
    await until(lambda: lines(caplog))
    assert "instance pool: the event 'assigned' " in lines(caplog)[0]
    assert "has ended (cancelled)" in lines(caplog)[0]
    with pytest.raises(InstanceEndedError):
        await app.signal("waiter", "assigned")


async def test_what_is_received_is_not_kept(app: Romancy, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Its receivers may have ended by the time at which they are looked at."""
    caplog.set_level(logging.WARNING, "romancy")
    ids = [f"w{number}" for number in range(20)]
    handles = await app.start_many([waits.options(instance_id=one).bind("note") for one in ids])

    await app.run(sends_many.options(instance_id="sender"), [*ids, "nobody"])
    assert [await handle.result(timeout=SOON) for handle in handles] == ids
    await until(lambda: is_kept(store, "nobody", 2))

    assert {message.address for message in await store.services.router.kept()} <= {
        address_of_instance(one) for one in [*ids, "nobody"]
    }
    late = [decode_message(message.body) for one in ids for message in await kept(store, one)]
    received = {event.id for event in late if isinstance(event, Message)}
    assert received <= {"mine"}, "the first of the two was received"


async def test_what_is_received_has_the_same_source(app: Romancy, store: Store) -> None:
    """The id of an event that was received says nothing of another sender's."""
    handle = await app.start(waits.options(instance_id="over"), "note")
    await app.run(repeats, "over", "/a")
    assert await handle.result(timeout=SOON) == 7

    for source in ("/a", "/b"):
        await app.run(repeats, "over", source)
    await until(lambda: is_kept(store, "over"))

    read = [decode_message(message.body) for message in await kept(store, "over")]
    assert ["/b"] == [message.source for message in read if isinstance(message, Message)]


async def test_an_app_that_closes_has_looked(
    open_app: Open, store: Store, caplog: pytest.LogCaptureFixture, storage_url: str
) -> None:
    async with Romancy(storage_url, workflows=[sends]) as other:
        assert await other.run(sends.options(instance_id="sender"), "nobody")

    assert await is_kept(store, "nobody")
