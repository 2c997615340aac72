"""Servers that each take writes, and whose locks the others do not know: what has to exclude others writes a row.

A commit may be applied on the others a moment after it is acknowledged.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from romancy.errors import StorageUnavailableError
from romancy_mysql._errors import TransientError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from romancy_mysql._connection import Line, Wire
    from romancy_mysql._protocol import Answer
    from romancy_mysql._settings import Settings
    from romancy_mysql._sql import Statement

    Insist = Callable[[Callable[[Wire], Awaitable[list[Answer]]]], Awaitable[list[Answer]]]

__all__ = ["caught_up", "claimed_schema"]

_BETWEEN_LOOKS: Final = 0.5
_CATCHING_UP: Final = (5.0, 0.005)
"""How long to wait for a node to apply what the others have, and the seconds between two looks."""


async def caught_up(theirs: Line, insist: Insist, applied: bytes) -> None:
    """Wait until the node of this connection has applied all that this process has committed.

    `insist` is that of our database, and `applied` asks for the last transaction that a node has applied. This works
    within a transaction, where no setting of the session waits any more.
    """
    patience, pause = _CATCHING_UP
    (ours,) = await insist(lambda wire: wire.run(applied, "join"))
    async with asyncio.timeout(patience):
        while True:
            (there,) = await theirs.run(applied, "join")
            if float(there.rows[0][0]) >= float(ours.rows[0][0]):
                return
            await asyncio.sleep(pause)


@asynccontextmanager
async def claimed_schema(settings: Settings, statement: Callable[..., Statement], wire: Wire) -> AsyncGenerator[None]:
    """Hold the row that lets one process of the whole cluster migrate.

    A process that dies leaves its row. It is taken over when it was the same for half of the time-out. DDL of a process
    that works holds up these looks on all nodes, so its time does not count.
    """
    token = secrets.token_hex(8)
    left = round(settings.timeout / _BETWEEN_LOOKS)
    holder, same = await _claim(statement, wire, token, None), 0
    while holder is not None:
        left -= 1
        if not left:
            raise StorageUnavailableError(
                f"{settings.where}: another process is migrating this database; try again later"
            )
        await asyncio.sleep(_BETWEEN_LOOKS)
        is_stale = same * _BETWEEN_LOOKS >= settings.timeout / 2
        found = await _claim(statement, wire, token, holder if is_stale else None)
        same = same + 1 if found == holder else 0
        holder = found
    try:
        yield
    finally:
        if not wire.closed:
            await wire.run(statement("leave_schema", token=token).sql, "leave_schema")


async def _claim(statement: Callable[..., Statement], wire: Wire, token: str, stale: str | None) -> str | None:
    """Claim the schema, also from a holder that is `stale`. None if it is ours, else its holder."""
    taking = statement("claim_schema", token=token, stale=stale or "")
    asking = statement("claimant_of_schema")
    try:
        await wire.run(taking.sql, taking.name)
        (answer,) = await wire.run(asking.sql, asking.name)
    except TransientError:  # another node has certified a claim first
        return ""
    holder = answer.rows[0][0].decode() if answer.rows else ""
    return None if holder == token else holder
