"""Drives instances: feeds inputs to a run, writes its decisions, and carries out its effects once they are durable.

An instance has one append slot. Inputs that arrive while the slot is taken wait and go into the next append together.
If a run's memory may be wrong, the worker drops the run, tears it down, and replays the log.
"""

from __future__ import annotations

import asyncio
import functools
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from romancy._logs import get_logger
from romancy.core import (
    Activation,
    ActivityAttemptFailed,
    CancelActivity,
    CancelTimer,
    CompensationAttemptFailed,
    MembersAsked,
    MessageAwaited,
    RequestAnswered,
    RequestRefused,
    StartActivity,
    StartChild,
    StartCompensation,
    StartTimer,
    StopAt,
    Subscribed,
    Unsubscribed,
    WaitCancelled,
    WaitTimedOut,
    WorkflowResumed,
    driving,
    encode_commit,
)
from romancy.engine.activities.attempt import id_of
from romancy.engine.activities.runner import Attempts
from romancy.engine.aftermath import aftermath_of
from romancy.engine.amending import Amender
from romancy.engine.appending import append_of
from romancy.engine.child_conflicts import with_refusals
from romancy.engine.decide import (
    change_for,
    handing_back,
    idle_release,
    is_among_its_own,
    is_step,
    termination,
)
from romancy.engine.ended_attempts import Ports
from romancy.engine.ends import ENDS
from romancy.engine.failing import with_failure
from romancy.engine.inbox import EMPTY_INBOX, ConsumedMail, in_order_of_arrival
from romancy.engine.interests import NO_DIFFERENCE
from romancy.engine.lazy_results import hold_back, may_wait
from romancy.engine.log_lines import say_complaints
from romancy.engine.message_inputs import input_from_message
from romancy.engine.messages import TerminateMessage
from romancy.engine.pausing import Pausing
from romancy.engine.pending_append import PendingAppend
from romancy.engine.recur import continue_as_new
from romancy.engine.refusing import sort_judged
from romancy.engine.replay import resumption
from romancy.engine.returning import give_strays_back
from romancy.engine.slot import FREE, GATHERING, GONE, TAKEN
from romancy.engine.timers import Timers, rings_with
from romancy.engine.unlogged_ends import ends_without_log
from romancy.engine.unwritten import NO_PORTS, Happened, Unwritten
from romancy.errors import CodecError
from romancy.storage.records import Append, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from romancy.core import Effect, Input, Run
    from romancy.depends import Dependencies
    from romancy.engine.activities.port import Port
    from romancy.engine.append_slots import Keeper
    from romancy.engine.dispatcher import Dispatcher
    from romancy.engine.inbox import Given
    from romancy.engine.incarnation import Incarnation
    from romancy.engine.instance import Live
    from romancy.engine.joining import Joining
    from romancy.engine.log_writer import LogWriter
    from romancy.engine.observer import Observer
    from romancy.engine.reports import Reports, Revives
    from romancy.engine.settings import Settings
    from romancy.engine.slot import HeldBack
    from romancy.registry import Registry
    from romancy.storage.protocol import Store
    from romancy.storage.records import Item, Mailbox

__all__ = ["Driver"]

logger = get_logger("romancy.engine")

_AT_ONCE: Final = 100
"""How many due instances are fed in one turn of the event loop, while a database server writes the last ones."""


_ACCEPTED: Final = Outcome.ACCEPTED
"""Python 3.11 calls a function for each `Outcome.ACCEPTED`."""


