"""Two calls at once, held open between any two statements: the holes that READ COMMITTED leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.records import ClaimRequest, Delivered, Outcome, PruneRequest, Takeover, Work
from romancy_conformance.contract.building import append, change, created, delivery, full_log, nonce, start, step
from romancy_conformance.contract.fire.contention import needs_row_locks
from romancy_conformance.contract.interleaving import Hold, HoldAt, held_at, leave, listen, play, run
from romancy_conformance.taps import tap_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]
    Scene = tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]

pytestmark = pytest.mark.anyio


async def test_a_delivery_and_a_release_leave_nobody_asleep(store: Store, actor: Actor, hire: Hire) -> None:
    """B1: no order of the two calls may put an instance with mail to sleep without anything to wake it."""
    owner = await hire()

    async def scenario() -> Scene:
        begun = await owner.begin()
        sleep = append(begun, 2, change=change(Status.WAITING, seen=0, release=True))

        async def check(delivered: list[Delivered], outcome: Outcome) -> None:
            assert (delivered, outcome) == ([Delivered.ACCEPTED], Outcome.ACCEPTED)
            work = await owner.store.claim(ClaimRequest(worker=owner.token, codes=owner.workflows, limit=5))
            assert [one.instance_id for one in work.claimed] == [begun.instance_id]
            assert [box.instance_id for box in work.mail] == [begun.instance_id]
            await owner.write(append(begun, 3, change=change(Status.FAILED, seen=1)))

        return store.deliver([delivery(begun)]), owner.write(sleep), check

    await play(store, scenario)


async def test_a_release_held_open_does_not_miss_a_delivery(store: Store, actor: Actor, hire: Hire) -> None:
    other = await hire()

    async def scenario() -> Scene:
        begun = await actor.begin()
        sleep = append(begun, 2, change=change(Status.WAITING, seen=0, release=True))

        async def check(outcome: Outcome, delivered: list[Delivered]) -> None:
            assert (outcome, delivered) == (Outcome.ACCEPTED, [Delivered.ACCEPTED])
            assert [one.instance_id for one in await other.claim()] == [begun.instance_id]
            await other.write(append(begun, 3, change=change(Status.FAILED, seen=1)))

        return actor.write(sleep), other.store.deliver([delivery(begun)]), check

    await play(store, scenario)


async def test_a_delivery_and_an_end_agree(store: Store, actor: Actor, hire: Hire) -> None:
    """B8: of a message and an end that has not seen it, the store accepts only one."""
    owner = await hire()

    async def scenario() -> Scene:
        begun = await owner.begin()
        last = append(begun, 2, change=change(Status.COMPLETED, seen=0))

        async def check(delivered: list[Delivered], outcome: Outcome) -> None:
            assert (delivered[0], outcome) in {
                (Delivered.ACCEPTED, Outcome.UNSEEN),
                (Delivered.CLOSED, Outcome.ACCEPTED),
            }

        return store.deliver([delivery(begun)]), owner.write(last), check

    await play(store, scenario)


async def test_a_claim_and_a_change_of_what_nobody_owns_agree(store: Store, hire: Hire) -> None:
    """An instance is claimed, or changed as one that nobody owns: whoever claims it after that finds the change."""
    worker, operator = await hire(), await hire()

    async def scenario() -> Scene:
        (name,) = worker.workflows
        item = start(workflow_name=name)
        assert await worker.store.commit([item]) == [Outcome.ACCEPTED]
        pause = append(item, 2, after=item.writer, change=change(Status.PAUSED, release=True, unowned=True))

        async def check(work: Work, outcome: Outcome) -> None:
            claimed = [one.instance_id for one in work.claimed]
            assert (claimed, outcome) in (([item.instance_id], Outcome.OWNED), ([], Outcome.ACCEPTED))
            found = await store.read(item.instance_id)
            assert found is not None
            assert found.instance.owner == (worker.token if claimed else None)
            assert len(found.rows) == (1 if claimed else 2)
            if claimed:
                await worker.write(append(item, 2, change=change(Status.FAILED)))

        claim = store.claim(ClaimRequest(worker=worker.token, codes=worker.workflows, limit=5))
        return claim, operator.write(pause), check

    await play(store, scenario)


async def test_an_end_held_open_agrees_with_a_delivery(store: Store, actor: Actor, hire: Hire) -> None:
    other = await hire()

    async def scenario() -> Scene:
        begun = await actor.begin()
        last = append(begun, 2, change=change(Status.COMPLETED, seen=0))

        async def check(outcome: Outcome, delivered: list[Delivered]) -> None:
            assert (delivered[0], outcome) in {
                (Delivered.ACCEPTED, Outcome.UNSEEN),
                (Delivered.CLOSED, Outcome.ACCEPTED),
            }

        return actor.write(last), other.store.deliver([delivery(begun)]), check

    await play(store, scenario)


async def test_who_is_declared_dead_amid_a_claim_takes_nothing_more(store: Store, hire: Hire) -> None:
    """D2: it is held before the statement that takes, with what it has found. The takeover has looked before."""
    survivor, victim = await hire(), await hire()
    (name,) = survivor.workflows
    item = start(workflow_name=name)
    assert await survivor.store.commit([item]) == [Outcome.ACCEPTED]
    peer = await survivor.see(victim)
    hold = HoldAt("take_claimed", "take", "claim")
    listen(store, hold)
    claiming = run(store, store.claim(ClaimRequest(worker=victim.token, codes=victim.workflows, limit=5)))
    assert await held_at(hold, claiming) is not tap_of(store).atomic
    takeover = survivor.store.takeover(survivor.token, peer, b'["owner"]', nonce())
    taking_over = asyncio.ensure_future(takeover)
    await asyncio.wait({taking_over}, timeout=1)
    in_time = taking_over.done()  # it is not where a claim keeps all others from writing
    hold.go.set()
    work, answer = await asyncio.gather(claiming, taking_over)
    leave(store)
    while answer.left:
        answer = await survivor.store.takeover(survivor.token, peer, b'["owner"]', nonce())
    (claimed,) = await survivor.claim()

    assert not answer.refused
    assert item.instance_id == claimed.instance_id
    if in_time and not tap_of(store).atomic:
        assert [] == work.claimed


@pytest.mark.parametrize("by", ["batch", "session"])
async def test_an_owner_changes_only_with_its_log_row(store: Store, actor: Actor, hire: Hire, by: str) -> None:
    """A10: the dying worker's last append and the takeover compete for the same seq."""
    if by == "session":
        needs_row_locks(store)
    survivor = await hire()

    async def scenario() -> Scene:
        victim = await hire()
        begun = await victim.begin()
        peer = await survivor.see(victim)
        item = step(begun, 2, b'["last words"]', after=begun.writer)  # as the engine appends

        async def check(outcomes: list[Outcome], first: Takeover) -> None:
            moved, answer, owner = list(first.moved), first, b'["owner"]'
            while answer.left:
                answer = await survivor.store.takeover(survivor.token, peer, owner, nonce())
                moved += answer.moved
            if first.refused:  # the session's commit counted as a heartbeat: the victim was alive
                moved, owner = list(await survivor.take_over(victim)), b'[{"type":"owner"}]'
            rows = await full_log(survivor.store, begun.instance_id)
            assert moved == [begun.instance_id]
            assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
            expected = [b'["last words"]', owner] if outcomes == [Outcome.ACCEPTED] else [owner]
            assert [row.body for row in rows][1:] == expected
            (claimed,) = await survivor.claim()
            assert claimed.head == len(rows)
            await survivor.write(append(begun, claimed.head + 1, change=change(Status.FAILED)))

        async def in_session() -> list[Outcome]:
            async with store.services.sessions.begin() as session:
                return [await session.commit(item, worker=victim.token)]

        first = store.commit([item], worker=victim.token) if by == "batch" else in_session()
        return first, survivor.store.takeover(survivor.token, peer, b'["owner"]', nonce()), check

    await play(store, scenario)


