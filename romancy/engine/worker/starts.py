"""Starts new instances: the worker drives as many as it has room for, and leaves the rest to others."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from msgspec import Raw

from romancy._logs import speaking
from romancy.engine.decide import start_of
from romancy.engine.first_drive import begin as first_drive
from romancy.engine.lives import new_life
from romancy.engine.replay import resumption
from romancy.storage.records import Outcome

if TYPE_CHECKING:
    from romancy.engine.driver import Driver
    from romancy.engine.first_drive import Begun
    from romancy.engine.outside.unanswered_starts import Asked
    from romancy.engine.settings import Settings
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.engine.worker.stock import Stock
    from romancy.workflow import Workflow

__all__ = ["Starts"]


class Starts:
    """The starts requested from one worker."""

    def __init__(
        self,
        driver: Driver,
        settings: Settings,
        keeper: LeaseKeeper,
        stock: Stock,
    ) -> None:
        self._driver = driver
        self._clock = driver.clock
        self._writer = driver.writer
        self._settings = settings
        self._keeper = keeper
        self._stock = stock
        self.under_way: set[str] = set()
        """Instances whose start is in flight: a claim's answer may contain them before the start is acknowledged."""

    def begin(
        self,
        definition: Workflow[..., object],
        input: Raw,
        instance_id: str,
        delay: int,
        asked: Asked,
    ) -> None:
        """Write a new instance and drive it, unless it is due later or left to others. `asked` gets the outcome."""
        now, life = self._clock.now(), new_life(instance_id)
        if delay or self._has_enough(definition.name):
            item = start_of(
                definition,
                input,
                instance_id=instance_id,
                life=life,
                writer=self._driver.incarnation.nonce(),
                now=now,
                delay=delay,
            )
            asked.item = item
            self._writer.submit(item, asked)
            return
        with speaking(self._settings.speaker):
            begun = first_drive(
                definition,
                input,
                instance_id=instance_id,
                life=life,
                nonce=self._driver.incarnation.nonce(),
                now=now,
                owner=self._keeper.leases.token,
            )
        self.under_way.add(instance_id)
        asked.item = begun.start
        self._writer.submit(begun.start, functools.partial(self._begun, begun, asked))

    def _has_enough(self, workflow: str) -> bool:
        """Whether to leave one more instance to others, or in the database until there is room for it."""
        begun = len(self.under_way)
        if len(self._driver.live) + begun >= self._settings.max_live or self._driver.admission.only is not None:
            return True
        leases = self._keeper.leases
        return bool(leases.peers) and leases.has_peers() and not self._stock.take(workflow)

    def _begun(self, begun: Begun, asked: Asked, outcome: Outcome) -> None:
        live = begun.live
        self.under_way.discard(live.instance_id)
        if outcome is Outcome.DEAD and begun.start.owner != self._keeper.leases.token:
            live.run.close()
            if asked.given_up:
                asked(Outcome.INVALID)
            else:
                self.begin(live.definition, Raw(begun.start.input), live.instance_id, 0, asked)
            return
        asked(outcome)
        if outcome is not Outcome.ACCEPTED or begun.start.owner not in (None, self._keeper.leases.token):
            live.run.close()
            return
        live.written(begun.start)
        if begun.activation is None:
            resumed = resumption(live, self._clock.now())
            self._driver.resume(live, [] if resumed is None else [(resumed, None)])
        elif begun.start.owner is None:
            if self._driver.observer is not None:
                self._driver.observer.committed(live, begun.activation)
            self._driver.reports.finished(live, begun.activation)
        else:
            self._driver.take_in_new(live, begun.start, begun.activation)
