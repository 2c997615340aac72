"""Pauses instances: what the mail asks, and the way of a loaded instance to its pause.

A worker that holds an instance begins nothing more of it, and feeds its run nothing more. The ends of attempts at work
are recorded by themselves (`InputDeferred`), as they come. Behind the last one, the instance is let go of as paused;
attempts that only wait for another instance are dropped. A cancellation that came before the request goes first. All
other mail, its timers and what its body makes of those ends come when the pause is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from romancy._logs import about, get_logger
from romancy.core import Activation, CancelRequested, OwnerChanged, encode_commit
from romancy.engine.aftermath import aftermath_of
from romancy.engine.decide import short
from romancy.engine.family import is_for_life
from romancy.engine.inbox import in_order_of_arrival
from romancy.engine.messages import (
    CancelMessage,
    PauseMessage,
    TerminateMessage,
    UnpauseMessage,
    decode_message,
    is_about_pausing,
    is_cancellation,
)
from romancy.engine.pending_append import PendingAppend
from romancy.engine.slot import FREE
from romancy.engine.unwritten import Happened, Unwritten
from romancy.status import Status
from romancy.storage.records import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from romancy.engine.activities.runner import Attempts
    from romancy.engine.instance import Live
    from romancy.engine.log_writer import LogWriter
    from romancy.engine.reports import Drives
    from romancy.engine.timers import Timers
    from romancy.storage.records import InboxRow, Item

__all__ = ["Pausing", "Wish", "is_cancelled_in", "pause_entry", "paused_as", "wish_in"]

logger = get_logger("romancy.engine")

_ABOUT_PAUSING: Final = (PauseMessage, UnpauseMessage)


class Wish(NamedTuple):
    """What the mail of an instance asks about its pause. The last request counts."""

    pause: bool
    """Whether to pause. False: the requests to pause are taken back."""
    reason: str
    delivery_ids: tuple[str, ...]
    """All such requests."""
    is_cancelled: bool
    """Whether a cancellation was sent before, which goes first."""
    freeze: bool = False
    """Whether what it waits for is due as much later as the pause lasts."""


def wish_in(rows: Sequence[InboxRow], life: int) -> Wish | None:
    """What these messages, sorted by delivery id, ask of this life of an instance. None: nothing about a pause."""
    ordered = in_order_of_arrival(rows)
    found = [(at, row) for at, row in enumerate(ordered) if is_about_pausing(bytes(row.body))]
    ids = tuple(row.delivery_id for _, row in found)
    for at, row in reversed(found):
        message = decode_message(row.body)
        if isinstance(message, PauseMessage | UnpauseMessage) and is_for_life(message, life):
            is_cancelled = is_cancelled_in(ordered[:at])
            if isinstance(message, UnpauseMessage):
                return Wish(pause=False, reason="", delivery_ids=ids, is_cancelled=is_cancelled)
            return Wish(
                pause=True, reason=message.reason, delivery_ids=ids, is_cancelled=is_cancelled, freeze=message.freeze
            )
    return None


def is_cancelled_in(rows: Iterable[InboxRow]) -> bool:
    """Whether one of these messages is a cancellation."""
    return any(is_cancellation(bytes(row.body)) for row in rows)


def paused_as(reason: str, signals: int) -> Change:
    """How the row of an instance changes that pauses. It is due at once if it has mail that was not counted here."""
    return Change(status=Status.PAUSED, seen=signals, release=True, error=short(reason or None))


def pause_entry(
    now: int, code: str, pause: Literal["begins", "ends"], reason: str = "", *, freeze: bool = False, due: int = 0
) -> bytes:
    """The body of the row of a log that begins a pause, or ends one. `due`: of an instance that nobody has begun."""
    return encode_commit([OwnerChanged(at=now, code=code, pause=pause, reason=reason, freeze=freeze, due=due)])


class Pausing:
    """The loaded instances that are about to be paused."""

    __slots__ = ("_attempts", "_driver", "_drop", "_timers", "_writer", "asked")

    def __init__(
        self,
        driver: Drives,
        writer: LogWriter,
        timers: Timers,
        attempts: Attempts,
        drop: Callable[[Live, Item | None], None],
    ) -> None:
        self._driver = driver
        self._writer = writer
        self._timers = timers
        self._attempts = attempts
        self._drop = drop
        self.asked: dict[Live, PauseMessage] = {}
        """Each with what asked for it last."""

    def decides(self, live: Live) -> bool:
        """Whether mail about a pause, or an earlier request, decides what the instance does next. Then it does that.

        Its slot is free. A request to terminate it goes first.
        """
        mail = [one for one in live.inbox.mail() if one.delivery_id in live.inbox.pressing]
        if any(isinstance(one.message, TerminateMessage) for one in mail):
            return False
        asked = [one for one in mail if isinstance(one.message, PauseMessage | UnpauseMessage)]
        last = max(asked, key=lambda one: one.number, default=None)
        if last is None:
            return False
        if isinstance(last.message, PauseMessage):
            if live in self.asked or not self._cancels_first(live, last.number):
                self._begin(live, last.message)
            return True
        live.never_uses(one.delivery_id for one in asked)
        if self.asked.pop(live, None) is None:
            return False
        live.take_slot()
        self._driver.reports.goes_back(Unwritten(live))
        return True

    def _cancels_first(self, live: Live, number: int) -> bool:
        """Feed a cancellation that came before the request to pause with this number. False: there is none to feed."""
        if live.run.state.undoing is not None:
            return False  # it waits until the instance is rewound
        if live.run.state.cancel is None:
            for one in [each for each in live.inbox.mail() if each.number < number]:
                if isinstance(one.message, CancelMessage):
                    live.inbox.forget((one.delivery_id,))
                    live.give(CancelRequested(at=one.at, reason=one.message.reason), one)
        if not any(isinstance(event, CancelRequested) for event, _ in live.inputs):
            return False
        self._driver.advance((live,))
        return True

    def _begin(self, live: Live, asked: PauseMessage) -> None:
        """Stop what has not begun, and what its run waits for."""
        if live not in self.asked:
            self._timers.clear_all(live)
            self._attempts.stop_unbegun(live)
        self.asked[live] = asked
        self.go_on(live)

    def go_on(self, live: Live) -> None:
        """Record the ends that have come, or, if nothing is at work any more, that the instance is paused."""
        if live.slot is not FREE or (live.holder is not None and live.is_held):
            return
        live.keeps_only_ends()
        if live.inputs:
            self._record(live)
        elif all(attempt.rests for attempt in live.attempts.values()):
            self._attempts.stop_resting(live)
            self._pause(live)

    def _record(self, live: Live) -> None:
        driver = self._driver
        inputs, ports = driver.ports.take(live)
        happened = Happened()
        for index, (end, _) in enumerate(inputs):
            happened.add(end, ports.get(index))
        sends = happened.sends()
        item = live.append(
            driver.incarnation.nonce(),
            encode_commit(happened.events),
            outbox=sends.outbox,
            deliveries=sends.deliveries,
            postings=sends.postings,
        )
        session = next((port for port in ports.values() if port.opened is not None), None)
        activation = Activation(events=happened.events, effects=[], status=live.shown)
        prepared = PendingAppend(
            driver.settle, live, item, driver.incarnation.token, activation, inputs, ports, session, aftermath_of(item)
        )
        if session is None:
            self._writer.put(prepared)
        else:
            driver.reports.in_session(prepared, session)

    def _pause(self, live: Live) -> None:
        driver, wanted = self._driver, self.asked[live]
        asked = tuple(one.delivery_id for one in live.inbox.mail() if isinstance(one.message, _ABOUT_PAUSING))
        consumed = tuple(dict.fromkeys((*asked, *live.take_unused())))
        item = live.append(
            driver.incarnation.nonce(),
            pause_entry(driver.clock.now(), live.definition.code, "begins", wanted.reason, freeze=wanted.freeze),
            paused_as(wanted.reason, live.signals),
            consumed=consumed,
        )
        idle = Activation(events=[], effects=[], status=Status.PAUSED)
        self._writer.put(PendingAppend(driver.settle, live, item, driver.incarnation.token, idle, ()))

    def has_paused(self, live: Live) -> bool:
        """Let go of the instance if its log says that it is paused. Only a replay brings its run back."""
        if self.asked.pop(live, None) is None:
            return False
        logger.info("instance %s: paused", live.instance_id, extra=about(live))
        self._attempts.begun_once.forget(live)
        self._drop(live, None)
        return True

    def forget(self, live: Live) -> None:
        """The instance is let go of: its request lies in its inbox until it is paused."""
        self.asked.pop(live, None)