async def test_a_batch_held_open_meets_a_takeover(store: Store, actor: Actor, hire: Hire) -> None:
    """A10: the same of many appends, which a store may write together."""
    survivor = await hire()

    async def scenario() -> Scene:
        victim = await hire()
        begun = [await victim.begin() for _ in range(3)]
        peer = await survivor.see(victim)
        batch = [append(one, 2, b'["last words"]', change=change()) for one in begun]

        async def check(outcomes: list[Outcome], first: Takeover) -> None:
            moved, answer = list(first.moved), first
            while answer.left:
                answer = await survivor.store.takeover(survivor.token, peer, b'["owner"]', nonce())
                moved += answer.moved
            assert sorted(moved) == sorted(one.instance_id for one in begun)
            claimed = {one.instance_id: one.head for one in await survivor.claim(len(begun))}
            assert len(claimed) == len(begun)
            for one, outcome in zip(begun, outcomes, strict=True):
                rows = await full_log(survivor.store, one.instance_id)
                expected = [b'["last words"]', b'["owner"]'] if outcome is Outcome.ACCEPTED else [b'["owner"]']
                assert [row.body for row in rows][1:] == expected
                await survivor.write(append(one, claimed[one.instance_id] + 1, change=change(Status.FAILED)))

        takeover = survivor.store.takeover(survivor.token, peer, b'["owner"]', nonce())
        return store.commit(batch, worker=victim.token), takeover, check

    await play(store, scenario)


