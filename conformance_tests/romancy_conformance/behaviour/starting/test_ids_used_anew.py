"""An id that is used again while work of its former life is still under way: none of it reaches the new life."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceNotFoundError,
    Romancy,
    Status,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    activity,
    workflow,
)
from romancy.core import ChildCancelRequested, ProgressReported
from romancy.engine import replay
from romancy.storage.records import Outcome, is_end
from romancy_conformance.behaviour.cast import waits, waits_for_its_child
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Item, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOON = 60.0


@activity
async def lived(what: str) -> str:
    return what


@workflow
async def short_life(ctx: WorkflowContext, what: str) -> str:
    return await lived(await lived(what))


@workflow
async def parent_again(ctx: WorkflowContext, *, stays: bool) -> Any:
    child = await ctx.start(waits, "say")
    if not stays:
        return child.instance_id
    await ctx.report(child.instance_id)
    return await child.result()


@activity
async def passes_a_gate() -> None:
    await gates[-1].wait()


@workflow
async def gives_up_its_child(ctx: WorkflowContext) -> Any:
    child = await ctx.start(waits.options(instance_id="child"), "say")
    await passes_a_gate()
    child.cancel()
    return await child.result()


gates: list[asyncio.Event] = []


class HoldsEnds(WrappedStore):
    """A store that delays the answer to a written end until the worker has claimed the new life."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.written, self.claimed = asyncio.Event(), asyncio.Event()

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        outcomes = await self._store.commit(batch, worker=worker)
        if not self.written.is_set() and any(is_end(item.writer) for item in batch):
            self.written.set()
            await self.claimed.wait()
        return outcomes

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._store.claim(request)
        if self.written.is_set() and work.claimed:
            asyncio.get_running_loop().call_soon(self.claimed.set)
        return work


class HearsLate(WrappedStore):
    """A store whose worker gets no notifications for a while."""

    def __init__(self, store: Store, hears: asyncio.Event) -> None:
        super().__init__(store)
        self._hears = hears

    async def claim(self, request: ClaimRequest, /) -> Work:
        await self._hears.wait()
        return await self._store.claim(request)


async def test_a_new_life_is_not_taken_for_the_one_that_just_ended(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has written the end, and claims the new life before it learns that the end is accepted."""
    with monkeypatch.context() as patch:
        held = wrap_stores(patch, HoldsEnds)
        app = await open_app(sticky=0)
    front = await open_app(worker=False)
    await app.start(short_life.options(instance_id="same"), "old")
    await asyncio.wait_for(held[0].written.wait(), SOON)
    assert 1 == await front.purge("same")

    await front.start(short_life.options(instance_id="same"), "new")
    await asyncio.wait_for(held[0].claimed.wait(), SOON)

    assert "new" == await front.handle("same", short_life).result(timeout=SOON)


async def test_what_is_read_of_a_log_is_of_one_life(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id is used again between two pages."""
    monkeypatch.setattr(replay, "_PAGE", 1)
    named = short_life.options(instance_id="same")
    await app.run(named, "old")
    log = replay.rows(app._access.opened(), "same", after=0)  # pyright: ignore[reportPrivateUsage]
    row, _ = await anext(log)
    assert 1 == row.seq

    await app.purge("same")
    await app.run(named, "new")

    with pytest.raises(InstanceNotFoundError, match="'same' was removed, and its id is used again"):
        await anext(log)


async def reported(app: Romancy, instance_id: str) -> str:
    """Return what the instance reports, once it does."""
    async with asyncio.timeout(SOON):
        async for entry in app.handle(instance_id).entries(follow=True):
            if isinstance(entry.event, ProgressReported):
                break
    return str(await app.report(instance_id))


async def test_the_end_of_a_former_lifes_child_is_not_that_of_a_child_of_today(app: Romancy) -> None:
    """Both children have the same number within their parent."""
    named = parent_again.options(instance_id="parent")
    left = await app.run(named, stays=False)
    assert 1 == await app.purge("parent")
    again = await app.start(named, stays=True)
    child = await reported(app, "parent")

    await app.signal(left, "say", "of the former life")
    assert "of the former life" == await app.handle(left).result(timeout=SOON)
    await app.signal(child, "say", "of today")

    assert "of today" == await again.result(timeout=SOON)


async def test_a_parent_gives_up_its_own_child_and_nobody_who_bears_its_id(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child has ended and its id is used again; its parent gives the child up before it gets the child's end."""
    gates.append(asyncio.Event())
    hears = asyncio.Event()
    hears.set()
    with monkeypatch.context() as patch:
        wrap_stores(patch, lambda store: HearsLate(store, hears))
        app = await open_app()
    other, front = await open_app(workflows=[waits]), await open_app(worker=False)
    parent = await front.start(gives_up_its_child.options(instance_id="parent"))
    await status_is(front, "child", Status.WAITING)
    hears.clear()
    await front.signal("child", "say", "the end")
    assert "the end" == await other.handle("child").result(timeout=SOON)
    assert 1 == await front.purge("child")
    await front.start(waits.options(instance_id="child"), "say")
    await status_is(front, "child", Status.WAITING)

    gates[-1].set()
    async for entry in app.handle("parent").entries(follow=True):
        if isinstance(entry.event, ChildCancelRequested):
            break
    hears.set()

    assert "the end" == await parent.result(timeout=SOON)
    await front.signal("child", "say", "the other one")
    assert "the other one" == await front.handle("child").result(timeout=SOON)


async def test_a_retry_does_not_take_a_former_lifes_child_for_its_own(app: Romancy) -> None:
    """The new life could not start its child, because the former life's has the id; nor can its retry."""
    named = waits_for_its_child.options(instance_id="parent")
    await app.start(named)
    await status_is(app, "child", Status.WAITING)
    await app.terminate("parent")
    with suppress(WorkflowCancelledError):
        await app.handle("parent").result(timeout=SOON)
    assert 1 == await app.purge("parent")
    again = await app.start(named)
    for _ in range(2):
        with pytest.raises(WorkflowFailedError, match="an instance 'child' exists already"):
            await again.result(timeout=SOON)
        await app.retry("parent")
