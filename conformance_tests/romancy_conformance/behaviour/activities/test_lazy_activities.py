"""Lazy activities: their results wait for company, and nothing outside of the instance is ahead of the log."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from romancy import (
    RetryPolicy,
    Romancy,
    TerminalError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    ZlibCodec,
    activity,
    activity_context,
    workflow,
)
from romancy.core import ActivityCompleted, decode_commit
from romancy.engine import lazy_results
from romancy.engine.messages import CancelMessage, encode_message
from romancy.hooks import ActivityEnded, Happening, Hook
from romancy.storage.backends import create_store
from romancy.storage.records import Append, Delivered, Delivery
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.cast import waits
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores
from romancy_conformance.behaviour.waiting import until
from romancy_conformance.contract.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Item, Outcome
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

TEN = 10
LONG = 60.0
calls: Counter[str] = Counter()
stores: list[Store] = []
gates: list[asyncio.Event] = []
ledgers: list[Ledger] = []


@pytest.fixture(autouse=True)
async def scene(storage_url: str, app: Romancy) -> Any:
    """A look into the database, and a closed gate."""
    calls.clear()
    store = create_store(storage_url)
    await store.open()
    stores[:], gates[:], ledgers[:] = [store], [asyncio.Event()], [Ledger(store)]
    yield
    await store.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let results wait until something else is written."""
    monkeypatch.setattr(lazy_results, "LONGEST_WAIT", 3600.0)


async def rows_of(instance_id: str) -> list[list[Any]]:
    page = await stores[0].read(instance_id)
    assert page is not None
    return [decode_commit(row.body) for row in page.rows]


async def in_the_log(instance_id: str) -> int:
    """Count the results that another process can see."""
    return sum(isinstance(event, ActivityCompleted) for row in await rows_of(instance_id) for event in row)


@activity(commit="lazy")
async def quick(number: int) -> int:
    calls["quick"] += 1
    return number + 1


@activity(commit="lazy")
def quick_on_a_thread(number: int) -> int:
    return number + 1


@activity(commit="lazy")
async def at_the_gate(number: int) -> int:
    calls["gate"] += 1
    await gates[0].wait()
    return number


@activity(commit="lazy", retry=RetryPolicy.fixed(3, 0.01))
async def quick_at_last() -> int:
    calls["quick_at_last"] += 1
    if activity_context().attempt < 3:
        raise ConnectionError("not yet")
    return activity_context().attempt


@activity
async def looks(instance_id: str) -> int:
    return await in_the_log(instance_id)


@activity
async def looks_and_writes(instance_id: str) -> int:
    session = await activity_context().session()
    seen = await in_the_log(instance_id)
    await ledgers[0].write(session, "seen", seen)
    return seen


@activity(commit="lazy")
async def writes_lazily(key: str) -> str:
    await ledgers[0].write(await activity_context().session(), key, 1)
    return key


@activity(commit="lazy")
async def sends_lazily(to: str) -> None:
    await activity_context().send("done", 7, key=to)


async def chain(number: int = 0) -> int:
    for _ in range(TEN):
        number = await quick(number)
    return number


@workflow
async def then_a_step(ctx: WorkflowContext) -> list[int]:
    return [await chain(), await looks(ctx.instance_id)]


@workflow
async def then_a_session(ctx: WorkflowContext) -> list[int]:
    return [await chain(), await looks_and_writes(ctx.instance_id)]


calls_looks = calling(looks)


@workflow
async def then_a_child(ctx: WorkflowContext) -> list[int]:
    return [await chain(), await calls_looks(ctx.instance_id)]


@workflow
async def then_a_step_beside(ctx: WorkflowContext) -> list[int]:
    async def first() -> int:
        await chain()
        return await looks(ctx.instance_id)

    beside, seen = await asyncio.gather(at_the_gate_of_the_other(ctx), first())
    return [beside, seen]


async def at_the_gate_of_the_other(ctx: WorkflowContext) -> int:
    return await quick(await quick_on_a_thread(TEN - 2))


@workflow
async def then_the_gate(ctx: WorkflowContext) -> int:
    return await at_the_gate(await chain())


