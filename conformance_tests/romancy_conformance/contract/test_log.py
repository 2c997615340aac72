"""The log: one row per commit, and its key is the fence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy.errors import InternalError
from romancy.status import Status
from romancy.storage.records import Item, Outcome, PruneRequest
from romancy_conformance.contract.building import append, change, created, full_log, start, step, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy_conformance.contract.building import Actor

    Hire = Callable[..., Awaitable[Actor]]

pytestmark = pytest.mark.anyio


async def test_rows_come_back_in_order_as_they_were_written(actor: Actor) -> None:
    begun = await actor.begin(body=b'["first"]')
    for seq in (2, 3, 4):
        assert await actor.write(step(begun, seq, b'["%d"]' % seq)) is Outcome.ACCEPTED

    rows = await full_log(actor.store, begun.instance_id)

    assert [(row.seq, row.body) for row in rows] == [
        (1, b'["first"]'),
        (2, b'["2"]'),
        (3, b'["3"]'),
        (4, b'["4"]'),
    ]
    assert [row.at for row in rows] == sorted(row.at for row in rows)


async def test_a_page_continues_where_the_last_one_ended(actor: Actor) -> None:
    begun = await actor.begin()
    for seq in range(2, 12):
        await actor.write(step(begun, seq))

    first = await actor.store.read(begun.instance_id, limit=4)
    second = await actor.store.read(begun.instance_id, after=4, limit=7)
    none = await actor.store.read(begun.instance_id, after=11)

    assert first is not None
    assert second is not None
    assert none is not None
    assert ([row.seq for row in first.rows], first.more) == ([1, 2, 3, 4], True)
    assert ([row.seq for row in second.rows], second.more) == (list(range(5, 12)), False)
    assert (none.rows, none.more) == ([], False)


async def test_reading_nothing_of_the_log_still_gives_the_instance(actor: Actor) -> None:
    begun = await actor.begin()

    history = await actor.store.read(begun.instance_id, limit=0)

    assert history is not None
    assert (history.instance.life, history.rows) == (begun.life, [])
    assert await actor.store.read(unique("nobody")) is None


async def test_a_taken_seq_is_refused_and_changes_nothing(actor: Actor, hire: Hire) -> None:
    begun = await actor.begin()
    rival = await hire()
    assert await rival.write(step(begun, 2, b'["rival"]')) is Outcome.ACCEPTED

    refused = append(begun, 2, b'["mine"]', change=change(Status.COMPLETED))

    assert await actor.write(refused) is Outcome.TAKEN
    rows = await full_log(actor.store, begun.instance_id)
    assert [row.body for row in rows][1:] == [b'["rival"]']
    history = await actor.store.read(begun.instance_id, limit=0)
    assert history is not None
    assert history.instance.status is Status.RUNNING


async def test_the_same_append_sent_again_is_accepted_once(actor: Actor) -> None:
    begun = await actor.begin()
    plain = step(begun, 2, b'["once"]')
    final = append(begun, 3, b'["end"]', change=change(Status.COMPLETED))

    for item in (plain, plain, final, final, plain):
        assert await actor.write(item) is Outcome.ACCEPTED

    rows = await full_log(actor.store, begun.instance_id)
    assert [row.body for row in rows][1:] == [b'["once"]', b'["end"]']


async def test_the_same_place_with_another_nonce_is_another_append(actor: Actor) -> None:
    begun = await actor.begin()
    first = step(begun, 2, b'["a"]')
    assert await actor.write(first) is Outcome.ACCEPTED

    assert await actor.write(replace(first, writer=unique("w"))) is Outcome.TAKEN


async def test_a_dead_worker_cannot_write(actor: Actor, hire: Hire) -> None:
    begun = await actor.begin()
    other = await hire()
    await other.take_over(actor)

    plain = step(begun, 3)
    with_change = append(begun, 3, change=change(Status.COMPLETED))

    assert await actor.write(plain) is Outcome.DEAD
    assert await actor.write(with_change) is Outcome.DEAD
    assert len(await full_log(other.store, begun.instance_id)) == 2


async def test_a_dead_worker_cannot_write_a_batch(actor: Actor, hire: Hire) -> None:
    """A4, A6: one check of the worker's row covers all rows of a batch, the last as well as the first."""
    begun = [await actor.begin() for _ in range(5)]
    other = await hire()
    await other.take_over(actor)

    for changed in (0, 3):
        items = [append(one, 3, change=change() if number < changed else None) for number, one in enumerate(begun)]

        assert await actor.store.commit(items, worker=actor.token) == [Outcome.DEAD] * 5
        assert [len(await full_log(other.store, one.instance_id)) for one in begun] == [2] * 5


async def test_a_worker_without_a_row_cannot_write(actor: Actor) -> None:
    begun = await actor.begin()

    (outcome,) = await actor.store.commit([step(begun, 2)], worker=unique("stranger"))

    assert outcome is Outcome.DEAD
    assert len(await full_log(actor.store, begun.instance_id)) == 1


