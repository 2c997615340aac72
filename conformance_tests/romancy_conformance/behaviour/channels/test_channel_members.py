"""Members of a channel in a workflow: who has subscribed, recorded once, and the same after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy import Channel, ChannelMember, EventType, Romancy, Status, UsageError, WorkflowContext, workflow
from romancy.core import MembersListed
from romancy.engine import joining
from romancy_conformance.behaviour.cast import receives
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

ROOM = Channel("room", str)
GO = EventType("go", None)


@workflow
async def counts(ctx: WorkflowContext, mode: Any = None) -> list[list[Any]]:
    """Ask, wait for the event, and ask again after having left."""
    room = ctx.channel("room", model=str)
    if mode is not None:
        await room.subscribe(mode)
    before = await room.members()
    await ctx.wait_event(GO)
    await room.unsubscribe()
    return [[[one.id, one.mode, one.outside] for one in each] for each in (before, await room.members())]


async def present(app: Romancy, count: int) -> list[ChannelMember]:
    """Wait for so many members, and return them."""

    async def are_there() -> bool:
        return count == len(await app.channel(ROOM).members())

    await until(are_there)
    return await app.channel(ROOM).members()


async def test_a_workflow_gets_the_members_that_the_app_gets(app: Romancy) -> None:
    for number in range(2):
        await app.start(receives.options(instance_id=f"l{number}"), "broadcast", channel="room")
        await present(app, number + 1)
    async with app.channel(ROOM).subscribe("audit"):
        asking = await app.start(counts.options(instance_id="c"), "broadcast")
        members = await present(app, 4)
        await status_is(app, "c", Status.WAITING)
        await app.channel(ROOM).publish("bye")
        for number in range(2):
            await app.handle(f"l{number}").result()
        await asking.signal(GO)
        before, after = await asking.result()

    assert [[one.id, one.mode, one.outside] for one in members] == before
    assert [["l0", "broadcast", False], ["l1", "broadcast", False], ["audit", "broadcast", True]] == before[:3]
    assert ["c", "broadcast", False] == before[3]
    assert [["audit", "broadcast", True]] == after
    await app.channel(ROOM).unsubscribe("audit")


async def test_the_members_are_those_of_then_after_a_restart(open_app: Open, storage_url: str) -> None:
    """A replay takes them from the log: by then, others have come and gone."""
    looking = await open_app(worker=False)
    async with Romancy(storage_url, workflows=[receives, counts]) as first:
        await first.start(receives.options(instance_id="old"), "competing", channel="room")
        await present(first, 1)
        await first.start(counts.options(instance_id="c"))
        await status_is(first, "c", Status.WAITING)
    assert [["old"]] == await listed(looking, "c")

    second = await open_app()
    await second.terminate("old")
    await present(second, 0)
    await second.start(receives.options(instance_id="new"), "competing", channel="room")
    await present(second, 1)
    await second.signal("c", GO)

    assert [[["old", "competing", False]], [["new", "competing", False]]] == await second.handle("c").result()
    assert [["old"], ["new"]] == await listed(second, "c")


async def listed(app: Romancy, instance_id: str) -> list[list[str]]:
    """Return the ids in the recorded answers."""
    events = await app.history(instance_id)
    return [[one.id for one in event.members] for event in events if isinstance(event, MembersListed)]


@workflow
async def refused(ctx: WorkflowContext) -> str:
    try:
        await ctx.channel(ROOM).members()
    except UsageError as error:
        return str(error)
    return ""


async def test_more_members_than_a_log_can_hold_are_refused(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "_MOST_BYTES", 60)
    for number in range(2):
        await app.start(receives.options(instance_id=f"l{number}"), "broadcast", channel="room")
    await present(app, 2)

    assert "channel 'room' has 2 members, too many for the log of a workflow" in await app.run(refused)