async def test_a_takeover_held_open_meets_the_last_append(store: Store, actor: Actor, hire: Hire) -> None:
    victims = [await hire() for _ in range(30)]

    async def scenario() -> Scene:
        victim = victims.pop()
        begun = await victim.begin()
        peer = await actor.see(victim)

        async def check(first: Takeover, outcome: Outcome) -> None:
            moved, answer = list(first.moved), first
            while answer.left:
                answer = await store.takeover(actor.token, peer, b'["owner"]', nonce())
                moved += answer.moved
            rows = await full_log(store, begun.instance_id)
            assert moved == [begun.instance_id]
            expected = [b"[]", b'["owner"]'] if outcome is Outcome.ACCEPTED else [b'["owner"]']
            assert [row.body for row in rows][1:] == expected
            (claimed,) = await actor.claim()
            await actor.write(append(begun, claimed.head + 1, change=change(Status.FAILED)))

        return (
            store.takeover(actor.token, peer, b'["owner"]', nonce()),
            victim.write(step(begun, 2, after=begun.writer)),
            check,
        )

    await play(store, scenario)


async def test_one_of_two_starts_under_an_id_is_accepted(store: Store, actor: Actor, hire: Hire) -> None:
    other = await hire()

    async def scenario() -> Scene:
        mine = start(workflow_name=next(iter(actor.workflows)), body=b'["mine"]')
        theirs = start(mine.instance_id, workflow_name=created(mine).workflow_name, body=b'["theirs"]')

        async def check(first: list[Outcome], second: list[Outcome]) -> None:
            assert sorted([*first, *second]) == [Outcome.ACCEPTED, Outcome.EXISTS]
            (row,) = await full_log(store, mine.instance_id)
            assert row.body == (mine.body if first == [Outcome.ACCEPTED] else theirs.body)

        return store.commit([mine]), other.store.commit([theirs]), check

    await play(store, scenario)


async def test_one_of_two_copies_of_a_delivery_is_accepted(store: Store, actor: Actor, hire: Hire) -> None:
    other = await hire()

    async def scenario() -> Scene:
        begun = await actor.begin()
        mail = delivery(begun, dedupe=nonce())

        async def check(first: list[Delivered], second: list[Delivered]) -> None:
            assert sorted([*first, *second]) == [Delivered.ACCEPTED, Delivered.DUPLICATE]
            history = await store.read(begun.instance_id, limit=0)
            assert history is not None
            assert history.instance.signals == 1

        return store.deliver([mail]), other.store.deliver([mail]), check

    await play(store, scenario)


async def test_no_instance_is_claimed_twice(store: Store, actor: Actor, hire: Hire) -> None:
    other = await hire()

    async def scenario() -> Scene:
        items = [start(workflow_name=next(iter(actor.workflows))) for _ in range(4)]
        await store.commit(items)

        async def check(first: list[Any], second: list[Any]) -> None:
            rest = await other.claim()
            got = sorted(one.instance_id for one in [*first, *second, *rest])
            assert got == sorted(item.instance_id for item in items)

        return actor.claim(3), other.claim(3), check

    await play(store, scenario)


