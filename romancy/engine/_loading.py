"""Bringing an instance back from its log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.core import ActivityScheduled, Run, WorkflowResumed
from romancy.engine._live import Live
from romancy.engine._runtime import RUNTIME
from romancy.errors import HistoryCorruptError, InstanceNotFoundError
from romancy.log import commit_of, commits_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from romancy.core import LogEvent
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.storage.records import Claimed, LogRow

__all__ = ["history", "load", "load_log", "resumption"]

_PAGE = 1000


async def history(store: Store, instance_id: str, *, after: int = 0) -> AsyncIterator[tuple[int, list[LogEvent]]]:
    """Each commit of the instance's current life with its seq, read page by page. Raises what `_rows` does."""
    async for row, commit in _rows(store, instance_id, after=after):
        yield row.seq, commit


async def _rows(store: Store, instance_id: str, *, after: int) -> AsyncIterator[tuple[LogRow, list[LogEvent]]]:
    """Each row behind `after` with its events.

    Raises HistoryCorruptError where one is missing or cannot be read, and HistoryVersionError where one is newer than
    this library.
    """
    while True:
        page = await store.read(instance_id, after=after, limit=_PAGE)
        if page is None:
            raise InstanceNotFoundError(f"there is no instance {instance_id!r}")
        for row, commit in commits_of(page, after):
            yield row, commit
            after = row.seq
        if not page.more:
            return


async def load(store: Store, registry: Registry, claimed: Claimed) -> Live:
    """Replay a claimed instance up to its head.

    Raises NonDeterminismError when this worker's code cannot follow its log, HistoryVersionError when the log is
    newer than this library, HistoryCorruptError when it makes no sense or is not all there.
    """
    definition = registry.workflows[claimed.workflow_name]
    run = Run(definition, instance_id=claimed.instance_id, code=definition.code, runtime=RUNTIME)
    live = Live(claimed.instance_id, claimed.life, definition, run)
    await _replay(store, live, claimed)
    return live


async def _replay(
    store: Store, live: Live, claimed: Claimed, note: Callable[[Sequence[LogEvent]], None] | None = None
) -> None:
    async for seq, writer, commit in _commits(store, claimed):
        try:
            live.run.replay([commit])
        except HistoryCorruptError as error:
            raise HistoryCorruptError(f"instance {claimed.instance_id!r}, row {seq} of its log: {error}") from error
        live.head, live.writer = seq, writer
        if note is not None:
            note(commit)
    started = live.run.state.started
    live.parent = started.parent if started is not None else None
    live.signals = claimed.seen
    live.run_from = claimed.run_from
    live.shown = claimed.status


async def _commits(store: Store, claimed: Claimed) -> AsyncIterator[tuple[int, str | None, list[LogEvent]]]:
    """The commits of its current run: those that came along with the claim, if they are all there are.

    Of their writers the last one's is told.
    """
    if claimed.log and len(claimed.log) == claimed.head - claimed.run_from + 1:
        for seq, body in enumerate(claimed.log, claimed.run_from):
            yield seq, claimed.head_writer, commit_of(claimed.instance_id, seq, body)
        return
    async for row, commit in _rows(store, claimed.instance_id, after=claimed.run_from - 1):
        yield row.seq, row.writer, commit


async def load_log(store: Store, registry: Registry, claimed: Claimed) -> tuple[Live, set[str]]:
    """The instance as its log alone tells of it, and the activities in it that this worker does not know."""
    definition = registry.workflows[claimed.workflow_name]
    run = Run(
        definition,
        instance_id=claimed.instance_id,
        code=definition.code,
        runtime=RUNTIME,
        activities=registry.activities,
    )
    live, called = Live(claimed.instance_id, claimed.life, definition, run), set[str]()

    def note(commit: Sequence[LogEvent]) -> None:
        called.update(event.name for event in commit if isinstance(event, ActivityScheduled))

    await _replay(store, live, claimed, note)
    return live, called - registry.activities.keys()


def resumption(live: Live, now: int) -> WorkflowResumed | None:
    """What drives on a run that was started, or parked, without having acted upon its last input."""
    return WorkflowResumed(at=now) if live.run.resumable else None
