"""Pauses instances and ends their pauses, from outside.

An instance that rests, or that nobody has begun, is paused by one append: nothing of it is at work. The store refuses
it if a worker owns the instance by then. Of any other, attempts may be at work: whoever holds it, or takes it up next,
is asked by a message, and pauses it when they have ended. So is one with a cancellation in its inbox, which goes first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.core import OwnerChanged
from romancy.engine.messages import PauseMessage, UnpauseMessage, encode_message
from romancy.engine.outside.copies import COPYING
from romancy.engine.outside.management import acting, end_of_log, row_of, written
from romancy.engine.pausing import Wish, is_cancelled_in, pause_entry, paused_as, wish_in
from romancy.engine.surroundings import here
from romancy.errors import StorageUnavailableError, UsageError
from romancy.log import commit_of
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.any_store import lying_in
from romancy.storage.records import Append, Change, Delivered, Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.engine.outside.management import ActsUnder
    from romancy.storage.protocol import Store
    from romancy.storage.records import InboxRow, InstanceRow

__all__ = ["PAUSABLE", "pause", "unpause"]

PAUSABLE: Final = frozenset(Status) - TERMINAL_STATUSES - {Status.STUCK, Status.PAUSED}
"""The statuses of the instances that can be paused."""

_TRIES: Final = 10
_MOMENT: Final = 0.02
"""Seconds until the next look at a paused instance that a worker has just claimed: it lets go of it at once."""
_ALL: Final = 1 << 31
_AT_REST: Final = (Status.PENDING, Status.WAITING)


async def pause(
    store: Store, worker: ActsUnder, instance_id: str, wanted: PauseMessage, *, stamp: Callable[[], str]
) -> bool:
    """Pause an instance. False: it was asked, and is paused once its attempts at work have ended.

    `wanted` says how; its life is that of the row. `stamp` gives the ids of the messages of one sender their order,
    which overrules the clock.
    Raises UsageError, with nothing written, for one that has ended, is stuck, or is paused already.
    """
    async with acting(store, worker) as (token, now):
        for _ in range(_TRIES):
            row = await row_of(store, instance_id)
            _refuse_to_pause(row)
            rows = await _inbox(store, row) if row.owner is None and row.status in _AT_REST else None
            if rows is not None and not is_cancelled_in(rows):
                item = await _append(store, row, now, wanted, wish_in(rows, row.life))
                if item is not None and await written(store, item, token) is Outcome.ACCEPTED:
                    return True
            elif await _delivered(store, row, replace(wanted, life=row.life), stamp()):
                return False
    raise StorageUnavailableError(f"instance {instance_id!r} is too busy to be paused now; try again")


async def unpause(store: Store, worker: ActsUnder, instance_id: str, *, stamp: Callable[[], str]) -> None:
    """Let an instance go on that is paused, or that was asked to pause and is not yet.

    Raises UsageError, with nothing written, for any other.
    """
    asked = False
    async with acting(store, worker) as (token, now):
        for _ in range(_TRIES):
            row = await row_of(store, instance_id)
            if row.status is Status.PAUSED and row.error == COPYING:
                raise UsageError(
                    f"instance {instance_id!r} is being copied by a fork, which lets it go on: fork again with this "
                    "id if that was cut short, or terminate it"
                )
            if row.status is Status.PAUSED and row.owner is None:
                item = await _append(store, row, now, None, await _asked(store, row))
                if item is not None and await written(store, item, token) is Outcome.ACCEPTED:
                    return
            elif row.status is Status.PAUSED:
                await asyncio.sleep(_MOMENT)
            elif asked:
                return
            else:
                wish = None if row.status in TERMINAL_STATUSES else await _asked(store, row)
                if wish is None or not wish.pause:
                    raise UsageError(f"instance {instance_id!r} is {row.status}; only a paused one can be unpaused")
                asked = await _delivered(store, row, UnpauseMessage(life=row.life), stamp())
    raise StorageUnavailableError(f"instance {instance_id!r} is too busy to be unpaused now; try again")


def _refuse_to_pause(row: InstanceRow) -> None:
    what = f"instance {row.instance_id!r}"
    if row.status in TERMINAL_STATUSES:
        raise UsageError(f"{what} has ended ({row.status}); only an open one can be paused")
    if row.status is Status.STUCK and row.owner is None:
        raise UsageError(f"{what} is stuck: nothing of it runs; only what can go on can be paused")
    if row.status is Status.PAUSED:
        because = f" because {row.error}" if row.error else ""
        raise UsageError(f"{what} is paused already{because}; unpause it first to give another reason")


async def _inbox(store: Store, row: InstanceRow) -> list[InboxRow]:
    return [one.row async for one in lying_in(store, row.instance_id, most=_ALL)]


async def _asked(store: Store, row: InstanceRow) -> Wish | None:
    """What lies in its inbox about a pause."""
    return wish_in(await _inbox(store, row), row.life)


async def _append(
    store: Store, row: InstanceRow, now: int, begins: PauseMessage | None, asked: Wish | None
) -> Append | None:
    """The row of its log that begins a pause, or ends one, and consumes what was asked before.

    None: its log has grown since its row was read, so it may not rest any more.
    """
    last = await end_of_log(store, row)
    if last.seq != row.last_seq:
        return None
    at = max(now, last.at)
    if begins is not None:
        due = row.wake_at or 0 if row.status is Status.PENDING else 0
        body = pause_entry(at, "", "begins", begins.reason, freeze=begins.freeze, due=due if due > at else 0)
        change = replace(paused_as(begins.reason, row.signals), unowned=True)
    else:
        due = await _due(store, row, last.body, at)
        body = pause_entry(at, "", "ends", due=due)
        change = Change(
            status=Status.PENDING if due else Status.RUNNING,
            seen=row.signals,
            release=True,
            wake_at=due or at,
            unowned=True,
        )
    return Append(
        instance_id=row.instance_id,
        life=row.life,
        seq=last.seq + 1,
        writer=f"{here().token()}.pause",
        body=body,
        after=last.writer,
        change=change,
        consumed=() if asked is None else asked.delivery_ids,
    )


async def _due(store: Store, row: InstanceRow, last: bytes, now: int) -> int:
    """When a paused instance is to begin whose start was delayed; `last` ends its log. 0: it goes on now.

    One with mail goes on now, as it would have begun with it.
    """
    begun = await _beginning(store, row, last)
    due = 0 if begun is None or not begun.due else begun.due + (now - begun.at if begun.freeze else 0)
    return due if due > now and not await _inbox(store, row) else 0


async def _beginning(store: Store, row: InstanceRow, body: bytes) -> OwnerChanged | None:
    """What began the pause. Behind it, workers may only have said that they let go of the instance again."""
    seq = row.last_seq
    while body and isinstance(entry := commit_of(row.instance_id, seq, body)[-1], OwnerChanged):
        if entry.pause:
            return entry if entry.pause == "begins" else None
        seq -= 1
        found = await store.read(row.instance_id, after=seq - 1, limit=1)
        body = b"" if found is None or not found.rows else found.rows[0].body
    return None


async def _delivered(store: Store, row: InstanceRow, message: PauseMessage | UnpauseMessage, stamp: str) -> bool:
    delivery = Delivery(instance_id=row.instance_id, delivery_id=stamp, body=encode_message(message))
    (answer,) = await store.deliver([delivery])
    return answer is Delivered.ACCEPTED
