"""The three places at which `crash_at_every_commit` kills, what it finds there, and what is no fault."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    Handle,
    RetryPolicy,
    UsageError,
    WorkflowContext,
    WorkflowStuckError,
    activity,
    activity_context,
    compensation,
    workflow,
)
from romancy.testing import Crash, TestApp, crash_at_every_commit
from tests.testing import careless

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

effects: list[str] = []
lock = threading.Lock()


def add(effect: str) -> None:
    with lock:
        effects.append(effect)


@activity
async def append(what: str) -> str:
    add(what)
    return what


@activity
def append_on_a_thread(what: str) -> str:
    add(what)
    return what


@compensation
async def undo_carelessly(result: str, what: str) -> None:
    add(f"undo {what}")


@activity(compensation=undo_carelessly)
async def undoable(what: str) -> str:
    key = activity_context().idempotency_key
    if key not in effects:
        add(key)
    return what


@activity(retry=RetryPolicy(3, 60, jitter=1.0))
async def flaky() -> str:
    """It fails twice, as the log counts: the number of an attempt counts those that a crash has cut off, too."""
    details = activity_context().heartbeat_details
    failed = int(details[0]) if details else 0
    key = f"{activity_context().idempotency_key} {failed}"
    if key not in effects:
        add(key)
    activity_context().heartbeat(failed + 1)
    if failed < 2:
        raise ConnectionError("not yet")
    return key


@activity
async def keyed(what: str) -> str:
    key = activity_context().idempotency_key
    if key not in effects:
        add(key)
    return key


@workflow
async def calls_append(ctx: WorkflowContext) -> None:
    await append("once")


@workflow
async def calls_a_thread(ctx: WorkflowContext) -> None:
    await append_on_a_thread("once")


@workflow
async def two_beside(ctx: WorkflowContext) -> None:
    await asyncio.gather(keyed("a"), append_on_a_thread("b"))


@workflow
async def undone(ctx: WorkflowContext) -> None:
    await undoable("a")
    raise ValueError("no use")


@workflow
async def body_with_an_effect(ctx: WorkflowContext) -> None:
    add("from the body")
    await ctx.sleep(1)


@workflow
async def dated(ctx: WorkflowContext) -> str:
    await flaky()
    await ctx.sleep(86_400)
    return f"{ctx.now().isoformat()} {ctx.uuid4()} {ctx.random().random()}"


@workflow
async def with_keys(ctx: WorkflowContext) -> list[str]:
    child = await ctx.start(returns_a_key)
    return [*await asyncio.gather(keyed("a"), keyed("b")), await child.result(), child.instance_id]


@workflow
async def returns_a_key(ctx: WorkflowContext) -> str:
    return await keyed("c")


@workflow
async def waits(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event("go", model=str)).data


@workflow
async def sleeps_for_ever(ctx: WorkflowContext) -> None:
    while True:
        await ctx.sleep(60)


@workflow
async def recurs_for_ever(ctx: WorkflowContext) -> None:
    await ctx.sleep(60)
    recurs_for_ever.recur()


@workflow
async def spins(ctx: WorkflowContext) -> None:
    spins.recur()


def clear(_: TestApp) -> None:
    effects.clear()


def told() -> list[str]:
    return sorted(effects)


@pytest.mark.parametrize("call", [calls_append.bind(), calls_a_thread.bind(), two_beside.bind(), undone.bind()])
async def test_an_effect_without_its_key_is_found_between_effect_and_commit(call: Any) -> None:
    with pytest.raises(AssertionError, match=r"(and before its commit|after commit 2): its effects are"):
        await crash_at_every_commit(call, prepare=clear, effects=told)


async def test_an_effect_in_a_body_is_found() -> None:
    with pytest.raises(AssertionError, match="killed after commit 1: its effects are"):
        await crash_at_every_commit(body_with_an_effect.bind(), prepare=clear, effects=told)


async def test_the_three_places_of_each_kind_of_activity_are_named() -> None:
    crashes = await crash_at_every_commit(calls_a_thread.bind())
    assert [crash.where for crash in crashes] == [
        "after commit 1",
        "before activity append_on_a_thread (append_on_a_thread:1)",
        "after activity append_on_a_thread (append_on_a_thread:1) and before its commit",
        "after commit 2",
    ]
    places = [crash.where for crash in await crash_at_every_commit(undone.bind(), prepare=clear)]
    assert any(where.startswith("before compensation undo_carelessly") for where in places)
    assert any(where.startswith("after compensation undo_carelessly") for where in places)


async def test_a_failed_attempt_has_three_places_too() -> None:
    crashes = await crash_at_every_commit(dated.bind(), prepare=clear)
    assert sum(crash.where.startswith("before activity flaky") for crash in crashes) == 3


@pytest.mark.parametrize("call", [dated.bind(), with_keys.bind()])
async def test_times_keys_and_random_values_are_those_of_the_run_without_a_crash(call: Any) -> None:
    crashes = await crash_at_every_commit(
        call, workflows=[dated, with_keys, returns_a_key], prepare=clear, effects=told
    )
    assert len(crashes) > 6
    assert len({str(crash.result) for crash in crashes}) == 1


async def test_every_run_begins_at_the_given_time() -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    seen: list[datetime] = []
    crashes = await crash_at_every_commit(dated.bind(), now=moment, prepare=lambda app: seen.append(app.now))
    assert set(seen) == {moment}
    assert {crash.result[:10] for crash in crashes} == {"2030-01-02"}


@pytest.mark.parametrize("call", [sleeps_for_ever.bind(), recurs_for_ever.bind()])
async def test_a_workflow_that_never_ends_is_an_error(call: Any) -> None:
    with pytest.raises(AssertionError, match="made 1000 commits and has not ended"):
        await crash_at_every_commit(call)


async def test_a_workflow_that_recurs_without_waiting_is_stuck() -> None:
    with pytest.raises(WorkflowStuckError, match="called recur 1000 times without waiting for anything"):
        await crash_at_every_commit(spins.bind())


async def test_functions_that_cannot_be_called_are_refused_at_once() -> None:
    async def one(app: TestApp) -> None: ...
    async def three(app: TestApp, handle: Handle[Any], more: int) -> None: ...

    wrong: Any
    for wrong in (one, three):
        with pytest.raises(UsageError, match=r"drive= takes a function that is called as drive\(app, handle\)"):
            await crash_at_every_commit(waits.bind(), drive=wrong)
    with pytest.raises(UsageError, match=r"prepare= .* prepare\(app\)"):
        await crash_at_every_commit(waits.bind(), prepare=three)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"effects= .* effects\(\)"):
        await crash_at_every_commit(waits.bind(), effects=one)  # type: ignore[arg-type]


async def test_a_drive_that_fails_fails_the_test_at_once() -> None:
    async def drive(app: TestApp, handle: Handle[Any]) -> None:
        raise LookupError("no such signal")

    with pytest.raises(LookupError, match="no such signal"):
        await crash_at_every_commit(waits.bind(), drive=drive)


async def test_prepare_and_effects_may_be_coroutine_functions() -> None:
    async def prepare(app: TestApp) -> None:
        effects.clear()

    async def look() -> list[str]:
        return told()

    crashes = await crash_at_every_commit(
        with_keys.bind(), workflows=[with_keys, returns_a_key], prepare=prepare, effects=look
    )
    assert len(crashes[0].effects) == 3


async def test_asyncio_complains_about_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "asyncio")
    before = asyncio.all_tasks()
    await crash_at_every_commit(with_keys.bind(), workflows=[with_keys, returns_a_key], prepare=clear)
    for _ in range(3):
        async with TestApp([sleeps_for_ever]) as app:
            await app.start(sleeps_for_ever)
            await app.advance(timedelta(minutes=5))
            await app.crash()
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    assert asyncio.all_tasks() == before


async def test_a_thread_of_the_lost_worker_has_ended_when_the_next_one_begins() -> None:
    begun, release, ended = threading.Event(), threading.Event(), threading.Event()

    @activity
    def slow() -> None:
        begun.set()
        release.wait(30)
        ended.set()

    @workflow
    async def calls_slow(ctx: WorkflowContext) -> None:
        await slow()

    async with TestApp([calls_slow]) as app:
        handle = await app.start(calls_slow)
        await asyncio.to_thread(begun.wait)
        asyncio.get_running_loop().call_later(0.05, release.set)
        await app.crash()
        assert ended.is_set()
        await handle.result()


async def in_processes(path: Path, call: Any) -> list[Crash]:
    return await crash_at_every_commit(call, url=f"sqlite:///{path / 'crashes.db'}", effects=careless.rows_and_clear)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROMANCY_TEST_LEDGER", str(tmp_path / "ledger"))
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("call", [careless.pays_carelessly.bind(), careless.pays_carelessly_on_threads.bind()])
async def test_processes_find_an_effect_without_its_key(ledger: Path, call: Any) -> None:
    with pytest.raises(AssertionError, match="and before its commit: its effects are"):
        await in_processes(ledger, call)


@pytest.mark.long
async def test_processes_have_the_same_keys_in_each_run(ledger: Path) -> None:
    crashes = await in_processes(ledger, careless.pays_with_keys.bind())
    assert len(crashes) >= 7
    assert {len(crash.effects) for crash in crashes} == {2}


@pytest.mark.long
async def test_processes_start_the_same_children_in_each_run(ledger: Path) -> None:
    crashes = await crash_at_every_commit(
        careless.has_children.bind(),
        workflows=[careless.has_children, careless.pays_with_keys],
        url=f"sqlite:///{ledger / 'crashes.db'}",
        effects=careless.rows_and_clear,
    )
    assert len({crash.result for crash in crashes}) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("call", "why"),
    [
        (careless.never_ends.bind(), "made 1000 commits and has not ended"),
        (careless.waits_for_nobody.bind(), "waits for something that no process sends"),
    ],
)
async def test_processes_give_up_a_workflow_that_does_not_end(ledger: Path, call: Any, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        await in_processes(ledger, call)
