"""Replacing an instance while another caller starts, retries or purges it, or continues a parent or child of it.

The held caller has read the instance and is about to write; the other caller's change is committed before that write.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceConflictError,
    InstanceNotFoundError,
    Romancy,
    Status,
    WorkflowContext,
    WorkflowFailedError,
    workflow,
)
from romancy.core import ChildFailed, ChildStarted
from romancy.engine.worker.retrying import runs_so_far
from romancy.storage.records import Append
from romancy_conformance.behaviour.cast import act, record, waits_at_a_gate
from romancy_conformance.behaviour.started_anew import life_of, nothing_is_amiss
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.starting.checks import IfExists
    from romancy.storage.protocol import Store
    from romancy.storage.records import Item, Outcome
    from romancy_conformance.behaviour.opening import Open

__all__ = ["nothing_is_amiss"]

pytestmark = pytest.mark.anyio

SOON = 60.0


@workflow
async def renewed(ctx: WorkflowContext, what: str) -> str:
    await act("ship")
    return await act(what)


@workflow
async def renewed_slowly(ctx: WorkflowContext, what: str) -> str:
    await act("ship")
    return await waits_at_a_gate(what)


@workflow
async def renewed_parent(ctx: WorkflowContext) -> str:
    child = await ctx.start(renewed.options(instance_id="one"), "child")
    return await child.result()


one = renewed.options(instance_id="one")


class HeldHeir(WrappedStore):
    """A store whose next start in the place of an ended instance waits at a gate."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.closed = False
        self.waits = asyncio.Event()
        self.opened = asyncio.Event()

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        firsts = [item.create for item in batch if isinstance(item, Append)]
        if self.closed and any(create is not None and create.replaces is not None for create in firsts):
            self.closed = False
            self.waits.set()
            await self.opened.wait()
        return await self._store.commit(batch, worker=worker)


@pytest.fixture
async def held(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> tuple[Romancy, HeldHeir]:
    """An app without a worker, and the gate before its replacements."""
    with monkeypatch.context() as patch:
        made = wrap_stores(patch, HeldHeir)
        return await open_app(worker=False), made[0]


async def failed(app: Romancy) -> int:
    """Return the life of an instance that has failed."""
    record.broken.add("ship")
    await app.start(one, "old")
    await status_is(app, "one", Status.FAILED)
    record.broken.clear()
    return await life_of(app, "one")


async def race(held: tuple[Romancy, HeldHeir], if_exists: IfExists, early: Callable[[], Awaitable[Any]]) -> Any:
    """Hold a start at its write while the other call is made; return the start's answer."""
    mine, gate = held
    gate.closed = True
    waiting = asyncio.ensure_future(mine.start(one, "new", if_exists=if_exists))
    await asyncio.wait_for(gate.waits.wait(), SOON)
    await early()
    gate.opened.set()
    try:
        return await asyncio.wait_for(waiting, SOON)
    except InstanceConflictError as error:
        return error


@pytest.mark.parametrize("theirs", ["new", "theirs"])
async def test_of_two_that_start_anew_one_does(app: Romancy, held: tuple[Romancy, HeldHeir], theirs: str) -> None:
    """The other's life has even ended: it is still the answer, and is not replaced in turn."""
    old = await failed(app)

    answer = await race(held, "restart_ended", lambda: app.run(one, theirs, if_exists="restart_ended"))

    assert theirs == await app.handle("one").result(timeout=SOON)
    assert (theirs == "theirs") == isinstance(answer, InstanceConflictError)
    assert 1 == record.names().count(theirs)
    assert old != await life_of(app, "one")


async def test_what_is_being_retried_stays(app: Romancy, held: tuple[Romancy, HeldHeir]) -> None:
    record.gates["old"] = asyncio.Event()
    record.broken.add("ship")
    slow = renewed_slowly.options(instance_id="one")
    with pytest.raises(WorkflowFailedError):
        await app.run(slow, "old")
    record.broken.clear()
    old = await life_of(app, "one")
    mine, gate = held
    gate.closed = True
    waiting = asyncio.ensure_future(mine.start(slow, "old", if_exists="restart_failed"))
    await asyncio.wait_for(gate.waits.wait(), SOON)

    await app.retry("one")
    gate.opened.set()
    handle = await asyncio.wait_for(waiting, SOON)
    record.gates["old"].set()

    assert "old" == await handle.result(timeout=SOON)
    assert old == await life_of(app, "one")


async def test_what_was_completed_by_a_retry_stays(app: Romancy, held: tuple[Romancy, HeldHeir]) -> None:
    """It is the same life and has ended again, but not in a state that a start replaces."""
    old = await failed(app)

    async def completed() -> None:
        await app.retry("one")
        assert "old" == await app.handle("one").result(timeout=SOON)

    assert isinstance(await race(held, "restart_failed", completed), InstanceConflictError)
    assert old == await life_of(app, "one")


async def test_what_was_purged_is_started(app: Romancy, held: tuple[Romancy, HeldHeir]) -> None:
    await failed(app)

    handle = await race(held, "restart_failed", lambda: app.purge("one"))

    assert "new" == await handle.result(timeout=SOON)


async def test_a_retry_of_what_was_replaced_is_refused(app: Romancy, open_app: Open) -> None:
    """The retry has read the old life, and does not change the new one."""
    front = await open_app(worker=False)
    await failed(app)
    store = front._access.opened()  # pyright: ignore[reportPrivateUsage]
    found = await store.read("one", limit=0)
    assert found is not None
    assert "new" == await app.run(one, "new", if_exists="restart_failed")

    with pytest.raises(InstanceNotFoundError, match="used again"):
        await runs_so_far(store, found.instance)


async def test_a_parent_whose_failed_child_was_replaced_hears_so(app: Romancy) -> None:
    """The parent's retry would retry its child too, but another instance has its id now, which is left alone."""
    record.broken.add("ship")
    parent = await app.start(renewed_parent.options(instance_id="parent"))
    with pytest.raises(WorkflowFailedError):
        await parent.result(timeout=SOON)
    record.broken.clear()
    assert "new" == await app.run(one, "new", if_exists="restart_failed")

    await app.retry("parent")

    with pytest.raises(WorkflowFailedError, match="exists already"):
        await parent.result(timeout=SOON)
    assert "new" == await app.handle("one").result(timeout=SOON)
    events = await app.history("parent")
    assert 2 == sum(isinstance(event, ChildStarted) for event in events)
    assert 2 == sum(isinstance(event, ChildFailed) for event in events)


async def test_another_worker_goes_on_with_what_was_started_anew(app: Romancy, open_app: Open) -> None:
    """The worker that had the old life drains while the new one runs."""
    record.gates["new"] = asyncio.Event()
    slow = renewed_slowly.options(instance_id="two")
    record.broken.add("ship")
    await app.start(slow, "old")
    await status_is(app, "two", Status.FAILED)
    record.broken.clear()
    handle = await app.start(slow, "new", if_exists="restart_failed")
    other = await open_app()
    await app.drain(0)
    record.gates["new"].set()

    assert "new" == await other.handle("two").result(timeout=SOON)
    assert "new" == await handle.result(timeout=SOON)
