"""The model of the outbox."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec.structs import replace

from romancy.storage.outbox import Consignment, OutboxCounts, OutboxEntry, OutboxState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from romancy.storage.outbox import OutboxRow, Settled
    from romancy_conformance.contract.walking.state import State

__all__ = ["OutboxModel"]

_PENDING = OutboxState.PENDING


class OutboxModel:
    """`Outbox`, one call at a time."""

    def __init__(self, state: State) -> None:
        self.state = state

    def queue(self, rows: Iterable[OutboxRow]) -> None:
        """Insert messages, with the commit that decided them. An id that is there keeps its message."""
        now = self.state.now
        for row in rows:
            self.state.outgoing.setdefault(row.outbox_id, OutboxEntry(row=row, at=now, queued_at=now, next_at=now))

    def _all(self, *states: OutboxState) -> list[OutboxEntry]:
        """The messages in these states, in the order in which they were inserted."""
        found = [one for one in self.state.outgoing.values() if not states or one.state in states]
        return sorted(found, key=lambda one: (one.at, one.row.outbox_id))

    def _put(self, entry: OutboxEntry, **fields: object) -> OutboxEntry:
        self.state.outgoing[entry.row.outbox_id] = replace(entry, **fields)
        return self.state.outgoing[entry.row.outbox_id]

    def _first(self, key: str | None) -> OutboxEntry | None:
        """The oldest pending message of a key: the only one of it that is ever given."""
        return next((one for one in self._all(_PENDING) if key is not None and one.row.key == key), None)

    def _promote(self, keys: Iterable[str | None]) -> None:
        """Make the first message of each key due if it is parked."""
        for key in keys:
            first = self._first(key)
            if first is not None and first.next_at is None:
                self._put(first, next_at=self.state.now)

    def sweep(self) -> None:
        self._promote({one.row.key for one in self._all(_PENDING)})

    def claim(self, claim: str, /, *, lease: int, limit: int) -> Consignment:
        now = self.state.now
        due = [one for one in self._all(_PENDING) if one.next_at is not None and one.next_at <= now]
        due.sort(key=lambda one: (one.next_at or 0, one.at, one.row.outbox_id))
        first = [one for one in due if one.row.key is None or one == self._first(one.row.key)]
        for one in due:
            if one not in first:
                self._put(one, next_at=None)
        given = [self._put(one, claim=claim, next_at=now + lease) for one in first[:limit]]
        times = [one.next_at for one in self._all(_PENDING) if one.next_at is not None]
        return Consignment(entries=given, now=now, next_due=min(times, default=None), more=len(first) > limit)

    def settle(self, batch: Sequence[Settled], /) -> int:
        now, ended, count = self.state.now, set[str | None](), 0
        for one in batch:
            held = self.state.outgoing.get(one.outbox_id)
            if held is None or held.claim != one.claim or held.state is not _PENDING:
                continue
            again = one.state is _PENDING
            self._put(
                held, state=one.state, attempts=held.attempts + one.counted, claim=None,
                next_at=now + one.delay if again else None, ended_at=None if again else now,
                error=one.error if one.counted or one.error is not None else held.error,
            )  # fmt: skip
            count += 1
            if not again:
                ended.add(held.row.key)
        self._promote(ended)
        return count

    def entries(
        self, states: Collection[OutboxState] = (), /, *, after: tuple[int, str] = (0, ""), limit: int = 100
    ) -> list[OutboxEntry]:
        return [one for one in self._all(*states) if (one.at, one.row.outbox_id) > after][:limit]

    def counts(self, *, most: int) -> OutboxCounts:
        found = Counter(one.state for one in self._all())
        oldest = min((one.at for one in self._all(_PENDING)), default=None)
        return OutboxCounts({key: min(n, most) for key, n in found.items()}, oldest, self.state.now)

    def requeue(
        self, states: Collection[OutboxState], /, *, outbox_ids: Collection[str] | None = None, limit: int = 1000
    ) -> int:
        now = self.state.now
        found = [one for one in self._all(*states) if outbox_ids is None or one.row.outbox_id in outbox_ids][:limit]
        for one in found:
            self._put(one, state=_PENDING, attempts=0, queued_at=now, next_at=now, ended_at=None)
        return len(found)

    def purge(self, states: Collection[OutboxState], before: int, /, *, limit: int = 1000) -> int:
        old = [one for one in self._all(*states) if one.ended_at is not None and one.ended_at < before]
        assert len(old) <= limit, "which of them go first is nowhere promised"
        for one in old:
            del self.state.outgoing[one.row.outbox_id]
        return len(old)

    def read(self, limit: int) -> list[OutboxRow]:
        return sorted((one.row for one in self._all(_PENDING)), key=lambda row: row.outbox_id)[:limit]

    def remove(self, outbox_ids: Sequence[str]) -> int:
        gone = [self.state.outgoing.pop(one) for one in dict.fromkeys(outbox_ids) if one in self.state.outgoing]
        self._promote({one.row.key for one in gone})
        return len(gone)
