"""Everything that an append can carry, at once: it is all there if the append is accepted, and else nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.status import Status
from romancy.storage.query import build_query, index_value, project
from romancy.storage.records import OutboxRow, Outcome
from romancy_conformance.contract.building import append, change, delivery, full_log, start, step, unique
from romancy_conformance.contract.fire.contention import needs_row_locks
from romancy_conformance.contract.interleaving import play
from romancy_conformance.contract.routing.scenes import posting, take

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]
    Scene = tuple[Awaitable[Any], Awaitable[Any], Callable[[Any, Any], Awaitable[None]]]

pytestmark = pytest.mark.anyio

ALL = {"log", "outbox", "mail", "child", "interest", "message", "new run", "index"}


def carrying(one: Append, receiver: Append | None, **fields: Any) -> Append:
    """An append with one row of every kind."""
    given: dict[str, Any] = {
        "change": change(run_from=2, **searchable(one.instance_id)),
        "outbox": (OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}"),),
        "deliveries": () if receiver is None else (delivery(receiver),),
        "starts": (start(),),
        "interests": (take(f"wanted/{one.instance_id}"),),
        "postings": (posting(f"kept/{one.instance_id}"),),
    }
    return append(one, 2, **(given | fields))


def searchable(value: str) -> dict[str, Any]:
    """An input, as what queries see of it."""
    raw = b'{"n":"%b"}' % value.encode()
    return {"input": raw, "projection": project(raw), "index": (("n", index_value(raw, "n")),)}


async def there(store: Store, item: Append) -> set[str]:
    """Return what is in the database of what an append carries."""
    log = await full_log(store, item.instance_id)
    outbox = {row.outbox_id for row in await store.services.outbox.read(1000)}
    messages = await store.services.router.kept(address=f"kept/{item.instance_id}")
    history = await store.read(item.instance_id)
    assert history is not None
    child = await store.read(item.starts[0].instance_id)
    found = await store.services.reading.find(build_query({"n": item.instance_id}))
    return {
        *(["log"] if item.writer in {row.writer for row in log} else []),
        *(["outbox"] if item.outbox[0].outbox_id in outbox else []),
        *(["mail"] if item.deliveries and await signals(store, item.deliveries[0].instance_id) else []),
        *(["child"] if child is not None and child.rows[0].writer == item.starts[0].writer else []),
        *(["interest"] if await store.services.router.interests(f"wanted/{item.instance_id}") else []),
        *(["message"] if messages else []),
        *(["new run"] if history.instance.run_from > 1 else []),
        *(["index"] if item.instance_id in {row.instance_id for row in found.rows} else []),
    }


async def signals(store: Store, instance_id: str) -> int:
    history = await store.read(instance_id, limit=0)
    return 0 if history is None else history.instance.signals


async def owned(actor: Actor, count: int) -> list[Append]:
    return [await actor.begin(**searchable("first")) for _ in range(count)]


async def test_of_a_batch_only_what_the_accepted_carry_is_there(actor: Actor, store: Store) -> None:
    appending, receivers = await owned(actor, 3), await owned(actor, 3)
    assert await actor.write(step(appending[1], 2)) is Outcome.ACCEPTED
    items = [carrying(one, to) for one, to in zip(appending, receivers, strict=True)]

    outcomes = await store.commit(items, worker=actor.token)

    assert outcomes == [Outcome.ACCEPTED, Outcome.TAKEN, Outcome.ACCEPTED]
    assert [await there(store, item) for item in items] == [ALL, set(), ALL]
    assert outcomes == await store.commit(items, worker=actor.token), "sent again, they are recognised"
    assert [await signals(store, to.instance_id) for to in receivers] == [1, 0, 1]


async def test_an_append_that_carries_everything_by_itself(actor: Actor, store: Store) -> None:
    one, another, receiver = await owned(actor, 3)
    alone, in_session = carrying(one, receiver), carrying(another, receiver)

    assert await actor.write(alone) is Outcome.ACCEPTED
    async with store.services.sessions.begin() as session:
        assert await session.commit(in_session, worker=actor.token) is Outcome.ACCEPTED

    assert [await there(store, item) for item in (alone, in_session)] == [ALL, ALL]


@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
async def test_a_dead_worker_writes_nothing_of_what_it_carries(
    actor: Actor, store: Store, hire: Hire, *, together: bool
) -> None:
    """Its appends would be the next of their logs: that it is dead is the only reason to refuse them."""
    dead = await hire()
    receiver = await actor.begin()
    items = [carrying(await dead.begin(), receiver, after=None) for _ in range(2 if together else 1)]
    await store.leave(dead.worker)

    assert [Outcome.DEAD] * len(items) == await store.commit(items, worker=dead.token)

    for item in items:
        assert await there(store, item) == set()


async def test_a_child_whose_id_is_taken_refuses_its_append_alone(actor: Actor, store: Store) -> None:
    appending, receivers = await owned(actor, 3), await owned(actor, 3)
    taken = await actor.begin()
    items = [carrying(one, to) for one, to in zip(appending, receivers, strict=True)]
    items[1] = carrying(appending[1], receivers[1], starts=(start(), start(taken.instance_id)))

    async with store.services.sessions.begin() as session:
        assert await session.commit(items[1], worker=actor.token) is Outcome.EXISTS
    assert await there(store, items[1]) == set()
    outcomes = await store.commit(items, worker=actor.token)
    assert outcomes == [Outcome.ACCEPTED, Outcome.EXISTS, Outcome.ACCEPTED]
    assert [await there(store, item) for item in items] == [ALL, set(), ALL]
    assert len(await full_log(store, taken.instance_id)) == 1


async def test_a_child_and_a_start_at_the_same_time(store: Store, actor: Actor, hire: Hire) -> None:
    """One of them creates the instance. If that is not the parent, nothing that it carries is there."""
    needs_row_locks(store)
    other = await hire()

    async def scenario() -> Scene:
        (parent, neighbour) = await owned(actor, 2)
        rival = start()
        items = [carrying(parent, None, starts=(start(rival.instance_id),)), carrying(neighbour, None)]

        async def check(outcome: Outcome, outcomes: list[Outcome]) -> None:
            assert (outcome, outcomes) in [
                (Outcome.ACCEPTED, [Outcome.EXISTS, Outcome.ACCEPTED]),
                (Outcome.EXISTS, [Outcome.ACCEPTED] * 2),
            ]
            assert await there(store, items[1]) == ALL - {"mail"}
            assert await there(store, items[0]) == (set() if outcome is Outcome.ACCEPTED else ALL - {"mail"})

        async def begin() -> Outcome:
            async with store.services.sessions.begin() as session:
                return await session.commit(rival)

        return begin(), settled(other.store, items, actor), check

    await play(store, scenario)


@pytest.mark.parametrize("first", ["end", "appends"])
async def test_a_message_and_the_end_of_its_receiver_at_the_same_time(
    store: Store, actor: Actor, hire: Hire, first: str
) -> None:
    """B8: the end sees the message or is refused; a message behind the end is left out, and its append is not."""
    needs_row_locks(store)
    other = await hire()

    async def scenario() -> Scene:
        (sender, receiver) = await owned(actor, 2)
        items = [carrying(sender, receiver)]
        last = append(receiver, 2, change=change(Status.COMPLETED))

        async def check(one: Any, another: Any) -> None:
            (outcome, outcomes) = (one, another) if first == "end" else (another, one)
            assert outcomes == [Outcome.ACCEPTED]
            assert outcome in (Outcome.ACCEPTED, Outcome.UNSEEN)
            arrived = outcome is Outcome.UNSEEN
            assert await signals(store, receiver.instance_id) == arrived
            assert await there(store, items[0]) == (ALL if arrived else ALL - {"mail"})

        async def end(by: Store) -> Outcome:
            async with by.services.sessions.begin() as session:
                return await session.commit(last, worker=actor.token)

        if first == "end":
            return end(store), settled(other.store, items, actor), check
        return settled(store, items, actor), end(other.store), check

    await play(store, scenario)


async def settled(store: Store, items: list[Append], actor: Actor) -> list[Outcome]:
    """Commit the items, and those again that another transaction holds up."""
    outcomes = dict(zip(items, await store.commit(items, worker=actor.token), strict=True))
    while held := [item for item in items if outcomes[item] is Outcome.LOCKED]:
        outcomes[held[0]] = (await store.commit(held[:1], worker=actor.token))[0]
    return list(outcomes.values())


async def test_a_message_to_an_instance_of_the_same_batch(actor: Actor, store: Store) -> None:
    """To a child that the append starts, to itself, and to another append's instance that goes to sleep."""
    (parent, itself, sender, sleeper) = await owned(actor, 4)
    child = start()
    items = [
        carrying(parent, None, starts=(child,), deliveries=(delivery(child),)),
        carrying(itself, itself),
        carrying(sender, sleeper),
        carrying(sleeper, None, change=change(Status.WAITING, release=True)),
    ]

    assert [Outcome.ACCEPTED] * 4 == await store.commit(items, worker=actor.token)

    for receiver in (child, itself, sleeper):
        assert await signals(store, receiver.instance_id) == 1
    assert sleeper.instance_id in {one.instance_id for one in await actor.claim()}


