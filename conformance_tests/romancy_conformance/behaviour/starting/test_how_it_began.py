"""How a workflow was started, what it does first, and where it is driven: every combination sees the same times.

The test judges what the body saw, never a clock of its own: delays took their time by `ctx.now()` and by the loop's
clock alike, time-outs passed when they should and not before, and the body's first line ran at the loop's 0.
"""

# Only a test that stops the worker of an app at a chosen moment touches it.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from romancy import (
    EventTimeoutError,
    Handle,
    InstanceNotFoundError,
    Romancy,
    Status,
    TerminalError,
    WorkflowContext,
    activity,
    activity_context,
    workflow,
)
from romancy.engine import decide
from romancy_conformance.behaviour.callers import caller_for
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LONG: Final = 3600.0
HAIR: Final = 1e-6
"""Seconds by which rounding may reduce the difference of two times."""
stuck: set[str] = set()
failing: set[str] = set()
held: list[asyncio.Event] = []


@dataclass
class Seen:
    """What a body saw: times in seconds by the loop, in microseconds by `ctx.now()`."""

    result: str
    first_line: float
    began: int
    by_loop: float
    by_now: int


@activity
async def quick() -> str:
    return "done"


@activity
async def stumbles() -> None:
    if activity_context().instance_id in failing:
        raise TerminalError("it was told to")


@activity
async def is_held() -> None:
    await held[-1].wait()


@workflow
async def naps(ctx: WorkflowContext, nap: float) -> str:
    loop = asyncio.get_running_loop()
    before, began = ctx.now(), loop.time()
    await ctx.sleep(nap)
    slept = loop.time() - began > nap - HAIR and (ctx.now() - before).total_seconds() > nap - HAIR
    return "slept" if slept else "woke too early"


calls_is_held = calling(is_held)


async def sleeps(ctx: WorkflowContext, nap: float) -> str:
    await ctx.sleep(nap)
    return "slept"


async def waits(ctx: WorkflowContext, _: float) -> str:
    return str((await ctx.wait_event("go", timeout=LONG)).data)


async def waits_in_vain(ctx: WorkflowContext, nap: float) -> str:
    try:
        await ctx.wait_event("never", timeout=nap)
    except EventTimeoutError:
        return "nothing came"
    return "something came"


async def times_out(ctx: WorkflowContext, nap: float) -> str:
    try:
        async with asyncio.timeout(nap):
            await ctx.wait_event("never")
    except TimeoutError:
        return "timed out"
    return "something came"


async def is_in_time(ctx: WorkflowContext, _: float) -> str:
    try:
        async with asyncio.timeout(LONG):
            return await quick()
    except TimeoutError:
        return "timed out"


async def calls(ctx: WorkflowContext, _: float) -> str:
    return await quick()


async def has_a_child(ctx: WorkflowContext, nap: float) -> str:
    return await naps(nap)


async def gathers(ctx: WorkflowContext, nap: float) -> str:
    order: list[str] = []

    async def one(name: str, seconds: float) -> None:
        await ctx.sleep(seconds)
        order.append(name)

    done, *_ = await asyncio.gather(quick(), one("second", nap), one("first", nap / 2))
    return " ".join([*order, done])


FIRST: Final = {
    "sleep": (sleeps, "slept", True),
    "wait": (waits, "came", False),
    "wait-in-vain": (waits_in_vain, "nothing came", True),
    "timeout": (times_out, "timed out", True),
    "in-time": (is_in_time, "done", False),
    "activity": (calls, "done", False),
    "child": (has_a_child, "slept", False),
    "gather": (gathers, "first second done", True),
}
"""What the body does first, its result, and whether that takes as long as its nap."""


async def does_first(ctx: WorkflowContext, what: str, nap: float) -> Seen:
    loop = asyncio.get_running_loop()
    first_line, before = loop.time(), ctx.now()
    result = await FIRST[what][0](ctx, nap)
    since = round((ctx.now() - before).total_seconds() * 1_000_000)
    return Seen(result, first_line, round(before.timestamp() * 1_000_000), loop.time() - first_line, since)


@workflow
async def begins(ctx: WorkflowContext, what: str, nap: float) -> Seen:
    return await does_first(ctx, what, nap)


@workflow
async def begins_as_a_child(ctx: WorkflowContext, what: str, nap: float) -> Seen:
    return await begins.options(instance_id=f"{ctx.instance_id}-child")(what, nap)


@workflow
async def begins_again(ctx: WorkflowContext, what: str, nap: float) -> Seen:
    if ctx.run == 1:
        begins_again.recur(what, nap)
    return await does_first(ctx, what, nap)


@workflow
async def fails_at_first(ctx: WorkflowContext, what: str, nap: float) -> Seen:
    await stumbles()
    return await does_first(ctx, what, nap)


@workflow
async def is_stuck_at_first(ctx: WorkflowContext, what: str, nap: float) -> Seen:
    if ctx.instance_id in stuck:
        await asyncio.Event().wait()
    return await does_first(ctx, what, nap)


DELAY: Final = 0.2
WORKFLOWS: Final = {
    "child": begins_as_a_child,
    "recur": begins_again,
    "retry": fails_at_first,
    "resume": is_stuck_at_first,
}
Handles = dict[str, Handle[Seen]]


