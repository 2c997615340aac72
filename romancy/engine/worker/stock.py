"""How much work a worker has at hand, and how much more it should take.

Each kind of work has slots of its own: those of the event loop, threads, processes. A worker takes as many instances
of a kind as slots are free, and a stock for about a second, by the rate at which instances of this kind have left it.
While no rate is known, it takes instances for free slots alone. An instance that only waits, or for which an attempt
runs, does not count.

The kind of a workflow is that of the scarcest slots which its activities need: those that its code names, and those
that were seen. An instance that has shown no activity needs no slot.
"""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from romancy.engine.activities.places import Kind, kind_of
from romancy.engine.slot import TAKEN
from romancy.engine.surroundings import here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from romancy.engine.activities.attempt import Attempt
    from romancy.engine.activities.runner import Attempts
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.registry import Registry

__all__ = ["Stock", "has_begun", "waits_for_slot"]

_ALONE, _AMONG_PEERS = 1.0, 0.25
"""How many seconds the stock lasts. Beside others it is smaller, so that the last of a backlog is shared too."""
_WINDOW: Final = 2.0
"""The rate is that of so many last seconds."""
_SAMPLE: Final = 0.05
_SHORTEST: Final = 0.02
"""Seconds between two counts, at least."""
_TURNS: Final = 50
"""After a count, this many times its duration passes before the next one."""
_SLOTLESS: Final = 100
"""How many instances without activities are taken up at once."""
_LOOKED_AT: Final = 8
"""How many attempts of one instance are looked at for their kind."""


def _scarcest(definitions: Iterable[Any]) -> Kind:
    return max(map(kind_of, definitions), default=Kind.NONE)


def waits_for_slot(live: Live, attempts: Attempts) -> bool:
    """Whether attempts of this instance wait for slots, and none has begun."""
    waits = False
    for attempt in live.attempts.values():
        if has_begun(attempt, attempts):
            return False
        waits = waits or attempt.task is not None or attempt.waits_since > 0
    return waits


def has_begun(attempt: Attempt, attempts: Attempts) -> bool:
    """Whether the attempt runs or has run, and does not just wait for its time, a slot or a thread."""
    return attempt.ending or (attempt.task is not None and not attempts.waits_for_place(attempt.task))


class Stock:
    """What one worker has at hand, by the kinds of slots that it needs."""

    def __init__(self, driver: Driver, registry: Registry, keeper: LeaseKeeper, beside: Callable[[], int]) -> None:
        """`beside` tells how many instances were taken and are not loaded yet."""
        self._driver = driver
        self._keeper = keeper
        self._beside = beside
        self._kinds = {name: _scarcest(registry.own.get(name, {}).values()) for name in registry.workflows}
        self.left: defaultdict[str, int] = defaultdict(int)
        """How many instances of each workflow have ended here or were released to rest."""
        self._samples: deque[tuple[float, list[int]]] = deque()
        """Moments of the last seconds, each with how many instances of each kind had left."""
        self._at_hand = [0] * len(Kind)
        self._rates = [0.0] * len(Kind)
        self._next_look = 0.0
        self._seconds = _ALONE

    def kinds_of(self, workflows: Iterable[str]) -> dict[str, Kind]:
        """The slots that instances of these workflows need, as far as known."""
        kinds = self._kinds
        return {workflow: kinds.get(workflow, Kind.NONE) for workflow in workflows}

    def open_room(self, kind: Kind) -> int:
        """The room of this kind, if its slots will be idle or a quarter of what it keeps has gone; else 0."""
        room = self.room(kind)
        if room <= 0 or kind is Kind.NONE:
            return max(0, room)
        attempts = self._driver.attempts
        slots_idle = attempts.free(kind) > 2 * self._at_hand[kind]
        return room if slots_idle or room * 4 >= attempts.limit(kind) + self.soon(kind) else 0

    def kind(self, workflow: str) -> Kind:
        """The slots that instances of this workflow need, as far as known."""
        return self._kinds.get(workflow, Kind.NONE)

    def soon(self, kind: Kind) -> int:
        """How many instances of this kind to keep at hand, by the present rate; 0 if it is unknown."""
        return int(self._rates[kind] * self._seconds)

    def in_a_second(self, kind: Kind) -> int:
        """How many instances of this kind leave in a second, by the present rate; 0 if it is unknown."""
        return int(self._rates[kind])

    def told(self) -> list[int]:
        """How many more instances of each kind this worker could take, for its peers."""
        self.look()
        return [max(0, self.room(kind)) for kind in Kind]

    def room(self, kind: Kind) -> int:
        """How many more instances of this kind to take; negative if there are too many."""
        if kind is Kind.NONE:
            return _SLOTLESS - self._at_hand[kind]
        return self._driver.attempts.free(kind) + self.soon(kind) - self._at_hand[kind]

    def look(self, *, anew: bool = False) -> None:
        """Count what is at hand, unless this was done a moment ago."""
        now = here().seconds()
        if now < self._next_look and not anew:
            return
        at_hand = [self._beside()] * len(Kind)
        attempts = self._driver.attempts
        for live in self._driver.live.values():
            name = live.definition.name
            if live.attempts:
                self._learn(name, live)
                at_hand[self._kinds[name]] += waits_for_slot(live, attempts)
            elif live.inputs or live.slot is TAKEN:
                at_hand[self.kind(name)] += 1
        self._at_hand = at_hand
        leases = self._keeper.leases
        self._seconds = _AMONG_PEERS if leases.peers and leases.has_peers() else _ALONE
        self._measure(now)
        after = here().seconds()
        self._next_look = after + max(_SHORTEST, _TURNS * (after - now))

    @property
    def next_look(self) -> float:
        """Seconds until it is worth counting again."""
        return max(_SHORTEST, self._next_look - here().seconds())

    def look_again(self) -> None:
        """Count anew at the next look: much has changed."""
        self._next_look = 0.0

    def _learn(self, name: str, live: Live) -> None:
        seen = _scarcest(attempt.effect.definition for attempt in islice(live.attempts.values(), _LOOKED_AT))
        if seen > self.kind(name) or name not in self._kinds:
            self._kinds[name] = seen

    def _measure(self, now: float) -> None:
        left = [0] * len(Kind)
        for name, count in self.left.items():
            left[self._kinds.get(name, Kind.NONE)] += count
        samples = self._samples
        while samples and now - samples[0][0] > _WINDOW:
            samples.popleft()
        if not samples or now - samples[-1][0] >= _SAMPLE:
            samples.append((now, left))
        since, before = samples[0]
        seconds = max(now - since, _SAMPLE)
        self._rates = [max(0, there - then) / seconds for there, then in zip(left, before, strict=True)]

    def take(self, workflow: str) -> bool:
        """Take one more instance that begins here. False if there is no room for it."""
        self.look()
        kind = self.kind(workflow)
        if self.room(kind) <= 0:
            return False
        self._at_hand[kind] += 1
        return True