@workflow
async def alone(ctx: WorkflowContext) -> int:
    return await chain()


@activity
async def works_later() -> int:
    calls["later"] += 1
    if calls["later"] == 1:
        raise TerminalError("not yet")
    return calls["later"]


@workflow
async def fails_once(ctx: WorkflowContext) -> list[int]:
    return [await chain(), await works_later()]


class Ends(Hook):
    """Counts what it is told."""

    told = 0

    def happened(self, event: Happening, /) -> None:
        self.told += isinstance(event, ActivityEnded)


@workflow
async def mixed(ctx: WorkflowContext) -> list[Any]:
    many = await asyncio.gather(*(quick(number) for number in range(TEN)))
    others = await asyncio.gather(writes_lazily("a"), quick_at_last(), quick(1), looks_and_writes(ctx.instance_id))
    return [many, others[:3]]


@workflow
async def again_and_again(ctx: WorkflowContext, runs: int) -> int:
    await chain()
    if runs > 1:
        again_and_again.recur(runs - 1)
    return runs


@workflow
async def until_it_is_told(ctx: WorkflowContext) -> int:
    told = asyncio.ensure_future(ctx.wait_event("enough", model=int))
    await quick(0)
    while not told.done():
        await quick(0)
    return (await told).data


@workflow
async def for_ever(ctx: WorkflowContext) -> None:
    while True:
        await quick(0)


@workflow
async def sends_before_the_gate(ctx: WorkflowContext, to: str) -> None:
    await quick(0)
    await sends_lazily(to)
    await at_the_gate(0)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("what", [then_a_step, then_a_session, then_a_child, then_a_step_beside])
async def test_results_are_in_the_log_before_anything_else_begins(app: Romancy, what: Any) -> None:
    await ledgers[0].create()
    handle = await app.start(what)

    # `beside`, two more results may be in the log or still to come.
    value, seen = await handle.result(timeout=LONG)

    assert (TEN, True) == (value, TEN <= seen <= TEN + 2 * (what is then_a_step_beside))


@pytest.mark.usefixtures("patient")
async def test_ten_results_share_one_row(app: Romancy) -> None:
    handle = await app.start(then_a_step)
    await handle.result(timeout=LONG)
    alone_too = await app.start(alone)
    await alone_too.result(timeout=LONG)

    counts = [sum(isinstance(event, ActivityCompleted) for event in row) for row in await rows_of(handle.instance_id)]
    assert [0, TEN, 1] == counts
    assert [2, 2 * TEN] == [len(row) for row in await rows_of(alone_too.instance_id)]


async def test_they_do_not_wait_for_long(app: Romancy) -> None:
    handle = await app.start(then_the_gate)

    async def all_there() -> bool:
        return await in_the_log(handle.instance_id) == TEN

    await until(all_there)
    gates[0].set()

    assert TEN == await handle.result(timeout=LONG)


@pytest.mark.usefixtures("patient")
async def test_a_lazy_activity_that_sends_is_committed_at_once(app: Romancy) -> None:
    receiver = await app.start(waits, "done", "k")
    sender = await app.start(sends_before_the_gate, "k")

    assert 7 == await receiver.result(timeout=LONG)
    assert await in_the_log(sender.instance_id) == 2
    gates[0].set()
    await sender.result(timeout=LONG)


@pytest.mark.usefixtures("patient")
async def test_a_worker_that_lost_its_memory_runs_them_again(app: Romancy) -> None:
    handle = await app.start(then_the_gate)
    await until(lambda: calls["gate"])
    worker = app._access.worker  # pyright: ignore[reportPrivateUsage] - to make it forget an instance
    assert worker is not None
    assert await in_the_log(handle.instance_id) == 0

    worker.driver.drop(worker.driver.live[handle.instance_id])
    worker.claiming.look_for_own()
    await until(lambda: calls["gate"] == 2)
    gates[0].set()

    assert TEN == await handle.result(timeout=LONG)
    assert 2 * TEN == calls["quick"]


