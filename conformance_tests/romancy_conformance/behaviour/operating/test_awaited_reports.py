"""`report(wait=…)`: the caller waits until a workflow has reported what it asks for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    CodecError,
    Codecs,
    InstanceEndedError,
    InstanceNotFoundError,
    Romancy,
    UsageError,
    WorkflowContext,
    activity,
    workflow,
)
from romancy.core import MessageReceived
from romancy.managing.reports import NEAR
from romancy.sync import SyncRomancy
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio
LIMIT = 30


@workflow
async def tells_of_steps(ctx: WorkflowContext, steps: int) -> None:
    for step in range(steps):
        await ctx.report({"step": step})
        await ctx.wait_event("next")


@workflow
async def tells_of_rounds(ctx: WorkflowContext, number: int) -> None:
    await ctx.report(f"round {number}")
    await ctx.wait_event("next")
    if number < 3:
        tells_of_rounds.recur(number + 1)


def at(step: int) -> Callable[[Any], bool]:
    def there(report: Any) -> bool:
        return bool(report["step"] == step)

    return there


@workflow
async def tells_once(ctx: WorkflowContext, text: str, waits: int) -> None:
    await ctx.report(text)
    for _ in range(waits):
        await ctx.wait_event("next")
    await ctx.wait_event("last")


async def test_the_last_reports_of_several_instances(app: Romancy) -> None:
    """Also of one that has gone on for long since, of a later run, and of one that has ended."""
    await app.start(tells_of_rounds.options(instance_id="rounds"), 1)
    await app.start(tells_of_rounds.options(instance_id="ended"), 3)
    await app.start(waits.options(instance_id="silent"), "next")
    await app.start(tells_once.options(instance_id="near"), "near", 0)
    await app.start(tells_once.options(instance_id="far"), "far", 2 * NEAR)
    for _ in range(2 * NEAR):
        await app.signal("far", "next")
    for instance_id in ("rounds", "ended"):
        await app.signal(instance_id, "next")
    await app.handle("ended").result()
    await app.report("rounds", wait=lambda told: told == "round 2", timeout=LIMIT)

    async def has_gone_on() -> bool:
        return sum(isinstance(event, MessageReceived) for event in await app.history("far")) == 2 * NEAR

    await until(has_gone_on)
    found = await app.reports(["far", "rounds", "near", "silent", "nobody", "ended", "far"])
    assert {"far": "far", "near": "near", "rounds": "round 2", "ended": "round 3"} == found
    assert {} == await app.reports([])


@activity
async def tells_of_work() -> None: ...


@workflow
async def tells_while_it_works(ctx: WorkflowContext, rounds: int) -> None:
    for number in range(rounds):
        await tells_of_work()
        await ctx.report(number)
    await ctx.sleep(1.5)


@pytest.mark.parametrize("rounds", [1, 2, 3, 7, 20])
async def test_the_last_report_of_an_instance_that_a_worker_keeps(app: Romancy, rounds: int) -> None:
    """Its row does not say how long its log is."""
    await app.start(tells_while_it_works.options(instance_id="busy"), rounds)
    await app.report("busy", wait=lambda told: told == rounds - 1, timeout=LIMIT)
    assert {"busy": rounds - 1} == await app.reports(["busy"])


async def test_reports_that_are_sealed_are_refused(open_app: Open) -> None:
    sealing = await open_app(codecs=Codecs(Masking()))
    await sealing.start(tells_once.options(instance_id="sealed"), "secret", 0)
    await sealing.report("sealed", wait=bool, timeout=LIMIT)
    assert {"sealed": "secret"} == await sealing.reports(["sealed"])
    with pytest.raises(CodecError, match="log of instance sealed was written with the codec 'mask:1'"):
        await (await open_app(worker=False)).reports(["sealed"])


async def test_a_report_that_is_there_is_returned_at_once(app: Romancy) -> None:
    handle = await app.start(tells_of_steps, 1)
    assert {"step": 0} == await handle.report(wait=at(0), timeout=LIMIT)
    assert {"step": 0} == await app.report(handle.instance_id, wait=at(0), timeout=LIMIT)


@pytest.mark.parametrize("where", ["in the worker", "in another process"])
async def test_a_later_report_is_waited_for(app: Romancy, open_app: Open, where: str) -> None:
    asker = app if where == "in the worker" else await open_app(worker=False)
    handle = await app.start(tells_of_steps, 4)
    waits = [asyncio.create_task(asker.report(handle.instance_id, wait=at(step), timeout=LIMIT)) for step in (2, 3, 3)]
    for step in range(3):
        await handle.report(wait=at(step), timeout=LIMIT)
        await handle.signal("next")

    assert [{"step": 2}, {"step": 3}, {"step": 3}] == await asyncio.gather(*waits)


async def test_a_former_report_does_not_count(app: Romancy) -> None:
    handle = await app.start(tells_of_steps, 3)
    await handle.signal("next")
    await handle.report(wait=at(1), timeout=LIMIT)

    with pytest.raises(TimeoutError, match=f"{handle.instance_id} made no report .* within 0.2 s"):
        await handle.report(wait=at(0), timeout=0.2)
    await handle.signal("next")
    assert {"step": 2} == await handle.report(wait=at(2), timeout=LIMIT)


async def test_an_instance_that_ends_without_it_says_so(app: Romancy) -> None:
    handle = await app.start(tells_of_steps, 1)
    asked = asyncio.create_task(handle.report(wait=at(7), timeout=LIMIT))
    await handle.report(wait=at(0), timeout=LIMIT)
    await handle.signal("next")

    for call in (asked, handle.report(wait=at(7), timeout=LIMIT)):
        with pytest.raises(InstanceEndedError, match=r"has ended \(completed\)") as caught:
            await call
        assert (handle.instance_id, "completed") == (caught.value.instance_id, caught.value.status)
    assert {"step": 0} == await handle.report(wait=at(0), timeout=LIMIT)


async def test_no_report_is_not_passed_to_the_function(app: Romancy) -> None:
    handle = await app.start(waits, "next")
    with pytest.raises(TimeoutError):
        await handle.report(wait=at(0), timeout=0.1)
    assert await handle.report() is None


async def test_reports_of_later_runs_count(app: Romancy) -> None:
    handle = await app.start(tells_of_rounds, 1)
    asked = asyncio.create_task(handle.report(wait="round 3".__eq__, timeout=LIMIT))
    for number in (1, 2):
        await handle.report(wait=f"round {number}".__eq__, timeout=LIMIT)
        await handle.signal("next")
    assert "round 3" == await asked


async def test_an_error_of_the_function_is_the_callers(app: Romancy) -> None:
    handle = await app.start(tells_of_steps, 1)
    with pytest.raises(ZeroDivisionError):
        await handle.report(wait=lambda _: 1 / 0, timeout=LIMIT)


async def test_bad_calls_are_refused(app: Romancy) -> None:
    async def later(_report: Any) -> bool:
        return True

    handle = await app.start(waits, "next")
    for bad in (later, "step"):
        with pytest.raises(UsageError, match="plain function"):
            await handle.report(wait=bad)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="needs wait="):
        await handle.report(timeout=1)
    with pytest.raises(UsageError, match="timeout"):
        await handle.report(wait=at(0), timeout=-1)
    with pytest.raises(InstanceNotFoundError):
        await app.report("nobody", wait=at(0), timeout=LIMIT)


async def test_an_instance_that_is_purged_meanwhile_is_not_found(app: Romancy) -> None:
    handle = await app.start(waits, "next")
    asked = asyncio.create_task(handle.report(wait=at(0), timeout=LIMIT))
    await asyncio.sleep(0)
    await app.terminate(handle.instance_id)
    await app.purge(handle.instance_id)

    with pytest.raises((InstanceNotFoundError, InstanceEndedError)):
        await asked


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")
async def test_blocking_callers_wait_too(app: Romancy, storage_url: str) -> None:
    handle = await app.start(tells_of_steps, 2)

    def ask() -> Any:
        with SyncRomancy(storage_url, workflows=[tells_of_steps], worker=False) as other:
            return other.handle(handle.instance_id).report(wait=at(1), timeout=LIMIT)

    asked = asyncio.create_task(asyncio.to_thread(ask))
    await handle.signal("next")
    assert {"step": 1} == await asked