class Driver:
    """Drives all instances that this worker has loaded."""

    def __init__(  # noqa: PLR0913 - the other parts of a worker
        self,
        store: Store,
        registry: Registry,
        settings: Settings,
        *,
        incarnation: Incarnation,
        writer: LogWriter,
        dispatcher: Dispatcher,
        dependencies: Dependencies,
        keeper: Keeper,
        joining: Joining,
        revivals: Revives,
        observer: Observer | None,
        reports: Reports,
    ) -> None:
        self.registry = registry
        self.incarnation = incarnation
        self.clock = incarnation.clock
        self.writer = writer
        self.timers = Timers(incarnation.clock)
        self.dispatcher = dispatcher
        self.reports = reports
        self.observer = observer
        self.announces = None if observer is None else observer.announces
        self.live: dict[str, Live] = {}
        self.gone: set[str] | None = None
        """The instances let go of during a claim that asks for all that this worker owns; None: there is none."""
        self._amender = Amender(store, writer, self.live)
        self._joining = joining
        self._revivals = revivals
        self.ports = Ports()
        self.used = ConsumedMail()
        self._at_once = None if store.capabilities.embedded else _AT_ONCE
        self.due: dict[Live, None] = {}
        """Instances to be fed together in this turn of the event loop."""
        self.attempts = Attempts(self, store, settings, dependencies, keeper)
        self.pausing = Pausing(self, writer, self.timers, self.attempts, self.drop)

    @property
    def to_write(self) -> int:
        """How many instances have, or had a moment ago, something to write or an append in flight."""
        return len(self.due) + self.writer.load

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, live: Live, event: Input) -> None:
        """Give the run an input, now or when its slot is free."""
        live.give(event)
        self.ended(live, event, None)

    def ended(self, live: Live, event: Input, port: Port | None) -> None:
        """Feed the inputs of an instance, the last of which is this end of an attempt, now or when its slot is free.

        If nothing else runs that might have something to write, they are fed at once. Otherwise they are fed together
        with all inputs that arrive in this turn of the event loop. The end of an attempt with a session open (`port`)
        commits together with the user's writes.
        """
        if port is not None:
            self.ports.ended(event, port)
        if live.slot is TAKEN or live.slot is GONE or live in self.due:
            return
        if not self.due and self.attempts.idle:
            self.advance((live,))
            return
        self.due[live] = None
        if len(self.due) == 1:
            asyncio.get_running_loop().call_soon(self._advance_due)

    def _advance_due(self) -> None:
        """Feed some due instances. The others follow in the next turn, while the database writes these appends."""
        due = list(islice(self.due, self._at_once))
        for live in due:
            del self.due[live]
        if self.due:
            asyncio.get_running_loop().call_soon(self._advance_due)
        with driving():
            self.advance(due)

    async def ended_alone(self, live: Live, event: Input, port: Port | None, task: asyncio.Task[Any]) -> None:
        """The same for the only running attempt. Its task, which calls, writes the append unless others may join it."""
        if self.due or live.slot is TAKEN or live.slot is GONE:
            self.ended(live, event, port)
            return
        if port is not None:
            self.ports.ended(event, port)
        prepared = self._prepare(live)
        if prepared is not None:
            await self.writer.write(prepared, task)

    def receive(self, live: Live, mailbox: Mailbox) -> None:
        """Take in mail. A message that the run waits for becomes an input; other messages are kept."""
        known = live.taking | self.used.of(live.instance_id)
        if live.inputs:
            known |= {mail.delivery_id for _, mail in live.inputs if mail is not None}
        try:
            live.take_in(in_order_of_arrival(mailbox.rows), mailbox.signals, known)
        except CodecError as error:
            self.reports.broken(live, error)
        else:
            if live.to_revive:
                self._revivals.look_again(self, live)
            self.go_on(live)

    def go_on(self, live: Live) -> None:
        """Feed the inputs that waited for the instance's slot, if the slot is free."""
        if live.slot is FREE:
            if live.wanting:
                live.hand_slot_over()
            if live.inbox is not EMPTY_INBOX and len(live.inbox):
                if live.inbox.pressing and self.pausing.decides(live):
                    return
                self._sort_mail(live)
            if live.inputs:
                self.advance((live,))

    def _sort_mail(self, live: Live) -> None:
        """Turn kept mail that fits the present state of the run into inputs. While it is undone, all mail waits."""
        if live.run.state.undoing is not None:
            self._heed_termination(live)
            return
        if live.inbox.judged or live.inbox.put_off:
            self._sort_judged_mail(live)
            return
        for mail, wait_id in live.inbox.match():
            event = input_from_message(mail.message, mail.at, wait_id, mail.posted_at)
            if event is not None:
                live.give(event, mail)
            elif isinstance(mail.message, TerminateMessage):
                live.keep(mail)  # if the append is refused, the replayed run finds the request
                self._terminate(live, mail.delivery_id, mail.message.reason)
                return
        if live.inbox.taken or live.run.state.left:
            give_strays_back(self, live)

    def _heed_termination(self, live: Live) -> None:
        for mail in live.inbox.mail():
            if isinstance(mail.message, TerminateMessage):
                self._terminate(live, mail.delivery_id, mail.message.reason)
                return

    def _sort_judged_mail(self, live: Live) -> None:
        """The same where the body may refuse a message."""
        try:
            ended_by = sort_judged(live)
        except Exception as error:  # noqa: BLE001 - the instance is parked with it
            self.reports.broken(live, error)
            return
        if ended_by is not None and isinstance(ended_by.message, TerminateMessage):
            self._terminate(live, ended_by.delivery_id, ended_by.message.reason)
        elif live.inbox.taken or live.run.state.left:
            give_strays_back(self, live)

    def _terminate(self, live: Live, delivery_id: str, reason: str) -> None:
        """End the instance at once: stop all its work and compensate nothing. What has ended is recorded."""
        ended = self.take_ended(live)
        self._stop(live)
        item, end = termination(live, ended, self.clock.now(), reason, delivery_id, self.incarnation)
        worker, fed, ports = self.incarnation.token, [(event, None) for event in ended.ends], ended.by_end()
        self.writer.put(PendingAppend(self.settle, live, item, worker, end, fed, ports, None, aftermath_of(item)))

    def take_ended(self, live: Live) -> Happened:
        """Take the ends of attempts that were not fed, without those whose sessions are rolled back."""
        happened = Happened()
        for event in live.take_ends():
            port = self.ports.take_of(event)
            if port is not None and port.opened is not None:
                self.ports.give_up([port])
            else:
                happened.add(event, port)
        return happened

    # ── one append ──────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, lives: Iterable[Live]) -> None:
        """Feed the waiting inputs of these instances and submit the appends that follow from them."""
        for live in lives:
            prepared = self._prepare(live)
            if prepared is not None:
                self.writer.put(prepared)

    def _prepare(self, live: Live) -> PendingAppend | None:
        """Feed the waiting inputs; the append that follows, or None if there is none or a session writes it."""
        if not live.inputs or live.slot is TAKEN or live.slot is GONE:
            return None
        if self.pausing.asked and live in self.pausing.asked:
            self.pausing.go_on(live)
            return None
        if live.holder is not None and live.is_held:
            return None
        ports, held = NO_PORTS, None
        if len(live.inputs) == 1 and not self.ports.of:
            inputs = live.take_inputs()
        else:
            inputs, ports = self.ports.take(live)
        try:
            before = live.run
            activation = self._activate(live, inputs)
            if live.lazy and may_wait(live, activation, inputs) and live.run is before and not ports:
                for effect in activation.effects:
                    self._do(live, effect)
                hold_back(live, activation, inputs, self._write_held_back)
                return self._prepare(live)
            if live.slot is GATHERING:
                held = live.gathered()
                activation, inputs, ports = held.before(activation, inputs, ports)
            if live.run is before and not ports and held is None and is_step(live, activation, inputs):
                item = live.step(self.incarnation.nonce(), encode_commit(activation.events))
                return PendingAppend(self.settle, live, item, self.incarnation.token, activation, inputs)
            return self._prepare_more(live, before, activation, inputs, ports, 0 if held is None else len(held.events))
        except Exception as error:  # noqa: BLE001 - the instance is parked with it
            self.reports.broken(live, error, self._unwritten(live, inputs, ports, held))
            return None

    def _unwritten(
        self, live: Live, inputs: Sequence[Given], ports: Mapping[int, Port], held: HeldBack | None
    ) -> Unwritten:
        """What an append that could not be made was to write. Sessions are rolled back."""
        sessions = [port for port in ports.values() if port.opened is not None]
        self.ports.give_up(sessions)
        if live.slot is GATHERING:
            held = live.gathered()
        return Unwritten(live, inputs, ports, next(iter(sessions), None), () if held is None else held.events)

    def _prepare_more(
        self,
        live: Live,
        before: Run,
        activation: Activation,
        inputs: list[Given],
        ports: Mapping[int, Port],
        settled: int = 0,
    ) -> PendingAppend | None:
        """Prepare an append that changes more than the log, or that a session writes.

        The effects of the first `settled` events are carried out already.
        """
        unwanted = NO_PORTS
        if activation.effects:
            now = max(self.clock.now(), live.run.last_time)
            activation = with_refusals(live, activation, inputs, now, self._activate)
        if activation.dropped:
            ports, unwanted = self.ports.of_fed(inputs, ports, activation.dropped)
        if not activation.events:
            return self._prepare(live)
        item = append_of(
            live,
            activation,
            inputs,
            ports,
            now=self.clock.now(),
            incarnation=self.incarnation,
            registry=self.registry,
            anew=live.run is not before,
            announces=self.announces,
        )
        session = next((port for port in ports.values() if port.opened is not None), None) if ports else None
        worker, after = self.incarnation.token, aftermath_of(item)
        prepared = PendingAppend(
            self.settle, live, item, worker, activation, inputs, ports, session, after, settled, unwanted
        )
        if session is None:
            first = activation.events[0]
            if (type(first) is ActivityAttemptFailed or type(first) is CompensationAttemptFailed) and first.failures:
                return None if self._amender.takes(prepared) else prepared
            return prepared
        self.reports.in_session(prepared, session)
        return None

    def _write_held_back(self, live: Live) -> None:
        held = live.gathered()
        self.write(live, live.step(self.incarnation.nonce(), encode_commit(held.events)), held.alone(), held.inputs)

    def _activate(self, live: Live, inputs: list[Given]) -> Activation:
        floor = live.run.state.time
        if live.run.deferred:
            floor = max(floor, self.clock.now())  # it continues now, not when its inputs arrived
        events: list[Input] = []
        for index, (event, mail) in enumerate(inputs):
            if type(event) is WaitTimedOut:
                live.inbox.stop_waiting(event.id)
            if event.at < floor:
                event = msgspec.structs.replace(event, at=floor)  # noqa: PLW2901 - the same input, at its time
                inputs[index] = event, mail
            floor = event.at
            events.append(event)
        activation = live.run.activate(events)
        if activation.successor is not None:
            live.keep_for_next_run(inputs, activation.dropped)
            self._stop(live)  # the next run might use the same ids
            activation = continue_as_new(live, activation)
        elif activation.dropped:
            live.keep_dropped(inputs, activation.dropped)
        if activation.warnings:
            say_complaints(live, activation)
        return activation

    def settle(self, prepared: PendingAppend, outcome: Outcome) -> None:
        """Act on the outcome of an append: carry out the effects, or drop the run."""
        live, item = prepared.live, prepared.item
        if live.moves is not None:
            live.moves.set()
        if outcome is _ACCEPTED:
            live.written(item)
            if type(item) is Append and item.consumed:
                self.used.note(item)
            if prepared.ports or prepared.aftermath is not None or self.observer is not None:
                prepared.tell_committed(self.observer, self.dispatcher)
        if live.slot is GONE:
            return  # the run was dropped while this append was in flight
        if outcome is not _ACCEPTED:
            self.reports.lost(prepared, outcome)
            return
        if type(item) is Append and item.change is not None and live.changed(item.change):
            self._released(live, prepared.activation)
            return
        # Hold the slot until every effect is carried out: others must have begun before an attempt can end.
        try:
            self._carry_out(live, prepared)
        except Exception as error:  # noqa: BLE001 - the instance is parked with it
            self.reports.broken(live, error, Unwritten(live))
            return
        live.free_slot()
        if live.inputs or live.wanting or live.inbox is not EMPTY_INBOX:
            self.go_on(live)

    # ── what follows ────────────────────────────────────────────────────────────────────────────────────────────

    def _carry_out(self, live: Live, prepared: PendingAppend) -> None:
        if self.pausing.asked and live in self.pausing.asked:
            return
        for effect in prepared.activation.effects:
            if type(effect) is StartActivity:
                self.attempts.start(live, effect)
            elif isinstance(effect, Unsubscribed):
                live.inbox.forget(prepared.item.consumed if isinstance(prepared.item, Append) else ())
            else:
                self._do(live, effect)
        if live.run.state.memory is not None and live.run.remembers:
            live.give(WorkflowResumed(at=self.clock.now()))
        for event, _ in prepared.inputs:
            if type(event) is ActivityAttemptFailed or type(event) is CompensationAttemptFailed:
                self._again(live, event.id)
            elif type(event) is RequestRefused:
                self.reports.answered(live)

    def _do(self, live: Live, effect: Effect) -> None:
        match effect:
            case StartActivity() | StartCompensation():
                self.attempts.start(live, effect)
            case CancelActivity():
                self.attempts.cancel(live, effect.activity_id, idle=effect.idle)
            case StartTimer() | StopAt():
                self._arm_timer(live, effect.timer_id, effect.due, rings_with(effect))
            case MessageAwaited():
                live.wait(effect)
                if effect.due is not None:
                    self._arm_timer(live, effect.id, effect.due, WaitTimedOut(at=effect.due, id=effect.id))
            case WaitCancelled():
                live.inbox.stop_waiting(effect.id)
                self.timers.clear(live, effect.id)
            case CancelTimer():
                self.timers.clear(live, effect.timer_id)
            case StartChild(again=True) | Subscribed() | MembersAsked() | RequestAnswered():
                self._turn_to_others(live, effect)
            case _:
                pass  # the append itself carried other children and messages

    def _turn_to_others(self, live: Live, effect: StartChild | Subscribed | MembersAsked | RequestAnswered) -> None:
        """Carry out an effect on others than the instance itself."""
        if isinstance(effect, StartChild):
            self._revivals.begin(self, live, effect)
        elif isinstance(effect, RequestAnswered):
            self.reports.answered(live)
        else:
            self._joining.begin(self, live, effect)

    def _arm_timer(self, live: Live, name: str, due: int, event: Input) -> None:
        if self.clock.seconds_until(due):
            self.timers.arm(live, name, due, functools.partial(self.feed, live, event))
        else:
            live.give(event)  # the caller holds the slot and feeds this input next

    def _again(self, live: Live, attempt_id: str) -> None:
        """Schedule the next attempt of a failed activity or compensation, unless it failed while it was cancelled."""
        for effect in live.run.outstanding():
            if isinstance(effect, StartActivity | StartCompensation) and id_of(effect) == attempt_id:
                self.attempts.start(live, effect)
            elif isinstance(effect, CancelActivity) and effect.activity_id == attempt_id:
                self.attempts.cancel(live, attempt_id, idle=effect.idle)

    def resume(self, live: Live, mailbox: Mailbox | None = None, *, without_code: bool = False) -> None:
        """Load an instance that has followed its log.

        Timers that fell due and messages that arrived meanwhile are fed together, in the order of their times. Of a
        run `without_code`, only compensations go on.
        """
        if self.observer is not None and not without_code:
            self.observer.taken_up(live)
        self.live[live.instance_id] = live
        live.take_slot()
        self._wait_again(live, without_code=without_code)
        if mailbox is not None:
            self.receive(live, mailbox)
        else:
            self.go_on(live)

    def follow(self, live: Live, fresh: Live, *, without_code: bool = False) -> None:
        """Go on with the run of `fresh`, which has followed the log of this loaded instance."""
        self.timers.clear_all(live)
        live.adopts(fresh)
        self._wait_again(live, without_code=without_code)
        if live.to_revive:
            self._revivals.look_again(self, live)
        self.go_on(live)

    def _wait_again(self, live: Live, *, without_code: bool) -> None:
        """Carry out what the run waits for, except attempts that are at work here or have ended. Frees the slot."""
        if self.pausing.asked and live in self.pausing.asked:
            live.free_slot()
            return
        acts = not without_code or live.run.state.undoing is not None
        if acts and (resumed := resumption(live, self.clock)) is not None:
            live.give(resumed)
        for effect in live.run.outstanding():
            if without_code and type(effect) is not StartCompensation:
                continue
            if not (isinstance(effect, StartActivity | StartCompensation) and live.is_at(id_of(effect))):
                self._do(live, effect)
        live.free_slot()

    def take_back(self, unwritten: Unwritten) -> None:
        """Take back what was to be written: mail is kept again, and ends that the run did not take wait again.

        The end of an attempt whose session was rolled back does not: the attempt is made again.
        """
        live = unwritten.live
        live.take_back(unwritten.inputs, unwritten.consumed)
        unwanted = {id(event) for event in unwritten.unwanted}
        for index, (event, _) in enumerate(unwritten.inputs):
            port = unwritten.ports_of_unwanted.get(index)
            if isinstance(event, ENDS) and id(event) in unwanted and not (port is not None and port.transacted):
                live.give(event)
                if port is not None:
                    self.ports.put(event, port)

    def prepare_first(self, live: Live, inputs: Iterable[Input]) -> PendingAppend | None:
        """Feed a new run its start, and what else it is given with it.

        Returns the append that creates the instance and carries what its code decides.
        None if an append of number 1 cannot carry that: the run is stuck, or continues as new. A message to another
        instance is not carried either: that one may be about to be started too, by the very batch or beside it.
        """
        before, activation = live.run, live.run.activate(inputs)
        if activation.parked is not None or activation.successor is not None:
            return None
        if activation.warnings:
            say_complaints(live, activation)
        if activation.effects and not is_step(live, activation, ()):
            prepared = self._prepare_more(live, before, activation, [], NO_PORTS)
            if prepared is None or prepared.activation.parked is not None or live.run is not before:
                return None
            return prepared if is_among_its_own(prepared.item) else None
        change = change_for(live, activation, self.clock.now(), consumed=False)
        routing, end = NO_DIFFERENCE, activation.outcome
        if end is not None and end.error is not None:
            routing = with_failure(routing, live.definition, activation.events, end.error, self.registry.release)
        item = live.append(self.incarnation.nonce(), encode_commit(activation.events), change, routing=routing)
        return PendingAppend(self.settle, live, item, self.incarnation.token, activation, ())

    def take_in_new(self, prepared: PendingAppend) -> None:
        """Continue an instance whose first append is in the log, unless that has released it."""
        live, item = prepared.live, prepared.item
        listens = live.interests is not None or live.inbox is not EMPTY_INBOX
        if not listens and isinstance(item, Append) and item.change is not None and live.changed(item.change):
            live.written(item)
            if prepared.aftermath is not None or self.observer is not None:
                prepared.tell_committed(self.observer, self.dispatcher)
            if self.gone is not None:
                self.gone.add(live.instance_id)
            self.reports.finished(live, prepared.activation)
            return
        self.live[live.instance_id] = live
        self.settle(prepared, _ACCEPTED)

    def write(self, live: Live, item: Item, activation: Activation | None = None, fed: Sequence[Given] = ()) -> None:
        """Submit an append that follows from no activation, or from an earlier one."""
        idle = activation or Activation(events=[], effects=[], status=live.run.status())
        self.writer.put(PendingAppend(self.settle, live, item, self.incarnation.token, idle, fed))

    # ── letting go ──────────────────────────────────────────────────────────────────────────────────────────────

    def release(self, live: Live, *, unfinished: bool = False) -> None:
        """Write that this worker does not own the instance any more, unless the instance's slot is taken.

        An instance with something to do is released only if `unfinished`: others continue it. One that rests is
        claimed again when it is due or gets a message. `settle` lets go of it, once the row is in the log.
        """
        if live.slot is not FREE:
            return
        now, writer = self.clock.now(), self.incarnation.nonce()
        if unfinished and live.has_ends:
            self.advance((live,))  # they are nowhere else; the instance is released after that
        elif unfinished:
            self.attempts.stop_all(live)
            interrupted = self.attempts.interrupted.of(live)
            not_begun = self.attempts.begun_once.not_begun(live) if interrupted else ()
            self.write(live, handing_back(live, now, writer, interrupted=interrupted, not_begun=not_begun))
        elif not live.inputs and (item := idle_release(live, now, writer)) is not None:
            self.write(live, item)

    def drop(self, live: Live, in_flight: Item | None = None) -> None:
        """Let go of the instance and close its run. The log says nothing of it, and only a replay brings it back.

        An attempt that has ended, and whose end may be missing in the log, may have had its effect. `in_flight` is the
        append of the instance that is under way or was refused.
        """
        for id in ends_without_log(live, in_flight):
            self.attempts.interrupted.note(live, id)
        self._let_go(live)
        live.run.close()
        self.reports.dropped(live)

    def _released(self, live: Live, activation: Activation) -> None:
        """Let go of an instance that has ended, rests, is stuck or paused, as its log says."""
        if self.pausing.asked and self.pausing.has_paused(live):
            return
        if activation.outcome is not None and live.inbox.taken:
            give_strays_back(self, live)  # the next claim brings later mail
        if live.interests is not None and live.interests.asked_to_the_end:
            self.dispatcher.sweep()  # gives back messages taken for it but not yet counted when it ended
        self._let_go(live)
        self.attempts.begun_once.forget(live)
        self.reports.finished(live, activation)

    def _let_go(self, live: Live) -> None:
        live.let_go()
        if self.observer is not None:
            self.observer.let_go(live)
        if self.live.get(live.instance_id) is live:
            del self.live[live.instance_id]
            if self.gone is not None:
                self.gone.add(live.instance_id)
        self._stop(live)
        if self.pausing.asked:
            self.pausing.forget(live)
        if live.wanting:
            live.hand_slot_over()

    def _stop(self, live: Live) -> None:
        """Stop everything that the present run started, and discard the inputs that wait to be fed."""
        if live.attempts:
            self.attempts.stop_all(live)
        self.timers.clear_all(live)
        if inputs := live.stop():
            self.ports.forget(inputs)
