"""The statements of one transaction, composed from items. Pure, so that they can be composed again after a refusal.

Statements follow the order of locks of every transaction: log keys, instances, inbox, outbox, deliveries, and the
routing of messages last. The rows of one statement are sorted. Each statement says how many rows it must touch. If one
falls short, the transaction is rolled back as a whole, and `_explain` finds the refused items.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING

from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.admission import head_start
from romancy.storage.columns import INTEREST, given
from romancy.storage.creation import fresh
from romancy.storage.records import Append, Delivery, Step
from romancy.storage.routing import Owner, Place, Posting
from romancy.storage.sqlkit.portions import portions
from romancy_mysql._prune import REMOVAL
from romancy_mysql._sql import Raw, Statement, Text, as_select, binary, comma, row, rows_of, source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from romancy.storage.records import Change, Create, Item, OutboxRow
    from romancy.storage.routing import Interest
    from romancy_mysql._prepared import Bound
    from romancy_mysql._sql import Template, Value

__all__ = [
    "CLOSED",
    "StepLog",
    "Write",
    "index_path",
    "index_set",
    "json_text",
    "posting_weight",
    "weight",
]

_HOLE = Raw(b"\0hole\0")
CLOSED = comma(sorted(str(status) for status in TERMINAL_STATUSES))
_STATEMENT_BYTES = 3 * 1024 * 1024
_KEY_BYTES = 255
_OVERHEAD = 400


_BEHIND = ("instance_id", "life", "prior", "known")


def _follow(query: Callable[[str], Template], items: Sequence[Step | Append], name: str = "predecessors") -> bytes:
    """The condition that the rows before these appends are the expected ones. Empty if no append expects one."""
    rows = [(one.instance_id, one.life, one.seq - 1, one.behind) for one in items if one.behind is not None]
    return query(name).render(source(_BEHIND, rows), count=len(rows)) if rows else b""


class StepLog:
    """The statement of steps, the most frequent one, composed with little work."""

    def __init__(self, query: Callable[[str], Template]) -> None:
        self._query = query
        self._before, self._after = query("append_log").render(rows=_HOLE).split(_HOLE)
        self._next = b",%b),(" % query("now").render()
        """What is between two rows: the time of the first."""
        self._token: str | None = None
        self._from = self._select = self._end = b""
        living = query("from_living").render(token=Raw(b"?"))
        known = query("predecessors").render(source(_BEHIND, [[Raw(b"?")] * len(_BEHIND)]), count=1)
        self.prepared = b"%bselect ?,?,?,?,? %b and %b %b" % (self._before, living, known, self._after)
        """The statement for one step, to be prepared, with `bound` as its parameters."""

    def bound(self, item: Step, behind: str, worker: str | None) -> tuple[Bound, ...]:
        """The values of one step, its worker (never None: that would have been refused), and the writer before it."""
        token, instance_id = (worker or "").encode(), item.instance_id.encode()
        before = (instance_id, item.life, item.seq - 1, behind.encode())
        return instance_id, item.life, item.seq, item.writer.encode(), item.body, token, *before

    def statement(self, items: Sequence[Step], worker: str | None) -> Statement:
        """One INSERT for all items, which are in the order of their keys."""
        if worker != self._token:
            self._from = self._query("from_living").render(token=worker)
            living = self._query("living_writer").render(writer=_HOLE, token=worker)
            self._select, self._end = living.split(_HOLE)
            self._token = worker
        before, after = self._select, self._end
        known = _follow(self._query, items)
        if len(items) == 1:
            before = after = b""
        elif known:
            before, after = b"%bif(%b," % (before, known), b",null)%b" % after
        lines: list[bytes] = []
        for item in items:
            place = (binary(item.instance_id.encode()), item.life, item.seq)
            writer, body = binary(item.writer.encode()), binary(item.body)
            lines.append(b"%b,%d,%d,%b%b%b,%b" % (*place, before, writer, after, body))
            before = after = b""
        if len(lines) == 1:
            follows = b" and %b " % known if known else b""
            text = b"%bselect %b %b%b%b" % (self._before, lines[0], self._from, follows, self._after)
            return Statement("append_log", text)
        values = self._next.join([*lines, b""]).removesuffix(b",(")
        return Statement("append_log", b"%bvalues (%b%b" % (self._before, values, self._after))


class Write:
    """The rows of one transaction. In a session, the receivers' instance rows are left until the session is over.

    `lives` are those that a session has found. It does not lock receivers, and a subquery would.
    """

    def __init__(
        self,
        query: Callable[[str], Template],
        *,
        worker: str | None = None,
        session: bool = False,
        lives: Mapping[str, int] = {},
    ) -> None:
        self._query = query
        self._now = query("now").render()
        self._worker = worker
        self._session = session
        self._lives = lives
        self.steps: list[Step] = []
        self.appends: list[Append] = []
        self.firsts: list[tuple[Append, Create]] = []
        """Those that create an instance, among them the starts of children."""
        self.deliveries: list[Delivery] = []
        self.outbox: list[OutboxRow] = []
        self.postings: list[Posting] = []
        self._marks: set[object] = set()
        self.predecessors = "predecessors"
        """The script that looks for the rows before the appends."""

    def add(self, item: Item, *, skip: frozenset[object] = frozenset()) -> None:
        """Add an item, except its deliveries and starts that are settled already."""
        if isinstance(item, Step):
            self.steps.append(item)
            return
        if item.create is None:
            self.appends.append(item)
        else:
            self.firsts.append((item, item.create))
        for start in item.starts:
            if start.create is not None and start.instance_id not in skip:
                self.firsts.append((start, start.create))
        self.outbox += item.outbox
        for delivery in item.deliveries:
            if delivery not in skip:
                self.add_delivery(delivery)
        for posting in item.postings:
            if posting not in skip:
                self.add_posting(posting)

    def add_delivery(self, delivery: Delivery) -> bool:
        """Add a delivery. False for a second copy."""
        marks: set[object] = {(delivery.instance_id, delivery.delivery_id)}
        if delivery.dedupe is not None:
            marks.add((Delivery, delivery.instance_id, delivery.dedupe))
        if marks & self._marks:
            return False
        self._marks |= marks
        self.deliveries.append(delivery)
        return True

    def add_message(self, one: Delivery | Posting) -> bool:
        """Add a delivery or a posting. False for a second copy."""
        return self.add_posting(one) if isinstance(one, Posting) else self.add_delivery(one)

    def add_posting(self, posting: Posting) -> bool:
        """Add a posting. False for a second copy."""
        marks: set[object] = {(place.address, posting.message_id, Place) for place in posting.places}
        if posting.dedupe is not None:
            marks.add((Posting, posting.topic, posting.dedupe))
        if marks & self._marks:
            return False
        self._marks |= marks
        self.postings.append(posting)
        return True

    def statements(self) -> list[Statement]:
        """All statements to send, in order. The first one decides which workers are alive."""
        return [*self._former(), *self._log(), *self._instances(), *self._mail_out(), *self._mail_in(), *self._routes()]

    def _former(self) -> Iterator[Statement]:
        """Remove the ended lives that new ones replace."""
        replaced = sorted((item.instance_id, former) for item, create in self.firsts if (former := create.replaces))
        for instance_id, former in replaced:
            shown = comma(sorted(TERMINAL_STATUSES.intersection(former.statuses)) or [None])
            held: dict[str, Value] = {"instance_id": instance_id, "life": former.life, "statuses": shown}
            yield self._query("hold_former").statement(held)
        if replaced:
            ids = comma(instance_id for instance_id, _ in replaced)
            yield from (self._query(name).statement(ids=ids) for name in REMOVAL)

    def _log(self) -> Iterator[Statement]:
        items: list[Step | Append] = [*self.steps, *self.appends]
        rows = [(item.instance_id, item.life, item.seq, item.writer, item.body, self._worker) for item in items]
        known = _follow(self._query, items, self.predecessors)
        rows += [(one.instance_id, one.life, 1, one.writer, one.body, create.owner) for one, create in self.firsts]
        if len(rows) == 1 and (owner := rows[0][-1]) is not None:
            living = self._query("from_living").render(token=owner)
            follows = b" and %b" % known if known else b""
            yield self._query("append_log").statement(
                rows=Raw(as_select([comma(rows[0][:-1])]) + b" " + living + follows), expected=1
            )
            return
        checked: set[str] = set()
        lines: list[Raw] = []
        for instance_id, life, seq, writer, body, owner in sorted(rows, key=lambda line: line[:3]):
            mark: Value = writer
            if owner is not None and owner not in checked:
                checked.add(owner)
                if owner == self._worker and known:
                    mark = Raw(b"if(%b,%b,null)" % (known, binary(writer.encode())))
                mark = self._query("living_writer").render(writer=mark, token=owner)
            lines.append(comma((instance_id, life, seq, mark, body, self._now)))
        for part in portions(lines, len, _STATEMENT_BYTES):
            yield self._query("append_log").statement(rows=as_select(part), expected=len(part))

    def _instances(self) -> Iterator[Statement]:
        firsts = sorted(self.firsts, key=lambda first: first[0].instance_id)
        yield from self._insert("start_instances", [self._first_row(*first) for first in firsts])
        changes = [(item, item.change) for item in self.appends if item.change is not None]
        changes.sort(key=lambda pair: pair[0].instance_id)
        again = [(item, change) for item, change in changes if change.run_from is not None]
        yield from self._locks({item.instance_id for item, _ in changes})
        rows = [_change_row(item, change, continued=bool(again)) for item, change in changes]
        yield from self._changes(rows, continued=bool(again))
        renewed = [(item.instance_id, *index_set(change.index)) for item, change in again if change.index is not None]
        yield from self._joined("renew_index_sets", ("instance_id", "index_paths", "paths"), renewed, counted=False)
        if renewed:
            yield self._query("drop_index").statement(ids=comma(one for one, *_ in renewed))
        indexed = [(item.instance_id, create.index) for item, create in firsts]
        indexed += [(item.instance_id, change.index) for item, change in again if change.index is not None]
        index = [(one, index_path(path), value) for one, pairs in indexed for path, value in pairs if value is not None]
        yield from self._joined("add_index", ("instance_id", "path", "value"), index)

    def _locks(self, changed: set[str]) -> Iterator[Statement]:
        """Locks, in one order, the rows that two statements write. A single statement locks in order by itself."""
        receivers = {one.instance_id for one in self.deliveries}
        if changed and receivers and not self._session:
            rows = [(one,) for one in sorted(changed | receivers)]
            yield from self._joined("lock_instances", ("instance_id",), rows, counted=False)

    def _changes(self, rows: Sequence[tuple[Value, ...]], *, continued: bool) -> Iterator[Statement]:
        if rows:
            parameters = source(_CHANGED + _CONTINUED if continued else _CHANGED, rows) | {"closed": CLOSED}
            more = self._query("continued").render(parameters) if continued else Raw(b"")
            yield self._query("change_instances").statement(parameters, expected=len(rows), continued=more)

    def _mail_out(self) -> Iterator[Statement]:
        consumed = sorted({(item.instance_id, one) for item in self.appends for one in item.consumed})
        yield from self._joined("consume_inbox", ("instance_id", "delivery_id"), consumed)
        outbox = sorted(self.outbox, key=lambda one: one.outbox_id)
        rows = [row(one.outbox_id, one.topic, one.body, one.key, one.instance_id, self._now) for one in outbox]
        yield from self._insert("add_outbox", rows, counted=False)

    def _mail_in(self) -> Iterator[Statement]:
        # An instance that ends in this transaction gets no mail in it: its ended row counts none, which would undo all.
        changed = [*self.appends, *(item for item, _ in self.firsts)]
        ended = {one.instance_id for one in changed if one.change and one.change.status in TERMINAL_STATUSES}
        arriving = [one for one in self.deliveries if one.instance_id not in ended]
        mail = sorted(arriving, key=lambda one: (one.instance_id, one.delivery_id))
        if not self._session:
            yield from self._signals([one.instance_id for one in mail], counted=True)
        yield from self._insert("add_seen", self._keys(mail))
        if self._session:
            yield from self._insert("add_inbox", [_mail_row(one, Raw(b"default")) for one in mail])
            places = [row(one.instance_id, one.delivery_id) for one in mail]
            yield from self._insert("add_uncounted", places, counted=False)
        else:
            number = self._query("number_now").render
            rows = [_mail_row(one, number(instance_id=one.instance_id)) for one in mail]
            yield from self._insert("add_inbox", rows)

    def _keys(self, mail: Iterable[Delivery]) -> list[Raw]:
        """Rows for the dedupe keys of this mail and of all postings."""
        lives = {**self._lives, **{item.instance_id: item.life for item, _ in self.firsts}}
        now = self._query("life_now").render
        keys: list[tuple[str, str, Value]] = [
            (one.topic, one.dedupe, 0) for one in self.postings if one.dedupe is not None
        ]
        for one in mail:
            if one.dedupe is not None:
                unit = one.instance_id
                keys.append((unit, one.dedupe, lives[unit] if unit in lives else now(instance_id=unit)))
        return [row(unit, life, key) for unit, key, life in sorted(keys, key=lambda one: one[:2])]

    def _routes(self) -> Iterator[Statement]:
        appends = [*self.appends, *(item for item, _ in self.firsts)]
        routing = sorted((item for item in appends if item.routes), key=lambda one: one.instance_id)
        interests = [
            _interest_row(Owner(item.instance_id, item.life), one)
            for item in routing
            for one in sorted(item.interests, key=lambda one: one.interest_id)
        ]
        for part in portions([rows_of(INTEREST, [one]) for one in interests], len, _STATEMENT_BYTES):
            yield self._query("add_interests").statement(rows=Raw(b" union all ".join(part)))
        over = [(item.instance_id, item.life, one) for item in routing for one in sorted(set(item.uninterested))]
        yield from self._joined("drop_interests", ("owner", "life", "interest_id"), over, counted=False)
        places = sorted(
            (place.address, one.message_id, place.spread, number)
            for number, one in enumerate(self.postings)
            for place in one.places
        )
        messages = [
            row(address, message_id, spread, self.postings[number].body, self.postings[number].projection)
            for address, message_id, spread, number in places
        ]
        yield from self._insert("add_messages", messages)

    def count_later(self, mail: Iterable[tuple[str, str]]) -> Iterator[Statement]:
        """Count messages that a session wrote. Ended instances are skipped."""
        places = sorted(mail)
        yield from self._signals([one for one, _ in places], counted=False)
        columns = ("instance_id", "delivery_id")
        yield from self._joined("number_inbox", columns, places, counted=False)
        yield from self._joined("drop_uncounted", columns, places, counted=False)

    def _signals(self, receivers: list[str], *, counted: bool) -> Iterator[Statement]:
        rows = sorted(Counter(receivers).items())
        columns = ("instance_id", "count")
        yield from self._joined("signal_instances", columns, rows, counted=counted, closed=CLOSED)

    def _first_row(self, item: Append, create: Create) -> Raw:
        status, error, wake_at, delay = fresh(item, create)
        later = self._query("from_now").render
        due = wake_at if delay is None else later(delay=delay)
        if wake_at is not None and delay is not None:
            due = self._query("later_of").render(at=wake_at, delay=delay)
        touched = later(delay=0) if create.owner is None else None
        paths, _ = index_set(create.index)
        head = (item.instance_id, item.life, status, create.owner, due, touched, error, create.parent)
        return row(*head, create.input, json_text(create.projection), paths, *given(create), self._now)

    def _insert(self, name: str, rows: list[Raw], *, counted: bool = True) -> Iterator[Statement]:
        """Insert rows. The last column is the time, which they do not have yet."""
        at = b",%b)" % self._now
        for part in portions(rows, len, _STATEMENT_BYTES):
            timed = Raw(b",".join([one[:-1] + at for one in part]))
            yield self._query(name).statement(rows=timed, expected=len(part) if counted else None)

    def _joined(
        self,
        name: str,
        columns: tuple[str, ...],
        rows: Sequence[tuple[Value, ...]],
        *,
        counted: bool = True,
        **more: Value,
    ) -> Iterator[Statement]:
        if rows:
            parameters = source(columns, rows)
            yield self._query(name).statement(parameters, expected=len(rows) if counted else None, **more)


def _interest_row(owner: Owner, one: Interest) -> tuple[Value, ...]:
    """The columns of an interest."""
    return (owner.name, owner.life, one.interest_id, one.address, one.kind, one.where, head_start(one))


def _mail_row(one: Delivery, number: Raw) -> Raw:
    return row(one.instance_id, one.delivery_id, one.body, number)


_CHANGED = (
    "instance_id", "life", "seq", "status", "seen", "releases", "sleeps", "wake_at", "ends", "error", "code",
    "refused_by", "finds",
)  # fmt: skip
_CONTINUED = ("run_from", "input", "projection", "index_paths")


def _change_row(item: Append, change: Change, *, continued: bool) -> tuple[Value, ...]:
    ends = change.status in TERMINAL_STATUSES
    rests = ends or change.status is Status.STUCK
    return (
        item.instance_id,
        item.life,
        item.seq,
        change.status,
        change.seen,
        change.release or rests,
        change.release and not rests,
        change.wake_at,
        ends,
        change.error,
        change.code,
        "" if change.forgive else change.refused_by,
        change.finds,
        *(_continuation(change) if continued else ()),
    )


def _continuation(change: Change) -> tuple[Value, ...]:
    if change.run_from is None:
        return (None, None, None, None)
    paths = None if change.index is None else index_set(change.index)[0]
    return (change.run_from, change.input, json_text(change.projection), paths)


def json_text(projection: bytes | None) -> Value:
    """A projection as text: JSON columns take text, not binary strings. It is ASCII."""
    return None if projection is None else Text(projection.decode())


def index_path(path: str) -> str:
    """A declared path, as the index column stores it."""
    return _short(path)


def index_set(index: Iterable[tuple[str, str | None]]) -> tuple[str, str]:
    """A set of declared paths: as an instance's row stores it, and in full."""
    paths = "\n".join(sorted({path for path, _ in index}))
    return _short(paths), paths


def _short(text: str) -> str:
    return text if len(text.encode()) <= _KEY_BYTES else "sha256:" + sha256(text.encode()).hexdigest()


def weight(item: Item) -> int:
    """The approximate number of bytes of an item in its statements."""
    size = _OVERHEAD + len(item.body)
    if isinstance(item, Append):
        if item.create is not None:
            size += _OVERHEAD + len(item.create.input) + len(item.create.projection or b"")
        size += sum(weight(start) for start in item.starts)
        size += sum(_OVERHEAD + len(one.body) for one in item.deliveries)
        size += sum(_OVERHEAD + len(one.body) for one in item.outbox)
        size += sum(posting_weight(one) for one in item.postings)
        size += sum(_OVERHEAD + len(one.address) + len(one.where or b"") for one in item.interests)
        size += len(item.consumed) * _OVERHEAD
        if item.change is not None:
            size += _OVERHEAD + len(item.change.input or b"") + len(item.change.projection or b"")
    return size


def posting_weight(one: Posting) -> int:
    """The approximate number of bytes of a posting in its statements."""
    size = _OVERHEAD + len(one.body) + len(one.projection or b"")
    return sum(size + len(place.address) for place in one.places)
