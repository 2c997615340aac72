"""Hands back what a worker has too much of, so that others execute it, and finds out who these others are.

A worker takes what it can run soon, but it may have begun a long backlog while it was alone, or have become slow. It
hands back instances of which nothing has begun here: a row of the log releases each, and it is due for all at its
former place in the order. Nobody is addressed. The first portion is what the peers said to have room for; the next one
follows once the last one was taken. So almost only instances move that others execute.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from romancy._logs import get_logger
from romancy.engine.decide import due_of, is_bound
from romancy.engine.slot import FREE
from romancy.engine.worker.known_workflows import names_in, room_in, versions_in
from romancy.engine.worker.stock import has_begun, waits_for_slot
from romancy.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from romancy.engine.activities.places import Kind
    from romancy.engine.activities.runner import Attempts
    from romancy.engine.driver import Driver
    from romancy.engine.instance import Live
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.engine.worker.stock import Stock
    from romancy.storage.protocol import Store
    from romancy.storage.records import Peer

__all__ = ["HandingOver", "is_untouched"]

logger = get_logger("romancy.engine")

_PAUSE: Final = 1.0
"""Seconds between two looks at what is at hand, unless a worker comes."""
_LOOK: Final = 0.2
"""Seconds until a worker looks whether others have taken a portion."""
_MOST: Final = 100
"""The largest portion."""


def is_untouched(live: Live, attempts: Attempts) -> bool:
    """Whether nothing of the instance is under way here, except attempts that have not begun."""
    if live.slot is not FREE or live.inputs or live.lazy or live.holder is not None or live.wanting:
        return False
    if live.returning or is_bound(live) or live.run.state.joining:
        return False
    if any(each.live is live for each in attempts.given_up):
        return False
    return not any(has_begun(attempt, attempts) for attempt in live.attempts.values())


class HandingOver:
    """What one worker hands back to others."""

    def __init__(self, store: Store, driver: Driver, stock: Stock, keeper: LeaseKeeper, bereft: dict[str, int]) -> None:
        """`bereft` holds instances whose last owner died, with the ends of their logs.

        They stay until their logs grow: a hand-back would hide that they may have killed it.
        """
        self._store = store
        self._driver = driver
        self._stock = stock
        self._keeper = keeper
        self._bereft = bereft
        self._wanted = asyncio.Event()
        self.in_doubt = False
        """Whether workers may have come that this one has not seen."""
        self._has_come = asyncio.Event()
        """Set while a worker has come that this one has not seen."""
        self._last: tuple[str, int] | None = None
        """The instance of the last portion that is claimed last, and since when it is due."""
        self._size = 0
        """The size of the next portion."""
        self._patient = False
        """Whether the last portion was not taken at once."""

    def look(self) -> None:
        """Look soon whether there is too much at hand."""
        self._wanted.set()

    def workers_came(self, tokens: Iterable[str]) -> None:
        """Get to know workers that have come, unless all of them are known."""
        leases = self._keeper.leases
        known = (peer.token for peers in (leases.peers, leases.notices) for peer in peers)
        if not {leases.token, *known}.issuperset(tokens):
            self._has_come.set()
            self._wanted.set()

    async def run(self) -> None:
        """Hand back what is too much, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            more = False
            try:
                await self._get_to_know()
                more = await self._hand_some_over()
            except StorageError as error:
                logger.debug("cannot look at other workers: %s", error)
            await asyncio.sleep(_LOOK)
            if more:
                self._wanted.set()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE):
                        await self._has_come.wait()

    async def _get_to_know(self) -> None:
        """Read the peers if one has come, or if one may have come and there is something to hand over."""
        if self._has_come.is_set() or (self.in_doubt and self._surplus()):
            self._has_come.clear()
            self.in_doubt = False
            await self._keeper.leases.meet()

    async def _hand_some_over(self) -> bool:
        """Hand one portion over, if the last one was taken. Returns False if there is nothing to hand over."""
        leases = self._keeper.leases
        if not leases.peers or not leases.fresh():
            return self._ended()
        surplus = self._surplus()
        if not surplus:
            return self._ended()
        if self._last is not None:
            if not await self._is_taken(*self._last):
                if not self._patient:
                    self._patient, self._size = True, max(1, self._size // 2)
                return True
            if not self._patient:
                self._size *= 2
        else:
            self._size = self._room_of_peers(surplus)
        chosen = self._chosen(surplus)
        if not chosen:
            return self._ended()
        self._patient = False
        due, instance_id = max((due_of(live), live.instance_id) for live in chosen)
        self._last = instance_id, due
        for live in chosen:
            self._driver.release(live, unfinished=True)
        self._driver.attempts.forget_stopped()
        logger.debug("handed %d instances back for other workers", len(chosen))
        return True

    def _ended(self) -> bool:
        self._last, self._size = None, 0
        return False

    async def _is_taken(self, instance_id: str, due: int) -> bool:
        """Whether the instance was claimed since it was handed back."""
        if instance_id in self._driver.live:
            return False  # its row is on the way
        found = await self._store.read(instance_id, limit=0)
        return found is None or found.instance.owner is not None or found.instance.wake_at != due

    # ── what is too much ────────────────────────────────────────────────────────────────────────────────────────

    def _surplus(self) -> dict[Kind, list[Live]]:
        """The instances by kind that wait for slots here and could go, beyond those that this worker runs soon."""
        self._stock.look()
        waiting: defaultdict[Kind, list[Live]] = defaultdict(list)
        attempts = self._driver.attempts
        for instance_id in [one for one in self._bereft if one not in self._driver.live]:
            del self._bereft[instance_id]
        for live in self._driver.live.values():
            if not live.attempts or self._bereft.get(live.instance_id) == live.head:
                continue
            if live.moves is not None and not live.moves.is_set():
                continue  # it is tried
            if is_untouched(live, attempts) and waits_for_slot(live, attempts):
                waiting[self._stock.kind(live.definition.name)].append(live)
        return {
            kind: lives[keep:]
            for kind, lives in waiting.items()
            if len(lives) > (keep := self._stock.in_a_second(kind) + 1)
        }

    def _chosen(self, surplus: Mapping[Kind, list[Live]]) -> list[Live]:
        """A portion: short logs first, and of these the ones that would run last here."""
        peers = [peer for peer in self._keeper.leases.peers if not peer.dead]
        fits: dict[str, bool] = {}
        chosen: list[Live] = []
        for lives in surplus.values():
            good = [
                live
                for live in lives
                if fits.setdefault(live.definition.name, _know(peers, live.definition.name, live.definition.code))
            ]
            order = sorted(enumerate(good), key=lambda each: (each[1].head - each[1].run_from, -each[0]))
            most = min(self._size, _MOST, (len(good) + 1) // 2)
            chosen += [live for _, live in order[:most]]
        return chosen

    def _room_of_peers(self, surplus: Iterable[Kind]) -> int:
        """How much more the peers said to be able to take of these kinds."""
        rooms = [room_in(peer.codes) for peer in self._keeper.leases.peers if not peer.dead]
        return max((sum(room[kind] for room in rooms if len(room) > kind) for kind in surplus), default=0)


def _know(peers: Iterable[Peer], workflow: str, code: str) -> bool:
    """Whether some of these workers know the workflow, and all that do have this version of its code."""
    knowing = [peer for peer in peers if workflow in names_in(peer.codes)]
    return bool(knowing) and all(code in versions_in(peer.codes) for peer in knowing)
