"""What the contract says where stores once differed: each difference that the walk has found, decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.records import ClaimRequest, Outcome, PruneRequest, Worker
from romancy.storage.routing import OUTSIDE, Owner, Place, Spread
from romancy_conformance.contract.building import append, change, delivery, nonce, start, step, unique
from romancy_conformance.contract.routing.scenes import copy, posting, take
from romancy_conformance.contract.walking.clock import BEGINNING
from romancy_conformance.contract.walking.walk import Ground

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append, InstanceRow
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio

SECOND = 1_000_000


async def row(store: Store, begun: Append) -> InstanceRow:
    """Return the row of an instance that is there."""
    found = await store.read(begun.instance_id, limit=0)
    assert found is not None
    return found.instance


async def test_a_takeover_is_the_append_that_last_changed_the_row(actor: Actor, hire: Hire) -> None:
    other = await hire()
    begun = await other.begin()
    await other.write(step(begun, 2))

    await actor.take_over(other)

    assert (await row(actor.store, begun)).last_seq == 3


async def test_of_a_dead_worker_the_last_heartbeat_is_told(actor: Actor, hire: Hire) -> None:
    other = await hire()
    await other.begin()
    await other.begin()
    before = await actor.see(other)

    answer = await actor.store.takeover(actor.token, before, b"[]", nonce(), limit=1)
    after = await actor.see(other)

    assert (True, True) == (answer.left, after.dead)
    assert (before.beat, before.beat_at) == (after.beat, after.beat_at)


async def test_a_dead_worker_stays_dead_when_its_row_is_pruned(actor: Actor, hire: Hire) -> None:
    other = await hire()
    await actor.take_over(other)
    await actor.store.services.upkeep.prune(PruneRequest())

    pulse = await other.store.heartbeat(other.worker)

    assert not pulse.alive
    assert other.token not in [peer.token for peer in (await actor.store.services.reading.census()).workers]


async def test_a_dead_worker_gets_none_of_the_mail_that_it_asks_for(actor: Actor) -> None:
    begun = await actor.begin()
    await actor.store.deliver([delivery(begun)])
    await actor.store.leave(actor.worker)

    request = ClaimRequest(
        worker=actor.token, codes=actor.workflows, limit=10, recover=True, known={begun.instance_id: -1}
    )
    work = await actor.store.claim(request)

    assert ([], []) == (work.claimed, work.mail)


async def test_only_the_row_is_read_where_no_rows_are_asked_for(actor: Actor) -> None:
    begun = await actor.begin()

    found = await actor.store.read(begun.instance_id, limit=0)

    assert found is not None
    assert ([], False) == (found.rows, found.more)


async def test_a_taken_id_is_told_before_mail_that_is_missing(actor: Actor) -> None:
    begun, taken = await actor.begin(), await actor.begin()

    item = append(begun, 2, after=begun.writer, consumed=("nothing",), starts=(start(taken.instance_id),))

    assert await actor.write(item) is Outcome.EXISTS


async def test_a_session_counts_no_message_that_was_there_before(actor: Actor) -> None:
    begun, target = await actor.begin(), await actor.begin()
    first = delivery(target, dedupe=unique("key"))
    await actor.store.deliver([first])

    again = delivery(target, dedupe=first.dedupe)
    async with actor.store.services.sessions.begin() as session:
        item = append(begun, 2, after=begun.writer, deliveries=(first, again))
        assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED

    assert (await row(actor.store, target)).signals == 1


async def test_a_message_that_was_posted_again_stays_when_the_first_is_given_back(actor: Actor) -> None:
    begun, address = await actor.begin(), unique("k")
    owner = Owner(begun.instance_id, begun.life)
    router = actor.store.services.router
    message = posting(address)
    await router.register(owner, take(address))
    await router.post([message])
    await router.dispatch([address])
    await router.post([message])
    (posted,) = await router.kept(address=address)

    assert await router.give_back(owner, [message.message_id]) == 1
    assert [posted] == await router.kept(address=address)


# ── with the time of the database ───────────────────────────────────────────────────────────────────────────────


async def hired(ground: Ground) -> Worker:
    """Register a worker."""
    worker = Worker(token=unique("t"), worker_id="worker", lease=30 * SECOND)
    assert (await ground.store.heartbeat(worker)).alive
    return worker


async def test_an_instance_is_left_to_another_code_up_to_the_last_moment(storage_url: str) -> None:
    async with Ground.at(storage_url) as ground:
        await ground.clock.set(BEGINNING)
        worker = await hired(ground)
        begun = start(workflow_name="flow", code="other", delay=SECOND)
        await ground.store.commit([begun])
        request = ClaimRequest(
            worker=worker.token, codes={"flow": "mine"}, limit=1, leave=("other",), grace=30 * SECOND
        )

        await ground.clock.set(BEGINNING + 31 * SECOND - 1)
        assert (await ground.store.claim(request)).claimed == []
        await ground.clock.set(BEGINNING + 31 * SECOND)
        assert [one.instance_id for one in (await ground.store.claim(request)).claimed] == [begun.instance_id]


async def test_an_instance_is_claimed_at_the_moment_when_it_is_due(storage_url: str) -> None:
    async with Ground.at(storage_url) as ground:
        await ground.clock.set(BEGINNING)
        worker = await hired(ground)
        begun = start(workflow_name="flow", delay=SECOND)
        await ground.store.commit([begun])
        request = ClaimRequest(worker=worker.token, codes={"flow": "c1"}, limit=1)

        await ground.clock.set(BEGINNING + SECOND - 1)
        assert (await ground.store.claim(request)).claimed == []
        await ground.clock.set(BEGINNING + SECOND)
        assert [one.instance_id for one in (await ground.store.claim(request)).claimed] == [begun.instance_id]


async def test_a_sweep_counts_no_message_twice(storage_url: str) -> None:
    async with Ground.at(storage_url) as ground:
        store = ground.store
        await ground.clock.set(BEGINNING)
        worker = await hired(ground)
        begun = start(owner=worker.token, status=Status.RUNNING)
        await store.commit([begun])
        await store.deliver([delivery(begun)])
        rests = change(Status.WAITING, seen=1, release=True)
        await store.commit([append(begun, 2, change=rests)], worker=worker.token)

        await ground.clock.set(BEGINNING + 60 * SECOND)
        await store.claim(ClaimRequest(worker=worker.token, codes={}, limit=0, sweep=True))

        found = await row(store, begun)
        assert (1, 1, None) == (found.signals, found.seen, found.wake_at)


async def test_a_message_that_was_given_back_expires_by_its_age(storage_url: str) -> None:
    async with Ground.at(storage_url) as ground:
        router, owner = ground.store.services.router, Owner("screen", OUTSIDE)
        await ground.clock.set(BEGINNING)
        await router.register(owner, take("a"))
        await router.post([posting("a")])
        await router.dispatch(["a"])
        (letter,) = await router.letters("screen")
        await router.give_back(owner, [letter.letter_id])

        await ground.clock.set(BEGINNING + SECOND)
        assert await router.expire(BEGINNING + 1) == 1
        assert await router.kept() == []


async def test_numbers_that_lie_ahead_are_not_forgotten(storage_url: str) -> None:
    """Many copies at once have numbers ahead of the time. Later ones come behind them, also after a clean-up."""
    async with Ground.at(storage_url) as ground:
        router, owner = ground.store.services.router, Owner("screen", OUTSIDE)
        await ground.clock.set(BEGINNING)
        await router.register(owner, copy("a", interest_id="one"))
        await router.post([posting("a", places=(Place("a", Spread.EVERY),)) for _ in range(9)])
        await router.dispatch(["a"])
        await router.unregister(owner, ["one"])

        await ground.clock.set(BEGINNING + 2)
        await router.expire(BEGINNING)
        await router.register(owner, copy("a", interest_id="two"))
        await router.post([posting("a", places=(Place("a", Spread.EVERY),))])
        assert (await router.dispatch(["a"])).delivered == 1

        assert [BEGINNING + number for number in range(10)] == [one.at for one in await router.letters("screen")]
