"""Which workflows may have more due instances in the database, and what a claim asks for.

A claim that brings less than it asked for shows that nothing more is due, until there is news. After any other claim
there may be more, and the worker claims again when there is room, without asking the database in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.storage.records import LATEST

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from romancy.engine.clock import DatabaseClock
    from romancy.engine.worker.stock import Stock

__all__ = ["Backlog"]

_MOST_RESTS: Final = 8


class Backlog:
    """What the database may hold for this worker beyond what the worker has at hand."""

    def __init__(self, stock: Stock, clock: DatabaseClock, codes: Mapping[str, str]) -> None:
        self._stock = stock
        self._clock = clock
        self.codes = dict(codes)
        self._quiet = frozenset[str]()
        """Workflows of which nothing is due, as far as known."""
        self.quiet_until = LATEST
        """When the first of them falls due. LATEST: nobody knows."""
        self._bound: int | None = None
        """The limit of the claim under way, if the room for some kinds has set it."""
        self._tight = 0
        """The room of the kinds that are left out of the next `_turns` claims, and of those with less."""
        self._turns = 0
        self._rests = 1
        """How many claims these kinds are left out of after a claim which they have bounded."""

    def news(self) -> None:
        """Something may be due."""
        self._quiet, self.quiet_until = frozenset[str](), LATEST

    @property
    def may_have_more(self) -> bool:
        """Whether something may be due that was not claimed."""
        return len(self._quiet) < len(self.codes)

    @property
    def pause(self) -> float:
        """Seconds until it is worth asking again whether there is room."""
        return self._stock.next_look

    def wants(self, *, anew: bool) -> bool:
        """Whether something may be due for which there is room."""
        self._hear_what_fell_due()
        self._stock.look(anew=anew)
        kinds = self._stock.kinds_of(self.codes.keys() - self._quiet)
        return any(map(self._stock.open_room, set(kinds.values())))

    def choose(self, most: int) -> tuple[int, dict[str, str]]:
        """The number of instances to claim, at most `most`, and their workflows with the versions of their code.

        Kinds with little room bound the number, unless nothing was due of them. Once they have bounded a full claim,
        the next one is for the others alone, so that these do not wait behind them; the next eight at most, if claims
        bring nothing of the kinds with little room.
        """
        self._hear_what_fell_due()
        if most <= 0:
            return 0, self.codes
        self._stock.look()
        kinds = self._stock.kinds_of(self.codes)
        rooms = {kind: min(most, room) for kind in set(kinds.values()) if (room := self._stock.open_room(kind))}
        if not self._turns and rooms.keys() == {*kinds.values()} and len(rooms) == 1:
            self._bound = None  # one kind bounds no other
            return rooms.popitem()[1], self.codes
        loud = {kind for name, kind in kinds.items() if name not in self._quiet}
        if self._turns:
            others = {kind: room for kind, room in rooms.items() if room > self._tight}
            rooms = rooms if loud.isdisjoint(others) else others
        if not rooms:
            return 0, self.codes
        limit = min([room for kind, room in rooms.items() if kind in loud] or rooms.values())
        names = {name: code for name, code in self.codes.items() if rooms.get(kinds[name], 0) >= limit}
        self._bound = limit if limit < max(rooms.values()) else None
        return limit, names

    def answered(self, limit: int, names: Mapping[str, str], found: Collection[str], next_due: int | None) -> None:
        """Record of which workflows a claim has brought an instance each, and when the next of `names` falls due."""
        if not limit:
            return
        if len(found) < limit:
            self._turns = 0
            self._quiet |= names.keys()
            if next_due is not None and self._clock.seconds_until(next_due):
                self.quiet_until = min(self.quiet_until, next_due)
        elif self._turns and self._bound is not None:
            self._tight = self._bound
        elif self._turns:
            self._turns -= 1
        elif self._bound is not None:
            scarce = any(self._stock.room(self._stock.kind(name)) <= self._bound for name in found)
            self._rests = 1 if scarce else min(2 * self._rests, _MOST_RESTS)
            self._tight, self._turns = self._bound, self._rests
        self._stock.look_again()

    def _hear_what_fell_due(self) -> None:
        if self.quiet_until != LATEST and not self._clock.seconds_until(self.quiet_until):
            self.news()
