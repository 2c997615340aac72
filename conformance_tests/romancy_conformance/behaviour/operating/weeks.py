"""What an app does in a week, again and again: one or two of each kind of work, all of which has ended at its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from romancy import (
    Channel,
    EventType,
    Limit,
    RetryPolicy,
    Romancy,
    Status,
    Stream,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    activity_context,
    entity,
    entity_context,
    workflow,
)
from romancy.entity import LINGERS
from romancy.windows.asking import LINGERS as WINDOW_LINGERS
from romancy_conformance.behaviour.waiting import joined, status_is, until

if TYPE_CHECKING:
    from romancy import Handle
    from romancy_conformance.behaviour.recording import Recorder

__all__ = ["WORKFLOWS", "a_week"]

NEWS: Final = Channel("year news", int)
JOBS: Final = Channel("year jobs", int)
GO: Final = EventType("year go", int)
SOON: Final = 60.0
TICKS: Final = 3
_broken: set[str] = set()


@activity
async def year_step(number: int) -> int:
    return number


@activity(retry=RetryPolicy.none())
async def year_refuses(name: str) -> str:
    if name in _broken:
        raise ValueError("no")
    return name


@activity
async def year_says(week: int) -> str:
    activity_context().log.info("week %d begins", week)
    activity_context().stream(Stream("tokens", str)).write(f"week {week}")
    return "said"


@activity
async def year_sells(week: int) -> None:
    await activity_context().publish("year.sold", {"week": week}, key=f"shop {week}")


@workflow(index=["week"])
async def year_steps(ctx: WorkflowContext, week: int) -> int:
    return await year_step(week) + await year_step(1)


@workflow
async def year_parent(ctx: WorkflowContext, week: int) -> int:
    return await year_steps(week)


@workflow
async def year_fails(ctx: WorkflowContext, name: str) -> str:
    return await year_refuses(name)


@workflow
async def year_chats(ctx: WorkflowContext, week: int) -> str:
    ctx.log.info("it chats in week %d", week)
    await ctx.stream(Stream("words", str)).write("of the body")
    await ctx.publish("year.chatted", week)
    return await year_says(week)


@workflow
async def year_hears(ctx: WorkflowContext, week: int) -> list[int]:
    await ctx.channel(NEWS).subscribe()
    await ctx.channel(JOBS).subscribe("competing")
    paid = (await ctx.wait_event("year paid", key=f"order {week}")).data
    return [paid, (await ctx.channel(NEWS).receive()).data, (await ctx.channel(JOBS).receive()).data]


@workflow
async def year_waits(ctx: WorkflowContext) -> int:
    return (await ctx.wait_event(GO)).data


@workflow(limits=[Limit("year customers", key="customer", concurrency=1, rate=(5, 60.0))])
async def year_serves(ctx: WorkflowContext, customer: str) -> int:
    return await year_step(1)


@workflow
async def year_asks(ctx: WorkflowContext) -> bool:
    return await ctx.ask("Sure?", to="ann")


@workflow
async def year_sells_something(ctx: WorkflowContext, week: int) -> None:
    await year_sells(week)


@workflow
async def year_recurs(ctx: WorkflowContext, runs: int = 0) -> None:
    """Never ends: each week is a run."""
    ctx.log.info("run %d", runs)
    await ctx.report(runs)
    await year_says(runs)
    await ctx.wait_event(GO)
    await year_step(runs)
    year_recurs.recur(runs + 1)


@workflow
async def year_batch(ctx: WorkflowContext, items: list[int]) -> int:
    return sum(items)


@entity("year-cart")
@dataclass
class YearCart:
    items: list[int] = field(default_factory=list[int])

    async def put(self, item: int) -> int:
        self.items = [await year_step(item)]
        return item

    async def clear(self) -> None:
        entity_context().destroy()


WORKFLOWS: Final[list[Any]] = [
    year_steps, year_parent, year_fails, year_chats, year_hears, year_waits, year_serves, year_asks,
    year_sells_something, year_recurs, year_batch, YearCart,
]  # fmt: skip


async def a_week(app: Romancy, week: int, relayed: Recorder) -> None:
    """All work of a week. When it returns, nothing is left to do but what never ends."""
    LINGERS.set(0.01)
    WINDOW_LINGERS.set(10_000)
    await asyncio.gather(
        _plain(app, week), _fails(app, week), _ends_by_force(app), _hears(app, week), _serves(app, week),
        _is_asked(app), _recurs(app), _ticks(app), _sells(app, week, relayed), _batches(app, week), _carts(app, week),
        _subscribes(app, week), _goes_back(app, week),
    )  # fmt: skip
    await until(lambda: _rests(app))


async def _rests(app: Romancy) -> bool:
    """Whether all that is open waits."""
    counts = (await app.count()).by_status
    return not any(counts.get(one) for one in (Status.PENDING, Status.RUNNING, Status.CANCELLING)) and not any(
        [one async for one in app.iter_instances(workflow_name="romancy.window", status="waiting")]
    )


async def _plain(app: Romancy, week: int) -> None:
    await asyncio.gather(
        app.run(year_steps, week),
        app.run(year_parent, week),
        app.run(year_chats, week),
        app.run(year_steps.options(instance_id="the same", fair_key=f"tenant {week}"), week, if_exists="restart_ended"),
    )


async def _fails(app: Romancy, week: int) -> None:
    names = (f"failed {week}", f"mended {week}")
    _broken.update(names)
    handles = [await app.start(year_fails, name) for name in names]
    for handle in handles:
        with suppress(WorkflowFailedError):
            await handle.result(SOON)
    _broken.discard(names[1])
    await app.retry(handles[1].instance_id)
    await handles[1].result(SOON)


async def _ends_by_force(app: Romancy) -> None:
    cancelled, terminated, unread = [await app.start(year_waits) for _ in range(3)]
    await cancelled.cancel("enough")
    await unread.signal("year unread", 1)
    await app.terminate(terminated.instance_id)
    await app.terminate(unread.instance_id)
    await status_is(app, cancelled.instance_id, Status.CANCELLED)


async def _hears(app: Romancy, week: int) -> None:
    listener = await app.start(year_hears, week)
    await joined(app, 2, NEWS.name)  # the other one is outside
    await joined(app, 1, JOBS.name)
    for _ in range(2):  # the second one is the same message
        await app.channel(NEWS).publish(week, id=f"news {week}")
        await app.channel(JOBS).publish(week, id=f"job {week}")
        await app.send("year paid", week, key=f"order {week}", id=f"paid {week}", source="bank")
    await app.send("year unheard", week, key=f"nobody {week}")
    assert await listener.result(SOON) == [week] * 3
    waiting = await app.start(year_waits)
    for _ in range(2):
        await waiting.signal(GO, week, id=f"go {week}")
    assert await waiting.result(SOON) == week


async def _serves(app: Romancy, week: int) -> None:
    served = [await app.start(year_serves, f"customer {week}") for _ in range(2)]
    for one in served:
        await one.result(SOON)


async def _is_asked(app: Romancy) -> None:
    handle = await app.start(year_asks)
    found: list[str] = []

    async def asked() -> bool:
        found[:] = [one.token for one in (await app.questions(instance_id=handle.instance_id)).questions]
        return bool(found)

    await until(asked)
    await app.answer(found[0], data=True, by="ann")
    assert await handle.result(SOON) is True


async def _recurs(app: Romancy) -> None:
    handle = await app.start(year_recurs.options(instance_id="for ever"))
    run = await handle.report(wait=lambda _: True, timeout=SOON)
    await handle.signal(GO, 1)
    await handle.report(wait=lambda told: told > run, timeout=SOON)


async def _ticks(app: Romancy) -> None:
    handle = await app.schedule("yearly", year_steps.bind(0), every=timedelta(days=700))
    parent = handle.instance_id
    before = {one.instance_id async for one in app.iter_instances(parent=parent)}
    for _ in range(TICKS):
        await handle.trigger(overlap="allow")

    async def began() -> bool:
        runs = [one async for one in app.iter_instances(parent=parent, status="completed")]
        return len({one.instance_id for one in runs} - before) == TICKS

    await until(began)


async def _sells(app: Romancy, week: int, relayed: Recorder) -> None:
    await app.run(year_sells_something, week)
    await relayed.until(2)  # one of `year_chats`


async def _batches(app: Romancy, week: int) -> None:
    windows = [await app.batch(year_batch, item, f"batch {week}", size=2, within=SOON) for item in range(2)]
    batch: Handle[int] = await windows[1].started(SOON)
    assert await batch.result(SOON) == 1


async def _carts(app: Romancy, week: int) -> None:
    assert await app.entity(YearCart, "for ever").put(week) == week
    await app.entity(YearCart, f"of {week}").put(week)
    await app.entity(YearCart, f"of {week}").clear()
    await status_is(app, f"year-cart:of {week}", Status.COMPLETED)


async def _subscribes(app: Romancy, week: int) -> None:
    async with app.channel(NEWS).subscribe("outside") as mail:
        assert (await mail.receive(timeout=SOON)).data == week


async def _goes_back(app: Romancy, week: int) -> None:
    handle = await app.start(year_steps.options(instance_id=f"back {week}"), week)
    await handle.result(SOON)
    forked = await handle.fork(before="year_step:2", id=f"forked {week}")
    await forked.result(SOON)
    await handle.rewind(before="year_step:2", undo="keep")
    await status_is(app, handle.instance_id, Status.COMPLETED)
