"""Schedules: each tick starts once, also late ones, and what a schedule can be told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import convert

from romancy import (
    EventType,
    InstanceConflictError,
    InstanceNotFoundError,
    RegistrationError,
    Romancy,
    Schedule,
    ScheduleHandle,
    Status,
    UsageError,
    Workflow,
    WorkflowContext,
    workflow,
)
from romancy.managing import reports
from romancy.schedules.records import Progress
from romancy.storage.any_store import last_commits_of
from romancy_conformance.behaviour.callers import caller_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy._schedule_options import ScheduleKeywords
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow

pytestmark = pytest.mark.anyio

SOON = 30.0
GO = EventType("go", str)


@workflow
async def report_of(ctx: WorkflowContext, kind: str) -> str:
    assert ctx.scheduled_at is not None
    return f"{kind} of {ctx.scheduled_at.isoformat()}"


@workflow
async def gated(ctx: WorkflowContext) -> str:
    return (await ctx.wait_event(GO)).data


def in_milliseconds(*numbers: int) -> list[datetime]:
    now = datetime.now(UTC)
    return [now + timedelta(milliseconds=number) for number in numbers]


def id_of(schedule: str, tick: datetime) -> str:
    return f"{schedule}@{tick.isoformat().replace('+00:00', 'Z')}"


async def until(app: Romancy, handle: ScheduleHandle, holds: Callable[[Progress], object]) -> Schedule:
    """The schedule, once its progress is such."""
    await app.report(handle.instance_id, wait=lambda told: holds(convert(told["progress"], Progress)), timeout=SOON)
    found = await handle.get()
    assert found is not None
    return found


def completed(progress: Progress) -> int:
    return sum(run.outcome == "completed" for run in progress.runs)


async def runs_of(app: Romancy, schedule: str) -> list[str]:
    """The ids of all runs, in the order of their times."""
    return sorted([one.instance_id async for one in app.iter_instances(parent=f"schedule:{schedule}")])


# ── ticks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_tick_starts_a_run_that_knows_its_time(app: Romancy) -> None:
    ticks = in_milliseconds(50, 150, 250)
    call = report_of.options(headers={"tenant": "blue"}).bind("books")
    handle = await app.schedule("nightly", call, at=ticks, overlap="allow", catchup="all")  # on a slow machine too
    found = await until(app, handle, lambda progress: completed(progress) == 3)
    assert await runs_of(app, "nightly") == [id_of("nightly", tick) for tick in ticks]
    results = [await app.handle(id_of("nightly", tick), report_of).result() for tick in ticks]
    assert results == [f"books of {tick.isoformat()}" for tick in ticks]
    instance = await app.get_instance(id_of("nightly", ticks[0]))
    assert instance is not None
    assert instance.headers["tenant"] == "blue"
    assert (found.started, found.skipped, found.failed, found.next) == (3, 0, 0, None)
    assert [run.scheduled_at for run in found.runs] == ticks
    assert found.workflow == "report_of"


async def test_an_instance_that_no_schedule_started_has_no_time(app: Romancy) -> None:
    handle = await app.start(gated)
    await handle.signal(GO, "alone")
    assert await handle.result() == "alone"


async def test_two_workers_start_each_tick_once(open_app: Callable[..., Awaitable[Romancy]]) -> None:
    first, second = await open_app(), await open_app()
    ticks = in_milliseconds(*range(50, 1050, 50))
    handles = await asyncio.gather(
        *(
            app.schedule("both", report_of.bind("x"), at=ticks, overlap="allow", catchup="all")
            for app in (first, second)
        )
    )
    await until(first, handles[0], lambda progress: progress.started == len(ticks))
    assert await runs_of(second, "both") == [id_of("both", tick) for tick in ticks]


async def test_the_delay_of_a_jitter_is_part_of_the_start(app: Romancy) -> None:
    (tick,) = in_milliseconds(10)
    handle = await app.schedule("spread", report_of.bind("x"), at=tick, jitter=3600)
    await until(app, handle, lambda progress: progress.started)
    instance = await app.get_instance(id_of("spread", tick))
    assert instance is not None
    assert instance.status is Status.PENDING


# ── declaring ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_declaration_again_writes_nothing(app: Romancy) -> None:
    handle = await app.schedule("weekly", report_of.bind("books"), cron="0 6 * * mon", tz="Europe/Berlin")
    await until(app, handle, lambda progress: progress.next)
    length = len(await app.history(handle.instance_id))
    await app.schedule("weekly", report_of.bind("books"), cron="0 6 * * mon", tz="Europe/Berlin")
    assert len(await app.history(handle.instance_id)) == length


async def test_another_declaration_holds_from_now_on(app: Romancy) -> None:
    handle = await app.schedule("weekly", report_of.bind("books"), cron="0 6 * * mon")
    before = await until(app, handle, lambda progress: progress.next)
    (tick,) = in_milliseconds(300)
    await app.schedule("weekly", report_of.bind("stock"), at=tick)
    assert await (await until_there(app, id_of("weekly", tick))).result() == f"stock of {tick.isoformat()}"
    found = await handle.get()
    assert found is not None
    assert found.timing != before.timing
    assert [one.id for one in await app.schedules()] == ["weekly"]


async def until_there(app: Romancy, instance_id: str) -> Any:
    """A handle of an instance, once it exists."""
    parent = instance_id.partition("@")[0]
    await app.report(
        f"schedule:{parent}",
        wait=lambda told: instance_id in [run["instance_id"] for run in told["progress"].get("runs", ())],
        timeout=SOON,
    )
    return app.handle(instance_id)


async def test_schedules_are_listed_by_id(app: Romancy) -> None:
    for name in ("b", "a", "c"):
        await app.schedule(name, report_of.bind(name), every=3600)
    assert [(one.id, one.timing, one.overlap, one.catchup) for one in await app.schedules()] == [
        (name, "every 1:00:00", "skip", "one") for name in "abc"
    ]


async def test_many_schedules_are_listed_with_a_few_reads(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        handle = await app.schedule(f"nightly-{number:02}", report_of.bind("x"), cron="0 2 * * *")
        if number % 3 == 0:
            await handle.pause("busy")
    for number in range(0, 30, 3):
        await until(app, app.schedule_handle(f"nightly-{number:02}"), lambda progress: progress.paused == "busy")
    reads: list[int] = []

    async def counted(store: Store, rows: Sequence[InstanceRow]) -> dict[str, LogRow]:
        reads.append(len(rows))
        return await last_commits_of(store, rows)

    async def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(reports, "last_commits_of", counted)
    monkeypatch.setattr(reports, "_last", never)
    found = await app.schedules()
    assert [f"nightly-{number:02}" for number in range(30)] == [one.id for one in found]
    assert [None if number % 3 else "busy" for number in range(30)] == [one.paused for one in found]
    assert 30 == reads[0]
    assert len(reads) <= 2 * reports.NEAR


async def test_next_names_the_ticks_to_come(app: Romancy) -> None:
    handle = await app.schedule("daily", report_of.bind("x"), cron="30 2 * * *", tz="Europe/Berlin")
    first, second = await handle.next(2)
    assert first > datetime.now(UTC)
    assert timedelta(hours=23) <= second - first <= timedelta(hours=25)
    with pytest.raises(UsageError, match="next"):
        await handle.next(0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"every": 60, "overlap": "never"}, "overlap= is 'skip' or 'buffer_one' or 'allow', not 'never'"),
        ({"every": 60, "catchup": "some"}, "catchup="),
        ({"every": 60, "pause_on_failure": 1}, "pause_on_failure="),
        ({"every": 60, "interval": 5}, "no option interval="),
        ({"cron": "0 0 30 2 *"}, "cron="),
    ],
)
async def test_wrong_options_are_refused_before_anything_is_written(
    app: Romancy, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError) as error:
        await app.schedule("wrong", report_of.bind("x"), **options)
    assert why in str(error.value)
    assert "'wrong'" in str(error.value)
    assert await app.schedules() == []


async def test_a_wrong_call_is_refused(app: Romancy) -> None:
    wrong: Any = report_of
    with pytest.raises(UsageError, match=r"bind"):
        await app.schedule("wrong", wrong, every=60)
    with pytest.raises(UsageError, match="instance_id"):
        await app.schedule("wrong", report_of.options(instance_id="mine").bind("x"), every=60)
    with pytest.raises(UsageError, match="at most 200 bytes"):
        await app.schedule("é" * 101, report_of.bind("x"), every=60)
    with pytest.raises(UsageError, match="kind"):
        await app.schedule("wrong", report_of.bind(), every=60)  # type: ignore[call-arg]
    for call in (ScheduleHandle.pause, ScheduleHandle.resume, ScheduleHandle.trigger, ScheduleHandle.delete):
        with pytest.raises(InstanceNotFoundError, match="no schedule 'nowhere'"):
            await call(app.schedule_handle("nowhere"))
    assert await app.schedule_handle("nowhere").get() is None


@pytest.mark.parametrize(
    ("catchup", "taken"), [("one", [2]), ("all", [0, 1, 2]), ("none", [2]), (timedelta(hours=2), [0, 1, 2]), (0, [])]
)
async def test_ticks_that_came_while_no_worker_ran(
    open_app: Callable[..., Awaitable[Romancy]], catchup: Any, taken: list[int]
) -> None:
    client = await open_app(worker=False)
    ticks = in_milliseconds(300, 400, 500)
    handle = await client.schedule("late", report_of.bind("x"), at=ticks, catchup=catchup, overlap="allow")
    await asyncio.sleep((ticks[-1] - datetime.now(UTC)).total_seconds() + 0.1)  # they come, and nobody is there
    worker = await open_app()
    found = await until(worker, handle, lambda progress: progress.since > ticks[-1])
    assert await runs_of(worker, "late") == [id_of("late", ticks[number]) for number in taken]
    assert (found.started, found.next) == (len(taken), None)


@pytest.mark.parametrize("worker", [True, False])
async def test_a_declaration_in_a_transaction_holds_from_its_commit(
    open_app: Callable[..., Awaitable[Romancy]], storage_url: str, *, worker: bool
) -> None:
    connect = caller_for(storage_url)
    if connect is None:
        pytest.skip(f"the suite knows no driver for {storage_url.partition(':')[0]}")
    keeps = await open_app()
    app = keeps if worker else await open_app(worker=False)
    caller = await connect()

    async def declares(*crons: str) -> None:
        for cron in crons:
            await app.schedule("nightly", report_of.bind("books"), cron=cron, session=caller.connection)

    handle = app.schedule_handle("nightly")
    await caller.begin()
    await declares("0 1 * * *")
    await caller.roll_back()
    assert await handle.get() is None

    await caller.begin()
    await declares("0 2 * * *", "0 3 * * *")  # the second one changes what the first has declared
    await caller.commit()
    found = await until(keeps, handle, lambda progress: progress.next and progress.next.hour == 3)
    assert found.timing == "cron '0 3 * * *' in UTC"

    await caller.begin()
    await declares("0 4 * * *")
    await caller.roll_back()
    await caller.begin()
    await declares("0 5 * * *")
    await caller.commit()
    await until(keeps, handle, lambda progress: progress.next and progress.next.hour == 5)

    await handle.delete()
    await caller.begin()
    await declares("0 6 * * *")
    await caller.commit()
    await caller.close()
    await until(keeps, handle, lambda progress: progress.next and progress.next.hour == 6)
    assert await runs_of(keeps, "nightly") == []


async def test_a_declaration_in_a_transaction_leaves_instances_of_other_workflows_alone(
    app: Romancy, storage_url: str
) -> None:
    connect = caller_for(storage_url)
    if connect is None:
        pytest.skip(f"the suite knows no driver for {storage_url.partition(':')[0]}")
    await app.start(gated.options(instance_id="schedule:taken"))
    caller = await connect()
    await caller.begin()
    with pytest.raises(InstanceConflictError):
        await app.schedule("taken", report_of.bind("x"), cron="0 1 * * *", session=caller.connection)
    await caller.commit()
    await caller.close()


# ── what a schedule can be told ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_paused_schedule_starts_what_it_is_triggered_to(app: Romancy) -> None:
    handle = await app.schedule("yearly", report_of.bind("x"), cron="0 0 1 1 *")
    await handle.pause("maintenance")
    found = await until(app, handle, lambda progress: progress.paused is not None)
    assert (found.paused, found.next) == ("maintenance", None)
    assert await handle.next(5) == []
    await handle.trigger()
    await until(app, handle, lambda progress: completed(progress) == 1)
    await handle.resume()
    await handle.trigger()
    found = await until(app, handle, lambda progress: completed(progress) == 2)
    assert (found.paused, found.started) == (None, 2)
    assert [instance_id.partition("!")[2] for instance_id in await runs_of(app, "yearly")] == ["1", "2"]


async def test_a_backfill_starts_what_was_due_and_leaves_what_is_there(app: Romancy) -> None:
    handle = await app.schedule("daily", report_of.bind("x"), cron="30 2 * * *", tz="Europe/Berlin")
    march = datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
    await handle.backfill(*march)
    await until(app, handle, lambda progress: completed(progress) == 4)
    expected = [f"daily@2026-03-{day}T{hour}:00Z" for day, hour in (("27", "01:30"), ("28", "01:30"), ("29", "01:00"))]
    assert (await runs_of(app, "daily"))[:3] == expected
    await handle.backfill(march[0], march[1] + timedelta(days=1))
    found = await until(app, handle, lambda progress: [run.outcome for run in progress.runs].count("joined") == 4)
    assert found.started == 5
    assert len(await runs_of(app, "daily")) == 5
    with pytest.raises(UsageError, match="its start is after its end"):
        await handle.backfill(march[1], march[0])


async def test_a_deleted_schedule_leaves_its_runs_and_can_be_declared_again(app: Romancy) -> None:
    (tick,) = in_milliseconds(10)
    handle = await app.schedule("once", gated.bind(), at=tick)
    run = await until_there(app, id_of("once", tick))
    await handle.delete()
    assert await app.schedules() == []
    with pytest.raises(InstanceNotFoundError, match="no schedule 'once'"):
        await handle.trigger()
    await run.signal(GO, "on")
    assert await run.result() == "on"
    again = await app.schedule("once", gated.bind(), every=3600)
    assert (await until(app, again, lambda progress: progress.next)).started == 0


# ── beside everything else ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_check_before_a_deploy_knows_schedules(open_app: Callable[..., Awaitable[Romancy]]) -> None:
    app = await open_app()
    handle = await app.schedule("daily", report_of.bind("x"), cron="30 2 * * *")
    await until(app, handle, lambda progress: progress.next)
    found = await (await open_app(worker=False)).check()
    assert (found.checked, found.misfits) == (1, [])


async def test_a_schedule_that_was_terminated_can_be_declared_again(app: Romancy) -> None:
    handle = await app.schedule("daily", report_of.bind("x"), cron="30 2 * * *")
    await until(app, handle, lambda progress: progress.next)
    await app.terminate(handle.instance_id)
    assert await app.schedules() == []
    again = await app.schedule("daily", report_of.bind("x"), cron="30 2 * * *")
    await until(app, again, lambda progress: progress.next)
    assert [one.id for one in await app.schedules()] == ["daily"]


async def test_a_workflow_known_by_its_name_alone_can_be_scheduled(open_app: Callable[..., Awaitable[Romancy]]) -> None:
    client = await open_app(worker=False, workflows=[])
    (tick,) = in_milliseconds(10)
    await client.schedule("named", client.workflow("report_of").bind(kind="books"), at=tick)
    worker = await open_app()
    run = await until_there(worker, id_of("named", tick))
    assert await run.result() == f"books of {tick.isoformat()}"


async def test_a_run_that_fails_can_be_retried(app: Romancy) -> None:
    (tick,) = in_milliseconds(10)
    handle = await app.schedule("once", gated.options(timeout=0.2).bind(), at=tick)
    found = await until(app, handle, lambda progress: progress.failed)
    assert [run.outcome for run in found.runs] == ["failed"]
    await app.retry(id_of("once", tick))
    await app.signal(id_of("once", tick), GO, "on")
    assert await app.handle(id_of("once", tick), gated).result() == "on"


async def test_a_declaration_right_behind_a_deletion_holds(app: Romancy) -> None:
    handle = await app.schedule("daily", report_of.bind("0"), every=3600)
    for number in range(1, 11):
        with suppress(InstanceNotFoundError):  # the declaration before it may not be carried out yet
            await handle.order_delete()
        await app.schedule("daily", report_of.bind(str(number)), every=3600 + number)
    assert [one.id for one in await until_listed(app, "daily", ["every 1:00:10"])] == ["daily"]


async def test_a_declaration_depends_on_no_instance_that_is_about_to_end(
    storage_url: str, open_app: Callable[..., Awaitable[Romancy]]
) -> None:
    """What is sent to it as it ends is read by nobody."""
    client = await open_app(worker=False)
    (tick,) = in_milliseconds(10)
    async with Romancy(storage_url, workflows=[gated], drain_timeout=0.0) as worker:
        handle = await worker.schedule("daily", gated.bind(), at=tick)
        run = client.handle((await until_there(worker, id_of("daily", tick))).instance_id, gated)
        await handle.delete()

    again = await client.schedule("daily", report_of.bind("x"), every=7200)

    found = await again.get()
    assert found is not None
    assert found.timing == "every 2:00:00"
    await again.trigger()
    worker = await open_app()
    assert (await until(worker, again, lambda progress: progress.triggered)).started == 1
    await run.signal(GO, "on")
    assert await run.result() == "on"


async def test_the_last_of_several_declarations_holds(
    storage_url: str, open_app: Callable[..., Awaitable[Romancy]]
) -> None:
    """The first one is what the schedule says that it is, while the second one waits for a worker."""
    client = await open_app(worker=False)
    first = await client.schedule("daily", report_of.bind("x"), every=3600)
    async with Romancy(storage_url, workflows=[report_of]) as worker:
        await until(worker, first, lambda progress: progress.next)
    await client.schedule("daily", report_of.bind("x"), every=7200)
    await client.schedule("daily", report_of.bind("x"), every=3600)
    await first.pause("what came before is carried out")
    found = await until(await open_app(), first, lambda progress: progress.paused)
    assert found.timing == "every 1:00:00"


# ── declared in code ────────────────────────────────────────────────────────────────────────────────────────────────


def scheduled(**options: Any) -> Workflow[..., Any]:
    async def close_books(ctx: WorkflowContext, ledger: str = "main") -> str:
        return ledger

    return Workflow(close_books, name="close_books", **options)


async def until_listed(app: Romancy, schedule_id: str, timings: list[str]) -> list[Schedule]:
    """All schedules, once the one of this id is due so, or not there."""
    async with asyncio.timeout(SOON):
        while True:
            found = await app.schedules()
            if [one.timing for one in found if one.id == schedule_id] == timings:
                return found
            await asyncio.sleep(0.02)


async def test_a_deploy_adds_changes_and_removes_what_the_code_declares(
    open_app: Callable[..., Awaitable[Romancy]],
) -> None:
    client = await open_app(worker=False)
    await client.schedule("by_hand", report_of.bind("x"), every=3600)
    for options, timing in (
        ({"schedule": {"cron": "0 2 * * *"}}, "cron '0 2 * * *' in UTC"),
        ({"schedule": {"cron": "0 3 * * *", "tz": "Europe/Berlin"}}, "cron '0 3 * * *' in Europe/Berlin"),
        ({}, ""),
    ):
        app = await open_app(workflows=[scheduled(**options)])
        expected = [timing] if timing else []
        found = await until_listed(client, "close_books", expected)
        assert "by_hand" in [one.id for one in found]
        await app.drain(0)


async def test_a_schedule_that_cannot_be_written_hinders_no_other(open_app: Callable[..., Awaitable[Romancy]]) -> None:
    async def later(ctx: WorkflowContext) -> None: ...

    client = await open_app(worker=False)
    await client.start(gated.options(instance_id="schedule:close_books"))
    hourly: ScheduleKeywords = {"every": 3600}
    await open_app(workflows=[scheduled(schedule=hourly), Workflow(later, name="later", schedule=hourly)])
    await until_listed(client, "later", ["every 1:00:00"])


async def test_a_schedule_of_a_workflow_that_needs_arguments_is_refused() -> None:
    async def needs(ctx: WorkflowContext, ledger: str) -> None: ...

    with pytest.raises(RegistrationError, match="needs 'ledger'"):
        Workflow(needs, schedule={"cron": "0 2 * * *"})
    with pytest.raises(RegistrationError, match="no cron expression"):
        scheduled(schedule={"cron": "0 2 * * xyz"})
    with pytest.raises(RegistrationError, match=r"takes the options of app\.schedule"):
        scheduled(schedule="0 2 * * *")


async def test_an_instance_that_only_has_such_an_id_is_no_schedule(app: Romancy) -> None:
    await app.start(gated.options(instance_id="schedule:gated"))
    assert await app.schedules() == []
    assert await app.schedule_handle("gated").get() is None
    with pytest.raises(InstanceConflictError, match="of gated"):
        await app.schedule("gated", gated.bind(), every=60)
