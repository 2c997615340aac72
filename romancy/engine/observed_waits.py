"""Tracks the open waits of instances, for the hooks that report waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from romancy import core
    from romancy.engine.instance import Live
    from romancy.hooks import WaitKind

__all__ = ["WAITS", "Awaited", "Waits"]


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


WAITS: Final[Mapping[core.Part, Callable[[Any], Awaited]]] = {
    "timers": _timer,
    "waits": lambda event: Awaited(event.topic.kind, event.topic.name, event.due),
    "places": lambda event: Awaited("place", event.limit, None),
    "children": lambda event: Awaited("child", event.workflow, None),
}
"""The kinds of calls that hooks see as waits, and how the event that opens one is read."""


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
        begun: list[tuple[core.Part, Any]] = [
            *(("timers", event) for event in state.timers.values()),
            *(("waits", event) for event in state.waits.values()),
            *(("places", event) for event in state.places.values()),
            *(("children", child.started) for child in state.children.values()),
        ]
        found: dict[str, Awaited] = {}
        for part, event in begun:
            before = known.get(event.id)
            same = before is not None and (life, before.run) == (live.life, run)
            began = before.began if before is not None and same else None
            found[event.id] = WAITS[part](event)._replace(run=run, began=began)
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
