"""What Vitess accepts without an error and means otherwise than MySQL. Each test fails without the mend, and shows it.

`mended` is False where the mend is taken out: the test then asserts that what it is about happens.
"""

# pyright: reportPrivateUsage=false
# A mend is taken out where it is, inside the adapter.

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from romancy.errors import StorageConfigurationError
from romancy.storage.query import build_query
from romancy.storage.records import Outcome, PruneRequest
from romancy_conformance.contract.building import append, delivery, start, step
from romancy_conformance.contract.interleaving import leave, listen
from romancy_conformance.servers.server import free_port
from romancy_mysql._connection import Wire
from romancy_mysql._scripts import texts
from romancy_mysql._sql import Template
from romancy_mysql.engines.vitess import written

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from romancy_conformance.contract.building import Actor
    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("vitess")]

mended = pytest.mark.parametrize("mended", [True, False], ids=["mended", "taken out"])


def rewrite(store: MySQLStore, name: str, text: str) -> None:
    """Write a script of this store in another way."""
    database = store.database
    database._queries = {**database._queries, name: Template(name, text, database._qualified)}


async def ask(wire: Wire, packet: str) -> list[tuple[Any, ...]]:
    """Return the rows of the last statement of a packet."""
    return list((await wire.run(packet.encode(), "test"))[-1].rows)


async def levels(store: MySQLStore) -> set[str]:
    """The levels of isolation of the connections that wait for work."""
    wires: list[Wire] = []
    while (wire := store.database.work.grab()) is not None:
        wires.append(wire)
    found = {str((await ask(wire, "select @@transaction_isolation"))[0][0]) for wire in wires}
    for wire in wires:
        store.database.work.give_back(wire)
    return found


# ── 1. A level of isolation for the next transaction is one for all that follow ─────────────────────────────────────


@mended
async def test_a_read_in_one_moment_leaves_no_level_behind(store: MySQLStore, actor: Actor, *, mended: bool) -> None:
    begun = await actor.begin()
    if not mended:
        for name in ("one_moment", "end_moment"):
            rewrite(store, name, texts()[name])

    history = await store.read(begun.instance_id)

    assert history is not None
    assert len(history.rows) == 1
    assert await levels(store) == {"READ-COMMITTED" if mended else "REPEATABLE-READ"}


async def test_a_read_that_fails_in_one_moment_leaves_no_level_behind(store: MySQLStore, actor: Actor) -> None:
    begun = await actor.begin()
    rewrite(store, "read_log", "select no_such_column from romancy_log")

    with pytest.raises(StorageConfigurationError, match="a column is missing"):
        await store.read(begun.instance_id)

    assert await levels(store) <= {"READ-COMMITTED"}


# ── 2. A tablet shares the answer to a read ─────────────────────────────────────────────────────────────────────────


@mended
async def test_no_answer_is_older_than_its_question(
    store: MySQLStore, actor: Actor, wire: Wire, open_store: Open, *, mended: bool
) -> None:
    """Another one asks the same before a commit, and has no answer yet: it waits in the server."""
    query = "select (select count(*) from romancy_instances), sleep(2)"
    packet = written(query) if mended else query
    other = await (await open_store()).database.sessions.take()
    before = asyncio.create_task(ask(other, packet))
    await asyncio.sleep(0.5)  # it has begun
    await store.commit([start()])

    ((count, _),) = await ask(wire, packet)
    await before
    other.abort()

    assert count == (1 if mended else 0)


@mended
async def test_no_search_is_older_than_its_question(store: MySQLStore, open_store: Open, *, mended: bool) -> None:
    """As above. Searches and counts are composed, and no scripts."""
    await store.commit([start()])
    other = await open_store()
    for one in (store, other):
        rewrite(one, "instance_columns", f"{texts()['instance_columns']}, sleep(1)")
        one.database.select = one.database.select if mended else b"select "
    before = asyncio.create_task(other.services.reading.find(build_query()))
    await asyncio.sleep(0.5)  # it has begun
    await store.commit([start()])

    found = await store.services.reading.find(build_query())
    await before

    assert len(found.rows) == (2 if mended else 1)


# ── 3. A session of the gate keeps what a user has set ──────────────────────────────────────────────────────────────


@mended
async def test_a_session_finds_nothing_that_another_one_has_set(
    store: MySQLStore, monkeypatch: pytest.MonkeyPatch, *, mended: bool
) -> None:
    if not mended:

        async def reset(wire: Wire) -> None:
            await wire._execute_command(0x1F, b"")
            await wire._read_ok_packet()
            await wire.setup()

        monkeypatch.setattr(Wire, "reset", reset)
    async with store.services.sessions.begin() as session:
        await session.execute("set @mine = 7")
    await asyncio.sleep(0.5 if not mended else 0)  # what it leaves behind is cleaned meanwhile
    async with store.services.sessions.begin() as session:
        (row,) = await session.fetch_all("select @mine as mine")

    assert row["mine"] == (None if mended else 7)


