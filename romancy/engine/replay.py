"""Replays a log: rebuilds the run of an instance from its recorded commits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from romancy.core import (
    ActivityScheduled,
    UndoRegistered,
    WorkflowContinued,
    WorkflowResumed,
    WorkflowRetried,
    WorkflowRewound,
    begin_of_retry,
    driving,
)
from romancy.engine.instance import Live
from romancy.engine.turns import Turns
from romancy.errors import HistoryCorruptError, InstanceNotFoundError, NonDeterminismError
from romancy.log import commit_of, commits_of
from romancy.serialization import is_sealed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from romancy.core import LogEvent
    from romancy.engine.clock import DatabaseClock
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.storage.records import Claimed, LogRow

    _Commit = tuple[int, str | None, list[LogEvent]]

__all__ = ["history", "load", "load_log", "resumption", "rows"]

_PAGE = 1000
_BEGIN_ANEW: Final = (WorkflowContinued, WorkflowRewound)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where reading the log begins, and where the current run begins: later, if the instance was retried."""

    run_from: int
    begins: int


async def history(
    store: Store, instance_id: str, *, after: int = 0, life: int | None = None
) -> AsyncIterator[tuple[int, list[LogEvent]]]:
    """Each commit of one life of the instance with its seq, read page by page. Raises as `rows` does."""
    async for row, commit in rows(store, instance_id, after=after, life=life):
        yield row.seq, commit


async def rows(
    store: Store, instance_id: str, *, after: int, life: int | None = None
) -> AsyncIterator[tuple[LogRow, list[LogEvent]]]:
    """Each row behind `after` with its events, of this life or (None) of the present one.

    Raises HistoryCorruptError where a row is missing or cannot be read, HistoryVersionError where one is newer than
    this library, and InstanceNotFoundError if that life was removed, even if its id is in use again.
    """
    while True:
        page = await store.read(instance_id, after=after, limit=_PAGE)
        if page is None:
            raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
        life = page.instance.life if life is None else life
        if page.instance.life != life:
            raise InstanceNotFoundError(f"instance {instance_id!r} was removed, and its id is used again")
        for row, commit in commits_of(page, after):
            yield row, commit
            after = row.seq
        if not page.more:
            return


async def load(store: Store, registry: Registry, claimed: Claimed, turns: Turns | None = None) -> Live:
    """Replay a claimed instance up to its head. The loop has its turns meanwhile; those who share `turns` share them.

    Raises NonDeterminismError when this worker's code cannot follow its log, HistoryVersionError when the log is newer
    than this library, HistoryCorruptError when the log makes no sense or is incomplete.
    """
    definition = registry.workflows[claimed.workflow_name]
    known = registry.activities_of(claimed.workflow_name)
    place, turns = _Place(claimed.run_from, claimed.run_from), turns or Turns()
    while True:
        live = Live.new(claimed.instance_id, claimed.life, definition, known=known)
        try:
            elsewhere = await _replay(store, live, claimed, place, turns)
        except NonDeterminismError:
            later = await _last_retry(store, claimed, live.head)
            live.run.close()
            if not later:
                raise
            elsewhere = _Place(place.run_from, later)
        else:
            if elsewhere is None:
                return live
            live.run.close()
        place = elsewhere


async def _last_retry(store: Store, claimed: Claimed, after: int) -> int:
    """The seq at which the last retry after this one began; 0 if none did."""
    found = 0
    async for seq, commit in history(store, claimed.instance_id, after=after, life=claimed.life):
        if any(isinstance(event, WorkflowRetried) for event in commit):
            found = seq
    return found


async def _replay(
    store: Store,
    live: Live,
    claimed: Claimed,
    place: _Place,
    turns: Turns,
    note: Callable[[Sequence[LogEvent]], None] | None = None,
) -> _Place | None:
    """Follow the log from that place. Commits before the run's beginning are recalled.

    Returns None, or the place where the run turned out to begin, for another run to follow it from there. That happens
    if the instance was retried, which only reading a long log shows, or if it was continued as new after the claim, by
    an append of this worker that reached the database late.
    """
    page: list[_Commit] = []
    async for one in _commits(store, claimed, place.run_from):
        page.append(one)
        if len(page) == _PAGE:
            if elsewhere := await _follow(live, page, place, note, turns):
                return elsewhere
            page = []
    if elsewhere := await _follow(live, page, place, note, turns):
        return elsewhere
    live.stands_as(claimed, place.run_from)
    return None


