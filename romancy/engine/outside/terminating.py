"""Ends instances at once, from outside and without undoing anything.

An instance that nobody holds is ended by one append. A worker that holds it is asked, because it has to stop what it
runs. If it does not answer (it is dead, frozen, blocked), the instance is ended all the same: the append uses up the
number that the worker would write next, so that it can write nothing more.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy._logs import get_logger
from romancy.core import ChildStarted, Parent, WorkflowStarted, wanted_by
from romancy.engine.decide import terminated
from romancy.engine.messages import ChildEnded, TerminateMessage, encode_message
from romancy.engine.outside.descendants import children_of
from romancy.engine.outside.management import acting, end_of_log, row_of, written
from romancy.engine.places import Asks, lane_changed, marks
from romancy.engine.replay import history
from romancy.engine.surroundings import here
from romancy.engine.worker.orphans import is_child_of
from romancy.errors import (
    CodecError,
    HistoryCorruptError,
    HistoryVersionError,
    InstanceNotFoundError,
    StorageUnavailableError,
    UsageError,
)
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Append, Change, Delivered, Delivery, Outcome, as_end
from romancy.storage.services import Service

if TYPE_CHECKING:
    from romancy.engine.messages import Mailed
    from romancy.engine.outside.management import ActsUnder
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow
    from romancy.storage.routing import Posting

__all__ = ["give_on", "places_of", "terminate", "terminate_with_children"]

logger = get_logger("romancy.engine")

_TRIES: Final = 10
_OWNER_ANSWERS: Final = 5.0
"""Seconds in which the worker that holds an instance ends it on request."""
_FIRST_LOOK, _LONGEST_PAUSE = 0.005, 0.1
_LATE: Final = 2
"""How many leases without a heartbeat make it useless to ask a worker."""
_UNREADABLE: Final = (HistoryCorruptError, HistoryVersionError, CodecError)


async def terminate(store: Store, worker: ActsUnder, instance_id: str, reason: str) -> bool:
    """End an instance, without compensation. It has ended when this returns. False if it had ended already."""
    asked: Delivery | None = None
    life = 0
    async with acting(store, worker) as (token, now):
        for _ in range(_TRIES):
            row = await _open_row(store, instance_id, life)
            if row is None:
                return asked is not None
            life = row.life
            if row.owner is not None and asked is None and await _may_answer(store, row.owner):
                asked = await _ask_owner(store, row, reason)
                continue
            item = await _end(store, row, now, reason or "terminated", asked)
            if await written(store, item, token) is Outcome.ACCEPTED:
                await give_on(store, item)
                return True
    raise StorageUnavailableError(f"instance {instance_id!r} is too busy to be terminated now; try again")


async def terminate_with_children(store: Store, worker: ActsUnder, instance_id: str, reason: str) -> None:
    """End an instance, then its open children and those of its ended children, and so on, as far as logs name them."""
    left: list[tuple[str, InstanceRow | None]] = [(instance_id, None)]
    done: set[str] = set()
    while left:
        one, parent = left.pop()
        if one in done:
            continue
        done.add(one)
        try:
            found = await store.read(one, limit=1)
            if found is None or (parent is not None and not is_child_of(found, parent.instance_id, parent.life)):
                continue
            if found.instance.status not in TERMINAL_STATUSES:
                await terminate(store, worker, one, reason)
            left += [(child, found.instance) for child in await children_of(store, found.instance)]
        except InstanceNotFoundError:
            continue  # it was removed just now
        except _UNREADABLE as error:
            logger.warning("instance %s: its children cannot be found, and are not terminated: %s", one, error)


async def _open_row(store: Store, instance_id: str, life: int) -> InstanceRow | None:
    """The row of this life (0: of the present one). None if it is not open any more."""
    if not life:
        row = await row_of(store, instance_id)
    else:
        found = await store.read(instance_id, limit=0)
        if found is None or found.instance.life != life:
            return None
        row = found.instance
    return None if row.status in TERMINAL_STATUSES else row


async def _may_answer(store: Store, owner: str) -> bool:
    """Whether the worker that holds an instance may be at work, as it may where the store lists no workers."""
    if Service.READING not in store.services.offered:
        return True
    census = await store.services.reading.census()
    peer = next((one for one in census.workers if one.token == owner), None)
    return peer is not None and not peer.dead and census.now - peer.beat_at <= _LATE * peer.lease


async def _ask_owner(store: Store, row: InstanceRow, reason: str) -> Delivery | None:
    """Ask the worker that holds the instance to end it, and wait until it has, or has let go of it, or takes too long.

    None if the request was not accepted.
    """
    request = _message(row.instance_id, TerminateMessage(reason=reason, life=row.life))
    (answer,) = await store.deliver([request])
    if answer is not Delivered.ACCEPTED:
        return None
    now = asyncio.get_running_loop().time
    pause, until = _FIRST_LOOK, now() + _OWNER_ANSWERS
    while now() < until:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        still = await _open_row(store, row.instance_id, row.life)
        if still is None or still.owner is None:
            break
    return request


async def _end(store: Store, row: InstanceRow, now: int, reason: str, asked: Delivery | None) -> Append:
    """The append that ends the instance, and consumes the request that its worker did not answer."""
    seq, at, after, _ = await end_of_log(store, row)
    deliveries: tuple[Delivery, ...] = ()
    if row.parent is not None and (waits := await _who_waits(store, row, row.parent)):
        end = ChildEnded(child_id=waits.child_id, reason=reason, life=waits.life, wanted_by=waits.run)
        deliveries = (_message(row.parent, end),)
    gone, changes = await places_of(store, row)
    return Append(
        instance_id=row.instance_id,
        life=row.life,
        seq=seq + 1,
        writer=as_end(f"{here().token()}.terminate"),
        body=terminated(max(now, at) if now else at, reason),
        after=after,
        change=Change(status=Status.CANCELLED, seen=row.signals, error=reason, release=row.owner is not None),
        consumed=() if asked is None else (asked.delivery_id,),
        deliveries=deliveries,
        uninterested=gone,
        postings=changes,
    )


async def give_on(store: Store, ended: Append) -> None:
    """Give the places of the instance to others at once. If the database is away, a worker's sweep does it."""
    lanes = {place.address for one in ended.postings for place in one.places}
    if lanes:
        with suppress(StorageUnavailableError):
            await store.services.router.dispatch(lanes)


