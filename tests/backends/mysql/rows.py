"""Rows of every table, and a script that is sent with them there, alone, in a transaction that is undone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast

from romancy_mysql._effects import CLOSED
from romancy_mysql._errors import MismatchError
from romancy_mysql._sql import Raw, comma, literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database
    from romancy_mysql._sql import Template, Value

__all__ = ["NONE", "NOW", "USUAL", "Outcome", "Rows", "Values", "put_in", "sent", "sql_of"]

Values: TypeAlias = dict[str, Any]
Rows: TypeAlias = dict[str, Values]
"""What differs from the usual row, by table. A table that has several is named `messages:other` as well."""

NOW = 2**62
"""Not before any time that the server may give."""
NONE = Raw(b"")
_MOMENT = 10**15
_INSTANCE: Values = {
    "instance_id": "i", "life": 7, "workflow_name": "flow", "status": "running", "code": "c1", "owner": None,
    "priority": 0, "fair_line": "", "wake_at": None, "signals": 3, "seen": 3, "created_at": 5, "updated_at": 5,
    "touched_at": None, "run_from": 1, "last_seq": 1, "refused": None, "error": None, "parent": None,
    "input": b"null", "projection": None, "index_paths": "",
}  # fmt: skip
_USUAL: Rows = {
    "workers": {
        "token": "w", "worker_id": "w", "lease": 1, "beat": 5, "dead": 0, "codes": b"c1", "boot_id": "",
        "pid_namespace": "", "pid": 1, "pid_start": 1, "started_at": 5, "beat_at": 5,
    },
    "instances": _INSTANCE,
    "log": {"instance_id": "i", "life": 7, "seq": 1, "writer": "x", "body": b"[]", "at": 5},
    "inbox": {
        "instance_id": "i", "delivery_id": "d", "body": b"1", "at": 5, "number": 2**63 - 1, "address": "a",
        "interest": "n", "spread": "one", "posted_at": None, "projection": None,
    },
    "uncounted": {"instance_id": "i", "delivery_id": "d", "at": 5},
    "journal": {"instance_id": "i", "life": 7, "number": 3, "mark": "m", "at": 5, "body": b"1"},
    "outbox": {
        "outbox_id": "o", "topic": "t", "body": b"1", "at": 5, "order_key": "k", "state": "pending", "next_at": 5,
        "claim": None, "ended_at": None, "attempts": 0, "error": None,
    },
    "seen": {"unit": "i", "life": 7, "dedupe": "k", "at": 5},
    "index": {"instance_id": "i", "path": "p", "value": "v", "created_at": 5},
    "index_sets": {"workflow_name": "flow", "index_paths": "", "paths": b""},
    "messages": {
        "address": "a", "message_id": "m", "spread": "one", "at": 5, "body": b"1", "projection": b"p", "compared": 0,
        "swept": 0,
    },
    "interests": {
        "owner": "i", "life": 7, "interest_id": "n", "address": "a", "kind": "take", "where_": b"x", "at": 5,
        "compared_to": 9, "swept": 0,
    },
    "addresses": {"address": "a", "number": 5, "marked_at": 5},
    "letters": {
        "subscriber": "s", "letter_id": "l", "address": "a", "body": b"1", "at": 5, "message_id": "m", "spread": "one",
        "posted_at": 4, "projection": None,
    },
    "schema": {"version": 0, "step": 0, "at": 5, "name": "w", "additive": 0},
}  # fmt: skip
_GIVEN: Values = {
    "source": NONE, "closed": CLOSED, "lock": NONE, "continued": NONE, "worker": "w", "token": "w", "dead": "dead",
    "limit": 10, "most": 10, "before": 6, "after": "", "age": 1, "ids": ["i"], "count": 1, "prior": 1, "known": "x",
    "last": 5, "until": 8, "head": 1, "writer": "y", "codes": "c1", "unit": "i", "dedupe": "k", "other": "member",
    "copies": False, "every": False, "owner": "i", "statuses": ["running"], "states": ["pending"], "tokens": ["w"],
    "rung": 0, "low": "", "below": "\x01",
}  # fmt: skip


USUAL: Values = {name: value for row in reversed(_USUAL.values()) for name, value in row.items()} | _GIVEN
"""The parameters: as the columns of the same name, where nothing else is usual."""


class Outcome(NamedTuple):
    """What a script has answered and changed."""

    rows: tuple[tuple[Any, ...], ...]
    """Where a time of the server's is, the largest number that is none."""
    before: dict[str, tuple[tuple[Any, ...], ...]]
    after: dict[str, tuple[tuple[Any, ...], ...]]
    """What is in the tables: all of it, or one column."""
    refused: bool = False

    @property
    def lost(self) -> int:
        """How many rows are not what they were."""
        return sum(one not in self.after[table] for table, rows in self.before.items() for one in rows)

    @property
    def gained(self) -> int:
        """How many rows were not there as they are."""
        return sum(one not in self.before[table] for table, rows in self.after.items() for one in rows)


def sql_of(database: Database | Mapping[str, Template], script: str, given: Values) -> bytes:
    """The script for one row, with the usual values where none are given. `=` before its name: a part of others."""
    known = {
        name: comma(cast("list[Value]", one)) if isinstance(one, list) else one
        for name, one in {**USUAL, **given}.items()
    }
    name = script.removeprefix("=")
    part = b"" if name == script else b"select " if not database[name].render(known).startswith(b",") else b"select 1"
    return part + database[name].render(known)


async def sent(
    wire: Wire, database: Database, sql: bytes, rows: Rows, others: Iterable[str] = (), column: str = "*"
) -> Outcome:
    """Send it with these rows there, and undo everything.

    Looked at are these tables and `others`, or only this `table.column`.
    """
    names = sorted({name.partition(":")[0] for name in (*rows, *others)})
    put = [b"delete from " + database.table(name) for name in names]
    table, _, shown = column.rpartition(".")
    names = [table] if table else names
    look = b";".join(b"select %b from %b order by 1, 2, 3" % (shown.encode(), database.table(name)) for name in names)
    look = look.replace(b" order by 1, 2, 3", b"") if table else look
    await wire.run(b";".join([b"start transaction", *put, put_in(database, rows)]), "put")
    try:
        before = await wire.run(look, "look")
        try:
            answer = (await wire.run(sql, "test"))[-1]
        except MismatchError:
            held = {name: one.rows for name, one in zip(names, before, strict=True)}
            return Outcome((), held, held, refused=True)
        after = await wire.run(look, "look")
    finally:
        await wire.run(b"rollback", "undo")
    was, now = ({name: one.rows for name, one in zip(names, some, strict=True)} for some in (before, after))
    return Outcome(tuple(map(_timeless, answer.rows)), was, now)


def put_in(database: Database, rows: Rows) -> bytes:
    """The statements that write these rows."""
    return b";".join([_insert(database, *row) for row in rows.items()] or [b"do 0"])


def _insert(database: Database, name: str, changes: Values) -> bytes:
    table = name.partition(":")[0]
    row = {**_USUAL[table], **changes}
    columns = ",".join(f"`{one}`" for one in row).encode()
    return b"insert into %b (%b) values (%b)" % (database.table(table), columns, b",".join(map(literal, row.values())))


def _timeless(line: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(_MOMENT if isinstance(one, int) and _MOMENT < one < NOW else one for one in line)
