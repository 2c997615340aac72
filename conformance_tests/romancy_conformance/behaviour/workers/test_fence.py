"""Behind an end nothing is written, and behind a commit that the database has lost nothing is made up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from romancy import Romancy, Status, WorkflowContext, activity, workflow
from romancy.core import TERMINAL, OwnerChanged, encode_commit
from romancy.errors import StorageUnavailableError
from romancy.storage.backends import create_store
from romancy_conformance.behaviour.calling import calling
from romancy_conformance.behaviour.damaging import sql_on
from romancy_conformance.behaviour.stores import WrappedStore, wrap_stores

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.records import ClaimRequest, Work
    from romancy_conformance.behaviour.opening import Open

pytestmark = pytest.mark.anyio

LONG = 120
GONE = "does not have commit"
begun: list[str] = []
gates: list[Gate] = []


class Gate:
    """An activity announces here that it has begun, and waits."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.again = asyncio.Event()
        self.open = asyncio.Event()


class LateStore(WrappedStore):
    """A store that can lose the answer of a claim, and delay the next one, which asks for everything."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.lose = False
        self.hold = False
        self.lost = asyncio.Event()
        self.held = asyncio.Event()
        self.give = asyncio.Event()
        self.given = asyncio.Event()

    async def claim(self, request: ClaimRequest, /) -> Work:
        if self.give.is_set():
            self.given.set()  # the answer before has been handled
        work = await self._store.claim(request)
        if self.lose:
            self.lose = False
            self.lost.set()
            raise StorageUnavailableError("the answer was lost")
        if self.hold and request.recover:
            self.hold = False
            self.held.set()
            await self.give.wait()
        return work


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[LateStore]:
    """The stores of the apps, in the order in which they were opened."""
    return wrap_stores(monkeypatch, LateStore)


@pytest.fixture
async def gate() -> Gate:
    """The gate of this test."""
    begun.clear()
    gates[:] = [Gate()]
    return gates[0]


@activity
async def fence_step(number: int) -> int:
    begun.append(f"step {number}")
    return number


calls_fence_step = calling(fence_step)


@activity
async def fence_wait() -> int:
    (gate,) = gates
    (gate.again if gate.begun.is_set() else gate.begun).set()
    begun.append("wait")
    await gate.open.wait()
    return 100


@workflow
async def fence_line(ctx: WorkflowContext) -> int:
    return await fence_step(1) + await fence_step(2) + await fence_step(3) + await fence_wait() + await fence_step(4)


calls_fence_wait = calling(fence_wait)


async def asks_for_everything(front: Romancy, store: LateStore) -> None:
    """Let the worker claim something, and lose the answer: its next claim asks for all that it owns."""
    store.lose = True
    await front.start(calls_fence_step, 0)
    async with asyncio.timeout(LONG):
        await store.lost.wait()


async def lose_tail(url: str, instance_id: str) -> None:
    """Keep the first two commits of the log, as after a fail-over to a replica that lagged."""
    async with sql_on(url) as sql:
        await sql("delete from romancy_log where instance_id = {} and seq > 2", instance_id)


async def seqs(url: str, instance_id: str) -> list[int]:
    store = create_store(url)
    await store.open()
    try:
        history = await store.read(instance_id)
        assert history is not None
        return [row.seq for row in history.rows]
    finally:
        await store.close()


async def test_what_ends_while_a_claim_is_answered_stays_ended(
    open_app: Open, stores: list[LateStore], storage_url: str, gate: Gate
) -> None:
    front = await open_app(worker=False)
    async with Romancy(storage_url, workflows=[calls_fence_wait, calls_fence_step]) as app:
        store = stores[-1]
        store.hold = True
        handle = await app.start(calls_fence_wait)
        async with asyncio.timeout(LONG):
            await gate.begun.wait()
            await asks_for_everything(front, store)
            await store.held.wait()
            gate.open.set()
            assert await handle.result() == 100
            store.give.set()
            await front.run(calls_fence_step, 0)
            await store.given.wait()

    assert isinstance((await front.history(handle.instance_id))[-1], TERMINAL)
    assert await front.handle(handle.instance_id, calls_fence_wait).result(timeout=LONG) == 100
    assert begun.count("wait") == 1


@pytest.mark.unreplayable("a row is written behind its end")
async def test_the_end_is_found_where_something_was_written_behind_it(
    open_app: Open, storage_url: str, gate: Gate
) -> None:
    """Older versions could write there."""
    gate.open.set()
    front = await open_app(worker=False)
    async with Romancy(storage_url, workflows=[calls_fence_wait]) as app:
        handle = await app.start(calls_fence_wait)
        assert await handle.result(timeout=LONG) == 100
    last = (await seqs(storage_url, handle.instance_id))[-1]
    async with sql_on(storage_url) as sql:
        await sql(
            "insert into romancy_log (instance_id, life, seq, writer, body, at) "
            "select instance_id, life, seq + 1, 'somebody', body, at from romancy_log "
            "where instance_id = {} and seq = {}",
            handle.instance_id,
            last,
        )
        where = (handle.instance_id, last + 1)
        await sql(
            "update romancy_log set body = {} where instance_id = {} and seq = {}",
            encode_commit([OwnerChanged(at=1)]),
            *where,
        )
        await sql("update romancy_instances set last_seq = {} where instance_id = {}", last + 1, handle.instance_id)

    assert await front.handle(handle.instance_id, calls_fence_wait).result(timeout=LONG) == 100


async def test_who_remembers_a_lost_tail_says_so_and_goes_on_from_the_log(
    app: Romancy, storage_url: str, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    handle = await app.start(fence_line)
    async with asyncio.timeout(LONG):
        await gate.begun.wait()
        before = await seqs(storage_url, handle.instance_id)
        await lose_tail(storage_url, handle.instance_id)
        gate.open.set()
        assert await handle.result() == 110

    assert GONE in caplog.text
    assert begun == ["step 1", "step 2", "step 3", "wait", "step 2", "step 3", "wait", "step 4"]
    after = await seqs(storage_url, handle.instance_id)
    assert after == list(range(1, len(after) + 1))
    assert len(after) > len(before)
    assert await handle.status() is Status.COMPLETED


async def test_another_commit_in_the_place_of_a_lost_one_is_noticed(
    app: Romancy, storage_url: str, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker has already continued on the replica; a free seq alone would not show the loss."""
    handle = await app.start(fence_line)
    async with asyncio.timeout(LONG):
        await gate.begun.wait()
        last = (await seqs(storage_url, handle.instance_id))[-1]
        async with sql_on(storage_url) as sql:
            await sql(
                "update romancy_log set writer = 'somebody' where instance_id = {} and seq = {}",
                handle.instance_id,
                last,
            )
        gate.open.set()
        assert await handle.result() == 110

    assert GONE in caplog.text
    assert begun == ["step 1", "step 2", "step 3", "wait", "wait", "step 4"]


async def test_a_lost_tail_is_noticed_when_everything_is_asked_for(
    open_app: Open, stores: list[LateStore], storage_url: str, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    """As after every loss of connections: a long wait must not be in vain because the log does not know it."""
    front = await open_app(worker=False)
    app = await open_app()
    handle = await app.start(fence_line)
    async with asyncio.timeout(LONG):
        await gate.begun.wait()
        await lose_tail(storage_url, handle.instance_id)
        await asks_for_everything(front, stores[-1])
        await gate.again.wait()
        gate.open.set()
        assert await handle.result() == 110

    assert GONE in caplog.text
    assert begun.count("step 2") == 2
