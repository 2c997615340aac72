"""What TiDB accepts without an error and means otherwise than MySQL. Each test fails without the mend, and shows it.

`mended` is False where the mend is taken out: the test then asserts that what it is about happens.
"""

# pyright: reportPrivateUsage=false
# A mend is taken out where it is, inside the adapter.

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from romancy.errors import InternalError, StorageError
from romancy.storage.records import Outcome
from romancy_conformance.contract.building import Actor, append, change, start, step, unique
from romancy_conformance.contract.interleaving import HoldAt, held_at, leave, listen, run
from romancy_mysql import _database, _errors
from romancy_mysql._connection import Wire
from romancy_mysql._scripts import texts
from romancy_mysql._sql import Template
from romancy_mysql.engines import PLAIN
from romancy_mysql.engines.tidb import CLOCK, ENGINE, MOMENT, SETTINGS, THEIR_CLOCK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_mysql._protocol import Answer
    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.backends("tidb")]

mended = pytest.mark.parametrize("mended", [True, False], ids=["mended", "taken out"])


def rewrite(store: MySQLStore, name: str, old: str, new: str) -> None:
    """Write a script of this store in another way."""
    text = texts(engine=ENGINE)[name]
    assert old in text
    database = store.database
    database._queries = {**database._queries, name: Template(name, text.replace(old, new), database._qualified)}


def of(instance_id: str) -> str:
    """A condition: the rows of this instance."""
    return f"instance_id = '{instance_id}'"


async def rows(wire: Wire, packet: str) -> list[tuple[Any, ...]]:
    """Return the rows of the last statement of a packet."""
    answers: list[Answer] = await wire.run(packet.encode(), "test")
    return list(answers[-1].rows)


# ── 1. SKIP LOCKED locks nothing ────────────────────────────────────────────────────────────────────────────────────


@mended
async def test_two_workers_never_claim_one_instance(open_store: Open, actor: Actor, *, mended: bool) -> None:
    """One of them is held between its locking and its writing, while the other claims."""
    others = await open_store()
    other = await Actor(others, workflows=actor.workflows).register()
    if not mended:
        rewrite(actor.store, "claim_locked", "for update nowait", "for update skip locked")  # type: ignore[arg-type]
        rewrite(others, "claim_locked", "for update nowait", "for update skip locked")
    (name,) = actor.workflows
    for _ in range(3):
        (outcome,) = await actor.store.commit([start(workflow_name=name)])
        assert outcome is Outcome.ACCEPTED
    hold = HoldAt("take_claimed")
    listen(actor.store, hold)
    claiming = run(actor.store, actor.claim())
    assert await held_at(hold, claiming)
    theirs = {one.instance_id for one in await other.claim()}
    hold.go.set()
    ours = {one.instance_id for one in await claiming}
    leave(actor.store)

    assert (ours & theirs == set()) is mended
    assert len(ours) == 3


async def test_a_claim_goes_round_what_another_transaction_holds(actor: Actor, wire: Wire) -> None:
    (name,) = actor.workflows
    items = [start(workflow_name=name) for _ in range(8)]
    assert set(await actor.store.commit(items)) == {Outcome.ACCEPTED}
    held = items[2].instance_id
    await rows(wire, f"start transaction; select 1 from romancy_instances where {of(held)} for update")  # noqa: S608

    async with asyncio.timeout(5):
        claimed = {one.instance_id for one in await actor.claim()}
    await rows(wire, "rollback")

    assert claimed == {one.instance_id for one in items} - {held}


# ── 2. What is written outside a transaction is optimistic ──────────────────────────────────────────────────────────


@mended
async def test_a_lone_write_waits_for_a_lock_no_longer_than_a_second(
    actor: Actor, wire: Wire, monkeypatch: pytest.MonkeyPatch, *, mended: bool
) -> None:
    begun = await actor.begin()
    if not mended:

        async def alone(wire: Wire, packet: bytes, what: str) -> list[Answer]:
            return await wire._watched(wire._ask(3, packet), what)

        monkeypatch.setattr(Wire, "_run_whole", alone)
        rewrite(actor.store, "from_living", CLOCK, THEIR_CLOCK)  # type: ignore[arg-type]
        actor.store._committer.open()  # type: ignore[attr-defined]
    await rows(
        wire,
        "start transaction; insert into romancy_log (instance_id, life, seq, writer, body, at) "  # noqa: S608
        f"select instance_id, life, 2, 'w', '', 0 from romancy_instances where {of(begun.instance_id)}",
    )

    async def written() -> Outcome | None:
        try:
            async with asyncio.timeout(5):
                (outcome,) = await actor.store.commit([step(begun, 2)], worker=actor.token)
                return outcome
        except TimeoutError:
            return None

    outcome = await written()
    await rows(wire, "rollback")

    assert outcome is (Outcome.LOCKED if mended else None)