async def test_thaw_after_purge_and_reuse_of_the_id(actor: Actor, hire: Hire) -> None:
    """A4: neither the old life nor the new one accepts an append of a worker that was declared dead."""
    begun = await actor.begin()
    other = await hire()
    await other.take_over(actor)
    (claimed,) = await other.claim()
    await other.write(append(claimed, claimed.head + 1, change=change(Status.CANCELLED)))
    await _purge(other.store, begun.instance_id)
    reborn = await other.begin(begun.instance_id)

    for target in (begun, reborn):
        for seq in (2, 3, 4, 5):
            assert await actor.write(step(target, seq)) is Outcome.DEAD

    assert [row.seq for row in await full_log(other.store, begun.instance_id)] == [1]


async def test_a_late_copy_for_a_former_life_never_reaches_the_new_one(actor: Actor) -> None:
    """The writer is alive, but the id was purged and used again after it sent the append."""
    begun = await actor.begin()
    await actor.write(append(begun, 2, change=change(Status.COMPLETED)))
    await _purge(actor.store, begun.instance_id)
    reborn = await actor.begin(begun.instance_id)

    late = append(begun, 2, b'["late"]', change=change(Status.FAILED))

    assert await actor.write(late) is Outcome.GONE
    assert [row.body for row in await full_log(actor.store, begun.instance_id)] == [reborn.body]


async def test_a_refused_item_leaves_its_neighbours_untouched(actor: Actor) -> None:
    begun = [await actor.begin() for _ in range(5)]
    await actor.write(step(begun[1], 2, b'["taken"]'))
    batch: list[Item] = [
        step(begun[0], 2, b'["0"]'),
        step(begun[1], 2, b'["1"]'),
        append(begun[2], 2, b'["2"]', change=change(Status.WAITING, release=True)),
        append(begun[3], 2, b'["3"]', change=change(Status.COMPLETED, seen=7)),
        append(begun[4], 2, b'["4"]', consumed=("nothing-there",), change=change()),
    ]

    outcomes = await actor.store.commit(batch, worker=actor.token)

    assert outcomes == [Outcome.ACCEPTED, Outcome.TAKEN, Outcome.ACCEPTED, Outcome.UNSEEN, Outcome.GONE]
    lengths = [len(await full_log(actor.store, item.instance_id)) for item in begun]
    assert lengths == [2, 2, 2, 1, 1]


async def test_a_batch_of_many_instances_is_answered_item_by_item(actor: Actor) -> None:
    begun = [await actor.begin() for _ in range(60)]
    for item in begun[::3]:
        await actor.write(step(item, 2))

    outcomes = await actor.store.commit([step(item, 2) for item in begun], worker=actor.token)

    expected = [Outcome.TAKEN if number % 3 == 0 else Outcome.ACCEPTED for number in range(60)]
    assert outcomes == expected


async def test_two_appends_of_one_instance_in_a_batch_are_misuse(actor: Actor) -> None:
    """A1: the store could accept the second although it refused the first."""
    begun = await actor.begin()

    with pytest.raises(InternalError, match="twice in one batch"):
        await actor.store.commit([step(begun, 2), step(begun, 3)], worker=actor.token)

    assert len(await full_log(actor.store, begun.instance_id)) == 1


async def test_an_empty_batch_is_nothing(store: Store) -> None:
    assert await store.commit([]) == []


async def test_ids_differ_byte_for_byte(actor: Actor) -> None:
    base = unique()
    ids = [base + tail for tail in ("", "k", "k ", "K", "é", "e", "e\u0301", "ß", "ss", "\u200b", "😀", " ", "%", "_")]
    begun = [await actor.begin(instance_id, body=b'["%d"]' % number) for number, instance_id in enumerate(ids)]

    for number, item in enumerate(begun):
        history = await actor.store.read(item.instance_id)
        assert history is not None
        assert history.instance.instance_id == ids[number]
        assert [row.body for row in history.rows] == [b'["%d"]' % number]


async def test_starting_a_taken_id_is_refused(actor: Actor) -> None:
    begun = await actor.begin()

    again = start(begun.instance_id, workflow_name=created(begun).workflow_name)

    assert await actor.write(again) is Outcome.EXISTS
    assert await actor.write(begun) is Outcome.ACCEPTED
    (row,) = await full_log(actor.store, begun.instance_id)
    assert row.writer == begun.writer


async def test_children_start_with_the_append_that_decided_them_or_not_at_all(actor: Actor) -> None:
    parent = await actor.begin()
    taken = await actor.begin()
    fresh, other = start(), start()

    both = append(parent, 2, starts=(fresh, start(taken.instance_id)), change=change())
    assert await actor.write(both) is Outcome.EXISTS
    assert await actor.store.read(fresh.instance_id) is None
    assert len(await full_log(actor.store, parent.instance_id)) == 1

    assert await actor.write(append(parent, 2, starts=(fresh, other), change=change())) is Outcome.ACCEPTED
    history = await actor.store.read(fresh.instance_id)
    assert history is not None
    assert (history.instance.status, len(history.rows)) == (Status.PENDING, 1)


async def _purge(store: Store, instance_id: str) -> None:
    assert await store.services.upkeep.prune(PruneRequest(instance_ids=(instance_id,))) == 1
