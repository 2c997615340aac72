"""Locks by key that do not wait, for an engine whose SKIP LOCKED locks nothing.

Rows are read without locks there, and locked by key with NOWAIT, which fails as a whole if one is held: then the keys
are halved. Knows no connection.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final, TypeVar

from romancy_mysql._errors import HeldError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from romancy_mysql._protocol import Answer
    from romancy_mysql._sql import Statement

__all__ = ["lock_some", "unheld"]

T = TypeVar("T")

_TRIES: Final = 32


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
