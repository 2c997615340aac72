"""What TiDB does in other steps than MySQL: its clock, its session, its check of counts, and locks that do not wait.

It accepts SKIP LOCKED and locks nothing by it. So rows are read without locks, and locked by key with NOWAIT, which
fails as a whole if one is held: then the keys are halved. The scripts are in `tidb.sql`. Knows no connection.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from romancy_mysql._errors import HeldError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from romancy_mysql._protocol import Answer
    from romancy_mysql._sql import Statement

__all__ = [
    "CHECK",
    "CLOCK",
    "MOMENT",
    "SESSION_BEGUN",
    "SESSION_ENDS",
    "SETTINGS",
    "THEIR_CLOCK",
    "lock_some",
    "unheld",
    "written_for_tidb",
]

T = TypeVar("T")

THEIR_CLOCK: Final = "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))"
"""The time as the scripts of MySQL have it: on TiDB that of one of many servers."""
_BEGUN: Final = "(nullif(@@TIDB_CURRENT_TS, 0) >> 18) * 1000 + least(@@TIDB_CURRENT_TS & 262143, 999)"
MOMENT: Final = f"cast({_BEGUN} as signed)"
"""When the transaction began, by the cluster: milliseconds, and a count within each. NULL outside a transaction, so
that nothing is written with a wrong time. In capitals, which no prefix of tables has.
"""
CLOCK: Final = f"cast({_BEGUN} + coalesce(@LATE_BY, 0) as signed)"
"""The time of the cluster: the same, but also in a session that began long ago."""
_COMPARED: Final = re.compile(rf"(?:(?<=[<>] )|(?<=[<>]= )){re.escape(THEIR_CLOCK)}")
SESSION_BEGUN: Final = f"; set @LATE_BY = null, @BEGUN_AT = {THEIR_CLOCK}".encode()
SESSION_ENDS: Final = f"; set @LATE_BY = {THEIR_CLOCK} - @BEGUN_AT".encode()
"""In a session, whose transaction may have begun long ago: how long ago, by the clock of its server."""
CHECK: Final = b"set @romancy = json_length('1', if(%brow_count() = %d, '$', '-'))"
"""Fails if too few rows were touched. A subquery of two rows would fail always: TiDB reads it while it plans. `-` is no
path of JSON.
"""
SETTINGS: Final[Mapping[str, str]] = {
    "tidb_txn_mode": "'pessimistic'",  # other transactions fail at their commit only, and NOWAIT means nothing to them
    "tidb_constraint_check_in_place_pessimistic": "1",  # otherwise an INSERT counts a row that is there already
    "tidb_guarantee_linearizability": "1",  # a transaction that begins after a commit was acknowledged sees it
    "tidb_low_resolution_tso": "0",
    "tidb_read_staleness": "0",
    "tidb_enable_external_ts_read": "0",
    "tidb_rc_read_check_ts": "0",
    "tidb_rc_write_check_ts": "0",
    "tidb_dml_type": "'standard'",  # 'bulk' commits in parts
    "tidb_txn_entry_size_limit": "33554432",  # a row may hold the largest input, an error and a projection
}
"""Settings of a session, without which a statement would have another meaning. Some are accepted with defaults that
somebody may have changed.
"""
_TRIES: Final = 32


def written_for_tidb(text: str) -> str:
    """A script with the time of the cluster.

    What is compared is a constant to TiDB, so that it reads an index up to there. With a variable it would read on,
    also through what is never due. No session runs such a script.
    """
    return _COMPARED.sub(MOMENT, text).replace(THEIR_CLOCK, CLOCK)


async def unheld(
    send: Callable[[list[Statement]], Awaitable[list[Answer]]],
    keys: Sequence[T],
    locking: Callable[[Sequence[T]], list[Statement]],
    *,
    tries: int | None = None,
) -> list[tuple[Sequence[T], list[Answer]]]:
    """Lock, by statements with NOWAIT, those of these keys that nobody else holds: parts of them, with the answers.

    `tries`: how many statements fail at most. What has not been locked by then is left out.
    """
    found: list[tuple[Sequence[T], list[Answer]]] = []
    todo = [keys] if keys else []
    while todo:
        part = todo.pop()
        try:
            found.append((part, await send(locking(part))))
        except HeldError:
            if tries is not None:
                tries -= 1
                if tries <= 0:
                    break
            middle = len(part) // 2
            if middle:
                todo += [part[middle:], part[:middle]]
    return found


async def lock_some(
    send: Callable[[list[Statement]], Awaitable[list[Answer]]],
    begin: Statement,
    keys: Sequence[T],
    locking: Callable[[Sequence[T]], Statement],
    wanted: int,
) -> list[tuple[Any, ...]]:
    """Begin a transaction, and lock as many rows as wanted, the first ones if nobody else holds any of them.

    Workers read the same first rows. Where they collide, each goes on with other ones.
    """
    try:
        *_, answer = await send([begin, locking(keys[:wanted])])
    except HeldError:
        pass
    else:
        return list(answer.rows)
    rows: list[tuple[Any, ...]] = []
    spread = random.sample(keys, len(keys))
    size = max(1, min(wanted, len(spread)) // 2)
    for _ in range(_TRIES):
        if len(rows) >= wanted or not spread:
            break
        part, rest = spread[: min(size, wanted - len(rows))], spread[min(size, wanted - len(rows)) :]
        try:
            (answer,) = await send([locking(part)])
        except HeldError:
            spread = rest if len(part) == 1 else [*rest, *part]
            size = max(1, size // 2)
        else:
            rows += answer.rows
            spread = rest
    return rows
