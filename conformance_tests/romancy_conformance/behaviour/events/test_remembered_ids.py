"""The one rule of ids: a repetition has the same type or channel, source and id, and inside an instance its life."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import EventType, InstanceEndedError, Romancy, WorkflowContext, activity, activity_context, workflow
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.cast import hears

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from romancy_conformance.behaviour.callers import Caller

    Send = Callable[..., Awaitable[object]]

pytestmark = pytest.mark.anyio

Asked = EventType("asked", int)
Answered = EventType("answered", int)
SOON = 30
apps: list[Romancy] = []


@workflow
async def hears_one_of_each(ctx: WorkflowContext, key: str | None) -> list[int]:
    """The data of the next event of each type, and of another one of the first."""
    first = [await ctx.wait_event(each, key=key) for each in (Asked, Answered)]
    return [event.data for event in (*first, await ctx.wait_event(Asked, key=key))]


@activity
async def sends_in_an_activity(kind: str, data: int, to: str | None, key: str | None, id: str | None) -> None:
    await activity_context().send(EventType(kind, int), data, to=to, key=key, source="/s", id=id)


@activity
async def sends_in_a_session(kind: str, data: int, to: str | None, key: str | None, id: str | None) -> None:
    session = await activity_context().session()
    await apps[0].send(EventType(kind, int), data, to=to, key=key, source="/s", id=id, session=session)


@workflow
async def sends(
    ctx: WorkflowContext, way: str, kind: str, data: int, *, to: str | None, key: str | None, id: str | None
) -> None:
    match way:
        case "activity":
            await sends_in_an_activity(kind, data, to, key, id)
        case "session":
            await sends_in_a_session(kind, data, to, key, id)
        case _:
            await ctx.send(EventType(kind, int), data, to=to, key=key, source="/s", id=id)


WAYS = ["call", "own session", "workflow", "activity", "session"]


@pytest.fixture(params=WAYS)
async def send(request: pytest.FixtureRequest, app: Romancy, storage_url: str) -> AsyncIterator[Send]:
    """Send one event, in each of the ways in which events can be sent."""
    way: str = request.param
    caller: Caller | None = None
    if way == "own session":
        opener = caller_for(storage_url)
        if opener is None:
            pytest.skip("capability: this database has no connections but the store's own")
        caller = await opener()
    apps[:] = [app]

    async def one(
        kind: EventType[int], data: int, *, to: str | None = None, key: str | None = None, id: str | None = None
    ) -> None:
        if caller is not None:
            await caller.begin()
            await app.send(kind, data, to=to, key=key, source="/s", id=id, session=caller.connection)
            await caller.commit()
        elif way == "call":
            await app.send(kind, data, to=to, key=key, source="/s", id=id)
        else:
            await app.run(sends, way, kind.name, data, to=to, key=key, id=id)

    yield one
    if caller is not None:
        await caller.close()


async def test_an_event_is_not_dropped_because_another_type_had_its_id(app: Romancy, send: Send) -> None:
    for kind, data in ((Asked, 1), (Answered, 2), (Asked, 3), (Answered, 4)):
        await send(kind, data, key="k", id="7")
    await send(Asked, 5, key="k")

    assert await app.run(hears_one_of_each, "k") == [1, 2, 5]


async def test_another_key_makes_no_other_event(app: Romancy, send: Send) -> None:
    await send(Asked, 1, key="a", id="7")
    await send(Asked, 2, key="b", id="7")
    await send(Asked, 3, key="b")
    await send(Answered, 4, key="b", id="7")
    await send(Asked, 5, key="b")

    assert await app.run(hears_one_of_each, "b") == [3, 4, 5]


async def test_the_same_holds_inside_an_instance(app: Romancy, send: Send) -> None:
    handle = await app.start(hears_one_of_each, None)
    for kind, data in ((Asked, 1), (Asked, 2), (Answered, 3), (Answered, 4)):
        await send(kind, data, to=handle.instance_id, id="7")
    await send(Asked, 5, to=handle.instance_id)

    assert await handle.result(timeout=SOON) == [1, 3, 5]


@pytest.mark.parametrize("anew", ["restarted", "purged"])
async def test_a_new_life_takes_an_id_that_the_former_one_had(app: Romancy, send: Send, anew: str) -> None:
    listens = hears.options(instance_id="ear")
    old = await app.start(listens, "asked", 1)
    await send(Asked, 1, to="ear", id="7")
    assert await old.result(timeout=SOON) == [1]
    if anew == "purged":
        assert await app.purge("ear") == 1

    new = await app.start(listens, "asked", 2, if_exists="restart_ended")
    for data in (2, 3):
        await send(Asked, data, to="ear", id="7")
    await send(Asked, 4, to="ear")

    assert await new.result(timeout=SOON) == [2, 4]


async def test_a_signal_and_an_event_without_a_source_are_one(app: Romancy) -> None:
    handle = await app.start(hears, "asked", 2)
    await handle.signal(Asked, 1, id="7")
    assert (await app.send(Asked, 2, to=handle.instance_id, id="7")).duplicate
    assert not (await app.send(Asked, 3, to=handle.instance_id, source="/s", id="7")).duplicate

    assert await handle.result(timeout=SOON) == [1, 3]


async def test_after_the_end_another_source_is_no_repetition(app: Romancy) -> None:
    handle = await app.start(hears, "asked", 1)
    await app.send(Asked, 1, to=handle.instance_id, source="/s", id="7")
    assert await handle.result(timeout=SOON) == [1]

    assert (await app.send(Asked, 1, to=handle.instance_id, source="/s", id="7")).duplicate
    with pytest.raises(InstanceEndedError):
        await app.send(Asked, 2, to=handle.instance_id, source="/t", id="7")
    with pytest.raises(InstanceEndedError):
        await handle.signal(Asked, 2, id="7")


async def test_each_channel_and_each_type_has_its_own_ids(app: Romancy) -> None:
    """One name, one id: an event, and messages of two channels."""
    one, another = app.channel("asked", model=int), app.channel("answered", model=int)
    async with one.subscribe("s") as first, another.subscribe("s") as second:
        for channel in (one, another, one):
            await channel.publish(1, id="7")
        assert not (await app.send(Asked, 1, id="7")).duplicate
        for channel in (one, another):
            await channel.publish(2)

        assert [1, 2] == [(await first.receive(timeout=SOON)).data for _ in range(2)]
        assert [1, 2] == [(await second.receive(timeout=SOON)).data for _ in range(2)]


async def test_of_one_id_sent_at_once_to_many_types_each_gets_one(app: Romancy) -> None:
    kinds = [EventType(f"kind {number}", int) for number in range(5)] * 3
    sent = await asyncio.gather(*(app.send(kind, 1, key="k", source="/s", id="7") for kind in kinds))

    assert 5 == sum(not each.duplicate for each in sent)
