"""Activities that are paused by name: nothing new of them begins on any worker, and all else goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy_conformance.behaviour.cast import act, record
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

A_MOMENT = 0.3
"""Seconds in which something would begin that is not held back."""


@activity(name="of_the_bank", retry=RetryPolicy.fixed(5, 0.01))
async def of_the_bank(what: str) -> str:
    record.calls.append((what, ""))
    await record.gates[what].wait()
    if f"{what} fails" in record.gates and record.names().count(what) == 1:
        raise ConnectionError(what)
    return what


@workflow
async def pays(ctx: WorkflowContext, first: str, then: str) -> list[str]:
    return [await act(first), await of_the_bank(then), await act(f"after {then}")]


async def heard(app: Romancy, *names: str) -> None:
    """Wait until the worker of the app knows which activities are paused."""
    worker = app._access.worker  # pyright: ignore[reportPrivateUsage] - nothing outside tells it
    assert worker is not None
    attempts = worker.driver.attempts
    await until(lambda: attempts._paused == frozenset(names))  # pyright: ignore[reportPrivateUsage]


async def test_nothing_new_begins_until_it_is_unpaused_and_others_go_on(app: Romancy, open_app: Open) -> None:
    client = await open_app(worker=False)
    await client.pause_activity("of_the_bank", reason="the bank is down")
    await heard(app, "of_the_bank")
    record.gates["b"].set()
    handle = await client.start(pays.options(instance_id="p"), "a", "b")
    await until(lambda: "a" in record.names())
    other = await client.start(pays.options(instance_id="q"), "c", "b")
    await until(lambda: "c" in record.names())
    await asyncio.sleep(A_MOMENT)
    assert sorted(record.names()) == ["a", "c"]
    assert await handle.status() is Status.RUNNING
    why = [one for one in await client.explain("p") if "of_the_bank begins: it is paused since" in one]
    assert why
    assert why[0].endswith("because: the bank is down.")
    (paused,) = await client.paused_activities()
    assert (paused.name, paused.reason) == ("of_the_bank", "the bank is down")
    await client.unpause_activity("of_the_bank")
    for each in (handle, other):
        await each.result(timeout=60)
    assert await client.paused_activities() == []
    assert record.names().count("after b") == 2


async def test_an_attempt_at_work_ends_and_its_next_one_waits(app: Romancy) -> None:
    gate, _ = record.gates["b"], record.gates["b fails"]
    handle = await app.start(pays, "a", "b")
    await until(lambda: "b" in record.names())
    await app.pause_activity("of_the_bank")
    await heard(app, "of_the_bank")
    gate.set()
    await until(lambda: _has_failed(handle.explain))
    await asyncio.sleep(A_MOMENT)
    assert record.names() == ["a", "b"]
    await app.unpause_activity("of_the_bank")
    assert await handle.result(timeout=60) == ["a", "b", "after b"]
    assert record.names() == ["a", "b", "b", "after b"]


async def _has_failed(explain: object) -> bool:
    return any("attempt 1 failed" in one for one in await explain())  # type: ignore[operator]


async def test_workers_that_come_later_and_those_that_take_over_heed_it(app: Romancy, open_app: Open) -> None:
    await app.pause_activity("of_the_bank")
    await heard(app, "of_the_bank")
    record.gates["b"].set()
    handle = await app.start(pays, "a", "b")
    await until(lambda: "a" in record.names())
    other = await open_app()
    await heard(other, "of_the_bank")
    await app.drain(0)
    await asyncio.sleep(A_MOMENT)
    assert record.names() == ["a"]
    await other.unpause_activity("of_the_bank")
    assert await other.handle(handle.instance_id).result(timeout=60) == ["a", "b", "after b"]
    assert record.names() == ["a", "b", "after b"]


async def test_what_waits_so_can_be_cancelled_and_paused(app: Romancy) -> None:
    await app.pause_activity("of_the_bank")
    await heard(app, "of_the_bank")
    stopped, held = await app.start(pays, "a", "b"), await app.start(pays.options(instance_id="held"), "c", "b")
    await until(lambda: {"a", "c"} <= set(record.names()))
    await stopped.cancel()
    with pytest.raises(WorkflowCancelledError):
        await stopped.result(timeout=60)
    await held.pause("by itself")
    await status_is(app, "held", Status.PAUSED)
    record.gates["b"].set()
    await app.unpause_activity("of_the_bank")
    await heard(app)
    await asyncio.sleep(A_MOMENT)
    assert "b" not in record.names()
    await held.unpause()
    assert await held.result(timeout=60) == ["c", "b", "after b"]


async def test_what_is_paused_by_mistake_is_told(app: Romancy) -> None:
    with pytest.raises(UsageError, match="activity 'of_the_bank' is not paused"):
        await app.unpause_activity("of_the_bank")
    await app.pause_activity("of_the_bank", reason="first")
    with pytest.raises(UsageError, match="paused already because first; unpause it"):
        await app.pause_activity("of_the_bank", reason="second")
    for name, reason in (("", "x"), ("of_the_bank", "x" * 1001)):
        with pytest.raises(UsageError):
            await app.pause_activity(name, reason=reason)
    (paused,) = await app.paused_activities()
    assert paused.reason == "first"
    await app.unpause_activity("of_the_bank")
