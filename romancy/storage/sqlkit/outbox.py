"""The outbox of an SQL database: its operations, and the object that relays and operators use.

The scripts are those of the dialect. `IN_PARTS` is for dialects whose UPDATE and DELETE return no rows.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

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
from romancy.storage.sqlkit.statements import Answer, Ask, ask, ask_all, ask_last, tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from romancy.storage.outbox import Settled
    from romancy.storage.sqlkit.statements import Interpreter, Operation, Own, Values

__all__ = ["IDS_AT_ONCE", "IN_PARTS", "SqlOutbox"]

IDS_AT_ONCE: Final = 1000
"""How many ids or keys one statement names, in a dialect that writes them into its text."""
_BODY = 2
"""The column with the payload."""
_ID, _STATE = 0, 2
"""Columns of what is settled."""
_LOOK = Ask("outbox_look", {})


class SqlOutbox:
    """As `Outbox` promises. `wait` is that of the database."""

    def __init__(self, interpreter: Interpreter, wait: Callable[[float], Awaitable[bool]]) -> None:
        self._interpreter = interpreter
        self._wait = wait

    async def wait(self, timeout: float, /) -> bool:
        return await self._wait(timeout)

    async def claim(self, claim: str, /, *, lease: int, limit: int) -> Consignment:
        found = await self._interpreter.read(_look)
        if found.next_due is None or found.next_due > found.now:
            return found
        return await self._interpreter.together(partial(_claim, claim, lease, limit))

    async def sweep(self) -> None:
        await self._interpreter.in_turn(_sweep)

    async def settle(self, batch: Sequence[Settled], /) -> int:
        if not batch:
            return 0
        return await self._interpreter.in_turn(partial(_settle, batch), weight=2 * len(batch))

    async def entries(
        self, states: Collection[OutboxState] = (), /, *, after: tuple[int, str] = (0, ""), limit: int = 100
    ) -> list[OutboxEntry]:
        names = [state.value for state in (states or OutboxState)]
        at, outbox_id = after
        page = partial(ask, "outbox_entries", states=names, at=at, outbox_id=outbox_id, limit=limit)
        return [OutboxEntry.of(row) for row in (await self._interpreter.read(page)).rows]

    async def counts(self, *, most: int) -> OutboxCounts:
        return await self._interpreter.read(partial(_counts, most))

    async def requeue(
        self, states: Collection[OutboxState], /, *, outbox_ids: Collection[str] | None = None, limit: int = 1000
    ) -> int:
        chosen = {
            "states": check_finished(states),
            "every": outbox_ids is None,
            "ids": sorted(filter(can_be_id, outbox_ids or ())),
            "limit": limit,
        }
        return await self._interpreter.in_turn(partial(_requeue, chosen), weight=limit)

    async def purge(self, states: Collection[OutboxState], before: int, /, *, limit: int = 1000) -> int:
        purge = partial(ask, "outbox_purge", states=check_finished(states), before=before, limit=limit)
        return (await self._interpreter.in_turn(purge, weight=limit)).touched

    async def read(self, limit: int) -> list[OutboxRow]:
        answer = await self._interpreter.read(partial(ask, "outbox_read", limit=limit))
        return [OutboxRow.of(row) for row in answer.rows]

    async def remove(self, outbox_ids: Sequence[str]) -> int:
        known = sorted(filter(can_be_id, outbox_ids))
        return await self._interpreter.in_turn(partial(_remove, known), weight=len(known))


# ── operations ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _look() -> Operation[Consignment]:
    ((now, next_due),) = (yield from ask("outbox_look")).rows
    return Consignment(entries=[], now=now, next_due=next_due)


def _claim(claim: str, lease: int, limit: int) -> Operation[Consignment]:
    """Lock what is due, and only then look for older messages of the same keys."""
    due = (yield from ask("outbox_due", limit=candidates(limit))).rows
    if due:
        chosen = {"due": due, "ids": [row[0] for row in due], "limit": limit, "claim": claim, "lease": lease}
        taken, look = yield from ask_last(Ask("outbox_claim", chosen), then=(_LOOK,))
    else:
        taken, (look,) = Answer((), 0), (yield from ask_last(then=(_LOOK,)))
    entries = [OutboxEntry.of(row) for row in taken.rows if row[_BODY] is not None]
    ((now, next_due),) = look.rows
    # What was neither claimed nor parked is over the limit.
    more = len(due) == candidates(limit) or taken.touched < len(due)
    return Consignment(entries=sorted(entries, key=_place), now=now, next_due=next_due, more=more)


def _place(entry: OutboxEntry) -> tuple[int, str]:
    return entry.at, entry.row.outbox_id


def _sweep() -> Operation[None]:
    if (yield from ask("outbox_sweep")).touched:
        yield from tell(OUTBOX_NEWS)


def _settle(batch: Sequence[Settled]) -> Operation[int]:
    rows = [
        (one.outbox_id, one.claim, one.state.value, one.delay, one.counted, one.error)
        for one in sorted(batch, key=lambda one: one.outbox_id)
    ]
    settled = yield from ask("outbox_settle", settled=rows)
    yield from _promote(settled)
    return settled.touched


def _remove(known: Sequence[str]) -> Operation[int]:
    removed = yield from ask("outbox_remove", ids=known)
    yield from _promote(removed)
    return removed.touched


def _promote(ended: Answer) -> Operation[None]:
    """Make the next message of each of these keys due, after the end of the one before it."""
    keys = sorted({row[0] for row in ended.rows} - {None})
    for first in range(0, len(keys), IDS_AT_ONCE):
        if (yield from ask("outbox_promote", keys=keys[first : first + IDS_AT_ONCE])).touched:
            yield from tell(OUTBOX_NEWS)


def _counts(most: int) -> Operation[OutboxCounts]:
    names = [state.value for state in OutboxState if state is not OutboxState.PENDING]
    rows = (yield from ask("outbox_counts", most=most, states=names)).rows
    (now, _, _, oldest), *_ = rows
    return OutboxCounts({OutboxState(state): count for _, state, count, _ in rows if count}, oldest, now)


def _requeue(chosen: Values) -> Operation[int]:
    count = (yield from ask("outbox_requeue", **chosen)).touched
    if count:
        yield from tell(OUTBOX_NEWS)
    return count


# ── where UPDATE and DELETE return no rows ──────────────────────────────────────────────────────────────────────────


def _claim_in_parts(values: Values) -> Operation[Answer]:
    due = values["due"]
    if any(behind is None for _, behind in due):
        due = (yield from ask("outbox_judge", ids=sorted(values["ids"]))).rows
    first = [one for one, behind in due if not behind]
    parked, given = sorted(one for one, behind in due if behind), sorted(first[: values["limit"]])
    asks: list[Ask] = []
    if parked:
        asks.append(Ask("outbox_park", {"ids": parked}))
    if given:
        asks.append(Ask("outbox_give", {"claim": values["claim"], "lease": values["lease"], "ids": given}))
    then = (Ask("outbox_given", {"ids": given}),) if given else ()
    answers = yield from ask_last(*asks, then=then)
    return Answer(answers[-1].rows if given else (), len(parked) + len(given))


def _settle_in_parts(values: Values) -> Operation[Answer]:
    settled = values["settled"]
    ended = [row[_ID] for row in settled if row[_STATE] != OutboxState.PENDING]
    keys = (Ask("outbox_keys", {"ids": ended}),) if ended else ()
    record, *found = yield from ask_all(Ask("outbox_record", {"settled": settled}), *keys)
    return Answer(found[0].rows if found else (), record.touched)


def _remove_in_parts(values: Values) -> Operation[Answer]:
    keys: set[str] = set()
    removed = 0
    for first in range(0, len(values["ids"]), IDS_AT_ONCE):
        some = {"ids": values["ids"][first : first + IDS_AT_ONCE]}
        found, gone = yield from ask_all(Ask("outbox_keys", some), Ask("outbox_delete", some))
        keys.update(row[0] for row in found.rows)
        removed += gone.touched
    return Answer([(key,) for key in keys], removed)


IN_PARTS: Final[Own] = {
    "outbox_claim": _claim_in_parts,
    "outbox_settle": _settle_in_parts,
    "outbox_remove": _remove_in_parts,
}
