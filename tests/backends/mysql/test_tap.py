"""What the suite holds open on MySQL and MariaDB are the statements that users run, in packets of one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from romancy.storage.records import Item, Outcome
from romancy_conformance.contract.building import append, change, delivery, start, step
from romancy_conformance.contract.interleaving import statements
from romancy_mysql._connection import Wire

if TYPE_CHECKING:
    from romancy_conformance.contract.building import Actor
    from romancy_mysql._store import MySQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]

_TEXT = re.compile(rb"'(?:[^'\\]|\\.)*'|\b\d+\b|x'[0-9a-f]*'")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """Every packet that a connection sends: how, and its text without values."""
    packets: list[tuple[str, bytes]] = []
    run, execute = Wire.run, Wire.execute

    async def ran(wire: Wire, packet: bytes, what: str) -> Any:
        packets.append(("text", _TEXT.sub(b"?", packet)))
        return await run(wire, packet, what)

    async def executed(wire: Wire, sql: bytes, values: Any, what: str) -> Any:
        packets.append(("prepared", sql))
        return await execute(wire, sql, values, what)

    monkeypatch.setattr(Wire, "run", ran)
    monkeypatch.setattr(Wire, "execute", executed)
    return packets


async def test_a_held_commit_sends_the_statements_of_a_free_one(
    store: MySQLStore, actor: Actor, sent: list[tuple[str, bytes]]
) -> None:
    one, two, other = [await actor.begin() for _ in range(3)]

    def batches(seq: int, behind: str) -> list[list[Item]]:
        rich = append(one, seq + 1, change=change(), deliveries=(delivery(other),), writer=f"w{seq + 1}")
        return [[step(one, seq, after=behind)], [rich, step(two, seq // 2 + 1)]]

    usual: list[list[tuple[str, bytes]]] = []
    for batch in batches(2, one.writer):
        sent.clear()
        assert await store.commit(batch, worker=actor.token) == [Outcome.ACCEPTED] * len(batch)
        usual.append(list(sent))
    held: list[list[tuple[str, bytes]]] = []
    for batch in batches(4, "w3"):
        sent.clear()
        await statements(store, store.commit(batch, worker=actor.token))
        held.append(list(sent))

    assert [kind for kind, _ in held[0]] == ["prepared"]
    assert held[0] == usual[0]
    assert len(held[1]) > len(usual[1]) == 1, "a transaction is one packet, and one for each statement while it is held"
    assert b";".join(text for _, text in held[1]) == usual[1][0][1]


async def test_a_packet_sent_again_meets_its_own_rows(store: MySQLStore, actor: Actor) -> None:
    """The whole packet runs before its sum is looked at, also over index rows that are there already."""
    begun = await actor.begin()
    item = append(begun, 2, change=change(), starts=(start(index=(("customer", "s:a"),)),))

    for _ in range(2):
        assert await store.commit([item], worker=actor.token) == [Outcome.ACCEPTED]
