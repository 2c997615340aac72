"""Posts messages, which are kept at addresses until they are dispatched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import InternalError, StorageUnavailableError
from romancy.storage.limits import check_postings
from romancy.storage.records import Delivered
from romancy.storage.sqlkit.portions import portions
from romancy_mysql._database import pause
from romancy_mysql._effects import Write, posting_weight
from romancy_mysql._errors import LockWaitError, RefusedValueError
from romancy_mysql._explain import look, on_posting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.routing import Posting
    from romancy_mysql._database import Database

__all__ = ["post"]

_BATCH_BYTES = 3 * 1024 * 1024
_ROUNDS = 12
_LOCK_WAITS = 3


async def post(database: Database, batch: Sequence[Posting]) -> list[Delivered]:
    """One answer per message, in order."""
    check_postings(batch)
    database.check_open()
    answers: dict[int, Delivered] = {}
    for portion in portions(enumerate(batch), _weight, _BATCH_BYTES):
        await _settle(database, portion, answers)
    return [answers[place] for place in range(len(batch))]


async def _settle(database: Database, todo: list[tuple[int, Posting]], answers: dict[int, Delivered]) -> None:
    """Accept what can be accepted. Of two copies in one batch, the second gets the outcome of the first."""
    for attempt in range(_ROUNDS):
        write = Write(database.__getitem__)
        tried = [(place, one) for place, one in todo if write.add_posting(one)]
        try:
            accepted = await database.write(write.statements(), lock_waits=_LOCK_WAITS if len(todo) == 1 else 0)
        except LockWaitError:
            for pair in todo:
                await _settle(database, [pair], answers)
            return
        except RefusedValueError:
            raise InternalError("post: the database refused a value that the limits allow") from None
        if accepted:
            answers |= dict.fromkeys((place for place, _ in todo), Delivered.DUPLICATE)
            answers |= dict.fromkeys((place for place, _ in tried), Delivered.ACCEPTED)
            return
        facts = await look(database, lambda wanted: database.ask(*wanted), (), (), [one for _, one in todo])
        known = {place for place, one in todo if on_posting(one, facts) is not None}
        answers |= dict.fromkeys(known, Delivered.DUPLICATE)
        todo = [(place, one) for place, one in todo if place not in known]
        if not todo:
            return
        if not known:
            await pause(attempt)
    raise StorageUnavailableError(f"{database.settings.where}: rows kept changing under a post; it can be sent again")


def _weight(numbered: tuple[int, Posting]) -> int:
    return posting_weight(numbered[1])