# ── 3. A subquery of a constant runs while the statement is planned ─────────────────────────────────────────────────


@mended
async def test_the_check_of_counts_fails_only_if_a_count_falls_short(actor: Actor, *, mended: bool) -> None:
    database = actor.store.database  # type: ignore[attr-defined]
    if not mended:
        database.check = PLAIN.check
    item = start(workflow_name=next(iter(actor.workflows)))

    async def accepted() -> bool:
        try:
            (outcome,) = await actor.store.commit([item])
        except StorageError:
            return False
        return outcome is Outcome.ACCEPTED

    assert await accepted() is mended


# ── 4. The parts of a union come in any order ───────────────────────────────────────────────────────────────────────


async def test_no_answer_depends_on_the_order_of_the_parts_of_a_union(
    actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever order they come in: the same answers with all rows of such statements the other way round."""
    for number in range(4):
        begun = await actor.begin()
        if number % 2:
            await actor.write(append(begun, 2, change=change("completed", seen=0)))  # type: ignore[arg-type]
    figures, reading = actor.store.services.figures, actor.store.services.reading
    assert figures is not None
    assert reading is not None
    before = await figures.tally(most=10)
    ask = Wire._ask

    async def turned(wire: Wire, command: int, packet: bytes) -> list[Answer]:
        answers = await ask(wire, command, packet)
        return [one._replace(rows=one.rows[::-1]) for one in answers] if b"union all" in packet else answers

    monkeypatch.setattr(Wire, "_ask", turned)
    after = await figures.tally(most=10)

    assert before == after
    assert [one.instance_id for one in await actor.claim(recover=True)]


# ── 5. What a statement only reads is not locked ────────────────────────────────────────────────────────────────────


@mended
async def test_two_workers_do_not_declare_each_other_dead(
    store: MySQLStore, actor: Actor, wire: Wire, open_store: Open, *, mended: bool
) -> None:
    other = await Actor(store, workflows=actor.workflows).register()
    if not mended:
        rewrite(store, "mark_dead", "set d.dead = 1, w.dead = 0", "set d.dead = 1")
    beats = {token.decode(): beat for token, beat in await rows(wire, "select token, beat from romancy_workers")}

    def marked(caller: Actor, dead: Actor) -> bytes:
        about: dict[str, Any] = {"worker": caller.token, "dead": dead.token, "beat": beats[dead.token]}
        return store.database.statement("mark_dead", **about).sql

    second = await _another(open_store)
    await second.run(b"start transaction", "test")
    await wire.run(b"start transaction; " + marked(actor, other), "test")
    theirs = asyncio.ensure_future(second.run(marked(other, actor), "test"))
    await asyncio.wait({theirs}, timeout=0.8)  # it waits for a lock, or has ended
    await wire.run(b"commit", "test")
    await asyncio.gather(theirs, return_exceptions=True)
    await second.run(b"commit", "test")
    second.abort()

    dead = await rows(wire, "select token from romancy_workers where dead = 1")
    assert len(dead) == (1 if mended else 2)


async def _another(open_store: Open) -> Wire:
    store = await open_store()
    return await store.database.sessions.take()


# ── 6. A number beyond bigint is stored as the smallest one ─────────────────────────────────────────────────────────


@mended
async def test_a_number_that_is_too_large_is_refused(
    actor: Actor, wire: Wire, monkeypatch: pytest.MonkeyPatch, *, mended: bool
) -> None:
    """As TiDB does it outside an expression; inside one it has an error, which has to be known."""
    await rows(wire, "create table odd (id int primary key, n bigint)")
    await rows(wire, "insert into odd values (1, 0)")
    await rows(wire, "update odd set n = 9223372036854775808 where id = 1")
    ((stored,),) = await rows(wire, "select n from odd")
    await rows(wire, "drop table odd")
    assert stored == -(2**63), "TiDB refuses it now: this test can go"
    begun = await actor.begin()
    if not mended:
        monkeypatch.setattr(_errors, "_VALUE", _errors._VALUE - {1264, 1690})
    item = append(begun, 2, change=change("running", seen=0, wake_at=2**63, release=True))  # type: ignore[arg-type]

    async def written() -> Outcome | None:
        try:
            return await actor.write(item)
        except InternalError:
            return None

    assert await written() is (Outcome.INVALID if mended else None)


# ── 7. A transaction that failed goes on, with its locks ────────────────────────────────────────────────────────────


@mended
async def test_a_refused_commit_leaves_no_locks(
    actor: Actor, wire: Wire, monkeypatch: pytest.MonkeyPatch, *, mended: bool
) -> None:
    begun = await actor.begin()
    if not mended:

        async def not_at_all(database: _database.Database, wire: Wire) -> None:
            wire.tainted = False

        monkeypatch.setattr(_database.Database, "roll_back", not_at_all)
    missing = append(begun, 2, consumed=("nothing",))

    (outcome,) = await actor.store.commit([missing], worker=actor.token)

    async def free() -> bool:
        place = f"{of(begun.instance_id)} and life = {begun.life} and seq = 2"
        try:
            found = await rows(wire, f"start transaction; select 1 from romancy_log where {place} for update nowait")  # noqa: S608
        except _errors.HeldError:
            return False
        finally:
            await rows(wire, "rollback")
        return not found

    assert (outcome is not Outcome.ACCEPTED and await free()) is mended


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_step_is_one_round_trip_and_a_claim_one_more_than_on_mysql(
    actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await actor.begin()
    (name,) = actor.workflows
    await actor.store.commit([start(workflow_name=name)])
    await actor.store.commit([step(begun, 2)], worker=actor.token)
    packets: list[bytes] = []
    sent = Wire._sent

    async def noted(wire: Wire, command: int, packet: bytes) -> object:
        packets.append(packet)
        return await sent(wire, command, packet)

    monkeypatch.setattr(Wire, "_sent", noted)

    await actor.store.commit([step(begun, 3)], worker=actor.token)
    assert [one.count(b";") + 1 for one in packets] == [3]

    packets.clear()
    assert len(await actor.claim()) == 1
    assert len(packets) == 4


# ── the session, the clock, the sizes ───────────────────────────────────────────────────────────────────────────────


@mended
@pytest.mark.parametrize("name", ["claim_due", "outbox_seen"])
async def test_an_index_is_read_up_to_the_time(store: MySQLStore, wire: Wire, name: str, *, mended: bool) -> None:
    """And not through all that is never due, as with the variable that long sessions have."""
    if not mended:
        rewrite(store, name, MOMENT, CLOCK)
    values: dict[str, Any] = {"limit": 10}
    if name == "claim_due":
        values |= {"workflow_name": "w", "code": "c", "leaves": False, "leave": "", "grace": 0}
    query = store.database.statement(name, **values).sql.decode()

    plan = str(await rows(wire, f"explain {query}"))

    assert "IndexRangeScan" in plan
    assert ("-inf," in plan) is mended, plan


async def test_a_session_has_the_settings_that_its_statements_rely_on(wire: Wire) -> None:
    names = ", ".join(f"@@{name}" for name in SETTINGS)

    (values,) = await rows(wire, f"select {names}")
    ((level,),) = await rows(wire, "select @@transaction_isolation")

    wanted = [value.strip("'") for value in SETTINGS.values()]
    assert [{"ON": "1", "OFF": "0"}.get(str(one), str(one)) for one in values] == wanted
    assert level == "READ-COMMITTED"


async def test_the_time_is_that_of_the_cluster_and_grows_from_one_transaction_to_the_next(wire: Wire) -> None:
    times = [(await rows(wire, f"select {CLOCK}, {THEIR_CLOCK}"))[0] for _ in range(50)]

    assert all(one < other for (one, _), (other, _) in pairwise(times))
    assert all(abs(cluster - server) < 2_000_000 for cluster, server in times)


async def test_nothing_has_a_time_outside_a_transaction(wire: Wire) -> None:
    """It would be that of no transaction: the smallest one."""
    (answer,) = await wire._watched(wire._ask(3, f"select {CLOCK}".encode()), "test")

    assert answer.rows == ((None,),)


async def test_what_a_long_session_writes_has_the_time_of_its_end(actor: Actor, wire: Wire) -> None:
    begun = await actor.begin()
    async with actor.store.services.sessions.begin() as session:
        await session.execute("select 1")
        await asyncio.sleep(1.2)
        assert await session.commit(step(begun, 2), worker=actor.token) is Outcome.ACCEPTED
    query = f"select at from romancy_log where {of(begun.instance_id)} order by seq"  # noqa: S608
    (first,), (second,) = await rows(wire, query)

    assert second - first > 1_100_000


async def test_a_row_of_several_large_values_is_written_or_refused(actor: Actor) -> None:
    """An entry has at most 6 MB unless the session asks for more."""
    item = start(workflow_name=unique("w"), input=b"x" * 4_000_000)

    (outcome,) = await actor.store.commit([item])

    assert outcome is Outcome.ACCEPTED
