"""Group commit: each outcome is reported as soon as it is known, whatever delays the others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from romancy.engine.incarnation import Incarnation
from romancy.engine.log_writer import LogWriter
from romancy.errors import StorageUnavailableError, UsageError
from romancy.storage.backends import create_store
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import Actor, step, unique
from romancy_conformance.contract.interleaving import listen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Item

pytestmark = pytest.mark.anyio

_SOON = 60


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def actors() -> AsyncGenerator[tuple[Actor, Actor]]:
    """Two workers on one database."""
    url = f"memory://{unique('writers')}"
    stores = create_store(url), create_store(url)
    for store in stores:
        await store.open()
    first, second = [await Actor(store, workflows={"flow": "c1"}).register() for store in stores]
    yield first, second
    for store in stores:
        await store.close()


class Locked:
    """A store in which another transaction holds the row of one instance."""

    def __init__(self, store: Store, held: str) -> None:
        self._store = store
        self._held = held
        self.thawed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        free = [item for item in batch if self.thawed or item.instance_id != self._held]
        written = await self._store.commit(free, worker=worker)
        outcomes = {item.instance_id: outcome for item, outcome in zip(free, written, strict=True)}
        return [outcomes.get(item.instance_id, Outcome.LOCKED) for item in batch]


@asynccontextmanager
async def frozen(mine: Actor, other: Actor, begun: Append) -> AsyncGenerator[None]:
    """Hold another worker's append at the next place of the log before its COMMIT."""
    locked = Locked(mine.store, begun.instance_id)
    mine.store = cast("Store", locked)
    yield
    assert await other.write(step(begun, 2)) is Outcome.ACCEPTED
    locked.thawed = True


class Submitted:
    """A writer, and the outcomes of its items in the order in which they were reported."""

    def __init__(self, actor: Actor) -> None:
        self._token = actor.token
        self.writer = LogWriter(actor.store, Incarnation(actor.token))
        self.told: list[tuple[str, Outcome]] = []
        self._more = asyncio.Event()

    def submit(self, item: Item) -> None:
        self.writer.submit(item, partial(self._done, item))

    async def write(self, item: Item) -> None:
        def settle(_: object, outcome: Outcome) -> None:
            self._done(item, outcome)

        task = asyncio.current_task()
        assert task is not None
        await self.writer.write(cast("Any", SimpleNamespace(item=item, worker=self._token, settle=settle)), task)

    def _done(self, item: Item, outcome: Outcome) -> None:
        self.told.append((item.instance_id, outcome))
        self._more.set()

    async def until(self, count: int) -> None:
        """Return when so many outcomes are known."""
        async with asyncio.timeout(_SOON):
            while len(self.told) < count:
                self._more.clear()
                await self._more.wait()


class Distant:
    """A store whose first commits get no answer; `arrives` says which of them are written nevertheless."""

    def __init__(self, store: Store, arrives: list[bool]) -> None:
        self._store = store
        self._arrives = arrives
        self.sent: list[list[Item]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        self.sent.append(list(batch))
        if not self._arrives:
            return await self._store.commit(batch, worker=worker)
        if self._arrives.pop(0):
            await self._store.commit(batch, worker=worker)
        raise StorageUnavailableError("no answer")


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "by itself, and first"])
async def test_what_is_locked_keeps_nobody_waiting(actors: tuple[Actor, Actor], *, together: bool) -> None:
    mine, other = actors
    held, free, later = [await mine.begin() for _ in range(3)]

    async with frozen(mine, other, held):
        distant = Distant(mine.store, [])
        mine.store = cast("Store", distant)
        submitted = Submitted(mine)
        running = asyncio.create_task(submitted.writer.run())
        submitted.submit(step(held, 2))
        if not together:
            await asyncio.sleep(0)
        submitted.submit(step(free, 2))
        await submitted.until(1)
        submitted.submit(step(later, 2))
        await submitted.until(2)
        assert submitted.told == [(free.instance_id, Outcome.ACCEPTED), (later.instance_id, Outcome.ACCEPTED)]
        flushed = asyncio.create_task(submitted.writer.flushed())
        done, _ = await asyncio.wait({flushed}, timeout=0.05)
        assert not done, "one item is still on its way"
    await asyncio.wait_for(flushed, _SOON)

    assert submitted.told[2:] == [(held.instance_id, Outcome.TAKEN)]
    _, *again = [batch for batch in distant.sent if held.instance_id in {item.instance_id for item in batch}]
    assert {1} == set(map(len, again)), "nobody is sent along with what is known to be locked"
    running.cancel()
    await asyncio.wait({running})


async def test_a_writer_that_is_stopped_leaves_nothing_behind(actors: tuple[Actor, Actor]) -> None:
    mine, other = actors
    held, free = [await mine.begin() for _ in range(2)]

    async with frozen(mine, other, held):
        submitted = Submitted(mine)
        running = asyncio.create_task(submitted.writer.run())
        submitted.submit(step(held, 2))
        submitted.submit(step(free, 2))
        await submitted.until(1)
        running.cancel()
        await asyncio.wait({running})
        await asyncio.sleep(0)
        here = asyncio.current_task()
        assert [task for task in asyncio.all_tasks() if task is not here and "_insist" in repr(task)] == []
    assert submitted.told == [(free.instance_id, Outcome.ACCEPTED)]


