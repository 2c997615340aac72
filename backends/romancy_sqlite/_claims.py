"""Claims: ownership of instances, the mail of what a worker owns, and the repairs of a sweep."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.records import Work
from romancy.storage.sqlkit.claims import Box, Taken, chosen_mail, claimed, filled, unknown_and_kept
from romancy.storage.sqlkit.turns import choose_in_turn, earlier
from romancy.storage.turns import Chosen
from romancy_sqlite._interpreter import carry_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from romancy.storage.records import ClaimRequest
    from romancy.storage.sql import Head
    from romancy_sqlite._connection import Tx
    from romancy_sqlite._reached import Reached

__all__ = ["claim"]


async def claim(store: Reached, heads: Mapping[str, Head], request: ClaimRequest) -> Work:
    """As `Store.claim` promises. Looking for work needs no write."""
    if not (request.sweep or request.recover):
        work: Work | None = await store.run_read(partial(_unless_due, request=request))
        if work is not None:
            return work
    return await store.run_write(partial(_take, heads=heads, request=request))


def _unless_due(tx: Tx, request: ClaimRequest) -> Work | None:
    """What a claim brings that takes nothing. None if there is something to take."""
    if request.limit > 0 and tx.rows("due", {**_wanted(tx, request), "limit": 1}):
        return None
    alive, turns = _standing(tx, request)
    if not alive:
        return Work(claimed=[], mail=[], now=tx.now)
    return None if turns and request.limit > 0 else _collect(tx, request, {}, turns=turns)


def _take(tx: Tx, heads: Mapping[str, Head], request: ClaimRequest) -> Work:
    """Claim the first due instances, and with them what the worker owned and asks for again."""
    alive, turns = _standing(tx, request)
    if not alive:
        return Work(claimed=[], mail=[], now=tx.now)
    wanted = _wanted(tx, request)
    if request.sweep:
        for repair in ("wake_asleep", "wake_stranded", "wake_parked"):
            tx.run(repair, wanted)
        _, turns = _standing(tx, request)
    chosen = carry_out(tx, heads, partial(choose_in_turn, request)) if turns else Chosen({}, {})
    due: dict[str, int] = chosen.due if turns else dict(tx.rows("due", wanted))
    mine = tx.rows("owned", {"owner": request.worker}) if request.recover else []
    if due:
        tx.run("take", {"worker": request.worker, "ids": _json(list(due))})
    work = _collect(tx, request, {**dict.fromkeys([one for (one,) in mine], 0), **due}, turns=turns)
    return replace(work, turns={**request.turns, **chosen.turns}) if turns else work


def _standing(tx: Tx, request: ClaimRequest) -> tuple[bool, bool]:
    """Whether the worker is alive, and whether what it could claim takes turns."""
    asked = {"worker": request.worker, "codes": _json(request.codes), "now": tx.now}
    ((_, alive, turns),) = tx.rows("alive", asked)
    return bool(alive), bool(turns)


def _collect(tx: Tx, request: ClaimRequest, due: Mapping[str, int], *, turns: bool) -> Work:
    """What was taken, with when it was due, the mail of all instances that the worker owns, and when it can claim next.

    What the worker owned and asks for again was due at 0.
    """
    unknown, kept = unknown_and_kept(request, due)
    about = {"worker": request.worker, "unknown": _json([*due, *unknown]), "kept": _json(kept)}
    chosen = chosen_mail(request, list(map(Box._make, tx.rows("mailboxes", about))), due)
    ((next_due,),) = tx.rows("next_due", {"names": _json(list(request.codes))})
    if turns:
        next_due = earlier(tx.now, next_due)
    mail = filled(chosen, tx.rows("mail", {"wanted": _json(chosen.wanted)}) if chosen.wanted else (), due)
    rows = tx.rows("taken", {"ids": _json(list(due))}) if due else []
    taken = {row.instance_id: row for row in map(Taken._make, rows)}
    logs = _short_logs(tx, list(taken.values())) if taken else {}
    given = [claimed(taken[one], due[one], logs.get(one, [])) for one in due if one in taken]
    return Work(claimed=given, mail=mail, next_due=next_due, now=tx.now, more=chosen.more)


def _short_logs(tx: Tx, taken: list[Taken]) -> dict[str, list[bytes]]:
    """The bodies of the instances' current runs, of those with few commits."""
    logs: dict[str, list[bytes]] = {}
    runs = [(one.instance_id, one.life, one.run_from) for one in taken if one.head < one.run_from + SHORT_LOG_COMMITS]
    if runs:
        for instance_id, body in tx.rows("short_logs", {"runs": _json(runs), "bytes": SHORT_COMMIT_BYTES}):
            logs.setdefault(instance_id, []).append(body)
    return logs


def _wanted(tx: Tx, request: ClaimRequest) -> dict[str, object]:
    return {
        "codes": _json(request.codes), "leave": _json(list(request.leave)), "grace": request.grace,
        "limit": request.limit, "now": tx.now,
    }  # fmt: skip


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
