"""What needs a person now, read from the database in a few bounded statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from romancy.alerting.records import ALERTS, Condition
from romancy.engine import names_in
from romancy.insight import alive, many, span
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.query import MAX_LIMIT, build_query

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from romancy.storage.protocol import Store
    from romancy.storage.records import Census, InstanceRow

__all__ = ["Condition", "Found", "Thresholds", "conditions_of"]

_SECOND: Final = 1_000_000
_NAMED: Final = 3
"""So many ids are in the text of an alert."""
_USUALLY: Final = 24 * 3600.0
"""What is usual is counted over so many seconds."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When something is worth an alert."""

    waiting: float = 300.0
    """Seconds for which something due may wait for a worker."""
    failures: int = 5
    """So many failures of a workflow within `window` are an alert, if they are also `unusual` times the usual number.
    """
    unusual: float = 3.0
    window: float = 900.0


class Found(NamedTuple):
    """The conditions that hold, as of a time of the database."""

    at: int
    conditions: list[Condition]


async def conditions_of(store: Store, thresholds: Thresholds) -> Found:
    """Everything that needs a person. Each search reads at most a thousand instances."""
    reading = store.services.reading
    census = await reading.census()
    now, window = census.now, round(thresholds.window * _SECOND)
    stuck = await reading.find(build_query(status=[Status.STUCK], limit=MAX_LIMIT))
    failed = await reading.find(build_query(status=[Status.FAILED], ended_since=now - window, limit=MAX_LIMIT))
    before = build_query(
        status=[Status.FAILED],
        ended_since=now - window - round(_USUALLY * _SECOND),
        ended_until=now - window,
        limit=MAX_LIMIT,
    )
    usual = (await reading.find(before)).rows if failed.rows else []
    found = [
        *_without_workers(census),
        *_stuck(stuck.rows, now),
        *_failing(failed.rows, usual, thresholds),
        *_waiting(await _open(store), now, thresholds),
    ]
    return Found(now, found)


async def _open(store: Store) -> list[InstanceRow]:
    """The oldest instances that have not begun, and the oldest of all others that are open."""
    reading = store.services.reading
    others = [each for each in Status if each not in (Status.PENDING, Status.STUCK, Status.PAUSED, *TERMINAL_STATUSES)]
    pages = [
        await reading.find(build_query(status=statuses, oldest_first=True, limit=MAX_LIMIT))
        for statuses in ([Status.PENDING], others)
    ]
    return [row for page in pages for row in page.rows]


def _without_workers(census: Census) -> Iterator[Condition]:
    if not any(names_in(peer.codes) != {ALERTS} for peer in alive(census)):
        yield Condition("workers", "no worker is alive, so nothing goes on", "workers")


def _stuck(rows: Iterable[InstanceRow], now: int) -> Iterator[Condition]:
    for name, own in _by_workflow(rows):
        since = span(now - min(row.updated_at for row in own))
        yield Condition(
            f"stuck:{name}",
            f"{_many_of(name, own)} {'is' if len(own) == 1 else 'are'} stuck, the first for {since}: {_ids(own)}",
            f"stuck {name}",
        )


def _failing(rows: Sequence[InstanceRow], usual: Sequence[InstanceRow], thresholds: Thresholds) -> Iterator[Condition]:
    before = {name: len(own) for name, own in _by_workflow(usual)}
    for name, own in _by_workflow(rows):
        expected = before.get(name, 0) * thresholds.window / _USUALLY
        if len(own) >= max(thresholds.failures, thresholds.unusual * expected):
            yield Condition(
                f"failing:{name}",
                f"{_many_of(name, own)} failed within {span(round(thresholds.window * _SECOND))}, where "
                f"{expected:.1f} are usual: {_ids(own)}",
                f"failed {name}",
            )


def _waiting(rows: Iterable[InstanceRow], now: int, thresholds: Thresholds) -> Iterator[Condition]:
    due = {row.instance_id: _due(row) for row in rows}
    late = [row for row in rows if 0 < due[row.instance_id] < now - round(thresholds.waiting * _SECOND)]
    for name, own in _by_workflow(late):
        longest = span(now - min(due[row.instance_id] for row in own))
        yield Condition(
            f"waiting:{name}",
            f"{_many_of(name, own)} {'waits' if len(own) == 1 else 'wait'} for a worker, the first for {longest}: "
            f"{_ids(own)}",
            f"open {name}",
        )


def _due(row: InstanceRow) -> int:
    """Since when a worker could have taken it. 0: it has an owner, or waits for something else."""
    if row.owner is not None or row.wake_at is None:
        return 0
    return max(row.wake_at, row.updated_at)


def _by_workflow(rows: Iterable[InstanceRow]) -> list[tuple[str, list[InstanceRow]]]:
    found: dict[str, list[InstanceRow]] = {}
    for row in rows:
        if row.workflow_name != ALERTS:
            found.setdefault(row.workflow_name, []).append(row)
    return sorted(found.items())


def _many_of(name: str, rows: Sequence[InstanceRow]) -> str:
    """As many as were read: behind a thousand, there may be more."""
    return f"{many(len(rows), 'instance')}{' or more' if len(rows) >= MAX_LIMIT else ''} of {name}"


def _ids(rows: Sequence[InstanceRow]) -> str:
    left = len(rows) - _NAMED
    return ", ".join(row.instance_id for row in rows[:_NAMED]) + (f" and {left:,} more" if left > 0 else "")
