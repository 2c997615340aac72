"""Places that this worker gives to the instances that it starts, in the append that creates them.

The worker guesses that a place is free. The store knows: it refuses an append whose place is not, and the instance is
started anew, as one that asks. For a while after that, all starts ask at that lane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.core import PlaceGranted
from romancy.storage.admission import places_taken_by
from romancy.storage.records import Outcome
from romancy.storage.routing import address_held_at, address_of_lane

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from romancy.core import Input, PlaceAsked
    from romancy.engine.instance import Live
    from romancy.storage.records import Append

__all__ = ["FreePlaces"]

_PAUSE: Final = 50_000
"""For so many microseconds starts ask where there was no room, and for twice as long the next time."""
_LONGEST_PAUSE: Final = 60_000_000
_MOST_LANES: Final = 10_000
_NEVER: Final = 0, 0


class FreePlaces:
    """What a worker believes about lanes. They are named by the addresses of their places."""

    def __init__(self, *, gives_places: bool) -> None:
        self._gives_places = gives_places
        self._under_way: dict[str, int] = {}
        """How many places of each lane were taken by appends that are not answered yet."""
        self._full: dict[str, tuple[int, int]] = {}
        """Until when starts ask at a lane, and for how long they do in all."""

    def inputs(self, live: Live, started: Input, now: int) -> Iterable[Input]:
        """What a new run is fed: its start and, as soon as it asks for them, its places."""
        if not self._gives_places:
            return (started,)
        return self._with_places(live, started, now)

    def _with_places(self, live: Live, started: Input, now: int) -> Iterator[Input]:
        yield started
        taken: dict[str, int] = {}
        while (asked := self._next(live, now, taken)) is not None:
            lane = _held(asked)
            taken[lane] = taken.get(lane, 0) + 1
            yield PlaceGranted(at=started.at, id=asked.id)

    def _next(self, live: Live, now: int, taken: dict[str, int]) -> PlaceAsked | None:
        for asked in live.run.state.places.values():
            lane = _held(asked)
            used = self._under_way.get(lane, 0) + taken.get(lane, 0)
            full_until, _ = self._full.get(lane, _NEVER)
            if not asked.rate and asked.units == 1 and used < asked.concurrency and full_until <= now:
                return asked
        return None

    def sent(self, append: Append) -> None:
        """Count the places of an append that is under way."""
        for one in places_taken_by(append):
            self._under_way[one.address] = self._under_way.get(one.address, 0) + 1

    def answered(self, append: Append, outcome: Outcome, now: int) -> None:
        """The append is not under way any more. If it was FULL, not all of its places were free."""
        for one in places_taken_by(append):
            if outcome is Outcome.FULL:
                self._found_full(one.address, now)
            elif outcome is Outcome.ACCEPTED:
                self._full.pop(one.address, None)
            left = self._under_way[one.address] - 1
            if left:
                self._under_way[one.address] = left
            else:
                del self._under_way[one.address]

    def _found_full(self, lane: str, now: int) -> None:
        until, pause = self._full.get(lane, _NEVER)
        if until > now:
            return  # it was under way together with the one that has found so
        if len(self._full) >= _MOST_LANES:
            self._full = {one: full for one, full in self._full.items() if full[0] > now}
        pause = min(max(2 * pause, _PAUSE), _LONGEST_PAUSE)
        self._full[lane] = now + pause, pause


def _held(asked: PlaceAsked) -> str:
    return address_held_at(address_of_lane(asked.limit, asked.key))
