"""Sessions of the in-memory store: the user's rows are a dict inside the engine's transaction."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from romancy.errors import UsageError
from romancy.status import TERMINAL_STATUSES, Status
from romancy.storage.endings import OVER
from romancy.storage.limits import (
    check_batch,
    check_deliveries,
    check_outbox,
    check_postings,
)
from romancy.storage.memory._outbox import queue_outgoing
from romancy.storage.memory._posted import post_message
from romancy.storage.memory._rows import after_delivery
from romancy.storage.memory._write import clear, deliver, number_mail, uncounted_of, write_item
from romancy.storage.records import Append, Delivered, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence

    from romancy.errors import StorageUnavailableError
    from romancy.storage.isolation import IsolationLevel
    from romancy.storage.memory._database import Database, Key, Transaction
    from romancy.storage.records import Delivery, Item, OutboxRow
    from romancy.storage.routing import Posting

__all__ = ["MemorySession", "UserRows", "bump", "refuse_stronger"]


def refuse_stronger(isolation: IsolationLevel | None) -> None:
    """Raise UsageError for a level that the rows in memory do not have."""
    if isolation not in (None, "read committed"):
        raise UsageError(f"the memory store has read committed alone, not isolation={isolation!r}; use a database")


class UserRows:
    """The native object: the user's keys and values, which commit or vanish with the session."""

    def __init__(self, tx: Transaction, session: MemorySession) -> None:
        self._tx = tx
        self.session = session
        """The session that writes these rows."""

    async def get(self, key: str) -> Any:
        """The value as this transaction sees it, or None."""
        self.session.refuse_if_done()
        return self._tx.get("user", (key,))

    async def put(self, key: str, value: Any) -> None:
        """Write a value, waiting while another session holds the key. None removes it."""
        self.session.refuse_if_done()
        await self._tx.lock("user", (key,))
        self.session.refuse_if_done()
        self._tx.put("user", (key,), value)


class MemorySession:
    """A user's transaction on the in-memory database."""

    excluding = False
    renewed = None

    def __init__(self, tx: Transaction, database: Database, *, owns: bool = True) -> None:
        self._tx = tx
        self._database = database
        self._owns = owns
        self._done = False
        self._native = UserRows(tx, self)
        self.delivered: list[str] = []
        """Instances that got mail in this session. A short commit of its own wakes them."""
        self._posted: list[str] = []
        """The same, before the commit. Shared with joined sessions."""

    @property
    def native(self) -> UserRows:
        """The user's rows."""
        self.refuse_if_done()
        return self._native

    def end(self) -> None:
        """Refuse all further use, whether the transaction commits or not."""
        self._done = True

    def refuse_if_done(self) -> None:
        """Raise UsageError after the end."""
        if self._done:
            raise UsageError(OVER)

    def joined(self, database: Database) -> MemorySession:
        """The same transaction, for a caller that must not end it."""
        if self._done:
            raise UsageError("the session to join has ended; open another one")
        if database is not self._database:
            raise UsageError("the session to join belongs to another memory database; one transaction cannot span both")
        joined = MemorySession(self._tx, self._database, owns=False)
        joined._posted = self._posted
        return joined

    async def execute(self, sql: str, *parameters: object) -> int:  # noqa: ARG002 - refused whatever it is
        raise UsageError("the memory store has no SQL; use `session.native.get` and `session.native.put`")

    async def fetch_all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:  # noqa: ARG002 - as above
        raise UsageError("the memory store has no SQL; use `session.native.get` and `session.native.put`")

    def excuse(self, error: Exception, /) -> StorageUnavailableError | None:  # noqa: ARG002 - no such error here
        return None

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        self.refuse_if_done()
        mark = self._tx.mark()
        try:
            yield
        except BaseException:
            if not self._done:
                self._tx.rewind(mark)
            raise
        self.refuse_if_done()

    async def commit(self, item: Item, /, *, worker: str | None = None) -> Outcome:
        self.refuse_if_done()
        check_batch([item], worker)
        mark = self._tx.mark()
        mail = [] if not isinstance(item, Append) else self._absent(item.deliveries)
        outcome = await write_item(self._tx, self._database, item, worker, session=True)
        if outcome is not Outcome.ACCEPTED:
            self._tx.rewind(mark)
        else:
            self._posted += [key[0] for key in mail if self._tx.get("inbox", key) is not None]
        if not self._owns:
            return outcome
        self._done = True
        if outcome is Outcome.ACCEPTED:
            await self._tx.commit()
            self.delivered += self._posted
        return outcome

    def _absent(self, deliveries: Iterable[Delivery]) -> list[Key]:
        """The keys of those that are not in their inboxes. What is there now or was there before is not counted."""
        keys = dict.fromkeys((one.instance_id, one.delivery_id) for one in deliveries)
        return [key for key in keys if self._tx.get("inbox", key) is None]

    async def send(
        self,
        deliveries: Sequence[Delivery] = (),
        outbox: Sequence[OutboxRow] = (),
        postings: Sequence[Posting] = (),
        /,
    ) -> list[Delivered]:
        check_deliveries(deliveries)
        check_outbox(outbox)
        check_postings(postings)
        answers = [await deliver(self._tx, self._database, delivery, wake=False) for delivery in deliveries]
        await queue_outgoing(self._tx, self._database, outbox)
        accepted = zip(deliveries, answers, strict=True)
        self._posted += [delivery.instance_id for delivery, answer in accepted if answer is Delivered.ACCEPTED]
        return answers + [await post_message(self._tx, self._database, posting) for posting in postings]

    async def clear(self, instance_id: str, life: int, statuses: Collection[Status], /) -> bool:
        self.refuse_if_done()
        return await clear(self._tx, instance_id, life, statuses)


async def bump(database: Database, begin: Callable[[], Transaction], instance_ids: Iterable[str]) -> None:
    """Count deliveries made in sessions and dispatches, whose transactions do not touch the instances' rows."""
    for instance_id in instance_ids:
        async with begin() as tx:
            await tx.step("session.signal")
            row = await tx.lock("instances", (instance_id,))
            if row is not None and row.status not in TERMINAL_STATUSES:
                counted = after_delivery(row, database.now())
                tx.put("instances", (instance_id,), counted)
                number_mail(tx, uncounted_of(tx, instance_id), counted.signals)
                tx.touched.add(instance_id)
            await tx.commit()
