"""Delivers messages from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import InternalError, StorageUnavailableError
from romancy.storage.limits import check_deliveries
from romancy.storage.records import Delivered
from romancy.storage.sqlkit.portions import portions
from romancy_mysql._database import pause
from romancy_mysql._effects import Write
from romancy_mysql._errors import LockWaitError, RefusedValueError
from romancy_mysql._explain import look, on_delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import Delivery
    from romancy_mysql._database import Database

__all__ = ["deliver"]

_BATCH_BYTES = 3 * 1024 * 1024
_ROUNDS = 12
_LOCK_WAITS = 3
"""Lock waits, of a second each, for one instance. A batch for several instances is split after the first."""


async def deliver(database: Database, batch: Sequence[Delivery]) -> list[Delivered]:
    """One answer per message, in order."""
    check_deliveries(batch)
    database.check_open()
    answers: dict[int, Delivered] = {}
    for portion in portions(enumerate(batch), _size, _BATCH_BYTES):
        await _settle(database, portion, answers)
    return [answers[number] for number in range(len(batch))]


async def _settle(database: Database, portion: list[tuple[int, Delivery]], answers: dict[int, Delivered]) -> None:
    """Accept what can be accepted. Of two copies in one batch, the second waits for the outcome of the first."""
    todo = portion
    waits = 0
    for attempt in range(_ROUNDS):
        write = Write(database.__getitem__)
        tried = [(number, one) for number, one in todo if write.add_delivery(one)]
        try:
            accepted = await database.write(write.statements(), lock_waits=0)
        except LockWaitError:
            waits += 1
            if waits < _LOCK_WAITS and len({one.instance_id for _, one in todo}) == 1:
                continue
            await _apart(database, todo, answers)
            return
        except RefusedValueError:
            raise InternalError("deliver: the database refused a value that the limits allow") from None
        if accepted:
            answers |= {number: Delivered.ACCEPTED for number, _ in tried}
        left = [pair for pair in todo if pair[0] not in answers]
        if not left:
            return
        deliveries = [one for _, one in left]
        facts = await look(database, lambda wanted: database.ask(*wanted), (), deliveries)
        found = [(number, one, on_delivery(one, facts)) for number, one in left]
        answers |= {number: answer for number, _, answer in found if answer is not None}
        todo = [(number, one) for number, one, answer in found if answer is None]
        if not todo:
            return
        if not accepted and len(todo) == len(left):
            await pause(attempt)
    raise StorageUnavailableError(
        f"{database.settings.where}: rows kept changing under a delivery; it can be sent again"
    )


async def _apart(database: Database, todo: list[tuple[int, Delivery]], answers: dict[int, Delivered]) -> None:
    """Another transaction holds a row: deliver to the unlocked instances first, then to each other one by itself."""
    targets = sorted({one.instance_id for _, one in todo})
    if len(targets) == 1:
        raise StorageUnavailableError(
            f"{database.settings.where}: instance {targets[0]!r} is locked by another transaction; "
            "look for a long one on the server"
        )
    unlocked = await database.free(targets)
    free = [pair for pair in todo if pair[1].instance_id in unlocked]
    if len(free) == len(todo):  # what was locked is free again, or is not an instance's row
        free = []
    if free:
        await _settle(database, free, answers)
    for target in targets:
        rest = [pair for pair in todo if pair[1].instance_id == target and pair[0] not in answers]
        if rest:
            await _settle(database, rest, answers)


def _size(numbered: tuple[int, Delivery]) -> int:
    return len(numbered[1].body)
