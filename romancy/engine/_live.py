"""An instance in the hands of this worker, and the pure decisions about it: what to append, what to let go.

Nothing here waits or writes. The driver carries out what is decided here.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import msgspec

from romancy.core import (
    NO_DICT,
    RULES,
    AwaitEvent,
    CancelChild,
    OwnerChanged,
    Parent,
    Publish,
    Run,
    StartActivity,
    StartChild,
    WorkflowCancelled,
    WorkflowStarted,
    encode_commit,
)
from romancy.core import Outcome as Ended
from romancy.engine._mail import is_for
from romancy.engine._messages import (
    NO_RESULT,
    CancelMessage,
    ChildEnded,
    Message,
    Signal,
    decode_message,
    encode_message,
)
from romancy.engine._post import NO_POST, Mail, Post
from romancy.engine._runtime import RUNTIME
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.limits import MAX_EVENT_BYTES
from romancy.storage.query import project_with_index
from romancy.storage.records import Append, Change, Delivery, OutboxRow, Start, as_end

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterable, Sequence

    from msgspec import Raw

    from romancy.core import Activation, Effect, Input, LogEvent, Outcome
    from romancy.engine._attempt import Attempt
    from romancy.engine._port import Port
    from romancy.storage.records import InboxRow
    from romancy.workflow import Workflow

__all__ = [
    "Live",
    "change_for",
    "first_input",
    "handing_back",
    "idle_release",
    "in_order",
    "new_life",
    "owner_changed",
    "short",
    "side_effects",
    "start_of",
    "start_row",
]

_REST_AFTER: Final = 2_000_000
_LOOK_AFTER: Final = 300_000_000
_LONGEST_ERROR: Final = 1000
_NOBODY: Final = frozenset[str]()
_NO_HEADERS: Final[dict[str, str]] = {}


class Live:
    """An instance this worker owns: its run, its one append slot, and what waits for that slot."""

    __slots__ = (
        "alarms",
        "attempts",
        "definition",
        "due",
        "head",
        "holder",
        "in_flight",
        "inputs",
        "instance_id",
        "life",
        "moved",
        "parent",
        "passed_over",
        "post",
        "released",
        "reviving",
        "run",
        "run_from",
        "shown",
        "signals",
        "taking",
        "wanting",
        "writer",
    )

    def __init__(self, instance_id: str, life: int, definition: Workflow[..., object], run: Run) -> None:
        self.instance_id = instance_id
        self.life = life
        self.definition = definition
        self.run = run
        self.head = 0
        """The seq of the last append known to be in."""
        self.writer: str | None = None
        """The writer of that: what the next append comes after."""
        self.run_from = 1
        """The seq at which the current run begins."""
        self.signals = 0
        """How many deliveries the mail read so far covers."""
        self.shown = Status.RUNNING
        """The status in the instance's row."""
        self.parent: Parent | None = None
        self.inputs: list[tuple[Input, Mail | None]] = []
        """What the run is to be fed next, each with the message it was made of."""
        self.due = False
        """It is to be fed in this turn of the event loop."""
        self.in_flight = False
        """An append (or a session's commit) of this instance is on its way: its slot is taken."""
        self.post = NO_POST
        """Mail that nothing waits for yet, which stays in the inbox, and the waits that no mail has ended."""
        self.passed_over = False
        """A message lies in its inbox that is not kept here: nobody could read it, or the run had no use for it."""
        self.taking = _NOBODY
        """Deliveries that the append on its way consumes."""
        self.moved: Callable[[], None] | None = None
        """Wants to hear of the next append that is in, or that the instance is no longer here."""
        self.holder: Port | None = None
        """The attempt whose session has the append slot, where sessions take it (`_slots.py`)."""
        self.wanting: dict[Port, Future[None]] = NO_DICT
        """The attempts whose sessions wait for the slot, the first first."""
        self.attempts: dict[str, Attempt] = {}
        """Activities and compensations that run, or wait to be run, in this process."""
        self.alarms: dict[str, None] = NO_DICT
        self.reviving = _NOBODY
        """Children that a former run had, and that are being brought back."""
        self.released = False
        """No longer ours: kept only in case it comes back unchanged."""

    def keep(self, mail: Mail) -> None:
        """Nothing is known to wait for this message."""
        if self.post is NO_POST:
            self.post = Post()
        self.post.keep(mail)

    def take_in(self, row: InboxRow) -> None:
        """Keep a message of the inbox, unless it is for another life of the id. Raises what reading it does."""
        message = decode_message(row.body)
        if is_for(message, self.life, self.parent):
            self.keep(Mail(row.delivery_id, row.at, message, self.post.read + 1))
        else:
            self.passed_over = True

    def keep_unless_fed(self, mails: Sequence[Mail], inputs: Sequence[tuple[Input, Mail | None]]) -> None:
        """What the run before this one had read and kept, but for what it is about to be fed."""
        fed = {mail.delivery_id for _, mail in inputs if mail is not None}
        for mail in mails:
            if mail.delivery_id not in fed:
                self.keep(mail)

    def unread(self) -> tuple[Mail, ...]:
        """What is still in its inbox though it was read here: nothing waits for it, or its input was not fed yet."""
        return (*self.post.mail(), *(mail for _, mail in self.inputs if mail is not None))

    def keep_dropped(self, inputs: Sequence[tuple[Input, Mail | None]], dropped: Sequence[Input]) -> None:
        """A signal that came too late for its wait is there for the next one, as if it had not been looked at."""
        ids = {id(event) for event in dropped}
        for event, mail in inputs:
            if mail is not None and id(event) in ids:
                if isinstance(mail.message, Signal):
                    self.keep(mail)
                else:
                    self.passed_over = True

    def too_late(self, inputs: Sequence[tuple[Input, Mail | None]], dropped: Sequence[Input]) -> tuple[str, ...]:
        """Mail about a run that has just ended without it: no signal. A retry of the run is not to find it."""
        ids = {id(event) for event in dropped}
        late = [mail for event, mail in inputs if id(event) in ids]
        mails = (*late, *(mail for _, mail in self.inputs))
        return tuple(mail.delivery_id for mail in mails if mail is not None and not isinstance(mail.message, Signal))

    def keep_for_next_run(self, inputs: Sequence[tuple[Input, Mail | None]], dropped: Sequence[Input]) -> None:
        """Mail that the run which has just ended did not take is for the next one, whatever it says."""
        ids = {id(event) for event in dropped}
        too_late = [mail for event, mail in inputs if id(event) in ids]
        for mail in (*too_late, *(mail for _, mail in self.inputs)):
            if mail is not None:
                self.keep(mail)

    def parent_of(self, child: StartChild | CancelChild) -> Parent:
        """What this life of the instance is to its child."""
        return Parent(self.instance_id, child.child_id, self.life)

    def wait(self, wait: AwaitEvent) -> None:
        """The run waits for an event."""
        if self.post is NO_POST:
            self.post = Post()
        self.post.wait(wait)

    def append(
        self,
        writer: str,
        body: bytes,
        change: Change | None = None,
        *,
        consumed: tuple[str, ...] = (),
        outbox: tuple[OutboxRow, ...] = (),
        deliveries: tuple[Delivery, ...] = (),
        starts: tuple[Start, ...] = (),
    ) -> Append:
        """The next row of its log."""
        return Append(
            instance_id=self.instance_id,
            life=self.life,
            seq=self.head + 1,
            writer=as_end(writer) if change is not None and change.status in TERMINAL_STATUSES else writer,
            body=body,
            after=self.writer,
            change=change,
            consumed=consumed,
            outbox=outbox,
            deliveries=deliveries,
            starts=starts,
        )

    def written(self, item: Append | Start) -> None:
        """This is in its log now."""
        self.head = item.seq if isinstance(item, Append) else 1
        self.writer = item.writer

    def changed(self, change: Change) -> bool:
        """Its row shows this now; True if the instance is no longer ours with that."""
        self.shown = change.status
        self.run_from = change.run_from or self.run_from
        self.released = change.release or change.status in TERMINAL_STATUSES
        return self.released


