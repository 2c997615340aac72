"""The room of figures: counts of instances, each from a bounded part of an index."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from romancy.status import Status
from romancy.storage.query import Position
from romancy.storage.tally import Count, Slice, Tally, Trend, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_sqlite._connection import Tx
    from romancy_sqlite._store import SqliteStore

__all__ = ["SqliteFigures"]

_NEWEST: Final = 2**63 - 1


class SqliteFigures:
    """As `Figures` promises."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def tally(self, *, most: int, newest: int) -> Tally:
        return await self._store.run_read(partial(_tally, most=most, newest=newest))

    async def trend(self, *, since: int, width: int, most: int, newest: int) -> Trend:
        return await self._store.run_read(partial(_trend, since=since, width=width, most=most, newest=newest))

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        return await self._store.run_read(partial(_tally_slice, after=after, count=count, width=width))

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        return await self._store.run_read(partial(_loads, workers=workers, most=most))


def _tally(tx: Tx, most: int, newest: int) -> Tally:
    counted = {status: tx.row("tally_status", {"status": status.value, "most": most}) for status in Status}
    return Tally(
        {status: Count(row[0], row[1]) for status, row in counted.items() if row is not None and row[0]},
        {(row[0], Status(row[1])): Count(row[2], row[3]) for row in tx.rows("tally_newest", (newest,))},
    )


def _trend(tx: Tx, since: int, width: int, most: int, newest: int) -> Trend:
    given = {"since": since, "width": width, "most": most}
    by_status = [
        (status.value, span, count)
        for status in Status
        for span, count in tx.rows("trend_status", {**given, "status": status.value})
    ]
    by_workflow = tx.rows("trend_newest", {"since": since, "width": width, "newest": newest})
    return spans(by_status, [(row[0], row[1], row[2], row[3]) for row in by_workflow], most)


def _loads(tx: Tx, workers: Sequence[str], most: int) -> dict[str, int]:
    return {worker: tx.rows("load", {"owner": worker, "most": most})[0][0] for worker in workers}


def _tally_slice(tx: Tx, after: Position | None, count: int, width: int) -> Slice:
    at, instance_id = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
    rows = tx.rows("tally_slice", {"at": at, "id": instance_id, "count": count, "width": width})
    counts = {(name, Status(status), span): number for name, status, span, number in rows}
    last = tx.row("place_behind", (at, instance_id, count - 1)) if sum(counts.values()) == count else None
    return Slice(counts, None if last is None else Position(last[0], last[1]))
