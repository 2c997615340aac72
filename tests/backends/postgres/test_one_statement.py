"""A commit is one statement, but for what one statement cannot write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from romancy.status import Status
from romancy.storage.records import OutboxRow, Outcome
from romancy_conformance.contract.building import append, change, delivery, start, step, unique
from romancy_conformance.contract.interleaving import statements

if TYPE_CHECKING:
    from romancy.storage.records import Item
    from romancy_conformance.contract.building import Actor
    from romancy_postgres._store import PostgresStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("postgres")]


def outgoing() -> OutboxRow:
    return OutboxRow(outbox_id=unique("o"), topic="t", body=b"{}")


async def test_which_statement_a_commit_is(store: PostgresStore, actor: Actor) -> None:
    (one, other) = [await actor.begin() for _ in range(2)]
    await actor.write(start())  # the declared paths of such instances are known from here on
    child = start()
    wanted: dict[str, Item] = {
        "append_one": step(one, 2),
        "append_changes": append(one, 3, change=change()),
        "append_effects": append(one, 4, change=change(), outbox=(outgoing(),), deliveries=(delivery(other),)),
        "begin": append(one, 5, starts=(child,), deliveries=(delivery(child),)),
    }
    found: list[str] = []
    for item in wanted.values():
        names = await statements(store, store.commit([item], worker=actor.token))
        found.append(next(name for name in names if name != "notify"))
        assert names.count("begin") == (item is wanted["begin"])

    assert found == [*wanted]


async def test_a_message_to_an_instance_that_the_batch_starts(store: PostgresStore, actor: Actor) -> None:
    """The parts of a batch are written at the same time, but for this: nothing arrives where nobody is."""
    for _ in range(5):
        sender, fresh = await actor.begin(), start()
        batch: list[Item] = [append(sender, 2, outbox=(outgoing(),), deliveries=(delivery(fresh),)), fresh]

        assert [Outcome.ACCEPTED] * 2 == await store.commit(batch, worker=actor.token)

        history = await store.read(fresh.instance_id, limit=0)
        assert history is not None
        assert (history.instance.signals, history.instance.status) == (1, Status.PENDING)