class LateCancellation(WrappedStore):
    """A store on which a cancellation arrives just before an instance ends."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.late = 0

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        for item in batch:
            if isinstance(item, Append) and item.seq == 2 and not self.late:
                self.late += 1
                body = encode_message(CancelMessage())
                delivery = Delivery(instance_id=item.instance_id, delivery_id="late", body=body)
                assert await self._store.deliver([delivery]) == [Delivered.ACCEPTED]
        return await self._store.commit(batch, worker=worker)


@pytest.mark.usefixtures("patient")
async def test_a_refused_commit_runs_nothing_again(monkeypatch: pytest.MonkeyPatch, open_app: Open) -> None:
    made = wrap_stores(monkeypatch, LateCancellation)
    app = await open_app(worker_id="other")
    handle = await app.start(alone)

    with pytest.raises(WorkflowCancelledError):  # it had come before the end was in the log
        await handle.result(timeout=LONG)
    assert (1, TEN) == (made[-1].late, calls["quick"])
    completed = [event for event in await handle.history() if isinstance(event, ActivityCompleted)]
    assert TEN == len(completed)


async def test_beside_sessions_and_retries(app: Romancy) -> None:
    await ledgers[0].create()
    handle = await app.start(mixed)

    assert [list(range(1, TEN + 1)), ["a", 3, 2]] == await handle.result(timeout=LONG)
    assert 1 == await ledgers[0].read("a")


async def test_run_after_run(app: Romancy) -> None:
    handle = await app.start(again_and_again, 3)

    assert 1 == await handle.result(timeout=LONG)
    assert 3 * TEN == calls["quick"]


async def test_mail_reaches_a_workflow_that_never_rests(app: Romancy) -> None:
    handle = await app.start(until_it_is_told)
    await handle.signal("enough", 5)

    assert 5 == await handle.result(timeout=LONG)


async def test_a_workflow_that_never_rests_is_cancelled(app: Romancy) -> None:
    handle = await app.start(for_ever)
    await until(lambda: calls["quick"])
    await handle.cancel()

    with pytest.raises(WorkflowCancelledError):
        await handle.result(timeout=LONG)


async def test_a_drain_loses_nothing(app: Romancy, open_app: Open) -> None:
    handle = await app.start(then_the_gate)
    await until(lambda: calls["gate"])
    await app.drain(0)
    ran = calls["quick"]

    await open_app()
    gates[0].set()

    assert TEN == await handle.result(timeout=LONG)
    assert (TEN, TEN) == (ran, calls["quick"])


@pytest.mark.usefixtures("patient")
async def test_a_hook_is_told_when_they_are_in_the_log(open_app: Open) -> None:
    ends = Ends()
    app = await open_app(worker_id="other", hooks=[ends], codecs=[ZlibCodec()])
    handle = await app.start(then_the_gate)
    await until(lambda: calls["gate"])
    assert 0 == ends.told

    gates[0].set()

    assert TEN == await handle.result(timeout=LONG)
    await until(lambda: ends.told == TEN + 1)


@pytest.mark.usefixtures("patient")
async def test_a_retry_remembers_them(app: Romancy) -> None:
    handle = await app.start(fails_once)
    with pytest.raises(WorkflowFailedError):
        await handle.result(timeout=LONG)

    await app.retry(handle.instance_id)

    assert [TEN, 2] == await handle.result(timeout=LONG)
    assert TEN == calls["quick"]


async def test_an_activity_may_stop_being_lazy(app: Romancy, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = await app.start(then_the_gate)

    async def all_there() -> bool:
        return await in_the_log(handle.instance_id) == TEN

    await until(all_there)
    worker = app._access.worker  # pyright: ignore[reportPrivateUsage] - to make it forget an instance
    assert worker is not None
    monkeypatch.setattr(at_the_gate, "given", replace(at_the_gate.given, commit="eager"))
    worker.driver.drop(worker.driver.live[handle.instance_id])
    worker.claiming.look_for_own()
    await until(lambda: calls["gate"] == 2)
    gates[0].set()

    assert TEN == await handle.result(timeout=LONG)
    assert TEN == calls["quick"]