@pytest.mark.parametrize("arrives", [[False, False], [True], [False, True, True]])
async def test_a_batch_without_an_answer_is_sent_again_as_it_is(
    actors: tuple[Actor, Actor], arrives: list[bool]
) -> None:
    """A2: only with the same nonce, until it is known to be in."""
    mine, _ = actors
    begun = [await mine.begin() for _ in range(3)]
    times = len(arrives) + 1
    distant = Distant(mine.store, arrives)
    mine.store = cast("Store", distant)
    submitted = Submitted(mine)
    running = asyncio.create_task(submitted.writer.run())
    for one in begun:
        submitted.submit(step(one, 2))
    await submitted.until(len(begun))

    assert [(one.instance_id, Outcome.ACCEPTED) for one in begun] == submitted.told
    assert distant.sent == [distant.sent[0]] * times
    running.cancel()
    await asyncio.wait({running})


class Choosy:
    """A store that fails on every batch with a certain instance in it."""

    def __init__(self, store: Store, guilty: str) -> None:
        self._store = store
        self._guilty = guilty

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        if any(item.instance_id == self._guilty for item in batch):
            raise ValueError("indigestible")
        return await self._store.commit(batch, worker=worker)


async def test_one_that_cannot_be_written_is_refused_alone(actors: tuple[Actor, Actor]) -> None:
    """A12: whatever error the store raises for the whole batch."""
    mine, _ = actors
    begun = [await mine.begin() for _ in range(5)]
    guilty = begun[2].instance_id
    mine.store = cast("Store", Choosy(mine.store, guilty))
    submitted = Submitted(mine)
    running = asyncio.create_task(submitted.writer.run())
    for one in begun:
        submitted.submit(step(one, 2))
    await submitted.until(len(begun))

    expected = {one.instance_id: Outcome.ACCEPTED for one in begun} | {guilty: Outcome.INVALID}
    assert expected == dict(submitted.told)
    assert "indigestible" == str(submitted.writer.refusal(guilty))
    assert isinstance(submitted.writer.refusal(guilty), UsageError), "it is told once"
    running.cancel()
    await asyncio.wait({running})


def slow(actor: Actor) -> tuple[asyncio.Event, asyncio.Event]:
    """Hold this worker's next commit at its end; return an event set when it is held, and one that releases it."""
    reached, go = asyncio.Event(), asyncio.Event()

    async def hold(statement: str, /) -> None:
        if statement == "commit":
            reached.set()
            await go.wait()

    listen(actor.store, hold)
    return reached, go


async def test_a_lone_item_is_written_by_the_task_it_comes_from(actors: tuple[Actor, Actor]) -> None:
    mine, _ = actors
    begun = await mine.begin()
    submitted = Submitted(mine)

    await submitted.write(step(begun, 2))

    assert submitted.told == [(begun.instance_id, Outcome.ACCEPTED)]
    await asyncio.wait_for(submitted.writer.flushed(), _SOON)


async def test_what_comes_while_a_task_writes_its_own_item_is_the_next_batch(actors: tuple[Actor, Actor]) -> None:
    mine, _ = actors
    lone, later, last = [await mine.begin() for _ in range(3)]
    submitted = Submitted(mine)
    running = asyncio.create_task(submitted.writer.run())
    reached, go = slow(mine)

    guest = asyncio.create_task(submitted.write(step(lone, 2)))
    await reached.wait()
    submitted.submit(step(later, 2))
    await submitted.write(step(last, 2))
    flushed = asyncio.create_task(submitted.writer.flushed())
    done, _ = await asyncio.wait({flushed}, timeout=0.05)
    assert not done
    assert submitted.told == []
    go.set()
    await asyncio.wait_for(flushed, _SOON)

    ids = [begun.instance_id for begun in (lone, later, last)]
    assert submitted.told == [(instance_id, Outcome.ACCEPTED) for instance_id in ids]
    await guest
    running.cancel()
    await asyncio.wait({running})


async def test_an_item_whose_task_is_cancelled_is_written_all_the_same(actors: tuple[Actor, Actor]) -> None:
    mine, _ = actors
    begun = await mine.begin()
    submitted = Submitted(mine)
    running = asyncio.create_task(submitted.writer.run())
    reached, go = slow(mine)

    guest = asyncio.create_task(submitted.write(step(begun, 2)))
    await reached.wait()
    guest.cancel()
    go.set()
    await submitted.until(1)

    assert submitted.told == [(begun.instance_id, Outcome.ACCEPTED)]
    assert (await asyncio.wait({guest}))[0] == {guest}
    running.cancel()
    await asyncio.wait({running})


async def test_a_writer_that_is_stopped_stops_a_task_that_writes_its_own_item(actors: tuple[Actor, Actor]) -> None:
    mine, _ = actors
    begun = await mine.begin()
    submitted = Submitted(mine)
    running = asyncio.create_task(submitted.writer.run())
    reached, _ = slow(mine)
    guest = asyncio.create_task(submitted.write(step(begun, 2)))
    await reached.wait()

    running.cancel()
    await asyncio.wait({running, guest}, timeout=_SOON)

    assert guest.cancelled()
    assert submitted.told == []


@pytest.mark.parametrize("count", [1, 3])
async def test_a_queue_that_is_withdrawn_as_a_whole_stops_nothing(actors: tuple[Actor, Actor], count: int) -> None:
    """Their callers give up together, in the turn of the event loop in which the writer would send them."""
    mine, _ = actors
    begun = [await mine.begin() for _ in range(count + 1)]
    submitted = Submitted(mine)
    running = asyncio.create_task(submitted.writer.run())
    await asyncio.sleep(0)
    *given_up, kept = [step(one, 2) for one in begun]

    for item in given_up:
        submitted.submit(item)  # the writer wakes in the next turn, before the queue would be cleared
    assert all(submitted.writer.withdraw(item) for item in given_up)
    await submitted.until(count)
    submitted.submit(kept)
    await submitted.until(count + 1)

    assert submitted.told == [
        *((item.instance_id, Outcome.INVALID) for item in given_up), (kept.instance_id, Outcome.ACCEPTED),
    ]  # fmt: skip
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})
