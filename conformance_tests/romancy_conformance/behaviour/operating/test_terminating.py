"""An accepted `terminate` is an end for every later call, and `if_exists="replace"` ends and starts in one call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import (
    InstanceConflictError,
    InstanceEndedError,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.engine.outside import terminating
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.waiting import status_is, until
from romancy_conformance.contract.building import Actor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOON = 20.0
ROUNDS = 20
begun: list[str] = []
gates: list[asyncio.Event] = []


@pytest.fixture(autouse=True)
def scene() -> None:
    begun.clear()
    gates[:] = [asyncio.Event()]


@activity
async def held(name: str) -> None:
    begun.append(name)
    await gates[0].wait()


@workflow
async def job(ctx: WorkflowContext, n: int) -> int:
    await ctx.wait_event("go")
    return n


@workflow
async def works(ctx: WorkflowContext, n: int) -> int:
    await held(f"{ctx.instance_id} {n}")
    return n


@workflow
async def boss(ctx: WorkflowContext, n: int) -> int:
    """Its open child has an id of its own, and a child that has an id of its own too."""
    await quick.options(instance_id=f"{ctx.instance_id}-q")(n)
    return await middle.options(instance_id=f"{ctx.instance_id}-m")(n)


@workflow
async def middle(ctx: WorkflowContext, n: int) -> int:
    return await job.options(instance_id=f"{ctx.instance_id}-j")(n)


@workflow
async def quick(ctx: WorkflowContext, n: int) -> int:
    """Leave a child behind, and end."""
    await ctx.start(job.options(instance_id=f"{ctx.instance_id}-left"), n)
    return n


async def input_of(app: Romancy, instance_id: str) -> object:
    found = await app.get_instance(instance_id)
    assert found is not None
    return found.input["n"]


@pytest.mark.parametrize("who", ["its worker", "another app"])
@pytest.mark.parametrize("flow", [job, works], ids=["waiting", "working"])
async def test_terminate_and_restart_again_and_again(app: Romancy, open_app: Open, flow: object, who: str) -> None:
    """The first of them is the program that conflicted in one of ten rounds."""
    assert flow in (job, works)
    call = (job if flow is job else works).options(instance_id="x")
    actor = app if who == "its worker" else await open_app(worker=False)
    await actor.start(call, 0)

    for n in range(1, ROUNDS):
        assert await actor.terminate("x")
        await actor.start(call, n, if_exists="restart_ended")
        assert await input_of(actor, "x") == n


async def test_a_restart_with_the_same_input_is_a_new_instance(app: Romancy, store: Store) -> None:
    lives = set[int]()
    for _ in range(ROUNDS):
        await app.start(job.options(instance_id="x"), 1, if_exists="restart_ended")
        found = await store.read("x", limit=0)
        assert found is not None
        lives.add(found.instance.life)
        assert await app.terminate("x")

    assert len(lives) == ROUNDS


@pytest.mark.parametrize("flow", [job, works], ids=["waiting", "working"])
async def test_every_later_call_finds_the_end(app: Romancy, flow: object) -> None:
    for n in range(ROUNDS):
        call = (job if flow is job else works).options(instance_id=f"x{n}")
        handle = await app.start(call, n)
        assert await app.terminate(f"x{n}", reason="enough")

        assert await handle.status() is Status.CANCELLED
        assert not await app.terminate(f"x{n}")
        assert not await app.cancel(f"x{n}")
        with pytest.raises(InstanceEndedError):
            await app.signal(f"x{n}", "go")
        with pytest.raises(WorkflowCancelledError, match="enough"):
            await handle.result(timeout=SOON)
        assert await app.purge(f"x{n}") == 1


@pytest.fixture
async def alone(storage_url: str) -> AsyncIterator[Store]:
    """The database, without a worker of the test's."""
    store = create_store(storage_url)
    await store.open()
    yield store
    await store.close()


@pytest.mark.parametrize("alive", [True, False], ids=["silent", "late"])
async def test_a_worker_that_does_not_answer_is_fenced_off(
    open_app: Open, alone: Store, monkeypatch: pytest.MonkeyPatch, *, alive: bool
) -> None:
    """It is frozen, blocked, or dead: it holds the instance and ends nothing."""
    monkeypatch.setattr(terminating, "_OWNER_ANSWERS", 0.2 if alive else 3600.0)
    app = await open_app(worker=False)
    silent = await Actor(alone, workflows={"job": job.code}, lease=30_000_000 if alive else 1).register()
    handle = await app.start(job.options(instance_id="x"), 1)
    assert ["x"] == [claimed.instance_id for claimed in await silent.claim()]
    found = await alone.read("x", limit=0)
    assert found is not None
    assert found.instance.owner == silent.token

    assert await app.terminate("x", reason="enough")

    with pytest.raises(WorkflowCancelledError, match="enough"):
        await handle.result(timeout=SOON)
    ended = await alone.read("x", limit=0)
    assert ended is not None
    assert (ended.instance.status, ended.instance.owner) == (Status.CANCELLED, None)
    await app.start(job.options(instance_id="x"), 2, if_exists="restart_ended")
    assert await input_of(app, "x") == 2


