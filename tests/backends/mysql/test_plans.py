"""Plans: with many rows, and statistics that do not show them, no statement of the engine reads a whole table."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from romancy.storage.journal import NewLine
from romancy.storage.query import Position, build_query, one_of
from romancy.storage.records import ClaimRequest, OutboxRow, PruneRequest
from romancy.storage.sqlkit.journal import STREAMS
from romancy_conformance.contract.building import Actor, append, change, delivery, nonce, start, step, unique
from romancy_conformance.contract.interleaving import leave, listen
from romancy_mysql._connection import Wire
from romancy_mysql._sql import comma

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from romancy_mysql._store import MySQLStore

    Open = Callable[..., Awaitable[MySQLStore]]

pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.backends("mysql", "mariadb")]

_DIGIT = "(select 0 d union all " + " union all ".join(f"select {n}" for n in range(1, 10)) + ")"
_NUMBERS = "(select a.d + 10 * b.d + 100 * c.d + 1000 * e.d as n from DIGIT a join DIGIT b join DIGIT c join DIGIT e) g"
_FILL = """
insert into romancy_index_sets (workflow_name, index_paths, paths)
select concat('flow', d), 'customer', 'customer' from DIGIT f union all select 'plain', '', '';
insert into romancy_instances
    (instance_id, life, created_at, updated_at, touched_at, wake_at, workflow_name, status, code, index_paths, input,
    projection, parent)
select concat('i', n), 1, n, n, n, if(n % 10 = 0, n + 9000000000000000, null), concat('flow', n % 10),
    case when n % 10 = 0 then 'waiting' when n % 1000 = 1 then 'failed' else 'completed' end, 'c1', 'customer', '',
    json_object('customer', concat('s:c', n % 2000)), if(n < 100, 'old', null)
from NUMBERS;
insert into romancy_index (path, value, created_at, instance_id)
select 'customer', concat('s:c', n % 2000), n, concat('i', n) from NUMBERS;
insert into romancy_log (instance_id, life, seq, writer, body, at)
select concat('i', n), 1, 1, 'w', '[]', 1 from NUMBERS;
insert into romancy_log (instance_id, life, seq, writer, body, at)
select concat('i', n), 1, 2, 'w', '[]', 1 from NUMBERS;
insert into romancy_inbox (instance_id, delivery_id, body, at) select concat('i', n), 'd', '', 1 from NUMBERS;
insert into romancy_seen (unit, life, dedupe, at) select concat('i', n % 100), n % 2, concat('k', n), n from NUMBERS;
insert into romancy_outbox (outbox_id, topic, body, at) select concat('o', n), 't', '', 1 from NUMBERS
"""
_MANY = 3000
_LARGE = ("romancy_instances", "romancy_log", "romancy_inbox", "romancy_index", "romancy_seen", "romancy_outbox")
_ALIASES = {"i", "l", "x", "g", "s", "p", "d", *_LARGE}
_READS_IN_ORDER = {"outbox_read"}
"""Statements that read an index from its beginning and stop, at their LIMIT or after the last name."""


class Recorder:
    """Records every statement that a store sends for a call, with its plan."""

    def __init__(self, store: MySQLStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: dict[str, bytes] = {}
        run = Wire.run

        async def recording(wire: Wire, packet: bytes, what: str) -> object:
            self.sent.setdefault(what, packet)
            return await run(wire, packet, what)

        async def one_by_one(_: str, /) -> None:
            return

        monkeypatch.setattr(Wire, "run", recording)
        monkeypatch.setattr(Wire, "prepares", False)  # what is prepared has no text to explain
        listen(store, one_by_one)

    async def plans(self, wire: Wire) -> dict[str, list[tuple[object, ...]]]:
        """Return the lines of EXPLAIN for each statement."""
        traditional = b"" if "MariaDB" in wire.server_version else b"format=traditional "
        found: dict[str, list[tuple[object, ...]]] = {}
        for name, sql in self.sent.items():
            if sql.lstrip(b"( ").split()[0].lower() in (b"select", b"update", b"delete", b"insert"):
                (answer,) = await wire.run(b"explain " + traditional + sql, "explain")
                found[name] = list(answer.rows)
        return found

    async def whole_tables(self, wire: Wire) -> dict[str, list[tuple[object, ...]]]:
        """Return the statements that read much of a large table, with the lines of their plans that show it."""
        plans = await self.plans(wire)
        much = {name: [line for line in lines if _reads_much(line)] for name, lines in plans.items()}
        return {name: lines for name, lines in much.items() if lines and name not in _READS_IN_ORDER}


def _reads_much(line: tuple[object, ...]) -> bool:
    """Whether a line of EXPLAIN reads much: the two servers put table, access and rows in different columns."""
    table = str(line[2])
    texts = [str(value) for value in line]
    rows = max((int(value) for value in texts[5:] if value.isdigit()), default=0)
    return table in _ALIASES and ("ALL" in texts or "index" in texts[3:5]) and rows > _MANY


@pytest.fixture
async def filled(open_store: Open, wire: Wire) -> MySQLStore:
    """A store with many rows of every kind, of which the server has no statistics yet."""
    store = await open_store()
    await wire.run(_FILL.replace("NUMBERS", _NUMBERS).replace("DIGIT", _DIGIT).encode(), "fill")
    return store


async def _everything(store: MySQLStore, actor: Actor) -> None:
    """Make one call of each kind, with several items."""
    begun = [await actor.begin() for _ in range(3)]
    name = next(iter(actor.workflows))
    mail = [delivery(one, dedupe=nonce()) for one in begun]
    await store.deliver(mail)
    await store.deliver(mail)
    items = [
        append(
            one, 2, change=change(seen=1, run_from=2, projection=b'{"customer":"s:c1"}', index=(("customer", "s:c1"),)),
            consumed=(message.delivery_id,), outbox=(OutboxRow(outbox_id=unique(), topic="t", body=b""),),
            starts=(start(workflow_name=name, index=(("customer", "s:c2"),)),),
        )
        for one, message in zip(begun, mail, strict=True)
    ]  # fmt: skip
    await store.commit(items, worker=actor.token)
    await store.commit(items, worker=actor.token)
    await store.commit([step(one, 3) for one in begun], worker=actor.token)
    await store.claim(ClaimRequest(worker=actor.token, codes={**actor.workflows, "flow1": "c1"}, limit=10, sweep=True))
    await store.read(begun[0].instance_id)
    await store.services.outbox.read(10)
    await store.services.outbox.remove(["o1", "o2"])
    await store.services.upkeep.prune(PruneRequest(ended_before=3, dedupe_before=3, instance_ids=("i7",), limit=10))
    survivor = await Actor(store, workflows=actor.workflows).register()
    await survivor.take_over(actor)
    await store.wait_for_work(0.05)


async def test_no_statement_of_the_engines_reads_a_whole_table(
    filled: MySQLStore, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(filled, monkeypatch)
    await _everything(filled, await Actor(filled, workflows={unique("flow"): "c1"}).register())
    monkeypatch.undo()

    assert len(recorder.sent) > 40
    assert await recorder.whole_tables(wire) == {}


async def test_the_removal_of_many_reads_no_whole_table_and_waits_for_no_other_row(
    filled: MySQLStore, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 200 keys on, both servers would go by their old statistics, if the session did not say otherwise."""
    (limit,) = await wire.run(b"select @@eq_range_index_dive_limit", "test")
    assert [(0,)] == [tuple(map(int, row)) for row in limit.rows]
    ended = [f"i{number}" for number in range(100, 1000) if number % 10][:500]
    await wire.run(b"analyze table romancy_log, romancy_index, romancy_inbox, romancy_instances", "test")
    await wire.run(b"start transaction", "test")
    for table in (b"log", b"index", b"inbox"):
        await wire.run(b"delete from romancy_%b where instance_id = 'i9000'" % table, "test")
    recorder = Recorder(filled, monkeypatch)
    removing = filled.services.upkeep.prune(PruneRequest(instance_ids=tuple(ended), limit=500))
    removed = await asyncio.wait_for(removing, timeout=60)
    monkeypatch.undo()
    await wire.run(b"rollback", "test")

    assert removed == 500
    assert {"prune_named", "prune_log", "drop_index", "prune_instances"} < set(recorder.sent)
    assert await recorder.whole_tables(wire) == {}


