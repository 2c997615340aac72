"""The outbox on MySQL and MariaDB, as relays and operators use it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from romancy.storage.limits import can_be_id
from romancy.storage.outbox import (
    OUTBOX_NEWS,
    Consignment,
    OutboxCounts,
    OutboxEntry,
    OutboxRow,
    OutboxState,
    candidates,
    check_finished,
)
from romancy_mysql._sql import Raw, Statement, comma, source

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from romancy.storage.outbox import Settled
    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database
    from romancy_mysql._protocol import Answer
    from romancy_mysql._wakeups import Wakeups

__all__ = ["MySQLOutbox"]

_IDS_AT_ONCE = 1000
_BODY = 2
"""The column with the payload, which stays as it is."""
_SETTLED = ("outbox_id", "claim", "state", "delay", "counted", "error")


class MySQLOutbox:
    """As `Outbox` promises."""

    def __init__(self, database: Database, wakeups: Wakeups) -> None:
        self._database = database
        self._wakeups = wakeups

    async def wait(self, timeout: float, /) -> bool:
        return await self._wakeups.wait_for_outbox(timeout)

    async def claim(self, claim: str, /, *, lease: int, limit: int, sweep: bool = False) -> Consignment:
        database = self._database
        if sweep:
            (parked,) = await database.ask(database.statement("outbox_parked", limit=_IDS_AT_ONCE))
            await self._make_due([line[0] for line in parked.rows])
        (look,) = await database.ask(database.statement("outbox_look"))
        found = _looked(look)
        if found.next_due is None or found.next_due > found.now:
            return found
        return await database.insist(partial(self._claim, claim=claim, lease=lease, limit=limit))

    async def _claim(self, wire: Wire, claim: str, lease: int, limit: int) -> Consignment:
        database = self._database
        wire.tainted = True
        (*_, locked) = await database.send(
            wire, [database.begin, database.statement("outbox_due", limit=candidates(limit))]
        )
        due = [line[0] for line in locked.rows]
        writes: list[Statement] = []
        first: list[bytes] = []
        if due:
            (judged,) = await database.send(wire, [database.statement("outbox_judge", ids=comma(sorted(due)))])
            first = [line[0] for line in judged.rows if not line[1]]
            behind = sorted(line[0] for line in judged.rows if line[1])
            writes += [database.statement("outbox_park", ids=comma(behind))] if behind else []
        given = sorted(first[:limit])
        if given:
            writes.append(database.statement("outbox_claim", claim=claim, lease=lease, ids=comma(given)))
        claimed = [database.statement("outbox_claimed", ids=comma(given))] if given else []
        then = [*claimed, database.statement("outbox_look")]
        *rows, look = await database.carry_out(wire, writes, last=database.end, then=then)
        wire.tainted = False
        found = _looked(look)
        entries = [OutboxEntry.of(_texts(line)) for answer in rows for line in answer.rows]
        more = len(due) == candidates(limit) or len(first) > limit
        return Consignment(entries=entries, now=found.now, next_due=found.next_due, more=more)

    async def settle(self, batch: Sequence[Settled], /) -> int:
        if not batch:
            return 0
        database = self._database
        rows = sorted(
            (one.outbox_id, one.claim, one.state.value, one.delay, int(one.counted), one.error) for one in batch
        )
        settled, keys = await database.ask(
            database["outbox_settle"].statement(source(_SETTLED, rows)),
            self._keys([one.outbox_id for one in batch if one.state is not OutboxState.PENDING]),
        )
        await self._promote(keys)
        return settled.affected

    def _keys(self, outbox_ids: Collection[str]) -> Statement:
        return self._database.statement("outbox_keys", ids=comma(sorted(outbox_ids) or [""]))

    async def _promote(self, keys: Answer) -> None:
        """Make the next message of each key due, after the end of the one before it is committed."""
        if not keys.rows:
            return
        template = self._database["outbox_next"]
        parts = [template.render(key=line[0]) for line in sorted(keys.rows)]
        (heads,) = await self._database.ask(Statement(template.name, Raw(b" union all ".join(parts))))
        await self._make_due([line[0] for line in heads.rows])

    async def _make_due(self, outbox_ids: Sequence[bytes]) -> None:
        if outbox_ids:
            await self._database.ask(self._database.statement("outbox_promote", ids=comma(sorted(outbox_ids))))
            self._wakeups.tell([OUTBOX_NEWS])

    async def entries(
        self, states: Collection[OutboxState] = (), /, *, after: tuple[int, str] = (0, ""), limit: int = 100
    ) -> list[OutboxEntry]:
        at, outbox_id = after
        names = comma(state.value for state in (states or OutboxState))
        (answer,) = await self._database.ask(
            self._database.statement("outbox_entries", states=names, at=at, outbox_id=outbox_id, limit=limit)
        )
        return [OutboxEntry.of(_texts(line)) for line in answer.rows]

    async def counts(self, *, most: int | None = None) -> OutboxCounts:
        if most is not None:
            return await self._counts_to(most)
        (answer,) = await self._database.ask(self._database.statement("outbox_counts"))
        (now, *_), *lines = answer.rows
        found = {OutboxState(line[1].decode()): (int(line[2]), int(line[3])) for line in lines}
        oldest = found[OutboxState.PENDING][1] if OutboxState.PENDING in found else None
        return OutboxCounts({state: count for state, (count, _) in found.items()}, oldest, int(now))

    async def _counts_to(self, most: int) -> OutboxCounts:
        ended = [state for state in OutboxState if state is not OutboxState.PENDING]
        pending, *others = await self._database.ask(
            self._database.statement("outbox_pending_to", most=most),
            *(self._database.statement("outbox_ended_to", state=state.value, most=most) for state in ended),
        )
        ((now, count, oldest),) = pending.rows
        found = [(OutboxState.PENDING, int(count))]
        found += [(state, int(answer.rows[0][0])) for state, answer in zip(ended, others, strict=True)]
        first = None if oldest is None else int(oldest)
        return OutboxCounts({state: number for state, number in found if number}, first, int(now))

    async def requeue(
        self, states: Collection[OutboxState], /, *, outbox_ids: Collection[str] | None = None, limit: int = 1000
    ) -> int:
        (answer,) = await self._database.ask(
            self._database.statement(
                "outbox_requeue",
                states=_names(states),
                all=outbox_ids is None,
                ids=comma(sorted(filter(can_be_id, outbox_ids or ())) or [""]),
                limit=limit,
            )
        )
        if answer.affected:
            self._wakeups.tell([OUTBOX_NEWS])
        return answer.affected

    async def purge(self, states: Collection[OutboxState], before: int, /, *, limit: int = 1000) -> int:
        (answer,) = await self._database.ask(
            self._database.statement("outbox_purge", states=_names(states), before=before, limit=limit)
        )
        return answer.affected

    async def read(self, limit: int) -> list[OutboxRow]:
        (answer,) = await self._database.ask(self._database.statement("read_outbox", limit=limit))
        return [OutboxRow.of(_texts(line)) for line in answer.rows]

    async def remove(self, outbox_ids: Sequence[str]) -> int:
        removed = 0
        known = sorted(filter(can_be_id, outbox_ids))
        for start in range(0, len(known), _IDS_AT_ONCE):
            some = known[start : start + _IDS_AT_ONCE]
            keys, answer = await self._database.ask(
                self._keys(some), self._database.statement("remove_outbox", ids=comma(some))
            )
            removed += answer.affected
            await self._promote(keys)
        return removed


def _names(states: Collection[OutboxState]) -> Raw:
    return comma(check_finished(states) or [""])


def _looked(look: Answer) -> Consignment:
    ((now, next_due),) = look.rows
    return Consignment(entries=[], now=int(now), next_due=None if next_due is None else int(next_due))


def _texts(line: tuple[Any, ...]) -> list[Any]:
    """The columns of a message or an entry, with texts instead of their bytes."""
    return [one.decode() if isinstance(one, bytes) and place != _BODY else one for place, one in enumerate(line)]
