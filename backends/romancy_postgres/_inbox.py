"""Deliveries: messages into inboxes, and the counting of those that a session has posted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from romancy.errors import StorageUnavailableError
from romancy.storage.limits import check_deliveries
from romancy.storage.records import Delivered
from romancy.storage.sqlkit.portions import portions
from romancy.storage.sqlkit.statements import LockedError
from romancy_postgres._columns import delivery_columns
from romancy_postgres._judged_together import mail_judged_together
from romancy_postgres._write import delivered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from romancy.storage.records import Delivery
    from romancy_postgres._database import Database
    from romancy_postgres._signals import Signals

__all__ = ["count_mail", "deliver"]

_LOCK_WAITS = 2
"""Lock waits of a second each, after the first. Then the sender gets an error that an instance is locked."""
_PART_BYTES = 4 * 1024 * 1024


async def deliver(database: Database, signals: Signals, batch: Sequence[Delivery]) -> list[Delivered]:
    """As `Store.deliver` promises, with one statement for any batch within a few megabytes."""
    check_deliveries(batch)
    found: list[Delivered] = []
    for part in (batch,) if len(batch) == 1 else _parts(batch):
        alone = len(part) == 1
        try:
            rows = await database.fetch("deliver", *delivery_columns(part), lock_waits=_LOCK_WAITS if alone else 0)
        except LockedError:
            if alone:
                raise
            found += await _one_by_one(database, signals, part)
            continue
        answers = delivered(rows)
        signals.tell([one.instance_id for one, got in zip(part, answers, strict=True) if got is Delivered.ACCEPTED])
        found += answers
    return found


async def _one_by_one(database: Database, signals: Signals, part: Sequence[Delivery]) -> list[Delivered]:
    """Deliver to the instances concurrently, so that a locked one delays no other; to each in order."""
    targets: dict[str, list[int]] = {}
    for number, one in enumerate(part):
        targets.setdefault(one.instance_id, []).append(number)
    answers: dict[int, Delivered] = {}

    async def to_one(numbers: list[int]) -> None:
        for number in numbers:
            (answers[number],) = await deliver(database, signals, [part[number]])

    failures = await asyncio.gather(*map(to_one, targets.values()), return_exceptions=True)
    for failure in failures:
        if failure is not None:
            raise failure
    return [answers[number] for number in range(len(part))]


async def count_mail(database: Database, signals: Signals, posted: Iterable[tuple[str, str]]) -> None:
    """Count posted messages so that their owners see them. If that fails now, the next sweep does it."""
    rows = sorted(set(posted))
    if not rows:
        return
    columns = [row[0] for row in rows], [row[1] for row in rows]
    try:
        woken = await database.fetch("count_mail", *columns, lock_waits=0)
    except StorageUnavailableError:
        return
    signals.tell({row[0] for row in woken})


def _parts(batch: Sequence[Delivery]) -> Iterator[Sequence[Delivery]]:
    """What one statement writes each."""
    for some in mail_judged_together(batch):
        yield from portions(some, _size, _PART_BYTES)


def _size(one: Delivery) -> int:
    return len(one.body)
