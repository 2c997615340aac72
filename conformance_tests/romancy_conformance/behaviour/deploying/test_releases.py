"""Releases by name: in the list of workers, in failures and in explanations; and instances that stay with theirs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, UsageError, WorkflowContext, workflow
from romancy.engine import release_in
from romancy_conformance.behaviour.failing import fail
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

A_MOMENT = 0.5
"""Seconds for which nothing happens. A worker that did not leave the instance alone would have it within them."""


@workflow(name="released", version="1")
async def released_before(ctx: WorkflowContext) -> str:
    await ctx.wait_event("go")
    return "before"


@workflow(name="released", version="2")
async def released_after(ctx: WorkflowContext) -> str:
    await ctx.wait_event("go")
    return "after"


@workflow
async def release_fails(ctx: WorkflowContext, number: int) -> None:
    raise LookupError(f"order {number} is gone")


async def test_a_worker_tells_its_release(open_app: Open) -> None:
    app = await open_app(workflows=[release_fails], release="2026.11.2")
    assert app.release == "2026.11.2"
    store = app._access.opened()  # pyright: ignore[reportPrivateUsage] - the command reads it there
    (peer,) = [peer for peer in (await store.services.reading.census()).workers if peer.works]
    assert release_in(peer.codes) == "2026.11.2"


async def test_a_group_of_failures_tells_its_first_and_last_release(open_app: Open) -> None:
    for number, release in enumerate(("2026.11.1", "2026.11.2")):
        app = await open_app(workflows=[release_fails], release=release)
        await app.start(release_fails.options(instance_id=f"f-{number}"), number)
        await fail(app, f"f-{number}")
        await app.drain(0)
    client = await open_app(workflows=[release_fails], worker=False)
    (group,) = (await client.failures()).groups
    assert (group.first_release, group.last_release) == ("2026.11.1", "2026.11.2")


async def test_an_instance_stays_with_its_release_while_a_worker_of_it_lives(open_app: Open) -> None:
    before = await open_app(workflows=[released_before], release="1", pin=True)
    handle = await before.start(released_before.options(instance_id="p"))
    await status_is(before, "p", Status.WAITING)
    after = await open_app(workflows=[released_after], release="2", pin=True)
    newer = await after.start(released_after.options(instance_id="n"))
    await status_is(after, "n", Status.WAITING)
    await asyncio.sleep(A_MOMENT)
    await after.handle("p").signal("go")
    assert await handle.result(timeout=30) == "before"
    await before.handle("n").signal("go")
    assert await newer.result(timeout=30) == "after"


async def test_another_release_takes_over_when_none_of_its_workers_lives(storage_url: str, open_app: Open) -> None:
    async with Romancy(storage_url, workflows=[released_before], release="1", pin=True) as before:
        await before.start(released_before.options(instance_id="t"))
        await status_is(before, "t", Status.WAITING)
        after = await open_app(workflows=[released_after], release="2", pin=True)
    await after.handle("t").signal("go")
    assert await after.handle("t").result(timeout=60) == "after"


async def test_bad_names_are_refused(storage_url: str) -> None:
    for wrong in ("", "x" * 256, "a\0b", 3):
        with pytest.raises((UsageError, TypeError, ValueError)):
            Romancy(storage_url, release=wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="pin"):
        Romancy(storage_url, pin="yes")  # type: ignore[arg-type]
