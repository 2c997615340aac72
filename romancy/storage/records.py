"""The records of the storage protocol: plain and frozen, without behaviour, SQL or event types.

A store sees bodies as opaque bytes. Times are whole microseconds since the epoch, UTC, by the database's clock. An
*instance* is one workflow execution under an id. Its *life* distinguishes two uses of the same id, so that nothing
addressed to a purged instance can ever reach its successor.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, final

from msgspec import Struct

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.outbox import OutboxRow
from romancy.storage.routing import Interest, Posting

__all__ = [
    "END",
    "LATEST",
    "MANAGEMENT",
    "NOTICE",
    "Append",
    "Capabilities",
    "Census",
    "Change",
    "ClaimRequest",
    "Claimed",
    "Create",
    "Delivered",
    "Delivery",
    "Former",
    "History",
    "Host",
    "InboxRow",
    "InstanceRow",
    "Item",
    "LogRow",
    "Mailbox",
    "OutboxRow",
    "Outcome",
    "Page",
    "Peer",
    "PruneRequest",
    "Pulse",
    "Step",
    "Takeover",
    "Work",
    "Worker",
    "as_end",
    "is_end",
]

LATEST = (1 << 63) - 1
"""A time later than all others."""
MANAGEMENT = "management"
"""The worker id of an app without a worker, or of a command: it writes to instances and runs none."""
NOTICE = "romancy/notice"
"""The worker id of a row that is no worker: it says what all workers have to heed (`romancy.storage.notices`)."""
END = "!"
"""The mark with which the nonce of a row ends that ended its instance."""


def as_end(writer: str) -> str:
    """The nonce of an append, or of a start, that ends its instance."""
    return writer + END


def is_end(writer: str) -> bool:
    """Whether this is the nonce of a row that ended its instance."""
    return writer.endswith(END)


class Capabilities(Struct, frozen=True, kw_only=True):
    """Differences between databases that a caller may have to know. In everything else, databases behave alike."""

    name: str
    """The server's name for itself, with its version: `PostgreSQL 15.18`."""

    push: bool
    """The database pushes wake-ups from other processes. Without it, `wait_for_work` polls at intervals."""

    transactional_ddl: bool
    """DDL rolls back with a user's session. Without this, DDL is refused because it ends the transaction."""

    sql: bool
    """Sessions accept `execute` and `fetch_all`. Without it, only the native object works."""

    placeholder: str
    """The driver's own first placeholder in SQL written by the user: `?`, `$1` or `%s`."""

    serializable: bool = True
    """Sessions offer `isolation="serializable"`. Without it, asking for it is a `UsageError`."""

    schema: bool = True
    """`open` makes tables or the like, and refuses an empty database if it must not. Without it, an empty database is
    ready for use.
    """

    processes: bool = True
    """Several processes that open the same URL see the same rows. Without it, a database exists in one process."""

    embedded: bool = False
    """The database runs inside this process. A statement is then no round trip, and a batch may take some for each
    item. Elsewhere the number of statements must not depend on the size of a batch.
    """

    row_locks: bool = True
    """A transaction keeps others that write its rows waiting until it ends.

    Without it, as on the nodes of a cluster that certifies commits, one of the two is rolled back. The store sends its
    own transactions again. Sessions raise `StorageUnavailableError` more often, at their commit too; the attempt is
    then made again.
    """

    gives_places: bool = False
    """An append that creates an instance may take places under limits (`storage.admission.places_taken_by`): the store
    gives all of them, or refuses the append as FULL. Without it, only a dispatch gives places.
    """

    sessions_exclude: bool = False
    """While a session is open, every other writer waits for its end.

    Such a session says so (`excluding`). Its commit is a heartbeat of its worker; another end is one of the store's
    worker if the session was long for that worker's lease (`renewed`, which is None until the session has ended).
    """

    place: str = ""
    """Where sessions exclude: identifies this database among others that the process may have open."""


class Delivery(Struct, frozen=True, kw_only=True, gc=False):
    """A message for an instance's inbox. Ids of one sender sort in the order of sending."""

    instance_id: str
    delivery_id: str
    body: bytes
    dedupe: str | None = None
    """A key that identifies the same delivery when it is sent again, even after it was consumed.

    It belongs to the life that gets the delivery: a later life under the id knows nothing of it.
    """


class Former(NamedTuple):
    """An ended life that another one replaces if it still has one of these statuses."""

    life: int
    statuses: frozenset[Status]


