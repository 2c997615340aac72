"""Rewinds an instance: under its id, another run begins with a copy of its log up to a point, and goes on from there.

The rewind is one append, which is fenced like any other. Nothing of the instance is at work when it is written: a
worker that holds the instance is asked to pause it first. One that cannot be rewound then goes on as before.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.core import OwnerChanged, UndoingBegan, derive, encode_commit
from romancy.engine.decide import short
from romancy.engine.interests import interests_of
from romancy.engine.messages import PauseMessage, encode_message, is_about_pausing
from romancy.engine.outside.copies import several
from romancy.engine.outside.cut_logs import cut_log
from romancy.engine.outside.forking import children_again
from romancy.engine.outside.management import acting, row_of, written
from romancy.engine.outside.pausing import unpause
from romancy.engine.outside.terminating import give_on, places_of
from romancy.engine.outside.undone_first import not_undone
from romancy.engine.pausing import is_cancelled_in, wish_in
from romancy.engine.replay import rows
from romancy.engine.surroundings import here
from romancy.engine.worker.retrying import groups_of, requests_to_stop
from romancy.errors import StorageUnavailableError, UsageError
from romancy.going_back import ForkChildren, RewindUndo
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.any_store import lying_in
from romancy.storage.limits import MAX_BODY_BYTES
from romancy.storage.query import project_with_index
from romancy.storage.records import Append, Change, Delivery, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from romancy.core import LogEvent, State
    from romancy.engine.outside.cut_logs import CutLog
    from romancy.engine.outside.management import ActsUnder
    from romancy.going_back import ForkPlan
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.storage.records import Claimed, InboxRow, InstanceRow, LogRow
    from romancy.storage.routing import Interest

__all__ = ["NOT_UNDONE", "REWINDING", "Rewind", "goes_on", "plan_of_rewind", "rewind"]

REWINDING: Final = "it is being rewound"
"""Why an instance is paused that a worker held when it was to be rewound."""
NOT_UNDONE: Final = "it was rewound, and {} could not be undone: look at that, and unpause it to go on"
"""Why an instance is paused of whose undos some have failed for good."""
_PATIENCE: Final = 10.0
"""Seconds in which what is at work of the instance has to end."""
_FIRST_LOOK, _LONGEST_PAUSE = 0.005, 0.1
_TRIES: Final = 10
_ALL: Final = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewind:
    """The rewind that a caller wants."""

    instance_id: str
    before: str | None
    at: int | None
    undo: RewindUndo
    children: ForkChildren


async def plan_of_rewind(store: Store, registry: Registry, wanted: Rewind) -> ForkPlan:
    """What a rewind keeps and cuts off. Raises UsageError if there is no such point."""
    row = await row_of(store, wanted.instance_id)
    log, _ = await _read(store, row, registry, wanted)
    return log.plan(await log.refusal(store, row, wanted.children, wanted.undo), wanted.undo)


async def rewind(
    store: Store,
    worker: ActsUnder,
    registry: Registry,
    wanted: Rewind,
    *,
    stamp: Callable[[], str],
    answered: Callable[[], None],
) -> None:
    """Rewind the instance, which is due at once, or stays paused. `stamp`: as of `pause`.

    `answered` is called whenever the database has answered while a worker is waited for.

    Raises UsageError if it cannot be rewound there. Nothing is written then.
    """
    first = await row_of(store, wanted.instance_id)
    await _refuse(store, first, registry, wanted)
    async with acting(store, worker) as (token, now):
        asked = False
        try:
            for _ in range(_TRIES):
                row = await row_of(store, wanted.instance_id)
                if (row.life, row.run_from) != (first.life, first.run_from):
                    raise UsageError(
                        f"instance {row.instance_id!r} was rewound or began another run meanwhile: look at it again"
                    )
                if row.owner is not None:
                    wish = None if row.status is Status.PAUSED else await _request_to_pause(store, row, stamp)
                    if wish is not None:
                        asked = True
                        await store.deliver([wish])
                    await _let_go_of(store, row, answered)
                    continue
                item = await _append(store, row, registry, wanted, now)
                if item is not None and await written(store, item, token) is Outcome.ACCEPTED:
                    asked = False
                    await give_on(store, item)
                    return
        finally:
            if asked:
                with suppress(UsageError):
                    await unpause(store, worker, wanted.instance_id, stamp=stamp)
    raise StorageUnavailableError(f"instance {wanted.instance_id!r} is too busy to be rewound now; try again")


async def _read(store: Store, row: InstanceRow, registry: Registry, wanted: Rewind) -> tuple[CutLog, LogRow | None]:
    """Its log, cut at the point, and the last row of it."""
    commits: list[tuple[int, list[LogEvent]]] = []
    last = None
    async for one, commit in rows(store, row.instance_id, after=row.run_from - 1, life=row.life):
        commits.append((one.seq, commit))
        last = one
    known = registry.activities_of(row.workflow_name)
    return cut_log(row, commits, before=wanted.before, at=wanted.at, activities=known), last


async def _refuse(store: Store, row: InstanceRow, registry: Registry, wanted: Rewind) -> tuple[CutLog, LogRow]:
    """Its log, which can be cut there. Raises UsageError if it cannot."""
    log, last = await _read(store, row, registry, wanted)
    refused = await log.refusal(store, row, wanted.children, wanted.undo)
    if refused is None and row.status not in TERMINAL_STATUSES and is_cancelled_in(await _inbox(store, row)):
        refused = "it was asked to stop, and has not done so yet: rewind it when it has ended"
    if refused is not None:
        raise UsageError(f"instance {row.instance_id!r} cannot be rewound to this point: {refused}")
    assert last is not None  # noqa: S101 - it has a point
    return log, last


async def _inbox(store: Store, row: InstanceRow) -> list[InboxRow]:
    return [one.row async for one in lying_in(store, row.instance_id, most=_ALL)]


async def _request_to_pause(store: Store, row: InstanceRow, stamp: Callable[[], str]) -> Delivery | None:
    """What asks its worker to let go of the instance. None: somebody has asked it."""
    wish = wish_in(await _inbox(store, row), row.life)
    if wish is not None and wish.pause:
        return None
    body = encode_message(PauseMessage(reason=REWINDING, life=row.life))
    return Delivery(instance_id=row.instance_id, delivery_id=stamp(), body=body)


async def _let_go_of(store: Store, row: InstanceRow, answered: Callable[[], None]) -> None:
    """Wait until its worker has let go of the instance. Raises UsageError if it does not."""
    now = asyncio.get_running_loop().time
    pause, until = _FIRST_LOOK, now() + _PATIENCE
    while now() < until:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
        if (await row_of(store, row.instance_id)).owner is None:
            return
        answered()
    raise UsageError(
        f"instance {row.instance_id!r} cannot be rewound now: its worker has not let go of it within {_PATIENCE:g} s. "
        "What it has at work must end first: pause it, and rewind it once it is paused, or terminate it"
    )


async def _append(store: Store, row: InstanceRow, registry: Registry, wanted: Rewind, now: int) -> Append | None:
    """The row of its log that begins the new run, or the undoing before it. None: its log has grown meanwhile."""
    log, last = await _refuse(store, row, registry, wanted)
    if last.seq < row.last_seq:
        return None
    mail = await _inbox(store, row)
    paused = _stays_paused(row, mail, log)
    item = await _going_on(store, row, registry, wanted, log, last, now=now, mail=mail, paused=paused)
    undone = log.undone() if wanted.undo == "compensate" else None
    if undone is not None and undone.steps:
        at = max(now, row.updated_at, log.time)
        began = UndoingBegan(at, log.copy.seq, log.copy.step, wanted.children, undone.anew)
        held, _ = await places_of(store, row) if row.status not in TERMINAL_STATUSES else ((), ())
        return _undoing_first(item, began, paused, held)
    return item


def _undoing_first(item: Append, began: UndoingBegan, paused: PauseMessage | None, held: tuple[str, ...]) -> Append:
    """The append that has the undoing begin, instead of the one that begins the new run. It keeps the places it holds.

    From here on the instance hears what the new run will hear.
    """
    events: list[LogEvent] = [began]
    if paused is not None:
        events.append(OwnerChanged(at=began.at, pause="begins", reason=paused.reason, freeze=paused.freeze))
    assert item.change is not None  # noqa: S101 - it begins a run
    change = replace(
        item.change,
        status=Status.COMPENSATING if paused is None else Status.PAUSED,
        run_from=None,
        input=None,
        projection=None,
        index=None,
    )
    gone = tuple(one for one in item.uninterested if one not in held)
    return replace(item, body=encode_commit(events), change=change, uninterested=gone, postings=(), starts=())


async def goes_on(
    store: Store, registry: Registry, claimed: Claimed, began: UndoingBegan, *, token: str, now: int
) -> bool:
    """Rewind an instance that this worker owns, and whose undoing has ended. False: its log has grown meanwhile.

    If something could not be undone, it is paused.
    """
    row = await row_of(store, claimed.instance_id)
    step = began.step or None
    wanted = Rewind(
        instance_id=claimed.instance_id,
        before=step,
        at=began.seq if step is None else None,
        undo="compensate",
        children=began.children,
    )
    if row.life != claimed.life:
        return False
    log, last = await _read(store, row, registry, wanted)
    if last is None or last.seq != claimed.head:
        return False
    mail = await _inbox(store, row)
    failed = [one.activity_id for one in not_undone(log.state, log.whole())]
    paused = PauseMessage(reason=NOT_UNDONE.format(several(failed))) if failed else _stays_paused(row, mail, log)
    item = await _going_on(store, row, registry, wanted, log, last, now=now, mail=mail, paused=paused)
    assert item.change is not None  # noqa: S101 - it begins a run
    held, _ = await places_of(store, row)
    item = replace(item, change=replace(item.change, unowned=False), interests=(), uninterested=held)
    if await written(store, item, token) is not Outcome.ACCEPTED:
        return False
    await give_on(store, item)
    return True


async def _going_on(
    store: Store,
    row: InstanceRow,
    registry: Registry,
    wanted: Rewind,
    log: CutLog,
    last: LogRow,
    *,
    now: int,
    mail: list[InboxRow],
    paused: PauseMessage | None,
) -> Append:
    """The append that begins the new run."""
    state, at = log.state, max(now, row.updated_at, log.time)
    nonce = derive(row.instance_id, log.copy.started.nonce, "rewind", last.seq).hex()[:32]
    open_now = row.status not in TERMINAL_STATUSES
    events = log.made(nonce, at=at, children=wanted.children, undo=wanted.undo)
    if paused is not None:
        since = max(at, state.time)
        events.append(OwnerChanged(at=since, pause="begins", reason=paused.reason, freeze=paused.freeze))
    body = encode_commit(events)
    if len(body) > MAX_BODY_BYTES:
        raise UsageError(
            f"instance {row.instance_id!r} cannot be rewound to this point: its log up to there has {len(body):,} bytes"
            f", and one commit holds {MAX_BODY_BYTES:,}. Fork it, which copies in parts, and cancel it"
        )
    again = children_again(registry, row.instance_id, row.life, nonce, state, [events], max(now, at))
    starts = tuple(again) if wanted.children == "again" else ()
    new = _interests(log.state)
    old = _interests(log.whole()) if open_now else {}
    gone, postings = await places_of(store, row) if open_now else (await groups_of(store, row), ())
    dropped = dict.fromkeys((*gone, *(one for one, each in old.items() if new.get(one) != each)))
    return Append(
        instance_id=row.instance_id,
        life=row.life,
        seq=last.seq + 1,
        writer=f"{here().token()}.rewind",
        body=body,
        after=last.writer,
        change=_change(row, registry, log, last, paused),
        consumed=await _consumed(store, row, mail),
        interests=tuple(each for one, each in new.items() if old.get(one) != each),
        uninterested=tuple(dropped),
        postings=postings,
        starts=starts,
    )


def _change(row: InstanceRow, registry: Registry, log: CutLog, last: LogRow, paused: PauseMessage | None) -> Change:
    """How its row changes with the new run."""
    definition, started = registry.workflows[log.copy.started.workflow], log.copy.started
    raw, open_now = bytes(started.input), row.status not in TERMINAL_STATUSES
    projection, index = project_with_index(raw, definition.index, definition.signature.bare, started.headers)
    return Change(
        status=Status.RUNNING if paused is None else Status.PAUSED,
        seen=row.signals,
        release=True,
        wake_at=1 if paused is None else None,
        error=None if paused is None else short(paused.reason or None),
        run_from=last.seq + 1,
        input=raw,
        projection=projection,
        index=index,
        forgive=True,
        reopens=not open_now,
        unowned=open_now,
    )


def _stays_paused(row: InstanceRow, mail: list[InboxRow], log: CutLog) -> PauseMessage | None:
    """How the instance is paused, or is to be, if not for its rewind. None: it goes on."""
    wish = wish_in(mail, row.life)
    if wish is not None:
        goes_on = not wish.pause or wish.reason == REWINDING
        return None if goes_on else PauseMessage(reason=wish.reason, freeze=wish.freeze)
    if row.status is not Status.PAUSED or row.error == REWINDING:
        return None
    return PauseMessage(reason=row.error or "", freeze=log.whole().frozen is not None)


async def _consumed(store: Store, row: InstanceRow, mail: list[InboxRow]) -> tuple[str, ...]:
    """Its mail that was for the run so far: requests to pause it and, if that has ended, to stop it."""
    about_pauses = [one.delivery_id for one in mail if is_about_pausing(bytes(one.body))]
    if row.status not in TERMINAL_STATUSES:
        return tuple(about_pauses)
    return tuple(dict.fromkeys((*about_pauses, *await requests_to_stop(store, row.instance_id))))


def _interests(state: State) -> dict[str, Interest]:
    """What a run waits for, as the database has to know it. Places under limits it asks for itself."""
    state.held, state.places = {}, {}
    found = interests_of(state)
    return {} if found is None else dict(found.registered)