async def test_two_batches_crosswise_come_through(store: Store, actor: Actor, hire: Hire) -> None:
    """A7: two batches write the same instances in opposite order and deliver to each other; none sees a deadlock."""
    other = await hire()

    async def scenario() -> Scene:
        ours = [await actor.begin() for _ in range(3)]
        theirs = [await other.begin() for _ in range(3)]
        pairs = list(zip(ours, theirs, strict=True))
        first = [append(one, 2, change=change(), deliveries=(delivery(two),)) for one, two in pairs]
        second = [append(two, 2, change=change(), deliveries=(delivery(one),)) for one, two in pairs]

        async def check(one: list[Outcome], two: list[Outcome]) -> None:
            assert [*one, *two] == [Outcome.ACCEPTED] * 6

        return (
            store.commit(first, worker=actor.token),
            other.store.commit(second[::-1], worker=other.token),
            check,
        )

    await play(store, scenario)


async def test_a_session_and_a_batch_crosswise_come_through(store: Store, actor: Actor, hire: Hire) -> None:
    """A7: the engine's own statements never make the user's activity lose a deadlock."""
    needs_row_locks(store)
    other = await hire()

    async def scenario() -> Scene:
        mine, theirs = await actor.begin(), await other.begin()

        async def in_session() -> Outcome:
            async with store.services.sessions.begin() as session:
                item = append(mine, 2, change=change(), deliveries=(delivery(theirs),))
                return await session.commit(item, worker=actor.token)

        async def check(first: Outcome, second: Outcome) -> None:
            assert (first, second) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
            sleep = append(theirs, 3, change=change(Status.WAITING, seen=0, release=True))
            assert await other.write(sleep) is Outcome.ACCEPTED
            assert theirs.instance_id in [one.instance_id for one in await other.claim()]
            for actor_, item, seq in ((other, theirs, 4), (actor, mine, 3)):
                await actor_.write(append(item, seq, change=change(Status.FAILED, seen=1)))

        batch = append(theirs, 2, change=change(), deliveries=(delivery(mine),))
        return in_session(), other.write(batch), check

    await play(store, scenario)


async def test_a_purge_and_a_delivery_agree(store: Store, actor: Actor, hire: Hire) -> None:
    other = await hire()

    async def scenario() -> Scene:
        begun = await actor.begin()
        await actor.write(append(begun, 2, change=change(Status.COMPLETED)))
        request = PruneRequest(instance_ids=(begun.instance_id,))

        async def check(removed: int, delivered: list[Delivered]) -> None:
            if not removed:  # a row that the delivery has locked is left for the next call
                removed = await store.services.upkeep.prune(request)
            assert removed == 1
            assert delivered[0] in {Delivered.CLOSED, Delivered.UNKNOWN}
            assert await store.read(begun.instance_id) is None

        purge = store.services.upkeep.prune(request)
        return purge, other.store.deliver([delivery(begun)]), check

    await play(store, scenario)


async def test_a_cancelled_call_leaves_no_lock_behind(store: Store, actor: Actor, hire: Hire) -> None:
    """F8: wherever a call is cancelled, the next one succeeds."""
    other = await hire()
    begun = await actor.begin()
    for number in range(1, 40):
        hold = Hold(number)
        listen(store, hold)
        calling = run(store, store.deliver([delivery(begun)]))
        was_held = await held_at(hold, calling)
        leave(store)
        if not was_held:
            assert number > 1, "the delivery sent nothing"
            assert await calling == [Delivered.ACCEPTED]
            return
        calling.cancel()
        await asyncio.wait({calling})
        hold.go.set()  # what the store sends beside the call goes on, such as a notification of PostgreSQL
        assert await asyncio.wait_for(other.store.deliver([delivery(begun)]), 60) == [Delivered.ACCEPTED]
    raise AssertionError("the delivery sends more than 40 statements")
