"""Makes the row of an instance again from its log alone, with the interests of its open waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from romancy.core import (
    OwnerChanged,
    UndoingBegan,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinued,
    WorkflowFailed,
    WorkflowForked,
    WorkflowResumed,
    WorkflowRewound,
    WorkflowStarted,
)
from romancy.engine.codecs import opened_row_of_log
from romancy.engine.decide import short
from romancy.engine.failing import interest_of_failure
from romancy.engine.interests import interests_of
from romancy.engine.replay import load_log
from romancy.errors import HistoryCorruptError
from romancy.log import commit_of
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Claimed, History, InstanceRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from romancy.core import LogEvent
    from romancy.registry import Registry
    from romancy.serialization import Codecs
    from romancy.storage.protocol import Store
    from romancy.storage.rebuilding import Logs
    from romancy.storage.records import LogRow
    from romancy.storage.routing import Interest

__all__ = ["LostRow", "interests_from_log"]

_PAGE = 1000
_ENDS = {
    WorkflowCompleted: Status.COMPLETED,
    WorkflowFailed: Status.FAILED,
    WorkflowCancelled: Status.CANCELLED,
}


class LostRow:
    """What the log of one life says about its instance's row. Feed it every row of the log, oldest first."""

    def __init__(self, instance_id: str, life: int) -> None:
        self._instance_id = instance_id
        self._life = life
        self._first: LogRow | None = None
        self._last: LogRow | None = None
        self._started: WorkflowStarted | None = None
        self._end: WorkflowCompleted | WorkflowFailed | WorkflowCancelled | None = None
        self._terminated = False
        self._paused: str | None = None
        """Why it is paused. None: it is not."""
        self._due = 0
        """When its body is to begin, if nobody has begun it."""
        self._run_from = 1
        self._code = ""
        self._events = 0
        self.failure: Interest | None = None
        """The group of its failure."""

    @classmethod
    async def read(cls, logs: Logs, codecs: Codecs, instance_id: str, life: int) -> LostRow:
        """What the log of an instance says. Its row has the input unsealed.

        Raises HistoryCorruptError if a row of the log is missing or makes no sense, HistoryVersionError if one is newer
        than this library, and CodecError if one is sealed and cannot be opened.
        """
        lost = cls(instance_id, life)
        async for row in rows_of_life(logs, codecs, instance_id, life):
            lost.add(row, commit_of(instance_id, row.seq, row.body))
        return lost

    def add(self, row: LogRow, events: list[LogEvent]) -> None:
        """Take one row of the log into account."""
        if self._last is not None and row.seq != self._last.seq + 1:
            raise HistoryCorruptError(f"instance {self._instance_id!r}: row {self._last.seq + 1} is missing in its log")
        if self._first is None:
            self._first, self._run_from = row, row.seq
        self._last = row
        for event in events:
            self._events += 1
            if not isinstance(event, OwnerChanged):
                self._due = event.due if isinstance(event, WorkflowStarted) else 0
            elif event.pause:
                self._due = event.due
            self._follow(row, events, event)

    def _follow(self, row: LogRow, events: list[LogEvent], event: LogEvent) -> None:
        match event:
            case WorkflowStarted():
                self._started, self._end, self.failure = event, None, None
                self._code = event.code or self._code
            case WorkflowForked():
                self._paused = None
            case WorkflowContinued() | WorkflowRewound():
                self._run_from = row.seq
            case UndoingBegan():
                self._end = self._paused = self.failure = None
            case OwnerChanged() | WorkflowResumed():
                self._code = event.code or self._code
                if isinstance(event, OwnerChanged) and event.pause:
                    self._paused = event.reason if event.pause == "begins" else None
            case WorkflowCompleted() | WorkflowFailed() | WorkflowCancelled():
                self._end = event
                self._terminated = type(events[0]) is OwnerChanged
                if isinstance(event, WorkflowFailed) and self._started is not None:
                    self.failure = interest_of_failure(
                        event.error, events, workflow=self._started.workflow, code=self._code, release=""
                    )
            case _:
                pass

    def row(self) -> InstanceRow:
        """The row. An open instance has no owner in it."""
        if self._first is None or self._last is None or self._started is None:
            raise HistoryCorruptError(f"instance {self._instance_id!r}: its log does not hold the start of its run")
        started, status = self._started, self._status()
        return InstanceRow(
            instance_id=self._instance_id,
            life=self._life,
            workflow_name=started.workflow,
            status=status,
            code=self._code,
            created_at=self._first.at,
            updated_at=self._last.at,
            input=bytes(started.input),
            error=self._error(),
            parent=None if started.parent is None else started.parent.instance_id,
            run_from=self._run_from,
            last_seq=self._last.seq,
            priority=started.priority,
            wake_at=self._due or None if status is Status.PENDING else None,
        )

    def _status(self) -> Status:
        if self._end is not None:
            return _ENDS[type(self._end)]
        if self._paused is not None:
            return Status.PAUSED
        return Status.PENDING if self._events == 1 or self._due else Status.RUNNING

    def _error(self) -> str | None:
        if isinstance(self._end, WorkflowFailed):
            return short(self._end.error.summary)
        if isinstance(self._end, WorkflowCancelled) and self._terminated:
            return short(self._end.reason)
        return None if self._end is not None else short(self._paused or None)


async def rows_of_life(
    logs: Logs, codecs: Codecs, instance_id: str, life: int, *, after: int = 0
) -> AsyncIterator[LogRow]:
    """The rows of a log, page by page, opened."""
    while True:
        page = await logs.log(instance_id, life, after=after, limit=_PAGE)
        for row in page:
            yield opened_row_of_log(codecs, instance_id, life, row)
            after = row.seq
        if len(page) < _PAGE:
            return


async def interests_from_log(logs: Logs, codecs: Codecs, registry: Registry, row: InstanceRow) -> tuple[Interest, ...]:
    """The interests that an open instance has registered, as its log has them. Runs no code of the workflow."""
    if row.status in TERMINAL_STATUSES:
        return ()
    claimed = Claimed(
        instance_id=row.instance_id,
        life=row.life,
        workflow_name=row.workflow_name,
        status=row.status,
        code=row.code,
        run_from=row.run_from,
        head=row.last_seq,
        signals=0,
        seen=0,
        crashes=0,
    )
    live, _ = await load_log(cast("Store", _LogAlone(logs, codecs, row)), registry, claimed)
    interests = interests_of(live.run.state)
    live.run.close()
    return () if interests is None else tuple(interests.registered.values())


class _LogAlone:
    """The part of a store that a replay reads, for an instance without a row."""

    def __init__(self, logs: Logs, codecs: Codecs, row: InstanceRow) -> None:
        self._logs = logs
        self._codecs = codecs
        self._row = row

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        """As `Store.read`."""
        life = self._row.life
        page = await self._logs.log(instance_id, life, after=after, limit=limit)
        rows = [opened_row_of_log(self._codecs, instance_id, life, row) for row in page]
        return History(instance=self._row, rows=rows, more=len(page) == limit)
