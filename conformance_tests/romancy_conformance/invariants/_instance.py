"""Checks an instance's row against its log and its neighbours: no instance waits for what cannot come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from romancy.core import CancelRequested, MessageAwaited, TimerStarted, replay
from romancy.engine.messages import CancelMessage, ChildEnded, decode_message
from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError, NonDeterminismError
from romancy.registry import Registry
from romancy.status import TERMINAL_STATUSES, Status
from romancy.workflow import Workflow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from romancy.core import State, WorkflowDefinition
    from romancy.storage.records import InstanceRow
    from romancy_conformance.invariants._log import Told
    from romancy_conformance.invariants._tables import Tables

__all__ = ["Code", "of_children", "of_replay", "of_row"]

_DAY = 24 * 3600 * 1_000_000
_ASLEEP: Final = (Status.STUCK, Status.PAUSED)
_LONG = 2 * 3600 * 1_000_000
"""Microseconds. No instance sleeps this long with work to do, or this long beyond its due time, even after a late
commit and a clock that jumped by an hour.
"""


def of_row(row: InstanceRow, log: Told) -> Iterator[str]:
    """Check the row by itself, and against the log."""
    if row.owner is not None and row.wake_at is not None:
        yield f"worker {row.owner} owns it, and yet it is to be woken"
    if row.seen > row.signals:
        yield f"its owner has seen {row.seen} deliveries, and there were {row.signals}"
    ended = row.status in TERMINAL_STATUSES
    if ended and (row.owner is not None or row.wake_at is not None):
        yield f"it has ended ({row.status}), and yet it is owned or to be woken"
    if log.state is None:
        return
    yield from _of_time(row, log)
    yield from _of_end(row, log.state)
    if row.owner is None and not ended and row.status not in _ASLEEP and log.state.terminal is None:
        yield from _of_sleep(row, log.state)


def _of_time(row: InstanceRow, log: Told) -> Iterator[str]:
    """Check that the instance is not due long before it was created, as with a clock that was never set."""
    for commit in log.commits:
        for event in commit:
            if (
                isinstance(event, TimerStarted | MessageAwaited)
                and (event.due or row.created_at) < row.created_at - _DAY
            ):
                yield f"{event.id} is due at {event.due}, and the instance was started at {row.created_at}"


def _of_end(row: InstanceRow, state: State) -> Iterator[str]:
    outcome = state.outcome()
    if outcome is not None and outcome.status is not row.status:
        yield f"its log says {outcome.status}, its row says {row.status}"
    elif outcome is None and row.status in TERMINAL_STATUSES:
        yield f"its row says {row.status}, and its log does not end"
    elif state.terminal is not None and outcome is None:
        yield "its log continues as a new run that is not there"


def _of_sleep(row: InstanceRow, state: State) -> Iterator[str]:
    """Check that something will wake an instance that nobody owns."""
    due = state.wake_at()
    begun = [id for id, one in state.activities.items() if one.next_at is None]
    begun += [id for id, one in state.compensations.items() if one.next_at is None]
    unseen = row.signals != row.seen  # the next sweep of a worker wakes it
    if row.wake_at is None and not unseen:
        if begun:
            yield f"nobody owns it and nothing wakes it, and {begun[0]} is under way"
        elif due is not None:
            yield f"nobody owns it and nothing wakes it, and something is due at {due}"
        elif not state.waits and not state.children and not state.places:
            yield "nobody owns it, nothing wakes it, and it waits for nothing"
    elif row.wake_at is not None:
        if due is not None and row.wake_at - due > _LONG:
            yield f"it sleeps until {row.wake_at}, and something is due at {due}"
        if begun and row.wake_at - row.updated_at > _LONG:
            yield f"it sleeps until {row.wake_at}, and {begun[0]} is under way"


async def of_children(row: InstanceRow, log: Told, tables: Tables) -> AsyncIterator[str]:
    """The instance as a parent, and as a child."""
    state = log.state
    if state is None or row.status in TERMINAL_STATUSES:
        return
    for id, child in state.children.items():
        name = child.started.instance_id
        other = await tables.row(name)
        if other is not None and other.parent == row.instance_id and other.status not in TERMINAL_STATUSES:
            continue
        mail = await _mail(row.instance_id, tables)
        told = [one for one in mail if isinstance(one, ChildEnded) and one.life in (0, row.life)]
        if not tables.shows_mail or id in {one.child_id for one in told}:
            continue
        if other is None:
            yield f"it waits for its child {name} ({id}), which is not there"
        elif other.parent != row.instance_id:
            yield f"it waits for its child {name} ({id}), which is a child of {other.parent}"
        else:
            yield f"it waits for its child {name} ({id}), which has ended ({other.status}) and has not told it"
    if row.parent is not None and await tables.row(row.parent) is None and not await _was_told(row, log, tables):
        yield f"its parent {row.parent} is not there"


async def _was_told(row: InstanceRow, log: Told, tables: Tables) -> bool:
    """Whether the instance was asked to cancel: its parent may then have ended, and been removed."""
    asked = any(isinstance(event, CancelRequested) for commit in log.commits for event in commit)
    mail = await _mail(row.instance_id, tables)
    return asked or not tables.shows_mail or any(isinstance(one, CancelMessage) for one in mail)


async def _mail(instance_id: str, tables: Tables) -> list[object]:
    messages: list[object] = []
    for body in await tables.mail(instance_id):
        try:
            messages.append(decode_message(body))
        except (HistoryVersionError, CodecError):
            continue
    return messages


class Code:
    """The workflows whose logs are replayed, and the activities that each of them knows."""

    def __init__(self, workflows: Mapping[str, WorkflowDefinition]) -> None:
        self.workflows = workflows
        self._known: dict[str, Mapping[str, Any]] = {}

    def activities_of(self, name: str) -> Mapping[str, Any]:
        """The activities that this workflow names. To collect them takes milliseconds."""
        if name not in self._known:
            definition = self.workflows[name]
            its = [cast("Workflow[..., Any]", definition)] if isinstance(definition, Workflow) else []
            self._known[name] = Registry.collect(its).activities_of(name)
        return self._known[name]


def of_replay(row: InstanceRow, log: Told, code: Code) -> Iterator[str]:
    """Check the log against the code: a running instance against today's code, an ended one against its own code."""
    definition = code.workflows.get(row.workflow_name)
    if definition is None or log.state is None or row.status is Status.STUCK:
        return
    if row.status in TERMINAL_STATUSES and getattr(definition, "code", row.code) != row.code:
        return
    try:
        replay(definition, log.commits, instance_id=row.instance_id, known=code.activities_of(row.workflow_name))
    except NonDeterminismError as error:
        yield f"its log does not replay: {error}"
    except HistoryCorruptError as error:
        yield f"its log makes no sense to a replay: {error}"
