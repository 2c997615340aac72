"""Claims: ownership of instances, the mail of what a worker owns, and the repairs of a sweep."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.records import Work
from romancy.storage.sqlkit.claims import Box, Taken, claimed, mail_of, unknown_and_kept
from romancy.storage.sqlkit.statements import Ask, ask, ask_all

if TYPE_CHECKING:
    from romancy.storage.records import ClaimRequest
    from romancy.storage.sqlkit.statements import Operation
    from romancy_sqlite._interpreter import SqliteInterpreter

__all__ = ["claim"]


async def claim(interpreter: SqliteInterpreter, request: ClaimRequest) -> Work:
    """As `Store.claim` promises. Looking for work needs no write."""
    due: dict[str, int] = {}
    if request.sweep or request.recover or await interpreter.read(partial(_is_due, request)):
        due = await interpreter.together(partial(_take, request))
    return await interpreter.read(partial(_collect, request, due))


def _is_due(request: ClaimRequest) -> Operation[bool]:
    if request.limit <= 0:
        return False
    return bool((yield from ask("due", **_wanted(request) | {"limit": 1})).rows)


def _take(request: ClaimRequest) -> Operation[dict[str, int]]:
    """Claim the longest due instances. Returns when each was due; 0 for what the worker owned and asks for again."""
    ((_, alive),) = (yield from ask("alive", worker=request.worker)).rows
    if not alive:
        return {}
    if request.sweep:
        codes = _json(request.codes)
        yield from ask_all(Ask("wake_asleep", {}), Ask("wake_stranded", {}), Ask("wake_parked", {"codes": codes}))
    found: Any = (yield from ask("due", **_wanted(request))).rows
    due: dict[str, int] = dict(found)
    mine = (yield from ask("owned", owner=request.worker)).rows if request.recover else ()
    if due:
        yield from ask("take", worker=request.worker, ids=list(due))
    return {one: 0 for (one,) in mine} | due


def _collect(request: ClaimRequest, due: dict[str, int]) -> Operation[Work]:
    """What was taken, the mail of all instances that the worker owns, and when it can claim next."""
    ((now, alive),) = (yield from ask("alive", worker=request.worker)).rows
    if not alive:
        return Work(claimed=[], mail=[], now=now)
    unknown, kept = unknown_and_kept(request, due)
    about = {"worker": request.worker, "unknown": [*due, *unknown], "kept": _json(kept)}
    boxes, ahead = yield from ask_all(Ask("mailboxes", about), Ask("next_due", {"names": list(request.codes)}))
    mail, more = yield from mail_of(request, map(Box._make, boxes.rows), due)
    ((next_due,),) = ahead.rows
    rows = (yield from ask("taken", ids=list(due))).rows if due else ()
    taken = {row.instance_id: row for row in map(Taken._make, rows)}
    logs = yield from _short_logs(list(taken.values()))
    given = [claimed(taken[one], due[one], logs.get(one, [])) for one in due if one in taken]
    return Work(claimed=given, mail=mail, next_due=next_due, now=now, more=more)


def _short_logs(taken: list[Taken]) -> Operation[dict[str, list[bytes]]]:
    """The bodies of the instances' current runs, of those with few commits."""
    logs: dict[str, list[bytes]] = {}
    runs = [(one.instance_id, one.life, one.run_from) for one in taken if one.head < one.run_from + SHORT_LOG_COMMITS]
    if runs:
        for instance_id, body in (yield from ask("short_logs", runs=runs, bytes=SHORT_COMMIT_BYTES)).rows:
            logs.setdefault(instance_id, []).append(body)
    return logs


def _wanted(request: ClaimRequest) -> dict[str, Any]:
    return {
        "codes": _json(request.codes), "leave": list(request.leave), "grace": request.grace, "limit": request.limit
    }  # fmt: skip


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
