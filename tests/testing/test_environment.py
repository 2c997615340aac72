"""One activity alone, with a context that the test fills and reads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from romancy import (
    ActivityContext,
    Depends,
    EventType,
    UsageError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.testing import ActivityEnvironment

pytestmark = pytest.mark.anyio

TABLE = "create table paid (amount integer)"
receipts: EventType[int] = EventType("receipt", int)


class Bank:
    name = "real"


class FakeBank(Bank):
    name = "fake"


def bank() -> Bank:
    return Bank()


@activity(pass_context=True)
async def pay(ctx: ActivityContext, amount: int, *, at: Bank = Depends(bank)) -> str:
    session = await ctx.session()
    await session.execute(f"insert into paid values ({amount})")  # noqa: S608 - a number
    await ctx.publish(receipts, amount)
    ctx.after_commit(list)
    if amount < 0:
        raise ValueError("nothing to pay")
    return f"{at.name} {ctx.attempt} {ctx.idempotency_key} {ctx.instance_id}"


@activity
async def scan(pages: int) -> list[Any]:
    ctx = activity_context()
    (begin,) = ctx.heartbeat_details or (0,)
    for page in range(begin, pages):
        ctx.heartbeat(page + 1)
    return [begin, pages]


@activity
def on_a_thread(number: int) -> int:
    activity_context().heartbeat(number)
    return number


@workflow
async def no_activity(ctx: WorkflowContext) -> None:
    pass


async def test_an_activity_runs_with_the_context_of_the_test() -> None:
    async with ActivityEnvironment(setup=[TABLE], attempt=3, idempotency_key="k-1", instance_id="order-1") as env:
        with env.override(bank, FakeBank):
            assert await env.run(pay, 7) == "fake 3 k-1 order-1"
        session = await env.session()
        assert await session.fetch_all("select amount from paid") == [{"amount": 7}]
        assert [(one.kind, one.name, one.data) for one in env.sent] == [("publish", "receipt", 7)]
        assert env.after_commit == [list]


async def test_what_a_failed_activity_did_is_gone() -> None:
    async with ActivityEnvironment(setup=[TABLE]) as env:
        await env.run(pay, 1)
        with pytest.raises(ValueError, match="nothing to pay"):
            await env.run(pay, -1)
        session = await env.session()
        assert await session.fetch_all("select amount from paid") == [{"amount": 1}]
        assert [one.data for one in env.sent] == [1]


@pytest.mark.dealt
@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb")  # those with SQL
async def test_the_users_database_is_rolled_back(storage_url: str) -> None:
    count = "select count(*) as rows_there from paid"
    async with ActivityEnvironment(storage_url, setup=[TABLE.replace("create", "create temporary")]) as env:
        await env.run(pay, 4)
        with pytest.raises(ValueError, match="nothing to pay"):
            await env.run(pay, -1)
        assert await (await env.session()).fetch_one(count) == {"rows_there": 1}
    async with ActivityEnvironment(storage_url) as env:
        with pytest.raises(Exception, match=r"(?i)paid"):
            await (await env.session()).fetch_one(count)


async def test_heartbeats_are_recorded_and_begin_where_the_last_attempt_stopped() -> None:
    async with ActivityEnvironment(heartbeat_details=[2]) as env:
        assert await env.run(scan, 4) == [2, 4]
        assert env.heartbeats == [(3,), (4,)]


async def test_an_activity_that_was_given_up_learns_it_at_its_heartbeat() -> None:
    async with ActivityEnvironment() as env:
        env.cancel()
        with pytest.raises(asyncio.CancelledError, match="given up"):
            await env.run(on_a_thread, 1)


async def test_a_plain_function_runs_on_a_thread() -> None:
    async with ActivityEnvironment() as env:
        assert await env.run(on_a_thread, 5) == 5
        assert env.heartbeats == [(5,)]


async def test_the_context_ends_with_the_activity() -> None:
    async with ActivityEnvironment() as env:
        await env.run(scan, 1)
        with pytest.raises(UsageError, match="while an activity runs"):
            activity_context()


async def test_only_activities_run_in_an_open_environment() -> None:
    env = ActivityEnvironment()
    with pytest.raises(UsageError, match="not open"):
        await env.run(scan, 1)
    async with env:
        wrong: Any = no_activity
        with pytest.raises(UsageError, match="runs activities"):
            await env.run(wrong)
