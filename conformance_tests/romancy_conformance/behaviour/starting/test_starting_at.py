"""Starts that wait until a moment: in each way in which an instance is started, and what ends the wait early."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    RetryPolicy,
    Romancy,
    Status,
    TerminalError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.sync import SyncRomancy
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.started_anew import nothing_is_amiss
from romancy_conformance.behaviour.waiting import status_is, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy import Instance
    from romancy.starting.checks import IfExists
    from romancy_conformance.behaviour.opening import Open

__all__ = ["nothing_is_amiss"]

pytestmark = pytest.mark.anyio

FAR = datetime(2999, 12, 31, 23, 59, 59, 7, tzinfo=UTC)
OVER = datetime(1, 1, 1, tzinfo=UTC)

attempts: list[str] = []


@workflow
async def at_says(ctx: WorkflowContext, text: str = "") -> str:
    return text or ctx.now().isoformat()


@workflow
async def at_parent(ctx: WorkflowContext, moment: datetime) -> str:
    return await at_says.options(instance_id="child", at=moment)("from the parent")


@workflow
async def at_parent_of_a_moment_to_come(ctx: WorkflowContext) -> str:
    return await at_says.options(at=ctx.now() + timedelta(milliseconds=200))()


@activity(retry=RetryPolicy(max_attempts=1))
async def at_fails_once() -> None:
    attempts.append("")
    if len(attempts) == 1:
        raise TerminalError("not yet")


@workflow
async def at_parent_that_is_retried(ctx: WorkflowContext) -> str:
    child = await ctx.start(waits.options(at=ctx.now() + timedelta(days=1)), "word")
    await at_fails_once()
    return child.instance_id


async def row(app: Romancy, instance_id: str) -> Instance:
    found = await app.get_instance(instance_id)
    assert found is not None
    return found


async def by_start(app: Romancy, moment: datetime) -> str:
    return (await app.start(at_says.options(at=moment), "x")).instance_id


async def by_many(app: Romancy, moment: datetime) -> str:
    handles = await app.start_many([at_says.options(at=moment).bind("x"), at_says.bind("y")])
    return handles[0].instance_id


async def by_name(app: Romancy, moment: datetime) -> str:
    return (await app.start(app.workflow("at_says").options(at=moment), "x")).instance_id


async def by_signal(app: Romancy, moment: datetime) -> str:
    call = waits.options(instance_id="signalled", at=moment).bind("word")
    return (await app.signal_with_start(call, "word", "x")).instance_id


async def by_parent(app: Romancy, moment: datetime) -> str:
    await app.start(at_parent.options(instance_id="parent"), moment)

    async def is_born() -> bool:
        return await app.get_instance("child") is not None

    await until(is_born)
    return "child"


WAYS = [by_start, by_many, by_name, by_parent]


@pytest.mark.parametrize("worker", [True, False])
@pytest.mark.parametrize("way", WAYS)
async def test_a_start_waits_until_its_moment(open_app: Open, way: Callable[..., Any], *, worker: bool) -> None:
    await open_app()
    app = await open_app(worker=worker)
    waiting = await row(app, await way(app, FAR))

    assert (Status.PENDING, FAR) == (waiting.status, waiting.wakes_at)


@pytest.mark.parametrize("worker", [True, False])
@pytest.mark.parametrize("way", WAYS)
async def test_a_moment_that_is_over_is_now(open_app: Open, way: Callable[..., Any], *, worker: bool) -> None:
    await open_app()
    app = await open_app(worker=worker)

    assert await app.handle(await way(app, OVER)).result() in ("x", "from the parent")


async def test_an_instance_begins_at_its_moment(app: Romancy) -> None:
    """By the database's clock, of which the worker has an estimate."""
    moment = datetime.now(UTC) + timedelta(milliseconds=300)
    began = await asyncio.gather(app.run(at_says.options(at=moment)), app.run(at_parent_of_a_moment_to_come))

    for each in began:
        assert datetime.fromisoformat(each) > moment - timedelta(milliseconds=250)


async def test_a_retried_parent_has_the_child_that_it_started_for_another_moment(app: Romancy) -> None:
    attempts.clear()
    parent = await app.start(at_parent_that_is_retried)
    with pytest.raises(WorkflowFailedError):
        await parent.result()
    (child,) = [one async for one in app.iter_instances(parent=parent.instance_id)]

    await app.retry(parent.instance_id)

    assert await parent.result() == child.instance_id
    assert 1 == await app.count(parent=parent.instance_id)


@pytest.mark.parametrize("how", ["commit", "roll back"])
async def test_a_start_for_a_moment_in_a_transaction(app: Romancy, storage_url: str, how: str) -> None:
    connect = caller_for(storage_url)
    if connect is None:
        pytest.skip(f"the suite knows no driver for {storage_url.partition(':')[0]}")
    caller = await connect()
    await caller.begin()
    await app.start(at_says.options(instance_id="joined", at=FAR), "x", session=caller.connection)
    await (caller.commit() if how == "commit" else caller.roll_back())
    await caller.close()

    found = await app.get_instance("joined")
    assert (FAR if how == "commit" else None) == (None if found is None else found.wakes_at)


async def test_a_signal_that_starts_ends_the_wait(app: Romancy) -> None:
    assert await app.handle(await by_signal(app, FAR)).result() == "x"


async def test_a_signal_and_a_cancellation_end_the_wait(app: Romancy) -> None:
    heard, cancelled = [await app.start(waits.options(at=FAR), "word") for _ in range(2)]
    await heard.signal("word", "early")
    await cancelled.cancel()

    assert await heard.result() == "early"
    await status_is(app, cancelled.instance_id, Status.CANCELLED)


@pytest.mark.parametrize("if_exists", ["return", "restart_ended", "restart_failed", "replace"])
async def test_a_start_for_a_moment_where_the_id_is_taken(app: Romancy, if_exists: IfExists) -> None:
    ended = await app.start(at_says.options(instance_id="taken"), "x")
    await ended.result()
    renewed = await app.start(at_says.options(instance_id="taken", at=FAR), "x", if_exists=if_exists)

    anew = if_exists in ("restart_ended", "replace")
    assert (FAR if anew else None) == (await row(app, renewed.instance_id)).wakes_at
    again = await app.start(at_says.options(instance_id="taken", at=OVER), "x")
    assert (Status.PENDING if anew else Status.COMPLETED) == await again.status()
    if anew:
        third = await app.start(at_says.options(instance_id="taken", at=OVER), "z", if_exists="replace")
        assert await third.result() == "z"


async def test_the_twin_starts_for_a_moment(storage_url: str) -> None:
    def started() -> Instance | None:
        with SyncRomancy(storage_url, workflows=[at_says], worker=False) as app:
            return app.get_instance(app.start(at_says.options(at=FAR), "x").instance_id)

    found = await asyncio.to_thread(started)
    assert found is not None
    assert found.wakes_at == FAR