async def _follow(
    live: Live,
    page: list[_Commit],
    place: _Place,
    note: Callable[[Sequence[LogEvent]], None] | None,
    turns: Turns,
) -> _Place | None:
    begins = place.begins
    continued = _continued(page)
    if continued > place.run_from:
        return _Place(continued, continued)
    index = begin_of_retry([commit for _, _, commit in page])
    if index is not None and page[index][0] > begins:
        if live.run.state.started is not None:
            return _Place(place.run_from, page[index][0])
        begins = page[index][0]
    for _ in _in_turns(live, page, begins, note, turns):
        await asyncio.sleep(0)
    return None


def _in_turns(
    live: Live,
    page: list[_Commit],
    begins: int,
    note: Callable[[Sequence[LogEvent]], None] | None,
    turns: Turns,
) -> Iterator[None]:
    """Follow the commits. Pauses each time that the loop is to have a turn."""
    left = iter(page)
    while turns.is_over() or _follow_until(left, live, begins, note, turns):
        yield


def _follow_until(
    left: Iterator[_Commit],
    live: Live,
    begins: int,
    note: Callable[[Sequence[LogEvent]], None] | None,
    turns: Turns,
) -> bool:
    """Follow commits until none is left (False), or the loop is to have a turn."""
    with driving():
        for seq, writer, commit in left:
            try:
                if seq < begins:
                    live.run.recall([commit])
                else:
                    live.run.replay([commit])
                    if note is not None:
                        note(commit)
            except HistoryCorruptError as error:
                raise HistoryCorruptError(f"instance {live.instance_id!r}, row {seq} of its log: {error}") from error
            live.followed(seq, writer)
            if turns.is_over():
                return True
    return False


def _continued(page: list[_Commit]) -> int:
    """The seq of the last commit that continued the instance as new, or rewound it; 0 if none did."""
    for seq, _, commit in reversed(page):
        if any(type(event) in _BEGIN_ANEW for event in commit):
            return seq
    return 0


async def _commits(store: Store, claimed: Claimed, run_from: int) -> AsyncIterator[_Commit]:
    """The commits of its current run: from the claim if it brought all of them, else read from the store.

    All commits from a claim come with the writer of the last one.
    """
    complete = claimed.log and run_from == claimed.run_from and len(claimed.log) == claimed.head - run_from + 1
    if complete and not any(is_sealed(body, "commit") for body in claimed.log):  # a store opens what it reads
        for seq, body in enumerate(claimed.log, run_from):
            yield seq, claimed.head_writer, commit_of(claimed.instance_id, seq, body)
        return
    async for row, commit in rows(store, claimed.instance_id, after=run_from - 1, life=claimed.life):
        yield row.seq, row.writer, commit


async def load_log(
    store: Store, registry: Registry, claimed: Claimed, turns: Turns | None = None
) -> tuple[Live, set[str]]:
    """The instance as its log alone describes it, and the names of logged activities that this worker does not know."""
    definition = registry.workflows[claimed.workflow_name]
    known = registry.activities_of(claimed.workflow_name)
    place, turns = _Place(claimed.run_from, claimed.run_from), turns or Turns()
    while True:
        live = Live.new(claimed.instance_id, claimed.life, definition, activities=known, known=known)
        called = set[str]()

        def note(commit: Sequence[LogEvent], called: set[str] = called) -> None:
            called.update(event.name for event in commit if isinstance(event, (ActivityScheduled, UndoRegistered)))

        elsewhere = await _replay(store, live, claimed, place, turns, note)
        if elsewhere is None:
            return live, called - known.keys()
        live.run.close()
        place = elsewhere


def resumption(live: Live, clock: DatabaseClock) -> WorkflowResumed | None:
    """The input that lets a run continue; None if it needs none.

    A run needs it if it has not acted on its last input (a start, or the input at which it was parked), or if it
    remembers answers, or if it is to be undone and nothing of that is under way.
    """
    begins = live.run.state.undoing is not None and not live.run.state.compensations
    return WorkflowResumed(at=clock.now()) if begins or live.run.resumable or live.run.remembers else None
