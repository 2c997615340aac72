"""Two apps on one database, each with schedules: a worker keeps those whose workflow it knows."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

import pytest
from msgspec import convert

from romancy import Romancy, Status, UsageError, WorkflowContext, workflow
from romancy.schedules.records import WORKFLOW, Progress
from romancy.serialization import is_sealed
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.coded import Masking
from romancy_conformance.behaviour.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from romancy import ScheduleHandle, Workflow
    from romancy.storage.records import LogRow
    from romancy.workflow import Call

    Rows: TypeAlias = Callable[[ScheduleHandle], Awaitable[list[LogRow]]]

pytestmark = pytest.mark.anyio

SOON = 30.0
SECOND = timedelta(seconds=1)


@workflow
async def books_closed(ctx: WorkflowContext, kind: str) -> str:
    return f"{kind} are closed"


@workflow
async def shelves_counted(ctx: WorkflowContext) -> str:
    return "all there"


@pytest.fixture
async def rows(storage_url: str) -> AsyncIterator[Rows]:
    """The log of a schedule as it is stored."""
    store = create_store(storage_url)
    await store.open()

    async def rows(handle: ScheduleHandle) -> list[LogRow]:
        history = await store.read(handle.instance_id)
        assert history is not None
        return history.rows

    yield rows
    await store.close()


async def progress_is(app: Romancy, handle: ScheduleHandle, holds: Callable[[Progress], object]) -> None:
    await app.report(handle.instance_id, wait=lambda told: holds(convert(told["progress"], Progress)), timeout=SOON)


def one_is_completed(progress: Progress) -> bool:
    return any(run.outcome == "completed" for run in progress.runs)


async def test_a_worker_that_seals_writes_nothing_into_the_schedule_of_an_app_that_cannot_open_it(
    storage_url: str, rows: Rows
) -> None:
    async with (
        Romancy(storage_url, worker=False, workflows=[books_closed]) as front,
        Romancy(storage_url, workflows=[shelves_counted], codecs=[Masking()]),
    ):
        handle = await front.schedule("nightly", books_closed.bind("books"), every=SECOND)

        async def somebody_has_looked() -> bool:
            return len(await rows(handle)) > 1

        await until(somebody_has_looked)
        async with Romancy(storage_url, workflows=[books_closed]) as app:
            await progress_is(app, handle, one_is_completed)
        assert not [row.seq for row in await rows(handle) if is_sealed(row.body, "commit")]


async def test_a_schedule_that_a_worker_leaves_to_others_is_not_stuck(storage_url: str) -> None:
    async with (
        Romancy(storage_url, workflows=[shelves_counted]),
        Romancy(storage_url, worker=False, workflows=[books_closed]) as front,
    ):
        handles = [await front.schedule(f"s{number}", books_closed.bind("books"), every=SECOND) for number in range(5)]
        async with Romancy(storage_url, workflows=[books_closed]) as app:
            for handle in handles:
                await progress_is(app, handle, one_is_completed)
        assert {(one.status, one.error) async for one in front.iter_instances(workflow_name=WORKFLOW)} <= {
            (status, None) for status in (Status.RUNNING, Status.WAITING)
        }


async def test_another_workflow_needs_no_worker_that_knows_the_former_one(storage_url: str) -> None:
    async with Romancy(storage_url, worker=False, workflows=[books_closed, shelves_counted]) as front:
        calls: list[tuple[Call[str], Workflow[..., str]]] = [
            (books_closed.bind("books"), books_closed),
            (shelves_counted.bind(), shelves_counted),
        ]
        for call, known in calls * 2:
            handle = await front.schedule("moved", call, every=SECOND)
            async with Romancy(storage_url, workflows=[known]) as app:
                await progress_is(app, handle, one_is_completed)
            found = await handle.get()
            assert found is not None
            assert found.workflow == known.name


async def test_a_transaction_cannot_give_a_schedule_another_workflow(app: Romancy, storage_url: str) -> None:
    connect = caller_for(storage_url)
    if connect is None:
        pytest.skip(f"the suite knows no driver for {storage_url.partition(':')[0]}")
    await app.schedule("moved", books_closed.bind("books"), cron="0 1 * * *")
    caller = await connect()
    await caller.begin()
    with pytest.raises(UsageError, match="starts books_closed: declare it without session="):
        await app.schedule("moved", shelves_counted.bind(), cron="0 1 * * *", session=caller.connection)
    await caller.commit()
    await caller.close()
