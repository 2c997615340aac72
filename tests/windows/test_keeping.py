"""When windows close, in the time of a test, and what a death in between changes: nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Status, WindowHandle, WorkflowContext, workflow
from romancy.testing import TestApp, crash_at_every_commit

if TYPE_CHECKING:
    from romancy import Handle

pytestmark = pytest.mark.anyio

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@workflow
async def saved(ctx: WorkflowContext, text: str) -> str:
    return f"{text} at {ctx.now():%H:%M}"


@workflow
async def indexed(ctx: WorkflowContext, documents: list[str]) -> str:
    return f"{'+'.join(documents)} at {ctx.now():%H:%M}"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def app() -> TestApp:
    return TestApp([saved, indexed], now=NEW_YEAR, skip=False)


async def told(app: TestApp) -> list[Any]:
    """What has been started and has ended, in the order of the starts."""
    found = [one async for one in app.iter_instances(with_results=True) if one.workflow_name in ("saved", "indexed")]
    return [one.result for one in sorted(found, key=lambda one: one.created_at)]


async def test_a_debounce_waits_for_rest() -> None:
    async with app() as it:
        for version in range(5):
            await it.debounce(saved.bind(f"v{version}"), "doc", wait=10 * MINUTE)
            await it.advance(4 * MINUTE)
        assert await told(it) == []
        await it.advance(6 * MINUTE)
        assert await told(it) == ["v4 at 00:26"]


async def test_a_debounce_that_never_rests_waits_for_its_longest_time() -> None:
    async with app() as it:
        for version in range(9):
            await it.debounce(saved.bind(f"v{version}"), "doc", wait=10 * MINUTE, max_wait=15 * MINUTE)
            await it.advance(4 * MINUTE)
        assert await told(it) == ["v3 at 00:15", "v7 at 00:31"]


async def test_the_terms_of_the_last_call_hold() -> None:
    async with app() as it:
        await it.debounce(saved.bind("v0"), "doc", wait=60 * MINUTE)
        await it.advance(MINUTE)
        await it.debounce(saved.bind("v1"), "doc", wait=2 * MINUTE)
        await it.advance(2 * MINUTE)
        assert await told(it) == ["v1 at 00:03"]


async def test_a_batch_is_full_or_late() -> None:
    async with app() as it:
        for number in range(4):
            await it.batch(indexed, f"d{number}", "all", size=3, within=5 * MINUTE)
            await it.advance(MINUTE)
        assert await told(it) == ["d0+d1+d2 at 00:02"]
        await it.advance(4 * MINUTE)
        assert await told(it) == ["d0+d1+d2 at 00:02", "d3 at 00:08"]


async def test_a_window_ends_some_minutes_after_its_last_call_and_begins_again() -> None:
    async with app() as it:
        call = await it.debounce(saved.bind("v0"), "doc", wait=MINUTE)
        await it.advance(5 * MINUTE)
        assert await it.handle(call.instance_id).status() is Status.WAITING
        await it.advance(2 * MINUTE)
        assert await it.handle(call.instance_id).status() is Status.COMPLETED
        assert await (await call.started()).result() == "v0 at 00:01"
        again = await it.debounce(saved.bind("v1"), "doc", wait=MINUTE)
        await it.advance(MINUTE)
        assert await (await again.started()).result() == "v1 at 00:08"


async def test_waiting_for_a_window_takes_no_time() -> None:
    async with TestApp([saved], now=NEW_YEAR) as it:
        call = await it.debounce(saved.bind("v0"), "doc", wait=timedelta(days=3))
        assert await (await call.started()).result() == "v0 at 00:00"
        assert it.now >= NEW_YEAR + timedelta(days=3)


@workflow
async def tells(ctx: WorkflowContext, numbers: list[int]) -> None:
    await ctx.send("batch", numbers, to=ctx.headers["to"])


@workflow
async def collects(ctx: WorkflowContext) -> list[int]:
    found: list[int] = []
    while len(found) < 7:
        found += (await ctx.wait_event("batch", model=list[int])).data
    await ctx.sleep(3600)
    return sorted(found)


async def test_a_death_at_any_commit_loses_and_doubles_nothing() -> None:
    async def calls(app: TestApp, handle: Handle[Any]) -> None:
        batch = tells.options(headers={"to": handle.instance_id})
        for number in range(7):
            await app.batch(batch, number, "all", size=3, within=MINUTE, id=f"call {number}")

    crashes = await crash_at_every_commit(collects.bind(), workflows=[collects, tells], drive=calls)

    assert len(crashes) > 10
    assert all(crash.result == list(range(7)) for crash in crashes)


async def test_a_handle_says_what_it_is() -> None:
    async with app() as it:
        call: WindowHandle[str] = await it.debounce(saved.bind("v0"), "doc:1", wait=MINUTE)
        assert repr(call) == "<window debounce:saved:doc:1>"
