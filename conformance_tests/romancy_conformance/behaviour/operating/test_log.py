"""The loggers of bodies and attempts: a replay says nothing, and each line says whom it is about."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from romancy import EventType, Romancy, Status, WorkflowContext, activity, activity_context, workflow
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

SOON = 30.0
GO = EventType("go", str)


@activity
async def speaks(name: str) -> str:
    activity_context().log.warning("an attempt for %s", name)
    return name


@activity
def speaks_on_a_thread(name: str) -> str:
    activity_context().log.warning("a thread for %s", name, extra={"colour": "red"})
    return name


@workflow
async def told(ctx: WorkflowContext, name: str) -> str:
    ctx.log.info("it begins for %s", name)
    await speaks(name)
    await speaks_on_a_thread(name)
    ctx.log.warning("it waits", extra={"colour": "blue"})
    await ctx.wait_event(GO)
    ctx.log.info("it goes on")
    if ctx.run == 1:
        told.recur(name)
    return name


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logger]


async def test_a_line_of_a_body_comes_once_whoever_goes_on_with_it(
    open_app: Callable[..., Awaitable[Romancy]], storage_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="romancy")
    await open_app(worker=False)  # keeps a database in memory
    async with Romancy(storage_url, workflows=[told]) as first:
        await first.start(told.options(instance_id="a"), "ann")
        await status_is(first, "a", Status.WAITING)
    app = await open_app()
    for _ in range(2):
        await app.signal("a", GO, "go")

    assert await app.handle("a").result(timeout=SOON) == "ann"
    run = ["it begins for ann", "it waits", "it goes on"]
    assert lines(caplog, "romancy.workflow") == [*run, *run]


async def test_a_line_says_whom_it_is_about(app: Romancy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="romancy")
    handle = await app.start(told.options(instance_id="b"), "ben")
    for _ in range(2):
        await app.signal("b", GO, "go")
    await handle.result(timeout=SOON)

    said = {record.getMessage(): vars(record) for record in caplog.records if record.name.startswith("romancy.")}
    about = ("romancy_instance_id", "romancy_workflow", "romancy_run", "romancy_activity_id", "romancy_attempt")
    assert [said["it waits"][name] for name in about] == ["b", "told", 2, None, None]
    assert [said["an attempt for ben"][name] for name in about] == ["b", "told", None, "speaks:1", 1]
    assert [said["a thread for ben"][name] for name in about] == ["b", "told", None, "speaks_on_a_thread:1", 1]
    assert (said["it waits"]["colour"], said["a thread for ben"]["colour"]) == ("blue", "red")
    assert said["it waits"]["funcName"] == "told"