def new_life() -> int:
    """A number that no other life of an id has."""
    return secrets.randbits(53) | 1


def short(text: str | None) -> str | None:
    """An error text as the instance's row shows it."""
    return text if text is None or len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 1] + "…"


def first_input(
    definition: Workflow[..., object], input: Raw, *, life: int, now: int, parent: Parent | None = None
) -> WorkflowStarted:
    """What a new instance is to be fed first."""
    return WorkflowStarted(
        at=now,
        workflow=definition.name,
        input=input,
        nonce=f"{life:x}",
        code=definition.code,
        parent=parent,
        headers=_NO_HEADERS,
        runtime=RUNTIME,
        rules=RULES,
    )


def start_row(
    definition: Workflow[..., object],
    events: list[LogEvent],
    *,
    instance_id: str,
    life: int,
    writer: str,
    owner: str | None = None,
    change: Change | None = None,
    delay: int | None = 0,
) -> Start:
    """A new instance whose log begins with these events: its owner's, or for any worker that knows the workflow."""
    started = events[0]
    assert isinstance(started, WorkflowStarted)  # noqa: S101 - a log begins with its start
    raw = bytes(started.input)
    projection, index = project_with_index(raw, definition.index)
    return Start(
        instance_id=instance_id,
        life=life,
        workflow_name=definition.name,
        code=definition.code,
        writer=as_end(writer) if change is not None and change.status in TERMINAL_STATUSES else writer,
        body=encode_commit(events),
        input=raw,
        projection=projection,
        index=index,
        owner=owner,
        status=Status.PENDING if change is None else change.status,
        error=None if change is None else short(change.error),
        delay=delay,
        parent=None if started.parent is None else started.parent.instance_id,
    )