async def test_one_message_for_several_appends_is_there_once(actor: Actor, store: Store) -> None:
    """Two appends of a batch send the same event: its key counts once, in an inbox and at an address."""
    (one, another, receiver) = await owned(actor, 3)
    key, address = unique("key"), unique("place")
    items = [
        carrying(
            sender,
            None,
            deliveries=(delivery(receiver, dedupe=key),),
            postings=(posting(address, dedupe=f"{key}/posted"),),
        )
        for sender in (one, another)
    ]

    assert [Outcome.ACCEPTED] * 2 == await store.commit(items, worker=actor.token)

    assert await signals(store, receiver.instance_id) == 1
    assert len(await store.services.router.kept(address=address)) == 1


@pytest.mark.parametrize("way", ["batch", "session"])
async def test_what_one_commit_publishes_has_one_time(actor: Actor, way: str) -> None:
    """So relays send it in the order of its ids, however the append names it. Servers plan by the number of rows."""
    store, begun = actor.store, await actor.begin()
    for seq in range(2, 10):
        rows = sorted((OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}", key="k") for _ in range(2)), key=by_id)
        item = append(begun, seq, outbox=tuple(reversed(rows)))
        if way == "batch":
            assert await actor.write(item) is Outcome.ACCEPTED
            continue
        async with store.services.sessions.begin() as session:
            assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED

    assert len({entry.at for entry in await store.services.outbox.entries(limit=1000)}) == 8


def by_id(row: OutboxRow) -> str:
    return row.outbox_id
