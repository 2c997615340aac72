"""The sweep over a database: it finds nothing where all is well, and names every damage, instance by instance."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Raw

from romancy import Limit, Romancy, Status, TerminalError, WorkflowContext, activity, compensation, workflow
from romancy.core import (
    ActivityCompleted,
    MessageAwaited,
    OwnerChanged,
    TimerFired,
    TimerStarted,
    Topic,
    WorkflowCompleted,
    encode_commit,
)
from romancy.engine.places import place_of
from romancy.storage.backends import create_store
from romancy.storage.routing import Owner
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.faults.field import ENVIRONMENT
from romancy_conformance.behaviour.planting import Planting
from romancy_conformance.behaviour.waiting import status_is
from romancy_conformance.invariants import Complaint, sweep, sweep_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy import Workflow
    from romancy.core import LogEvent

pytestmark = [pytest.mark.anyio, pytest.mark.unreplayable("which are about damaged logs")]

HOUR = 3600 * 1_000_000


@compensation
async def swept_undo() -> None:
    return None


@activity(compensation=swept_undo)
async def swept_step() -> int:
    return 1


@activity
async def swept_refusal() -> None:
    raise TerminalError("no")


calls_swept_step = calling(swept_step)


@workflow
async def swept_failed(ctx: WorkflowContext) -> None:
    await swept_step()
    await swept_refusal()


@workflow
async def swept_waits(ctx: WorkflowContext) -> None:
    await swept_step()
    await ctx.wait_event("go")


@workflow
async def swept_sleeps(ctx: WorkflowContext) -> None:
    await asyncio.sleep(3600)


@workflow
async def swept_parent(ctx: WorkflowContext, child: str) -> None:
    await swept_waits.options(instance_id=child)()


@workflow
async def swept_again(ctx: WorkflowContext, turn: int = 0) -> int:
    if turn < 2:
        swept_again.recur(turn + 1)
    return turn


@workflow(limits=[Limit("swept", concurrency=1)])
async def swept_placed(ctx: WorkflowContext) -> None:
    await ctx.wait_event("go")


SWEPT: list[Workflow[..., Any]] = [
    *(calls_swept_step, swept_failed, swept_waits, swept_sleeps, swept_parent, swept_again, swept_placed)
]
swept_app = Romancy("memory://", workflows=SWEPT)
DONE = ("done", "behind", "twice", "reopened", "elsewhere", "woken", "leaks")
WAITING = (
    *("gap", "lost tail", "logless", "same append", "garbled", "empty", "senseless", "open", "owned", "unread"),
    *("under way", "for nothing", "other code", "no clock", "orphan"),
)
SLEEPING = ("sleeping", "stranded", "oversleeps")
PARENTS = ("parent", "childless", "another", "unanswered")
PLACED = ("placed", "in line", "out of line", "unheard")
"""The first has the place, and the others wait for it."""


@pytest.fixture
async def filled(storage_url: str) -> AsyncIterator[dict[str, Any]]:
    """A database without violations and without workers; the workflows on it."""
    kept = create_store(storage_url)  # keeps an in-memory database alive
    async with Romancy(storage_url, workflows=SWEPT) as app:
        for name in DONE:
            await app.run(calls_swept_step.options(instance_id=name))
        await app.run(swept_again)
        await app.start(swept_failed.options(instance_id="failed"))
        await status_is(app, "failed", Status.FAILED)
        for name in WAITING:
            await app.start(swept_waits.options(instance_id=name))
        for name in SLEEPING:
            await app.start(swept_sleeps.options(instance_id=name))
        for name in PARENTS:
            await app.start(swept_parent.options(instance_id=name), f"child of {name}")
        for name in PLACED:
            await app.start(swept_placed.options(instance_id=name))
            await status_is(app, name, Status.WAITING)
        for name in (*WAITING, *SLEEPING, *PARENTS, *(f"child of {one}" for one in PARENTS)):
            await status_is(app, name, Status.WAITING)
    yield {each.name: each for each in SWEPT}
    del kept


async def test_nothing_is_wrong_where_all_is_well(storage_url: str, filled: dict[str, Any]) -> None:
    assert await sweep_url(storage_url, filled) == []
    assert await sweep_url(storage_url) == []


async def damage(plant: Planting) -> None:
    """Plant one damage of each kind."""
    now = (await plant.log("done"))[-1].at
    ended, again = [WorkflowCompleted(result=Raw(b"1"))], ActivityCompleted(at=now, id="swept_step:1")
    await plant.gone("log", "gap", 1)
    await plant.gone("log", "lost tail", (await plant.log("lost tail"))[-1].seq)
    await plant.gone("log", "logless")
    await plant.appended("behind", encode_commit([OwnerChanged(at=now, owner="late")]))
    await plant.appended("twice", encode_commit([again, *ended]))
    await plant.appended("same append", encode_commit([OwnerChanged(at=now)]), writer="one")
    await plant.appended("same append", encode_commit([OwnerChanged(at=now)]), writer="one")
    await plant.appended("garbled", b"[")
    await plant.appended("empty", b"[]")
    await plant.appended("senseless", encode_commit([TimerFired(at=now, id="sleep:1")]))
    await plant.row("reopened", status="running", wake_at=now)
    await plant.row("elsewhere", status="cancelled")
    await plant.row("woken", wake_at=now)
    await plant.row("open", status="completed", wake_at=None)
    await plant.row("owned", owner="nobody")
    await plant.row("unread", seen=3)
    await plant.row("stranded", wake_at=None)
    await plant.row("oversleeps", wake_at=now + 10 * HOUR)
    cut: dict[str, list[LogEvent]] = {
        "under way": [],
        "for nothing": [again],
        "other code": [again, TimerStarted(id="sleep:1", when=1.0, due=now + HOUR)],
        "no clock": [again, MessageAwaited(id="go:1", topic=Topic("go"), due=HOUR)],
    }
    for name, events in cut.items():
        await plant.cut(name, keep=1)
        if events:
            await plant.appended(name, encode_commit(events))
        await plant.row(name, wake_at=None)
    await plant.row("other code", wake_at=now)
    await plant.gone("instances", "orphan")
    await plant.mailed("never there")
    for name in ("parent", "child of childless"):
        await plant.gone("log", name)
        await plant.gone("instances", name)
    await plant.row("child of another", parent="done")
    await plant.gone("log", "child of unanswered")
    await plant.row("child of unanswered", status="cancelled")
    await damage_places(plant)


async def damage_places(plant: Planting) -> None:
    """Give an ended instance a place, and a waiting one that hears nothing of it; take another one out of its line."""
    router = plant.store.services.router
    standing = {owner.name: (owner, one) for owner, one in await plant.store.services.lookups.places_of(PLACED)}
    owner, demand = standing["out of line"]
    await router.unregister(owner, [demand.interest_id])
    owner, demand = standing["unheard"]
    await router.register(owner, place_of(demand))
    ended = await plant.store.read("leaks", limit=0)
    assert ended is not None
    await plant.row("leaks", status="running")
    await router.register(Owner("leaks", ended.instance.life), place_of(demand))
    await plant.row("leaks", status="completed")


DAMAGES = {
    "gap": ["row … is missing from its log, which goes to …"],
    "lost tail": ["row … is missing from its log, which goes to …"],
    "logless": ["rows … are missing from its log, which goes to …"],
    "behind": ["its log ends with WorkflowCompleted in row …, and OwnerChanged stands behind it in row …"],
    "twice": [
        "its log ends with WorkflowCompleted in row …, and ActivityCompleted stands behind it in row …",
        "its log ends with WorkflowCompleted in row …, and WorkflowCompleted stands behind it in row …",
    ],
    "same append": ["the append one stands in its log more than once"],
    "garbled": ["row … of its log cannot be read"],
    "empty": ["row … of its log holds no event"],
    "senseless": ["the log holds TimerFired for 'sleep:1', which is not in flight"],
    "reopened": ["its log says completed, its row says running"],
    "elsewhere": ["its log says completed, its row says cancelled"],
    "woken": ["it has ended (completed), and yet it is owned or to be woken"],
    "open": ["its row says completed, and its log does not end"],
    "owned": ["worker nobody owns it, and there is no such worker"],
    "unread": ["its owner has seen 3 deliveries, and there were 0"],
    "stranded": ["nobody owns it and nothing wakes it, and something is due at …"],
    "oversleeps": ["it sleeps until …, and something is due at …"],
    "under way": ["nobody owns it and nothing wakes it, and swept_step:1 is under way"],
    "for nothing": ["its log does not replay", "nobody owns it, nothing wakes it, and it waits for nothing"],
    "other code": ["its log does not replay"],
    "no clock": [
        "go:1 is due at …, and the instance was started at …",
        "its log does not replay",
        "nobody owns it and nothing wakes it, and something is due at …",
    ],
    "orphan": ["there is a log of it, and no such instance"],
    "never there": ["there is a message for it in the inbox, and no such instance"],
    "child of parent": ["its parent parent is not there"],
    "childless": ["it waits for its child child of childless (swept_waits:1), which is not there"],
    "another": ["it waits for its child child of another (swept_waits:1), which is a child of done"],
    "unanswered": [
        "it waits for its child child of unanswered (swept_waits:1), which has ended (cancelled) and has not told it"
    ],
    "child of unanswered": ["rows … are missing from its log, which goes to …"],
    "leaks": ["it takes a place of limit swept (swept:1~…), which it has ended with"],
    "out of line": ["it waits for the place swept:1~…, and does not stand in line for it"],
    "unheard": ["it waits for the place swept:1~…, which was given to it, and no message says so"],
}


async def test_every_damage_is_named(storage_url: str, filled: dict[str, Any]) -> None:
    async with Planting(storage_url, calls_swept_step) as plant:
        await damage(plant)

    assert by_instance(await sweep_url(storage_url, filled)) == DAMAGES
    without_code = {name: [words for words in said if "replay" not in words] for name, said in DAMAGES.items()}
    assert by_instance(await sweep_url(storage_url)) == {name: said for name, said in without_code.items() if said}


def by_instance(complaints: list[Complaint]) -> dict[str, list[str]]:
    """Return the complaints by instance; of an error of a library, only that there is one."""
    found: dict[str, list[str]] = {}
    for one in complaints:
        words = re.sub(r"\d{9,}|(?<=goes to )\d+|(?<=row )\d+|(?<=rows )\d+(, \d+)*", "…", one.what)
        words = re.sub("(?<=swept:1~)[0-9a-f]+", "…", words)
        words = re.sub("^(its log does not replay|row … of its log cannot be read): .*", r"\1", words, flags=re.DOTALL)
        found.setdefault(one.instance_id, []).append(words)
    return dict(sorted(found.items(), key=lambda said: list(DAMAGES).index(said[0])))


async def test_what_seems_wrong_for_a_moment_is_looked_at_again(storage_url: str, filled: dict[str, Any]) -> None:
    async with Planting(storage_url, calls_swept_step) as plant:
        before = await plant.store.read("sleeping", limit=0)
        assert before is not None
        await plant.row("sleeping", wake_at=None)
        await plant.row("stranded", wake_at=None)

        async def mend() -> None:
            await plant.row("sleeping", wake_at=before.instance.wake_at)

        found = await sweep(plant.store, again=mend)

    assert ["stranded"] == [one.instance_id for one in found]


@pytest.mark.backends("sqlite", "postgres", "mysql", "mariadb", "tidb", "vitess")
async def test_the_command_names_it_and_says_so_by_its_exit_code(storage_url: str, filled: dict[str, Any]) -> None:
    assert (0, "everything is in order\n") == await command(storage_url, "--app", f"{__name__}:swept_app")
    async with Planting(storage_url, calls_swept_step) as plant:
        await plant.row("unread", seen=3)

    status, said = await command(storage_url, "--again-after", "0")

    assert (1, "unread: its owner has seen 3 deliveries, and there were 0\n1 wrong\n") == (status, said)


async def command(*arguments: str) -> tuple[int, str]:
    """Run it in a separate process; return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "romancy_conformance.invariants", *arguments),
        env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode().replace("\r\n", "\n")
