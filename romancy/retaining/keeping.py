"""The task of a worker that removes what is over, as `Romancy(retention=…)` and `@workflow(retention=…)` say.

Of the workers with the same rules, the first by its token does it; the others look again later. That only saves work:
two that do it at once remove each instance once.

A pass searches each workflow for instances whose time is over, the oldest first, a page at a time, and rests after each
page for several times as long as it took. A pass has no state: after a crash, another begins at the oldest again.

An instance goes once no child of it is there, and no instance above it is open. So a tree goes from its leaves, after
its root has ended. A run of a schedule has nothing above it: a schedule does not end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from romancy._logs import get_logger
from romancy.errors import RomancyError
from romancy.instance import Instance
from romancy.managing.retained import goes_by_default
from romancy.retaining.archive import lines_of
from romancy.retaining.passes import ended_pages, go_through, is_first
from romancy.retaining.places import place_of
from romancy.retention import BY_DEFAULT
from romancy.schedules.records import WORKFLOW as SCHEDULE
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query import MAX_LIMIT, build_query

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Literal

    from romancy.engine import Worker
    from romancy.retention import Retention
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow
    from romancy.workflow import Workflow

__all__ = ["Purge", "Retaining", "Rule", "mark_of", "rules_of"]

logger = get_logger("romancy")

Purge: TypeAlias = Callable[[Sequence[Instance]], Awaitable[set[str]]]

_FIRST: Final = 10.0
"""Seconds between the worker's start and the first pass. If all that goes goes by default, it is `_MOST_OFTEN`."""
_MOST_OFTEN: Final = 60.0
_SELDOM: Final = 3600.0
_PART: Final = 1000
"""A pass follows the former one after this part of the shortest period, and within the two bounds above."""
_SOON: Final = 5.0
"""Seconds between two passes if the former has removed something."""
_DEEPEST: Final = 50
"""An instance with more instances above it stays."""
_AT_ONCE: Final = 10


class Rule(NamedTuple):
    """Instances of a workflow that ended so, and when their time is over."""

    workflow: str
    statuses: tuple[Status, ...]
    kept_for: int
    archive: str | None = None
    by_default: bool = False
    """Nobody has said so: it holds if the database says it."""


def rules_of(
    retention: Retention | Literal["default"] | None, workflows: Mapping[str, Workflow[..., Any]]
) -> list[Rule]:
    """The rules for these workflows. A workflow's own retention replaces that of the app.

    By default, an entity that failed or was cancelled stays: a call behind its end would begin it with no state.
    """
    rules: list[Rule] = []
    for name, workflow in sorted(workflows.items()):
        by_default = workflow.retention is None and retention == "default"
        said = workflow.retention or (BY_DEFAULT if retention == "default" else retention)
        if said is None:
            continue
        periods: dict[int, list[Status]] = {}
        for status in (Status.COMPLETED,) if by_default and workflow.keeps_state else sorted(TERMINAL_STATUSES):
            if (kept_for := said.kept_for(status)) is not None:
                periods.setdefault(kept_for, []).append(status)
        archive = None if said.archive is None else str(said.archive)
        rules += [
            Rule(name, tuple(statuses), kept_for, archive, by_default) for kept_for, statuses in sorted(periods.items())
        ]
    return rules


def mark_of(rules: Iterable[Rule], streams: tuple[int, list[str]] | None) -> str:
    """What workers tell each other of what they remove: equal if and only if that is. "": nothing.

    `streams`: how long they are kept, and of which workflows.
    """
    told = repr((list(rules), streams))
    return sha256(told.encode()).hexdigest()[:12] if rules or streams else ""


