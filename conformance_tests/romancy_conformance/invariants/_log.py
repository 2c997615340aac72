"""What a log shows by itself: whether it is complete, where it ends, what it waits for. Pure, and without user code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from romancy.core import (
    NO_DICT,
    TERMINAL,
    CompensationScheduled,
    LogEvent,
    Recall,
    State,
    UndoingBegan,
    WorkflowRetried,
    WorkflowRewound,
    WorkflowStarted,
    current_run,
    decode_commit,
)
from romancy.core.fold.in_flight import Attempted
from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from romancy.storage.records import InstanceRow, LogRow

__all__ = ["Told", "told"]

_NAMED: Final = 20


@dataclass
class Told:
    """What one log shows: the commits of its current run and their state, or what is wrong with them."""

    wrong: list[str]
    commits: list[list[LogEvent]]
    state: State | None = None
    """None where the log is damaged: it is then unknown what the instance waits for."""


def told(row: InstanceRow, rows: Sequence[LogRow]) -> Told:
    """Read a log and compare it with the instance's row."""
    log = Told(list(_gaps(row, rows)), [])
    for one in rows:
        try:
            commit = decode_commit(one.body)
        except (HistoryCorruptError, HistoryVersionError, CodecError) as error:
            log.wrong.append(f"row {one.seq} of its log cannot be read: {error}")
            continue
        if not commit:
            log.wrong.append(f"row {one.seq} of its log holds no event")
        log.commits.append(commit)
    log.wrong += _ends(rows, log.commits) if not log.wrong else []
    if log.wrong:
        return log
    log.commits = [list(commit) for commit in current_run(log.commits)]
    try:
        log.state = _folded(row.instance_id, log.commits)
    except HistoryCorruptError as error:
        log.wrong.append(str(error))
    except LookupError as error:  # the log lacks what the fold assumes
        log.wrong.append(f"its log makes no sense: {error!r}")
    return log


def _gaps(row: InstanceRow, rows: Sequence[LogRow]) -> Iterator[str]:
    """Report gaps. Rows before the current run may have been pruned, in any order."""
    seqs = [one.seq for one in rows if one.seq >= row.run_from]
    last = max([row.last_seq, *seqs])
    missing = sorted(set(range(row.run_from, last + 1)) - set(seqs))
    if missing:
        rest = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        which = (
            f"rows {', '.join(map(str, missing[:_NAMED]))}{rest} are" if len(missing) > 1 else f"row {missing[0]} is"
        )
        yield f"{which} missing from its log, which goes to {last}"
    writers = [one.writer for one in rows]
    if len(set(writers)) != len(writers):
        twice = sorted({writer for writer in writers if writers.count(writer) > 1})
        yield f"the append {twice[0]} stands in its log more than once"


def _ends(rows: Sequence[LogRow], commits: Sequence[Sequence[LogEvent]]) -> Iterator[str]:
    """Report rows after an end other than the start of another run."""
    ended: tuple[int, str] | None = None
    for row, commit in zip(rows, commits, strict=True):
        for event in commit:
            name = type(event).__name__
            if isinstance(event, (WorkflowStarted, WorkflowRewound, UndoingBegan)):
                ended = None
            elif ended is not None:
                yield f"its log ends with {ended[1]} in row {ended[0]}, and {name} stands behind it in row {row.seq}"
            if isinstance(event, TERMINAL):
                ended = row.seq, name


def _folded(instance_id: str, commits: Sequence[Sequence[LogEvent]]) -> State:
    """Return the state of a run. Its compensations are as the log records them; no code is asked.

    A retry begins with what it remembers of the failed runs before it.
    """
    events = [event for commit in commits for event in commit]
    begins = max((at for at, event in enumerate(events) if isinstance(event, WorkflowStarted)), default=None)
    if begins is None:
        raise HistoryCorruptError("its log holds no start")
    state = State()
    if isinstance(events[begins], WorkflowRetried):
        state.recall = Recall(instance_id)
        for event in events[:begins]:
            state.recall.follow(event)
    for event in events[begins:]:
        if isinstance(event, CompensationScheduled):
            if state.compensations is NO_DICT:
                state.compensations = {}
            state.compensations[event.id] = Attempted(event)
        else:
            state.apply(event)
    return state
