"""Gives back messages that were routed to an owner who cannot use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy_mysql._sql import Statement, comma, source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from romancy_mysql._connection import Wire
    from romancy_mysql._database import Database

__all__ = ["give_back", "give_back_letters"]


async def give_back(database: Database, mail: Sequence[tuple[str, str]]) -> int:
    """Keep taken messages of these inboxes at their addresses again, and remove copies; return how many were there."""
    if not mail:
        return 0
    parameters = source(("instance_id", "delivery_id"), sorted(set(mail)))
    names = ("hold_mail", "return_mail", "drop_mail", "drop_uncounted")
    return await _move(database, [database[name].statement(parameters) for name in names])


async def give_back_letters(database: Database, subscriber: str, letter_ids: Sequence[str]) -> int:
    """Keep taken letters at their addresses again, and remove copies; return how many there were."""
    if not letter_ids:
        return 0
    ids = comma(sorted(set(letter_ids)))
    names = ("hold_letters", "return_letters", "drop_letters")
    return await _move(database, [database.statement(name, subscriber=subscriber, ids=ids) for name in names])


async def _move(database: Database, statements: list[Statement]) -> int:
    """Run these in one transaction and one packet. The first locks and counts the rows, which is the answer."""

    async def run(wire: Wire) -> int:
        wire.tainted = True
        answers = await database.send(wire, [database.begin, *statements, Statement("commit", database.end)])
        wire.tainted = False
        return next(int(answer.rows[0][0]) for answer in answers if answer.rows)

    return await database.insist(run)
