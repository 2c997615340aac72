"""Claims: ownership of instances, the mail of what a worker owns, and the repairs of a sweep."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from msgspec.structs import replace

from romancy.storage.limits import SHORT_COMMIT_BYTES, SHORT_LOG_COMMITS
from romancy.storage.marks import TAKEN_NEWS
from romancy.storage.records import Work
from romancy.storage.sqlkit.claims import Box, Taken, chosen_mail, claimed, filled, unknown_and_kept
from romancy.storage.sqlkit.turns import choose_in_turn, earlier
from romancy_postgres._columns import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import asyncpg

    from romancy.storage.records import Claimed, ClaimRequest, Mailbox
    from romancy_postgres._database import Database
    from romancy_postgres._interpreter import PostgresInterpreter
    from romancy_postgres._signals import Signals

__all__ = ["claim"]

_ROUNDS: Final = 3
_BOX = cast("Callable[[asyncpg.Record], tuple[Any, ...]]", itemgetter(*Box._fields))


async def claim(database: Database, signals: Signals, interpreter: PostgresInterpreter, request: ClaimRequest) -> Work:
    """As `Store.claim` promises. One statement if there is nothing to do, three if there is mail.

    While starts with fair keys wait, some statements more choose what is taken.
    """
    names, codes = list(request.codes), list(request.codes.values())
    if request.sweep:
        await _sweep(database, signals, request.worker, names, codes)
    rows = await database.fetch(
        "claim",
        request.worker,
        names,
        codes,
        request.limit,
        list(request.leave),
        request.grace,
        request.recover,
    )
    head = rows[0]
    fresh: dict[str, asyncpg.Record] = {}
    for row in rows:
        if row["instance_id"] is not None:
            fresh[row["instance_id"]] = row
    next_due, turns = head["next_due"], dict[int, tuple[str, int]]()
    if head["turns"] and head["alive"]:
        next_due = earlier(head["now"], next_due)
    if head["turns"] and head["alive"] and request.limit > 0:
        taken, turns, passed_over = await _take_in_turn(database, interpreter, request)
        fresh |= taken
        next_due = head["now"] if passed_over else next_due
    if fresh:
        signals.found_work()
    _announce(signals, request, fresh)
    heads: dict[str, asyncpg.Record] = {}
    mail: list[Mailbox] = []
    more = False
    unknown, kept = unknown_and_kept(request, fresh)
    if fresh or (head["alive"] and (unknown or head["mail"])):
        short = (SHORT_LOG_COMMITS, SHORT_COMMIT_BYTES)
        known = list(kept), list(kept.values())
        boxes = await database.fetch("mailboxes", request.worker, list(fresh), unknown, *short, *known)
        for box in boxes:
            if box["fresh"]:
                heads[box["instance_id"]] = box
        chosen = chosen_mail(request, list(map(Box._make, map(_BOX, boxes))), heads)
        messages = await database.fetch("mail", *columns(chosen.wanted, width=2)) if chosen.wanted else ()
        mail, more = filled(chosen, messages, heads), chosen.more
        _announce(signals, request, {box.instance_id for box in mail} - fresh.keys())
    given = [_claimed(row, heads[instance_id]) for instance_id, row in fresh.items() if instance_id in heads]
    return Work(claimed=given, mail=mail, next_due=next_due, now=head["now"], more=more, turns=turns)


async def _take_in_turn(
    database: Database, interpreter: PostgresInterpreter, request: ClaimRequest
) -> tuple[dict[str, asyncpg.Record], dict[int, tuple[str, int]], bool]:
    """What is taken while starts with fair keys wait, where the turns stand then, and whether others hold some.

    What other workers have taken meanwhile is passed over, and others are chosen, but not without end.
    """
    taken: dict[str, asyncpg.Record] = {}
    for _ in range(_ROUNDS):
        wanted = replace(request, limit=request.limit - len(taken))
        chosen = await interpreter.read(partial(choose_in_turn, wanted))
        rows = await database.fetch("claim_chosen", request.worker, list(chosen.due)) if chosen.due else ()
        found = {row["instance_id"]: row for row in rows}
        taken |= {one: found[one] for one in chosen.due if one in found}
        request = replace(request, turns={**request.turns, **chosen.turns})
        if len(found) == len(chosen.due):
            return taken, request.turns, False
    return taken, request.turns, True


def _announce(signals: Signals, request: ClaimRequest, taken: Collection[str]) -> None:
    if request.announce:
        signals.announce(TAKEN_NEWS + instance_id for instance_id in taken)


async def _sweep(database: Database, signals: Signals, worker: str, names: list[str], codes: list[str]) -> None:
    counted = await database.fetch("sweep_mail", worker)
    woken = await database.fetch("sweep_asleep", worker, names, codes)
    signals.tell({row[0] for row in (*counted, *woken)})


def _claimed(row: asyncpg.Record, box: asyncpg.Record) -> Claimed:
    found = {**row, "head": box["head"], "head_writer": box["head_writer"]}
    return claimed(Taken._make(map(found.__getitem__, Taken._fields)), row["since"], box["log"] or ())
