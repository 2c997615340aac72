"""What each script writes: what is there stays, and a new value is what the rows and the parameters say."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from romancy.storage.columns import GIVEN, INTEREST
from romancy_mysql._sql import Raw, Text, rows_of, source
from tests.backends.mysql.rows import Rows, Values, sent, sql_of

if TYPE_CHECKING:
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]

GIVEN_COLUMNS = b",".join(b"'f'" if kind == "text" else b"9" for kind in GIVEN.values())

KEPT: tuple[tuple[str, Rows, Values], ...] = (
    ("start_instances", {"instances": {}}, {
        "rows": Raw(b"(_binary'i',8,'x',null,null,null,null,null,'',null,''," + GIVEN_COLUMNS + b",9,9)")}),
    ("add_seen", {"seen": {}}, {"rows": Raw(b"(_binary'i',7,_binary'k',9)")}),
    ("add_inbox", {"inbox": {}}, {"rows": Raw(b"(_binary'i',_binary'd','2',9,9)")}),
    ("add_uncounted", {"uncounted": {}}, {"rows": Raw(b"(_binary'i',_binary'd',9)")}),
    ("add_messages", {"messages": {}}, {"rows": Raw(b"(_binary'a',_binary'm','one','2',null,9)")}),
    ("mark_mail", {"uncounted": {}}, {}),
    ("give_letters", {"messages": {}, "letters": {}}, {"taken": True, "at": 9}),
    ("return_mail", {"inbox": {}, "messages": {"message_id": "d", "body": b"0"}}, {"handed": None}),
    ("return_taken", {"inbox": {}, "messages": {"message_id": "d", "body": b"0"}}, {}),
    ("return_letters", {"letters": {}, "messages": {"body": b"0"}}, {"ids": ["l"]}),
    ("log_takeover", {"workers": {}, "log": {}}, {"head": 0, "body": b"2"}),
    ("record_migration", {"schema": {}}, {"name": "other"}),
    ("renew_index_sets", {"instances": {}, "index_sets": {}}, {"paths": b"other"}),
    ("claim_schema", {"schema": {}}, {"token": "v", "stale": "u"}),
    ("interest_put", {"interests": {}}, {"judged": "gone", "where_": b"y"}),
    ("interest_put", {"interests": {}}, {"judged": "member", "where_": b"y"}),
)  # fmt: skip


async def test_what_is_there_stays(store: MySQLStore, wire: Wire) -> None:
    for script, rows, given in KEPT:
        sql = sql_of(store.database, script, given)
        if "judged" in given:
            sql = b"set @judged = _binary'%b';%b" % (given["judged"].encode(), sql)
        found = await sent(wire, store.database, sql, rows)
        assert (script, found.refused, found.lost, found.gained) == (script, False, 0, 0)


async def test_a_set_of_paths_that_two_runs_begin_with_is_written_once(store: MySQLStore, wire: Wire) -> None:
    given = source(("instance_id", "index_paths", "paths"), [("i", "p", b"p"), ("j", "p", b"p")])
    sql = sql_of(store.database, "renew_index_sets", given)

    found = await sent(
        wire, store.database, sql, {"instances": {}, "instances:j": {"instance_id": "j"}}, ["index_sets"]
    )

    assert (found.refused, found.gained) == (False, 1)


class Written(Struct, frozen=True):
    """A script with rows and parameters, and what is then in a column."""

    script: str
    column: str
    expected: list[Any]
    """`time`: any that the server gives."""
    rows: Rows
    given: Values = {}


CHANGE: Values = {
    "seq": 2, "sleeps": False, "ends": False, "finds": 0, "refused_by": None, "releases": True, "seen": 3,
}  # fmt: skip
SETTLED: Values = {"claim": "c", "delay": 9, "counted": 0}
CLAIMED: Rows = {"outbox": {"claim": "c"}}
RESTORED: Values = {"ended": False, "due": 0, "mail": 0}
WRITTEN = (
    Written("change_instances", "instances.touched_at", ["time"], {"instances": {}}, CHANGE),
    Written("change_instances", "instances.touched_at", [None], {"instances": {}}, CHANGE | {"releases": False}),
    Written("outbox_record", "outbox.next_at", [None], CLAIMED, SETTLED | {"state": "sent"}),
    Written("outbox_record", "outbox.next_at", ["time"], CLAIMED, SETTLED),
    Written("restore_instance", "instances.signals", [4], {"log": {}, "inbox": {"number": 4}}, RESTORED),
    Written("restore_instance", "instances.signals", [0], {"log": {}, "inbox": {}}, RESTORED),
    Written(
        "restore_instance", "instances.signals", [0], {"log": {}, "inbox": {"number": 4, "instance_id": "j"}}, RESTORED
    ),
    Written("claim_schema", "schema.name", [b"v"], {"schema": {}}, {"token": "v", "stale": "w"}),
    Written("outbox_requeue", "outbox.state", [b"dead", b"pending"], {
        "outbox": {"state": "dead", "at": 9}, "outbox:z": {"outbox_id": "z", "state": "sent"},
    }, {"states": ["dead", "sent"], "every": True, "limit": 1}),
    Written("outbox_purge", "outbox.state", [b"sent"], {
        f"outbox:{one}": {"outbox_id": one, "state": "sent", "ended_at": 5} for one in "xyz"
    }, {"states": ["sent"], "limit": 2}),
    Written("hold_free", "uncounted.delivery_id", [b"e"], {
        "instances": {}, "uncounted": {}, "uncounted:e": {"delivery_id": "e"}}),
)  # fmt: skip


async def test_a_script_writes(store: MySQLStore, wire: Wire) -> None:
    for one in WRITTEN:
        table = one.column.partition(".")[0]
        found = await sent(
            wire, store.database, sql_of(store.database, one.script, one.given), one.rows, [table], one.column
        )
        values = ["time" if isinstance(value, int) and value > 10**15 else value for (value,) in found.after[table]]
        assert (one, sorted(values, key=str)) == (one, one.expected)


async def test_only_a_workflow_that_continues_has_another_projection(store: MySQLStore, wire: Wire) -> None:
    database = store.database
    for run_from, none in ((None, 1), (4, 0)):
        given = CHANGE | {"run_from": run_from, "input": None, "projection": Text("{}"), "index_paths": None}
        sql = sql_of(database, "change_instances", given | {"continued": database["continued"].render(given)})

        found = await sent(wire, database, sql, {"instances": {}}, column="instances.projection is null")

        assert found.after["instances"] == ((none,),)


SAME: Values = {"owner": "i", "life": 7, "interest_id": "n", "address": "a", "kind": "take", "where_": b"x"}


@pytest.mark.parametrize("script", ["add_interests", "interest_put"])
@pytest.mark.parametrize(
    ("now", "kept"),
    [
        ({}, (True, True)),
        ({"where_": b"y"}, (True, False)),
        ({"address": "b"}, (False, False)),
        ({"kind": "copy"}, (False, False)),
    ],
    ids=["the same", "where", "address", "kind"],
)
async def test_an_interest_keeps_its_place_and_what_it_was_compared_with(
    store: MySQLStore, wire: Wire, script: str, now: Values, kept: tuple[bool, bool]
) -> None:
    wanted = SAME | now
    sql = sql_of(store.database, script, wanted | {"rows": rows_of(INTEREST, [(*wanted.values(), 0)])})

    found = await sent(
        wire, store.database, b"set @judged = _binary'free';" + sql, {"interests": {"swept": 1}},
        column="interests.at = 5, compared_to = 9, swept",
    )  # fmt: skip

    assert [tuple(map(bool, row)) for row in found.after["interests"]] == [(*kept, False)]


async def test_what_is_given_tells_when_it_was_posted_and_how_to_give_it_back(store: MySQLStore, wire: Wire) -> None:
    for interest, at in product((None, "n"), (None, 9)):
        sql = sql_of(store.database, "give_mail", {"interest": interest, "at": at, "delivery_id": "d"})
        columns = "inbox.at, interest, spread, projection, posted_at"
        found = await sent(wire, store.database, sql, {"messages": {}}, ["inbox"], columns)
        back = (None, None, None) if interest is None else (b"n", b"one", b"p")
        assert found.after["inbox"] == ((at or 5, *back, 5 if interest and at else None),)
    for taken in (False, True):
        sql = sql_of(store.database, "give_letters", {"taken": taken, "at": 9})
        columns = "letters.at, message_id, spread, posted_at, projection"
        found = await sent(wire, store.database, sql, {"messages": {}}, ["letters"], columns)
        assert found.after["letters"] == ((9, *((b"m", b"one", 5, b"p") if taken else (None,) * 4)),)


OPEN: Rows = {"instances": {}}
WANTED: Rows = {"interests": {"owner": "j", "kind": "member"}, "instances:j": {"instance_id": "j"}}
JUDGED: tuple[tuple[Rows, Values, str], ...] = (
    ({}, {}, "gone"),
    (OPEN, {}, "free"),
    ({"instances": {"life": 6}}, {}, "gone"),
    ({"instances": {"status": "failed"}}, {}, "gone"),
    ({"instances": {"instance_id": "k"}}, {}, "gone"),
    ({}, {"life": 0}, "free"),
    (OPEN | WANTED, {}, "member"),
    (OPEN | WANTED | {"interests": {"owner": "j", "kind": "copy"}}, {}, "free"),
    (OPEN | WANTED | {"interests": {"owner": "j", "kind": "member", "address": "b"}}, {}, "free"),
    (OPEN | WANTED | {"interests": {"owner": "s", "kind": "member", "life": 0}}, {}, "member"),
    (OPEN | WANTED | {"instances:j": {"instance_id": "j", "life": 6}}, {}, "free"),
    (OPEN | WANTED | {"instances:j": {"instance_id": "j", "status": "failed"}}, {}, "free"),
    (OPEN | WANTED | {"instances:j": {"instance_id": "k"}}, {}, "free"),
    (OPEN, {"copies": True}, "first"),
    (OPEN | WANTED | {"interests": {"owner": "j", "kind": "copy"}}, {"copies": True}, "free"),
    (OPEN | WANTED | {"interests": {"owner": "j", "kind": "copy", "life": 6}}, {"copies": True}, "first"),
)


async def test_a_new_interest_is_judged_by_those_of_open_instances(store: MySQLStore, wire: Wire) -> None:
    for rows, given, expected in JUDGED:
        sql = sql_of(store.database, "judge_interest", given) + b"; select @judged"
        found = await sent(wire, store.database, sql, rows, ["instances", "interests"])
        assert (rows, given, found.rows) == (rows, given, ((expected.encode(),),))


async def test_what_is_asked_of_the_server_is_about_its_own_tables(store: MySQLStore, wire: Wire) -> None:
    own = {"database": store.database.settings.database, "table": "romancy_log"}
    for given, there in ((own, True), (own | {"database": "nothing"}, False), (own | {"table": "nothing"}, False)):
        for script, nothing in (("about_how_many", ()), ("has_schema", ((0, 0),))):
            (answer,) = await wire.run(sql_of(store.database, script, given), "test")
            assert (answer.rows != nothing) is there
        tables = ["nothing", given["table"], given["table"].replace("log", "inbox")]
        (answer,) = await wire.run(sql_of(store.database, "any_table", given | {"tables": tables}), "test")
        assert answer.rows == ((b"romancy_inbox" if there else None,),)
    (answer,) = await wire.run(sql_of(store.database, "server_settings", {}), "test")
    assert len(answer.rows) == 7
