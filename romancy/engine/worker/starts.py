"""Starts new instances: the worker drives as many as it has room for, and leaves the rest to others."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from romancy._logs import get_logger, speaking
from romancy.engine.decide import Creation, first_input, start_of
from romancy.engine.instance import Live
from romancy.engine.lives import new_life
from romancy.engine.log_writer import is_laden
from romancy.storage.records import Append, Outcome

if TYPE_CHECKING:
    from msgspec import Raw

    from romancy.engine.driver import Driver
    from romancy.engine.outside.unanswered_starts import Asked
    from romancy.engine.pending_append import PendingAppend
    from romancy.engine.settings import Settings
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.engine.worker.stock import Stock
    from romancy.storage.records import Item
    from romancy.workflow import Workflow

__all__ = ["Starts"]

logger = get_logger("romancy.engine")


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
        prepared = None if delay or self._has_enough(definition.name) else self._driven(definition, input, instance_id)
        if prepared is None:
            self._leave(definition, input, instance_id, delay, asked)
            return
        self.under_way.add(instance_id)
        asked.item = prepared.item
        self._writer.submit(prepared.item, functools.partial(self._begun, prepared, input, asked))

    def _driven(self, definition: Workflow[..., object], input: Raw, instance_id: str) -> PendingAppend | None:
        """Run the code of a new instance up to its first wait. None if its first append cannot carry what follows.

        Whoever claims the instance then runs the code again, and meets what was in the way.
        """
        life, token = new_life(instance_id), self._keeper.leases.token
        started = first_input(definition, input, life=life, now=self._clock.now(), headers=definition.headers)
        prepared: PendingAppend | None = None
        with speaking(self._settings.speaker):
            live = Live.new(instance_id, life, definition, creates=Creation(definition, started, token))
            try:
                prepared = self._driver.prepare_first(live, started)
            except Exception as error:  # noqa: BLE001 - it is reported where the instance is claimed
                logger.debug("instance %s is started without what its code began: %s", instance_id, error)
            if prepared is None:
                self._drop(live)
        return prepared

    def _leave(self, definition: Workflow[..., object], input: Raw, instance_id: str, delay: int, asked: Asked) -> None:
        """Write a new instance without running its code."""
        asked.item = item = start_of(
            definition,
            input,
            instance_id=instance_id,
            life=new_life(instance_id),
            writer=self._driver.incarnation.nonce(),
            now=self._clock.now(),
            delay=delay,
        )
        self._writer.submit(item, asked)

    def _has_enough(self, workflow: str) -> bool:
        """Whether to leave one more instance to others, or in the database until there is room for it."""
        begun = len(self.under_way)
        if len(self._driver.live) + begun >= self._settings.max_live or self._driver.admission.only is not None:
            return True
        leases = self._keeper.leases
        return bool(leases.peers) and leases.has_peers() and not self._stock.take(workflow)

    def _begun(self, prepared: PendingAppend, input: Raw, asked: Asked, outcome: Outcome) -> None:
        live = prepared.live
        self.under_way.discard(live.instance_id)
        if outcome is Outcome.ACCEPTED:
            asked(outcome)
            if self._is_kept(prepared):
                self._driver.take_in_new(prepared)
            else:
                prepared.tell_committed(self._driver.observer, self._driver.dispatcher)
                self._drop(live)
            return
        self._drop(live)
        again = outcome is Outcome.DEAD and not self._is_kept(prepared)
        alone = _may_carry_too_much(prepared.item, outcome)
        if not (again or alone):
            asked(outcome)
        elif asked.given_up:
            asked(Outcome.INVALID)
        elif again:
            self.begin(live.definition, input, live.instance_id, 0, asked)
        else:
            if outcome is Outcome.INVALID:
                self._writer.refusal(live.instance_id)  # it is not the caller's
            self._leave(live.definition, input, live.instance_id, 0, asked)

    def _drop(self, live: Live) -> None:
        """Give up a run that this worker does not continue."""
        live.run.close()
        if self._driver.observer is not None:
            self._driver.observer.not_sent(live)

    def _is_kept(self, prepared: PendingAppend) -> bool:
        """Whether no other incarnation of this worker has made the instance."""
        item = prepared.item
        create = item.create if isinstance(item, Append) else None
        return create is not None and create.owner in (None, self._keeper.leases.token)


def _may_carry_too_much(item: Item, outcome: Outcome) -> bool:
    """Whether not the start itself may be in the way, but something that it carries. Written alone, it shows which."""
    if outcome is Outcome.EXISTS:
        return isinstance(item, Append) and bool(item.starts)
    return outcome in (Outcome.INVALID, Outcome.LOCKED) and is_laden(item)
