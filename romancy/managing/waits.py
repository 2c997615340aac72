"""An instance with its waits, read from the log of its current run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from romancy._microseconds import moment_of
from romancy.core import Message, Topic, said_in
from romancy.engine import decode_message, read_with_start, rows
from romancy.engine.messages import CancelMessage, PauseMessage, TerminateMessage
from romancy.errors import CodecError, HistoryVersionError, InstanceNotFoundError
from romancy.insight import Timeline
from romancy.instance import Instance, Untaken, Wait, raw_start_of
from romancy.status import TERMINAL_STATUSES
from romancy.storage.any_store import lying_in

if TYPE_CHECKING:
    from romancy.insight import Step
    from romancy.status import Status
    from romancy.storage.protocol import Store
    from romancy.storage.records import InboxRow

__all__ = ["instance_with_waits", "timeline_of", "untaken_by", "untaken_of"]

_MOST: Final = 2000
"""How many messages of an inbox are read."""


async def instance_with_waits(store: Store, instance_id: str) -> Instance | None:
    """The instance, or None. An ended instance has no waits, and its log is not read."""
    found = await read_with_start(store, instance_id)
    if found is None:
        return None
    row, raw_start = found.instance, raw_start_of(found)
    if row.status in TERMINAL_STATUSES:
        return Instance.of(row, (), (), raw_start=raw_start)
    try:
        timeline = await timeline_of(store, instance_id, after=row.run_from - 1)
    except InstanceNotFoundError:
        return None  # it was removed in the meantime
    untaken = await untaken_by(store, instance_id, row.status)
    return Instance.of(row, tuple(map(_wait, timeline.open)), untaken, raw_start=raw_start)


async def timeline_of(store: Store, instance_id: str, *, after: int = 0) -> Timeline:
    """The log of an instance behind a commit, step by step."""
    timeline = Timeline()
    async for row, commit in rows(store, instance_id, after=after):
        for event in commit:
            timeline.take(event, at=row.at)
    return timeline


async def untaken_by(store: Store, instance_id: str, status: Status) -> tuple[Untaken, ...]:
    """The requests and events in the inbox of an open instance, in the order of their times."""
    if status in TERMINAL_STATUSES:
        return ()
    found = [untaken_of(each.row) async for each in lying_in(store, instance_id, most=_MOST)]
    return tuple(sorted(filter(None, found), key=lambda one: one.at))


def untaken_of(row: InboxRow) -> Untaken | None:
    """The message in an inbox. None for a kind that its receiver takes by itself, such as the end of a child.

    An event at an address was routed to a wait of the instance, or to a subscription.
    """
    at = moment_of(row.at)
    try:
        message = decode_message(row.body)
    except CodecError:
        return Untaken("sealed", at)
    except HistoryVersionError:
        return None
    match message:
        case CancelMessage(reason=reason):
            return Untaken("cancel", at, reason)
        case PauseMessage(reason=reason):
            return Untaken("pause", at, reason)
        case TerminateMessage(reason=reason):
            return Untaken("terminate", at, reason)
        case Message(topic=Topic(kind="event", name=name, key=key), id=id) if row.address is None:
            return Untaken("signal", at, name, key, id)
        case Message(topic=Topic(kind="question", name=name), id=id) if (said := said_in(message)).how != "expiry":
            return Untaken("answer" if said.how == "answer" else "refusal", at, name, None, id)
        case _:
            return None


def _wait(step: Step) -> Wait:
    last = step.failures[-1] if step.failures else None
    return Wait(
        kind=cast("Any", step.kind),
        id=step.id,
        name=step.name,
        since=moment_of(step.began_at),
        due=None if step.due is None else moment_of(step.due),
        failed_attempts=step.failed_attempts,
        error=None if last is None else last.error.summary,
        key=step.key,
        child_id=step.instance_id,
    )
