"""Retrying an instance while another caller retries, cancels, terminates or purges it: each sees the other's change.

The held caller has read the instance and is about to write; the other caller's change is committed before that write.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from romancy import (
    InstanceNotFoundError,
    Romancy,
    Status,
    UsageError,
    WorkflowCancelledError,
    WorkflowContext,
    workflow,
)
from romancy.core import ChildCancelRequested, WorkflowRetried
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.cast import act, record, waits_at_a_gate
from romancy_conformance.behaviour.failing import fail, failed
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import status_is, until
from romancy_conformance.changing import changed
from romancy_conformance.invariants import sweep

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from romancy.storage.protocol import Store
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

SOON = 60.0
CHANGED = "changed while it was to be retried"


@workflow
async def raced(ctx: WorkflowContext) -> str:
    await act("note")
    await act("ship")
    return await waits_at_a_gate("end")


class Gated(WrappedStore):
    """A store whose next write for a caller outside waits at a gate."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.closed = False
        self.waits = asyncio.Event()
        self.opened = asyncio.Event()
        self.services = store.services.wrapped(upkeep=lambda upkeep: changed(upkeep, prune=self._prune))

    async def _pass(self) -> None:
        if self.closed:
            self.closed = False
            self.waits.set()
            await self.opened.wait()

    async def commit(self, *args: Any, **options: Any) -> Any:
        await self._pass()
        return await self._store.commit(*args, **options)

    async def deliver(self, *args: Any, **options: Any) -> Any:
        await self._pass()
        return await self._store.deliver(*args, **options)

    async def _prune(self, *args: Any, **options: Any) -> Any:
        await self._pass()
        return await self._store.services.upkeep.prune(*args, **options)


@pytest.fixture
async def held(open_app: Open, monkeypatch: pytest.MonkeyPatch) -> tuple[Romancy, Gated]:
    """An app without a worker, and the gate before its writes."""
    with monkeypatch.context() as patch:
        made = wrap_stores(patch, Gated)
        return await open_app(worker=False), made[0]


async def race(app: Romancy, held: tuple[Romancy, Gated], instance_id: str, late: str, early: str) -> tuple[Any, Any]:
    """Hold one call at its write while the other is made; return both answers."""
    mine, gate = held
    gate.closed = True
    waiting = asyncio.ensure_future(getattr(mine, late)(instance_id))
    await asyncio.wait_for(gate.waits.wait(), SOON)
    other = await _answer(getattr(app, early)(instance_id))
    gate.opened.set()
    return await _answer(waiting), other


