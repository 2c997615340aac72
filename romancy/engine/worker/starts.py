"""Starts new instances: the worker drives as many as it has room for, and leaves the rest to others."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, Protocol

from romancy._logs import get_logger, speaking
from romancy.core import driving
from romancy.engine.creation import Creation, first_input, start_of
from romancy.engine.instance import Live
from romancy.engine.log_writer import is_laden
from romancy.engine.worker.free_places import FreePlaces
from romancy.storage.records import Append, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

    from romancy.engine.driver import Driver
    from romancy.engine.pending_append import PendingAppend
    from romancy.engine.settings import Settings
    from romancy.engine.worker.held_starts import HeldStarts
    from romancy.engine.worker.lease_keeper import LeaseKeeper
    from romancy.engine.worker.stock import Stock
    from romancy.storage.records import Item
    from romancy.workflow import Workflow

__all__ = ["Asked", "Starts"]

logger = get_logger("romancy.engine")

_ACCEPTED: Final = Outcome.ACCEPTED
"""Python 3.11 calls a function for each `Outcome.ACCEPTED`."""


class Asked(Protocol):
    """A new instance that a caller asks for."""

    @property
    def workflow(self) -> Workflow[..., object]: ...
    @property
    def input(self) -> Raw: ...
    @property
    def instance_id(self) -> str: ...
    @property
    def life(self) -> int: ...
    @property
    def given_up(self) -> bool: ...

    item: Item | None

    def answered(self, outcome: Outcome, /) -> None:
        """Tell the caller the outcome."""
        ...

    def fail(self, error: Exception, /) -> None:
        """Raise the error in the caller."""
        ...


class Starts:
    """The starts requested from one worker."""

    def __init__(
        self,
        driver: Driver,
        settings: Settings,
        keeper: LeaseKeeper,
        stock: Stock,
        *,
        gives_places: bool,
        held: HeldStarts,
    ) -> None:
        self._driver = driver
        self._clock = driver.clock
        self._writer = driver.writer
        self._settings = settings
        self._keeper = keeper
        self._stock = stock
        self._held = held
        self._places = FreePlaces(gives_places=gives_places)
        self.under_way: set[str] = set()
        """Instances whose start is in flight: a claim's answer may contain them before the start is acknowledged."""

    def begin(self, starts: Sequence[Asked]) -> None:
        """Write new instances, and drive those that are not due later or left to others."""
        driver, leases = self._driver, self._keeper.leases
        room = self._settings.max_live - len(driver.live) - len(self.under_way)
        shared = bool(leases.peers) and leases.has_peers()
        now = self._clock.now()
        with driving(), speaking(self._settings.speaker):
            for asked in starts:
                try:
                    workflow = asked.workflow
                    given = workflow.given
                    later = given.delay or given.at is not None or given.priority or given.fair_key or given.paused
                    left = room <= 0 or later or workflow.name in self._held.workflows
                    left = left or (shared and not self._stock.take(workflow.name))
                    prepared = None if left else self._driven(asked, now, leases.token)
                    if prepared is None:
                        self._leave(asked, now)
                        continue
                    room -= 1
                    self.under_way.add(asked.instance_id)
                    asked.item = item = prepared.item
                    if workflow.limits and isinstance(item, Append):
                        self._places.sent(item)
                    self._writer.submit(prepared.item, functools.partial(self._begun, prepared, asked))
                except Exception as error:  # noqa: BLE001 - its caller gets it
                    asked.fail(error)

    def _driven(self, asked: Asked, now: int, token: str) -> PendingAppend | None:
        """Run the code of a new instance up to its first wait. None if its first append cannot carry what follows.

        Whoever claims the instance then runs the code again, and meets what was in the way.
        """
        workflow = asked.workflow
        started = first_input(workflow, asked.input, life=asked.life, now=now, given=workflow.given)
        live = Live.new(asked.instance_id, asked.life, workflow, creates=Creation(workflow, started, token))
        prepared: PendingAppend | None = None
        try:
            limited = bool(workflow.limits)
            inputs = self._places.inputs(live, started, now) if limited else (started,)
            prepared = self._driver.prepare_first(live, inputs)
        except Exception as error:  # noqa: BLE001 - it is reported where the instance is claimed
            logger.debug("instance %s is started without what its code began: %s", asked.instance_id, error)
        if prepared is None:
            self._drop(live)
        return prepared

    def _leave(self, asked: Asked, now: int) -> None:
        """Write a new instance without running its code."""
        asked.item = item = start_of(
            asked.workflow,
            asked.input,
            instance_id=asked.instance_id,
            life=asked.life,
            writer=self._driver.incarnation.nonce(),
            now=now,
        )
        self._writer.submit(item, asked.answered)

    def _begun(self, prepared: PendingAppend, asked: Asked, outcome: Outcome) -> None:
        live = prepared.live
        self.under_way.discard(live.instance_id)
        if asked.workflow.limits and isinstance(prepared.item, Append):
            self._places.answered(prepared.item, outcome, self._clock.now())
        if outcome is _ACCEPTED:
            asked.answered(outcome)
            if self._is_kept(prepared):
                self._driver.take_in_new(prepared)
            else:
                prepared.tell_committed(self._driver.observer, self._driver.dispatcher)
                self._drop(live)
            return
        self._drop(live)
        again = outcome is Outcome.FULL or (outcome is Outcome.DEAD and not self._is_kept(prepared))
        alone = _may_carry_too_much(prepared.item, outcome)
        if not (again or alone):
            asked.answered(outcome)
        elif asked.given_up:
            asked.answered(Outcome.INVALID)
        elif again:
            self.begin([asked])
        else:
            if outcome is Outcome.INVALID:
                self._writer.refusal(live.instance_id)  # it is not the caller's
            self._leave(asked, self._clock.now())

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
