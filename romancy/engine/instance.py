"""An instance loaded in a worker: its run, its one append slot, and what waits for the slot.

No other module writes the fields of an instance. Its methods are synchronous. They raise InternalError for what its
state does not allow.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from romancy._logs import about, get_logger, working
from romancy.core import NO_DICT, Message, Parent, Run
from romancy.engine.ends import ENDS
from romancy.engine.family import is_for, is_of_another_run
from romancy.engine.inbox import EMPTY_INBOX, Inbox, Mail
from romancy.engine.incarnation import RUNTIME
from romancy.engine.input_order import in_order
from romancy.engine.interests import NO_DIFFERENCE, interests_of
from romancy.engine.line_keeper import BodyLines
from romancy.engine.messages import CancelMessage, ChildEnded, decode_message
from romancy.engine.slot import FREE, GATHERING, GONE, TAKEN, Slot
from romancy.errors import HistoryVersionError, InternalError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Append, Change, Delivery, OutboxRow, Step, as_end
from romancy.storage.steps import behind

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from romancy.core import ActivityDefinition, Input, MessageAwaited
    from romancy.engine.activities.attempt import Attempt
    from romancy.engine.creation import Creation
    from romancy.engine.inbox import Given
    from romancy.engine.interests import Difference, Interests
    from romancy.engine.slot import HeldBack
    from romancy.storage.records import Claimed, InboxRow, Item
    from romancy.storage.routing import Posting
    from romancy.workflow import Workflow

__all__ = ["Holder", "Live"]

logger = get_logger("romancy.engine")

_NOBODY: Final = frozenset[str]()
_BEGUN: Final = Change(status=Status.RUNNING, seen=0)
"""The change of a first append after which its worker goes on."""
_RUNNING: Final = Status.RUNNING
"""Python 3.11 calls a function for each `Status.RUNNING`."""


class Holder(Protocol):
    """What may hold the slot: an attempt with a session."""

    ended: bool
    """Whether the attempt has ended and its end is about to be reported."""


class Live:
    """An instance that this worker owns: its run, its one append slot, and what waits for the slot."""

    __slots__ = (
        "attempts",
        "creates",
        "definition",
        "due",
        "head",
        "held",
        "holder",
        "inbox",
        "inputs",
        "instance_id",
        "interests",
        "lacks_mail",
        "lazy",
        "life",
        "moves",
        "parent",
        "passed_over",
        "returning",
        "reviving",
        "run",
        "run_from",
        "shown",
        "signals",
        "slot",
        "taken",
        "taking",
        "to_revive",
        "unbegun",
        "unused",
        "wanting",
        "writer",
    )

    def __init__(  # noqa: PLR0915 - one statement a field
        self, instance_id: str, life: int, definition: Workflow[..., object], run: Run
    ) -> None:
        self.instance_id = instance_id
        self.life = life
        self.definition = definition
        self.run = run
        self.head = 0
        """The seq of the last append known to be in the log."""
        self.writer: str | None = None
        """The writer of that append; the next append names it as its predecessor."""
        self.creates: Creation | None = None
        """What the first append creates. None: it is in the log."""
        self.run_from = 1
        """The seq at which the current run begins."""
        self.due = 0
        """When it fell due before it was claimed; 0 if that is unknown."""
        self.signals = 0
        """The delivery counter up to which the mail was read."""
        self.shown: Status = _RUNNING
        """The status in the instance's row."""
        self.parent: Parent | None = None
        self.inputs: list[Given] = []
        """The inputs to be fed next, each with the message it was made from."""
        self.slot: Slot = FREE
        """What its append slot is used for."""
        self.held: HeldBack | None = None
        """The events with which the next append begins, while the slot is GATHERING."""
        self.lazy: dict[str, None] = NO_DICT
        """Completed lazy activities whose results were not fed yet."""
        self.inbox = EMPTY_INBOX
        """Mail that no wait fits yet, which stays in the inbox, and waits that no message has ended."""
        self.passed_over = False
        """Whether the inbox holds a message not kept here: it could not be read, or the run had no use for it."""
        self.lacks_mail = False
        """Whether a message was left in the inbox because it, or an earlier hand-out of it, is being given back."""
        self.unused: tuple[str, ...] = ()
        """Ids of messages that no run of the instance can use. The next append with other changes removes them."""
        self.taking = _NOBODY
        """Ids of the deliveries that the append in flight was made from or removes."""
        self.taken: dict[str, str] = NO_DICT
        """Ids that children cannot have, and why: found since the last append that the log has accepted."""
        self.moves: asyncio.Event | None = None
        """Set when an append is settled, or when the instance is let go; None if nobody watches."""
        self.holder: Holder | None = None
        """The attempt whose session holds the append slot, where sessions take the slot (`append_slots.py`)."""
        self.wanting: dict[Holder, Future[None]] = NO_DICT
        """Attempts whose sessions wait for the slot, the first first."""
        self.interests: Interests | None = None
        """Its registered interests; None if it never registered any."""
        self.returning: dict[tuple[str, int], Mail] = NO_DICT
        """Messages that were taken for the instance and are being given back, because no wait fits them."""
        self.attempts: dict[str, Attempt] = {}
        """Activities and compensations that run or wait to run in this process."""
        self.unbegun = _NOBODY
        """Attempts that were dropped, and certainly have not begun."""
        self.reviving: frozenset[object] = _NOBODY
        """One mark for each child of a former run that is being looked at and, if it failed, retried."""
        self.to_revive = _NOBODY
        """Children that ended on behalf of a former run meanwhile, so that they have to be looked at again."""

    @classmethod
    def new(
        cls,
        instance_id: str,
        life: int,
        definition: Workflow[..., object],
        *,
        creates: Creation | None = None,
        known: Mapping[str, ActivityDefinition] | None = None,
        activities: Mapping[str, ActivityDefinition] | None = None,
    ) -> Live:
        """An instance whose run was fed nothing yet. With `activities`, the run follows a log without its code."""
        run = _new_run(instance_id, life, definition, known=known, activities=activities)
        live = cls(instance_id, life, definition, run)
        live.creates = creates
        return live

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that the starter sent."""
        started = self.run.state.started
        return {} if started is None else started.headers

    # ── where it stands ─────────────────────────────────────────────────────────────────────────────────────────

    def followed(self, seq: int, writer: str | None) -> None:
        """Record that the run has followed the log up to this row."""
        self.head, self.writer = seq, writer

    def stands_as(self, claimed: Claimed, run_from: int) -> None:
        """Set the state from a claim and from a run that has followed the log."""
        started = self.run.state.started
        self.parent = started.parent if started is not None else None
        if self.interests is None:
            self.interests = interests_of(self.run.state)
        self.due = claimed.due
        self.signals = min(claimed.seen, claimed.signals)
        self.run_from = run_from
        self.shown = claimed.status

    def again(self, claimed: Claimed) -> Live:
        """The instance, claimed again after it rested unchanged. It continues with the same run and interests."""
        live = Live(claimed.instance_id, claimed.life, self.definition, self.run)
        live.interests = self.interests
        live.followed(self.head, self.writer)
        live.stands_as(claimed, self.run_from)
        return live

    def begin_run(self) -> Run:
        """Close the run that has just ended and put a new run in its place."""
        self.run.close()
        self.run = _new_run(self.instance_id, self.life, self.definition)
        return self.run

    def adopts(self, fresh: Live) -> None:
        """Go on with the run of `fresh`, which has followed the log up to the same row."""
        self.run, self.interests = fresh.run, fresh.interests
        self.run_from, self.parent = fresh.run_from, fresh.parent
        if self.inbox is not EMPTY_INBOX:
            self.inbox.stop_all()

    def registers(self, interests: Interests) -> None:
        """Set the interests that the next appends update."""
        self.interests = interests

    def revives(self, child_id: str) -> object:
        """Record that a child of a former run is being looked at. Returns the mark for `has_revived`."""
        mark = object()
        self.reviving |= {mark}
        self.to_revive -= {child_id}
        return mark

    def has_revived(self, mark: object) -> None:
        """Record that the retry of a child of a former run has ended, successfully or not."""
        self.reviving -= {mark}

    def refuses(self, child_id: str, why: str) -> None:
        """Record why no child can have this id. Until an append is in the log, a start with it is refused."""
        if self.taken is NO_DICT:
            self.taken = {}
        self.taken[child_id] = why

    # ── its slot ────────────────────────────────────────────────────────────────────────────────────────────────

    def take_slot(self) -> None:
        """Take the slot for an append, or for the effects of one."""
        if self.slot is not FREE:
            self._refuse("take its slot")
        self.slot = TAKEN

    def free_slot(self) -> None:
        """Free the slot: the effects of the last append are carried out."""
        if self.slot is not TAKEN:
            self._refuse("free its slot")
        self.slot = FREE

    def gather(self, held: HeldBack) -> None:
        """Hold these events back for the next append."""
        if self.slot is not FREE:
            self._refuse("hold something back")
        self.slot, self.held = GATHERING, held

    def gathered(self) -> HeldBack:
        """Take the held-back events, for an append that follows now."""
        held, self.held = self.held, None
        if held is None or self.slot is not GATHERING:
            self._refuse("end its gathering")
        held.timer.cancel()
        self.slot = FREE
        return held

    def let_go(self) -> None:
        """Append nothing any more: another worker may own the instance now. Mail and held-back events are dropped."""
        if self.held is not None:
            self.held.timer.cancel()
            self.held = None
        self.slot = GONE
        if self.inbox is not EMPTY_INBOX:
            self.inbox.clear()
        if self.moves is not None:
            self.moves.set()

    def _refuse(self, what: str) -> NoReturn:
        raise InternalError(f"instance {self.instance_id} cannot {what}: its slot is {self.slot.value}")

    def watch_moves(self) -> None:
        """Make the event `moves`, which is set when the next append is settled or the instance is let go."""
        self.moves = asyncio.Event()

    # ── sessions that take the slot (`append_slots.py`) ─────────────────────────────────────────────────────────

    @property
    def is_held(self) -> bool:
        """Whether a session has the slot and its attempt has not ended. Nothing may be appended until it ends."""
        return self.holder is not None and not self.holder.ended

    def lend_slot(self, port: Holder, turn: Callable[[], Future[None]]) -> Future[None] | None:
        """Lend the slot to a session. If it has to wait for its turn, return the future that resolves then.

        A session of an instance that was let go (to clean up) needs no slot and does not wait.
        """
        if self.slot is GONE:
            return None
        if self.slot is FREE and self.holder is None:
            self.holder = port
            return None
        if self.wanting is NO_DICT:
            self.wanting = {}
        waits = self.wanting[port] = turn()
        return waits

    def hand_slot_over(self) -> None:
        """If no session has the slot, give it to the session that has waited longest.

        Once the instance is let go, all of them continue without the slot.
        """
        while self.wanting and (self.slot is GONE or self.holder is None):
            port = next(iter(self.wanting))
            turn = self.wanting.pop(port)
            if not turn.done():
                self.holder = None if self.slot is GONE else port
                turn.set_result(None)

    def take_slot_back(self, port: Holder) -> bool:
        """Record that this session has ended, or never began. Returns True if it had the slot."""
        self.wanting.pop(port, None)
        if self.holder is not port:
            return False
        self.holder = None
        return True

    # ── attempts ────────────────────────────────────────────────────────────────────────────────────────────────

    def begins(self, attempt: Attempt) -> None:
        """Record an attempt. It replaces a former attempt at the same activity."""
        self.attempts[attempt.id] = attempt

    def ends(self, attempt: Attempt, event: Input) -> bool:
        """Queue the end of an attempt. Returns False if the instance had let go of the attempt before."""
        if self.attempts.get(attempt.id) is not attempt:
            return False
        del self.attempts[attempt.id]
        self.inputs.append((event, None))
        return True

    def has_ended(self, attempt_id: str) -> bool:
        """Whether the end of an attempt at this work is among the waiting inputs."""
        return any(isinstance(event, ENDS) and event.id == attempt_id for event, _ in self.inputs)

    def is_at(self, attempt_id: str) -> bool:
        """Whether an attempt at this work runs or waits to run here, or has ended and was not fed."""
        return attempt_id in self.attempts or self.has_ended(attempt_id)

    def goes_on_without(self, activity_id: str) -> None:
        """Let go of the attempt at one activity, if there is one."""
        self.attempts.pop(activity_id, None)

    def take_attempts(self) -> Iterable[Attempt]:
        """Let go of all attempts."""
        attempts, self.attempts = self.attempts, {}
        return attempts.values()

    def never_began(self, attempt_id: str) -> None:
        """Record that an attempt was dropped before it began, and that none at this work may have begun elsewhere."""
        self.unbegun |= {attempt_id}

    def completed_lazily(self, activity_id: str) -> None:
        """Record that a lazy activity has completed."""
        if self.lazy is NO_DICT:
            self.lazy = {}
        self.lazy[activity_id] = None

    def answer_lazily(self, activity_ids: Iterable[str]) -> None:
        """Record that the run was fed the results of these lazy activities."""
        for activity_id in activity_ids:
            del self.lazy[activity_id]

    # ── inputs ──────────────────────────────────────────────────────────────────────────────────────────────────

    def give(self, event: Input, mail: Mail | None = None) -> None:
        """Queue an input, with the message it was made from."""
        self.inputs.append((event, mail))

    def sort_inputs(self) -> None:
        """Put the waiting inputs in the order in which they are fed."""
        if len(self.inputs) > 1:
            acts_late, mail_first = bool(self.run.deferred) and self.run.acts_late, self.definition.mail_first
            self.inputs = in_order(self.inputs, acts_late=acts_late, mail_first=mail_first)

    def take_inputs(self, first: int = 0, end: int | None = None) -> list[Given]:
        """Take waiting inputs, from the `first` to the one before `end`."""
        if not first and (end is None or end == len(self.inputs)):
            taken, self.inputs = self.inputs, []
        else:
            taken = self.inputs[first:end]
            del self.inputs[first:end]
        return taken

    @property
    def has_ends(self) -> bool:
        """Whether ends of attempts are among the waiting inputs. They are nowhere else."""
        return any(isinstance(event, ENDS) for event, _ in self.inputs)

    def take_ends(self) -> list[Input]:
        """Take the ends of attempts among the waiting inputs."""
        ends: list[Input] = [event for event, _ in self.inputs if isinstance(event, ENDS)]
        self.inputs = [given for given in self.inputs if not isinstance(given[0], ENDS)]
        return ends

    def take_back(self, fed: Iterable[Given], consumed: Iterable[str]) -> None:
        """The log has refused an append of these inputs: keep the mail that it was to remove, in the order of arrival.

        Of the waiting inputs, only the ends of attempts stay. All others follow from the mail, or from the log.
        """
        self.taking = _NOBODY
        waiting, self.inputs = self.inputs, []
        for _, mail in (*fed, *waiting):
            if mail is not None and mail.delivery_id not in self.inbox:
                self.keep(mail)
        self.inputs = [given for given in waiting if isinstance(given[0], ENDS)]
        unused = dict.fromkeys((*self.unused, *consumed))
        self.unused = tuple(one for one in unused if one not in self.inbox)

    def keeps_only_ends(self) -> None:
        """Of the waiting inputs, keep the ends of attempts. The others follow from mail, which is kept, or the log."""
        if any(not isinstance(event, ENDS) for event, _ in self.inputs):
            self.take_back((), ())

    def stop(self) -> list[Given]:
        """Discard the waits and queued inputs of the present run. Returns the inputs that will not be fed."""
        self.lazy = NO_DICT
        if self.inbox is not EMPTY_INBOX:
            self.inbox.stop_all()
        inputs, self.inputs = self.inputs, []
        return inputs

    # ── mail ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_given_up(self) -> bool:
        """Whether a cancellation is kept here that was sent while the instance was stuck."""
        return any(isinstance(mail.message, CancelMessage) and mail.message.stuck for mail in self.inbox.mail())

    def returns(self, mail: Mail) -> None:
        """Record that a message is being given back to its address."""
        if self.returning is NO_DICT:
            self.returning = {}
        self.returning[mail.delivery_id, mail.at] = mail

    def has_returned(self, mail: Mail) -> bool:
        """Record that a message was given back. Returns True if it was the last one."""
        self.returning.pop((mail.delivery_id, mail.at), None)
        return not self.returning

    def keep(self, mail: Mail) -> None:
        """Keep a message for which no wait is known."""
        if self.inbox is EMPTY_INBOX:
            self.inbox = Inbox()
        self.inbox.keep(mail)

    def take_in(self, rows: Iterable[InboxRow], signals: int, known: Collection[str] = ()) -> None:
        """Keep messages of the inbox, except those for another life of the id, and those `known` or kept already.

        A message that only a newer version can read is skipped. Raises CodecError. `signals` deliveries are covered
        now. This number may fall: the database can lose the last deliveries that it had accepted.
        """
        before, self.signals = self.signals, signals
        self.lacks_mail = False
        for row in rows:
            if row.delivery_id in known or row.delivery_id in self.inbox:
                continue
            if (row.delivery_id, row.at) in self.returning:
                # It may be back already, and handed out anew at the same time, by a clock that stands.
                self.lacks_mail, self.signals = True, min(before, signals)
                continue
            try:
                self._take_in(row)
            except HistoryVersionError as error:
                self.passed_over = True
                logger.error("instance %s: %s", self.instance_id, error, extra=about(self))  # noqa: TRY400 - no traceback

    def _take_in(self, row: InboxRow) -> None:
        message = decode_message(row.body)
        state = self.run.state
        if is_for(message, self.life, state):
            number = self.inbox.read + 1
            self.keep(Mail(row.delivery_id, row.at, message, number, row.address, row.interest, row.posted_at))
            return
        self._pass_over(row.delivery_id)
        if isinstance(message, ChildEnded) and is_of_another_run(message, state):
            self.to_revive |= {message.child_id}

    def _pass_over(self, delivery_id: str) -> None:
        self.passed_over = True
        if delivery_id not in self.unused:
            self.unused += (delivery_id,)

    def never_uses(self, delivery_ids: Iterable[str]) -> None:
        """Record that no run of the instance can use these messages, which are kept here."""
        for delivery_id in tuple(delivery_ids):
            self.inbox.forget((delivery_id,))
            self._pass_over(delivery_id)

    def take_unused(self) -> tuple[str, ...]:
        """Take the ids of messages that no run of the instance can use."""
        unused, self.unused = self.unused, ()
        return unused

    def keep_dropped(self, inputs: Sequence[Given], dropped: Sequence[Input]) -> None:
        """Keep messages of users that came too late for their wait: the next fitting wait receives them."""
        ids = {id(event) for event in dropped}
        for event, mail in inputs:
            if mail is not None and id(event) in ids:
                if isinstance(mail.message, Message):
                    self.keep(mail)
                else:
                    self._pass_over(mail.delivery_id)

    def keep_for_next_run(self, inputs: Sequence[Given], dropped: Sequence[Input]) -> None:
        """Keep all mail that the ended run did not receive, for the next run."""
        ids = {id(event) for event in dropped}
        too_late = [mail for event, mail in inputs if id(event) in ids]
        for mail in (*too_late, *(mail for _, mail in self.inputs)):
            if mail is not None:
                self.keep(mail)

    def wait(self, wait: MessageAwaited) -> None:
        """Record that the run waits for a message."""
        if self.inbox is EMPTY_INBOX:
            self.inbox = Inbox()
        self.inbox.wait(wait)

    # ── appends ─────────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, writer: str, body: bytes) -> Step:
        """The next row of the instance's log and nothing else, which takes the slot."""
        if self.slot is not FREE:
            self._refuse("append")
        self.slot = TAKEN
        return Step(self.instance_id, self.life, self.head + 1, writer, body, behind(self.writer))

    def append(
        self,
        writer: str,
        body: bytes,
        change: Change | None = None,
        *,
        taking: frozenset[str] | None = None,
        consumed: tuple[str, ...] = (),
        outbox: tuple[OutboxRow, ...] = (),
        deliveries: tuple[Delivery, ...] = (),
        starts: tuple[Append, ...] = (),
        routing: Difference = NO_DIFFERENCE,
        postings: tuple[Posting, ...] = (),
    ) -> Step | Append:
        """The next row of the instance's log, which takes the slot. It deals with the deliveries in `taking`."""
        if taking is not None:
            self.taking = taking
        create = None
        if self.creates is not None:
            change = change or _BEGUN
            create = self.creates.create(keeps=not (change.release or change.status in TERMINAL_STATUSES))
        elif change is None and not (
            consumed or outbox or deliveries or starts or postings or routing != NO_DIFFERENCE
        ):
            return self.step(writer, body)
        if self.slot is not FREE:
            self._refuse("append")
        self.slot = TAKEN
        return Append(
            instance_id=self.instance_id,
            life=self.life,
            seq=self.head + 1,
            writer=as_end(writer) if change is not None and change.status in TERMINAL_STATUSES else writer,
            body=body,
            after=self.writer,
            create=create,
            change=change,
            consumed=consumed,
            outbox=outbox,
            deliveries=deliveries,
            starts=starts,
            interests=routing.new,
            uninterested=routing.gone,
            postings=postings,
        )

    def append_again(
        self,
        writer: str,
        body: bytes,
        *,
        outbox: tuple[OutboxRow, ...],
        deliveries: tuple[Delivery, ...],
        postings: tuple[Posting, ...],
    ) -> Step | Append:
        """The row at the place of a refused append, whose slot it keeps."""
        self.free_slot()
        return self.append(writer, body, outbox=outbox, deliveries=deliveries, postings=postings)

    def written(self, item: Item) -> None:
        """Record that this item is in the log."""
        self.head, self.writer, self.creates = item.seq, item.writer, None
        self.taken = NO_DICT

    def changed(self, change: Change) -> bool:
        """Record that the row shows this change. True if the change releases or ends the instance."""
        self.shown = change.status
        self.run_from = change.run_from or self.run_from
        if change.release or change.status in TERMINAL_STATUSES:
            self.slot = GONE
            return True
        return False


def _new_run(
    instance_id: str, life: int, definition: Workflow[..., object], **known: Mapping[str, ActivityDefinition] | None
) -> Run:
    speaker = working.get()
    stored, hides = getattr(speaker, "stored", len), getattr(speaker, "hides", False)
    keeper, around = getattr(speaker, "keeper", None), getattr(speaker, "around", None)
    return Run(
        definition,
        instance_id=instance_id,
        code=definition.code,
        runtime=RUNTIME,
        stored=stored,
        hides=hides,
        lines=None if keeper is None else BodyLines(keeper, instance_id, life),
        around=None if around is None else partial(around, definition),
        **known,
    )