SEARCHES = [
    build_query(),
    build_query(status="failed"),
    build_query(status=["failed", "waiting"]),
    build_query(workflow_name="low3"),
    build_query(workflow_name="low3", status="failed"),
    build_query({"customer": "c77"}),
    build_query({"customer": "c77"}, workflow_name="flow2", status="completed"),
    build_query({"customer": one_of("c77", "c78")}),
    build_query(parent="old"),
    build_query(parent="old", status="failed", workflow_name="flow1", oldest_first=True),
    build_query(ids=["i7", *(f"no-{number}" for number in range(900))], status="completed"),
    build_query(status=["failed", "waiting"], oldest_first=True),
    build_query(workflow_name="low3", status="failed", oldest_first=True),
    build_query({"customer": "c77"}, oldest_first=True),
]


async def test_a_search_uses_its_index(filled: MySQLStore, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    await wire.run(b"analyze table romancy_instances, romancy_index", "test")
    for query in SEARCHES:
        recorder = Recorder(filled, monkeypatch)
        for after in (None, Position(5_000, "i5000")):
            await filled.services.reading.find(replace(query, after=after))
        monkeypatch.undo()
        leave(filled)

        plans = await recorder.whole_tables(wire)
        assert {name: lines for name, lines in plans.items() if "by_" not in str(lines)} == {}, query


async def test_children_and_ids_are_looked_up(filled: MySQLStore, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    await wire.run(b"analyze table romancy_instances", "test")
    for query, index in (
        (build_query(parent="old"), "'by_parent'"), (build_query(parent="old", oldest_first=True), "'by_parent'"),
        (build_query(parent="old", status="completed"), "'by_parent'"), (build_query(ids=["i7", "i8"]), "'PRIMARY'"),
    ):  # fmt: skip
        for call, name in ((filled.services.reading.find, "find"), (filled.services.reading.count, "count")):
            recorder = Recorder(filled, monkeypatch)
            await call(query)
            monkeypatch.undo()
            leave(filled)

            plan = (await recorder.plans(wire))[name]
            assert any("'i'" in line and index in line for line in map(str, plan)), (query, plan)


async def test_a_declared_path_is_looked_up(filled: MySQLStore, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(filled, monkeypatch)
    page = await filled.services.reading.find(build_query({"customer": "c77"}))
    monkeypatch.undo()

    assert [row.instance_id for row in page.rows] == ["i8077", "i6077", "i4077", "i2077", "i77"]
    plans = await recorder.plans(wire)
    assert any("'x'" in line and "'ref'" in line and "'by_value'" in line for line in map(str, plans["find"]))


async def test_only_workflows_that_ever_did_not_declare_a_path_are_asked_row_by_row(
    filled: MySQLStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each workflow `flow0` to `flow9` has always declared the path, and `plain` has not."""
    await filled.commit([start(workflow_name="plain", projection=b'{"customer":"s:c77"}')])
    packets: list[bytes] = []
    run = Wire.run

    async def recording(wire: Wire, packet: bytes, what: str) -> object:
        packets.append(packet)
        return await run(wire, packet, what)

    monkeypatch.setattr(Wire, "run", recording)
    for workflow_name, ways in (("flow7", 1), ("flow", 1), ("l", 2), (None, 2)):
        page = await filled.services.reading.find(build_query({"customer": "c77"}, workflow_name=workflow_name))

        assert len(page.rows) == 5 + ways - 1, workflow_name
        assert packets[-1].count(b"limit 51") == ways, workflow_name


async def test_many_workflows_are_read_each_by_its_index(filled: MySQLStore) -> None:
    """With many names, a search reads a page of index entries for each of them, and one page of instances."""
    for newest, after in ((10_000, None), (5_000, Position(5_000, "i5000"))):
        query = replace(build_query(workflow_name="flow"), after=after)
        async with filled.database.work.borrow() as used:
            before = await _rows_read(used)
            asking = await _rows_read(used) - before
        page = await filled.services.reading.find(query)
        async with filled.database.work.borrow() as used:
            looked_at = await _rows_read(used) - before - 2 * asking

        assert [row.instance_id for row in page.rows] == [f"i{n}" for n in range(newest - 1, newest - 51, -1)]
        assert looked_at < 10 * 51 * 2 + 51 * 4 + 200


async def _rows_read(wire: Wire) -> int:
    (answer,) = await wire.run(b"show session status like 'Handler_read%'", "test")
    return sum(int(value) for _, value in answer.rows)


async def test_a_sweep_reads_no_mail_that_is_counted(filled: MySQLStore, wire: Wire) -> None:
    actor = await Actor(filled, workflows={"flow1": "c1"}).register()
    request = ClaimRequest(worker=actor.token, codes=actor.workflows, limit=0, sweep=True)
    async with filled.database.work.borrow() as used:
        before = await _rows_read(used)
        asking = await _rows_read(used) - before
    await filled.claim(request)
    async with filled.database.work.borrow() as used:
        assert await _rows_read(used) - before - 2 * asking < 100


_LONG = """
insert into romancy_log (instance_id, life, seq, writer, body, at)
select 'i7', 1, n + 3, 'w', '[]', 1 from NUMBERS where n < 2000;
insert into romancy_journal (instance_id, life, number, mark, at, body)
select 'i7', 1, STREAMS + 1 + n, concat('w-', n), 1, 'x' from NUMBERS where n < 2000
"""


async def test_the_ends_of_a_log_and_of_streams_are_found_without_reading_them(filled: MySQLStore, wire: Wire) -> None:
    text = _LONG.replace("NUMBERS", _NUMBERS).replace("DIGIT", _DIGIT).replace("STREAMS", str(STREAMS))
    await wire.run(text.encode(), "fill")
    journal, database = filled.services.journal, filled.database
    ids = comma(["i7", "i8"])

    async def claimed() -> None:
        await database.ask(database.statement("read_claimed", ids=ids))

    async def looked() -> None:
        behind = (await journal.written_behind([("i7", 1, 1999), ("i8", 1, 0)]))["i7"]
        assert (2002, [2000]) == (behind.last, [line.number for line in behind.lines])

    async def written() -> None:
        lines = [NewLine(one, 1, "v-1", 1, b"x", "none") for one in ("i7", "i8")]
        assert lines == (await journal.write(lines)).refused

    for call in (claimed, looked, written):
        async with database.work.borrow() as used:
            before = await _rows_read(used)
            asking = await _rows_read(used) - before
        await call()
        async with database.work.borrow() as used:
            assert await _rows_read(used) - before - 2 * asking < 200, call.__name__


async def test_a_whole_table_would_be_noticed(filled: MySQLStore, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(filled, monkeypatch)
    await wire.run(b"select * from romancy_instances i where i.code = 'c2'", "bad")
    monkeypatch.undo()

    assert list(await recorder.whole_tables(wire)) == ["bad"]