async def _answer(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except (UsageError, InstanceNotFoundError) as error:
        return error


async def whole(app: Romancy, storage_url: str, instance_id: str) -> Counter[type]:
    """Return the events of its log, after checking that it is sound."""
    store = create_store(storage_url)
    await store.open()
    complaints = await sweep(store, {raced.name: raced})
    await store.close()
    assert [] == [each for each in complaints if each.instance_id == instance_id]
    return Counter(type(event) for event in await app.history(instance_id))


async def ended(app: Romancy, instance_id: str) -> Status:
    """Return how it ends when the gate in its body is open."""
    record.gates["end"].set()
    with suppress(WorkflowCancelledError):
        await app.handle(instance_id).result(timeout=SOON)
    return await app.handle(instance_id).status()


async def test_of_two_retries_one_is_done(app: Romancy, held: tuple[Romancy, Gated], storage_url: str) -> None:
    record.gates["end"] = asyncio.Event()
    one = await failed(app, raced)

    answer, other = await race(app, held, one, "retry", "retry")

    assert other is None
    assert isinstance(answer, UsageError)
    assert CHANGED in str(answer)
    assert Status.COMPLETED is await ended(app, one)
    assert 1 == (await whole(app, storage_url, one))[WorkflowRetried]


@pytest.mark.parametrize("other", ["cancel", "terminate"])
async def test_what_has_failed_cannot_be_stopped_and_a_retry_goes_on(
    app: Romancy, held: tuple[Romancy, Gated], storage_url: str, other: str
) -> None:
    record.gates["end"] = asyncio.Event()
    one = await failed(app, raced)

    assert (None, False) == await race(app, held, one, "retry", other)
    assert Status.COMPLETED is await ended(app, one)
    assert 1 == (await whole(app, storage_url, one))[WorkflowRetried]


async def test_what_was_purged_is_not_retried(app: Romancy, held: tuple[Romancy, Gated]) -> None:
    one = await failed(app, raced)

    answer, other = await race(app, held, one, "retry", "purge")

    assert other == 1
    assert isinstance(answer, UsageError | InstanceNotFoundError)
    assert await app.get_instance(one) is None


async def test_what_is_being_retried_is_not_purged(app: Romancy, held: tuple[Romancy, Gated], storage_url: str) -> None:
    record.gates["end"] = asyncio.Event()
    one = await failed(app, raced)

    assert (0, None) == await race(app, held, one, "purge", "retry")
    assert Status.COMPLETED is await ended(app, one)
    assert 1 == (await whole(app, storage_url, one))[WorkflowRetried]


async def test_a_request_to_cancel_that_a_retry_overtakes_stops_the_retried_run(
    app: Romancy, held: tuple[Romancy, Gated], storage_url: str
) -> None:
    """The caller has seen the former run, and is told that the instance was asked."""
    record.gates["end"] = asyncio.Event()
    one = await failed(app, raced)
    await app.retry(one)
    await asyncio.wait_for(status_is(app, one, Status.RUNNING), SOON)
    mine, gate = held
    gate.closed = True
    waiting = asyncio.ensure_future(mine.cancel(one))
    await asyncio.wait_for(gate.waits.wait(), SOON)
    await app.terminate(one)
    await app.retry(one, unsure="undone")
    gate.opened.set()

    assert await waiting
    with suppress(WorkflowCancelledError):
        await app.handle(one).result(timeout=SOON)
    assert Status.CANCELLED is await app.handle(one).status()
    assert 2 == (await whole(app, storage_url, one))[WorkflowRetried]


@pytest.mark.parametrize("late", ["cancel", "terminate"])
async def test_a_retried_run_is_stopped_once(
    app: Romancy, held: tuple[Romancy, Gated], storage_url: str, late: str
) -> None:
    """The retry and its stop were each requested before the other was known."""
    record.gates["end"] = asyncio.Event()
    one = await failed(app, raced)
    if late == "terminate":
        await app.retry(one)  # a failed instance is not terminated
        await asyncio.wait_for(status_is(app, one, Status.RUNNING), SOON)

    answer, other = await race(app, held, one, late, "retry")

    assert answer is True
    assert (other is None) == (late == "cancel")
    assert late == "cancel" or isinstance(other, UsageError)
    with suppress(WorkflowCancelledError):
        await app.handle(one).result(
            timeout=SOON
        )  # the gate stays closed: what runs is stopped, and does not end first
    assert Status.CANCELLED is await app.handle(one).status()
    assert 1 == (await whole(app, storage_url, one))[WorkflowRetried]


@workflow
async def breaks_at_once(ctx: WorkflowContext) -> str:
    return await act("at once")


@workflow
async def breaks_later(ctx: WorkflowContext) -> str:
    return await waits_at_a_gate("later") + await act("at last") + await waits_at_a_gate("end")


@workflow
async def over_two_that_break(ctx: WorkflowContext) -> list[str]:
    return list(await asyncio.gather(breaks_at_once(), breaks_later()))


class HeldReads(WrappedStore):
    """A store whose next read of a child, with as many rows of its log, waits at a gate."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.gates: dict[int, asyncio.Event] = {}
        self.reached = {0: asyncio.Event(), 1: asyncio.Event()}

    async def read(self, instance_id: str, *args: Any, **options: Any) -> Any:
        rows = options.get("limit")
        if "breaks_later" in instance_id and rows in self.gates and not self.reached[rows].is_set():
            self.reached[rows].set()
            await self.gates[rows].wait()
        return await self._store.read(instance_id, *args, **options)


async def gives_a_child_up(app: Romancy, instance_id: str) -> bool:
    """Whether the present run has asked a child to stop."""
    kinds = [type(event) for event in await app.history(instance_id)]
    return ChildCancelRequested in kinds[kinds.index(WorkflowRetried) :]


async def test_a_request_to_stop_a_child_does_not_reach_a_later_run_of_it(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retried parent gives a child up that it is still retrying. It fails and is retried again before it says so."""
    with monkeypatch.context() as patch:
        made = wrap_stores(patch, HeldReads)
        app = await open_app()
    (store,) = made
    outside = await open_app(worker=False)
    record.gates["later"] = asyncio.Event()
    record.gates["later"].set()
    record.broken.update({"at once", "at last"})
    handle = await app.start(over_two_that_break)
    await fail(app, handle.instance_id)

    record.gates["later"] = later = asyncio.Event()
    store.gates = {0: asyncio.Event(), 1: asyncio.Event()}
    await outside.retry(handle.instance_id)
    await asyncio.wait_for(store.reached[1].wait(), SOON)
    await until(lambda: gives_a_child_up(app, handle.instance_id))
    store.gates[1].set()
    await asyncio.wait_for(store.reached[0].wait(), SOON)
    later.set()
    await fail(app, handle.instance_id)

    record.gates["end"] = asyncio.Event()
    record.broken.clear()
    await outside.retry(handle.instance_id, unsure="undone")
    await until(lambda: "end" in record.names())
    revivals = {task for task in asyncio.all_tasks() if "Revivals" in getattr(task.get_coro(), "__qualname__", "")}
    assert revivals
    store.gates[0].set()
    await asyncio.wait_for(asyncio.wait(revivals), SOON)
    record.gates["end"].set()

    assert ["at once", "laterat lastend"] == await app.handle(handle.instance_id).result(timeout=SOON)
