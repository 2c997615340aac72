"""Transactions on a cluster, which may roll back the first statements of a packet and execute the rest by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import StorageUnavailableError
from romancy.status import Status
from romancy.storage.records import OutboxRow, Outcome
from romancy_conformance.contract.building import append, change, delivery, full_log, start, step, unique
from romancy_mysql._sql import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_conformance.contract.building import Actor
    from romancy_mysql._store import MySQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]

_GONE = Statement("lost", b"rollback")


class Cluster:
    """Rolls back what one transaction has written so far, as a conflicting one of another node does."""

    def __init__(self, store: MySQLStore, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
        self._carry_out = store.database.carry_out
        self._after = after
        self.taken = False
        store.database.keep_whole()
        monkeypatch.setattr(store.database, "carry_out", self.carry_out)

    async def carry_out(self, line: Any, statements: Sequence[Statement], **more: Any) -> Any:
        if not self.taken:
            self.taken = True
            statements = [*statements[: self._after], _GONE, *statements[self._after :]]
        return await self._carry_out(line, statements, **more)


async def outbox_of(store: MySQLStore) -> list[str]:
    return [row.outbox_id for row in await store.services.outbox.read(10)]


@pytest.mark.parametrize("after", [2, 3])
async def test_a_commit_whose_head_is_lost_is_made_again_as_a_whole(
    store: MySQLStore, actor: Actor, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    begun, target = await actor.begin(), await actor.begin()
    outgoing, mail = OutboxRow(outbox_id=unique("out"), topic="t", body=b"{}"), delivery(target)
    item = append(begun, 2, after=begun.writer, change=change(Status.WAITING), outbox=(outgoing,), deliveries=(mail,))
    cluster = Cluster(store, monkeypatch, after)

    assert await actor.write(item) is Outcome.ACCEPTED

    assert cluster.taken
    assert [row.writer for row in await full_log(store, begun.instance_id)] == [begun.writer, item.writer]
    assert await outbox_of(store) == [outgoing.outbox_id]
    found = await store.read(target.instance_id)
    assert found is not None
    assert found.instance.signals == 1
    assert await actor.write(step(begun, 3, after=item.writer)) is Outcome.ACCEPTED


async def test_a_claim_whose_locks_are_lost_is_made_again(
    store: MySQLStore, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying = start(workflow_name=next(iter(actor.workflows)))
    assert await actor.write(lying) is Outcome.ACCEPTED
    cluster = Cluster(store, monkeypatch, 0)

    (claimed,) = await actor.claim()

    assert cluster.taken
    assert claimed.head_writer == lying.writer


async def test_a_session_whose_head_is_lost_is_to_be_tried_again(
    store: MySQLStore, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await actor.begin()
    cluster = Cluster(store, monkeypatch, 1)
    item = step(begun, 2, after=begun.writer)

    async with store.services.sessions.begin() as session:
        with pytest.raises(StorageUnavailableError):
            await session.commit(item, worker=actor.token)
    assert cluster.taken
    assert len(await full_log(store, begun.instance_id)) == 1
    async with store.services.sessions.begin() as session:
        assert await session.commit(item, worker=actor.token) is Outcome.ACCEPTED

    assert len(await full_log(store, begun.instance_id)) == 2


async def test_refusals_and_rollbacks_leave_the_connections_as_they_were(store: MySQLStore, actor: Actor) -> None:
    """Each plain append is its own transaction, also after one that was rolled back."""
    store.database.keep_whole()
    begun = await actor.begin()
    for _ in range(5):
        refused = append(
            begun, 2, after=unique("w"), change=change(), outbox=(OutboxRow(outbox_id=unique(), topic="t", body=b""),)
        )
        assert await actor.write(refused) is Outcome.LOST
    last = begun.writer
    for seq in range(2, 7):
        item = step(begun, seq, after=last)
        assert await actor.write(item) is Outcome.ACCEPTED
        last = item.writer

    async with store.services.sessions.begin() as session:
        rows = await session.fetch_all(
            "select count(*) as rows_there from romancy_log where instance_id = %s", begun.instance_id
        )
    assert [int(row["rows_there"]) for row in rows] == [6]
