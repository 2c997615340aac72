"""What is left of instances whose rows were lost is read, and only a row that is still missing is made again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy.status import Status
from romancy.storage.journal import KeptLine
from romancy.storage.lookups import Lying
from romancy.storage.outbox import OutboxRow
from romancy.storage.query import project_with_index
from romancy.storage.rebuilding import Brought, Rebuilt
from romancy.storage.records import InboxRow, InstanceRow, LogRow, Outcome
from romancy_conformance.contract.building import append, change, delivery, lookups_of, start, step, unique

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy.storage.protocol import Store
    from romancy.storage.records import Append
    from romancy_conformance.contract.building import Actor

pytestmark = pytest.mark.anyio


async def row_of(store: Store, instance_id: str) -> InstanceRow:
    history = await store.read(instance_id, limit=0)
    assert history is not None
    return history.instance


async def lose(store: Store, *instance_ids: str) -> None:
    """Remove rows of instances, and leave their logs and mail."""
    if not store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    sql = f"delete from romancy_instances where instance_id = {store.capabilities.placeholder}"  # noqa: S608 - a placeholder
    async with store.services.sessions.begin() as session:
        for instance_id in instance_ids:
            assert await session.execute(sql, instance_id) == 1
        assert await session.commit(start()) is Outcome.ACCEPTED


async def lost(actor: Actor) -> tuple[Append, Rebuilt]:
    """An instance of two rows that has lost its own, and what makes it again."""
    begun = await actor.begin()
    assert await actor.write(append(begun, 2, change=change(Status.WAITING))) is Outcome.ACCEPTED
    row = await row_of(actor.store, begun.instance_id)
    await lose(actor.store, begun.instance_id)
    return begun, Rebuilt(row=row, lost=True, projection=None, index=())


async def test_what_has_a_log_is_read_in_the_order_of_ids_and_in_pages(actor: Actor, store: Store) -> None:
    begun = [await actor.begin(f"{name}-instance") for name in ("c", "a", "d", "b", "e")]
    await lose(store, "b-instance")

    first = await store.services.rebuilding.stored(after="", limit=3)
    rest = await store.services.rebuilding.stored(after=first[-1].instance_id, limit=3)

    lives = {one.instance_id: one.life for one in begun}
    assert [one.instance_id for one in first] == [f"{name}-instance" for name in "abc"]
    assert [one.instance_id for one in rest[:2]] == [f"{name}-instance" for name in "de"]
    assert {one.instance_id: one.life for one in (*first, *rest[:2])} == lives
    assert [one.row is None for one in first] == [False, True, False]


async def test_of_an_id_without_a_row_it_is_the_life_that_was_written_last(actor: Actor, store: Store) -> None:
    old = await actor.begin(life=5)
    assert await actor.write(step(old, 2)) is Outcome.ACCEPTED
    await lose(store, old.instance_id)
    new = await actor.begin(old.instance_id, life=9)
    await lose(store, old.instance_id)

    found = next(one for one in await store.services.rebuilding.stored(after="", limit=9) if one.life in (5, 9))
    assert (found.instance_id, found.life, found.row) == (new.instance_id, 9, None)


async def test_a_log_without_a_row_is_read_in_pages(actor: Actor, store: Store) -> None:
    begun, _ = await lost(actor)

    pages = [
        await store.services.rebuilding.log(begun.instance_id, begun.life, after=after, limit=1) for after in (0, 1, 2)
    ]

    assert [[row.seq for row in page] for page in pages] == [[1], [2], []]


async def test_a_log_without_a_row_is_that_of_its_own_life_alone(actor: Actor, store: Store) -> None:
    """Other instances have lives of the same number, and the id had a life before."""
    former = await actor.begin()
    assert await actor.write(step(former, 2, b'"former"')) is Outcome.ACCEPTED
    await lose(store, former.instance_id)
    begun = await actor.begin(former.instance_id)
    twin = await actor.begin(life=begun.life)
    for one in (twin, begun):
        assert await actor.write(step(one, 2, one.instance_id.encode())) is Outcome.ACCEPTED
    await lose(store, begun.instance_id)

    rows = await store.services.rebuilding.log(begun.instance_id, begun.life, after=0, limit=10)

    assert [(row.seq, row.body) for row in rows] == [(1, begun.body), (2, begun.instance_id.encode())]


async def test_a_lost_row_is_made_again_once_and_counts_its_mail(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    others = await actor.begin()
    for one in (begun, begun, others, others, others):
        assert await store.deliver([delivery(one)]) == ["accepted"]
    row = await row_of(store, begun.instance_id)
    await lose(store, begun.instance_id)
    made = Rebuilt(row=row, lost=True, projection=None, index=())

    assert await store.services.rebuilding.rebuild([made]) == 1
    again = await row_of(store, begun.instance_id)
    assert await store.services.rebuilding.rebuild([replace(made, row=replace(row, code="c2"))]) == 0

    assert (again.life, again.last_seq, again.created_at, again.signals) == (row.life, 1, row.created_at, 2)
    assert (again.seen, again.owner) == (0, None)
    assert (await row_of(store, begun.instance_id)).code == again.code
    assert [one.instance_id for one in await actor.claim()] == [begun.instance_id]


async def test_an_instance_that_had_ended_has_read_its_mail_and_is_not_due(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    assert await store.deliver([delivery(begun)]) == ["accepted"]
    row = await row_of(store, begun.instance_id)
    await lose(store, begun.instance_id)
    ended = replace(row, status=Status.COMPLETED)

    assert await store.services.rebuilding.rebuild([Rebuilt(row=ended, lost=True, projection=None, index=())]) == 1

    again = await row_of(store, begun.instance_id)
    assert (again.status, again.signals, again.seen, again.wake_at) == (Status.COMPLETED, 1, 1, None)
    assert await actor.claim() == []


async def test_a_row_is_left_out_if_its_log_is_not_as_it_was_read(actor: Actor, store: Store) -> None:
    """Another instance has the same life, and a log that would do."""
    begun, made = await lost(actor)
    other = await actor.begin(life=begun.life)
    for seq in (2, 3):
        assert await actor.write(step(other, seq)) is Outcome.ACCEPTED

    for wrong in ({"last_seq": 1}, {"last_seq": 3}, {"life": begun.life + 1}):
        assert await store.services.rebuilding.rebuild([replace(made, row=replace(made.row, **wrong))]) == 0
    assert await store.read(begun.instance_id) is None

    assert await store.services.rebuilding.rebuild([made]) == 1


async def test_a_longer_log_of_a_former_life_does_not_matter(actor: Actor, store: Store) -> None:
    old = await actor.begin(life=5)
    for seq in (2, 3):
        assert await actor.write(step(old, seq)) is Outcome.ACCEPTED
    await lose(store, old.instance_id)
    await actor.begin(old.instance_id, life=9)
    row = await row_of(store, old.instance_id)
    await lose(store, old.instance_id)

    assert await store.services.rebuilding.rebuild([Rebuilt(row=row, lost=True, projection=None, index=())]) == 1
    assert (await row_of(store, old.instance_id)).last_seq == 1


async def test_a_set_of_paths_is_known_of_its_workflow_alone(
    store: Store, open_store: Callable[[], Awaitable[Store]]
) -> None:
    """The set of a workflow is gone: neither the same set of another one, nor another set of it, stands for it."""
    if not store.capabilities.sql:
        pytest.skip("capability: no SQL in sessions")
    names = (unique("flow"), unique("flow"))

    def searchable(name: str, *paths: str) -> Append:
        projection, index = project_with_index(b'{"v":1,"w":2}', paths)
        return start(workflow_name=name, projection=projection, index=index, delay=10**12)

    items = [searchable(name, *paths) for name in names for paths in (("v",), ("v", "w"))]
    assert {Outcome.ACCEPTED} == set(await store.commit(items))

    async def recorded() -> list[bool]:
        found = {one.instance_id: one.recorded for one in await store.services.rebuilding.stored(after="", limit=9)}
        return [found[item.instance_id] for item in items]

    assert [True] * 4 == await recorded()
    sql = f"delete from romancy_index_sets where workflow_name = {store.capabilities.placeholder}"  # noqa: S608
    async with store.services.sessions.begin() as session:
        assert await session.execute(sql, names[0]) == 2
        assert await session.commit(start()) is Outcome.ACCEPTED
    assert [False, False, True, True] == await recorded()

    assert [Outcome.ACCEPTED] == await (await open_store()).commit([searchable(names[0], "v", "w")])
    assert [False, True, True, True] == await recorded()


@pytest.mark.parametrize("how", ["alone", "sending"])
async def test_a_run_that_continues_with_other_paths_makes_them_known(
    actor: Actor, store: Store, workflow_name: str, how: str
) -> None:
    """Whatever other sets are known: of its workflow, and the same one of another."""
    other = unique("flow")
    wide, narrow = (project_with_index(b'{"v":1,"w":2}', paths) for paths in (("v", "w"), ("v",)))
    elsewhere = start(workflow_name=other, projection=wide[0], index=wide[1], delay=10**12)
    assert await store.commit([elsewhere]) == [Outcome.ACCEPTED]
    begun = await actor.begin(projection=narrow[0], index=narrow[1])
    outbox = (OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}", instance_id=begun.instance_id),)

    again = change(run_from=2, input=b"{}", projection=wide[0], index=wide[1])
    item = append(begun, 2, change=again, outbox=outbox if how == "sending" else ())
    assert await actor.write(item) is Outcome.ACCEPTED

    found = {one.instance_id: one for one in await store.services.rebuilding.stored(after="", limit=9)}
    assert found[begun.instance_id].recorded


@pytest.mark.parametrize("how", ["alone", "sending"])
async def test_a_run_that_is_refused_leaves_what_is_found_of_the_last_one(
    actor: Actor, store: Store, workflow_name: str, how: str
) -> None:
    """Its place in the log is taken; another run of the same batch continues."""
    projection, index = project_with_index(b'{"v":1}', ("v",))
    refused, other = [await actor.begin(projection=projection, index=index) for _ in range(2)]
    assert await actor.write(step(refused, 2)) is Outcome.ACCEPTED
    new = project_with_index(b'{"v":2}', ("v",))
    items = [
        append(
            one, 2, after=one.writer, change=change(run_from=2, input=b"{}", projection=new[0], index=new[1]),
            outbox=(OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}"),) if how == "sending" else (),
        )
        for one in (refused, other)
    ]  # fmt: skip

    assert await store.commit(items, worker=actor.token) == [Outcome.TAKEN, Outcome.ACCEPTED]

    found = {one.instance_id: one for one in await store.services.rebuilding.stored(after="", limit=9)}
    entries = [[entry[:2] for entry in found[one.instance_id].entries] for one in (refused, other)]
    assert entries == [list(index), list(new[1])]


async def test_a_row_of_another_life_or_run_is_left_out(actor: Actor, store: Store) -> None:
    begun = await actor.begin()
    await actor.begin(life=begun.life + 1)
    row = await row_of(store, begun.instance_id)

    for wrong in (replace(row, life=begun.life + 1), replace(row, run_from=2), replace(row, instance_id="nobody")):
        assert await store.services.rebuilding.rebuild([Rebuilt(row=wrong, projection=None, index=())]) == 0
    assert await store.services.rebuilding.rebuild([Rebuilt(row=row, projection=b'{"a":"s:1"}', index=())]) == 1


def from_elsewhere(workflow_name: str, status: Status = Status.WAITING) -> InstanceRow:
    """The row of an instance whose log of three rows is brought in."""
    return InstanceRow(
        instance_id=unique("brought"), life=77, workflow_name=workflow_name, status=status, code="c1", created_at=5,
        updated_at=9, input=b"{}", last_seq=3,
    )  # fmt: skip


def rows_of(*numbers: int) -> tuple[LogRow, ...]:
    return tuple(LogRow(number, f"elsewhere.{number}", b"\xff%d" % number, 4 + number) for number in numbers)


async def test_a_log_that_is_brought_in_is_no_instance_before_its_row(store: Store, workflow_name: str) -> None:
    """It is brought in twice, and the row comes with what was missing."""
    row = from_elsewhere(workflow_name)
    rebuilding = store.services.rebuilding
    part = Brought(instance_id=row.instance_id, life=row.life, log=rows_of(1, 3))

    await rebuilding.bring([part])
    await rebuilding.bring([part])
    await rebuilding.bring([])

    assert await store.read(row.instance_id) is None
    assert await rebuilding.log(row.instance_id, row.life, after=0, limit=9) == list(rows_of(1, 3))
    made = Rebuilt(row=row, lost=True, projection=None, index=(), brought=replace(part, log=rows_of(2, 3)))
    assert await rebuilding.rebuild([made]) == 1
    assert await rebuilding.rebuild([made]) == 0
    found = await store.read(row.instance_id)
    assert found is not None
    assert found.rows == list(rows_of(1, 2, 3))
    assert (found.instance.created_at, found.instance.updated_at) == (5, 9)


@pytest.mark.parametrize("rests", [True, False])
async def test_one_that_rests_is_due_when_something_is_delivered(
    actor: Actor, store: Store, workflow_name: str, *, rests: bool
) -> None:
    row = from_elsewhere(workflow_name)
    brought = Brought(instance_id=row.instance_id, life=row.life, log=rows_of(1, 2, 3))
    made = Rebuilt(row=row, lost=True, projection=None, index=(), brought=brought, rests=rests)
    assert await store.services.rebuilding.rebuild([made]) == 1

    assert ((await row_of(store, row.instance_id)).wake_at is None) is rests
    assert [one.instance_id for one in await actor.claim()] == [row.instance_id] * (not rests)


async def test_it_is_due_at_its_time(store: Store, workflow_name: str) -> None:
    row = replace(from_elsewhere(workflow_name), wake_at=2**52)
    brought = Brought(instance_id=row.instance_id, life=row.life, log=rows_of(1, 2, 3))
    assert await store.services.rebuilding.rebuild(
        [Rebuilt(row=row, lost=True, projection=None, index=(), brought=brought)]
    ) == 1  # fmt: skip

    assert (await row_of(store, row.instance_id)).wake_at == 2**52


async def test_mail_comes_with_the_row_and_is_unread(actor: Actor, store: Store, workflow_name: str) -> None:
    """Also a message that was taken, with what it needs to go back."""
    row = from_elsewhere(workflow_name)
    name = row.instance_id
    mail = (
        Lying(name, InboxRow("b", b"\xfe", 6)),
        Lying(name, InboxRow("c", b"taken", 7, "e/there", "wait:1", 3), "one", b'{"a":"n:1"}'),
    )
    brought = Brought(instance_id=name, life=row.life, log=rows_of(1, 2, 3))
    made = Rebuilt(row=row, lost=True, projection=None, index=(), brought=brought, mail=mail)

    assert await store.services.rebuilding.rebuild([made]) == 1

    there = await row_of(store, name)
    assert (there.signals, there.seen) == (2, 0)
    assert await lookups_of(store).lying(name, after=(name, "")) == list(mail)
    assert [one.instance_id for one in await actor.claim()] == [name]


async def test_mail_is_not_put_into_the_inbox_of_another(actor: Actor, store: Store, workflow_name: str) -> None:
    """The id has an instance of another life."""
    begun = await actor.begin()
    row = replace(from_elsewhere(workflow_name), instance_id=begun.instance_id)
    brought = Brought(instance_id=row.instance_id, life=row.life, log=rows_of(1, 2, 3))
    mail = (Lying(row.instance_id, InboxRow("b", b"x", 6)),)

    assert await store.services.rebuilding.rebuild(
        [Rebuilt(row=row, lost=True, projection=None, index=(), brought=brought, mail=mail)]
    ) == 0  # fmt: skip

    assert await lookups_of(store).lying(row.instance_id, after=(row.instance_id, "")) == []
    assert (await row_of(store, row.instance_id)).life == begun.life


async def test_lines_beside_the_log_keep_their_numbers(store: Store, workflow_name: str) -> None:
    row = from_elsewhere(workflow_name)
    logged = (KeptLine(row.life, 4, "a", 1, b"\xfd"), KeptLine(row.life, 6, "b", 2, b"y"))
    streamed = (KeptLine(row.life, 1, "w-1", 1, b"one"), KeptLine(row.life, 4, "w-2", 2, b"two"))
    brought = Brought(
        instance_id=row.instance_id, life=row.life, log=rows_of(1, 2, 3), logged=logged, streamed=streamed
    )

    await store.services.rebuilding.bring([brought])
    made = Rebuilt(row=row, lost=True, projection=None, index=(), brought=brought)
    assert await store.services.rebuilding.rebuild([made]) == 1

    journal = store.services.journal
    assert await journal.lines(row.instance_id) == list(logged)
    assert await journal.written(row.instance_id, row.life) == list(streamed)
