"""An instance with its waits, read from the log of its current run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from romancy.engine import rows
from romancy.errors import InstanceNotFoundError
from romancy.insight import Timeline
from romancy.instance import Instance, Wait, moment_of
from romancy.status import TERMINAL_STATUSES

if TYPE_CHECKING:
    from romancy.insight import Step
    from romancy.storage.protocol import Store

__all__ = ["instance_with_waits", "timeline_of"]


async def instance_with_waits(store: Store, instance_id: str) -> Instance | None:
    """The instance, or None. An ended instance has no waits, and its log is not read."""
    found = await store.read(instance_id, limit=0)
    if found is None:
        return None
    row = found.instance
    if row.status in TERMINAL_STATUSES:
        return Instance.of(row, ())
    try:
        timeline = await timeline_of(store, instance_id, after=row.run_from - 1)
    except InstanceNotFoundError:
        return None  # it was removed in the meantime
    return Instance.of(row, tuple(map(_wait, timeline.open)))


async def timeline_of(store: Store, instance_id: str, *, after: int = 0) -> Timeline:
    """The log of an instance behind a commit, step by step."""
    timeline = Timeline()
    async for row, commit in rows(store, instance_id, after=after):
        for event in commit:
            timeline.take(event, at=row.at)
    return timeline


def _wait(step: Step) -> Wait:
    last = step.failures[-1] if step.failures else None
    return Wait(
        kind=cast("Any", step.kind),
        id=step.id,
        name=step.name,
        since=moment_of(step.began_at),
        due=None if step.due is None else moment_of(step.due),
        failed_attempts=0 if last is None else last.number,
        error=None if last is None else last.error.summary,
        key=step.key,
        child_id=step.instance_id,
    )
