"""The store as the engine and the app see it: codecs open what is read and seal what is written.

Only this module seals and opens bodies, and `coded_routing` those of messages that are posted to addresses. If no codec
writes, every write calls the store directly.

Commits, messages and inputs are sealed. Not sealed are ids, names, keys, statuses, times, the short error text in the
row of an instance, and the projection that searches filter on. Commits that only record a change of owner are not
sealed either: workers without the codecs write and read them.

A reader of an unreadable commit gets an error. An unreadable message or input is passed on unopened, so that only an
instance that needs it fails. A process without the codecs can therefore look at instances and park them.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from romancy.core import OwnerChanged, decode_commit, without_values
from romancy.engine.coded_routing import CodingRouter, ReadingRouter, opened, sealed
from romancy.errors import CodecError, StorageUnavailableError
from romancy.serialization import NO_CODECS, PayloadContext, is_sealed
from romancy.storage.amending import Amending
from romancy.storage.failures import unsaid
from romancy.storage.journal import Journal
from romancy.storage.lookups import PAGE, Asked, Lookups, Lying, Place
from romancy.storage.outbox import Outbox
from romancy.storage.passing import Passing, changed_by
from romancy.storage.protocol import Store
from romancy.storage.query import declared_part
from romancy.storage.reading import Reading
from romancy.storage.records import Append, Step
from romancy.storage.routing import is_failed, is_question
from romancy.storage.sessions import JoinedSession, Sessions, StoreSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence

    from romancy.serialization import Codecs
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.journal import Behind, KeptLine, NewLine, Written
    from romancy.storage.outbox import Consignment, OutboxEntry, OutboxRow, OutboxState
    from romancy.storage.query import Query
    from romancy.storage.records import (
        Change,
        ClaimRequest,
        Create,
        Delivered,
        Delivery,
        History,
        InboxRow,
        InstanceRow,
        Item,
        LogRow,
        Outcome,
        Page,
        Work,
    )
    from romancy.storage.router import Router
    from romancy.storage.routing import Interest, Posting
    from romancy.storage.services import Services

__all__ = [
    "beneath_codecs",
    "coded",
    "hides",
    "opened_input",
    "opened_row_of_log",
    "read_with_start",
    "sealed_input",
    "sealed_interests",
    "searchable",
    "stored_size",
    "uncoded",
]

_OWNERSHIP: Final = b'[{"type":"OwnerChanged"'
_PAUSE: Final = 1.0


def coded(store: Store, codecs: Codecs) -> Store:
    """Wrap the store: these codecs seal what is written to it and open what is read from it."""
    return changed_by(store, _CodingStore, codecs) if codecs.ids else changed_by(store, _ReadingStore)


def stored_size(store: Store, raw: bytes) -> int:
    """How many bytes the store's codecs make of a value that stands alone. `Codecs.stored_size` says more."""
    # `isinstance` runs Python code for a class with a protocol among its bases.
    return store.stored_size(raw) if type(store) is _CodingStore else len(raw)


def uncoded(store: Store) -> Store:
    """The same open store without codecs: sealed payloads stay sealed."""
    return changed_by(beneath_codecs(store), _ReadingStore)


def codecs_of(store: Store) -> Codecs:
    """The codecs through which this store is read and written."""
    return store.codecs if isinstance(store, _ReadingStore) else NO_CODECS


def beneath_codecs(store: Store) -> Store:
    """The same open store as the codecs see it: payloads come as they are stored, and sealed ones are not refused."""
    return store.beneath if isinstance(store, _ReadingStore) else store


def _commit(instance_id: str, life: int, seq: int) -> PayloadContext:
    return PayloadContext(instance_id, "commit", f"{life}.{seq}")


def _message(instance_id: str, delivery_id: str) -> PayloadContext:
    return PayloadContext(instance_id, "message", delivery_id)


def _outgoing(row: OutboxRow) -> PayloadContext:
    return PayloadContext(row.instance_id or "", "message", row.outbox_id)


def _question(instance_id: str, interest_id: str) -> PayloadContext:
    return PayloadContext(instance_id, "message", f"question {interest_id}")


def _line(instance_id: str, mark: str) -> PayloadContext:
    return PayloadContext(instance_id, "message", f"log line {mark}")


def _input(instance_id: str, life: int) -> PayloadContext:
    return PayloadContext(instance_id, "input", f"{life}")


