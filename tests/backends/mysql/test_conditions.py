"""What each script is about: a row that differs in one thing that it asks for is left alone, and is not in the answer.

What has changed between two statements of a call is read nowhere else, so each script is sent alone here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec import Struct

from romancy_mysql._sql import Raw
from tests.backends.mysql.rows import NOW, USUAL, Values, sent, sql_of

if TYPE_CHECKING:
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore
    from tests.backends.mysql.rows import Rows

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]


class Case(Struct, frozen=True):
    """A script, and the tables with a row that it is about. Without the row of the last one it does something else."""

    script: str
    tables: str
    keys: str = ""
    """Parameters: with another value of one of them, the script finds nothing."""
    given: Values = {}
    """Parameters, and columns of the rows (`table.column`), that differ from the usual ones."""
    misses: tuple[Values, ...] = ()
    """With one of these changes, the script finds nothing."""
    hits: tuple[Values, ...] = ()
    """With one of these, it still finds the row."""
    spared: tuple[Values, ...] = ()
    """Rows of the first table that are there as well, and stay as they are."""
    column: str = ""
    """The column that alone changes with the row."""


RECENT = {"age": NOW}

CLAIMS = (
    Case("load", "instances", "worker", {"instances.owner": "w"}),
    Case("look_alive", "workers", "worker", misses=({"workers.dead": 1},)),
    Case("take_claimed", "instances workers", "worker ids", misses=({"workers.dead": 1},)),
    Case(
        "claim_due", "instances", "workflow_name",
        {"code": "\nc1\n", "instances.wake_at": 5, "leaves": True, "leave": ["c9"], "grace": NOW},
        misses=(
            {"instances.refused": b"c0\nc1"}, {"instances.wake_at": None}, {"instances.wake_at": NOW},
            {"leave": ["c1"]}, {"rung": 1},
        ),
        hits=({"leave": ["c1"], "grace": 1}, {"leave": ["c1"], "leaves": False}, {"instances.refused": b"c11"}),
    ),
    Case(
        "turn_of", "instances", "workflow_name",
        {
            "code": "\nc1\n", "instances.wake_at": 5, "instances.fair_line": "a", "rung": 100, "low": "a", "below": "b",
            "leaves": True, "leave": ["c9"], "grace": NOW,
        },
        misses=(
            {"instances.refused": b"c0\nc1"}, {"instances.wake_at": NOW}, {"leave": ["c1"]}, {"rung": 101},
            {"low": "aa"}, {"below": "a"},
        ),
        hits=({"leave": ["c1"], "grace": 1}, {"leave": ["c1"], "leaves": False}, {"instances.refused": b"c11"}),
    ),
    Case(
        "claim_chosen", "instances", "ids", {"instances.wake_at": 5},
        misses=({"instances.wake_at": None}, {"instances.wake_at": NOW}),
    ),
    Case(
        "find_stranded", "instances",
        misses=({"instances.owner": "w"}, {"instances.wake_at": 5}, {"instances.status": "waiting"}),
        hits=({"instances.status": "cancelling"}, {"instances.status": "compensating"}),
    ),
    Case(
        "find_parked", "instances", "workflow_name", {"code": "\nc1\n", "instances.status": "stuck"},
        misses=(
            {"instances.owner": "w"}, {"instances.wake_at": 5}, {"instances.status": "running"},
            {"instances.refused": b"c1"},
        ),
        hits=({"instances.refused": b"c11\n1c1"},),
    ),
    Case(
        "find_uncounted", "uncounted instances", given={"instances.status": "waiting"},
        misses=({"instances.instance_id": "j"}, {"instances.status": "failed"}),
    ),
    Case("find_uncounted", "uncounted", misses=(RECENT,)),
    Case("count_mail", "instances", "ids", misses=({"instances.status": "failed"},)),
    Case(
        "count_mail", "instances", column="wake_at",
        misses=({"instances.owner": "w"}, {"instances.status": "stuck"}), hits=({"instances.status": "waiting"},),
    ),
    Case("count_mail", "instances", column="signals", misses=({"instances.seen": 2},)),
    Case(
        "offer_asleep", "instances", "ids", {"instances.status": "stuck"},
        misses=({"instances.owner": "w"}, {"instances.wake_at": 5}, {"instances.status": "waiting"}),
        hits=tuple({"instances.status": one} for one in ("running", "cancelling", "compensating")),
    ),
    Case("read_owned", "instances", "dead", {"dead": "w", "instances.owner": "w"}, hits=({"ids": ["i"]},)),
    Case("marked_dead", "workers workers:dead", "dead worker", {"workers:dead.token": "dead", "workers:dead.dead": 1},
         misses=({"workers.dead": 1}, {"workers:dead.dead": 0})),
    Case("log_takeover", "workers", "worker", {"others": "log"}, misses=({"workers.dead": 1},)),
    Case("free_from_dead", "instances", "instance_id life dead", {"instances.owner": "dead"}),
    Case("drop_workers", "workers", "tokens", {"workers.dead": 1}, misses=({"workers.dead": 0},)),
    Case("dead_workers", "workers", given={"workers.dead": 1}, misses=({"workers.dead": 0}, RECENT)),
    Case("dead_workers", "workers instances", given={"workers.dead": 1, "instances.owner": "w"},
         misses=({"instances.owner": "x"},)),
)  # fmt: skip

COMMITS = (
    Case("=predecessors", "log", "instance_id life prior known"),
    Case("=from_living", "workers", "token", misses=({"workers.dead": 1},)),
    Case("=living_writer", "workers", "token", misses=({"workers.dead": 1},)),
    Case("=number_now", "instances", "instance_id"),
    Case("=life_now", "instances", "instance_id"),
    Case("hold_former", "instances", "instance_id life statuses"),
    Case("lock_instances", "instances", "instance_id"),
    Case(
        "signal_instances", "instances", column="wake_at",
        misses=({"instances.owner": "w"}, {"instances.status": "stuck"}), hits=({"instances.wake_at": NOW},),
    ),
    Case("renew_index_sets", "instances", "instance_id", {"others": "index_sets"}),
    Case("look_workers", "workers", "ids", {"ids": ["w"]}, misses=({"workers.dead": 1},)),
    Case("look_instances", "instances", "ids"),
    Case("look_log", "log", "instance_id life seq"),
    Case("look_inbox", "inbox", "instance_id delivery_id"),
    Case("look_seen", "seen", "unit dedupe", {"seen.life": 0}, misses=({"seen.life": 1},)),
    Case("look_seen_inside", "instances seen", "unit dedupe", misses=({"seen.life": 6}, {"seen.unit": "j"})),
    Case("look_messages", "messages", "address message_id"),
    Case("number_inbox", "instances inbox", "instance_id delivery_id", misses=({"instances.instance_id": "j"},)),
    Case("drop_uncounted", "uncounted", "instance_id delivery_id",
         spared=({"instance_id": "j"}, {"delivery_id": "e"})),
    Case("drop_interests", "interests", "owner life interest_id",
         spared=({"owner": "j"}, {"life": 6}, {"interest_id": "o"})),
    Case("last_commits", "log", "instance_id life seq"),
    Case("log_of_life", "log", "instance_id life", {"after": 0}, misses=({"after": 1},)),
    Case("some_index", "index", "ids"),
    Case("some_rows", "index_sets instances", "ids"),
    Case("some_rows", "instances index_sets",
         misses=({"index_sets.workflow_name": "x"}, {"index_sets.index_paths": "x"})),
    Case("hold_runs", "instances", "instance_id life run_from"),
    Case("renew_projections", "instances", "instance_id", {"projection": None, "index_paths": "p"}),
    Case("restore_instance", "log", "life last_seq", {"others": "instances", "ended": False, "due": 0, "mail": 0}),
    Case("restore_instance", "log log:next",
         given={"others": "instances", "ended": False, "due": 0, "mail": 0, "log:next.seq": 2},
         misses=({"log:next.life": 6}, {"log:next.instance_id": "j"})),
)  # fmt: skip

PRUNING = (
    Case("find_old", "instances", "status", misses=({"before": 5},)),
    Case("prune_log", "log", "ids", spared=({"instance_id": "j"},)),
    Case("prune_journal", "journal", "ids", spared=({"instance_id": "j"},)),
    Case("prune_inbox", "inbox", "ids", spared=({"instance_id": "j"},)),
    Case("prune_uncounted", "uncounted", "ids", spared=({"instance_id": "j"},)),
    Case("prune_seen", "seen", misses=({"before": 5},)),
    Case("forget_instances", "seen", "ids", spared=({"unit": "j"}, {"life": 0})),
    Case("prune_interests", "interests", "ids", spared=({"owner": "j"}, {"life": 0})),
    Case("hold_taken", "inbox", "ids", misses=({"inbox.interest": None},)),
    Case("return_taken", "inbox", "ids", {"others": "messages"}, misses=({"inbox.interest": None},)),
    Case("former_runs", "instances log", given={"instances.run_from": 2},
         misses=({"log.seq": 2}, {"log.life": 6}, {"log.instance_id": "j"}, {"instances.run_from": 1})),
    Case("drop_former_runs", "log", "instance_id life", {"run_from": 2}, misses=({"run_from": 1},),
         spared=({"instance_id": "j"}, {"life": 6}, {"seq": 2})),
    Case("former_streams", "log journal journal:newest", "instance_id life run_from",
         {"log.at": 9, "late": 3, "streams": 2, "journal:newest.number": 4, "run_from": 1},
         misses=({"late": 4}, {"streams": 3}, {"log.life": 6}, {"log.instance_id": "j"}, {"journal.life": 6},
                 {"journal.instance_id": "j"}, {"journal:newest.life": 6}, {"journal:newest.instance_id": "j"})),
    Case("journal_cut", "journal", "instance_id life", {"low": 2, "number": 3},
         misses=({"number": 2}, {"low": 3}),
         spared=({"instance_id": "j"}, {"life": 6}, {"number": 4}, {"number": 2})),
)  # fmt: skip

POSTS = (
    Case("discard_messages", "messages", "address message_id", {"judged": "first"}, misses=({"judged": "free"},),
         spared=({"address": "b"}, {"message_id": "n"})),
    Case("kept_ids", "messages", "address"),
    Case("number_addresses", "addresses", "address last", {"number": 9}, spared=({"address": "b"},)),
    Case("mark_addresses", "addresses", "address last", {"marked_at": 9}, spared=({"address": "b"},)),
    Case("hold_interests", "interests", "owner life interest_id address count"),
    Case("give_letters", "messages", "address message_id", {"others": "letters", "taken": True}),
    Case("end_interests", "interests", "owner life interest_id address at"),
    Case("mark_interests", "interests", "owner life interest_id address where_", misses=({"interests.kind": "copy"},)),
    Case("mark_messages", "messages", "address message_id at", spared=({"address": "b"}, {"message_id": "n"})),
    Case("drop_messages", "messages", "address message_id", spared=({"address": "b"}, {"message_id": "n"})),
    Case("end_messages", "messages", "address message_id", spared=({"address": "b"}, {"message_id": "n"})),
    Case("hold_free", "uncounted instances", "instance_id life delivery_id",
         misses=({"instances.status": "failed"}, {"instances.instance_id": "j"}),
         spared=({"instance_id": "j"}, {"delivery_id": "e"})),
    Case("signal_free", "instances", "instance_id", misses=({"instances.status": "failed"},)),
    Case("signal_free", "instances", column="wake_at",
         misses=({"instances.owner": "w"}, {"instances.status": "stuck"})),
    Case("signal_free", "instances uncounted", misses=({"uncounted.instance_id": "j"}, {"uncounted.delivery_id": "e"})),
    Case("number_free", "instances inbox", "instance_id delivery_id", misses=({"instances.instance_id": "j"},)),
    Case("number_free", "instances inbox uncounted",
         misses=({"uncounted.instance_id": "j"}, {"uncounted.delivery_id": "e"})),
    Case("still_uncounted", "uncounted", "instance_id delivery_id"),
    Case("find_misdelivered", "instances",
         given={"rows": Raw(b"select _binary'i' as instance_id, 7 as life, _binary'd' as delivery_id")},
         misses=({"instances.life": 6}, {"instances.status": "failed"}, {"instances.instance_id": "j"})),
    Case("hold_mail", "inbox", "instance_id delivery_id", {"handed": 5},
         misses=({"inbox.address": None}, {"inbox.at": 8}), hits=({"handed": None, "inbox.at": 8},)),
    Case("return_mail", "inbox", "instance_id delivery_id", {"others": "messages", "handed": 5},
         misses=({"inbox.interest": None}, {"inbox.at": 8}), hits=({"handed": None, "inbox.at": 8},)),
    Case("unmark_mail", "inbox uncounted", "instance_id delivery_id", {"handed": 5},
         misses=({"inbox.address": None}, {"inbox.at": 8}, {"uncounted.delivery_id": "e"}),
         hits=({"handed": None, "inbox.at": 8},)),
    Case("drop_mail", "inbox", "instance_id delivery_id", {"handed": 5},
         misses=({"inbox.address": None}, {"inbox.at": 8}), hits=({"handed": None, "inbox.at": 8},)),
    Case("hold_letters", "letters", "subscriber ids", {"ids": ["l"]}),
    Case("return_letters", "letters", "subscriber ids", {"ids": ["l"], "others": "messages"},
         misses=({"letters.message_id": None},)),
    Case("drop_letters", "letters", "subscriber ids", {"ids": ["l"]}),
    Case("interests", "interests instances", "address",
         misses=({"instances.life": 6}, {"instances.status": "failed"}, {"instances.instance_id": "j"})),
    Case("interests", "instances interests", "address", {"interests.life": 0, "instances.instance_id": "j"}),
    Case("kept_alike", "messages", "message_id"),
    Case("kept_page", "messages", misses=({"after": "m"},)),
)  # fmt: skip

SWEEPS = (
    Case("unswept_messages", "messages", misses=({"messages.swept": 1},), hits=({"messages.swept": -5},)),
    Case("unswept_interests", "interests", misses=({"interests.swept": 1},)),
    Case("sweep_messages", "messages", "address message_id at swept", misses=(RECENT,)),
    Case("sweep_interests", "interests", "owner life interest_id at", misses=(RECENT,)),
    Case("find_abandoned", "inbox", misses=({"inbox.interest": None},)),
    Case("find_expired", "messages",
         misses=({"before": 5}, {"before": 5, "messages.swept": 1}, {"before": 5, "messages.swept": -5}),
         hits=({"messages.swept": 1}, {"messages.swept": -5})),
    Case("find_expired", "messages interests", misses=({"interests.address": "b"},)),
    Case("find_unread", "letters", misses=({"before": 5},)),
    Case("find_unread", "letters interests", given={"interests.owner": "s", "interests.life": 0},
         misses=({"interests.owner": "t"}, {"interests.life": 7})),
    Case("end_letters", "letters", "subscriber letter_id", spared=({"subscriber": "t"}, {"letter_id": "k"})),
    Case("find_notes", "interests", given={"interests.address": "b/5", "before": "b/7"},
         misses=({"before": "b/5"}, {"interests.address": "a/9"})),
    Case("find_unused", "addresses", misses=({"before": 5},)),
    Case("find_unused", "addresses messages", misses=({"messages.address": "b"},)),
    Case("find_unused", "addresses interests", misses=({"interests.address": "b"},)),
    Case("end_addresses", "addresses", "address marked_at", misses=({"before": 5},), spared=({"address": "b"},)),
)  # fmt: skip


def behind(script: str, **given: Any) -> Case:
    """A message that is behind an older one with its key."""
    return Case(
        script,
        "outbox outbox:older",
        given={"outbox:older.outbox_id": "a", "outbox:older.at": 4, **given},
        misses=(
            {"outbox:older.order_key": "x"},
            {"outbox:older.state": "sent"},
            {"outbox:older.at": 6},
            {"outbox:older.at": 5, "outbox:older.outbox_id": "z"},
        ),
        hits=({"outbox:older.at": 5},),
    )


OUTBOX = (
    Case("outbox_due", "outbox", misses=({"outbox.state": "sent"}, {"outbox.next_at": NOW})),
    behind("outbox_judge", ids=["o"]),
    behind("outbox_parked", **{"outbox.next_at": None}),
    Case("outbox_parked", "outbox", given={"outbox.next_at": None},
         misses=({"outbox.next_at": 5}, {"outbox.state": "sent"})),
    Case("outbox_keys", "outbox", "ids", {"ids": ["o"]}, misses=({"outbox.order_key": None},)),
    Case("outbox_park", "outbox", "ids", {"ids": ["o"]}),
    Case("outbox_unpark", "outbox", "ids", {"ids": ["o"], "outbox.next_at": None}, misses=({"outbox.state": "sent"},)),
    Case("outbox_read", "outbox", misses=({"outbox.state": "sent"},)),
    Case("outbox_purge", "outbox", "states", {"outbox.state": "sent", "states": ["sent"], "outbox.ended_at": 5},
         misses=({"before": 5},)),
    Case("outbox_requeue", "outbox", "states ids", {"outbox.state": "dead", "states": ["dead"], "ids": ["o"]},
         hits=({"every": True, "ids": ["x"]},)),
    Case("outbox_entries", "outbox", "states", {"at": 4, "outbox_id": ""},
         misses=({"at": 5, "outbox_id": "o"}, {"at": 6}), hits=({"at": 5, "outbox_id": "a"}, {"outbox_id": "z"})),
    Case("outbox_record", "outbox", column="next_at", given={"outbox.claim": "c", "claim": "c", "state": "pending",
         "delay": 9, "counted": 0}),
    Case("outbox_record", "outbox", column="ended_at", misses=({"state": "pending"},),
         given={"outbox.claim": "c", "claim": "c", "state": "sent", "delay": 9, "counted": 0}),
)  # fmt: skip

SCHEMA = (
    Case("schema_steps", "schema", given={"schema.version": 1}, misses=({"schema.version": 0},)),
    Case("claimant_of_schema", "schema", misses=({"schema.version": 1},)),
    Case("leave_schema", "schema", "token", misses=({"schema.version": 1},)),
)


async def outcome(
    case: Case, store: MySQLStore, wire: Wire, changes: Values, *, whole: bool = True
) -> tuple[object, ...]:
    """What the script finds and changes; if not `whole`, where the last row is not there."""
    given = {**case.given, **changes}
    names = case.tables.split()
    rows: Rows = {name: {} for name in (names if whole else names[:-1])}
    rows |= {f"{names[0]}:{number}": dict(one) for number, one in enumerate(case.spared)}
    for name, value in given.items():
        table, _, column = name.rpartition(".")
        if table in rows:
            rows[table][column] = value
    sql = sql_of(store.database, case.script, {name: one for name, one in given.items() if "." not in name})
    if "judged" in given:
        sql = b"set @judged = _binary'%b';%b" % (given["judged"].encode(), sql)
    others = [names[-1].partition(":")[0], *given.get("others", "").split()]
    found = await sent(wire, store.database, sql, rows, others, f"{names[0]}.{case.column}" if case.column else "*")
    return (found.lost, found.gained) if case.column else (found.rows, found.refused, found.lost, found.gained)


async def wrong(case: Case, store: MySQLStore, wire: Wire) -> list[object]:
    """The changes that make a difference where they should not, or none where they should."""
    known: Values = {**USUAL, **case.given}
    misses = [*case.misses, *({name: other(known[name])} for name in case.keys.split())]
    hits: tuple[Values, ...] = ({}, *case.hits)
    nothing, found = await outcome(case, store, wire, {}, whole=False), await outcome(case, store, wire, {})
    told: list[object] = [one for one in misses if await outcome(case, store, wire, one) != nothing]
    told += [(one, "hits") for one in hits if await outcome(case, store, wire, one) == nothing]
    if case.spared and found[2:] != (1, found[3]):
        told.append((found, "spared"))
    return told


def other(value: Any) -> Any:
    """Another value than this one. A list is one of texts."""
    if isinstance(value, list):
        return ["?"]
    if isinstance(value, bytes):
        return value + b"?"
    return f"{value}?" if isinstance(value, str) else value + 1


ALL = {
    "claims": CLAIMS, "commits": COMMITS, "pruning": PRUNING, "posts": POSTS, "sweeps": SWEEPS, "outbox": OUTBOX,
    "schema": SCHEMA,
}  # fmt: skip


@pytest.mark.parametrize("about", ALL)
async def test_a_script_finds_what_fits_in_everything(store: MySQLStore, wire: Wire, about: str) -> None:
    found = [(case.script, case.tables, await wrong(case, store, wire)) for case in ALL[about]]

    assert [one for one in found if one[-1]] == []