def start_of(
    definition: Workflow[..., object],
    input: Raw,
    *,
    instance_id: str,
    life: int,
    writer: str,
    now: int,
    parent: Parent | None = None,
    delay: int | None = 0,
) -> Start:
    """A start that nobody has driven yet: any worker that knows the workflow goes on from it."""
    started = first_input(definition, input, life=life, now=now, parent=parent)
    return start_row(definition, [started], instance_id=instance_id, life=life, writer=writer, delay=delay)


def side_effects(
    effects: Iterable[Effect], outcome: Outcome | None, live: Live, stamp: Callable[[], str]
) -> tuple[list[StartChild], tuple[Delivery, ...], tuple[OutboxRow, ...]]:
    """What must stand in the same transaction as the append: children, messages to others, messages outside."""
    children: list[StartChild] = []
    deliveries: list[Delivery] = []
    outbox: list[OutboxRow] = []
    for effect in effects:
        if isinstance(effect, StartChild):
            if not effect.again:
                children.append(effect)
        elif isinstance(effect, CancelChild):
            reason = f"its parent {live.instance_id} gave it up"
            message = CancelMessage(reason=reason, parent=live.parent_of(effect))
            deliveries.append(_to(effect.instance_id, message, stamp()))
        elif isinstance(effect, Publish):
            outbox.append(OutboxRow(outbox_id=stamp(), topic=effect.name, body=msgspec.json.encode(effect)))
    if outcome is not None and live.parent is not None:
        end = ChildEnded(
            child_id=live.parent.child_id,
            result=outcome.result if outcome.result is not None else NO_RESULT,
            error=outcome.error,
            reason=outcome.reason,
            life=live.parent.life,
        )
        deliveries.append(_to(live.parent.instance_id, end, stamp()))
    return children, tuple(deliveries), tuple(outbox)


def _to(instance_id: str, message: Message, stamp: str) -> Delivery:
    return Delivery(instance_id=instance_id, delivery_id=stamp, body=encode_message(message))


def is_step(live: Live, activation: Activation, inputs: Sequence[tuple[Input, Mail | None]]) -> bool:
    """Whether this is the common case: something ended, activities follow, and nobody but the log need know."""
    if activation.outcome is not None or activation.parked is not None or live.shown is not Status.RUNNING:
        return False
    if activation.status is not Status.RUNNING or activation.dropped or not activation.effects:
        return False
    for _, mail in inputs:
        if mail is not None:
            return False
    for effect in activation.effects:  # noqa: SIM110 - a generator costs a call for each
        if type(effect) is not StartActivity:
            return False
    return True


def in_order(inputs: list[tuple[Input, Mail | None]]) -> int:
    """Put inputs in the order of their times; how many one commit has room for, at least one.

    The room is half of a commit's: what follows from them stands there too.
    """
    inputs.sort(key=_time)
    size = 0
    for count, (event, _) in enumerate(inputs):
        payload = getattr(event, "result", None)
        size += len(getattr(event, "data", b"") if payload is None else payload)
        if count and size > MAX_EVENT_BYTES:
            return count
    return len(inputs)


def _time(given: tuple[Input, Mail | None]) -> int:
    return given[0].at


