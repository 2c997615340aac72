"""Locks and refused values: a lock of one transaction or a fault of one item affects no other item."""

from __future__ import annotations

import asyncio
import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageUnavailableError
from romancy.status import Status
from romancy.storage.records import Delivered, Former, Outcome, PruneRequest
from romancy_conformance.contract.building import append, change, delivery, full_log, start, step
from romancy_conformance.contract.interleaving import leave, listen
from romancy_mysql._effects import StepLog, Write
from romancy_mysql._errors import LockWaitError, MismatchError

if TYPE_CHECKING:
    from romancy.storage.records import Item
    from romancy_conformance.contract.building import Actor
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

pytestmark = pytest.mark.anyio

_LOCK = b"select 1 from romancy_instances where instance_id = '%b' for update"
both = pytest.mark.backends("mysql", "mariadb")


def test_no_statement_ignores_errors() -> None:
    """A6: INSERT IGNORE would truncate a value that is too long and count it as written."""
    folder = files("romancy_mysql")
    parts = [*folder.iterdir(), *(folder / "migrations").iterdir()]
    texts = [file.read_text() for file in parts if file.name.endswith(".sql")]
    code = "\n".join(re.sub(r"--.*", "", text) for text in texts)

    assert re.findall(r"(?i)\b(?:insert|update|delete)\s+ignore|\breplace\s+into", code) == []


@both
@pytest.mark.parametrize("rows", [1, 3])
async def test_a_dead_worker_is_refused_by_the_statement_that_writes(
    store: MySQLStore, actor: Actor, wire: Wire, rows: int
) -> None:
    """A4: with the check in Python switched off, the statement alone must refuse."""
    begun = [await actor.begin() for _ in range(rows)]
    await store.leave(actor.worker)
    items = [step(one, 2) for one in begun]
    write = Write(store.database.__getitem__, worker=actor.token)
    for item in items:
        write.add(item)

    for statement in (StepLog(store.database.__getitem__).statement(items, actor.token), write.statements()[0]):
        try:
            (answer,) = await wire.run(statement.sql, "test")
        except MismatchError:
            continue
        assert (rows, answer.affected) == (1, 0)
    log = StepLog(store.database.__getitem__)
    for item in items:
        answer = await wire.execute(log.prepared, log.bound(item, item.behind or "", actor.token), "test")
        assert answer.affected == 0

    assert [len(await full_log(store, one.instance_id)) for one in begun] == [1] * rows


@both
async def test_an_append_in_a_transaction_holds_no_workers_row(store: MySQLStore, actor: Actor, wire: Wire) -> None:
    """A session that freezes before its COMMIT must not prevent others from declaring its worker dead."""
    begun = await actor.begin()
    reached, go = asyncio.Event(), asyncio.Event()

    async def hold(statement: str, /) -> None:
        if statement == "commit":
            reached.set()
            await go.wait()

    async def write() -> Outcome:
        async with store.services.sessions.begin() as session:
            listen(store, hold)
            return await session.commit(step(begun, 2), worker=actor.token)

    writing = asyncio.create_task(write())
    await reached.wait()
    leave(store)
    (answer,) = await wire.run(b"update romancy_workers set beat = beat + 1", "test")
    go.set()

    assert answer.affected == 1
    assert await writing is Outcome.ACCEPTED


@both
async def test_neighbours_of_a_locked_row_are_written(store: MySQLStore, actor: Actor, wire: Wire) -> None:
    """A5: others hold a key of the log, an instance's row and a new id; only these three items are LOCKED."""
    begun = [await actor.begin() for _ in range(6)]
    fresh = start()
    row = b"insert into romancy_log (instance_id, life, seq, writer, body, at) values ('%b', %d, %d, 'x', '[]', 1)"
    for sql in (
        b"start transaction",
        row % (begun[1].instance_id.encode(), begun[1].life, 2),
        b"update romancy_instances set seen = 99 where instance_id = '%b'" % begun[3].instance_id.encode(),
        row % (fresh.instance_id.encode(), fresh.life, 1),
    ):
        await wire.run(sql, "test")
    batch: list[Item] = [*(append(one, 2, change=change()) for one in begun), fresh]

    outcomes = await store.commit(batch, worker=actor.token)

    assert [number for number, outcome in enumerate(outcomes) if outcome is not Outcome.ACCEPTED] == [1, 3, 6]
    assert set(outcomes) == {Outcome.ACCEPTED, Outcome.LOCKED}
    logs = [len(await full_log(store, one.instance_id)) for one in begun]
    assert logs == [2, 1, 2, 1, 2, 2]
    await wire.run(b"rollback", "test")
    assert await store.commit(batch, worker=actor.token) == [Outcome.ACCEPTED] * 7