class Party:
    """One app for each role on one database, and how each instance is started. `home` drives what others leave."""

    def __init__(self, url: str, nap: float, home: Romancy, front: Romancy, full: Romancy) -> None:
        self.url, self.nap, self.home, self.front, self.full = url, nap, home, front, full

    async def start_all(self) -> Handles:
        handles: Handles = {}
        for how in ("worker", "no-worker", "many", "session", "delay", "full", *WORKFLOWS):
            handles |= await self._start(how)
        return handles

    async def _start(self, how: str) -> Handles:
        ids = {what: f"{how}-{what}" for what in FIRST}
        definition = WORKFLOWS.get(how, begins)
        if how == "delay":
            calls = [begins.options(instance_id=ids[what], delay=DELAY).bind(what, self.nap) for what in FIRST]
        else:
            calls = [definition.options(instance_id=ids[what]).bind(what, self.nap) for what in FIRST]
        if how == "retry":
            failing.update(ids.values())
        if how == "resume":
            stuck.update(ids.values())
        if how == "many":
            made = await self.home.start_many(calls)
        elif how == "session":
            made = await self._start_in_a_session(calls)
        else:
            app = {"no-worker": self.front, "full": self.full}.get(how, self.home)
            made = [handle for call in calls for handle in await app.start_many([call])]
        return {handle.instance_id: handle for handle in made}

    async def _start_in_a_session(self, calls: list[Any]) -> list[Handle[Seen]]:
        opener = caller_for(self.url)
        if opener is None:
            return []  # this database has no connections but the store's own
        caller = await opener()
        try:
            await caller.begin()
            made = await self.home.start_many(calls, session=caller.connection)
            await caller.commit()
        finally:
            await caller.close()
        return made

    async def try_again(self) -> None:
        """Retry what first failed or was stuck."""
        for instance_id in sorted(failing):
            await status_is(self.front, instance_id, Status.FAILED)
        failing.clear()
        for instance_id in sorted(stuck):
            await status_is(self.front, instance_id, Status.STUCK)
        again, stuck_ids = [f"retry-{what}" for what in FIRST], sorted(stuck)
        stuck.clear()
        for instance_id in again:
            await self.front.retry(instance_id)
        for instance_id in stuck_ids:
            await self.front.resume(instance_id)

    async def signal(self, handles: Handles) -> None:
        """Send the event that some wait for to all of them."""
        for instance_id in handles:
            if instance_id.endswith("-wait"):
                await self._signal(f"{instance_id}-child" if instance_id.startswith("child-") else instance_id)

    async def _signal(self, instance_id: str) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    return await self.front.signal(instance_id, "go", "came")
                except InstanceNotFoundError:
                    await asyncio.sleep(0.01)  # its parent has not come so far


def faults(instance_id: str, seen: Seen, nap: float) -> list[str]:
    """Return what is wrong with what a body saw."""
    how = next(how for how in ("no-worker", *WORKFLOWS, instance_id.partition("-")[0]) if instance_id.startswith(how))
    _, result, takes = FIRST[instance_id.removeprefix(f"{how}-")]
    found: list[str] = []
    if seen.result != result:
        found.append(f"{seen.result!r} instead of {result!r}")
    if takes and (seen.by_loop < nap - HAIR or seen.by_now < round(nap * 1_000_000)):
        found.append("its delay was too short")
    if abs(seen.by_loop * 1_000_000 - seen.by_now) > 2:
        found.append("its two clocks differ")
    if how != "retry" and seen.first_line != 0:
        found.append("its loop's time does not begin at 0")
    return [f"{instance_id}: {what} ({seen})" for what in found]


@pytest.fixture(autouse=True)
def gate() -> asyncio.Event:
    stuck.clear()
    failing.clear()
    held.append(asyncio.Event())
    return held[-1]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("where", ["live", "evicted", "taken over"])
async def test_every_first_thing_takes_its_time_however_it_was_started(
    storage_url: str, open_app: Open, gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    if where == "evicted":
        monkeypatch.setattr(decide, "_REST_AFTER", -LONG * 1_000_000)  # every waiting instance is released
    home = await open_app(sticky=0 if where == "evicted" else 1000)
    full = await open_app(max_live=1, max_activities=1)
    await full.start(calls_is_held)
    party = Party(storage_url, 1.0 if where == "taken over" else 0.2, home, await open_app(worker=False), full)
    handles = await party.start_all()
    await party.try_again()
    if where == "taken over":
        assert home._access.worker is not None
        await home._access.worker.leases.leave()  # dead to others, with all that it owns
        await open_app()
    await party.signal(handles)
    results = await asyncio.gather(*(party.front.handle(one, begins).result(timeout=300) for one in handles))
    gate.set()

    assert [fault for one, seen in zip(handles, results, strict=True) for fault in faults(one, seen, party.nap)] == []
    for instance_id, seen in zip(handles, results, strict=True):
        if instance_id.startswith("delay-") and instance_id != "delay-wait":  # its signal starts that one at once
            row = await party.front.get_instance(instance_id)
            assert row is not None
            assert seen.began >= round(row.created_at.timestamp() * 1_000_000) + round(DELAY * 1_000_000)
