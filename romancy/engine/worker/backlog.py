"""Which workflows may have more due instances in the database, and what a claim asks for.

A claim that brings less than it asked for shows that nothing more is due, until there is news. After any other claim
there may be more, and the worker claims again when there is room, without asking the database in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.storage.records import LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.engine.clock import DatabaseClock
    from romancy.engine.worker.stock import Stock

__all__ = ["Backlog"]


class Backlog:
    """What the database may hold for this worker beyond what the worker has at hand."""

    def __init__(self, stock: Stock, clock: DatabaseClock, codes: Mapping[str, str]) -> None:
        self._stock = stock
        self._clock = clock
        self.codes = dict(codes)
        self._quiet = frozenset[str]()
        """Workflows of which nothing is due, as far as known."""
        self._quiet_until = LATEST
        """When the first of them falls due."""
        self._tight: int | None = None
        """The limit of the last claim, if it was full and the room for one kind had set it."""
        self._bounded = False
        """Whether the room for one kind has set the limit of the claim under way."""

    def news(self) -> None:
        """Something may be due."""
        self._quiet, self._quiet_until = frozenset(), LATEST

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
        self._look(anew=anew)
        kinds = {self._stock.kind(name) for name in self.codes if name not in self._quiet}
        return any(map(self._stock.is_open, kinds))

    def choose(self, most: int) -> tuple[int, dict[str, str]]:
        """The number of instances to claim, at most `most`, and their workflows with the versions of their code.

        Kinds with little room bound the number, unless nothing was due of them. Once they have bounded a full claim,
        the next one is for the others alone, so that these do not wait behind them.
        """
        if most <= 0:
            return 0, self.codes
        self._look()
        kinds = {name: self._stock.kind(name) for name in self.codes}
        rooms = {kind: min(most, self._stock.room(kind)) for kind in set(kinds.values()) if self._stock.is_open(kind)}
        loud = {kind for name, kind in kinds.items() if name not in self._quiet}
        if self._tight is not None:
            others = {kind: room for kind, room in rooms.items() if room > self._tight}
            rooms = rooms if loud.isdisjoint(others) else others
        if not rooms:
            return 0, self.codes
        limit = min((room for kind, room in rooms.items() if kind in loud), default=min(rooms.values()))
        names = {name: code for name, code in self.codes.items() if rooms.get(kinds[name], 0) >= limit}
        self._bounded = limit < max(rooms.values())
        return limit, names

    def answered(self, limit: int, names: Mapping[str, str], found: int, next_due: int | None) -> None:
        """Record how many instances a claim of these workflows has brought, and when the next of them falls due."""
        if not limit:
            return
        self._stock.look_again()
        full = found >= limit
        self._tight = limit if full and self._bounded else None
        if not full:
            self._quiet |= names.keys()
            if next_due is not None and self._clock.seconds_until(next_due):
                self._quiet_until = min(self._quiet_until, next_due)

    def _look(self, *, anew: bool = False) -> None:
        if self._quiet_until != LATEST and not self._clock.seconds_until(self._quiet_until):
            self.news()
        self._stock.look(anew=anew)
