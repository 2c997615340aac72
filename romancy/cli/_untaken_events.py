"""Events that lie in the inboxes of open instances: no worker has taken them, or they fit no wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from romancy.cli._printing import clean, wrapped
from romancy.errors import CodecError, HistoryCorruptError, HistoryVersionError
from romancy.insight import ago
from romancy.instance import Untaken, Wait, at_of
from romancy.managing.waits import instance_with_waits, untaken_of
from romancy.status import TERMINAL_STATUSES
from romancy.storage.any_store import lying_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from romancy.storage.protocol import Store

__all__ = ["KeptEvent", "kept_by_instances"]

_MOST: Final = 10_000
"""How many messages in inboxes are looked at."""


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event that was sent to an instance, and the events for which the instance waits."""

    instance_id: str
    event: Untaken
    waits: tuple[Wait, ...] | None
    """None: the log cannot be read here."""

    def lines(self, now: int) -> Iterator[str]:
        """The event for people."""
        yield clean(self.event.id)
        key = "" if self.event.key is None else f", key {self.event.key}"
        sent = ago(at_of(self.event.at), now)
        yield wrapped(f"event {self.event.name}{key}, sent to {self.instance_id} {sent}; {self._why()}", "    ", 2)

    def record(self) -> dict[str, Any]:
        """The event as JSON, without its data."""
        return {
            "id": self.event.id,
            "type": self.event.name,
            "key": self.event.key,
            "instance_id": self.instance_id,
            "waits_for": None if self.waits is None else [{"type": one.name, "key": one.key} for one in self.waits],
            "sent_at": self.event.at,
        }

    def _why(self) -> str:
        if self.waits is None:
            return "what the instance waits for cannot be read here"
        if any(one.name == self.event.name and one.key in {None, self.event.key} for one in self.waits):
            return "no worker has taken it, or its data do not meet the conditions"
        wanted = [f"{one.name}" + ("" if one.key is None else f", key {one.key}") for one in self.waits]
        return f"the instance waits for {' and '.join(wanted) or 'no event'}"


async def kept_by_instances(store: Store, name: str | None, key: str | None) -> AsyncIterator[KeptEvent]:
    """The events in inboxes, by instance, with this name and key if they are given."""
    last, is_open, waits = "", False, None
    async for instance_id, row, *_ in lying_in(store, most=_MOST):
        event = untaken_of(row)
        if event is None or event.kind != "signal" or name not in {None, event.name} or key not in {None, event.key}:
            continue
        if instance_id != last:  # the messages of an instance come together
            last, (is_open, waits) = instance_id, await _waits_of(store, instance_id)
        if is_open:
            yield KeptEvent(instance_id, event, waits)


async def _waits_of(store: Store, instance_id: str) -> tuple[bool, tuple[Wait, ...] | None]:
    """Whether the instance is open, and the events for which it waits."""
    try:
        instance = await instance_with_waits(store, instance_id)
    except (CodecError, HistoryCorruptError, HistoryVersionError):
        return True, None
    if instance is None or instance.status in TERMINAL_STATUSES:
        return False, None
    return True, tuple(wait for wait in instance.waits or () if wait.kind == "event")
