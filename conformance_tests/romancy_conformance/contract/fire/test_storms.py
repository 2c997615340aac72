"""Many transactions lock the same rows in different orders: deadlocks and failed serialisations reach no caller."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.records import Delivered, Outcome
from romancy_conformance.contract.building import append, change, delivery, full_log, nonce, start
from romancy_conformance.contract.fire.contention import (
    crosswise,
    deadlocks,
    has_row_locks,
    in_the_end,
    settled,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = [pytest.mark.anyio, pytest.mark.soak]

_WORKERS = 4
_EACH = 6


async def test_opposite_orders_reach_nobody(hire: Hire, scale: int) -> None:
    """A7: batches, sessions and deliveries over the same instances, each in another order."""
    rounds = 12 * scale
    workers = [await hire() for _ in range(_WORKERS)]
    owned = [[await worker.begin() for _ in range(_EACH)] for worker in workers]
    everybody = [one for group in owned for one in group]
    posted: Counter[str] = Counter()

    async def work(number: int) -> int:
        worker, mine = workers[number], owned[number]
        chance = random.Random(number)
        for seq in range(2, rounds + 2):
            items = [crosswise(one, everybody, seq, chance) for one in mine]
            chance.shuffle(items)
            first, *others = items
            outcome = await _in_session(worker, first)
            outcomes = await settled(worker, others)
            assert [outcome, *outcomes] == [Outcome.ACCEPTED] * _EACH
            posted.update(mail.instance_id for item in items for mail in item.deliveries)
        return rounds * _EACH

    async def post(number: int) -> int:
        chance = random.Random(-number)
        for _ in range(rounds):
            targets = chance.sample(everybody, k=8)
            mail = [delivery(one) for one in targets]
            answers = await in_the_end(partial(workers[number].store.deliver, mail))
            assert set(answers) <= {Delivered.ACCEPTED, Delivered.DUPLICATE}
            for one in targets:
                posted[one.instance_id] += 1
        return rounds * 8

    store = workers[0].store
    before = await deadlocks(store) if has_row_locks(store) else None
    counts = await asyncio.gather(*map(work, range(_WORKERS)), *map(post, range(_WORKERS)))

    print(f"{sum(counts[:_WORKERS])} appends and {sum(counts[_WORKERS:])} deliveries over {len(everybody)} instances")
    if before is not None:
        print(f"deadlocks that the server counted: {await deadlocks(store) - before}")
    for worker, mine in zip(workers, owned, strict=True):
        for one in mine:
            assert len(await full_log(worker.store, one.instance_id)) == rounds + 1
            await _is_counted(worker, one.instance_id, posted[one.instance_id])


async def _is_counted(worker: Actor, instance_id: str, posted: int) -> None:
    """Check that each message is counted once; a sweep counts what a session could not count after its commit."""
    async with asyncio.timeout(60):
        while True:
            history = await worker.store.read(instance_id, limit=0)
            assert history is not None
            if history.instance.signals >= posted:
                break
            await worker.claim(0, sweep=True)
            await asyncio.sleep(0.5)  # a sweep counts messages posted some seconds ago
    assert history.instance.signals == posted


async def _in_session(worker: Actor, item: Append) -> Outcome:
    """Commit the item in a session; repeat it after a lock wait that timed out on a slow disk, which has no effect.

    A deadlock is not repeated here: Romancy takes its locks in one order, in sessions too, so a session must never lose
    one.
    """

    async def write() -> Outcome:
        async with worker.store.services.sessions.begin() as session:
            return await session.commit(item, worker=worker.token)

    return await in_the_end(write)


async def test_claims_takeovers_and_deaths_reach_nobody(
    store: Store, hire: Hire, scale: int, workflow_name: str
) -> None:
    """Claims, takeovers and deliveries run at once, and no instance is taken over twice."""
    rounds = 4 * scale
    survivors = [await hire() for _ in range(_WORKERS)]
    items = [start(workflow_name=workflow_name) for _ in range(40)]
    await store.commit(items)
    for _ in range(rounds):
        doomed = await hire()
        await doomed.claim(20)
        peers = [await survivor.see(doomed) for survivor in survivors]

        async def strike(survivor: Actor, peer: Any) -> list[str]:
            moved: list[str] = []
            left, writer = True, nonce()
            while left:
                take = partial(survivor.store.takeover, survivor.token, peer, b'["owner"]', writer, limit=7)
                answer = await in_the_end(take)
                moved, left = moved + list(answer.moved), answer.left
            return moved

        strikes = [strike(survivor, peer) for survivor, peer in zip(survivors, peers, strict=True)]
        claims = [survivor.claim(5, sweep=True) for survivor in survivors]
        struck, *_ = await asyncio.gather(
            asyncio.gather(*strikes),
            asyncio.gather(*claims),
            asyncio.gather(*(in_the_end(partial(store.deliver, [delivery(one)])) for one in items)),
        )
        moved = [one for answer in struck for one in answer]
        assert len(moved) == len(set(moved))
        await _let_go(survivors)

    owners = [await store.read(item.instance_id, limit=0) for item in items]
    assert [None if one is None else one.instance.signals for one in owners] == [rounds] * len(items)


async def _let_go(survivors: list[Actor]) -> None:
    """Release all claimed instances, so that the next round has instances to compete for."""
    for survivor in survivors:
        owned = await survivor.claim(0, recover=True)
        sleep = change(Status.WAITING, seen=-1, release=True)
        outcomes = [await survivor.write(append(one, one.head + 1, change=sleep)) for one in owned]
        assert outcomes == [Outcome.ACCEPTED] * len(owned)