def opened_row_of_log(codecs: Codecs, instance_id: str, life: int, row: LogRow) -> LogRow:
    """The row with its events in clear. Raises CodecError if it cannot be opened."""
    if not is_sealed(row.body, "commit"):
        return row
    return replace(row, body=codecs.unwrap(row.body, _commit(instance_id, life, row.seq)))


def opened_input(codecs: Codecs, row: InstanceRow) -> bytes:
    """The instance's input in clear. Raises CodecError if it cannot be opened."""
    if not is_sealed(row.input, "input"):
        return row.input
    return codecs.unwrap(row.input, _input(row.instance_id, row.life))


def sealed_input(codecs: Codecs, row: InstanceRow) -> bytes:
    """The instance's input as it is stored. Raises CodecError if a codec cannot write it."""
    return codecs.wrap(row.input, _input(row.instance_id, row.life)) if codecs.ids else row.input


def sealed_interests(codecs: Codecs, instance_id: str, interests: tuple[Interest, ...]) -> tuple[Interest, ...]:
    """The interests of an instance as they are stored.

    Of what people are asked, only whom and since when is seen. Beside codecs that hide values, the text of a failure is
    neither kept nor grouped by.
    """
    if not codecs.ids or not any(is_question(one.address) or is_failed(one.address) for one in interests):
        return interests
    return tuple(_sealed_interest(codecs, instance_id, one) for one in interests)


def _sealed_interest(codecs: Codecs, instance_id: str, one: Interest) -> Interest:
    if is_question(one.address):
        return replace(one, where=codecs.wrap(one.where or b"", _question(instance_id, one.interest_id)))
    return unsaid(one) if codecs.hides and is_failed(one.address) else one


def hides(store: Store) -> bool:
    """Whether the store's codecs hide from the database what they write."""
    return isinstance(store, _CodingStore) and store.hides


def searchable(codecs: Codecs, projection: bytes | None, index: Iterable[tuple[str, str | None]]) -> bytes | None:
    """The projection of an input as it is stored: beside a codec that hides inputs, only their declared paths."""
    return declared_part(projection, [path for path, _ in index]) if codecs.hides else projection


async def read_with_start(store: Store, instance_id: str) -> History | None:
    """The instance with the first commit of its log, in one read. A commit that cannot be opened stays sealed."""
    reading = store if isinstance(store, _ReadingStore) else changed_by(store, _ReadingStore)
    return await reading.read_with_start(instance_id)


class _ReadingStore(Passing[Store], Store):
    """Opens what is read. Without codecs it can only report that it cannot open a body."""

    def __init__(self, store: Store, codecs: Codecs = NO_CODECS) -> None:
        super().__init__(store)
        self._codecs = codecs
        self.services: Services = self._changed(store.services)

    def _changed(self, services: Services) -> Services:
        return services.wrapped(
            router=self._router,
            outbox=lambda outbox: changed_by(outbox, _OpenedOutbox, self._unsealed),
            reading=lambda reading: changed_by(reading, _OpenedReading, self._instance),
            lookups=lambda lookups: changed_by(
                lookups, _OpenedLookups, self._mail, self._commit_or_sealed, self._posed
            ),
            journal=lambda journal: changed_by(journal, _CodingJournal, self._codecs),
        )

    def _router(self, router: Router) -> Router:
        return changed_by(router, ReadingRouter, self._codecs)

    @property
    def codecs(self) -> Codecs:
        """Those of this store."""
        return self._codecs

    @property
    def beneath(self) -> Store:
        """The store without codecs."""
        return self._passed_to

    async def read(self, instance_id: str, /, *, after: int = 0, limit: int = 1000) -> History | None:
        history = await self._passed_to.read(instance_id, after=after, limit=limit)
        if history is None:
            return None
        if history.rows:
            life = history.instance.life
            history.rows[:] = [opened_row_of_log(self._codecs, instance_id, life, row) for row in history.rows]
        instance = self._instance(history.instance)
        return history if instance is history.instance else replace(history, instance=instance)

    async def read_with_start(self, instance_id: str) -> History | None:
        history = await self._passed_to.read(instance_id, limit=1)
        if history is None:
            return None
        life = history.instance.life
        rows = [self._commit_or_sealed(instance_id, life, row) for row in history.rows]
        return replace(history, instance=self._instance(history.instance), rows=rows)

    async def claim(self, request: ClaimRequest, /) -> Work:
        work = await self._passed_to.claim(request)
        for box in work.mail:
            for place, row in enumerate(box.rows):
                box.rows[place] = self._mail(box.instance_id, row)
        return work  # a sealed log is opened when it is read, so that a failure affects only its own instance

    def _commit_or_sealed(self, instance_id: str, life: int, row: LogRow) -> LogRow:
        try:
            return opened_row_of_log(self._codecs, instance_id, life, row)
        except CodecError:
            return row

    def _posed(self, asked: Asked) -> Asked:
        if not is_sealed(asked.where, "message"):
            return asked
        place = asked.place
        try:
            return asked._replace(where=self._codecs.unwrap(asked.where, _question(place.owner, place.interest_id)))
        except CodecError:
            return asked

    def _unsealed(self, row: OutboxRow) -> OutboxRow:
        if not is_sealed(row.body, "message"):
            return row
        try:
            return replace(row, body=self._codecs.unwrap(row.body, _outgoing(row)))
        except CodecError:
            return row

    def _instance(self, row: InstanceRow) -> InstanceRow:
        if not is_sealed(row.input, "input"):
            return row
        try:
            given = opened_input(self._codecs, row)
        except CodecError:
            return row
        return row if given is row.input else replace(row, input=given)

    def _mail(self, instance_id: str, row: InboxRow) -> InboxRow:
        if row.address is not None:
            return opened(self._codecs, row)
        if not is_sealed(row.body, "message"):
            return row
        try:
            return replace(row, body=self._codecs.unwrap(row.body, _message(instance_id, row.delivery_id)))
        except CodecError:
            return row