async def places_of(store: Store, row: InstanceRow) -> tuple[tuple[str, ...], tuple[Posting, ...]]:
    """The places under limits that the instance gives back, and the marks for their lanes."""
    if not {Service.ROUTER, Service.LOOKUPS} <= store.services.offered:
        return (), ()
    has = [one for owner, one in await store.services.lookups.places_of([row.instance_id]) if owner.life == row.life]
    lanes = [lane for one in has if (lane := lane_changed(one)) is not None]
    posts = marks(dict.fromkeys(lanes, Asks.NOTHING), lambda: f"m-{here().token()}")
    return tuple(one.interest_id for one in has), posts


async def _who_waits(store: Store, row: InstanceRow, parent: str) -> Parent | None:
    """The parent to which the instance reports, from its own log or, if that cannot be read, from its parent's.

    `run` is the run of the parent on whose behalf the instance works now.
    None if nobody waits for the instance. Raises UsageError when neither log can be read and the parent is open, since
    the parent would wait forever.
    """
    if own := await _parent_by_its_log(store, row):
        return own
    try:
        async for _, commit in history(store, parent):
            for event in commit:
                if isinstance(event, ChildStarted) and event.instance_id == row.instance_id:
                    return Parent(parent, event.id)
    except InstanceNotFoundError:
        pass
    except _UNREADABLE as error:
        found = await store.read(parent, limit=0)
        if found is not None and found.instance.status not in TERMINAL_STATUSES:
            raise UsageError(
                f"instance {row.instance_id!r} cannot be terminated here: its parent {parent!r} waits for it, and what "
                f"the parent calls it can be read neither in its log nor in the parent's ({type(error).__name__}). "
                "Let an app do it that has the codecs of both (`--app MODULE:APP` in a shell), "
                "or terminate the parent first"
            ) from error
    return None


async def _parent_by_its_log(store: Store, row: InstanceRow) -> Parent | None:
    parent: Parent | None = None
    try:
        async for _, commit in history(store, row.instance_id, after=row.run_from - 1):
            for event in commit:
                if isinstance(event, WorkflowStarted) and event.parent is not None:
                    parent = replace(event.parent, run=wanted_by(event))
    except _UNREADABLE:
        return None if parent is None else replace(parent, run="")  # a later row may name another run
    return parent


def _message(instance_id: str, message: Mailed) -> Delivery:
    return Delivery(instance_id=instance_id, delivery_id=f"m-{here().token()}", body=encode_message(message))
