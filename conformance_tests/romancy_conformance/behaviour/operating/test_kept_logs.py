"""Log lines that an app keeps: each once, of bodies and activities, whoever goes on with the instance."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from romancy import (
    EventType,
    KeepLogs,
    LogLine,
    RetryPolicy,
    Romancy,
    Status,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.storage.backends import create_store
from romancy.storage.services import Service
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.services import services_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Open = Callable[..., Awaitable[Romancy]]

pytestmark = pytest.mark.anyio

SOON = 30.0
GO = EventType("go", str)
own = logging.getLogger("an.app")


@pytest.fixture(autouse=True)
def _wanted(storage_url: str) -> None:
    services_with(Service.JOURNAL, create_store(storage_url))


@activity
async def asks(name: str) -> str:
    activity_context().log.info("an attempt for %s", name)
    own.warning("plain logging for %s", name)
    await asyncio.sleep(0)
    return name


@activity
def asks_on_a_thread(name: str) -> str:
    activity_context().log.info("a thread for %s", name)
    own.warning("plain logging of a thread")
    return name


@activity(retry=RetryPolicy(max_attempts=2, initial_interval=0.0))
async def fails_once() -> None:
    attempt = activity_context().attempt
    if attempt == 1:
        try:
            raise ValueError("no card")
        except ValueError:
            activity_context().log.exception("attempt %d fails", attempt)
            raise
    activity_context().log.info("attempt %d", attempt)


@workflow
async def told(ctx: WorkflowContext, name: str) -> str:
    ctx.log.info("it begins for %s", name)
    ctx.log.debug("nobody wants this")
    await asks(name)
    own.warning("between")
    await asks_on_a_thread(name)
    ctx.log.info("it waits")
    await ctx.wait_event(GO)
    ctx.log.info("it goes on")
    if ctx.run == 1:
        told.recur(name)
    return name


@workflow
async def retries(ctx: WorkflowContext) -> None:
    await fails_once()


async def all_of(lines: AsyncIterator[LogLine]) -> list[LogLine]:
    async with asyncio.timeout(SOON):
        return [line async for line in lines]


RUN = [
    "it begins for ann",
    "an attempt for ann",
    "plain logging for ann",
    "between",
    "a thread for ann",
    "plain logging of a thread",
    "it waits",
    "it goes on",
]


async def test_each_line_is_kept_once_whoever_goes_on(open_app: Open, storage_url: str) -> None:
    reader = await open_app(worker=False)  # keeps a database in memory
    async with Romancy(storage_url, workflows=[told], keep_logs="INFO") as first:
        await first.start(told.options(instance_id="a"), "ann")
        await status_is(first, "a", Status.WAITING)
    assert RUN[:-1] == [line.message for line in await all_of(reader.logs_of("a"))]

    app = await open_app(keep_logs="INFO")
    handle = app.handle("a")
    following = asyncio.ensure_future(all_of(handle.logs(follow=True)))
    for _ in range(2):
        await app.signal("a", GO, "go")
    assert "ann" == await handle.result(timeout=SOON)

    lines = await following
    assert [*RUN, *RUN] == [line.message for line in lines]
    assert [1] * 8 + [2] * 8 == [line.run for line in lines]
    assert len(lines) == len({line.cursor for line in lines})
    assert RUN == [line.message for line in await all_of(reader.logs_of("a", after=lines[7].cursor))]


async def test_a_line_says_where_it_is_from(open_app: Open) -> None:
    app = await open_app(keep_logs=KeepLogs("INFO"), worker_id="w1")
    handle = await app.start(retries.options(instance_id="r"))
    await handle.result(timeout=SOON)

    first, second = await all_of(handle.logs(follow=True))
    assert ("ERROR", "attempt 1 fails", 1) == (first.level, first.message, first.attempt)
    assert "ValueError: no card" in str(first.error)
    assert "fails_once" in str(first.error)
    assert ("INFO", "attempt 2", 2, None) == (second.level, second.message, second.attempt, second.error)
    assert {("w1", "romancy.activity", "fails_once:1", 1)} == {
        (one.worker_id, one.logger, one.activity_id, one.run) for one in (first, second)
    }
    assert first.at <= second.at
    assert [first] == await all_of(handle.logs(level="WARNING"))


async def test_nothing_is_kept_unless_the_app_says_so(app: Romancy) -> None:
    handle = await app.start(retries.options(instance_id="n"))
    await handle.result(timeout=SOON)

    assert [] == await all_of(handle.logs(follow=True))
    assert all(type(one).__module__ != "romancy.engine.line_keeper" for one in logging.getLogger().handlers)
