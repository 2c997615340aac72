"""An instance loaded in a worker: its run, its one append slot, and what waits for the slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from romancy._logs import about, get_logger
from romancy.core import (
    NO_DICT,
    AwaitChannel,
    AwaitEvent,
    CancelChild,
    Parent,
    Run,
    StartChild,
)
from romancy.engine.interests import NO_DIFFERENCE
from romancy.engine.mail import is_for
from romancy.engine.messages import (
    KEPT,
    decode_message,
)
from romancy.engine.post import NO_POST, Mail, Post
from romancy.errors import HistoryVersionError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.records import Append, Change, Delivery, OutboxRow, Start, as_end

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from romancy.core import Input
    from romancy.engine.activities.attempt import Attempt
    from romancy.engine.activities.port import Port
    from romancy.engine.held_back import HeldBack
    from romancy.engine.interests import Difference, Interests
    from romancy.storage.records import InboxRow
    from romancy.storage.routing import Posting
    from romancy.workflow import Workflow

__all__ = ["Live"]

logger = get_logger("romancy.engine")

_NOBODY: Final = frozenset[str]()


class Live:
    """An instance that this worker owns: its run, its one append slot, and what waits for the slot."""

    __slots__ = (
        "alarms",
        "attempts",
        "definition",
        "due",
        "head",
        "held",
        "holder",
        "in_flight",
        "inputs",
        "instance_id",
        "interests",
        "lazy",
        "life",
        "moved",
        "parent",
        "passed_over",
        "post",
        "released",
        "returning",
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
        """The seq of the last append known to be in the log."""
        self.writer: str | None = None
        """The writer of that append; the next append names it as its predecessor."""
        self.run_from = 1
        """The seq at which the current run begins."""
        self.signals = 0
        """How many deliveries the mail read so far covers."""
        self.shown = Status.RUNNING
        """The status in the instance's row."""
        self.parent: Parent | None = None
        self.inputs: list[tuple[Input, Mail | None]] = []
        """What the run is fed next, each input with the message it was made from."""
        self.due = False
        """Whether it is to be fed in this turn of the event loop."""
        self.in_flight = False
        """Whether an append, or a session's commit, is in flight or being gathered: the slot is taken."""
        self.held: HeldBack | None = None
        """What its next append begins with, while it is being gathered."""
        self.lazy: dict[str, None] = NO_DICT
        """Lazy activities that have completed, and whose results were not fed yet."""
        self.post = NO_POST
        """Mail that nothing waits for yet, which stays in the inbox, and waits that no message has ended."""
        self.passed_over = False
        """Whether the inbox holds a message not kept here: nobody could read it, or the run had no use for it."""
        self.taking = _NOBODY
        """Deliveries that the append in flight was made from."""
        self.moved: Callable[[], None] | None = None
        """Called when the next append is in the log, or when the instance is released."""
        self.holder: Port | None = None
        """The attempt whose session holds the append slot, where sessions take the slot (`append_slots.py`)."""
        self.wanting: dict[Port, Future[None]] = NO_DICT
        """Attempts whose sessions wait for the slot, the first first."""
        self.interests: Interests | None = None
        """What it has registered; None if it never has."""
        self.returning: dict[str, Mail] = NO_DICT
        """Messages that were taken for it, and that are being given back because no wait has a use for them."""
        self.attempts: dict[str, Attempt] = {}
        """Activities and compensations that run or wait to run in this process."""
        self.alarms: dict[str, None] = NO_DICT
        self.reviving = _NOBODY
        """Children of a former run that are being brought back."""
        self.released = False
        """Whether this worker no longer owns the instance and keeps it only in case it comes back unchanged."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that the starter sent."""
        started = self.run.state.started
        return {} if started is None else started.headers

    def completed_lazily(self, activity_id: str) -> None:
        """Note that a lazy activity has completed."""
        if self.lazy is NO_DICT:
            self.lazy = {}
        self.lazy[activity_id] = None

    def keep(self, mail: Mail) -> None:
        """Keep a message that nothing is known to wait for."""
        if self.post is NO_POST:
            self.post = Post()
        self.post.keep(mail)

    def take_in(self, rows: Iterable[InboxRow]) -> None:
        """Keep messages of the inbox, except those for another life of the id, and those kept already.

        A message that only a newer version can read is passed over. Raises CodecError.
        """
        for row in rows:
            if row.delivery_id in self.post:
                continue
            try:
                self._take_in(row)
            except HistoryVersionError as error:
                self.passed_over = True
                logger.error("instance %s: %s", self.instance_id, error, extra=about(self))  # noqa: TRY400 - no traceback

    def _take_in(self, row: InboxRow) -> None:
        message = decode_message(row.body)
        if is_for(message, self.life, self.parent):
            self.keep(Mail(row.delivery_id, row.at, message, self.post.read + 1, row.address, row.interest))
        else:
            self.passed_over = True

    def keep_unless_fed(self, mails: Sequence[Mail], inputs: Sequence[tuple[Input, Mail | None]]) -> None:
        """Keep what the previous run had read and kept, except what it is about to be fed."""
        fed = {mail.delivery_id for _, mail in inputs if mail is not None}
        for mail in mails:
            if mail.delivery_id not in fed:
                self.keep(mail)

    def unread(self) -> tuple[Mail, ...]:
        """Mail that was read here and is still in the inbox: nothing waits for it, or its input was not fed yet."""
        return (*self.post.mail(), *(mail for _, mail in self.inputs if mail is not None))

    def keep_dropped(self, inputs: Sequence[tuple[Input, Mail | None]], dropped: Sequence[Input]) -> None:
        """Keep signals that came too late for their wait; the next wait finds them as if nobody had looked at them."""
        ids = {id(event) for event in dropped}
        for event, mail in inputs:
            if mail is not None and id(event) in ids:
                if isinstance(mail.message, KEPT):
                    self.keep(mail)
                else:
                    self.passed_over = True

    def too_late(self, inputs: Sequence[tuple[Input, Mail | None]], dropped: Sequence[Input]) -> tuple[str, ...]:
        """Mail, except signals, that reached a run too late because it has just ended.

        A retry of the run must not find it.
        """
        ids = {id(event) for event in dropped}
        late = [mail for event, mail in inputs if id(event) in ids]
        mails = (*late, *(mail for _, mail in self.inputs))
        return tuple(mail.delivery_id for mail in mails if mail is not None and not isinstance(mail.message, KEPT))

    def keep_for_next_run(self, inputs: Sequence[tuple[Input, Mail | None]], dropped: Sequence[Input]) -> None:
        """Keep all mail that the run which has just ended did not take, for the next run."""
        ids = {id(event) for event in dropped}
        too_late = [mail for event, mail in inputs if id(event) in ids]
        for mail in (*too_late, *(mail for _, mail in self.inputs)):
            if mail is not None:
                self.keep(mail)

    def parent_of(self, child: StartChild | CancelChild) -> Parent:
        """How this life of the instance appears to its child as a parent."""
        return Parent(self.instance_id, child.child_id, self.life)

    def wait(self, wait: AwaitEvent | AwaitChannel) -> None:
        """Record that the run waits for an event or a message."""
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
        routing: Difference = NO_DIFFERENCE,
        postings: tuple[Posting, ...] = (),
    ) -> Append:
        """The next row of the instance's log."""
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
            interests=routing[0],
            uninterested=routing[1],
            postings=postings,
        )

    def written(self, item: Append | Start) -> None:
        """Record that this item is in the log."""
        self.head = item.seq if isinstance(item, Append) else 1
        self.writer = item.writer

    def changed(self, change: Change) -> bool:
        """Record that the row shows this change. True if the change releases or ends the instance."""
        self.shown = change.status
        self.run_from = change.run_from or self.run_from
        self.released = change.release or change.status in TERMINAL_STATUSES
        return self.released
