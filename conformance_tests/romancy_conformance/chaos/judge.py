"""Compares what is there with what must be: lost, doubled, phantom, stranded, parked, wrong, left, unreplayable."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from romancy.core import (
    TERMINAL,
    ActivityAttemptFailed,
    ActivityCancelled,
    ActivityCompleted,
    ActivityFailed,
    ActivityScheduled,
    CompensationCompleted,
    CompensationScheduled,
    Topic,
    UndoRegistered,
    UndoTakenBack,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowContinued,
    WorkflowFailed,
    WorkflowStarted,
    decode_commit,
    idempotency_key,
    replay,
)
from romancy.engine.topics import interest_of_subscription
from romancy.errors import RomancyError
from romancy.registry import Registry
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.routing import is_failed
from romancy_conformance.chaos.ledger import DONE, PHANTOM, UNDONE, Row, read
from romancy_conformance.chaos.oracle import WRITERS
from romancy_conformance.chaos.plain import KEPT
from romancy_conformance.chaos.undoing import in_order
from romancy_conformance.chaos.workflows import UNDOS, WORKFLOWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from romancy.core import LogEvent
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow, LogRow
    from romancy_conformance.chaos.oracle import Expected

__all__ = ["Finding", "Judge", "read_log"]

_WRITERS = frozenset(f"chaos_{form}{name}" for name in (*WRITERS, "keep", "release", *UNDOS) for form in ("", "plain_"))
_ENDS: dict[str, type[LogEvent]] = {"reserve": ActivityCompleted, "keep": ActivityCompleted, "gamble": ActivityFailed}
_UNDOABLE = {f"chaos_{form}{name}": end for name, end in _ENDS.items() for form in ("", "plain_")}
"""After which end an activity has to be undone if its run fails."""


class Finding(Struct, frozen=True):
    """One thing that is not as it must be."""

    kind: str
    instance: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind.upper()} {self.instance}: {self.text}"


async def read_log(store: Store, instance_id: str) -> tuple[InstanceRow, list[LogRow]] | None:
    """Read an instance with its whole log."""
    rows: list[LogRow] = []
    while True:
        page = await store.read(instance_id, after=rows[-1].seq if rows else 0)
        if page is None:
            return None
        rows += page.rows
        if not page.more:
            return page.instance, rows


class Judge:
    """Checks every instance of a round after its end."""

    def __init__(
        self,
        store: Store,
        expected: Mapping[str, Expected],
        starters: Iterable[str],
        outside: Iterable[str] = (),
    ) -> None:
        """`outside` holds the keys of activities that have acted outside of the database."""
        self._outside = set(outside)
        self.findings: list[Finding] = []
        self._store = store
        self._expected = expected
        self._starters = set(starters)
        self._rows: dict[str, list[Row]] = {}
        self._registry = Registry.collect(WORKFLOWS)

    def find(self, kind: str, instance: str, text: str) -> None:
        self.findings.append(Finding(kind, instance, text))

    async def judge(self, instances: Mapping[str, Status]) -> list[Finding]:
        """Return all findings, given the status of all instances."""
        for row in await read(self._store):
            self._rows.setdefault(row.instance, []).append(row)
        there = set(instances)
        known = self._expected.keys() | self._starters
        for stranger in sorted((there | self._rows.keys()) - known):
            self.find("phantom", stranger, "nobody started it")
        for instance_id in sorted(known):
            if instance_id in there:
                await self._judge_one(instance_id)
            elif instance_id not in self._expected or not self._expected[instance_id].program.undetermined:
                self.find("lost", instance_id, "it is not there")
        over = {instance_id: status for instance_id, status in instances.items() if status in TERMINAL_STATUSES}
        for instance_id, interest in await self._left_by(over):
            self.find("left", instance_id, f"it has ended, and {interest} is still registered")
        return self.findings

    async def _left_by(self, over: Mapping[str, Status]) -> list[tuple[str, str]]:
        """Return the waits and subscriptions that ended instances have left. A failed one is in the group of its cause.

        A subscription to a channel is not registered by an append. It may be registered while its instance ends; no
        message is then routed to it, and the next sweep removes it.
        """
        left = await self._interests_of(over)
        if any(_is_of_channel(interest) for _, interest in left):
            await self._store.services.router.dispatch()
            after = await self._interests_of(over)
            left = [each for each in left if each in after or not _is_of_channel(each[1])]
        return left

    async def _interests_of(self, over: Mapping[str, Status]) -> list[tuple[str, str]]:
        async with self._store.services.sessions.begin() as session:
            rows = await session.fetch_all("select owner, interest_id, address from romancy_interests")
        interests = [(_text(row["owner"]), _text(row["interest_id"]), _text(row["address"])) for row in rows]
        return [
            (owner, interest)
            for owner, interest, address in interests
            if owner in over and not (is_failed(address) and over[owner] is Status.FAILED)
        ]

    async def _judge_one(self, instance_id: str) -> None:
        found = await read_log(self._store, instance_id)
        assert found is not None
        row, log = found
        commits = [decode_commit(each.body) for each in log]
        events = [event for commit in commits for event in commit]
        if [each.seq for each in log] != list(range(1, len(log) + 1)):
            self.find("gap", instance_id, f"the log has {[each.seq for each in log]}")
        self._check_replay(row, commits)
        expected = self._expected.get(instance_id)
        if expected is None or not expected.program.failures:  # the log of a retry repeats what it remembers
            self._check_against_log(instance_id, events)
        if row.status is Status.STUCK:
            self.find("parked", instance_id, f"{row.error}")
        elif row.status not in TERMINAL_STATUSES:
            last = [type(event).__name__ for event in events[-4:]]
            where = f"owner {row.owner}, wakes at {row.wake_at}, {row.seen} of {row.signals} messages seen"
            self.find("stranded", instance_id, f"{row.status}, {where}, its log ends {last}")
        else:
            self._check_end(row, events, expected)
        if expected is not None:
            self._check_effects(row, expected)

    def _check_replay(self, row: InstanceRow, commits: list[list[LogEvent]]) -> None:
        """Check that the log replays in this process, and that its outcome agrees with the row."""
        workflow = next(each for each in WORKFLOWS if each.name == row.workflow_name)
        try:
            known = self._registry.activities_of(workflow.name)
            replayed = replay(workflow, commits, instance_id=row.instance_id, known=known)
        except RomancyError as error:
            self.find("unreplayable", row.instance_id, f"{type(error).__name__}: {error}")
            return
        if row.status in TERMINAL_STATUSES and replayed.status is not row.status:
            self.find("unreplayable", row.instance_id, f"is {row.status}, and replayed {replayed.status}")

    def _check_end(self, row: InstanceRow, events: list[LogEvent], expected: Expected | None) -> None:
        ends = [event for event in events if isinstance(event, TERMINAL) and not isinstance(event, WorkflowContinued)]
        failures = 0 if expected is None else expected.program.failures
        if len(ends) != 1 + failures or events[-1] is not ends[-1]:
            names = [type(event).__name__ for event in events[-6:]]
            self.find("unreplayable", row.instance_id, f"the log has {len(ends)} ends, its last events are {names}")
            return
        if expected is None or expected.program.undetermined:
            return
        end, wrong = ends[-1], ""
        if row.status != expected.status:
            wrong = f"{row.status} ({row.error})"
        elif isinstance(end, WorkflowCompleted):
            value: Any = msgspec.json.decode(end.result)
            wrong = "" if value == expected.result else f"returned {value}"
        elif isinstance(end, WorkflowFailed):
            name = end.error.type.rpartition(".")[2]
            wrong = "" if name == expected.error else f"failed with {end.error.type}: {end.error.message}"
        if wrong:
            right = f"{expected.status} {expected.result if expected.status == 'completed' else expected.error}"
            self.find("wrong", row.instance_id, f"{wrong}; it had to be {right}")

    def _check_effects(self, row: InstanceRow, expected: Expected) -> None:
        """Compare the ledger with the oracle; what a stranded instance has not undone is no separate finding."""
        rows = self._rows.get(row.instance_id, [])
        for what, right in ((DONE, expected.done), (UNDONE, expected.undone), (PHANTOM, Counter[str]())):
            there = Counter(each.key for each in rows if each.what == what and not each.key.startswith(KEPT))
            if expected.program.undetermined and what != PHANTOM:
                right = Counter({key: min(times, 1) for key, times in there.items()})  # noqa: PLW2901 - so much is sure
            if too_many := there - right:
                kind = "phantom" if what == PHANTOM else "doubled"
                self.find(kind, row.instance_id, f"{what} too often: {dict(too_many)}")
            if (too_few := right - there) and row.status in TERMINAL_STATUSES:
                self.find("lost", row.instance_id, f"never {what}: {dict(too_few)}")
        undone = [each.key for each in sorted(rows, key=lambda each: each.number) if each.what == UNDONE]
        if not in_order(undone):
            self.find("order", row.instance_id, f"undone in this order: {undone}")

    def _check_against_log(self, instance_id: str, events: list[LogEvent]) -> None:
        """Check that the ledger has exactly the effects that the log calls completed, undone in the right order."""
        names: dict[str, str] = {}
        completed: Counter[str] = Counter()
        for event in events:
            if isinstance(event, ActivityScheduled | CompensationScheduled):
                names[event.id] = event.name
            elif isinstance(event, ActivityCompleted | CompensationCompleted) and names[event.id] in _WRITERS:
                completed[event.id] += 1
        there = Counter(row.activity for row in self._rows.get(instance_id, []) if row.what != PHANTOM)
        if lost := completed - there:
            self.find("lost", instance_id, f"completed in the log and not in the ledger: {dict(lost)}")
        if doubled := there - completed:
            self.find("doubled", instance_id, f"in the ledger more often than in the log: {dict(doubled)}")
        self._check_order(instance_id, events)
        self._check_undone(instance_id, events)
        self._check_outside(instance_id, events)

    def _check_outside(self, instance_id: str, events: list[LogEvent]) -> None:
        """Check that what acted outside of the database has completed or failed in the log, or is named as unknown."""
        nonce, keys, failed = "", dict[str, str](), set[str]()
        for event in events:
            if isinstance(event, WorkflowStarted):
                nonce = event.nonce
            elif isinstance(event, ActivityScheduled):
                keys[event.id] = event.key or idempotency_key(instance_id, nonce, event.id)
            elif isinstance(event, ActivityAttemptFailed):
                failed.add(keys[event.id])
            elif (
                isinstance(event, ActivityCancelled) and keys[event.id] in self._outside - failed and not event.unknown
            ):
                self.find("unheard", instance_id, f"{event.id} is cancelled by the log, and has acted")

    def _check_undone(self, instance_id: str, events: list[LogEvent]) -> None:
        """Check that a failed or cancelled run has undone all that it had done, and any other run nothing."""
        names: dict[str, str] = {}
        done: set[str] = set()
        undone: set[str] = set()
        for event in events:
            if isinstance(event, ActivityScheduled):
                names[event.id] = event.name
            elif isinstance(event, ActivityCompleted | ActivityFailed) and type(event) is _UNDOABLE.get(
                names[event.id]
            ):
                done.add(event.id)
            elif isinstance(event, CompensationScheduled) and event.activity_name in _UNDOABLE:
                undone.add(event.activity_id)
            elif isinstance(event, TERMINAL):
                right = done if isinstance(event, (WorkflowFailed, WorkflowCancelled)) else set[str]()
                if undone != right:
                    self.find("undone", instance_id, f"undid {sorted(undone)}, and had done {sorted(done)}")
                done, undone = set(), set()

    def _check_order(self, instance_id: str, events: list[LogEvent]) -> None:
        """Check that in each run, what ended or was registered last is undone first."""
        done: list[str] = []
        undone: list[int] = []
        for event in events:
            if isinstance(event, WorkflowContinued):
                done, undone = [], []
            elif isinstance(event, ActivityCompleted | ActivityFailed | UndoRegistered):
                done.append(event.id)
            elif isinstance(event, UndoTakenBack):
                done[done.index(event.id)] = ""
            elif isinstance(event, CompensationScheduled):
                undone.append(done.index(event.activity_id) if event.activity_id in done else len(done))
        if undone != sorted(undone, reverse=True):
            self.find("order", instance_id, f"of {done} these were undone, in this order: {undone}")


def _is_of_channel(interest: str) -> bool:
    topic = Topic(interest.removesuffix("/c"), kind="channel")
    return interest == interest_of_subscription(topic, "competing").interest_id


def _text(value: str | bytes) -> str:
    """Return a text of Romancy's own tables; for a session on MySQL, it is binary."""
    return value if isinstance(value, str) else bytes(value).decode()
