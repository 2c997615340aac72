"""One clock: pages and commands tell the times of commits, by the database's clock, from the commit of the start on."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from romancy import RetryPolicy, Romancy, WorkflowContext, activity, workflow

if TYPE_CHECKING:
    from romancy_conformance.behaviour.commands.buying import Command


@activity(retry=RetryPolicy.fixed(2, 0.001))
async def ship(tries: list[int]) -> str:
    return "shipped"


@workflow
async def shipping(ctx: WorkflowContext, item: str) -> str:
    await ctx.wait_event("paid")
    return await ship([])


def shipped(url: str, instance_id: str) -> None:
    """Start and pay without a worker; a worker does the rest."""

    async def run() -> None:
        async with Romancy(url, workflows=[shipping], worker=False) as client:
            handle = await client.start(shipping.options(instance_id=instance_id), "lamp")
            await handle.signal("paid")
        async with Romancy(url, workflows=[shipping]) as app:
            assert "shipped" == await app.handle(instance_id, shipping).result(timeout=60)

    asyncio.run(run())


def committed(records: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The entry of the log with the first event of this kind."""
    return next(each for each in records if each["event"]["type"] == kind)


def test_the_times_of_steps_are_those_of_their_commits_and_texts(url: str, romancy: Command) -> None:
    shipped(url, "t-1")

    log = romancy("history", "t-1", "--json").records
    (shown,) = romancy("show", "t-1", "--json").records

    wait, ships = shown["steps"]
    assert ships["began_at"] == committed(log, "ActivityScheduled")["at"] == wait["ended_at"]
    assert ships["ended_at"] == committed(log, "ActivityCompleted")["at"]
    assert wait["began_at"] == committed(log, "MessageAwaited")["at"]


def test_an_event_without_a_time_has_its_commits(url: str, romancy: Command) -> None:
    shipped(url, "t-2")

    log = romancy("history", "t-2", "--json").records
    shown = romancy("show", "t-2").out

    began = committed(log, "WorkflowStarted")
    assert began["event"]["at"] == began["at"]
    moments = [datetime.fromisoformat(each["event"]["at"]) for each in log if "at" in each["event"]]
    assert max(moments) - min(moments) < timedelta(hours=1)
    assert " d " not in shown, shown


def test_every_time_of_a_record_is_a_text(url: str, romancy: Command) -> None:
    async def prepare() -> None:
        async with Romancy(url, workflows=[sleeping]) as app:
            await app.start(sleeping.options(instance_id="t-3"))
            await app.send("lost", {}, key="k")
            async for entry in app.entries_of("t-3", follow=True):
                if type(entry.event).__name__ == "ActivityAttemptFailed":
                    break

    asyncio.run(prepare())

    told = {
        command: romancy(*command.split(), "--json").records
        for command in ("show t-3", "history t-3", "undelivered", "workers", "outbox", "list")
    }

    named = {"at", "due", "time", "since"}
    for command, records in told.items():
        for name, value in _leaves(records):
            if name in named or name.endswith("_at"):
                assert isinstance(value, str | None), (command, name, value)
                assert value is None or datetime.fromisoformat(value).tzinfo is not None


@activity(retry=RetryPolicy.fixed(9, 3600))
async def never() -> None:
    raise ValueError("not yet")


@workflow
async def sleeping(ctx: WorkflowContext) -> None:
    await asyncio.gather(ctx.sleep(3600), never(), ctx.wait_event("go", timeout=timedelta(hours=1)))


def _leaves(value: object, name: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return [leaf for key, each in pairs for leaf in _leaves(each, key)]
    if isinstance(value, list):
        return [leaf for each in cast("list[object]", value) for leaf in _leaves(each, name)]
    return [(name, value)]
