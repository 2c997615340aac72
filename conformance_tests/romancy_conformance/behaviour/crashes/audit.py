"""Compares the log, the ledger and the user's table: what was lost, done twice, or left undone."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from romancy.core import (
    TERMINAL,
    ActivityCompleted,
    ActivityScheduled,
    CompensationCompleted,
    CompensationScheduled,
    OwnerChanged,
    WorkflowContinued,
    decode_commit,
)
from romancy.status import TERMINAL_STATUSES, Status
from romancy_conformance.behaviour.crashes.expected import fits
from romancy_conformance.behaviour.crashes.transactional import TRANSACTIONAL, WRITERS

if TYPE_CHECKING:
    from romancy import Instance, Romancy
    from romancy.core import LogEvent
    from romancy.storage.protocol import Store
    from romancy.storage.records import LogRow
    from romancy_conformance.behaviour.crashes.ledger import Ledger
    from romancy_conformance.workflows import Scenario

__all__ = ["Audit"]

Done = tuple[str, int, str]
"""An activity of one run of one instance."""


class Audit:
    """The findings of one case."""

    def __init__(self, scenario: Scenario, instance_id: str, ledger: Ledger, app: Romancy, store: Store) -> None:
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.duplicated: list[str] = []
        self.stuck: list[str] = []
        self.slowest_takeover = 0.0
        """Seconds, by the database's clock, from the dead worker's last log entry to the first of its successor."""
        self._scenario = scenario
        self._instance_id = instance_id
        self._ledger = ledger
        self._app = app
        self._store = store
        self._opened_at = datetime.now(UTC)
        self._begun = 0
        self._completed: set[Done] = set()

    async def after_a_kill(self) -> None:
        """No worker runs: what the log calls completed now must never begin again."""
        self._look_for_repeats()
        self._completed = {done for done, _ in self._done(await self._logs())}
        self._begun = len(self._ledger.read())

    async def at_the_end(self) -> None:
        """Judge the case."""
        self._look_for_repeats()
        logs = await self._logs()
        if self._instance_id not in logs:
            self.lost.append("the instance is not there")
            return
        await self._check_end(logs[self._instance_id])
        self._check_ledger(logs)
        if self._scenario.name in TRANSACTIONAL:
            await self._check_table(logs)

    # ── what it reads ───────────────────────────────────────────────────────────────────────────────────────────

    async def _instances(self) -> list[Instance]:
        """Return the instances of this case; those that an earlier case left stuck do not count."""
        page = await self._app.list_instances(limit=100)
        return [instance for instance in page.instances if instance.created_at >= self._opened_at]

    async def _logs(self) -> dict[str, list[LogEvent]]:
        logs: dict[str, list[LogEvent]] = {}
        for instance in await self._instances():
            history = await self._store.read(instance.instance_id)
            assert history is not None
            assert not history.more
            seqs = [row.seq for row in history.rows]
            if seqs != list(range(1, len(seqs) + 1)):
                self.lost.append(f"the log of {instance.instance_id} has gaps: {seqs}")
            logs[instance.instance_id] = [event for row in history.rows for event in decode_commit(row.body)]
            self._time_takeovers(history.rows)
        return logs

    def _time_takeovers(self, rows: list[LogRow]) -> None:
        for before, row in pairwise(rows):
            if any(isinstance(event, OwnerChanged) and event.owner for event in decode_commit(row.body)):
                self.slowest_takeover = max(self.slowest_takeover, (row.at - before.at) / 1_000_000)

    def _done(self, logs: dict[str, list[LogEvent]]) -> list[tuple[Done, str]]:
        """Return every completion in the logs, with the name of its function."""
        found: list[tuple[Done, str]] = []
        for instance_id, log in logs.items():
            run, names = 1, dict[str, str]()
            for event in log:
                if isinstance(event, WorkflowContinued):
                    run = event.run
                if isinstance(event, ActivityScheduled | CompensationScheduled):
                    names[event.id] = event.name
                if isinstance(event, ActivityCompleted | CompensationCompleted):
                    found.append(((instance_id, run, event.id), names[event.id]))
        return found

    def _look_for_repeats(self) -> None:
        entries = self._ledger.read()[self._begun :]
        # The ledger does not record runs: the next run uses the ids of an earlier run again.
        only_run = {(instance, id) for instance, run, id in self._completed if run == self._last_run(instance)}
        self.duplicated += [
            f"{entry.activity_id} of {entry.instance_id} ran again (attempt {entry.attempt})"
            for entry in entries
            if entry.what == "begin" and (entry.instance_id, entry.activity_id) in only_run
        ]

    def _last_run(self, instance_id: str) -> int:
        if self._scenario.workflow.name in {"counts_down", "writes_and_recurs"}:
            return -1  # the same ids recur in the next run
        return max((run for instance, run, _ in self._completed if instance == instance_id), default=1)

    # ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────

    async def _check_end(self, log: list[LogEvent]) -> None:
        for instance in await self._instances():
            if instance.status not in TERMINAL_STATUSES:
                self.stuck.append(f"{instance.instance_id} is {instance.status} ({instance.error})")
        ends = [event for event in log if isinstance(event, TERMINAL) and not isinstance(event, WorkflowContinued)]
        if len(ends) != 1 or log[-1] is not ends[0]:
            self.wrong.append(f"the log has {len(ends)} ends: {[type(event).__name__ for event in log]}")
            return
        row = await self._app.get_instance(self._instance_id)
        assert row is not None
        result = getattr(ends[0], "result", None)
        value = msgspec.json.decode(result) if row.status is Status.COMPLETED and result is not None else None
        error = getattr(ends[0], "error", None)
        name = error.type.rpartition(".")[2] if error is not None else ""
        if not fits(self._scenario, row.status, value, name):
            self.wrong.append(f"it ended {row.status} with {value!r} {name}")

    def _check_ledger(self, logs: dict[str, list[LogEvent]]) -> None:
        ended = Counter((entry.instance_id, entry.activity_id) for entry in self._ledger.read() if entry.what == "end")
        completed = Counter((instance, id) for (instance, _, id), _ in self._done(logs))
        self.lost += [
            f"{id} of {instance} is completed in the log and was not carried out"
            for (instance, id), times in completed.items()
            if ended[instance, id] < times
        ]

    async def _check_table(self, logs: dict[str, list[LogEvent]]) -> None:
        expected = Counter((instance, id) for (instance, _, id), name in self._done(logs) if name in WRITERS)
        async with self._store.services.sessions.begin() as session:
            rows = await session.fetch_all("select instance, activity from effects")
        found = Counter((row["instance"], row["activity"]) for row in rows if row["instance"] in logs)
        self.lost += [f"{what} has no row" for what in (expected - found)]
        self.duplicated += [f"{what} has {found[what]} rows" for what in (found - expected)]
