"""A start with `delay=` or `at=` keeps its time when it is paused and unpaused before that time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status
from romancy.core import OwnerChanged, WorkflowStarted
from romancy.rebuilding import rebuild
from romancy.serialization import Codecs
from romancy_conformance.behaviour.cast import does, waits
from romancy_conformance.behaviour.damaging import damage, opened
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy import Handle
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LONG = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)


async def wakes_at(app: Romancy, handle: Handle[object]) -> datetime:
    """When the instance is due that nobody has begun. Other instances are begun meanwhile."""
    other = await app.start(waits)
    await other.signal("go")
    await other.result(timeout=30)
    found = await app.get_instance(handle.instance_id)
    assert found is not None
    assert found.status is Status.PENDING
    assert found.wakes_at is not None
    return found.wakes_at


async def entries_of(handle: Handle[object]) -> list[OwnerChanged]:
    return [event for event in await handle.history() if isinstance(event, OwnerChanged)]


@pytest.mark.parametrize("way", ["delay", "at"])
async def test_it_begins_at_its_time_however_often_it_was_paused(app: Romancy, way: str) -> None:
    starts = waits.options(instance_id="d")
    starts = starts.options(delay=LONG) if way == "delay" else starts.options(at=datetime.now(UTC) + LONG)
    handle = await app.start(starts)
    due = await wakes_at(app, handle)
    for _ in range(2):
        assert await handle.pause("not yet")
        await status_is(app, "d", Status.PAUSED)
        await handle.unpause()
        assert await wakes_at(app, handle) == due
    (started,) = [event for event in await handle.history() if isinstance(event, WorkflowStarted)]
    assert abs(started.due - (due - datetime.fromtimestamp(0, UTC)) // _MICROSECOND) < 60_000_000
    await handle.signal("go")
    await handle.result(timeout=30)


async def test_a_frozen_pause_puts_its_time_off(app: Romancy) -> None:
    handle = await app.start(waits.options(instance_id="d", delay=LONG))
    due = await wakes_at(app, handle)
    for _ in range(2):
        await handle.pause("not yet", freeze_time=True)
        await handle.unpause()
        await handle.pause("a pause that freezes nothing")
        await handle.unpause()
    begins = [(entry.at, entry.freeze) for entry in await entries_of(handle) if entry.pause == "begins"]
    ends = [entry.at for entry in await entries_of(handle) if entry.pause == "ends"]
    lasted = sum(end - at for end, (at, frozen) in zip(ends, begins, strict=True) if frozen)
    assert await wakes_at(app, handle) == due + lasted * _MICROSECOND


async def test_one_that_is_started_as_paused_has_its_time_too(app: Romancy) -> None:
    at = datetime.now(UTC) + LONG
    handle = await app.start(waits.options(instance_id="d", at=at, paused=True))
    await handle.unpause()
    assert await wakes_at(app, handle) == at


async def test_what_comes_while_it_is_paused_begins_it_when_it_is_unpaused(app: Romancy) -> None:
    handle = await app.start(waits.options(instance_id="d", delay=LONG, paused=True))
    await handle.signal("go")
    await handle.unpause()
    await handle.result(timeout=30)


async def test_its_time_passes_while_it_is_paused(app: Romancy) -> None:
    handle = await app.start(does.options(instance_id="d", delay=0.05), [])
    paused = await app.start(does.options(instance_id="p", delay=0.05, paused=True), [])
    await (await app.start(does.options(delay=0.1), [])).result(timeout=30)
    assert await handle.result(timeout=30) == []
    assert await paused.status() is Status.PAUSED
    await paused.unpause()
    assert await paused.result(timeout=30) == []


async def test_its_row_is_made_again_with_its_time(open_app: Open, storage_url: str) -> None:
    at = datetime.now(UTC) + LONG
    async with Romancy(storage_url, workflows=[waits]) as before:
        for name in ("never-paused", "unpaused", "paused", "begun"):
            await before.start(waits.options(instance_id=name, at=at))
        for name in ("unpaused", "paused"):
            await before.pause(name, reason="by hand")
        await before.unpause("unpaused")
        await before.signal("begun", "other")
        await status_is(before, "begun", Status.WAITING)
    async with opened(storage_url) as store:
        await damage(store, "delete from romancy_instances")
        done = await rebuild(store, {waits.name: waits}, Codecs())
    assert (done.rows, done.written, done.left, done.delayed) == (4, 4, [], 0)
    app = await open_app()
    handles = {name: app.handle(name) for name in ("never-paused", "unpaused", "paused", "begun")}
    for name in ("never-paused", "unpaused"):
        assert await wakes_at(app, handles[name]) == at
    assert await handles["paused"].status() is Status.PAUSED
    await handles["paused"].unpause()
    assert await wakes_at(app, handles["paused"]) == at
    await status_is(app, "begun", Status.WAITING)
    for handle in handles.values():
        await handle.signal("go")
        await handle.result(timeout=30)
