"""What each script answers: so many rows, the first in its order, and all of what belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from romancy_mysql._sql import Raw, source
from tests.backends.mysql.rows import sent, sql_of

if TYPE_CHECKING:
    from romancy_mysql._connection import Wire
    from romancy_mysql._store import MySQLStore
    from tests.backends.mysql.rows import Rows, Values

pytestmark = [pytest.mark.anyio, pytest.mark.backends("mysql", "mariadb")]


class Answered(NamedTuple):
    """A script with rows and parameters, and columns of its answer."""

    script: str
    rows: Rows
    given: Values
    expected: list[Any]
    """The first column of each row, or those that are named."""
    columns: tuple[int, ...] = (0,)


def three(table: str, column: str, **fields: Any) -> Rows:
    """Three rows that differ in this column."""
    return {f"{table}:{one}": {**fields, column: one} for one in "xyz"}


def log(*seqs: int, **fields: Any) -> Rows:
    return {f"log:{fields}{seq}": {"seq": seq, "body": b"[12]", **fields} for seq in seqs}


TWO: Values = {"limit": 2, "most": 2}
FIRST: Values = {"limit": 1, "most": 1}
CODE: Values = {"code": "\nc1\n", "leaves": False, "leave": ["c9"], "grace": 0}
RUN: Rows = {"instances": {"run_from": 2, "last_seq": 3}}

LIMITS = (
    Answered("load", three("instances", "instance_id", owner="w"), TWO, [2]),
    Answered("claim_due", three("instances", "instance_id", wake_at=5), TWO | CODE, [b"x", b"y"]),
    Answered(
        "turn_of", three("instances", "instance_id", wake_at=5, fair_line="a"),
        TWO | CODE | {"rung": 100, "low": "a", "below": "b"}, [b"x", b"y"], (2,),
    ),
    Answered("find_parked", three("instances", "instance_id", status="stuck"), TWO | CODE, [b"x", b"y"]),
    Answered("find_stranded", three("instances", "instance_id"), TWO, [b"x", b"y"]),
    Answered("find_old", three("instances", "instance_id"), TWO, [b"x", b"y"]),
    Answered("find_uncounted", three("uncounted", "delivery_id"), TWO, [b"x", b"y"], (1,)),
    Answered("find_abandoned", three("inbox", "delivery_id"), TWO, [b"x", b"y"], (1,)),
    Answered("find_expired", three("messages", "message_id"), TWO, [b"x", b"y"], (1,)),
    Answered("find_unread", three("letters", "letter_id"), TWO, [b"x", b"y"], (1,)),
    Answered(
        "find_notes", three("interests", "interest_id", address="b/0"), TWO | {"before": "b/1"}, [b"x", b"y"], (2,)
    ),
    Answered("find_unused", three("addresses", "address"), TWO, [b"x", b"y"]),
    Answered("unswept_messages", three("messages", "message_id"), TWO, [b"x", b"y"], (1,)),
    Answered("unswept_interests", three("interests", "interest_id"), TWO, [b"x", b"y"], (2,)),
    Answered("letters", three("letters", "letter_id"), TWO, [b"x", b"y"]),
    Answered("kept_page", three("messages", "message_id"), TWO, [b"x", b"y"]),
    Answered("kept_page", three("messages", "message_id"), {"after": "x"}, [b"y", b"z"]),
    Answered("outbox_due", three("outbox", "outbox_id"), TWO, [b"x", b"y"]),
    Answered("outbox_parked", three("outbox", "outbox_id", next_at=None, order_key=None), TWO, [b"x", b"y"]),
    Answered("outbox_ended", three("outbox", "outbox_id", state="sent"), TWO | {"state": "sent"}, [2]),
    Answered("touched", three("instances", "instance_id", touched_at=5), TWO | {"since": 0}, [b"z", b"y"]),
)  # fmt: skip

NEWS: Rows = {
    "instances:a": {"instance_id": "a", "touched_at": 10}, "instances:b": {"instance_id": "b", "touched_at": 20},
    **{f"workers:{number}": {"token": f"{number:02}", "started_at": 19 + number} for number in range(12)},
    "workers:dead": {"token": "dead", "started_at": 40, "dead": 1},
    "workers:idle": {"token": "idle", "started_at": 40, "codes": b""},
}  # fmt: skip
NEWEST: Values = {"limit": 1}
CAME: Values = {"mark": "!"}
TICKS: Values = {"ticks": 3, "tick_ms": 1, "longest_ms": 1}
ORDERS = (
    Answered("touched", NEWS, NEWEST | {"since": 10}, [b"b"]),
    Answered("touched", NEWS, NEWEST | {"since": 20}, [b"b"]),
    Answered("touched", NEWS, NEWEST | {"since": 21}, []),
    Answered("came", NEWS, CAME | {"since": 20}, [b"!%02d" % one for one in range(11, 1, -1)]),
    Answered("came", NEWS, CAME | {"since": 25}, [b"!%02d" % one for one in range(11, 5, -1)]),
    Answered("came", NEWS, CAME | {"since": 30}, [b"!11"]),
    Answered("await_change", NEWS, TICKS | {"since": 15}, [1]),
    Answered("await_change", NEWS, TICKS | {"since": 20}, []),
    Answered(
        "outbox_read", {"outbox:a": {"outbox_id": "a", "next_at": 9}, "outbox:b": {"outbox_id": "b"}}, FIRST, [b"a"],
    ),
    Answered(
        "read_owned",
        {f"instances:{one}": {"instance_id": one, "owner": "w", "created_at": at} for one, at in (("a", 9), ("b", 5))},
        {"dead": "w", "every": True}, [b"a", b"b"],
    ),
    Answered(
        "kept_page", {"messages": {"message_id": "z"}, "messages:b": {"address": "b", "message_id": "y"}}, {},
        [b"y", b"z"],
    ),
    Answered("some_lives", log(1, instance_id="j") | log(1, 2) | log(1, instance_id="k"), {}, [b"i", b"j", b"k"]),
    Answered("some_lives", log(1, instance_id="j") | log(1), TWO | {"after": "i"}, [b"j"]),
    Answered("last_life", log(1, 2, life=7) | log(1, life=8, at=6) | log(3, life=9, at=4), {}, [8]),
    Answered("last_life", log(1, life=8) | log(2, life=9), {}, [9]),
    Answered("unswept_messages", {"messages": {}, "messages:back": {"message_id": "z", "swept": -5}}, FIRST, [b"z"],
             (1,)),
    Answered("unswept_messages", {"messages": {}, "messages:old": {"message_id": "z", "at": 4}}, FIRST, [b"z"], (1,)),
)  # fmt: skip

LOGS = (
    Answered("read_log", {"instances": {}, **log(1, 2, 3)}, {"after": 0, "bytes": 8}, [(1, 3), (2, 3)], (0, 4)),
    Answered("read_log", {"instances": {}, **log(1, 2, 3)}, {"after": 0, "bytes": 7}, [(1, 3)], (0, 4)),
    Answered("read_log", {"instances": {}, **log(1, 2, 3)}, {"after": 1, "bytes": 1}, [(2, 2)], (0, 4)),
    Answered("read_log", {"instances": {}, **log(1, 2, 3)}, {"after": 0, "bytes": 99, "limit": 2}, [(1, 2), (2, 2)],
             (0, 4)),
    Answered("read_short_logs", RUN | log(1, 2, 3), {"bytes": 4, "commits": 2}, [b"[12]"] * 2, (1,)),
    Answered("read_short_logs", RUN | log(1, 2, 3), {"bytes": 3, "commits": 2}, []),
    Answered("read_short_logs", RUN | log(1, 2, 3), {"bytes": 4, "commits": 1}, []),
    Answered("read_short_logs", RUN | log(2) | log(9, instance_id="j") | log(9, life=6),
             {"bytes": 4, "commits": 1}, [b"i"]),
    Answered("read_short_logs", RUN | log(2), {"bytes": 4, "commits": 1, "ids": ["j"]}, []),
    Answered("read_claimed", RUN | log(3, writer="a") | log(4, writer="b"), {}, [(b"i", 4, b"b")], (0, 8, 12)),
    Answered("read_claimed", RUN | log(3, writer="a"), {}, [(b"i", 3, b"a")], (0, 8, 12)),
    Answered("read_claimed", RUN | log(2, writer="a"), {}, [(b"i", 3, None)], (0, 8, 12)),
    Answered("read_claimed", RUN | log(3, writer="a") | log(9, life=6) | log(9, instance_id="j"), {},
             [(b"i", 3, b"a")], (0, 8, 12)),
    Answered("read_claimed", RUN | {"inbox:i": {"body": b"123"}, "inbox:j": {"instance_id": "j"}}, {}, [(b"i", 4)],
             (0, 3)),
    Answered("read_claimed", RUN, {"ids": ["j"]}, []),
)  # fmt: skip

MAIL: Rows = {
    f"inbox:{one}{number}": {"instance_id": one, "delivery_id": f"{number}", "number": number}
    for one in "ijk" for number in (3, 4)
}  # fmt: skip
KEPT: Values = {"kept": Raw(b"when _binary'i' then 3"), "ids": ["j", "k"]}
OWNED: Rows = {
    "instances:i": {"owner": "w", "signals": 4}, "instances:j": {"instance_id": "j", "owner": "w"},
    "instances:k": {"instance_id": "k", "owner": "v", "signals": 4},
    "instances:l": {"instance_id": "l", "owner": "w"},
}  # fmt: skip
LISTENED: Rows = {
    f"interests:{owner}{life}{one}": {"owner": owner, "life": life, "interest_id": one, "swept": int(life == 1)}
    for owner, life, one in (("a", 1, "x"), ("a", 1, "y"), ("a", 2, "x"), ("b", 0, "x"))
}  # fmt: skip
PLACES = [(b"a", 1, b"x"), (b"a", 1, b"y"), (b"a", 2, b"x"), (b"b", 0, b"x")]
BEGINNING: Values = {"owner": "", "life": 0, "interest_id": ""}
LIVES: Rows = {
    "instances:a": {"instance_id": "a", "life": 2}, "instances:b": {"instance_id": "b", "life": 2},
    "interests:a": {"owner": "a", "life": 2}, "interests:b": {"owner": "b", "life": 1},
    "interests:c": {"owner": "c", "life": 0},
}  # fmt: skip

MORE = (
    Answered("read_mailboxes", OWNED | MAIL, KEPT, [(b"i", 2), (b"j", 4)], (0, 3)),
    Answered("read_mailboxes", OWNED | MAIL, KEPT | {"ids": ["i", "l"]}, [(b"i", 2), (b"l", 0)], (0, 3)),
    Answered("find_outlived", LISTENED, BEGINNING, PLACES, (0, 1, 2)),
    *(
        Answered(
            "find_outlived", LISTENED, {"owner": owner.decode(), "life": life, "interest_id": one.decode()},
            PLACES[number:], (0, 1, 2),
        )
        for number, (owner, life, one) in enumerate(PLACES, 1)
    ),
    Answered("find_outlived", LISTENED, BEGINNING | {"limit": 2}, PLACES[:2], (0, 1, 2)),
    Answered("find_outlived", LIVES, BEGINNING, [(b"a", 0), (b"b", 1), (b"c", 0)], (0, 3)),
    Answered("find_outlived", LIVES | {"instances:a": {"instance_id": "a", "life": 2, "status": "failed"}}, BEGINNING,
             [(b"a", 1), (b"b", 1), (b"c", 0)], (0, 3)),
)  # fmt: skip

PLACE: Values = {"at": -1, "message_id": "", "after": ""}
KEPT_THERE: Rows = {
    "messages:m": {}, "messages:n": {"message_id": "n", "spread": "every", "at": 6},
    "messages:other": {"address": "b", "projection": b"q"},
}  # fmt: skip
LEAST = (1, 4, 6)
"""The message, its projection, and up to when all interests were compared with messages."""


def routed(expected: list[Any], *interests: Values, **message: Any) -> Answered:
    rows = {f"interests:{number}": {"interest_id": f"{number}", **one} for number, one in enumerate(interests)}
    return Answered("route_messages", KEPT_THERE | rows | {"messages:m": message}, PLACE, expected, LEAST)


BLIND: Values = {"where_": None}
WHOLE = [(b"m", b"p", 9), (b"n", b"p", 9)]
UNSEEN = [(b"n", None, None)]
PAGED: Rows = {
    "interests:a": {}, "interests:b": {"interest_id": "o", "address": "b"},
    **{
        f"messages:{number}": {"at": at, "message_id": one, "address": address}
        for number, (at, one, address) in enumerate(
            [(4, "z", "a"), (5, "l", "b"), (5, "m", "a"), (5, "m", "b"), (5, "n", "a"), (6, "a", "b"), (7, "a", "a")]
        )
    },
}  # fmt: skip
BOTH: Values = source(("address",), [("a",), ("b",)])
INTERESTED: Rows = {"messages": {}, "interests": {"compared_to": -1}}

ROUTES = (
    routed(UNSEEN),
    routed(WHOLE, {}),
    routed([(b"m", b"p", -1), (b"n", b"p", -1)], {}, {"compared_to": -1}),
    routed([(b"m", b"p", 0), (b"n", b"p", 0)], {"compared_to": 0}),
    routed([(b"m", None, None), (b"n", None, None)], BLIND),
    routed([(b"m", None, None), (b"n", None, None)], BLIND, {"address": "b"}),
    routed(UNSEEN, {"kind": "member", **BLIND}),
    routed(UNSEEN, {"address": "b", "compared_to": -1}),
    routed(WHOLE, {}, {"kind": "member", "compared_to": -1}),
    routed(WHOLE, {}, {"kind": "member", "compared_to": 3}),
    routed(WHOLE, {}, {"address": "b", "compared_to": -1}),
    routed(WHOLE, {}, {"address": "b", "compared_to": 3}),
    routed(WHOLE[1:], {}, compared=1),
    routed(WHOLE[1:], {}, compared=1, at=9),
    routed(WHOLE[::-1], {}, compared=1, at=10),
    Answered("route_messages", PAGED, BOTH | {"at": 5, "message_id": "m", "after": "a"},
             [(b"b", b"m"), (b"a", b"n"), (b"b", b"a"), (b"a", b"a")], (0, 1)),
    Answered("route_messages", PAGED, BOTH | {"at": 5, "message_id": "m", "after": "a", "limit": 2},
             [(b"b", b"m"), (b"a", b"n")], (0, 1)),
    Answered("route_interests", INTERESTED, {}, []),
    Answered("route_interests", INTERESTED | {"instances": {}}, {}, [(b"n", 1)], (2, 8)),
    Answered("route_interests", INTERESTED | {"instances": {"life": 6}}, {}, []),
    Answered("route_interests", INTERESTED | {"interests": {"compared_to": 0}}, {}, [(b"n", 0)], (2, 8)),
    Answered("route_interests", INTERESTED | {"interests": {"life": 0}}, {}, [(b"n", 1)], (2, 8)),
    Answered("route_interests", INTERESTED | {"interests": {"life": 0, "kind": "member"}}, {}, []),
    Answered("route_interests", INTERESTED | {"interests": {"life": 0, "address": "b"}}, {}, []),
    Answered("route_interests", {"messages": {"address": "b"}, "interests": {"life": 0}}, {}, []),
    Answered("route_interests", {"interests": {"life": 0}}, {}, []),
)  # fmt: skip


ALL = {"limits": LIMITS, "orders": ORDERS, "logs": LOGS, "more": MORE, "routes": ROUTES}


@pytest.mark.parametrize("about", ALL)
async def test_a_script_answers(store: MySQLStore, wire: Wire, about: str) -> None:
    wrong: list[object] = []
    for one in ALL[about]:
        found = await sent(wire, store.database, sql_of(store.database, one.script, one.given), one.rows)
        told = [row[one.columns[0]] if len(one.columns) == 1 else tuple(row[at] for at in one.columns)
                for row in found.rows]  # fmt: skip
        if told != one.expected:
            wrong.append((one.script, one.given, told, one.expected))

    assert wrong == []


@pytest.mark.parametrize(("one", "number", "size"), [("i", 3, 2), ("i", 4, 0), ("i", 5, 4), ("j", 3, 4)])
async def test_what_a_worker_keeps_is_left_out_unless_the_counter_has_gone_back(
    store: MySQLStore, wire: Wire, one: str, number: int, size: int
) -> None:
    kept = store.database["kept_mail"].render(instance_id=one, number=number)
    sql = sql_of(store.database, "read_mailboxes", {"kept": kept, "ids": [""]})

    found = await sent(wire, store.database, sql, OWNED | MAIL)

    assert [(row[0], row[3]) for row in found.rows] == [(b"i", size)]
