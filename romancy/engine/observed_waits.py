"""Tracks the open waits of instances, for the hooks that report waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from romancy import core

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from romancy.core import LogEvent
    from romancy.engine.instance import Live
    from romancy.hooks import WaitKind

__all__ = ["BEGINS", "ENDS", "Awaited", "Waits", "awaited_by"]


_MOST_ASIDE: Final = 10_000


class Awaited(NamedTuple):
    """What a workflow waits for."""

    kind: WaitKind
    name: str
    due: int | None
    run: int = 0
    began: datetime | None = None


def _timer(event: Any) -> Awaited:
    return Awaited("timer" if event.delay is not None else "limit", "", event.due)


BEGINS: Final[Mapping[type[LogEvent], Callable[[Any], Awaited]]] = {
    core.TimerStarted: _timer,
    core.MessageAwaited: lambda event: Awaited(event.topic.kind, event.topic.name, event.due),
    core.ChildStarted: lambda event: Awaited("child", event.workflow, None),
}
ENDS: Final[Mapping[type[LogEvent], Any]] = {
    core.TimerFired: "fired",
    core.TimerCancelled: "cancelled",
    core.MessageReceived: "received",
    core.WaitTimedOut: "timed_out",
    core.WaitCancelled: "cancelled",
    core.ChildCompleted: "completed",
    core.ChildFailed: "failed",
    core.ChildCancelled: "cancelled",
}
"""How a wait ended, by the event that says so."""


def awaited_by(event: LogEvent) -> Awaited:
    """The wait that this event of a log begins; its type is one of `BEGINS`."""
    return BEGINS[type(event)](event)


class Waits:
    """The open waits of loaded instances, by their ids in the log. Those of recently released ones are kept too."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, Awaited]] = {}
        self._aside: dict[str, tuple[int, dict[str, Awaited]]] = {}
        """The waits of released instances, with the life; the latest last."""

    def taken_up(self, live: Live) -> None:
        """Record the waits of a run that was brought back. Waits that began elsewhere have no known begin."""
        state = live.run.state
        run = 0 if state.started is None else state.started.run
        life, known = self._aside.pop(live.instance_id, (0, {}))
        begun: list[Any] = [
            *state.timers.values(),
            *state.waits.values(),
            *(child.started for child in state.children.values()),
        ]
        found: dict[str, Awaited] = {}
        for event in begun:
            before = known.get(event.id)
            same = before is not None and (life, before.run) == (live.life, run)
            began = before.began if before is not None and same else None
            found[event.id] = awaited_by(event)._replace(run=run, began=began)
        if found:
            self._open[live.instance_id] = found

    def began(self, instance_id: str, wait_id: str, awaited: Awaited) -> None:
        """Record a wait."""
        self._open.setdefault(instance_id, {})[wait_id] = awaited

    def ended(self, instance_id: str, wait_id: str) -> Awaited | None:
        """Forget a wait that ended, and return it. None if it is not known."""
        return self._open.get(instance_id, {}).pop(wait_id, None)

    def put_aside(self, instance_id: str, life: int) -> None:
        """Record that the instance is released. It may come back."""
        waits = self._open.pop(instance_id, None)
        if waits:
            self._aside[instance_id] = life, waits
            if len(self._aside) > _MOST_ASIDE:
                del self._aside[next(iter(self._aside))]

    def forget(self, instance_id: str) -> None:
        """Forget the waits of a run that ended."""
        self._open.pop(instance_id, None)