def change_for(live: Live, activation: Activation, now: int, *, consumed: bool) -> Change | None:
    """What the instance's row must show after this activation; None if nothing a query or a claim sees changes."""
    status = activation.status
    if activation.parked is not None:
        return Change(
            status=Status.STUCK,
            seen=live.signals,
            release=True,
            refused_by=live.definition.code,
            error=short(activation.parked),
        )
    if activation.outcome is not None:
        failure = activation.outcome.error
        error = short(failure.summary) if failure is not None else None
        return Change(status=status, seen=live.signals, error=error)
    if _rests(live, activation, now):
        return Change(status=status, seen=live.signals, release=True, wake_at=_look_again(live, now))
    if consumed or status in (Status.CANCELLING, Status.COMPENSATING) or live.shown is not Status.RUNNING:
        visible = status if status in (Status.CANCELLING, Status.COMPENSATING) else Status.RUNNING
        return Change(status=visible, seen=live.signals) if consumed or visible is not live.shown else None
    return None


def _rests(live: Live, activation: Activation, now: int) -> bool:
    """Whether nothing is to be done for so long that the instance is better off without an owner."""
    if live.inputs or _is_at_work(live) or activation.status in TERMINAL_STATUSES or is_bound(live):
        return False
    if any(isinstance(effect, StartChild) and effect.again for effect in activation.effects):
        return False
    if live.post.is_pressing:
        return False  # it is fed as soon as this is in: the run before had no use for it
    if len(live.post) and any(
        isinstance(effect, AwaitEvent) and live.post.has_for(effect) for effect in activation.effects
    ):
        return False
    return activation.wake_at is None or activation.wake_at - now > _REST_AFTER


def is_bound(live: Live) -> bool:
    """Whether a retried run has something left to do that nobody outside knows of."""
    return bool(live.reviving) or live.run.remembers


def _is_at_work(live: Live) -> bool:
    """Whether something is to be brought about for the run, here or, where its attempts were dropped, elsewhere."""
    state = live.run.state
    return bool(live.attempts or state.activities or state.compensations)


def _look_again(live: Live, now: int) -> int | None:
    """When an instance at rest is to be taken up, if nothing is delivered before.

    An instance that waits for its children to stop has the status of one being cancelled, which a sweep would take for
    stranded: it is looked at now and then, and less often the longer it lasts.
    """
    state = live.run.state
    wake_at = state.wake_at()
    if wake_at is not None or state.cancel is None or state.status() is not Status.CANCELLING:
        return wake_at
    return now + max(_LOOK_AFTER, now - state.cancel.at)


def idle_release(live: Live, now: int, writer: str) -> Append | None:
    """An append that only gives the ownership back, if the instance was claimed for nothing and has long to wait."""
    wake_at = _look_again(live, now)
    idle = not (live.inputs or _is_at_work(live) or live.in_flight or live.released or is_bound(live))
    if not idle or (wake_at is not None and wake_at - now <= _REST_AFTER):
        return None
    change = Change(status=live.run.status(), seen=live.signals, release=True, wake_at=wake_at)
    return live.append(writer, owner_changed(now, "", live.definition.code), change)


def handing_back(live: Live, now: int, writer: str) -> Append:
    """An append that gives the instance to whoever wants it: at once if there is something to do."""
    busy = live.inputs or live.run.resumable or is_bound(live) or _is_at_work(live)
    wake_at = now if busy else _look_again(live, now)
    change = Change(status=live.run.status(), seen=live.signals, release=True, wake_at=wake_at)
    return live.append(writer, owner_changed(now, "", live.definition.code), change)


def termination(live: Live, now: int, reason: str, delivery_id: str, writer: str, stamp: Callable[[], str]) -> Append:
    """The append that ends the instance by force and consumes the message that asked for it."""
    end = Ended(Status.CANCELLED, reason=reason)
    _, deliveries, _ = side_effects((), end, live, stamp)
    change = Change(status=Status.CANCELLED, seen=live.signals, error=short(reason))
    return live.append(writer, terminated(now, reason), change, consumed=(delivery_id,), deliveries=deliveries)


def terminated(now: int, reason: str) -> bytes:
    """The commit that ends an instance by force."""
    return encode_commit([OwnerChanged(at=now), WorkflowCancelled(reason=reason)])


def owner_changed(now: int, owner: str, code: str, *, alone: bool = False) -> bytes:
    """The body of the entry that a takeover appends, or (without an owner) a release."""
    return encode_commit([OwnerChanged(at=now, owner=owner, code=code, alone=alone)])
