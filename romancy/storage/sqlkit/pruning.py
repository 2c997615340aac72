"""Removing what is over from an SQL database: ended instances, rows of former runs, dead workers, old dedupe keys.

An instance goes in one transaction: a script chooses and locks, and `prune_chosen` removes all data under the ids. The
scripts are those of the dialect.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from romancy.storage.limits import can_be_id
from romancy.storage.sqlkit.journal import STREAMS
from romancy.storage.sqlkit.statements import Ask, ask, ask_all, ask_last

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy.storage.records import PruneRequest
    from romancy.storage.sqlkit.statements import Interpreter, Operation, Values

__all__ = ["Pruning", "cut_streams"]

_LATE: Final = 3_600_000_000
"""What was written to streams so many microseconds before a run began is of a former one, by any worker's clock."""


class Pruning:
    """As `Upkeep.prune` promises. `keys_at_once`: how many dedupe keys one transaction forgets."""

    def __init__(self, interpreter: Interpreter, *, keys_at_once: int = 5000) -> None:
        self._interpreter = interpreter
        self._keys_at_once = keys_at_once

    async def prune(self, request: PruneRequest, /) -> int:
        statuses, limit = [status.value for status in request.statuses], request.limit
        removed = 0
        if ids := sorted(filter(can_be_id, request.instance_ids)):
            named = {"statuses": statuses, "ids": ids, "until": request.named_until, "limit": limit}
            removed += await self._remove(Ask("prune_named", named), limit)
        if request.ended_before is not None and removed < limit:
            old = {"statuses": statuses, "before": request.ended_before, "limit": limit - removed}
            removed += await self._remove(Ask("prune_old", old), limit)
        await self._interpreter.in_turn(partial(_tidy, limit), weight=limit)
        if request.dedupe_before is not None:
            await self._forget_keys(request.dedupe_before)
        return removed

    async def _remove(self, choose: Ask, limit: int) -> int:
        return await self._interpreter.together(partial(_remove, choose), weight=limit)

    async def _forget_keys(self, before: int) -> None:
        some = self._keys_at_once
        forget = partial(ask, "prune_seen", before=before, limit=some)
        while (await self._interpreter.in_turn(forget, weight=some)).touched == some:
            pass


def _remove(choose: Ask) -> Operation[int]:
    """Remove the instances that a script chooses and locks."""
    (chosen,) = yield from ask_all(choose)
    ids = sorted(row[0] for row in chosen.rows)
    if ids:
        yield from ask_last(Ask("prune_chosen", {"ids": ids}))
    return len(ids)


def _tidy(limit: int) -> Operation[None]:
    yield from ask("prune_runs", limit=limit, streams=STREAMS, late=_LATE)
    yield from ask("prune_workers")


# ── where DELETE knows no CTE ───────────────────────────────────────────────────────────────────────────────────────


def cut_streams(runs: Sequence[Sequence[Any]], values: Values) -> Operation[None]:
    """Remove what runs before these have written to streams, given what `prune_runs` is asked with."""
    cuts = (yield from ask("former_streams", **{**values, "runs": runs})).rows
    if cuts:
        yield from ask("journal_cut", cuts=cuts, low=values["streams"])