@both
async def test_mail_for_a_locked_instance_does_not_hold_up_the_rest(
    store: MySQLStore, actor: Actor, wire: Wire
) -> None:
    begun = [await actor.begin() for _ in range(4)]
    mail = [delivery(one) for one in begun]
    await wire.run(b"start transaction", "test")
    held = b"update romancy_instances set seen = 99 where instance_id = '%b'"
    await wire.run(held % begun[2].instance_id.encode(), "test")

    with pytest.raises(StorageUnavailableError, match="is locked by another transaction"):
        await store.deliver(mail)

    await wire.run(b"rollback", "test")
    answers = await store.deliver(mail)
    assert answers == [Delivered.DUPLICATE, Delivered.DUPLICATE, Delivered.ACCEPTED, Delivered.DUPLICATE]


@both
async def test_claims_pass_over_what_is_locked(store: MySQLStore, actor: Actor, wire: Wire) -> None:
    name = next(iter(actor.workflows))
    items = [start(workflow_name=name) for _ in range(5)]
    await store.commit(items)
    await wire.run(b"start transaction", "test")
    await wire.run(_LOCK % items[0].instance_id.encode(), "test")

    first = await asyncio.wait_for(actor.claim(10), 60)
    await wire.run(b"rollback", "test")
    second = await actor.claim(10)

    assert sorted(one.instance_id for one in first) == sorted(item.instance_id for item in items[1:])
    assert [one.instance_id for one in second] == [items[0].instance_id]


@both
@pytest.mark.parametrize("replaced", [False, True], ids=["pruned", "replaced"])
async def test_an_instance_is_removed_while_a_transaction_writes_what_its_neighbour_remembers(
    store: MySQLStore, actor: Actor, wire: Wire, *, replaced: bool
) -> None:
    """A session may be open for long after it has sent something with an id, or registered an interest."""
    over = await actor.begin()
    assert await store.deliver([delivery(over, dedupe="k")]) == [Delivered.ACCEPTED]
    assert await actor.write(append(over, 2, change=change(Status.COMPLETED, seen=1))) is Outcome.ACCEPTED
    neighbour = f"{over.instance_id}-next".encode()
    for sql in (
        b"start transaction",
        b"insert into romancy_seen (unit, life, dedupe, at) values ('%b', 1, 'k', 1)" % neighbour,
        b"insert into romancy_interests (owner, life, interest_id, address, kind, at) "
        b"values ('%b', 1, 'i', 'a', 'copy', 1)" % neighbour,
    ):
        await wire.run(sql, "test")

    if replaced:
        former = Former(over.life, frozenset({Status.COMPLETED}))
        assert await store.commit([start(over.instance_id, replaces=former)]) == [Outcome.ACCEPTED]
    else:
        assert await store.services.upkeep.prune(PruneRequest(instance_ids=(over.instance_id,))) == 1

    await wire.run(b"rollback", "test")
    (left,) = await wire.run(b"select count(*) from romancy_seen", "test")
    assert left.rows[0][0] == 0


@both
async def test_lock_waits_are_short(store: MySQLStore, actor: Actor, wire: Wire) -> None:
    begun = await actor.begin()
    other = await store.database.work.take()
    lock = _LOCK % begun.instance_id.encode()
    await wire.run(b"start transaction", "test")
    await wire.run(lock, "test")

    started = asyncio.get_running_loop().time()
    with pytest.raises(LockWaitError):
        await other.run(lock, "test")
    waited = asyncio.get_running_loop().time() - started

    store.database.work.give_back(other)
    assert waited < 20  # the server's own default is fifty
