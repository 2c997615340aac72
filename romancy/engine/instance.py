"""An instance in the hands of a worker: its run, its one append slot, and what waits for that slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy.core import (
    NO_DICT,
    AwaitEvent,
    CancelChild,
    Parent,
    Run,
    StartChild,
)
from romancy.engine.mail import is_for
from romancy.engine.messages import (
    Signal,
    decode_message,
)
from romancy.engine.post import NO_POST, Mail, Post
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Append, Change, Delivery, OutboxRow, Start, as_end

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Sequence

    from romancy.core import Input
    from romancy.engine.activities.attempt import Attempt
    from romancy.engine.activities.port import Port
    from romancy.storage.records import InboxRow
    from romancy.workflow import Workflow

__all__ = ["Live"]

_NOBODY: Final = frozenset[str]()


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
        """The attempt whose session has the append slot, where sessions take it (`append_slots.py`)."""
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
