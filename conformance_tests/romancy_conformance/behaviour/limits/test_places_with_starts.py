"""Where nobody waits, a start has its place in its first commit. Where none is free, it asks, and has one log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy import Limit, Romancy, StartSkippedError, WorkflowContext, activity, workflow
from romancy.core import PlaceAsked, PlaceGranted, WorkflowStarted, decode_commit
from romancy.status import TERMINAL_STATUSES
from romancy_conformance.behaviour.limits.serving import GO, SOON, until_asked

if TYPE_CHECKING:
    from romancy import Handle, Workflow
    from romancy.storage.protocol import Store

pytestmark = pytest.mark.anyio

PAIR = Limit("pair", key="shop", concurrency=2)
SINGLE = Limit("single", key="shop", concurrency=1, full="skip")


@activity
async def sells(shop: str) -> str:
    return shop


@workflow(limits=[PAIR])
async def opens(ctx: WorkflowContext, shop: str) -> str:
    return await sells(shop)


@workflow(limits=[PAIR])
async def ends_at_once(ctx: WorkflowContext, shop: str) -> str:
    return shop


@workflow(limits=[PAIR])
async def stays_open(ctx: WorkflowContext, shop: str) -> None:
    await ctx.wait_event(GO)


@workflow(limits=[SINGLE])
async def skips(ctx: WorkflowContext, shop: str) -> None:
    await ctx.wait_event(GO)


async def first_commit(app: Romancy, handle: Handle[str]) -> list[str]:
    found = await store_of(app).read(handle.instance_id, limit=1)
    assert found is not None
    return [type(event).__name__ for event in decode_commit(found.rows[0].body)]


async def is_open(app: Romancy, handle: Handle[str]) -> bool:
    found = await app.get_instance(handle.instance_id)
    assert found is not None
    return found.status not in TERMINAL_STATUSES


def gives_places(app: Romancy) -> bool:
    return store_of(app).capabilities.gives_places


def store_of(app: Romancy) -> Store:
    return app._access.opened()  # pyright: ignore[reportPrivateUsage] - the store of an app has no public name


async def test_the_place_is_in_the_first_commit(app: Romancy) -> None:
    if not gives_places(app):
        pytest.skip("capability: only a dispatch of this store gives places")
    handles = await app.start_many([opens.bind(f"shop {one}") for one in range(5)])

    assert [await handle.result(SOON) for handle in handles] == [f"shop {one}" for one in range(5)]
    for handle in handles:
        names = await first_commit(app, handle)
        assert names[:3] == [one.__name__ for one in (WorkflowStarted, PlaceAsked, PlaceGranted)]


@pytest.mark.parametrize("flow", [opens, ends_at_once], ids=["step", "no step"])
async def test_a_full_limit_lets_nobody_in(app: Romancy, flow: Workflow[[str], str]) -> None:
    inside = await app.start_many([stays_open.bind("a"), stays_open.bind("a")])
    waits = await app.start_many([flow.bind("a") for _ in range(4)])
    for handle in waits:
        await until_asked(handle)

    assert await app.run(flow, "b") == "b"
    for handle in waits:
        assert await is_open(app, handle)
    for holder in inside:
        await holder.signal(GO, "done")

    assert [await handle.result(SOON) for handle in waits] == ["a"] * 4


async def test_a_paused_limit_lets_nobody_in(app: Romancy) -> None:
    await app.pause_limit("pair")
    handle = await app.start(ends_at_once, "a")
    await until_asked(handle)
    assert await is_open(app, handle)

    await app.resume_limit("pair")

    assert await handle.result(SOON) == "a"


async def test_a_start_that_is_skipped_finds_the_place_of_a_start_taken(app: Romancy) -> None:
    first = await app.start(skips, "a")
    with pytest.raises(StartSkippedError):
        await app.start(skips, "a")
    await first.signal(GO, "done")
    await first.result(SOON)

    second = await app.start(skips, "a")
    await second.signal(GO, "done")
    await second.result(SOON)