class Retaining:
    """Removes ended instances by rules, beside the other work of a worker."""

    def __init__(self, store: Store, worker: Worker, rules: Sequence[Rule], purge: Purge) -> None:
        self._store = store
        self.worker = worker
        self._rules = rules
        self._purge = purge

    async def run(self) -> None:
        """Look from time to time, until the worker drains."""
        shortest = min(rule.kept_for for rule in self._rules) / 1_000_000
        pause = min(max(shortest / _PART, _MOST_OFTEN), _SELDOM)
        await asyncio.sleep(_MOST_OFTEN if all(rule.by_default for rule in self._rules) else _FIRST)
        while not self.worker.draining:
            again = pause
            if self.is_mine():
                try:
                    again = _SOON if await self.look() else pause
                except RomancyError as error:
                    logger.warning("what is over could not be removed, and is tried again: %s", error)
                    again = _MOST_OFTEN
                except Exception:
                    logger.exception("what is over could not be removed, and is tried again")
                    again = _MOST_OFTEN
            await asyncio.sleep(again)

    def is_mine(self) -> bool:
        """Whether no other worker does the work of this one."""
        return is_first(self.worker)

    async def look(self) -> int:
        """One pass over all workflows. Returns how many instances it has removed.

        Raises the first error, when all rules were tried.
        """
        removed = Counter[bool]()  # by whether that is the default
        holds = any(rule.by_default for rule in self._rules) and await goes_by_default(self._store)
        try:
            return await go_through(
                (rule for rule in self._rules if holds or not rule.by_default), partial(self._apply, removed)
            )
        finally:
            if total := removed.total():
                why = "; retention= of the app or `romancy retention --off` lets them stay" if removed[True] else ""
                logger.info("removed %d ended instances whose time was over%s", total, why)

    async def _apply(self, removed: Counter[bool], rule: Rule) -> int:
        before, now = removed.total(), (await self._store.services.reading.census()).now
        pages = ended_pages(self._store, self.worker, rule.workflow, rule.statuses, until=now - rule.kept_for)
        async for rows in pages:
            if going := await self._archived(rule, await self._apart(rows)):
                removed[rule.by_default] += len(await self._purge([Instance.of(row) for row in going]))
        return removed.total() - before

    async def _archived(self, rule: Rule, rows: list[InstanceRow]) -> list[InstanceRow]:
        """Those of the instances that are in the archive now, or all if there is none."""
        if rule.archive is None or not rows:
            return rows
        lines = await lines_of(self._store, rows)
        await asyncio.to_thread(place_of(rule.archive).write, self.worker.leases.token, [*lines.values()])
        return [row for row in rows if row.instance_id in lines]

    async def _apart(self, rows: Sequence[InstanceRow]) -> list[InstanceRow]:
        """Those of the instances above which nothing is open, and under which nothing is."""
        held = await self._held_from_above(rows)
        left = [row for row in rows if row.instance_id not in held]
        limit = asyncio.Semaphore(_AT_ONCE)

        async def has_children(row: InstanceRow) -> bool:
            async with limit:
                found = await self._store.services.reading.find(build_query(parent=row.instance_id, limit=1))
                return bool(found.rows)

        parents = await asyncio.gather(*map(has_children, left))
        return [row for row, is_parent in zip(left, parents, strict=True) if not is_parent]

    async def _held_from_above(self, rows: Sequence[InstanceRow]) -> set[str]:
        """The ids of those of the instances above which one is open."""
        above: dict[str, InstanceRow] = {}
        wanted = {row.parent for row in rows if row.parent is not None}
        for _ in range(_DEEPEST):
            if not wanted:
                break
            found = await self._store.services.reading.find(build_query(ids=wanted, limit=MAX_LIMIT))
            above |= {row.instance_id: row for row in found.rows}
            wanted = {row.parent for row in found.rows if row.parent is not None} - above.keys()
        return {row.instance_id for row in rows if _is_held(row, above, wanted)}


def _is_held(row: InstanceRow, above: Mapping[str, InstanceRow], unread: set[str]) -> bool:
    """Whether an instance above this one is open, or was not read."""
    met: set[str] = set()
    parent = row.parent
    while parent is not None and parent not in met:
        met.add(parent)
        if parent in unread:
            return True
        found = above.get(parent)
        if found is None or found.workflow_name == SCHEDULE:
            return False
        if found.status not in TERMINAL_STATUSES:
            return True
        parent = found.parent
    return False
