"""What has to hold in each simulation, whatever the test is about.

- Each instance ends once the faults have stopped.
- Each body does again what its log says.
- What an activity did is in the log: nobody acts for a call that is not there, or that was given up before it began.

A lazy activity is left out: what it did may be missing in the log when its process has died.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from romancy.core import (
    ActivityCancelRequested,
    ActivityScheduled,
    CompensationScheduled,
    WorkflowForked,
    WorkflowStarted,
    idempotency_key,
)
from romancy.replaying.off_stage import differences, recorded
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from romancy.app import Romancy
    from romancy.core import LogEvent
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.testing._ledger import Effect

__all__ = ["anything_is_open", "misfits", "stranded", "strangers"]

_OPEN: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES and status is not Status.STUCK)
_UNFINISHED: Final = tuple(status for status in Status if status not in TERMINAL_STATUSES)
_MOST: Final = 3


async def anything_is_open(app: Romancy) -> bool:
    """Whether an instance has not ended, and is not stuck."""
    return bool((await app.list_instances(status=_OPEN, limit=1)).instances)


async def stranded(app: Romancy) -> list[str]:
    """Instances that have not ended, and why."""
    page = await app.list_instances(status=_UNFINISHED, limit=_MOST)
    return [
        f"{each.workflow_name} {each.instance_id} is {each.status}: {'; '.join(await app.explain(each.instance_id))}"
        for each in page.instances
    ]


async def misfits(app: Romancy, store: Store, registry: Registry) -> list[str]:
    """What the bodies of ended instances do and their logs do not say."""
    ended = [each.instance_id async for each in app.iter_instances(status=tuple(TERMINAL_STATUSES))]
    return list(differences(await recorded(store, registry, sorted(ended))).values())


async def strangers(app: Romancy, registry: Registry, effects: Iterable[Effect]) -> AsyncIterator[str]:
    """Effects for which there is no call in the log."""
    by_instance: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        by_instance[effect.instance_id].append(effect)
    there = {each.instance_id async for each in app.iter_instances()}
    for instance_id in sorted(by_instance.keys() & there):
        log = _Calls(await app.history(instance_id))
        for effect in by_instance[instance_id]:
            wrong = log.misses(effect, registry)
            if wrong is not None:
                yield f"{effect} happened, and {wrong}"


class _Calls:
    """The calls that a log has."""

    def __init__(self, events: Iterable[LogEvent]) -> None:
        self._nonces: list[str] = []
        self._there: set[str] = set()
        self._given_up: set[str] = set()
        for event in events:
            match event:
                case WorkflowStarted() | WorkflowForked():
                    self._nonces.append(event.nonce)
                case ActivityScheduled() | CompensationScheduled():
                    self._there.add(event.id)
                case ActivityCancelRequested(never_started=True):
                    self._given_up.add(event.id)
                case _:
                    pass

    def misses(self, effect: Effect, registry: Registry) -> str | None:
        """What is wrong about this effect; None if nothing is, or if it belongs to a run whose log is gone."""
        keys = {idempotency_key(effect.instance_id, nonce, effect.activity_id) for nonce in self._nonces}
        activity = registry.activities.get(effect.activity_id.rpartition(":")[0])
        if effect.idempotency_key not in keys or (activity is not None and activity.declared.lazy):
            return None
        if effect.activity_id in self._given_up:
            return "the log says that the call was given up before it began"
        return None if effect.activity_id in self._there else "the log has no such call"