# ── 4. A tablet lets a statement change 10,000 rows ─────────────────────────────────────────────────────────────────


async def test_an_instance_with_many_rows_is_removed(store: MySQLStore, actor: Actor, wire: Wire) -> None:
    (name,) = actor.workflows
    item = start(workflow_name=name)
    await store.commit([item])
    await ask(
        wire,
        "insert into romancy_log (instance_id, life, seq, writer, body, at) "  # noqa: S608 - an id of this suite's
        "with recursive n (i) as (select 2 union all select i + 1 from n where i < 901) "
        f"select '{item.instance_id}', {item.life}, a.i * 12 + b.i, 'w', '', 0 from n a join n b on b.i < 14",
    )
    await ask(wire, f"update romancy_instances set status = 'completed' where instance_id = '{item.instance_id}'")  # noqa: S608

    pruned = await store.services.upkeep.prune(PruneRequest(instance_ids=(item.instance_id,)))

    assert pruned == 1
    assert await ask(wire, "select count(*) from romancy_log") == [(0,)]


# ── 5. A commit on two keyspaces is two ─────────────────────────────────────────────────────────────────────────────


@mended
async def test_a_session_is_refused_that_writes_in_another_keyspace_too(
    store: MySQLStore, actor: Actor, wire: Wire, *, mended: bool
) -> None:
    begun = await actor.begin()
    await ask(wire, "create table if not exists whole.others (k varchar(60) primary key)")

    async def written() -> Outcome | None:
        try:
            async with store.services.sessions.begin() as session:
                if not mended:
                    await session.execute("set session transaction_mode = 'multi'")
                await session.execute("insert into whole.others values (%s)", begun.instance_id)
                return await session.commit(step(begun, 2), worker=actor.token)
        except StorageConfigurationError as error:
            assert "what is written together in one keyspace" in str(error)  # noqa: PT017 - the case without an error is one
            return None

    assert await written() is (None if mended else Outcome.ACCEPTED)
    others = await ask(wire, f"select count(*) from whole.others where k = '{begun.instance_id}'")  # noqa: S608 - as above
    assert others == [(0 if mended else 1,)]


async def test_several_gates_are_several_hosts(open_store: Open, storage_url: str) -> None:
    """One of them is not there."""
    account, _, rest = storage_url.rpartition("@")
    gate, _, database = rest.partition("/")
    store = await open_store(url=f"{account}@127.0.0.1:{free_port()},{gate}/{database}")

    assert await store.commit([start()]) == [Outcome.ACCEPTED]


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_gate_hands_each_statement_of_the_hot_path_to_one_tablet_whole(
    actor: Actor, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = actor.workflows
    statements: list[bytes] = []
    sent = Wire._sent

    async def noted(wire: Wire, command: int, packet: bytes) -> object:
        statements.append(packet)
        return await sent(wire, command, packet)

    async def one_by_one(_: str, /) -> None:
        """While somebody listens, each statement is sent by itself."""

    monkeypatch.setattr(Wire, "_sent", noted)
    listen(actor.store, one_by_one)
    begun = await actor.begin()
    await actor.store.commit([start(workflow_name=name), step(begun, 2)], worker=actor.token)
    await actor.write(append(begun, 3, deliveries=(delivery(begun),)))
    await actor.store.deliver([delivery(begun)])
    assert len(await actor.claim()) == 1
    await actor.store.heartbeat(actor.worker)
    await actor.store.read(begun.instance_id)
    leave(actor.store)
    monkeypatch.undo()
    asked = [one for one in statements if b"romancy_" in one and not one.startswith((b"set", b"savepoint"))]
    plans = [json.loads((await ask(wire, f"vexplain plan {one.decode()}"))[0][0]) for one in asked]

    assert len(plans) > 15
    assert {(plan["Variant"], "Inputs" in plan) for plan in plans} == {("Unsharded", False)}


async def test_it_costs_no_round_trip_more(actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = await actor.begin()
    (name,) = actor.workflows
    packets: list[bytes] = []
    sent = Wire._sent

    async def noted(wire: Wire, command: int, packet: bytes) -> object:
        packets.append(packet)
        return await sent(wire, command, packet)

    monkeypatch.setattr(Wire, "_sent", noted)

    await actor.store.commit([step(begun, 2)], worker=actor.token)
    assert [one.count(b";") for one in packets] == [0]
    packets.clear()
    assert await actor.write(append(begun, 3)) is Outcome.ACCEPTED
    assert len(packets) == 1
    packets.clear()
    await actor.store.commit([start(workflow_name=name)])
    await actor.claim()
    assert len(packets) == 4
