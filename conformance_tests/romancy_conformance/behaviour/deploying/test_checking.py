"""A check before a deploy: it names exactly the open instances that the new code does not fit, and writes nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from romancy import Romancy, WorkflowContext, activity, workflow
from romancy.status import Status
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

FOR_EACH = 7


@activity
async def pack(item: str) -> str:
    return item


@activity
async def label(item: str) -> str:
    return item


@workflow
async def same(ctx: WorkflowContext, item: str) -> None:
    await pack(item)
    await ctx.wait_event("go")


@workflow
async def reordered(ctx: WorkflowContext, item: str) -> None:
    await pack(item)
    await label(item)
    await ctx.wait_event("go")


@workflow(name="reordered")
async def reordered_now(ctx: WorkflowContext, item: str) -> None:
    await label(item)
    await pack(item)
    await ctx.wait_event("go")


@workflow
async def renamed(ctx: WorkflowContext, item: str) -> None:
    await pack(item)
    await ctx.wait_event("go")


@workflow(name="renamed")
async def renamed_now(ctx: WorkflowContext, item: str) -> None:
    await label(item)
    await ctx.wait_event("go")


@workflow
async def shortened(ctx: WorkflowContext, item: str) -> None:
    await pack(item)
    await ctx.wait_event("go")


@workflow(name="shortened")
async def shortened_now(ctx: WorkflowContext, item: str) -> None:
    await ctx.wait_event("go")


@workflow
async def retyped(ctx: WorkflowContext, item: str) -> None:
    await pack(item)
    await ctx.wait_event("go")


@workflow(name="retyped")
async def retyped_now(ctx: WorkflowContext, item: int) -> None:
    await pack(str(item))
    await ctx.wait_event("go")


@workflow
async def removed(ctx: WorkflowContext, item: str) -> None:
    await ctx.wait_event("go")


@workflow
async def finished(ctx: WorkflowContext, item: str) -> None:
    await pack(item)


@workflow(name="finished")
async def finished_now(ctx: WorkflowContext, item: str) -> None:
    await label(item)


BEFORE: list[Any] = [same, reordered, renamed, shortened, retyped, removed, finished]
AFTER: list[Any] = [same, reordered_now, renamed_now, shortened_now, retyped_now, finished_now]


@pytest.fixture
def workflows() -> list[Any]:
    return BEFORE


async def filled(app: Romancy) -> dict[str, set[str]]:
    """Start instances of each workflow, which wait or have ended; return their ids."""
    calls = [
        declared.options(instance_id=f"{declared.name}-{number}").bind(f"item {number}")
        for declared in BEFORE
        for number in range(FOR_EACH)
    ]
    handles = await app.start_many(calls)
    for handle in handles:
        if handle.instance_id.startswith("finished"):
            await handle.result()
        else:
            await _until_waiting(app, handle.instance_id)
    return {wf.name: {f"{wf.name}-{number}" for number in range(FOR_EACH)} for wf in BEFORE}


async def _until_waiting(app: Romancy, instance_id: str) -> None:
    """Read its log as it grows, until the wait."""
    async for entry in app.entries_of(instance_id, follow=True):
        if type(entry.event).__name__ == "MessageAwaited":
            return


async def everything(app: Romancy) -> list[Any]:
    """Return all rows and logs, to compare."""
    return [(one, await app.history(one.instance_id)) async for one in app.iter_instances()]


async def test_the_code_that_wrote_it_fits(app: Romancy, open_app: Open) -> None:
    await filled(app)

    check = await (await open_app(worker=False)).check()

    assert (FOR_EACH * 6, True, []) == (check.checked, check.fits, check.misfits)


async def test_planted_changes_are_found_and_no_others(app: Romancy, open_app: Open) -> None:
    ids = await filled(app)
    before = await everything(app)

    check = await (await open_app(worker=False, workflows=AFTER)).check()

    found: dict[str, set[str]] = {}
    for misfit in check.misfits:
        found.setdefault(misfit.kind, set()).add(misfit.instance_id)
    diverging = ids["reordered"] | ids["renamed"] | ids["shortened"] | ids["retyped"]
    assert {"diverges": diverging, "unknown workflow": ids["removed"]} == found
    assert before == await everything(app)


MANY = 1000
PLANTED = 2
"""Instances of each kind among many that fit."""


@pytest.mark.long
async def test_planted_changes_are_found_among_a_thousand(backend: str, storage_url: str) -> None:
    """Exactly those; and the check writes nothing: not a byte, where the database is a file."""
    changed: list[Any] = [reordered, renamed, shortened, retyped, removed]
    counts = {wf.name: PLANTED for wf in changed} | {"same": MANY - PLANTED * len(changed)}
    async with Romancy(storage_url, workflows=BEFORE) as old:
        calls = [
            wf.options(instance_id=f"{wf.name}-{number}").bind(f"item {number}")
            for wf in (same, *changed)
            for number in range(counts[wf.name])
        ]
        await old.start_many(calls)
        while [each async for each in old.iter_instances(status=["pending", "running"])]:  # noqa: ASYNC110 - its worker writes it
            await asyncio.sleep(0.1)
    bytes_before = _bytes_of(backend, storage_url)

    async with Romancy(storage_url, workflows=AFTER, worker=False) as reader:
        before = await everything(reader)
        check = await reader.check()
        after = await everything(reader)

    expected = {(f"{wf.name}-{number}", wf.name) for wf in changed for number in range(PLANTED)}
    assert (MANY, PLANTED * len(changed)) == (check.checked, len(check.misfits))
    assert expected == {(misfit.instance_id, misfit.workflow_name) for misfit in check.misfits}
    assert {"removed"} == {each.workflow_name for each in check.misfits if each.kind == "unknown workflow"}
    assert before == after
    assert bytes_before == _bytes_of(backend, storage_url)


def _bytes_of(backend: str, url: str) -> bytes | None:
    """Return the bytes of the database's file, if it has one that is not open."""
    return Path(url.removeprefix("sqlite:///")).read_bytes() if backend == "sqlite" else None


async def test_a_report_says_what_differs_and_where(app: Romancy, open_app: Open) -> None:
    await filled(app)

    check = await (await open_app(worker=False, workflows=AFTER)).check(workflow_name="renamed")

    assert FOR_EACH == len(check.misfits)
    report = check.misfits[0].report
    assert "pack" in report
    assert "label" in report
    assert "renamed_now in" in report
    assert "test_checking.py, line " in report


async def test_a_stuck_instance_is_checked_against_the_code_at_hand(open_app: Open) -> None:
    first = await open_app(workflows=[renamed])
    handle = await first.start(renamed.options(instance_id="r-1"), "item")
    await _until_waiting(first, "r-1")
    await first.drain()
    other = await open_app(workflows=[renamed_now])
    await handle.signal("go")
    await status_is(other, "r-1", Status.STUCK)

    old = await (await open_app(worker=False, workflows=[renamed])).check()
    new = await (await open_app(worker=False, workflows=[renamed_now])).check()

    assert (True, [Status.STUCK]) == (old.fits, [misfit.status for misfit in new.misfits])
