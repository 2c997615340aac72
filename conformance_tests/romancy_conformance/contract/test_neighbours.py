"""Neighbours: an item that is locked, refused, or left half done by a crash does not affect other items."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

import pytest

from romancy.errors import StorageUnavailableError
from romancy.status import Status
from romancy.storage.records import ClaimRequest, Delivered, Outcome
from romancy_conformance.contract.building import append, change, delivery, full_log, next_row, nonce, start, step
from romancy_conformance.contract.fire.contention import needs_row_locks
from romancy_conformance.contract.interleaving import HoldAt, leave, listen, needs_statements, run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, Change, Item
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

_AT_ONCE = 2.0
_A_HANG = 60.0
_IN_TIME = 20.0
"""Seconds for an answer that takes two on an idle machine; waiting for fifteen locks in sequence takes thirty."""
_SOON = 8.0
"""Seconds for an answer that takes three, or four as one of several."""


class Frozen:
    """A call that is held before its COMMIT, in a worker that does not continue."""

    def __init__(self, store: Store, call: Callable[[], Awaitable[Outcome]]) -> None:
        self._store = store
        self._call = call
        self._hold = HoldAt("commit")

    async def __aenter__(self) -> Self:
        listen(self._store, self._hold)
        self._writing = run(self._store, self._call())
        await asyncio.wait_for(self._hold.reached.wait(), 60)
        return self

    async def thaw(self) -> Outcome:
        """Let the call continue; return the outcome of its append."""
        leave(self._store)
        self._hold.go.set()
        return await self._writing

    async def __aexit__(self, *_: object) -> None:
        await self.thaw()


async def frozen(actor: Actor, begun: Append, other: Store, **fields: Any) -> AsyncGenerator[Frozen]:
    """Freeze an append in a session; skip the test where one open transaction keeps all others from writing."""
    item = next_row(begun, 2, b'["frozen"]', **fields)

    async def write() -> Outcome:
        async with actor.store.services.sessions.begin() as session:
            return await session.commit(item, worker=actor.token)

    async for held in frozen_call(actor.store, write, other):
        yield held


async def frozen_call(store: Store, call: Callable[[], Awaitable[Outcome]], other: Store) -> AsyncGenerator[Frozen]:
    """Freeze any call, or skip the test, as in `frozen`."""
    needs_statements(store)
    needs_row_locks(store)
    async with Frozen(store, call) as held:
        starting = asyncio.create_task(other.commit([start(delay=None)]))
        inside = other.capabilities.embedded
        done, _ = await asyncio.wait({starting}, timeout=_AT_ONCE if inside else _A_HANG)
        if not done:
            await held.thaw()
            await starting
            assert inside, "one open transaction keeps all others of this server from writing"
            pytest.skip("capability: one writer at a time")
        yield held


def delivering(sender: Append, *receivers: Append) -> Append:
    """An append that holds its receivers until its COMMIT: its child gets a message too, by another statement."""
    child = start()
    return append(sender, 2, starts=(child,), deliveries=tuple(delivery(one) for one in (*receivers, child)))


async def sent_until(actor: Actor, batch: list[Append], *, locked: int) -> list[Outcome]:
    """Send the batch until at most `locked` are LOCKED: on a busy machine, items without a turn are so at first."""
    async with asyncio.timeout(60):
        while True:
            outcomes = await asyncio.wait_for(actor.store.commit(batch, worker=actor.token), _IN_TIME)
            assert set(outcomes) <= {Outcome.ACCEPTED, Outcome.LOCKED}
            if outcomes.count(Outcome.LOCKED) <= locked:
                return outcomes


@pytest.mark.parametrize("changes", [None, change()], ids=["plain", "with a change"])
async def test_a_frozen_row_keeps_no_neighbour_waiting(actor: Actor, hire: Hire, changes: Change | None) -> None:
    """A5: the rest of the batch is written and acknowledged; the caller sends the held item again."""
    other = await hire()
    begun = [await actor.begin() for _ in range(12)]
    batch = [append(one, 2, change=changes) for one in begun]
    accepted = [Outcome.ACCEPTED]

    async for held in frozen(other, begun[3], actor.store):
        outcomes, lone = await asyncio.gather(
            sent_until(actor, batch, locked=1),
            asyncio.wait_for(actor.store.commit([batch[3]], worker=actor.token), _IN_TIME),
        )
        assert outcomes == accepted * 3 + [Outcome.LOCKED] + accepted * 8
        assert lone == [Outcome.LOCKED]
        assert await held.thaw() is Outcome.ACCEPTED
        again = await actor.store.commit(batch, worker=actor.token)
        assert again == accepted * 3 + [Outcome.TAKEN] + accepted * 8


async def test_many_frozen_rows_hold_the_answer_up_no_longer_than_one(actor: Actor, hire: Hire) -> None:
    """A5: an item that had no turn yet may be LOCKED too, but never refused, and nothing is there twice."""
    other = await hire()
    begun, mine = [await actor.begin() for _ in range(30)], await other.begin()
    item = delivering(mine, *begun[::2])
    batch = [append(one, 2, change=change()) for one in begun]
    outcomes: list[Outcome] = []

    async for _ in frozen_call(other.store, lambda: other.write(item), actor.store):
        outcomes = await asyncio.wait_for(actor.store.commit(batch, worker=actor.token), _IN_TIME)
        assert set(outcomes) <= {Outcome.ACCEPTED, Outcome.LOCKED}
        assert set(outcomes[::2]) == {Outcome.LOCKED}
    while Outcome.LOCKED in outcomes:
        outcomes = await actor.store.commit(batch, worker=actor.token)
    assert outcomes == [Outcome.ACCEPTED] * len(batch)
    assert {len(await full_log(actor.store, one.instance_id)) for one in begun} == {2}


async def test_mail_in_a_frozen_session_holds_up_nobody(actor: Actor, hire: Hire) -> None:
    """A7: a session locks no row of the receivers of its messages, so neither waits for the other."""
    other = await hire()
    mine, target = await other.begin(), await actor.begin()

    async for _ in frozen(other, mine, actor.store, deliveries=(delivery(target),)):
        step = append(target, 2, change=change(Status.WAITING, seen=0))
        assert await actor.store.commit([step], worker=actor.token) == [Outcome.ACCEPTED], "and not LOCKED"


async def test_what_is_owned_is_told_again_whoever_holds_its_row(actor: Actor, hire: Hire) -> None:
    """A1: a worker asks once for all it owns; the answer must be complete even if another transaction holds a row."""
    other = await hire()
    mine, theirs = [await actor.begin() for _ in range(3)], await other.begin()
    item = delivering(theirs, mine[1])

    async for _ in frozen_call(other.store, lambda: other.write(item), actor.store):
        claimed = await asyncio.wait_for(actor.claim(0, recover=True), _IN_TIME)
        assert {one.instance_id for one in mine} == {one.instance_id for one in claimed}


@pytest.mark.parametrize("changes", [None, change()], ids=["log", "log and instance"])
async def test_a_frozen_row_does_not_stop_a_takeover(actor: Actor, hire: Hire, changes: Change | None) -> None:
    """A5: the dead mark stands at once, free instances move at once, and the rest when their rows are free."""
    victim = await hire()
    begun = [await victim.begin() for _ in range(8)]
    peer = await actor.see(victim)

    async for held in frozen(victim, begun[2], actor.store, change=changes):
        first = await asyncio.wait_for(actor.store.takeover(actor.token, peer, b'["owner"]', nonce()), 60)
        assert (sorted(first.moved), first.left) == (
            sorted(one.instance_id for number, one in enumerate(begun) if number != 2),
            True,
        )
        assert await actor.write(start()) is Outcome.ACCEPTED
        outcome = await held.thaw()
        assert await actor.take_over(victim) == (begun[2].instance_id,)
        bodies = [row.body for row in await full_log(actor.store, begun[2].instance_id)][1:]
        late = [b'["frozen"]'] if outcome is Outcome.ACCEPTED else []
        assert bodies == [*late, b'[{"type":"owner"}]']


async def test_mail_for_a_frozen_row_is_answered_soon(actor: Actor, hire: Hire) -> None:
    """A5: the sender learns that it was not taken and sends all again; mail for others may already be in."""
    other = await hire()
    begun, mine = [await actor.begin() for _ in range(3)], await other.begin()
    item = delivering(mine, begun[1])
    mail = [delivery(one) for one in begun]

    async for held in frozen_call(other.store, lambda: other.write(item), actor.store):
        calls = [asyncio.wait_for(actor.store.deliver(sent), _SOON) for sent in (mail[1:2], mail)]
        for refused in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(refused, StorageUnavailableError)
            assert "another transaction" in str(refused)
        assert await held.thaw() is Outcome.ACCEPTED
        answers = await actor.store.deliver(mail)
        assert answers[1] is Delivered.ACCEPTED
        assert set(answers[::2]) <= {Delivered.ACCEPTED, Delivered.DUPLICATE}


async def test_a_claim_leaves_a_frozen_row_alone(actor: Actor, hire: Hire, workflow_name: str) -> None:
    victim = await hire()
    begun = await victim.begin()
    items = [start(workflow_name=workflow_name) for _ in range(3)]

    async for _ in frozen(victim, begun, actor.store):
        await actor.store.commit(items)
        claimed = await asyncio.wait_for(actor.claim(), 60)
        assert sorted(one.instance_id for one in claimed) == sorted(item.instance_id for item in items)


async def test_a_claim_leaves_what_is_just_being_written_to(actor: Actor, hire: Hire, workflow_name: str) -> None:
    """A5: a due instance that another transaction holds is left to the next claim, and the others are not delayed."""
    other = await hire()
    mine = await other.begin()
    items = [start(workflow_name=workflow_name) for _ in range(4)]
    await actor.store.commit(items)
    item = delivering(mine, items[0])

    async for held in frozen_call(other.store, lambda: other.write(item), actor.store):
        claimed = await asyncio.wait_for(actor.claim(), _IN_TIME)
        assert {one.instance_id for one in claimed} >= {one.instance_id for one in items[1:]}
        assert await held.thaw() is Outcome.ACCEPTED
        claimed += await actor.claim()
        assert sorted(one.instance_id for one in claimed) == sorted(one.instance_id for one in items)


_TOO_LARGE = 2**63
_UNWRITABLE: dict[str, Callable[[Append], Item]] = {
    "seq": lambda one: step(one, _TOO_LARGE),
    "wake time": lambda one: append(one, 2, change=change(Status.WAITING, release=True, wake_at=_TOO_LARGE)),
    "child": lambda one: append(one, 2, starts=(start(life=_TOO_LARGE),)),
}


async def test_a_value_no_database_can_take_is_refused_alone(actor: Actor) -> None:
    """A12: the faulty item gets a typed refusal, and its neighbours are written."""
    for where, build in _UNWRITABLE.items():
        begun = [await actor.begin() for _ in range(9)]
        batch = [append(one, 2, change=change() if number % 3 else None) for number, one in enumerate(begun)]

        outcomes = await actor.store.commit([*batch[:4], build(begun[4]), *batch[5:]], worker=actor.token)

        assert outcomes == [Outcome.ACCEPTED] * 4 + [Outcome.INVALID] + [Outcome.ACCEPTED] * 4, where
        lengths = [len(await full_log(actor.store, one.instance_id)) for one in begun]
        assert lengths == [2] * 4 + [1] + [2] * 4, where


async def test_mail_of_a_session_is_found_although_nobody_counted_it(actor: Actor, hire: Hire) -> None:
    """A7: a commit of its own may count such mail later; after a crash between the two commits, a sweep counts it."""
    sender, sweeper = await hire(), await hire()
    begun = await sender.begin()
    asleep, owned = await sweeper.begin(), await sweeper.begin()
    assert await sweeper.write(append(asleep, 2, change=change(Status.WAITING, release=True))) is Outcome.ACCEPTED
    mail = delivery(asleep), delivery(owned)
    committed = asyncio.Event()

    async def crash_after_commit(statement: str, /) -> None:
        if committed.is_set():
            await asyncio.Event().wait()
        if statement == "commit":
            committed.set()

    async def write() -> None:
        async with sender.store.services.sessions.begin() as session:
            await session.commit(append(begun, 2, deliveries=mail), worker=sender.token)

    listen(sender.store, crash_after_commit)
    writing = run(sender.store, write())
    await asyncio.wait_for(committed.wait(), 60)
    logged: list[int] = []
    while len(logged) < 2:
        logged = [row.seq for row in await full_log(sweeper.store, begun.instance_id)]
    writing.cancel()
    await asyncio.wait({writing})
    leave(sender.store)

    found: set[str] = set()

    async def sweep() -> None:
        request = ClaimRequest(worker=sweeper.token, codes=sweeper.workflows, limit=5, sweep=True)
        while len(found) < len(mail):
            work = await sweeper.store.claim(request)
            found.update(box.instance_id for box in work.mail)
            await asyncio.sleep(0.1)

    await asyncio.wait_for(sweep(), 60)
    assert found == {asleep.instance_id, owned.instance_id}
