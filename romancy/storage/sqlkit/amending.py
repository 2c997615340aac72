"""Amending the last rows of logs in an SQL database: each instance is held, its log looked at, and its row written."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from romancy.storage.amending import LastRows, on_amendment
from romancy.storage.limits import check_batch
from romancy.storage.records import Outcome
from romancy.storage.sqlkit.statements import Ask, ask_all, ask_last

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Step
    from romancy.storage.sqlkit.statements import Answer, Interpreter, Operation

__all__ = ["SqlAmending"]

_ID: Final = attrgetter("instance_id")


class SqlAmending:
    """As `Amending` promises."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._interpreter = interpreter

    async def amend(self, batch: Sequence[Step], /, *, worker: str) -> list[Outcome]:
        check_batch(batch, worker)
        if not batch:
            return []
        ordered = sorted(batch, key=_ID)
        begin = partial(_amend, ordered, worker)
        outcomes = await self._interpreter.together(begin, weight=sum(1 + (len(one.body) >> 11) for one in batch))
        return [outcomes[item.instance_id] for item in batch]


def _amend(items: Sequence[Step], worker: str) -> Operation[dict[str, Outcome]]:
    held = yield from ask_all(*(Ask("amend_hold", _place(one)) for one in items))
    there = yield from ask_all(*(Ask("amend_look", {**_place(one), "seq": one.seq}) for one in items))
    outcomes, asks = dict[str, Outcome](), list[Ask]()
    for item, holder, rows in zip(items, held, there, strict=True):
        refusal = on_amendment(item, _found(item, holder, rows), worker)
        outcomes[item.instance_id] = refusal or Outcome.ACCEPTED
        if refusal is None:
            row = {"seq": item.seq, "behind": item.behind, "writer": item.writer, "body": item.body}
            asks.append(Ask("amend_log", {**_place(item), **row}, 1))
    if asks:
        yield from ask_last(*asks)
    return outcomes


def _place(item: Step) -> dict[str, object]:
    return {"instance_id": item.instance_id, "life": item.life}


def _found(item: Step, holder: Answer, rows: Answer) -> LastRows:
    writers: dict[int, str] = {row[0]: row[1] for row in rows.rows}
    return LastRows(
        owner=holder.rows[0][0] if holder.rows else None,
        writer=writers.pop(item.seq, None),
        more=bool(writers),
    )
