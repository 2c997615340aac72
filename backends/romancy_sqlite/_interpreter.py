"""Carries out operations on SQLite. One transaction writes at a time, so each operation is one transaction."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from romancy.errors import InternalError
from romancy.storage.sqlkit import outbox
from romancy.storage.sqlkit.statements import Answer, Ask, Running, ask, ask_all, nothing
from romancy_sqlite import _prune, _rebuilding, _routing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from romancy.storage.sql import Head
    from romancy.storage.sqlkit.statements import Operation, Own, Values
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._reached import Reached

__all__ = ["SqliteInterpreter", "carry_out"]

T = TypeVar("T")

_LISTS = "codes"
"""The column that holds a list."""
_PROJECTION = 8
_WITH_BYTES = "lines"
"""The column of the projection in what is put into an inbox."""


class SqliteInterpreter:
    """As `Interpreter` promises.

    An operation runs without a pause on the thread that has the file. Cancelling the call of an operation that has not
    begun removes it from the queue. An operation that has begun ends, and the caller does not see its result.
    """

    def __init__(self, store: Reached, heads: Mapping[str, Head]) -> None:
        self._store = store
        self._heads = heads

    def read(self, begin: Callable[[], Operation[T]], /) -> Coroutine[Any, Any, T]:
        return self._store.run_read(partial(carry_out, heads=self._heads, begin=begin))

    def in_turn(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,
        lock_waits: int | None = None,  # noqa: ARG002 - of servers
    ) -> Coroutine[Any, Any, T]:
        return self._store.run_write(partial(carry_out, heads=self._heads, begin=begin), weight=weight)

    def together(
        self,
        begin: Callable[[], Operation[T]],
        /,
        *,
        weight: int = 3,
        lock_waits: int | None = None,  # noqa: ARG002 - of servers
        lasting: bool = True,  # noqa: ARG002 - of servers
        keys: Sequence[int] = (),  # noqa: ARG002 - of servers
    ) -> Coroutine[Any, Any, T]:
        return self.in_turn(begin, weight=weight)


def carry_out(tx: Tx, heads: Mapping[str, Head], begin: Callable[[], Operation[T]]) -> T:
    """Carry out an operation in this transaction."""
    with closing(Running(begin(), _OWN)) as running:
        while (request := running.request) is not None:
            running.answer([_answer(tx, heads, ask) for ask in (*request.asks, *request.then)])
        tx.touched |= running.news
        return running.result


def _answer(tx: Tx, heads: Mapping[str, Head], ask: Ask) -> Answer:
    """Lists and tables go to SQLite as JSON, and every script knows the time."""
    if ask.composed is not None:
        found = tx.compose(ask.composed.text, ask.composed.values)
        return Answer(found, len(found))
    head = heads[ask.script]
    values: dict[str, Any] = {"now": tx.now}
    for name in head.parameters:
        value = ask.values[name]
        if name == _WITH_BYTES:
            value, values["packed"] = _packed(value)
        values[name] = msgspec.json.encode(value).decode() if isinstance(value, list) else value
    if not head.columns:
        touched = tx.run(ask.script, values)
        if ask.expected is not None and touched < ask.expected:
            raise InternalError(f"{ask.script}: rows have changed inside of a transaction")
        return Answer((), touched)
    rows = tx.rows(ask.script, values)
    if _LISTS in head.columns:
        place = head.columns.index(_LISTS)
        rows = [(*row[:place], msgspec.json.decode(row[place] or "[]"), *row[place + 1 :]) for row in rows]
    return Answer(rows, len(rows))


# ── scripts that are operations here: SQLite before 3.35 has no RETURNING ───────────────────────────────────────────


def _beat(values: Values) -> Operation[Answer]:
    _, living = yield from ask_all(Ask("count_beat", values), Ask("living_beat", {"token": values["token"]}))
    return living


def _free(values: Values) -> Operation[Answer]:
    owned = (yield from ask("owned_heads", **values)).rows
    if owned:
        some = {**values, "owned": owned}
        yield from ask_all(Ask("takeover_log", some), Ask("takeover_instances", some))
    return Answer([row[:1] for row in owned], len(owned))


def _packed(rows: Sequence[Sequence[object]]) -> tuple[list[list[object]], bytes]:
    """Rows as JSON can have them. Bytes go into one value; a column of bytes has their place in it and their length.

    The value is never empty: SQLite takes a part of an empty one for NULL.
    """
    parts, size, packed = [b"\0"], 1, list[list[object]]()
    for row in rows:
        line = list(row)
        for place, value in enumerate(line):
            if isinstance(value, bytes):
                parts.append(value)
                line[place] = (size + 1, len(value))
                size += len(value)
        packed.append(line)
    return packed, b"".join(parts)


_OWN: Own = {
    **outbox.IN_PARTS,
    **_prune.OWN,
    **_rebuilding.OWN,
    **_routing.OWN,
    "beat": _beat,
    "free": _free,
    "journal_hold": nothing,
}
