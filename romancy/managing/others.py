"""What is wrong with the instances for which one waits: children, and those that it asks. Finds waits in a circle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.errors import RomancyError
from romancy.insight import Timeline
from romancy.managing.waits import timeline_of
from romancy.serialization import cause_first
from romancy.status import TERMINAL_STATUSES, Status

if TYPE_CHECKING:
    from romancy.insight import Step
    from romancy.storage.protocol import Store
    from romancy.storage.records import InstanceRow

__all__ = ["others_of"]

_LOOKED_AT: Final = 20
"""How many others are read at most, also on the way around a circle."""


async def others_of(store: Store, row: InstanceRow, timeline: Timeline) -> dict[str, str]:
    """Of each open step that waits for another instance, what is wrong with that one. Others are absent."""
    looking = _Looking(store, row.instance_id)
    found = dict[str, str]()
    for step in timeline.open:
        if (other := _whom(step)) is not None and (told := await looking.told(other)):
            found[step.id] = told
    return found


def _whom(step: Step) -> str | None:
    return step.instance_id if step.kind == "child" else step.asks


class _Looking:
    def __init__(self, store: Store, instance_id: str) -> None:
        self._store = store
        self._instance_id = instance_id
        self._left = _LOOKED_AT

    async def told(self, other: str) -> str:
        """What is wrong with another instance, in words. Empty: nothing, or it was not looked at."""
        found = await self._read(other)
        if found is None:
            return "" if self._left < 0 else "it is not there"
        row, timeline = found
        if row.status in TERMINAL_STATUSES:
            return f"it has ended ({row.status})"
        if row.status is Status.STUCK:
            return f"it is stuck: {cause_first(row.error or 'no reason was recorded')}"
        if row.status is Status.PAUSED:
            return f"it is paused{f' because: {row.error}' if row.error else ''}"
        if circle := await self._circle(timeline, (other,)):
            return f"they wait in a circle: {' → '.join((self._instance_id, *circle, self._instance_id))}"
        return _failing(timeline)

    async def _circle(self, timeline: Timeline, way: tuple[str, ...]) -> tuple[str, ...]:
        """The way from there back to the instance, each waiting for the next one. Empty: there is none."""
        for step in timeline.open:
            other = _whom(step)
            if other == self._instance_id:
                return way
            if other is None or other in way or (found := await self._read(other)) is None:
                continue
            if found[0].status not in TERMINAL_STATUSES and (back := await self._circle(found[1], (*way, other))):
                return back
        return ()

    async def _read(self, other: str) -> tuple[InstanceRow, Timeline] | None:
        self._left -= 1
        if self._left < 0:
            return None
        found = await self._store.read(other, limit=0)
        if found is None:
            return None
        try:
            return found.instance, await timeline_of(self._store, other, after=found.instance.run_from - 1)
        except RomancyError:  # its log cannot be read here
            return found.instance, Timeline()


def _failing(timeline: Timeline) -> str:
    for step in timeline.open:
        if step.failures:
            last = step.failures[-1]
            return f"its {step.kind} {step.name} fails: attempt {last.number} with {last.error.line}"
    return ""
