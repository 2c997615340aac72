"""The room of figures: counts of instances, each from a bounded part of an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.status import Status
from romancy.storage.query import Position
from romancy.storage.tally import Count, Slice, Tally, Trend, spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_mysql._database import Database

__all__ = ["MySQLFigures"]

_NEWEST: Final = 2**63 - 1


class MySQLFigures:
    """As `Figures` promises."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tally(self, *, most: int, newest: int) -> Tally:
        """One round trip."""
        by_workflow, *by_status = await self._database.ask(
            self._database.statement("tally_newest", newest=newest),
            *(self._database.statement("tally_status", status=status, most=most) for status in Status),
        )
        counted = {status: answer.rows[0] for status, answer in zip(Status, by_status, strict=True)}
        return Tally(
            {
                status: Count(int(count), int(oldest))
                for status, (count, oldest) in counted.items()
                if oldest is not None
            },
            {
                (bytes(name).decode(), Status(bytes(status).decode())): Count(int(count), int(oldest))
                for name, status, count, oldest in by_workflow.rows
            },
        )

    async def trend(self, *, since: int, width: int, most: int, newest: int) -> Trend:
        """One round trip."""
        by_workflow, *by_status = await self._database.ask(
            self._database.statement("trend_newest", since=since, width=width, newest=newest),
            *(
                self._database.statement("trend_status", status=status, since=since, width=width, most=most)
                for status in Status
            ),
        )
        return spans(
            [
                (status.value, int(span), int(count))
                for status, answer in zip(Status, by_status, strict=True)
                for span, count in answer.rows
            ],
            [
                (bytes(name).decode(), bytes(status).decode(), int(span), int(count))
                for name, status, span, count in by_workflow.rows
            ],
            most,
        )

    async def loads(self, workers: Sequence[str], /, *, most: int) -> dict[str, int]:
        """One round trip."""
        if not workers:
            return {}
        answers = await self._database.ask(
            *(self._database.statement("load", owner=worker, most=most) for worker in workers)
        )
        return {worker: int(answer.rows[0][0]) for worker, answer in zip(workers, answers, strict=True)}

    async def tally_slice(self, *, after: Position | None, count: int, width: int) -> Slice:
        at, instance_id = (_NEWEST, "") if after is None else (after.created_at, after.instance_id)
        (answer,) = await self._database.ask(
            self._database.statement(
                "tally_slice", at=at, instance_id=instance_id, count=count, behind=count - 1, width=width
            )
        )
        last = answer.rows[0][4:] if answer.rows else (None, None)
        counts = {
            (bytes(name).decode(), Status(bytes(status).decode()), int(span)): int(number)
            for name, status, span, number, _, _ in answer.rows
        }
        return Slice(counts, None if last[0] is None else Position(int(last[0]), bytes(last[1]).decode()))