async def test_replace_starts_what_is_not_there_and_replaces_what_has_ended(app: Romancy) -> None:
    call = quick.options(instance_id="x")
    assert await app.run(call, 1, if_exists="replace") == 1
    assert await app.run(call, 2, if_exists="replace") == 2
    assert await app.run(call, 2, if_exists="replace") == 2
    assert await input_of(app, "x") == 2


@pytest.mark.parametrize("who", ["its worker", "another app"])
async def test_replace_ends_what_is_open(app: Romancy, open_app: Open, who: str) -> None:
    actor = app if who == "its worker" else await open_app(worker=False)
    former = await actor.start(works.options(instance_id="x"), 1)
    await until(lambda: begun == ["x 1"])

    handle = await actor.start(works.options(instance_id="x"), 2, if_exists="replace")
    await until(lambda: begun == ["x 1", "x 2"])
    gates[0].set()

    assert await handle.result(timeout=SOON) == 2
    assert await former.result(timeout=SOON) == 2  # the handle is of the id


async def test_replace_with_the_same_input_is_a_new_instance_too(app: Romancy, store: Store) -> None:
    lives = set[int]()
    for _ in range(3):
        await app.start_many([works.options(instance_id="x").bind(1)], if_exists="replace")
        found = await store.read("x", limit=0)
        assert found is not None
        lives.add(found.instance.life)

    assert len(lives) == 3


async def test_replace_leaves_an_instance_of_another_workflow(app: Romancy) -> None:
    await app.start(job.options(instance_id="x"), 1)

    with pytest.raises(InstanceConflictError, match="of job"):
        await app.start(works.options(instance_id="x"), 1, if_exists="replace")
    assert await app.handle("x").status() is not Status.CANCELLED


async def test_of_many_that_replace_at_once_the_last_one_stands(app: Romancy) -> None:
    """Each has ended what was there before, and no two are there at once."""
    call = works.options(instance_id="x")
    await app.start(call, 0)

    handles = await asyncio.gather(*(app.start(call, n, if_exists="replace") for n in range(1, 6)))
    last = await input_of(app, "x")
    await until(lambda: begun[-1:] == [f"x {last}"])
    gates[0].set()

    assert last in range(1, 6)
    assert await handles[0].result(timeout=SOON) == last


async def test_replace_ends_the_open_children_too(app: Romancy) -> None:
    """Also those of children that have ended. The new instance can start children under the same ids."""
    await app.start(boss.options(instance_id="x"), 1)
    await app.start(job.options(instance_id="stranger"), 1)
    await status_is(app, "x-m-j", Status.WAITING)

    handle = await app.start(boss.options(instance_id="x"), 2, if_exists="replace")

    async def children_are_new() -> bool:
        found = [await app.get_instance(one) for one in ("x-q", "x-q-left", "x-m", "x-m-j")]
        return [None if one is None else one.input["n"] for one in found] == [2] * 4

    await until(children_are_new)
    assert await app.handle("stranger").status() is Status.WAITING
    await app.signal("x-m-j", "go")
    assert await handle.result(timeout=SOON) == 2


async def test_terminate_alone_leaves_the_children(app: Romancy) -> None:
    await app.start(boss.options(instance_id="x"), 1)
    await status_is(app, "x-m-j", Status.WAITING)

    await app.terminate("x")

    assert await app.handle("x-m").status() is Status.WAITING
    again = await app.start(boss.options(instance_id="x"), 2, if_exists="restart_ended")
    with pytest.raises(WorkflowFailedError, match="'x-m' exists already, the child of a former life of 'x'"):
        await again.result(timeout=SOON)


async def test_what_cannot_be_replaced_is_refused(app: Romancy, store: Store) -> None:
    await app.start(job.options(instance_id="x"), 1)
    with pytest.raises(UsageError, match="signal_with_start signals an existing instance: if_exists='replace'"):
        await app.signal_with_start(job.options(instance_id="x").bind(1), "go", if_exists="replace")
    async with store.services.sessions.begin() as session:
        with pytest.raises(UsageError, match="if_exists='replace' ends an open instance by a commit of its own"):
            await app.start(job.options(instance_id="x"), 2, session=session.native, if_exists="replace")

    assert await input_of(app, "x") == 1