class Create(Struct, frozen=True, kw_only=True, gc=False):
    """The instance that an append of number 1 creates. Its status and error are those of the append's change.

    Without a change, the instance is PENDING: nobody has run its code.
    """

    workflow_name: str
    code: str
    """The version of the workflow's code that decided the append's body."""
    input: bytes
    projection: bytes | None = None
    """The encoded input that filters search (`romancy.storage.query`). None: not searchable."""
    index: tuple[tuple[str, str | None], ...] = ()
    """Each declared path with its encoded value (None: null or absent)."""
    owner: str | None = None
    """The token of the worker that keeps the instance. None: any worker may claim it when it is due."""
    delay: int | None = 0
    """Without a change: microseconds until the instance is due. None: only when something is delivered. With a change,
    the instance is due at its `wake_at`.
    """
    at: int | None = None
    """With a `delay`: the instance is due at this moment, if that is later. None: after the delay."""
    parent: str | None = None
    priority: int = 0
    """The higher is claimed first (`romancy.storage.ranks`)."""
    fair_line: str = ""
    """The line in which the instance waits for its first claim (`romancy.storage.turns`), if it is due at once."""
    replaces: Former | None = None
    """The ended life under this id that is removed, with all its data, in its favour."""


class Change(Struct, frozen=True, kw_only=True, gc=False):
    """The changes of an append to the instance's row: only columns that a query or a claim reads.

    Only an owner changes a row without `release`, which gives up the ownership. The instance is due at `wake_at` (None:
    when something is delivered), or at once if something was delivered that the owner had not seen (`seen` differs from
    the row's counter). In that case a terminal status is refused (`Outcome.UNSEEN`): the owner must look first. Only a
    WAITING, PAUSED or STUCK instance rests without a `wake_at`. With any other status it is stranded, and a sweep makes
    it due. What is delivered to a PAUSED or STUCK instance is counted and does not make it due.
    """

    status: Status
    seen: int
    release: bool = False
    wake_at: int | None = None
    error: str | None = None
    run_from: int | None = None
    """Set when the workflow continued as new: the seq of the append that begins the current run."""
    code: str | None = None
    refused_by: str | None = None
    """The code version that cannot follow this log, or leaves it to others. Its workers do not claim the instance."""
    forgive: bool = False
    """Forget which code versions could not follow this log: every worker may try again."""
    reopens: bool = False
    """Another run begins after an end. Without it, nothing is written to an instance that has ended."""
    unowned: bool = False
    """Nobody may own the instance. With an owner, which may be at work, the change is refused (`Outcome.OWNED`)."""
    input: bytes | None = None
    projection: bytes | None = None
    index: tuple[tuple[str, str | None], ...] | None = None
    """With `run_from`: queries see the new run's input instead of the old one."""

    @property
    def finds(self) -> int:
        """What the row must be, as stores bind it. 0: open, 1: open or ended, 2: open and without an owner."""
        return 2 if self.unowned else int(self.reopens)


@final
class Step(Struct, frozen=True, gc=False):
    """One row of an instance's log and nothing else, as most appends are. A store writes many of them at once.

    The values are in the order in which a statement binds them.
    """

    instance_id: str
    life: int
    seq: int
    writer: str
    """The nonce of this very step. Never one of `as_end`: an end changes the instance's row."""
    body: bytes
    behind: str | None = None
    """The required writer of the row before, as in `Append.behind`. `romancy.storage.steps.behind` makes it."""