class _CodingStore(_ReadingStore):
    """Seals payloads when they are written, too.

    When an instance is refused, its row records which codecs the worker had: a worker with other codecs may succeed
    with the same code.
    """

    def __init__(self, store: Store, codecs: Codecs) -> None:
        super().__init__(store, codecs)
        self._ability = "~" + hashlib.sha256(",".join(sorted(codecs.ids)).encode()).hexdigest()[:8]

    def _changed(self, services: Services) -> Services:
        return (
            super()
            ._changed(services)
            .wrapped(
                sessions=lambda sessions: changed_by(sessions, _CodingSessions, self),
                amending=lambda amending: changed_by(amending, _CodingAmending, self),
            )
        )

    def _router(self, router: Router) -> Router:
        return changed_by(router, CodingRouter, self._codecs)

    async def claim(self, request: ClaimRequest, /) -> Work:
        codes = {workflow: code + self._ability for workflow, code in request.codes.items()}
        return await super().claim(replace(request, codes=codes))

    async def commit(self, batch: Sequence[Item], /, *, worker: str | None = None) -> list[Outcome]:
        return await self._passed_to.commit([self.sealed(item) for item in batch], worker=worker)

    async def deliver(self, batch: Sequence[Delivery], /) -> list[Delivered]:
        return await self._passed_to.deliver(self.sealed_deliveries(batch))

    @property
    def hides(self) -> bool:
        """Whether the codecs hide what they write."""
        return self._codecs.hides

    def stored_size(self, raw: bytes) -> int:
        """How many bytes the codecs make of a value."""
        return self._codecs.stored_size(raw)

    def sealed(self, item: Item) -> Item:
        """The item as it is stored. Raises CodecError when a codec cannot write a part of it."""
        return self.sealed_step(item) if isinstance(item, Step) else self._append(item)

    def sealed_step(self, step: Step) -> Step:
        """The same of a lone row."""
        return replace(step, body=self._body(step))

    def _append(self, item: Append) -> Append:
        return replace(
            item,
            body=self._body(item),
            outbox=tuple(self.sealed_outgoing(item.outbox)),
            change=None if item.change is None else self._change(item, item.change),
            deliveries=tuple(self.sealed_deliveries(item.deliveries)),
            starts=tuple(map(self._append, item.starts)),
            create=None if item.create is None else self._create(item, item.create),
            postings=tuple(self.sealed_postings(item.postings)),
            interests=sealed_interests(self._codecs, item.instance_id, item.interests),
        )

    def _body(self, item: Item) -> bytes:
        if _says_only_who_owns_it(item.body):
            return item.body
        return self._codecs.wrap(item.body, _commit(item.instance_id, item.life, item.seq))

    def sealed_deliveries(self, batch: Sequence[Delivery]) -> list[Delivery]:
        """The messages as they are stored."""
        return [
            replace(each, body=self._codecs.wrap(each.body, _message(each.instance_id, each.delivery_id)))
            for each in batch
        ]

    def sealed_outgoing(self, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """The messages for the outside as they are stored."""
        return [replace(row, body=self._codecs.wrap(row.body, _outgoing(row))) for row in rows]

    def sealed_postings(self, batch: Sequence[Posting]) -> list[Posting]:
        """The posted messages as they are stored."""
        return [sealed(self._codecs, each) for each in batch]

    def _create(self, item: Append, create: Create) -> Create:
        return replace(
            create,
            input=self._codecs.wrap(create.input, _input(item.instance_id, item.life)),
            projection=searchable(self._codecs, create.projection, create.index),
        )

    def _change(self, item: Append, change: Change) -> Change:
        if change.input is not None:
            change = replace(
                change,
                input=self._codecs.wrap(change.input, _input(item.instance_id, item.life)),
                projection=searchable(self._codecs, change.projection, change.index or ()),
            )
        if change.error is not None:
            change = replace(change, error=without_values(change.error))
        if change.refused_by:
            change = replace(change, refused_by=change.refused_by + self._ability)
        return change


class _CodingAmending(Passing[Amending], Amending):
    def __init__(self, amending: Amending, store: _CodingStore) -> None:
        super().__init__(amending)
        self._store = store

    async def amend(self, batch: Sequence[Step], /, *, worker: str) -> list[Outcome]:
        return await self._passed_to.amend([self._store.sealed_step(item) for item in batch], worker=worker)


class _CodingSessions(Passing[Sessions], Sessions):
    """Sessions that seal what they write."""

    def __init__(self, sessions: Sessions, sealing: _CodingStore) -> None:
        super().__init__(sessions)
        self._sealing = sealing

    @asynccontextmanager
    async def begin(self, *, isolation: IsolationLevel | None = None) -> AsyncGenerator[StoreSession]:
        async with self._passed_to.begin(isolation=isolation) as session:
            yield changed_by(session, _CodingSession, self._sealing)

    @asynccontextmanager
    async def join(self, transaction: object, /) -> AsyncGenerator[JoinedSession]:
        async with self._passed_to.join(transaction) as session:
            yield changed_by(session, _CodingJoinedSession, self._sealing)


class _CodingSession(Passing[StoreSession], StoreSession):
    def __init__(self, session: StoreSession, sealing: _CodingStore) -> None:
        super().__init__(session)
        self._sealing = sealing

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        try:
            sealed = self._sealing.sealed(item)
        except StorageUnavailableError:
            await asyncio.sleep(_PAUSE)  # the attempt is repeated; avoids a tight loop
            raise
        return await self._passed_to.commit(sealed, worker=worker)


class _CodingJoinedSession(_CodingSession, JoinedSession):
    def __init__(self, session: JoinedSession, sealing: _CodingStore) -> None:
        super().__init__(session, sealing)
        self._joined = session

    async def send(
        self,
        deliveries: Sequence[Delivery] = (),
        outbox: Sequence[OutboxRow] = (),
        postings: Sequence[Posting] = (),
        /,
    ) -> list[Delivered]:
        """Write the messages sealed."""
        sealing = self._sealing
        return await self._joined.send(
            sealing.sealed_deliveries(deliveries), sealing.sealed_outgoing(outbox), sealing.sealed_postings(postings)
        )


class _OpenedOutbox(Passing[Outbox], Outbox):
    """Opens bodies that are read from an outbox. A body that cannot be opened is passed on sealed."""

    def __init__(self, outbox: Outbox, opened: Callable[[OutboxRow], OutboxRow]) -> None:
        super().__init__(outbox)
        self._row = opened

    async def claim(self, claim: str, /, *, lease: int, limit: int) -> Consignment:
        given = await self._passed_to.claim(claim, lease=lease, limit=limit)
        given.entries[:] = map(self._entry, given.entries)
        return given

    async def entries(
        self, states: Collection[OutboxState] = (), /, *, after: tuple[int, str] = (0, ""), limit: int = 100
    ) -> list[OutboxEntry]:
        return [self._entry(entry) for entry in await self._passed_to.entries(states, after=after, limit=limit)]

    async def read(self, limit: int) -> list[OutboxRow]:
        return [self._row(row) for row in await self._passed_to.read(limit)]

    def _entry(self, entry: OutboxEntry) -> OutboxEntry:
        row = self._row(entry.row)
        return entry if row is entry.row else replace(entry, row=row)


class _OpenedReading(Passing[Reading], Reading):
    """Opens the inputs of what is found."""

    def __init__(self, reading: Reading, opened: Callable[[InstanceRow], InstanceRow]) -> None:
        super().__init__(reading)
        self._opened = opened

    async def find(self, query: Query, /) -> Page:
        page = await self._passed_to.find(query)
        page.rows[:] = [self._opened(row) for row in page.rows]
        return page


class _OpenedLookups(Passing[Lookups], Lookups):
    """Opens messages, commits and questions. What cannot be opened stays sealed."""

    def __init__(
        self,
        lookups: Lookups,
        mail: Callable[[str, InboxRow], InboxRow],
        commit: Callable[[str, int, LogRow], LogRow],
        posed: Callable[[Asked], Asked],
    ) -> None:
        super().__init__(lookups)
        self._mail = mail
        self._commit = commit
        self._posed = posed

    async def last_commits(self, instances: Sequence[InstanceRow], /) -> dict[str, LogRow]:
        lives = {one.instance_id: one.life for one in instances}
        found = await self._passed_to.last_commits(instances)
        return {one: self._commit(one, lives[one], row) for one, row in found.items()}

    async def lying(
        self, instance_id: str | None = None, /, *, after: tuple[str, str] = ("", ""), limit: int = PAGE
    ) -> list[Lying]:
        page = await self._passed_to.lying(instance_id, after=after, limit=limit)
        return [one._replace(row=self._mail(one.instance_id, one.row)) for one in page]

    async def questions(self, after: Place, below: str, limit: int, /) -> list[Asked]:
        return list(map(self._posed, await self._passed_to.questions(after, below, limit)))

    async def questions_of(self, instance_id: str, first: str, last: str, limit: int, /) -> list[Asked]:
        return list(map(self._posed, await self._passed_to.questions_of(instance_id, first, last, limit)))


class _CodingJournal(Passing[Journal], Journal):
    """Seals lines, each for its mark, and opens them. What cannot be opened stays sealed."""

    def __init__(self, journal: Journal, codecs: Codecs) -> None:
        super().__init__(journal)
        self._codecs = codecs

    async def put(self, lines: Sequence[NewLine], /, *, keep: int, again: bool = False) -> list[NewLine]:
        return _those(lines, await self._passed_to.put(self._sealed(lines), keep=keep, again=again))

    async def lines(self, instance_id: str, /, *, after: tuple[int, int] = (0, 0), limit: int = 200) -> list[KeptLine]:
        page = await self._passed_to.lines(instance_id, after=after, limit=limit)
        return [self._opened(instance_id, one) for one in page]

    async def newest(self, instance_id: str, /, *, limit: int = 200) -> list[KeptLine]:
        return [self._opened(instance_id, one) for one in await self._passed_to.newest(instance_id, limit=limit)]

    async def write(self, lines: Sequence[NewLine], /) -> Written:
        written = await self._passed_to.write(self._sealed(lines))
        return written._replace(refused=_those(lines, written.refused))

    async def written(self, instance_id: str, life: int, /, *, after: int = 0, limit: int = 200) -> list[KeptLine]:
        page = await self._passed_to.written(instance_id, life, after=after, limit=limit)
        return [self._opened(instance_id, one) for one in page]

    async def written_behind(self, places: Sequence[tuple[str, int, int]], /, *, limit: int = 200) -> dict[str, Behind]:
        found = await self._passed_to.written_behind(places, limit=limit)
        return {
            one: behind._replace(lines=[self._opened(one, line) for line in behind.lines])
            for one, behind in found.items()
        }

    def _sealed(self, lines: Sequence[NewLine]) -> Sequence[NewLine]:
        if not self._codecs.ids:
            return lines
        wrap = self._codecs.wrap
        return [one._replace(body=wrap(one.body, _line(one.instance_id, one.mark))) for one in lines]

    def _opened(self, instance_id: str, line: KeptLine) -> KeptLine:
        if not is_sealed(line.body, "message"):
            return line
        try:
            return line._replace(body=self._codecs.unwrap(line.body, _line(instance_id, line.mark)))
        except CodecError:
            return line


def _those(lines: Sequence[NewLine], sealed: Sequence[NewLine]) -> list[NewLine]:
    """The lines of which these are the sealed ones."""
    marks = {one.mark for one in sealed}
    return [one for one in lines if one.mark in marks]


def _says_only_who_owns_it(body: bytes) -> bool:
    return body.startswith(_OWNERSHIP) and all(
        isinstance(event, OwnerChanged) and not event.reason for event in decode_commit(body)
    )
