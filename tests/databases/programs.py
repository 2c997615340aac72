"""The workflows in the kept databases. Their instances are started by former versions and finished by this one.

Every version that has a database here runs this file, so it uses only what all of them have. A workflow whose instances
are kept is never changed: a new one gets a new name.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from romancy import (
    EventTimeoutError,
    EventType,
    HmacCodec,
    RetryPolicy,
    TerminalError,
    WorkflowContext,
    ZlibCodec,
    activity,
    activity_context,
    compensation,
    workflow,
)

Word = EventType("word", str)
CODECS = (ZlibCodec(threshold=0), HmacCodec(b"the key of the kept databases, which is public"))
"""Around the rows of `kept_coded`."""


class Call(NamedTuple):
    """An attempt at an activity or a compensation."""

    instance_id: str
    what: str
    attempt: int
    key: str


@dataclass
class World:
    """What the activities find when they run."""

    holding: bool = False
    """The former version is at work: what can hang, hangs, and what can break, breaks."""
    repaired: bool = False
    """What `kept_ships` broke at is repaired: it hangs instead."""
    changed: bool = False
    """The code of `kept_changed` is another than before."""


world = World()
calls: list[Call] = []


def note(what: str) -> str:
    context = activity_context()
    calls.append(Call(context.instance_id, what, context.attempt, context.idempotency_key))
    return what


async def hang_if_holding() -> None:
    if world.holding:
        await asyncio.Event().wait()


# --- activities ---------------------------------------------------------------------------------------------------


@activity
async def kept_step(what: str) -> str:
    return note(what)


@activity
def kept_on_a_thread(what: str) -> str:
    return note(what)


@activity
async def kept_in_a_session(what: str) -> str:
    session = await activity_context().session()
    await session.fetch_all("select 1 as one")
    return note(what)


@activity
async def kept_hold(what: str) -> str:
    note(what)
    await hang_if_holding()
    return what


@activity(retry=RetryPolicy.fixed(9, 5.0))
async def kept_fails_at_first(what: str) -> str:
    note(what)
    if world.holding:
        raise OSError("not yet")
    return what


@activity(retry=RetryPolicy.fixed(9, 5.0))
async def kept_beats(what: str) -> list[int]:
    note(what)
    found = [int(detail) for detail in activity_context().heartbeat_details]
    if world.holding:
        activity_context().heartbeat(7, 11)
        raise OSError("not yet")
    return found


@activity(retry=RetryPolicy.none())
async def kept_breaks(what: str) -> str:
    note(what)
    if world.holding:
        raise TerminalError(f"{what} is broken")
    return what


@activity(retry=RetryPolicy.none())
async def kept_ships(what: str) -> str:
    note(what)
    if world.holding and not world.repaired:
        raise TerminalError(f"{what} is broken")
    await hang_if_holding()
    return what


@compensation
async def kept_refund(what: str) -> None:
    note(f"refund {what}")
    if what == "a fund that hangs":
        await hang_if_holding()
    if what == "a fund that breaks" and world.holding:
        raise TerminalError("the bank is closed")


@activity(compensation=kept_refund)
async def kept_charge(what: str) -> str:
    return note(what)


# --- workflows ----------------------------------------------------------------------------------------------------


@workflow(index=["customer"])
async def kept_line(ctx: WorkflowContext, customer: str, number: int) -> list[str]:
    """An activity of every kind, then one that hangs."""
    await ctx.report({"customer": customer, "number": number})
    first = [await kept_step("cut"), await kept_on_a_thread("sew"), await kept_in_a_session("write")]
    return [*first, await kept_hold("hold"), await kept_step("send")]


@workflow
async def kept_fork(ctx: WorkflowContext) -> list[str]:
    """One has ended and two hang."""
    return list(await asyncio.gather(kept_step("one"), kept_hold("two"), kept_hold("three")))


@workflow
async def kept_nap(ctx: WorkflowContext, seconds: float) -> list[object]:
    """Draws before a sleep are the same behind it, and the sleep is as long as it should be."""
    drawn, began = f"{ctx.uuid4()} {ctx.random().random()}", ctx.now()
    before = await kept_step(drawn)
    await ctx.sleep(seconds)
    return [before == drawn, (ctx.now() - began).total_seconds() >= seconds]


@workflow
async def kept_hear(ctx: WorkflowContext, count: int, timeout: float | None = None) -> list[str]:
    heard: list[str] = []
    try:
        for _ in range(count):
            event = await ctx.wait_event(Word, timeout=timeout)
            heard.append(event.data)
    except EventTimeoutError:
        heard.append("too late")
    return heard


@workflow
async def kept_hold_and_hear(ctx: WorkflowContext, count: int) -> list[str]:
    """Mail comes while an activity hangs."""
    held = await kept_hold("hold")
    return [held, *[(await ctx.wait_event(Word)).data for _ in range(count)]]


@workflow
async def kept_parent(ctx: WorkflowContext, child_id: str) -> list[str]:
    """Waits for a child that waits for a signal."""
    return await kept_hear.options(instance_id=child_id)(1)


@workflow
async def kept_parent_of_a_line(ctx: WorkflowContext) -> int:
    """Waits for a child, without an id of ours, that is amid an activity."""
    return len(await kept_line("a child", 1))


@workflow
async def kept_parent_beside(ctx: WorkflowContext, child_id: str) -> list[str]:
    """A child runs beside an activity of its parent."""
    child = await ctx.start(kept_hear.options(instance_id=child_id), 1)
    held = await kept_hold("beside")
    return [held, *await child.result()]


@workflow
async def kept_retrying(ctx: WorkflowContext) -> str:
    return await kept_fails_at_first("try")


@workflow
async def kept_beating(ctx: WorkflowContext) -> list[int]:
    return await kept_beats("beat")


@workflow
async def kept_saga(ctx: WorkflowContext, last: str) -> list[str]:
    """Two charges, then what breaks."""
    done = [await kept_charge("a fund"), await kept_step("between"), await kept_charge(last)]
    return [*done, await kept_breaks("ship")]


@workflow
async def kept_plain(ctx: WorkflowContext) -> list[str]:
    """Nothing of it can be undone."""
    heard = await ctx.wait_event(Word)
    return [heard.data, await kept_step("pack"), await kept_breaks("ship")]


@workflow
async def kept_held_again(ctx: WorkflowContext) -> list[str]:
    """Fails in its first run, and hangs in the run of its retry."""
    return [await kept_charge("a fund"), await kept_ships("ship")]


@workflow
async def kept_parent_again(ctx: WorkflowContext) -> list[str]:
    """Its child fails in the first run, and hangs in the run of the retry."""
    return [await kept_step("before"), *await kept_held_again.options(instance_id="child again")()]


@workflow
async def kept_cleaning(ctx: WorkflowContext) -> str:
    """Cancelled amid an activity; its clean-up hangs too."""
    try:
        return await kept_hold("work")
    finally:
        await kept_hold("clean up")


@workflow
async def kept_changed(ctx: WorkflowContext) -> str:
    first = await kept_step("another" if world.changed else "first")
    return f"{first} {(await ctx.wait_event(Word)).data}"


@workflow
async def kept_counter(ctx: WorkflowContext, number: int) -> list[object]:
    """Three runs; the second waits for a word."""
    await kept_step(f"run {number}")
    word = "none" if number != 2 else (await ctx.wait_event(Word)).data
    if number < 3:
        kept_counter.recur(number + 1)
    return [number, word]


@workflow
async def kept_limits(ctx: WorkflowContext, seconds: float) -> str:
    """A limit around what hangs."""
    try:
        async with asyncio.timeout(seconds):
            return await kept_hold("limited")
    except TimeoutError:
        return f"too late {await kept_step('after the limit')}"


@workflow
async def kept_race(ctx: WorkflowContext) -> list[str]:
    """Tasks, a queue and the first of two."""
    words: asyncio.Queue[str] = asyncio.Queue()

    async def listen() -> None:
        words.put_nowait((await ctx.wait_event(Word)).data)

    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        held = group.create_task(kept_hold("race"))
        first = await words.get()
    return [first, held.result()]


@workflow
async def kept_patched(ctx: WorkflowContext) -> list[object]:
    new = ctx.patched("colour")
    await kept_hold("patched")
    return [new, ctx.patched("colour")]


@workflow
async def kept_coded(ctx: WorkflowContext, secret: str) -> list[str]:
    """Its rows are written by codecs."""
    first = await kept_step(secret)
    heard = (await ctx.wait_event(Word)).data
    return [first, heard, await kept_hold(secret)]