class Append(Struct, frozen=True, kw_only=True, gc=False):
    """One row of an instance's log and everything that happens if and only if that row is accepted.

    The append of number 1 creates its instance (`create`), and is what starts it.
    """

    instance_id: str
    life: int
    seq: int
    writer: str
    """The nonce of this very append, which identifies it when it is sent again. `as_end` if its status is terminal."""
    body: bytes
    after: str | None = None
    """The writer of the row before, as the caller knows it. None: the caller cannot know it, and no check is made. Only
    for setting aside an instance whose log has lost its last rows.
    """
    change: Change | None = None
    consumed: tuple[str, ...] = ()
    """Inbox rows (delivery ids) that this commit turns into events."""
    outbox: tuple[OutboxRow, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    starts: tuple[Append, ...] = ()
    """The first appends of children: each has `create` without an owner, and nothing else."""
    interests: tuple[Interest, ...] = ()
    """The interests that the instance registers (`romancy.storage.routing`)."""
    uninterested: tuple[str, ...] = ()
    """The ids of interests that it drops. A dispatch may have removed them already."""
    postings: tuple[Posting, ...] = ()
    create: Create | None = None
    """With `seq` 1: the instance that begins here. The fence is then its id, which must be free."""

    @property
    def behind(self) -> str | None:
        """The required writer of the row before. None: any. Empty: no row matches."""
        after = self.after
        if after is None or after[-1:] != END or (self.change is not None and self.change.reopens):
            return after
        return ""

    @property
    def routes(self) -> bool:
        """Whether this append touches the routing of messages."""
        return bool(self.interests or self.uninterested or self.postings)


Item = Step | Append


class Outcome(StrEnum):
    """The outcome of one item. Everything but ACCEPTED means that nothing of the item was written."""

    ACCEPTED = "accepted"
    TAKEN = "taken"
    """Another writer holds this seq: the caller is no longer the owner, or its view is old."""
    DEAD = "dead"
    """The writer's worker row is marked dead or gone."""
    LOST = "lost"
    """The row before is missing, or is not the one that the caller knows: the database has lost accepted rows."""
    ENDED = "ended"
    """The instance has ended, and only a change that `reopens` it may follow."""
    UNSEEN = "unseen"
    """The change is terminal, and the inbox holds a message that the owner has not seen."""
    OWNED = "owned"
    """The change is one of an instance that nobody owns, and a worker owns it by now: ask that one."""
    GONE = "gone"
    """A row to be consumed does not exist, or the instance of this life does not."""
    EXISTS = "exists"
    """The id of an instance to be created is taken: its own, or a child's. Or the life to be replaced is not there."""
    FULL = "full"
    """A place that the append takes is not free, or others wait for it. Ask for it in an append without the place."""
    INVALID = "invalid"
    """The database refused this item's values. Its neighbours were not affected."""
    LOCKED = "locked"
    """Another transaction has held a row that the item needs for longer than a store waits, or what was in its way has
    gone. The item was not refused: send it again unchanged and by itself, so that it does not delay others.
    """


class Delivered(StrEnum):
    """The outcome of one delivery."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"
    CLOSED = "closed"
    """The instance has ended."""


class LogRow(Struct, frozen=True, gc=False):
    """One accepted commit."""

    seq: int
    writer: str
    body: bytes
    at: int


class InboxRow(Struct, frozen=True, gc=False):
    """One delivery not yet consumed. `at` is when the database accepted it, or when a dispatch handed it out."""

    delivery_id: str
    body: bytes
    at: int
    address: str | None = None
    """The address where a dispatch found it. None: it was delivered to this very instance."""
    interest: str | None = None
    """The TAKE interest that it answered. If no append consumes it, it must be given back."""
    posted_at: int | None = None
    """When it was posted, if it was kept before that interest was registered."""


class InstanceRow(Struct, frozen=True, kw_only=True):
    """An instance as queries see it."""

    instance_id: str
    life: int
    workflow_name: str
    status: Status
    code: str
    created_at: int
    updated_at: int
    input: bytes
    owner: str | None = None
    wake_at: int | None = None
    error: str | None = None
    parent: str | None = None
    run_from: int = 1
    last_seq: int = 1
    """The seq of the append, or takeover, that last changed this row. For an ended instance, the last of its log."""
    signals: int = 0
    """How many deliveries this instance has received."""
    seen: int = 0
    """How many of them its owner had seen at its last change."""
    priority: int = 0
    fair_line: str = ""
    """The line in which it waits for its first claim. Empty: it waits in none, or was claimed."""


class Page(Struct, frozen=True, kw_only=True):
    """One page of a search, newest first. `next_token` continues after the last row; None: no more pages."""

    rows: list[InstanceRow]
    next_token: str | None = None


class History(Struct, frozen=True, kw_only=True):
    """A page of an instance's log, oldest first. `more`: rows follow the last one here."""

    instance: InstanceRow
    rows: list[LogRow]
    more: bool = False


class Mailbox(Struct, frozen=True, kw_only=True):
    """All messages waiting for one instance, in the order of each sender, and the counter that covers them.

    `signals` was read no later than the rows: a change with `seen=signals` misses nothing. Messages that are not
    counted yet may be among the rows, and come again once they are counted.
    """

    instance_id: str
    life: int
    signals: int
    rows: list[InboxRow]
    after: int = 0
    """Messages counted up to here are left out, because the worker keeps them (`ClaimRequest.kept`)."""


class Host(Struct, frozen=True, kw_only=True):
    """Where a worker runs, precisely enough for a neighbour to find out that it is certainly gone."""

    boot_id: str = ""
    pid_namespace: str = ""
    pid: int = 0
    pid_start: int = 0


class Worker(Struct, frozen=True, kw_only=True):
    """One incarnation of a worker. The token is never used again. The id is a label for people."""

    token: str
    worker_id: str
    lease: int
    codes: tuple[str, ...] = ()
    host: Host = Host()


class Peer(Struct, frozen=True, kw_only=True):
    """Another worker as its row is now. `beat` counts its heartbeats."""

    token: str
    worker_id: str
    lease: int
    beat: int
    dead: bool
    codes: tuple[str, ...]
    host: Host
    started_at: int
    beat_at: int = 0
    """When its last heartbeat was. That it was declared dead changes nothing here."""

    @property
    def works(self) -> bool:
        """Whether it runs instances. An app without a worker, or a command, only writes to them."""
        return (bool(self.codes) or self.worker_id != MANAGEMENT) and self.worker_id != NOTICE


class Census(Struct, frozen=True, kw_only=True):
    """The workers as their rows are now, for a caller that is not one of them."""

    now: int
    workers: list[Peer]
    """All workers that are not dead, and the dead ones that still own instances."""


class Pulse(Struct, frozen=True, kw_only=True):
    """The answer to a heartbeat. `alive` False: this incarnation was declared dead and must drop everything."""

    now: int
    alive: bool
    peers: list[Peer]
    """All other workers that are not dead, and the dead ones that still own instances."""


class ClaimRequest(Struct, frozen=True, kw_only=True):
    """The request of a claim: what the worker can take."""

    worker: str
    codes: dict[str, str]
    """The workflows that it knows, each with its code version. It claims no others."""
    limit: int
    """How many new instances at most, by their ranks (`romancy.storage.ranks`): the longest due first, and of a higher
    priority before. While some wait in lines, these take turns (`romancy.storage.turns`). What `recover` brings comes
    in addition.
    """
    leave: tuple[str, ...] = ()
    """Code versions that other live workers run: their instances are left to them for `grace`."""
    grace: int = 30_000_000
    sweep: bool = False
    """Also sweep: count messages that a crash between two commits has left uncounted, and no others; make stranded
    instances due (those without an owner and a due time although their status says that they are at work); and take up
    stuck instances that this code has not refused.
    """
    recover: bool = False
    """Also return everything that this worker already owns, because an earlier answer may have been lost."""
    known: dict[str, int] = {}
    """For instances that it already owns: the counter of the mailbox it was last given. That mail is not brought again
    until the counter has moved. -1: it got none although there may be mail (`Work.more`).
    """
    kept: dict[str, int] = {}
    """For instances that it already owns and of which it holds much mail: the counter up to which it has every
    unconsumed message. Only messages counted later are brought, unless the very same call claims or recovers the
    instance.
    """
    announce: bool = False
    """Many workers have heard of this work. A store that tells others of changes at once also tells, by `TAKEN_NEWS`,
    which instances this claim brings, or mail of which. A store whose callers look for changes need not.
    """
    turns: dict[int, tuple[str, int]] = {}
    """Where the turns of this worker stand, as the last claim that had any has said (`Work.turns`)."""


class Claimed(Struct, frozen=True, kw_only=True, gc=False):
    """An instance that now belongs to the caller."""

    instance_id: str
    life: int
    workflow_name: str
    status: Status
    code: str
    run_from: int
    head: int
    """The last seq of its log, or `InstanceRow.last_seq` if that is more: then rows have been lost, and no row may take
    their place. A cached run with the same life, head and writer of the head is current.
    """
    head_writer: str | None = None
    """The writer of the row at `head`, for `after` of the next append. None: there is no such row."""
    signals: int
    seen: int
    crashes: int
    """How many workers in a row died owning it without its log growing in between."""
    due: int = 0
    """When it fell due, for whoever hands it back. 0: unknown, or the caller owned it already."""
    log: tuple[bytes, ...] = ()
    """The bodies of its log from `run_from` to `head` if these are few and short. Empty: read them."""


class Work(Struct, frozen=True, kw_only=True):
    """The answer to a claim: the new instances, and the mail of those that the worker owns.

    Mail is given for an instance that has unseen deliveries, and for one claimed by this very call that has any mail: a
    former owner may have left messages in the inbox that no wait fitted yet. A mailbox comes whole, but not every
    mailbox comes in one answer (`romancy.storage.mail`).
    """

    claimed: list[Claimed]
    mail: list[Mailbox]
    next_due: int | None = None
    """When the next instance that this worker could claim becomes due, or earlier; at most a second later. In the past:
    one is due that the code has refused, or whose row another transaction holds, which nobody announces. A claim that
    has met its `limit` need not tell of others that are due. Instances of other workflows are not told.
    """
    now: int = 0
    more: bool = False
    """Mailboxes were left out. Claim again with `known`. A new instance that got none may have mail."""
    turns: dict[int, tuple[str, int]] = {}
    """Where the turns of the worker stand, by priority (`romancy.storage.turns`). Empty: nothing waited in lines."""


class Takeover(Struct, frozen=True, kw_only=True):
    """One chunk of a takeover. Call again while `left`. `refused`: the takeover was not allowed."""

    moved: tuple[str, ...] = ()
    left: bool = False
    refused: bool = False


class PruneRequest(Struct, frozen=True, kw_only=True):
    """A request to remove ended instances, by age or by id, at most `limit` of them in one call."""

    ended_before: int | None = None
    instance_ids: tuple[str, ...] = ()
    named_until: int = LATEST
    """Of the named instances, only those that have not changed after this time."""
    statuses: tuple[Status, ...] = tuple(sorted(TERMINAL_STATUSES))
    limit: int = 500
    dedupe_before: int | None = None
    """Forget dedupe keys accepted before this time."""
