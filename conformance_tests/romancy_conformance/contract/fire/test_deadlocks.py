"""Another transaction locks the same rows in reverse: the server counts deadlocks, and no caller sees one."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageUnavailableError
from romancy.status import Status
from romancy.storage.records import Delivered, Outcome
from romancy_conformance.contract.building import delivery, full_log, start
from romancy_conformance.contract.fire.contention import (
    crosswise,
    deadlocks,
    has_row_locks,
    in_the_end,
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy.storage.sessions import StoreSession
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]
    Open = Callable[[], Awaitable[Store]]

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

_WORKERS = 3
_EACH = 6
_HEAVY = 300
"""Rows that the other side writes: MySQL rolls back the transaction that has changed less."""
_PAUSE = 0.03
_SOON, _NEVER = "50ms", "100s"
"""`deadlock_timeout` of PostgreSQL for Romancy and for the other side: the one that checks first is rolled back."""


class OtherSide:
    """Transactions of a user that lock Romancy's rows in the opposite order."""

    def __init__(self, store: Store, postgres: bool) -> None:  # noqa: FBT001 - one of two ways
        self._store = store
        self._postgres = postgres
        self.rounds = 0
        self.losses = 0

    async def prepare(self) -> None:
        """Create a table to write to, and let Romancy, not this side, detect the deadlocks."""
        async with self._store.services.sessions.begin() as session:
            await session.execute("create table heavy (n integer)")
            if self._postgres:
                (row,) = await session.fetch_all("select current_database() as name")
                await session.execute(f"alter database \"{row['name']}\" set deadlock_timeout = '{_SOON}'")
                assert await session.commit(start(status=Status.COMPLETED, delay=None)) == "accepted"

    async def work(self, everybody: Sequence[Append], over: asyncio.Event) -> None:
        """Lock a row until others wait for it, then ask for a row before it; repeat until told to stop."""
        chance = random.Random(5)
        ids = sorted(one.instance_id for one in everybody)
        while not over.is_set():
            chosen = sorted(chance.sample(ids, k=2), reverse=True)
            self.rounds += 1
            try:
                async with self._store.services.sessions.begin() as session:
                    await self._lock(session, chosen)
            except StorageUnavailableError:
                self.losses += 1
            await asyncio.sleep(_PAUSE)

    async def _lock(self, session: StoreSession, ids: Sequence[str]) -> None:
        if self._postgres:
            await session.execute(f"set local deadlock_timeout = '{_NEVER}'")
        await session.execute(f"insert into heavy values {', '.join(['(1)'] * _HEAVY)}")  # noqa: S608 - no value of anybody's
        for instance_id in ids:
            await session.fetch_all(
                f"select instance_id from romancy_instances where instance_id = '{instance_id}' for update"  # noqa: S608 - an id of this suite's
            )
            await asyncio.sleep(_PAUSE)


@pytest.fixture
async def other_side(open_store: Open, request: pytest.FixtureRequest) -> OtherSide:
    store = await open_store()
    if not has_row_locks(store):
        pytest.skip(f"capability: {store.capabilities.name} does not say how many deadlocks there were, if it has any")
    side = OtherSide(store, store.capabilities.name.startswith("PostgreSQL"))
    try:
        await side.prepare()
    except Exception as error:
        if not request.config.getoption("--storage-url"):
            raise
        pytest.skip(f"capability: this user may not say who gives way ({type(error).__name__})")
    return side


async def test_deadlocks_with_others_reach_nobody(other_side: OtherSide, hire: Hire, scale: int) -> None:
    """A7: commits and deliveries that lose a deadlock are repeated, and everything is there once."""
    rounds = 20 * scale
    workers = [await hire() for _ in range(_WORKERS)]
    owned = [[await worker.begin() for _ in range(_EACH)] for worker in workers]
    everybody = [one for group in owned for one in group]
    store, over = workers[0].store, asyncio.Event()
    posted: dict[str, int] = dict.fromkeys((one.instance_id for one in everybody), 0)

    async def work(number: int) -> None:
        chance = random.Random(number)
        for seq in range(2, rounds + 2):
            items = [crosswise(one, everybody, seq, chance) for one in owned[number]]
            assert [Outcome.ACCEPTED] * _EACH == await settled(workers[number], items)
            mail = [delivery(one) for one in chance.sample(everybody, k=8)]
            answers = await in_the_end(partial(workers[number].store.deliver, mail))
            assert set(answers) <= {Delivered.ACCEPTED, Delivered.DUPLICATE}
            for one in (*mail, *(sent for item in items for sent in item.deliveries)):
                posted[one.instance_id] += 1

    before, counted = await deadlocks(store), 0
    others = asyncio.create_task(other_side.work(everybody, over))
    try:
        await asyncio.gather(*map(work, range(_WORKERS)))
    finally:
        over.set()
        await others

    for _ in range(60):
        counted = await deadlocks(store) - before
        if counted > other_side.losses:
            break
        await asyncio.sleep(0.5)  # PostgreSQL updates its counter late
    print(f"{counted} deadlocks in {other_side.rounds} rounds of the other side, which lost {other_side.losses}")
    assert counted > other_side.losses
    for one in everybody:
        assert rounds + 1 == len(await full_log(store, one.instance_id))
        history = await store.read(one.instance_id, limit=0)
        assert history is not None
        assert posted[one.instance_id] == history.instance.signals
